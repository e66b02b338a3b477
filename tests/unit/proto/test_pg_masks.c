/* Results, errors and notices under masks. */
#include "pg_fake.h"

static const size_t steps[] = {SIZE_MAX, 1, 2, 5, 64};

typedef void (*scenario)(struct fake *f);

static void run(scenario s)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct fake f;

		fake_ready(&f, steps[i]);
		f.masked = true;
		f.masks[1] = MASK_REDACT;
		s(&f);
		fake_close(&f);
	}
}

#define TEST(name_)                           \
	static void name_##_(struct fake *f); \
	static void name_(void **state)       \
	{                                     \
		(void)state;                  \
		run(name_##_);                \
	}                                     \
	static void name_##_(struct fake *f)

/* id, ssn, name of table 100. */
static void describe(struct fake *f, uint32_t type)
{
	server_msg(f, 'T', "hzihihihzihihihzihihih", 3, "id", 100u, 1, 23u, 4, 0u, 0, "alias", 100u,
		   2, type, 0, 0u, 0, "name", 100u, 3, 25u, 0, 0u, 0);
}

static size_t find(const struct buf *b, const char *text)
{
	struct span s = buf_span(b);
	const uint8_t *at = s.len ? memmem(s.p, s.len, text, strlen(text)) : NULL;

	return at ? (size_t)(at - s.p) : SIZE_MAX;
}

TEST(rows)
{
	agent_query(f, "select");
	describe(f, 25);
	server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "ann");
	server_msg(f, 'D', "hvnv", 3, "2", "bob");
	server_msg(f, 'D', "hvvn", 3, "3", "away");
	server_msg(f, 'D', "hvvv", 3, "", "", "");
	server_tag(f, "SELECT 4");
	server_ready(f, 'I');
	assert_false(agent_has(f, "6789"));
	assert_true(agent_has(f, "<2:11>"));
	assert_true(agent_has(f, "<2:0>"));
	assert_true(agent_has(f, "bob"));
	assert_false(agent_has(f, "away"));
	expect_agent(f, "TDDDDCZ");
	expect_log(f, "op 1 run select [select]\n"
		      "columns 1 id:100.1 alias:100.2 name:100.3\n"
		      "done 1 SELECT 4 rows=4 masked=3\n");
}

/* The row as written anew, byte for byte. */
TEST(row_bytes)
{
	static const uint8_t want[] = "D\0\0\0\x1d\0\3\0\0\0\1"
				      "1\0\0\0\6<2:11>\0\0\0\4anna";

	agent_query(f, "select");
	describe(f, 25);
	buf_reset(&f->agent);
	server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "anna");
	assert_int_equal(buf_len(&f->agent), sizeof(want) - 1);
	assert_memory_equal(buf_span(&f->agent).p, want, sizeof(want) - 1);
}

TEST(no_column_masked)
{
	f->masks[1] = MASK_NONE;
	agent_query(f, "select");
	describe(f, 25);
	server_msg(f, 'D', "hvvv", 3, "1", "2", "3");
	server_tag(f, "SELECT 1");
	server_ready(f, 'I');
	expect_agent(f, "TDCZ");
}

TEST(columns_refused)
{
	f->columns_result = -EACCES;
	agent_query(f, "select");
	describe(f, 25);
	assert_int_equal(f->last, -EACCES);
	expect_agent(f, "");
}

TEST(columns_wait)
{
	static const uint8_t masks[] = {0, MASK_REDACT, 0};

	f->hold_columns = true;
	agent_query(f, "select");
	describe(f, 25);
	assert_int_equal(f->last, PROTO_HOLD);
	assert_true(server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "ann") > 0);
	expect_agent(f, "");
	assert_int_equal(postgres_ops.columns_ready(f->codec, masks, 2), -EINVAL);
	assert_int_equal(postgres_ops.columns_ready(f->codec, masks, 3), 0);
	server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "ann");
	assert_false(agent_has(f, "6789"));
	expect_agent(f, "TD");
}

static void prepare(struct fake *f)
{
	agent_parse(f, "s", "select");
	agent_sync(f);
	server_msg(f, '1', "");
	server_ready(f, 'I');
	expect_agent(f, "1Z");
	expect_server(f, "PS");
	buf_reset(&f->log);
}

/* The agent does not ask what the columns are: sluice does, and keeps the answer to itself. */
TEST(describe_injected)
{
	prepare(f);
	agent_bind(f, "", "s");
	agent_execute(f, "");
	agent_sync(f);
	expect_server(f, "BDES");
	server_msg(f, '2', "");
	describe(f, 25);
	server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "ann");
	server_tag(f, "SELECT 1");
	server_ready(f, 'I');
	assert_false(agent_has(f, "6789"));
	expect_agent(f, "2DCZ");
}

