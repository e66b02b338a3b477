/* What statements other than queries and changes of rows do. */
#include "proto/sql/walk.h"

void walk_leaf(_unused_ struct walk *w, _unused_ const struct tnode *n, _unused_ bool top)
{
	/* Names in it are of types or constraints, not of tables. */
}

static bool is_clearly_false(const struct tnode *arg)
{
	static const char *const words[] = {"false", "off", "0", "f", "no", "n"};
	const char *s = tree_string_node(arg);

	if (tree_is(arg, "Integer"))
		return tree_field(arg, "ival") == NULL;
	for (size_t i = 0; s && i < ARRAY_SIZE(words); i++)
		if (streq(s, words[i]))
			return true;
	return false;
}

void walk_explain(struct walk *w, const struct tnode *n, bool top)
{
	uint32_t before = w->stmt->verbs;
	bool analyze = false;

	tree_each(option, n, "options") if (streq_null(tree_str(option, "defname"), "analyze") &&
					    !is_clearly_false(tree_field(option, "arg"))) analyze =
		true;
	w->stmt->verbs = 0;
	w->top = top;
	walk_node(w, tree_field(n, "query"));
	/* Planning alone already runs immutable functions, and shows what EXECUTE stands for. */
	if (!analyze)
		w->stmt->verbs &= SQL_CALL | SQL_EXECUTE | SQL_UNKNOWN;
	walk_verb(w, before);
	walk_node(w, tree_field(n, "options"));
}

void walk_copy(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const handled[] = {"relation", "attlist", NULL};
	const struct tnode *relation = tree_field(n, "relation");
	bool from = tree_true(n, "is_from");

	if (tree_field(n, "filename") || tree_true(n, "is_program"))
		walk_verb(w, SQL_COPY_FILE);
	else
		walk_verb(w, from ? SQL_COPY_IN : SQL_COPY_OUT);
	walk_verb(w, from ? SQL_INSERT : SQL_SELECT);
	if (relation) {
		walk_table(w, relation, from ? SQL_WRITE : SQL_READ);
		if (!from && tree_first(tree_field(n, "attlist")))
			walk_column_names(w, tree_field(n, "attlist"));
		else if (!from)
			walk_column(w, tree_str(relation, "relname"), NULL, SQL_USE_INNER);
	}
	walk_children_but(w, n, handled);
}

void walk_prepare(struct walk *w, const struct tnode *n, bool top)
{
	w->stmt->name = tree_str(n, "name");
	w->top = top;
	walk_node(w, tree_field(n, "query"));
	walk_node(w, tree_field(n, "argtypes"));
}

/* A prepared statement or cursor by its name. */
void walk_named(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	const char *portal = tree_str(n, "portalname");

	w->stmt->name = portal ? portal : tree_str(n, "name");
	walk_children(w, n);
}

#define CURSOR_OPT_BINARY 0x0001 /* PostgreSQL 15 parsenodes.h */

void walk_declare(struct walk *w, const struct tnode *n, bool top)
{
	w->stmt->name = tree_str(n, "portalname");
	/* A binary cursor returns no text: nothing of it counts as an output that may pass. */
	w->top = top && !(tree_number(n, "options") & CURSOR_OPT_BINARY);
	walk_node(w, tree_field(n, "query"));
}

void walk_into(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const handled[] = {"rel", NULL};

	if (tree_field(n, "rel"))
		walk_table(w, tree_field(n, "rel"), SQL_WRITE);
	walk_children_but(w, n, handled);
}

void walk_create(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const handled[] = {"relation", NULL};

	walk_table(w, tree_field(n, "relation"), SQL_WRITE);
	/* Parents, templates and tables referred to. */
	w->access = SQL_READ;
	walk_children_but(w, n, handled);
}

enum object_name {
	OBJECT_OTHER,
	OBJECT_TABLE_ITSELF, /* schema.table */
	OBJECT_OF_TABLE,     /* schema.table.thing */
};

