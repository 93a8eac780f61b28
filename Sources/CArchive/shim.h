// SPDX-License-Identifier: Apache-2.0
// libarchive, and the system calls that unpacking without trust in names needs and the C library does not wrap.
#pragma once
// No _GNU_SOURCE, as in CLinux: with it fd_set has another form than in Swift's own Glibc module.
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    CATBIRD_FILE = 0100000,
    CATBIRD_FOLDER = 0040000,
    CATBIRD_SYMBOLIC_LINK = 0120000,
    CATBIRD_PIPE = 0010000,
    CATBIRD_CHARACTER_DEVICE = 0020000,
    CATBIRD_BLOCK_DEVICE = 0060000,
};

static inline int catbird_mknod_at(int directory, const char *name, mode_t mode, unsigned major_, unsigned minor_) {
    return mknodat(directory, name, mode, makedev(major_, minor_));
}

static inline int catbird_set_xattr(int fd, const char *name, const void *value, size_t size) {
    return fsetxattr(fd, name, value, size, 0);
}

// The same for a path that ends in what must not be opened (a symbolic link is not followed).
static inline int catbird_set_path_xattr(const char *path, const char *name, const void *value, size_t size) {
    return lsetxattr(path, name, value, size, 0);
}

static inline int catbird_clone_file(int to, int from) { return ioctl(to, FICLONE, from); }

static inline ssize_t catbird_copy_range(int from, int to, size_t count) {
    return syscall(SYS_copy_file_range, from, NULL, to, NULL, count, 0);
}

static inline int catbird_sync_filesystem(int fd) { return (int)syscall(SYS_syncfs, fd); }

// Gives the calling thread a working directory of its own (CLONE_FS).
static inline int catbird_own_directory(void) { return (int)syscall(SYS_unshare, 0x200); }

static inline int catbird_set_terminal_size(int fd, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size);
}

static inline unsigned catbird_major(dev_t device) { return major(device); }
static inline unsigned catbird_minor(dev_t device) { return minor(device); }

// -1 when there is none.
static inline ssize_t catbird_xattr_size(const char *path, const char *name) { return lgetxattr(path, name, NULL, 0); }
