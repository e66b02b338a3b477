#include "proto/sql/tree.h"

struct parser {
	char *p;
	struct arena *arena;
	unsigned depth;
	int error;
};

static struct tnode *fail(struct parser *ps, int error)
{
	if (ps->error == 0)
		ps->error = error;
	return NULL;
}

static struct tnode *new_node(struct parser *ps, enum tnode_kind kind, const char *key)
{
	struct tnode *n = arena_alloc(ps->arena, sizeof(*n));

	if (!n)
		return fail(ps, -ENOMEM);
	n->kind = kind;
	n->key = key;
	return n;
}

static bool take(struct parser *ps, char c)
{
	if (*ps->p != c)
		return false;
	ps->p++;
	return true;
}

static int hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		int c = (unsigned char)p[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v * 16 + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/* One escape after its backslash; libpg-query writes \u only for single bytes. */
static bool unescape(struct parser *ps, char **out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int v;

	if (take(ps, 'u')) {
		v = hex4(ps->p);
		if (v <= 0 || v > 0x7f)
			return false;
		ps->p += 4;
		*(*out)++ = (char)v;
		return true;
	}
	at = *ps->p ? strchr(from, *ps->p) : NULL;
	if (!at)
		return false;
	ps->p++;
	*(*out)++ = to[at - from];
	return true;
}

/* In place, NUL-terminated; NULL with the error set. */
static const char *parse_string(struct parser *ps)
{
	char *start;
	char *out;

	if (!take(ps, '"')) {
		(void)fail(ps, -EBADMSG);
		return NULL;
	}
	start = ps->p;
	ps->p += strcspn(ps->p, "\"\\");
	out = ps->p;
	while (*ps->p && *ps->p != '"') {
		if (take(ps, '\\')) {
			if (!unescape(ps, &out))
				break;
		} else {
			*out++ = *ps->p++;
		}
	}
	if (!take(ps, '"')) {
		(void)fail(ps, -EBADMSG);
		return NULL;
	}
	*out = '\0';
	return start;
}

static struct tnode *parse_value(struct parser *ps, const char *key,
				 const struct node_type *parent);

/* Fields up to the closing brace; the first key has been read already, or is NULL. */
static bool parse_fields(struct parser *ps, struct tnode *object, const char *key)
{
	struct tnode **tail = &object->child;

	for (;;) {
		struct tnode *value;

		if (!key)
			key = parse_string(ps);
		if (!key || !take(ps, ':'))
			return false;
		value = parse_value(ps, key, object->type);
		if (!value)
			return false;
		*tail = value;
		tail = &value->next;
		key = NULL;
		if (take(ps, '}'))
			return true;
		if (!take(ps, ','))
			return false;
	}
}

/* {"Type":{…}}: the key has been read. */
static struct tnode *parse_wrapped(struct parser *ps, const char *key, const char *name)
{
	struct tnode *n;

	n = new_node(ps, TNODE_OBJECT, key);
	if (!n)
		return NULL;
	n->type = node_type_find(name);
	if (!n->type || !take(ps, ':') || !take(ps, '{'))
		return fail(ps, -EBADMSG);
	if (!take(ps, '}') && !parse_fields(ps, n, NULL))
		return fail(ps, -EBADMSG);
	if (!take(ps, '}'))
		return fail(ps, -EBADMSG);
	return n;
}

static struct tnode *parse_object(struct parser *ps, const char *key,
				  const struct node_type *parent)
{
	const struct node_type *type;
	const char *first = NULL;
	struct tnode *n;

	if (!take(ps, '}')) {
		first = parse_string(ps);
		if (!first)
			return NULL;
		if (*first >= 'A' && *first <= 'Z')
			return parse_wrapped(ps, key, first);
	}
	type = node_type_of_field(parent, key);
	if (!first && !type)
		return new_node(ps, TNODE_NONE, key);
	if (!type)
		return fail(ps, -EBADMSG);
	n = new_node(ps, TNODE_OBJECT, key);
	if (!n)
		return NULL;
	n->type = type;
	if (first && !parse_fields(ps, n, first))
		return fail(ps, -EBADMSG);
	return n;
}

static struct tnode *parse_array(struct parser *ps, const char *key, const struct node_type *parent)
{
	struct tnode *n = new_node(ps, TNODE_ARRAY, key);
	struct tnode **tail;

	if (!n)
		return NULL;
	if (take(ps, ']'))
		return n;
	tail = &n->child;
	for (;;) {
		struct tnode *value = parse_value(ps, key, parent);

		if (!value)
			return NULL;
		*tail = value;
		tail = &value->next;
		if (take(ps, ']'))
			return n;
		if (!take(ps, ','))
			return fail(ps, -EBADMSG);
	}
}

static struct tnode *parse_number(struct parser *ps, const char *key)
{
	struct tnode *n = new_node(ps, TNODE_NUMBER, key);
	char *end;

	if (!n)
		return NULL;
	n->number = strtoll(ps->p, &end, 10);
	if (end == ps->p)
		return fail(ps, -EBADMSG);
	ps->p = end;
	return n;
}

static struct tnode *parse_value(struct parser *ps, const char *key, const struct node_type *parent)
{
	struct tnode *n = NULL;

	if (ps->depth == TREE_DEPTH_MAX)
		return fail(ps, -E2BIG);
	ps->depth++;
	if (take(ps, '{')) {
		n = parse_object(ps, key, parent);
	} else if (take(ps, '[')) {
		n = parse_array(ps, key, parent);
	} else if (*ps->p == '"') {
		n = new_node(ps, TNODE_STRING, key);
		if (n) {
			n->str = parse_string(ps);
			if (!n->str)
				n = NULL;
		}
	} else if (strncmp(ps->p, "true", 4) == 0) {
		ps->p += 4;
		n = new_node(ps, TNODE_TRUE, key);
	} else {
		n = parse_number(ps, key);
	}
	ps->depth--;
	return n;
}

int tree_parse(char *json, struct arena *arena, struct tnode **ret_root)
{
	struct parser ps = {.p = json, .arena = arena};
	struct tnode *root = parse_value(&ps, "", NULL);

	if (!root || ps.error < 0)
		return ps.error < 0 ? ps.error : -EBADMSG;
	if (*ps.p != '\0')
		return -EBADMSG;
	*ret_root = root;
	return 0;
}

const struct tnode *tree_field(const struct tnode *object, const char *key)
{
	if (!object || object->kind != TNODE_OBJECT)
		return NULL;
	for (const struct tnode *c = object->child; c; c = c->next)
		if (streq(c->key, key))
			return c;
	return NULL;
}

const char *tree_str(const struct tnode *object, const char *key)
{
	const struct tnode *f = tree_field(object, key);

	return f && f->kind == TNODE_STRING ? f->str : NULL;
}

int64_t tree_number(const struct tnode *object, const char *key)
{
	const struct tnode *f = tree_field(object, key);

	return f && f->kind == TNODE_NUMBER ? f->number : 0;
}

bool tree_is(const struct tnode *n, const char *type)
{
	return n && n->kind == TNODE_OBJECT && streq(n->type->name, type);
}

const char *tree_string_node(const struct tnode *n)
{
	return tree_is(n, "String") ? tree_str(n, "sval") : NULL;
}
