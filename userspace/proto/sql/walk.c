#include "proto/sql/walk.h"

#include <stdlib.h>

#include "proto/sql/functions.h"

#define INDEX_FROM 32u	  /* shorter lists are searched one by one */
#define INDEX_SIZE 16384u /* a power of two, well over WALK_LIST_MAX */

void walk_fail(struct walk *w, int error)
{
	if (w->error == 0)
		w->error = error;
}

void walk_verb(struct walk *w, uint32_t verbs)
{
	w->stmt->verbs |= verbs;
}

static uint32_t hash_str(uint32_t h, const char *s)
{
	if (!s)
		return h * 16777619u;
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return (h ^ 0xffu) * 16777619u;
}

/* Where an item of this hash is, or may be put, in the index. */
static uint32_t slot_of(uint32_t hash, uint32_t probe)
{
	return ((hash ^ hash >> 16) + probe) & (INDEX_SIZE - 1);
}

static bool grow(struct walk *w, struct wlist *l, size_t size)
{
	size_t cap = l->cap ? l->cap * 2 : 8;
	void *items = arena_calloc(w->arena, cap, size);

	if (!items)
		return false;
	if (l->n > 0)
		memcpy(items, l->items, l->n * size);
	l->items = items;
	l->cap = cap;
	return true;
}

/* How items of one list are told apart. */
struct item_ops {
	size_t size;
	uint32_t (*hash)(const void *item);
	bool (*same)(const void *a, const void *b);
};

static void *item_at(const struct wlist *l, const struct item_ops *ops, size_t i)
{
	return (uint8_t *)l->items + i * ops->size;
}

static bool make_index(struct walk *w, struct wlist *l, const struct item_ops *ops)
{
	l->index = arena_calloc(w->arena, INDEX_SIZE, sizeof(*l->index));
	if (!l->index)
		return false;
	for (size_t i = 0; i < l->n; i++) {
		uint32_t hash = ops->hash(item_at(l, ops, i));
		uint32_t probe = 0;

		while (l->index[slot_of(hash, probe)] != 0)
			probe++;
		l->index[slot_of(hash, probe)] = (uint16_t)(i + 1);
	}
	return true;
}

/* Where a search ended: the item, or the free slot for it. */
struct found {
	void *item; /* NULL: there is none */
	uint32_t slot;
};

static struct found find_item(struct walk *w, const struct wlist *l, const struct item_ops *ops,
			      const void *item)
{
	struct found f = {.item = NULL};
	uint32_t hash;

	if (!l->index) {
		for (size_t i = 0; i < l->n && !f.item; i++)
			if (ops->same(item_at(l, ops, i), item))
				f.item = item_at(l, ops, i);
	} else {
		hash = ops->hash(item);
		for (uint32_t probe = 0; !f.item; probe++) {
			f.slot = slot_of(hash, probe);
			if (l->index[f.slot] == 0)
				break;
			if (ops->same(item_at(l, ops, l->index[f.slot] - 1u), item))
				f.item = item_at(l, ops, l->index[f.slot] - 1u);
			else
				w->work++;
		}
	}
	if (w->work > WALK_WORK_MAX)
		walk_fail(w, -E2BIG);
	return f;
}

/* The item equal to this one, added when there is none; NULL: error set. */
static void *add_item(struct walk *w, struct wlist *l, const struct item_ops *ops, const void *item)
{
	struct found f = find_item(w, l, ops, item);

	if (f.item)
		return f.item;
	if (l->n == WALK_LIST_MAX) {
		walk_fail(w, -E2BIG);
		return NULL;
	}
	if (l->n == l->cap && !grow(w, l, ops->size)) {
		walk_fail(w, -ENOMEM);
		return NULL;
	}
	memcpy(item_at(l, ops, l->n), item, ops->size);
	l->n++;
	if (l->index)
		l->index[f.slot] = (uint16_t)l->n;
	else if (l->n == INDEX_FROM && !make_index(w, l, ops))
		walk_fail(w, -ENOMEM);
	return item_at(l, ops, l->n - 1);
}

static uint32_t hash_table(const void *item)
{
	const struct sql_table *t = item;

	return hash_str(hash_str(hash_str(2166136261u, t->catalog), t->schema), t->name);
}

static bool same_table(const void *a, const void *b)
{
	const struct sql_table *x = a;
	const struct sql_table *y = b;

	return streq(x->name, y->name) && streq_null(x->schema, y->schema) &&
	       streq_null(x->catalog, y->catalog);
}

