/* mask_guard.h - may this statement run under these masks, and which result columns are masked?
 * Used by: session/pipeline.c.
 * Promises: conservative: what is not surely a masked column unchanged, or surely free of any, is
 * refused. Pure. */
#ifndef SLUICE_SESSION_MASK_GUARD_H
#define SLUICE_SESSION_MASK_GUARD_H

#include "model/op.h"
#include "model/verdict.h"
#include "proto/postgres/pg_catalog.h"
#include "proto/proto.h"

/* Names as the session's search path resolves them. */
struct search_path {
	bool known;
	size_t n;
	const char *const *schemas;
};

/* May this statement change which relation an unqualified name stands for afterwards: by the search
 * path, by making or dropping relations, or by code that nobody here has read? */
bool names_may_move(const struct sql_statement *s, const struct pg_catalog *catalog);

/* A copy of op's class in which every unqualified table that the path and the catalog resolve has
 * its schema; the rest stay NULL. Where the path puts another schema before pg_catalog, functions
 * without a schema may be anybody's: they are calls. A qualified name that is not surely a column
 * and is a function's is a call too (t.f is f(t)). In arena; NULL when that is full. Without a
 * catalog (NULL) it is sql itself. */
const struct sql_class *names_resolve(const struct sql_class *sql, const struct search_path *path,
				      const struct pg_catalog *catalog, struct arena *arena);

/* Check an operation that policy allowed with masks. 0: may run; -EACCES: ret_why (a sentence fit
 * for the agent: which column, and what to do) says why not: a masked column inside an expression,
 * a nested query, WHERE, COPY, a view or function that reads it, or binary results. A table that
 * is read and is not in the catalog is refused too: load it anew and ask again. */
_must_check_ int mask_guard(const struct op *op, const struct sql_class *resolved,
			    const struct verdict *verdict, const struct pg_catalog *catalog,
			    char *ret_why, size_t why_size);

/* Masks of result columns, by table OID and attribute number through the catalog.
 * 0; -EAGAIN: an OID or a column is not in the catalog (load it anew and ask again); -EACCES: a
 * masked column in binary format, or a column of a view or TOAST table that takes from masked
 * ones. */
_must_check_ int mask_columns(const struct verdict *verdict, const struct pg_catalog *catalog,
			      const struct proto_column *columns, size_t n, uint8_t *ret_masks);

#endif
