#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "audit/json_check.h"
#include "base/jsonw.h"

static const char *const canonical[] = {
	"{}",
	"{\"a\":1}",
	"{\"a\":-1,\"b\":[],\"c\":{},\"d\":\"\"}",
	"{\"a\":[1,\"x\",[{}]],\"aa\":0,\"b\":{\"x\":{\"y\":9223372036854775807}}}",
	"{\"a\":-9223372036854775808}",
	"{\"a\":\"\\\"\\\\\\u0000\\u001f\\u007f\\u000a\"}",
	"{\"a\":\"/\"}",
	"{\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
	"{\"\":1,\"\xc3\xa9\":2}",
	"{\"a\":\"12345678901234567890123456789012\"}",
	"{\"A\":1,\"B\":2,\"a\":3}",
};

static const char *const not_canonical[] = {
	"",
	" {}",
	"{} ",
	"{}\n",
	"{}{}",
	"[]",
	"\"a\"",
	"1",
	"{",
	"}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{,\"a\":1}",
	"{\"a\":1 }",
	"{\"a\": 1}",
	"{\"a\" :1}",
	"{\"b\":1,\"a\":2}",
	"{\"a\":1,\"a\":2}",
	"{\"aa\":1,\"a\":2}",
	"{\"a\":1\"b\":2}",
	"{\"a\":true}",
	"{\"a\":null}",
	"{\"a\":1.5}",
	"{\"a\":1e3}",
	"{\"a\":01}",
	"{\"a\":00}",
	"{\"a\":-0}",
	"{\"a\":-}",
	"{\"a\":+1}",
	"{\"a\":18446744073709551616}",
	"{\"a\":18446744073709551615}",
	"{\"a\":9223372036854775808}",
	"{\"a\":92233720368547758070}",
	"{\"a\":-92233720368547758080}",
	"{\"a\":-9223372036854775809}",
	"{\"a\":[1,]}",
	"{\"a\":[,1]}",
	"{\"a\":[1}",
	"{\"a\":{]}",
	"{\"a\":\"x}",
	"{\"a\":\"\x01\"}",
	"{\"a\":\"\n\"}",
	"{\"a\":\"\x7f\"}",
	"{\"a\":\"\\n\"}",
	"{\"a\":\"\\/\"}",
	"{\"a\":\"\\u0041\"}",
	"{\"a\":\"\\u001F\"}",
	"{\"a\":\"\\u0020\"}",
	"{\"a\":\"\\u00e9\"}",
	"{\"a\":\"\\u0022\"}",
	"{\"a\":\"\\u005c\"}",
	"{\"a\":\"\\u00\"}",
	"{\"a\":\"\\\"}",
	"{\"\\u0001\":1}",
	"{\"a\":\"\xff\"}",
	"{\"a\":\"\xc0\x80\"}",
	"{\"a\":\"\xed\xa0\x80\"}",
	"{\"a\":\"\xe2\x82\"}",
	"{\"a\":\"1234567\x80\"}",
	"{\"a\":\"12345678\x1f\"}",
	"{\"a\":\"\xf4\x90\x80\x80\"}",
	"{'a':1}",
	"{a:1}",
	"\xef\xbb\xbf{}",
};

/* Exactly as long as the text, so that a read past it is seen. */
static int check(struct span s, unsigned depth, size_t *ret_at)
{
	uint8_t *copy = malloc(s.len ? s.len : 1);
	int r;

	assert_non_null(copy);
	if (s.len > 0)
		memcpy(copy, s.p, s.len);
	r = json_check(span_of(copy, s.len), depth, ret_at);
	free(copy);
	return r;
}

static void test_accepts_canonical(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(canonical); i++) {
		if (check(span_str(canonical[i]), 16, NULL) != 0)
			fail_msg("refused: %s", canonical[i]);
	}
}

