/* Every scenario is run with whole and with cut messages, and must do the same. */
#include "pg_fake.h"

static const size_t steps[] = {SIZE_MAX, 1, 2, 5, 64};

typedef void (*scenario)(struct fake *f);

static void run(scenario s)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct fake f;

		fake_ready(&f, steps[i]);
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

/* A result of one text column. */
static void server_rows(struct fake *f, const char *const *values, size_t n)
{
	server_msg(f, 'T', "hzihihih", 1, "a", 100u, 1, 25u, 0, 0u, 0);
	for (size_t i = 0; i < n; i++)
		server_msg(f, 'D', "hv", 1, values[i]);
}

static const char *const two[] = {"x", "y"};

TEST(simple_query)
{
	agent_query(f, "select 1");
	assert_int_equal(f->last, PROTO_MORE);
	expect_server(f, "Q");
	assert_false(postgres_ops.idle(f->codec));
	server_rows(f, two, 2);
	server_tag(f, "SELECT 2");
	server_ready(f, 'I');
	assert_int_equal(f->last, PROTO_MORE);
	expect_agent(f, "TDDCZ");
	expect_log(f, "op 1 run select 1 [select]\ndone 1 SELECT 2 rows=2 masked=0\n");
	assert_true(postgres_ops.idle(f->codec));
}

TEST(many_statements)
{
	agent_query(f, "select 1; select 2; insert");
	server_rows(f, two, 2);
	server_tag(f, "SELECT 2");
	server_rows(f, two, 1);
	server_tag(f, "SELECT 1");
	server_tag(f, "INSERT 0 5");
	server_ready(f, 'T');
	expect_agent(f, "TDDCTDCCZ");
	expect_log(f, "op 1 run select 1; select 2; insert [select]\n"
		      "done 1 INSERT 0 5 rows=8 masked=0\n");
	assert_false(postgres_ops.idle(f->codec));
}

TEST(refused_query)
{
	agent_query(f, "delete from t");
	assert_true(memmem(buf_span(&f->server).p, buf_len(&f->server), "sluice_refused", 14));
	assert_null(memmem(buf_span(&f->server).p, buf_len(&f->server), "delete", 6));
	expect_server(f, "Q");
	assert_int_equal(buf_len(&f->agent), 0);
	server_error(f, "42601");
	assert_true(agent_has(f, "C42501"));
	assert_true(agent_has(f, "Mno rule allows it"));
	assert_true(agent_has(f, "no deletes"));
	assert_true(agent_has(f, "SERROR"));
	server_ready(f, 'E');
	expect_agent(f, "EZ");
	expect_log(f, "op 1 run delete from t [delete]\ndone 1 42501 rows=0 masked=0 not run\n");
	agent_query(f, "select 1");
	expect_server(f, "Q");
}

/* The server ends while it is asked to refuse: that is what the agent must be told. */
TEST(refused_and_server_ends)
{
	agent_query(f, "delete from t");
	server_msg(f, 'E', "szszszszb", "S", "FATAL", "V", "FATAL", "C", "57P01", "M", "bye", 0);
	assert_true(agent_has(f, "C57P01"));
	expect_agent(f, "E");
}

TEST(refused_and_server_takes_it)
{
	agent_query(f, "delete from t");
	server_tag(f, "DELETE 1");
	assert_int_equal(f->last, -EPROTO);
	assert_true(agent_has(f, "C08P01"));
	expect_agent(f, "E");
}

TEST(extended_query)
{
	agent_parse(f, "", "select $1");
	agent_msg(f, 'B', "zzhhhvnhh", "", "", 1, 0, 2, "12", 1, 1);
	agent_msg(f, 'D', "bz", 'P', "");
	agent_execute(f, "");
	agent_sync(f);
	expect_server(f, "PBDES");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_rows(f, two, 2);
	server_tag(f, "SELECT 2");
	server_ready(f, 'I');
	expect_agent(f, "12TDDCZ");
	expect_log(f, "op 1 prepare select $1 [select]\n"
		      "op 2 run select $1 [select] 12 null binary\n"
		      "done 1 rows=0 masked=0 not run\n"
		      "done 2 SELECT 2 rows=2 masked=0\n");
	assert_true(postgres_ops.idle(f->codec));
}

/* Types of bind values: as declared; what was left open, as the server says when it is asked; of a
 * name that SQL may have given another meaning, none. */
TEST(types_of_bind_values)
{
	agent_msg(f, 'P', "zzhii", "s", "select $1, $2", 2, 23u, 0u);
	agent_msg(f, 'B', "zzhhvnh", "", "s", 0, 2, "1", 0);
	agent_msg(f, 'D', "bz", 'S', "s");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_msg(f, 't', "hii", 2, 23u, 1043u);
	server_msg(f, 'n', "");
	server_ready(f, 'I');
	expect_agent(f, "12tnZ");
	agent_msg(f, 'B', "zzhhvvh", "", "s", 0, 2, "1", "x", 0);
	agent_msg(f, 'B', "zzhhvvvh", "p", "s", 0, 3, "1", "x", "y", 0);
	agent_sync(f);
	server_msg(f, '2', "");
	server_msg(f, '2', "");
	server_ready(f, 'T');
	agent_query(f, "deallocate all");
	server_tag(f, "DEALLOCATE ALL");
	server_ready(f, 'T');
	agent_msg(f, 'B', "zzhhvvh", "", "s", 0, 2, "1", "x", 0);
	expect_log(f, "op 1 prepare select $1, $2 [select]\n"
		      "op 2 run select $1, $2 [select] (23) 1 null\n"
		      "done 1 rows=0 masked=0 not run\n"
		      "done 2 rows=0 masked=0 not run\n"
		      "op 3 run select $1, $2 [select] (23) 1 (1043) x\n"
		      "op 4 run select $1, $2 [select] (23) 1 (1043) x y\n"
		      "op 5 run deallocate all [deallocate]\n"
		      "done 3 rows=0 masked=0 not run\n"
		      "done 5 DEALLOCATE ALL rows=0 masked=0\n"
		      "op 6 run select $1, $2 [execute|unknown] 1 x\n");
}

TEST(types_the_server_gets_wrong)
{
	agent_parse(f, "s", "select $1");
	agent_msg(f, 'D', "bz", 'S', "s");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, 't', "hi", 2, 23u);
	assert_int_equal(f->last, -EPROTO);
	assert_true(agent_has(f, "C08P01"));
}