TEST(describe_asked)
{
	prepare(f);
	agent_bind(f, "p", "s");
	agent_msg(f, 'D', "bz", 'P', "p");
	agent_msg(f, 'E', "zi", "p", 1u);
	/* Something else may have run since: asked anew. */
	agent_msg(f, 'E', "zi", "p", 1u);
	agent_sync(f);
	expect_server(f, "BDEDES");
	server_msg(f, '2', "");
	describe(f, 25);
	server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "ann");
	server_msg(f, 's', "");
	describe(f, 25);
	server_msg(f, 'D', "hvvv", 3, "1", "123-45-6789", "ann");
	server_tag(f, "SELECT 1");
	server_ready(f, 'I');
	assert_false(agent_has(f, "6789"));
	expect_agent(f, "2TDsDCZ");
}

TEST(no_data_injected)
{
	agent_parse(f, "", "insert");
	agent_bind(f, "", "");
	agent_execute(f, "");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_msg(f, 'n', "");
	server_tag(f, "INSERT 0 1");
	server_ready(f, 'I');
	expect_agent(f, "12CZ");
}

TEST(injected_fails)
{
	prepare(f);
	agent_bind(f, "", "s");
	agent_execute(f, "");
	agent_sync(f);
	server_msg(f, '2', "");
	server_error(f, "34000");
	server_ready(f, 'I');
	expect_agent(f, "2EZ");
}

TEST(rows_without_description)
{
	prepare(f);
	agent_bind(f, "", "s");
	agent_execute(f, "");
	server_msg(f, '2', "");
	server_msg(f, 'n', "");
	server_msg(f, 'D', "hv", 1, "123-45-6789");
	assert_int_equal(f->last, -EPROTO);
	assert_false(agent_has(f, "6789"));
	expect_agent(f, "2E");
}

TEST(malformed_rows)
{
	static const char *const rows[] = {
		"\0\3\0\0\0\1x\0\0\0\x63zzzzzzz",
		"\0\3\0\0\0\1x\0\0\0\1y\0\0\0\1zmore",
		"\0\3\0\0\0\1x\xff\xff\xff\xf0\0\0\0\1z..",
		"\0\2\0\0\0\1x\0\0\0\1y\0\0\0\1z..",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(64);
		struct fake g;

		fake_ready(&g, f->step);
		g.masked = true;
		g.masks[1] = MASK_REDACT;
		agent_query(&g, "select");
		describe(&g, 25);
		buf_put_u8(&b, 'D');
		buf_put_be32(&b, 22);
		buf_put(&b, rows[i], 18);
		fake_feed(&g, PROTO_SERVER, buf_span(&b));
		assert_int_equal(g.last, -EPROTO);
		expect_agent(&g, "TE");
		fake_close(&g);
	}
}

/* A row too large to hold: stars, byte for byte. */
static void large_row(struct fake *f, struct buf *row, size_t ssn)
{
	_cleanup_free_ char *text = malloc(ssn + 1);
	_cleanup_free_ char *name = malloc(100001);

	assert_non_null(text);
	assert_non_null(name);
	memset(text, 'q', ssn);
	text[ssn] = '\0';
	memset(name, 'n', 100000);
	name[100000] = '\0';
	put_msg(row, 'D', "hvvv", 3, "1", text, name);
	fake_feed(f, PROTO_SERVER, buf_span(row));
}

TEST(large_rows)
{
	_cleanup_buf_ struct buf row = BUF_INIT(1u << 20);
	_cleanup_buf_ struct buf row2 = BUF_INIT(1u << 20);

	if (f->step < 64)
		return; /* slow */
	agent_query(f, "select");
	describe(f, 1043);
	buf_reset(&f->agent);
	large_row(f, &row, 5);
	assert_int_equal(buf_len(&f->agent), buf_len(&row));
	assert_int_equal(find(&f->agent, "qqqqq"), SIZE_MAX);
	assert_int_equal(find(&f->agent, "*****"), find(&row, "qqqqq"));
	assert_int_equal(find(&f->agent, "nnn"), find(&row, "nnn"));
	buf_reset(&f->agent);
	large_row(f, &row2, 70000);
	assert_int_equal(buf_len(&f->agent), buf_len(&row2));
	assert_int_equal(find(&f->agent, "q"), SIZE_MAX);
	buf_reset(&f->agent);
	server_tag(f, "SELECT 2");
	server_ready(f, 'I');
	expect_agent(f, "CZ");
	buf_reset(&f->log);
}

TEST(large_row_not_text)
{
	_cleanup_buf_ struct buf row = BUF_INIT(1u << 20);

	if (f->step < 64)
		return;
	agent_query(f, "select");
	describe(f, 23);
	large_row(f, &row, 5);
	assert_int_equal(f->last, -EACCES);
	assert_false(agent_has(f, "qqqqq"));
	expect_agent(f, "TE");
}

