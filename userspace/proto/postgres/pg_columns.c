#include "proto/postgres/pg_codec.h"

static int read_columns(struct pg_codec *c, struct cursor cur, size_t n)
{
	struct span name;

	for (size_t i = 0; i < n; i++) {
		struct proto_column *col = &c->columns[i];
		uint32_t unused;
		uint16_t attnum;
		uint16_t format;

		if (cursor_cstr(&cur, &name) < 0 || cursor_be32(&cur, &col->table_oid) < 0 ||
		    cursor_be16(&cur, &attnum) < 0 || cursor_be32(&cur, &col->type_oid) < 0 ||
		    cursor_skip(&cur, 2) < 0 || cursor_be32(&cur, &unused) < 0 ||
		    cursor_be16(&cur, &format) < 0)
			return -EBADMSG;
		col->name = (const char *)name.p;
		col->attnum = (int16_t)attnum;
		col->binary = format != 0;
	}
	return cursor_left(&cur) > 0 ? -EBADMSG : 0;
}

static int grow_columns(struct pg_codec *c, struct pg_op *op, size_t n)
{
	if (c->cap_columns < n) {
		struct proto_column *columns = realloc(c->columns, n * sizeof(*columns));

		if (!columns)
			return -ENOMEM;
		c->columns = columns;
		c->cap_columns = n;
	}
	if (op->cap_columns < n) {
		uint8_t *masks = realloc(op->masks, n);
		uint32_t *types;

		if (!masks)
			return -ENOMEM;
		op->masks = masks;
		types = realloc(op->types, n * sizeof(*types));
		if (!types)
			return -ENOMEM;
		op->types = types;
		op->cap_columns = n;
	}
	return 0;
}

/* The description is dealt with: it goes on to the agent, unless the agent did not ask. */
static int description_done(struct pg_codec *c, struct pg_op *op, size_t n, struct span whole)
{
	struct pg_reply *reply = pg_reply_first(c);
	int r = 0;

	op->has_columns = true;
	op->n_columns = (uint16_t)n;
	op->rebuild = false;
	for (size_t i = 0; i < n; i++)
		op->rebuild |= op->masks[i] != MASK_NONE;
	if (!reply->injected)
		r = pg_to_agent(c, whole);
	if (reply->kind == PG_REPLY_DESCRIBE_PORTAL)
		pg_reply_pop(c);
	return r;
}

/* RowDescription of a masked operation, whole. */
int pg_columns_whole(struct pg_codec *c, struct span whole)
{
	struct cursor cur = cursor_of(span_skip(whole, PG_HEADER));
	struct pg_op *op = pg_reply_first(c)->op;
	uint16_t n;
	int r;

	if (cursor_be16(&cur, &n) < 0 || n > PROTO_COLUMNS_MAX)
		return pg_fatal_backend(c, "a malformed RowDescription");
	r = grow_columns(c, op, n);
	if (r < 0)
		return r;
	if (read_columns(c, cur, n) < 0)
		return pg_fatal_backend(c, "a malformed RowDescription");
	for (size_t i = 0; i < n; i++)
		op->types[i] = c->columns[i].type_oid;
	op->has_columns = false;
	r = n > 0 ? c->env.sink.columns(c->env.sink.ctx, op->id, c->columns, n, op->masks) : 0;
	if (r == PROTO_HOLD) {
		/* What was fed goes away; the description stays. */
		if (buf_len(&c->back.msg) == 0 && buf_put_span(&c->back.msg, whole) < 0)
			return buf_error(&c->back.msg);
		op->n_columns = n;
		c->columns_wait = true;
		return PROTO_HOLD;
	}
	return r < 0 ? r : description_done(c, op, n, whole);
}

int pg_back_columns_ready(struct pg_codec *c, const uint8_t *masks, size_t n)
{
	struct pg_op *op = pg_reply_first(c)->op;
	int r;

	if (n != op->n_columns)
		return -EINVAL;
	c->columns_wait = false;
	if (n > 0)
		memcpy(op->masks, masks, n);
	r = description_done(c, op, n, buf_span(&c->back.msg));
	pg_stream_next(&c->back, PG_MODE_SKIP);
	return r < 0 ? r : pg_boundary(c);
}

int pg_columns_begin(struct pg_codec *c, struct pg_reply *reply)
{
	struct pg_op *op = reply->op;
	uint16_t count = c->back.count;

	if (count > PROTO_COLUMNS_MAX)
		return pg_fatal_backend(c, "more columns than a result can have");
	switch (reply->kind) {
	case PG_REPLY_QUERY:
		if (reply->state != PG_WAITING && reply->state != PG_COMPLETE)
			break;
		reply->state = PG_ROWS;
		reply->rows = 0;
		if (op->masked)
			return pg_back_gather(c, PG_COLUMNS_HOLD_MAX);
		op->has_columns = true;
		op->n_columns = count;
		return pg_back_pass(c);
	case PG_REPLY_DESCRIBE_PORTAL:
		if (op && op->masked)
			return pg_back_gather(c, PG_COLUMNS_HOLD_MAX);
		if (op) {
			op->has_columns = true;
			op->n_columns = count;
		}
		pg_reply_pop(c);
		return pg_back_pass(c);
	case PG_REPLY_DESCRIBE_STATEMENT:
		if (reply->state != PG_DESCRIBED)
			break;
		pg_reply_pop(c);
		return pg_back_pass(c);
	default:
		break;
	}
	return pg_fatal_backend(c, PG_OUT_OF_TURN);
}

int pg_columns_none(struct pg_codec *c, struct pg_reply *reply)
{
	bool injected = reply->injected;
	struct pg_op *op = reply->op;

	if (reply->kind == PG_REPLY_DESCRIBE_PORTAL) {
		if (op) {
			op->has_columns = false;
			op->rebuild = false;
		}
	} else if (reply->kind != PG_REPLY_DESCRIBE_STATEMENT || reply->state != PG_DESCRIBED) {
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	}
	pg_reply_pop(c);
	return injected ? pg_back_skip(c) : pg_back_pass(c);
}
