#include "session/sql_names.h"

#define NAMES_MEMORY_MAX (512u * 1024u)

struct sql_named {
	struct sql_named *next;
	const char *name;
	struct sql_statement what;
};

void sql_names_init(struct sql_names *n)
{
	*n = (struct sql_names){.arena = ARENA_INIT(NAMES_MEMORY_MAX)};
}

void sql_names_done(struct sql_names *n)
{
	arena_done(&n->arena);
	n->list = NULL;
	n->n = 0;
}

/* Append `more` strings-by-reference array b to a, in arena. -ENOMEM. */
static int join_array(struct arena *arena, size_t size, const void *a, size_t n_a, const void *b,
		      size_t n_b, void *ret, size_t *ret_n)
{
	uint8_t *all;

	if (n_b == 0)
		return 0;
	all = arena_calloc(arena, n_a + n_b, size);
	if (!all)
		return -ENOMEM;
	if (n_a > 0)
		memcpy(all, a, n_a * size);
	memcpy(all + n_a * size, b, n_b * size);
	*(void **)ret = all;
	*ret_n = n_a + n_b;
	return 0;
}

/* Verbs that say how a statement is run, not what it does. */
#define STRUCTURAL (SQL_PREPARE | SQL_DECLARE | SQL_EXECUTE | SQL_FETCH)

static int join_statement(struct arena *arena, struct sql_statement *to,
			  const struct sql_statement *from)
{
	int r;

	to->verbs |= from->verbs & ~(uint32_t)STRUCTURAL;
	to->where = to->where && from->where;
	r = join_array(arena, sizeof(*to->tables), to->tables, to->n_tables, from->tables,
		       from->n_tables, &to->tables, &to->n_tables);
	if (r == 0)
		r = join_array(arena, sizeof(*to->functions), to->functions, to->n_functions,
			       from->functions, from->n_functions, &to->functions,
			       &to->n_functions);
	if (r == 0)
		r = join_array(arena, sizeof(*to->columns), to->columns, to->n_columns,
			       from->columns, from->n_columns, &to->columns, &to->n_columns);
	if (r == 0)
		r = join_array(arena, sizeof(*to->ranges), to->ranges, to->n_ranges, from->ranges,
			       from->n_ranges, &to->ranges, &to->n_ranges);
	return r;
}

/* Copies of everything a statement points to: the class it came from may go away. */
static int copy_statement(struct arena *arena, const struct sql_statement *from,
			  struct sql_statement *to)
{
	struct sql_statement copy = {
		.verbs = from->verbs & ~(uint32_t)STRUCTURAL,
		.where = from->where,
		.kind = "",
	};
	int r = join_statement(arena, &copy, from);

	if (r < 0)
		return r;
	for (size_t i = 0; i < copy.n_tables; i++) {
		copy.tables[i].catalog = arena_strdup(arena, copy.tables[i].catalog);
		copy.tables[i].schema = arena_strdup(arena, copy.tables[i].schema);
		copy.tables[i].name = arena_strdup(arena, copy.tables[i].name);
		if (!copy.tables[i].name)
			return -ENOMEM;
	}
	for (size_t i = 0; i < copy.n_functions; i++) {
		copy.functions[i].schema = arena_strdup(arena, copy.functions[i].schema);
		copy.functions[i].name = arena_strdup(arena, copy.functions[i].name);
		if (!copy.functions[i].name)
			return -ENOMEM;
	}
	for (size_t i = 0; i < copy.n_columns; i++) {
		struct sql_column *c = &copy.columns[i];
		bool named = c->name != NULL;

		c->schema = arena_strdup(arena, c->schema);
		c->qualifier = arena_strdup(arena, c->qualifier);
		c->name = arena_strdup(arena, c->name);
		if (named && !c->name)
			return -ENOMEM;
	}
	for (size_t i = 0; i < copy.n_ranges; i++) {
		struct sql_range *range = &copy.ranges[i];
		bool of_table = range->table != NULL;

		range->alias = arena_strdup(arena, range->alias);
		range->schema = arena_strdup(arena, range->schema);
		range->table = arena_strdup(arena, range->table);
		if (of_table && !range->table)
			return -ENOMEM;
	}
	*to = copy;
	return 0;
}

