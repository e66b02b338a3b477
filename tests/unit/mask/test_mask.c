#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "mask/mask.h"

#define TEXT 25

static const struct {
	const char *in;
	const char *out;
} last4[] = {
	{"", ""},
	{"1", "*"},
	{"1234567", "*******"},
	{"12345678", "****5678"},
	{"123-45-6789", "***-**-6789"},
	{"4111 1111 1111 1234", "**** **** **** 1234"},
	{"DE89 3704 0044 0532 0130 00", "**** **** **** **** **30 00"},
	{"(555) 123-4567", "(***) ***-4567"},
	{"2024-01-31", "****-01-31"},
	/* Fewer than eight, however many separators. */
	{"12-34", "*****"},
	{"- - - - - - - -", "***************"},
	{"1-2-3-4-5-6-7", "*************"},
	{"1-2-3-4-5-6-7-8", "*-*-*-*-5-6-7-8"},
	/* Blank-padded char(12). */
	{"123456789   ", "*****6789   "},
	/* Neither letter, digit nor separator: never stays, wherever it stands. */
	{"!!!!!!!!", "********"},
	{"12345678$", "****5678*"},
	{"1234$5678\n", "*****5678*"},
	{"secret\tpassword", "***********word"},
	/* Masked already. */
	{"***-**-6789", "***-**-6789"},
	{"*****", "*****"},
	/* Beyond ASCII. */
	{"M\xc3\xbcllers\xc3\xb6hne", "*******\xc3\xb6hne"},
	{"\xe5\xb1\xb1\xe7\x94\xb0", "**"},
	{"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
	 "abcd",
	 "****abcd"},
	{"12345678\xe2\x80\xae", "****5678*"},
	/* Not UTF-8: Latin-1, cut, a surrogate, too long a form, not a character. */
	{"M\xfcller 123456789", "[redacted]"},
	{"123456789\xc3", "[redacted]"},
	{"123456789\xed\xa0\x80", "[redacted]"},
	{"123456789\xc0\xaf", "[redacted]"},
	{"\xff", "[redacted]"},
};

static void masked(enum mask_kind kind, uint32_t oid, struct span in, struct span out)
{
	_cleanup_buf_ struct buf b = BUF_INIT(65536);

	buf_put_str(&b, "before");
	assert_int_equal(mask_text(kind, oid, in, &b), 1);
	assert_true(span_eq_str(span_head(buf_span(&b), 6), "before"));
	if (!span_eq(span_skip(buf_span(&b), 6), out))
		fail_msg("%.*s: %.*s", SPAN_FMT(in), SPAN_FMT(buf_span(&b)));
}

static void table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(last4); i++) {
		masked(MASK_LAST4, TEXT, span_str(last4[i].in), span_str(last4[i].out));
		masked(MASK_REDACT, TEXT, span_str(last4[i].in), span_str("[redacted]"));
	}
	/* A NUL, which PostgreSQL does not send, hides nothing behind it. */
	masked(MASK_LAST4, TEXT, span_of("1234\0005678", 9), span_str("*****5678"));
}

static void types(void **state)
{
	static const uint32_t texts[] = {25, 1043, 1042, 19, 705};
	/* int4, numeric, date, bool, bytea, uuid, json, jsonb, xml, inet, text[], varchar[],
	 * record, none, and types of extensions. */
	static const uint32_t others[] = {23,  1700, 1082, 16,	 17,   2950, 114,   3802,
					  142, 869,  1009, 1015, 2249, 0,    16384, 4294967295u};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		masked(MASK_LAST4, texts[i], span_str("123456789"), span_str("*****6789"));
		masked(MASK_REDACT, texts[i], span_str("123456789"), span_str("[redacted]"));
	}
	masked(MASK_LAST4, 18, span_str("x"), span_str("*"));
	masked(MASK_REDACT, 18, span_str("x"), span_str("*"));
	masked(MASK_REDACT, 18, span_str(""), span_str("*"));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(64);

		assert_int_equal(mask_text(MASK_LAST4, others[i], span_str("123456789"), &b), 0);
		assert_int_equal(mask_text(MASK_REDACT, others[i], span_str("123456789"), &b), 0);
		assert_int_equal(buf_len(&b), 0);
	}
}

static void no_kind(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(64);

	(void)state;
	assert_int_equal(mask_text(MASK_NONE, TEXT, span_str("123456789"), &b), 0);
	assert_int_equal(mask_text((enum mask_kind)99, TEXT, span_str("123456789"), &b), 0);
	assert_int_equal(buf_len(&b), 0);
}

