// SPDX-License-Identifier: Apache-2.0
#ifndef CATBIRD_CALLS_H
#define CATBIRD_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Every function returns -1 with errno set, unless it says something else.

// The C library's words for an error number, always terminated.
void catbird_error_text(int code, char *buffer, size_t size);

// Namespace kinds, as setns and unshare take them.
enum {
    CATBIRD_CLONE_NEWNS = 0x00020000,
    CATBIRD_CLONE_NEWCGROUP = 0x02000000,
    CATBIRD_CLONE_NEWUTS = 0x04000000,
    CATBIRD_CLONE_NEWIPC = 0x08000000,
    CATBIRD_CLONE_NEWUSER = 0x10000000,
    CATBIRD_CLONE_NEWPID = 0x20000000,
    CATBIRD_CLONE_NEWNET = 0x40000000,
};

int catbird_setns(int fd, int kind);
int catbird_unshare(int kinds);

// The processors that a thread may run on (0: the calling one), a bit each, as cpu_set_t has them: up to 1,024.
struct catbird_processors {
    unsigned long bits[1024 / (8 * sizeof(unsigned long))];
};
int catbird_getaffinity(pid_t thread, struct catbird_processors *processors);
int catbird_setaffinity(const struct catbird_processors *processors);
int catbird_pivot_root(const char *new_root, const char *put_old);
pid_t catbird_gettid(void);

int catbird_pidfd_open(pid_t pid);
int catbird_pidfd_send_signal(int pidfd, int signal);

// Waits for the process of a pidfd, or with pidfd < 0 for `pid`; `pid` 0 means any child. Returns 1 and fills in what
// is known when one has ended, 0 when none has. `peek` leaves it to be waited for again. -1: errno (ECHILD: not ours).
int catbird_wait(int pidfd, pid_t pid, int blocking, int peek, pid_t *ended, int *exit_code, int *signal);

// Writes to `eventfd` whenever a child ends. It sets the process's SIGCHLD handler.
int catbird_notify_child_exit(int eventfd);

int catbird_set_child_subreaper(int enabled);
int catbird_set_process_name(const char *name);

// open(2) with O_CLOEXEC; the variadic original cannot be called from Swift with a mode everywhere.
int catbird_open(const char *path, int flags, mode_t mode);
int catbird_openat(int directory, const char *path, int flags, mode_t mode);
// openat2(2) with O_CLOEXEC; `resolve` is of the values below.
int catbird_openat2(int directory, const char *path, int flags, mode_t mode, uint64_t resolve);
enum {
    CATBIRD_RESOLVE_NO_XDEV = 0x01,
    CATBIRD_RESOLVE_NO_MAGICLINKS = 0x02,
    CATBIRD_RESOLVE_NO_SYMLINKS = 0x04,
    CATBIRD_RESOLVE_BENEATH = 0x08,
    CATBIRD_RESOLVE_IN_ROOT = 0x10,
    CATBIRD_OPEN_PATH = 010000000,
};
int catbird_dup_cloexec(int fd);
int catbird_pipe(int fds[2]);
int catbird_set_nonblocking(int fd, int enabled);
int catbird_set_cloexec(int fd, int enabled);
int catbird_memfd(const char *name);
int catbird_renameat2(const char *from, const char *to, unsigned flags);

// Locks the whole file for the open file description. `kind`: 'r', 'w' or 'u' (unlock). 0 when done; -1 with EAGAIN
// when someone else holds it and `wait` is 0.
int catbird_lock(int fd, char kind, int wait);

int catbird_accept(int fd);

// Sends all bytes; the descriptors go with the first of them. Returns 0.
int catbird_send_with_fds(int socket, const void *bytes, size_t count, const int *fds, size_t fd_count);
// Receives up to `count` bytes and up to `fd_capacity` descriptors (close-on-exec). Returns the bytes received, 0 at
// the end; sets *fd_count. More descriptors than fit are closed by the kernel.
ssize_t catbird_receive_with_fds(
    int socket, void *bytes, size_t count, int *fds, size_t fd_capacity, size_t *fd_count);

// A stream socket bound to a port of all the namespace's addresses, in both families where the kernel has both.
int catbird_bind_everywhere(uint16_t port);

// The pid, uid and gid of the process at the other end of a Unix socket.
int catbird_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid);

// Whether capability `number` is in the effective set: 1 or 0.
int catbird_has_capability(int number);

// A new pseudo terminal: both ends close-on-exec.
int catbird_open_pty(int *primary, int *replica, uint16_t rows, uint16_t columns);
int catbird_set_window_size(int fd, uint16_t rows, uint16_t columns);

// A raw netlink socket bound to `groups` (a bit mask), with strict checking and extended acknowledgements switched on.
int catbird_netlink_open(int protocol, uint32_t groups);
int catbird_netlink_add_group(int fd, unsigned group);
// Makes room for a datagram of `size` bytes to be sent.
int catbird_netlink_send_room(int fd, size_t size);
// Receives one datagram whole: the buffer is enlarged as needed (malloc); only what the kernel itself sent is returned.
ssize_t catbird_netlink_receive(int fd, uint8_t **buffer, size_t *capacity);

int catbird_mknod_char(const char *path, mode_t mode, unsigned major, unsigned minor);
long catbird_filesystem_magic(const char *path);

#endif
