#include "proto/postgres/pg_names.h"

/* Freed ones are kept for the next message: a Bind makes a portal each time. */
#define FREE_MAX      16
#define FREE_TEXT_MAX 4096 /* a text buffer above this is not kept */
#define TEXT_MIN      256

void pg_names_init(struct pg_names *t, void *ctx, void (*op_unref)(void *, struct pg_op *),
		   void (*sql_release)(void *, const struct sql_class *))
{
	*t = (struct pg_names){.ctx = ctx, .op_unref = op_unref, .sql_release = sql_release};
}

static void stmt_free(struct pg_stmt *s)
{
	free(s->text);
	free(s->types);
	free(s);
}

void pg_names_done(struct pg_names *t)
{
	for (size_t kind = 0; kind < ARRAY_SIZE(t->all); kind++)
		while (t->all[kind])
			pg_names_void(t, t->all[kind]);
	while (t->free) {
		struct pg_name *n = t->free;

		t->free = n->next;
		free(n);
	}
	while (t->free_stmts) {
		struct pg_stmt *s = t->free_stmts;

		t->free_stmts = s->next_free;
		stmt_free(s);
	}
}

bool pg_name_kept(struct span name)
{
	if (name.len > PG_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.p[i] >= 0x80)
			return false;
	return true;
}

/* FNV-1a. Names are the agent's own, and so is the time that a long chain would take. */
static size_t bucket_of(enum pg_name_kind kind, struct span name)
{
	uint32_t h = 2166136261u ^ (uint32_t)kind;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ name.p[i]) * 16777619u;
	return (h ^ (h >> 15)) % PG_NAME_BUCKETS;
}

static bool is_named(const struct pg_name *n, enum pg_name_kind kind, struct span name)
{
	return n->kind == kind && span_eq_str(name, n->name);
}

struct pg_name *pg_names_find(struct pg_names *t, enum pg_name_kind kind, struct span name)
{
	if (!pg_name_kept(name))
		return NULL;
	for (struct pg_name *n = t->buckets[bucket_of(kind, name)]; n; n = n->chain)
		if (is_named(n, kind, name))
			return n->closed ? NULL : n;
	return NULL;
}

bool pg_names_open(const struct pg_names *t, enum pg_name_kind kind, struct span name,
		   uint32_t batch)
{
	if (!pg_name_kept(name))
		return false;
	for (const struct pg_name *n = t->buckets[bucket_of(kind, name)]; n; n = n->chain)
		if (is_named(n, kind, name))
			return !n->settled && n->batch != batch;
	return false;
}

int pg_names_add(struct pg_names *t, enum pg_name_kind kind, struct span name, uint32_t batch,
		 struct pg_name **ret_name)
{
	struct pg_name **bucket = &t->buckets[bucket_of(kind, name)];
	struct pg_name *n = t->free;

	if (!pg_name_kept(name))
		return -EINVAL;
	if (t->n[kind] >= (kind == PG_STATEMENT ? PG_STATEMENTS_MAX : PG_PORTALS_MAX))
		return -ENOSPC;
	if (n) {
		t->free = n->next;
		t->n_free--;
	} else {
		n = malloc(sizeof(*n));
		if (!n)
			return -ENOMEM;
	}
	*n = (struct pg_name){
		.refs = 2,
		.kind = kind,
		.listed = true,
		.batch = batch,
		.chain = *bucket,
		.next = t->all[kind],
		.link = &t->all[kind],
	};
	memcpy(n->name, name.p ? name.p : (const uint8_t *)"", name.len);
	*bucket = n;
	if (n->next)
		n->next->link = &n->next;
	t->all[kind] = n;
	t->n[kind]++;
	*ret_name = n;
	return 0;
}

void pg_name_unref(struct pg_names *t, struct pg_name *n)
{
	if (--n->refs > 0)
		return;
	if (n->stmt)
		pg_stmt_unref(t, n->stmt);
	if (t->n_free < FREE_MAX) {
		n->next = t->free;
		t->free = n;
		t->n_free++;
	} else {
		free(n);
	}
}

/* Out of the table. The operation of a portal may end by that. */
static void unlist(struct pg_names *t, struct pg_name *n)
{
	struct pg_name **at = &t->buckets[bucket_of(n->kind, span_str(n->name))];
	struct pg_op *op;

	if (!n->listed)
		return;
	while (*at != n)
		at = &(*at)->chain;
	*at = n->chain;
	*n->link = n->next;
	if (n->next)
		n->next->link = n->link;
	t->n[n->kind]--;
	n->listed = false;
	op = TAKE_PTR(n->op);
	if (op)
		t->op_unref(t->ctx, op);
	pg_name_unref(t, n);
}

