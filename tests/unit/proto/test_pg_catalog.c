#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/proto/catalog_script.h"

static const struct script good = {
	.relations =
		(const char *const[]){"100 r public customers 4", "101 r public orders 2",
				      "102 v public v 1", "103 p public part 1",
				      "104 r public part_1 1", "105 t pg_toast pg_toast_100 1",
				      "106 r other orders 1", "1259 r pg_catalog pg_class 1", NULL},
	.columns =
		(const char *const[]){"100 1 id", "100 3 ssn", "100 4 note", "101 1 id",
				      "101 2 total", "102 1 ssn", "103 1 a", "104 1 a",
				      "105 1 chunk", "106 1 id", "999 1 gone", "1259 1 oid", NULL},
	.edges = (const char *const[]){"102 100 r", "102 101 r", "102 100 r", "102 16500 f",
				       "104 103 i", "105 100 t", "999 100 r", NULL},
	.functions = (const char *const[]){"Zed", "alpha", "beta", NULL},
	.path = (const char *const[]){"pg_catalog", "public", NULL},
};

static struct pg_catalog *load(struct span bytes, size_t step, int want)
{
	_cleanup_(pg_catalog_unrefp) struct pg_catalog *c = NULL;
	size_t at = 0;
	int r = 0;

	assert_int_equal(pg_catalog_new(&c), 0);
	while (r == 0 && at < bytes.len) {
		size_t used = SIZE_MAX;

		r = pg_catalog_feed(c, span_of(bytes.p + at, MIN(step, bytes.len - at)), &used);
		assert_true(used <= MIN(step, bytes.len - at));
		at += used;
	}
	assert_int_equal(r, want);
	if (r != 1)
		return NULL;
	assert_int_equal(at, bytes.len);
	return TAKE_PTR(c);
}

static void check_good(const struct pg_catalog *c)
{
	const struct pg_relation *r = pg_catalog_by_name(c, "public", "customers");
	const char *const *path;

	assert_non_null(r);
	assert_int_equal(r->oid, 100);
	assert_int_equal(r->kind, 'r');
	assert_int_equal(r->n_columns, 4);
	assert_string_equal(r->columns[0], "id");
	assert_null(r->columns[1]);
	assert_string_equal(r->columns[2], "ssn");
	assert_false(r->calls);
	assert_int_equal(r->sources.n, 0);
	assert_ptr_equal(pg_catalog_by_oid(c, 100), r);

	r = pg_catalog_by_oid(c, 102);
	assert_int_equal(r->sources.n, 2);
	assert_int_equal(r->sources.oids[0], 100);
	assert_int_equal(r->sources.oids[1], 101);
	assert_true(r->calls);

	r = pg_catalog_by_oid(c, 104);
	assert_int_equal(r->parents.n, 1);
	assert_int_equal(r->parents.oids[0], 103);
	assert_int_equal(r->sources.n, 0);
	r = pg_catalog_by_oid(c, 103);
	assert_int_equal(r->children.n, 1);
	assert_int_equal(r->children.oids[0], 104);
	assert_int_equal(pg_catalog_by_oid(c, 105)->sources.oids[0], 100);

	assert_string_equal(pg_catalog_named(c, "orders", 0)->schema, "other");
	assert_string_equal(pg_catalog_named(c, "orders", 1)->schema, "public");
	assert_null(pg_catalog_named(c, "orders", 2));
	assert_null(pg_catalog_named(c, "zzz", 0));
	assert_null(pg_catalog_named(c, "aaa", 0));
	assert_null(pg_catalog_by_name(c, "public", "pg_class"));
	assert_null(pg_catalog_by_oid(c, 99));
	assert_null(pg_catalog_by_oid(c, 5000));

	assert_true(pg_catalog_has_function(c, "Zed"));
	assert_true(pg_catalog_has_function(c, "beta"));
	assert_false(pg_catalog_has_function(c, "gamma"));
	assert_int_equal(pg_catalog_search_path(c, &path), 2);
	assert_string_equal(path[0], "pg_catalog");
	assert_string_equal(path[1], "public");
}

