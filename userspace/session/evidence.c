#include "session/evidence.h"

#include <openssl/rand.h>

#include "base/jsonw.h"
#include "proto/postgres/pg_value.h"

/* Text of a statement that goes into the event itself, and what does when escaping made the whole
 * too long; the digest covers all of it. */
static const size_t text_kept[] = {OP_TEXT_MAX, 16u * 1024u, 2048u};
#define NAMES_KEPT 64u
#define WHO_MAX	   (24u * 1024u)

static void put_process(struct jsonw *w, const struct process *p, bool whole)
{
	jsonw_object(w, "process");
	if (whole && p->n_ancestors > 0) {
		jsonw_array(w, "ancestors");
		for (size_t i = 0; i < p->n_ancestors; i++) {
			jsonw_object(w, NULL);
			jsonw_str(w, "exe", p->ancestors[i].exe);
			jsonw_uint(w, "pid", p->ancestors[i].pid);
			if (p->ancestors[i].has_sha256)
				jsonw_hex(w, "sha256",
					  span_of(p->ancestors[i].exe_sha256, SHA256_LEN));
			jsonw_close(w);
		}
		jsonw_close(w);
	}
	if (whole)
		jsonw_str(w, "args", p->args);
	jsonw_str(w, "cgroup", p->cgroup);
	jsonw_span(w, "comm", span_of(p->comm, strnlen(p->comm, sizeof(p->comm))));
	jsonw_str(w, "container", p->container);
	jsonw_str(w, "exe", p->exe);
	if (p->has_sha256)
		jsonw_hex(w, "exe_sha256", span_of(p->exe_sha256, SHA256_LEN));
	jsonw_uint(w, "gid", p->gid);
	jsonw_uint(w, "pid", p->key.tgid);
	jsonw_uint(w, "ppid", p->ppid);
	/* From where it is known: pid, uid, gid, comm, start from the kernel at connect(); the rest
	 * from /proc, checked against the kernel's key. */
	jsonw_str(w, "source", p->has_proc ? "kernel+proc" : "kernel");
	jsonw_uint(w, "start", p->key.start_boottime);
	jsonw_uint(w, "uid", p->uid);
	jsonw_close(w);
}

static void put_principal(struct jsonw *w, const struct principal *p)
{
	jsonw_object(w, "token");
	jsonw_int(w, "expires", p->expires);
	jsonw_array(w, "groups");
	for (size_t i = 0; i < p->n_groups; i++)
		jsonw_str(w, NULL, p->groups[i]);
	jsonw_close(w);
	jsonw_str(w, "issuer", p->issuer);
	jsonw_hex(w, "sha256", span_of(p->token_sha256, SHA256_LEN));
	jsonw_str(w, "subject", p->subject);
	jsonw_close(w);
}

