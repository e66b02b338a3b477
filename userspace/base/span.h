/* span.h - a borrowed run of bytes.
 * Used by: everything. A span owns nothing and is valid only as long as what it points into.
 * Promises: comparisons read no byte past len; p may be NULL only when len is 0. */
#ifndef SLUICE_BASE_SPAN_H
#define SLUICE_BASE_SPAN_H

#include "base/macro.h"

struct span {
	const uint8_t *p;
	size_t len;
};

static inline struct span span_of(const void *p, size_t len)
{
	return (struct span){.p = p, .len = len};
}

static inline struct span span_str(const char *s)
{
	return (struct span){.p = (const uint8_t *)s, .len = s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool span_eq_str(struct span a, const char *s)
{
	return span_eq(a, span_str(s));
}

/* The bytes after the first n, or an empty span when there are not that many. */
static inline struct span span_skip(struct span s, size_t n)
{
	if (n >= s.len)
		return (struct span){0};
	return span_of(s.p + n, s.len - n);
}

/* At most the first n bytes. */
static inline struct span span_head(struct span s, size_t n)
{
	return span_of(s.p, MIN(s.len, n));
}

/* Print a span with "%.*s": at most INT_MAX bytes. */
#define SPAN_FMT(s) (int)MIN((s).len, (size_t)INT32_MAX), (const char *)(s).p

#endif
