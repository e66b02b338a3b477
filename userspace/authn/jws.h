/* jws.h - the parts of a compact JWS (RFC 7515 section 7.1) and its signature.
 * Used by: authn/, tools (to show a header).
 * Promises: splits and decodes strictly; a header decides nothing but which keys are tried. */
#ifndef SLUICE_AUTHN_JWS_H
#define SLUICE_AUTHN_JWS_H

#include "authn/jwks.h"

/* Borrowed from the token. */
struct jws {
	struct span signed_part; /* header "." payload: what the signature covers */
	struct span header;	 /* base64url */
	struct span payload;
	struct span signature;
};

struct jws_header {
	enum jws_alg alg;
	bool has_kid;
	char kid[JWK_KID_MAX + 1];
};

/* White space that files and environment variables leave at either end. */
struct span jws_trim(struct span token);

/* Exactly three parts. -EBADMSG otherwise. Decodes nothing. */
_must_check_ int jws_split(struct span token, struct jws *ret_jws);

/* TOKEN_OK, or why the header is refused. jwk, jku, x5u, x5c and typ are not looked at: a token
 * does not say which key to believe. */
enum token_reason jws_header_parse(struct span header, struct jws_header *ret_header);

/* The payload's claims: a JSON object. -EBADMSG, -ENOMEM. */
_must_check_ int jws_payload_parse(struct span payload, json_t **ret_claims);

/* 0: the signature is this key's over signed_part. -EKEYREJECTED: it is not, or has not the form
 * of one; -ENOMEM. */
_must_check_ int jws_verify(const struct jwk *key, const struct jws *jws);

#endif
