#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/x509.h>

#include "unit/authn/verifying.h"

/* Rightly signed, wrongly said. */
static const struct {
	const char *name;
	const char *header;
	const char *payload;
	enum token_reason expect;
} said[] = {
	{"alg none", "{\"alg\":\"none\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg None", "{\"alg\":\"None\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg in lower case", "{\"alg\":\"es256\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg with a blank", "{\"alg\":\"ES256 \"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg empty", "{\"alg\":\"\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg HS256", "{\"alg\":\"HS256\",\"kid\":\"e1\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg ES384", "{\"alg\":\"ES384\",\"kid\":\"e1\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg ES256K", "{\"alg\":\"ES256K\",\"kid\":\"e1\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"e1\"}", PAYLOAD, TOKEN_ALG_NOT_ALLOWED},
	{"alg missing", "{\"kid\":\"e1\"}", PAYLOAD, TOKEN_MALFORMED},
	{"alg a list", "{\"alg\":[\"ES256\"]}", PAYLOAD, TOKEN_MALFORMED},
	{"alg null", "{\"alg\":null}", PAYLOAD, TOKEN_MALFORMED},
	{"alg twice", "{\"alg\":\"none\",\"alg\":\"ES256\"}", PAYLOAD, TOKEN_MALFORMED},
	{"alg twice, escaped", "{\"alg\":\"none\",\"\\u0061lg\":\"ES256\"}", PAYLOAD,
	 TOKEN_MALFORMED},
	{"alg with NUL", "{\"alg\":\"ES256\\u0000\"}", PAYLOAD, TOKEN_MALFORMED},
	{"alg of another key type", "{\"alg\":\"RS256\",\"kid\":\"e1\"}", PAYLOAD,
	 TOKEN_KEY_UNKNOWN},
	{"RS256 without kid over an EC signature", "{\"alg\":\"RS256\"}", PAYLOAD,
	 TOKEN_SIGNATURE_BAD},
	{"header a list", "[\"ES256\"]", PAYLOAD, TOKEN_MALFORMED},
	{"header a string", "\"ES256\"", PAYLOAD, TOKEN_MALFORMED},
	{"header empty", "", PAYLOAD, TOKEN_MALFORMED},
	{"header with more after it", HEADER "{}", PAYLOAD, TOKEN_MALFORMED},
	{"header not JSON", "{alg:ES256}", PAYLOAD, TOKEN_MALFORMED},
	{"header not UTF-8", "{\"alg\":\"ES256\",\"x\":\"\xff\"}", PAYLOAD, TOKEN_MALFORMED},
	{"header with a BOM", "\xef\xbb\xbf" HEADER, PAYLOAD, TOKEN_MALFORMED},
	{"kid unknown", "{\"alg\":\"ES256\",\"kid\":\"e9\"}", PAYLOAD, TOKEN_KEY_UNKNOWN},
	{"kid empty", "{\"alg\":\"ES256\",\"kid\":\"\"}", PAYLOAD, TOKEN_KEY_UNKNOWN},
	{"kid of another key", "{\"alg\":\"ES256\",\"kid\":\"e0\"}", PAYLOAD, TOKEN_SIGNATURE_BAD},
	{"kid a path", "{\"alg\":\"ES256\",\"kid\":\"../../dev/null\"}", PAYLOAD,
	 TOKEN_KEY_UNKNOWN},
	{"kid SQL", "{\"alg\":\"ES256\",\"kid\":\"e1' or '1'='1\"}", PAYLOAD, TOKEN_KEY_UNKNOWN},
	{"kid a number", "{\"alg\":\"ES256\",\"kid\":1}", PAYLOAD, TOKEN_MALFORMED},
	{"kid null", "{\"alg\":\"ES256\",\"kid\":null}", PAYLOAD, TOKEN_MALFORMED},
	{"crit", "{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}", PAYLOAD, TOKEN_CRIT_UNKNOWN},
	{"crit empty", "{\"alg\":\"ES256\",\"crit\":[]}", PAYLOAD, TOKEN_CRIT_UNKNOWN},
	{"crit null", "{\"alg\":\"ES256\",\"crit\":null}", PAYLOAD, TOKEN_CRIT_UNKNOWN},
	{"b64 false, critical", "{\"alg\":\"ES256\",\"b64\":false,\"crit\":[\"b64\"]}", PAYLOAD,
	 TOKEN_CRIT_UNKNOWN},
	{"b64 false", "{\"alg\":\"ES256\",\"b64\":false}", PAYLOAD, TOKEN_CRIT_UNKNOWN},
	{"iss wrong", HEADER, "{\"iss\":\"https://issuer.example/\",\"sub\":\"a\"}",
	 TOKEN_ISSUER_UNKNOWN},
	{"iss in another case", HEADER, "{\"iss\":\"HTTPS://issuer.example\",\"sub\":\"a\"}",
	 TOKEN_ISSUER_UNKNOWN},
	{"iss missing", HEADER, "{\"sub\":\"a\",\"aud\":\"sluice\",\"exp\":1700000300}",
	 TOKEN_CLAIM_MISSING},
	{"iss a list", HEADER, "{\"iss\":[\"https://issuer.example\"]}", TOKEN_CLAIM_MALFORMED},
	{"iss twice", HEADER, P(",\"iss\":\"x\""), TOKEN_MALFORMED},
	{"sub twice", HEADER, P(",\"sub\":\"admin\""), TOKEN_MALFORMED},
	{"exp twice", HEADER, P(",\"exp\":1800000000"), TOKEN_MALFORMED},
	{"payload a list", HEADER, "[" PAYLOAD "]", TOKEN_MALFORMED},
	{"payload empty", HEADER, "", TOKEN_MALFORMED},
	{"payload with NUL", HEADER, P(",\"x\":\"\\u0000\""), TOKEN_MALFORMED},
	{"payload nested too deep", HEADER,
	 P(",\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
	 TOKEN_MALFORMED},
	{"payload with a comment", HEADER, P("/**/"), TOKEN_MALFORMED},
	{"payload with a number too large", HEADER, P(",\"x\":1e999"), TOKEN_MALFORMED},
	{"payload with Infinity", HEADER, P(",\"nbf\":Infinity"), TOKEN_MALFORMED},
};

#define S64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *name;
	const char *payload;
	enum token_reason expect;
} claimed[] = {
	{"base line", C(AUD, SUB, EXP, ""), TOKEN_OK},
	{"aud missing", C("", SUB, EXP, ""), TOKEN_CLAIM_MISSING},
	{"aud wrong", C(",\"aud\":\"other\"", SUB, EXP, ""), TOKEN_AUDIENCE_WRONG},
	{"aud a prefix", C(",\"aud\":\"sluic\"", SUB, EXP, ""), TOKEN_AUDIENCE_WRONG},
	{"aud longer", C(",\"aud\":\"sluice2\"", SUB, EXP, ""), TOKEN_AUDIENCE_WRONG},
	{"aud in another case", C(",\"aud\":\"Sluice\"", SUB, EXP, ""), TOKEN_AUDIENCE_WRONG},
	{"aud an empty list", C(",\"aud\":[]", SUB, EXP, ""), TOKEN_AUDIENCE_WRONG},
	{"aud a list without ours", C(",\"aud\":[\"a\",\"b\"]", SUB, EXP, ""),
	 TOKEN_AUDIENCE_WRONG},
	{"aud in a list in a list", C(",\"aud\":[[\"sluice\"]]", SUB, EXP, ""),
	 TOKEN_CLAIM_MALFORMED},
	{"aud ours beside a number", C(",\"aud\":[\"sluice\",1]", SUB, EXP, ""),
	 TOKEN_CLAIM_MALFORMED},
	{"aud an object", C(",\"aud\":{\"sluice\":1}", SUB, EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"aud null", C(",\"aud\":null", SUB, EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"exp missing", C(AUD, SUB, "", ""), TOKEN_CLAIM_MISSING},
	{"exp past", C(AUD, SUB, ",\"exp\":1699999940", ""), TOKEN_EXPIRED},
	{"exp zero", C(AUD, SUB, ",\"exp\":0", ""), TOKEN_EXPIRED},
	{"exp a string", C(AUD, SUB, ",\"exp\":\"1700000300\"", ""), TOKEN_CLAIM_MALFORMED},
	{"exp null", C(AUD, SUB, ",\"exp\":null", ""), TOKEN_CLAIM_MALFORMED},
	{"exp true", C(AUD, SUB, ",\"exp\":true", ""), TOKEN_CLAIM_MALFORMED},
	{"exp a list", C(AUD, SUB, ",\"exp\":[1700000300]", ""), TOKEN_CLAIM_MALFORMED},
	{"exp negative", C(AUD, SUB, ",\"exp\":-1700000300", ""), TOKEN_CLAIM_MALFORMED},
	{"exp in milliseconds", C(AUD, SUB, ",\"exp\":1700000300000", ""), TOKEN_CLAIM_MALFORMED},
	{"exp the largest integer", C(AUD, SUB, ",\"exp\":9223372036854775807", ""),
	 TOKEN_CLAIM_MALFORMED},
	{"exp 1e300", C(AUD, SUB, ",\"exp\":1e300", ""), TOKEN_CLAIM_MALFORMED},
	{"exp over 64 bits", C(AUD, SUB, ",\"exp\":99999999999999999999", ""), TOKEN_MALFORMED},
	{"exp hexadecimal", C(AUD, SUB, ",\"exp\":0x7fffffff", ""), TOKEN_MALFORMED},
	{"sub missing", C(AUD, "", EXP, ""), TOKEN_CLAIM_MISSING},
	{"sub empty", C(AUD, ",\"sub\":\"\"", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub a number", C(AUD, ",\"sub\":7", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub null", C(AUD, ",\"sub\":null", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub with NUL", C(AUD, ",\"sub\":\"admin\\u0000x\"", EXP, ""), TOKEN_MALFORMED},
	{"sub with a line feed", C(AUD, ",\"sub\":\"a\\nadmin\"", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub with escape", C(AUD, ",\"sub\":\"\\u001b[2J\"", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub with DEL", C(AUD, ",\"sub\":\"a\x7f\"", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub with a C1 control", C(AUD, ",\"sub\":\"a\\u009b2J\"", EXP, ""),
	 TOKEN_CLAIM_MALFORMED},
	{"sub turning text round", C(AUD, ",\"sub\":\"a\\u202eb\"", EXP, ""),
	 TOKEN_CLAIM_MALFORMED},
	{"sub with an isolate", C(AUD, ",\"sub\":\"a\\u2066b\"", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"sub with a no-break space", C(AUD, ",\"sub\":\"a\\u00a0b\"", EXP, ""), TOKEN_OK},
	{"sub of 256", C(AUD, ",\"sub\":\"" S64 S64 S64 S64 "\"", EXP, ""), TOKEN_OK},
	{"sub of 257", C(AUD, ",\"sub\":\"b" S64 S64 S64 S64 "\"", EXP, ""), TOKEN_CLAIM_MALFORMED},
	{"jti a number", C(AUD, SUB, EXP, ",\"jti\":1"), TOKEN_CLAIM_MALFORMED},
	{"jti with a tab", C(AUD, SUB, EXP, ",\"jti\":\"a\\tb\""), TOKEN_CLAIM_MALFORMED},
	{"groups a string", C(AUD, SUB, EXP, ",\"groups\":\"admin\""), TOKEN_CLAIM_MALFORMED},
	{"groups null", C(AUD, SUB, EXP, ",\"groups\":null"), TOKEN_CLAIM_MALFORMED},
	{"groups an object", C(AUD, SUB, EXP, ",\"groups\":{\"admin\":true}"),
	 TOKEN_CLAIM_MALFORMED},
	{"groups in groups", C(AUD, SUB, EXP, ",\"groups\":[\"a\",[\"b\"]]"),
	 TOKEN_CLAIM_MALFORMED},
	{"a group empty", C(AUD, SUB, EXP, ",\"groups\":[\"\"]"), TOKEN_CLAIM_MALFORMED},
	{"a group with a line feed", C(AUD, SUB, EXP, ",\"groups\":[\"a\\n\"]"),
	 TOKEN_CLAIM_MALFORMED},
};

static void attacks_said(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		enum token_reason got = verify_made(ec, said[i].header, said[i].payload, NOW);

		if (got != said[i].expect)
			fail_msg("%s: %s", said[i].name, token_reason_code(got));
	}
	for (size_t i = 0; i < ARRAY_SIZE(claimed); i++) {
		enum token_reason got = verify_made(ec, HEADER, claimed[i].payload, NOW);

		if (got != claimed[i].expect)
			fail_msg("%s: %s", claimed[i].name, token_reason_code(got));
	}
}

/* Signatures that are not the key's, in every form that a lenient verifier has taken. */
static void put_hmac(struct buf *t, struct span secret)
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	must(HMAC(EVP_sha256(), secret.p, (int)secret.len, t->data, buf_len(t), mac, &n));
	issuer_put_signature(t, mac, n);
}

static void sig_hmac_spki(struct buf *t)
{
	uint8_t *der = NULL;
	int n = i2d_PUBKEY(ec, &der);

	must(n > 0);
	put_hmac(t, span_of(der, (size_t)n));
	OPENSSL_free(der);
}

static void sig_hmac_jwks(struct buf *t)
{
	put_hmac(t, buf_span(&both_jwks));
}

static void sig_none(struct buf *t)
{
	buf_put_str(t, ".");
}

static void sig_absent(struct buf *t)
{
	(void)t;
}

static void sig_der(struct buf *t)
{
	uint8_t raw[2048];
	uint8_t der[80];
	uint8_t *p = der;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	int n;

	issuer_sign(t, ec, "SHA256", false, raw);
	must(ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)) == 1);
	n = i2d_ECDSA_SIG(sig, &p);
	ECDSA_SIG_free(sig);
	issuer_put_signature(t, der, (size_t)n);
}

