#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/utf8.h"

#define assert_bytes(b, want) assert_true(span_eq_str(buf_span(b), want))

static void spans(void **state)
{
	struct span s = span_str("hello");

	(void)state;
	assert_true(span_eq_str(s, "hello"));
	assert_false(span_eq_str(s, "hell"));
	assert_false(span_eq_str(s, "hellp"));
	assert_true(span_eq((struct span){0}, span_str("")));
	assert_int_equal(span_str(NULL).len, 0);
	assert_true(span_eq_str(span_skip(s, 2), "llo"));
	assert_int_equal(span_skip(s, 9).len, 0);
	assert_true(span_eq_str(span_head(s, 2), "he"));
	assert_int_equal(span_head(s, 9).len, 5);
	assert_true(streq_null(NULL, NULL));
	assert_false(streq_null(NULL, ""));
	assert_true(streq_null("a", "a"));
}

static void buf_appends_and_consumes(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1000);

	(void)state;
	buf_put_u8(&b, 1);
	buf_put_be16(&b, 0x0203);
	buf_put_be32(&b, 0x04050607);
	buf_put_be64(&b, 0x08090a0b0c0d0e0full);
	buf_put_le32(&b, 0x13121110);
	buf_put_le64(&b, 0x1b1a191817161514ull);
	assert_int_equal(buf_len(&b), 27);
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(buf_span(&b).p[i], i + 1);
	for (unsigned i = 15; i < 27; i++)
		assert_int_equal(buf_span(&b).p[i], i + 1);
	buf_set_be32(&b, 1, 0xaabbccdd);
	assert_int_equal(buf_span(&b).p[1], 0xaa);
	assert_int_equal(buf_span(&b).p[4], 0xdd);
	buf_set_be32(&b, 24, 0xffffffff); /* three bytes: nothing happens */
	assert_int_equal(buf_span(&b).p[24], 25);
	buf_consume(&b, 24);
	assert_int_equal(buf_len(&b), 3);
	buf_consume(&b, 99);
	assert_int_equal(buf_len(&b), 0);
	buf_putf(&b, "%s=%d", "x", 7);
	buf_put_str(&b, ";");
	buf_put_cstr(&b, "z");
	buf_truncate(&b, 99);
	assert_int_equal(buf_len(&b), 6);
	buf_truncate(&b, 3);
	buf_put_hex(&b, span_of("\x00\xff\x1e", 3));
	assert_bytes(&b, "x=700ff1e");
	assert_int_equal(buf_error(&b), 0);
}

static void buf_ceiling_sticks(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(8);

	(void)state;
	assert_int_equal(buf_put_str(&b, "12345"), 0);
	assert_int_equal(buf_room(&b), 3);
	assert_int_equal(buf_put_str(&b, "6789"), -ENOBUFS);
	assert_int_equal(buf_put_str(&b, "6"), -ENOBUFS);
	assert_null(buf_reserve(&b, 1));
	assert_bytes(&b, "12345");
	assert_int_equal(buf_error(&b), -ENOBUFS);
	buf_reset(&b);
	assert_int_equal(buf_put_str(&b, "12345678"), 0);
	assert_int_equal(buf_put(&b, NULL, 0), 0);
	assert_int_equal(buf_put_u8(&b, 1), -ENOBUFS);
}

/* A queue that is written and read for ever does not grow. */
static void buf_reuses_its_front(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(600);
	uint8_t block[100];
	size_t cap;

	(void)state;
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)i;
	buf_put(&b, block, 100);
	buf_put(&b, block, 100);
	buf_put(&b, block, 50);
	cap = b.cap;
	for (unsigned i = 0; i < 1000; i++) {
		buf_consume(&b, 100);
		assert_int_equal(buf_put(&b, block, 100), 0);
		assert_int_equal(buf_len(&b), 250);
	}
	assert_int_equal(b.cap, cap);
	assert_int_equal(b.data[b.end - 1], 99);
}

