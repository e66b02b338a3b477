/* buf.h - a growable byte buffer with a ceiling, consumed from the front.
 * Used by: everything that builds bytes or queues them.
 * Promises: never holds more than max bytes (-ENOBUFS instead); a failed append changes nothing.
 * A sequence of appends may be written without checking each: the first failure sticks in
 * buf.error, later appends do nothing, and buf_error() tells at the end. */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include "base/span.h"

struct buf {
	uint8_t *data;
	size_t start; /* first unread byte */
	size_t end;   /* one past the last byte */
	size_t cap;
	size_t max; /* ceiling of end - start */
	int error;  /* 0, -ENOBUFS or -ENOMEM; sticky until buf_reset */
};

#define BUF_INIT(max_) ((struct buf){.max = (max_)})

void buf_init(struct buf *b, size_t max);
/* Free the storage; the buffer may be used again with the same ceiling. */
void buf_done(struct buf *b);
/* Empty it and clear the error; storage is kept. */
void buf_reset(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline size_t buf_room(const struct buf *b)
{
	return b->max - buf_len(b);
}

static inline struct span buf_span(const struct buf *b)
{
	return span_of(b->data ? b->data + b->start : NULL, buf_len(b));
}

static inline int buf_error(const struct buf *b)
{
	return b->error;
}

/* Drop n bytes from the front (at most all of them). */
void buf_consume(struct buf *b, size_t n);
/* Cut back to len bytes; a longer len changes nothing. */
void buf_truncate(struct buf *b, size_t len);

/* Make room for n more bytes and return where to write them, or NULL (error set).
 * What was written becomes part of the buffer by buf_commit. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Each returns 0 or the buffer's error. */
int buf_put(struct buf *b, const void *p, size_t n);
int buf_put_span(struct buf *b, struct span s);
int buf_put_str(struct buf *b, const char *s);	/* without the NUL */
int buf_put_cstr(struct buf *b, const char *s); /* with the NUL */
int buf_put_u8(struct buf *b, uint8_t v);
int buf_put_be16(struct buf *b, uint16_t v);
int buf_put_be32(struct buf *b, uint32_t v);
int buf_put_be64(struct buf *b, uint64_t v);
int buf_put_le32(struct buf *b, uint32_t v);
int buf_put_le64(struct buf *b, uint64_t v);
int buf_putf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
int buf_put_hex(struct buf *b, struct span s);
/* Overwrite 4 bytes at offset (from the front) with v, big endian; the bytes must be there. */
void buf_set_be32(struct buf *b, size_t offset, uint32_t v);

#define _cleanup_buf_ _cleanup_(buf_done)

#endif
