#include "proto/sql/classify.h"

#include <sys/random.h>

#include "proto/sql/pack.h"
#include "proto/sql/parse.h"
#include "proto/sql/shape.h"
#include "proto/sql/siphash.h"

/* Longer texts are seldom sent twice, and are not kept. */
#define CACHE_TEXT_MAX 8192u

struct entry {
	struct sql_class class; /* first: a class is its entry */
	struct entry *hash_next;
	struct entry *newer; /* by use */
	struct entry *older;
	uint64_t hash;
	size_t bytes; /* of this block */
	size_t text_len;
	uint8_t *text; /* or its shape */
	bool shape;
	unsigned refs; /* held by callers */
	bool kept;     /* in the table */
};

struct sql_cache {
	uint8_t key[SIPHASH_KEY_LEN];
	struct entry **table;
	size_t mask;
	size_t n;
	size_t n_max;
	size_t bytes;
	size_t bytes_max;
	struct entry *newest;
	struct entry *oldest;
	struct arena scratch;
	uint8_t shape[CACHE_TEXT_MAX];
};

static struct sql_statement no_memory_statement = {.verbs = SQL_UNKNOWN, .kind = ""};
static const struct sql_class no_memory_class = {
	.verbs = SQL_UNKNOWN,
	.n_statements = 1,
	.statements = &no_memory_statement,
	.error = "no memory to classify the text",
};

static struct sql_statement function_call_statement = {
	.verbs = SQL_FUNCTION_CALL | SQL_CALL,
	.kind = "FunctionCall",
	.where = true,
};
const struct sql_class sql_class_function_call = {
	.verbs = SQL_FUNCTION_CALL | SQL_CALL,
	.n_statements = 1,
	.statements = &function_call_statement,
};

int sql_cache_new(size_t entries, size_t bytes, struct sql_cache **ret_cache)
{
	_cleanup_free_ struct sql_cache *c = calloc(1, sizeof(*c));
	size_t size = 16;

	if (!c)
		return -ENOMEM;
	if (getrandom(c->key, sizeof(c->key), 0) != (ssize_t)sizeof(c->key))
		return -EIO;
	while (size < entries && size < (size_t)1 << 24)
		size *= 2;
	c->table = calloc(size, sizeof(struct entry *));
	if (!c->table)
		return -ENOMEM;
	c->mask = size - 1;
	c->n_max = entries;
	c->bytes_max = bytes;
	c->scratch = ARENA_INIT(PARSE_ARENA_MAX);
	*ret_cache = TAKE_PTR(c);
	return 0;
}

static void unlink_use(struct sql_cache *c, struct entry *e)
{
	*(e->newer ? &e->newer->older : &c->newest) = e->older;
	*(e->older ? &e->older->newer : &c->oldest) = e->newer;
	e->newer = NULL;
	e->older = NULL;
}

static void link_newest(struct sql_cache *c, struct entry *e)
{
	e->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
}

static void forget(struct sql_cache *c, struct entry *e)
{
	struct entry **at = &c->table[e->hash & c->mask];

	while (*at != e)
		at = &(*at)->hash_next;
	*at = e->hash_next;
	unlink_use(c, e);
	c->n--;
	c->bytes -= e->bytes;
	e->kept = false;
	if (e->refs == 0)
		free(e);
}

void sql_cache_free(struct sql_cache *c)
{
	if (!c)
		return;
	while (c->oldest)
		forget(c, c->oldest);
	arena_done(&c->scratch);
	free(c->table);
	free(c);
}

/* What a text is kept under: itself or its shape. */
struct sought {
	struct span text;
	uint64_t hash;
	bool shape;
};

static struct sought seek(const struct sql_cache *c, struct span text, bool shape)
{
	return (struct sought){.text = text, .hash = siphash13(c->key, text), .shape = shape};
}

static struct entry *find(const struct sql_cache *c, const struct sought *by)
{
	struct entry *e = c->table[by->hash & c->mask];

	while (e && (e->hash != by->hash || e->shape != by->shape ||
		     !span_eq(span_of(e->text, e->text_len), by->text)))
		e = e->hash_next;
	return e;
}

/* An entry of one block: itself, then the class's lists and strings, then the text. */
static struct entry *make_entry(struct sql_cache *c, struct span text)
{
	struct parsed parsed;
	struct entry *e;
	size_t packed;
	size_t kept_text = text.len <= CACHE_TEXT_MAX ? text.len : 0;

	parse_text(&c->scratch, text, &parsed);
	packed = pack_size(&parsed.class);
	e = calloc(1, sizeof(*e) + packed + kept_text);
	if (e) {
		e->class = pack_copy(&parsed.class, e + 1);
		e->bytes = sizeof(*e) + packed + kept_text;
		e->text = (uint8_t *)(e + 1) + packed;
		e->text_len = kept_text;
		if (kept_text > 0)
			memcpy(e->text, text.p, kept_text);
	}
	parsed_done(&parsed);
	arena_reset(&c->scratch);
	return e;
}

static void keep(struct sql_cache *c, struct entry *e, const struct sought *by)
{
	if (c->n_max == 0 || e->bytes > c->bytes_max)
		return;
	while (c->oldest && (c->n >= c->n_max || c->bytes + e->bytes > c->bytes_max))
		forget(c, c->oldest);
	/* A shape is as long as its text. */
	if (by->shape)
		memcpy(e->text, by->text.p, by->text.len);
	e->shape = by->shape;
	e->hash = by->hash;
	e->hash_next = c->table[by->hash & c->mask];
	c->table[by->hash & c->mask] = e;
	e->kept = true;
	c->n++;
	c->bytes += e->bytes;
	link_newest(c, e);
}

static struct entry *look_up(struct sql_cache *c, const struct sought *by)
{
	struct entry *e = find(c, by);

	if (e) {
		unlink_use(c, e);
		link_newest(c, e);
	}
	return e;
}

static struct entry *classify_kept(struct sql_cache *c, struct span text)
{
	bool shaped = sql_shape(text, c->shape);
	struct sought by_shape;
	struct sought by_text;
	struct entry *e = NULL;

	if (shaped) {
		by_shape = seek(c, span_of(c->shape, text.len), true);
		e = look_up(c, &by_shape);
	}
	if (e)
		return e;
	by_text = seek(c, text, false);
	e = look_up(c, &by_text);
	if (e)
		return e;
	e = make_entry(c, text);
	if (e)
		keep(c, e, shaped && sql_shape_decides(&e->class) ? &by_shape : &by_text);
	return e;
}

const struct sql_class *sql_classify(struct sql_cache *c, struct span text)
{
	struct entry *e = text.len <= CACHE_TEXT_MAX ? classify_kept(c, text) : make_entry(c, text);

	if (!e)
		return &no_memory_class;
	e->refs++;
	return &e->class;
}

void sql_class_release(_unused_ struct sql_cache *c, const struct sql_class *class)
{
	struct entry *e;

	if (!class || class == &no_memory_class || class == &sql_class_function_call)
		return;
	/* The class is the entry's first member, and was handed out as const. */
	e = (struct entry *)(uintptr_t) class;
	if (--e->refs == 0 && !e->kept)
		free(e);
}
