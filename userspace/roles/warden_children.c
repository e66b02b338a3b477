#include "roles/warden_state.h"

#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/json.h"
#include "roles/log.h"
#include "roles/recorder.h"
#include "roles/worker.h"

#define CRASH_LOOP_NS 10000000000u /* DEATHS_KEPT within this: wait before the next start */
#define CRASH_WAIT_MS 1000u
#define KEEP_MAX      (3 + WORKERS_MAX + 3)

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Close everything but standard streams and these. */
static int keep_only(int *fds, size_t n)
{
	unsigned first = STDERR_FILENO + 1;

	qsort(fds, n, sizeof(*fds), by_number);
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < 0 || (unsigned)fds[i] < first)
			continue;
		if ((unsigned)fds[i] > first && close_range(first, (unsigned)fds[i] - 1, 0) < 0)
			return -errno;
		first = (unsigned)fds[i] + 1;
	}
	return close_range(first, UINT_MAX, 0) < 0 ? -errno : 0;
}

/* In the child: no handler, mask or descriptor of the warden stays. */
static void become(const struct warden *w, const char *name, int *fds, size_t n)
{
	static const int ignored[] = {SIGPIPE, SIGINT, SIGHUP, SIGTERM};

	/* What reaches the whole process group (Ctrl-C, timeout(1)): the warden ends the others. */
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
	if (keep_only(fds, n) < 0)
		_exit(1);
	(void)sigprocmask(SIG_SETMASK, w->signals_before, NULL);
}

_noreturn_ static void run_worker(struct child *c, int warden_fd, int recorder_fd)
{
	struct warden *w = c->warden;
	int keep[] = {warden_fd, recorder_fd, steer_storage_fd(w->steer)};
	struct worker_setup setup = {.config = w->config,
				     .policy = w->policy,
				     .index = c->index,
				     .warden_fd = warden_fd,
				     .recorder_fd = recorder_fd,
				     .storage_fd = steer_storage_fd(w->steer),
				     .identities = w->identities};
	char name[32];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)snprintf(name, sizeof(name), "worker %u", c->index);
	log_role(name);
	become(w, "sluice-worker", keep, ARRAY_SIZE(keep));
	_exit(worker_run(&setup));
}

/* It needs no server's credential. */
static void forget_secrets(struct warden *w)
{
	for (size_t i = 0; i < w->config->n_resources; i++) {
		char *password = w->config->resources[i].password;

		if (password)
			explicit_bzero(password, strlen(password));
		tls_identity_done(&w->identities[i]);
	}
}

_noreturn_ static void run_recorder(struct child *c, int warden_fd, const int *worker_fds)
{
	struct warden *w = c->warden;
	int keep[KEEP_MAX];
	size_t n = 0;

	log_role("recorder");
	keep[n++] = warden_fd;
	for (unsigned i = 0; i < w->n_workers; i++)
		keep[n++] = worker_fds[i];
	become(w, "sluice-recorder", keep, n);
	forget_secrets(w);
	_exit(recorder_run(w->config, warden_fd, worker_fds, w->n_workers));
}

/* A role's word on itself, for `sluicectl status`: taken only when it is one JSON object. */
static void take_status(struct child *c, struct span text)
{
	_cleanup_(json_decrefp) json_t *root = NULL;

	if (text.len > STATUS_TEXT_MAX || json_load_strict(text, &root) < 0 ||
	    !json_is_object(root))
		return;
	buf_reset(&c->status);
	if (buf_put_span(&c->status, text) < 0)
		buf_reset(&c->status);
	c->status_fresh = true;
	control_role_status(c->warden);
}

static void check_ready(struct warden *w)
{
	if (w->ready || !w->recorder.ready || !events_all_acked(w))
		return;
	for (unsigned i = 0; i < w->n_workers; i++)
		if (!w->workers[i].ready)
			return;
	w->ready = true;
	timer_del(w->loop, &w->ready_timeout);
	loop_stop(w->loop, 0); /* warden_run goes on from here */
}

static void forward_cancel(struct child *from, struct span payload)
{
	struct warden *w = from->warden;
	struct msg_cancel m;

	if (msg_get_cancel(payload, &m) < 0) {
		child_give_up(from, "sent a message that is not understood");
		return;
	}
	for (unsigned i = 0; i < w->n_workers; i++) {
		struct child *to = &w->workers[i];

		if (to != from && to->chan && chan_send(to->chan, MSG_CANCEL, payload, NULL, 0) < 0)
			child_give_up(to, "does not take messages");
	}
}

