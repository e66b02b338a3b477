#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/postgres/pg_settings.h"

static int check(const char *name, const char *value, struct pg_settings *ret)
{
	static struct arena arena;
	const struct proto_param param = {name, value};
	char why[256] = "";
	int r;

	arena_done(&arena);
	arena = ARENA_INIT(65536);
	r = pg_settings_check(&param, 1, &arena, ret, why, sizeof(why));
	if (r < 0)
		assert_true(*why != '\0');
	return r;
}

static void harmless_settings_pass(void **state)
{
	struct pg_settings s;

	(void)state;
	assert_int_equal(check("application_name", "psql", &s), 0);
	assert_true(s.path_known);
	assert_int_equal(s.n_params, 1);
	assert_string_equal(s.params[0].value, "psql");
	assert_int_equal(check("DateStyle", "Postgres, MDY", &s), 0);
	assert_int_equal(check("client_encoding", "UTF8", &s), 0);
	assert_int_equal(check("options", "", &s), 0);
	assert_int_equal(s.n_params, 0);
	assert_int_equal(check("options", "-c intervalstyle=postgres_verbose", &s), 0);
	assert_int_equal(s.n_params, 1);
	assert_string_equal(s.params[0].name, "intervalstyle");
	assert_int_equal(check("options", "-cjit=off --extra-float-digits=0", &s), 0);
	assert_int_equal(s.n_params, 2);
	assert_string_equal(s.params[1].name, "extra_float_digits");
	assert_true(s.path_known);
}

static void the_search_path_is_noticed_in_every_spelling(void **state)
{
	static const char *const spellings[] = {
		"-c search_path=x",	"-csearch_path=x",     "--search-path=x",
		"--search_path=x",	"-c SEARCH_PATH=x",    "-c search\\_path=x",
		"-c sear\\ch_path=a,b", "  -c  search_path=x",
	};
	struct pg_settings s;

	(void)state;
	assert_int_equal(check("search_path", "x", &s), 0);
	assert_false(s.path_known);
	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
		assert_int_equal(check("options", spellings[i], &s), 0);
		assert_false(s.path_known);
	}
}

static void what_changes_reading_or_rights_is_refused(void **state)
{
	static const char *const options[] = {
		"-c standard_conforming_strings=off",
		"--standard-conforming-strings=off",
		"-c standard\\_conforming_strings=off",
		"-c role=postgres",
		"-c session_authorization=postgres",
		"-c client_encoding=SJIS",
		"-c",
		"-c novalue",
		"-d 5",
		"-P",
		"-W 60",
		"-c jit=off -c role=x",
		"--role=x",
		"-c local_preload_libraries=x",
	};
	struct pg_settings s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		assert_true(check("options", options[i], &s) < 0);
	assert_true(check("standard_conforming_strings", "off", &s) < 0);
	assert_true(check("client_encoding", "SJIS", &s) < 0);
	assert_true(check("client_encoding", "GBK", &s) < 0);
	assert_true(check("role", "postgres", &s) < 0);
	assert_true(check("replication", "database", &s) < 0);
	assert_true(check("made_up", "1", &s) < 0);
}

static void a_change_of_setting_is_judged(void **state)
{
	(void)state;
	assert_false(pg_setting_keeps_path("search_path"));
	assert_true(pg_setting_keeps_path("all"));
	assert_true(pg_setting_keeps_lexing("all", NULL));
	assert_false(pg_setting_keeps_path("role"));
	assert_false(pg_setting_keeps_path(""));
	assert_true(pg_setting_keeps_path("timezone"));
	assert_false(pg_setting_keeps_lexing("standard_conforming_strings", "off"));
	assert_false(pg_setting_keeps_lexing("standard_conforming_strings", NULL));
	assert_true(pg_setting_keeps_lexing("standard_conforming_strings", "on"));
	assert_false(pg_setting_keeps_lexing("client_encoding", "big5"));
	assert_false(pg_setting_keeps_lexing("client_encoding", NULL));
	assert_true(pg_setting_keeps_lexing("client_encoding", "utf8"));
	assert_false(pg_setting_keeps_lexing("", "x"));
	assert_true(pg_setting_keeps_lexing("timezone", NULL));
}

static void many_settings_are_bounded(void **state)
{
	char options[(PROTO_STARTUP_PARAMS_MAX + 1) * 11 + 1];
	struct pg_settings s;

	(void)state;
	for (size_t n = 0; n <= PROTO_STARTUP_PARAMS_MAX; n++)
		memcpy(options + n * 11, "-c jit=off ", 12);
	assert_int_equal(check("options", options, &s), -E2BIG);
	options[PROTO_STARTUP_PARAMS_MAX * 11] = '\0';
	assert_int_equal(check("options", options, &s), 0);
	assert_int_equal(s.n_params, PROTO_STARTUP_PARAMS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(harmless_settings_pass),
		cmocka_unit_test(the_search_path_is_noticed_in_every_spelling),
		cmocka_unit_test(what_changes_reading_or_rights_is_refused),
		cmocka_unit_test(a_change_of_setting_is_judged),
		cmocka_unit_test(many_settings_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
