#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/authn/rfc7515.h"
#include "unit/authn/verifying.h"

static void good(void **state)
{
	static const char payload[] =
		P(",\"groups\":[\"support\",\"d\xc3\xa9v\"],\"jti\":\"j-1\",\"iat\":1699999000,"
		  "\"nbf\":1699999000.5,\"other\":{\"a\":[1,2]}");
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	_cleanup_buf_ struct buf t = BUF_INIT(65536);
	uint8_t digest[SHA256_LEN];
	struct principal p;

	(void)state;
	issuer_put_token(&t, ec, HEADER, payload);
	EVP_Q_digest(NULL, "SHA256", NULL, t.data, buf_len(&t), digest, NULL);
	assert_int_equal(verify_with(verifier, NULL, buf_span(&t), NOW, &arena, &p), TOKEN_OK);
	assert_string_equal(p.issuer_name, "cluster");
	assert_string_equal(p.issuer, "https://issuer.example");
	assert_string_equal(p.subject, "agent-7");
	assert_string_equal(p.token_id, "j-1");
	assert_int_equal(p.expires, 1700000300);
	assert_int_equal(p.issued, 1699999000);
	assert_int_equal(p.n_groups, 2);
	assert_string_equal(p.groups[0], "support");
	assert_string_equal(p.groups[1], "d\xc3\xa9v");
	assert_memory_equal(p.token_sha256, digest, SHA256_LEN);

	/* A file ends in a line feed; the digest is the token's all the same. */
	buf_put_str(&t, " \r\n");
	assert_int_equal(verify_with(verifier, "cluster", buf_span(&t), NOW, &arena, &p), TOKEN_OK);
	assert_memory_equal(p.token_sha256, digest, SHA256_LEN);
	assert_int_equal(verify_with(verifier, "another", buf_span(&t), NOW, &arena, &p),
			 TOKEN_ISSUER_UNKNOWN);
}

