// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE 1
#include "CLinux.h"

#include <sys/syscall.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int catbird_setns(int fd, int kind) { return setns(fd, kind); }
int catbird_unshare(int kinds) { return unshare(kinds); }

_Static_assert(sizeof(struct catbird_processors) == sizeof(cpu_set_t), "processors are not those of sched_setaffinity");

int catbird_getaffinity(pid_t thread, struct catbird_processors *processors) {
    return sched_getaffinity(thread, sizeof *processors, (cpu_set_t *)processors);
}

int catbird_setaffinity(const struct catbird_processors *processors) {
    return sched_setaffinity(0, sizeof *processors, (const cpu_set_t *)processors);
}
pid_t catbird_gettid(void) { return (pid_t)syscall(SYS_gettid); }
int catbird_pivot_root(const char *new_root, const char *put_old) {
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}
int catbird_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int catbird_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}
int catbird_set_child_subreaper(int enabled) { return prctl(PR_SET_CHILD_SUBREAPER, enabled, 0, 0, 0); }
int catbird_set_process_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int catbird_wait(int pidfd, pid_t pid, int blocking, int peek, pid_t *ended, int *exit_code, int *signal) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int options = WEXITED | (blocking ? 0 : WNOHANG) | (peek ? WNOWAIT : 0);
    idtype_t type = pidfd >= 0 ? (idtype_t)P_PIDFD : pid > 0 ? P_PID : P_ALL;
    id_t identifier = pidfd >= 0 ? (id_t)pidfd : (id_t)pid;
    int result;
    do result = waitid(type, identifier, &info, options);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -1;
    if (info.si_pid == 0) return 0;
    *ended = info.si_pid;
    *exit_code = info.si_code == CLD_EXITED ? info.si_status : 0;
    *signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    return 1;
}

static volatile int child_exit_event = -1;

static void child_exited(int number) {
    (void)number;
    int before = errno;
    uint64_t one = 1;
    if (write(child_exit_event, &one, sizeof one) < 0) errno = 0;
    errno = before;
}

int catbird_notify_child_exit(int eventfd) {
    child_exit_event = eventfd;
    struct sigaction action = {.sa_handler = child_exited, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    return sigaction(SIGCHLD, &action, NULL);
}

int catbird_has_capability(int number) {
    // Layout of capget(2), version 3.
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } data[2];
    memset(data, 0, sizeof data);
    if (number < 0 || number > 63 || syscall(SYS_capget, &header, data) < 0) return 0;
    return (data[number / 32].effective >> (number % 32)) & 1;
}
