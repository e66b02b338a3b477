#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "base/buf.h"
#include "proto/sql/classify.h"
#include "proto/sql/nest.h"

static struct sql_cache *new_cache(size_t entries, size_t bytes)
{
	struct sql_cache *cache = NULL;

	assert_int_equal(sql_cache_new(entries, bytes, &cache), 0);
	return cache;
}

static uint32_t verbs_of(struct sql_cache *cache, struct span text)
{
	const struct sql_class *c = sql_classify(cache, text);
	uint32_t verbs = c->verbs;

	assert_non_null(c);
	sql_class_release(cache, c);
	return verbs;
}

static uint32_t verbs_of_repeated(const char *head, const char *unit, size_t n, const char *tail)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(4, 1 << 20);
	_cleanup_buf_ struct buf b = BUF_INIT(64 << 20);

	buf_put_str(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_put_str(&b, unit);
	buf_put_str(&b, tail);
	assert_int_equal(buf_error(&b), 0);
	return verbs_of(cache, buf_span(&b));
}

/* What would run libpg-query, or us, off the stack or out of memory. */
static void test_deep_texts(_unused_ void **state)
{
	assert_int_equal(verbs_of_repeated("SELECT 1", "+1", 250000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT 1", "+1", 16000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT 1", "::int", 100000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT 1", "::int", 10000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT 1", " UNION SELECT 1", 34000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT 1", " IS NULL", 16000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT ", "(", 100000, "1"), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT ", "NOT ", 100000, "a"), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT ", "CASE WHEN ", 9000, "a"), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT ", "f(", 511, "a"), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT a FROM t", " JOIN u ON a", 40000, ""),
			 SQL_UNKNOWN);
	/* Quadratic in the scanner: minutes, were it let through. */
	assert_int_equal(verbs_of_repeated("", "/*", 250000, ""), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT ", "+", 500000, "1"), SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("SELECT 1 /", "*", 100000, "/"), SQL_SELECT);
	assert_int_equal(verbs_of_repeated("", ";", 500000, ""), SQL_EMPTY);
	assert_int_equal(verbs_of_repeated("", "SELECT 1;", 50000, ""), SQL_UNKNOWN);
	/* The right side once for each column on the left, and again inside. */
	assert_int_equal(verbs_of_repeated("UPDATE t SET (a", ",a", 20000, ") = (SELECT 1, 2, 3)"),
			 SQL_UNKNOWN);
	assert_int_equal(verbs_of_repeated("", "WITH x AS (UPDATE t SET (a,b,c,d,e,f,g) = (", 30,
					   "SELECT 1"),
			 SQL_UNKNOWN);
}

static void test_large_but_flat_texts(_unused_ void **state)
{
	assert_int_equal(
		verbs_of_repeated("INSERT INTO t VALUES (1, 'x')", ",(1, '((((')", 39000, ""),
		SQL_INSERT);
	assert_int_equal(verbs_of_repeated("SELECT a FROM t WHERE a IN (1", ",2", 100000, ")"),
			 SQL_SELECT);
	assert_int_equal(verbs_of_repeated("SELECT 1 WHERE true", " OR a = 1", 4000, ""),
			 SQL_SELECT);
	assert_int_equal(verbs_of_repeated("SELECT 'a'", "||'b'", 400, ""), SQL_SELECT);
	assert_int_equal(verbs_of_repeated("UPDATE t SET (a", ",b", 40, ") = (SELECT 1, 2)"),
			 SQL_SELECT | SQL_UPDATE);
	assert_int_equal(verbs_of_repeated("", "SELECT 1;", 4000, ""), SQL_SELECT);
}

/* Brackets and commas where the lexer does not see them as such must not count, and those after
 * must. */
static void test_nest_skips_what_is_quoted(_unused_ void **state)
{
	static const char *const heads[] = {
		"'((((' ",
		"E'\\'((((' ",
		"E'a'\n'\\'((' ",
		"\"((\" ",
		"$$(('\"$$ ",
		"$x$ $$ (( $x$ ",
		"/* (( /* (( */ (( */ ",
		"-- ((\n",
		"U&'((\\' ",
		"1e ",
		"a$$ ",
		"$1 ",
		"B'(' ",
	};
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		for (unsigned extra = 0; extra < 2; extra++) {
			buf_reset(&b);
			buf_put_str(&b, heads[i]);
			for (size_t k = 0; k < NEST_BRACKETS_MAX + extra; k++)
				buf_put_str(&b, "(");
			assert_int_equal(nest_check(buf_span(&b)), extra ? -E2BIG : 0);
		}
	}
}

