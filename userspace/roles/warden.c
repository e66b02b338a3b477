#include "roles/warden.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "authn/token.h"
#include "config/config.h"
#include "model/version.h"
#include "roles/log.h"
#include "roles/sandbox.h"
#include "roles/warden_state.h"

#define SWEEP_TUPLES_TICKS 60u
#define TUPLE_AGE_MAX_NS   600000000000u

static int open_max(void)
{
	struct rlimit files;

	/* As many as are allowed anyway; raising the hard limit may not be. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = MIN(files.rlim_max, (rlim_t)262144);
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	return 0;
}

static int make_parents(const char *path)
{
	char at[PATH_MAX];

	if ((size_t)snprintf(at, sizeof(at), "%s", path) >= sizeof(at))
		return -ENAMETOOLONG;
	for (char *p = at + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(at, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

/* A directory of our own: made, or there and not somebody else's. */
static int make_dir(const char *path, mode_t mode, gid_t group)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	r = make_parents(path);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_DIRECTORY | O_NOFOLLOW | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != 0)
		return -EPERM;
	if (fchown(fd, 0, group) < 0 || fchmod(fd, mode) < 0)
		return -errno;
	return 0;
}

/* The state directory is the recorder's to make files in, but not to replace root's (sticky): the
 * node's CA key lies there too. */
static int make_dirs(const struct config *c)
{
	int r;

	r = make_dir(c->run_dir, 0755, 0);
	if (r < 0) {
		log_error("%s: %s", c->run_dir, strerror(-r));
		return r;
	}
	r = make_dir(c->state_dir, 01771, c->recorder_uid);
	if (r < 0) {
		log_error("%s: %s", c->state_dir, strerror(-r));
		return r;
	}
	r = sandbox_make_empty_dir(c->run_dir);
	if (r < 0)
		log_error("%s/%s: %s", c->run_dir, SANDBOX_EMPTY_DIR, strerror(-r));
	return r;
}

/* One sluiced a run_dir. The lock goes with the process. */
static int take_lock(const struct config *c, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/lock", c->run_dir) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		log_error("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		log_error("another sluiced is running: it holds %s", path);
		return -EBUSY;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int take_pins(const struct config *c, int *ret_fd)
{
	int r = steer_lock(c->bpf_dir, ret_fd);

	if (r == -EBUSY)
		log_error("another sluiced is running: it holds %s", c->bpf_dir);
	else if (r < 0)
		log_error("%s: %s", c->bpf_dir, strerror(-r));
	return r;
}

static int check_keys(const struct config *c)
{
	_cleanup_(token_verifier_freep) struct token_verifier *v = NULL;
	size_t bad = 0;
	int r;

	r = token_verifier_new(c->issuers, c->n_issuers, &bad, &v);
	if (r == -EBADMSG && bad < c->n_issuers)
		log_error("%s: not a usable key set (issuer %s)", c->issuers[bad].jwks_file,
			  c->issuers[bad].name);
	else if (r < 0)
		log_error("the issuers' keys cannot be used: %s", strerror(-r));
	return r;
}

/* ---- signals, heartbeat ---- */

static void reload(struct warden *w)
{
	_cleanup_(config_freep) struct config *newer = NULL;
	_cleanup_(policy_unrefp) struct policy *policy = NULL;
	struct diags diags = DIAGS_INIT;
	int policy_r;
	int r;

	r = config_load(w->config->path, CONFIG_NO_SECRETS | CONFIG_PARTIAL, &diags, &newer);
	/* Also where r says no: its faults are said with the configuration's. */
	if (newer && (r == 0 || newer->policy_text.p)) {
		policy_r = policy_load(newer->policy_text, newer->policy_file, w->config, &diags,
				       &policy);
		r = r < 0 ? r : policy_r;
	}
	if (r == 0)
		r = check_keys(newer);
	for (size_t i = 0; r == 0 && i < w->config->n_workloads; i++) {
		const char *issuer = w->config->workloads[i].issuer;
		bool there = !issuer;

		for (size_t k = 0; k < newer->n_issuers; k++)
			there = there || streq(issuer, newer->issuers[k].name);
		if (!there)
			r = -EINVAL;
	}
	if (r < 0) {
		diags_print(&diags, stderr);
		diags_done(&diags);
		log_error("reload refused, the policy at hand stays in force: %s", strerror(-r));
		return;
	}
	diags_done(&diags);
	w->config->issuers = newer->issuers;
	w->config->n_issuers = newer->n_issuers;
	config_free(w->newer);
	w->newer = TAKE_PTR(newer);
	policy_unref(w->policy);
	w->policy = TAKE_PTR(policy);
	event_node_start(w, "reload");
	log_info("policy and issuers loaded anew; open sessions end. All else needs a restart");
	children_renew(w);
}

static void on_signal(struct watch *watch, uint32_t events)
{
	struct warden *w = OWNER_OF(watch, struct warden, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			children_reap(w);
			break;
		case SIGHUP:
			if (w->ready && !w->ending)
				reload(w);
			break;
		default:
			if (w->ending)
				break;
			if (!w->ready) {
				loop_stop(w->loop, -EINTR);
				break;
			}
			log_info("stopping");
			children_stop(w);
		}
	}
}