TEST(prepared_statement)
{
	agent_parse(f, "s", "select 1");
	agent_msg(f, 'D', "bz", 'S', "s");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, 't', "h", 0);
	server_msg(f, 'n', "");
	server_ready(f, 'I');
	expect_agent(f, "1tnZ");
	for (int i = 0; i < 3; i++) {
		agent_bind(f, "", "s");
		agent_execute(f, "");
		agent_sync(f);
		server_msg(f, '2', "");
		server_tag(f, "SELECT 0");
		server_ready(f, 'I');
		expect_agent(f, "2CZ");
	}
	expect_log(f, "op 1 prepare select 1 [select]\n"
		      "done 1 rows=0 masked=0 not run\n"
		      "op 2 run select 1 [select]\ndone 2 SELECT 0 rows=0 masked=0\n"
		      "op 3 run select 1 [select]\ndone 3 SELECT 0 rows=0 masked=0\n"
		      "op 4 run select 1 [select]\ndone 4 SELECT 0 rows=0 masked=0\n");
	agent_msg(f, 'C', "bz", 'S', "s");
	agent_bind(f, "", "s");
	expect_log(f, "op 5 run EXECUTE \"s\" [execute|unknown]\n");
}

TEST(row_limits)
{
	agent_parse(f, "", "select 1");
	agent_bind(f, "p", "");
	agent_msg(f, 'E', "zi", "p", 1u);
	agent_msg(f, 'H', "");
	expect_server(f, "PBEH");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_msg(f, 'D', "hv", 1, "x");
	server_msg(f, 's', "");
	expect_agent(f, "12Ds");
	agent_msg(f, 'E', "zi", "p", 1u);
	agent_sync(f);
	server_msg(f, 'D', "hv", 1, "y");
	server_tag(f, "SELECT 1");
	server_ready(f, 'I');
	expect_log(f, "op 1 prepare select 1 [select]\nop 2 run select 1 [select]\n"
		      "done 1 rows=0 masked=0 not run\ndone 2 SELECT 1 rows=2 masked=0\n");
}

/* A portal that has run to its end is asked about again. */
TEST(portal_again)
{
	agent_parse(f, "", "select 1");
	agent_bind(f, "p", "");
	agent_execute(f, "p");
	agent_msg(f, 'H', "");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_tag(f, "SELECT 0");
	agent_execute(f, "p");
	agent_sync(f);
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	expect_log(f, "op 1 prepare select 1 [select]\nop 2 run select 1 [select]\n"
		      "done 1 rows=0 masked=0 not run\ndone 2 SELECT 0 rows=0 masked=0\n"
		      "op 3 run select 1 [select]\ndone 3 SELECT 0 rows=0 masked=0\n");
}

TEST(bound_and_never_run)
{
	agent_parse(f, "", "select 1");
	agent_bind(f, "p", "");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_ready(f, 'I');
	expect_log(f, "op 1 prepare select 1 [select]\nop 2 run select 1 [select]\n"
		      "done 1 rows=0 masked=0 not run\ndone 2 rows=0 masked=0 not run\n");
	agent_execute(f, "p");
	expect_log(f, "op 3 run FETCH FROM \"p\" [fetch|unknown] binary\n");
}

TEST(pipeline_refused_in_the_middle)
{
	agent_parse(f, "", "select 1");
	agent_bind(f, "", "");
	agent_execute(f, "");
	agent_parse(f, "d", "delete from t");
	agent_bind(f, "", "d");
	agent_execute(f, "");
	agent_parse(f, "e", "select 2");
	agent_query(f, "select 3");
	agent_sync(f);
	agent_query(f, "select 4");
	expect_server(f, "PBEPSQ");
	expect_log(f, "op 1 prepare select 1 [select]\nop 2 run select 1 [select]\n"
		      "op 3 prepare delete from t [delete]\nop 4 run select 4 [select]\n");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_tag(f, "SELECT 0");
	server_error(f, "42601");
	assert_true(agent_has(f, "C42501"));
	server_ready(f, 'I');
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	expect_agent(f, "12CEZCZ");
	expect_log(f, "done 1 rows=0 masked=0 not run\ndone 2 SELECT 0 rows=0 masked=0\n"
		      "done 3 42501 rows=0 masked=0 not run\ndone 4 SELECT 0 rows=0 masked=0\n");
}

/* The server fails first: what is refused behind it is skipped like the rest. */
TEST(pipeline_fails_before_refusal)
{
	agent_parse(f, "", "select bad");
	agent_parse(f, "d", "delete from t");
	agent_sync(f);
	server_error(f, "42703");
	assert_true(agent_has(f, "C42703"));
	server_ready(f, 'I');
	expect_agent(f, "EZ");
	expect_log(f, "op 1 prepare select bad [select]\nop 2 prepare delete from t [delete]\n"
		      "done 1 42703 rows=0 masked=0 not run\n"
		      "done 2 42501 rows=0 masked=0 not run\n");
}

/* An error is on its way while the agent sends on: the server skips, and so does the codec. */
TEST(skips_with_the_server)
{
	agent_parse(f, "", "select bad");
	agent_msg(f, 'H', "");
	expect_server(f, "PH");
	server_error(f, "42703");
	agent_bind(f, "", "");
	agent_execute(f, "");
	agent_query(f, "select 1");
	agent_msg(f, 'H', "");
	expect_server(f, "");
	agent_sync(f);
	expect_server(f, "S");
	server_ready(f, 'I');
	expect_log(f, "op 1 prepare select bad [select]\ndone 1 42703 rows=0 masked=0 not run\n");
}

/* Decided only after the server has failed: not sent. */
TEST(held_while_the_server_fails)
{
	agent_parse(f, "", "select bad");
	agent_parse(f, "s", "select hold");
	expect_server(f, "P");
	assert_int_equal(f->last, PROTO_HOLD);
	server_error(f, "42703");
	expect_agent(f, "E");
	assert_int_equal(fake_decide(f, 2, true), 0);
	agent_bind(f, "", "s");
	agent_sync(f);
	expect_server(f, "S");
	server_ready(f, 'I');
	expect_log(f, "op 1 prepare select bad [select]\nop 2 prepare select hold [select]\n"
		      "done 1 42703 rows=0 masked=0 not run\n"
		      "done 2 rows=0 masked=0 not run\n");
}

/* A timeout of the server's between two messages of the extended protocol. */
TEST(error_between_messages)
{
	agent_parse(f, "s", "select 1");
	agent_msg(f, 'H', "");
	server_msg(f, '1', "");
	server_error(f, "57014");
	agent_bind(f, "", "s");
	agent_sync(f);
	expect_server(f, "PHS");
	server_ready(f, 'I');
	expect_agent(f, "1EZ");
}

/* ---- names ---- */

