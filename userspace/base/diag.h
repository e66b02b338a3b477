/* diag.h - faults found in a document, all of them, each with its place.
 * Used by: yaml, config, policy; printed by roles and tools.
 * Promises: keeps at most DIAGS_MAX faults and counts the rest. */
#ifndef SLUICE_BASE_DIAG_H
#define SLUICE_BASE_DIAG_H

#include "base/arena.h"

#define DIAGS_MAX 256

struct diag {
	const char *file;
	unsigned line;	 /* from 1; 0: the file as a whole */
	unsigned column; /* from 1 */
	const char *text;
};

struct diags {
	struct arena arena;
	size_t n;
	size_t dropped;
	struct diag list[DIAGS_MAX];
};

#define DIAGS_INIT ((struct diags){.arena = ARENA_INIT(1024 * 1024)})

void diags_done(struct diags *d);
void diags_add(struct diags *d, const char *file, unsigned line, unsigned column, const char *fmt,
	       ...) _printf_(5, 6);
/* In order of place: file, line, column; faults of one place in the order they were found. */
void diags_sort(struct diags *d);
/* "file:line:column: text\n" each, sorted. */
void diags_print(struct diags *d, FILE *to);

#endif
