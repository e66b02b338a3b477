/* msg.h - every message between roles: type, fields, and how they are written.
 * Used by: roles/, session/.
 * Promises: a decoder trusts nothing: lengths are checked, counts have maxima, a message with bytes
 * left over is -EBADMSG. Strings in a decoded message point into the payload or the given arena. */
#ifndef SLUICE_IPC_MSG_H
#define SLUICE_IPC_MSG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"
#include "model/event.h"
#include "model/identity.h"

enum msg_type {
	/* worker → warden */
	MSG_RESOLVE = 1, /* who is this process, which workload, and its token */
	MSG_CANCEL, /* pass a cancel request to whoever owns the session (also warden → worker) */
	MSG_STATUS, /* answer to MSG_STATUS_GET */
	MSG_READY,  /* a role is up (empty) */
	/* warden → worker */
	MSG_RESOLVED,
	MSG_LISTENER_ADD, /* fds: v4 and/or v6 listening socket */
	MSG_LISTENER_DEL,
	MSG_STATUS_GET, /* empty */
	MSG_STOP,	/* finish: close sessions, exit 0 (empty) */
	/* worker or warden → recorder */
	MSG_EVENT,
	MSG_APPROVAL_ASK,
	MSG_APPROVAL_WITHDRAW, /* the asker is gone, or its time is over */
	MSG_APPROVAL_CONSUME,  /* about to be forwarded: once, durable */
	/* recorder → worker */
	MSG_EVENT_ACK,
	MSG_APPROVAL_STATE,
	/* warden ↔ recorder: an approver's decision */
	MSG_APPROVAL_DECIDE,
	MSG_APPROVAL_DECIDED,
	MSG_RECORDER_STATUS_GET, /* empty; warden → recorder */
	MSG_RECORDER_STATUS,	 /* canonical JSON text; answers come in the order asked */
	/* The set of processes changes: each fd is one end of a channel. */
	MSG_WORKER_ADD,	  /* warden → recorder: struct msg_worker_add, 1 fd: a new worker */
	MSG_RECORDER_ADD, /* warden → worker: empty, 1 fd: the new recorder */
	/* What approvers are shown. */
	MSG_APPROVAL_LIST_GET, /* warden → recorder */
	MSG_APPROVAL_LIST,     /* recorder → warden */
	MSG_TLS_IDENTITY, /* warden → worker: what agents of a resource are shown from now on */
};

struct msg_resolve {
	uint32_t request;
	struct process process; /* the kernel's part only */
};

/* status of MSG_RESOLVED */
enum resolve_status {
	RESOLVE_OK = 0,
	RESOLVE_GONE,	     /* the process ended, or executed something else since */
	RESOLVE_NO_WORKLOAD, /* no workload of the configuration matches its cgroup */
};

enum token_source {
	TOKEN_SOURCE_NONE = 0, /* workload asks for none */
	TOKEN_SOURCE_FILE,
	TOKEN_SOURCE_MISSING, /* no such file */
	TOKEN_SOURCE_FAILED,  /* could not be read: errno in token_errno */
};

struct msg_resolved {
	uint32_t request;
	uint8_t status;
	uint16_t workload; /* index in config.workloads */
	struct process process;
	uint8_t token_source;
	int32_t token_errno;
	struct span token;
};

struct msg_cancel {
	uint32_t pid;
	uint32_t secret;
	uint64_t cgroup_id; /* of the process that asks */
	uint64_t netns_cookie;
};

struct msg_listener {
	uint64_t netns_cookie;
	bool has4; /* which of the fds are there, in this order */
	bool has6;
};

/* MSG_EVENT is one or more of these. The recorder adds node, seq, time and the link to the event
 * before. body is canonical JSON: one object. It answers MSG_EVENT_ACK when it holds the event, or
 * has it on disk when durable. */
struct msg_event {
	uint64_t request; /* ascending per sender; 0: no ack wanted */
	uint8_t kind;	  /* enum event_kind */
	bool durable;
	struct span body;
};

/* Every request up to and including this one is held (or, for those that asked, on disk: acks are
 * sent in order). error: 0, or why the recorder cannot hold more (-ENOSPC, -EIO …): the request
 * was not recorded. seq: its sequence number in the store. */
struct msg_event_ack {
	uint64_t request;
	int32_t error;
	uint64_t seq;
};

struct msg_approval_ask {
	uint64_t request;	    /* the worker's own number, echoed in MSG_APPROVAL_STATE */
	uint8_t digest[SHA256_LEN]; /* over what is shown: body, as bytes */
	uint32_t wait_s;
	uint32_t valid_s;
	struct span groups; /* approver groups, NUL-terminated each */
	struct span
		body; /* canonical JSON object: operation, objects, who, resource, rule, policy */
};

/* PENDING → APPROVED | DENIED | EXPIRED | WITHDRAWN; APPROVED → CONSUMED | LAPSED */
enum approval_state {
	APPROVAL_PENDING = 1,
	APPROVAL_APPROVED,
	APPROVAL_DENIED,
	APPROVAL_EXPIRED,
	APPROVAL_WITHDRAWN,
	APPROVAL_CONSUMED,
	APPROVAL_LAPSED,
	APPROVAL_STATES,
};

#define APPROVAL_ID_MAX 40 /* text, NUL included */

struct msg_approval_state {
	uint64_t request;
	char id[APPROVAL_ID_MAX];
	uint8_t state;	 /* 0 only with an error */
	int32_t error;	 /* not 0: it could not be kept; refuse */
	struct span by;	 /* who decided, "" */
	struct span why; /* reason given, "" */
};