/* The second Parse of a name fails in the server: the first one stays. */
TEST(name_taken_twice)
{
	agent_parse(f, "s", "select 1");
	agent_sync(f);
	server_msg(f, '1', "");
	server_ready(f, 'I');
	agent_parse(f, "s", "insert 2");
	agent_bind(f, "", "s");
	agent_sync(f);
	server_error(f, "42P05");
	server_ready(f, 'I');
	agent_bind(f, "", "s");
	expect_log(f, "op 1 prepare select 1 [select]\ndone 1 rows=0 masked=0 not run\n"
		      "op 2 prepare insert 2 [insert]\nop 3 run insert 2 [insert]\n"
		      "done 2 42P05 rows=0 masked=0 not run\ndone 3 rows=0 masked=0 not run\n"
		      "op 4 run select 1 [select]\n");
}

/* Close and Parse anew are skipped: the old text still is what runs. */
TEST(name_given_anew_in_vain)
{
	agent_parse(f, "s", "insert 1");
	agent_sync(f);
	server_msg(f, '1', "");
	server_ready(f, 'I');
	agent_parse(f, "", "select bad");
	agent_msg(f, 'C', "bz", 'S', "s");
	agent_parse(f, "s", "select 2");
	agent_sync(f);
	expect_server(f, "PSPCPS");
	agent_bind(f, "", "s");
	/* Not asked about while the answer is not known. */
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "");
	server_error(f, "42703");
	server_ready(f, 'I');
	fake_feed(f, PROTO_AGENT, span_of("", 1)); /* its last byte */
	expect_log(f, "op 1 prepare insert 1 [insert]\ndone 1 rows=0 masked=0 not run\n"
		      "op 2 prepare select bad [select]\nop 3 prepare select 2 [select]\n"
		      "done 2 42703 rows=0 masked=0 not run\ndone 3 rows=0 masked=0 not run\n"
		      "op 4 run insert 1 [insert]\n");
}

/* What the agent sends at once, as far as it is taken; the rest stays. */
static void feed_kept(struct fake *f, struct buf *b)
{
	size_t left = fake_feed(f, PROTO_AGENT, buf_span(b));

	buf_consume(b, buf_len(b) - left);
}

#define put_parse(b_, name_, text_)  put_msg((b_), 'P', "zzh", name_, text_, 0)
#define put_bind(b_, portal_, name_) put_msg((b_), 'B', "zzhhh", portal_, name_, 0, 0, 0)
#define put_execute(b_, portal_)     put_msg((b_), 'E', "zi", portal_, 0u)
#define put_sync(b_)		     put_msg((b_), 'S', "")

static void prepared(struct fake *f, const char *name, const char *text)
{
	agent_parse(f, name, text);
	agent_sync(f);
	server_msg(f, '1', "");
	server_ready(f, 'I');
	expect_server(f, "PS");
	expect_agent(f, "1Z");
	buf_reset(&f->log);
}

/* The second Parse fails, but that Bind is of the next batch: it is of the first text. */
TEST(bind_behind_a_parse_in_vain)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	prepared(f, "p", "insert 1");
	put_parse(&b, "p", "select 1");
	put_sync(&b);
	put_bind(&b, "", "p");
	put_execute(&b, "");
	put_sync(&b);
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "PS");
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_log(f, "op 2 prepare select 1 [select]\n");
	server_error(f, "42P05");
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_MORE);
	assert_int_equal(buf_len(&b), 0);
	expect_server(f, "BES");
	expect_log(f, "done 2 42P05 rows=0 masked=0 not run\nop 3 run insert 1 [insert]\n");
	server_ready(f, 'I');
	server_msg(f, '2', "");
	server_tag(f, "INSERT 0 1");
	server_ready(f, 'I');
	expect_agent(f, "EZ2CZ");
	expect_log(f, "done 3 INSERT 0 1 rows=1 masked=0\n");
}

/* The same where the Parse is skipped, of the statement without a name. */
TEST(bind_behind_a_parse_skipped)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	prepared(f, "", "insert 1");
	put_parse(&b, "q", "select nocol");
	put_parse(&b, "", "select 1");
	put_sync(&b);
	put_bind(&b, "", "");
	put_execute(&b, "");
	put_sync(&b);
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "PPS");
	server_error(f, "42703");
	server_ready(f, 'I');
	feed_kept(f, &b);
	assert_int_equal(buf_len(&b), 0);
	expect_server(f, "BES");
	expect_log(f, "op 2 prepare select nocol [select]\nop 3 prepare select 1 [select]\n"
		      "done 2 42703 rows=0 masked=0 not run\ndone 3 rows=0 masked=0 not run\n"
		      "op 4 run insert 1 [insert]\n");
}

/* A Close that may have been skipped leaves it open too; what describes waits like what runs. */
TEST(names_behind_a_close_skipped)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	prepared(f, "p", "insert 1");
	put_parse(&b, "q", "select nocol");
	put_msg(&b, 'C', "bz", 'S', "p");
	put_sync(&b);
	put_msg(&b, 'D', "bz", 'S', "p");
	put_bind(&b, "", "p");
	put_sync(&b);
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "PCS");
	server_error(f, "42703");
	server_ready(f, 'I');
	feed_kept(f, &b);
	expect_server(f, "DBS");
	expect_log(f, "op 2 prepare select nocol [select]\n"
		      "done 2 42703 rows=0 masked=0 not run\nop 3 run insert 1 [insert]\n");
}

/* Query ends a batch as well, and is skipped like the rest where Parse fails. */
TEST(bind_behind_a_query)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	prepared(f, "p", "insert 1");
	put_parse(&b, "p", "select 1");
	put_msg(&b, 'Q', "z", "select 2");
	put_bind(&b, "", "p");
	put_execute(&b, "");
	put_sync(&b);
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "PQ");
	server_error(f, "42P05");
	feed_kept(f, &b);
	assert_int_equal(buf_len(&b), 0);
	expect_server(f, "S");
	server_ready(f, 'I');
	expect_agent(f, "EZ");
	expect_log(f, "op 2 prepare select 1 [select]\nop 3 run select 2 [select]\n"
		      "done 2 42P05 rows=0 masked=0 not run\ndone 3 rows=0 masked=0 not run\n");
}

