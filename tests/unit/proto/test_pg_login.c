#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "proto/postgres/pg_login.h"
#include "proto/postgres/pg_scram.h"

static const struct proto_login_ops *const ops = &postgres_login_ops;

/* RFC 7677 section 3. */
#define NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_FIRST \
	"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define CLIENT_FINAL                                                   \
	"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," \
	"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void scram_vector(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	struct pg_scram s;

	(void)state;
	for (unsigned round = 0; round < 2; round++) { /* the second from the cache */
		assert_int_equal(pg_scram_begin(&s, "user", "pencil", NONCE, &out), 0);
		assert_true(span_eq_str(buf_span(&out), "n,,n=user,r=" NONCE));
		buf_reset(&out);
		assert_int_equal(pg_scram_verify(&s, span_str(SERVER_FINAL)), -EPROTO);
		assert_int_equal(pg_scram_answer(&s, span_str(SERVER_FIRST), &out), 0);
		assert_true(span_eq_str(buf_span(&out), CLIENT_FINAL));
		buf_reset(&out);
		assert_int_equal(pg_scram_verify(&s, span_str(SERVER_FINAL)), 0);
		assert_int_equal(
			pg_scram_verify(&s,
					span_str("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")),
			-EPROTO);
		assert_int_equal(pg_scram_verify(&s, span_str("v=6rri")), -EPROTO);
		assert_int_equal(pg_scram_verify(&s, span_str("e=invalid-proof")), -EACCES);
		assert_int_equal(pg_scram_answer(&s, span_str(SERVER_FIRST), &out), -EPROTO);
		pg_scram_done(&s);
	}
}

static void scram_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"r=",
		"r=" NONCE ",s=W22Z,i=4096",		    /* no nonce of the server's */
		"r=xOprNGfwEbeRWgbNEkqOmore,s=W22Z,i=4096", /* not ours */
		"r=" NONCE "m\x7f,s=W22Z,i=4096",
		"r=" NONCE "x,s=,i=4096",
		"r=" NONCE "x,s=W2 Z,i=4096",
		"r=" NONCE "x,s=W22,i=4096",
		"r=" NONCE "x,s====,i=4096",
		"r=" NONCE "x,s=W22Z,i=0",
		"r=" NONCE "x,s=W22Z,i=-1",
		"r=" NONCE "x,s=W22Z,i=1000001",
		"r=" NONCE "x,s=W22Z,i=99999999999999999999",
		"r=" NONCE "x,s=W22Z,i=",
		"r=" NONCE "x,s=W22Z",
		"m=ext,r=" NONCE "x,s=W22Z,i=4096",
	};
	_cleanup_buf_ struct buf out = BUF_INIT(8192);
	char big[PG_SCRAM_MESSAGE_MAX + 2];
	struct pg_scram s;

	(void)state;
	assert_int_equal(pg_scram_begin(&s, "", "p", NONCE, &out), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pg_scram_answer(&s, span_str(bad[i]), &out), -EPROTO);
	memset(big, 'x', sizeof(big));
	memcpy(big, "r=" NONCE, 22);
	assert_int_equal(pg_scram_answer(&s, span_of(big, sizeof(big)), &out), -EPROTO);
	assert_false(s.answered);
	pg_scram_done(&s);
	assert_int_equal(pg_scram_begin(&s, "a,b", "p", NULL, &out), -EINVAL);
	pg_scram_done(&s);
}

/* A server by hand: what it says is put in `in`, what it is told is in `out`. */
struct talk {
	void *login;
	struct buf in;
	struct buf out;
};

static void talk_open(struct talk *t, const char *password, bool tls)
{
	static const struct proto_param params[] = {
		{"user", "agent"}, {"application_name", "psql"}, {"replication", "true"}};
	const struct proto_login_config config = {.user = "gateway",
						  .password = password,
						  .database = "customers",
						  .n_params = ARRAY_SIZE(params),
						  .params = params,
						  .tls = tls};

	*t = (struct talk){.in = BUF_INIT(100000), .out = BUF_INIT(10000)};
	assert_int_equal(ops->open(&config, &t->login), 0);
	assert_non_null(ops->error(t->login));
	assert_null(ops->result(t->login));
	assert_int_equal(ops->start(t->login, &t->out), 0);
}

static void talk_close(struct talk *t)
{
	ops->close(t->login);
	buf_done(&t->in);
	buf_done(&t->out);
}

