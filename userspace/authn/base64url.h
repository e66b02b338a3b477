/* base64url.h - base64url without padding (RFC 4648 section 5, RFC 7515 section 2).
 * Used by: authn/, tools, tests.
 * Promises: one text for one run of bytes: padding, white space, other alphabets and trailing bits
 * that are not zero are refused. */
#ifndef SLUICE_AUTHN_BASE64URL_H
#define SLUICE_AUTHN_BASE64URL_H

#include "base/buf.h"

/* Bytes that n characters decode to, at most. */
#define BASE64URL_DECODED_MAX(n) ((n) / 4 * 3 + 2)

/* Decode the whole span. -EBADMSG: not strict base64url; -ENOBUFS: more than cap bytes. On failure
 * out may have been written to. */
_must_check_ int base64url_decode(struct span text, uint8_t *out, size_t cap, size_t *ret_len);
/* 0 or the buffer's error. */
int base64url_encode(struct span bytes, struct buf *out);

#endif
