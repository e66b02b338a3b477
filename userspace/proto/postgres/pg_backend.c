#include "proto/postgres/pg_codec.h"

/* What the server may send at any time is dealt with first; anything else must be what the first of
 * the awaited replies may get, in the state that it is in, or the server is not believed any more.
 */

/* Pass on what is in place: the header, then the rest as it comes. */
int pg_back_pass(struct pg_codec *c)
{
	struct pg_stream *s = &c->back;
	int r = pg_pass(c, s, s->head);

	s->mode = s->left > 0 ? PG_MODE_PASS : PG_MODE_HEADER;
	c->agent_mid = s->left > 0;
	if (r < 0 || c->agent_mid)
		return r;
	return pg_boundary(c);
}

int pg_back_skip(struct pg_codec *c)
{
	c->back.mode = c->back.left > 0 ? PG_MODE_SKIP : PG_MODE_HEADER;
	return 0;
}

int pg_back_gather(struct pg_codec *c, uint32_t max)
{
	struct pg_stream *s = &c->back;
	uint32_t body = s->length - 4;

	if (body > max)
		return pg_fatal_backend(c, "a message longer than any of its type");
	return pg_stream_gather(s, body);
}

static int expect_empty(struct pg_codec *c)
{
	return c->back.length == 4 ? 0 : pg_fatal_backend(c, "content where there is none");
}

/* ---- results ---- */

static void count_bytes(struct pg_codec *c, struct pg_op *op)
{
	if (op)
		op->result.bytes += c->back.length - 4;
}

/* A statement ended; its rows are those that were sent, or those that the tag tells of. */
static void complete(struct pg_reply *reply, struct span tag)
{
	struct op_result *result = reply->op ? &reply->op->result : NULL;
	uint64_t told = pg_tag_rows(tag);

	reply->state = PG_COMPLETE;
	if (result) {
		size_t n = MIN(tag.len, sizeof(result->tag) - 1);

		result->rows += reply->rows > 0 ? reply->rows : told;
		result->executed = true;
		if (n > 0)
			memcpy(result->tag, tag.p, n);
		result->tag[n] = '\0';
	}
	reply->rows = 0;
}

/* The portal has run to its end: if it is executed again, that is another operation. */
static void end_portal_op(struct pg_codec *c, struct pg_op *op)
{
	for (struct pg_name *n = c->names.all[PG_PORTAL]; n; n = n->next)
		if (n->op == op) {
			n->op = NULL;
			pg_op_unref(c, op);
			return;
		}
}

static int on_row(struct pg_codec *c, struct pg_reply *reply)
{
	struct pg_stream *s = &c->back;
	struct pg_op *op = reply->op;

	if (reply->kind == PG_REPLY_EXECUTE && reply->state == PG_WAITING)
		reply->state = PG_ROWS;
	if (reply->state != PG_ROWS || !op || reply->probe)
		return pg_fatal_backend(c, "a row where no result is");
	if (!op->has_columns) {
		if (op->masked)
			return pg_fatal_backend(c, "a row that was not described");
		op->has_columns = true;
		op->n_columns = s->count;
	}
	if (s->count != op->n_columns)
		return pg_fatal_backend(c, "a row with another number of columns than described");
	reply->rows++;
	op->result.executed = true;
	count_bytes(c, op);
	if (!op->rebuild)
		return pg_back_pass(c);
	if (s->length - 4 > PG_ROW_HOLD_MAX)
		return pg_row_begin(c, op);
	return pg_back_gather(c, PG_ROW_HOLD_MAX);
}

/* ---- COPY ---- */

static bool may_begin_copy(const struct pg_reply *reply)
{
	if (reply->probe)
		return false;
	if (reply->kind == PG_REPLY_EXECUTE)
		return reply->state == PG_WAITING;
	return reply->kind == PG_REPLY_QUERY &&
	       (reply->state == PG_WAITING || reply->state == PG_COMPLETE);
}

static int on_copy_in(struct pg_codec *c, struct pg_reply *reply)
{
	/* What the agent has sent behind it already, the server reads as part of the COPY: what
	 * becomes of that is not to be followed. It does not come to this unless a statement that
	 * was classified as another begins one. */
	if (!may_begin_copy(reply) || c->n_replies > 1 || !c->copy_maybe)
		return pg_fatal_backend(c, "COPY from stdin where none was asked for");
	reply->state = PG_COPY_FROM;
	reply->rows = 0;
	reply->op->result.executed = true;
	c->copy_in = true;
	c->copy_maybe = false;
	return pg_back_pass(c);
}