static void test_unfit_texts(_unused_ void **state)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(4, 1 << 20);
	_cleanup_free_ char *big = malloc(SQL_TEXT_MAX + 1);

	assert_int_equal(verbs_of(cache, span_of("SELECT 1\0; DROP TABLE t", 23)), SQL_UNKNOWN);
	assert_int_equal(verbs_of(cache, span_of("SELECT 1\0", 9)), SQL_UNKNOWN);
	assert_int_equal(verbs_of(cache, span_str("SELECT '\xe9'")), SQL_UNKNOWN);
	assert_int_equal(verbs_of(cache, span_str("SELECT '\xc0\xa7'")), SQL_UNKNOWN);
	assert_int_equal(verbs_of(cache, span_of(NULL, 0)), SQL_EMPTY);
	assert_int_equal(verbs_of(cache, span_str("SELECT 'é\\', \"ü\"")), SQL_SELECT);
	assert_non_null(big);
	memset(big, ' ', SQL_TEXT_MAX + 1);
	assert_int_equal(verbs_of(cache, span_of(big, SQL_TEXT_MAX)), SQL_EMPTY);
	assert_int_equal(verbs_of(cache, span_of(big, SQL_TEXT_MAX + 1)), SQL_UNKNOWN);
}

static void test_places_and_errors(_unused_ void **state)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(4, 1 << 20);
	const char *text = "SELECT 'é;';  DELETE FROM t ; \n UPDATE t SET a = 1";
	const struct sql_class *c = sql_classify(cache, span_str(text));

	assert_int_equal(c->n_statements, 3);
	assert_int_equal(c->verbs, SQL_SELECT | SQL_DELETE | SQL_UPDATE);
	assert_memory_equal(text + c->statements[0].offset, "SELECT 'é;'", c->statements[0].len);
	assert_int_equal(c->statements[0].len, strlen("SELECT 'é;'"));
	assert_int_equal(c->statements[1].len, strlen("DELETE FROM t "));
	assert_memory_equal(text + c->statements[1].offset, "DELETE FROM t ", 14);
	assert_string_equal(text + c->statements[2].offset, "UPDATE t SET a = 1");
	assert_int_equal(c->statements[2].len, strlen("UPDATE t SET a = 1"));
	assert_string_equal(c->statements[2].kind, "UpdateStmt");
	assert_null(c->error);
	sql_class_release(cache, c);

	c = sql_classify(cache, span_str("SELEC"));
	assert_string_equal(c->error, "syntax error at or near \"SELEC\"");
	assert_string_equal(c->statements[0].kind, "");
	assert_int_equal(c->statements[0].len, 5);
	assert_false(c->statements[0].where);
	sql_class_release(cache, c);
}

/* A class outlives its place in the cache for as long as it is held. */
static void test_cache(_unused_ void **state)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(2, 1 << 20);
	const struct sql_class *a = sql_classify(cache, span_str("SELECT a FROM t"));
	const struct sql_class *again = sql_classify(cache, span_str("SELECT a FROM t"));

	assert_ptr_equal(a, again);
	sql_class_release(cache, again);
	for (int i = 0; i < 10; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "SELECT %d", i);
		assert_int_equal(verbs_of(cache, span_str(text)), SQL_SELECT);
	}
	assert_string_equal(a->statements[0].tables[0].name, "t");
	again = sql_classify(cache, span_str("SELECT a FROM t"));
	assert_ptr_not_equal(a, again);
	sql_class_release(cache, again);
	sql_class_release(cache, a);
	/* The least recently used goes: 'x' is used between, 'y' is not. */
	again = sql_classify(cache, span_str("SELECT 'x'"));
	sql_class_release(cache, again);
	(void)verbs_of(cache, span_str("SELECT 'y'"));
	(void)verbs_of(cache, span_str("SELECT 'x'"));
	(void)verbs_of(cache, span_str("SELECT 'z'"));
	a = sql_classify(cache, span_str("SELECT 'x'"));
	assert_ptr_equal(a, again);
	sql_class_release(cache, a);
	sql_class_release(cache, &sql_class_function_call);
	sql_class_release(cache, NULL);
}

static void test_cache_bounds(_unused_ void **state)
{
	_cleanup_(sql_cache_freep) struct sql_cache *none = new_cache(0, 0);
	_cleanup_(sql_cache_freep) struct sql_cache *few = new_cache(100, 4096);

	assert_int_equal(verbs_of(none, span_str("SELECT 1")), SQL_SELECT);
	for (int i = 0; i < 1000; i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "SELECT a, b, c FROM t%d", i);
		assert_int_equal(verbs_of(few, span_str(text)), SQL_SELECT);
	}
}

/* ---- shapes that are flat, and were slow ---- */

/* item n times; a # in it is a number, which goes up to `distinct` and begins again. */
static void put_many(struct buf *b, const char *item, size_t n, size_t distinct)
{
	size_t head = strcspn(item, "#");
	char number[16];

	for (size_t i = 0; i < n; i++) {
		buf_put(b, item, head);
		if (!item[head])
			continue;
		(void)snprintf(number, sizeof(number), "%u", (unsigned)(i % distinct));
		buf_put_str(b, number);
		buf_put_str(b, item + head + 1);
	}
}