/* A Bind that fails leaves the portal as it was: Execute and Describe are of that one. */
static void portal_in_vain(struct fake *f, char type)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	char expect[] = "?S";

	agent_query(f, "begin");
	server_tag(f, "BEGIN");
	server_ready(f, 'T');
	agent_parse(f, "i", "insert 1");
	agent_parse(f, "s", "select 1");
	agent_bind(f, "c", "i");
	agent_execute(f, "c");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_tag(f, "INSERT 0 1"); /* what was decided has run */
	server_ready(f, 'T');
	expect_server(f, "QPPBES");
	buf_reset(&f->log);
	put_bind(&b, "c", "s");
	put_sync(&b);
	if (type == 'E')
		put_execute(&b, "c");
	else
		put_msg(&b, 'D', "bz", 'P', "c");
	put_sync(&b);
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "BS");
	expect_log(f, "op 5 run select 1 [select]\n");
	server_error(f, "42P03");
	server_ready(f, 'E');
	feed_kept(f, &b);
	assert_int_equal(buf_len(&b), 0);
	expect[0] = type;
	expect_server(f, expect);
}

TEST(execute_behind_a_bind_in_vain)
{
	portal_in_vain(f, 'E');
	expect_log(f, "done 5 42P03 rows=0 masked=0 not run\nop 6 run insert 1 [insert]\n");
}

TEST(describe_behind_a_bind_in_vain)
{
	portal_in_vain(f, 'D');
	expect_log(f, "done 5 42P03 rows=0 masked=0 not run\n");
}

/* Names that are sure, and those of the same batch, do not wait: batch after batch goes out. */
TEST(pipeline_of_batches)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	prepared(f, "p", "insert 1");
	for (int i = 0; i < 3; i++) {
		put_parse(&b, "", "select 1");
		put_bind(&b, "", "");
		put_msg(&b, 'D', "bz", 'P', "");
		put_execute(&b, "");
		put_bind(&b, "c", "p");
		put_execute(&b, "c");
		put_msg(&b, 'C', "bz", 'P', "c");
		put_sync(&b);
	}
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_MORE);
	assert_int_equal(buf_len(&b), 0);
	expect_server(f, "PBDEBECSPBDEBECSPBDEBECS");
}

/* A statement prepared in one batch and used in the next waits for its own answer only. */
TEST(prepared_in_the_batch_before)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	put_parse(&b, "p", "select 1");
	put_bind(&b, "", "p");
	put_execute(&b, "");
	put_sync(&b);
	put_bind(&b, "", "p");
	put_execute(&b, "");
	put_sync(&b);
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_HOLD);
	expect_server(f, "PBES");
	server_msg(f, '1', "");
	feed_kept(f, &b);
	assert_int_equal(f->last, PROTO_MORE);
	assert_int_equal(buf_len(&b), 0);
	expect_server(f, "BES");
	expect_log(f, "op 1 prepare select 1 [select]\nop 2 run select 1 [select]\n"
		      "done 1 rows=0 masked=0 not run\nop 3 run select 1 [select]\n");
}

/* SQL gives the name to another statement behind the protocol's back. */
TEST(name_taken_over_by_sql)
{
	agent_parse(f, "s", "select 1");
	agent_sync(f);
	server_msg(f, '1', "");
	server_ready(f, 'I');
	agent_query(f, "deallocate s");
	server_tag(f, "DEALLOCATE");
	server_ready(f, 'I');
	agent_query(f, "prepare s as insert");
	server_tag(f, "PREPARE");
	server_ready(f, 'I');
	buf_reset(&f->log);
	agent_bind(f, "", "s");
	expect_log(f, "op 4 run select 1 [execute|unknown]\n");
}

/* … and does so by Execute of what was bound before the name was given. */
TEST(name_taken_over_late)
{
	agent_parse(f, "a", "deallocate s");
	agent_parse(f, "b", "prepare s as insert");
	agent_bind(f, "pa", "a");
	agent_bind(f, "pb", "b");
	agent_parse(f, "s", "select 1");
	agent_execute(f, "pa");
	agent_execute(f, "pb");
	buf_reset(&f->log);
	agent_bind(f, "", "s");
	expect_log(f, "op 6 run select 1 [execute|unknown]\n");
}

TEST(names_after_unknown_text)
{
	agent_parse(f, "s", "select 1");
	agent_parse(f, "", "select 2");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, '1', "");
	server_ready(f, 'I');
	agent_parse(f, "u", "do something");
	agent_bind(f, "u", "u");
	agent_execute(f, "u");
	agent_sync(f);
	/* It waits: what is unknown may be a COPY. */
	assert_int_equal(f->last, PROTO_HOLD);
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_tag(f, "DO");
	agent_sync(f);
	server_ready(f, 'I');
	buf_reset(&f->log);
	agent_bind(f, "", "s");
	/* The unnamed statement is out of SQL's reach. */
	agent_bind(f, "", "");
	expect_log(f, "op 5 run select 1 [execute|unknown]\nop 6 run select 2 [select]\n");
}

/* A cursor of SQL under the name of a portal. */
TEST(portal_taken_over_by_sql)
{
	agent_query(f, "begin");
	server_tag(f, "BEGIN");
	server_ready(f, 'T');
	agent_parse(f, "", "select 1");
	agent_bind(f, "p", "");
	agent_sync(f);
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_ready(f, 'T');
	agent_query(f, "close p");
	server_tag(f, "CLOSE CURSOR");
	server_ready(f, 'T');
	agent_query(f, "declare p cursor for select secret");
	server_tag(f, "DECLARE CURSOR");
	server_ready(f, 'T');
	buf_reset(&f->log);
	agent_execute(f, "p");
	expect_log(f, "op 6 run select 1 [fetch|unknown] binary\n");
}

/* The portal may be gone by an end of transaction that is not known of yet. */
TEST(portal_declared_by_sql)
{
	agent_parse(f, "", "select 1");
	agent_bind(f, "p", "");
	agent_query(f, "declare p cursor for select secret");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	buf_reset(&f->log);
	agent_execute(f, "p");
	expect_log(f, "op 4 run select 1 [fetch|unknown] binary\n");
}

/* What is closed takes no room. */
static void closed_names(void **state)
{
	struct fake f;
	char name[16];

	(void)state;
	fake_ready(&f, SIZE_MAX);
	for (int i = 0; i < 9000; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		agent_parse(&f, name, "select 1");
		agent_msg(&f, 'C', "bz", 'S', name);
		agent_sync(&f);
		server_msg(&f, '1', "");
		server_msg(&f, '3', "");
		server_ready(&f, 'I');
		expect_server(&f, "PCS");
	}
	agent_parse(&f, "a", "select 1");
	agent_parse(&f, "b", "select 1");
	assert_null(memmem(buf_span(&f.server).p, buf_len(&f.server), "sluice_refused", 14));
	fake_close(&f);
}

