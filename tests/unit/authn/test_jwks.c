#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "authn/jwks.h"
#include "base/json.h"
#include "unit/authn/issuer.h"

static EVP_PKEY *ec;
static EVP_PKEY *rsa;

static int setup(void **state)
{
	(void)state;
	ec = issuer_ec("P-256");
	rsa = issuer_rsa(2048);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(ec);
	EVP_PKEY_free(rsa);
	return 0;
}

static int parse(const struct buf *b, struct jwks **ret)
{
	return jwks_parse(buf_span(b), ret);
}

/* The set of one key; returns jwks_parse's answer, *count the usable keys. */
static int parse_one(const EVP_PKEY *key, const char *crv, const char *extra, size_t *count)
{
	_cleanup_buf_ struct buf b = BUF_INIT(65536);
	_cleanup_(jwks_freep) struct jwks *set = NULL;
	int r;

	buf_put_str(&b, "{\"keys\":[");
	issuer_put_jwk(&b, key, crv, extra);
	buf_put_str(&b, "]}");
	r = parse(&b, &set);
	*count = set ? jwks_count(set) : 0;
	return r;
}

static void both_types(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(65536);
	_cleanup_(jwks_freep) struct jwks *set = NULL;

	(void)state;
	buf_put_str(&b, "{\"keys\":[");
	issuer_put_jwk(&b, ec, "P-256", ",\"kid\":\"e1\",\"use\":\"sig\",\"alg\":\"ES256\"");
	buf_put_str(&b, ",");
	issuer_put_jwk(&b, rsa, NULL, ",\"kid\":\"r1\",\"key_ops\":[\"verify\"],\"x5t\":\"any\"");
	buf_put_str(&b, "],\"other\":1}");
	assert_int_equal(parse(&b, &set), 0);
	assert_int_equal(jwks_count(set), 2);
	assert_int_equal(set->keys[0].alg, JWS_ES256);
	assert_string_equal(set->keys[0].kid, "e1");
	assert_int_equal(set->keys[1].alg, JWS_RS256);
	assert_int_equal(EVP_PKEY_eq(set->keys[0].key, ec), 1);
	assert_int_equal(EVP_PKEY_eq(set->keys[1].key, rsa), 1);
}

/* Keys for something else are passed over, without looking at their members. */
static void skipped(void **state)
{
	static const char *const sets[] = {
		"{\"keys\":[]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"a\"}]}",
		"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}]}",
		"{\"keys\":[{\"kty\":\"rsa\",\"n\":\"AA\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"use\":\"enc\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"PS256\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"none\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"ES256\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"RS256\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"key_ops\":[\"sign\",\"encrypt\"]}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		_cleanup_(jwks_freep) struct jwks *set = NULL;

		if (jwks_parse(span_str(sets[i]), &set) != 0)
			fail_msg("refused: %s", sets[i]);
		assert_int_equal(jwks_count(set), 0);
	}
}

static void malformed(void **state)
{
	static const char *const sets[] = {
		"",
		"x",
		"[]",
		"{}",
		"\"keys\"",
		"{\"keys\":{}}",
		"{\"keys\":null}",
		"{\"keys\":[1]}",
		"{\"keys\":[[]]}",
		"{\"keys\":[{}]}",
		"{\"keys\":[{\"kty\":1}]}",
		"{\"keys\":[],\"keys\":[]}",
		"{\"keys\":[]} x",
		"{\"keys\":[{\"kty\":\"EC\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"use\":1}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"alg\":1}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"key_ops\":\"verify\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"key_ops\":[1]}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":17,\"e\":\"AQAB\"}]}",
		/* Not on the curve; too short; too long; padded. */
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\","
		"\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
		"\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAE\",\"y\":\"AAE\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEUA\","
		"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=\","
		"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
		/* x and y the wrong way round. */
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		"\"x\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
		/* A private key, published. */
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
		"\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct jwks *set = NULL;

		if (jwks_parse(span_str(sets[i]), &set) != -EBADMSG)
			fail_msg("not -EBADMSG: %s", sets[i]);
		assert_null(set);
	}
}

static void kid_limits(void **state)
{
	char extra[400];
	size_t n;

	(void)state;
	(void)snprintf(extra, sizeof(extra), ",\"kid\":\"%0*d\"", JWK_KID_MAX, 1);
	assert_int_equal(parse_one(ec, "P-256", extra, &n), 0);
	assert_int_equal(n, 1);
	(void)snprintf(extra, sizeof(extra), ",\"kid\":\"%0*d\"", JWK_KID_MAX + 1, 1);
	assert_int_equal(parse_one(ec, "P-256", extra, &n), -EBADMSG);
	assert_int_equal(parse_one(ec, "P-256", ",\"kid\":7", &n), -EBADMSG);
	assert_int_equal(parse_one(ec, "P-256", ",\"kid\":\"a\\u0000b\"", &n), -EBADMSG);
	assert_int_equal(parse_one(ec, "P-256", ",\"kid\":\"a\",\"kid\":\"b\"", &n), -EBADMSG);
}

