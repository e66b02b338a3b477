/* What queries and changes of rows read and write. */
#include "proto/sql/walk.h"

/* One more name that WITH brings in, within those of outer. */
static const struct cte *add_cte(struct walk *w, const char *name, const struct cte *outer)
{
	struct cte *entry = arena_alloc(w->arena, sizeof(*entry));
	struct wname *known = walk_name_add(w, &w->cte_names, name);

	if (!entry || !known) {
		walk_fail(w, -ENOMEM);
		return NULL;
	}
	entry->name = (size_t)(known - (struct wname *)w->cte_names.items);
	entry->outer = outer;
	return entry;
}

static void show_cte(struct walk *w, const struct cte *c, bool visible)
{
	struct wname *known = (struct wname *)w->cte_names.items + c->name;

	known->uses += visible ? 1u : (size_t)-1;
}

static void leave_with(struct walk *w, const struct cte *outer)
{
	for (; w->ctes != outer; w->ctes = w->ctes->outer)
		show_cte(w, w->ctes, false);
}

/* Names that a WITH brings in hold until the statement it belongs to ends. What was there before
 * is for leave_with(). */
static const struct cte *enter_with(struct walk *w, const struct tnode *stmt)
{
	const struct tnode *with = tree_field(stmt, "withClause");
	const struct cte *outer = w->ctes;
	bool recursive = tree_true(with, "recursive");

	tree_each(cte, with, "ctes")
	{
		const char *name = tree_str(cte, "ctename");
		const struct cte *entry;

		if (!name) {
			walk_fail(w, -EBADMSG);
			return outer;
		}
		/* Without RECURSIVE, a query sees the names before its own only. */
		if (!recursive)
			walk_node(w, cte);
		entry = add_cte(w, name, w->ctes);
		if (!entry)
			return outer;
		show_cte(w, entry, true);
		w->ctes = entry;
	}
	if (recursive)
		walk_node(w, tree_field(with, "ctes"));
	return outer;
}

static bool is_cte(struct walk *w, const char *name)
{
	const struct wname *known = walk_name_find(w, &w->cte_names, name);

	return known && known->uses > 0;
}

/* The items of a SELECT or RETURNING list. */
static void walk_targets(struct walk *w, const struct tnode *list, enum sql_column_use use)
{
	size_t n = 0;

	for (const struct tnode *item = tree_first(list); item; item = item->next) {
		const struct tnode *val =
			tree_is(item, "ResTarget") ? tree_field(item, "val") : NULL;

		if (++n > WALK_TARGETS_MAX) {
			walk_fail(w, -E2BIG);
			return;
		}
		if (tree_is(val, "ColumnRef"))
			walk_column_ref(w, val, use);
		else
			walk_node(w, item);
	}
}

static const struct tnode *target_column(const struct tnode *target)
{
	const struct tnode *val = tree_field(target, "val");

	return tree_is(val, "ColumnRef") ? val : NULL;
}

static bool is_star(const struct tnode *ref)
{
	tree_each(field, ref, "fields") if (tree_is(field, "A_Star")) return true;
	return false;
}

/* Output columns that something else in the statement refers to by position or alias. */
struct references {
	bool positions; /* any at all */
	bool at[WALK_TARGETS_MAX + 1];
	struct wlist aliases; /* of wname */
};

static void refer(struct walk *w, struct references *r, const struct tnode *n)
{
	if (tree_is(n, "SortBy")) {
		refer(w, r, tree_field(n, "node"));
	} else if (tree_is(n, "GroupingSet")) {
		tree_each(item, n, "content") refer(w, r, item);
	} else if (tree_is(n, "RowExpr")) {
		tree_each(item, n, "args") refer(w, r, item);
	} else if (tree_is(n, "CollateClause")) {
		refer(w, r, tree_field(n, "arg"));
	} else if (tree_is(n, "A_Const") && tree_field(n, "ival")) {
		int64_t at = tree_number(tree_field(n, "ival"), "ival");

		r->positions = true;
		if (at > 0 && at <= (int64_t)WALK_TARGETS_MAX)
			r->at[at] = true;
	} else if (tree_is(n, "ColumnRef")) {
		const struct tnode *first = tree_first(tree_field(n, "fields"));

		if (first && !first->next && tree_string_node(first))
			(void)walk_name_add(w, &r->aliases, tree_string_node(first));
	}
}

