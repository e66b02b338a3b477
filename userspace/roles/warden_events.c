#include "roles/warden_state.h"

#include <openssl/evp.h>
#include <sys/wait.h>

#include "base/jsonw.h"
#include "model/version.h"
#include "roles/log.h"

#define OUTBOX_MAX 1024u /* events that the recorder has not acknowledged */
#define REFUSALS_MAX \
	64u /* kinds of refusal that are counted apart at a time; the last slot: all others */
#define REFUSAL_TICKS 10u /* heartbeats between events of one kind */

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, digest_freep)

struct unacked {
	uint64_t request;
	uint8_t kind;
	size_t len;
	char *body;
};

struct outbox {
	uint64_t last_request;
	uint64_t lost; /* no room, or no memory */
	size_t first;
	size_t n;
	struct unacked ring[OUTBOX_MAX];
};

/* One cgroup, one reason, one target: told at once, then by count. */
struct refusal {
	uint64_t cgroup_id;
	uint32_t reason;
	struct endpoint to; /* port 0: none */
	bool used;
	bool various;	/* more kinds than slots, as in a scan of many targets */
	unsigned ticks; /* heartbeats since it was told */
	uint64_t untold;
	struct sluice_kevent last;
};

struct refusals {
	struct refusal slots[REFUSALS_MAX];
	uint64_t untold_by_kernel; /* counter at the last look */
};

int events_start(struct warden *w)
{
	w->outbox = calloc(1, sizeof(*w->outbox));
	w->refusals = calloc(1, sizeof(*w->refusals));
	return w->outbox && w->refusals ? 0 : -ENOMEM;
}

void events_done(struct warden *w)
{
	if (w->outbox)
		for (size_t i = 0; i < w->outbox->n; i++)
			free(w->outbox->ring[(w->outbox->first + i) % OUTBOX_MAX].body);
	free(TAKE_PTR(w->outbox));
	free(TAKE_PTR(w->refusals));
}

static void send_one(struct warden *w, const struct unacked *u)
{
	_cleanup_buf_ struct buf b = BUF_INIT(EVENT_BODY_MAX + 64);
	int r;

	if (!w->recorder.chan)
		return;
	/* Durable: the warden's events are few, and a recorder that crashes must not lose them. */
	r = msg_put_event(&b, &(struct msg_event){.request = u->request,
						  .kind = u->kind,
						  .durable = true,
						  .body = span_of(u->body, u->len)});
	if (r == 0)
		r = chan_send(w->recorder.chan, MSG_EVENT, buf_span(&b), NULL, 0);
	if (r < 0)
		child_give_up(&w->recorder, "does not take events");
}

static void post(struct warden *w, enum event_kind kind, struct span body)
{
	struct outbox *o = w->outbox;
	char *copy;
	struct unacked *u;

	copy = o->n < OUTBOX_MAX ? malloc(body.len) : NULL;
	if (!copy) {
		/* Not silently: the next that fits tells how many. */
		if (o->lost++ == 0)
			log_error("the recorder is behind: events of the node are being lost");
		return;
	}
	memcpy(copy, body.p, body.len);
	u = &o->ring[(o->first + o->n++) % OUTBOX_MAX];
	*u = (struct unacked){
		.request = ++o->last_request, .kind = (uint8_t)kind, .len = body.len, .body = copy};
	send_one(w, u);
}

void events_acked(struct warden *w, struct span payload)
{
	struct outbox *o = w->outbox;
	struct msg_event_ack m;

	if (msg_get_event_ack(payload, &m) < 0) {
		child_give_up(&w->recorder, "sent a message that is not understood");
		return;
	}
	if (m.error != 0) {
		log_error("the recorder cannot record: %s", strerror(abs(m.error)));
		/* Not started without evidence; later, it stays in the outbox for a new recorder.
		 */
		if (!w->ready)
			loop_stop(w->loop, m.error < 0 ? m.error : -m.error);
		return;
	}
	while (o->n > 0 && o->ring[o->first].request <= m.request) {
		free(TAKE_PTR(o->ring[o->first].body));
		o->first = (o->first + 1) % OUTBOX_MAX;
		o->n--;
	}
}

void events_resend(struct warden *w)
{
	for (size_t i = 0; i < w->outbox->n; i++)
		send_one(w, &w->outbox->ring[(w->outbox->first + i) % OUTBOX_MAX]);
}

bool events_all_acked(const struct warden *w)
{
	return w->outbox->n == 0;
}