static const char startup[] = "\0\0\0\x3f\0\3\0\0user\0gateway\0database\0customers\0"
			      "application_name\0psql\0";

static void assert_sent(struct talk *t, const void *bytes, size_t n)
{
	assert_int_equal(buf_len(&t->out), n);
	assert_memory_equal(buf_span(&t->out).p, bytes, n);
	buf_reset(&t->out);
}

static void say(struct talk *t, char type, const void *body, size_t n)
{
	buf_put_u8(&t->in, (uint8_t)type);
	buf_put_be32(&t->in, (uint32_t)n + 4);
	buf_put(&t->in, body, n);
}

static void say_auth(struct talk *t, uint32_t code, const void *body, size_t n)
{
	buf_put_u8(&t->in, 'R');
	buf_put_be32(&t->in, (uint32_t)n + 8);
	buf_put_be32(&t->in, code);
	buf_put(&t->in, body, n);
}

/* Feed what the server said, a byte more at a time, until the login has something to say. */
static int feed(struct talk *t)
{
	struct span all = buf_span(&t->in);
	size_t have = 0;
	size_t taken = 0;
	int r = 0;

	while (r == 0 && have < all.len) {
		size_t used = 99999;

		have++;
		r = ops->feed(t->login, span_of(all.p + taken, have - taken), &used, &t->out);
		assert_true(used <= have - taken);
		taken += used;
	}
	if (r == LOGIN_MORE)
		assert_int_equal(taken, all.len);
	buf_consume(&t->in, taken);
	return r;
}

static void say_settled(struct talk *t)
{
	say(t, 'S',
	    "server_version\0"
	    "15.3",
	    20);
	say(t, 'S', "TimeZone\0UTC", 13);
	say(t, 'S', "TimeZone\0CET", 13);
	say(t, 'N', "SNOTICE\0\0", 9);
	say(t, 'K', "\0\0\1\2\xff\0\0\3", 8);
	say(t, 'Z', "I", 1);
}

static void assert_in(struct talk *t)
{
	const struct proto_login_result *result;

	assert_int_equal(feed(t), LOGIN_DONE);
	result = ops->result(t->login);
	assert_non_null(result);
	assert_int_equal(result->admission.cancel_pid, 0x102);
	assert_int_equal(result->admission.cancel_secret, 0xff000003);
	assert_int_equal(result->admission.transaction, 'I');
	assert_int_equal(result->admission.n_params, 2);
	assert_string_equal(result->admission.params[1].name, "TimeZone");
	assert_string_equal(result->admission.params[1].value, "CET");
	assert_string_equal(result->server_version, "15.3");
}

static void assert_refused(struct talk *t, int code, const char *sqlstate)
{
	assert_int_equal(feed(t), code);
	assert_string_equal(ops->error(t->login)->sqlstate, sqlstate);
	assert_string_equal(ops->error(t->login)->severity, "FATAL");
	assert_null(ops->result(t->login));
	buf_reset(&t->in);
	say(t, 'Z', "I", 1);
	assert_true(feed(t) < 0);
	assert_string_equal(ops->error(t->login)->sqlstate, sqlstate);
	talk_close(t);
}

static void trust(void **state)
{
	struct talk t;

	(void)state;
	talk_open(&t, NULL, false);
	/* Of the agent's own only what is neither user nor replication. */
	assert_sent(&t, startup, sizeof(startup));
	say(&t, 'v', "\0\0\0\0\0\0\0\0", 8);
	say_auth(&t, 0, "", 0);
	say_settled(&t);
	assert_in(&t);
	assert_int_equal(buf_len(&t.out), 0);
	talk_close(&t);
	ops->close(NULL);
}

static void cleartext_and_md5(void **state)
{
	struct talk t;

	(void)state;
	talk_open(&t, "pencil", false);
	buf_reset(&t.out);
	say_auth(&t, 3, "", 0);
	assert_int_equal(feed(&t), LOGIN_MORE);
	assert_sent(&t, "p\0\0\0\x0bpencil", 12);
	say_auth(&t, 0, "", 0);
	say_settled(&t);
	assert_in(&t);
	talk_close(&t);

	talk_open(&t, "pencil", false);
	buf_reset(&t.out);
	say_auth(&t, 5, "salt", 4);
	assert_int_equal(feed(&t), LOGIN_MORE);
	/* $ printf '%s%s' $(printf pencilgateway | md5sum | cut -c-32) salt | md5sum */
	assert_sent(&t,
		    "p\0\0\0\x28md5"
		    "c5c75d4b79bc93d1127fa59e9b1b207d",
		    41);
	say_auth(&t, 0, "", 0);
	say_settled(&t);
	assert_in(&t);
	talk_close(&t);
}