/* What is done with those columns there (ordering, grouping) tells of their values. The list has
 * been walked: it is not too long. */
static void use_targets(struct walk *w, const struct tnode *targets, struct references *r)
{
	size_t at = 0;
	bool star = false;

	for (const struct tnode *t = tree_first(targets); t && w->error == 0; t = t->next) {
		const struct tnode *ref = target_column(t);
		const char *alias = tree_str(t, "name");

		at++;
		if (!ref)
			continue;
		star = star || is_star(ref);
		/* After a star, positions cannot be told. */
		if (r->at[at] || (r->positions && star) ||
		    (alias && walk_name_find(w, &r->aliases, alias)))
			walk_column_ref(w, ref, SQL_USE_INNER);
	}
}

static void walk_references(struct walk *w, const struct tnode *stmt)
{
	static const char *const keys[] = {"groupClause", "sortClause", "distinctClause"};
	struct references r = {.positions = false};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		tree_each(item, stmt, keys[i]) refer(w, &r, item);
	use_targets(w, tree_field(stmt, "targetList"), &r);
}

void walk_select(struct walk *w, const struct tnode *n, bool top)
{
	static const char *const handled[] = {"withClause", "targetList",     "groupClause",
					      "sortClause", "distinctClause", NULL};
	const struct cte *outer;
	const struct tnode *distinct = tree_first(tree_field(n, "distinctClause"));
	bool output = top && !tree_field(n, "intoClause");

	if (!w->feeds_insert || !tree_field(n, "valuesLists"))
		walk_verb(w, SQL_SELECT);
	w->feeds_insert = false;
	outer = enter_with(w, n);
	/* DISTINCT alone compares every output column. */
	if (distinct && distinct->kind == TNODE_NONE)
		output = false;
	walk_children_but(w, n, handled);
	walk_targets(w, tree_field(n, "targetList"), output ? SQL_USE_OUTPUT : SQL_USE_INNER);
	walk_references(w, n);
	walk_node(w, tree_field(n, "groupClause"));
	walk_node(w, tree_field(n, "sortClause"));
	walk_node(w, tree_field(n, "distinctClause"));
	leave_with(w, outer);
}

static void walk_returning(struct walk *w, const struct tnode *n, bool top)
{
	walk_targets(w, tree_field(n, "returningList"), top ? SQL_USE_OUTPUT : SQL_USE_INNER);
}

void walk_insert(struct walk *w, const struct tnode *n, bool top)
{
	static const char *const handled[] = {"withClause", "relation", "returningList",
					      "selectStmt", NULL};
	const struct cte *outer = enter_with(w, n);
	const struct tnode *conflict = tree_field(n, "onConflictClause");
	uint32_t access = SQL_WRITE;

	if (conflict) {
		walk_range(w, "excluded", NULL, NULL, false);
		walk_verb(w, streq_null(tree_str(conflict, "action"), "ONCONFLICT_UPDATE")
				     ? SQL_UPDATE
				     : 0);
	}
	if (conflict || tree_field(n, "returningList"))
		access |= SQL_READ;
	walk_table(w, tree_field(n, "relation"), access);
	walk_children_but(w, n, handled);
	w->feeds_insert = true;
	walk_node(w, tree_field(n, "selectStmt"));
	w->feeds_insert = false;
	walk_returning(w, n, top);
	leave_with(w, outer);
}

static void walk_change(struct walk *w, const struct tnode *n, bool top)
{
	static const char *const handled[] = {"withClause", "relation", "returningList", NULL};
	const struct cte *outer = enter_with(w, n);

	walk_table(w, tree_field(n, "relation"), SQL_READ | SQL_WRITE);
	walk_children_but(w, n, handled);
	walk_returning(w, n, top);
	leave_with(w, outer);
}

