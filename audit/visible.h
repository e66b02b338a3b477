/* visible.h - text of agents and servers, made safe to look at.
 * Used by: tools, whenever they print what is in an event or an approval.
 * Promises: what comes out is valid UTF-8 that moves no cursor, changes no direction and hides
 * nothing: each character that would is written as what it is. */
#ifndef SLUICE_AUDIT_VISIBLE_H
#define SLUICE_AUDIT_VISIBLE_H

#include "base/buf.h"

/* Append s: control characters as \n, \t, \x1b; direction, zero-width, separator, tag and private
 * characters as <U+202E>; bytes that are not UTF-8 as <FF>; a backslash as itself. */
int visible_put(struct buf *out, struct span s);

#endif
