#include "session/mask_guard.h"

#include <stdarg.h>

#include "session/mask_relations.h"

/* Relations with masked columns in one statement; with more it is refused. */
#define MASKED_MAX 32
/* Names compared for one operation; with more it is refused. */
#define WORK_MAX (8u * 1024u * 1024u)
/* What a relation costs that is a view, has parents or has children. */
#define WORK_FOLLOW 20000u
/* A power of two: relations looked at for this operation, by their address. */
#define SEEN_MAX 64u

struct masked {
	const struct pg_relation *rel;
	struct mask_set set;
};

/* What has been found out about a relation. */
struct seen {
	const struct pg_relation *rel; /* NULL: nothing */
	bool reads;		       /* mask_reads_through() */
	const struct pg_relation *source;
	struct mask_set set;
};

struct guard {
	const struct verdict *verdict;
	const struct pg_catalog *catalog;
	bool binary;
	const struct sql_statement *s; /* looked at now */
	size_t n_masked;
	struct masked masked[MASKED_MAX];
	struct seen seen[SEEN_MAX];
	size_t work; /* towards WORK_MAX */
	char *why;
	size_t why_size;
};

static int refuse(struct guard *g, const char *fmt, ...) _printf_(2, 3);

static int refuse(struct guard *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(g->why, g->why_size, fmt, ap);
	va_end(ap);
	return -EACCES;
}

static int spend(struct guard *g, size_t work)
{
	g->work += work;
	if (g->work > WORK_MAX)
		return refuse(g, "this is too large to be checked for masked columns: do it in "
				 "smaller parts");
	return 0;
}

static const char *rule_name(const struct mask_rule *rule)
{
	return rule && rule->rule ? rule->rule : "";
}

static bool listed(const char *const *list, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (streq(list[i], s))
			return true;
	return false;
}

/* ---- what may not be done under masks at all ---- */

static int check_functions(struct guard *g)
{
	for (size_t i = 0; i < g->s->n_functions; i++) {
		const struct sql_function *f = &g->s->functions[i];

		if (!f->harmless)
			return refuse(g,
				      "function %s%s%s could read columns that are masked for you: "
				      "use the tables themselves",
				      f->schema ? f->schema : "", f->schema ? "." : "", f->name);
	}
	if (g->s->verbs & SQL_FUNCTION_CALL)
		return refuse(g, "a function called by the protocol's FunctionCall message could "
				 "read columns that are masked for you");
	return 0;
}

/* What is made or changed must not make masked columns readable under another name. */
static int check_definitions(struct guard *g)
{
	static const char *const creates[] = {
		"CreateStmt",	   "CreateTableAsStmt", "SelectStmt",	    "ViewStmt",
		"IndexStmt",	   "CreateSchemaStmt",	"CreateSeqStmt",    "CreateEnumStmt",
		"CreateRangeStmt", "CompositeTypeStmt", "CreateDomainStmt", "ExplainStmt",
	};
	static const char *const alters[] = {"AlterTableStmt", "RenameStmt",
					     "AlterObjectSchemaStmt", "AlterSeqStmt",
					     "AlterOwnerStmt"};
	const struct sql_statement *s = g->s;

	if (s->verbs & SQL_CREATE && !listed(creates, ARRAY_SIZE(creates), s->kind))
		return refuse(g,
			      "this could make columns readable that are masked for you (%s): have "
			      "it done by somebody without masks",
			      s->kind);
	if (s->verbs & SQL_ALTER &&
	    (!listed(alters, ARRAY_SIZE(alters), s->kind) || s->n_tables == 0))
		return refuse(g,
			      "this could take masks away (%s): have it done by somebody without "
			      "masks",
			      s->kind);
	if (s->verbs & SQL_CREATE && s->verbs & SQL_EXECUTE)
		return refuse(g, "a table made from a prepared statement could hold columns that "
				 "are masked for you: write the query out");
	return 0;
}

