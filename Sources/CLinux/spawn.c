// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE 1
#include "CLinux.h"

#include <grp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

enum { STACK_SIZE = 256 * 1024 };

// The child shares the parent's memory (CLONE_VM) and the calling thread stands still until exec (CLONE_VFORK), so an
// error is reported by writing it here. The child must touch nothing else and must take no lock.
struct child {
    const struct catbird_spawn *spawn;
    pid_t parent;
    volatile int error;
    volatile int stage;
};

static int fail(struct child *child, int stage) {
    child->stage = stage;
    child->error = errno ? errno : EINVAL;
    _exit(127);
}

static void close_on_exec_range(unsigned first, unsigned last) {
    if (first > last) return;
    if (syscall(SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC) == 0) return;
    if (syscall(SYS_close_range, first, last, 0) == 0) return;
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > 65536) limit = 65536;
    for (unsigned fd = first; fd <= last && fd < (unsigned)limit; fd++) fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

static void default_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
}

static int place_descriptors(const struct catbird_spawn *spawn) {
    int highest = 2;
    for (size_t i = 0; i < spawn->mapping_count; i++)
        if (spawn->mappings[i].target > highest) highest = spawn->mappings[i].target;
    // Out of the way first: a source may be another mapping's target.
    int *moved = alloca(sizeof(int) * (spawn->mapping_count + 1));
    for (size_t i = 0; i < spawn->mapping_count; i++) {
        moved[i] = fcntl(spawn->mappings[i].source, F_DUPFD_CLOEXEC, highest + 1);
        if (moved[i] < 0) return -1;
    }
    for (size_t i = 0; i < spawn->mapping_count; i++)
        if (dup2(moved[i], spawn->mappings[i].target) < 0) return -1;
    // Everything that is no target goes at exec.
    unsigned next = 0;
    for (;;) {
        unsigned lowest = UINT_MAX;
        for (size_t i = 0; i < spawn->mapping_count; i++) {
            unsigned target = (unsigned)spawn->mappings[i].target;
            if (target >= next && target < lowest) lowest = target;
        }
        if (lowest == UINT_MAX) break;
        if (lowest > next) close_on_exec_range(next, lowest - 1);
        next = lowest + 1;
    }
    close_on_exec_range(next, UINT_MAX);
    return 0;
}

static void execute(const struct catbird_spawn *spawn) {
    if (strchr(spawn->path, '/')) {
        execve(spawn->path, spawn->arguments, spawn->environment);
        return;
    }
    const char *search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (char *const *entry = spawn->environment; *entry; entry++)
        if (strncmp(*entry, "PATH=", 5) == 0) search = *entry + 5;
    char candidate[PATH_MAX];
    size_t name = strlen(spawn->path);
    int error = ENOENT;
    while (*search) {
        size_t length = strcspn(search, ":");
        if (length > 0 && length + name + 2 <= sizeof candidate) {
            memcpy(candidate, search, length);
            candidate[length] = '/';
            memcpy(candidate + length + 1, spawn->path, name + 1);
            execve(candidate, spawn->arguments, spawn->environment);
            if (errno != ENOENT && errno != ENOTDIR) error = errno;
        }
        search += length;
        if (*search == ':') search++;
    }
    errno = error;
}

static void set_oom_score(int value) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    char text[16];
    int count = snprintf(text, sizeof text, "%d", value);
    if (write(fd, text, (size_t)count) < 0) errno = 0;
    close(fd);
}