/* ---- errors and notices ---- */

TEST(errors_stripped)
{
	agent_query(f, "select");
	server_msg(f, 'E', "szszszszszszszszszszb", "S", "ERROR", "V", "ERROR", "C", "23505", "M",
		   "duplicate key value violates unique constraint \"u\"", "D",
		   "Key (ssn)=(secret) already exists.", "H", "secret", "q", "secret", "n", "u",
		   "P", "7", "R", "_bt_check_unique", 0);
	assert_true(agent_has(f, "duplicate key"));
	assert_true(agent_has(f, "P7"));
	assert_false(agent_has(f, "secret"));
	expect_agent(f, "E");
	server_ready(f, 'I');
	agent_query(f, "select");
	server_msg(f, 'E', "szszszszb", "S", "ERROR", "V", "ERROR", "C", "22P02", "M",
		   "invalid input syntax for type integer: \"secret\"", 0);
	assert_false(agent_has(f, "secret"));
	assert_true(agent_has(f, "C22P02"));
	expect_agent(f, "ZE");
	server_ready(f, 'I');
	agent_query(f, "select");
	/* RAISE may give any SQLSTATE. */
	server_msg(f, 'E', "szszszszszb", "S", "ERROR", "V", "ERROR", "C", "42601", "M", "secret",
		   "R", "exec_stmt_raise", 0);
	assert_false(agent_has(f, "secret"));
	server_ready(f, 'I');
	agent_query(f, "select");
	server_msg(f, 'E', "szszszszszb", "S", "ERROR", "V", "ERROR", "C", "42601", "M", "secret",
		   "W", "PL/Perl function \"f\"", 0);
	assert_false(agent_has(f, "secret"));
}

TEST(notices_stripped)
{
	agent_query(f, "select");
	server_msg(f, 'N', "szszszszb", "S", "NOTICE", "V", "NOTICE", "C", "00000", "M", "secret",
		   0);
	assert_false(agent_has(f, "secret"));
	expect_agent(f, "N");
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	/* Also of what is not masked, from then on. */
	f->masked = false;
	agent_query(f, "commit");
	server_msg(f, 'N', "szszszszb", "S", "NOTICE", "V", "NOTICE", "C", "00000", "M", "secret",
		   0);
	assert_false(agent_has(f, "secret"));
	expect_agent(f, "CZN");
}

TEST(large_error)
{
	_cleanup_free_ char *text = malloc(200001);

	if (f->step < 64)
		return;
	assert_non_null(text);
	memset(text, 'q', 200000);
	text[200000] = '\0';
	agent_query(f, "select");
	server_msg(f, 'E', "szszszszszb", "S", "ERROR", "V", "ERROR", "C", "23505", "M", "short",
		   "D", text, 0);
	assert_false(agent_has(f, "qqq"));
	server_ready(f, 'I');
	expect_agent(f, "EZ");
	expect_log(f, "op 1 run select [select]\ndone 1 23505 rows=0 masked=0\n");
}

/* COPY that was not classified, and so not checked, as one. */
TEST(copy_out)
{
	agent_query(f, "select");
	server_msg(f, 'H', "bh", 0, 0);
	assert_int_equal(f->last, -EPROTO);
	expect_agent(f, "E");
}

/* Rows written anew are sent together. */
static void many_rows(void **state)
{
	_cleanup_buf_ struct buf rows = BUF_INIT(1u << 20);
	struct fake f;

	(void)state;
	fake_ready(&f, SIZE_MAX);
	f.masked = true;
	f.masks[1] = MASK_REDACT;
	agent_query(&f, "select");
	describe(&f, 25);
	buf_reset(&f.agent);
	for (int i = 0; i < 100; i++)
		put_msg(&rows, 'D', "hvvv", 3, "1", "123-45-6789", "ann");
	buf_reset(&f.all);
	fake_feed(&f, PROTO_SERVER, buf_span(&rows));
	/* One letter a call, before the bytes. */
	assert_int_equal(buf_len(&f.all), buf_len(&f.agent) + 1);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(row_bytes),
		cmocka_unit_test(no_column_masked),
		cmocka_unit_test(columns_refused),
		cmocka_unit_test(columns_wait),
		cmocka_unit_test(describe_injected),
		cmocka_unit_test(describe_asked),
		cmocka_unit_test(no_data_injected),
		cmocka_unit_test(injected_fails),
		cmocka_unit_test(rows_without_description),
		cmocka_unit_test(malformed_rows),
		cmocka_unit_test(large_rows),
		cmocka_unit_test(large_row_not_text),
		cmocka_unit_test(errors_stripped),
		cmocka_unit_test(notices_stripped),
		cmocka_unit_test(large_error),
		cmocka_unit_test(copy_out),
		cmocka_unit_test(many_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
