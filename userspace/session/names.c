#include "session/mask_guard.h"

#include "proto/postgres/pg_settings.h"

/* Names compared for the hidden calls of one text; what is left then counts as a call. */
#define WORK_MAX (8u * 1024u * 1024u)

/* The schema that an unqualified name is found in; NULL: in none of the path. */
static const char *schema_of(const char *name, const struct search_path *path,
			     const struct pg_catalog *catalog)
{
	bool listed = false;

	for (size_t i = 0; i < path->n && !listed; i++)
		listed = streq(path->schemas[i], "pg_catalog");
	/* Not listed, it comes first. */
	if (!listed && pg_catalog_by_name(catalog, "pg_catalog", name))
		return "pg_catalog";
	for (size_t i = 0; i < path->n; i++)
		if (pg_catalog_by_name(catalog, path->schemas[i], name))
			return path->schemas[i];
	return NULL;
}

static bool built_ins_come_first(const struct search_path *path)
{
	for (size_t i = 1; i < path->n; i++)
		if (streq(path->schemas[i], "pg_catalog") && !streq(path->schemas[0], "pg_catalog"))
			return false;
	return true;
}

/* A copy of n items of a list in the arena; false when that is full. */
static bool copy_list(struct arena *arena, void *list, size_t n, size_t size)
{
	void *copy;

	if (n == 0)
		return true;
	copy = arena_calloc(arena, n, size);
	if (!copy)
		return false;
	memcpy(copy, *(void **)list, n * size);
	*(void **)list = copy;
	return true;
}

static bool has_column(const struct pg_relation *rel, const char *name)
{
	for (size_t i = 0; i < rel->n_columns; i++)
		if (rel->columns[i] && streq(rel->columns[i], name))
			return true;
	return false;
}

/* Is it surely a column of whatever this range may be? */
static bool is_column_of(const struct sql_range *range, const char *name,
			 const struct pg_catalog *catalog)
{
	const struct pg_relation *rel;

	if (!range->table)
		return false;
	if (range->schema) {
		rel = pg_catalog_by_name(catalog, range->schema, range->table);
		return rel && has_column(rel, name);
	}
	if (!pg_catalog_named(catalog, range->table, 0))
		return false;
	for (size_t i = 0; (rel = pg_catalog_named(catalog, range->table, i)) != NULL; i++)
		if (!has_column(rel, name))
			return false;
	return true;
}

/* t.f where t has no column f is f(t): a call that does not look like one. */
static bool is_hidden_call(const struct sql_statement *s, const struct sql_column *c,
			   const struct pg_catalog *catalog, size_t *work)
{
	bool found = false;

	if (c->star || !c->qualifier || !pg_catalog_has_function(catalog, c->name))
		return false;
	if (*work > WORK_MAX)
		return true;
	*work += s->n_ranges;
	for (size_t i = 0; i < s->n_ranges && *work <= WORK_MAX; i++) {
		if (!streq(s->ranges[i].alias, c->qualifier))
			continue;
		found = true;
		*work += PG_CATALOG_COLUMNS_MAX;
		if (!is_column_of(&s->ranges[i], c->name, catalog))
			return true;
	}
	return !found || *work > WORK_MAX;
}

static bool add_hidden_calls(struct sql_statement *s, const struct pg_catalog *catalog,
			     struct arena *arena, size_t *work)
{
	struct sql_function *all = NULL;

	for (size_t i = 0; i < s->n_columns; i++) {
		if (!is_hidden_call(s, &s->columns[i], catalog, work))
			continue;
		if (!all) {
			all = arena_calloc(arena, s->n_functions + s->n_columns - i, sizeof(*all));
			if (!all)
				return false;
			if (s->n_functions > 0)
				memcpy(all, s->functions, s->n_functions * sizeof(*all));
			s->functions = all;
			s->verbs |= SQL_CALL;
		}
		all[s->n_functions++] = (struct sql_function){.name = s->columns[i].name};
	}
	return true;
}

/* A name alone is not enough to be harmless where it is, or may be, found elsewhere too: the server
 * takes whichever function fits the arguments best. */
static void doubt_functions(struct sql_statement *s, const struct search_path *path,
			    const struct pg_catalog *catalog)
{
	bool shadowed = path->known && !built_ins_come_first(path);

	for (size_t i = 0; i < s->n_functions; i++) {
		if (s->functions[i].schema ||
		    (!shadowed && !pg_catalog_has_function(catalog, s->functions[i].name)))
			continue;
		s->functions[i].harmless = false;
		s->verbs |= SQL_CALL;
	}
}

static bool resolve_statement(struct sql_statement *s, const struct search_path *path,
			      const struct pg_catalog *catalog, struct arena *arena, size_t *work)
{
	if (!copy_list(arena, &s->tables, s->n_tables, sizeof(*s->tables)) ||
	    !copy_list(arena, &s->ranges, s->n_ranges, sizeof(*s->ranges)) ||
	    !copy_list(arena, &s->functions, s->n_functions, sizeof(*s->functions)))
		return false;
	for (size_t i = 0; i < s->n_tables && path->known; i++)
		if (!s->tables[i].schema)
			s->tables[i].schema = schema_of(s->tables[i].name, path, catalog);
	for (size_t i = 0; i < s->n_ranges && path->known; i++)
		if (s->ranges[i].table && !s->ranges[i].schema)
			s->ranges[i].schema = schema_of(s->ranges[i].table, path, catalog);
	doubt_functions(s, path, catalog);
	return add_hidden_calls(s, catalog, arena, work);
}

/* Statements that change which relations there are. */
#define DDL (SQL_CREATE | SQL_ALTER | SQL_DROP)

bool names_may_move(const struct sql_statement *s, const struct pg_catalog *catalog)
{
	if (s->setting && !pg_setting_keeps_path(s->setting))
		return true;
	if (s->verbs & (DDL | SQL_UNKNOWN | SQL_FUNCTION_CALL))
		return true;
	if (!(s->verbs & SQL_CALL))
		return false;
	/* What the database itself defines may do anything; what is built in is known. */
	if (!catalog || streq(s->kind, "CallStmt"))
		return true;
	for (size_t i = 0; i < s->n_functions; i++)
		if (!s->functions[i].harmless &&
		    pg_catalog_has_function(catalog, s->functions[i].name))
			return true;
	return false;
}

const struct sql_class *names_resolve(const struct sql_class *sql, const struct search_path *path,
				      const struct pg_catalog *catalog, struct arena *arena)
{
	struct search_path now = *path;
	struct sql_class *c;
	size_t work = 0;

	if (!catalog)
		return sql;
	c = arena_alloc(arena, sizeof(*c));
	if (!c)
		return NULL;
	*c = *sql;
	if (!copy_list(arena, &c->statements, c->n_statements, sizeof(*c->statements)))
		return NULL;
	for (size_t i = 0; i < c->n_statements; i++) {
		if (!resolve_statement(&c->statements[i], &now, catalog, arena, &work))
			return NULL;
		c->verbs |= c->statements[i].verbs;
		/* `SET search_path …; SELECT …` in one text: the rest is read by another path. */
		if (names_may_move(&c->statements[i], catalog))
			now.known = false;
	}
	return c;
}