static void on_worker_msg(void *ctx, struct chan *chan, struct chan_msg *msg)
{
	struct child *c = ctx;

	(void)chan;
	switch (msg->type) {
	case MSG_READY:
		c->ready = true;
		check_ready(c->warden);
		return;
	case MSG_RESOLVE:
		resolve_answer(c->warden, c, msg->payload);
		return;
	case MSG_CANCEL:
		forward_cancel(c, msg->payload);
		return;
	case MSG_STATUS:
		take_status(c, msg->payload);
		return;
	}
	child_give_up(c, "sent a message that is not understood");
}

static void on_recorder_msg(void *ctx, struct chan *chan, struct chan_msg *msg)
{
	struct child *c = ctx;
	struct warden *w = c->warden;

	(void)chan;
	switch (msg->type) {
	case MSG_READY:
		c->ready = true;
		check_ready(w);
		return;
	case MSG_EVENT_ACK:
		events_acked(w, msg->payload);
		check_ready(w);
		return;
	case MSG_RECORDER_STATUS:
		take_status(c, msg->payload);
		return;
	case MSG_APPROVAL_LIST:
		control_approval_list(w, msg->payload);
		return;
	case MSG_APPROVAL_DECIDED:
		control_approval_decided(w, msg->payload);
		return;
	}
	child_give_up(c, "sent a message that is not understood");
}

/* Its end is seen by SIGCHLD; a role that closed its channel and lives on is of no use. */
static void on_closed(void *ctx, struct chan *chan, int error)
{
	struct child *c = ctx;

	(void)error;
	chan_free(chan);
	c->chan = NULL;
	if (c->is_recorder)
		control_recorder_lost(c->warden);
	if (c->pid > 0 && !c->asked_to_end)
		(void)kill(c->pid, SIGKILL);
}

static const struct chan_events worker_events = {.on_msg = on_worker_msg, .on_closed = on_closed};
static const struct chan_events recorder_events = {.on_msg = on_recorder_msg,
						   .on_closed = on_closed};

static const char *name_of(const struct child *c)
{
	return c->is_recorder ? "recorder" : "worker";
}

void child_give_up(struct child *c, const char *why)
{
	if (c->pid <= 0)
		return;
	log_warning("%s (pid %d) %s: killed", name_of(c), (int)c->pid, why);
	(void)kill(c->pid, SIGKILL);
}

static int started(struct child *c, pid_t pid, int *warden_fd)
{
	int r;

	c->pid = pid;
	c->ready = false;
	c->asked_to_end = false;
	c->since = wall_ns();
	buf_reset(&c->status);
	r = chan_new(c->warden->loop, *warden_fd,
		     c->is_recorder ? &recorder_events : &worker_events, c, &c->chan);
	if (r < 0) {
		(void)kill(pid, SIGKILL);
		return r;
	}
	(void)TAKE_FD(*warden_fd);
	return 0;
}

struct pair {
	int fds[2];
};

static void pair_close(const struct pair *p)
{
	closep(&p->fds[0]);
	closep(&p->fds[1]);
}

#define PAIR_INIT ((struct pair){.fds = {-1, -1}})

/* recorder_fd: the worker's end of its channel to the recorder. */
static int start_worker(struct child *c, int recorder_fd)
{
	_cleanup_(pair_close) struct pair p = PAIR_INIT;
	pid_t pid;
	int r;

	r = chan_pair(p.fds);
	if (r < 0)
		return r;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_worker(c, p.fds[1], recorder_fd);
	return started(c, pid, &p.fds[0]);
}

/* worker_fds: the recorder's ends. */
static int start_recorder(struct warden *w, const int *worker_fds)
{
	_cleanup_(pair_close) struct pair p = PAIR_INIT;
	pid_t pid;
	int r;

	r = chan_pair(p.fds);
	if (r < 0)
		return r;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_recorder(&w->recorder, p.fds[1], worker_fds);
	return started(&w->recorder, pid, &p.fds[0]);
}

struct links {
	struct pair pairs[WORKERS_MAX]; /* [0]: the recorder's end, [1]: the worker's */
	int recorder_ends[WORKERS_MAX];
	unsigned n;
};

