#include "pg_fake.h"

static const size_t steps[] = {SIZE_MAX, 1, 3, 7};

#define EACH_STEP(f_, tls_)                                                          \
	for (size_t i_ = 0; i_ < ARRAY_SIZE(steps); i_++)                            \
		for (bool once_ = (fake_open((f_), steps[i_], (tls_)), true); once_; \
		     once_ = (fake_close(f_), false))

static void expect_bytes(struct buf *b, const char *bytes)
{
	assert_int_equal(buf_len(b), strlen(bytes));
	assert_memory_equal(buf_span(b).p, bytes, strlen(bytes));
	buf_reset(b);
}

static void expect_fatal(struct fake *f, const char *sqlstate)
{
	assert_int_equal(f->last, -EPROTO);
	assert_true(agent_has(f, "SFATAL"));
	assert_true(agent_has(f, sqlstate));
	expect_agent(f, "E");
}

static void startup(void **state)
{
	struct fake f;

	(void)state;
	EACH_STEP(&f, false)
	{
		assert_int_equal(agent_msg(&f, 0, "izzzzzzb", 196608u, "user", "ann", "database",
					   "db", "application_name", "psql", 0),
				 0);
		assert_int_equal(f.last, PROTO_HOLD);
		expect_log(&f, "startup ann/db application_name=psql\n");
		assert_int_equal(buf_len(&f.agent), 0);
		/* Held: nothing is taken. */
		assert_true(agent_query(&f, "select 1") > 0);
		assert_int_equal(f.last, PROTO_HOLD);
		fake_admit(&f);
		assert_true(agent_has(&f, "server_version"));
		expect_agent(&f, "RSSSKZ");
	}
}

static void tls(void **state)
{
	struct fake f;

	(void)state;
	EACH_STEP(&f, true)
	{
		agent_msg(&f, 0, "i", 80877103u);
		assert_int_equal(f.last, PROTO_HOLD);
		expect_bytes(&f.agent, "S");
		expect_log(&f, "tls\n");
		assert_int_equal(postgres_ops.tls_started(f.codec), 0);
		agent_msg(&f, 0, "i", 80877103u);
		expect_fatal(&f, "C08P01");
	}
}

static void tls_not_offered(void **state)
{
	struct fake f;

	(void)state;
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "i", 80877104u);
		expect_bytes(&f.agent, "N");
		agent_msg(&f, 0, "i", 80877103u);
		expect_bytes(&f.agent, "N");
		agent_msg(&f, 0, "izzb", 196608u, "user", "ann", 0);
		assert_int_equal(f.last, PROTO_HOLD);
		expect_log(&f, "startup ann/\n");
	}
}

/* CVE-2021-23214: bytes stuffed in behind the request for TLS. */
static void stuffing(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT(1024);
	struct fake f;

	(void)state;
	put_msg(&in, 0, "i", 80877103u);
	put_msg(&in, 0, "izzb", 196608u, "user", "ann", 0);
	fake_open(&f, SIZE_MAX, true);
	fake_feed(&f, PROTO_AGENT, buf_span(&in));
	expect_fatal(&f, "C08P01");
	expect_log(&f, "");
	fake_close(&f);
}

static void requests_once(void **state)
{
	struct fake f;

	(void)state;
	EACH_STEP(&f, true)
	{
		agent_msg(&f, 0, "i", 80877104u);
		expect_bytes(&f.agent, "N");
		agent_msg(&f, 0, "i", 80877104u);
		expect_fatal(&f, "C08P01");
	}
}

static void cancel(void **state)
{
	struct fake f;

	(void)state;
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "iii", 80877102u, 42u, 4242u);
		assert_int_equal(f.last, PROTO_CLOSE);
		expect_log(&f, "cancel 42 4242\n");
		assert_int_equal(buf_len(&f.agent), 0);
	}
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "ii", 80877102u, 42u);
		expect_fatal(&f, "C08P01");
		expect_log(&f, "");
	}
}

static void negotiation(void **state)
{
	struct fake f;

	(void)state;
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "izzzzb", 196610u, "user", "ann", "_pq_.odd", "1", 0);
		assert_int_equal(f.last, PROTO_HOLD);
		assert_true(agent_has(&f, "_pq_.odd"));
		expect_agent(&f, "v");
		expect_log(&f, "startup ann/\n");
	}
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "izzb", 131072u, "user", "ann", 0);
		expect_fatal(&f, "C0A000");
	}
}

static void bad_startups(void **state)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"SSH-2.0-OpenSSH_9.2\r\n",
	};
	struct fake f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
		EACH_STEP(&f, true)
		{
			fake_feed(&f, PROTO_AGENT, span_of(garbage[i], 11));
			expect_fatal(&f, "C08P01");
		}
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "izzzzb", 196608u, "user", "ann", "replication", "true", 0);
		expect_fatal(&f, "C0A000");
	}
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "izzb", 196608u, "database", "db", 0);
		expect_fatal(&f, "C28000");
	}
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "izs", 196608u, "user", "ann");
		expect_fatal(&f, "C08P01");
	}
	EACH_STEP(&f, false)
	{
		agent_msg(&f, 0, "izzbs", 196608u, "user", "ann", 0, "more");
		expect_fatal(&f, "C08P01");
	}
}

static void detect(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1024);

	(void)state;
	put_msg(&b, 0, "izzb", 196608u, "user", "ann", 0);
	assert_int_equal(postgres_ops.detect(buf_span(&b)), 1);
	for (size_t n = 0; n < 8; n++)
		assert_int_equal(postgres_ops.detect(span_head(buf_span(&b), n)), -EAGAIN);
	buf_reset(&b);
	put_msg(&b, 0, "i", 80877103u);
	assert_int_equal(postgres_ops.detect(buf_span(&b)), 1);
	buf_reset(&b);
	put_msg(&b, 0, "iii", 80877102u, 1u, 2u);
	assert_int_equal(postgres_ops.detect(buf_span(&b)), 1);
	assert_int_equal(postgres_ops.detect(span_str("GET / HTTP/1.1")), 0);
	assert_int_equal(postgres_ops.detect(span_str("G")), 0);
	assert_int_equal(postgres_ops.detect(span_of("\0\0\0\x08\0\0\0\0", 8)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(startup),	   cmocka_unit_test(tls),
		cmocka_unit_test(tls_not_offered), cmocka_unit_test(stuffing),
		cmocka_unit_test(requests_once),   cmocka_unit_test(cancel),
		cmocka_unit_test(negotiation),	   cmocka_unit_test(bad_startups),
		cmocka_unit_test(detect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
