#include "session/session.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "session/evidence.h"
#include "session/pipeline.h"

/* Moving bytes between the two peers through the codec, and noticing when either is gone. */

#define PUMP_ROUNDS_MAX 32 /* then other sessions have their turn */
#define SNIFF_BYTES_MAX 64u

static void refuse_unknown_resource(struct session *s)
{
	char wanted[ENDPOINT_TEXT_MAX];
	char message[160];
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = "08001",
		.message = message,
		.hint = "The operator must add a resource with this address and port, or the "
			"client must use another.",
	};

	(void)snprintf(message, sizeof(message), "sluice: no resource is configured for %s",
		       endpoint_text(&s->wanted, wanted));
	session_fatal(s, &error, "unknown-resource");
}

static void connect_when_known(struct session *s)
{
	if (s->state != SESSION_AUTHN || !s->resolved)
		return;
	if (s->resource)
		pipeline_connect(s);
	else
		refuse_unknown_resource(s);
}

static void protocol_fault(struct session *s, enum proto_peer from, int error)
{
	struct engine *e = s->engine;
	const char *reason = from == PROTO_SERVER ? "server-protocol"
			     : error == -EMSGSIZE ? "too-large"
			     : error == -EPROTO	  ? "protocol"
			     : error == -ENOBUFS  ? "buffer-full"
						  : "internal";
	char text[96];
	const struct proto_error fault = {
		.severity = "FATAL",
		.sqlstate = "08P01",
		.message = text,
	};
	uint64_t request;

	(void)snprintf(text, sizeof(text), "sluice: %s cannot be understood as %s (%s)",
		       from == PROTO_SERVER ? "what the server answered" : "what the client sent",
		       s->ops->name, strerror(-error));
	if (s->state == SESSION_READY &&
	    evidence_session(s, EVENT_SESSION_REFUSED, reason, text, &e->event) == 0)
		(void)recorder_link_event(&e->recorder, EVENT_SESSION_REFUSED, buf_span(&e->event),
					  false, false, &request);
	session_fatal(s, &fault, reason);
}

/* No resource matches: tell the protocol from the first bytes, to refuse in its own words. */
static bool sniff(struct session *s, struct span in)
{
	bool more = false;
	const struct proto_ops *ops = proto_detect(in, &more);

	if (!ops && more && in.len < SNIFF_BYTES_MAX)
		return false;
	if (ops && session_open_codec(s, ops) == 0 && session_move(s, SESSION_STARTUP) == 0)
		return true;
	refuse_unknown_resource(s);
	return false;
}

static bool may_feed(const struct session *s, enum proto_peer from)
{
	if (s->state >= SESSION_DRAIN || s->tls_wanted || s->state == SESSION_TLS)
		return false;
	if (from == PROTO_AGENT ? s->agent_hold : s->server_hold)
		return false;
	if (from == PROTO_AGENT && s->identity_asked && !s->resolved)
		return false;
	if (from == PROTO_SERVER && s->state != SESSION_READY)
		return false;
	return !peer_out_high(&s->agent) && !peer_out_high(&s->server);
}

/* What the codec did not take of bytes that are not in p->in yet. */
static int keep(struct peer *p, struct span rest)
{
	return rest.len ? buf_put_span(&p->in, rest) : 0;
}

/* Give bytes to the codec; 1: it took some. */
static int feed_span(struct session *s, enum proto_peer from, struct span in, size_t *ret_used)
{
	int r = s->ops->feed(s->codec, from, in, ret_used);

	if (s->state >= SESSION_DRAIN)
		return 0;
	if (r == PROTO_HOLD) {
		if (from == PROTO_AGENT)
			s->agent_hold = true;
		else
			s->server_hold = true;
	} else if (r == PROTO_CLOSE) {
		s->goodbye = true;
	} else if (r < 0) {
		protocol_fault(s, from, r);
		return 0;
	}
	/* What the server answers may be what the agent is held for (COPY, a full pipeline). */
	if (from == PROTO_SERVER && *ret_used > 0 && !s->pending.op)
		s->agent_hold = false;
	return *ret_used > 0;
}

/* Whose connection this is, is asked at its first byte, not when it is opened: what was executed in
 * between may be another program. No byte is looked at before that is known. */
static bool identified(struct session *s)
{
	uint8_t byte;
	ssize_t n;

	if (s->identity_asked)
		return s->resolved;
	n = recv(s->agent.fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		s->agent.eof = true;
	else if (session_ask_identity(s) < 0)
		session_begin_drain(s, "its process could not be asked for");
	return false;
}

static bool feed(struct session *s, enum proto_peer from)
{
	struct engine *e = s->engine;
	struct peer *p = from == PROTO_AGENT ? &s->agent : &s->server;
	size_t used = 0;
	bool moved = false;
	ssize_t n;

	if (s->goodbye || !may_feed(s, from))
		return false;
	if (from == PROTO_AGENT && !identified(s))
		return false;
	if (s->codec && buf_len(&p->in) > 0) {
		moved = feed_span(s, from, buf_span(&p->in), &used) > 0;
		buf_consume(&p->in, used);
		if (used > 0 || !may_feed(s, from))
			return moved && may_feed(s, from);
	}
	if (!p->readable || buf_room(&p->in) < SCRATCH_SIZE)
		return false;
	n = peer_read(p, e->scratch, sizeof(e->scratch));
	if (n <= 0) {
		if (n < 0 && n != -EAGAIN)
			p->eof = true;
		return false;
	}
	if (buf_len(&p->in) > 0 || !s->codec) {
		if (keep(p, span_of(e->scratch, (size_t)n)) < 0)
			protocol_fault(s, from, -ENOBUFS);
		return s->codec || sniff(s, buf_span(&p->in));
	}
	(void)feed_span(s, from, span_of(e->scratch, (size_t)n), &used);
	if (s->state < SESSION_DRAIN &&
	    keep(p, span_skip(span_of(e->scratch, (size_t)n), used)) < 0)
		protocol_fault(s, from, -ENOBUFS);
	return true;
}

static void server_ended(struct session *s)
{
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = "57P01",
		.message = "sluice: the database server closed the connection",
		.hint = "Connect again.",
	};

	if (s->ops->idle(s->codec))
		session_begin_drain(s, "server closed");
	else
		session_fatal(s, &error, "server-closed");
}

