#include "roles/warden_state.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "kernel/netns.h"
#include "roles/log.h"

#define SWEEP_MS	 300u
#define SWEEPS_UNSEEN	 2u /* a process that forks while it is looked for is missed once */
#define HAND_OUT_WAIT_MS 20u

struct netns *netns_by_inode(struct warden *w, uint64_t inode)
{
	for (size_t i = 0; i < w->n_netns; i++)
		if (w->netns[i].inode == inode)
			return &w->netns[i];
	return NULL;
}

bool netns_is_nodes(const struct warden *w, uint64_t inode)
{
	return inode != 0 && (inode == w->node_netns[0] || inode == w->node_netns[1]);
}

static struct netns *by_cookie(struct warden *w, uint64_t cookie)
{
	for (size_t i = 0; i < w->n_netns; i++)
		if (w->netns[i].cookie == cookie)
			return &w->netns[i];
	return NULL;
}

/* 1 handed over, 0 has it already or is not running, -errno. */
static int hand_to(const struct child *c, struct netns *n)
{
	struct msg_listener m = {
		.netns_cookie = n->cookie, .has4 = n->fd4 >= 0, .has6 = n->fd6 >= 0};
	_cleanup_buf_ struct buf b = BUF_INIT(64);
	size_t n_fds = 0;
	int fds[2];
	int r;

	if (!c->chan || (n->handed & (UINT64_C(1) << c->index)))
		return 0;
	if (m.has4)
		fds[n_fds++] = n->fd4;
	if (m.has6)
		fds[n_fds++] = n->fd6;
	r = msg_put_listener(&b, &m);
	if (r == 0)
		r = chan_send(c->chan, MSG_LISTENER_ADD, buf_span(&b), fds, n_fds);
	if (r < 0)
		return r;
	n->handed |= UINT64_C(1) << c->index;
	return 1;
}

static void on_hand_out_again(struct timer *t)
{
	netns_hand_out(OWNER_OF(t, struct warden, hand_out_again));
}

/* Connects are steered here from now on. */
static void put_in_map(struct warden *w, struct netns *n)
{
	struct sluice_listener l = {.port4 = n->fd4 >= 0 ? htons(n->port) : 0,
				    .port6 = n->fd6 >= 0 ? htons(n->port) : 0};
	int r;

	r = steer_listener_set(w->steer, n->cookie, &l);
	if (r < 0) {
		log_error("listener of network namespace %llu cannot be set: %s",
			  (unsigned long long)n->inode, strerror(-r));
		return;
	}
	n->in_map = true;
}

/* To every worker, then into the map: a connection never finds a listener that nobody serves. */
void netns_hand_out(struct warden *w)
{
	bool again = false;

	for (size_t i = 0; i < w->n_netns; i++) {
		struct netns *n = &w->netns[i];
		bool missing = false;

		for (unsigned k = 0; k < w->n_workers; k++) {
			int r = hand_to(&w->workers[k], n);

			if (r == -ENOBUFS)
				missing = true;
			else if (r < 0 && r != -EPIPE)
				child_give_up(&w->workers[k], "does not take listeners");
		}
		again = again || missing;
		if (!missing && !n->in_map && n->handed != 0)
			put_in_map(w, n);
	}
	if (again && w->hand_out_again.slot == 0)
		(void)timer_set(w->loop, &w->hand_out_again, HAND_OUT_WAIT_MS, on_hand_out_again);
}

void netns_worker_gone(struct warden *w, unsigned index)
{
	for (size_t i = 0; i < w->n_netns; i++)
		w->netns[i].handed &= ~(UINT64_C(1) << index);
}

static void close_one(struct warden *w, size_t i)
{
	struct netns n = w->netns[i];
	_cleanup_buf_ struct buf b = BUF_INIT(64);

	(void)steer_listener_del(w->steer, n.cookie);
	(void)msg_put_listener(&b, &(struct msg_listener){.netns_cookie = n.cookie});
	for (unsigned k = 0; k < w->n_workers; k++) {
		struct child *c = &w->workers[k];

		if (!c->chan || !(n.handed & (UINT64_C(1) << k)))
			continue;
		if (chan_send(c->chan, MSG_LISTENER_DEL, buf_span(&b), NULL, 0) < 0)
			child_give_up(c, "does not take messages");
	}
	closep(&n.fd4);
	closep(&n.fd6);
	w->netns[i] = w->netns[--w->n_netns];
	for (size_t k = 0; k < w->n_governed; k++)
		if (w->governed[k].netns_inode == n.inode)
			w->governed[k].netns_inode = 0;
	if (!w->ending)
		event_container(w, EVENT_CONTAINER_GONE, &n, 0);
	free(n.cgroup_path);
}

void netns_close_all(struct warden *w)
{
	while (w->n_netns > 0)
		close_one(w, w->n_netns - 1);
}

