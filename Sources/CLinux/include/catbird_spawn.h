// SPDX-License-Identifier: Apache-2.0
#ifndef CATBIRD_SPAWN_H
#define CATBIRD_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

struct catbird_fd_mapping {
    int source;
    int target;
};

struct catbird_namespace {
    int fd;
    int kind;  // CATBIRD_CLONE_NEW…
};

/// What a child does between clone and exec, in this order: cgroups, session, namespaces, root, directory,
/// descriptors, terminal, ids, exec.
struct catbird_spawn {
    const char *path;           // without a slash it is looked for in PATH of `environment`, in the child's root
    char *const *arguments;     // NULL at the end
    char *const *environment;   // NULL at the end
    const char *root;           // chroot, or NULL
    const char *directory;      // or NULL: as the parent, or / after entering a mount namespace
    const struct catbird_fd_mapping *mappings;  // all others are closed
    size_t mapping_count;
    const struct catbird_namespace *namespaces;  // entered in this order
    size_t namespace_count;
    const int *cgroups;         // open cgroup.procs (or tasks) files
    size_t cgroup_count;
    int new_session;
    int new_process_group;
    int new_pid_namespace;
    int pid_namespace;          // the child is born in it; or -1
    int controlling_terminal;   // a target descriptor, or -1
    int parent_death_signal;    // or 0
    int set_ids;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;        // supplementary, with set_ids
    size_t group_count;
    int umask;                  // or -1
    int oom_score_adj;          // or INT_MIN; a failure is not fatal
};

enum catbird_spawn_stage {
    CATBIRD_SPAWN_CLONE,
    CATBIRD_SPAWN_CGROUP,
    CATBIRD_SPAWN_SESSION,
    CATBIRD_SPAWN_NAMESPACE,
    CATBIRD_SPAWN_ROOT,
    CATBIRD_SPAWN_DIRECTORY,
    CATBIRD_SPAWN_DESCRIPTORS,
    CATBIRD_SPAWN_TERMINAL,
    CATBIRD_SPAWN_IDS,
    CATBIRD_SPAWN_EXEC,
};

/// Starts a process; returns 0, or the errno of the step that failed with *stage set. A child that could not exec has
/// been waited for already. The pidfd is close-on-exec.
int catbird_spawn(const struct catbird_spawn *spawn, pid_t *pid, int *pidfd, int *stage);

#endif