static int run_child(void *argument) {
    struct child *child = argument;
    const struct catbird_spawn *spawn = child->spawn;
    default_signals();
    for (size_t i = 0; i < spawn->cgroup_count; i++)
        if (write(spawn->cgroups[i], "0", 1) != 1) fail(child, CATBIRD_SPAWN_CGROUP);
    if (spawn->new_session && setsid() < 0) fail(child, CATBIRD_SPAWN_SESSION);
    if (spawn->new_process_group && setpgid(0, 0) < 0) fail(child, CATBIRD_SPAWN_SESSION);
    if (spawn->oom_score_adj != INT_MIN) set_oom_score(spawn->oom_score_adj);
    for (size_t i = 0; i < spawn->namespace_count; i++)
        if (setns(spawn->namespaces[i].fd, spawn->namespaces[i].kind) < 0) fail(child, CATBIRD_SPAWN_NAMESPACE);
    if (spawn->root && (chroot(spawn->root) < 0 || chdir("/") < 0)) fail(child, CATBIRD_SPAWN_ROOT);
    if (spawn->directory && chdir(spawn->directory) < 0) fail(child, CATBIRD_SPAWN_DIRECTORY);
    if (place_descriptors(spawn) < 0) fail(child, CATBIRD_SPAWN_DESCRIPTORS);
    if (spawn->controlling_terminal >= 0 && ioctl(spawn->controlling_terminal, TIOCSCTTY, 0) < 0)
        fail(child, CATBIRD_SPAWN_TERMINAL);
    if (spawn->umask >= 0) umask((mode_t)spawn->umask);
    if (spawn->set_ids) {
        // The raw calls change this process only; the C library's would signal the parent's threads.
        if (syscall(SYS_setgroups, spawn->group_count, spawn->groups) < 0 ||
            syscall(SYS_setresgid, spawn->gid, spawn->gid, spawn->gid) < 0 ||
            syscall(SYS_setresuid, spawn->uid, spawn->uid, spawn->uid) < 0)
            fail(child, CATBIRD_SPAWN_IDS);
    }
    if (spawn->parent_death_signal) {
        if (prctl(PR_SET_PDEATHSIG, spawn->parent_death_signal, 0, 0, 0) < 0) fail(child, CATBIRD_SPAWN_IDS);
        if (getppid() != child->parent) _exit(127);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute(spawn);
    return fail(child, CATBIRD_SPAWN_EXEC);
}

struct birth {
    struct child *child;
    char *stack;
    int descriptor;
    pid_t result;
    int error;
};

static void give_birth(struct birth *birth) {
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
    if (birth->child->spawn->new_pid_namespace) flags |= CLONE_NEWPID;
    birth->result = clone(run_child, birth->stack + STACK_SIZE, flags, birth->child, &birth->descriptor);
    birth->error = errno;
}

// A thread that has changed the process namespace of its children can start no thread any more: it ends with this.
static void *give_birth_elsewhere(void *argument) {
    struct birth *birth = argument;
    if (setns(birth->child->spawn->pid_namespace, CLONE_NEWPID) < 0) {
        birth->result = -1;
        birth->error = errno;
        return NULL;
    }
    give_birth(birth);
    return NULL;
}

int catbird_spawn(const struct catbird_spawn *spawn, pid_t *pid, int *pidfd, int *stage) {
    struct child child = {.spawn = spawn, .parent = getpid(), .error = 0, .stage = CATBIRD_SPAWN_CLONE};
    *stage = CATBIRD_SPAWN_CLONE;
    void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct birth birth = {.child = &child, .stack = stack, .descriptor = -1, .result = -1};
    if (spawn->pid_namespace < 0) {
        give_birth(&birth);
    } else {
        pthread_t thread;
        birth.error = pthread_create(&thread, NULL, give_birth_elsewhere, &birth);
        if (birth.error == 0) pthread_join(thread, NULL);
    }
    int descriptor = birth.descriptor;
    pid_t result = birth.result;
    int error = result < 0 ? birth.error : child.error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, STACK_SIZE);
    if (result < 0) return error;
    if (error) {
        *stage = child.stage;
        while (waitpid(result, NULL, 0) < 0 && errno == EINTR) {}
        close(descriptor);
        return error;
    }
    *pid = result;
    *pidfd = descriptor;
    return 0;
}
