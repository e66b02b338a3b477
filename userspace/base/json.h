/* json.h - strict JSON in: jansson with duplicates, NUL escapes, depth and size refused.
 * Used by: authn/ (tokens, key sets), tools. Where a fault in a document must not be guessed at.
 * Promises: what it returns was wholly valid; the caller owns it (json_decref, or
 * _cleanup_(json_decrefp), which jansson itself defines). */
#ifndef SLUICE_BASE_JSON_H
#define SLUICE_BASE_JSON_H

#include <jansson.h>

#include "base/span.h"

#define JSON_INPUT_MAX (1024u * 1024u)
#define JSON_NEST_MAX  16u

/* Parse one document that fills the whole span.
 * -E2BIG: over JSON_INPUT_MAX bytes or nested deeper than JSON_NEST_MAX; -EBADMSG: not JSON,
 * duplicate keys, NUL in a string, or not UTF-8; -ENOMEM. */
_must_check_ int json_load_strict(struct span text, json_t **ret_root);

#endif