static int on_copy_out(struct pg_codec *c, struct pg_reply *reply)
{
	if (!may_begin_copy(reply))
		return pg_fatal_backend(c, "COPY to stdout where none was asked for");
	/* Under masks only what was read as COPY, and so was checked as one. */
	if (reply->op->masked && !(reply->op->sql->verbs & SQL_COPY_OUT))
		return pg_fatal_backend(c, "COPY to stdout where none was asked for");
	reply->state = PG_COPY_TO;
	reply->rows = 0;
	reply->op->result.executed = true;
	return pg_back_pass(c);
}

static int on_copy_data(struct pg_codec *c, struct pg_reply *reply)
{
	if (reply->state != PG_COPY_TO)
		return pg_fatal_backend(c, "COPY data outside of COPY");
	if (c->back.type == 'c') {
		reply->state = PG_COPY_TO_END;
	} else {
		reply->rows++;
		count_bytes(c, reply->op);
	}
	return pg_back_pass(c);
}

/* ---- ends ---- */

static int on_complete(struct pg_codec *c, struct span whole)
{
	struct cursor cur = cursor_of(span_skip(whole, PG_HEADER));
	struct pg_reply *reply = pg_reply_first(c);
	struct span tag;
	int r;

	if (cursor_cstr(&cur, &tag) < 0 || cursor_left(&cur) > 0)
		return pg_fatal_backend(c, "a malformed CommandComplete");
	/* CopyData of COPY TO are lines, not rows. */
	if (reply->state == PG_COPY_TO_END)
		reply->rows = 0;
	complete(reply, tag);
	c->copy_in = false;
	if (reply->kind == PG_REPLY_EXECUTE) {
		c->copy_maybe = false;
		end_portal_op(c, reply->op);
		pg_reply_pop(c);
	}
	r = pg_to_agent(c, whole);
	return r < 0 ? r : 1;
}

static int begin_complete(struct pg_codec *c, struct pg_reply *reply)
{
	bool runs = reply->kind == PG_REPLY_EXECUTE || reply->kind == PG_REPLY_QUERY;

	/* CopyDone must have come before the end of COPY TO, and the agent's before that of
	 * COPY FROM. */
	if (!runs || reply->probe || reply->state == PG_FAILED || reply->state == PG_COPY_TO ||
	    (reply->state == PG_COPY_FROM && c->copy_in))
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	if (c->back.type == 'C')
		return pg_back_gather(c, PG_TAG_MAX);
	if (expect_empty(c) < 0)
		return -EPROTO;
	if (c->back.type == 's') {
		if (reply->kind != PG_REPLY_EXECUTE || reply->state == PG_COPY_FROM)
			return pg_fatal_backend(c, PG_OUT_OF_TURN);
		reply->op->result.rows += reply->rows;
		c->copy_maybe = false;
		pg_reply_pop(c);
		return pg_back_pass(c);
	}
	complete(reply, (struct span){0});
	if (reply->kind == PG_REPLY_EXECUTE) {
		c->copy_maybe = false;
		end_portal_op(c, reply->op);
		pg_reply_pop(c);
	}
	return pg_back_pass(c);
}

/* ParseComplete, BindComplete, CloseComplete. */
static int on_done(struct pg_codec *c, struct pg_reply *reply, enum pg_reply_kind kind)
{
	if (reply->kind != kind || reply->probe)
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	if (expect_empty(c) < 0)
		return -EPROTO;
	if (reply->name)
		pg_names_settle(&c->names, reply->name);
	pg_reply_pop(c);
	return pg_back_pass(c);
}

static int on_function(struct pg_codec *c, struct pg_reply *reply)
{
	if (reply->kind != PG_REPLY_FUNCTION || reply->state != PG_WAITING)
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	reply->state = PG_COMPLETE;
	reply->op->result.executed = true;
	reply->op->result.rows = 1;
	count_bytes(c, reply->op);
	return pg_back_pass(c);
}

static int on_parameters(struct pg_codec *c, struct pg_reply *reply)
{
	if (reply->kind != PG_REPLY_DESCRIBE_STATEMENT || reply->state != PG_WAITING)
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	reply->state = PG_DESCRIBED;
	/* Of more parameters than are kept, what was declared stands. */
	if (!reply->stmt || c->back.length > 4 + PG_TYPES_MAX)
		return pg_back_pass(c);
	return pg_back_gather(c, PG_TYPES_MAX);
}

/* What the server found out: people are shown values by these. */
static int on_types(struct pg_codec *c, struct span whole)
{
	struct cursor cur = cursor_of(span_skip(whole, PG_HEADER));
	struct pg_reply *reply = pg_reply_first(c);
	struct span oids;
	uint16_t n;
	int r;

	if (cursor_be16(&cur, &n) < 0 || cursor_span(&cur, (size_t)n * 4, &oids) < 0 ||
	    cursor_left(&cur) > 0)
		return pg_fatal_backend(c, "a malformed ParameterDescription");
	r = pg_stmt_set_types(reply->stmt, oids);
	if (r < 0)
		return pg_fatal(c, r, "53200", "Try again.", "sluice: out of memory");
	r = pg_to_agent(c, whole);
	return r < 0 ? r : 1;
}

