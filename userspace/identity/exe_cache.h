/* exe_cache.h - digests of executables, so that each is read once.
 * Used by: identity/.
 * Promises: bounded, in time too; an entry serves only for the same file, unchanged since it was
 * read. */
#ifndef SLUICE_IDENTITY_EXE_CACHE_H
#define SLUICE_IDENTITY_EXE_CACHE_H

#include <sys/stat.h>

#include "identity/proc.h"

#define EXE_BYTES_MAX (512u * 1024u * 1024u)

/* SHA-256 of the whole file behind fd, which fstat says is st. cache may be NULL.
 * What is not cached is read within limits: so many bytes for the processes of a cgroup, and so
 * much time for all, so that nobody can make the caller do nothing else by an executable that is
 * large and changes all the time. Beyond them: -EBUSY, and -ETIME for a file that takes too long.
 * -EFBIG: over EXE_BYTES_MAX; -ENOTSUP: not a regular file; -ESTALE: it changed while it was read;
 * or as read(2). */
_must_check_ int exe_cache_digest(struct exe_cache *cache, uint64_t cgroup_id, int fd,
				  const struct stat *st, uint8_t ret_sha256[static SHA256_LEN]);

#endif
