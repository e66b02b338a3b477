/* Key sets: whatever the bytes, a set that is accepted holds sound public keys only. */
#include <stdlib.h>

#include "authn/jws.h"
#include "../unit/authn/rfc7515.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* The one key that signed the token: nothing else may verify it, and it must. */
static bool is_example(const struct jwk *key)
{
	static const char text[] = RFC7515_JWK_ES256;
	struct jwk example;
	json_t *object;
	bool same;

	must(json_load_strict(span_of(text, sizeof(text) - 1), &object) == 0);
	must(jwk_parse(object, &example) == 1);
	json_decref(object);
	same = EVP_PKEY_eq(key->key, example.key) == 1;
	jwk_done(&example);
	return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char token[] = RFC7515_TOKEN_ES256;
	struct jwks *set = NULL;
	struct jws jws;

	if (jwks_parse(span_of(data, size), &set) < 0) {
		must(!set);
		return 0;
	}
	must(jwks_count(set) <= JWKS_KEYS_MAX);
	must(jws_split(span_of(token, sizeof(token) - 1), &jws) == 0);
	for (size_t i = 0; i < set->n; i++) {
		const struct jwk *k = &set->keys[i];

		must(k->key && jws_alg_name(k->alg));
		must(!k->kid || strlen(k->kid) <= JWK_KID_MAX);
		must(EVP_PKEY_is_a(k->key, k->alg == JWS_ES256 ? "EC" : "RSA"));
		must(k->alg == JWS_ES256 || EVP_PKEY_get_bits(k->key) >= RSA_BITS_MIN);
		must((jws_verify(k, &jws) == 0) == is_example(k));
	}
	jwks_free(set);
	return 0;
}
