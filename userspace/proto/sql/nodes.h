/* nodes.h - every node type that PostgreSQL 15's raw parser makes, and who reads it.
 * Used by: proto/sql only.
 * Promises: what is not in the table is not known, and the statement is SQL_UNKNOWN. */
#ifndef SLUICE_PROTO_SQL_NODES_H
#define SLUICE_PROTO_SQL_NODES_H

#include "model/sql.h"

struct walk;
struct tnode;

struct node_type {
	const char *name;
	/* Reads the node; NULL: it means nothing itself, only its fields are walked. top: it is the
	 * outermost statement. */
	void (*walk)(struct walk *w, const struct tnode *n, bool top);
	uint32_t verbs;	 /* added by its being there */
	uint32_t access; /* of tables named in it, but not in queries inside; 0: as around it */
};

const struct node_type *node_type_find(const char *name);
/* Of a field that holds a node of one fixed type, which libpg-query then does not name; NULL: not
 * such a field. parent: NULL at the root, where the key is "". */
const struct node_type *node_type_of_field(const struct node_type *parent, const char *key);

/* query.c */
void walk_select(struct walk *w, const struct tnode *n, bool top);
void walk_insert(struct walk *w, const struct tnode *n, bool top);
void walk_update(struct walk *w, const struct tnode *n, bool top);
void walk_delete(struct walk *w, const struct tnode *n, bool top);
void walk_merge(struct walk *w, const struct tnode *n, bool top);
void walk_range_var(struct walk *w, const struct tnode *n, bool top);
void walk_range_derived(struct walk *w, const struct tnode *n, bool top);
void walk_range_sample(struct walk *w, const struct tnode *n, bool top);
void walk_join(struct walk *w, const struct tnode *n, bool top);
void walk_column_node(struct walk *w, const struct tnode *n, bool top);
void walk_call(struct walk *w, const struct tnode *n, bool top);
void walk_indirection(struct walk *w, const struct tnode *n, bool top);
void walk_operator(struct walk *w, const struct tnode *n, bool top);
void walk_locking(struct walk *w, const struct tnode *n, bool top);
void walk_index_elem(struct walk *w, const struct tnode *n, bool top);

/* utility.c */
void walk_copy(struct walk *w, const struct tnode *n, bool top);
void walk_explain(struct walk *w, const struct tnode *n, bool top);
void walk_prepare(struct walk *w, const struct tnode *n, bool top);
void walk_named(struct walk *w, const struct tnode *n, bool top);
void walk_declare(struct walk *w, const struct tnode *n, bool top);
void walk_into(struct walk *w, const struct tnode *n, bool top);
void walk_create(struct walk *w, const struct tnode *n, bool top);
void walk_object(struct walk *w, const struct tnode *n, bool top);
void walk_drop(struct walk *w, const struct tnode *n, bool top);
void walk_set(struct walk *w, const struct tnode *n, bool top);
void walk_discard(struct walk *w, const struct tnode *n, bool top);
void walk_call_stmt(struct walk *w, const struct tnode *n, bool top);
void walk_trigger(struct walk *w, const struct tnode *n, bool top);
void walk_leaf(struct walk *w, const struct tnode *n, bool top);

#endif