static void links_close(const struct links *l)
{
	for (unsigned i = 0; i < l->n; i++)
		pair_close(&l->pairs[i]);
}

static int links_make(struct links *l, unsigned n)
{
	for (l->n = 0; l->n < n; l->n++) {
		int r = chan_pair(l->pairs[l->n].fds);

		if (r < 0)
			return r;
		l->recorder_ends[l->n] = l->pairs[l->n].fds[0];
	}
	return 0;
}

int children_start(struct warden *w)
{
	_cleanup_(links_close) struct links links = {.n = 0};
	int r;

	w->recorder = (struct child){
		.warden = w, .is_recorder = true, .status = BUF_INIT(STATUS_TEXT_MAX)};
	for (unsigned i = 0; i < w->n_workers; i++)
		w->workers[i] = (struct child){
			.warden = w, .index = i, .status = BUF_INIT(STATUS_TEXT_MAX)};
	r = links_make(&links, w->n_workers);
	if (r < 0)
		return r;
	r = start_recorder(w, links.recorder_ends);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < w->n_workers; i++) {
		r = start_worker(&w->workers[i], links.pairs[i].fds[1]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* With a channel to the recorder that is there, or, when none is, with one that is closed already:
 * MSG_RECORDER_ADD brings the next. */
static int restart_worker(struct child *c)
{
	_cleanup_(pair_close) struct pair link = PAIR_INIT;
	_cleanup_buf_ struct buf b = BUF_INIT(64);
	struct warden *w = c->warden;
	int r;

	r = chan_pair(link.fds);
	if (r < 0)
		return r;
	r = start_worker(c, link.fds[1]);
	if (r < 0 || !w->recorder.chan)
		return r;
	(void)msg_put_worker_add(&b, &(struct msg_worker_add){.index = c->index});
	r = chan_send(w->recorder.chan, MSG_WORKER_ADD, buf_span(&b), &link.fds[0], 1);
	if (r < 0)
		child_give_up(&w->recorder, "does not take messages");
	return 0;
}

static int restart_recorder(struct warden *w)
{
	_cleanup_(links_close) struct links links = {.n = 0};
	int r;

	r = links_make(&links, w->n_workers);
	if (r < 0)
		return r;
	r = start_recorder(w, links.recorder_ends);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < w->n_workers; i++) {
		struct child *c = &w->workers[i];

		if (c->chan && chan_send(c->chan, MSG_RECORDER_ADD, (struct span){0},
					 &links.pairs[i].fds[1], 1) < 0)
			child_give_up(c, "does not take messages");
	}
	events_resend(w);
	return 0;
}

static void on_restart(struct timer *t)
{
	struct child *c = OWNER_OF(t, struct child, restart);
	struct warden *w = c->warden;
	int r;

	if (w->ending || c->pid > 0)
		return;
	r = c->is_recorder ? restart_recorder(w) : restart_worker(c);
	if (r < 0) {
		log_error("cannot start a %s: %s", name_of(c), strerror(-r));
		(void)timer_set(w->loop, t, CRASH_WAIT_MS, on_restart);
		return;
	}
	c->restarts++;
	log_info("%s started again, pid %d", name_of(c), (int)c->pid);
	if (!c->is_recorder)
		netns_hand_out(w);
}

static void say_how_it_ended(const struct child *c, pid_t pid, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_error("%s (pid %d) was killed for a system call that it may not make",
			  name_of(c), (int)pid);
	else if (WIFSIGNALED(status))
		log_error("%s (pid %d) was killed by signal %d (%s)", name_of(c), (int)pid,
			  WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_error("%s (pid %d) ended with status %d", name_of(c), (int)pid,
			  WEXITSTATUS(status));
}

static void all_ended(struct warden *w)
{
	timer_del(w->loop, &w->end_timeout);
	loop_stop(w->loop, 0);
}

static bool any_worker(const struct warden *w)
{
	for (unsigned i = 0; i < w->n_workers; i++)
		if (w->workers[i].pid > 0)
			return true;
	return false;
}

/* While ending: the recorder goes last, so that it has the others' last words. */
static void go_on_ending(struct warden *w)
{
	if (!w->workers_ended && !any_worker(w)) {
		w->workers_ended = true;
		if (w->recorder.pid > 0) {
			event_node_stop(w);
			w->recorder.asked_to_end = true;
			if (!w->recorder.chan ||
			    chan_send(w->recorder.chan, MSG_STOP, (struct span){0}, NULL, 0) < 0)
				(void)kill(w->recorder.pid, SIGKILL);
		}
	}
	if (w->workers_ended && w->recorder.pid <= 0)
		all_ended(w);
}

static void lost(struct child *c, int status)
{
	struct warden *w = c->warden;
	uint64_t now = now_ns();
	uint64_t wait_ms = 0;

	if (!c->is_recorder)
		event_worker_lost(w, c, status);
	if (c->deaths[DEATHS_KEPT - 2] != 0 && now - c->deaths[DEATHS_KEPT - 2] < CRASH_LOOP_NS)
		wait_ms = CRASH_WAIT_MS;
	memmove(c->deaths + 1, c->deaths, sizeof(c->deaths) - sizeof(c->deaths[0]));
	c->deaths[0] = now;
	if (timer_set(w->loop, &c->restart, wait_ms, on_restart) < 0)
		loop_stop(w->loop, -ENOMEM);
}

static void ended(struct child *c, int status)
{
	struct warden *w = c->warden;
	pid_t pid = c->pid;

	c->pid = 0;
	c->ready = false;
	if (c->chan) {
		chan_free(TAKE_PTR(c->chan));
		if (c->is_recorder)
			control_recorder_lost(w);
	}
	if (!c->is_recorder)
		netns_worker_gone(w, c->index);
	if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0 && c->asked_to_end))
		say_how_it_ended(c, pid, status);
	if (w->ending) {
		go_on_ending(w);
	} else if (!w->ready) {
		/* What cannot start at all is not tried for ever. */
		loop_stop(w->loop, -ECHILD);
	} else if (c->asked_to_end) {
		if (timer_set(w->loop, &c->restart, 0, on_restart) < 0)
			loop_stop(w->loop, -ENOMEM);
	} else {
		lost(c, status);
	}
}