/* Begins an event's object; finish() posts it. Keys are written in ascending order. */
struct draft {
	struct buf buf;
	struct jsonw json;
};

static void begin(struct draft *d)
{
	buf_init(&d->buf, EVENT_BODY_MAX);
	jsonw_init(&d->json, &d->buf);
	jsonw_object(&d->json, NULL);
}

static void finish(struct warden *w, struct draft *d, enum event_kind kind)
{
	int r;

	jsonw_close(&d->json);
	r = jsonw_end(&d->json);
	if (r < 0)
		log_error("event %s could not be written: %s", event_kind_name(kind), strerror(-r));
	else
		post(w, kind, buf_span(&d->buf));
	buf_done(&d->buf);
}

/* Of the file as it is now: an auditor compares it with the one that is kept. */
static void put_file_sha256(struct jsonw *j, const char *key, const char *path)
{
	_cleanup_(digest_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	_cleanup_file_ FILE *f = fopen(path, "re");
	uint8_t digest[SHA256_LEN];
	uint8_t chunk[4096];
	size_t n;

	if (!f || !c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
		return;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		if (EVP_DigestUpdate(c, chunk, n) != 1)
			return;
	if (EVP_DigestFinal_ex(c, digest, NULL) == 1)
		jsonw_hex(j, key, span_of(digest, sizeof(digest)));
}

void event_node_start(struct warden *w, const char *cause)
{
	struct draft d;

	begin(&d);
	jsonw_str(&d.json, "cause", cause);
	put_file_sha256(&d.json, "config_sha256", w->config->path);
	jsonw_hex(&d.json, "policy_sha256", span_of(policy_sha256(w->policy), SHA256_LEN));
	jsonw_uint(&d.json, "rules", policy_n_rules(w->policy));
	jsonw_str(&d.json, "version", SLUICE_VERSION);
	jsonw_uint(&d.json, "workers", w->n_workers);
	finish(w, &d, EVENT_NODE_START);
}

void event_node_stop(struct warden *w)
{
	struct draft d;

	begin(&d);
	if (w->outbox->lost > 0)
		jsonw_uint(&d.json, "events_lost", w->outbox->lost);
	jsonw_str(&d.json, "version", SLUICE_VERSION);
	finish(w, &d, EVENT_NODE_STOP);
}

void event_worker_lost(struct warden *w, const struct child *c, int wait_status)
{
	struct draft d;

	begin(&d);
	jsonw_uint(&d.json, "restarts", c->restarts);
	if (WIFSIGNALED(wait_status))
		jsonw_int(&d.json, "signal", WTERMSIG(wait_status));
	else
		jsonw_int(&d.json, "status", WEXITSTATUS(wait_status));
	jsonw_uint(&d.json, "worker", c->index);
	finish(w, &d, EVENT_WORKER_LOST);
}

static const char *workload_name(const struct warden *w, uint16_t workload)
{
	return workload < w->config->n_workloads ? w->config->workloads[workload].name : NULL;
}

static void put_container(struct jsonw *j, const char *path)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(64u * 1024u);

	if (path)
		jsonw_str(j, "container", container_id(path, &arena));
}

void event_container(struct warden *w, enum event_kind kind, const struct netns *n, int pid)
{
	struct draft d;

	begin(&d);
	jsonw_str(&d.json, "cgroup", n->cgroup_path);
	put_container(&d.json, n->cgroup_path);
	jsonw_uint(&d.json, "netns", n->inode);
	jsonw_uint(&d.json, "netns_cookie", n->cookie);
	if (pid > 0)
		jsonw_int(&d.json, "pid", pid);
	jsonw_uint(&d.json, "port", n->port);
	jsonw_str(&d.json, "workload", workload_name(w, n->workload));
	finish(w, &d, kind);
}

void event_unknown_cgroup(struct warden *w, const struct governed *g, int pid)
{
	struct draft d;

	begin(&d);
	jsonw_str(&d.json, "cgroup", g->path);
	put_container(&d.json, g->path);
	jsonw_int(&d.json, "count", 0);
	jsonw_int(&d.json, "pid", pid);
	jsonw_str(&d.json, "reason", "workload-unknown");
	finish(w, &d, EVENT_KERNEL_REFUSED);
}

static const char *reason_name(uint32_t reason)
{
	switch ((enum sluice_counter)reason) {
	case SLUICE_COUNT_REFUSED_UNKNOWN:
		return "cgroup-unknown";
	case SLUICE_COUNT_REFUSED_LISTENER:
		return "no-listener-yet";
	case SLUICE_COUNT_REFUSED_HEARTBEAT:
		return "enforcer-silent";
	case SLUICE_COUNT_REFUSED_PROTOCOL:
		return "protocol";
	case SLUICE_COUNT_REFUSED_BIND:
		return "bind";
	case SLUICE_COUNT_REFUSED_FULL:
		return "map-full";
	case SLUICE_COUNT_REFUSED_DIRECT:
		return "enforcer-port";
	case SLUICE_COUNT_REFUSED_ROUTE:
		return "route";
	default:
		return "other";
	}
}

static void tell_refusal(struct warden *w, struct refusal *f, uint64_t count)
{
	const struct governed *g = f->various ? NULL : watch_find(w, f->cgroup_id);
	const struct sluice_origin *who = &f->last.who;
	char path[CGROUP_PATH_MAX] = "";
	char to[ENDPOINT_TEXT_MAX];
	struct draft d;

	if (g)
		(void)snprintf(path, sizeof(path), "%s", g->path);
	else if (f->various || cgroup_path(w->cgroup_root, f->cgroup_id, path, sizeof(path)) < 0)
		path[0] = '\0';
	begin(&d);
	jsonw_str(&d.json, "cgroup", path[0] ? path : NULL);
	put_container(&d.json, path[0] ? path : NULL);
	jsonw_span(&d.json, "comm", span_of(who->comm, strnlen(who->comm, sizeof(who->comm))));
	jsonw_uint(&d.json, "count", count);
	jsonw_uint(&d.json, "pid", who->proc.tgid);
	jsonw_str(&d.json, "reason", f->various ? "various" : reason_name(f->reason));
	if (f->to.port != 0)
		jsonw_str(&d.json, "to", endpoint_text(&f->to, to));
	jsonw_uint(&d.json, "uid", who->uid);
	jsonw_str(&d.json, "workload", g ? workload_name(w, g->workload) : NULL);
	finish(w, &d, EVENT_KERNEL_REFUSED);
	f->untold = 0;
	f->ticks = 0;
}

static bool same_kind(const struct refusal *f, const struct refusal *like)
{
	return f->used && f->cgroup_id == like->cgroup_id && f->reason == like->reason &&
	       f->to.family == like->to.family && f->to.port == like->to.port &&
	       memcmp(f->to.addr, like->to.addr, sizeof(f->to.addr)) == 0;
}

/* The slot of its kind, or a free one; NULL when all are taken. */
static struct refusal *slot_for(struct refusals *all, const struct refusal *like)
{
	struct refusal *free_slot = NULL;

	for (size_t i = 0; i < REFUSALS_MAX - 1; i++) {
		struct refusal *f = &all->slots[i];

		if (same_kind(f, like))
			return f;
		if (!f->used && !free_slot)
			free_slot = f;
	}
	return free_slot;
}

void event_refused(struct warden *w, const struct sluice_kevent *e)
{
	struct refusal like = {.cgroup_id = e->cgroup_id, .reason = e->reason};
	struct refusal *f;

	if (e->who.family != 0)
		steer_origin_endpoint(&e->who, &like.to);
	f = slot_for(w->refusals, &like);
	if (!f) {
		f = &w->refusals->slots[REFUSALS_MAX - 1];
		f->used = true;
		f->various = true;
	} else if (!f->used) {
		*f = like;
		f->used = true;
		f->last = *e;
		tell_refusal(w, f, 1);
		return;
	}
	f->last = *e;
	f->untold++;
}

void events_tick(struct warden *w)
{
	uint64_t untold = w->counters[SLUICE_COUNT_REFUSALS_UNTOLD];

	for (size_t i = 0; i < REFUSALS_MAX; i++) {
		struct refusal *f = &w->refusals->slots[i];

		if (!f->used || ++f->ticks < REFUSAL_TICKS)
			continue;
		if (f->untold > 0)
			tell_refusal(w, f, f->untold);
		else
			f->used = false;
	}
	if (untold > w->refusals->untold_by_kernel) {
		struct draft d;

		begin(&d);
		jsonw_uint(&d.json, "count", untold - w->refusals->untold_by_kernel);
		jsonw_str(&d.json, "reason", "too-many-to-tell");
		finish(w, &d, EVENT_KERNEL_REFUSED);
		w->refusals->untold_by_kernel = untold;
	}
}