/* WITHDRAW and CONSUME. CONSUME carries the request number that MSG_APPROVAL_STATE answers with
 * APPROVAL_CONSUMED once it is on disk, or with another state: then it may not be forwarded. */
struct msg_approval_ref {
	uint64_t request;
	char id[APPROVAL_ID_MAX];
};

struct msg_approval_decide {
	uint32_t request; /* the warden's own */
	char id[APPROVAL_ID_MAX];
	bool approve;
	struct span by;	    /* person's name */
	struct span groups; /* NUL-terminated each */
	struct span digest; /* hex of the digest that was shown, or "" */
	struct span reason;
};

struct msg_approval_decided {
	uint32_t request;
	uint8_t state; /* after it; 0: there is no such approval */
	bool done;     /* the decision was taken; otherwise text says why not */
	struct span text;
};

struct msg_worker_add {
	uint32_t index; /* that of a worker that is gone is used again */
};

#define MSG_PEM_MAX 32768u

/* The key is a secret: whoever has written or read it wipes its copy. */
struct msg_tls_identity {
	uint32_t resource; /* index in config.resources */
	struct span cert_pem;
	struct span key_pem; /* each at most MSG_PEM_MAX bytes */
};

/* Which approvals: one by its id, or with "" the heads of those that are pending, then of the
 * others that are open, then of those that ended, newest first each, as many as fit in a message.
 */
struct msg_approval_list_get {
	uint32_t request; /* the warden's own, echoed */
	char id[APPROVAL_ID_MAX];
};

/* more: how many did not fit. body: a canonical JSON array of objects
 *   {"asked":ns,"body":{…},"by":"…","digest":"hex","expires":ns,"groups":["dba"],"id":"…",
 *    "reason":"…","state":"pending"}
 * where body is what MSG_APPROVAL_ASK brought (in a list there is "head" in its place: what a
 * person tells them apart by, the text shortened and then with "cut":1 beside it), asked and
 * expires are wall clock, by and reason are there once somebody decided. */
struct msg_approval_list {
	uint32_t request;
	uint32_t more;
	struct span body;
};

/* A sequence of NUL-terminated strings. Writes n of them. */
int msg_put_strings(struct buf *b, const char *const *strings, size_t n);
/* The first string of a sequence taken off its front; -ENODATA at its end. The string points into
 * the sequence. */
_must_check_ int msg_next_string(struct span *sequence, const char **ret_string);

/* Each encoder appends to out: 0, -ENOBUFS, -ENOMEM. Each decoder: 0 or -EBADMSG (-ENOMEM). */
int msg_put_resolve(struct buf *out, const struct msg_resolve *m);
_must_check_ int msg_get_resolve(struct span in, struct msg_resolve *ret);
int msg_put_resolved(struct buf *out, const struct msg_resolved *m);
_must_check_ int msg_get_resolved(struct span in, struct arena *arena, struct msg_resolved *ret);
int msg_put_cancel(struct buf *out, const struct msg_cancel *m);
_must_check_ int msg_get_cancel(struct span in, struct msg_cancel *ret);
int msg_put_listener(struct buf *out, const struct msg_listener *m);
_must_check_ int msg_get_listener(struct span in, struct msg_listener *ret);
int msg_put_event(struct buf *out, const struct msg_event *m);
/* The first event of a MSG_EVENT taken off its front; -ENODATA at its end. */
_must_check_ int msg_next_event(struct span *sequence, struct msg_event *ret);
#define MSG_EVENT_EXTRA 14u /* an encoded event is so much longer than its body */
int msg_put_event_ack(struct buf *out, const struct msg_event_ack *m);
_must_check_ int msg_get_event_ack(struct span in, struct msg_event_ack *ret);
int msg_put_approval_ask(struct buf *out, const struct msg_approval_ask *m);
_must_check_ int msg_get_approval_ask(struct span in, struct msg_approval_ask *ret);
int msg_put_approval_state(struct buf *out, const struct msg_approval_state *m);
_must_check_ int msg_get_approval_state(struct span in, struct msg_approval_state *ret);
int msg_put_approval_ref(struct buf *out, const struct msg_approval_ref *m);
_must_check_ int msg_get_approval_ref(struct span in, struct msg_approval_ref *ret);
int msg_put_approval_decide(struct buf *out, const struct msg_approval_decide *m);
_must_check_ int msg_get_approval_decide(struct span in, struct msg_approval_decide *ret);
int msg_put_approval_decided(struct buf *out, const struct msg_approval_decided *m);
_must_check_ int msg_get_approval_decided(struct span in, struct msg_approval_decided *ret);
int msg_put_worker_add(struct buf *out, const struct msg_worker_add *m);
_must_check_ int msg_get_worker_add(struct span in, struct msg_worker_add *ret);
int msg_put_tls_identity(struct buf *out, const struct msg_tls_identity *m);
_must_check_ int msg_get_tls_identity(struct span in, struct msg_tls_identity *ret);
int msg_put_approval_list_get(struct buf *out, const struct msg_approval_list_get *m);
_must_check_ int msg_get_approval_list_get(struct span in, struct msg_approval_list_get *ret);
int msg_put_approval_list(struct buf *out, const struct msg_approval_list *m);
_must_check_ int msg_get_approval_list(struct span in, struct msg_approval_list *ret);

#endif