static uint32_t hash_function(const void *item)
{
	const struct sql_function *f = item;

	return hash_str(hash_str(2166136261u, f->schema), f->name);
}

static bool same_function(const void *a, const void *b)
{
	const struct sql_function *x = a;
	const struct sql_function *y = b;

	return streq(x->name, y->name) && streq_null(x->schema, y->schema) &&
	       x->harmless == y->harmless;
}

static uint32_t hash_column(const void *item)
{
	const struct sql_column *c = item;

	return hash_str(hash_str(2166136261u, c->qualifier), c->name) + (uint32_t)c->use;
}

static bool same_column(const void *a, const void *b)
{
	const struct sql_column *x = a;
	const struct sql_column *y = b;

	return x->use == y->use && x->star == y->star && streq_null(x->name, y->name) &&
	       streq_null(x->qualifier, y->qualifier) && streq_null(x->schema, y->schema);
}

static uint32_t hash_range(const void *item)
{
	const struct sql_range *r = item;

	return hash_str(hash_str(2166136261u, r->alias), r->table);
}

static bool same_range(const void *a, const void *b)
{
	const struct sql_range *x = a;
	const struct sql_range *y = b;

	return x->join == y->join && streq(x->alias, y->alias) && streq_null(x->table, y->table) &&
	       streq_null(x->schema, y->schema);
}

static uint32_t hash_name(const void *item)
{
	return hash_str(2166136261u, ((const struct wname *)item)->name);
}

static bool same_name(const void *a, const void *b)
{
	return streq(((const struct wname *)a)->name, ((const struct wname *)b)->name);
}

static const struct item_ops table_ops = {sizeof(struct sql_table), hash_table, same_table};
static const struct item_ops function_ops = {sizeof(struct sql_function), hash_function,
					     same_function};
static const struct item_ops column_ops = {sizeof(struct sql_column), hash_column, same_column};
static const struct item_ops range_ops = {sizeof(struct sql_range), hash_range, same_range};
static const struct item_ops name_ops = {sizeof(struct wname), hash_name, same_name};

struct wname *walk_name_find(struct walk *w, struct wlist *names, const char *name)
{
	return find_item(w, names, &name_ops, &(struct wname){.name = name}).item;
}

struct wname *walk_name_add(struct walk *w, struct wlist *names, const char *name)
{
	return add_item(w, names, &name_ops, &(struct wname){.name = name});
}

static void add_column(struct walk *w, const struct sql_column *column)
{
	(void)add_item(w, &w->columns, &column_ops, column);
}

static void add_table(struct walk *w, const struct sql_table *table)
{
	struct sql_table *t = add_item(w, &w->tables, &table_ops, table);

	if (t)
		t->access |= table->access;
}

/* The strings of a list of String nodes, as many as fit; -1: something else is in it. */
static int strings_of(const struct tnode *list, const char **ret, int max)
{
	int n = 0;

	for (const struct tnode *item = tree_first(list); item; item = item->next) {
		const char *s = tree_string_node(item);

		if (!s || n == max)
			return -1;
		ret[n++] = s;
	}
	return n;
}

void walk_range(struct walk *w, const char *name, const struct tnode *alias,
		const struct sql_table *table, bool join)
{
	struct sql_range range = {.alias = name, .join = join};

	if (alias && tree_str(alias, "aliasname"))
		range.alias = tree_str(alias, "aliasname");
	if (table) {
		range.schema = table->schema;
		range.table = table->name;
	}
	if (range.alias)
		(void)add_item(w, &w->ranges, &range_ops, &range);
	/* AS t(a, b): columns go by other names from here on, so all of them count as read. */
	if (tree_first(tree_field(alias, "colnames")))
		walk_column(w, join ? NULL : range.alias, NULL, SQL_USE_INNER);
}

void walk_table(struct walk *w, const struct tnode *range_var, uint32_t access)
{
	struct sql_table table = {
		.catalog = tree_str(range_var, "catalogname"),
		.schema = tree_str(range_var, "schemaname"),
		.name = tree_str(range_var, "relname"),
		.access = access,
	};

	if (!table.name) {
		walk_fail(w, -EBADMSG);
		return;
	}
	if (access)
		add_table(w, &table);
	walk_range(w, table.name, tree_field(range_var, "alias"), &table, false);
}

