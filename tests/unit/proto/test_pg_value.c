#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/op.h"
#include "proto/postgres/pg_value.h"

#define BOOL	    16
#define BYTEA	    17
#define INT8	    20
#define INT2	    21
#define INT4	    23
#define TEXT	    25
#define OID	    26
#define JSON	    114
#define FLOAT4	    700
#define FLOAT8	    701
#define VARCHAR	    1043
#define DATE	    1082
#define TIMESTAMP   1114
#define TIMESTAMPTZ 1184
#define NUMERIC	    1700
#define UUID	    2950
#define JSONB	    3802

#define BYTES(bytes_)                                         \
	{                                                     \
		(const uint8_t *)(bytes_), sizeof(bytes_) - 1 \
	}
#define SPAN(bytes_) span_of(bytes_, sizeof(bytes_) - 1)

/* Bytes are what PostgreSQL 15 sends: SELECT encode(int4send(…), 'hex') and its like. */
static const struct {
	uint32_t oid;
	struct span value;
	const char *text;
} values[] = {
	{BOOL, BYTES("\1"), "true"},
	{BOOL, BYTES("\0"), "false"},
	{INT2, BYTES("\0\1"), "1"},
	{INT2, BYTES("\x80\0"), "-32768"},
	{INT4, BYTES("\x7f\xff\xff\xff"), "2147483647"},
	{INT4, BYTES("\xff\xff\xff\xff"), "-1"},
	{INT8, BYTES("\x80\0\0\0\0\0\0\0"), "-9223372036854775808"},
	{OID, BYTES("\xff\xff\xff\xff"), "4294967295"},
	{FLOAT8, BYTES("\x40\xb0\0\0\0\0\0\0"), "4096"},
	{FLOAT8, BYTES("\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1"},
	{FLOAT8, BYTES("\x3f\xd3\x33\x33\x33\x33\x33\x34"), "0.30000000000000004"},
	{FLOAT8, BYTES("\xbf\xf8\0\0\0\0\0\0"), "-1.5"},
	{FLOAT8, BYTES("\x7f\xf0\0\0\0\0\0\0"), "Infinity"},
	{FLOAT8, BYTES("\xff\xf0\0\0\0\0\0\0"), "-Infinity"},
	{FLOAT8, BYTES("\x7f\xf8\0\0\0\0\0\0"), "NaN"},
	{FLOAT8, BYTES("\x40\x59\0\0\0\0\0\0"), "100"},
	{FLOAT8, BYTES("\x44\x15\xaf\x1d\x78\xb5\x8c\x40"), "1e+20"},
	{FLOAT4, BYTES("\x3d\xcc\xcc\xcd"), "0.1"},
	{FLOAT4, BYTES("\x60\xad\x78\xec"), "1e+20"},
	{NUMERIC, BYTES("\0\2\0\0\0\0\0\2\0\x0c\x0d\x48"), "12.34"},
	{NUMERIC, BYTES("\0\2\0\1\x40\0\0\0\0\1\x09\x29"), "-12345"},
	{NUMERIC, BYTES("\0\1\0\2\0\0\0\0\0\1"), "100000000"},
	{NUMERIC, BYTES("\0\1\xff\xfe\0\0\0\x06\0\x64"), "0.000001"},
	{NUMERIC, BYTES("\0\0\0\0\0\0\0\0"), "0"},
	{NUMERIC, BYTES("\0\0\0\0\0\0\0\2"), "0.00"},
	{NUMERIC, BYTES("\0\0\0\0\xc0\0\0\0"), "NaN"},
	{NUMERIC, BYTES("\0\0\0\0\xf0\0\0\0"), "-Infinity"},
	{TEXT, BYTES("na\xc3\xafve"), "na\xc3\xafve"},
	{TEXT, BYTES(""), ""},
	{VARCHAR, BYTES("x"), "x"},
	{JSON, BYTES("{\"a\":1}"), "{\"a\":1}"},
	{JSONB, BYTES("\1[1]"), "[1]"},
	{UUID, BYTES("\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd\x38\x0a\x11"),
	 "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
	{DATE, BYTES("\0\0\0\0"), "2000-01-01"},
	{DATE, BYTES("\xff\xff\xff\xff"), "1999-12-31"},
	{DATE, BYTES("\0\0\0\x3b"), "2000-02-29"},
	{DATE, BYTES("\0\0\x23\xb9"), "2025-01-14"},
	{DATE, BYTES("\xff\xda\x97\xcd"), "4713-01-01 BC"},
	{DATE, BYTES("\xff\xf4\xdb\xf8"), "0001-12-31 BC"},
	{DATE, BYTES("\xff\xda\x97\xa7"), "4714-11-24 BC"},
	{DATE, BYTES("\x7f\xda\x97\x0c"), "5874897-12-31"},
	{DATE, BYTES("\x7f\xff\xff\xff"), "infinity"},
	{TIMESTAMP, BYTES("\x7f\xff\xff\x47\x95\xdb\x40\0"), "294276-12-31 00:00:00"},
	{TIMESTAMP, BYTES("\0\0\0\0\0\0\0\0"), "2000-01-01 00:00:00"},
	{TIMESTAMP, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), "1999-12-31 23:59:59.999999"},
	{TIMESTAMPTZ, BYTES("\0\0\0\0\0\x16\xe3\x60"), "2000-01-01 00:00:01.5+00"},
	{TIMESTAMPTZ, BYTES("\x80\0\0\0\0\0\0\0"), "-infinity"},
};

/* Not a value of its type: then it is shown as bytes. */
static const struct {
	uint32_t oid;
	struct span value;
	int error;
} others[] = {
	{0, BYTES("\0\1"), -EOPNOTSUPP},
	{BYTEA, BYTES("abc"), -EOPNOTSUPP},
	{1007, BYTES("\0\0\0\1"), -EOPNOTSUPP},
	{BOOL, BYTES(""), -EBADMSG},
	{BOOL, BYTES("\2"), -EBADMSG},
	{BOOL, BYTES("\1\1"), -EBADMSG},
	{INT2, BYTES("\1"), -EBADMSG},
	{INT2, BYTES("\0\0\1"), -EBADMSG},
	{INT4, BYTES("\0\1"), -EBADMSG},
	{INT4, BYTES("\0\0\0\0\1"), -EBADMSG},
	{INT8, BYTES("\0\0\0\1"), -EBADMSG},
	{INT8, BYTES("\0\0\0\0\0\0\0\0\1"), -EBADMSG},
	{OID, BYTES(""), -EBADMSG},
	{FLOAT4, BYTES("\0\0\0"), -EBADMSG},
	{FLOAT8, BYTES("\0\0\0\0"), -EBADMSG},
	{TEXT, BYTES("a\0b"), -EBADMSG},
	{TEXT, BYTES("\xe4"), -EBADMSG},
	{JSONB, BYTES("\0\1"), -EBADMSG},
	{JSONB, BYTES(""), -EBADMSG},
	{UUID, BYTES("123456789012345"), -EBADMSG},
	{UUID, BYTES("12345678901234567"), -EBADMSG},
	{DATE, BYTES("\0\0\0"), -EBADMSG},
	{DATE, BYTES("\xff\xda\x97\xa6"), -EBADMSG}, /* before the calendar begins */
	{DATE, BYTES("\x7f\xda\x97\x0d"), -EBADMSG},
	{TIMESTAMP, BYTES("\0\0\0\0"), -EBADMSG},
	{TIMESTAMP, BYTES("\x7f\xff\xff\xff\xff\xff\xff\xfe"), -EBADMSG},
	{NUMERIC, BYTES("\0\1\0\0\0\0\0\0"), -EBADMSG},		/* a digit is missing */
	{NUMERIC, BYTES("\0\1\0\0\0\0\0\0\x27\x10"), -EBADMSG}, /* 10000 is none */
	{NUMERIC, BYTES("\0\0\0\0\x12\x34\0\0"), -EBADMSG},
	{NUMERIC, BYTES("\0\0\0\0\0\0\xff\xff"), -EBADMSG},
	{NUMERIC, BYTES("\0\1\x7f\xff\0\0\0\0\0\1"), -EBADMSG}, /* 131,072 digits */
	{NUMERIC, BYTES("\xff\xff\0\0\0\0\0\0"), -EBADMSG},
	{NUMERIC, BYTES("\0\0\0\0\0\0\0\0\0"), -EBADMSG},
};

static void as_the_server_writes_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		char buffer[PG_VALUE_TEXT_MAX];
		struct span text;

		assert_int_equal(
			pg_value_text(values[i].oid, values[i].value, false, buffer, &text), 0);
		if (!span_eq_str(text, values[i].text))
			fail_msg("%zu: %.*s, not %s", i, SPAN_FMT(text), values[i].text);
		assert_non_null(pg_type_name(values[i].oid));
	}
}

