/* functions.h - which of PostgreSQL's built-in functions are harmless to call.
 * Used by: proto/sql only.
 * Promises: a function that could read a table, a file or another session's data is never here. */
#ifndef SLUICE_PROTO_SQL_FUNCTIONS_H
#define SLUICE_PROTO_SQL_FUNCTIONS_H

#include "base/span.h"

enum function_kind {
	FN_UNKNOWN = 0, /* may do anything */
	FN_PURE,	/* computes from its arguments, or tells what the catalog defines */
	FN_ACTS,	/* reads no table's rows, but does something: a call */
	FN_SET,		/* set_config */
	FN_SHOW,	/* current_setting */
	FN_NOTIFY,	/* pg_notify */
};

/* schema: NULL when none is written. */
enum function_kind function_kind(const char *schema, const char *name);

#endif
