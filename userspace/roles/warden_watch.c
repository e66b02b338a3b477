#include "roles/warden_state.h"

#include <sys/epoll.h>

#include "roles/log.h"

#define DRAIN_BATCHES 16 /* of STEER_EVENTS_BATCH: more than the ring buffer holds */

/* Place of the first with at least this id. */
static size_t lower_bound(const struct warden *w, uint64_t id)
{
	size_t low = 0;
	size_t high = w->n_governed;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->governed[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct governed *watch_find(struct warden *w, uint64_t id)
{
	size_t i = lower_bound(w, id);

	return i < w->n_governed && w->governed[i].id == id ? &w->governed[i] : NULL;
}

bool watch_in_scope(const struct warden *w, const char *path)
{
	for (size_t i = 0; i < w->config->n_scopes; i++) {
		const char *scope = w->config->scopes[i];
		size_t len = strlen(scope);

		if (streq(scope, "/"))
			return true;
		if (strncmp(path, scope, len) == 0 && (path[len] == '\0' || path[len] == '/'))
			return true;
	}
	return false;
}

static uint16_t match(const struct warden *w, const char *path)
{
	for (size_t i = 0; i < w->config->n_workloads; i++)
		if (policy_glob(w->config->workloads[i].cgroup, path))
			return (uint16_t)i;
	return NO_WORKLOAD;
}

/* As the kernel side decides: of a cgroup and those above it, the nearest that is enrolled. */
uint16_t watch_workload(const struct warden *w, const char *path)
{
	char at[CGROUP_PATH_MAX];

	if ((size_t)snprintf(at, sizeof(at), "%s", path) >= sizeof(at))
		return NO_WORKLOAD;
	while (at[0] && watch_in_scope(w, at)) {
		uint16_t found = match(w, at);
		char *slash = strrchr(at, '/');

		if (found != NO_WORKLOAD)
			return found;
		if (!slash)
			break;
		*slash = '\0';
	}
	return NO_WORKLOAD;
}

static int insert(struct warden *w, const char *path, uint64_t id, struct governed **ret)
{
	size_t i = lower_bound(w, id);
	char *copy;

	if (w->n_governed == CGROUPS_MAX)
		return -ENOSPC;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	memmove(w->governed + i + 1, w->governed + i, (w->n_governed - i) * sizeof(*w->governed));
	w->n_governed++;
	w->governed[i] = (struct governed){.id = id, .path = copy, .workload = NO_WORKLOAD};
	*ret = &w->governed[i];
	return 0;
}

int watch_enrol(struct warden *w, const char *path, uint64_t id, struct governed **ret_cgroup)
{
	struct governed *g = watch_find(w, id);
	int r;

	if (id == w->own_cgroup)
		return -ENOENT;
	if (!g) {
		r = insert(w, path, id, &g);
		if (r < 0)
			return r;
		g->workload = watch_workload(w, path);
		if (g->workload != NO_WORKLOAD) {
			r = steer_cgroup_set(w->steer, id, SLUICE_CGROUP_GOVERNED);
			if (r < 0) {
				watch_forget(w, id);
				return r;
			}
		}
	}
	*ret_cgroup = g;
	return g->workload == NO_WORKLOAD ? -ENOENT : 0;
}

void watch_forget(struct warden *w, uint64_t id)
{
	size_t i = lower_bound(w, id);

	if (i == w->n_governed || w->governed[i].id != id)
		return;
	(void)steer_cgroup_del(w->steer, id);
	free(w->governed[i].path);
	w->n_governed--;
	memmove(w->governed + i, w->governed + i + 1, (w->n_governed - i) * sizeof(*w->governed));
}

struct governed *watch_governed(struct warden *w, uint64_t id, int pid)
{
	struct governed *g = watch_find(w, id);
	char path[CGROUP_PATH_MAX];
	int r;

	if (id == w->own_cgroup)
		return NULL;
	if (!g) {
		if (cgroup_path(w->cgroup_root, id, path, sizeof(path)) < 0 ||
		    !watch_in_scope(w, path))
			return NULL;
		r = watch_enrol(w, path, id, &g);
		if (r < 0 && r != -ENOENT) {
			log_error("cgroup %s cannot be governed, its connects are refused: %s",
				  path, strerror(-r));
			return NULL;
		}
	}
	if (g->workload != NO_WORKLOAD)
		return g;
	if (pid > 0 && !g->refusal_told) {
		g->refusal_told = true;
		log_warning("cgroup %s matches no workload: what runs in it (pid %d) is refused",
			    g->path, pid);
		event_unknown_cgroup(w, g, pid);
	}
	return NULL;
}

/* A process that is governed: there has to be a listener where it is. */
static void on_process(struct warden *w, const struct sluice_kevent *e)
{
	struct governed *g = watch_governed(w, e->cgroup_id, (int)e->who.proc.tgid);
	struct netns *n;

	if (!g)
		return;
	if (e->who.net_ns != 0 && e->who.net_ns == g->netns_inode)
		return;
	n = e->who.net_ns != 0 ? netns_by_inode(w, e->who.net_ns) : NULL;
	if (n && n->in_map)
		g->netns_inode = n->inode;
	/* A runtime puts its own process into the container's cgroup first, in the node's
	 * namespace, and has it go to the container's later. What stays here runs something, or
	 * connects. */
	else if (e->type == SLUICE_KEV_EXEC || !netns_is_nodes(w, e->who.net_ns))
		(void)netns_open_for(w, g, (int)e->who.proc.tgid, (int)e->who.tid);
}

static void on_refused(struct warden *w, const struct sluice_kevent *e)
{
	struct governed *g;

	if (e->reason == SLUICE_COUNT_REFUSED_LISTENER ||
	    e->reason == SLUICE_COUNT_REFUSED_UNKNOWN) {
		g = watch_governed(w, e->cgroup_id, (int)e->who.proc.tgid);
		if (g)
			(void)netns_open_for(w, g, (int)e->who.proc.tgid, (int)e->who.tid);
	}
	event_refused(w, e);
}

static int on_event(void *ctx, const struct sluice_kevent *e)
{
	struct warden *w = ctx;

	switch ((enum sluice_kevent_type)e->type) {
	case SLUICE_KEV_CGROUP_NEW:
		(void)watch_governed(w, e->cgroup_id, 0);
		break;
	case SLUICE_KEV_EXEC:
		resolve_note_exec(w, &e->who);
		on_process(w, e);
		break;
	case SLUICE_KEV_FORK:
	case SLUICE_KEV_ATTACH:
		on_process(w, e);
		break;
	case SLUICE_KEV_EXIT:
		netns_sweep_soon(w);
		break;
	case SLUICE_KEV_CGROUP_GONE:
		watch_forget(w, e->cgroup_id);
		netns_sweep_soon(w);
		break;
	case SLUICE_KEV_REFUSED:
		on_refused(w, e);
		break;
	}
	return 0;
}

void watch_drain(struct warden *w)
{
	for (int i = 0; i < DRAIN_BATCHES; i++)
		if (steer_events_read(w->steer, on_event, w) < STEER_EVENTS_BATCH)
			return;
}

static void on_ready(struct watch *watch, uint32_t events)
{
	struct warden *w = OWNER_OF(watch, struct warden, steer_watch);

	(void)events;
	/* One batch: the loop has others to serve, and comes back. */
	(void)steer_events_read(w->steer, on_event, w);
}

struct scan {
	struct warden *warden;
	struct governed *cgroup;
};

static int scan_pid(void *ctx, int pid)
{
	struct scan *s = ctx;

	(void)netns_open_for(s->warden, s->cgroup, pid, pid);
	return 0;
}

static int scan_cgroup(void *ctx, const char *path, uint64_t id)
{
	struct scan *s = ctx;
	struct warden *w = s->warden;
	int r;

	r = watch_enrol(w, path, id, &s->cgroup);
	if (r == -ENOENT)
		return 0; /* refused; told when something runs in it */
	if (r < 0) {
		log_error("cgroup %s cannot be governed, its connects are refused: %s", path,
			  strerror(-r));
		return r == -ENOSPC ? r : 0;
	}
	(void)cgroup_pids(w->cgroup_root, path, scan_pid, s);
	return 0;
}

/* Cgroups that went while events were lost. */
static void forget_gone(struct warden *w)
{
	char path[CGROUP_PATH_MAX];

	for (size_t i = w->n_governed; i > 0; i--)
		if (cgroup_path(w->cgroup_root, w->governed[i - 1].id, path, sizeof(path)) ==
		    -ENOENT)
			watch_forget(w, w->governed[i - 1].id);
}

static bool is_governed(void *ctx, uint64_t id)
{
	struct warden *w = ctx;
	const struct governed *g = watch_find(w, id);

	return id == w->own_cgroup || (g && g->workload != NO_WORKLOAD);
}

static bool is_open(void *ctx, uint64_t cookie)
{
	const struct warden *w = ctx;

	for (size_t i = 0; i < w->n_netns; i++)
		if (w->netns[i].cookie == cookie)
			return w->netns[i].in_map;
	return false;
}

int watch_rescan(struct warden *w)
{
	struct scan s = {.warden = w};
	int r = 0;

	forget_gone(w);
	for (size_t i = 0; i < w->config->n_scopes && r == 0; i++)
		r = cgroup_walk(w->cgroup_root, w->config->scopes[i], scan_cgroup, &s);
	/* What a predecessor knew and is true no longer; a cgroup without its entry is refused, and
	 * a connect in a namespace without one is told, so that a listener is opened. */
	if (r == 0) {
		(void)steer_cgroups_prune(w->steer, is_governed, w);
		(void)steer_listeners_prune(w->steer, is_open, w);
	}
	netns_sweep_soon(w);
	return r;
}

int watch_start(struct warden *w)
{
	w->governed = calloc(CGROUPS_MAX, sizeof(*w->governed));
	w->netns = calloc(NETNS_MAX, sizeof(*w->netns));
	if (!w->governed || !w->netns)
		return -ENOMEM;
	return watch_add(w->loop, &w->steer_watch, steer_events_fd(w->steer), EPOLLIN, on_ready);
}

void watch_done(struct warden *w)
{
	watch_del(w->loop, &w->steer_watch);
	timer_del(w->loop, &w->sweep);
	timer_del(w->loop, &w->hand_out_again);
	if (w->netns)
		netns_close_all(w);
	free(TAKE_PTR(w->netns));
	for (size_t i = 0; i < w->n_governed; i++)
		free(w->governed[i].path);
	w->n_governed = 0;
	free(TAKE_PTR(w->governed));
}