static void no_room(void **state)
{
	(void)state;
	for (size_t max = 0; max < 9; max++) {
		_cleanup_buf_ struct buf b = BUF_INIT(max);

		assert_int_equal(mask_text(MASK_LAST4, TEXT, span_str("123456789"), &b), -ENOBUFS);
		assert_int_equal(buf_len(&b), 0);
		buf_reset(&b);
		assert_int_equal(mask_text(MASK_REDACT, TEXT, span_str("123456789"), &b), -ENOBUFS);
		assert_int_equal(buf_len(&b), 0);
	}
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(mask_kind_by_name("last4"), MASK_LAST4);
	assert_int_equal(mask_kind_by_name("redact"), MASK_REDACT);
	assert_int_equal(mask_kind_by_name("none"), MASK_NONE);
	assert_int_equal(mask_kind_by_name("Last4"), MASK_NONE);
	assert_int_equal(mask_kind_by_name(""), MASK_NONE);
	assert_string_equal(mask_kind_name(MASK_LAST4), "last4");
	assert_string_equal(mask_kind_name(MASK_REDACT), "redact");
	assert_string_equal(mask_kind_name(MASK_NONE), "none");
}

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % n;
}

static bool is_separator(uint8_t c)
{
	return c != 0 && strchr(" -./_:,()+", c) != NULL;
}

static bool is_alnum_or_wide(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c >= 0x80;
}

/* Character by character: each is a star, or a separator at its own place, or one of the value's
 * last four letters and digits at its own place. So no run of the value comes through but those. */
static void check_last4(struct span in, struct span out)
{
	size_t left = 0; /* letters and digits from here to the end */
	size_t solid = 0;
	size_t at_in = 0;
	size_t at_out = 0;

	for (struct span s = in; s.len > 0; s = span_skip(s, utf8_valid_prefix(s))) {
		left += is_alnum_or_wide(s.p[0]);
		solid += !is_separator(s.p[0]);
	}
	while (at_in < in.len) {
		size_t n = utf8_valid_prefix(span_skip(in, at_in));
		struct span c = span_head(span_skip(in, at_in), n);
		size_t m = utf8_valid_prefix(span_skip(out, at_out));
		struct span got = span_head(span_skip(out, at_out), m);
		bool may_stay = solid >= 8 &&
				(is_separator(c.p[0]) || (is_alnum_or_wide(c.p[0]) && left <= 4));

		assert_true(m > 0);
		if (may_stay)
			assert_true(span_eq(got, c));
		else
			assert_true(span_eq_str(got, "*"));
		left -= is_alnum_or_wide(c.p[0]);
		at_in += n;
		at_out += m;
	}
	assert_int_equal(at_out, out.len);
}

/* The longest run of letters and digits that input and output share at any place is four. */
static void check_no_run(struct span out)
{
	size_t run = 0;

	for (struct span s = out; s.len > 0; s = span_skip(s, utf8_valid_prefix(s))) {
		run = is_alnum_or_wide(s.p[0]) ? run + 1 : 0;
		assert_true(run <= 4);
	}
}

static void properties(void **state)
{
	static const char *const pieces[] = {"a",
					     "Z",
					     "0",
					     "7",
					     "-",
					     " ",
					     ".",
					     "*",
					     "$",
					     "@",
					     "\t",
					     "\xc3\xa9",
					     "\xe4\xb8\xad",
					     "\xf0\x9f\x98\x80"};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		_cleanup_buf_ struct buf in = BUF_INIT(1024);
		_cleanup_buf_ struct buf out = BUF_INIT(1024);
		_cleanup_buf_ struct buf again = BUF_INIT(1024);
		uint32_t n = random_below(24);

		for (uint32_t i = 0; i < n; i++)
			buf_put_str(&in, pieces[random_below(ARRAY_SIZE(pieces))]);
		assert_int_equal(mask_text(MASK_LAST4, TEXT, buf_span(&in), &out), 1);
		check_last4(buf_span(&in), buf_span(&out));
		check_no_run(buf_span(&out));
		assert_true(buf_len(&out) <= buf_len(&in));
		assert_int_equal(mask_text(MASK_LAST4, TEXT, buf_span(&out), &again), 1);
		assert_true(span_eq(buf_span(&out), buf_span(&again)));
	}
}

/* Bytes of any kind: valid UTF-8 out, and nothing of what was not. */
static void any_bytes(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1024);
		uint8_t in[24];
		struct span s = span_of(in, random_below(sizeof(in)));

		for (size_t i = 0; i < s.len; i++)
			in[i] = (uint8_t)random_below(256);
		assert_int_equal(mask_text(MASK_LAST4, TEXT, s, &out), 1);
		assert_true(utf8_valid(buf_span(&out)));
		if (!utf8_valid(s))
			assert_true(span_eq_str(buf_span(&out), "[redacted]"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),     cmocka_unit_test(types), cmocka_unit_test(no_kind),
		cmocka_unit_test(no_room),   cmocka_unit_test(names), cmocka_unit_test(properties),
		cmocka_unit_test(any_bytes),
	};

	return cmocka_run_group_tests_name("mask", tests, NULL, NULL);
}