static int check_verbs(struct guard *g)
{
	int r;

	if (g->s->verbs & SQL_UNKNOWN)
		return refuse(g, "this cannot be read well enough to tell whether it shows columns "
				 "that are masked for you: use a plain statement");
	if (g->s->verbs & SQL_COPY_FILE)
		return refuse(g, "COPY with a file or program of the server is not possible while "
				 "columns are masked for you");
	r = check_functions(g);
	return r < 0 ? r : check_definitions(g);
}

/* ---- tables ---- */

static int add_masked(struct guard *g, const struct pg_relation *rel, const struct mask_set *set)
{
	for (size_t i = 0; i < g->n_masked; i++)
		if (g->masked[i].rel == rel)
			return 0;
	if (g->n_masked == MASKED_MAX)
		return refuse(g, "more than %d tables with masked columns in one statement",
			      MASKED_MAX);
	g->masked[g->n_masked++] = (struct masked){.rel = rel, .set = *set};
	return 0;
}

static int check_masked(struct guard *g, const struct sql_table *t, const struct pg_relation *rel,
			const struct mask_set *set, const char *column,
			const struct mask_rule *rule)
{
	static const char *const tables[] = {"CreateStmt", "CreateSchemaStmt"};
	uint32_t verbs = g->s->verbs;

	if (verbs & SQL_ALTER || (verbs & SQL_CREATE && t->access & SQL_READ &&
				  listed(tables, ARRAY_SIZE(tables), g->s->kind)))
		return refuse(
			g,
			"%s.%s.%s is masked by rule \"%s\": the table's definition may not be "
			"changed or built upon",
			rel->schema, rel->name, column, rule_name(rule));
	return add_masked(g, rel, set);
}

/* Statements that show nothing of a view, whatever it reads. */
#define BLIND (SQL_DROP | SQL_TRUNCATE | SQL_GRANT | SQL_LOCK | SQL_MAINTAIN)

/* NULL: refused. */
static const struct seen *look_at(struct guard *g, const struct pg_relation *rel)
{
	struct seen *seen = &g->seen[(uintptr_t)rel / sizeof(*rel) % SEEN_MAX];
	bool alone = rel->sources.n == 0 && rel->parents.n == 0 && rel->children.n == 0;

	if (seen->rel == rel)
		return spend(g, 1) < 0 ? NULL : seen;
	if (spend(g, g->verdict->n_masks + (alone ? 1 : WORK_FOLLOW)) < 0)
		return NULL;
	seen->rel = rel;
	seen->source = NULL;
	seen->reads = mask_reads_through(g->verdict, g->catalog, rel, &seen->source);
	mask_set_of(g->verdict, g->catalog, rel, &seen->set);
	return seen;
}

static int check_relation(struct guard *g, const struct sql_table *t, const struct pg_relation *rel)
{
	const struct pg_relation *source;
	const struct seen *seen;
	const struct mask_rule *rule = NULL;
	const char *column = NULL;
	bool blind = (g->s->verbs & ~(uint32_t)BLIND) == 0;

	if (t->access & SQL_READ && mask_shows_samples(rel->schema, rel->name))
		return refuse(
			g, "%s.%s shows samples of columns that are masked for you: leave it out",
			rel->schema, rel->name);
	seen = look_at(g, rel);
	if (!seen)
		return -EACCES;
	source = seen->source;
	if (!blind && seen->reads) {
		if (source)
			return refuse(g,
				      "%s.%s takes from %s.%s, which has columns that are masked "
				      "for you: read that table itself",
				      rel->schema, rel->name, source->schema, source->name);
		return refuse(g,
			      "%s.%s calls functions that could read columns that are masked for "
			      "you: read the tables themselves",
			      rel->schema, rel->name);
	}
	if (seen->set.n > 0 && spend(g, seen->set.n * rel->n_columns) < 0)
		return -EACCES;
	if (!mask_set_any(&seen->set, rel, &column, &rule))
		return 0;
	return check_masked(g, t, rel, &seen->set, column, rule);
}