/* The good signature with bytes [from, to) set to a value. */
static void put_patched(struct buf *t, size_t from, size_t to, const uint8_t *with)
{
	uint8_t raw[2048];

	issuer_sign(t, ec, "SHA256", false, raw);
	for (size_t i = from; i < to; i++)
		raw[i] = with ? with[i - from] : 0;
	issuer_put_signature(t, raw, 64);
}

static const uint8_t order[32] = {
	0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
	0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
};

static void sig_r_zero(struct buf *t)
{
	put_patched(t, 0, 32, NULL);
}

static void sig_s_zero(struct buf *t)
{
	put_patched(t, 32, 64, NULL);
}

static void sig_all_zero(struct buf *t)
{
	put_patched(t, 0, 64, NULL);
}

static void sig_r_order(struct buf *t)
{
	put_patched(t, 0, 32, order);
}

static void sig_s_order(struct buf *t)
{
	put_patched(t, 32, 64, order);
}

static void sig_ones(struct buf *t)
{
	uint8_t ones[64];

	memset(ones, 0xff, sizeof(ones));
	put_patched(t, 0, 64, ones);
}

static void sig_truncated(struct buf *t)
{
	uint8_t raw[2048];

	issuer_sign(t, ec, "SHA256", false, raw);
	issuer_put_signature(t, raw, 63);
}

