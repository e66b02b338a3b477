#include "roles/control_state.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/json.h"
#include "roles/log.h"

#define CLIENT_TIMEOUT_MS 20000u
#define BACKLOG		  64

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

static void client_free(struct client *c)
{
	struct control *ctl = c->control;

	for (struct client **at = &ctl->clients; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		ctl->n_clients--;
		break;
	}
	watch_del(ctl->warden->loop, &c->watch);
	timer_del(ctl->warden->loop, &c->timeout);
	(void)close(c->watch.fd);
	free(c);
}

void control_answer(struct client *c, struct span json)
{
	/* One answer a connection, into an empty socket buffer: it fits, or the client is gone. */
	(void)send(c->watch.fd, json.p, json.len, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR);
	client_free(c);
}

void control_refuse(struct client *c, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	char text[1024];
	struct jsonw w;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "error", text);
	jsonw_int(&w, "ok", 0);
	jsonw_close(&w);
	if (jsonw_end(&w) < 0)
		buf_reset(&b);
	control_answer(c, buf_span(&b));
}

static void on_client_timeout(struct timer *t)
{
	control_refuse(OWNER_OF(t, struct client, timeout), "no answer in time: ask again");
}

static void on_client_ready(struct watch *watch, uint32_t events)
{
	struct client *c = OWNER_OF(watch, struct client, watch);
	_cleanup_(json_decrefp) json_t *request = NULL;
	char text[CONTROL_REQUEST_MAX];
	ssize_t n;

	if (c->waits != CONTROL_WAITS_NOT) {
		/* It left, or talks out of turn. */
		client_free(c);
		return;
	}
	(void)events;
	n = recv(watch->fd, text, sizeof(text), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(c);
		return;
	}
	if ((size_t)n > sizeof(text) || json_load_strict(span_of(text, (size_t)n), &request) < 0 ||
	    !json_is_object(request)) {
		control_refuse(c, "the request is not a JSON object of at most %u bytes",
			       CONTROL_REQUEST_MAX);
		return;
	}
	control_request(c, request);
}

/* The peer's own process where the kernel can say so; else the one that has its pid now. */
static int peer_pidfd(int fd, pid_t pid)
{
	socklen_t len = sizeof(int);
	int pidfd = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	if (errno != ENOPROTOOPT)
		return -errno;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

/* What is governed may not speak for a person: not approve what it asked for itself. */
static bool peer_is_governed(const struct warden *w, int fd, pid_t pid)
{
	_cleanup_close_ int pidfd = peer_pidfd(fd, pid);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	char path[CGROUP_PATH_MAX];

	if (pidfd < 0 || cgroup_of_pid(pid, path, sizeof(path)) < 0)
		return true;
	/* Had it ended, the path could be that of another process. */
	if (poll(&ended, 1, 0) != 0)
		return true;
	return watch_in_scope(w, path);
}

static const struct approver_config *approver_of(const struct config *config, uint32_t uid)
{
	for (size_t i = 0; i < config->n_approvers; i++)
		if (config->approvers[i].uid == uid)
			return &config->approvers[i];
	return NULL;
}

static void add_client(struct control *ctl, int fd)
{
	struct warden *w = ctl->warden;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int size = CONTROL_ANSWER_MAX;
	struct client *c;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0 ||
	    ctl->n_clients == CONTROL_CLIENTS_MAX) {
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	c = calloc(1, sizeof(*c));
	if (!c || watch_add(w->loop, &c->watch, fd, EPOLLIN, on_client_ready) < 0) {
		free(c);
		(void)close(fd);
		return;
	}
	c->control = ctl;
	c->pid = peer.pid;
	c->uid = peer.uid;
	c->approver = approver_of(w->config, peer.uid);
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->n_clients++;
	if (peer_is_governed(w, fd, peer.pid)) {
		log_warning("a governed process (pid %d, uid %u) was refused at the control socket",
			    (int)peer.pid, peer.uid);
		control_refuse(c, "a governed process may not use the control socket");
		return;
	}
	/* Before it has said anything: strangers must not hold the places. */
	if (c->uid != 0 && !c->approver) {
		control_refuse(c, "only root and approvers may ask (uid %u is neither)", c->uid);
		return;
	}
	if (timer_set(w->loop, &c->timeout, CLIENT_TIMEOUT_MS, on_client_timeout) < 0)
		client_free(c);
}

static void on_ready(struct watch *watch, uint32_t events)
{
	struct control *ctl = OWNER_OF(watch, struct control, watch);
	int fd;

	(void)events;
	while ((fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		add_client(ctl, fd);
}

static int socket_path(const struct config *config, struct sockaddr_un *ret)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/control.sock", config->run_dir);

	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	*ret = a;
	return 0;
}

static int listen_at(const struct sockaddr_un *at, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* What an earlier sluiced left; the lock says that it is gone. */
	if (unlink(at->sun_path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		return -errno;
	/* Anybody may connect: approvers are ordinary users. Who may do what is decided by uid. */
	if (chmod(at->sun_path, 0666) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int control_start(struct warden *w)
{
	struct sockaddr_un at;
	int fd = -1;
	int r;

	w->control = calloc(1, sizeof(*w->control));
	if (!w->control)
		return -ENOMEM;
	w->control->warden = w;
	r = socket_path(w->config, &at);
	if (r == 0)
		r = listen_at(&at, &fd);
	if (r == 0)
		r = watch_add(w->loop, &w->control->watch, fd, EPOLLIN, on_ready);
	if (r < 0) {
		log_error("control socket in %s: %s", w->config->run_dir, strerror(-r));
		closep(&fd);
	}
	return r;
}

void control_done(struct warden *w)
{
	struct control *ctl = w->control;
	struct sockaddr_un at;

	if (!ctl)
		return;
	while (ctl->clients)
		client_free(ctl->clients);
	timer_del(w->loop, &ctl->status_timeout);
	if (ctl->watch.active) {
		watch_del(w->loop, &ctl->watch);
		(void)close(ctl->watch.fd);
		if (socket_path(w->config, &at) == 0)
			(void)unlink(at.sun_path);
	}
	free(TAKE_PTR(w->control));
}
