/* pg_login_error.h - what an agent is told when the login upstream fails.
 * Used by: proto/postgres/pg_login.c.
 * Promises: nothing of the server's own text: it names the gateway's user, addresses and files. */
#ifndef SLUICE_PROTO_POSTGRES_PG_LOGIN_ERROR_H
#define SLUICE_PROTO_POSTGRES_PG_LOGIN_ERROR_H

#include "proto/proto.h"

struct pg_login_error {
	struct proto_error error;
	char sqlstate[6];
	char message[160];
};

/* message and hint are borrowed for ever (literals). */
void pg_login_error_set(struct pg_login_error *e, const char *sqlstate, const char *message,
			const char *hint);
/* From the body of an ErrorResponse. */
void pg_login_error_take(struct pg_login_error *e, struct span body);

#endif