/* Variations that must pass: what the standards let an issuer do. */
static void also_good(void **state)
{
	(void)state;
	assert_int_equal(verify_made(rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", PAYLOAD, NOW),
			 TOKEN_OK);
	assert_int_equal(verify_made(rsa, "{\"alg\":\"RS256\"}", PAYLOAD, NOW), TOKEN_OK);
	assert_int_equal(verify_made(ec, "{\"alg\":\"ES256\"}", PAYLOAD, NOW), TOKEN_OK);
	assert_int_equal(verify_made(ec, " {\"typ\":\"at+jwt\",\"alg\":\"ES256\",\"b64\":true} ",
				     PAYLOAD, NOW),
			 TOKEN_OK);
	assert_int_equal(
		verify_made(ec, HEADER,
			    "{\"iss\":\"https://issuer.example\",\"aud\":[\"x\",\"sluice\"],"
			    "\"sub\":\"a\",\"exp\":1.7000003e9,\"groups\":[]}",
			    NOW),
		TOKEN_OK);
	assert_int_equal(verify_made(ec, HEADER, P(",\"groups\":[\"a b\"]"), NOW), TOKEN_OK);
}

static void times(void **state)
{
	const struct {
		const char *extra;
		int64_t now;
		enum token_reason expect;
	} rows[] = {
		{P(""), 1700000300, TOKEN_OK},
		{P(""), 1700000300 + TOKEN_SKEW_S - 1, TOKEN_OK},
		{P(""), 1700000300 + TOKEN_SKEW_S, TOKEN_EXPIRED},
		{P(""), INT64_MAX, TOKEN_EXPIRED},
		{P(""), INT64_MIN, TOKEN_NOT_YET_VALID},
		{P(",\"nbf\":1700000000"), NOW, TOKEN_OK},
		{P(",\"nbf\":1700000060"), NOW, TOKEN_OK},
		{P(",\"nbf\":1700000061"), NOW, TOKEN_NOT_YET_VALID},
		{P(",\"nbf\":1700000060.5"), NOW, TOKEN_NOT_YET_VALID},
		{P(",\"iat\":1700000060"), NOW, TOKEN_OK},
		{P(",\"iat\":1700000061"), NOW, TOKEN_NOT_YET_VALID},
		{P(",\"nbf\":0,\"iat\":0"), NOW, TOKEN_OK},
		{P(",\"nbf\":253402300800"), NOW, TOKEN_CLAIM_MALFORMED},
		{P(",\"iat\":-1"), NOW, TOKEN_CLAIM_MALFORMED},
		{P(",\"nbf\":null"), NOW, TOKEN_CLAIM_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum token_reason got = verify_made(ec, HEADER, rows[i].extra, rows[i].now);

		if (got != rows[i].expect)
			fail_msg("row %zu: %s", i, token_reason_code(got));
	}
}

/* RFC 7515 A.2 and A.3: the signatures hold, and the claims fall short of what is required. */
static void rfc_examples(void **state)
{
	static const char jwks[] = "{\"keys\":[" RFC7515_JWK_ES256 "," RFC7515_JWK_RS256 "]}";
	static const char *const tokens[] = {RFC7515_TOKEN_ES256, RFC7515_TOKEN_RS256};
	_cleanup_(token_verifier_freep) struct token_verifier *v = NULL;
	_cleanup_(jwks_freep) struct jwks *set = NULL;
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	struct issuer_config joe = issuer;
	struct principal p;
	size_t bad;

	(void)state;
	joe.issuer = "joe";
	joe.jwks = span_str(jwks);
	assert_int_equal(jwks_parse(joe.jwks, &set), 0);
	assert_int_equal(token_verifier_new(&joe, 1, &bad, &v), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
		_cleanup_free_ char *copy = strdup(tokens[i]);
		struct jws jws;

		assert_int_equal(jws_split(span_str(copy), &jws), 0);
		assert_int_equal(jws_verify(&set->keys[i], &jws), 0);
		assert_int_equal(jws_verify(&set->keys[1 - i], &jws), -EKEYREJECTED);
		assert_int_equal(
			verify_with(v, NULL, span_str(copy), RFC7515_EXPIRES - 1, &arena, &p),
			TOKEN_CLAIM_MISSING);
		copy[30] ^= 1;
		assert_int_equal(jws_verify(&set->keys[i], &jws), -EKEYREJECTED);
	}
}

/* Not one bit of a token may change, the white space around it aside. */
static void every_bit_counts(void **state)
{
	_cleanup_buf_ struct buf t = BUF_INIT(65536);

	(void)state;
	issuer_put_token(&t, ec, HEADER, PAYLOAD);
	for (size_t i = 0; i < buf_len(&t); i++)
		for (unsigned bit = 0; bit < 8; bit += 1 + (unsigned)(i % 3)) {
			t.data[t.start + i] ^= (uint8_t)(1u << bit);
			if (verify_at(buf_span(&t), NOW) == TOKEN_OK)
				fail_msg("byte %zu bit %u", i, bit);
			t.data[t.start + i] ^= (uint8_t)(1u << bit);
		}
	for (size_t n = 0; n < buf_len(&t); n++)
		if (verify_at(span_head(buf_span(&t), n), NOW) == TOKEN_OK)
			fail_msg("cut at %zu", n);
	assert_int_equal(verify_at(buf_span(&t), NOW), TOKEN_OK);
}

static void group_limits(void **state)
{
	(void)state;
	for (size_t n = GROUPS_MAX; n <= GROUPS_MAX + 1; n++) {
		_cleanup_buf_ struct buf p = BUF_INIT(65536);

		buf_put_str(&p, C(AUD, SUB, EXP, ",\"groups\":[\"g\""));
		buf_truncate(&p, buf_len(&p) - 1);
		for (size_t i = 1; i < n; i++)
			buf_putf(&p, ",\"g%zu\"", i);
		buf_put_str(&p, "]}");
		buf_put_u8(&p, 0);
		assert_int_equal(verify_made(ec, HEADER, (const char *)buf_span(&p).p, NOW),
				 n > GROUPS_MAX ? TOKEN_CLAIM_MALFORMED : TOKEN_OK);
	}
}

/* The allow-list is the issuer's: a key of the set does not widen it. */
static void algorithms_of_issuer(void **state)
{
	struct issuer_config narrow = issuer;
	_cleanup_(token_verifier_freep) struct token_verifier *v = NULL;
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	_cleanup_buf_ struct buf t = BUF_INIT(65536);
	_cleanup_buf_ struct buf e = BUF_INIT(65536);
	struct principal p;
	size_t bad;

	(void)state;
	narrow.n_algorithms = 1;
	assert_int_equal(token_verifier_new(&narrow, 1, &bad, &v), 0);
	issuer_put_token(&t, rsa, RS, PAYLOAD);
	issuer_put_token(&e, ec, HEADER, PAYLOAD);
	assert_int_equal(verify_with(v, NULL, buf_span(&t), NOW, &arena, &p),
			 TOKEN_ALG_NOT_ALLOWED);
	assert_int_equal(verify_with(v, NULL, buf_span(&e), NOW, &arena, &p), TOKEN_OK);
	narrow.n_algorithms = 0;
	assert_int_equal(verify_with(v, NULL, buf_span(&e), NOW, &arena, &p),
			 TOKEN_ALG_NOT_ALLOWED);
	narrow.n_algorithms = 1;
	narrow.algorithms[0] = "none";
	assert_int_equal(verify_with(v, NULL, buf_span(&e), NOW, &arena, &p),
			 TOKEN_ALG_NOT_ALLOWED);
}

/* Keys of one issuer are no good for a token that names another. */
static void issuers_apart(void **state)
{
	static const char other_payload[] =
		"{\"iss\":\"https://other.example\",\"aud\":\"o\",\"sub\":\"a\",\"exp\":1700000300,"
		"\"roles\":[\"x\"],\"groups\":[\"y\"]}";
	_cleanup_(token_verifier_freep) struct token_verifier *v = NULL;
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	_cleanup_buf_ struct buf jwks = BUF_INIT(65536);
	struct issuer_config list[3] = {issuer, issuer, issuer};
	_cleanup_buf_ struct buf mine = BUF_INIT(65536), theirs = BUF_INIT(65536),
				 mixed = BUF_INIT(65536);
	struct principal p;
	size_t bad;

	(void)state;
	buf_put_str(&jwks, "{\"keys\":[");
	issuer_put_jwk(&jwks, ec_other, "P-256", ",\"kid\":\"e1\"");
	buf_put_str(&jwks, "]}");
	list[0].jwks = buf_span(&ec_jwks);
	list[1].name = "other";
	list[1].issuer = "https://other.example";
	list[1].audience = "o";
	list[1].jwks = buf_span(&jwks);
	list[1].groups_claim = "roles";
	list[2].name = "cluster-2";
	list[2].audience = "second";
	list[2].jwks = buf_span(&ec_jwks);
	assert_int_equal(token_verifier_new(list, 3, &bad, &v), 0);
	issuer_put_token(&mine, ec, HEADER, PAYLOAD);
	issuer_put_token(&theirs, ec_other, HEADER, other_payload);
	issuer_put_token(&mixed, ec, HEADER, other_payload);
	assert_int_equal(verify_with(v, NULL, buf_span(&mine), NOW, &arena, &p), TOKEN_OK);
	assert_string_equal(p.issuer_name, "cluster");
	assert_int_equal(verify_with(v, NULL, buf_span(&theirs), NOW, &arena, &p), TOKEN_OK);
	assert_string_equal(p.issuer_name, "other");
	assert_int_equal(p.n_groups, 1);
	assert_string_equal(p.groups[0], "x");
	assert_int_equal(verify_with(v, NULL, buf_span(&mixed), NOW, &arena, &p),
			 TOKEN_SIGNATURE_BAD);
	assert_int_equal(verify_with(v, "other", buf_span(&mine), NOW, &arena, &p),
			 TOKEN_ISSUER_UNKNOWN);
	assert_int_equal(verify_with(v, "cluster-2", buf_span(&mine), NOW, &arena, &p),
			 TOKEN_AUDIENCE_WRONG);
}

static void broken_key_set(void **state)
{
	struct issuer_config list[2] = {issuer, issuer};
	struct token_verifier *v = NULL;
	size_t bad = 99;

	(void)state;
	list[1].jwks = span_str("{\"keys\":[{}]}");
	assert_int_equal(token_verifier_new(list, 2, &bad, &v), -EBADMSG);
	assert_int_equal(bad, 1);
	assert_null(v);
	list[1].jwks = (struct span){0};
	assert_int_equal(token_verifier_new(list, 2, &bad, &v), -EBADMSG);
	/* No issuer, or no key: everything is refused. */
	assert_int_equal(token_verifier_new(NULL, 0, &bad, &v), 0);
	token_verifier_free(v);
}

static void small_arena(void **state)
{
	_cleanup_buf_ struct buf t = BUF_INIT(65536);
	struct principal p;

	(void)state;
	issuer_put_token(&t, ec, HEADER, P(",\"jti\":\"j\",\"groups\":[\"a\",\"b\"]"));
	for (size_t max = 0; max < 64; max += 16) {
		_cleanup_arena_ struct arena arena = ARENA_INIT(max);

		assert_int_equal(verify_with(verifier, NULL, buf_span(&t), NOW, &arena, &p),
				 TOKEN_NO_MEMORY);
	}
}

static void reasons_have_texts(void **state)
{
	(void)state;
	for (int i = 0; i < TOKEN_REASONS; i++) {
		assert_non_null(token_reason_code((enum token_reason)i));
		assert_non_null(token_reason_public((enum token_reason)i));
	}
	assert_string_equal(token_reason_code((enum token_reason)999), "unknown");
	/* An attacker does not learn which key ids exist. */
	assert_string_equal(token_reason_public(TOKEN_KEY_UNKNOWN),
			    token_reason_public(TOKEN_SIGNATURE_BAD));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(also_good),
		cmocka_unit_test(times),
		cmocka_unit_test(rfc_examples),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(group_limits),
		cmocka_unit_test(algorithms_of_issuer),
		cmocka_unit_test(issuers_apart),
		cmocka_unit_test(broken_key_set),
		cmocka_unit_test(small_arena),
		cmocka_unit_test(reasons_have_texts),
	};

	return cmocka_run_group_tests_name("authn/token", tests, setup, teardown);
}