static void sig_longer(struct buf *t)
{
	uint8_t raw[2048];

	issuer_sign(t, ec, "SHA256", false, raw);
	raw[64] = 0;
	issuer_put_signature(t, raw, 65);
}

static void sig_swapped(struct buf *t)
{
	uint8_t raw[2048];
	uint8_t swapped[64];

	issuer_sign(t, ec, "SHA256", false, raw);
	memcpy(swapped, raw + 32, 32);
	memcpy(swapped + 32, raw, 32);
	issuer_put_signature(t, swapped, 64);
}

static void put_good(struct buf *t)
{
	uint8_t raw[2048];

	issuer_sign(t, ec, "SHA256", false, raw);
	issuer_put_signature(t, raw, 64);
}

static void sig_padded(struct buf *t)
{
	put_good(t);
	buf_put_str(t, "==");
}

/* 64 bytes end in a character with 4 bits that say nothing: set one. */
static void sig_trailing_bits(struct buf *t)
{
	put_good(t);
	t->data[t->end - 1]++;
}

static void sig_fourth_part(struct buf *t)
{
	put_good(t);
	buf_put_str(t, ".e30");
}

static void sig_trailing_dot(struct buf *t)
{
	put_good(t);
	buf_put_str(t, ".");
}

static void sig_inner_space(struct buf *t)
{
	put_good(t);
	buf_put_str(t, " x");
}

