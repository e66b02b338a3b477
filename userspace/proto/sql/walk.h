/* walk.h - what a statement's tree says, gathered node by node.
 * Used by: proto/sql only; walk.c, query.c and utility.c read the nodes, pack.c keeps the result.
 * Promises: every node is visited; whatever fails sets walk.error, and the statement is then
 * SQL_UNKNOWN. */
#ifndef SLUICE_PROTO_SQL_WALK_H
#define SLUICE_PROTO_SQL_WALK_H

#include "proto/sql/tree.h"

/* Distinct entries of one kind in one statement. */
#define WALK_LIST_MAX 4096u
/* Items of a SELECT or RETURNING list; the server takes no more (MaxTupleAttributeNumber). */
#define WALK_TARGETS_MAX 1664u
/* Entries compared in vain while lists are searched. Their hash has no key: names made to collide
 * use this up, and nothing else does. */
#define WALK_WORK_MAX (4u * 1024u * 1024u)

/* A list without duplicates. */
struct wlist {
	void *items;
	size_t n;
	size_t cap;
	uint16_t *index; /* open addressing over hashes once the list is long; 0: free */
};

/* A name and how often it counts now. */
struct wname {
	const char *name;
	size_t uses;
};

/* Names that WITH brings in, innermost first. */
struct cte {
	size_t name; /* where it is in cte_names */
	const struct cte *outer;
};

struct walk {
	struct arena *arena;
	int error;
	struct sql_statement *stmt; /* verbs, name, setting; lists stay below until the end */
	struct wlist tables;
	struct wlist functions;
	struct wlist columns;
	struct wlist ranges;
	const struct cte *ctes;
	struct wlist cte_names; /* of wname; uses: how many of ctes have it */
	size_t work;		/* towards WALK_WORK_MAX */
	uint32_t access;	/* of a RangeVar met now */
	bool top;	   /* the next node is the outermost: what it returns goes to the agent */
	bool feeds_insert; /* the next node is the source of an INSERT: VALUES alone is no select */
};

/* Read one statement. 0, or -errno: *ret_stmt is then untouched. Its strings and lists point into
 * the arena or the tree's text. */
int walk_statement(struct arena *arena, const struct tnode *stmt, struct sql_statement *ret_stmt);

/* For the functions that read nodes. */
void walk_node(struct walk *w, const struct tnode *n);	   /* any value; NULL is nothing */
void walk_children(struct walk *w, const struct tnode *n); /* the fields of an object */
/* Those not in skip (ends with NULL). */
void walk_children_but(struct walk *w, const struct tnode *n, const char *const *skip);
void walk_fail(struct walk *w, int error);
void walk_verb(struct walk *w, uint32_t verbs);
/* The name in a list of wname; NULL: it is not there. Added: NULL is an error, which is set. The
 * entry holds until the next is added. */
struct wname *walk_name_find(struct walk *w, struct wlist *names, const char *name);
struct wname *walk_name_add(struct walk *w, struct wlist *names, const char *name);

/* A RangeVar as a table, whatever WITH says; access may be 0 to give only its range. */
void walk_table(struct walk *w, const struct tnode *range_var, uint32_t access);
/* A name given as a list of Strings, of which the last drop ones are no part. */
void walk_table_name(struct walk *w, const struct tnode *list, size_t drop, uint32_t access);
/* Where a table or a query gets a name of its own. alias may be NULL. */
void walk_range(struct walk *w, const char *name, const struct tnode *alias,
		const struct sql_table *table, bool join);
void walk_column(struct walk *w, const char *qualifier, const char *name, enum sql_column_use use);
void walk_column_ref(struct walk *w, const struct tnode *ref, enum sql_column_use use);
/* A function by its name list. Not known: SQL_CALL. call: SQL_CALL in any case. */
void walk_function(struct walk *w, const struct tnode *names, const struct tnode *args, bool call);
/* (x).name: a field of a composite value, or the function of that name over x. */
void walk_field(struct walk *w, const char *name);
/* Make the setting known that SET or set_config changes; NULL: name or value cannot be told. */
void walk_setting(struct walk *w, const char *name, const char *value);
/* A constant string, or NULL. */
const char *walk_const_str(const struct tnode *n);
/* The column names in a list of Strings are read. */
void walk_column_names(struct walk *w, const struct tnode *strings);

#endif
