#include "session/session.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "kernel/steer.h"
#include "session/evidence.h"
#include "session/pipeline.h"

#define SESSION_ARENA_MAX (256u * 1024u)
#define PENDING_ARENA_MAX (4u * 1024u * 1024u)
#define LOGIN_TIMEOUT_MS  30000u
#define DRAIN_TIMEOUT_MS  3000u

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
void session_drain(struct session *s)
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
void session_begin_drain(struct session *s, const char *reason)
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
		if (s->who_long.len == 0 && evidence_who(s) < 0)
			s->who_long = (struct span){0}; /* recorded without */
		if (evidence_session(s, EVENT_SESSION_REFUSED, reason_code, error->message,
				     &e->event) == 0)
			(void)recorder_link_event(&e->recorder, EVENT_SESSION_REFUSED,
						  buf_span(&e->event), false, false, &request);
	}
	if (s->codec)
		(void)s->ops->fatal(s->codec, error);
	session_begin_drain(s, reason_code);
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

int session_ask_identity(struct session *s)
{
	struct engine *e = s->engine;
	struct msg_resolve m = {.request = ++e->last_request};
	int r;

	s->resolve_request = m.request;
	s->identity_asked = true;
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
	r = peer_attach(e->loop, &s->agent, fd, NULL, session_agent_ready);
	if (r < 0)
		return r;
	s->server.watch.on_ready = session_server_ready;
	r = timer_set(e->loop, &s->timer, LOGIN_TIMEOUT_MS, on_login_due);
	if (r < 0)
		return r;
	match_resource(s);
	if (!s->resource)
		return session_move(s, SESSION_SNIFF);
	r = session_open_codec(s, proto_find(s->resource->protocol));
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