/* The server's side of SCRAM with salt "salt" and 4096 rounds, for whatever nonce came. */
static void scram_server(struct talk *t, const char *password, bool honest)
{
	static const char mechanisms[] = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0";
	_cleanup_buf_ struct buf auth = BUF_INIT(4096);
	uint8_t salted[32];
	uint8_t key[32];
	uint8_t signature[32];
	char first[200];
	char final[64] = "v=";
	char nonce[64];
	const char *at;

	say_auth(t, 10, mechanisms, sizeof(mechanisms));
	assert_int_equal(feed(t), LOGIN_MORE);
	assert_memory_equal(buf_span(&t->out).p,
			    "p\0\0\0\x36SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=", 31);
	(void)snprintf(nonce, sizeof(nonce), "%.*s", 24, (const char *)buf_span(&t->out).p + 31);
	assert_int_equal(buf_len(&t->out), 31 + 24);
	buf_reset(&t->out);
	(void)snprintf(first, sizeof(first), "r=%sSERVER,s=c2FsdA==,i=4096", nonce);
	say_auth(t, 11, first, strlen(first));
	assert_int_equal(feed(t), LOGIN_MORE);
	at = (const char *)buf_span(&t->out).p + 5;
	assert_memory_equal(at, "c=biws,r=", 9);
	buf_putf(&auth, "n=,r=%s,%s,c=biws,r=%sSERVER", nonce, first, nonce);
	assert_int_equal(PKCS5_PBKDF2_HMAC(password, -1, (const uint8_t *)"salt", 4, 4096,
					   EVP_sha256(), 32, salted),
			 1);
	HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Server Key", 10, key, NULL);
	HMAC(EVP_sha256(), key, 32, buf_span(&auth).p, buf_len(&auth), signature, NULL);
	signature[31] ^= honest ? 0 : 1;
	(void)EVP_EncodeBlock((uint8_t *) final + 2, signature, 32);
	buf_reset(&t->out);
	say_auth(t, 12, final, strlen(final));
}

static void scram(void **state)
{
	struct talk t;

	(void)state;
	talk_open(&t, "pencil", false);
	buf_reset(&t.out);
	scram_server(&t, "pencil", true);
	say_auth(&t, 0, "", 0);
	say_settled(&t);
	assert_in(&t);
	talk_close(&t);
	/* A server that does not know the password, or says ok without a proof. */
	talk_open(&t, "pencil", false);
	buf_reset(&t.out);
	scram_server(&t, "pencil", false);
	assert_refused(&t, -EPROTO, "08001");
	talk_open(&t, "pencil", false);
	buf_reset(&t.out);
	scram_server(&t, "pencil", true);
	buf_reset(&t.in);
	say_auth(&t, 0, "", 0);
	assert_refused(&t, -EPROTO, "08P01");
}

static void tls(void **state)
{
	struct talk t;

	(void)state;
	talk_open(&t, "pencil", true);
	assert_sent(&t, "\0\0\0\x08\x04\xd2\x16\x2f", 8);
	buf_put_u8(&t.in, 'S');
	assert_int_equal(feed(&t), LOGIN_TLS);
	assert_int_equal(buf_len(&t.out), 0);
	assert_int_equal(ops->tls_started(t.login, &t.out), 0);
	assert_sent(&t, startup, sizeof(startup));
	assert_int_equal(ops->tls_started(t.login, &t.out), -EINVAL);
	say_auth(&t, 0, "", 0);
	say_settled(&t);
	assert_in(&t);
	talk_close(&t);

	talk_open(&t, "pencil", true);
	buf_put_u8(&t.in, 'N');
	assert_refused(&t, -EPROTONOSUPPORT, "08001");
	talk_open(&t, "pencil", true);
	say(&t, 'E', "SFATAL\0C53300\0", 15);
	assert_refused(&t, -EPROTO, "08P01");
}

