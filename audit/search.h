/* search.h - find events: who did what, when, and how it was decided.
 * Used by: tools (sluicectl audit search).
 * Promises: reads only; an event that matches is shown whatever its strings hold; one that cannot
 * be read is handed on as such, never passed over. */
#ifndef SLUICE_AUDIT_SEARCH_H
#define SLUICE_AUDIT_SEARCH_H

#include <jansson.h>

#include "audit/entry.h"
#include "audit/store.h"

/* NULL: any. Strings are compared whole, save where it says otherwise. */
struct search_filter {
	const char *kind;
	const char *session;
	const char *subject;
	const char *workload;
	const char *resource;
	const char *pid;
	const char *exe; /* the whole path, or its last part */
	const char *verb;
	const char *effect; /* allow, approve, refuse */
	const char *since;  /* times as search_time writes them */
	const char *until;
	const char *text; /* a part of the operation's text */
	uint64_t limit;	  /* 0: none */
};

/* A time a person writes, as events have it: "2026-11-23", "2026-11-23T02:07[:58[.123]][Z]" (UTC),
 * or so long ago: "90s", "10m", "2h", "7d". -EINVAL. */
_must_check_ int search_time(const char *text, uint64_t now_wall_ns,
			     char ret[static ENTRY_TIME_LEN + 1]);

/* An event's JSON, strings with NULs allowed: -EBADMSG, -ENOMEM. */
_must_check_ int search_load(struct span json, json_t **ret_root);

/* A value below root, or NULL: search_get(root, "body", "who", "token", "subject", NULL). */
json_t *search_get(json_t *root, ...);
/* What an event is about: "who", "op", "resource", "verdict" of its body, or, in an approval, of
 * the request that it carries. */
json_t *search_about(json_t *root, const char *key);

/* The latest events that match, oldest of them first. root is NULL when the event's bytes are not
 * readable JSON. Callback as store_on_event. */
typedef int search_on_event(void *ctx, const struct store_event *e, json_t *root);
_must_check_ int search_run(struct store *s, const struct search_filter *f, search_on_event *on,
			    void *ctx);

#endif