static int watch_signals(struct warden *w, const sigset_t *signals)
{
	int fd = signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	return watch_add(w->loop, &w->signal_watch, fd, EPOLLIN, on_signal);
}

void warden_beat(struct warden *w)
{
	int r = steer_heartbeat(w->steer);

	if (r < 0)
		log_error("heartbeat: %s", strerror(-r));
	w->beat_ns = now_ns();
}

static void on_heartbeat(struct timer *t)
{
	struct warden *w = OWNER_OF(t, struct warden, heartbeat);
	uint64_t lost = w->counters[SLUICE_COUNT_EVENTS_LOST];
	static unsigned ticks;

	warden_beat(w);
	if (steer_counters(w->steer, w->counters) == 0 &&
	    w->counters[SLUICE_COUNT_EVENTS_LOST] > lost) {
		log_warning("the kernel side had more to tell than was read: looking at every "
			    "cgroup");
		(void)watch_rescan(w);
	}
	events_tick(w);
	if (++ticks % SWEEP_TUPLES_TICKS == 0)
		(void)steer_sweep(w->steer, TUPLE_AGE_MAX_NS, NULL, NULL);
	(void)timer_set(w->loop, t, HEARTBEAT_MS, on_heartbeat);
}

/* ---- start and end ---- */

static void on_ready_timeout(struct timer *t)
{
	struct warden *w = OWNER_OF(t, struct warden, ready_timeout);

	log_error("not every role was ready in time");
	loop_stop(w->loop, -ETIMEDOUT);
}

