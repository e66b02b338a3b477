/* pg_message.h - messages that sluice writes itself, and errors and notices taken apart.
 * Used by: proto/postgres/.
 * Promises: pure; a message that is not well-formed is -EBADMSG, never guessed at. */
#ifndef SLUICE_PROTO_POSTGRES_PG_MESSAGE_H
#define SLUICE_PROTO_POSTGRES_PG_MESSAGE_H

#include "proto/postgres/pg_wire.h"
#include "proto/proto.h"

/* Each appends one message and returns 0 or the buffer's error. */
int pg_put_error(struct buf *out, const struct proto_error *error);
int pg_put_notice(struct buf *out, const struct proto_error *notice);
/* ERROR with the verdict's SQLSTATE, its reason, its rules and what to do. */
int pg_put_refusal(struct buf *out, const struct verdict *verdict);
/* AuthenticationOk, ParameterStatus…, BackendKeyData, ReadyForQuery. */
int pg_put_admission(struct buf *out, const struct proto_admission *admission);
/* NegotiateProtocolVersion: 3.0, and the options (`_pq_.…`) that are not known. */
int pg_put_negotiate(struct buf *out, const char *const *options, size_t n_options);
/* A message of a type byte and strings: Query, Parse and Describe as sluice sends them. */
int pg_put_query(struct buf *out, const char *text);
int pg_put_parse(struct buf *out, const char *name, const char *text);
int pg_put_describe_portal(struct buf *out, const char *name);
int pg_put_empty(struct buf *out, char type); /* Flush, Sync */

/* Fields of an ErrorResponse or NoticeResponse that are looked at. */
struct pg_error {
	bool fatal; /* FATAL or PANIC: the session is over */
	char sqlstate[6];
	bool has_context; /* something inside a function or a COPY says so */
	bool raised;	  /* by RAISE of PL/pgSQL */
};

/* cut: body is only the beginning of the message's. */
_must_check_ int pg_error_parse(struct span body, bool cut, struct pg_error *ret_error);

/* The same message without what could hold a value out of a row: DETAIL, HINT, CONTEXT, the
 * internal query; and the text itself where it may quote one (data exceptions, whatever a function
 * says of its own, every notice). cut as above: what is missing is left out. */
_must_check_ int pg_error_strip(char type, struct span body, bool cut, struct buf *out);

/* Rows that a command tag tells of: "INSERT 0 5" → 5; a tag without a number → 0. */
uint64_t pg_tag_rows(struct span tag);

#endif
