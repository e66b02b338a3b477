/* token.h - workload tokens: JWS compact form (RFC 7515), verified to the letter.
 * Used by: session/, tools. Knows no network and no clock.
 * Promises: nothing of a token is believed before its signature holds; the algorithm is fixed by
 * the key and the allow-list, never by the header alone. */
#ifndef SLUICE_AUTHN_TOKEN_H
#define SLUICE_AUTHN_TOKEN_H

#include "base/arena.h"
#include "model/config.h"

/* Why a token was refused. The agent is told less (token_reason_public). */
enum token_reason {
	TOKEN_OK = 0,
	TOKEN_MISSING,
	TOKEN_TOO_LARGE,
	TOKEN_MALFORMED, /* not three parts of strict base64url, not JSON, duplicate keys … */
	TOKEN_ALG_NOT_ALLOWED, /* none, symmetric, or not in the issuer's list */
	TOKEN_CRIT_UNKNOWN,
	TOKEN_KEY_UNKNOWN, /* no key of that kid and algorithm */
	TOKEN_SIGNATURE_BAD,
	TOKEN_ISSUER_UNKNOWN,
	TOKEN_AUDIENCE_WRONG,
	TOKEN_EXPIRED,
	TOKEN_NOT_YET_VALID,
	TOKEN_CLAIM_MISSING, /* exp, sub, iss or aud */
	TOKEN_CLAIM_MALFORMED,
	TOKEN_NO_MEMORY,
	TOKEN_REASONS,
};

/* "expired", "signature-bad", … */
const char *token_reason_code(enum token_reason reason);
/* A clause for the agent (after a colon), without detail an attacker could use. */
const char *token_reason_public(enum token_reason reason);

#define TOKEN_SKEW_S 60

struct jwks;
/* Parse a JWK Set (RFC 7517 section 5). Keys of an unknown type or use are skipped; a malformed or
 * weak key of a known type is -EBADMSG. More than JWKS_KEYS_MAX keys: -E2BIG. */
#define JWKS_KEYS_MAX 64
_must_check_ int jwks_parse(struct span json, struct jwks **ret_set);
void jwks_free(struct jwks *set);
size_t jwks_count(const struct jwks *set);
DEFINE_CLEANUP(struct jwks *, jwks_free, jwks_freep)

/* Issuers with their parsed keys. */
struct token_verifier;
/* issuers are borrowed and must outlive the verifier. only: an issuer's name to accept alone, at
 * verification. A fault in a key set: -EBADMSG, *ret_bad the index of the issuer. */
_must_check_ int token_verifier_new(const struct issuer_config *issuers, size_t n, size_t *ret_bad,
				    struct token_verifier **ret_verifier);
void token_verifier_free(struct token_verifier *v);
DEFINE_CLEANUP(struct token_verifier *, token_verifier_free, token_verifier_freep)

/* Verify a compact JWS at `now` (seconds since 1970). White space at either end is ignored.
 * only: name of the one issuer to accept, or NULL for any configured. The principal's strings are
 * put in arena and *ret_principal is filled only for TOKEN_OK. */
enum token_reason token_verify(const struct token_verifier *v, const char *only, struct span token,
			       int64_t now, struct arena *arena, struct principal *ret_principal);

#endif
