#include "roles/recorder_priv.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "base/jsonw.h"
#include "roles/log.h"
#include "roles/sandbox.h"

void recorder_send(struct recorder *r, struct conn *c, enum msg_type type, int encoded)
{
	int result = encoded;

	if (!c->chan)
		return;
	if (result == 0)
		result = chan_send(c->chan, (uint16_t)type, buf_span(&r->out), NULL, 0);
	/* Whoever does not read what it asked for finds its own timeout; nothing is permitted by
	 * an answer that did not come. */
	if (result < 0 && result != -EPIPE)
		log_error("cannot answer %s: %s", c->warden ? "the warden" : "a worker",
			  strerror(-result));
}

static void conn_free(struct conn *c)
{
	if (!c)
		return;
	chan_free(c->chan);
	free(c->ring);
	free(c);
}

void recorder_close_conn(struct conn *c, const char *reason)
{
	struct recorder *r = c->r;

	if (reason) {
		log_error("worker %u: %s: its channel is closed", c->index, reason);
		recorder_note_closed(r, c, reason);
	}
	r->workers[c->index] = NULL;
	chan_free(TAKE_PTR(c->chan));
	approvals_on_conn_closed(c);
	conn_free(c);
	recorder_after(r);
}

static void run_after(struct deferred *d)
{
	struct recorder *r = OWNER_OF(d, struct recorder, after);

	if (r->warden)
		recorder_flush_acks(r->warden);
	for (size_t i = 0; i < RECORDER_WORKERS_MAX; i++) {
		if (r->workers[i])
			recorder_flush_acks(r->workers[i]);
	}
	recorder_commit_if_due(r);
}

void recorder_after(struct recorder *r)
{
	defer(r->loop, &r->after, run_after);
}

static int put_status(struct recorder *r)
{
	uint64_t bytes = 0;
	struct jsonw w;

	if (r->reader && store_bytes(r->reader, &bytes) < 0)
		bytes = 0;
	buf_reset(&r->out);
	jsonw_init(&w, &r->out);
	jsonw_object(&w, NULL);
	jsonw_uint(&w, "approvals_open", r->n_live);
	jsonw_object(&w, "checkpoint");
	jsonw_uint(&w, "size", r->signed_size);
	if (*r->signed_time)
		jsonw_str(&w, "time", r->signed_time);
	jsonw_close(&w);
	if (r->error)
		jsonw_str(&w, "error", r->error_text);
	jsonw_uint(&w, "events", r->tree.size);
	jsonw_uint(&w, "events_on_disk", r->committed);
	jsonw_uint(&w, "refused", r->refused);
	jsonw_str(&w, "state", r->error ? "refusing" : "recording");
	jsonw_uint(&w, "store_bytes", bytes);
	jsonw_close(&w);
	return jsonw_end(&w);
}

static void open_reader(struct recorder *r)
{
	char error[STORE_ERROR_MAX];
	char path[4096];

	if (r->reader || !r->open)
		return;
	(void)snprintf(path, sizeof(path), "%s/" STORE_FILE, r->config->state_dir);
	if (store_open_read(path, error, &r->reader) < 0)
		log_error("the store cannot be opened for reading: %s", error);
}

static int attach(struct recorder *r, uint32_t index, int fd, bool warden);

static int on_worker_add(struct conn *c, struct chan_msg *msg)
{
	struct recorder *r = c->r;
	struct msg_worker_add m;
	int result;

	if (msg_get_worker_add(msg->payload, &m) < 0 || m.index >= RECORDER_WORKERS_MAX ||
	    msg->n_fds != 1)
		return -EBADMSG;
	if (r->workers[m.index])
		recorder_close_conn(r->workers[m.index], NULL);
	result = attach(r, m.index, TAKE_FD(msg->fds[0]), false);
	if (result < 0)
		log_error("worker %u cannot be attached: %s", m.index, strerror(-result));
	return 0;
}

static int on_warden_msg(struct conn *c, struct chan_msg *msg)
{
	switch (msg->type) {
	case MSG_APPROVAL_DECIDE:
		return approvals_on_decide(c, msg->payload);
	case MSG_APPROVAL_LIST_GET:
		return approvals_on_list(c, msg->payload);
	case MSG_RECORDER_STATUS_GET:
		open_reader(c->r);
		recorder_send(c->r, c, MSG_RECORDER_STATUS, put_status(c->r));
		return 0;
	case MSG_WORKER_ADD:
		return on_worker_add(c, msg);
	case MSG_STOP:
		loop_stop(c->r->loop, 0);
		return 0;
	default:
		return -EBADMSG;
	}
}