/* The server compares 63 bytes of a name; longer ones would be two names to us and one to it. */
TEST(name_too_long)
{
	char name[80];

	memset(name, 'n', sizeof(name) - 1);
	name[79] = '\0';
	agent_parse(f, name, "select 1");
	agent_bind(f, "", name);
	agent_sync(f);
	expect_server(f, "PS");
	server_error(f, "42601");
	assert_true(agent_has(f, "C42622"));
	server_ready(f, 'I');
	expect_agent(f, "EZ");
	expect_log(f, "");
	agent_query(f, "select 1");
	expect_server(f, "Q");
}

/* What is not ASCII is converted by a setting that may change: not kept. */
TEST(name_not_ascii)
{
	agent_parse(f, "\xc3\xa9", "select 1");
	agent_bind(f, "", "\xc3\xa9");
	expect_log(f, "op 1 prepare select 1 [select]\n"
		      "op 2 run EXECUTE \"\xc3\xa9\" [execute|unknown]\n");
}

TEST(query_ends_the_unnamed)
{
	agent_parse(f, "", "select 1");
	agent_query(f, "select 2");
	agent_bind(f, "", "");
	expect_log(f, "op 1 prepare select 1 [select]\nop 2 run select 2 [select]\n"
		      "op 3 run EXECUTE \"\" [execute|unknown]\n");
}

TEST(portals_end_with_the_transaction)
{
	prepared(f, "", "select 1");
	agent_bind(f, "p", "");
	agent_sync(f);
	/* Bound in the next batch, before the end of the first is known. */
	agent_bind(f, "q", "");
	server_msg(f, '2', "");
	server_ready(f, 'I');
	server_msg(f, '2', "");
	buf_reset(&f->log);
	agent_execute(f, "q");
	expect_log(f, "");
	agent_execute(f, "p");
	expect_log(f, "op 4 run FETCH FROM \"p\" [fetch|unknown] binary\n");
}

TEST(too_many_statements)
{
	char name[16];
	char t[16];

	for (int i = 0; i < 4096; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		agent_parse(f, name, "select 1");
		server_msg(f, '1', "");
	}
	types_of(&f->server, t, sizeof(t));
	types_of(&f->agent, t, sizeof(t));
	agent_parse(f, "more", "select 1");
	agent_sync(f);
	expect_server(f, "PS");
	server_error(f, "42601");
	assert_true(agent_has(f, "C53400"));
	server_ready(f, 'I');
	expect_agent(f, "EZ");
	/* Closing helps. */
	agent_msg(f, 'C', "bz", 'S', "s7");
	server_msg(f, '3', "");
	agent_parse(f, "more", "select 1");
	expect_server(f, "CP");
}

/* ---- how text is read ---- */

TEST(odd_settings)
{
	agent_query(f, "select 'a\\'");
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	expect_log(f, "op 1 run select 'a\\' [select]\ndone 1 SELECT 0 rows=0 masked=0\n");
	/* Sent, and not yet known what it does. */
	agent_query(f, "set standard_conforming_strings off");
	agent_query(f, "select 1");
	agent_query(f, "select 'a\\'");
	expect_log(f, "op 2 run set standard_conforming_strings off [set]\n"
		      "op 3 run select 1 [select]\nop 4 run select 'a\\' [unknown]\n");
	server_tag(f, "SET");
	server_msg(f, 'S', "zz", "standard_conforming_strings", "off");
	server_ready(f, 'I');
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	buf_reset(&f->log);
	agent_query(f, "select 'a\\'");
	expect_log(f, "op 5 run select 'a\\' [unknown]\n");
	server_tag(f, "SELECT 0");
	server_msg(f, 'S', "zz", "standard_conforming_strings", "on");
	server_ready(f, 'I');
	buf_reset(&f->log);
	agent_query(f, "select 'a\\'");
	/* It was off once: the end of a transaction that is under way may bring that back. */
	agent_query(f, "select 'a\\'");
	expect_log(f, "op 6 run select 'a\\' [select]\nop 7 run select 'a\\' [unknown]\n");
}

TEST(odd_encoding)
{
	server_msg(f, 'S', "zz", "client_encoding", "SJIS");
	agent_query(f, "select '\x81\x5c'");
	expect_log(f, "op 1 run select '\x81\x5c' [unknown]\n");
	server_tag(f, "SELECT 0");
	server_ready(f, 'I');
	buf_reset(&f->log);
	agent_query(f, "select 1");
	expect_log(f, "op 2 run select 1 [select]\n");
}

/* ---- COPY ---- */

TEST(copy_in)
{
	agent_query(f, "copy in");
	/* What comes now is held until the server says what it makes of it. */
	assert_true(agent_msg(f, 'd', "s", "1\n") > 0);
	assert_int_equal(f->last, PROTO_HOLD);
	server_msg(f, 'G', "bh", 0, 0);
	agent_msg(f, 'd', "s", "1\n");
	agent_msg(f, 'H', "");
	agent_sync(f);
	agent_msg(f, 'd', "s", "2\n");
	agent_msg(f, 'c', "");
	expect_server(f, "Qddc");
	assert_true(agent_query(f, "select 1") > 0);
	server_tag(f, "COPY 2");
	assert_true(agent_query(f, "select 1") > 0);
	server_ready(f, 'I');
	agent_query(f, "select 1");
	expect_server(f, "Q");
	expect_agent(f, "GCZ");
	expect_log(f, "op 1 run copy in [insert|copy_in]\ndone 1 COPY 2 rows=2 masked=0\n"
		      "op 2 run select 1 [select]\n");
}

TEST(copy_in_twice_in_one_text)
{
	agent_query(f, "copy in; copy in");
	server_msg(f, 'G', "bh", 0, 0);
	agent_msg(f, 'c', "");
	assert_true(agent_msg(f, 'd', "s", "1\n") > 0);
	server_tag(f, "COPY 0");
	server_msg(f, 'G', "bh", 0, 0);
	agent_msg(f, 'd', "s", "1\n");
	agent_msg(f, 'f', "z", "no more");
	expect_server(f, "Qcdf");
	server_error(f, "57014");
	server_ready(f, 'I');
	expect_agent(f, "GCGEZ");
}

TEST(copy_in_extended)
{
	agent_parse(f, "", "copy in");
	agent_bind(f, "", "");
	agent_execute(f, "");
	expect_server(f, "PBEH");
	assert_true(agent_sync(f) > 0);
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_msg(f, 'G', "bh", 0, 0);
	/* As the server would, in COPY. */
	agent_sync(f);
	agent_msg(f, 'd', "s", "1\n");
	agent_msg(f, 'c', "");
	agent_sync(f);
	expect_server(f, "dcS");
	server_tag(f, "COPY 1");
	server_ready(f, 'I');
	expect_agent(f, "12GCZ");
}