static int on_ready(struct pg_codec *c, struct span whole)
{
	struct cursor cur = cursor_of(span_skip(whole, PG_HEADER));
	struct pg_reply *reply = pg_reply_first(c);
	uint32_t batch = reply->batch;
	uint8_t status;
	int r;

	if (cursor_u8(&cur, &status) < 0 || !strchr("ITE", status) || status == 0)
		return pg_fatal_backend(c, "a transaction status that does not exist");
	if (reply->kind != PG_REPLY_SYNC && reply->state != PG_COMPLETE &&
	    reply->state != PG_FAILED)
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	c->status = (char)status;
	c->batch_seen = batch;
	c->copy_in = false;
	c->copy_maybe = false;
	pg_reply_pop(c);
	if (status == 'I')
		pg_names_end_transaction(&c->names, batch);
	r = pg_to_agent(c, whole);
	if (r < 0)
		return r;
	return c->n_replies == 0 ? pg_trim(c) : 0;
}

static int begin_ready(struct pg_codec *c, const struct pg_reply *reply)
{
	if (reply->kind != PG_REPLY_SYNC && reply->kind != PG_REPLY_QUERY &&
	    reply->kind != PG_REPLY_FUNCTION)
		return pg_fatal_backend(c, PG_OUT_OF_TURN);
	if (c->back.length != 5)
		return pg_fatal_backend(c, "a malformed ReadyForQuery");
	return pg_back_gather(c, 1);
}

/* ---- at any time ---- */

/* What an error means for what is awaited. */
static void error_effects(struct pg_codec *c, const struct pg_error *e)
{
	struct pg_reply *reply = pg_reply_first(c);

	c->copy_in = false;
	if (!reply) {
		/* A timeout between two messages of the extended protocol. */
		c->skipping |= c->extended;
		return;
	}
	if (reply->op && !reply->probe)
		memcpy(reply->op->result.error, e->sqlstate, sizeof(e->sqlstate));
	if (reply->op && (reply->kind == PG_REPLY_EXECUTE || reply->kind == PG_REPLY_QUERY ||
			  reply->kind == PG_REPLY_FUNCTION))
		reply->op->result.executed = !reply->probe;
	switch (reply->kind) {
	case PG_REPLY_SYNC:
		break; /* at the end of the transaction: ReadyForQuery comes still */
	case PG_REPLY_QUERY:
	case PG_REPLY_FUNCTION:
		reply->state = PG_FAILED;
		break;
	default:
		if (reply->kind == PG_REPLY_EXECUTE)
			end_portal_op(c, reply->op);
		c->copy_maybe = false;
		pg_replies_fail(c);
	}
}

/* ErrorResponse or NoticeResponse to the agent: as it is, replaced, or stripped. */
static int report(struct pg_codec *c, struct span whole, bool cut, const struct pg_error *e)
{
	struct pg_stream *s = &c->back;
	struct pg_reply *reply = pg_reply_first(c);
	bool error = s->type == 'E';
	int r;

	if (error && reply && reply->probe && !e->fatal) {
		r = pg_to_agent(c, buf_span(&reply->op->refusal));
		pg_stream_next(s, PG_MODE_SKIP);
	} else if (c->strip || (reply && reply->op && reply->op->masked)) {
		r = pg_flush_agent_run(c);
		if (r < 0)
			return r;
		r = pg_error_strip(s->type, span_skip(whole, PG_HEADER), cut, &c->out);
		pg_stream_next(s, PG_MODE_SKIP);
	} else {
		r = pg_to_agent(c, whole);
		pg_stream_next(s, PG_MODE_PASS);
		c->agent_mid = s->left > 0;
	}
	if (r < 0)
		return r;
	/* After FATAL nothing else comes: there is nothing to follow any more. */
	if (error && !e->fatal)
		error_effects(c, e);
	return 1;
}

static int on_report(struct pg_codec *c, struct span whole)
{
	bool cut = c->back.left > 0;
	struct pg_error e;

	if (pg_error_parse(span_skip(whole, PG_HEADER), cut, &e) < 0)
		return pg_fatal_backend(c, "a malformed error or notice");
	return report(c, whole, cut, &e);
}