static void what_is_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		char buffer[PG_VALUE_TEXT_MAX];
		struct span text = SPAN("untouched");
		int r = pg_value_text(others[i].oid, others[i].value, false, buffer, &text);

		if (r != others[i].error)
			fail_msg("%zu: %d, not %d", i, r, others[i].error);
		assert_true(span_eq_str(text, "untouched"));
	}
	assert_null(pg_type_name(0));
	assert_null(pg_type_name(1007));
	assert_string_equal(pg_type_name(BYTEA), "bytea");
}

/* A value that was cut: text by its beginning, whole characters; of the rest nothing is known. */
static void cut_values(void **state)
{
	char buffer[PG_VALUE_TEXT_MAX];
	struct span text;

	(void)state;
	assert_int_equal(pg_value_text(TEXT, SPAN("ab\xe2\x82"), true, buffer, &text), 0);
	assert_true(span_eq_str(text, "ab"));
	assert_int_equal(pg_value_text(TEXT, SPAN("ab\xe2\x82"), false, buffer, &text), -EBADMSG);
	assert_int_equal(pg_value_text(TEXT, SPAN("\xff\xff\xff\xff\xff"), true, buffer, &text),
			 -EBADMSG);
	assert_int_equal(pg_value_text(INT4, SPAN("\0\0\0\1"), true, buffer, &text), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_server_writes_them),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(cut_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