static void arena_ceiling_and_alignment(void **state)
{
	_cleanup_arena_ struct arena a = ARENA_INIT(10000);
	char *p;

	(void)state;
	for (size_t n = 1; n < 40; n += 7) {
		p = arena_alloc(&a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	assert_string_equal(arena_strdup(&a, "abc"), "abc");
	assert_null(arena_strdup(&a, NULL));
	assert_string_equal(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
	assert_true(span_eq(arena_dup(&a, span_of("a\0b", 3)), span_of("a\0b", 3)));
	assert_non_null(arena_alloc(&a, 6000)); /* more than a chunk */
	assert_null(arena_alloc(&a, 6000));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_alloc(&a, SIZE_MAX - 8));
	assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
	assert_null(arena_strndup(&a, span_of("x", SIZE_MAX)));
	arena_reset(&a);
	assert_int_equal(a.used, 0);
	p = arena_alloc(&a, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_null(arena_alloc(&a, 9950));
}

static void cursor_never_passes_the_end(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 'a', 'b', 0, 'c'};
	struct cursor c = cursor_of(span_of(bytes, sizeof(bytes)));
	struct span s = span_str("untouched");
	uint64_t v8 = 9;
	uint32_t v4 = 9;
	uint16_t v2 = 9;
	uint8_t v1 = 9;

	(void)state;
	assert_int_equal(cursor_be64(&c, &v8), 0);
	assert_int_equal(v8, 0x0102030405060708ull);
	assert_int_equal(cursor_be64(&c, &v8), -EBADMSG);
	assert_int_equal(cursor_left(&c), 4);
	assert_int_equal(cursor_cstr(&c, &s), 0);
	assert_true(span_eq_str(s, "ab"));
	assert_int_equal(cursor_cstr(&c, &s), -EBADMSG);
	assert_true(span_eq_str(s, "ab"));
	assert_int_equal(cursor_be16(&c, &v2), -EBADMSG);
	assert_int_equal(cursor_le16(&c, &v2), -EBADMSG);
	assert_int_equal(cursor_be32(&c, &v4), -EBADMSG);
	assert_int_equal(cursor_le32(&c, &v4), -EBADMSG);
	assert_int_equal(cursor_le64(&c, &v8), -EBADMSG);
	assert_int_equal(v2, 9);
	assert_int_equal(v4, 9);
	assert_int_equal(cursor_span(&c, 2, &s), -EBADMSG);
	assert_int_equal(cursor_skip(&c, SIZE_MAX), -EBADMSG);
	assert_int_equal(cursor_u8(&c, &v1), 0);
	assert_int_equal(v1, 'c');
	assert_int_equal(cursor_u8(&c, &v1), -EBADMSG);
	c = cursor_of((struct span){0});
	assert_int_equal(cursor_cstr(&c, &s), -EBADMSG);
	assert_int_equal(cursor_left(&c), 0);
	c = cursor_of(span_of(bytes, sizeof(bytes)));
	assert_int_equal(cursor_le16(&c, &v2), 0);
	assert_int_equal(v2, 0x0201);
	assert_int_equal(cursor_le32(&c, &v4), 0);
	assert_int_equal(v4, 0x06050403);
	assert_int_equal(cursor_rest(&c).len, 6);
	c = cursor_of(span_of(bytes, sizeof(bytes)));
	assert_int_equal(cursor_le64(&c, &v8), 0);
	assert_int_equal(v8, 0x0807060504030201ull);
	c = cursor_of(span_of(bytes, sizeof(bytes)));
	assert_int_equal(cursor_be16(&c, &v2), 0);
	assert_int_equal(v2, 0x0102);
	assert_int_equal(cursor_skip(&c, 2), 0);
	assert_int_equal(cursor_be32(&c, &v4), 0);
	assert_int_equal(v4, 0x05060708);
}

static void utf8_is_strict(void **state)
{
	static const char *const good[] = {"",
					   "a",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf",
					   "a\xe2\x82\xac"
					   "b"};
	static const char *const bad[] = {"\x80",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc2",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xed\xbf\xbf",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "a\xe2\x82",
					  "\xe2\x82"
					  "b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(utf8_valid(span_str(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(utf8_valid(span_str(bad[i])));
	assert_int_equal(utf8_valid_prefix(span_str("\xe2\x82\xac"
						    "b")),
			 3);
	assert_int_equal(utf8_valid_prefix((struct span){0}), 0);
}

static void json_in_is_strict(void **state)
{
	static const char *const bad[] = {"",
					  "{",
					  "{\"a\":1,\"a\":2}",
					  "[1,]",
					  "{} {}",
					  "\"\xff\"",
					  "\"\\u0000\"",
					  "nul",
					  "{\"a\\u0000\":1}",
					  "01"};
	char deep[64];
	json_t *root = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(json_load_strict(span_str(bad[i]), &root), -EBADMSG);
	memset(deep, '[', 17);
	memset(deep + 17, ']', 17);
	assert_int_equal(json_load_strict(span_of(deep, 34), &root), -E2BIG);
	assert_int_equal(json_load_strict(span_of(deep + 1, 32), &root), 0);
	json_decref(root);
	/* Brackets inside a string are text. */
	assert_int_equal(json_load_strict(span_str("\"[[[[[[[[[[[[[[[[[[\\\"[\""), &root), 0);
	json_decref(root);
	assert_int_equal(json_load_strict(span_str(" {\"a\":[1,\"x\"]} "), &root), 0);
	assert_int_equal(json_array_size(json_object_get(root, "a")), 2);
	json_decref(root);
}

static void json_out_is_canonical(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	struct jsonw w;

	(void)state;
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_array(&w, "a");
	jsonw_int(&w, NULL, -5);
	jsonw_uint(&w, NULL, UINT64_MAX);
	jsonw_str(&w, NULL, "x\"\\\n\x7f\xff\xc3\xa9");
	jsonw_str(&w, NULL, NULL);
	jsonw_close(&w);
	jsonw_hex(&w, "b", span_of("\x01\xab", 2));
	jsonw_raw(&w, "c", span_str("{}"));
	jsonw_object(&w, "d");
	jsonw_close(&w);
	assert_int_equal(jsonw_end(&w), -EINVAL); /* still open */
	jsonw_close(&w);
	assert_int_equal(jsonw_end(&w), 0);
	assert_bytes(&b, "{\"a\":[-5,18446744073709551615,\"x\\\"\\\\\\u000a\\u007f\xef\xbf\xbd"
			 "\xc3\xa9\"],\"b\":\"01ab\",\"c\":{},\"d\":{}}");
}

static void json_out_refuses_disorder(void **state)
{
	static const char *const second[] = {"a", "A", "", NULL};
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	char key[JSONW_KEY_MAX + 1];
	struct jsonw w;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(second); i++) {
		jsonw_init(&w, &b);
		jsonw_object(&w, NULL);
		jsonw_int(&w, "a", 1);
		jsonw_int(&w, second[i], 1);
		jsonw_close(&w);
		assert_int_equal(jsonw_end(&w), -EINVAL);
	}
	jsonw_init(&w, &b);
	jsonw_array(&w, NULL);
	jsonw_int(&w, "a", 1);
	assert_int_equal(w.error, -EINVAL);
	jsonw_init(&w, &b);
	jsonw_close(&w);
	assert_int_equal(jsonw_end(&w), -EINVAL);
	jsonw_init(&w, &b);
	for (unsigned i = 0; i <= JSONW_DEPTH_MAX; i++)
		jsonw_array(&w, NULL);
	assert_int_equal(w.error, -EINVAL);
	memset(key, 'k', JSONW_KEY_MAX);
	key[JSONW_KEY_MAX] = '\0';
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_int(&w, key, 1);
	assert_int_equal(w.error, -EINVAL);
	buf_done(&b);
	b = BUF_INIT(3);
	jsonw_init(&w, &b);
	jsonw_str(&w, NULL, "too long");
	assert_int_equal(jsonw_end(&w), -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans),
		cmocka_unit_test(buf_appends_and_consumes),
		cmocka_unit_test(buf_ceiling_sticks),
		cmocka_unit_test(buf_reuses_its_front),
		cmocka_unit_test(arena_ceiling_and_alignment),
		cmocka_unit_test(cursor_never_passes_the_end),
		cmocka_unit_test(utf8_is_strict),
		cmocka_unit_test(json_in_is_strict),
		cmocka_unit_test(json_out_is_canonical),
		cmocka_unit_test(json_out_refuses_disorder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
