/* siphash.h - SipHash-1-3 (Aumasson, Bernstein: a keyed hash that cannot be flooded).
 * Used by: the cache of classes, whose keys an agent chooses.
 * Promises: reads no byte past the span. */
#ifndef SLUICE_PROTO_SQL_SIPHASH_H
#define SLUICE_PROTO_SQL_SIPHASH_H

#include "base/span.h"

#define SIPHASH_KEY_LEN 16

uint64_t siphash13(const uint8_t key[SIPHASH_KEY_LEN], struct span text);

#endif
