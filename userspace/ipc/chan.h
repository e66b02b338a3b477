/* chan.h - messages between roles over a SOCK_SEQPACKET socketpair.
 * Used by: roles/, session/.
 * Promises: a message arrives whole or not at all; nothing is dropped: what the socket does not
 * take now waits in a bounded queue, and chan_send says -ENOBUFS when that is full. */
#ifndef SLUICE_IPC_CHAN_H
#define SLUICE_IPC_CHAN_H

#include "base/buf.h"
#include "io/loop.h"

#define CHAN_MSG_MAX	   (128u * 1024u) /* bytes of payload */
#define CHAN_FDS_MAX	   4
#define CHAN_QUEUE_MAX	   (4u * 1024u * 1024u) /* bytes waiting to be sent */
#define CHAN_QUEUE_FDS_MAX 64			/* descriptors waiting to be sent */

struct chan;

struct chan_msg {
	uint16_t type; /* enum msg_type */
	struct span payload;
	size_t n_fds;
	int fds[CHAN_FDS_MAX]; /* the receiver takes one by TAKE_FD; the rest are closed after */
};

/* Called from the loop only. Each may free the chan. */
struct chan_events {
	/* The payload is valid until it returns. */
	void (*on_msg)(void *ctx, struct chan *c, struct chan_msg *msg);
	/* The other side is gone (0) or the channel broke (-errno). Called once; nothing after it.
	 */
	void (*on_closed)(void *ctx, struct chan *c, int error);
	/* The queue has become empty after it had been more than half full. May be NULL. */
	void (*on_drained)(void *ctx, struct chan *c);
};

int chan_pair(int ret_fds[static 2]); /* close-on-exec, non-blocking, large buffers */
/* Takes the fd. */
int chan_new(struct loop *loop, int fd, const struct chan_events *events, void *ctx,
	     struct chan **ret_chan);
void chan_free(struct chan *c);
DEFINE_CLEANUP(struct chan *, chan_free, chan_freep)

/* fds are duplicated; the caller keeps its own. Never calls on_closed: that comes from the loop.
 * -EMSGSIZE: payload over CHAN_MSG_MAX; -ENOBUFS: the queue is full, nothing was sent; -EPIPE: the
 * other side is gone. */
int chan_send(struct chan *c, uint16_t type, struct span payload, const int *fds, size_t n_fds);
size_t chan_queued(const struct chan *c); /* bytes */
int chan_fd(const struct chan *c);

#endif
