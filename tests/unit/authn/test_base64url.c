#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "authn/base64url.h"

/* RFC 4648 section 10, without padding; and the two characters that differ from base64. */
static const struct {
	const char *bytes;
	const char *text;
} pairs[] = {
	{"", ""},	    {"f", "Zg"},	  {"fo", "Zm8"},	  {"foo", "Zm9v"},
	{"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"},
};

static void both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(64);
		uint8_t bytes[64];
		size_t n = 99;

		assert_int_equal(base64url_encode(span_str(pairs[i].bytes), &out), 0);
		assert_true(span_eq_str(buf_span(&out), pairs[i].text));
		assert_int_equal(
			base64url_decode(span_str(pairs[i].text), bytes, sizeof(bytes), &n), 0);
		assert_true(span_eq_str(span_of(bytes, n), pairs[i].bytes));
	}
}

static void every_length(void **state)
{
	uint8_t bytes[300];
	uint8_t back[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + 13);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1024);
		size_t len = 0;

		assert_int_equal(base64url_encode(span_of(bytes, n), &out), 0);
		assert_true(n <= BASE64URL_DECODED_MAX(buf_len(&out)));
		assert_int_equal(base64url_decode(buf_span(&out), back, n, &len), 0);
		assert_true(span_eq(span_of(back, len), span_of(bytes, n)));
		if (n > 0)
			assert_int_equal(base64url_decode(buf_span(&out), back, n - 1, &len),
					 -ENOBUFS);
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"Zg==",	 "Zg=",	     "Zh",     "Zm9=",	"Zm8=", "Zm9",	"Z",
		"Zm9vY", "Zm 9v",    "Zm9v\n", " Zm9v", "Zm9+", "Zm9/", "Zm\t9v",
		"Zm9v.", "\xc3\xa9", "A",      "AB",	"AAB",	"=",
	};
	uint8_t bytes[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t n = 99;

		if (base64url_decode(span_str(bad[i]), bytes, sizeof(bytes), &n) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(n, 99);
	}
	assert_int_equal(base64url_decode(span_of("Zm\0v", 4), bytes, sizeof(bytes), &(size_t){0}),
			 -EBADMSG);
}

/* One text for one run of bytes: what decodes, encodes to the same. */
static void canonical(void **state)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t accepted = 0;

	(void)state;
	for (size_t i = 0; i < 64; i++)
		for (size_t j = 0; j < 64; j++) {
			char text[3] = {alphabet[i], alphabet[j]};
			_cleanup_buf_ struct buf out = BUF_INIT(16);
			uint8_t byte;
			size_t n;

			if (base64url_decode(span_str(text), &byte, 1, &n) < 0)
				continue;
			accepted++;
			base64url_encode(span_of(&byte, n), &out);
			assert_true(span_eq_str(buf_span(&out), text));
		}
	assert_int_equal(accepted, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
		cmocka_unit_test(every_length),
		cmocka_unit_test(refused),
		cmocka_unit_test(canonical),
	};

	return cmocka_run_group_tests_name("authn/base64url", tests, NULL, NULL);
}
