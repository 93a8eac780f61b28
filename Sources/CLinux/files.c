// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE 1
#include "CLinux.h"

#include <linux/openat2.h>
#include <pty.h>
#include <sys/syscall.h>
#include <termios.h>

int catbird_open(const char *path, int flags, mode_t mode) { return open(path, flags | O_CLOEXEC, mode); }
int catbird_openat(int directory, const char *path, int flags, mode_t mode) {
    return openat(directory, path, flags | O_CLOEXEC, mode);
}
int catbird_openat2(int directory, const char *path, int flags, mode_t mode, uint64_t resolve) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC);
    // O_TMPFILE holds O_DIRECTORY's bit; of a folder that is only opened the kernel refuses a mode.
    how.mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0;
    how.resolve = resolve;
    int fd;
    // EAGAIN: somebody renamed something on the way, and the kernel cannot tell where it was.
    do fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return fd;
}
int catbird_dup_cloexec(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }
int catbird_pipe(int fds[2]) { return pipe2(fds, O_CLOEXEC); }

int catbird_set_nonblocking(int fd, int enabled) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    return fcntl(fd, F_SETFL, enabled ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int catbird_set_cloexec(int fd, int enabled) { return fcntl(fd, F_SETFD, enabled ? FD_CLOEXEC : 0); }
int catbird_memfd(const char *name) { return (int)syscall(SYS_memfd_create, name, 1 /* MFD_CLOEXEC */); }
int catbird_renameat2(const char *from, const char *to, unsigned flags) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

int catbird_lock(int fd, char kind, int wait) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = kind == 'w' ? F_WRLCK : kind == 'r' ? F_RDLCK : F_UNLCK;
    lock.l_whence = SEEK_SET;
    int result;
    do result = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
    while (result < 0 && errno == EINTR);
    if (result < 0 && errno == EACCES) errno = EAGAIN;
    return result;
}

int catbird_open_pty(int *primary, int *replica, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    if (openpty(primary, replica, NULL, NULL, rows && columns ? &size : NULL) < 0) return -1;
    fcntl(*primary, F_SETFD, FD_CLOEXEC);
    fcntl(*replica, F_SETFD, FD_CLOEXEC);
    return 0;
}

int catbird_set_window_size(int fd, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size);
}

int catbird_mknod_char(const char *path, mode_t mode, unsigned major, unsigned minor) {
    return mknod(path, S_IFCHR | mode, makedev(major, minor));
}

long catbird_filesystem_magic(const char *path) {
    struct statfs info;
    return statfs(path, &info) < 0 ? -1 : (long)info.f_type;
}

void catbird_error_text(int code, char *buffer, size_t size) {
    char space[256];
    if (size > 0) snprintf(buffer, size, "%s", strerror_r(code, space, sizeof space));
}