/* sd_notify(3): one datagram to the socket that systemd names. */
static void notify_manager(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	size_t len;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return;
	len = strlen(path);
	if (len >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

static unsigned worker_count(const struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = c->workers > 0 ? c->workers : (unsigned)MAX(cores, 1L);

	return MIN(n, (unsigned)WORKERS_MAX);
}

/* Until every role is up and the start is on record. */
static int wait_for_roles(struct warden *w)
{
	int r;

	r = timer_set(w->loop, &w->ready_timeout, TIME_FOR_READY_MS, on_ready_timeout);
	if (r < 0)
		return r;
	r = loop_run(w->loop);
	timer_del(w->loop, &w->ready_timeout);
	if (r == 0 && !w->ready)
		r = -EINTR;
	return r;
}

static int start(struct warden *w, const sigset_t *signals)
{
	int r;

	r = events_start(w);
	if (r == 0)
		r = resolve_start(w);
	/* Its tables are there before a worker can ask about them. */
	if (r == 0)
		r = watch_start(w);
	if (r == 0)
		r = watch_signals(w, signals);
	if (r < 0)
		return r;
	w->n_workers = worker_count(w->config);
	r = children_start(w);
	if (r < 0) {
		log_error("the other roles cannot be started: %s", strerror(-r));
		return r;
	}
	event_node_start(w, "start");
	r = wait_for_roles(w);
	if (r < 0) {
		if (r != -EINTR)
			log_error("not started: %s",
				  r == -ECHILD ? "a role ended at once" : strerror(-r));
		return r;
	}
	r = timer_set(w->loop, &w->heartbeat, 0, on_heartbeat);
	if (r == 0)
		r = watch_rescan(w);
	if (r == 0)
		r = identities_keep_fresh(w);
	if (r == 0)
		r = control_start(w);
	return r;
}

static void finish(struct warden *w)
{
	control_done(w);
	timer_del(w->loop, &w->heartbeat);
	timer_del(w->loop, &w->renewal);
	/* First the map, then the sockets: no connect goes to a port that has no owner. */
	if (w->steer)
		watch_done(w);
	children_kill(w);
	events_done(w);
	resolve_done(w);
	if (w->signal_watch.active) {
		watch_del(w->loop, &w->signal_watch);
		(void)close(w->signal_watch.fd);
	}
}

static void warden_done(struct warden *w)
{
	identities_done(w);
	steer_close(w->steer);
	policy_unref(w->policy);
	config_free(w->newer);
	config_free(w->config);
	loop_free(w->loop);
}

/* Everything before the first process is started. */
static int prepare(struct warden *w, int *ret_lock, int *ret_pins)
{
	int r;

	r = make_dirs(w->config);
	if (r == 0)
		r = take_lock(w->config, ret_lock);
	if (r == 0)
		r = take_pins(w->config, ret_pins);
	if (r == 0)
		r = check_keys(w->config);
	if (r == 0)
		r = identities_mint(w);
	if (r == 0)
		r = kernel_side_open(w);
	if (r == 0)
		r = loop_new(&w->loop);
	return r;
}

static int run(struct warden *w)
{
	_cleanup_close_ int lock = -1;
	_cleanup_close_ int pins = -1;
	sigset_t signals;
	sigset_t before;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	(void)signal(SIGPIPE, SIG_IGN);
	w->signals_before = &before;
	w->since = wall_ns();
	r = prepare(w, &lock, &pins);
	if (r < 0)
		return 1;
	r = start(w, &signals);
	if (r == 0) {
		log_info("ready: version %s, %u workers, %zu resources, %zu rules, node %s",
			 SLUICE_VERSION, w->n_workers, w->config->n_resources,
			 policy_n_rules(w->policy), w->config->node);
		notify_manager("READY=1\n");
		r = loop_run(w->loop);
		notify_manager("STOPPING=1\n");
		if (r < 0)
			log_error("ended: %s", strerror(-r));
	}
	finish(w);
	return r < 0 ? 1 : 0;
}

int warden_run(struct config *config, struct policy *policy)
{
	struct warden *w = calloc(1, sizeof(*w));
	int status;

	log_role("warden");
	if (!w) {
		policy_unref(policy);
		config_free(config);
		return 1;
	}
	w->config = config;
	w->policy = policy;
	(void)open_max();
	status = run(w);
	warden_done(w);
	free(w);
	return status;
}

static int remove_if_empty(void *ctx, const char *path, uint64_t id)
{
	(void)id;
	/* Those below come after: several rounds, from the leaves up. */
	if (cgroup_remove(ctx, path) == 0)
		return 1;
	return 0;
}

int warden_detach(const struct config *config)
{
	_cleanup_close_ int lock = -1;
	_cleanup_close_ int pins = -1;
	char root[CGROUP_PATH_MAX];
	int r;

	log_role("");
	if (access(config->run_dir, F_OK) == 0 && take_lock(config, &lock) < 0)
		return 1;
	if (access(config->bpf_dir, F_OK) == 0 && take_pins(config, &pins) < 0)
		return 1;
	r = steer_detach(config->bpf_dir);
	if (r < 0) {
		log_error("%s: %s", config->bpf_dir, strerror(-r));
		return 1;
	}
	if (cgroup_v2_root(root, sizeof(root)) < 0)
		return 0;
	for (size_t i = 0; i < config->n_scopes; i++) {
		while (cgroup_walk(root, config->scopes[i], remove_if_empty, root) == 1)
			;
	}
	return 0;
}
