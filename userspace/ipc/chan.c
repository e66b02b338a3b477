#include "ipc/chan.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <fcntl.h>

#include "base/cursor.h"

/* On the wire: type (u16), payload. In the queue: length of the payload (u32), number of
 * descriptors (u8), type (u16), payload. Big endian. */
#define TYPE_LEN	 2u
#define QUEUE_HEAD_LEN	 5u
#define SOCKET_BUF	 (1024 * 1024)
#define RECEIVE_PER_TURN 64

struct chan {
	struct loop *loop;
	struct watch watch;
	const struct chan_events *events;
	void *ctx;
	bool *freed;  /* set while a handler runs: tells whether it freed the chan */
	bool above;   /* the queue has been more than half full since it was last empty */
	bool closing; /* on_closed has been called or is about to be */
	struct buf queue;
	int queued_fds[CHAN_QUEUE_FDS_MAX]; /* a ring */
	size_t first_fd;
	size_t n_queued_fds;
	uint8_t in[TYPE_LEN + CHAN_MSG_MAX];
};

int chan_pair(int ret_fds[static 2])
{
	int size = SOCKET_BUF;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		/* Privileged, past net.core.wmem_max; otherwise as much as that gives, which is
		 * enough for a message. */
		if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
			(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

static void on_ready(struct watch *w, uint32_t events);

int chan_new(struct loop *loop, int fd, const struct chan_events *events, void *ctx,
	     struct chan **ret_chan)
{
	struct chan *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->events = events;
	c->ctx = ctx;
	buf_init(&c->queue, CHAN_QUEUE_MAX);
	r = watch_add(loop, &c->watch, fd, EPOLLIN, on_ready);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret_chan = c;
	return 0;
}

static void drop_queued_fds(struct chan *c, size_t n)
{
	for (; n > 0; n--) {
		(void)close(c->queued_fds[c->first_fd]);
		c->first_fd = (c->first_fd + 1) % CHAN_QUEUE_FDS_MAX;
		c->n_queued_fds--;
	}
}

void chan_free(struct chan *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	watch_del(c->loop, &c->watch);
	drop_queued_fds(c, c->n_queued_fds);
	buf_done(&c->queue);
	(void)close(c->watch.fd);
	free(c);
}

size_t chan_queued(const struct chan *c)
{
	return buf_len(&c->queue);
}

int chan_fd(const struct chan *c)
{
	return c->watch.fd;
}

/* 0, -EAGAIN when the socket takes nothing now, or what broke. */
static int send_now(int fd, uint16_t type, struct span payload, const int *fds, size_t n_fds)
{
	uint8_t head[TYPE_LEN] = {(uint8_t)(type >> 8), (uint8_t)type};
	struct iovec iov[2] = {{.iov_base = head, .iov_len = sizeof(head)},
			       {.iov_base = (void *)payload.p, .iov_len = payload.len}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * CHAN_FDS_MAX)];
	} control = {0};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = payload.len > 0 ? 2 : 1};

	if (n_fds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
	}
	while (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		switch (errno) {
		case EINTR:
			continue;
		case EAGAIN:
		case ENOBUFS:
		case ENOMEM:
		case ETOOMANYREFS: /* descriptors in flight: they drain */
			return -EAGAIN;
		case ECONNRESET:
		case ENOTCONN:
			return -EPIPE;
		default:
			return -errno;
		}
	}
	return 0;
}

static int enqueue(struct chan *c, uint16_t type, struct span payload, const int *fds, size_t n_fds)
{
	size_t need = QUEUE_HEAD_LEN + TYPE_LEN + payload.len;
	int dups[CHAN_FDS_MAX];
	size_t n = 0;
	int r = 0;

	if (need > buf_room(&c->queue) || n_fds > CHAN_QUEUE_FDS_MAX - c->n_queued_fds)
		return -ENOBUFS;
	if (!buf_reserve(&c->queue, need)) {
		c->queue.error = 0;
		return -ENOMEM;
	}
	for (; n < n_fds; n++) {
		dups[n] = fcntl(fds[n], F_DUPFD_CLOEXEC, 0);
		if (dups[n] < 0) {
			r = -errno;
			break;
		}
	}
	if (r < 0) {
		while (n > 0)
			(void)close(dups[--n]);
		return r;
	}
	for (size_t i = 0; i < n_fds; i++) {
		c->queued_fds[(c->first_fd + c->n_queued_fds) % CHAN_QUEUE_FDS_MAX] = dups[i];
		c->n_queued_fds++;
	}
	(void)buf_put_be32(&c->queue, (uint32_t)payload.len);
	(void)buf_put_u8(&c->queue, (uint8_t)n_fds);
	(void)buf_put_be16(&c->queue, type);
	(void)buf_put_span(&c->queue, payload);
	if (buf_len(&c->queue) > CHAN_QUEUE_MAX / 2)
		c->above = true;
	return 0;
}

