/* claims.h - what the claims of a token must say (RFC 7519 section 4, RFC 8725).
 * Used by: authn/.
 * Promises: pure; believes nothing that is missing, of another type, or out of bounds. */
#ifndef SLUICE_AUTHN_CLAIMS_H
#define SLUICE_AUTHN_CLAIMS_H

#include "authn/token.h"
#include "base/json.h"

#define CLAIM_TEXT_MAX 256	      /* bytes of sub, jti, or a group */
#define CLAIM_AUD_MAX  64	      /* entries of an aud array */
#define CLAIM_DATE_MAX 253402300799LL /* 9999-12-31T23:59:59Z */

/* iss, before anything is verified: good for nothing but choosing whose keys to try. */
enum token_reason claims_issuer(const json_t *claims, const char **ret_issuer);

/* Check every claim against the issuer's configuration at `now`; fill the principal (all but
 * token_sha256) with strings from arena, for TOKEN_OK only. */
enum token_reason claims_check(const json_t *claims, const struct issuer_config *issuer,
			       int64_t now, struct arena *arena, struct principal *ret_principal);

#endif