static int dispatch(struct conn *c, struct chan_msg *msg)
{
	switch (msg->type) {
	case MSG_EVENT:
		return recorder_on_event(c, msg->payload);
	case MSG_APPROVAL_ASK:
		return approvals_on_ask(c, msg->payload);
	case MSG_APPROVAL_WITHDRAW:
		return approvals_on_withdraw(c, msg->payload);
	case MSG_APPROVAL_CONSUME:
		return approvals_on_consume(c, msg->payload);
	default:
		return c->warden ? on_warden_msg(c, msg) : -EBADMSG;
	}
}

static void on_msg(void *ctx, struct chan *chan, struct chan_msg *msg)
{
	struct conn *c = ctx;
	struct recorder *r = c->r;
	char reason[64];

	(void)chan;
	if (dispatch(c, msg) == 0) {
		recorder_after(r);
		return;
	}
	(void)snprintf(reason, sizeof(reason), "a message of type %u that is not valid", msg->type);
	if (!c->warden) {
		recorder_close_conn(c, reason);
		return;
	}
	log_error("the warden sent %s", reason);
	loop_stop(r->loop, 1);
}

static void on_closed(void *ctx, struct chan *chan, int error)
{
	struct conn *c = ctx;

	(void)chan;
	if (c->warden) {
		log_error("the warden has gone");
		loop_stop(c->r->loop, 0);
		return;
	}
	recorder_close_conn(c, error ? strerror(-error) : NULL);
}

static const struct chan_events chan_events = {.on_msg = on_msg, .on_closed = on_closed};

/* Takes the fd. */
static int attach(struct recorder *r, uint32_t index, int fd, bool warden)
{
	_cleanup_close_ int taken = fd;
	struct conn *c = calloc(1, sizeof(*c));
	int result;

	if (!c)
		return -ENOMEM;
	c->r = r;
	c->index = index;
	c->warden = warden;
	c->ring = calloc(DURABLES_MAX, sizeof(*c->ring));
	result = c->ring ? chan_new(r->loop, taken, &chan_events, c, &c->chan) : -ENOMEM;
	if (result < 0) {
		conn_free(c);
		return result;
	}
	(void)TAKE_FD(taken);
	if (warden)
		r->warden = c;
	else
		r->workers[index] = c;
	return 0;
}

