/* rig.h - a scope, cgroups and network namespaces of a test's own, on the real kernel.
 * Used by: tests/unit/kernel. Needs root.
 * Promises: pins live in a mount namespace that ends with the test; cgroups are removed by a parent
 * process, also when the test crashes. */
#ifndef SLUICE_TESTS_KERNEL_RIG_H
#define SLUICE_TESTS_KERNEL_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kernel/cgroup.h"
#include "kernel/netns.h"
#include "kernel/steer.h"

#define WAIT_MS	   5000
#define HOST_NETNS (-1)

/* Of the process that runs the tests. */
static char rig_root[256];  /* of cgroup v2 */
static char rig_top[64];    /* cgroup of this run; holds the scope and what is outside it */
static char rig_scope[128]; /* top/scope */
static char rig_bpf_dir[64];

struct ns {
	int fd;
	uint64_t cookie;
	int fd4;
	int fd6;
	uint16_t port; /* host order */
};

/* --- cgroups --- */

static inline const char *rig_path(const char *name)
{
	static char path[4][512];
	static unsigned at;
	char *p = path[at++ % 4];

	(void)snprintf(p, 512, "%s/%s", rig_scope, name);
	return p;
}

static inline uint64_t rig_cgroup(const char *path)
{
	uint64_t id = 0;

	assert_true(cgroup_make(rig_root, path) >= 0);
	assert_int_equal(cgroup_id(rig_root, path, &id), 0);
	return id;
}

static inline uint64_t rig_governed(struct steer *s, const char *name)
{
	uint64_t id = rig_cgroup(rig_path(name));

	assert_int_equal(steer_cgroup_set(s, id, SLUICE_CGROUP_GOVERNED), 0);
	return id;
}

struct rig_list {
	char path[512][CGROUP_PATH_MAX];
	size_t n;
};

static inline int rig_collect(void *ctx, const char *path, uint64_t id _unused_)
{
	struct rig_list *l = ctx;

	if (l->n < ARRAY_SIZE(l->path))
		(void)snprintf(l->path[l->n++], CGROUP_PATH_MAX, "%s", path);
	return 0;
}

static inline int rig_remove_dir(const char *path, const struct stat *st _unused_, int type,
				 struct FTW *ftw _unused_)
{
	if (type == FTW_DP)
		(void)rmdir(path);
	return 0;
}

/* Not by cgroup_walk: that passes over what is nested too deep. */
static inline void rig_sweep_cgroups(void)
{
	char top[512];
	char kill_file[600];

	(void)snprintf(top, sizeof(top), "%s%s", rig_root, rig_top);
	(void)snprintf(kill_file, sizeof(kill_file), "%s/cgroup.kill", top);
	for (int tries = 0; tries < 100 && access(top, F_OK) == 0; tries++) {
		_cleanup_close_ int fd = open(kill_file, O_WRONLY | O_CLOEXEC);

		if (fd >= 0)
			(void)!write(fd, "1", 1);
		(void)nftw(top, rig_remove_dir, 16, FTW_DEPTH | FTW_PHYS);
		(void)usleep(20000);
	}
	if (access(top, F_OK) == 0)
		print_error("left behind: %s\n", top);
}

/* --- processes --- */

/* Start work(arg) in a child, in a cgroup (NULL: where we are) and a network namespace. */
static inline pid_t rig_start(const char *cgroup, int netns_fd, int (*work)(void *arg), void *arg)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cgroup && cgroup_add_pid(rig_root, cgroup, getpid()) < 0)
		_exit(254);
	if (netns_fd != HOST_NETNS && setns(netns_fd, CLONE_NEWNET) < 0)
		_exit(253);
	_exit(work(arg));
}

static inline int rig_wait(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* What work returned: 0 or an errno value. */
static inline int rig_run(const char *cgroup, int netns_fd, int (*work)(void *arg), void *arg)
{
	return rig_wait(rig_start(cgroup, netns_fd, work, arg));
}

/* --- addresses --- */

union addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* An IPv6 text with a colon gives an IPv6 address. */
static inline union addr rig_addr(const char *ip, uint16_t port)
{
	union addr a = {};

	if (strchr(ip, ':')) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
		if (inet_pton(AF_INET6, ip, &a.v6.sin6_addr) != 1)
			abort();
	} else {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		if (inet_pton(AF_INET, ip, &a.v4.sin_addr) != 1)
			abort();
	}
	return a;
}