static bool ended(struct session *s)
{
	if (s->state >= SESSION_DRAIN)
		return true;
	if (s->goodbye && buf_len(&s->server.out) > 0 && s->server.fd >= 0)
		return false; /* its last messages wait for the recorder or the socket */
	if (s->goodbye) {
		session_begin_drain(s, "client closed");
		return true;
	}
	if (s->agent.eof && (buf_len(&s->agent.in) == 0 || s->agent_hold)) {
		if (s->state < SESSION_READY && s->state > SESSION_ACCEPTED && !s->close_reason) {
			const struct proto_error error = {
				.severity = "FATAL",
				.sqlstate = "08006",
				.message = "the client closed the connection before it was let in",
			};

			session_fatal(s, &error, "client-gone");
		} else {
			session_begin_drain(s, "client gone");
		}
		return true;
	}
	if (s->state == SESSION_READY && s->server.eof && buf_len(&s->server.in) == 0) {
		server_ended(s);
		return true;
	}
	return false;
}

static void begin_tls(struct session *s)
{
	struct tls_context *context = s->engine->server_tls[s->resource_index];

	s->tls_wanted = false;
	if (buf_len(&s->agent.out) > 0 || buf_len(&s->agent.in) > 0 ||
	    session_move(s, SESSION_TLS) < 0 || tls_stream_start(&s->agent.tls, context, NULL) < 0)
		protocol_fault(s, PROTO_AGENT, -EPROTO);
}

static void tls_progress(struct session *s)
{
	int r = tls_stream_handshake(&s->agent.tls);

	if (r == 0) {
		peer_watch(s->engine->loop, &s->agent, true, false);
		return;
	}
	if (r < 0 || session_move(s, SESSION_STARTUP) < 0 || s->ops->tls_started(s->codec) < 0) {
		const struct proto_error error = {
			.severity = "FATAL",
			.sqlstate = "08006",
			.message = "the TLS handshake with the client failed",
		};

		session_fatal(s, &error, "tls-handshake");
		return;
	}
	s->agent_hold = false;
	s->agent.readable = true;
	session_pump_later(s);
}

/* 1: what was full has room again. */
static int flush(struct session *s)
{
	bool full = peer_out_high(&s->agent) || peer_out_high(&s->server);

	if (peer_flush(&s->agent) < 0) {
		session_begin_drain(s, "client gone");
		return -EPIPE;
	}
	if (peer_flush(&s->server) < 0)
		s->server.eof = true;
	return full && !peer_out_high(&s->agent) && !peer_out_high(&s->server);
}

static void pump(struct session *s)
{
	struct engine *e = s->engine;
	bool moved = true;
	bool approval;
	int r;

	for (int round = 0; moved && round < PUMP_ROUNDS_MAX; round++) {
		if (s->pending.wait == OP_WAIT_GATE)
			pipeline_continue(s);
		moved = feed(s, PROTO_AGENT);
		moved |= feed(s, PROTO_SERVER);
		if (s->state >= SESSION_DRAIN)
			break;
		r = flush(s);
		if (r < 0)
			break;
		/* What waits in a buffer is no event of the socket: look at it now. */
		moved |= r > 0;
		if (s->tls_wanted)
			begin_tls(s);
		if (s->state == SESSION_TLS) {
			tls_progress(s);
			return;
		}
		connect_when_known(s);
	}
	if (s->state == SESSION_CLOSED)
		return;
	if (s->state == SESSION_DRAIN || ended(s)) {
		if (s->state == SESSION_DRAIN)
			session_drain(s);
		return;
	}
	if (moved) {
		session_pump_later(s);
		return;
	}
	approval = s->pending.op != NULL && s->pending.wait >= OP_WAIT_APPROVAL;
	peer_watch(e->loop, &s->agent, !s->goodbye && may_feed(s, PROTO_AGENT), approval);
	peer_watch(e->loop, &s->server, may_feed(s, PROTO_SERVER), false);
}

static void on_pump(struct deferred *d)
{
	pump(OWNER_OF(d, struct session, pump));
}

void session_pump_later(struct session *s)
{
	if (s->state != SESSION_CLOSED)
		defer(s->engine->loop, &s->pump, on_pump);
}

void session_agent_ready(struct watch *w, uint32_t events)
{
	struct session *s = OWNER_OF(w, struct session, agent.watch);

	if (s->state == SESSION_TLS) {
		tls_progress(s);
		return;
	}
	peer_ready(&s->agent, events);
	/* Gone while it is held: nothing is read then, so this is how it is seen. */
	if (s->agent_hold && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		s->agent.eof = true;
	pump(s);
}

void session_server_ready(struct watch *w, uint32_t events)
{
	struct session *s = OWNER_OF(w, struct session, server.watch);

	peer_ready(&s->server, events);
	pump(s);
}
