#include "proto/postgres/pg_codec.h"

enum front_how {
	FRONT_HOLD,   /* held whole up to `hold` bytes of body, then looked at */
	FRONT_SYNC,   /* Sync, Flush */
	FRONT_COPY,   /* CopyData, CopyDone, CopyFail */
	FRONT_END,    /* Terminate */
	FRONT_UNUSED, /* PasswordMessage and its like: there is nothing to answer */
};

/* What an agent may send (documentation, 55.7), with the server's own limits. */
static const struct front_type {
	char type;
	enum front_how how;
	uint32_t max;
	uint32_t hold;
} front_types[] = {
	{'B', FRONT_HOLD, PG_LARGE_MAX, PG_PARAM_HOLD_MAX},
	{'C', FRONT_HOLD, PG_SMALL_MAX, PG_SMALL_MAX},
	{'D', FRONT_HOLD, PG_SMALL_MAX, PG_SMALL_MAX},
	{'E', FRONT_HOLD, PG_SMALL_MAX, PG_SMALL_MAX},
	{'F', FRONT_HOLD, PG_LARGE_MAX, PG_PARAM_HOLD_MAX},
	{'H', FRONT_SYNC, PG_SMALL_MAX, 0},
	{'P', FRONT_HOLD, PG_LARGE_MAX, PG_TEXT_HOLD_MAX},
	{'Q', FRONT_HOLD, PG_LARGE_MAX, PG_TEXT_HOLD_MAX},
	{'S', FRONT_SYNC, PG_SMALL_MAX, 0},
	{'X', FRONT_END, PG_SMALL_MAX, 0},
	{'c', FRONT_COPY, PG_SMALL_MAX, 0},
	{'d', FRONT_COPY, PG_LARGE_MAX, 0},
	{'f', FRONT_COPY, PG_SMALL_MAX, 0},
	{'p', FRONT_UNUSED, PG_LARGE_MAX, 0},
};

static const struct front_type *find_type(char type)
{
	for (size_t i = 0; i < ARRAY_SIZE(front_types); i++)
		if (front_types[i].type == type)
			return &front_types[i];
	return NULL;
}

static bool held(struct pg_codec *c)
{
	return c->ask.kind != PG_ASK_NONE || c->copy_maybe || !pg_replies_room(c);
}

static int pass_rest(struct pg_codec *c)
{
	int r = pg_pass(c, &c->front, c->front.head);

	c->front.mode = c->front.left > 0 ? PG_MODE_PASS : PG_MODE_HEADER;
	return r;
}

static void skip_rest(struct pg_codec *c)
{
	c->front.mode = c->front.left > 0 ? PG_MODE_SKIP : PG_MODE_HEADER;
}

/* ---- messages without content ---- */

static int on_sync(struct pg_codec *c)
{
	bool sync = c->front.type == 'S';

	if (c->front.left > 0)
		return pg_fatal_frontend(c, "a Sync or Flush with content");
	/* Within COPY the server ignores them (copyfromparse.c, CopyGetData), so they need not go
	 * there; and were it out of COPY by an error already, it would not, and we could not tell.
	 */
	if (c->copy_in || (!sync && c->skipping)) {
		skip_rest(c);
		return 0;
	}
	if (sync) {
		pg_reply_push(c, PG_REPLY_SYNC, NULL, NULL);
		c->skipping = false;
	}
	c->extended = !sync;
	return pass_rest(c);
}

static int on_copy(struct pg_codec *c)
{
	char type = c->front.type;
	struct pg_reply *reply = pg_reply_first(c);

	if (type == 'c' && c->front.left > 0)
		return pg_fatal_frontend(c, "a CopyDone with content");
	if (!c->copy_in) {
		/* What was under way when the server gave up on it: ignored, there too. */
		skip_rest(c);
		return 0;
	}
	if (type != 'd') {
		c->copy_in = false;
		/* Another COPY may follow in the same text. */
		c->copy_maybe = reply && reply->kind == PG_REPLY_QUERY;
		c->extended = reply && reply->kind == PG_REPLY_EXECUTE;
	}
	return pass_rest(c);
}

static int on_end(struct pg_codec *c)
{
	int r;

	if (c->front.left > 0)
		return pg_fatal_frontend(c, "a Terminate with content");
	r = pass_rest(c);
	if (r < 0)
		return r;
	r = pg_flush_runs(c);
	c->phase = PG_ENDED;
	return r < 0 ? r : PROTO_CLOSE;
}

/* ---- messages that are held ---- */

static int forward_held(struct pg_codec *c)
{
	return pg_to_server(c, buf_span(&c->front.msg));
}

/* 'S' or 'P' and a name. */
static int parse_target(struct span body, char *ret_what, struct span *ret_name)
{
	struct cursor cur = cursor_of(body);
	struct span name;
	uint8_t what;

	if (cursor_u8(&cur, &what) < 0 || (what != 'S' && what != 'P') ||
	    cursor_cstr(&cur, &name) < 0 || cursor_left(&cur) > 0)
		return -EBADMSG;
	*ret_what = (char)what;
	*ret_name = name;
	return 0;
}