static int build_who(struct session *s, bool whole, struct span *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT(WHO_MAX);
	struct jsonw w;
	struct span copy;
	int r;

	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	put_process(&w, &s->process, whole);
	if (s->has_principal)
		put_principal(&w, &s->principal);
	if (s->workload)
		jsonw_str(&w, "workload", s->workload->name);
	jsonw_close(&w);
	r = jsonw_end(&w);
	if (r < 0)
		return r;
	copy = arena_dup(&s->arena, buf_span(&b));
	if (!copy.p)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int evidence_who(struct session *s)
{
	int r = build_who(s, true, &s->who_long);

	/* Escaped arguments may be too long: then without them. */
	if (r == -ENOBUFS)
		r = build_who(s, false, &s->who_long);
	if (r == 0)
		r = build_who(s, false, &s->who);
	return r;
}

int evidence_session(struct session *s, enum event_kind kind, const char *reason,
		     const char *message, struct buf *out)
{
	char wanted[ENDPOINT_TEXT_MAX];
	struct jsonw w;

	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	if (s->has_startup)
		jsonw_str(&w, "database", s->startup.database);
	jsonw_str(&w, "message", message);
	if (kind == EVENT_SESSION_CLOSE)
		jsonw_uint(&w, "ops", s->n_ops);
	jsonw_str(&w, "origin", endpoint_text(&s->wanted, wanted));
	jsonw_str(&w, "reason", reason);
	if (kind == EVENT_SESSION_CLOSE)
		jsonw_uint(&w, "refused", s->n_refused);
	jsonw_str(&w, "resource", s->resource ? s->resource->name : NULL);
	jsonw_str(&w, "session", s->id);
	if (kind == EVENT_SESSION_CLOSE)
		jsonw_raw(&w, "who", s->who);
	else if (s->who_long.len > 0)
		jsonw_raw(&w, "who", s->who_long);
	jsonw_close(&w);
	return jsonw_end(&w);
}

static void put_param(struct jsonw *w, const struct op_param *p)
{
	char buffer[PG_VALUE_TEXT_MAX];
	const char *type = pg_type_name(p->type_oid);
	struct span text = p->value;
	/* Binary is shown as text where that is surely what the server reads, else as bytes. */
	bool bytes = p->binary && pg_value_text(p->type_oid, p->value, p->cut, buffer, &text) < 0;

	jsonw_object(w, NULL);
	if (p->cut)
		jsonw_uint(w, "cut", 1);
	if (!p->is_null && bytes)
		jsonw_hex(w, "hex", p->value);
	if (p->is_null)
		jsonw_uint(w, "null", 1);
	else if (!bytes)
		jsonw_span(w, "text", text);
	if (!p->is_null && p->binary && type)
		jsonw_str(w, "type", type);
	else if (!p->is_null && p->binary && p->type_oid > 0)
		jsonw_uint(w, "type", p->type_oid);
	jsonw_close(w);
}

static void put_params(struct jsonw *w, const struct op *op)
{
	size_t kept = 0;

	if (op->n_params == 0)
		return;
	jsonw_array(w, "params");
	for (size_t i = 0; i < op->n_params && kept < EVIDENCE_PARAMS_MAX; i++) {
		put_param(w, &op->params[i]);
		kept += op->params[i].value.len;
	}
	jsonw_close(w);
	jsonw_hex(w, "params_sha256", span_of(op->params_sha256, SHA256_LEN));
}

static void put_table(struct jsonw *w, const struct sql_table *t)
{
	char name[512];

	(void)snprintf(name, sizeof(name), "%s%s%s", t->schema ? t->schema : "",
		       t->schema ? "." : "", t->name);
	jsonw_str(w, NULL, name);
}

static void put_tables(struct jsonw *w, const struct sql_class *sql)
{
	size_t n = 0;

	jsonw_array(w, "tables");
	for (size_t i = 0; i < sql->n_statements; i++)
		for (size_t j = 0; j < sql->statements[i].n_tables && n < NAMES_KEPT; j++, n++)
			put_table(w, &sql->statements[i].tables[j]);
	jsonw_close(w);
}

static void put_op(struct jsonw *w, const struct op *op, const struct sql_class *sql, size_t kept)
{
	jsonw_object(w, "op");
	jsonw_uint(w, "id", op->id);
	if (op->in_transaction)
		jsonw_uint(w, "in_transaction", 1);
	jsonw_str(w, "kind", op->kind == OP_PREPARE ? "prepare" : "run");
	put_params(w, op);
	if (sql)
		put_tables(w, sql);
	jsonw_span(w, "text", span_head(op->text, kept));
	if (op->text_len > kept)
		jsonw_uint(w, "text_len", op->text_len);
	jsonw_hex(w, "text_sha256", span_of(op->text_sha256, SHA256_LEN));
	if (sql) {
		jsonw_array(w, "verbs");
		for (const struct sql_verb_name *v = sql_verb_names; v->name; v++)
			if (sql->verbs & v->verb)
				jsonw_str(w, NULL, v->name);
		jsonw_close(w);
	}
	jsonw_close(w);
}

static const char *effect_name(enum effect effect)
{
	switch (effect) {
	case EFFECT_ALLOW:
		return "allow";
	case EFFECT_APPROVE:
		return "approve";
	case EFFECT_REFUSE:
		break;
	}
	return "refuse";
}

static void put_verdict(struct jsonw *w, const struct verdict *v)
{
	jsonw_object(w, "verdict");
	jsonw_str(w, "effect", effect_name(v->effect));
	jsonw_hex(w, "policy", span_of(v->policy_sha256, SHA256_LEN));
	jsonw_str(w, "reason", v->reason);
	jsonw_array(w, "rules");
	for (size_t i = 0; i < v->n_rules; i++)
		jsonw_str(w, NULL, v->rules[i]);
	jsonw_close(w);
	jsonw_close(w);
}

static int build_op(struct session *s, const struct op *op, const struct sql_class *sql,
		    const struct verdict *v, size_t kept, struct buf *out)
{
	struct jsonw w;

	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	put_op(&w, op, sql, kept);
	jsonw_str(&w, "resource", s->resource->name);
	jsonw_str(&w, "session", s->id);
	put_verdict(&w, v);
	jsonw_raw(&w, "who", s->who);
	jsonw_close(&w);
	return jsonw_end(&w);
}

int evidence_op(struct session *s, const struct op *op, const struct sql_class *sql,
		const struct verdict *v, struct buf *out)
{
	int r = -ENOBUFS;

	for (size_t i = 0; i < ARRAY_SIZE(text_kept) && r == -ENOBUFS; i++)
		r = build_op(s, op, sql, v, text_kept[i], out);
	return r;
}

int evidence_approval(struct session *s, const struct op *op, const struct sql_class *sql,
		      const struct verdict *v, struct buf *out)
{
	uint8_t nonce[16];
	struct jsonw w;

	if (RAND_bytes(nonce, sizeof(nonce)) != 1)
		return -EIO;
	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	/* Two requests for the same text are two requests: their digests differ. */
	jsonw_hex(&w, "nonce", span_of(nonce, sizeof(nonce)));
	/* An approver decides on what is shown: all of it or nothing. */
	put_op(&w, op, sql, op->text_len);
	jsonw_str(&w, "resource", s->resource->name);
	jsonw_str(&w, "session", s->id);
	put_verdict(&w, v);
	jsonw_raw(&w, "who", s->who);
	jsonw_close(&w);
	return jsonw_end(&w);
}

int evidence_result(struct session *s, uint32_t op, const struct op_result *result, struct buf *out)
{
	struct jsonw w;

	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	jsonw_uint(&w, "op", op);
	jsonw_str(&w, "resource", s->resource->name);
	jsonw_object(&w, "result");
	jsonw_uint(&w, "bytes", result->bytes);
	if (*result->error)
		jsonw_str(&w, "error", result->error);
	jsonw_uint(&w, "executed", result->executed);
	jsonw_uint(&w, "masked", result->masked);
	jsonw_uint(&w, "rows", result->rows);
	if (*result->tag)
		jsonw_str(&w, "tag", result->tag);
	jsonw_close(&w);
	jsonw_str(&w, "session", s->id);
	jsonw_close(&w);
	return jsonw_end(&w);
}

int evidence_cancel(struct session *s, bool passed, const char *reason, struct buf *out)
{
	struct jsonw w;

	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	jsonw_uint(&w, "passed", passed);
	jsonw_str(&w, "reason", reason);
	jsonw_str(&w, "resource", s->resource ? s->resource->name : NULL);
	jsonw_str(&w, "session", s->id);
	if (s->who.len > 0)
		jsonw_raw(&w, "who", s->who);
	jsonw_close(&w);
	return jsonw_end(&w);
}
