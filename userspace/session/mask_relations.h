/* mask_relations.h - which relations and columns the masks of a verdict cover.
 * Used by: session/mask_guard.c.
 * Promises: pure; what is too large to be followed counts as covered. */
#ifndef SLUICE_SESSION_MASK_RELATIONS_H
#define SLUICE_SESSION_MASK_RELATIONS_H

#include "model/verdict.h"
#include "proto/postgres/pg_catalog.h"

/* The masks of a verdict that can apply to one relation: those on it, on what it inherits from (the
 * same rows are read there) and on what inherits from it (read with it). */
struct mask_set {
	size_t n;
	const struct mask_rule *rules[VERDICT_MASKS_MAX];
	bool everything; /* could not be followed to the end */
};

void mask_set_of(const struct verdict *verdict, const struct pg_catalog *catalog,
		 const struct pg_relation *rel, struct mask_set *ret_set);
/* Of a relation that the catalog does not have. schema may be NULL: any. */
void mask_set_of_name(const struct verdict *verdict, const char *schema, const char *table,
		      struct mask_set *ret_set);
/* The strictest mask of a column by its name, and a rule that gives it (ret_rule may be NULL). */
enum mask_kind mask_set_column(const struct mask_set *set, const char *column,
			       const struct mask_rule **ret_rule);
/* Has the relation any column with a mask? Says which, and by which rule. */
bool mask_set_any(const struct mask_set *set, const struct pg_relation *rel,
		  const char **ret_column, const struct mask_rule **ret_rule);

/* Does reading this relation (a view, a TOAST table, a table with rules) read another one that has
 * masked columns, or something that cannot be followed? ret_rel: which; NULL: a function. */
bool mask_reads_through(const struct verdict *verdict, const struct pg_catalog *catalog,
			const struct pg_relation *rel, const struct pg_relation **ret_rel);
/* A system catalog that shows values out of tables. */
bool mask_shows_samples(const char *schema, const char *table);

#endif