static int refuse_name(struct pg_codec *c)
{
	return pg_refuse_own(c, "42622",
			     "sluice: the name of a portal or prepared statement has more than 63 "
			     "bytes");
}

static int on_describe(struct pg_codec *c, struct span body)
{
	struct pg_reply *reply;
	struct pg_name *n;
	struct span name;
	char what;

	if (parse_target(body, &what, &name) < 0)
		return pg_fatal_frontend(c, "a malformed Describe message");
	if (name.len > PG_NAME_MAX)
		return refuse_name(c);
	if (what == 'P') {
		n = pg_names_find(&c->names, PG_PORTAL, name);
		if (!n || n->suspect)
			return pg_ask_portal(c, PG_ASK_DESCRIBE, name);
		if (n->op)
			n->op->described = c->executes;
		pg_reply_push(c, PG_REPLY_DESCRIBE_PORTAL, n->op, NULL);
	} else {
		n = pg_names_find(&c->names, PG_STATEMENT, name);
		reply = pg_reply_push(c, PG_REPLY_DESCRIBE_STATEMENT, NULL, NULL);
		if (n && !n->suspect && n->stmt)
			reply->stmt = pg_stmt_ref(n->stmt);
	}
	c->extended = true;
	return forward_held(c);
}

static int on_execute(struct pg_codec *c, struct span body)
{
	struct cursor cur = cursor_of(body);
	struct pg_name *n;
	struct span name;
	uint32_t rows;

	if (cursor_cstr(&cur, &name) < 0 || cursor_be32(&cur, &rows) < 0 || cursor_left(&cur) > 0)
		return pg_fatal_frontend(c, "a malformed Execute message");
	if (name.len > PG_NAME_MAX)
		return refuse_name(c);
	n = pg_names_find(&c->names, PG_PORTAL, name);
	if (!n || n->suspect || !n->op)
		return pg_ask_portal(c, PG_ASK_EXECUTE, name);
	return pg_send_execute(c, n->name, n->op);
}

static int on_close(struct pg_codec *c, struct span body)
{
	struct pg_name *n = NULL;
	struct span name;
	char what;
	int r;

	if (parse_target(body, &what, &name) < 0)
		return pg_fatal_frontend(c, "a malformed Close message");
	if (name.len > PG_NAME_MAX)
		return refuse_name(c);
	if (pg_name_kept(name)) {
		r = pg_names_add(&c->names, what == 'S' ? PG_STATEMENT : PG_PORTAL, name, c->batch,
				 &n);
		/* At the limit: this is how to come below it again. */
		if (r == -ENOSPC) {
			pg_names_forget(&c->names, what == 'S' ? PG_STATEMENT : PG_PORTAL, name);
			n = NULL;
		} else if (r < 0) {
			return r;
		}
	}
	if (n)
		n->closed = true;
	pg_reply_push(c, PG_REPLY_CLOSE, NULL, n);
	if (n)
		pg_name_unref(&c->names, n);
	c->extended = true;
	return forward_held(c);
}

/* A message is held as far as it is to be: decide, or ask. */
static int on_held(struct pg_codec *c, struct span body, bool cut)
{
	switch (c->front.type) {
	case 'Q':
		return pg_ask_query(c, body, cut);
	case 'P':
		return pg_ask_parse(c, body, cut);
	case 'B':
		return pg_ask_bind(c, body, cut);
	case 'F':
		return pg_ask_function(c, body, cut);
	case 'D':
		return on_describe(c, body);
	case 'E':
		return on_execute(c, body);
	case 'C':
		return on_close(c, body);
	default:
		return -EPROTO;
	}
}

/* Nothing waits for an answer: what is left of the message (when it was cut) follows the rest. */
static void held_done(struct pg_codec *c)
{
	enum pg_mode mode = c->ask.refused ? PG_MODE_SKIP : PG_MODE_PASS;

	c->ask.refused = false;
	pg_stream_next(&c->front, mode);
}

/* Does the message name what is not known before the server has answered? body: what is held of it,
 * at least all but its last byte, which of a name can only be the end. */
static bool names_open(const struct pg_codec *c, struct span body)
{
	enum pg_name_kind kind = PG_PORTAL;
	struct cursor cur = cursor_of(body);
	struct span name;
	uint8_t what;

	switch (c->front.type) {
	case 'B':
		if (cursor_cstr(&cur, &name) < 0)
			return false;
		kind = PG_STATEMENT;
		break;
	case 'D':
		if (cursor_u8(&cur, &what) < 0)
			return false;
		kind = what == 'S' ? PG_STATEMENT : PG_PORTAL;
		break;
	case 'E':
		break;
	default:
		return false;
	}
	if (cursor_cstr(&cur, &name) < 0)
		name = cursor_rest(&cur);
	return pg_names_open(&c->names, kind, name, c->batch);
}

/* Hold all of the message but its last byte, so that the agent is fed again, and look whether it
 * has to wait. PROTO_HOLD: it has; PROTO_MORE: go on. */
