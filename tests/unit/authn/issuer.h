/* issuer.h - a token issuer for tests: makes keys, key sets and tokens, right or wrong.
 * Used by: tests of authn.
 * Promises: aborts when it cannot do what it is asked; what it makes is deterministic but for keys
 * and ECDSA signatures. */
#ifndef SLUICE_TESTS_ISSUER_H
#define SLUICE_TESTS_ISSUER_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include "authn/base64url.h"

#define must(x)                                                                 \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

static inline EVP_PKEY *issuer_ec(const char *curve)
{
	EVP_PKEY *key = EVP_EC_gen(curve);

	must(key);
	return key;
}

static inline EVP_PKEY *issuer_rsa(size_t bits)
{
	EVP_PKEY *key = EVP_RSA_gen(bits);

	must(key);
	return key;
}

static inline void put_bn(struct buf *out, const char *name, const BIGNUM *bn, int width)
{
	uint8_t bytes[2048];
	int n = width > 0 ? width : BN_num_bytes(bn);

	must(n <= (int)sizeof(bytes) && BN_bn2binpad(bn, bytes, n) == n);
	buf_putf(out, ",\"%s\":\"", name);
	base64url_encode(span_of(bytes, (size_t)n), out);
	buf_put_str(out, "\"");
}

/* A JWK; extra: members to add, each with its comma before it. */
static inline void issuer_put_jwk(struct buf *out, const EVP_PKEY *key, const char *crv,
				  const char *extra)
{
	BIGNUM *a = NULL;
	BIGNUM *b = NULL;
	bool ec = EVP_PKEY_is_a(key, "EC");

	must(EVP_PKEY_get_bn_param(key, ec ? OSSL_PKEY_PARAM_EC_PUB_X : OSSL_PKEY_PARAM_RSA_N, &a));
	must(EVP_PKEY_get_bn_param(key, ec ? OSSL_PKEY_PARAM_EC_PUB_Y : OSSL_PKEY_PARAM_RSA_E, &b));
	buf_putf(out, "{\"kty\":\"%s\"", ec ? "EC" : "RSA");
	if (ec)
		buf_putf(out, ",\"crv\":\"%s\"", crv);
	put_bn(out, ec ? "x" : "n", a, ec ? (EVP_PKEY_get_bits(key) + 7) / 8 : 0);
	put_bn(out, ec ? "y" : "e", b, ec ? (EVP_PKEY_get_bits(key) + 7) / 8 : 0);
	buf_putf(out, "%s}", extra);
	must(buf_error(out) == 0);
	BN_free(a);
	BN_free(b);
}

/* base64url(header) "." base64url(payload) */
static inline void issuer_put_input(struct buf *out, struct span header, struct span payload)
{
	base64url_encode(header, out);
	buf_put_str(out, ".");
	must(base64url_encode(payload, out) == 0);
}

/* Raw signature over the whole of `out`: r || s for EC, PKCS #1 v1.5 for RSA (PSS if asked). */
static inline size_t issuer_sign(const struct buf *out, EVP_PKEY *key, const char *md, bool pss,
				 uint8_t sig[static 2048])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	struct span in = buf_span(out);
	uint8_t der[2048];
	size_t len = sizeof(der);

	must(ctx && EVP_DigestSignInit_ex(ctx, &pctx, md, NULL, NULL, key, NULL) == 1);
	if (pss)
		must(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0);
	must(EVP_DigestSign(ctx, der, &len, in.p, in.len) == 1);
	EVP_MD_CTX_free(ctx);
	if (EVP_PKEY_is_a(key, "EC")) {
		const uint8_t *p = der;
		ECDSA_SIG *es = d2i_ECDSA_SIG(NULL, &p, (long)len);
		int n = (EVP_PKEY_get_bits(key) + 7) / 8;

		must(es);
		must(BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, n) == n);
		must(BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + n, n) == n);
		ECDSA_SIG_free(es);
		return 2 * (size_t)n;
	}
	memcpy(sig, der, len);
	return len;
}

static inline void issuer_put_signature(struct buf *out, const uint8_t *sig, size_t n)
{
	buf_put_str(out, ".");
	must(base64url_encode(span_of(sig, n), out) == 0);
}

/* A whole token. */
static inline void issuer_put_token(struct buf *out, EVP_PKEY *key, const char *header,
				    const char *payload)
{
	uint8_t sig[2048];
	size_t n;

	issuer_put_input(out, span_str(header), span_str(payload));
	n = issuer_sign(out, key, "SHA256", false, sig);
	issuer_put_signature(out, sig, n);
}

#endif
