/* peer.h - one side of a session: a non-blocking stream with bounded buffers.
 * Used by: session/.
 * Promises: holds at most PEER_IN_MAX of unread and PEER_OUT_MAX of unsent bytes. */
#ifndef SLUICE_SESSION_PEER_H
#define SLUICE_SESSION_PEER_H

#include "base/buf.h"
#include "io/loop.h"
#include "proto/proto.h"
#include "tls/tls.h"

#define PEER_IN_MAX   (64u * 1024u)
#define PEER_OUT_HIGH (32u * 1024u) /* with more unsent than this, nothing more is fed */
#define PEER_OUT_MAX  (PEER_OUT_HIGH + PROTO_SEND_MAX + PEER_IN_MAX + PROTO_HELD_MAX)

struct peer {
	int fd; /* owned; -1: none */
	struct tls_stream tls;
	struct watch watch;
	struct buf in;	  /* received, not yet taken by the codec */
	struct buf out;	  /* to be sent */
	uint64_t sent;	  /* bytes of the stream that have left `out` */
	uint64_t barrier; /* stream position up to which may be sent; UINT64_MAX: all */
	bool eof;
	bool readable; /* there may be bytes: set by the loop, cleared by a read that took them all
			*/
};

void peer_init(struct peer *p);
/* Take the fd and watch it; tls (may be a stream already established) is copied. */
int peer_attach(struct loop *loop, struct peer *p, int fd, const struct tls_stream *tls,
		void (*on_ready)(struct watch *w, uint32_t events));
void peer_close(struct loop *loop, struct peer *p);

static inline uint64_t peer_position(const struct peer *p)
{
	return p->sent + buf_len(&p->out);
}

static inline bool peer_out_high(const struct peer *p)
{
	return buf_len(&p->out) > PEER_OUT_HIGH;
}

/* Send what may be sent. 0, or -errno: the peer is gone. */
int peer_flush(struct peer *p);
/* Read once into scratch. Bytes, 0 at end of stream, -EAGAIN, other -errno. */
ssize_t peer_read(struct peer *p, uint8_t *scratch, size_t size);
/* The loop has reported events on it. */
void peer_ready(struct peer *p, uint32_t events);
/* Watch for what can be made use of: bytes, or (want_hup) only that the peer has gone. */
void peer_watch(struct loop *loop, struct peer *p, bool want_read, bool want_hup);

#endif
