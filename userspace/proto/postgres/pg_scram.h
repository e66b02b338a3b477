/* pg_scram.h - SCRAM-SHA-256, the client's side (RFC 5802, RFC 7677), without channel binding.
 * Used by: proto/postgres/pg_login.c. Sans-I/O.
 * Promises: the server is believed only once it has proved that it knows the password too;
 * secrets are wiped by pg_scram_done. */
#ifndef SLUICE_PROTO_POSTGRES_PG_SCRAM_H
#define SLUICE_PROTO_POSTGRES_PG_SCRAM_H

#include "base/buf.h"

#define PG_SCRAM_MECHANISM "SCRAM-SHA-256"
/* A server may ask for as much work as it likes: 4096 is PostgreSQL's default. */
#define PG_SCRAM_ITERATIONS_MAX 1000000u
#define PG_SCRAM_MESSAGE_MAX	1024u /* bytes of one message of the server's */
#define PG_SCRAM_NONCE_LEN	24u   /* characters of ours */

struct pg_scram {
	const char *password; /* borrowed */
	char nonce[PG_SCRAM_NONCE_LEN + 1];
	struct buf auth; /* AuthMessage as far as it is known */
	uint8_t server_key[32];
	bool answered; /* the proof has been given: server_key is known */
};

/* Begin: append client-first-message to out. user: "" for PostgreSQL, which knows it already.
 * nonce: of PG_SCRAM_NONCE_LEN printable characters, or NULL for a random one (tests give one).
 * -ENOMEM, -EIO (no random bytes), -EINVAL (nonce), the buffer's error. */
_must_check_ int pg_scram_begin(struct pg_scram *s, const char *user, const char *password,
				const char *nonce, struct buf *out);
/* Take server-first-message, append client-final-message to out. -EPROTO. */
_must_check_ int pg_scram_answer(struct pg_scram *s, struct span server_first, struct buf *out);
/* Take server-final-message: 0 when the server has proved itself; -EACCES when it reports an error;
 * -EPROTO otherwise. */
_must_check_ int pg_scram_verify(const struct pg_scram *s, struct span server_final);
void pg_scram_done(struct pg_scram *s);

#endif
