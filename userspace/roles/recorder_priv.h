/* recorder_priv.h - what the parts of the recorder share.
 * Used by: roles/recorder*.c only.
 * Promises: all of it belongs to the main thread; the writer's thread sees a batch and its store.
 */
#ifndef SLUICE_ROLES_RECORDER_PRIV_H
#define SLUICE_ROLES_RECORDER_PRIV_H

#include "approval/approval.h"
#include "audit/note.h"
#include "audit/tree.h"
#include "io/loop.h"
#include "ipc/chan.h"
#include "model/config.h"
#include "roles/recorder.h"
#include "roles/recorder_writer.h"

#define DURABLES_MAX	    4096u /* requests of one channel that wait for the disk */
#define COMMIT_DELAY_MS	    5
#define COMMIT_EVENTS	    2048u /* commit without waiting for more */
#define RETRY_MS	    1000
#define CHECKPOINT_MS	    10000 /* between two; verify.h counts on it */
#define CHECKPOINT_FIRST_MS 100	  /* while it has signed for no event of its own */
#define CHECKPOINT_LOOK_MS  1000  /* the first event after a time of rest is signed for so soon */
#define LIVE_MAX	    1024u
#define LIVE_BYTES_MAX	    (32u * 1024u * 1024u)
#define RECENT_MAX	    64u			   /* decided approvals that are still listed */
#define APPROVAL_BODY_MAX   (CHAN_MSG_MAX - 8192u) /* so that it can be listed in one message */
#define UNACKNOWLEDGED_KEPT 64u

struct recorder;

/* A durable event that is not on disk yet, and the event before it on its channel. */
struct waiting {
	uint64_t request;
	uint64_t seq;
	uint64_t seq_before;
};

struct conn {
	struct recorder *r;
	struct chan *chan;
	uint32_t index; /* of the worker */
	bool warden;
	uint64_t received; /* last request that is held, and its event */
	uint64_t received_seq;
	uint64_t acked;
	struct waiting *ring; /* DURABLES_MAX */
	size_t first;
	size_t n;
};

/* An approval in memory: those that are not final, and the latest of the others. */
struct live {
	struct recorder *r;
	char id[APPROVAL_ID_MAX];
	uint8_t state;
	uint8_t digest[SHA256_LEN];
	uint64_t asked_ns; /* wall clock */
	uint64_t expires_ns;
	uint64_t due_ns; /* monotonic: when it expires or lapses */
	uint32_t valid_s;
	struct timer timer;
	struct conn *asker;  /* NULL: gone */
	uint64_t request;    /* that MSG_APPROVAL_STATE answers */
	uint64_t change_seq; /* event of its last change */
	bool untold;	     /* the asker waits for it to be on disk */
	bool decided;	     /* and so does the warden */
	uint32_t decide_request;
	char asker_name[APPROVAL_ASKER_MAX];
	char by[APPROVAL_BY_MAX];
	char why[APPROVAL_WHY_MAX];
	struct span groups; /* in data */
	struct span body;   /* in data */
	uint8_t data[];
};

struct recorder {
	const struct config *config;
	struct loop *loop;
	struct writer *writer;
	struct store *reader; /* for looking up old approvals; NULL: none yet */
	struct note_key key;
	struct buf node; /* escaped */
	bool open;	 /* the store is open, and tree and leaf are its state */
	bool stopping;
	int error; /* 0: events are taken; otherwise why not */
	char error_text[STORE_ERROR_MAX];
	uint64_t refused; /* requests, since error is set */
	uint64_t n_unacknowledged;
	uint64_t unacknowledged[UNACKNOWLEDGED_KEPT]; /* held and written, but told as failed */
	struct tree tree;
	uint8_t leaf[HASH_LEN];
	uint64_t committed;
	uint64_t signed_size;
	uint64_t signed_ns; /* when, monotonic */
	char signed_time[ENTRY_TIME_LEN + 1];
	struct batch batches[2];
	struct batch *filling;
	struct batch *writing; /* with the writer, or kept to be tried again */
	bool with_writer;      /* it is being written just now */
	struct watch written;
	struct watch signals;
	struct timer commit_timer;
	struct timer retry_timer;
	struct timer checkpoint_timer;
	struct deferred after;
	struct conn *warden;
	struct conn *workers[RECORDER_WORKERS_MAX];
	size_t n_live; /* not final */
	size_t live_bytes;
	size_t n_lives;
	struct live *lives[LIVE_MAX + RECENT_MAX]; /* oldest first */
	struct buf body;			   /* an event that the recorder makes itself */
	struct buf out;				   /* a message */
};

/* recorder.c */
void recorder_send(struct recorder *r, struct conn *c, enum msg_type type, int encoded);
void recorder_close_conn(struct conn *c, const char *reason);
/* Acks and commits, before the loop waits again. */
void recorder_after(struct recorder *r);

/* recorder_events.c: the order of events. */
/* Append an event that the recorder makes itself: it may use what is kept free. -ENOBUFS, -ENOMEM.
 */
_must_check_ int recorder_append(struct recorder *r, enum event_kind kind, struct span body);
/* Room for an event of so many bytes, waiting for the disk when there is none. 0, or r->error. */
_must_check_ int recorder_make_room(struct recorder *r, size_t bytes);
/* -EBADMSG: the channel has to be closed. */
_must_check_ int recorder_on_event(struct conn *c, struct span payload);
void recorder_flush_acks(struct conn *c);
void recorder_commit_if_due(struct recorder *r);
void recorder_sign(struct recorder *r);
/* Hand r->writing to the writer. */
void recorder_submit(struct recorder *r);
void recorder_note_resumed(struct recorder *r);
/* A batch was finished: take it in. */
void recorder_collect(struct recorder *r);
/* Write everything, waiting. 0, or why it could not be. */
_must_check_ int recorder_sync(struct recorder *r);
/* Body of a "recorder" event. */
void recorder_note_closed(struct recorder *r, const struct conn *c, const char *reason);

/* recorder_open.c: keys, the store and where it stands. */
_must_check_ int recorder_prepare_dir(const struct config *config);
_must_check_ int recorder_open(struct recorder *r);

/* recorder_approvals.c. Each on_*: -EBADMSG when the channel has to be closed. */
_must_check_ int approvals_on_ask(struct conn *c, struct span payload);
_must_check_ int approvals_on_withdraw(struct conn *c, struct span payload);
_must_check_ int approvals_on_consume(struct conn *c, struct span payload);
_must_check_ int approvals_on_decide(struct conn *c, struct span payload);
_must_check_ int approvals_on_list(struct conn *c, struct span payload);
/* What was left open by the recorder before: withdrawn or lapsed. */
_must_check_ int approvals_load(struct recorder *r, struct store *store);
void approvals_on_conn_closed(struct conn *c);
void approvals_on_committed(struct recorder *r);
void approvals_on_failed(struct recorder *r);
void approvals_end_all(struct recorder *r, const char *why);
void approvals_free(struct recorder *r);

/* recorder_approval_text.c: what is said about one. */
_must_check_ int approval_put_event(struct recorder *r, const struct live *a);
_must_check_ int approval_list(struct recorder *r, const struct msg_approval_list_get *get,
			       struct buf *out, uint32_t *ret_more);

#endif
