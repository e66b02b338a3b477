#include "session/dial.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

int dial_connect(const struct endpoint *to)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage ss = {0};
	socklen_t len;

	if (to->family == 6) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&ss;

		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(to->port);
		memcpy(&sin6->sin6_addr, to->addr, 16);
		len = sizeof(*sin6);
	} else {
		struct sockaddr_in *sin = (struct sockaddr_in *)&ss;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(to->port);
		memcpy(&sin->sin_addr, to->addr, 4);
		len = sizeof(*sin);
	}
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	return TAKE_FD(fd);
}

static void run_finish(struct deferred *f)
{
	struct dial *d = OWNER_OF(f, struct dial, finish);

	d->on_done(d, d->failed ? &d->error : NULL);
}

/* The answer is given from the loop, so that whoever is called may free the dial. */
static void finish(struct dial *d, bool failed)
{
	timer_del(d->loop, &d->timer);
	watch_del(d->loop, &d->peer.watch);
	if (failed)
		peer_close(d->loop, &d->peer);
	d->failed = failed;
	d->state = DIAL_DONE;
	defer(d->loop, &d->finish, run_finish);
}

static void fail(struct dial *d, const char *sqlstate, const char *what, const char *hint)
{
	(void)snprintf(d->message, sizeof(d->message), "resource \"%s\": %s", d->resource->name,
		       what);
	d->error = (struct proto_error){
		.severity = "FATAL",
		.sqlstate = sqlstate,
		.message = d->message,
		.hint = hint,
	};
	finish(d, true);
}

static void fail_errno(struct dial *d, const char *doing, int error)
{
	char what[160];

	(void)snprintf(what, sizeof(what), "%s the database server failed: %s", doing,
		       strerror(-error));
	fail(d, "08006", what,
	     "The server may be down or unreachable from this node. Try again; "
	     "if it lasts, tell the operator of this resource.");
}

static void fail_login(struct dial *d)
{
	d->error = *d->ops->login->error(d->login);
	finish(d, true);
}

/* Give the login what has come in; act on what it wants. */
static void talk(struct dial *d)
{
	while (d->state == DIAL_TALKING) {
		size_t used = 0;
		int r = d->ops->login->feed(d->login, buf_span(&d->peer.in), &used, &d->peer.out);

		buf_consume(&d->peer.in, used);
		if (r < 0) {
			fail_login(d);
			return;
		}
		if (peer_flush(&d->peer) < 0) {
			fail(d, "08006", "the database server closed the connection during login",
			     NULL);
			return;
		}
		if (r == LOGIN_DONE) {
			finish(d, false);
			return;
		}
		if (r == LOGIN_TLS) {
			r = tls_stream_start(&d->peer.tls, d->tls_context,
					     d->resource->upstream_host);
			if (r < 0) {
				fail_errno(d, "starting TLS with", r);
				return;
			}
			d->state = DIAL_HANDSHAKE;
			return;
		}
		if (used == 0)
			return;
	}
}

static void handshake(struct dial *d)
{
	int r = tls_stream_handshake(&d->peer.tls);

	if (r == 0)
		return;
	if (r < 0) {
		char what[192];

		(void)snprintf(what, sizeof(what), "no TLS with the database server: %s",
			       tls_stream_why(&d->peer.tls));
		fail(d, "08006", what,
		     "The operator must mend upstream.tls or upstream.ca of this resource, or the "
		     "server's certificate.");
		return;
	}
	d->state = DIAL_TALKING;
	r = d->ops->login->tls_started(d->login, &d->peer.out);
	if (r < 0 || peer_flush(&d->peer) < 0)
		fail_errno(d, "logging in to", r < 0 ? r : -EPIPE);
}

static void connected(struct dial *d)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(d->peer.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		fail_errno(d, "connecting to", -error);
		return;
	}
	d->state = DIAL_TALKING;
	error = d->ops->login->start(d->login, &d->peer.out);
	if (error == 0)
		error = peer_flush(&d->peer);
	if (error < 0)
		fail_errno(d, "logging in to", error);
}

static void read_more(struct dial *d)
{
	uint8_t chunk[8192];
	ssize_t n = peer_read(&d->peer, chunk, sizeof(chunk));

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		fail(d, "08006", "the database server closed the connection during login", NULL);
		return;
	}
	if (buf_put(&d->peer.in, chunk, (size_t)n) < 0) {
		fail(d, "08P01", "the database server answers more than a login can hold", NULL);
		return;
	}
	talk(d);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct dial *d = OWNER_OF(w, struct dial, peer.watch);

	(void)events;
	if (d->state == DIAL_CONNECTING) {
		connected(d);
	} else if (d->state == DIAL_HANDSHAKE) {
		handshake(d);
	} else if (d->state == DIAL_TALKING) {
		if (peer_flush(&d->peer) < 0)
			fail(d, "08006", "the database server closed the connection during login",
			     NULL);
		else
			read_more(d);
	}
	if (d->state == DIAL_HANDSHAKE)
		handshake(d);
	if (d->state != DIAL_DONE)
		peer_watch(d->loop, &d->peer, true, false);
}

