#include "authn/jws.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "authn/base64url.h"
#include "base/json.h"

#define ES256_PART    32 /* bytes of r and of s, RFC 7518 section 3.4 */
#define ES256_DER_MAX 72
#define DECODED_MAX   BASE64URL_DECODED_MAX(TOKEN_BYTES_MAX)

DEFINE_CLEANUP(BIGNUM *, BN_free, bn_freep)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free, ecdsa_sig_freep)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

/* Order of P-256 (SEC 2, section 2.4.2). */
static const uint8_t p256_order[ES256_PART] = {
	0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
	0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
};

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span jws_trim(struct span token)
{
	while (token.len > 0 && is_space(token.p[0]))
		token = span_skip(token, 1);
	while (token.len > 0 && is_space(token.p[token.len - 1]))
		token.len--;
	return token;
}

int jws_split(struct span token, struct jws *ret_jws)
{
	const uint8_t *first;
	const uint8_t *second;
	struct span rest;
	struct jws jws;

	first = token.len > 0 ? memchr(token.p, '.', token.len) : NULL;
	if (!first)
		return -EBADMSG;
	jws.header = span_head(token, (size_t)(first - token.p));
	rest = span_skip(token, jws.header.len + 1);
	second = rest.len > 0 ? memchr(rest.p, '.', rest.len) : NULL;
	if (!second)
		return -EBADMSG;
	jws.payload = span_head(rest, (size_t)(second - rest.p));
	jws.signature = span_skip(rest, jws.payload.len + 1);
	if (jws.signature.len > 0 && memchr(jws.signature.p, '.', jws.signature.len))
		return -EBADMSG;
	jws.signed_part = span_head(token, jws.header.len + 1 + jws.payload.len);
	*ret_jws = jws;
	return 0;
}

static int decode_object(struct span text, json_t **ret_object)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	uint8_t bytes[DECODED_MAX];
	size_t len;
	int r;

	if (base64url_decode(text, bytes, sizeof(bytes), &len) < 0)
		return -EBADMSG;
	r = json_load_strict(span_of(bytes, len), &root);
	if (r < 0)
		return r == -ENOMEM ? -ENOMEM : -EBADMSG;
	if (!json_is_object(root))
		return -EBADMSG;
	*ret_object = TAKE_PTR(root);
	return 0;
}

/* No extension is understood, so any that must be is a refusal (RFC 7515 section 4.1.11). An
 * unencoded payload (RFC 7797) has to be marked critical: refused even by one who did not. */
static bool wants_extension(const json_t *header)
{
	const json_t *b64 = json_object_get(header, "b64");

	return json_object_get(header, "crit") || (b64 && !json_is_true(b64));
}

enum token_reason jws_header_parse(struct span text, struct jws_header *ret_header)
{
	_cleanup_(json_decrefp) json_t *header = NULL;
	struct jws_header out = {0};
	const json_t *alg;
	const json_t *kid;
	int r;

	r = decode_object(text, &header);
	if (r < 0)
		return r == -ENOMEM ? TOKEN_NO_MEMORY : TOKEN_MALFORMED;
	alg = json_object_get(header, "alg");
	if (!json_is_string(alg))
		return TOKEN_MALFORMED;
	if (wants_extension(header))
		return TOKEN_CRIT_UNKNOWN;
	out.alg = jws_alg_by_name(json_string_value(alg));
	if (out.alg == JWS_ALG_NONE)
		return TOKEN_ALG_NOT_ALLOWED;
	kid = json_object_get(header, "kid");
	if (kid) {
		if (!json_is_string(kid) || json_string_length(kid) > JWK_KID_MAX)
			return TOKEN_MALFORMED;
		out.has_kid = true;
		memcpy(out.kid, json_string_value(kid), json_string_length(kid));
	}
	*ret_header = out;
	return TOKEN_OK;
}

int jws_payload_parse(struct span payload, json_t **ret_claims)
{
	return decode_object(payload, ret_claims);
}

/* r || s, each of 32 bytes and in [1, n-1], to the DER that OpenSSL reads. */
static int es256_to_der(struct span raw, uint8_t der[static ES256_DER_MAX], size_t *ret_len)
{
	_cleanup_(ecdsa_sig_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
	_cleanup_(bn_freep) BIGNUM *n = BN_bin2bn(p256_order, sizeof(p256_order), NULL);
	_cleanup_(bn_freep) BIGNUM *r = NULL;
	_cleanup_(bn_freep) BIGNUM *s = NULL;
	int len;

	if (raw.len != 2 * ES256_PART)
		return -EKEYREJECTED;
	r = BN_bin2bn(raw.p, ES256_PART, NULL);
	s = BN_bin2bn(span_skip(raw, ES256_PART).p, ES256_PART, NULL);
	if (!sig || !n || !r || !s)
		return -ENOMEM;
	if (BN_is_zero(r) || BN_is_zero(s) || BN_cmp(r, n) >= 0 || BN_cmp(s, n) >= 0)
		return -EKEYREJECTED;
	if (ECDSA_SIG_set0(sig, r, s) != 1)
		return -ENOMEM;
	r = NULL;
	s = NULL;
	len = i2d_ECDSA_SIG(sig, NULL);
	if (len <= 0 || len > ES256_DER_MAX)
		return -EKEYREJECTED;
	len = i2d_ECDSA_SIG(sig, &der);
	if (len <= 0)
		return -ENOMEM;
	*ret_len = (size_t)len;
	return 0;
}

static int verify_sha256(const struct jwk *key, struct span message, struct span signature)
{
	_cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	int r;

	if (!ctx || EVP_DigestVerifyInit_ex(ctx, &pctx, "SHA256", NULL, NULL, key->key, NULL) != 1)
		return -ENOMEM;
	if (key->alg == JWS_RS256 && EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) <= 0)
		return -ENOMEM;
	r = EVP_DigestVerify(ctx, signature.p, signature.len, message.p, message.len);
	return r == 1 ? 0 : -EKEYREJECTED;
}

int jws_verify(const struct jwk *key, const struct jws *jws)
{
	uint8_t raw[RSA_BITS_MAX / 8];
	uint8_t der[ES256_DER_MAX];
	struct span signature;
	size_t len;
	int r;

	if (base64url_decode(jws->signature, raw, sizeof(raw), &len) < 0)
		return -EKEYREJECTED;
	signature = span_of(raw, len);
	if (key->alg == JWS_ES256) {
		r = es256_to_der(signature, der, &len);
		if (r < 0)
			return r;
		signature = span_of(der, len);
	} else if ((int)len != EVP_PKEY_get_size(key->key)) {
		return -EKEYREJECTED;
	}
	r = verify_sha256(key, jws->signed_part, signature);
	ERR_clear_error(); /* what is left in the queue would be taken for a fault of TLS */
	return r;
}
