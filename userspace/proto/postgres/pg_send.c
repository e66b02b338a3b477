#include "proto/postgres/pg_codec.h"

/* Never valid SQL: the server refuses it by itself, with all that an error means for the
 * transaction and for what follows. Its own log then names sluice. */
#define PROBE_TEXT "sluice_refused operation %u"
#define PROBE_NAME "sluice_refused"

#define MAY_COPY_IN (SQL_COPY_IN | SQL_UNKNOWN)

static int send_held(struct pg_codec *c)
{
	return pg_to_server(c, buf_span(&c->front.msg));
}

/* Query and FunctionCall end what was unnamed. */
static void forget_unnamed(struct pg_codec *c)
{
	pg_names_forget(&c->names, PG_STATEMENT, (struct span){0});
	pg_names_forget(&c->names, PG_PORTAL, (struct span){0});
}

static int send_query(struct pg_codec *c, struct pg_op *op)
{
	pg_effects(c, op->sql);
	c->executes++;
	forget_unnamed(c);
	pg_reply_push(c, PG_REPLY_QUERY, op, NULL);
	c->copy_maybe = op->sql->verbs & MAY_COPY_IN;
	c->extended = false;
	return send_held(c);
}

static int send_function(struct pg_codec *c, struct pg_op *op)
{
	pg_effects(c, op->sql);
	c->executes++;
	pg_reply_push(c, PG_REPLY_FUNCTION, op, NULL);
	c->extended = false;
	return send_held(c);
}

static int send_parse(struct pg_codec *c, struct pg_op *op)
{
	struct pg_name *name = NULL;
	int r;

	if (c->ask.kept_name) {
		r = pg_names_add(&c->names, PG_STATEMENT, span_str(c->ask.name), c->batch, &name);
		if (r < 0)
			return r;
		name->stmt = pg_stmt_ref(c->ask.stmt);
	}
	pg_reply_push(c, PG_REPLY_PARSE, op, name);
	if (name)
		pg_name_unref(&c->names, name);
	c->extended = true;
	return send_held(c);
}

static int send_bind(struct pg_codec *c, struct pg_op *op)
{
	struct pg_name *name = NULL;
	int r;

	if (c->ask.kept_name) {
		r = pg_names_add(&c->names, PG_PORTAL, span_str(c->ask.name), c->batch, &name);
		if (r < 0)
			return r;
		if (c->ask.stmt)
			name->stmt = pg_stmt_ref(c->ask.stmt);
		name->op = pg_op_ref(op);
		/* Bound from a name that may stand for anything: so may the portal. It was asked
		 * about as such, and once is enough. */
	}
	pg_reply_push(c, PG_REPLY_BIND, op, name);
	if (name)
		pg_name_unref(&c->names, name);
	c->extended = true;
	return send_held(c);
}

static int send_describe(struct pg_codec *c, struct pg_op *op)
{
	op->described = c->executes;
	pg_reply_push(c, PG_REPLY_DESCRIBE_PORTAL, op, NULL);
	c->extended = true;
	return send_held(c);
}

/* The Execute that is held in front.msg. */
int pg_send_execute(struct pg_codec *c, const char *portal, struct pg_op *op)
{
	struct pg_reply *reply;
	int r;

	/* Masks go by the description, which must be of this portal as it is now. */
	if (op->masked && op->described != c->executes) {
		reply = pg_reply_push(c, PG_REPLY_DESCRIBE_PORTAL, op, NULL);
		reply->injected = true;
		pg_put_describe_portal(&c->up, portal);
		r = pg_flush_up(c);
		if (r < 0)
			return r;
	}
	pg_effects(c, op->sql);
	c->executes++;
	pg_reply_push(c, PG_REPLY_EXECUTE, op, NULL);
	c->extended = true;
	r = send_held(c);
	if (r < 0 || !(op->sql->verbs & MAY_COPY_IN))
		return r;
	/* In COPY the server reads Sync and Flush otherwise than after it: so the agent waits
	 * until it is known which, and Flush makes the server say it. */
	c->copy_maybe = true;
	pg_put_empty(&c->up, 'H');
	return pg_flush_up(c);
}

static int refuse(struct pg_codec *c, struct pg_op *op, enum pg_ask_kind kind,
		  const struct verdict *verdict)
{
	bool simple = kind == PG_ASK_QUERY || kind == PG_ASK_FUNCTION;
	struct pg_reply *reply;
	const char *name = PROBE_NAME;
	char text[64];
	int r;

	c->ask.refused = true;
	(void)snprintf(text, sizeof(text), PROBE_TEXT, op->id);
	(void)snprintf(op->result.error, sizeof(op->result.error), "%.5s",
		       verdict->sqlstate[0] ? verdict->sqlstate : "42501");
	r = pg_put_refusal(&op->refusal, verdict);
	if (r < 0)
		return r;
	if (simple) {
		forget_unnamed(c);
		reply = pg_reply_push(c, PG_REPLY_QUERY, op, NULL);
		pg_put_query(&c->up, text);
		c->extended = false;
	} else {
		/* A Parse that fails costs the unnamed statement, and nothing else. */
		if (kind == PG_ASK_PARSE && !c->ask.name[0]) {
			pg_names_forget(&c->names, PG_STATEMENT, (struct span){0});
			name = "";
		}
		reply = pg_reply_push(c, PG_REPLY_PARSE, op, NULL);
		pg_put_parse(&c->up, name, text);
		c->extended = true;
		c->skipping = true;
	}
	reply->probe = true;
	return pg_flush_up(c);
}

int pg_send_refusal(struct pg_codec *c, const struct verdict *verdict)
{
	return refuse(c, c->ask.op, c->ask.kind, verdict);
}

static int refuse_as(struct pg_codec *c, struct pg_op *op, const char *sqlstate, const char *reason)
{
	struct verdict v = {.effect = EFFECT_REFUSE};

	(void)snprintf(v.sqlstate, sizeof(v.sqlstate), "%s", sqlstate);
	(void)snprintf(v.reason, sizeof(v.reason), "%s", reason);
	return refuse(c, op, c->ask.kind, &v);
}

/* A message of the extended protocol that is refused by a limit of ours. */
int pg_refuse_own(struct pg_codec *c, const char *sqlstate, const char *reason)
{
	struct pg_op *op = pg_op_new(c, false);
	int r;

	if (!op)
		return -ENOMEM;
	r = refuse_as(c, op, sqlstate, reason);
	pg_op_unref(c, op);
	return r;
}

int pg_send_asked(struct pg_codec *c)
{
	struct pg_op *op = c->ask.op;
	int r = -EINVAL;

	switch (c->ask.kind) {
	case PG_ASK_QUERY:
		return send_query(c, op);
	case PG_ASK_PARSE:
		r = send_parse(c, op);
		break;
	case PG_ASK_BIND:
		r = send_bind(c, op);
		break;
	case PG_ASK_DESCRIBE:
		return send_describe(c, op);
	case PG_ASK_EXECUTE:
		return pg_send_execute(c, c->ask.name, op);
	case PG_ASK_FUNCTION:
		if (op->masked)
			return refuse_as(
				c, op, PG_FEATURE_NOT_SUPPORTED,
				"sluice: masks are in force, and what a function call by the "
				"protocol returns cannot be masked: use SQL");
		return send_function(c, op);
	case PG_ASK_NONE:
		break;
	}
	if (r == -ENOSPC)
		return refuse_as(
			c, op, "53400",
			"sluice: this session has too many prepared statements or portals: "
			"close some");
	return r;
}
