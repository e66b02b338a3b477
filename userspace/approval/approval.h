/* approval.h - a person's decision on one operation: its states, its id, and who may decide.
 * Used by: roles/recorder (keeps them), tools (ids that people type).
 * Promises: no I/O and no clock; a state that is final is never left; an approval is for exactly
 * the bytes whose digest it names. */
#ifndef SLUICE_APPROVAL_APPROVAL_H
#define SLUICE_APPROVAL_APPROVAL_H

#include "ipc/msg.h"

#define APPROVAL_ASKER_MAX 256u
#define APPROVAL_BY_MAX	   128u /* bytes, NUL included */
#define APPROVAL_WHY_MAX   512u

/* "pending", …; NULL for a number that is none. And back: 0 for none. */
const char *approval_state_name(unsigned state);
unsigned approval_state_of(struct span name);
bool approval_is_final(unsigned state);
/* Move *state; -EPERM, and nothing changes, where the table has no such move. */
_must_check_ int approval_move(uint8_t *state, enum approval_state to);

/* A new id, 40 random bits: "ap-7K3F-Q2MX". No I, L, O or U. Whether it is taken already is for
 * whoever keeps them to see. */
_must_check_ int approval_id_make(char ret_id[static APPROVAL_ID_MAX]);
/* What a person typed, as ids are written: case, missing dashes and O for 0, I or L for 1 are
 * forgiven. -EINVAL. */
_must_check_ int approval_id_parse(const char *text, char ret_id[static APPROVAL_ID_MAX]);

/* What deciding looks at. */
struct approval_question {
	uint8_t state;
	const uint8_t *digest; /* SHA256_LEN bytes, of what was shown */
	struct span groups;    /* NUL-terminated each: any of them may decide */
	const char *asker;     /* subject of the workload's token, "" when it has none */
};

/* May this decision be taken? NULL: yes; otherwise a sentence for the person who tried. */
const char *approval_objection(const struct approval_question *q,
			       const struct msg_approval_decide *d);

#endif
