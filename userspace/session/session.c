#include "session/session.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "kernel/steer.h"
#include "mask/mask.h"
#include "session/evidence.h"
#include "session/pipeline.h"

#define SESSION_ARENA_MAX (256u * 1024u)
#define PENDING_ARENA_MAX (4u * 1024u * 1024u)
#define LOGIN_TIMEOUT_MS  30000u
#define DRAIN_TIMEOUT_MS  3000u
#define PUMP_ROUNDS_MAX	  32 /* then other sessions have their turn */
#define SNIFF_BYTES_MAX	  64u

/* ---- end ---- */

static void on_free(struct deferred *d)
{
	struct session *s = OWNER_OF(d, struct session, free_later);

	defer_cancel(s->engine->loop, &s->pump);
	if (s->catalog)
		pg_catalog_unref(s->catalog);
	if (s->codec)
		s->ops->close(s->codec);
	sql_names_done(&s->names);
	arena_done(&s->pending.arena);
	free(s->slots);
	arena_done(&s->arena);
	free(s);
}

static void unlink_session(struct session *s)
{
	struct engine *e = s->engine;

	if (s->prev)
		s->prev->next = s->next;
	else
		e->sessions = s->next;
	if (s->next)
		s->next->prev = s->prev;
	e->n_sessions--;
}

static void session_close(struct session *s)
{
	struct engine *e = s->engine;
	uint64_t request;

	if (s->state == SESSION_CLOSED)
		return;
	pipeline_end(s);
	if (s->was_open &&
	    evidence_session(s, EVENT_SESSION_CLOSE, s->close_reason, NULL, &e->event) == 0)
		(void)recorder_link_event(&e->recorder, EVENT_SESSION_CLOSE, buf_span(&e->event),
					  false, false, &request);
	timer_del(e->loop, &s->timer);
	peer_close(e->loop, &s->agent);
	peer_close(e->loop, &s->server);
	s->state = SESSION_CLOSED;
	unlink_session(s);
	/* Whoever called us may still look at the session. */
	defer(e->loop, &s->free_later, on_free);
}

static void on_drain_due(struct timer *t)
{
	session_close(OWNER_OF(t, struct session, timer));
}

/* Send what is still to be said, then wait for the agent to close: closing with unread bytes would
 * reset the connection and take our last words with it. */
static void drain(struct session *s)
{
	struct engine *e = s->engine;

	if (peer_flush(&s->agent) < 0) {
		session_close(s);
		return;
	}
	if (buf_len(&s->agent.out) == 0 && !s->said_all) {
		s->said_all = true;
		tls_stream_shutdown(&s->agent.tls);
		(void)shutdown(s->agent.fd, SHUT_WR);
	}
	for (;;) {
		ssize_t n = peer_read(&s->agent, e->scratch, sizeof(e->scratch));

		if (n == -EAGAIN && !s->agent.eof)
			break;
		if (n <= 0) {
			session_close(s);
			return;
		}
	}
	peer_watch(e->loop, &s->agent, true, false);
}

/* Take nothing more from either side. The server's side ends now: what was not let through is gone.
 */
static void begin_drain(struct session *s, const char *reason)
{
	struct engine *e = s->engine;

	if (session_move(s, SESSION_DRAIN) < 0)
		return;
	if (!s->close_reason)
		s->close_reason = reason;
	pipeline_end(s);
	peer_close(e->loop, &s->server);
	buf_reset(&s->agent.in);
	if (timer_set(e->loop, &s->timer, DRAIN_TIMEOUT_MS, on_drain_due) < 0) {
		session_close(s);
		return;
	}
	session_pump_later(s);
}

void session_fatal(struct session *s, const struct proto_error *error, const char *reason_code)
{
	struct engine *e = s->engine;
	uint64_t request;

	if (s->state >= SESSION_DRAIN)
		return;
	if (s->state < SESSION_READY && !s->refusal_recorded) {
		s->refusal_recorded = true;
		if (s->who_long.len == 0)
			(void)evidence_who(s);
		if (evidence_session(s, EVENT_SESSION_REFUSED, reason_code, error->message,
				     &e->event) == 0)
			(void)recorder_link_event(&e->recorder, EVENT_SESSION_REFUSED,
						  buf_span(&e->event), false, false, &request);
	}
	if (s->codec)
		(void)s->ops->fatal(s->codec, error);
	begin_drain(s, reason_code);
}

/* ---- the codec's sink ---- */

static int sink_send(void *ctx, enum proto_peer to, struct span bytes)
{
	struct session *s = ctx;

	if (to == PROTO_AGENT)
		return buf_put_span(&s->agent.out, bytes);
	/* Before the server is there, or after it is gone, nothing is kept for it. */
	return s->server.fd < 0 ? 0 : buf_put_span(&s->server.out, bytes);
}

