/* pg_catalog.h - what the server's catalog says, as far as masks and names need it.
 * Used by: session/. Sans-I/O: pg_catalog_query() is sent over a logged-in side connection, the
 * answer is fed in.
 * Promises: immutable once loaded; bounded: more relations than the maximum is -E2BIG. */
#ifndef SLUICE_PROTO_POSTGRES_PG_CATALOG_H
#define SLUICE_PROTO_POSTGRES_PG_CATALOG_H

#include "base/arena.h"
#include "base/buf.h"

#define PG_CATALOG_RELATIONS_MAX 200000
#define PG_CATALOG_COLUMNS_MAX	 1664	 /* of one relation */
#define PG_CATALOG_EDGES_MAX	 2000000 /* who takes from whom */
#define PG_CATALOG_MEMORY_MAX	 (192u * 1024u * 1024u)
#define PG_SEARCH_PATH_MAX	 32

#define PG_CATALOG_FUNCTIONS_MAX 500000

/* Oids in ascending order, each once. */
struct pg_oids {
	size_t n;
	const uint32_t *oids;
};

/* Tables, partitioned and foreign ones, views, materialised views, sequences and TOAST tables. */
struct pg_relation {
	uint32_t oid;
	char kind; /* pg_class.relkind */
	const char *schema;
	const char *name;
	size_t n_columns;
	const char **columns; /* by attnum - 1; NULL: dropped */
	/* What a view or another rule takes from, directly; of a TOAST table, its table. */
	struct pg_oids sources;
	struct pg_oids parents;	 /* of a partition or inheritance child */
	struct pg_oids children; /* what is read with it */
	/* A rule or view of it calls functions or operators that are not built in: they may read
	 * anything. */
	bool calls;
};

struct pg_catalog;

/* Messages to send (one simple Query, several statements in one read-only transaction). */
int pg_catalog_query(struct buf *out);
int pg_catalog_new(struct pg_catalog **ret_catalog);
/* 1: complete; 0: more; -EPROTO, -E2BIG, -ENOMEM, -EACCES (the server answered with an error).
 * *ret_used is always set; bytes of a message cut off are taken and kept. */
int pg_catalog_feed(struct pg_catalog *c, struct span in, size_t *ret_used);
struct pg_catalog *pg_catalog_ref(struct pg_catalog *c);
void pg_catalog_unref(struct pg_catalog *c);
DEFINE_CLEANUP(struct pg_catalog *, pg_catalog_unref, pg_catalog_unrefp)

const struct pg_relation *pg_catalog_by_oid(const struct pg_catalog *c, uint32_t oid);
const struct pg_relation *pg_catalog_by_name(const struct pg_catalog *c, const char *schema,
					     const char *name);
/* Those of that name in any schema, in order of schema: index 0, 1 … until NULL. */
const struct pg_relation *pg_catalog_named(const struct pg_catalog *c, const char *name,
					   size_t index);
/* Is there a function of that name, in any schema, that is not built in? */
bool pg_catalog_has_function(const struct pg_catalog *c, const char *name);
/* The search path as at login, pg_catalog first where it is implicit. */
size_t pg_catalog_search_path(const struct pg_catalog *c, const char *const **ret_schemas);

#endif
