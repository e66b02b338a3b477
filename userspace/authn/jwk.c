#include "authn/jwks.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "authn/base64url.h"

#define P256_COORDINATE 32 /* bytes, RFC 7518 section 6.2.1.2 */

DEFINE_CLEANUP(BIGNUM *, BN_free, bn_freep)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free, pkey_freep)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free, pkey_ctx_freep)
DEFINE_CLEANUP(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free, param_bld_freep)
DEFINE_CLEANUP(OSSL_PARAM *, OSSL_PARAM_free, param_freep)

static const struct {
	enum jws_alg alg;
	const char *name;
} algs[] = {
	{JWS_ES256, "ES256"},
	{JWS_RS256, "RS256"},
};

enum jws_alg jws_alg_by_name(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(algs); i++)
		if (streq(algs[i].name, name))
			return algs[i].alg;
	return JWS_ALG_NONE;
}

const char *jws_alg_name(enum jws_alg alg)
{
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++)
		if (algs[i].alg == alg)
			return algs[i].name;
	return "none";
}

/* A member that has to be a string if it is there. 1: there, 0: not there. */
static int member_string(const json_t *object, const char *name, const char **ret)
{
	const json_t *v = json_object_get(object, name);

	if (!v)
		return 0;
	if (!json_is_string(v))
		return -EBADMSG;
	*ret = json_string_value(v);
	return 1;
}

/* A required member of base64url bytes. */
static int member_bytes(const json_t *object, const char *name, uint8_t *out, size_t cap,
			size_t *ret_len)
{
	const char *text;
	int r;

	r = member_string(object, name, &text);
	if (r <= 0)
		return -EBADMSG;
	return base64url_decode(span_str(text), out, cap, ret_len) < 0 ? -EBADMSG : 0;
}

/* key_ops (RFC 7517 section 4.3): 1 when absent or holding "verify", 0 when without it. */
static int ops_allow_verify(const json_t *object)
{
	const json_t *ops = json_object_get(object, "key_ops");
	bool found = false;

	if (!ops)
		return 1;
	if (!json_is_array(ops))
		return -EBADMSG;
	for (size_t i = 0; i < json_array_size(ops); i++) {
		const json_t *op = json_array_get(ops, i);

		if (!json_is_string(op))
			return -EBADMSG;
		if (streq(json_string_value(op), "verify"))
			found = true;
	}
	return found ? 1 : 0;
}

/* 1: a key whose type, curve, use, operations and algorithm are ours; *ret_alg is what it verifies.
 */
static int wanted(const json_t *object, enum jws_alg *ret_alg)
{
	const char *kty = NULL;
	const char *crv = NULL;
	const char *use = "sig";
	const char *alg = NULL;
	enum jws_alg by_type;
	int r;

	if (member_string(object, "kty", &kty) <= 0)
		return -EBADMSG;
	if (streq(kty, "EC")) {
		if (member_string(object, "crv", &crv) <= 0)
			return -EBADMSG;
		if (!streq(crv, "P-256"))
			return 0;
		by_type = JWS_ES256;
	} else if (streq(kty, "RSA")) {
		by_type = JWS_RS256;
	} else {
		return 0;
	}
	r = member_string(object, "use", &use);
	if (r < 0)
		return r;
	if (!streq(use, "sig"))
		return 0;
	r = ops_allow_verify(object);
	if (r <= 0)
		return r;
	r = member_string(object, "alg", &alg);
	if (r < 0)
		return r;
	if (alg && jws_alg_by_name(alg) != by_type)
		return 0;
	*ret_alg = by_type;
	return 1;
}

