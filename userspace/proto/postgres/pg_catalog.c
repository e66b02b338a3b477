#include "proto/postgres/pg_catalog.h"

#include <stdlib.h>

#include "proto/postgres/pg_catalog_load.h"
#include "proto/postgres/pg_message.h"

/* Everything is written with its schema: the search path of the role decides nothing here. Each
 * SELECT is one of enum pg_catalog_result, in its order. */
static const char query[] =
	"SET client_encoding TO 'UTF8';"
	"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
	"SELECT c.oid, c.relkind, n.nspname, c.relname, c.relnatts"
	" FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n"
	" WHERE n.oid OPERATOR(pg_catalog.=) c.relnamespace"
	" AND c.relkind OPERATOR(pg_catalog.=)"
	" ANY ('{r,p,f,v,m,S,t}'::pg_catalog.\"char\"[])"
	" ORDER BY c.oid;"
	"SELECT a.attrelid, a.attnum, a.attname"
	" FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c"
	" WHERE c.oid OPERATOR(pg_catalog.=) a.attrelid"
	" AND c.relkind OPERATOR(pg_catalog.=)"
	" ANY ('{r,p,f,v,m,S,t}'::pg_catalog.\"char\"[])"
	" AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped;"
	/* Rules take from relations, or call what is not built in (FirstNormalObjectId and up). */
	"SELECT DISTINCT r.ev_class, d.refobjid,"
	" CASE WHEN d.refclassid"
	" OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid"
	" THEN 'r' ELSE 'f' END"
	" FROM pg_catalog.pg_rewrite r, pg_catalog.pg_depend d"
	" WHERE d.objid OPERATOR(pg_catalog.=) r.oid"
	" AND d.classid OPERATOR(pg_catalog.=)"
	" 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid"
	" AND d.refobjid OPERATOR(pg_catalog.<>) r.ev_class"
	" AND (d.refclassid OPERATOR(pg_catalog.=)"
	" 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid"
	" OR d.refclassid OPERATOR(pg_catalog.=)"
	" ANY (ARRAY['pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid,"
	" 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid])"
	" AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)"
	" UNION ALL SELECT i.inhrelid, i.inhparent, 'i' FROM pg_catalog.pg_inherits i"
	" UNION ALL SELECT t.reltoastrelid, t.oid, 't' FROM pg_catalog.pg_class t"
	" WHERE t.reltoastrelid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;"
	"SELECT f.name FROM (SELECT DISTINCT p.proname::pg_catalog.text COLLATE pg_catalog.\"C\""
	" AS name FROM pg_catalog.pg_proc p"
	" WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid) f ORDER BY f.name;"
	"SELECT s.name FROM ROWS FROM (pg_catalog.unnest(pg_catalog.current_schemas(true)))"
	" WITH ORDINALITY AS s(name, place) ORDER BY s.place;"
	"COMMIT";

int pg_catalog_query(struct buf *out)
{
	return pg_put_query(out, query);
}

int pg_catalog_new(struct pg_catalog **ret_catalog)
{
	struct pg_catalog *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->refs = 1;
	c->arena = ARENA_INIT(PG_CATALOG_MEMORY_MAX);
	c->load = catalog_load_new();
	if (!c->load) {
		free(c);
		return -ENOMEM;
	}
	*ret_catalog = c;
	return 0;
}

struct pg_catalog *pg_catalog_ref(struct pg_catalog *c)
{
	c->refs++;
	return c;
}

void pg_catalog_unref(struct pg_catalog *c)
{
	if (!c || --c->refs > 0)
		return;
	catalog_load_free(c->load);
	arena_done(&c->arena);
	free(c->relations);
	free(c->by_name);
	free(c->functions);
	free(c);
}

const struct pg_relation *pg_catalog_by_oid(const struct pg_catalog *c, uint32_t oid)
{
	size_t low = 0;
	size_t high = c->n_relations;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->relations[mid].oid == oid)
			return &c->relations[mid];
		if (c->relations[mid].oid < oid)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* The first in by_name whose (name, schema) is not before this one. */
static size_t lower_bound(const struct pg_catalog *c, const char *name, const char *schema)
{
	size_t low = 0;
	size_t high = c->by_name ? c->n_relations : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct pg_relation *r = c->by_name[mid];
		int order = strcmp(r->name, name);

		if (order == 0)
			order = strcmp(r->schema, schema);
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct pg_relation *pg_catalog_by_name(const struct pg_catalog *c, const char *schema,
					     const char *name)
{
	size_t at = lower_bound(c, name, schema);

	if (!c->by_name || at == c->n_relations || !streq(c->by_name[at]->name, name) ||
	    !streq(c->by_name[at]->schema, schema))
		return NULL;
	return c->by_name[at];
}

const struct pg_relation *pg_catalog_named(const struct pg_catalog *c, const char *name,
					   size_t index)
{
	size_t at = lower_bound(c, name, "");

	if (!c->by_name || index >= c->n_relations - at ||
	    !streq(c->by_name[at + index]->name, name))
		return NULL;
	return c->by_name[at + index];
}

static int compare_function(const void *key, const void *entry)
{
	return strcmp(key, *(const char *const *)entry);
}

bool pg_catalog_has_function(const struct pg_catalog *c, const char *name)
{
	return c->n_functions > 0 && bsearch(name, c->functions, c->n_functions,
					     sizeof(*c->functions), compare_function) != NULL;
}

size_t pg_catalog_search_path(const struct pg_catalog *c, const char *const **ret_schemas)
{
	*ret_schemas = c->path;
	return c->n_path;
}
