/* proc.h - what /proc and the files say of a process that the kernel side named.
 * Used by: roles/warden.c, tools. Needs privilege to read other users' processes.
 * Promises: what it returns belongs to the process with that key: the key is checked before and
 * after each read. A container cannot make it read outside its own root. */
#ifndef SLUICE_IDENTITY_PROC_H
#define SLUICE_IDENTITY_PROC_H

#include "base/arena.h"
#include "model/identity.h"

/* Digests of executables by (device, inode, size, mtime, ctime), bounded. */
struct exe_cache;
int exe_cache_new(size_t entries, struct exe_cache **ret_cache);
void exe_cache_free(struct exe_cache *cache);
DEFINE_CLEANUP(struct exe_cache *, exe_cache_free, exe_cache_freep)

/* Fill the /proc part of *process, whose key (tgid, start_boottime) and cgroup_id are set: exe, its
 * digest, arguments, cgroup path, container, ancestors. Strings go to arena and hold no control
 * characters ('?' stands for each). container is container_id()'s answer, else the last component
 * of the cgroup path. cache may be NULL. self_exec_id cannot be seen in /proc: an exec since the
 * kernel side looked is noticed when the executable's inode is another than exe_ino (0: not
 * compared); an exec of the same file is not, and the arguments are then those of the later one.
 * -ESRCH: the process is gone, the pid is another's now, or it is another program; -ENOMEM. On
 * failure nothing is changed. Missing parts are left unset. start_boottime 0: take the process as
 * it is (tools).
 * Reads the whole executable, at most EXE_BYTES_MAX, when its digest is not cached, and those of
 * its ancestors: within the limits that exe_cache.h tells of. Beyond them digests are unset. */
_must_check_ int proc_resolve(struct exe_cache *cache, struct arena *arena,
			      struct process *process);

/* Read a file inside the root of a process: through its held /proc/PID and openat2 with
 * RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS; a regular file of at most TOKEN_BYTES_MAX bytes, none
 * that the kernel makes up (proc, sysfs). The process is checked before and after. path must be
 * absolute, else -EINVAL. -ESRCH: gone. -ENOENT, -EACCES, -ELOOP, -EFBIG, -ENOTSUP (not such a
 * file), … Never waits on a pipe or device; a file system that is slow can make it wait. */
_must_check_ int proc_read_file(const struct proc_key *key, const char *path, struct arena *arena,
				struct span *ret_bytes);

/* Container id in a cgroup path (containerd, CRI-O, Docker, Podman), the topmost if there are more,
 * or NULL when there is none that is known (runc by name). Also NULL without memory. */
const char *container_id(const char *cgroup_path, struct arena *arena);

#endif
