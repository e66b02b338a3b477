/* arena.h - memory that is freed all at once, with a ceiling.
 * Used by: sessions, parsed configuration, classified operations.
 * Promises: allocations are zeroed and 16-byte aligned; past the ceiling NULL, never more memory.
 */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include "base/span.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	size_t used; /* bytes handed out */
	size_t max;
};

#define ARENA_INIT(max_) ((struct arena){.max = (max_)})

void arena_done(struct arena *a);
/* Forget every allocation; the first chunk is kept for reuse. */
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t n);
/* n * size with overflow checked. */
void *arena_calloc(struct arena *a, size_t n, size_t size);
/* A NUL-terminated copy; NULL for a NULL string too. */
char *arena_strdup(struct arena *a, const char *s);
/* A NUL-terminated copy of a span; bytes are copied as they are, NULs included. */
char *arena_strndup(struct arena *a, struct span s);
struct span arena_dup(struct arena *a, struct span s);
char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);

#define _cleanup_arena_ _cleanup_(arena_done)

#endif