static int check_table(struct guard *g, const struct sql_table *t)
{
	const struct pg_relation *rel;
	bool found = false;
	int r = 0;

	if (t->schema) {
		rel = pg_catalog_by_name(g->catalog, t->schema, t->name);
		found = rel != NULL;
		r = rel ? check_relation(g, t, rel) : 0;
	} else {
		/* Which of that name is not known: each of them may be it. */
		for (size_t i = 0; r == 0; i++) {
			rel = pg_catalog_named(g->catalog, t->name, i);
			if (!rel)
				break;
			found = true;
			r = check_relation(g, t, rel);
		}
	}
	if (r == 0 && !found && t->access & SQL_READ)
		return refuse(g,
			      "relation \"%s%s%s\" is not found, so it cannot be told which of its "
			      "columns are masked for you: check the name, or write its schema",
			      t->schema ? t->schema : "", t->schema ? "." : "", t->name);
	return r;
}

/* ---- columns ---- */

/* May the column's qualifier stand for this relation? */
static bool may_mean(const struct sql_statement *s, const struct sql_column *c,
		     const struct pg_relation *rel)
{
	bool found = false;

	if (!c->qualifier)
		return true;
	for (size_t i = 0; i < s->n_ranges; i++) {
		const struct sql_range *range = &s->ranges[i];

		if (!streq(range->alias, c->qualifier))
			continue;
		found = true;
		if (range->join)
			return true;
		if (range->table && streq(range->table, rel->name) &&
		    (!range->schema || streq(range->schema, rel->schema)))
			return true;
	}
	/* OLD, NEW, or something not understood. */
	return !found;
}

static bool has_column(const struct pg_relation *rel, const char *name)
{
	static const char *const system[] = {"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"};

	for (size_t i = 0; i < rel->n_columns; i++)
		if (rel->columns[i] && streq(rel->columns[i], name))
			return true;
	return listed(system, ARRAY_SIZE(system), name);
}

static int refuse_use(struct guard *g, const struct sql_column *c, const struct masked *m,
		      const char *column, const struct mask_rule *rule)
{
	const struct pg_relation *rel = m->rel;

	if (c->use == SQL_USE_OUTPUT)
		return refuse(g,
			      "%s.%s.%s is masked by rule \"%s\", and can be only in text format: "
			      "ask for text results",
			      rel->schema, rel->name, column, rule_name(rule));
	if (c->star)
		return refuse(g,
			      "%s.%s.%s is masked by rule \"%s\": all columns may be selected as "
			      "they are, at the outermost level; here, name those that you need",
			      rel->schema, rel->name, column, rule_name(rule));
	return refuse(
		g,
		"%s.%s.%s is masked by rule \"%s\": it may be selected as it is, but not used "
		"in an expression, a condition, an order or a nested query",
		rel->schema, rel->name, column, rule_name(rule));
}

static int check_column_of(struct guard *g, const struct sql_column *c, const struct masked *m)
{
	const struct mask_rule *rule = NULL;
	const char *column = c->name;

	if (spend(g, (c->qualifier ? g->s->n_ranges : 0) + (c->star ? 0 : m->rel->n_columns)) < 0)
		return -EACCES;
	if (!may_mean(g->s, c, m->rel))
		return 0;
	if (c->star) {
		if (c->use == SQL_USE_OUTPUT && !g->binary)
			return 0;
		(void)mask_set_any(&m->set, m->rel, &column, &rule);
		return refuse_use(g, c, m, column, rule);
	}
	if (has_column(m->rel, c->name)) {
		if (mask_set_column(&m->set, c->name, &rule) == MASK_NONE ||
		    (c->use == SQL_USE_OUTPUT && !g->binary))
			return 0;
		return refuse_use(g, c, m, column, rule);
	}
	/* t.f is f(t) when t has no column f: a function over the whole row. */
	if (c->qualifier)
		return refuse(g,
			      "\"%s.%s\" could be a function of a whole row of %s.%s, which has "
			      "masked columns: check the name, or give each table its own alias",
			      c->qualifier, c->name, m->rel->schema, m->rel->name);
	return 0;
}

