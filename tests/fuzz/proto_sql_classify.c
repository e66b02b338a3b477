/* Any text has a class, and the class holds together; texts of one shape have the same class. */
#include "proto/sql/classify.h"
#include "proto/sql/shape.h"

#include "../unit/proto/sql_render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sql_cache *cache;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_statement(const struct sql_statement *s, size_t size)
{
	check(s->verbs != 0 && s->kind != NULL);
	check(s->offset <= size && s->len <= size - s->offset);
	for (size_t i = 0; i < s->n_tables; i++)
		check(s->tables[i].name && s->tables[i].access != 0);
	for (size_t i = 0; i < s->n_functions; i++)
		check(s->functions[i].name != NULL);
	for (size_t i = 0; i < s->n_columns; i++)
		check((s->columns[i].name == NULL) == s->columns[i].star);
	for (size_t i = 0; i < s->n_ranges; i++)
		check(s->ranges[i].alias != NULL);
	for (size_t i = 0; i < s->n_search_path; i++)
		check(s->search_path[i] != NULL);
}

/* The text with other numbers where its shape has none. */
static void check_shape(struct span text, const struct sql_class *c)
{
	static struct sql_cache *none;
	static struct buf a = BUF_INIT(1u << 20);
	static struct buf b = BUF_INIT(1u << 20);
	static uint8_t other[4096];
	const struct sql_class *d;

	if (text.len > sizeof(other) || !sql_shape(text, other) || !sql_shape_decides(c))
		return;
	if (!none)
		check(sql_cache_new(0, 0, &none) == 0);
	for (size_t i = 0; i < text.len; i++)
		if (other[i] != text.p[i])
			other[i] = text.p[i] == '7' ? '8' : '7';
	d = sql_classify(none, span_of(other, text.len));
	check(!d->error && d->verbs == c->verbs && d->n_statements == c->n_statements);
	for (size_t i = 0; i < c->n_statements; i++)
		check(d->statements[i].offset == c->statements[i].offset &&
		      d->statements[i].len == c->statements[i].len &&
		      streq(d->statements[i].kind, c->statements[i].kind));
	(void)render_class(&a, c);
	(void)render_class(&b, d);
	check(span_eq(buf_span(&a), buf_span(&b)));
	sql_class_release(none, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sql_class *c;
	uint32_t verbs = 0;

	if (!cache)
		check(sql_cache_new(64, 1 << 20, &cache) == 0);
	c = sql_classify(cache, span_of(data, size));
	for (size_t i = 0; i < c->n_statements; i++) {
		check_statement(&c->statements[i], size);
		verbs |= c->statements[i].verbs;
	}
	check(c->verbs == (c->n_statements > 0 ? verbs : (uint32_t)SQL_EMPTY));
	check_shape(span_of(data, size), c);
	sql_class_release(cache, c);
	return 0;
}
