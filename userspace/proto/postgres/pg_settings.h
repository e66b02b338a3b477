/* pg_settings.h - which settings an agent may bring along, and what a change of one means for
 * sluice's understanding of the session.
 * Used by: session/pipeline.c. Pure.
 * Promises: a setting not known to be harmless is refused at startup; one that could change how the
 * server reads statements, or which table a name stands for, is told apart. */
#ifndef SLUICE_PROTO_POSTGRES_PG_SETTINGS_H
#define SLUICE_PROTO_POSTGRES_PG_SETTINGS_H

#include "base/arena.h"
#include "proto/proto.h"

struct pg_settings {
	bool path_known; /* search_path stays as the server's role has it */
	size_t n_params; /* to send on: `options` taken apart into single settings */
	struct proto_param params[PROTO_STARTUP_PARAMS_MAX];
};

/* Check the parameters of a startup message (PostgreSQL 15, 55.7 StartupMessage; `options` as
 * process_postgres_switches splits it). -EACCES: one is not allowed, ret_why names it; -E2BIG. */
_must_check_ int pg_settings_check(const struct proto_param *params, size_t n, struct arena *arena,
				   struct pg_settings *ret_settings, char *ret_why,
				   size_t why_size);

/* After SET name (lower case; "" when it cannot be told; "all" for RESET ALL, which brings back
 * what login checked): does the search path stay as it was? */
bool pg_setting_keeps_path(const char *name);
/* … does the server still read text as the classifier does? value NULL: not a constant, or RESET.
 */
bool pg_setting_keeps_lexing(const char *name, const char *value);

#endif
