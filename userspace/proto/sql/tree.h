/* tree.h - libpg-query's parse tree (its JSON form) as nodes in an arena.
 * Used by: proto/sql only.
 * Promises: every object has its node type, or the tree is refused; strings stay in the JSON text,
 * which is changed in place and must outlive the tree. */
#ifndef SLUICE_PROTO_SQL_TREE_H
#define SLUICE_PROTO_SQL_TREE_H

#include "base/arena.h"
#include "proto/sql/nodes.h"

/* Values inside each other; an expression takes two per level. */
#define TREE_DEPTH_MAX 2000

enum tnode_kind {
	TNODE_NONE, /* an empty place in a list */
	TNODE_OBJECT,
	TNODE_ARRAY,
	TNODE_STRING,
	TNODE_NUMBER,
	TNODE_TRUE,
};

struct tnode {
	const char *key; /* the field it is, or that its list is */
	struct tnode *next;
	union {
		struct {
			struct tnode *child;
			const struct node_type *type;
		}; /* object, array (child only) */
		const char *str;
		int64_t number;
	};
	enum tnode_kind kind;
};

/* json: NUL-terminated, changed. -EBADMSG: not what libpg-query 15 writes, or a node not known;
 * -E2BIG: too deep; -ENOMEM: the arena is full. */
int tree_parse(char *json, struct arena *arena, struct tnode **ret_root);

/* NULL when the field is not there. */
const struct tnode *tree_field(const struct tnode *object, const char *key);
/* A string field, or NULL. */
const char *tree_str(const struct tnode *object, const char *key);
/* A number field, or 0 (which libpg-query leaves out). */
int64_t tree_number(const struct tnode *object, const char *key);
static inline bool tree_true(const struct tnode *object, const char *key)
{
	const struct tnode *f = tree_field(object, key);

	return f && f->kind == TNODE_TRUE;
}
bool tree_is(const struct tnode *n, const char *type);
/* The text of a String node, or NULL. */
const char *tree_string_node(const struct tnode *n);

/* The items of a list field; works for a field that is not there. */
#define tree_each(item_, object_, key_)                                                  \
	for (const struct tnode *item_ = tree_first(tree_field(object_, key_)); (item_); \
	     (item_) = (item_)->next)

static inline const struct tnode *tree_first(const struct tnode *array)
{
	return array && array->kind == TNODE_ARRAY ? array->child : NULL;
}

#endif
