/* Any text has a class, and the class holds together. */
#include "proto/sql/classify.h"

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
	sql_class_release(cache, c);
	return 0;
}