/* However the bytes are cut. */
static void test_load(_unused_ void **state)
{
	static const size_t steps[] = {1, 2, 3, 5, 7, 64, 1000, 1 << 20};
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

	script_put(&b, &good);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		_cleanup_(pg_catalog_unrefp) struct pg_catalog *c = load(buf_span(&b), steps[i], 1);
		size_t used;

		check_good(c);
		/* Nothing may follow. */
		assert_int_equal(pg_catalog_feed(c, buf_span(&b), &used), -EPROTO);
		pg_catalog_unref(pg_catalog_ref(c));
	}
}

static void refused(const struct script *s, int want)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

	script_put(&b, s);
	assert_null(load(buf_span(&b), 1 << 20, want));
	assert_null(load(buf_span(&b), 1, want));
}

#define ROWS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_answers_that_make_no_sense(_unused_ void **state)
{
	static char longest[80];
	struct script s;

	memset(longest, 'x', 64);
	memcpy(longest + 64, " 1", 3);
#define BAD(field_, ...)                      \
	do {                                  \
		s = good;                     \
		s.field_ = ROWS(__VA_ARGS__); \
		refused(&s, -EPROTO);         \
	} while (0)
	BAD(relations, "100 r public a 1", "100 r public b 1");
	BAD(relations, "101 r public a 1", "100 r public b 1");
	BAD(relations, "100 r public a");
	BAD(relations, "100 r public a 1 2");
	BAD(relations, "100 rr public a 1");
	BAD(relations, "x r public a 1");
	BAD(relations, "4294967296 r public a 1");
	BAD(relations, "-1 r public a 1");
	BAD(relations, " r public a 1");
	BAD(relations, "100 r public  1");
	BAD(relations, "100 r public a 1665");
	BAD(relations, NULL);
	BAD(columns, "100 5 x");
	BAD(columns, "100 0 x");
	BAD(columns, "100 1 ");
	BAD(edges, "100 101 z");
	BAD(edges, "100 101");
	BAD(functions, "b", "a");
	BAD(functions, "a", "a");
	BAD(functions, "a b");
	BAD(path, "");
	BAD(path, longest);
	s = good;
	s.path = ROWS("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o",
		      "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z", "1", "2", "3", "4",
		      "5", "6", "7");
	refused(&s, -E2BIG);
}

static void test_messages_that_make_no_sense(_unused_ void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

	/* An error is the server's no. */
	script_message(&b, 'E', "SERROR\0C42501\0\0", 15);
	assert_null(load(buf_span(&b), 1, -EACCES));
	/* The end before everything was there. */
	buf_reset(&b);
	script_rows(&b, good.relations);
	script_end(&b);
	assert_null(load(buf_span(&b), 1 << 20, -EPROTO));
	/* A row before any result; a sixth result; COPY. */
	buf_reset(&b);
	script_row(&b, "100 r public a 1");
	assert_null(load(buf_span(&b), 1 << 20, -EPROTO));
	buf_reset(&b);
	for (int i = 0; i < 6; i++)
		script_result(&b);
	assert_null(load(buf_span(&b), 1 << 20, -EPROTO));
	buf_reset(&b);
	script_message(&b, 'H', "\0\0\0", 3);
	assert_null(load(buf_span(&b), 1 << 20, -EPROTO));
	/* Lengths: too short, too long, a field past its row, a null, bytes left over. */
	assert_null(load(span_of("T\0\0\0\3", 5), 1, -EPROTO));
	assert_null(load(span_of("T\0\1\0\6", 5), 1, -EPROTO));
	assert_null(load(span_of("T\xff\xff\xff\xff", 5), 5, -EPROTO));
	buf_reset(&b);
	script_result(&b);
	script_message(&b, 'D', "\0\5\0\0\0\2a", 7);
	assert_null(load(buf_span(&b), 1 << 20, -EPROTO));
	buf_reset(&b);
	script_result(&b);
	script_message(&b, 'D', "\0\5\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
	assert_null(load(buf_span(&b), 1 << 20, -EPROTO));
}

static void test_query(_unused_ void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 16);

	assert_int_equal(pg_catalog_query(&b), 0);
	assert_int_equal(buf_span(&b).p[0], 'Q');
	assert_int_equal(buf_span(&b).p[buf_len(&b) - 1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_answers_that_make_no_sense),
		cmocka_unit_test(test_messages_that_make_no_sense),
		cmocka_unit_test(test_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
