/* sql_names.h - what a session has prepared or declared under a name, in SQL itself.
 * Used by: session/pipeline.c.
 * Promises: EXECUTE and FETCH are judged by what the name may stand for: everything that this
 * session ever gave it (whether the server took it is not known here), or unknown. Bounded. */
#ifndef SLUICE_SESSION_SQL_NAMES_H
#define SLUICE_SESSION_SQL_NAMES_H

#include "base/arena.h"
#include "model/op.h"

#define SQL_NAMES_MAX 256 /* a session with more: EXECUTE and FETCH are unknown from then on */

struct sql_named;

struct sql_names {
	struct sql_named *list;
	size_t n;
	bool overflow;
	struct arena arena;
};

void sql_names_init(struct sql_names *n);
void sql_names_done(struct sql_names *n);
/* Remember what the statements of an operation that is let through give a name to: PREPARE and
 * DECLARE, and a statement that the protocol itself names (op->name). */
void sql_names_learn(struct sql_names *n, const struct op *op);
/* sql with every EXECUTE and FETCH joined with what its name stands for; sql itself when it has
 * none. Copies go to arena; NULL when that is full. */
const struct sql_class *sql_names_join(const struct sql_names *n, const struct sql_class *sql,
				       struct arena *arena);

#endif