static bool same_statement(const struct sql_statement *a, const struct sql_statement *b)
{
	if (a->verbs != (b->verbs & ~(uint32_t)STRUCTURAL) || a->n_tables != b->n_tables ||
	    a->n_columns != b->n_columns || a->n_functions != b->n_functions ||
	    a->n_ranges != b->n_ranges)
		return false;
	for (size_t i = 0; i < a->n_ranges; i++)
		if (!streq_null(a->ranges[i].alias, b->ranges[i].alias) ||
		    !streq_null(a->ranges[i].schema, b->ranges[i].schema) ||
		    !streq_null(a->ranges[i].table, b->ranges[i].table))
			return false;
	for (size_t i = 0; i < a->n_tables; i++)
		if (!streq(a->tables[i].name, b->tables[i].name) ||
		    !streq_null(a->tables[i].schema, b->tables[i].schema) ||
		    a->tables[i].access != b->tables[i].access)
			return false;
	for (size_t i = 0; i < a->n_functions; i++)
		if (!streq(a->functions[i].name, b->functions[i].name) ||
		    !streq_null(a->functions[i].schema, b->functions[i].schema))
			return false;
	for (size_t i = 0; i < a->n_columns; i++)
		if (!streq_null(a->columns[i].name, b->columns[i].name) ||
		    !streq_null(a->columns[i].qualifier, b->columns[i].qualifier) ||
		    a->columns[i].star != b->columns[i].star ||
		    a->columns[i].use != b->columns[i].use)
			return false;
	return true;
}

static void learn(struct sql_names *n, const char *name, const struct sql_statement *st)
{
	struct sql_named *named;

	for (named = n->list; named; named = named->next)
		if (streq(named->name, name) && same_statement(&named->what, st))
			return;
	if (n->overflow)
		return;
	named = n->n < SQL_NAMES_MAX ? arena_alloc(&n->arena, sizeof(*named)) : NULL;
	if (!named || copy_statement(&n->arena, st, &named->what) < 0 ||
	    !(named->name = arena_strdup(&n->arena, name))) {
		n->overflow = true;
		return;
	}
	named->next = n->list;
	n->list = named;
	n->n++;
}

void sql_names_learn(struct sql_names *n, const struct op *op)
{
	if (!op->sql)
		return;
	for (size_t i = 0; i < op->sql->n_statements; i++) {
		const struct sql_statement *st = &op->sql->statements[i];

		if (st->name && st->verbs & (SQL_PREPARE | SQL_DECLARE))
			learn(n, st->name, st);
		if (op->kind == OP_PREPARE && op->name && *op->name)
			learn(n, op->name, st);
	}
}

/* CLOSE has the verb of FETCH and reads nothing, whatever the cursor's name stands for. */
static bool needs_join(const struct sql_statement *st)
{
	return (st->verbs & (SQL_EXECUTE | SQL_FETCH)) && !streq(st->kind, "ClosePortalStmt");
}

const struct sql_class *sql_names_join(const struct sql_names *n, const struct sql_class *sql,
				       struct arena *arena)
{
	struct sql_class *joined;

	if (!(sql->verbs & (SQL_EXECUTE | SQL_FETCH)))
		return sql;
	joined = arena_alloc(arena, sizeof(*joined));
	if (!joined)
		return NULL;
	*joined = *sql;
	joined->statements = arena_calloc(arena, sql->n_statements, sizeof(*joined->statements));
	if (!joined->statements)
		return NULL;
	for (size_t i = 0; i < sql->n_statements; i++) {
		struct sql_statement *st = &joined->statements[i];
		bool found = false;

		*st = sql->statements[i];
		if (!needs_join(st))
			continue;
		for (const struct sql_named *named = n->list; named && st->name;
		     named = named->next) {
			if (!streq(named->name, st->name))
				continue;
			found = true;
			if (join_statement(arena, st, &named->what) < 0)
				return NULL;
		}
		if (!found || n->overflow)
			st->verbs |= SQL_UNKNOWN;
		joined->verbs |= st->verbs;
	}
	return joined;
}
