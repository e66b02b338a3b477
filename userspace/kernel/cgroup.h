/* cgroup.h - the cgroup v2 hierarchy.
 * Used by: roles/warden.c, tools.
 * Promises: paths given and returned are relative to the v2 root and begin with '/'. */
#ifndef SLUICE_KERNEL_CGROUP_H
#define SLUICE_KERNEL_CGROUP_H

#include "base/macro.h"

#define CGROUP_PATH_MAX 1024

/* Mount point of cgroup v2 from /proc/mounts: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid
 * host. -ENODEV: none is mounted. */
_must_check_ int cgroup_v2_root(char *ret_path, size_t size);
/* Id of a cgroup (as the kernel side sees it). -ENOENT. */
_must_check_ int cgroup_id(const char *root, const char *path, uint64_t *ret_id);
/* Make it and its parents; 1 when it was made, 0 when it was there. */
_must_check_ int cgroup_make(const char *root, const char *path);
int cgroup_remove(const char *root, const char *path);
int cgroup_add_pid(const char *root, const char *path, int pid);
/* Path of a cgroup by its id; -ENOENT. */
_must_check_ int cgroup_path(const char *root, uint64_t id, char *ret_path, size_t size);
/* Path of a process's v2 cgroup, from /proc/PID/cgroup. -ESRCH. */
_must_check_ int cgroup_of_pid(int pid, char *ret_path, size_t size);
/* Call for a cgroup and everything below it, the top first; a non-zero return stops and is
 * returned. Skipped are what vanishes under way and what is nested more than 64 deep or has a path
 * longer than CGROUP_PATH_MAX: a container could otherwise stop the walk for all. */
int cgroup_walk(const char *root, const char *path,
		int (*visit)(void *ctx, const char *path, uint64_t id), void *ctx);
/* Every pid directly in a cgroup; a non-zero return stops and is returned. */
int cgroup_pids(const char *root, const char *path, int (*visit)(void *ctx, int pid), void *ctx);

#endif