static int sink_start_tls(void *ctx)
{
	struct session *s = ctx;

	s->tls_wanted = true;
	return 0;
}

static int copy_startup(struct session *s, const struct proto_startup *from)
{
	s->startup.user = arena_strdup(&s->arena, from->user);
	s->startup.database = arena_strdup(&s->arena, from->database);
	if (!s->startup.user || !s->startup.database)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_params; i++) {
		s->startup.params[i].name = arena_strdup(&s->arena, from->params[i].name);
		s->startup.params[i].value = arena_strdup(&s->arena, from->params[i].value);
		if (!s->startup.params[i].name || !s->startup.params[i].value)
			return -ENOMEM;
	}
	s->startup.n_params = from->n_params;
	s->has_startup = true;
	return 0;
}

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

static int sink_startup(void *ctx, const struct proto_startup *startup)
{
	struct session *s = ctx;
	int r = copy_startup(s, startup);

	if (r < 0)
		return r;
	/* The rest waits for the loop: the codec is in the middle of its startup. */
	return session_move(s, SESSION_AUTHN);
}

static void cancel_apply(struct session *target)
{
	if (!pipeline_cancel_held(target) && target->state == SESSION_READY)
		(void)dial_cancel(target->engine->loop, target->resource, target->ops,
				  target->server_cancel_pid, target->server_cancel_secret);
}

bool engine_cancel(struct engine *e, const struct msg_cancel *m)
{
	for (struct session *s = e->sessions; s; s = s->next) {
		bool own = s->origin.cgroup_id == m->cgroup_id &&
			   s->origin.netns_cookie == m->netns_cookie;
		uint64_t request;

		if (s->state != SESSION_READY || s->cancel_pid != m->pid ||
		    s->cancel_secret != m->secret)
			continue;
		if (evidence_cancel(s, own, own ? "requested" : "asked for by another container",
				    &e->event) == 0)
			(void)recorder_link_event(&e->recorder, EVENT_CANCEL, buf_span(&e->event),
						  false, false, &request);
		if (own)
			cancel_apply(s);
		return true;
	}
	return false;
}

static int sink_cancel(void *ctx, uint32_t pid, uint32_t secret)
{
	struct session *s = ctx;
	struct engine *e = s->engine;
	const struct msg_cancel m = {
		.pid = pid,
		.secret = secret,
		.cgroup_id = s->origin.cgroup_id,
		.netns_cookie = s->origin.netns_cookie,
	};

	s->close_reason = "cancel request";
	if (engine_cancel(e, &m))
		return 0;
	buf_reset(&e->message);
	if (msg_put_cancel(&e->message, &m) == 0)
		(void)chan_send(e->warden, MSG_CANCEL, buf_span(&e->message), NULL, 0);
	return 0;
}

static int sink_op(void *ctx, const struct op *op)
{
	return pipeline_op(ctx, op);
}

static int sink_columns(void *ctx, uint32_t op, const struct proto_column *columns, size_t n,
			uint8_t *ret_masks)
{
	return pipeline_columns(ctx, op, columns, n, ret_masks);
}

static int sink_field(void *ctx, uint8_t mask, uint32_t type_oid, struct span value,
		      struct buf *out)
{
	(void)ctx;
	return mask_text((enum mask_kind)mask, type_oid, value, out);
}

static void sink_done(void *ctx, uint32_t op, const struct op_result *result)
{
	pipeline_done(ctx, op, result);
}

static const struct sql_class *classify(void *ctx, struct span text)
{
	return sql_classify(((struct engine *)ctx)->sql_cache, text);
}

static void release(void *ctx, const struct sql_class *sql)
{
	sql_class_release(((struct engine *)ctx)->sql_cache, sql);
}

static int open_codec(struct session *s, const struct proto_ops *ops)
{
	const struct proto_env env = {
		.sink =
			{
				.ctx = s,
				.send = sink_send,
				.start_tls = sink_start_tls,
				.startup = sink_startup,
				.cancel = sink_cancel,
				.op = sink_op,
				.columns = sink_columns,
				.field = sink_field,
				.done = sink_done,
			},
		.classify = classify,
		.release = release,
		.classify_ctx = s->engine,
		.tls_offered = s->resource && s->engine->server_tls[s->resource_index],
	};

	s->ops = ops;
	return ops->open(&env, &s->codec);
}

/* ---- moving bytes ---- */

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
	if (ops && open_codec(s, ops) == 0 && session_move(s, SESSION_STARTUP) == 0)
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