static enum object_name object_name_of(const char *type)
{
	static const char *const tables[] = {"OBJECT_TABLE",   "OBJECT_VIEW",
					     "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE",
					     "OBJECT_INDEX",   "OBJECT_SEQUENCE"};
	static const char *const parts[] = {"OBJECT_COLUMN", "OBJECT_RULE", "OBJECT_TRIGGER",
					    "OBJECT_POLICY", "OBJECT_TABCONSTRAINT"};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (streq_null(type, tables[i]))
			return OBJECT_TABLE_ITSELF;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (streq_null(type, parts[i]))
			return OBJECT_OF_TABLE;
	return OBJECT_OTHER;
}

static void walk_object_name(struct walk *w, enum object_name kind, const struct tnode *object)
{
	if (kind == OBJECT_OTHER)
		walk_node(w, object);
	else
		walk_table_name(w, object, kind == OBJECT_OF_TABLE ? 1 : 0, SQL_WRITE);
}

/* COMMENT, SECURITY LABEL, ALTER EXTENSION … ADD */
void walk_object(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const handled[] = {"object", NULL};

	walk_object_name(w, object_name_of(tree_str(n, "objtype")), tree_field(n, "object"));
	walk_children_but(w, n, handled);
}

void walk_drop(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	enum object_name kind = object_name_of(tree_str(n, "removeType"));

	tree_each(object, n, "objects") walk_object_name(w, kind, object);
}

/* Every value a constant string: the new search path. */
static void walk_search_path(struct walk *w, const struct tnode *args)
{
	struct sql_statement *s = w->stmt;
	const char **path;
	size_t n = 0;

	for (const struct tnode *a = tree_first(args); a; a = a->next) {
		const char *schema = walk_const_str(a);

		if (!schema || streq(schema, "$user"))
			return;
		n++;
	}
	path = arena_calloc(w->arena, n + 1, sizeof(*path));
	if (!path) {
		walk_fail(w, -ENOMEM);
		return;
	}
	s->n_search_path = 0;
	for (const struct tnode *a = tree_first(args); a; a = a->next)
		path[s->n_search_path++] = walk_const_str(a);
	s->search_path = path;
	s->has_search_path = n > 0;
}

void walk_set(struct walk *w, const struct tnode *n, bool top)
{
	const char *kind = tree_str(n, "kind");
	const char *name = tree_str(n, "name");
	const struct tnode *arg = tree_first(tree_field(n, "args"));

	/* SET as a clause of ALTER ROLE, CREATE FUNCTION and the like changes no setting now. */
	if (!top)
		return;
	if (streq_null(kind, "VAR_SET_MULTI") && name && streq(name, "SESSION CHARACTERISTICS")) {
		walk_setting(w, name, NULL);
	} else if (streq_null(kind, "VAR_SET_MULTI")) {
		walk_verb(w, SQL_TRANSACTION);
	} else if (streq_null(kind, "VAR_RESET_ALL")) {
		walk_setting(w, "all", NULL);
	} else {
		walk_setting(w, name, arg && !arg->next ? walk_const_str(arg) : NULL);
		if (streq_null(kind, "VAR_SET_VALUE") && !tree_true(n, "is_local") &&
		    streq_null(w->stmt->setting, "search_path"))
			walk_search_path(w, tree_field(n, "args"));
	}
	walk_children(w, n);
}

void walk_discard(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	if (streq_null(tree_str(n, "target"), "DISCARD_ALL"))
		walk_setting(w, "all", NULL);
}

void walk_call_stmt(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	const struct tnode *call = tree_field(n, "funccall");

	walk_function(w, tree_field(call, "funcname"), NULL, true);
	walk_node(w, tree_field(call, "args"));
}

void walk_trigger(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const handled[] = {"funcname", NULL};

	walk_function(w, tree_field(n, "funcname"), NULL, true);
	walk_children_but(w, n, handled);
}
