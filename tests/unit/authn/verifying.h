/* verifying.h - the keys, the issuer and the verifier that token tests start from.
 * Used by: tests of authn; after cmocka.h.
 * Promises: verify_with fails the test when a refused token leaves anything in the principal. */
#ifndef SLUICE_TESTS_VERIFYING_H
#define SLUICE_TESTS_VERIFYING_H

#include "authn/jws.h"
#include "unit/authn/issuer.h"

#define NOW	1700000000
#define HEADER	"{\"alg\":\"ES256\",\"kid\":\"e1\"}"
#define PAYLOAD P("")
/* A payload that is good, with members added. */
#define P(extra)                                                                      \
	"{\"iss\":\"https://issuer.example\",\"aud\":\"sluice\",\"sub\":\"agent-7\"," \
	"\"exp\":1700000300" extra "}"

#define RS		       "{\"alg\":\"RS256\",\"kid\":\"r1\"}"
#define C(aud, sub, exp, rest) "{\"iss\":\"https://issuer.example\"" aud sub exp rest "}"
#define AUD		       ",\"aud\":\"sluice\""
#define SUB		       ",\"sub\":\"a\""
#define EXP		       ",\"exp\":1700000300"

static EVP_PKEY *ec, *ec_other, *rsa, *p384;
static struct buf ec_jwks, both_jwks;
static struct issuer_config issuer;
static struct token_verifier *verifier;

static inline int setup(void **state)
{
	size_t bad;

	(void)state;
	ec = issuer_ec("P-256");
	ec_other = issuer_ec("P-256");
	rsa = issuer_rsa(2048);
	p384 = issuer_ec("P-384");
	ec_jwks = BUF_INIT(65536);
	both_jwks = BUF_INIT(65536);
	buf_put_str(&ec_jwks, "{\"keys\":[");
	issuer_put_jwk(&ec_jwks, ec, "P-256", ",\"kid\":\"e1\"");
	buf_put_str(&both_jwks, "{\"keys\":[");
	issuer_put_jwk(&both_jwks, ec_other, "P-256", ",\"kid\":\"e0\"");
	buf_put_str(&both_jwks, ",");
	issuer_put_jwk(&both_jwks, ec, "P-256", ",\"kid\":\"e1\"");
	buf_put_str(&both_jwks, ",");
	issuer_put_jwk(&both_jwks, rsa, NULL, ",\"kid\":\"r1\"");
	buf_put_str(&ec_jwks, "]}");
	buf_put_str(&both_jwks, "]}");
	issuer = (struct issuer_config){
		.name = "cluster",
		.issuer = "https://issuer.example",
		.jwks = buf_span(&both_jwks),
		.audience = "sluice",
		.n_algorithms = 2,
		.algorithms = {"ES256", "RS256"},
		.groups_claim = "groups",
	};
	return token_verifier_new(&issuer, 1, &bad, &verifier);
}

static inline int teardown(void **state)
{
	(void)state;
	token_verifier_free(verifier);
	buf_done(&ec_jwks);
	buf_done(&both_jwks);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(ec_other);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(p384);
	return 0;
}

/* Verify; also checks that a principal comes out only with TOKEN_OK. */
static inline enum token_reason verify_with(const struct token_verifier *v, const char *only,
					    struct span token, int64_t now, struct arena *arena,
					    struct principal *p)
{
	struct principal untouched;
	enum token_reason reason;

	memset(p, 0x5a, sizeof(*p));
	untouched = *p;
	reason = token_verify(v, only, token, now, arena, p);
	if (reason != TOKEN_OK)
		assert_memory_equal(p, &untouched, sizeof(*p));
	return reason;
}

static inline enum token_reason verify_at(struct span token, int64_t now)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	struct principal p;

	return verify_with(verifier, NULL, token, now, &arena, &p);
}

static inline enum token_reason verify_made(EVP_PKEY *key, const char *header, const char *payload,
					    int64_t now)
{
	_cleanup_buf_ struct buf t = BUF_INIT(65536);

	issuer_put_token(&t, key, header, payload);
	return verify_at(buf_span(&t), now);
}

#endif
