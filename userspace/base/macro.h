/* macro.h - cleanup attributes, ownership transfer and small checked arithmetic.
 * Used by: everything. Depends on nothing but libc.
 * Promises: no macro evaluates an argument twice unless it says so. */
#ifndef SLUICE_BASE_MACRO_H
#define SLUICE_BASE_MACRO_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _must_check_   __attribute__((warn_unused_result))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_       __attribute__((unused))
#define _noreturn_     __attribute__((noreturn))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                                  \
	({                                         \
		__typeof__(a) min_a_ = (a);        \
		__typeof__(b) min_b_ = (b);        \
		min_a_ < min_b_ ? min_a_ : min_b_; \
	})
#define MAX(a, b)                                  \
	({                                         \
		__typeof__(a) max_a_ = (a);        \
		__typeof__(b) max_b_ = (b);        \
		max_a_ > max_b_ ? max_a_ : max_b_; \
	})

/* Ownership leaves a cleanup variable only through these. */
#define TAKE_PTR(p)                                \
	({                                         \
		__typeof__(p) *take_from_ = &(p);  \
		__typeof__(p) take_ = *take_from_; \
		*take_from_ = NULL;                \
		take_;                             \
	})
#define TAKE_FD(fd)                      \
	({                               \
		int *take_from_ = &(fd); \
		int take_ = *take_from_; \
		*take_from_ = -1;        \
		take_;                   \
	})

/* Define `static inline void name(type *p)` for use with _cleanup_. */
#define DEFINE_CLEANUP(type, func, name) \
	static inline void name(type *p) \
	{                                \
		if (*p)                  \
			func(*p);        \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose, fclosep)

#define _cleanup_free_	_cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_file_	_cleanup_(fclosep)

/* Close *fd if it is open and forget it. */
static inline void fd_clear(int *fd)
{
	closep(fd);
	*fd = -1;
}

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Equal, where either may be NULL (two NULLs are equal). */
static inline bool streq_null(const char *a, const char *b)
{
	return a && b ? streq(a, b) : a == b;
}

#endif