static inline socklen_t rig_addr_len(const union addr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

struct dial {
	const char *ip;
	uint16_t port;
	int linger_ms; /* stay connected so long */
};

/* connect(); getpeername() must show what was asked for. */
static inline int rig_dial(void *arg)
{
	const struct dial *d = arg;
	union addr a = rig_addr(d->ip, d->port);
	int fd = socket(a.any.sa_family, SOCK_STREAM, 0);
	union addr peer = {};
	socklen_t len = sizeof(peer);

	if (fd < 0)
		return errno;
	if (connect(fd, &a.any, rig_addr_len(&a)) < 0)
		return errno;
	if (getpeername(fd, &peer.any, &len) < 0)
		return errno;
	if (len != rig_addr_len(&a) || memcmp(&peer, &a, len) != 0)
		return 252;
	if (d->linger_ms)
		(void)usleep((useconds_t)d->linger_ms * 1000);
	(void)close(fd);
	return 0;
}

static inline int rig_connect(const char *cgroup, int netns_fd, const char *ip, uint16_t port)
{
	struct dial d = {.ip = ip, .port = port};

	return rig_run(cgroup, netns_fd, rig_dial, &d);
}

static inline int rig_accept(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	int fd;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static inline bool rig_pending(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* --- network namespaces --- */

static inline struct ns rig_netns(void)
{
	struct ns n = {.fd4 = -1, .fd6 = -1};
	_cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t inode;

	assert_true(home >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	n.fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	assert_true(n.fd >= 0);
	assert_int_equal(netns_identity(n.fd, &n.cookie, &inode), 0);
	return n;
}

static inline void rig_listen(struct steer *s, struct ns *n)
{
	struct sluice_listener l = {};

	assert_int_equal(netns_listen(n->fd, 0, &n->fd4, &n->fd6, &n->port), 0);
	assert_true(n->fd4 >= 0 && n->fd6 >= 0);
	l.port4 = htons(n->port);
	l.port6 = htons(n->port);
	assert_int_equal(steer_listener_set(s, n->cookie, &l), 0);
}

static inline void rig_netns_done(struct ns *n)
{
	fd_clear(&n->fd4);
	fd_clear(&n->fd6);
	fd_clear(&n->fd);
}

static inline uint64_t rig_count(struct steer *s, enum sluice_counter which)
{
	uint64_t all[SLUICE_COUNT_MAX];

	assert_int_equal(steer_counters(s, all), 0);
	return all[which];
}

/* --- the whole --- */

static inline struct steer *rig_open(void)
{
	struct steer_config config = {.bpf_dir = rig_bpf_dir, .cgroup_root = rig_root};
	struct steer *s = NULL;
	const char *why = "";
	int r = steer_open(&config, &why, &s);

	if (r < 0)
		print_error("steer_open: %s\n", why);
	assert_int_equal(r, 0);
	assert_int_equal(steer_scope_add(s, rig_cgroup(rig_scope)), 0);
	return s;
}

/* A kernel file system of our own to pin in: gone with this process. It is not mounted yet: below
 * /sys/fs/bpf there is a tmpfs, so that steer_open has to mount it. */
static inline int rig_private_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/sys/fs/bpf", "tmpfs", 0, NULL) < 0)
		return -errno;
	return 0;
}

/* Run the tests in a child and clean up after it. */
static inline int rig_main(int (*tests)(void))
{
	int status = 0;
	pid_t child;
	int r;

	(void)snprintf(rig_top, sizeof(rig_top), "/sluice-test-%d", (int)getpid());
	(void)snprintf(rig_scope, sizeof(rig_scope), "%s/scope", rig_top);
	(void)snprintf(rig_bpf_dir, sizeof(rig_bpf_dir), "/sys/fs/bpf/sluice-test-%d",
		       (int)getpid());
	r = cgroup_v2_root(rig_root, sizeof(rig_root));
	if (r < 0) {
		print_error("no cgroup v2: %s\n", strerror(-r));
		return 1;
	}
	/* Ctrl-C reaches the child too, which dies; this process stays to clean up. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	child = fork();
	if (child == 0) {
		(void)signal(SIGINT, SIG_DFL);
		(void)signal(SIGTERM, SIG_DFL);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		r = rig_private_mounts();
		if (r < 0) {
			print_error("needs root: %s\n", strerror(-r));
			_exit(1);
		}
		exit(tests());
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		status = 1;
	rig_sweep_cgroups();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#endif