static size_t opened_for(const struct warden *w, uint64_t cgroup)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_netns; i++)
		if (w->netns[i].cgroup == cgroup)
			n++;
	return n;
}

static int open_ns(int pid, int tid)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/net", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The port of the configuration, or where another has it (in the node's own namespace) any. */
static int listen_in(const struct warden *w, int ns, struct netns *n)
{
	int r;

	r = netns_listen(ns, w->config->listen_port, &n->fd4, &n->fd6, &n->port);
	if (r == -EADDRINUSE)
		r = netns_listen(ns, 0, &n->fd4, &n->fd6, &n->port);
	return r;
}

static int open_new(struct warden *w, struct governed *g, int ns, uint64_t cookie, uint64_t inode,
		    int pid)
{
	struct netns n = {.cookie = cookie,
			  .inode = inode,
			  .fd4 = -1,
			  .fd6 = -1,
			  .cgroup = g->id,
			  .workload = g->workload};
	int r;

	if (w->n_netns == NETNS_MAX || opened_for(w, g->id) >= NETNS_PER_CGROUP)
		return -ENOSPC;
	n.cgroup_path = strdup(g->path);
	if (!n.cgroup_path)
		return -ENOMEM;
	/* The port that a predecessor reserved is nobody's to bind, but for one that is exempt. */
	if (w->own_cgroup == 0)
		(void)steer_listener_del(w->steer, cookie);
	r = listen_in(w, ns, &n);
	if (r < 0) {
		free(n.cgroup_path);
		return r;
	}
	w->netns[w->n_netns++] = n;
	g->netns_inode = inode;
	netns_hand_out(w);
	log_info("%s is ready: cgroup %s, network namespace %llu, port %u",
		 w->config->workloads[g->workload].name, g->path, (unsigned long long)inode,
		 n.port);
	event_container(w, EVENT_CONTAINER_READY, &n, pid);
	return 0;
}

int netns_open_for(struct warden *w, struct governed *g, int pid, int tid)
{
	_cleanup_close_ int ns = open_ns(pid, tid);
	struct netns *n;
	struct stat st;
	uint64_t cookie;
	uint64_t inode;
	int r;

	if (ns < 0)
		return ns == -ENOENT ? -ESRCH : ns;
	if (fstat(ns, &st) < 0)
		return -errno;
	/* An inode is not used again while a listener keeps its namespace alive. */
	n = netns_by_inode(w, st.st_ino);
	if (!n) {
		r = netns_identity(ns, &cookie, &inode);
		if (r < 0)
			return r;
		n = by_cookie(w, cookie);
		if (!n) {
			r = open_new(w, g, ns, cookie, inode, pid);
			if (r < 0)
				log_error("no listener for cgroup %s (pid %d), its connects are "
					  "refused: %s",
					  g->path, pid, strerror(-r));
			return r;
		}
	}
	g->netns_inode = n->inode;
	n->unseen = 0;
	if (!n->in_map)
		netns_hand_out(w);
	return n->in_map ? 0 : -EAGAIN;
}

static int see_pid(void *ctx, int pid)
{
	struct warden *w = ctx;
	struct netns *n;
	struct stat st;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	if (stat(path, &st) < 0)
		return 0;
	n = netns_by_inode(w, st.st_ino);
	if (n)
		n->unseen = 0;
	return 0;
}

/* A cgroup that `run` made goes when the last process has left it; rmdir refuses before. */
static void remove_left_ones(struct warden *w)
{
	for (size_t i = w->n_governed; i > 0; i--) {
		struct governed *g = &w->governed[i - 1];

		if (g->made_by_run && cgroup_remove(w->cgroup_root, g->path) == 0)
			watch_forget(w, g->id);
	}
}

static void on_sweep(struct timer *t)
{
	struct warden *w = OWNER_OF(t, struct warden, sweep);
	bool again = false;

	for (size_t i = 0; i < w->n_netns; i++)
		w->netns[i].unseen++;
	for (size_t i = 0; i < w->n_governed; i++)
		if (w->governed[i].workload != NO_WORKLOAD)
			(void)cgroup_pids(w->cgroup_root, w->governed[i].path, see_pid, w);
	for (size_t i = w->n_netns; i > 0; i--) {
		unsigned unseen = w->netns[i - 1].unseen;

		if (unseen >= SWEEPS_UNSEEN)
			close_one(w, i - 1);
		else if (unseen > 0)
			again = true;
	}
	remove_left_ones(w);
	if (again)
		netns_sweep_soon(w);
}

void netns_sweep_soon(struct warden *w)
{
	if (w->sweep.slot == 0 && !w->ending)
		(void)timer_set(w->loop, &w->sweep, SWEEP_MS, on_sweep);
}
