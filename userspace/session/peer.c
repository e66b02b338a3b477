#include "session/peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* A buffer larger than this goes back to the allocator when it is empty: an idle session is small.
 */
#define KEEP_CAP 4096u

void peer_init(struct peer *p)
{
	*p = (struct peer){
		.fd = -1,
		.in = BUF_INIT(PEER_IN_MAX),
		.out = BUF_INIT(PEER_OUT_MAX),
		.barrier = UINT64_MAX,
	};
}

int peer_attach(struct loop *loop, struct peer *p, int fd, const struct tls_stream *tls,
		void (*on_ready)(struct watch *w, uint32_t events))
{
	int one = 1;
	int r;

	/* Small messages both ways: waiting for more (Nagle) only adds time. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = watch_add(loop, &p->watch, fd, EPOLLIN | EPOLLRDHUP, on_ready);
	if (r < 0)
		return r;
	p->fd = fd;
	p->readable = true; /* TLS may hold what came with the end of its handshake */
	if (tls)
		p->tls = *tls;
	else
		tls_stream_init(&p->tls, fd);
	return 0;
}

void peer_close(struct loop *loop, struct peer *p)
{
	watch_del(loop, &p->watch);
	if (p->fd >= 0) {
		tls_stream_shutdown(&p->tls);
		tls_stream_done(&p->tls);
		fd_clear(&p->fd);
	}
	buf_done(&p->in);
	buf_done(&p->out);
}

int peer_flush(struct peer *p)
{
	while (p->fd >= 0) {
		struct span all = buf_span(&p->out);
		uint64_t may = p->barrier > p->sent ? p->barrier - p->sent : 0;
		size_t n = may < all.len ? (size_t)may : all.len;
		ssize_t wrote;

		if (n == 0)
			break;
		wrote = tls_stream_write(&p->tls, all.p, n);
		if (wrote == -EAGAIN)
			break;
		if (wrote < 0)
			return (int)wrote;
		buf_consume(&p->out, (size_t)wrote);
		p->sent += (uint64_t)wrote;
	}
	if (buf_len(&p->out) == 0 && p->out.cap > KEEP_CAP)
		buf_done(&p->out);
	return 0;
}

ssize_t peer_read(struct peer *p, uint8_t *scratch, size_t size)
{
	ssize_t n;

	if (p->fd < 0 || p->eof)
		return -EAGAIN;
	n = tls_stream_read(&p->tls, scratch, size);
	if (n == 0)
		p->eof = true;
	/* A socket that gave less than was asked for is empty, and the loop, level-triggered, tells
	 * when it is not: no read only to learn that. TLS may have a record at hand. */
	p->readable = p->tls.ssl ? n > 0 : n == (ssize_t)size;
	return n;
}

void peer_ready(struct peer *p, uint32_t events)
{
	if (p->tls.ssl || (events & ~(uint32_t)EPOLLOUT))
		p->readable = true;
}

void peer_watch(struct loop *loop, struct peer *p, bool want_read, bool want_hup)
{
	uint32_t events = 0;

	if (p->fd < 0)
		return;
	if (!p->eof && want_read)
		events |= EPOLLIN | EPOLLRDHUP;
	if (!p->eof && want_hup)
		events |= EPOLLRDHUP;
	if (p->tls.want_write || (buf_len(&p->out) > 0 && p->barrier > p->sent))
		events |= EPOLLOUT;
	/* EPOLLHUP and EPOLLERR cannot be masked: with nothing to wait for, do not watch at all. */
	if (events == 0)
		watch_del(loop, &p->watch);
	else if (!p->watch.active)
		(void)watch_add(loop, &p->watch, p->fd, events, p->watch.on_ready);
	else if (events != p->watch.events)
		(void)watch_set(loop, &p->watch, events);
}
