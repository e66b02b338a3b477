/* nest.h - how deep and how large PostgreSQL's parser would get on a text, before it is asked.
 * Used by: proto/sql only. libpg-query recurses without a limit over what it has parsed.
 * Promises: one pass, no allocation; over-counts rather than under-counts. */
#ifndef SLUICE_PROTO_SQL_NEST_H
#define SLUICE_PROTO_SQL_NEST_H

#include "base/span.h"

/* Brackets inside each other. */
#define NEST_BRACKETS_MAX 512
/* Tokens that one path through the parse tree can be made of. `a+a+a` is a left-deep tree of
 * half as many levels as tokens; libpg-query 15 takes up to 200 bytes of stack for each. */
#define NEST_PATH_MAX 32768
/* Bytes of text that the tree holds once more: `SET (a, b) = (SELECT …)` repeats the right side for
 * every column on the left. */
#define NEST_REPEAT_MAX (128u * 1024u)

/* Bytes that PostgreSQL's scanner takes in vain: it reads a run of operator characters whole, then
 * gives all but one token of it back, so `++++…` and nested comments take quadratic time. */
#define NEST_RESCAN_MAX (2u * 1024u * 1024u)

/* 0, or -E2BIG. */
int nest_check(struct span text);

#endif