static void sig_trailing_nul(struct buf *t)
{
	put_good(t);
	buf_put_u8(t, 0);
}

static void sig_other_key(struct buf *t)
{
	uint8_t raw[2048];

	issuer_sign(t, ec_other, "SHA256", false, raw);
	issuer_put_signature(t, raw, 64);
}

static void sig_p384(struct buf *t)
{
	uint8_t raw[2048];
	size_t n = issuer_sign(t, p384, "SHA256", false, raw);

	issuer_put_signature(t, raw, n);
}

static void sig_sha384(struct buf *t)
{
	uint8_t raw[2048];

	issuer_sign(t, ec, "SHA384", false, raw);
	issuer_put_signature(t, raw, 64);
}

static void sig_rsa(struct buf *t)
{
	uint8_t raw[2048];
	size_t n = issuer_sign(t, rsa, "SHA256", false, raw);

	issuer_put_signature(t, raw, n);
}

static void sig_rsa_pss(struct buf *t)
{
	uint8_t raw[2048];
	size_t n = issuer_sign(t, rsa, "SHA256", true, raw);

	issuer_put_signature(t, raw, n);
}

static void sig_rsa_sha512(struct buf *t)
{
	uint8_t raw[2048];
	size_t n = issuer_sign(t, rsa, "SHA512", false, raw);

	issuer_put_signature(t, raw, n);
}

