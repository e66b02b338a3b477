/* pg_catalog.h - what the server's catalog says, as far as masks and names need it.
 * Used by: session/. Sans-I/O: pg_catalog_query() is sent over a logged-in side connection, the
 * answer is fed in.
 * Promises: immutable once loaded; bounded: more relations than the maximum is -E2BIG. */
#ifndef SLUICE_PROTO_POSTGRES_PG_CATALOG_H
#define SLUICE_PROTO_POSTGRES_PG_CATALOG_H

#include "base/arena.h"
#include "base/buf.h"

#define PG_CATALOG_RELATIONS_MAX 200000
#define PG_SEARCH_PATH_MAX	 32

struct pg_relation {
	uint32_t oid;
	char kind; /* pg_class.relkind */
	const char *schema;
	const char *name;
	size_t n_columns;
	const char **columns; /* by attnum - 1; NULL: dropped */
	/* Relations that a view, rule or inheritance child takes from, directly (oids, ascending).
	 */
	size_t n_sources;
	const uint32_t *sources;
	/* For a partition or inheritance child: its parents are in sources too. */
};

struct pg_catalog;

/* Messages to send (one simple Query). */
int pg_catalog_query(struct buf *out);
int pg_catalog_new(struct pg_catalog **ret_catalog);
/* 1: complete; 0: more; -EPROTO, -E2BIG, -ENOMEM, -EACCES (the server answered with an error). */
int pg_catalog_feed(struct pg_catalog *c, struct span in, size_t *ret_used);
struct pg_catalog *pg_catalog_ref(struct pg_catalog *c);
void pg_catalog_unref(struct pg_catalog *c);
DEFINE_CLEANUP(struct pg_catalog *, pg_catalog_unref, pg_catalog_unrefp)

const struct pg_relation *pg_catalog_by_oid(const struct pg_catalog *c, uint32_t oid);
const struct pg_relation *pg_catalog_by_name(const struct pg_catalog *c, const char *schema,
					     const char *name);
/* The search path as at login, pg_catalog first where it is implicit. */
size_t pg_catalog_search_path(const struct pg_catalog *c, const char *const **ret_schemas);

#endif
