/* utf8.h - strict UTF-8 (RFC 3629): shortest form, no surrogates, at most U+10FFFF.
 * Used by: JSON, masks, what is shown to people.
 * Promises: reads no byte past the span. */
#ifndef SLUICE_BASE_UTF8_H
#define SLUICE_BASE_UTF8_H

#include "base/span.h"

/* Length in bytes (1..4) of the first character, or 0 when the span is empty or does not begin
 * with a valid one. */
size_t utf8_valid_prefix(struct span s);
bool utf8_valid(struct span s);

#endif