void children_reap(struct warden *w)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == w->recorder.pid) {
			ended(&w->recorder, status);
			continue;
		}
		for (unsigned i = 0; i < w->n_workers; i++) {
			if (pid == w->workers[i].pid) {
				ended(&w->workers[i], status);
				break;
			}
		}
	}
}

static void ask_to_end(struct child *c)
{
	if (c->pid <= 0)
		return;
	c->asked_to_end = true;
	if (!c->chan || chan_send(c->chan, MSG_STOP, (struct span){0}, NULL, 0) < 0)
		(void)kill(c->pid, SIGKILL);
}

void children_renew(struct warden *w)
{
	for (unsigned i = 0; i < w->n_workers; i++)
		ask_to_end(&w->workers[i]);
}

static void kill_child(struct child *c)
{
	if (c->pid > 0)
		(void)kill(c->pid, SIGKILL);
}

static void on_end_timeout(struct timer *t)
{
	struct warden *w = OWNER_OF(t, struct warden, end_timeout);

	log_warning("not everything ended in time: killed");
	for (unsigned i = 0; i < w->n_workers; i++)
		kill_child(&w->workers[i]);
	/* The recorder has had no time of its own yet when only the workers were slow. */
	if (w->workers_ended)
		kill_child(&w->recorder);
	else
		(void)timer_set(w->loop, t, TIME_FOR_ENDING_MS, on_end_timeout);
}

void children_stop(struct warden *w)
{
	w->ending = true;
	for (unsigned i = 0; i < w->n_workers; i++)
		ask_to_end(&w->workers[i]);
	(void)timer_set(w->loop, &w->end_timeout, TIME_FOR_ENDING_MS, on_end_timeout);
	go_on_ending(w);
}

static void end_now(struct child *c)
{
	if (c->pid > 0) {
		(void)kill(c->pid, SIGKILL);
		(void)waitpid(c->pid, NULL, 0);
		c->pid = 0;
	}
	if (c->warden)
		timer_del(c->warden->loop, &c->restart);
	chan_free(TAKE_PTR(c->chan));
	buf_done(&c->status);
}

void children_kill(struct warden *w)
{
	for (unsigned i = 0; i < w->n_workers; i++)
		end_now(&w->workers[i]);
	end_now(&w->recorder);
}
