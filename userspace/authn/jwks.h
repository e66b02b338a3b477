/* jwks.h - the public keys of an issuer, as parsed (RFC 7517, RFC 7518 section 6).
 * Used by: authn/. Knows nothing of HTTP; bytes come from whoever fetched them.
 * Promises: a set is immutable once parsed; every key in it is usable, public and strong enough. */
#ifndef SLUICE_AUTHN_JWKS_H
#define SLUICE_AUTHN_JWKS_H

#include <openssl/evp.h>

#include "authn/token.h"
#include "base/json.h"

/* Signature algorithms that are known. Everything else, `none` and HMAC included, is JWS_ALG_NONE.
 */
enum jws_alg {
	JWS_ALG_NONE = 0,
	JWS_ES256, /* ECDSA, P-256, SHA-256 */
	JWS_RS256, /* RSASSA-PKCS1-v1_5, SHA-256 */
};

enum jws_alg jws_alg_by_name(const char *name);
const char *jws_alg_name(enum jws_alg alg);

#define JWK_KID_MAX	 256 /* bytes */
#define RSA_BITS_MIN	 2048
#define RSA_BITS_MAX	 8192
#define RSA_EXPONENT_MAX 8 /* bytes: what OpenSSL takes with a long modulus */

struct jwk {
	enum jws_alg alg; /* the one algorithm this key verifies */
	char *kid;	  /* NULL: none */
	EVP_PKEY *key;
};

struct jwks {
	size_t n;
	struct jwk keys[JWKS_KEYS_MAX];
};

/* One key of a set. 1: *ret_key filled, the caller's (jwk_done); 0: not for verifying what sluice
 * verifies (another type, curve, use, algorithm or a symmetric key), skip it; -EBADMSG: malformed,
 * weak, or with its private part; -ENOMEM. */
_must_check_ int jwk_parse(const json_t *object, struct jwk *ret_key);
void jwk_done(struct jwk *key);

#endif