void walk_update(struct walk *w, const struct tnode *n, bool top)
{
	if (!tree_field(n, "whereClause"))
		w->stmt->where = false;
	walk_change(w, n, top);
}

void walk_delete(struct walk *w, const struct tnode *n, bool top)
{
	if (!tree_field(n, "whereClause"))
		w->stmt->where = false;
	walk_change(w, n, top);
}

void walk_merge(struct walk *w, const struct tnode *n, bool top)
{
	static const struct {
		const char *command;
		uint32_t verb;
	} commands[] = {
		{"CMD_INSERT", SQL_INSERT},
		{"CMD_UPDATE", SQL_UPDATE},
		{"CMD_DELETE", SQL_DELETE},
		{"CMD_NOTHING", 0},
	};

	tree_each(when, n, "mergeWhenClauses")
	{
		const char *command = tree_str(when, "commandType");
		size_t i = 0;

		while (i < ARRAY_SIZE(commands) && !streq_null(command, commands[i].command))
			i++;
		if (i == ARRAY_SIZE(commands))
			walk_fail(w, -EBADMSG);
		else
			walk_verb(w, commands[i].verb);
	}
	walk_change(w, n, top);
}

void walk_range_var(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	const char *name = tree_str(n, "relname");

	/* Only what is read can be a name of WITH: targets of changes never are. */
	if (w->access == SQL_READ && name && !tree_str(n, "schemaname") && is_cte(w, name)) {
		walk_range(w, name, tree_field(n, "alias"), NULL, false);
		return;
	}
	walk_table(w, n, w->access);
}

void walk_range_derived(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	const struct tnode *alias = tree_field(n, "alias");

	if (alias)
		walk_range(w, NULL, alias, NULL, false);
	walk_children(w, n);
}

void walk_range_sample(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const handled[] = {"method", NULL};
	const struct tnode *method = tree_field(n, "method");
	const struct tnode *first = tree_first(method);
	const char *name = tree_string_node(first);

	if (!name || first->next || (!streq(name, "bernoulli") && !streq(name, "system")))
		walk_function(w, method, NULL, true);
	walk_children_but(w, n, handled);
}

void walk_join(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	if (tree_true(n, "isNatural"))
		walk_column(w, NULL, NULL, SQL_USE_INNER);
	walk_column_names(w, tree_field(n, "usingClause"));
	if (tree_field(n, "alias"))
		walk_range(w, NULL, tree_field(n, "alias"), NULL, true);
	if (tree_field(n, "join_using_alias"))
		walk_range(w, NULL, tree_field(n, "join_using_alias"), NULL, true);
	walk_children(w, n);
}

void walk_column_node(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	walk_column_ref(w, n, SQL_USE_INNER);
}

void walk_call(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	const struct tnode *names = tree_field(n, "funcname");
	const char *last = NULL;

	for (const struct tnode *s = tree_first(names); s; s = s->next)
		last = tree_string_node(s);
	/* In FROM without an alias it goes by its own name. */
	if (last)
		walk_range(w, last, NULL, NULL, false);
	walk_function(w, names, tree_field(n, "args"), false);
	walk_children(w, n);
}

void walk_indirection(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	tree_each(step, n, "indirection") if (tree_string_node(step))
		walk_field(w, tree_string_node(step));
	walk_children(w, n);
}

void walk_operator(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	static const char *const keys[] = {"name", "operName", "useOp"};

	/* OPERATOR(schema.+): whose function that is, is not known. */
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct tnode *names = tree_field(n, keys[i]);
		const struct tnode *first = tree_first(names);

		if (first && first->next && !streq_null(tree_string_node(first), "pg_catalog"))
			walk_function(w, names, NULL, true);
	}
	walk_children(w, n);
}

void walk_locking(_unused_ struct walk *w, _unused_ const struct tnode *n, _unused_ bool top)
{
	/* FOR UPDATE OF names: those of FROM, which are walked there. */
}

void walk_index_elem(struct walk *w, const struct tnode *n, _unused_ bool top)
{
	if (tree_str(n, "name"))
		walk_column(w, NULL, tree_str(n, "name"), SQL_USE_INNER);
	walk_children(w, n);
}