/* Whatever stands behind the answer came before there was TLS. */
static void bytes_before_tls(void **state)
{
	struct talk t;
	size_t used = 0;

	(void)state;
	talk_open(&t, "pencil", true);
	buf_put_u8(&t.in, 'S');
	say_auth(&t, 0, "", 0);
	assert_int_equal(ops->feed(t.login, buf_span(&t.in), &used, &t.out), -EPROTO);
	talk_close(&t);
	talk_open(&t, "pencil", true);
	buf_put_u8(&t.in, 'S');
	assert_int_equal(feed(&t), LOGIN_TLS);
	say_auth(&t, 3, "", 0);
	assert_int_equal(ops->feed(t.login, buf_span(&t.in), &used, &t.out), -EPROTO);
	assert_int_equal(ops->tls_started(t.login, &t.out), -EINVAL);
	assert_int_equal(buf_len(&t.out), 8);
	talk_close(&t);
}

static void what_the_server_may_not_say(void **state)
{
	static const struct {
		char type;
		const char *body;
		size_t n;
	} bad[] = {
		{'R', "", 0},
		{'R', "\0\0\0", 3},
		{'R', "\0\0\0\0x", 5},
		{'R', "\0\0\0\5sal", 7},
		{'R', "\0\0\0\3x", 5},
		{'R', "\0\0\0\x0br=x", 7}, /* continue what has not begun */
		{'R', "\0\0\0\x0cv=x", 7},
		{'S', "a\0b", 4},
		{'K', "\0\0\0\1\0\0\0\1", 8},
		{'Z', "I", 1},
		{'v', "\0\0\0\0", 4},
		{'D', "\0\0", 2},
		{'T', "\0\0", 2},
		{'x', "", 0},
	};
	static const struct {
		char type;
		const char *body;
		size_t n;
	} late[] = {
		{'R', "\0\0\0\0", 4},
		{'R', "\0\0\0\3", 4},
		{'S', "a\0b", 3},
		{'S', "\0b", 3},
		{'S', "a\0b\0c", 5},
		{'K', "\0\0\0\1\0\0\0", 7},
		{'K', "\0\0\0\1\0\0\0\1\0", 9},
		{'Z', "", 0},
		{'Z', "T", 1},
		{'Z', "II", 2},
		{'v', "\0\0\0\0\0\0\0\0", 8},
		{'C', "SELECT\0", 7},
	};
	struct talk t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		talk_open(&t, "pencil", false);
		say(&t, bad[i].type, bad[i].body, bad[i].n);
		assert_refused(&t, -EPROTO, "08P01");
	}
	for (size_t i = 0; i < ARRAY_SIZE(late); i++) {
		talk_open(&t, "pencil", false);
		say_auth(&t, 0, "", 0);
		say(&t, late[i].type, late[i].body, late[i].n);
		assert_refused(&t, -EPROTO, "08P01");
	}
	/* Lengths: less than their own, and more than any message of a login. */
	talk_open(&t, NULL, false);
	buf_put(&t.in, "R\0\0\0\3", 5);
	assert_refused(&t, -EPROTO, "08P01");
	talk_open(&t, NULL, false);
	buf_put(&t.in, "E\xff\xff\xff\xff", 5);
	assert_refused(&t, -EPROTO, "08P01");
	talk_open(&t, NULL, false);
	buf_put(&t.in, "E\0\0\x40\x05", 5);
	assert_refused(&t, -EPROTO, "08P01");
	/* Twice the same question. */
	talk_open(&t, "pencil", false);
	say_auth(&t, 3, "", 0);
	say_auth(&t, 3, "", 0);
	assert_refused(&t, -EPROTO, "08P01");
}

static void a_server_that_says_too_much(void **state)
{
	char text[4000];
	struct talk t;
	int r = 0;

	(void)state;
	talk_open(&t, NULL, false);
	say_auth(&t, 0, "", 0);
	for (int i = 0; i <= LOGIN_PARAMS_MAX; i++) {
		int n = snprintf(text, sizeof(text), "p%d", i);

		text[n + 1] = '\0';
		say(&t, 'S', text, (size_t)n + 2);
	}
	assert_refused(&t, -EPROTO, "08P01");
	talk_open(&t, NULL, false);
	say_auth(&t, 0, "", 0);
	memset(text, 'x', sizeof(text));
	text[1] = text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 1000 && r == 0; i++) {
		size_t used;

		say(&t, 'S', text, sizeof(text));
		r = ops->feed(t.login, buf_span(&t.in), &used, &t.out);
		buf_consume(&t.in, used);
	}
	assert_int_equal(r, -EPROTO);
	talk_close(&t);
}

