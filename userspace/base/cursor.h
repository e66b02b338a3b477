/* cursor.h - the one reader of bytes that come from outside.
 * Used by: every codec and every message decoder.
 * Promises: never reads past the span; a failed read moves nothing and leaves outputs untouched. */
#ifndef SLUICE_BASE_CURSOR_H
#define SLUICE_BASE_CURSOR_H

#include "base/span.h"

struct cursor {
	const uint8_t *p;
	const uint8_t *end;
};

static inline struct cursor cursor_of(struct span s)
{
	return (struct cursor){.p = s.p, .end = s.p ? s.p + s.len : s.p};
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

static inline struct span cursor_rest(const struct cursor *c)
{
	return span_of(c->p, cursor_left(c));
}

/* All reads: 0, or -EBADMSG when fewer bytes are left than asked for. */

_must_check_ static inline int cursor_span(struct cursor *c, size_t n, struct span *ret)
{
	if (cursor_left(c) < n)
		return -EBADMSG;
	*ret = span_of(c->p, n);
	c->p += n;
	return 0;
}

_must_check_ static inline int cursor_skip(struct cursor *c, size_t n)
{
	if (cursor_left(c) < n)
		return -EBADMSG;
	c->p += n;
	return 0;
}

_must_check_ static inline int cursor_u8(struct cursor *c, uint8_t *ret)
{
	if (cursor_left(c) < 1)
		return -EBADMSG;
	*ret = *c->p++;
	return 0;
}

_must_check_ static inline int cursor_be16(struct cursor *c, uint16_t *ret)
{
	if (cursor_left(c) < 2)
		return -EBADMSG;
	*ret = (uint16_t)((c->p[0] << 8) | c->p[1]);
	c->p += 2;
	return 0;
}

_must_check_ static inline int cursor_be32(struct cursor *c, uint32_t *ret)
{
	if (cursor_left(c) < 4)
		return -EBADMSG;
	*ret = ((uint32_t)c->p[0] << 24) | ((uint32_t)c->p[1] << 16) | ((uint32_t)c->p[2] << 8) |
	       c->p[3];
	c->p += 4;
	return 0;
}

_must_check_ static inline int cursor_be64(struct cursor *c, uint64_t *ret)
{
	uint32_t hi;
	uint32_t lo;

	if (cursor_left(c) < 8)
		return -EBADMSG;
	if (cursor_be32(c, &hi) < 0 || cursor_be32(c, &lo) < 0)
		return -EBADMSG;
	*ret = ((uint64_t)hi << 32) | lo;
	return 0;
}

_must_check_ static inline int cursor_le16(struct cursor *c, uint16_t *ret)
{
	if (cursor_left(c) < 2)
		return -EBADMSG;
	*ret = (uint16_t)((c->p[1] << 8) | c->p[0]);
	c->p += 2;
	return 0;
}

_must_check_ static inline int cursor_le32(struct cursor *c, uint32_t *ret)
{
	if (cursor_left(c) < 4)
		return -EBADMSG;
	*ret = ((uint32_t)c->p[3] << 24) | ((uint32_t)c->p[2] << 16) | ((uint32_t)c->p[1] << 8) |
	       c->p[0];
	c->p += 4;
	return 0;
}

_must_check_ static inline int cursor_le64(struct cursor *c, uint64_t *ret)
{
	uint32_t hi;
	uint32_t lo;

	if (cursor_left(c) < 8)
		return -EBADMSG;
	if (cursor_le32(c, &lo) < 0 || cursor_le32(c, &hi) < 0)
		return -EBADMSG;
	*ret = ((uint64_t)hi << 32) | lo;
	return 0;
}

/* A NUL-terminated string: *ret excludes the NUL, which is consumed; -EBADMSG when there is none.
 */
_must_check_ static inline int cursor_cstr(struct cursor *c, struct span *ret)
{
	const uint8_t *nul;

	if (cursor_left(c) == 0)
		return -EBADMSG;
	nul = memchr(c->p, 0, cursor_left(c));
	if (!nul)
		return -EBADMSG;
	*ret = span_of(c->p, (size_t)(nul - c->p));
	c->p = nul + 1;
	return 0;
}

#endif
