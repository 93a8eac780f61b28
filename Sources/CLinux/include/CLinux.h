// SPDX-License-Identifier: Apache-2.0
// The kernel's and the C library's declarations that Swift's Glibc module leaves out, and the few functions that
// cannot be written in Swift: variadic calls, macros, raw system calls, and everything that runs after clone().
#ifndef CATBIRD_CLINUX_H
#define CATBIRD_CLINUX_H

// _GNU_SOURCE is defined by our C files and not here: with it fd_set has another form than in Swift's own Glibc module,
// and the two cannot be used together.

// These two come first, or linux/in.h declares again what the C library has declared already.
#include <netinet/in.h>
#include <net/if.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/neighbour.h>
#include <linux/veth.h>

#include "catbird_calls.h"
#include "catbird_spawn.h"

#endif