static void on_timeout(struct timer *t)
{
	struct dial *d = OWNER_OF(t, struct dial, timer);

	fail(d, "08001", "the database server did not complete the login in time",
	     "Try again; if it lasts, tell the operator of this resource.");
}

int dial_start(struct dial *d, struct loop *loop, const struct resource_config *resource,
	       const struct proto_ops *ops, struct tls_context *tls_context,
	       const struct proto_login_config *config, dial_done_fn on_done)
{
	struct proto_login_config own = *config;
	int fd;
	int r;

	*d = (struct dial){
		.loop = loop,
		.resource = resource,
		.ops = ops,
		.tls_context = tls_context,
		.on_done = on_done,
	};
	peer_init(&d->peer);
	own.user = resource->user;
	own.password = resource->password;
	own.tls = resource->tls != TLS_DISABLE;
	r = ops->login->open(&own, &d->login);
	if (r < 0)
		return r;
	fd = dial_connect(&resource->upstream_addr);
	if (fd < 0) {
		fail_errno(d, "connecting to", fd);
		return 0;
	}
	r = peer_attach(loop, &d->peer, fd, NULL, on_ready);
	if (r < 0) {
		(void)close(fd);
		dial_stop(d);
		return r;
	}
	r = watch_set(loop, &d->peer.watch, EPOLLOUT);
	if (r == 0)
		r = timer_set(loop, &d->timer, DIAL_TIMEOUT_MS, on_timeout);
	if (r < 0)
		dial_stop(d);
	return r;
}

int dial_take(struct dial *d, struct peer *to, void (*ready)(struct watch *w, uint32_t events))
{
	int r = peer_attach(d->loop, to, d->peer.fd, &d->peer.tls, ready);

	if (r < 0)
		return r;
	d->peer.fd = -1;
	/* What the server sent behind its login answer belongs to the session. */
	r = buf_put_span(&to->in, buf_span(&d->peer.in));
	buf_reset(&d->peer.in);
	return r;
}

void dial_stop(struct dial *d)
{
	if (!d->loop)
		return;
	timer_del(d->loop, &d->timer);
	defer_cancel(d->loop, &d->finish);
	peer_close(d->loop, &d->peer);
	if (d->login)
		d->ops->login->close(d->login);
	d->login = NULL;
	d->state = DIAL_DONE;
}

/* A cancel request on its way: owns itself, ends with the connection or the timer. */
struct cancel {
	struct loop *loop;
	struct peer peer;
	struct timer timer;
};

static void cancel_free(struct cancel *c)
{
	timer_del(c->loop, &c->timer);
	peer_close(c->loop, &c->peer);
	free(c);
}

static void cancel_on_due(struct timer *t)
{
	cancel_free(OWNER_OF(t, struct cancel, timer));
}

static void cancel_on_ready(struct watch *w, uint32_t events)
{
	struct cancel *c = OWNER_OF(w, struct cancel, peer.watch);
	uint8_t ignored[64];
	ssize_t n;

	(void)events;
	if (peer_flush(&c->peer) < 0) {
		cancel_free(c);
		return;
	}
	n = peer_read(&c->peer, ignored, sizeof(ignored));
	if (n != -EAGAIN) {
		cancel_free(c);
		return;
	}
	peer_watch(c->loop, &c->peer, true, false);
}

int dial_cancel(struct loop *loop, const struct resource_config *resource,
		const struct proto_ops *ops, uint32_t pid, uint32_t secret)
{
	struct cancel *c = calloc(1, sizeof(*c));
	int fd;
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	peer_init(&c->peer);
	r = ops->login->cancel(pid, secret, &c->peer.out);
	fd = r < 0 ? r : dial_connect(&resource->upstream_addr);
	if (fd < 0) {
		cancel_free(c);
		return fd;
	}
	r = peer_attach(loop, &c->peer, fd, NULL, cancel_on_ready);
	if (r < 0) {
		(void)close(fd);
		cancel_free(c);
		return r;
	}
	r = watch_set(loop, &c->peer.watch, EPOLLOUT | EPOLLIN);
	if (r == 0)
		r = timer_set(loop, &c->timer, DIAL_TIMEOUT_MS, cancel_on_due);
	if (r < 0)
		cancel_free(c);
	return r;
}