TEST(copy_in_fails)
{
	agent_parse(f, "", "copy in");
	agent_bind(f, "", "");
	agent_execute(f, "");
	server_msg(f, '1', "");
	server_msg(f, '2', "");
	server_msg(f, 'G', "bh", 0, 0);
	agent_msg(f, 'd', "s", "1\n");
	server_error(f, "22P04");
	/* Still sending: ignored by the server, too. */
	agent_msg(f, 'd', "s", "2\n");
	agent_msg(f, 'c', "");
	agent_sync(f);
	expect_server(f, "PBEHdS");
	server_ready(f, 'I');
	agent_query(f, "select 1");
	expect_server(f, "Q");
}

TEST(copy_in_and_something_else)
{
	agent_query(f, "copy in");
	server_msg(f, 'G', "bh", 0, 0);
	expect_agent(f, "G");
	agent_query(f, "select 1");
	assert_int_equal(f->last, -EPROTO);
	expect_agent(f, "E");
}

TEST(copy_in_not_asked_for)
{
	agent_query(f, "select 1");
	server_msg(f, 'G', "bh", 0, 0);
	assert_int_equal(f->last, -EPROTO);
	expect_agent(f, "E");
}

TEST(copy_out)
{
	agent_query(f, "copy out");
	server_msg(f, 'H', "bh", 0, 0);
	server_msg(f, 'd', "s", "1\n");
	server_msg(f, 'd', "s", "2\n");
	server_msg(f, 'c', "");
	server_tag(f, "COPY 2");
	server_ready(f, 'I');
	expect_agent(f, "HddcCZ");
	expect_log(f, "op 1 run copy out [select|copy_out]\ndone 1 COPY 2 rows=2 masked=0\n");
}

TEST(copy_data_unasked)
{
	agent_msg(f, 'd', "s", "1\n");
	agent_msg(f, 'c', "");
	expect_server(f, "");
	agent_query(f, "select 1");
	expect_server(f, "Q");
}

/* ---- other messages ---- */

TEST(function_call)
{
	agent_msg(f, 'F', "ihhhvh", 1215u, 0, 1, 1, "x", 0);
	assert_int_equal(f->last, -EPROTO); /* formats: one code announced by 0 */
	expect_agent(f, "E");
}

TEST(function_call_good)
{
	agent_msg(f, 'F', "ihhvh", 1215u, 0, 1, "x", 1);
	expect_server(f, "F");
	server_msg(f, 'V', "v", "y");
	server_ready(f, 'I');
	expect_agent(f, "VZ");
	expect_log(f, "op 1 run function call by OID \"1215\" [call|function_call] x binary\n"
		      "done 1 rows=1 masked=0\n");
}

TEST(function_call_masked)
{
	f->masked = true;
	agent_msg(f, 'F', "ihhvh", 1215u, 0, 1, "x", 1);
	expect_server(f, "Q");
	server_error(f, "42601");
	assert_true(agent_has(f, "C0A000"));
	server_ready(f, 'I');
	expect_agent(f, "EZ");
}

TEST(terminate)
{
	agent_msg(f, 'X', "");
	assert_int_equal(f->last, PROTO_CLOSE);
	expect_server(f, "X");
	assert_int_equal(buf_len(&f->agent), 0);
}

TEST(asynchronous)
{
	server_msg(f, 'A', "izz", 5u, "channel", "");
	server_msg(f, 'S', "zz", "TimeZone", "UTC");
	server_msg(f, 'N', "szszszszb", "S", "NOTICE", "V", "NOTICE", "C", "00000", "M", "x", 0);
	server_msg(f, 'E', "szszszszb", "S", "FATAL", "V", "FATAL", "C", "57P01", "M", "x", 0);
	expect_agent(f, "ASNE");
}

static void expect_fatal_protocol(struct fake *f)
{
	assert_true(f->last == -EPROTO || f->last == -EMSGSIZE);
	assert_true(agent_has(f, "C08P01"));
	assert_true(agent_has(f, "SFATAL"));
	expect_agent(f, "E");
	/* Nothing is taken any more, nothing said twice. */
	assert_true(agent_query(f, "select 1") > 0);
	assert_int_equal(f->last, -EPROTO);
	expect_agent(f, "");
}

#define BAD_AGENT(name_, ...)              \
	TEST(name_)                        \
	{                                  \
		agent_msg(f, __VA_ARGS__); \
		expect_fatal_protocol(f);  \
		expect_server(f, "");      \
		expect_log(f, "");         \
	}
BAD_AGENT(bad_type, 'y', "")
BAD_AGENT(bad_password, 'p', "z", "secret")
BAD_AGENT(bad_query_no_nul, 'Q', "s", "select 1")
BAD_AGENT(bad_query_two, 'Q', "zz", "select 1", "delete")
BAD_AGENT(bad_query_empty, 'Q', "")
BAD_AGENT(bad_parse, 'P', "zz", "", "select 1")
BAD_AGENT(bad_parse_types, 'P', "zzh", "", "select 1", 7)
BAD_AGENT(bad_bind, 'B', "zzhh", "", "", 0, 3)
BAD_AGENT(bad_bind_value, 'B', "zzhhish", "", "", 0, 1, 99u, "short", 0)
BAD_AGENT(bad_bind_negative, 'B', "zzhhih", "", "", 0, 1, 0xfffffff0u, 0)
BAD_AGENT(bad_bind_more, 'B', "zzhhhs", "", "", 0, 0, 0, "x")
BAD_AGENT(bad_describe, 'D', "bz", 'Q', "")
BAD_AGENT(bad_execute, 'E', "z", "")
BAD_AGENT(bad_close, 'C', "z", "")
BAD_AGENT(bad_sync, 'S', "b", 0)
BAD_AGENT(bad_terminate, 'X', "b", 0)
BAD_AGENT(bad_function, 'F', "ih", 1u, 0)

