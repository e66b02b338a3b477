/* pg_catalog_load.h - inside of a catalog, and its making.
 * Used by: proto/postgres/pg_catalog*.c only.
 * Promises: what arrives is checked; a catalog that failed to load stays without relations. */
#ifndef SLUICE_PROTO_POSTGRES_PG_CATALOG_LOAD_H
#define SLUICE_PROTO_POSTGRES_PG_CATALOG_LOAD_H

#include "proto/postgres/pg_catalog.h"

/* The results in the order in which they are asked for. */
enum pg_catalog_result {
	RESULT_RELATIONS, /* oid, kind, schema, name, number of columns; by oid */
	RESULT_COLUMNS,	  /* oid, number, name */
	RESULT_EDGES,	  /* oid, source, 'r' rule, 'f' calls, 'i' child of, 't' TOAST of */
	RESULT_FUNCTIONS, /* name; in byte order, each once */
	RESULT_PATH,	  /* schema; in order */
	RESULTS,
};

struct catalog_load;

struct pg_catalog {
	unsigned refs;
	struct arena arena;
	struct pg_relation *relations; /* by oid */
	size_t n_relations;
	const struct pg_relation **by_name; /* by name, then schema; NULL until complete */
	const char **functions;		    /* in byte order */
	size_t n_functions;
	const char *path[PG_SEARCH_PATH_MAX];
	size_t n_path;
	struct catalog_load *load; /* NULL when complete */
};

struct catalog_load *catalog_load_new(void);
void catalog_load_free(struct catalog_load *load);

#endif
