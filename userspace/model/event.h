/* event.h - kinds of events that the store holds.
 * Used by: session and roles (make them), audit (stores them), tools (search them).
 * Promises: a kind's name never changes once released; names are what the JSON says. */
#ifndef SLUICE_MODEL_EVENT_H
#define SLUICE_MODEL_EVENT_H

#include "base/macro.h"

enum event_kind {
	EVENT_NODE_START = 1, /* sluiced started: version, policy and configuration digests */
	EVENT_NODE_STOP,
	EVENT_WORKER_LOST,     /* a worker died; a new one was started */
	EVENT_CONTAINER_READY, /* a listener was opened in a network namespace */
	EVENT_CONTAINER_GONE,
	EVENT_KERNEL_REFUSED, /* the kernel side refused a connect, bind or socket */
	EVENT_SESSION_OPEN,   /* agent admitted to a resource */
	EVENT_SESSION_REFUSED, /* not admitted: no token, bad token, unknown resource, upstream … */
	EVENT_SESSION_CLOSE,
	EVENT_OP,	 /* an operation, with its verdict: before it is forwarded or refused */
	EVENT_OP_RESULT, /* how a forwarded operation ended */
	EVENT_APPROVAL,	 /* an approval was asked for, or changed state */
	EVENT_CANCEL,	 /* a cancel request was passed on or refused */
	EVENT_RECORDER,	 /* the recorder itself: a channel closed, writing resumed after a fault */
	EVENT_KIND_MAX,
};

/* "node.start", "session.open", "op", "op.result", …; NULL for a number that is none. */
const char *event_kind_name(enum event_kind kind);

#endif
