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
/* c is one valid character: does it end lines, move a terminal's cursor or turn the direction of
 * text (C0, C1, DEL, line and paragraph separators, bidirectional controls)? What is shown to
 * people must not hold one that somebody else chose. */
bool utf8_is_control(struct span c);

#endif
