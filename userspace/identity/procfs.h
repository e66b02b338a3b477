/* procfs.h - one process in /proc, held so that no other can take its place.
 * Used by: identity/.
 * Promises: everything is read through the held directory, which belongs to one process for ever:
 * when that is gone, reads fail, whatever becomes of its pid. */
#ifndef SLUICE_IDENTITY_PROCFS_H
#define SLUICE_IDENTITY_PROCFS_H

#include "base/arena.h"
#include "model/identity.h"

struct procfs_stat {
	uint64_t start_ticks; /* clock ticks since boot, boottime clock */
	uint32_t ppid;
	char state;
};

/* *ret_dir: the directory, the caller's. -ESRCH: there is no such process. */
_must_check_ int procfs_open(uint32_t pid, int *ret_dir);

/* -ESRCH: the process has ended (a zombie has). */
_must_check_ int procfs_stat(int dir, struct procfs_stat *ret_stat);

/* 0 when it is the process that started then; start_boottime 0: any that lives. /proc says the
 * start in clock ticks, so two processes of one pid within one tick cannot be told apart; the
 * kernel hands out pids in turn, which takes longer. -ESRCH otherwise. */
_must_check_ int procfs_check(int dir, uint64_t start_boottime);

/* Read at most cap bytes of a file of the directory. -ESRCH, -EACCES, … */
_must_check_ int procfs_read(int dir, const char *name, void *out, size_t cap, size_t *ret_len);

/* It is the first process of a pid namespace. */
bool procfs_is_init(int dir);

/* A copy that may be shown to people: control characters and bytes that are not UTF-8 become '?'.
 * NULL: no memory. */
char *procfs_clean(struct arena *arena, struct span s);

#endif