static void sig_rsa_zero_first(struct buf *t)
{
	uint8_t raw[2048] = {0};
	size_t n = issuer_sign(t, rsa, "SHA256", false, raw);

	memmove(raw + 1, raw, n);
	raw[0] = 0;
	issuer_put_signature(t, raw, n + 1);
}

static void sig_rsa_one(struct buf *t)
{
	uint8_t raw[256] = {[255] = 1};

	issuer_put_signature(t, raw, sizeof(raw));
}

static void sig_rsa_zero(struct buf *t)
{
	uint8_t raw[256] = {0};

	issuer_put_signature(t, raw, sizeof(raw));
}

static void sig_huge(struct buf *t)
{
	buf_put_str(t, ".");
	for (size_t i = 0; i < 8000; i++)
		buf_put_u8(t, 'A');
}

static const struct {
	const char *name;
	const char *header;
	void (*put)(struct buf *t);
	enum token_reason expect;
} forged[] = {
	{"good ES256", HEADER, put_good, TOKEN_OK},
	{"good RS256", RS, sig_rsa, TOKEN_OK},
	{"none, empty signature", "{\"alg\":\"none\"}", sig_none, TOKEN_ALG_NOT_ALLOWED},
	{"none, no third part", "{\"alg\":\"none\"}", sig_absent, TOKEN_MALFORMED},
	{"ES256, empty signature", HEADER, sig_none, TOKEN_SIGNATURE_BAD},
	{"ES256, no third part", HEADER, sig_absent, TOKEN_MALFORMED},
	{"RS256, empty signature", RS, sig_none, TOKEN_SIGNATURE_BAD},
	{"HS256, public key as secret", "{\"alg\":\"HS256\",\"kid\":\"e1\"}", sig_hmac_spki,
	 TOKEN_ALG_NOT_ALLOWED},
	{"HS256, key set as secret", "{\"alg\":\"HS256\"}", sig_hmac_jwks, TOKEN_ALG_NOT_ALLOWED},
	{"HMAC said to be RS256", RS, sig_hmac_spki, TOKEN_SIGNATURE_BAD},
	{"DER", HEADER, sig_der, TOKEN_SIGNATURE_BAD},
	{"r = 0", HEADER, sig_r_zero, TOKEN_SIGNATURE_BAD},
	{"s = 0", HEADER, sig_s_zero, TOKEN_SIGNATURE_BAD},
	{"r = s = 0", HEADER, sig_all_zero, TOKEN_SIGNATURE_BAD},
	{"r = n", HEADER, sig_r_order, TOKEN_SIGNATURE_BAD},
	{"s = n", HEADER, sig_s_order, TOKEN_SIGNATURE_BAD},
	{"r, s > n", HEADER, sig_ones, TOKEN_SIGNATURE_BAD},
	{"a byte short", HEADER, sig_truncated, TOKEN_SIGNATURE_BAD},
	{"a byte long", HEADER, sig_longer, TOKEN_SIGNATURE_BAD},
	{"r and s swapped", HEADER, sig_swapped, TOKEN_SIGNATURE_BAD},
	{"padded base64", HEADER, sig_padded, TOKEN_SIGNATURE_BAD},
	{"trailing bits", HEADER, sig_trailing_bits, TOKEN_SIGNATURE_BAD},
	{"a fourth part", HEADER, sig_fourth_part, TOKEN_MALFORMED},
	{"a trailing dot", HEADER, sig_trailing_dot, TOKEN_MALFORMED},
	{"a blank and more", HEADER, sig_inner_space, TOKEN_SIGNATURE_BAD},
	{"a trailing NUL", HEADER, sig_trailing_nul, TOKEN_SIGNATURE_BAD},
	{"another key of the set, kid given", HEADER, sig_other_key, TOKEN_SIGNATURE_BAD},
	{"another key of the set, its kid", "{\"alg\":\"ES256\",\"kid\":\"e0\"}", sig_other_key,
	 TOKEN_OK},
	{"a P-384 key", HEADER, sig_p384, TOKEN_SIGNATURE_BAD},
	{"SHA-384", HEADER, sig_sha384, TOKEN_SIGNATURE_BAD},
	{"RSA said to be ES256", HEADER, sig_rsa, TOKEN_SIGNATURE_BAD},
	{"ES256 said to be RS256", RS, put_good, TOKEN_SIGNATURE_BAD},
	{"PSS said to be RS256", RS, sig_rsa_pss, TOKEN_SIGNATURE_BAD},
	{"PS256", "{\"alg\":\"PS256\",\"kid\":\"r1\"}", sig_rsa_pss, TOKEN_ALG_NOT_ALLOWED},
	{"SHA-512 said to be RS256", RS, sig_rsa_sha512, TOKEN_SIGNATURE_BAD},
	{"RSA with a leading zero", RS, sig_rsa_zero_first, TOKEN_SIGNATURE_BAD},
	{"RSA signature 1", RS, sig_rsa_one, TOKEN_SIGNATURE_BAD},
	{"RSA signature 0", RS, sig_rsa_zero, TOKEN_SIGNATURE_BAD},
	{"a huge signature", RS, sig_huge, TOKEN_SIGNATURE_BAD},
};