struct run {
	const char *item;
	size_t n;
	size_t distinct;
};

/* The longest texts of their kind. What took time that grows with the square of the length took
 * minutes on these; the bound is generous enough for any machine and every sanitizer. */
static void test_no_text_is_slow(_unused_ void **state)
{
	static const struct {
		const char *head;
		struct run one;
		const char *middle;
		struct run two;
		const char *tail;
		uint32_t verbs;
	} shapes[] = {
		{"select 1", {",1", 1663, 1}, " order by 1", {",1", 20000, 1}, "", SQL_SELECT},
		{"select 1", {",1", 1664, 1}, " order by 1", {",1", 10, 1}, "", SQL_UNKNOWN},
		{"select 1", {",1", 120000, 1}, " order by 1", {",1", 120000, 1}, "", SQL_UNKNOWN},
		{"select *",
		 {",b a#", 1600, 1600},
		 " order by 1",
		 {",a#", 30000, 1600},
		 "",
		 SQL_SELECT},
		{"select *",
		 {",b a#", 1600, 1600},
		 " group by 1",
		 {",a#", 60000, 60000},
		 "",
		 SQL_UNKNOWN},
		{"insert into t select 1 returning a",
		 {",a#", 60000, 60000},
		 "",
		 {"", 0, 1},
		 "",
		 SQL_UNKNOWN},
		{"with a as (select 1)",
		 {",a# as (select 1)", 4000, 4000},
		 " select 1 from a",
		 {",a#", 30000, 4000},
		 "",
		 SQL_SELECT},
		{"with a as (select 1)",
		 {",a# as (select 1)", 20000, 20000},
		 " select 1",
		 {"", 0, 1},
		 "",
		 SQL_UNKNOWN},
		{"select 1 from a",
		 {",t#", 4000, 4000},
		 " where 1 in (1",
		 {",c#", 60000, 4000},
		 ")",
		 SQL_SELECT},
		{"select 1", {"", 0, 1}, ";select 1 from a", {",t#", 4000, 4000}, "", SQL_SELECT},
	};
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(0, 0);
	clock_t start = clock();

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(8 << 20);

		buf_put_str(&b, shapes[i].head);
		put_many(&b, shapes[i].one.item, shapes[i].one.n, shapes[i].one.distinct);
		buf_put_str(&b, shapes[i].middle);
		put_many(&b, shapes[i].two.item, shapes[i].two.n, shapes[i].two.distinct);
		buf_put_str(&b, shapes[i].tail);
		assert_int_equal(buf_error(&b), 0);
		assert_true(buf_span(&b).len <= SQL_TEXT_MAX);
		assert_int_equal(verbs_of(cache, buf_span(&b)), shapes[i].verbs);
	}
	assert_true(clock() - start < 30 * CLOCKS_PER_SEC);
}

/* Every rule is asked about every table: there may not be any number of them. */
static void test_names_of_a_text(_unused_ void **state)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(0, 0);

	for (size_t n = 4; n < 6; n++) {
		_cleanup_buf_ struct buf b = BUF_INIT(8 << 20);

		for (size_t i = 0; i < n; i++) {
			buf_put_str(&b, "select 1 from a");
			put_many(&b, ",b#", 4000, 4000);
			buf_put_str(&b, ";");
		}
		assert_int_equal(verbs_of(cache, buf_span(&b)), n < 5 ? SQL_SELECT : SQL_UNKNOWN);
	}
}

static uint32_t slot_of_name(const char *name)
{
	uint32_t h = 2166136261u * 16777619u * 16777619u; /* no catalog, no schema */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	h = (h ^ 0xffu) * 16777619u;
	return (h ^ h >> 16) & 16383u;
}

/* Names that all fall on one place of the index: work is bounded, and the text is not known. */
static void test_colliding_names(_unused_ void **state)
{
	_cleanup_(sql_cache_freep) struct sql_cache *cache = new_cache(0, 0);
	_cleanup_buf_ struct buf b = BUF_INIT(8 << 20);
	size_t n = 0;

	buf_put_str(&b, "select 1 from a");
	for (unsigned i = 0; n < 3900; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "x%u", i);
		if (slot_of_name(name) >= 8)
			continue;
		buf_put_str(&b, ",");
		buf_put_str(&b, name);
		n++;
	}
	assert_true(buf_span(&b).len <= SQL_TEXT_MAX);
	assert_int_equal(verbs_of(cache, buf_span(&b)), SQL_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deep_texts),
		cmocka_unit_test(test_large_but_flat_texts),
		cmocka_unit_test(test_nest_skips_what_is_quoted),
		cmocka_unit_test(test_unfit_texts),
		cmocka_unit_test(test_places_and_errors),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_bounds),
		cmocka_unit_test(test_no_text_is_slow),
		cmocka_unit_test(test_names_of_a_text),
		cmocka_unit_test(test_colliding_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
