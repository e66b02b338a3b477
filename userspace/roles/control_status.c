#include "roles/control_state.h"

#include "model/version.h"

#define STATUS_WAIT_MS	 1000u
#define CONTAINERS_SHOWN 400u

static uint64_t memory_of(pid_t pid)
{
	char path[64];
	_cleanup_file_ FILE *f = NULL;
	unsigned long long total;
	unsigned long long resident;
	long page = sysconf(_SC_PAGESIZE);

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = pid > 0 ? fopen(path, "re") : NULL;
	if (!f || fscanf(f, "%llu %llu", &total, &resident) != 2 || page <= 0)
		return 0;
	return resident * (uint64_t)page;
}

static void put_child(struct jsonw *j, const char *key, const struct child *c)
{
	jsonw_object(j, key);
	if (!c->is_recorder)
		jsonw_uint(j, "index", c->index);
	jsonw_uint(j, "memory", memory_of(c->pid));
	if (c->pid > 0)
		jsonw_int(j, "pid", c->pid);
	jsonw_uint(j, "ready", c->ready);
	jsonw_uint(j, "restarts", c->restarts);
	jsonw_uint(j, "since", c->since);
	if (c->status_fresh && buf_len(&c->status) > 0)
		jsonw_raw(j, "status", buf_span(&c->status));
	jsonw_close(j);
}

static void put_containers(struct jsonw *j, struct warden *w)
{
	size_t shown = 0;

	jsonw_array(j, "containers");
	for (size_t i = 0; i < w->n_governed && shown < CONTAINERS_SHOWN; i++) {
		const struct governed *g = &w->governed[i];
		const struct netns *n = g->netns_inode ? netns_by_inode(w, g->netns_inode) : NULL;

		/* What no workload matches and nothing runs in is a folder, no container. */
		if (!n && !g->refusal_told)
			continue;
		shown++;
		jsonw_object(j, NULL);
		jsonw_str(j, "cgroup", g->path);
		if (n) {
			jsonw_uint(j, "netns", n->inode);
			jsonw_uint(j, "port", n->port);
		}
		jsonw_uint(j, "ready", n && n->in_map);
		if (g->workload != NO_WORKLOAD)
			jsonw_str(j, "workload", w->config->workloads[g->workload].name);
		jsonw_close(j);
	}
	jsonw_close(j);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(steer_counter_name(*(const enum sluice_counter *)a),
		      steer_counter_name(*(const enum sluice_counter *)b));
}

static void put_counters(struct jsonw *j, struct warden *w)
{
	enum sluice_counter order[SLUICE_COUNT_MAX];

	for (unsigned i = 0; i < SLUICE_COUNT_MAX; i++)
		order[i] = (enum sluice_counter)i;
	qsort(order, SLUICE_COUNT_MAX, sizeof(order[0]), by_name);
	(void)steer_counters(w->steer, w->counters);
	jsonw_object(j, "counters");
	for (unsigned i = 0; i < SLUICE_COUNT_MAX; i++)
		jsonw_uint(j, steer_counter_name(order[i]), w->counters[order[i]]);
	jsonw_close(j);
}

static int write_status(struct warden *w, struct buf *out)
{
	struct jsonw j;

	jsonw_init(&j, out);
	jsonw_object(&j, NULL);
	put_containers(&j, w);
	put_counters(&j, w);
	jsonw_str(&j, "node", w->config->node);
	jsonw_int(&j, "ok", 1);
	jsonw_object(&j, "policy");
	jsonw_uint(&j, "rules", policy_n_rules(w->policy));
	jsonw_hex(&j, "sha256", span_of(policy_sha256(w->policy), SHA256_LEN));
	jsonw_close(&j);
	put_child(&j, "recorder", &w->recorder);
	jsonw_str(&j, "version", SLUICE_VERSION);
	jsonw_object(&j, "warden");
	jsonw_uint(&j, "memory", memory_of(getpid()));
	jsonw_int(&j, "pid", getpid());
	jsonw_uint(&j, "since", w->since);
	jsonw_close(&j);
	jsonw_array(&j, "workers");
	for (unsigned i = 0; i < w->n_workers; i++)
		put_child(&j, NULL, &w->workers[i]);
	jsonw_close(&j);
	jsonw_close(&j);
	return jsonw_end(&j);
}

static void answer_all(struct warden *w)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CONTROL_ANSWER_MAX - 1024);
	struct client *next;
	int r;

	timer_del(w->loop, &w->control->status_timeout);
	r = write_status(w, &b);
	for (struct client *c = w->control->clients; c; c = next) {
		next = c->next;
		if (c->waits != CONTROL_WAITS_STATUS)
			continue;
		if (r < 0)
			control_refuse(c, "the status could not be written: %s", strerror(-r));
		else
			control_answer(c, buf_span(&b));
	}
}

/* What a role did not tell in time is left out. */
static void on_status_timeout(struct timer *t)
{
	answer_all(OWNER_OF(t, struct control, status_timeout)->warden);
}

static void ask(struct child *c, uint16_t type)
{
	c->status_fresh = false;
	if (c->chan)
		(void)chan_send(c->chan, type, (struct span){0}, NULL, 0);
}

void control_status_ask(struct client *c)
{
	struct warden *w = c->control->warden;

	c->waits = CONTROL_WAITS_STATUS;
	if (c->control->status_timeout.slot != 0)
		return; /* asked for already: the same answer serves */
	if (timer_set(w->loop, &c->control->status_timeout, STATUS_WAIT_MS, on_status_timeout) <
	    0) {
		control_refuse(c, "no memory");
		return;
	}
	ask(&w->recorder, MSG_RECORDER_STATUS_GET);
	for (unsigned i = 0; i < w->n_workers; i++)
		ask(&w->workers[i], MSG_STATUS_GET);
}

static bool told(const struct child *c)
{
	return c->status_fresh || !c->chan;
}

void control_role_status(struct warden *w)
{
	if (!w->control || w->control->status_timeout.slot == 0 || !told(&w->recorder))
		return;
	for (unsigned i = 0; i < w->n_workers; i++)
		if (!told(&w->workers[i]))
			return;
	answer_all(w);
}
