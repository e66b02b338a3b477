#include "roles/worker.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/jsonw.h"
#include "ipc/chan.h"
#include "ipc/msg.h"
#include "roles/log.h"
#include "roles/sandbox.h"
#include "session/pipeline.h"
#include "session/session.h"

#define SQL_CACHE_ENTRIES 4096u
#define SQL_CACHE_BYTES	  (16u * 1024u * 1024u)
#define ACCEPTS_MAX	  64 /* at one wake-up; then sessions have their turn */
#define ACCEPT_PAUSE_MS	  200u
#define EVENT_MAX	  (CHAN_MSG_MAX - 1024u)

struct listener {
	struct listener *next;
	struct worker *worker;
	uint64_t netns_cookie;
	struct watch watch4;
	struct watch watch6;
	int fd4;
	int fd6;
};

struct worker {
	struct engine engine;
	struct listener *listeners;
	struct timer stop_timer;
	struct timer accept_timer; /* set: no descriptor was left, listeners are not watched */
};

/* ---- accept ---- */

static void pause_accepting(struct worker *w);

static void accept_some(struct worker *w, int listener_fd)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			/* The connection stays in the backlog, and the listener stays ready: asking
			 * again at once would spin. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				pause_accepting(w);
			return;
		}
		session_accept(&w->engine, fd);
	}
}

static void on_ready4(struct watch *watch, uint32_t events)
{
	struct listener *l = OWNER_OF(watch, struct listener, watch4);

	(void)events;
	accept_some(l->worker, l->fd4);
}

static void on_ready6(struct watch *watch, uint32_t events)
{
	struct listener *l = OWNER_OF(watch, struct listener, watch6);

	(void)events;
	accept_some(l->worker, l->fd6);
}

static int listener_watch(struct worker *w, struct listener *l)
{
	int r = 0;

	/* EPOLLEXCLUSIVE: one connection wakes one worker. */
	if (l->fd4 >= 0 && !l->watch4.active)
		r = watch_add(w->engine.loop, &l->watch4, l->fd4, EPOLLIN | EPOLLEXCLUSIVE,
			      on_ready4);
	if (r == 0 && l->fd6 >= 0 && !l->watch6.active)
		r = watch_add(w->engine.loop, &l->watch6, l->fd6, EPOLLIN | EPOLLEXCLUSIVE,
			      on_ready6);
	return r;
}

static void on_accept_again(struct timer *t)
{
	struct worker *w = OWNER_OF(t, struct worker, accept_timer);

	for (struct listener *l = w->listeners; l; l = l->next)
		if (listener_watch(w, l) < 0)
			pause_accepting(w);
}

static void pause_accepting(struct worker *w)
{
	log_warning("no descriptor is left for another connection: they wait");
	for (struct listener *l = w->listeners; l; l = l->next) {
		watch_del(w->engine.loop, &l->watch4);
		watch_del(w->engine.loop, &l->watch6);
	}
	if (timer_set(w->engine.loop, &w->accept_timer, ACCEPT_PAUSE_MS, on_accept_again) < 0)
		loop_stop(w->engine.loop, 1);
}

static void listener_free(struct worker *w, struct listener *l)
{
	watch_del(w->engine.loop, &l->watch4);
	watch_del(w->engine.loop, &l->watch6);
	closep(&l->fd4);
	closep(&l->fd6);
	free(l);
}

static void listener_del(struct worker *w, uint64_t netns_cookie)
{
	for (struct listener **at = &w->listeners; *at; at = &(*at)->next) {
		struct listener *l = *at;

		if (l->netns_cookie != netns_cookie)
			continue;
		*at = l->next;
		listener_free(w, l);
		return;
	}
}

static int listener_add(struct worker *w, const struct msg_listener *m, struct chan_msg *msg)
{
	size_t want = (size_t)m->has4 + (size_t)m->has6;
	struct listener *l;
	size_t i = 0;
	int r;

	if (msg->n_fds != want)
		return -EBADMSG;
	listener_del(w, m->netns_cookie);
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->worker = w;
	l->netns_cookie = m->netns_cookie;
	l->fd4 = m->has4 ? TAKE_FD(msg->fds[i++]) : -1;
	l->fd6 = m->has6 ? TAKE_FD(msg->fds[i++]) : -1;
	r = listener_watch(w, l);
	if (r < 0) {
		listener_free(w, l);
		return r;
	}
	l->next = w->listeners;
	w->listeners = l;
	return 0;
}

/* ---- what the recorder says ---- */

/* Sessions end while we walk: each handler only marks and defers, so the next one is read before.
 */
static void on_acks(void *ctx)
{
	struct engine *e = ctx;

	for (struct session *s = e->sessions, *next; s; s = next) {
		next = s->next;
		if (s->n_gates > 0 || s->state == SESSION_ADMITTED)
			pipeline_on_ack(s);
	}
}