static int check_statement(struct guard *g)
{
	int r = check_verbs(g);

	g->n_masked = 0;
	for (size_t i = 0; r == 0 && i < g->s->n_tables; i++)
		r = check_table(g, &g->s->tables[i]);
	for (size_t i = 0; r == 0 && i < g->s->n_columns; i++)
		for (size_t k = 0; r == 0 && k < g->n_masked; k++)
			r = check_column_of(g, &g->s->columns[i], &g->masked[k]);
	return r;
}

int mask_guard(const struct op *op, const struct sql_class *resolved, const struct verdict *verdict,
	       const struct pg_catalog *catalog, char *ret_why, size_t why_size)
{
	struct guard g;

	/* Field by field: the lists are large, and clearing them was a fifth of an operation's
	 * cost. n_masked and seen[].rel tell what of them holds something. */
	g.verdict = verdict;
	g.catalog = catalog;
	g.binary = op->binary_results;
	g.s = NULL;
	g.n_masked = 0;
	g.work = 0;
	g.why = ret_why;
	g.why_size = why_size;
	for (size_t i = 0; i < SEEN_MAX; i++)
		g.seen[i].rel = NULL;
	if (verdict->n_masks == 0 || op->kind == OP_CONNECT)
		return 0;
	if (!resolved || !catalog)
		return refuse(&g, "columns are masked for you, and the server's catalog is not "
				  "known: try again");
	for (size_t i = 0; i < resolved->n_statements; i++) {
		int r;

		g.s = &resolved->statements[i];
		r = check_statement(&g);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- result columns ---- */

/* Masks of one relation's columns, for a run of result columns of the same relation. */
struct column_masks {
	const struct pg_relation *rel;
	struct mask_set set;
};

static int load_relation(const struct verdict *verdict, const struct pg_catalog *catalog,
			 uint32_t oid, struct column_masks *m)
{
	const struct pg_relation *source;
	const struct pg_relation *rel;

	if (m->rel && m->rel->oid == oid)
		return 0;
	rel = pg_catalog_by_oid(catalog, oid);
	if (!rel)
		return -EAGAIN;
	/* The guard lets none of these through; should the catalog have changed since, nothing of
	 * them may pass here either. */
	if (mask_shows_samples(rel->schema, rel->name) ||
	    mask_reads_through(verdict, catalog, rel, &source))
		return -EACCES;
	mask_set_of(verdict, catalog, rel, &m->set);
	m->rel = rel;
	return 0;
}

static int mask_of_column(const struct verdict *verdict, const struct pg_catalog *catalog,
			  const struct proto_column *c, struct column_masks *m, uint8_t *ret_mask)
{
	enum mask_kind kind;
	int r;

	*ret_mask = MASK_NONE;
	if (c->table_oid == 0)
		return 0;
	r = load_relation(verdict, catalog, c->table_oid, m);
	if (r < 0)
		return r;
	/* System columns (ctid, xmin …) have numbers below zero. */
	if (c->attnum < 1)
		return 0;
	if ((size_t)c->attnum > m->rel->n_columns || !m->rel->columns[c->attnum - 1])
		return -EAGAIN;
	kind = mask_set_column(&m->set, m->rel->columns[c->attnum - 1], NULL);
	if (kind != MASK_NONE && c->binary)
		return -EACCES;
	*ret_mask = (uint8_t)kind;
	return 0;
}

int mask_columns(const struct verdict *verdict, const struct pg_catalog *catalog,
		 const struct proto_column *columns, size_t n, uint8_t *ret_masks)
{
	uint8_t masks[PROTO_COLUMNS_MAX];
	struct column_masks m = {.rel = NULL};

	if (n > ARRAY_SIZE(masks) || (verdict->n_masks > 0 && !catalog))
		return -EACCES;
	for (size_t i = 0; i < n; i++) {
		int r = 0;

		masks[i] = MASK_NONE;
		if (verdict->n_masks > 0)
			r = mask_of_column(verdict, catalog, &columns[i], &m, &masks[i]);
		if (r < 0)
			return r;
	}
	if (n > 0)
		memcpy(ret_masks, masks, n);
	return 0;
}
