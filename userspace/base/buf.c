#include "base/buf.h"

#include <stdarg.h>

#define BUF_MIN_CAP 256u

void buf_init(struct buf *b, size_t max)
{
	*b = BUF_INIT(max);
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
	b->start = b->end = 0;
	b->error = 0;
}

void buf_consume(struct buf *b, size_t n)
{
	b->start += MIN(n, buf_len(b));
	if (b->start == b->end)
		b->start = b->end = 0;
}

void buf_truncate(struct buf *b, size_t len)
{
	if (len < buf_len(b))
		b->end = b->start + len;
}

static int fail(struct buf *b, int error)
{
	b->error = error;
	return error;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b);
	size_t cap;
	uint8_t *data;

	if (b->error)
		return NULL;
	if (n > b->max - len) {
		fail(b, -ENOBUFS);
		return NULL;
	}
	if (n <= b->cap - b->end && b->data)
		return b->data + b->end;
	if (b->start > 0 && n <= b->cap - len) {
		memmove(b->data, b->data + b->start, len);
		b->start = 0;
		b->end = len;
		return b->data + b->end;
	}
	cap = MAX(b->cap, (size_t)BUF_MIN_CAP);
	while (cap < len + n)
		cap *= 2;
	data = malloc(cap);
	if (!data) {
		fail(b, -ENOMEM);
		return NULL;
	}
	if (len > 0)
		memcpy(data, b->data + b->start, len);
	free(b->data);
	b->data = data;
	b->cap = cap;
	b->start = 0;
	b->end = len;
	return b->data + b->end;
}

void buf_commit(struct buf *b, size_t n)
{
	b->end += MIN(n, b->cap - b->end);
}

int buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *to;

	if (n == 0)
		return b->error;
	to = buf_reserve(b, n);
	if (!to)
		return b->error;
	memcpy(to, p, n);
	b->end += n;
	return 0;
}

int buf_put_span(struct buf *b, struct span s)
{
	return buf_put(b, s.p, s.len);
}

int buf_put_str(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

int buf_put_cstr(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s) + 1);
}

int buf_put_u8(struct buf *b, uint8_t v)
{
	return buf_put(b, &v, 1);
}

int buf_put_be16(struct buf *b, uint16_t v)
{
	return buf_put(b, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

int buf_put_be32(struct buf *b, uint32_t v)
{
	return buf_put(
		b,
		(uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v},
		4);
}

int buf_put_be64(struct buf *b, uint64_t v)
{
	if (buf_put_be32(b, (uint32_t)(v >> 32)) < 0)
		return b->error;
	return buf_put_be32(b, (uint32_t)v);
}

int buf_put_le32(struct buf *b, uint32_t v)
{
	return buf_put(
		b,
		(uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)},
		4);
}

int buf_put_le64(struct buf *b, uint64_t v)
{
	if (buf_put_le32(b, (uint32_t)v) < 0)
		return b->error;
	return buf_put_le32(b, (uint32_t)(v >> 32));
}

int buf_putf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	uint8_t *to;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return fail(b, -EINVAL);
	to = buf_reserve(b, (size_t)n + 1);
	if (!to)
		return b->error;
	va_start(ap, fmt);
	(void)vsnprintf((char *)to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->end += (size_t)n;
	return 0;
}

int buf_put_hex(struct buf *b, struct span s)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *to;

	if (s.len > SIZE_MAX / 2)
		return fail(b, -ENOBUFS);
	to = buf_reserve(b, s.len * 2);
	if (!to)
		return b->error;
	for (size_t i = 0; i < s.len; i++) {
		to[2 * i] = (uint8_t)digits[s.p[i] >> 4];
		to[2 * i + 1] = (uint8_t)digits[s.p[i] & 15];
	}
	b->end += s.len * 2;
	return 0;
}

void buf_set_be32(struct buf *b, size_t offset, uint32_t v)
{
	uint8_t *at;

	if (offset > buf_len(b) || buf_len(b) - offset < 4)
		return;
	at = b->data + b->start + offset;
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}