static void refusals_say_no_more_than_they_should(void **state)
{
	static const struct {
		const char *sqlstate;
		const char *want;
		const char *says;
	} cases[] = {
		{"28P01", "28P01", "refused the gateway's credential"},
		{"28000", "28000", "refused the gateway's credential"},
		{"3D000", "3D000", "no database of the name"},
		{"53300", "53300", "no connection to spare"},
		{"57P03", "57P03", "starting, stopping or recovering"},
		{"42501", "42501", "may not connect"},
		{"XX000", "XX000", "SQLSTATE XX000"},
		{"ab'\"\n", "08004", "SQLSTATE 08004"},
		{"1234567", "08004", "SQLSTATE 08004"},
	};
	struct talk t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char body[200];
		int n = snprintf(body, sizeof(body), "SFATAL%cC%s%cMuser gateway at 10.0.3.7%c", 0,
				 cases[i].sqlstate, 0, 0);

		talk_open(&t, "pencil", false);
		say(&t, 'E', body, (size_t)n + 1);
		body[0] = '\0';
		assert_int_equal(feed(&t), -EACCES);
		assert_string_equal(ops->error(t.login)->sqlstate, cases[i].want);
		assert_non_null(strstr(ops->error(t.login)->message, cases[i].says));
		assert_null(strstr(ops->error(t.login)->message, "10.0.3.7"));
		assert_null(ops->error(t.login)->detail);
		talk_close(&t);
	}
	talk_open(&t, "pencil", false);
	say(&t, 'E', "", 0);
	assert_refused(&t, -EACCES, "08004");
	/* Asked for a password that there is not. */
	talk_open(&t, NULL, false);
	say_auth(&t, 3, "", 0);
	assert_refused(&t, -EACCES, "28000");
	talk_open(&t, NULL, false);
	say_auth(&t, 10, "SCRAM-SHA-256\0", 15);
	assert_refused(&t, -EACCES, "28000");
	/* Ways that we do not go. */
	talk_open(&t, "pencil", false);
	say_auth(&t, 7, "", 0);
	assert_refused(&t, -EPROTONOSUPPORT, "08001");
	talk_open(&t, "pencil", false);
	say_auth(&t, 10, "OTHER\0", 7);
	assert_refused(&t, -EPROTONOSUPPORT, "08001");
}

/* A server that reads text in another way than the classifier. */
static void settings_that_change_the_language(void **state)
{
	static const char *const settings[][2] = {{"standard_conforming_strings", "off"},
						  {"client_encoding", "SJIS"}};
	struct talk t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char body[64];
		int n = snprintf(body, sizeof(body), "%s%c%s", settings[i][0], 0, settings[i][1]);

		talk_open(&t, NULL, false);
		say_auth(&t, 0, "", 0);
		say(&t, 'S', body, (size_t)n + 1);
		say(&t, 'Z', "I", 1);
		assert_refused(&t, -EACCES, "0A000");
	}
}

static void startup_has_a_limit(void **state)
{
	static char long_value[10001];
	const struct proto_param param = {"application_name", long_value};
	const struct proto_login_config config = {
		.user = "u", .database = "", .n_params = 1, .params = &param};
	void *login = NULL;

	(void)state;
	memset(long_value, 'x', sizeof(long_value) - 1);
	assert_int_equal(ops->open(&config, &login), -E2BIG);
	assert_null(login);
}

static void cancel(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(100);

	(void)state;
	assert_int_equal(ops->cancel(1, 0xfffffffe, &out), 0);
	assert_true(span_eq(buf_span(&out),
			    span_of("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1\xff\xff\xff\xfe", 16)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scram_vector),
		cmocka_unit_test(scram_refuses),
		cmocka_unit_test(trust),
		cmocka_unit_test(cleartext_and_md5),
		cmocka_unit_test(scram),
		cmocka_unit_test(tls),
		cmocka_unit_test(bytes_before_tls),
		cmocka_unit_test(what_the_server_may_not_say),
		cmocka_unit_test(a_server_that_says_too_much),
		cmocka_unit_test(refusals_say_no_more_than_they_should),
		cmocka_unit_test(settings_that_change_the_language),
		cmocka_unit_test(startup_has_a_limit),
		cmocka_unit_test(cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