static void on_lost(void *ctx, const char *why)
{
	struct engine *e = ctx;

	log_warning("%s: operations that wait for it are refused", why);
	for (struct session *s = e->sessions, *next; s; s = next) {
		next = s->next;
		if (s->n_gates > 0 || s->state == SESSION_ADMITTED ||
		    s->pending.wait >= OP_WAIT_APPROVAL)
			session_on_recorder_lost(s, why);
	}
}

static void on_approval(void *ctx, const struct msg_approval_state *m)
{
	struct engine *e = ctx;

	for (struct session *s = e->sessions; s; s = s->next) {
		if (s->pending.op && s->pending.approval_request == m->request) {
			pipeline_on_approval(s, m);
			return;
		}
	}
	/* Who asked is gone: what was granted must not stay usable. */
	if (m->state == APPROVAL_PENDING || m->state == APPROVAL_APPROVED)
		(void)recorder_link_withdraw(&e->recorder, m->id);
}

static const struct recorder_events recorder_events = {
	.on_ack = on_acks,
	.on_lost = on_lost,
	.on_approval = on_approval,
};

/* ---- what the warden says ---- */

void engine_resolved(struct engine *e, const struct msg_resolved *m)
{
	for (struct session *s = e->sessions; s; s = s->next) {
		if (s->resolve_request == m->request) {
			session_on_resolved(s, m);
			return;
		}
	}
}

static void on_resolved(struct worker *w, struct span payload)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(CHAN_MSG_MAX * 2);
	struct msg_resolved m;

	if (msg_get_resolved(payload, &arena, &m) == 0)
		engine_resolved(&w->engine, &m);
	arena_done(&arena);
}

static void send_status(struct worker *w)
{
	struct engine *e = &w->engine;
	size_t held = 0;
	struct jsonw j;

	for (const struct session *s = e->sessions; s; s = s->next)
		held += s->pending.wait >= OP_WAIT_APPROVAL;
	buf_reset(&e->message);
	jsonw_init(&j, &e->message);
	jsonw_object(&j, NULL);
	jsonw_uint(&j, "accepted", e->n_accepted);
	jsonw_uint(&j, "held", held);
	jsonw_uint(&j, "index", e->index);
	jsonw_uint(&j, "ops", e->n_ops);
	jsonw_int(&j, "pid", getpid());
	jsonw_uint(&j, "recorder", e->recorder.chan != NULL);
	jsonw_uint(&j, "sessions", e->n_sessions);
	jsonw_close(&j);
	if (jsonw_end(&j) == 0)
		(void)chan_send(e->warden, MSG_STATUS, buf_span(&e->message), NULL, 0);
}

static void on_stop_due(struct timer *t)
{
	struct worker *w = OWNER_OF(t, struct worker, stop_timer);

	loop_stop(w->engine.loop, 0);
}

static void stop(struct worker *w)
{
	struct engine *e = &w->engine;

	e->stopping = true;
	while (w->listeners)
		listener_del(w, w->listeners->netns_cookie);
	for (struct session *s = e->sessions, *next; s; s = next) {
		next = s->next;
		session_stop(s, "the enforcer on this node is stopping");
	}
	/* Their last words are on the way; a peer that does not take them does not hold us up. */
	if (timer_set(e->loop, &w->stop_timer, e->n_sessions ? 1000 : 0, on_stop_due) < 0)
		loop_stop(e->loop, 0);
}

/* Sessions that began with the former one go on with it: OpenSSL counts who uses it. */
static int take_identity(struct engine *e, struct span payload)
{
	struct tls_identity id = {.cert_pem = BUF_INIT(MSG_PEM_MAX),
				  .key_pem = BUF_INIT(MSG_PEM_MAX)};
	struct tls_context *context = NULL;
	struct msg_tls_identity m;
	int r;

	r = msg_get_tls_identity(payload, &m);
	if (r < 0 || m.resource >= e->config->n_resources)
		return -EBADMSG;
	(void)buf_put_span(&id.cert_pem, m.cert_pem);
	(void)buf_put_span(&id.key_pem, m.key_pem);
	r = tls_server_new(&id, &context);
	tls_identity_done(&id);
	if (r < 0)
		return r;
	tls_context_free(e->server_tls[m.resource]);
	e->server_tls[m.resource] = context;
	return 0;
}