void walk_table_name(struct walk *w, const struct tnode *list, size_t drop, uint32_t access)
{
	const char *parts[4] = {0};
	int n;

	if (tree_is(list, "List"))
		list = tree_field(list, "items");
	n = strings_of(list, parts, (int)ARRAY_SIZE(parts)) - (int)drop;
	if (n < 1 || n > 3) {
		walk_fail(w, -EBADMSG);
		return;
	}
	add_table(w, &(struct sql_table){
			     .catalog = n == 3 ? parts[0] : NULL,
			     .schema = n >= 2 ? parts[n - 2] : NULL,
			     .name = parts[n - 1],
			     .access = access,
		     });
}

void walk_column(struct walk *w, const char *qualifier, const char *name, enum sql_column_use use)
{
	add_column(w, &(struct sql_column){
			      .qualifier = qualifier,
			      .name = name,
			      .star = name == NULL,
			      .use = use,
		      });
}

void walk_column_names(struct walk *w, const struct tnode *strings)
{
	for (const struct tnode *s = tree_first(strings); s; s = s->next) {
		if (tree_string_node(s))
			walk_column(w, NULL, tree_string_node(s), SQL_USE_INNER);
		else
			walk_fail(w, -EBADMSG);
	}
}

static void walk_hidden_call(struct walk *w, const char *name);

void walk_column_ref(struct walk *w, const struct tnode *ref, enum sql_column_use use)
{
	const char *parts[4] = {0};
	struct sql_column column = {.use = use};
	size_t n = 0;

	tree_each(field, ref, "fields")
	{
		const char *part = tree_string_node(field);
		bool star = tree_is(field, "A_Star");

		if (column.star || n == ARRAY_SIZE(parts) || (!part && !star)) {
			walk_fail(w, -EBADMSG);
			return;
		}
		if (star)
			column.star = true;
		else
			parts[n++] = part;
	}
	if (n == 0 && !column.star) {
		walk_fail(w, -EBADMSG);
		return;
	}
	if (!column.star && n > 0)
		column.name = parts[--n];
	if (n > 0)
		column.qualifier = parts[n - 1];
	if (n > 1)
		column.schema = parts[n - 2];
	add_column(w, &column);
	if (column.name && column.qualifier)
		walk_hidden_call(w, column.name);
}

void walk_setting(struct walk *w, const char *name, const char *value)
{
	struct sql_statement *s = w->stmt;
	char *lower;

	walk_verb(w, SQL_SET);
	lower = arena_strdup(w->arena, name ? name : "");
	if (!lower) {
		walk_fail(w, -ENOMEM);
		return;
	}
	for (char *c = lower; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
	/* Two different ones: neither can be told. */
	if (s->setting && !streq(s->setting, lower))
		lower[0] = '\0';
	if (s->setting && !streq_null(s->setting_value, value))
		value = NULL;
	s->setting = lower;
	s->setting_value = value;
}

const char *walk_const_str(const struct tnode *n)
{
	return tree_is(n, "A_Const") ? tree_str(tree_field(n, "sval"), "sval") : NULL;
}

static void walk_set_config(struct walk *w, const struct tnode *args)
{
	const struct tnode *first = tree_first(args);

	walk_setting(w, walk_const_str(first), first ? walk_const_str(first->next) : NULL);
}

static void add_function(struct walk *w, const char *schema, const char *name,
			 enum function_kind kind, const struct tnode *args)
{
	const struct sql_function f = {
		.schema = schema,
		.name = name,
		.harmless = kind != FN_UNKNOWN,
		.acts = kind == FN_ACTS,
	};

	if (kind == FN_UNKNOWN || kind == FN_ACTS)
		walk_verb(w, SQL_CALL);
	else if (kind == FN_SET)
		walk_set_config(w, args);
	else if (kind == FN_SHOW)
		walk_verb(w, SQL_SHOW);
	else if (kind == FN_NOTIFY)
		walk_verb(w, SQL_NOTIFY);
	(void)add_item(w, &w->functions, &function_ops, &f);
}

void walk_function(struct walk *w, const struct tnode *names, const struct tnode *args, bool call)
{
	const char *parts[3] = {0};
	const char *schema;
	int n = strings_of(names, parts, (int)ARRAY_SIZE(parts));

	if (n < 1) {
		walk_fail(w, -EBADMSG);
		return;
	}
	schema = n >= 2 ? parts[n - 2] : NULL;
	/* Another database's function is refused by the server; it is certainly not built in. */
	add_function(w, schema, parts[n - 1],
		     n <= 2 && !call ? function_kind(schema, parts[n - 1]) : FN_UNKNOWN, args);
}

void walk_field(struct walk *w, const char *name)
{
	add_function(w, NULL, name, function_kind(NULL, name), NULL);
}

/* t.f is f(t) where t has no column f, whatever t is: SELECT x.pg_read_file FROM unnest(…) x. The
 * built-in functions that take one argument and are not harmless; others need a catalog to tell. */
static void walk_hidden_call(struct walk *w, const char *name)
{
	static const char *const others[] = {
		"amvalidate",
		"brin_summarize_new_values",
		"gin_clean_pending_list",
		"lo_close",
		"lo_creat",
		"lo_create",
		"lo_get",
		"lo_import",
		"lo_tell",
		"lo_tell64",
		"lo_unlink",
		"ts_stat",
	};
	enum function_kind kind = function_kind(NULL, name);
	bool known = kind != FN_UNKNOWN && kind != FN_PURE;

	if (kind == FN_UNKNOWN)
		known = strncmp(name, "pg_", 3) == 0 || strncmp(name, "binary_upgrade_", 15) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(others) && !known; i++)
		known = streq(name, others[i]);
	if (known)
		walk_field(w, name);
}

