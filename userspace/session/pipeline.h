/* pipeline.h - the one place that orders what happens to an operation:
 *   identity → token → policy → record → approval → forward → mask → record
 * Used by: session.c (drives it by what the codec, the recorder and the warden say).
 * Promises: nothing goes on to the server that was not allowed and recorded; every failure refuses.
 */
#ifndef SLUICE_SESSION_PIPELINE_H
#define SLUICE_SESSION_PIPELINE_H

#include "session/session.h"

/* admission.c: identity and token are there, and what the agent asks for: let it in or refuse. */
void pipeline_connect(struct session *s);
/* The admission is recorded: log in upstream. */
void pipeline_recorded(struct session *s);
/* What policy is told of a session, without an operation. */
struct facts session_facts(const struct session *s);
/* Load the catalog anew; whoever waits for it in this session goes on afterwards. */
int session_load_catalog(struct session *s);
/* session_fatal with its parts. */
void session_refuse(struct session *s, const char *sqlstate, const char *code, const char *message,
		    const char *hint);

/* The codec's sink. */
int pipeline_op(struct session *s, const struct op *op);
int pipeline_columns(struct session *s, uint32_t op, const struct proto_column *columns, size_t n,
		     uint8_t *ret_masks);
void pipeline_done(struct session *s, uint32_t op, const struct op_result *result);

/* Go on with the operation that waits, after something changed. */
void pipeline_continue(struct session *s);
/* The recorder says: acks, approvals. */
void pipeline_on_ack(struct session *s);
void pipeline_on_approval(struct session *s, const struct msg_approval_state *m);
/* Somebody asked to cancel what this session does; true when it was only held here. */
bool pipeline_cancel_held(struct session *s);
/* The session ends: what it holds is withdrawn. */
void pipeline_end(struct session *s);

#endif
