#include "authn/token.h"

#include <openssl/err.h>

#include "authn/claims.h"
#include "authn/jws.h"

/* Keys tried for one token. Verifying is dear, and a token that names no key, or a name that many
 * keys share, must not make it dearer. */
#define KEY_TRIES_MAX 16

struct token_verifier {
	size_t n;
	const struct issuer_config *issuers; /* borrowed */
	struct jwks *sets[];		     /* of each issuer */
};

static const struct {
	const char *code;
	const char *public;
} reasons[TOKEN_REASONS] = {
	[TOKEN_OK] = {"ok", "the token is accepted"},
	[TOKEN_MISSING] = {"missing", "no token was found for this workload"},
	[TOKEN_TOO_LARGE] = {"too-large", "the token is larger than is accepted"},
	[TOKEN_MALFORMED] = {"malformed", "the token is not a well-formed signed token"},
	[TOKEN_ALG_NOT_ALLOWED] = {"alg-not-allowed",
				   "the token is signed in a way that is not accepted"},
	[TOKEN_CRIT_UNKNOWN] = {"crit-unknown",
				"the token asks for an extension that is not known"},
	/* Which of a key, a signature or an issuer is wrong is not for whoever is guessing. */
	[TOKEN_KEY_UNKNOWN] = {"key-unknown", "the token's signature could not be verified"},
	[TOKEN_SIGNATURE_BAD] = {"signature-bad", "the token's signature could not be verified"},
	[TOKEN_ISSUER_UNKNOWN] = {"issuer-unknown", "the token's issuer is not accepted here"},
	[TOKEN_AUDIENCE_WRONG] = {"audience-wrong", "the token was issued for another service"},
	[TOKEN_EXPIRED] = {"expired", "the token has expired; get a new one"},
	[TOKEN_NOT_YET_VALID] = {"not-yet-valid", "the token is not valid yet"},
	[TOKEN_CLAIM_MISSING] = {"claim-missing", "the token lacks a claim that is required"},
	[TOKEN_CLAIM_MALFORMED] = {"claim-malformed", "the token has a claim that is not valid"},
	[TOKEN_NO_MEMORY] = {"no-memory", "the token could not be checked; try again"},
};

const char *token_reason_code(enum token_reason reason)
{
	return (unsigned)reason < TOKEN_REASONS ? reasons[reason].code : "unknown";
}

const char *token_reason_public(enum token_reason reason)
{
	return (unsigned)reason < TOKEN_REASONS ? reasons[reason].public
						: "the token is not accepted";
}

void token_verifier_free(struct token_verifier *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++)
		jwks_free(v->sets[i]);
	free(v);
}

int token_verifier_new(const struct issuer_config *issuers, size_t n, size_t *ret_bad,
		       struct token_verifier **ret_verifier)
{
	_cleanup_(token_verifier_freep) struct token_verifier *v = NULL;
	size_t size;

	if (__builtin_mul_overflow(n, sizeof(v->sets[0]), &size) ||
	    __builtin_add_overflow(size, sizeof(*v), &size))
		return -ENOMEM;
	v = calloc(1, size);
	if (!v)
		return -ENOMEM;
	v->issuers = issuers;
	for (; v->n < n; v->n++) {
		int r = jwks_parse(issuers[v->n].jwks, &v->sets[v->n]);

		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			*ret_bad = v->n;
			return -EBADMSG;
		}
	}
	*ret_verifier = TAKE_PTR(v);
	return 0;
}

static bool alg_allowed(const struct issuer_config *issuer, enum jws_alg alg)
{
	for (size_t i = 0; i < issuer->n_algorithms; i++)
		if (alg != JWS_ALG_NONE && jws_alg_by_name(issuer->algorithms[i]) == alg)
			return true;
	return false;
}

static enum token_reason check_signature(const struct jwks *set, const struct jws_header *header,
					 const struct jws *jws)
{
	unsigned tries = 0;

	for (size_t i = 0; i < set->n && tries < KEY_TRIES_MAX; i++) {
		const struct jwk *key = &set->keys[i];
		int r;

		if (key->alg != header->alg)
			continue;
		if (header->has_kid && !(key->kid && streq(key->kid, header->kid)))
			continue;
		tries++;
		r = jws_verify(key, jws);
		if (r != -EKEYREJECTED)
			return r == 0 ? TOKEN_OK : TOKEN_NO_MEMORY;
	}
	return tries > 0 ? TOKEN_SIGNATURE_BAD : TOKEN_KEY_UNKNOWN;
}

/* Signature first, then claims. */
static enum token_reason check_with(const struct token_verifier *v, size_t i,
				    const struct jws_header *header, const struct jws *jws,
				    const json_t *claims, int64_t now, struct arena *arena,
				    struct principal *p)
{
	enum token_reason reason;

	if (!alg_allowed(&v->issuers[i], header->alg))
		return TOKEN_ALG_NOT_ALLOWED;
	reason = check_signature(v->sets[i], header, jws);
	if (reason != TOKEN_OK)
		return reason;
	return claims_check(claims, &v->issuers[i], now, arena, p);
}

/* One iss may be configured more than once (two audiences, say): the first that accepts counts,
 * else the reason of the one that came furthest, which is the greatest. */
static enum token_reason check_issuers(const struct token_verifier *v, const char *only,
				       const struct jws_header *header, const struct jws *jws,
				       const json_t *claims, int64_t now, struct arena *arena,
				       struct principal *p)
{
	enum token_reason reason;
	enum token_reason best = TOKEN_OK;
	const char *iss;

	reason = claims_issuer(claims, &iss);
	if (reason != TOKEN_OK)
		return reason;
	for (size_t i = 0; i < v->n; i++) {
		if (only && !streq(v->issuers[i].name, only))
			continue;
		if (!streq(v->issuers[i].issuer, iss))
			continue;
		reason = check_with(v, i, header, jws, claims, now, arena, p);
		if (reason == TOKEN_OK || reason == TOKEN_NO_MEMORY)
			return reason;
		best = MAX(best, reason);
	}
	return best == TOKEN_OK ? TOKEN_ISSUER_UNKNOWN : best;
}

enum token_reason token_verify(const struct token_verifier *v, const char *only, struct span token,
			       int64_t now, struct arena *arena, struct principal *ret_principal)
{
	_cleanup_(json_decrefp) json_t *claims = NULL;
	struct jws_header header;
	struct principal p = {0};
	enum token_reason reason;
	struct jws jws;
	int r;

	token = jws_trim(token);
	if (token.len == 0)
		return TOKEN_MISSING;
	if (token.len > TOKEN_BYTES_MAX)
		return TOKEN_TOO_LARGE;
	if (jws_split(token, &jws) < 0)
		return TOKEN_MALFORMED;
	reason = jws_header_parse(jws.header, &header);
	if (reason != TOKEN_OK)
		return reason;
	r = jws_payload_parse(jws.payload, &claims);
	if (r < 0)
		return r == -ENOMEM ? TOKEN_NO_MEMORY : TOKEN_MALFORMED;
	reason = check_issuers(v, only, &header, &jws, claims, now, arena, &p);
	if (reason != TOKEN_OK)
		return reason;
	r = EVP_Q_digest(NULL, "SHA256", NULL, token.p, token.len, p.token_sha256, NULL);
	ERR_clear_error();
	if (r != 1)
		return TOKEN_NO_MEMORY;
	*ret_principal = p;
	return TOKEN_OK;
}
