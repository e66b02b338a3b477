/* param_text.h - a bind value of an event or an approval, as people read it.
 * Used by: tools (approvals, audit).
 * Promises: what is text stands in quotes, what is told of it does not: neither passes for the
 * other. */
#ifndef SLUICE_TOOLS_PARAM_TEXT_H
#define SLUICE_TOOLS_PARAM_TEXT_H

#include <jansson.h>

#include "base/buf.h"

/* 'ann'  'ann' (varchar)  7 (int4)  \x0001 (bytea)  \x00 (binary, type 1007)  NULL
 * At most max bytes of the value itself, 0: all of it. */
void param_put(struct buf *out, const json_t *param, size_t max);

#endif