/* Make the key and check it: on the curve, or a modulus and exponent that can be right. */
static int pkey_make(const char *type, OSSL_PARAM_BLD *bld, EVP_PKEY **ret_key)
{
	_cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
	_cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *check = NULL;
	_cleanup_(param_freep) OSSL_PARAM *params = NULL;
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;

	params = OSSL_PARAM_BLD_to_param(bld);
	ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) <= 0)
		return -ENOMEM;
	if (EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
		return -EBADMSG;
	check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (!check)
		return -ENOMEM;
	if (EVP_PKEY_public_check(check) != 1)
		return -EBADMSG;
	*ret_key = TAKE_PTR(key);
	return 0;
}

static int parse_ec(const json_t *object, EVP_PKEY **ret_key)
{
	_cleanup_(param_bld_freep) OSSL_PARAM_BLD *bld = NULL;
	uint8_t point[1 + 2 * P256_COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
	static const char *const names[] = {"x", "y"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len;

		if (member_bytes(object, names[i], point + 1 + i * P256_COORDINATE, P256_COORDINATE,
				 &len) < 0 ||
		    len != P256_COORDINATE)
			return -EBADMSG;
	}
	bld = OSSL_PARAM_BLD_new();
	if (!bld ||
	    !OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)))
		return -ENOMEM;
	return pkey_make("EC", bld, ret_key);
}

/* Base64urlUInt (RFC 7518 section 2): big endian, without leading zero octets. */
static int member_uint(const json_t *object, const char *name, size_t max, BIGNUM **ret)
{
	uint8_t bytes[RSA_BITS_MAX / 8];
	BIGNUM *bn;
	size_t len;

	if (member_bytes(object, name, bytes, MIN(max, sizeof(bytes)), &len) < 0 || len == 0 ||
	    bytes[0] == 0)
		return -EBADMSG;
	bn = BN_bin2bn(bytes, (int)len, NULL);
	if (!bn)
		return -ENOMEM;
	*ret = bn;
	return 0;
}

static int parse_rsa(const json_t *object, EVP_PKEY **ret_key)
{
	_cleanup_(param_bld_freep) OSSL_PARAM_BLD *bld = NULL;
	_cleanup_(bn_freep) BIGNUM *n = NULL;
	_cleanup_(bn_freep) BIGNUM *e = NULL;
	int r;

	r = member_uint(object, "n", RSA_BITS_MAX / 8, &n);
	if (r < 0)
		return r;
	r = member_uint(object, "e", RSA_EXPONENT_MAX, &e);
	if (r < 0)
		return r;
	if (BN_num_bits(n) < RSA_BITS_MIN || !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e))
		return -EBADMSG;
	bld = OSSL_PARAM_BLD_new();
	if (!bld || !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) ||
	    !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
		return -ENOMEM;
	return pkey_make("RSA", bld, ret_key);
}

int jwk_parse(const json_t *object, struct jwk *ret_key)
{
	_cleanup_(pkey_freep) EVP_PKEY *pkey = NULL;
	_cleanup_free_ char *kid_copy = NULL;
	const char *kid = NULL;
	enum jws_alg alg;
	int r;

	if (!json_is_object(object))
		return -EBADMSG;
	r = wanted(object, &alg);
	if (r <= 0)
		return r;
	/* A published private key is nobody's proof of anything. */
	if (json_object_get(object, "d"))
		return -EBADMSG;
	r = member_string(object, "kid", &kid);
	if (r < 0 || (kid && strlen(kid) > JWK_KID_MAX))
		return -EBADMSG;
	r = alg == JWS_ES256 ? parse_ec(object, &pkey) : parse_rsa(object, &pkey);
	ERR_clear_error(); /* what is left in the queue would be taken for a fault of TLS */
	if (r < 0)
		return r;
	if (kid) {
		kid_copy = strdup(kid);
		if (!kid_copy)
			return -ENOMEM;
	}
	*ret_key = (struct jwk){
		.alg = alg,
		.kid = TAKE_PTR(kid_copy),
		.key = TAKE_PTR(pkey),
	};
	return 1;
}

void jwk_done(struct jwk *key)
{
	free(key->kid);
	EVP_PKEY_free(key->key);
	*key = (struct jwk){0};
}
