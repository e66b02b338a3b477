/* catalog_script.h - a server's answer to the catalog query, written by hand.
 * Used by: tests of the catalog and of the mask guard.
 * Promises: messages are well-formed; what they say is the test's affair. */
#ifndef SLUICE_TESTS_CATALOG_SCRIPT_H
#define SLUICE_TESTS_CATALOG_SCRIPT_H

#include "proto/postgres/pg_catalog.h"

static inline void script_message(struct buf *b, char type, const void *body, size_t len)
{
	buf_put_u8(b, (uint8_t)type);
	buf_put_be32(b, (uint32_t)len + 4);
	buf_put(b, body, len);
}

/* The beginning of a result; what its columns are called is not looked at. */
static inline void script_result(struct buf *b)
{
	script_message(b, 'T', "\0\0", 2);
}

/* A row of values parted by spaces. */
static inline void script_row(struct buf *b, const char *values)
{
	_cleanup_buf_ struct buf body = BUF_INIT(1 << 16);
	uint16_t n = 1;

	for (const char *p = values; *p; p++)
		n = (uint16_t)(n + (*p == ' '));
	buf_put_be16(&body, n);
	for (const char *p = values; p;) {
		const char *end = strchrnul(p, ' ');

		buf_put_be32(&body, (uint32_t)(end - p));
		buf_put(&body, p, (size_t)(end - p));
		p = *end ? end + 1 : NULL;
	}
	script_message(b, 'D', buf_span(&body).p, buf_len(&body));
}

static inline void script_rows(struct buf *b, const char *const *rows)
{
	script_result(b);
	for (; *rows; rows++)
		script_row(b, *rows);
	script_message(b, 'C', "SELECT", 7);
}

static inline void script_end(struct buf *b)
{
	script_message(b, 'Z', "I", 1);
}

struct script {
	const char *const *relations; /* each ends with NULL */
	const char *const *columns;
	const char *const *edges;
	const char *const *functions;
	const char *const *path;
};

static inline void script_put(struct buf *b, const struct script *s)
{
	script_message(b, 'C', "SET", 4);
	script_message(b, 'S', "a\0b", 4);
	script_rows(b, s->relations);
	script_rows(b, s->columns);
	script_rows(b, s->edges);
	script_rows(b, s->functions);
	script_rows(b, s->path);
	script_message(b, 'C', "COMMIT", 7);
	script_end(b);
}

#endif
