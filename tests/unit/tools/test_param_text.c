#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* The file itself: the tools are not an archive. */
#include "tools/param_text.c"

static void shows(const char *json, size_t max, const char *want)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	json_t *param = json_loads(json, JSON_DECODE_ANY, NULL);

	assert_non_null(param);
	param_put(&out, param, max);
	buf_put_u8(&out, 0);
	assert_string_equal((const char *)buf_span(&out).p, want);
	json_decref(param);
}

static void each_form(void **state)
{
	(void)state;
	shows("{\"text\":\"1\",\"type\":\"int2\"}", 0, "1 (int2)");
	shows("{\"text\":\"ann\"}", 0, "'ann'");
	shows("{\"text\":\"\"}", 0, "''");
	shows("{\"text\":\"ann\",\"type\":\"varchar\"}", 0, "'ann' (varchar)");
	shows("{\"null\":1}", 0, "NULL");
	shows("{\"hex\":\"0001\",\"type\":\"bytea\"}", 0, "\\x0001 (bytea)");
	shows("{\"hex\":\"0001\",\"type\":3802}", 0, "\\x0001 (binary, type 3802)");
	shows("{\"hex\":\"0001\",\"type\":\"int4\"}", 0, "\\x0001 (binary, type int4)");
	shows("{\"hex\":\"00\"}", 0, "\\x00 (binary, type not known)");
	shows("7", 0, "NULL");
}

/* No text looks like what is told of another, or does anything to a terminal. */
static void text_that_would_deceive(void **state)
{
	(void)state;
	shows("{\"text\":\"1 (int2)\"}", 0, "'1 (int2)'");
	shows("{\"text\":\"1' (int2)\"}", 0, "'1'' (int2)'");
	shows("{\"text\":\"NULL\"}", 0, "'NULL'");
	shows("{\"text\":\"a\\u001b[2Jb\\n\"}", 0, "'a\\x1b[2Jb\\n'");
	shows("{\"text\":\"''\"}", 0, "''''''");
	shows("{\"text\":\"ab\\u00e9d\"}", 3, "'ab…'");
	shows("{\"text\":\"abc\"}", 3, "'abc'");
	shows("{\"hex\":\"aabbcc\"}", 4, "\\xaabb… (binary, type not known)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form),
		cmocka_unit_test(text_that_would_deceive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