static int on_setting(struct pg_codec *c, struct span whole)
{
	struct cursor cur = cursor_of(span_skip(whole, PG_HEADER));
	struct span name;
	struct span value;
	int r;

	if (cursor_cstr(&cur, &name) < 0 || cursor_cstr(&cur, &value) < 0 || cursor_left(&cur) > 0)
		return pg_fatal_backend(c, "a malformed ParameterStatus");
	pg_settings_told(c, name, value);
	r = pg_to_agent(c, whole);
	return r < 0 ? r : 1;
}

/* ---- messages ---- */

static int begin_reply(struct pg_codec *c, struct pg_reply *reply)
{
	switch (c->back.type) {
	case 'D':
		return on_row(c, reply);
	case 'T':
		return pg_columns_begin(c, reply);
	case 'C':
	case 'I':
	case 's':
		return begin_complete(c, reply);
	case 'Z':
		return begin_ready(c, reply);
	case '1':
		return on_done(c, reply, PG_REPLY_PARSE);
	case '2':
		return on_done(c, reply, PG_REPLY_BIND);
	case '3':
		return on_done(c, reply, PG_REPLY_CLOSE);
	case 'n':
		return expect_empty(c) < 0 ? -EPROTO : pg_columns_none(c, reply);
	case 't':
		return on_parameters(c, reply);
	case 'V':
		return on_function(c, reply);
	case 'G':
		return on_copy_in(c, reply);
	case 'H':
		return on_copy_out(c, reply);
	case 'c':
		if (expect_empty(c) < 0)
			return -EPROTO;
		return on_copy_data(c, reply);
	case 'd':
		return on_copy_data(c, reply);
	default:
		return pg_fatal_backend(c, "a message of a type that has no place here");
	}
}

static int begin_message(struct pg_codec *c)
{
	struct pg_stream *s = &c->back;
	struct pg_reply *reply = pg_reply_first(c);

	if (s->length > PG_LARGE_MAX)
		return pg_fatal_backend(c, "a message longer than any can be");
	switch (s->type) {
	case 'E':
	case 'N':
		return pg_stream_gather(s, MIN(s->length - 4, PG_ERROR_HOLD_MAX));
	case 'S':
		return pg_back_gather(c, PG_STATUS_HOLD_MAX);
	case 'A':
		return pg_back_pass(c);
	default:
		break;
	}
	return reply ? begin_reply(c, reply) : pg_fatal_backend(c, PG_OUT_OF_TURN);
}

static int on_whole(struct pg_codec *c, struct span whole)
{
	struct pg_stream *s = &c->back;
	int r;

	switch (s->type) {
	case 'E':
	case 'N':
		r = on_report(c, whole);
		return r < 0 || c->agent_mid ? r : pg_boundary(c);
	case 'S':
		r = on_setting(c, whole);
		break;
	case 'T':
		r = pg_columns_whole(c, whole);
		if (r == PROTO_HOLD && c->columns_wait)
			return r;
		break;
	case 'D':
		r = pg_row_rebuild(c, pg_reply_first(c)->op, whole);
		break;
	case 'C':
		r = on_complete(c, whole);
		break;
	case 't':
		r = on_types(c, whole);
		break;
	default:
		r = on_ready(c, whole);
		break;
	}
	if (r < 0)
		return r;
	pg_stream_next(s, PG_MODE_SKIP);
	return pg_boundary(c);
}

/* One step. 1: go on; 0: more bytes are needed; negative, or PROTO_HOLD with columns_wait set. */
static int step(struct pg_codec *c, struct cursor *in)
{
	struct pg_stream *s = &c->back;
	struct span whole;
	int r;

	switch (s->mode) {
	case PG_MODE_HEADER:
		r = pg_stream_header(s, in, true);
		if (r == -EPROTO)
			return pg_fatal_backend(c, "a message with an impossible length");
		if (r <= 0)
			return r;
		r = begin_message(c);
		return r < 0 ? r : 1;
	case PG_MODE_GATHER:
		r = pg_stream_take(s, in, &whole);
		if (r <= 0)
			return r;
		r = on_whole(c, whole);
		return r < 0 || c->columns_wait ? r : 1;
	case PG_MODE_ROW:
		return pg_row_feed(c, in);
	default:
		break;
	}
	if (cursor_left(in) == 0)
		return 0;
	r = pg_stream_rest(c, s, in);
	if (r < 0)
		return r;
	if (s->mode == PG_MODE_HEADER) {
		c->agent_mid = false;
		r = pg_boundary(c);
	}
	return r < 0 ? r : 1;
}

int pg_back_feed(struct pg_codec *c, struct cursor *in)
{
	int r = 1;

	while (r > 0) {
		if (c->columns_wait)
			return PROTO_HOLD;
		if (c->phase != PG_READY)
			return -EPROTO; /* ended by a callback */
		r = step(c, in);
	}
	return r;
}
