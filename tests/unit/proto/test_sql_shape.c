/* Texts that differ in a number only: one class, where that is surely so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/sql/classify.h"
#include "unit/proto/sql_render.h"

static struct sql_cache *new_cache(size_t entries)
{
	struct sql_cache *cache = NULL;

	assert_int_equal(sql_cache_new(entries, 1 << 20, &cache), 0);
	return cache;
}

/* Does the second text get the class of the first? */
static bool shared(const char *first, const char *second)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(16);
	const struct sql_class *a = sql_classify(cache, span_str(first));
	const struct sql_class *b = sql_classify(cache, span_str(second));
	bool same = a == b;

	sql_class_release(cache, a);
	sql_class_release(cache, b);
	return same;
}

static void test_shared(void **state)
{
	static const char *const pairs[][2] = {
		{"SELECT a FROM t WHERE id = 17;", "SELECT a FROM t WHERE id = 42;"},
		{"SELECT a FROM t WHERE id=1", "SELECT a FROM t WHERE id=9"},
		{"SELECT a FROM t WHERE id >= \n 100000000",
		 "SELECT a FROM t WHERE id >= \n 999999999"},
		{"UPDATE t SET a = 5, b=7 WHERE id <> 6", "UPDATE t SET a = 1, b=2 WHERE id <> 3"},
		{"DELETE FROM t WHERE (id < 10)", "DELETE FROM t WHERE (id < 99)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_(sql_cache_freep) struct sql_cache *none = new_cache(0);
		_cleanup_buf_ struct buf a = BUF_INIT(4096);
		_cleanup_buf_ struct buf b = BUF_INIT(4096);
		const struct sql_class *c;

		if (!shared(pairs[i][0], pairs[i][1]))
			fail_msg("not shared: %s", pairs[i][1]);
		/* And so it is without a cache. */
		c = sql_classify(none, span_str(pairs[i][0]));
		render_class(&a, c);
		sql_class_release(none, c);
		c = sql_classify(none, span_str(pairs[i][1]));
		render_class(&b, c);
		sql_class_release(none, c);
		assert_true(span_eq(buf_span(&a), buf_span(&b)));
	}
}

static void test_not_shared(void **state)
{
	static const char *const pairs[][2] = {
		/* positions differ */
		{"SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 10"},
		/* the value matters, or may */
		{"SELECT a, b FROM t ORDER BY 1", "SELECT a, b FROM t ORDER BY 2"},
		{"SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2"},
		{"SET work_mem = 64", "SET work_mem = 65"},
		{"SELECT a::float(5) FROM t", "SELECT a::float(6) FROM t"},
		{"EXPLAIN SELECT a FROM t WHERE id = 1", "EXPLAIN SELECT a FROM t WHERE id = 2"},
		/* not integer constants, or not surely */
		{"SELECT a FROM t WHERE id = 0", "SELECT a FROM t WHERE id = 1"},
		{"SELECT a FROM t WHERE id = 1.5", "SELECT a FROM t WHERE id = 2.5"},
		{"SELECT a FROM t WHERE id = 1e5", "SELECT a FROM t WHERE id = 2e5"},
		{"SELECT a FROM t WHERE id = 1000000000", "SELECT a FROM t WHERE id = 2000000000"},
		{"SELECT a FROM t WHERE t1 = t2", "SELECT a FROM t WHERE t1 = t3"},
		/* digits that are part of something else */
		{"SELECT ' = 1'", "SELECT ' = 2'"},
		{"SELECT \"= 1\" FROM t", "SELECT \"= 2\" FROM t"},
		{"SELECT 3 -- = 1", "SELECT 3 -- = 2"},
		{"SELECT 3 /* = 1*/ ", "SELECT 3 /* = 2*/ "},
		{"SELECT $a$ = 1 $a$", "SELECT $a$ = 2 $a$"},
		/* the parser's message quotes the text */
		{"SELECT a FROM WHERE id = 1", "SELECT a FROM WHERE id = 2"},
		/* what stands for digits in a shape is no digit in a text */
		{"SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = \x01"},
		{"SELECT a FROM t WHERE id = \x01", "SELECT a FROM t WHERE id = 1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (shared(pairs[i][0], pairs[i][1]))
			fail_msg("shared: %s", pairs[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_not_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