void walk_children_but(struct walk *w, const struct tnode *n, const char *const *skip)
{
	for (const struct tnode *c = n->child; c; c = c->next) {
		const char *const *s = skip;

		while (*s && !streq(*s, c->key))
			s++;
		if (!*s)
			walk_node(w, c);
	}
}

void walk_children(struct walk *w, const struct tnode *n)
{
	for (const struct tnode *c = n->child; c; c = c->next)
		walk_node(w, c);
}

void walk_node(struct walk *w, const struct tnode *n)
{
	uint32_t access = w->access;
	bool top = w->top;

	w->top = false;
	if (!n || w->error < 0)
		return;
	switch (n->kind) {
	case TNODE_ARRAY:
		walk_children(w, n);
		return;
	case TNODE_OBJECT:
		break;
	case TNODE_NONE:
		/* Where the grammar itself leaves a place empty. */
		if (!streq(n->key, "distinctClause") && !streq(n->key, "objargs") &&
		    !streq(n->key, "args") && !streq(n->key, "items"))
			walk_fail(w, -EBADMSG);
		return;
	default:
		return;
	}
	walk_verb(w, n->type->verbs);
	if (n->type->access)
		w->access = n->type->access;
	if (n->type->walk)
		n->type->walk(w, n, top);
	else
		walk_children(w, n);
	w->access = access;
}

/* A bare name that is also a range's is the whole row: SELECT t FROM t. */
static void walk_whole_rows(struct walk *w)
{
	struct wlist aliases = {.n = 0};
	size_t n = w->columns.n;

	for (size_t i = 0; i < w->ranges.n; i++)
		(void)walk_name_add(w, &aliases,
				    ((const struct sql_range *)w->ranges.items)[i].alias);
	for (size_t i = 0; i < n && w->error == 0; i++) {
		const struct sql_column *c = (const struct sql_column *)w->columns.items + i;

		if (!c->star && !c->qualifier && walk_name_find(w, &aliases, c->name))
			walk_column(w, c->name, NULL, SQL_USE_INNER);
	}
}

int walk_statement(struct arena *arena, const struct tnode *stmt, struct sql_statement *ret_stmt)
{
	struct sql_statement s = {.where = true};
	struct walk w = {
		.arena = arena,
		.stmt = &s,
		.access = SQL_READ,
		.top = true,
	};

	if (stmt->kind != TNODE_OBJECT)
		return -EBADMSG;
	s.kind = stmt->type->name;
	walk_node(&w, stmt);
	walk_whole_rows(&w);
	if (w.error < 0)
		return w.error;
	/* Every statement does something that has a name; one without is one not thought of. */
	if (s.verbs == 0)
		return -EBADMSG;
	if (s.verbs & SQL_UNKNOWN)
		s.where = false;
	s.tables = w.tables.items;
	s.n_tables = w.tables.n;
	s.functions = w.functions.items;
	s.n_functions = w.functions.n;
	s.columns = w.columns.items;
	s.n_columns = w.columns.n;
	s.ranges = w.ranges.items;
	s.n_ranges = w.ranges.n;
	*ret_stmt = s;
	return 0;
}