static int parse_rsa_numbers(struct span n, struct span e, size_t *count)
{
	_cleanup_buf_ struct buf b = BUF_INIT(65536);
	_cleanup_(jwks_freep) struct jwks *set = NULL;
	int r;

	buf_put_str(&b, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"");
	base64url_encode(n, &b);
	buf_put_str(&b, "\",\"e\":\"");
	base64url_encode(e, &b);
	buf_put_str(&b, "\"}]}");
	r = parse(&b, &set);
	*count = set ? jwks_count(set) : 0;
	return r;
}

static void rsa_strength(void **state)
{
	static const uint8_t e65537[] = {1, 0, 1}, e3[] = {3}, e1[] = {1}, e2[] = {2}, e0[] = {0},
			     padded[] = {0, 1, 0, 1}, e64[] = {0x80, 0, 0, 0, 0, 0, 0, 1},
			     e72[] = {1, 0, 0, 0, 0, 0, 0, 0, 1};
	const struct {
		struct span e;
		int expect;
	} exponents[] = {
		{span_of(e65537, 3), 0},      {span_of(e3, 1), 0},
		{span_of(e1, 1), -EBADMSG},   {span_of(e2, 1), -EBADMSG},
		{span_of(e0, 1), -EBADMSG},   {span_of(padded, 4), -EBADMSG},
		{span_of(e64, 8), 0},	      {span_of(e72, 9), -EBADMSG},
		{span_of(NULL, 0), -EBADMSG},
	};
	_cleanup_free_ uint8_t *n = calloc(1, 1100);
	BIGNUM *bn = NULL;
	size_t len;
	size_t count;

	(void)state;
	assert_non_null(n);
	must(EVP_PKEY_get_bn_param(rsa, OSSL_PKEY_PARAM_RSA_N, &bn));
	len = (size_t)BN_bn2bin(bn, n + 1);
	BN_free(bn);
	for (size_t i = 0; i < ARRAY_SIZE(exponents); i++) {
		if (parse_rsa_numbers(span_of(n + 1, len), exponents[i].e, &count) !=
		    exponents[i].expect)
			fail_msg("exponent %zu", i);
		assert_int_equal(count, exponents[i].expect == 0);
	}
	/* Leading zero octet; even; too short; too long. */
	assert_int_equal(parse_rsa_numbers(span_of(n, len + 1), span_of(e65537, 3), &count),
			 -EBADMSG);
	n[len] &= 0xfe;
	assert_int_equal(parse_rsa_numbers(span_of(n + 1, len), span_of(e65537, 3), &count),
			 -EBADMSG);
	n[len] |= 1;
	assert_int_equal(parse_rsa_numbers(span_of(n + 1, len - 1), span_of(e65537, 3), &count),
			 -EBADMSG);
	memset(n, 0xff, 1100);
	assert_int_equal(parse_rsa_numbers(span_of(n, 1025), span_of(e65537, 3), &count), -EBADMSG);
}

static void weak_generated(void **state)
{
	EVP_PKEY *weak = issuer_rsa(1024);
	size_t n;

	(void)state;
	assert_int_equal(parse_one(weak, NULL, "", &n), -EBADMSG);
	/* Weak, but for something else. */
	assert_int_equal(parse_one(weak, NULL, ",\"use\":\"enc\"", &n), 0);
	assert_int_equal(n, 0);
	EVP_PKEY_free(weak);
}

static void too_many(void **state)
{
	(void)state;
	for (size_t n = JWKS_KEYS_MAX; n <= JWKS_KEYS_MAX + 1; n++) {
		_cleanup_buf_ struct buf b = BUF_INIT(65536);
		_cleanup_(jwks_freep) struct jwks *set = NULL;

		buf_put_str(&b, "{\"keys\":[");
		for (size_t i = 0; i < n; i++) {
			if (i > 0)
				buf_put_str(&b, ",");
			issuer_put_jwk(&b, ec, "P-256", "");
		}
		buf_put_str(&b, "]}");
		assert_int_equal(parse(&b, &set), n > JWKS_KEYS_MAX ? -E2BIG : 0);
		if (set)
			assert_int_equal(jwks_count(set), JWKS_KEYS_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_types),	cmocka_unit_test(skipped),
		cmocka_unit_test(malformed),	cmocka_unit_test(kid_limits),
		cmocka_unit_test(rsa_strength), cmocka_unit_test(weak_generated),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests_name("authn/jwks", tests, setup, teardown);
}