int chan_send(struct chan *c, uint16_t type, struct span payload, const int *fds, size_t n_fds)
{
	int r;

	if (payload.len > CHAN_MSG_MAX || n_fds > CHAN_FDS_MAX)
		return -EMSGSIZE;
	if (c->closing)
		return -EPIPE;
	if (buf_len(&c->queue) == 0) {
		r = send_now(c->watch.fd, type, payload, fds, n_fds);
		if (r != -EAGAIN)
			return r;
	}
	r = enqueue(c, type, payload, fds, n_fds);
	if (r < 0)
		return r;
	return watch_set(c->loop, &c->watch, EPOLLIN | EPOLLOUT);
}

/* Send the first message of the queue. 0, -EAGAIN, or what broke. */
static int send_first(struct chan *c)
{
	struct cursor cur = cursor_of(buf_span(&c->queue));
	int fds[CHAN_FDS_MAX];
	struct span payload;
	uint32_t len;
	uint16_t type;
	uint8_t n_fds;
	int r;

	if (cursor_be32(&cur, &len) < 0 || cursor_u8(&cur, &n_fds) < 0 ||
	    cursor_be16(&cur, &type) < 0 || cursor_span(&cur, len, &payload) < 0)
		return -EIO;
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = c->queued_fds[(c->first_fd + i) % CHAN_QUEUE_FDS_MAX];
	r = send_now(c->watch.fd, type, payload, fds, n_fds);
	if (r < 0)
		return r;
	drop_queued_fds(c, n_fds);
	buf_consume(&c->queue, QUEUE_HEAD_LEN + TYPE_LEN + len);
	return 0;
}

static void broke(struct chan *c, int error)
{
	c->closing = true;
	watch_del(c->loop, &c->watch);
	c->events->on_closed(c->ctx, c, error);
}

/* False: the chan may not be touched any more. */
static bool flush(struct chan *c)
{
	bool freed = false;

	while (buf_len(&c->queue) > 0) {
		int r = send_first(c);

		if (r == -EAGAIN)
			return true;
		if (r == -EPIPE)
			break; /* what the other side sent before it went is still to be read */
		if (r < 0) {
			broke(c, r);
			return false;
		}
	}
	if (watch_set(c->loop, &c->watch, EPOLLIN) < 0) {
		broke(c, -EIO);
		return false;
	}
	if (!c->above || buf_len(&c->queue) > 0)
		return true;
	c->above = false;
	if (!c->events->on_drained)
		return true;
	c->freed = &freed;
	c->events->on_drained(c->ctx, c);
	if (freed)
		return false;
	c->freed = NULL;
	return !c->closing;
}

static void take_fds(struct msghdr *msg, struct chan_msg *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (m->n_fds < CHAN_FDS_MAX)
				m->fds[m->n_fds++] = fd;
			else
				(void)close(fd);
		}
	}
}

/* 1: a message; 0: the other side is gone; -EAGAIN; -EBADMSG: not one of ours; -errno. */
static int receive(struct chan *c, struct chan_msg *m)
{
	struct iovec iov = {.iov_base = c->in, .iov_len = sizeof(c->in)};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * CHAN_FDS_MAX)];
	} control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cursor cur;
	ssize_t n;

	do {
		n = recvmsg(c->watch.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		/* ECONNRESET is told once, before what is still unread: that comes next. */
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	if (n == 0)
		return 0;
	*m = (struct chan_msg){0};
	take_fds(&msg, m);
	cur = cursor_of(span_of(c->in, (size_t)n));
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || cursor_be16(&cur, &m->type) < 0) {
		for (size_t i = 0; i < m->n_fds; i++)
			closep(&m->fds[i]);
		return -EBADMSG;
	}
	m->payload = cursor_rest(&cur);
	return 1;
}

/* False: the chan may not be touched any more. */
static bool hand_out(struct chan *c, struct chan_msg *m)
{
	bool freed = false;

	c->freed = &freed;
	c->events->on_msg(c->ctx, c, m);
	for (size_t i = 0; i < m->n_fds; i++)
		closep(&m->fds[i]);
	if (freed)
		return false;
	c->freed = NULL;
	return true;
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct chan *c = OWNER_OF(w, struct chan, watch);
	struct chan_msg m;

	if ((events & EPOLLOUT) && !flush(c))
		return;
	for (int i = 0; i < RECEIVE_PER_TURN; i++) {
		int r = receive(c, &m);

		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			broke(c, r);
			return;
		}
		if (!hand_out(c, &m))
			return;
	}
}