static int wait_for_names(struct pg_codec *c, struct cursor *in)
{
	struct pg_stream *s = &c->front;
	struct span part;
	int r;

	/* Nothing is unanswered, or there is no last byte of a body. */
	if (c->n_replies == 0 || c->skipping || s->want <= PG_HEADER)
		return PROTO_MORE;
	s->want--;
	r = pg_stream_take(s, in, &part);
	s->want++;
	if (r <= 0)
		return r;
	if (buf_len(&s->msg) == 0 && buf_put_span(&s->msg, part) < 0)
		return buf_error(&s->msg);
	part = span_skip(buf_span(&s->msg), PG_HEADER);
	return names_open(c, part) ? PROTO_HOLD : PROTO_MORE;
}

static int take_held(struct pg_codec *c, struct cursor *in)
{
	struct pg_stream *s = &c->front;
	struct span whole;
	int r = pg_stream_take(s, in, &whole);

	if (r <= 0)
		return r;
	if (c->skipping) {
		/* The server has failed since the message began: it is not looked at. */
		pg_stream_next(s, PG_MODE_SKIP);
		return 1;
	}
	/* The question may outlive what was fed. */
	if (buf_len(&s->msg) == 0 && buf_put_span(&s->msg, whole) < 0)
		return buf_error(&s->msg);
	r = on_held(c, span_skip(buf_span(&s->msg), PG_HEADER), s->left > 0);
	if (r < 0)
		return r;
	/* Asked and decided at once: resume() has gone on to the next message already. */
	if (c->ask.kind == PG_ASK_NONE && s->mode == PG_MODE_GATHER)
		held_done(c);
	return 1;
}

int pg_front_resume(struct pg_codec *c, const struct verdict *verdict, bool masked)
{
	struct pg_op *op = c->ask.op;
	struct pg_stmt *stmt = c->ask.stmt;
	int r;

	op->masked = masked;
	c->strip |= masked;
	if (c->skipping) {
		/* An earlier message of the batch has failed meanwhile: this one is not looked at.
		 */
		c->ask.refused = true;
		r = 0;
	} else if (verdict->effect == EFFECT_REFUSE) {
		r = pg_send_refusal(c, verdict);
	} else {
		r = pg_send_asked(c);
	}
	c->ask.kind = PG_ASK_NONE;
	c->ask.op = NULL;
	c->ask.stmt = NULL;
	held_done(c);
	if (stmt)
		pg_stmt_unref(&c->names, stmt);
	pg_op_unref(c, op);
	return r;
}

static int begin_message(struct pg_codec *c)
{
	struct pg_stream *s = &c->front;
	const struct front_type *t = find_type(s->type);
	char what[48];

	if (!t || t->how == FRONT_UNUSED) {
		(void)snprintf(what, sizeof(what), "a message of type 0x%02x", (uint8_t)s->type);
		return pg_fatal_frontend(c, what);
	}
	if (s->length > t->max) {
		(void)snprintf(what, sizeof(what), "a '%c' message of %u bytes", s->type,
			       s->length);
		return pg_fatal(c, -EMSGSIZE, PG_PROTOCOL_VIOLATION,
				"The server would not take a message of that size.",
				"sluice: protocol violation by the client: %s", what);
	}
	if (t->how == FRONT_END)
		return on_end(c);
	if (t->how == FRONT_SYNC)
		return on_sync(c);
	if (t->how == FRONT_COPY && (!c->skipping || c->copy_in))
		return on_copy(c);
	if (c->copy_in) {
		(void)snprintf(what, sizeof(what), "a '%c' message during COPY from stdin",
			       s->type);
		return pg_fatal_frontend(c, what);
	}
	if (c->skipping) {
		skip_rest(c);
		return 0;
	}
	return pg_stream_gather(s, s->left <= t->hold ? s->left : PG_HEAD_MAX);
}

int pg_front_feed(struct pg_codec *c, struct cursor *in)
{
	struct pg_stream *s = &c->front;
	int r = 1;

	while (r > 0) {
		if (c->phase != PG_READY)
			return -EPROTO; /* ended by a callback */
		switch (s->mode) {
		case PG_MODE_HEADER:
			if (held(c))
				return PROTO_HOLD;
			r = pg_stream_header(s, in, false);
			if (r == -EPROTO)
				return pg_fatal_frontend(c, "a message with an impossible length");
			if (r > 0) {
				r = begin_message(c);
				if (r == PROTO_CLOSE && c->phase == PG_ENDED)
					return PROTO_CLOSE;
				r = r < 0 ? r : 1;
			}
			break;
		case PG_MODE_GATHER:
			if (c->ask.kind != PG_ASK_NONE)
				return PROTO_HOLD;
			r = wait_for_names(c, in);
			if (r != PROTO_MORE)
				return r;
			r = take_held(c, in);
			break;
		case PG_MODE_PASS:
		case PG_MODE_SKIP:
			if (cursor_left(in) == 0)
				return PROTO_MORE;
			r = pg_stream_rest(c, s, in);
			r = r < 0 ? r : 1;
			break;
		case PG_MODE_ROW:
			return -EPROTO;
		}
	}
	return r;
}