static void on_warden_msg(void *ctx, struct chan *c, struct chan_msg *msg)
{
	struct worker *w = ctx;
	struct msg_listener listener;
	struct msg_cancel cancel;
	int r;

	(void)c;
	switch (msg->type) {
	case MSG_RESOLVED:
		on_resolved(w, msg->payload);
		break;
	case MSG_LISTENER_ADD:
		if (msg_get_listener(msg->payload, &listener) < 0 ||
		    listener_add(w, &listener, msg) < 0)
			log_error("a listener could not be taken over: its connections go to other "
				  "workers");
		break;
	case MSG_LISTENER_DEL:
		if (msg_get_listener(msg->payload, &listener) == 0)
			listener_del(w, listener.netns_cookie);
		break;
	case MSG_CANCEL:
		if (msg_get_cancel(msg->payload, &cancel) == 0)
			(void)engine_cancel(&w->engine, &cancel);
		break;
	case MSG_RECORDER_ADD:
		if (msg->n_fds == 1 &&
		    recorder_link_attach(&w->engine.recorder, TAKE_FD(msg->fds[0])) < 0)
			log_error("no channel to the new recorder");
		break;
	case MSG_TLS_IDENTITY:
		r = take_identity(&w->engine, msg->payload);
		/* The chan's copy of the key is ours to wipe. */
		explicit_bzero((void *)(uintptr_t)msg->payload.p, msg->payload.len);
		if (r < 0)
			log_error("a new certificate could not be used, the former one stays: %s",
				  strerror(-r));
		break;
	case MSG_STATUS_GET:
		send_status(w);
		break;
	case MSG_STOP:
		stop(w);
		break;
	default:
		break;
	}
}

static void on_warden_closed(void *ctx, struct chan *c, int error)
{
	struct worker *w = ctx;

	(void)c;
	(void)error;
	/* Without the warden nobody vouches for a process: end. */
	loop_stop(w->engine.loop, 1);
}

static const struct chan_events warden_events = {
	.on_msg = on_warden_msg,
	.on_closed = on_warden_closed,
};

/* ---- start ---- */

static int make_tls(struct engine *e, const struct tls_identity *identities)
{
	size_t n = e->config->n_resources;

	e->server_tls = calloc(n ? n : 1, sizeof(struct tls_context *));
	e->client_tls = calloc(n ? n : 1, sizeof(struct tls_context *));
	if (!e->server_tls || !e->client_tls)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct resource_config *r = &e->config->resources[i];
		int error = tls_server_new(&identities[i], &e->server_tls[i]);

		if (error == 0 && r->tls != TLS_DISABLE)
			error = tls_client_new(r->tls, r->ca_pem, &e->client_tls[i]);
		if (error < 0) {
			log_error("resource \"%s\": TLS cannot be set up: %s", r->name,
				  strerror(-error));
			return error;
		}
	}
	return 0;
}

static int open_engine(struct worker *w, const struct worker_setup *setup)
{
	struct engine *e = &w->engine;
	size_t bad = 0;
	int r;

	e->config = setup->config;
	e->policy = setup->policy;
	e->index = setup->index;
	e->storage_fd = setup->storage_fd;
	e->event = BUF_INIT(EVENT_MAX);
	e->message = BUF_INIT(CHAN_MSG_MAX);
	r = loop_new(&e->loop);
	if (r == 0)
		r = token_verifier_new(e->config->issuers, e->config->n_issuers, &bad,
				       &e->verifier);
	if (r == 0)
		r = sql_cache_new(SQL_CACHE_ENTRIES, SQL_CACHE_BYTES, &e->sql_cache);
	if (r == 0)
		r = make_tls(e, setup->identities);
	if (r < 0)
		return r;
	catalogs_init(&e->catalogs, e->loop);
	r = recorder_link_init(&e->recorder, e->loop, e->config->recorder_wait_ms, &recorder_events,
			       e);
	if (r == 0)
		r = chan_new(e->loop, setup->warden_fd, &warden_events, w, &e->warden);
	if (r == 0)
		r = recorder_link_attach(&e->recorder, setup->recorder_fd);
	return r;
}

/* Two descriptors a session: as many as the hard limit gives. Failing that, what there is. */
static void raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int worker_run(const struct worker_setup *setup)
{
	struct worker *w = calloc(1, sizeof(*w));
	char role[32];
	int r;

	(void)snprintf(role, sizeof(role), "worker %u", setup->index);
	log_role(role);
	(void)signal(SIGPIPE, SIG_IGN);
	raise_nofile();
	r = w ? open_engine(w, setup) : -ENOMEM;
	/* Everything that needs a file or a privilege is open: hostile bytes come after this. */
	if (r == 0)
		r = sandbox_worker(setup->config);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	r = chan_send(w->engine.warden, MSG_READY, (struct span){0}, NULL, 0);
	if (r == 0)
		r = loop_run(w->engine.loop);
	recorder_link_flush(&w->engine.recorder);
	return r == 0 ? 0 : 1;
}