TEST(bad_lengths)
{
	static const uint8_t small[] = {'Q', 0, 0, 0, 3};
	static const uint8_t negative[] = {'Q', 0xff, 0xff, 0xff, 0xff};
	static const uint8_t large_execute[] = {'E', 0, 1, 0, 0};
	static const struct span bad[] = {
		{small, sizeof(small)},
		{negative, sizeof(negative)},
		{large_execute, sizeof(large_execute)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fake g;

		fake_ready(&g, f->step);
		fake_feed(&g, PROTO_AGENT, bad[i]);
		expect_fatal_protocol(&g);
		fake_close(&g);
	}
}

#define BAD_SERVER(name_, query_, ...)          \
	TEST(name_)                             \
	{                                       \
		if (*(query_))                  \
			agent_query(f, query_); \
		server_msg(f, __VA_ARGS__);     \
		expect_fatal_protocol(f);       \
	}
BAD_SERVER(odd_authentication, "select", 'R', "i", 0u)
BAD_SERVER(odd_key, "select", 'K', "ii", 1u, 2u)
BAD_SERVER(odd_ready, "", 'Z', "b", 'I')
BAD_SERVER(odd_ready_early, "select", 'Z', "b", 'I')
BAD_SERVER(odd_row, "select", 'D', "hv", 1, "x")
BAD_SERVER(odd_row_unasked, "", 'D', "hv", 1, "x")
BAD_SERVER(odd_complete, "", 'C', "z", "SELECT 1")
BAD_SERVER(odd_parse_complete, "select", '1', "")
BAD_SERVER(odd_suspended, "select", 's', "")
BAD_SERVER(odd_both, "select", 'W', "bh", 0, 0)
BAD_SERVER(odd_copy_data, "select", 'd', "s", "x")
BAD_SERVER(odd_type, "select", 'q', "")
BAD_SERVER(odd_function, "select", 'V', "v", "x")
BAD_SERVER(odd_error, "select", 'E', "s", "SERROR")
BAD_SERVER(odd_setting, "", 'S', "z", "a")
BAD_SERVER(odd_no_count, "select", 'T', "b", 0)

TEST(odd_row_count)
{
	agent_query(f, "select");
	server_rows(f, two, 1);
	expect_agent(f, "TD");
	server_msg(f, 'D', "hvv", 2, "x", "y");
	assert_int_equal(f->last, -EPROTO);
	expect_agent(f, "E");
}

TEST(odd_status)
{
	agent_query(f, "select");
	server_tag(f, "SELECT 0");
	server_ready(f, 'Q');
	assert_int_equal(f->last, -EPROTO);
	expect_agent(f, "CE");
}

/* ---- what sluice itself says ---- */

TEST(notices)
{
	const struct proto_error n = {"NOTICE", "00000", "waiting", NULL, NULL};
	_cleanup_buf_ struct buf row = BUF_INIT(1024);

	agent_query(f, "select");
	assert_int_equal(postgres_ops.notice(f->codec, &n), 0);
	expect_agent(f, "N");
	server_rows(f, two, 1);
	put_msg(&row, 'D', "hv", 1, "a long value");
	fake_feed(f, PROTO_SERVER, span_head(buf_span(&row), 12));
	assert_int_equal(postgres_ops.notice(f->codec, &n), 0);
	assert_int_equal(postgres_ops.notice(f->codec, &n), 0);
	fake_feed(f, PROTO_SERVER, span_skip(buf_span(&row), 12));
	expect_agent(f, "TDDNN");
}

TEST(fatal)
{
	const struct proto_error e = {"FATAL", "57P01", "over", NULL, NULL};

	agent_query(f, "select hold");
	assert_int_equal(postgres_ops.fatal(f->codec, &e), 0);
	assert_true(agent_has(f, "C57P01"));
	expect_agent(f, "E");
	assert_int_equal(postgres_ops.fatal(f->codec, &e), 0);
	expect_agent(f, "");
	assert_int_equal(fake_decide(f, 1, true), -EINVAL);
	expect_server(f, "");
}

TEST(fatal_within_a_message)
{
	const struct proto_error e = {"FATAL", "57P01", "over", NULL, NULL};
	_cleanup_buf_ struct buf row = BUF_INIT(1024);

	agent_query(f, "select");
	server_rows(f, two, 1);
	expect_agent(f, "TD");
	put_msg(&row, 'D', "hv", 1, "a long value");
	fake_feed(f, PROTO_SERVER, span_head(buf_span(&row), 12));
	assert_int_equal(postgres_ops.fatal(f->codec, &e), 0);
	assert_int_equal(buf_len(&f->agent), 12);
	assert_false(agent_has(f, "57P01"));
}

TEST(holds)
{
	agent_query(f, "select hold");
	assert_int_equal(f->last, PROTO_HOLD);
	assert_true(agent_query(f, "select 2") > 0);
	expect_server(f, "");
	assert_int_equal(fake_decide(f, 9, true), -EINVAL);
	assert_int_equal(fake_decide(f, 1, true), 0);
	assert_int_equal(fake_decide(f, 1, true), -EINVAL);
	agent_query(f, "select 2");
	expect_server(f, "QQ");
}

/* ---- size ---- */

static void feed_many(struct fake *f, enum proto_peer from, size_t n)
{
	static uint8_t bytes[64 * 1024];

	memset(bytes, 'x', sizeof(bytes));
	while (n > 0) {
		size_t part = MIN(n, sizeof(bytes));

		assert_int_equal(fake_feed(f, from, span_of(bytes, part)), 0);
		n -= part;
		buf_reset(from == PROTO_AGENT ? &f->server : &f->agent);
		buf_reset(&f->all);
	}
}

static void head(struct fake *f, enum proto_peer from, char type, size_t body)
{
	_cleanup_buf_ struct buf b = BUF_INIT(64);

	buf_put_u8(&b, (uint8_t)type);
	buf_put_be32(&b, (uint32_t)(body + 4));
	fake_feed(f, from, buf_span(&b));
}

static void large(void **state)
{
	const size_t n = 32u << 20;
	struct fake f;
	char t[8];

	(void)state;
	fake_ready(&f, SIZE_MAX);
	/* A text too long to be held: unknown, and streamed once allowed. */
	head(&f, PROTO_AGENT, 'Q', n + 1);
	feed_many(&f, PROTO_AGENT, n);
	fake_feed(&f, PROTO_AGENT, span_of("", 1));
	assert_int_equal(f.last, PROTO_HOLD);
	server_tag(&f, "OK");
	server_ready(&f, 'I');
	types_of(&f.agent, t, sizeof(t));
	buf_reset(&f.server);
	assert_true(memmem(buf_span(&f.log).p, buf_len(&f.log), "[unknown]", 9));
	/* A row. */
	agent_query(&f, "select 1");
	server_msg(&f, 'T', "hzihihih", 1, "a", 100u, 1, 25u, 0, 0u, 0);
	head(&f, PROTO_SERVER, 'D', n + 6);
	fake_feed(&f, PROTO_SERVER, span_of("\0\1\2\0\0\0", 6));
	feed_many(&f, PROTO_SERVER, n);
	server_tag(&f, "SELECT 1");
	server_ready(&f, 'I');
	expect_agent(&f, "CZ");
	/* A bind value. */
	buf_reset(&f.server);
	buf_reset(&f.log);
	agent_parse(&f, "", "insert");
	head(&f, PROTO_AGENT, 'B', 12 + n);
	fake_feed(&f, PROTO_AGENT, span_of("\0\0\0\0\0\1\2\0\0\0", 10));
	feed_many(&f, PROTO_AGENT, n);
	fake_feed(&f, PROTO_AGENT, span_of("\0\0", 2));
	agent_execute(&f, "");
	assert_true(memmem(buf_span(&f.log).p, buf_len(&f.log), "cut binary", 10));
	assert_true(f.most <= PROTO_SEND_MAX);
	fake_close(&f);
}

/* A refused text's rest does not reach the server. */
static void large_refused(void **state)
{
	const size_t n = 4u << 20;
	struct fake f;

	(void)state;
	fake_ready(&f, SIZE_MAX);
	head(&f, PROTO_AGENT, 'Q', n + 1 + 6);
	fake_feed(&f, PROTO_AGENT, span_str("refuse"));
	feed_many(&f, PROTO_AGENT, n);
	fake_feed(&f, PROTO_AGENT, span_of("", 1));
	agent_query(&f, "select 1");
	expect_server(&f, "Q");
	server_error(&f, "42601");
	server_ready(&f, 'I');
	expect_agent(&f, "EZ");
	fake_close(&f);
}

/* A pipeline without end: the agent waits when too much is unanswered. */
static void endless_pipeline(void **state)
{
	struct fake f;
	size_t n = 0;

	(void)state;
	fake_ready(&f, SIZE_MAX);
	do {
		agent_sync(&f);
		n++;
	} while (f.last == PROTO_MORE && n < 10000);
	assert_int_equal(f.last, PROTO_HOLD);
	assert_true(n < 5000);
	for (size_t i = 0; i < 100; i++)
		server_ready(&f, 'I');
	agent_sync(&f);
	assert_int_equal(f.last, PROTO_MORE);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simple_query),
		cmocka_unit_test(many_statements),
		cmocka_unit_test(refused_query),
		cmocka_unit_test(refused_and_server_ends),
		cmocka_unit_test(refused_and_server_takes_it),
		cmocka_unit_test(extended_query),
		cmocka_unit_test(types_of_bind_values),
		cmocka_unit_test(types_the_server_gets_wrong),
		cmocka_unit_test(prepared_statement),
		cmocka_unit_test(row_limits),
		cmocka_unit_test(portal_again),
		cmocka_unit_test(bound_and_never_run),
		cmocka_unit_test(pipeline_refused_in_the_middle),
		cmocka_unit_test(pipeline_fails_before_refusal),
		cmocka_unit_test(skips_with_the_server),
		cmocka_unit_test(held_while_the_server_fails),
		cmocka_unit_test(error_between_messages),
		cmocka_unit_test(name_taken_twice),
		cmocka_unit_test(name_given_anew_in_vain),
		cmocka_unit_test(bind_behind_a_parse_in_vain),
		cmocka_unit_test(bind_behind_a_parse_skipped),
		cmocka_unit_test(names_behind_a_close_skipped),
		cmocka_unit_test(bind_behind_a_query),
		cmocka_unit_test(execute_behind_a_bind_in_vain),
		cmocka_unit_test(describe_behind_a_bind_in_vain),
		cmocka_unit_test(pipeline_of_batches),
		cmocka_unit_test(prepared_in_the_batch_before),
		cmocka_unit_test(name_taken_over_by_sql),
		cmocka_unit_test(name_taken_over_late),
		cmocka_unit_test(names_after_unknown_text),
		cmocka_unit_test(portal_taken_over_by_sql),
		cmocka_unit_test(portal_declared_by_sql),
		cmocka_unit_test(closed_names),
		cmocka_unit_test(name_too_long),
		cmocka_unit_test(name_not_ascii),
		cmocka_unit_test(query_ends_the_unnamed),
		cmocka_unit_test(portals_end_with_the_transaction),
		cmocka_unit_test(too_many_statements),
		cmocka_unit_test(odd_settings),
		cmocka_unit_test(odd_encoding),
		cmocka_unit_test(copy_in),
		cmocka_unit_test(copy_in_twice_in_one_text),
		cmocka_unit_test(copy_in_extended),
		cmocka_unit_test(copy_in_fails),
		cmocka_unit_test(copy_in_and_something_else),
		cmocka_unit_test(copy_in_not_asked_for),
		cmocka_unit_test(copy_out),
		cmocka_unit_test(copy_data_unasked),
		cmocka_unit_test(function_call),
		cmocka_unit_test(function_call_good),
		cmocka_unit_test(function_call_masked),
		cmocka_unit_test(terminate),
		cmocka_unit_test(asynchronous),
		cmocka_unit_test(bad_type),
		cmocka_unit_test(bad_password),
		cmocka_unit_test(bad_query_no_nul),
		cmocka_unit_test(bad_query_two),
		cmocka_unit_test(bad_query_empty),
		cmocka_unit_test(bad_parse),
		cmocka_unit_test(bad_parse_types),
		cmocka_unit_test(bad_bind),
		cmocka_unit_test(bad_bind_value),
		cmocka_unit_test(bad_bind_negative),
		cmocka_unit_test(bad_bind_more),
		cmocka_unit_test(bad_describe),
		cmocka_unit_test(bad_execute),
		cmocka_unit_test(bad_close),
		cmocka_unit_test(bad_sync),
		cmocka_unit_test(bad_terminate),
		cmocka_unit_test(bad_function),
		cmocka_unit_test(bad_lengths),
		cmocka_unit_test(odd_authentication),
		cmocka_unit_test(odd_key),
		cmocka_unit_test(odd_ready),
		cmocka_unit_test(odd_ready_early),
		cmocka_unit_test(odd_row),
		cmocka_unit_test(odd_row_unasked),
		cmocka_unit_test(odd_complete),
		cmocka_unit_test(odd_parse_complete),
		cmocka_unit_test(odd_suspended),
		cmocka_unit_test(odd_both),
		cmocka_unit_test(odd_copy_data),
		cmocka_unit_test(odd_type),
		cmocka_unit_test(odd_function),
		cmocka_unit_test(odd_error),
		cmocka_unit_test(odd_setting),
		cmocka_unit_test(odd_no_count),
		cmocka_unit_test(odd_row_count),
		cmocka_unit_test(odd_status),
		cmocka_unit_test(notices),
		cmocka_unit_test(fatal),
		cmocka_unit_test(fatal_within_a_message),
		cmocka_unit_test(holds),
		cmocka_unit_test(large),
		cmocka_unit_test(large_refused),
		cmocka_unit_test(endless_pipeline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
