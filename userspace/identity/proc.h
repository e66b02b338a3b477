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
 * digest, arguments, cgroup path, container id, ancestors. Strings go to arena.
 * -ESRCH: the process is gone or the pid is another's now; has_proc stays false, nothing else is
 * changed. Missing parts are left unset. start_boottime 0: take the process as it is (tools). */
_must_check_ int proc_resolve(struct exe_cache *cache, struct arena *arena,
			      struct process *process);

/* Read a file inside the root of a process: pidfd, /proc/PID/root, openat2 with RESOLVE_IN_ROOT
 * and RESOLVE_NO_MAGICLINKS; a regular file of at most TOKEN_BYTES_MAX bytes. The process is
 * checked before and after. -ESRCH: gone. -ENOENT, -EACCES, -EFBIG, -ENOTSUP (not a regular
 * file), … path must be absolute. */
_must_check_ int proc_read_file(const struct proc_key *key, const char *path, struct arena *arena,
				struct span *ret_bytes);

/* Container id in a cgroup path (containerd, CRI-O, Docker, Podman, runc by name), or NULL when
 * there is none that is known: then the last component serves. */
const char *container_id(const char *cgroup_path, struct arena *arena);

#endif
