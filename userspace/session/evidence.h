/* evidence.h - what is recorded of a session and its operations: bodies of events (audit/).
 * Used by: session/.
 * Promises: canonical JSON; no secret; a body fits into one message: long parts are cut and marked,
 * their digests are whole. */
#ifndef SLUICE_SESSION_EVIDENCE_H
#define SLUICE_SESSION_EVIDENCE_H

#include "session/session.h"

/* Bytes of bind values that a record, or an approver, is shown. */
#define EVIDENCE_PARAMS_MAX (16u * 1024u)

/* Build s->who and s->who_long from process and principal. -ENOMEM. */
_must_check_ int evidence_who(struct session *s);
/* Body of session.open, session.refused (reason: a code; message: for people) and session.close. */
_must_check_ int evidence_session(struct session *s, enum event_kind kind, const char *reason,
				  const char *message, struct buf *out);
_must_check_ int evidence_op(struct session *s, const struct op *op, const struct sql_class *sql,
			     const struct verdict *v, struct buf *out);
/* What an approver is shown: the operation itself, who asks, and the rule. */
_must_check_ int evidence_approval(struct session *s, const struct op *op,
				   const struct sql_class *sql, const struct verdict *v,
				   struct buf *out);
_must_check_ int evidence_result(struct session *s, uint32_t op, const struct op_result *result,
				 struct buf *out);
_must_check_ int evidence_cancel(struct session *s, bool passed, const char *reason,
				 struct buf *out);

#endif