static void attacks_forged(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forged); i++) {
		_cleanup_buf_ struct buf t = BUF_INIT(65536);
		enum token_reason got;

		issuer_put_input(&t, span_str(forged[i].header), span_str(PAYLOAD));
		forged[i].put(&t);
		got = verify_at(buf_span(&t), NOW);
		if (got != forged[i].expect)
			fail_msg("%s: %s", forged[i].name, token_reason_code(got));
	}
}

/* A key that the token brings along, and signs with, is nobody's. */
static void attack_embedded_key(void **state)
{
	static const char *const members[] = {
		",\"jku\":\"https://evil.example/jwks.json\"",
		",\"x5u\":\"https://evil.example/chain.pem\"",
		",\"x5c\":[\"MIIB\"]",
	};
	EVP_PKEY *evil = issuer_ec("P-256");
	_cleanup_buf_ struct buf h = BUF_INIT(4096);

	(void)state;
	buf_put_str(&h, "{\"alg\":\"ES256\",\"jwk\":");
	issuer_put_jwk(&h, evil, "P-256", ",\"kid\":\"e1\"");
	buf_put_str(&h, "}");
	buf_put_u8(&h, 0);
	assert_int_equal(verify_made(evil, (const char *)buf_span(&h).p, PAYLOAD, NOW),
			 TOKEN_SIGNATURE_BAD);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		_cleanup_buf_ struct buf m = BUF_INIT(4096);

		buf_putf(&m, "{\"alg\":\"ES256\"%s}", members[i]);
		buf_put_u8(&m, 0);
		assert_int_equal(verify_made(evil, (const char *)buf_span(&m).p, PAYLOAD, NOW),
				 TOKEN_SIGNATURE_BAD);
		/* And they do no harm to a token that is right. */
		assert_int_equal(verify_made(ec, (const char *)buf_span(&m).p, PAYLOAD, NOW),
				 TOKEN_OK);
	}
	EVP_PKEY_free(evil);
}

