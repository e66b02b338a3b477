#include "proto/postgres/pg_codec.h"

#define FREE_OPS_MAX	 16
#define KEEP_COLUMNS_MAX 64

/* ---- operations ---- */

struct pg_op *pg_op_new(struct pg_codec *c, bool announced)
{
	struct pg_op *op = c->free_ops;

	if (op) {
		c->free_ops = op->next_free;
		c->n_free_ops--;
		*op = (struct pg_op){
			.cap_columns = op->cap_columns,
			.masks = op->masks,
			.types = op->types,
		};
	} else {
		op = calloc(1, sizeof(*op));
		if (!op)
			return NULL;
	}
	op->refs = 1;
	op->described = c->executes - 1; /* never */
	op->refusal = BUF_INIT(8192);
	if (announced)
		op->id = ++c->last_id ? c->last_id : ++c->last_id;
	return op;
}

struct pg_op *pg_op_ref(struct pg_op *op)
{
	if (op)
		op->refs++;
	return op;
}

static void op_free(struct pg_op *op)
{
	free(op->masks);
	free(op->types);
	free(op);
}

void pg_op_unref(struct pg_codec *c, struct pg_op *op)
{
	struct pg_stmt *stmt;

	if (!op || --op->refs > 0)
		return;
	if (op->id)
		c->env.sink.done(c->env.sink.ctx, op->id, &op->result);
	if (op->sql_owned)
		c->env.release(c->env.classify_ctx, op->sql);
	stmt = TAKE_PTR(op->stmt);
	if (stmt)
		pg_stmt_unref(&c->names, stmt);
	buf_done(&op->refusal);
	if (c->n_free_ops < FREE_OPS_MAX && op->cap_columns <= KEEP_COLUMNS_MAX) {
		op->next_free = c->free_ops;
		c->free_ops = op;
		c->n_free_ops++;
	} else {
		op_free(op);
	}
}

void pg_ops_free(struct pg_codec *c)
{
	while (c->free_ops) {
		struct pg_op *op = c->free_ops;

		c->free_ops = op->next_free;
		op_free(op);
	}
}

/* ---- replies awaited ---- */

static struct pg_reply *reply_at(struct pg_codec *c, uint32_t i)
{
	return &c->replies[(c->reply_head + i) & (c->cap_replies - 1)];
}

bool pg_replies_room(struct pg_codec *c)
{
	uint32_t cap = c->cap_replies ? c->cap_replies * 2 : PG_REPLIES_MIN;
	struct pg_reply *replies;

	if (c->n_replies + PG_REPLIES_SLACK <= c->cap_replies)
		return true;
	if (c->cap_replies >= PG_REPLIES_MAX)
		return false;
	replies = calloc(cap, sizeof(*replies));
	if (!replies)
		return false; /* replies under way will make room */
	for (uint32_t i = 0; i < c->n_replies; i++)
		replies[i] = *reply_at(c, i);
	free(c->replies);
	c->replies = replies;
	c->reply_head = 0;
	c->cap_replies = cap;
	return true;
}

static bool ends_batch(enum pg_reply_kind kind)
{
	return kind == PG_REPLY_SYNC || kind == PG_REPLY_QUERY || kind == PG_REPLY_FUNCTION;
}

struct pg_reply *pg_reply_push(struct pg_codec *c, enum pg_reply_kind kind, struct pg_op *op,
			       struct pg_name *name)
{
	struct pg_reply *reply = reply_at(c, c->n_replies++);

	*reply = (struct pg_reply){
		.kind = (uint8_t)kind,
		.batch = c->batch,
		.op = pg_op_ref(op),
		.name = name,
	};
	if (name)
		name->refs++;
	if (ends_batch(kind))
		c->batch++;
	return reply;
}

struct pg_reply *pg_reply_first(struct pg_codec *c)
{
	return c->n_replies > 0 ? reply_at(c, 0) : NULL;
}

void pg_reply_pop(struct pg_codec *c)
{
	struct pg_reply reply = *reply_at(c, 0);

	c->reply_head = (c->reply_head + 1) & (c->cap_replies - 1);
	c->n_replies--;
	/* The agent waits for nothing else when it waits for a COPY: it is the last one sent. */
	if (c->n_replies == 0)
		c->copy_maybe = c->copy_in = false;
	if (reply.name)
		pg_name_unref(&c->names, reply.name);
	if (reply.stmt)
		pg_stmt_unref(&c->names, reply.stmt);
	pg_op_unref(c, reply.op);
}

void pg_replies_fail(struct pg_codec *c)
{
	struct pg_reply *reply;

	while ((reply = pg_reply_first(c)) && reply->kind != PG_REPLY_SYNC) {
		if (reply->name)
			pg_names_void(&c->names, reply->name);
		pg_reply_pop(c);
	}
	if (!reply)
		c->skipping = true;
}

/* ---- what running does beside its result ---- */

static bool is_plain(const struct pg_name *n)
{
	const uint32_t unsure =
		SQL_PREPARE | SQL_DEALLOCATE | SQL_EXECUTE | SQL_UNKNOWN | SQL_DECLARE | SQL_FETCH;

	return n && !n->suspect && n->stmt && !(n->stmt->sql->verbs & unsure);
}

static void statement_effects(struct pg_codec *c, const struct sql_statement *s)
{
	struct span name = span_str(s->name ? s->name : "");
	struct span all = {0};

	if (streq(s->kind, "DiscardStmt")) {
		pg_names_suspect(&c->names, PG_STATEMENT, all);
		pg_names_suspect(&c->names, PG_PORTAL, all);
		return;
	}
	if (s->verbs & (SQL_PREPARE | SQL_DEALLOCATE))
		pg_names_suspect(&c->names, PG_STATEMENT, name);
	if ((s->verbs & SQL_DECLARE) || ((s->verbs & SQL_FETCH) && !streq(s->kind, "FetchStmt")))
		pg_names_suspect(&c->names, PG_PORTAL, name);
	/* EXECUTE in SQL of what the protocol prepared: that may itself be a PREPARE. What SQL
	 * prepared can only be a query. */
	if (s->verbs & SQL_EXECUTE) {
		struct pg_name *n = pg_names_find(&c->names, PG_STATEMENT, name);

		if (name.len == 0 || !pg_name_kept(name) || (n && !is_plain(n)) ||
		    pg_names_open(&c->names, PG_STATEMENT, name, c->batch)) {
			pg_names_suspect(&c->names, PG_STATEMENT, all);
			pg_names_suspect(&c->names, PG_PORTAL, all);
		}
	}
}

/* A function that is called may do as much by its body. It is not followed there: the rule that
 * let it be called let it do that too, and the record names it. */
void pg_effects(struct pg_codec *c, const struct sql_class *sql)
{
	struct span all = {0};

	for (size_t i = 0; i < sql->n_statements; i++)
		statement_effects(c, &sql->statements[i]);
	if (sql->verbs & SQL_UNKNOWN) {
		pg_names_suspect(&c->names, PG_STATEMENT, all);
		pg_names_suspect(&c->names, PG_PORTAL, all);
	}
	if (pg_sets_reading(sql)) {
		c->odd_pending = true;
		c->odd_batch = c->batch;
	}
}
