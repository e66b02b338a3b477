#include "session/mask_guard.h"

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

static bool resolve_statement(struct sql_statement *s, const struct search_path *path,
			      const struct pg_catalog *catalog, struct arena *arena)
{
	if (!copy_list(arena, &s->tables, s->n_tables, sizeof(*s->tables)) ||
	    !copy_list(arena, &s->ranges, s->n_ranges, sizeof(*s->ranges)) ||
	    !copy_list(arena, &s->functions, s->n_functions, sizeof(*s->functions)))
		return false;
	for (size_t i = 0; i < s->n_tables; i++)
		if (!s->tables[i].schema)
			s->tables[i].schema = schema_of(s->tables[i].name, path, catalog);
	for (size_t i = 0; i < s->n_ranges; i++)
		if (s->ranges[i].table && !s->ranges[i].schema)
			s->ranges[i].schema = schema_of(s->ranges[i].table, path, catalog);
	for (size_t i = 0; i < s->n_functions && !built_ins_come_first(path); i++) {
		if (s->functions[i].schema)
			continue;
		s->functions[i].harmless = false;
		s->verbs |= SQL_CALL;
	}
	return true;
}

const struct sql_class *names_resolve(const struct sql_class *sql, const struct search_path *path,
				      const struct pg_catalog *catalog, struct arena *arena)
{
	struct sql_class *c;

	if (!path->known || !catalog)
		return sql;
	c = arena_alloc(arena, sizeof(*c));
	if (!c)
		return NULL;
	*c = *sql;
	if (!copy_list(arena, &c->statements, c->n_statements, sizeof(*c->statements)))
		return NULL;
	for (size_t i = 0; i < c->n_statements; i++) {
		if (!resolve_statement(&c->statements[i], path, catalog, arena))
			return NULL;
		c->verbs |= c->statements[i].verbs;
	}
	return c;
}