/* Texts that are no token at all. */
static void attacks_shape(void **state)
{
	static const struct {
		const char *text;
		enum token_reason expect;
	} rows[] = {
		{"", TOKEN_MISSING},
		{" \r\n\t", TOKEN_MISSING},
		{".", TOKEN_MALFORMED},
		{"..", TOKEN_MALFORMED},
		{"...", TOKEN_MALFORMED},
		{"e30.e30", TOKEN_MALFORMED},
		{"e30.e30.", TOKEN_MALFORMED},
		{"e30.e30.AA.AA.AA", TOKEN_MALFORMED},
		{"a", TOKEN_MALFORMED},
		{"{\"payload\":\"e30\"}", TOKEN_MALFORMED},
		{"Bearer e30.e30.AA", TOKEN_MALFORMED},
	};
	_cleanup_free_ char *huge = malloc(TOKEN_BYTES_MAX + 2);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (verify_at(span_str(rows[i].text), NOW) != rows[i].expect)
			fail_msg("row %zu", i);
	assert_int_equal(verify_at((struct span){0}, NOW), TOKEN_MISSING);
	assert_non_null(huge);
	memset(huge, 'A', TOKEN_BYTES_MAX + 2);
	assert_int_equal(verify_at(span_of(huge, TOKEN_BYTES_MAX), NOW), TOKEN_MALFORMED);
	assert_int_equal(verify_at(span_of(huge, TOKEN_BYTES_MAX + 1), NOW), TOKEN_TOO_LARGE);
	memset(huge, '.', TOKEN_BYTES_MAX);
	assert_int_equal(verify_at(span_of(huge, TOKEN_BYTES_MAX), NOW), TOKEN_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attacks_said),
		cmocka_unit_test(attacks_forged),
		cmocka_unit_test(attack_embedded_key),
		cmocka_unit_test(attacks_shape),
	};

	return cmocka_run_group_tests_name("authn/attacks", tests, setup, teardown);
}