static void on_written(struct watch *w, uint32_t events)
{
	struct recorder *r = OWNER_OF(w, struct recorder, written);

	(void)events;
	recorder_collect(r);
	recorder_after(r);
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct recorder *r = OWNER_OF(w, struct recorder, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		loop_stop(r->loop, 0);
}

static void on_checkpoint_due(struct timer *t)
{
	struct recorder *r = OWNER_OF(t, struct recorder, checkpoint_timer);

	if (now_ns() - r->signed_ns >= CHECKPOINT_MS * UINT64_C(1000000)) {
		recorder_sign(r);
		recorder_after(r);
	}
	if (timer_set(r->loop, &r->checkpoint_timer,
		      r->signed_ns ? CHECKPOINT_LOOK_MS : CHECKPOINT_FIRST_MS,
		      on_checkpoint_due) < 0)
		loop_stop(r->loop, 1);
}

/* The store could not be opened yet: everything is refused, and it is tried again. */
static void try_open(struct timer *t)
{
	struct recorder *r = OWNER_OF(t, struct recorder, retry_timer);
	char before_text[STORE_ERROR_MAX];
	int before = r->error;

	memcpy(before_text, r->error_text, sizeof(before_text));
	r->error = recorder_open(r);
	if (!r->error) {
		/* What a recorder before left without a signature: no event comes behind it so. The
		 * first one of this one need not wait for the next then. */
		recorder_sign(r);
		r->signed_ns = 0;
	}
	if (before && !r->error) {
		memcpy(r->error_text, before_text, sizeof(before_text));
		recorder_note_resumed(r);
	}
	if (r->error && r->error != before)
		log_error("cannot record: %s (%s); operations are refused", r->error_text,
			  strerror(-r->error));
	if (r->error && timer_set(r->loop, &r->retry_timer, RETRY_MS, try_open) < 0)
		loop_stop(r->loop, 1);
	recorder_after(r);
}

static int watch_signals(struct recorder *r)
{
	struct sigaction before;
	sigset_t set;
	int fd;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	/* Ctrl-C goes to the whole group: the warden says when to stop. */
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)sigdelset(&set, SIGINT);
	/* Ignored by whoever made this process: then it ends by MSG_STOP or with the warden only.
	 */
	if (sigaction(SIGTERM, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
		return 0;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	return watch_add(r->loop, &r->signals, fd, EPOLLIN, on_signal);
}

static int set_up(struct recorder *r)
{
	int result;

	r->filling = &r->batches[0];
	r->node = BUF_INIT(ENTRY_NODE_MAX);
	r->body = BUF_INIT(ENTRY_MAX);
	r->out = BUF_INIT(CHAN_MSG_MAX);
	result = entry_escape_node(r->config->node, &r->node);
	if (result == 0)
		result = batch_init(&r->batches[0]);
	if (result == 0)
		result = batch_init(&r->batches[1]);
	if (result == 0)
		result = loop_new(&r->loop);
	if (result == 0)
		result = watch_signals(r);
	if (result == 0)
		result = recorder_prepare_dir(r->config);
	if (result == 0)
		result = writer_new(r->config->state_dir, &r->writer);
	if (result == 0)
		result = watch_add(r->loop, &r->written, writer_fd(r->writer), EPOLLIN, on_written);
	/* Without root's rights to give up there is no sandbox: a test, or a build of one's own. */
	if (result == 0 && geteuid() == 0)
		result = sandbox_recorder(r->config);
	return result;
}

static int start(struct recorder *r, int warden_fd, const int *worker_fds, size_t n)
{
	int result = attach(r, 0, warden_fd, true);

	for (size_t i = 0; i < n; i++) {
		if (worker_fds[i] < 0)
			continue;
		if (i >= RECORDER_WORKERS_MAX)
			(void)close(worker_fds[i]);
		else if (result == 0)
			result = attach(r, (uint32_t)i, worker_fds[i], false);
	}
	if (result < 0)
		return result;
	try_open(&r->retry_timer);
	result = timer_set(r->loop, &r->checkpoint_timer, CHECKPOINT_FIRST_MS, on_checkpoint_due);
	if (result < 0)
		return result;
	return chan_send(r->warden->chan, MSG_READY, (struct span){0}, NULL, 0);
}

/* Everything to disk, under a last checkpoint. */
static int finish(struct recorder *r)
{
	int result;

	if (!r->open)
		return 0;
	r->stopping = true;
	timer_del(r->loop, &r->retry_timer);
	if (r->writing && !r->with_writer)
		recorder_submit(r);
	result = recorder_sync(r);
	if (result == 0) {
		approvals_end_all(r, "the recorder was stopped");
		recorder_sign(r);
		result = recorder_sync(r);
	}
	if (result < 0)
		log_error("%llu events that were held are lost: %s",
			  (unsigned long long)(r->tree.size - r->committed), r->error_text);
	run_after(&r->after);
	return result;
}

static void tear_down(struct recorder *r)
{
	writer_free(r->writer);
	store_close(r->reader);
	if (r->loop) {
		approvals_free(r);
		for (size_t i = 0; i < RECORDER_WORKERS_MAX; i++)
			conn_free(r->workers[i]);
		conn_free(r->warden);
		if (r->signals.active)
			(void)close(r->signals.fd);
	}
	loop_free(r->loop);
	batch_done(&r->batches[0]);
	batch_done(&r->batches[1]);
	buf_done(&r->node);
	buf_done(&r->body);
	buf_done(&r->out);
	note_key_done(&r->key);
	free(r);
}

int recorder_run(const struct config *config, int warden_fd, const int *worker_fds, size_t n)
{
	struct recorder *r = calloc(1, sizeof(*r));
	int result;
	int status = 1;

	log_role("recorder");
	if (!r)
		return 1;
	r->config = config;
	result = set_up(r);
	if (result == 0)
		result = start(r, warden_fd, worker_fds, n);
	if (result == 0) {
		status = loop_run(r->loop);
		if (finish(r) < 0)
			status = 1;
	} else {
		log_error("cannot start: %s", strerror(-result));
	}
	tear_down(r);
	return status == 0 ? 0 : 1;
}