static void test_refuses_all_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(not_canonical); i++) {
		if (check(span_str(not_canonical[i]), 16, NULL) != -EBADMSG)
			fail_msg("accepted: %s", not_canonical[i]);
	}
	assert_int_equal(check(span_of("{\"a\":\"\0\"}", 9), 16, NULL), -EBADMSG);
}

/* Every beginning of a canonical text is refused, and every byte changed to a few others. */
static void test_refuses_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(canonical); i++) {
		for (size_t n = 0; n < strlen(canonical[i]); n++)
			assert_int_equal(check(span_of(canonical[i], n), 16, NULL), -EBADMSG);
	}
}

static void test_depth(void **state)
{
	char text[256];

	(void)state;
	for (unsigned depth = 1; depth <= 17; depth++) {
		size_t n = 0;

		text[n++] = '{';
		if (depth > 1) {
			memcpy(text + n, "\"a\":", 4);
			n += 4;
		}
		for (unsigned i = 1; i < depth; i++)
			text[n++] = '[';
		for (unsigned i = 1; i < depth; i++)
			text[n++] = ']';
		text[n++] = '}';
		assert_int_equal(check(span_of(text, n), 16, NULL), depth <= 16 ? 0 : -EBADMSG);
		assert_int_equal(check(span_of(text, n), 3, NULL), depth <= 3 ? 0 : -EBADMSG);
	}
}

static void test_says_where(void **state)
{
	size_t at = 0;

	(void)state;
	assert_int_equal(check(span_str("{\"a\":1,\"b\":x}"), 16, &at), -EBADMSG);
	assert_int_equal(at, 11);
	assert_int_equal(check(span_str("{}x"), 16, &at), -EBADMSG);
	assert_int_equal(at, 2);
}

/* Whatever the writer writes is accepted: each byte, alone and after others. */
static void test_accepts_what_jsonw_writes(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		_cleanup_buf_ struct buf b = BUF_INIT(4096);
		uint8_t text[12];
		struct jsonw w;

		memset(text, 'x', sizeof(text));
		text[7] = text[9] = (uint8_t)c;
		jsonw_init(&w, &b);
		jsonw_object(&w, NULL);
		jsonw_span(&w, "a", span_of(text, sizeof(text)));
		jsonw_int(&w, "b", INT64_MIN);
		jsonw_uint(&w, "c", INT64_MAX);
		jsonw_array(&w, "d");
		jsonw_hex(&w, NULL, span_of(text, 3));
		jsonw_close(&w);
		jsonw_close(&w);
		assert_int_equal(jsonw_end(&w), 0);
		assert_int_equal(check(buf_span(&b), 16, NULL), 0);
	}
}

static void test_member(void **state)
{
	struct span body = span_str("{\"a\":{\"session\":\"no\"},\"n\":12,\"session\":\"s-1\","
				    "\"t\":\"x\\\"y\"}");
	struct span v;
	struct span text;

	(void)state;
	assert_int_equal(json_member(body, "session", &v), 0);
	assert_true(span_eq_str(v, "\"s-1\""));
	assert_int_equal(json_plain_string(v, &text), 0);
	assert_true(span_eq_str(text, "s-1"));
	assert_int_equal(json_member(body, "n", &v), 0);
	assert_true(span_eq_str(v, "12"));
	assert_int_equal(json_plain_string(v, &text), -EINVAL);
	assert_int_equal(json_member(body, "t", &v), 0);
	assert_int_equal(json_plain_string(v, &text), -EINVAL);
	assert_int_equal(json_member(body, "b", &v), -ENOENT);
	assert_int_equal(json_member(body, "", &v), -ENOENT);
	assert_int_equal(json_member(span_str("{}"), "a", &v), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts_canonical),
		cmocka_unit_test(test_refuses_all_else),
		cmocka_unit_test(test_refuses_every_cut),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_says_where),
		cmocka_unit_test(test_accepts_what_jsonw_writes),
		cmocka_unit_test(test_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
