#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/session.h"
#include "session/sql_names.h"

static struct sql_class prepare_of(const char *name, uint32_t verbs, const char *table,
				   struct sql_statement *st, struct sql_table *t)
{
	*t = (struct sql_table){.schema = "public", .name = table, .access = SQL_READ};
	*st = (struct sql_statement){
		.verbs = SQL_PREPARE | verbs,
		.kind = "PrepareStmt",
		.name = name,
		.n_tables = 1,
		.tables = t,
	};
	return (struct sql_class){.verbs = st->verbs, .n_statements = 1, .statements = st};
}

static struct sql_class use_of(const char *name, uint32_t verb, struct sql_statement *st)
{
	*st = (struct sql_statement){.verbs = verb, .kind = "ExecuteStmt", .name = name};
	return (struct sql_class){.verbs = verb, .n_statements = 1, .statements = st};
}

static void learn_class(struct sql_names *n, const struct sql_class *class)
{
	const struct op op = {.kind = OP_RUN, .sql = class};

	sql_names_learn(n, &op);
}

static void an_unknown_name_is_unknown(void **state)
{
	struct arena arena = ARENA_INIT(65536);
	struct sql_statement st;
	struct sql_class use = use_of("p", SQL_EXECUTE, &st);
	struct sql_names n;
	const struct sql_class *joined;

	(void)state;
	sql_names_init(&n);
	joined = sql_names_join(&n, &use, &arena);
	assert_non_null(joined);
	assert_true(joined->verbs & SQL_UNKNOWN);
	assert_true(joined->statements[0].verbs & SQL_UNKNOWN);
	/* What came in is not changed. */
	assert_false(use.verbs & SQL_UNKNOWN);
	arena_done(&arena);
	sql_names_done(&n);
}

static void a_name_stands_for_all_it_was_given(void **state)
{
	struct arena arena = ARENA_INIT(65536);
	struct sql_statement a;
	struct sql_statement b;
	struct sql_statement st;
	struct sql_table ta;
	struct sql_table tb;
	struct sql_class first = prepare_of("p", SQL_SELECT, "customers", &a, &ta);
	struct sql_class second = prepare_of("p", SQL_DELETE, "orders", &b, &tb);
	struct sql_class use = use_of("p", SQL_EXECUTE, &st);
	struct sql_range range = {.alias = "c", .schema = "public", .table = "customers"};
	const struct sql_class *joined;
	struct sql_names n;

	(void)state;
	a.ranges = &range;
	a.n_ranges = 1;
	sql_names_init(&n);
	learn_class(&n, &first);
	learn_class(&n, &first); /* the same again takes no room */
	assert_int_equal(n.n, 1);
	learn_class(&n, &second);
	/* The texts they came from go away. */
	memset(&range, 0, sizeof(range));
	memset(&ta, 0, sizeof(ta));
	memset(&a, 0, sizeof(a));
	joined = sql_names_join(&n, &use, &arena);
	assert_non_null(joined);
	assert_int_equal(joined->verbs, SQL_EXECUTE | SQL_SELECT | SQL_DELETE);
	assert_int_equal(joined->statements[0].n_ranges, 1);
	assert_string_equal(joined->statements[0].ranges[0].table, "customers");
	assert_int_equal(joined->statements[0].n_tables, 2);
	assert_string_equal(joined->statements[0].tables[0].name, "orders");
	assert_string_equal(joined->statements[0].tables[1].name, "customers");
	arena_done(&arena);
	sql_names_done(&n);
}

static void a_statement_the_protocol_names_counts_too(void **state)
{
	struct arena arena = ARENA_INIT(65536);
	struct sql_table t = {.name = "customers", .access = SQL_WRITE};
	struct sql_statement parsed = {
		.verbs = SQL_UPDATE, .kind = "", .n_tables = 1, .tables = &t};
	struct sql_class class = {.verbs = SQL_UPDATE, .n_statements = 1, .statements = &parsed};
	const struct op op = {.kind = OP_PREPARE, .name = "s1", .sql = &class};
	struct sql_statement st;
	struct sql_class use = use_of("s1", SQL_EXECUTE, &st);
	const struct sql_class *joined;
	struct sql_names n;

	(void)state;
	sql_names_init(&n);
	sql_names_learn(&n, &op);
	joined = sql_names_join(&n, &use, &arena);
	assert_non_null(joined);
	assert_int_equal(joined->verbs, SQL_EXECUTE | SQL_UPDATE);
	arena_done(&arena);
	sql_names_done(&n);
}

static void more_names_than_are_kept_are_unknown(void **state)
{
	struct arena arena = ARENA_INIT(65536);
	struct sql_statement a;
	struct sql_statement st;
	struct sql_table ta;
	struct sql_names n;
	char name[16];

	(void)state;
	sql_names_init(&n);
	for (int i = 0; i <= SQL_NAMES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "p%d", i);
		struct sql_class class = prepare_of(name, SQL_SELECT, "t", &a, &ta);

		learn_class(&n, &class);
	}
	assert_true(n.overflow);
	struct sql_class use = use_of("p0", SQL_EXECUTE, &st);
	const struct sql_class *joined = sql_names_join(&n, &use, &arena);

	assert_non_null(joined);
	assert_true(joined->verbs & SQL_UNKNOWN);
	arena_done(&arena);
	sql_names_done(&n);
}

static void without_room_there_is_no_answer(void **state)
{
	struct arena arena = ARENA_INIT(16);
	struct sql_statement st;
	struct sql_class use = use_of("p", SQL_EXECUTE, &st);
	struct sql_names n;

	(void)state;
	sql_names_init(&n);
	assert_null(sql_names_join(&n, &use, &arena));
	arena_done(&arena);
	sql_names_done(&n);
}

static void states_move_only_as_the_diagrams_say(void **state)
{
	enum op_state op = OP_PARSED;
	struct session *s = calloc(1, sizeof(*s));

	(void)state;
	assert_non_null(s);
	assert_int_equal(op_move(&op, OP_FORWARDED), -EPROTO);
	assert_int_equal(op_move(&op, OP_DECIDED), 0);
	assert_int_equal(op_move(&op, OP_FORWARDED), -EPROTO);
	assert_int_equal(op_move(&op, OP_HELD), 0);
	assert_int_equal(op_move(&op, OP_RECORDED), -EPROTO);
	assert_int_equal(op_move(&op, OP_APPROVED), 0);
	assert_int_equal(op_move(&op, OP_RECORDED), 0);
	assert_int_equal(op_move(&op, OP_FORWARDED), 0);
	assert_int_equal(op_move(&op, OP_DONE), 0);
	assert_int_equal(op_move(&op, OP_PARSED), -EPROTO);

	s->state = SESSION_AUTHN;
	assert_int_equal(session_move(s, SESSION_READY), -EPROTO);
	assert_int_equal(session_move(s, SESSION_LOGIN), -EPROTO);
	assert_int_equal(session_move(s, SESSION_ADMITTED), 0);
	assert_int_equal(session_move(s, SESSION_LOGIN), 0);
	assert_int_equal(session_move(s, SESSION_READY), 0);
	assert_int_equal(session_move(s, SESSION_DRAIN), 0);
	assert_int_equal(session_move(s, SESSION_READY), -EPROTO);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_name_is_unknown),
		cmocka_unit_test(a_name_stands_for_all_it_was_given),
		cmocka_unit_test(a_statement_the_protocol_names_counts_too),
		cmocka_unit_test(more_names_than_are_kept_are_unknown),
		cmocka_unit_test(without_room_there_is_no_answer),
		cmocka_unit_test(states_move_only_as_the_diagrams_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
