#include "proto/postgres/pg_codec.h"

/* Types whose text form may be any characters: stars in place of each byte stay a value. */
enum {
	OID_TEXT = 25,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
};

#define STARS_MAX 4096u

static int malformed(struct pg_codec *c)
{
	return pg_fatal_backend(c, "a malformed row");
}

/* One masked value: its length and what stands in its place. */
static int put_field(struct pg_codec *c, struct pg_op *op, size_t i, struct span value)
{
	struct buf *out = &c->out;
	size_t at = buf_len(out);
	size_t begin;
	int r;

	buf_put_be32(out, 0);
	begin = buf_len(out);
	r = c->env.sink.field(c->env.sink.ctx, op->masks[i], op->types[i], value, out);
	if (r < 0)
		return r;
	if (buf_error(out))
		return buf_error(out);
	if (r == 0) {
		buf_truncate(out, begin);
		buf_set_be32(out, at, UINT32_MAX);
	} else {
		buf_set_be32(out, at, (uint32_t)(buf_len(out) - begin));
	}
	op->result.masked++;
	return 0;
}

static int rebuild(struct pg_codec *c, struct pg_op *op, struct cursor *cur)
{
	/* Columns without a mask are copied in one go with their neighbours. */
	struct cursor clean = *cur;
	struct span value;
	uint32_t len;

	for (size_t i = 0; i < op->n_columns; i++) {
		size_t before = cursor_left(&clean) - cursor_left(cur);
		struct span run = span_head(cursor_rest(&clean), before);
		int r;

		if (cursor_be32(cur, &len) < 0)
			return -EBADMSG;
		if (len == UINT32_MAX)
			continue;
		if (cursor_span(cur, len, &value) < 0)
			return -EBADMSG;
		if (op->masks[i] == MASK_NONE)
			continue;
		buf_put_span(&c->out, run);
		r = put_field(c, op, i, value);
		if (r < 0)
			return r;
		clean = *cur;
	}
	if (cursor_left(cur) > 0)
		return -EBADMSG;
	return buf_put_span(&c->out, cursor_rest(&clean));
}

/* A row that is held whole: written anew with its masked values. */
int pg_row_rebuild(struct pg_codec *c, struct pg_op *op, struct span whole)
{
	struct cursor cur = cursor_of(whole);
	struct span head;
	size_t at;
	int r = pg_flush_agent_run(c);

	if (r < 0)
		return r;
	at = buf_len(&c->out);
	if (cursor_span(&cur, PG_HEADER_COUNT, &head) < 0)
		return malformed(c);
	buf_put_span(&c->out, head);
	r = rebuild(c, op, &cur);
	if (r < 0) {
		buf_truncate(&c->out, at);
		return r == -EBADMSG ? malformed(c) : r;
	}
	buf_set_be32(&c->out, at + 1, (uint32_t)(buf_len(&c->out) - at - 1));
	return 1;
}

/* ---- too large to hold ---- */

/* Its length is sent before its values are seen, so what is masked keeps its length. */
int pg_row_begin(struct pg_codec *c, struct pg_op *op)
{
	int r;

	for (size_t i = 0; i < op->n_columns; i++)
		if (op->masks[i] != MASK_NONE && op->types[i] != OID_TEXT &&
		    op->types[i] != OID_VARCHAR && op->types[i] != OID_BPCHAR)
			return pg_fatal(
				c, -EACCES, "0A000", "Select fewer or shorter columns at a time.",
				"sluice: a row of %u bytes with a masked column that is not "
				"text is too large to be masked",
				c->back.length - 4);
	c->row = (struct pg_row){.op = op};
	c->back.mode = PG_MODE_ROW;
	c->agent_mid = true;
	r = pg_pass(c, &c->back, c->back.head);
	return r < 0 ? r : 1;
}

static int put_stars(struct pg_codec *c, size_t n)
{
	static uint8_t stars[STARS_MAX];
	int r = 0;

	if (stars[0] == 0)
		memset(stars, '*', sizeof(stars));
	while (n > 0 && r == 0) {
		size_t part = MIN(n, sizeof(stars));

		r = pg_to_agent(c, span_of(stars, part));
		n -= part;
	}
	return r;
}

/* Four bytes of a value's length are there. */
static int begin_value(struct pg_codec *c)
{
	struct pg_row *row = &c->row;
	struct cursor cur = cursor_of(span_of(row->length, sizeof(row->length)));
	uint32_t len;
	int r = pg_to_agent(c, span_of(row->length, sizeof(row->length)));

	if (r < 0)
		return r;
	if (cursor_be32(&cur, &len) < 0)
		return -EPROTO;
	row->length_len = 0;
	row->star = row->op->masks[row->column] != MASK_NONE;
	if (len == UINT32_MAX) {
		row->column++;
		return 0;
	}
	if (len > c->back.left)
		return malformed(c);
	row->op->result.masked += row->star;
	row->value_left = len;
	row->in_value = true;
	return 0;
}

static int feed_value(struct pg_codec *c, struct cursor *in)
{
	struct pg_row *row = &c->row;
	size_t n = MIN((size_t)row->value_left, cursor_left(in));
	struct span part;
	int r;

	if (cursor_span(in, n, &part) < 0)
		return -EPROTO;
	r = row->star ? put_stars(c, n) : pg_pass(c, &c->back, part);
	c->back.left -= (uint32_t)n;
	row->value_left -= (uint32_t)n;
	if (row->value_left == 0) {
		row->in_value = false;
		row->column++;
	}
	return r;
}

/* 1: the row is through; 0: more bytes are needed. */
int pg_row_feed(struct pg_codec *c, struct cursor *in)
{
	struct pg_row *row = &c->row;
	int r = 0;

	while (row->column < row->op->n_columns) {
		if (row->in_value) {
			if (row->value_left > 0 && cursor_left(in) == 0)
				return 0;
			r = feed_value(c, in);
		} else {
			if (c->back.left < sizeof(row->length) - row->length_len)
				return malformed(c);
			while (row->length_len < sizeof(row->length)) {
				if (cursor_u8(in, &row->length[row->length_len]) < 0)
					return 0;
				row->length_len++;
				c->back.left--;
			}
			r = begin_value(c);
		}
		if (r < 0)
			return r;
	}
	if (c->back.left > 0)
		return malformed(c);
	c->back.mode = PG_MODE_HEADER;
	c->agent_mid = false;
	r = pg_boundary(c);
	return r < 0 ? r : 1;
}
