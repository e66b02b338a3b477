/* recorder_link.h - a worker's side of the recorder: events out, acks in, approvals.
 * Used by: session/, roles/worker.c.
 * Promises: events go out in the order given, those of one turn of the loop together; what is not
 * acked within the configured time, or was sent to a recorder that died, is told to its waiters as
 * lost, once. Nothing is assumed recorded. */
#ifndef SLUICE_SESSION_RECORDER_LINK_H
#define SLUICE_SESSION_RECORDER_LINK_H

#include "io/loop.h"
#include "ipc/chan.h"
#include "ipc/msg.h"

struct recorder_link;

/* Who is told. Either may free itself or others: the link tolerates it. */
struct recorder_events {
	/* Everything up to link->acked is held. */
	void (*on_ack)(void *ctx);
	/* The recorder is gone, silent, or refused a request: whoever waits for an ack will not get
	 * it. why: a sentence for the agent. */
	void (*on_lost)(void *ctx, const char *why);
	void (*on_approval)(void *ctx, const struct msg_approval_state *m);
};

struct recorder_link {
	struct loop *loop;
	struct chan *chan; /* NULL: no recorder at the moment */
	const struct recorder_events *events;
	void *ctx;
	uint64_t sent;	/* last request number used */
	uint64_t acked; /* all up to it are held */
	uint64_t wait_ms;
	uint64_t heard_ns; /* of the silence that is timed: when it began */
	struct timer silence;
	struct deferred flush;
	struct timer linger;
	struct buf events_out; /* a MSG_EVENT being filled */
	struct buf out;	       /* any other message */
};

int recorder_link_init(struct recorder_link *l, struct loop *loop, uint64_t wait_ms,
		       const struct recorder_events *events, void *ctx);
void recorder_link_done(struct recorder_link *l);
/* A (new) channel to a recorder; takes the fd. Requests of the old one are lost. */
int recorder_link_attach(struct recorder_link *l, int fd);

/* Send an event: before the loop waits again, or, when it is a result, for which nobody waits, with
 * the next one but soon. A caller that ignores the result records "where anything still can".
 * wanted: an ack is waited for; its request number is *ret_request (0 otherwise). -ENOTCONN: no
 * recorder; -ENOBUFS: its queue is full. */
int recorder_link_event(struct recorder_link *l, enum event_kind kind, struct span body,
			bool durable, bool wanted, uint64_t *ret_request);
/* Send what was not sent yet: before the worker ends. */
void recorder_link_flush(struct recorder_link *l);
/* Ask for an approval; answers come by on_approval with m->request == *ret_request. */
_must_check_ int recorder_link_ask(struct recorder_link *l, struct msg_approval_ask *ask,
				   uint64_t *ret_request);
int recorder_link_withdraw(struct recorder_link *l, const char *id);
_must_check_ int recorder_link_consume(struct recorder_link *l, const char *id, uint64_t request);

#endif