/* Meanings of a name older than n; all of them when n is NULL. */
static void unlist_older(struct pg_names *t, enum pg_name_kind kind, struct span name,
			 const struct pg_name *n)
{
	struct pg_name *each = n ? n->chain : t->buckets[bucket_of(kind, name)];

	while (each) {
		struct pg_name *chain = each->chain;

		if (is_named(each, kind, name))
			unlist(t, each);
		each = chain;
	}
}

void pg_names_settle(struct pg_names *t, struct pg_name *n)
{
	if (!n->listed)
		return;
	n->settled = true;
	unlist_older(t, n->kind, span_str(n->name), n);
	if (n->closed)
		unlist(t, n);
}

void pg_names_void(struct pg_names *t, struct pg_name *n)
{
	unlist(t, n);
}

void pg_names_forget(struct pg_names *t, enum pg_name_kind kind, struct span name)
{
	unlist_older(t, kind, name, NULL);
}

void pg_names_end_transaction(struct pg_names *t, uint32_t batch)
{
	struct pg_name *n = t->all[PG_PORTAL];

	while (n) {
		struct pg_name *next = n->next;

		/* Numbers wrap; the distance between two alive ones never comes near half. */
		if ((int32_t)(n->batch - batch) <= 0)
			unlist(t, n);
		n = next;
	}
}

void pg_names_suspect(struct pg_names *t, enum pg_name_kind kind, struct span name)
{
	for (struct pg_name *n = t->all[kind]; n; n = n->next)
		if (n->name[0] && (name.len == 0 || span_eq_str(name, n->name)))
			n->suspect = true;
}

int pg_stmt_new(struct pg_names *t, struct span text, size_t text_len, struct pg_stmt **ret_stmt)
{
	size_t kept = MIN(text.len, (size_t)OP_TEXT_MAX);
	struct pg_stmt *s = t->free_stmts;

	if (kept > PG_STATEMENT_TEXT_MAX - t->text_bytes)
		return -ENOSPC;
	if (s) {
		t->free_stmts = s->next_free;
		t->n_free_stmts--;
	} else {
		s = calloc(1, sizeof(*s));
		if (!s)
			return -ENOMEM;
	}
	if (s->cap < kept) {
		size_t cap = MAX(kept, (size_t)TEXT_MIN);
		uint8_t *text_new = realloc(s->text, cap);

		if (!text_new) {
			stmt_free(s);
			return -ENOMEM;
		}
		s->text = text_new;
		s->cap = cap;
	}
	if (kept > 0)
		memcpy(s->text, text.p, kept);
	s->kept = kept;
	s->text_len = text_len;
	s->refs = 1;
	s->sql = NULL;
	s->sql_owned = false;
	s->n_types = 0;
	t->text_bytes += kept;
	*ret_stmt = s;
	return 0;
}

int pg_stmt_set_types(struct pg_stmt *s, struct span oids)
{
	size_t n = MIN(oids.len / 4, (size_t)OP_PARAMS_MAX);
	struct cursor cur = cursor_of(oids);

	if (n > s->cap_types) {
		uint32_t *types = realloc(s->types, n * sizeof(*types));

		if (!types)
			return -ENOMEM;
		s->types = types;
		s->cap_types = n;
	}
	for (size_t i = 0; i < n; i++)
		if (cursor_be32(&cur, &s->types[i]) < 0)
			return -EBADMSG;
	s->n_types = n;
	return 0;
}

uint32_t pg_stmt_type(const struct pg_stmt *s, size_t i)
{
	return i < s->n_types ? s->types[i] : 0;
}

struct pg_stmt *pg_stmt_ref(struct pg_stmt *s)
{
	s->refs++;
	return s;
}

void pg_stmt_unref(struct pg_names *t, struct pg_stmt *s)
{
	if (--s->refs > 0)
		return;
	if (s->sql_owned)
		t->sql_release(t->ctx, s->sql);
	s->sql_owned = false;
	t->text_bytes -= s->kept;
	if (t->n_free_stmts < FREE_MAX && s->cap <= FREE_TEXT_MAX) {
		s->next_free = t->free_stmts;
		t->free_stmts = s;
		t->n_free_stmts++;
	} else {
		stmt_free(s);
	}
}