static bool feed(struct session *s, enum proto_peer from)
{
	struct engine *e = s->engine;
	struct peer *p = from == PROTO_AGENT ? &s->agent : &s->server;
	size_t used = 0;
	bool moved = false;
	ssize_t n;

	if (s->goodbye || !may_feed(s, from))
		return false;
	if (s->codec && buf_len(&p->in) > 0) {
		moved = feed_span(s, from, buf_span(&p->in), &used) > 0;
		buf_consume(&p->in, used);
		if (used > 0 || !may_feed(s, from))
			return moved && may_feed(s, from);
	}
	if (buf_room(&p->in) < SCRATCH_SIZE)
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
		begin_drain(s, "server closed");
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
		begin_drain(s, "client closed");
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
			begin_drain(s, "client gone");
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
	session_pump_later(s);
}

static int flush(struct session *s)
{
	if (peer_flush(&s->agent) < 0) {
		begin_drain(s, "client gone");
		return -EPIPE;
	}
	if (peer_flush(&s->server) < 0)
		s->server.eof = true;
	return 0;
}

static void pump(struct session *s)
{
	struct engine *e = s->engine;
	bool moved = true;
	bool approval;

	for (int round = 0; moved && round < PUMP_ROUNDS_MAX; round++) {
		if (s->pending.wait == OP_WAIT_GATE)
			pipeline_continue(s);
		moved = feed(s, PROTO_AGENT);
		moved |= feed(s, PROTO_SERVER);
		if (s->state >= SESSION_DRAIN || flush(s) < 0)
			break;
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
			drain(s);
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

static void on_agent_ready(struct watch *w, uint32_t events)
{
	struct session *s = OWNER_OF(w, struct session, agent.watch);

	if (s->state == SESSION_TLS) {
		tls_progress(s);
		return;
	}
	/* Gone while it is held: nothing is read then, so this is how it is seen. */
	if (s->agent_hold && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		s->agent.eof = true;
	pump(s);
}

static void on_server_ready(struct watch *w, uint32_t events)
{
	(void)events;
	pump(OWNER_OF(w, struct session, server.watch));
}

/* ---- beginning ---- */

/* UUID version 7: time-ordered, unique across nodes. */
static int make_id(char out[static SESSION_ID_MAX])
{
	uint64_t ms = wall_ns() / 1000000u;
	uint8_t b[16];

	if (RAND_bytes(b, sizeof(b)) != 1)
		return -EIO;
	for (int i = 0; i < 6; i++)
		b[i] = (uint8_t)(ms >> (8 * (5 - i)));
	b[6] = (uint8_t)(0x70 | (b[6] & 0x0f));
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	(void)snprintf(out, SESSION_ID_MAX,
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		       b[13], b[14], b[15]);
	return 0;
}

static bool netblock_has(const struct netblock *block, const struct endpoint *e)
{
	unsigned bits = block->prefix;

	if (block->family != e->family)
		return false;
	for (size_t i = 0; bits > 0; i++) {
		unsigned n = MIN(bits, 8u);
		uint8_t mask = (uint8_t)(0xff << (8 - n));

		if ((block->addr[i] ^ e->addr[i]) & mask)
			return false;
		bits -= n;
	}
	return true;
}

static void match_resource(struct session *s)
{
	const struct config *config = s->engine->config;

	for (size_t i = 0; i < config->n_resources; i++) {
		const struct resource_config *r = &config->resources[i];

		if (r->port != s->wanted.port)
			continue;
		for (size_t j = 0; j < r->n_addrs; j++) {
			if (netblock_has(&r->addrs[j], &s->wanted)) {
				s->resource = r;
				s->resource_index = i;
				return;
			}
		}
	}
}

static void on_login_due(struct timer *t)
{
	struct session *s = OWNER_OF(t, struct session, timer);
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = "08006",
		.message = "sluice: the session was not established in time",
		.hint = "Try again; if it lasts, tell the operator of this node.",
	};

	session_fatal(s, &error, "login-timeout");
}

static int ask_identity(struct session *s)
{
	struct engine *e = s->engine;
	struct msg_resolve m = {.request = ++e->last_request};
	int r;

	s->resolve_request = m.request;
	m.process = s->process;
	buf_reset(&e->message);
	r = msg_put_resolve(&e->message, &m);
	return r < 0 ? r : chan_send(e->warden, MSG_RESOLVE, buf_span(&e->message), NULL, 0);
}

static int begin(struct session *s, int fd)
{
	struct engine *e = s->engine;
	uint8_t secret[4];
	int r;

	if (make_id(s->id) < 0 || RAND_bytes(secret, sizeof(secret)) != 1)
		return -EIO;
	s->cancel_pid = (uint32_t)(e->index & 0x7f) << 24 | (++e->last_key & 0xffffff);
	memcpy(&s->cancel_secret, secret, sizeof(s->cancel_secret));
	r = peer_attach(e->loop, &s->agent, fd, NULL, on_agent_ready);
	if (r < 0)
		return r;
	s->server.watch.on_ready = on_server_ready;
	r = timer_set(e->loop, &s->timer, LOGIN_TIMEOUT_MS, on_login_due);
	if (r < 0)
		return r;
	match_resource(s);
	r = ask_identity(s);
	if (r < 0)
		return r;
	if (!s->resource)
		return session_move(s, SESSION_SNIFF);
	r = open_codec(s, proto_find(s->resource->protocol));
	return r < 0 ? r : session_move(s, SESSION_STARTUP);
}

/* Connected to the listener without having been steered there: nobody's address was asked for. */
static void refuse_stranger(struct engine *e, int fd)
{
	struct session *s = calloc(1, sizeof(*s));
	uint64_t request;

	if (s) {
		s->engine = e;
		s->arena = ARENA_INIT(SESSION_ARENA_MAX);
		if (make_id(s->id) == 0 &&
		    evidence_session(s, EVENT_SESSION_REFUSED, "no-origin",
				     "connected to sluice's own listener, not steered to it",
				     &e->event) == 0)
			(void)recorder_link_event(&e->recorder, EVENT_SESSION_REFUSED,
						  buf_span(&e->event), false, false, &request);
		arena_done(&s->arena);
		free(s);
	}
	(void)close(fd);
}

void session_accept(struct engine *e, int fd)
{
	struct sluice_origin origin;
	struct session *s;

	e->n_accepted++;
	if (steer_origin(e->storage_fd, fd, &origin) < 0) {
		refuse_stranger(e, fd);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		(void)close(fd);
		return;
	}
	s->engine = e;
	s->origin = origin;
	s->opened_ns = now_ns();
	s->arena = ARENA_INIT(SESSION_ARENA_MAX);
	s->pending.arena = ARENA_INIT(PENDING_ARENA_MAX);
	sql_names_init(&s->names);
	peer_init(&s->agent);
	peer_init(&s->server);
	steer_origin_endpoint(&origin, &s->wanted);
	steer_origin_process(&origin, &s->process);
	s->next = e->sessions;
	if (s->next)
		s->next->prev = s;
	e->sessions = s;
	e->n_sessions++;
	if (begin(s, fd) < 0) {
		if (s->agent.fd < 0)
			(void)close(fd);
		session_close(s);
		return;
	}
	session_pump_later(s);
}

/* ---- what others say ---- */

static int copy_resolved(struct session *s, const struct msg_resolved *m)
{
	const struct process *from = &m->process;
	struct process *to = &s->process;
	const struct config *config = s->engine->config;

	to->cgroup = arena_strdup(&s->arena, from->cgroup);
	to->container = arena_strdup(&s->arena, from->container);
	to->exe = arena_strdup(&s->arena, from->exe);
	to->args = arena_strdup(&s->arena, from->args);
	to->has_proc = from->has_proc;
	to->has_sha256 = from->has_sha256;
	memcpy(to->exe_sha256, from->exe_sha256, SHA256_LEN);
	to->n_ancestors = from->n_ancestors;
	for (size_t i = 0; i < from->n_ancestors; i++) {
		to->ancestors[i] = from->ancestors[i];
		to->ancestors[i].exe = arena_strdup(&s->arena, from->ancestors[i].exe);
	}
	s->token = arena_dup(&s->arena, m->token);
	if ((from->exe && !to->exe) || (from->cgroup && !to->cgroup) ||
	    (m->token.len > 0 && !s->token.p))
		return -ENOMEM;
	s->token_source = m->token_source;
	s->resolve_status = m->status;
	if (m->status == RESOLVE_OK) {
		if (m->workload >= config->n_workloads)
			return -EBADMSG;
		s->workload = &config->workloads[m->workload];
	}
	return 0;
}

void session_on_resolved(struct session *s, const struct msg_resolved *m)
{
	if (s->resolved || s->state >= SESSION_DRAIN)
		return;
	if (copy_resolved(s, m) < 0) {
		s->resolve_status = RESOLVE_GONE;
		s->workload = NULL;
	}
	s->resolved = true;
	session_pump_later(s);
}

void session_on_recorder_lost(struct session *s, const char *why)
{
	char message[200];
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = "58000",
		.message = message,
		.hint = "Nothing that was not recorded was sent to the server. Connect again; if "
			"it "
			"lasts, tell the operator of this node (`sluicectl status`).",
	};

	(void)snprintf(message, sizeof(message), "sluice: this operation cannot be recorded: %s",
		       why);
	session_fatal(s, &error, "recorder");
}

void session_stop(struct session *s, const char *why)
{
	char message[160];
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = "57P01",
		.message = message,
		.hint = "Connect again.",
	};

	(void)snprintf(message, sizeof(message), "sluice: %s", why);
	session_fatal(s, &error, "stopped");
}
