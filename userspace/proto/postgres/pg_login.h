/* pg_login.h - logging in to a PostgreSQL server with the gateway's credential.
 * Used by: proto/postgres/pg_codec.c (in postgres_ops), session/ through it.
 * Promises: sans-I/O; the password leaves only in the form the server asks for; nothing of what a
 * server says in an error is passed on but its SQLSTATE; secrets are wiped. */
#ifndef SLUICE_PROTO_POSTGRES_PG_LOGIN_H
#define SLUICE_PROTO_POSTGRES_PG_LOGIN_H

#include "proto/proto.h"

/* Longest message of a server before it is ready for a query. */
#define PG_LOGIN_MESSAGE_MAX 16384u

/* Answers: none (trust), cleartext, md5, SCRAM-SHA-256. A cleartext password is sent over TLS, and
 * without TLS only because the configuration says `tls: disable`. */
extern const struct proto_login_ops postgres_login_ops;

#endif
