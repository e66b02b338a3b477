/* entry.h - an event as it is kept and hashed: canonical JSON around a body.
 * Used by: audit/, roles/recorder, tools.
 * Promises: entry_put writes exactly what entry_parse accepts, and nothing else is accepted:
 * {"body":{…},"kind":"op","node":"n1","prev":"<hex>","seq":7,"time":"2026-11-23T02:07:58.123456Z"}
 */
#ifndef SLUICE_AUDIT_ENTRY_H
#define SLUICE_AUDIT_ENTRY_H

#include "audit/tree.h"

#define ENTRY_BODY_DEPTH  15u  /* one less than JSON_CHECK_DEPTH_MAX: the entry is around it */
#define ENTRY_NODE_MAX	  256u /* bytes, as escaped */
#define ENTRY_TIME_LEN	  27u
#define ENTRY_SESSION_MAX 64u
#define ENTRY_BODY_AT	  8u   /* where the body begins */
#define ENTRY_EXTRA_MAX	  512u /* an entry is at most so much longer than body and node */

struct entry {
	struct span body;
	struct span kind;
	struct span node;	/* as escaped */
	uint8_t prev[HASH_LEN]; /* leaf hash of the event before; zeros for the first */
	uint64_t seq;		/* from 1 */
	struct span time;
	struct span session; /* set by entry_parse: entry_session of the body */
};

/* "2026-11-23T02:07:58.123456Z" of nanoseconds since 1970, UTC. */
void entry_time(uint64_t wall_ns, char ret[static ENTRY_TIME_LEN + 1]);
/* A node's name as it stands between quotes. -EINVAL when it is empty or too long. */
_must_check_ int entry_escape_node(const char *node, struct buf *out);

/* Append the bytes. body must have passed json_check; the other strings need no escape. */
int entry_put(struct buf *out, const struct entry *e);
/* Spans point into bytes. -EBADMSG unless it is an entry in canonical form. */
_must_check_ int entry_parse(struct span bytes, struct entry *ret_entry);

/* Check a body. *ret_session: its "session" for the store's column, empty when there is none, or it
 * is no plain string of at most ENTRY_SESSION_MAX bytes. -EBADMSG: not one canonical object. */
_must_check_ int entry_check_body(struct span body, struct span *ret_session);
/* The same of a body that was checked. */
struct span entry_session(struct span body);

#endif
