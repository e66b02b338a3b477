/* test_steer.c - governed connects reach the enforcer with their origin; others are untouched. */
#include "rig.h"

#include <grp.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <time.h>

static struct steer *steer;
static struct ns a;
static struct ns b;
static uint64_t governed;

static int setup(void **state _unused_)
{
	steer = rig_open();
	governed = rig_governed(steer, "agent");
	a = rig_netns();
	b = rig_netns();
	rig_listen(steer, &a);
	rig_listen(steer, &b);
	return 0;
}

static int teardown(void **state _unused_)
{
	rig_netns_done(&a);
	rig_netns_done(&b);
	steer_close(steer);
	return steer_detach(rig_bpf_dir);
}

/* Dial, accept, read the origin; everything about the caller must be right. */
static struct sluice_origin take(const struct ns *n, int listener, const char *ip, uint16_t port)
{
	struct dial d = {.ip = ip, .port = port, .linger_ms = 100};
	pid_t pid = rig_start(rig_path("agent"), n->fd, rig_dial, &d);
	_cleanup_close_ int fd = rig_accept(listener);
	struct sluice_origin o = {};
	struct stat exe;
	struct stat net;

	assert_int_equal(steer_origin(steer_storage_fd(steer), fd, &o), 0);
	assert_int_equal(rig_wait(pid), 0);
	assert_int_equal(o.proc.tgid, pid);
	assert_int_equal(o.tid, pid);
	assert_int_equal(o.ppid, getpid());
	assert_int_equal(o.uid, 0);
	assert_int_equal(o.cgroup_id, governed);
	assert_int_equal(o.netns_cookie, n->cookie);
	assert_int_equal(o.port, htons(port));
	assert_int_equal(stat("/proc/self/exe", &exe), 0);
	assert_int_equal(o.exe_ino, exe.st_ino);
	assert_int_equal(fstat(n->fd, &net), 0);
	assert_int_equal(o.net_ns, net.st_ino);
	assert_memory_equal(o.comm, "test_steer", sizeof("test_steer"));
	assert_true(o.proc.start_boottime > 0 && o.connect_ns > o.proc.start_boottime);
	return o;
}

static void test_ipv4(void **state _unused_)
{
	struct sluice_origin o = take(&a, a.fd4, "10.0.3.7", 5432);
	struct endpoint e;
	struct process p;
	char text[ENDPOINT_TEXT_MAX];

	assert_int_equal(o.family, AF_INET);
	assert_int_equal(o.v4_mapped, 0);
	steer_origin_endpoint(&o, &e);
	assert_string_equal(endpoint_text(&e, text), "10.0.3.7:5432");
	steer_origin_process(&o, &p);
	assert_int_equal(p.key.tgid, o.proc.tgid);
	assert_int_equal(p.cgroup_id, governed);
	assert_false(p.has_proc);
}

static void test_ipv6(void **state _unused_)
{
	struct sluice_origin o = take(&a, a.fd6, "2001:db8::7", 5432);
	struct endpoint e;
	char text[ENDPOINT_TEXT_MAX];

	assert_int_equal(o.family, AF_INET6);
	steer_origin_endpoint(&o, &e);
	assert_string_equal(endpoint_text(&e, text), "[2001:db8::7]:5432");
}

/* The same database by its mapped address: the IPv4 listener, and the same origin. */
static void test_v4_mapped(void **state _unused_)
{
	struct sluice_origin o = take(&a, a.fd4, "::ffff:10.0.3.7", 5432);
	struct endpoint e;
	char text[ENDPOINT_TEXT_MAX];

	assert_int_equal(o.family, AF_INET);
	assert_int_equal(o.v4_mapped, 1);
	steer_origin_endpoint(&o, &e);
	assert_true(e.v4_mapped);
	assert_string_equal(endpoint_text(&e, text), "10.0.3.7:5432");
}

/* No IPv6 listener: the IPv4 one serves, and the origin is still the IPv6 one. */
static void test_ipv6_without_listener(void **state _unused_)
{
	struct sluice_listener l = {.port4 = htons(a.port)};
	struct sluice_origin o;

	assert_int_equal(steer_listener_set(steer, a.cookie, &l), 0);
	o = take(&a, a.fd4, "2001:db8::8", 5432);
	assert_int_equal(o.family, AF_INET6);
	l.port6 = htons(a.port);
	assert_int_equal(steer_listener_set(steer, a.cookie, &l), 0);
}

/* Two containers, the same address at once: each reaches its own listener. */
static void test_two_namespaces(void **state _unused_)
{
	struct dial d = {.ip = "10.0.3.7", .port = 5432, .linger_ms = 200};
	pid_t pa = rig_start(rig_path("agent"), a.fd, rig_dial, &d);
	pid_t pb = rig_start(rig_path("agent"), b.fd, rig_dial, &d);
	_cleanup_close_ int fa = rig_accept(a.fd4);
	_cleanup_close_ int fb = rig_accept(b.fd4);
	struct sluice_origin o;

	assert_int_equal(steer_origin(steer_storage_fd(steer), fa, &o), 0);
	assert_int_equal(o.proc.tgid, pa);
	assert_int_equal(o.netns_cookie, a.cookie);
	assert_int_equal(steer_origin(steer_storage_fd(steer), fb, &o), 0);
	assert_int_equal(o.proc.tgid, pb);
	assert_int_equal(o.netns_cookie, b.cookie);
	assert_int_equal(rig_wait(pa), 0);
	assert_int_equal(rig_wait(pb), 0);
}

/* A cgroup made below a governed one is governed with no further word. */
static void test_nested(void **state _unused_)
{
	struct dial d = {.ip = "10.0.3.7", .port = 5432, .linger_ms = 100};
	uint64_t nested = rig_cgroup(rig_path("agent/inner/most"));
	pid_t pid = rig_start(rig_path("agent/inner/most"), a.fd, rig_dial, &d);
	_cleanup_close_ int fd = rig_accept(a.fd4);
	struct sluice_origin o;

	assert_int_equal(steer_origin(steer_storage_fd(steer), fd, &o), 0);
	assert_int_equal(o.cgroup_id, nested);
	assert_int_equal(rig_wait(pid), 0);
}

/* Outside every scope nothing changes: there is no route to that address here. */
static void test_outside_untouched(void **state _unused_)
{
	char outside[128];
	uint64_t before = rig_count(steer, SLUICE_COUNT_STEERED);

	(void)snprintf(outside, sizeof(outside), "%s/outside", rig_top);
	(void)rig_cgroup(outside);
	assert_int_equal(rig_connect(outside, a.fd, "10.0.3.7", 5432), ENETUNREACH);
	assert_int_equal(rig_connect(NULL, a.fd, "10.0.3.7", 5432), ENETUNREACH);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_STEERED), before);
}

static int make_raw(void *arg _unused_)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	return fd < 0 ? errno : 0;
}

static void test_exempt_untouched(void **state _unused_)
{
	uint64_t id = rig_cgroup(rig_path("agent/enforcer"));

	assert_int_equal(steer_cgroup_set(steer, id, SLUICE_CGROUP_EXEMPT), 0);
	assert_int_equal(rig_connect(rig_path("agent/enforcer"), a.fd, "10.0.3.7", 5432),
			 ENETUNREACH);
	assert_int_equal(rig_run(rig_path("agent/enforcer"), a.fd, make_raw, NULL), 0);
	assert_int_equal(steer_cgroup_del(steer, id), 0);
	assert_int_equal(rig_run(rig_path("agent/enforcer"), a.fd, make_raw, NULL), EPERM);
}

/* Loopback in a namespace of its own is the workload itself, with its own answers. */
static int own_loopback(void *arg _unused_)
{
	union addr addr = rig_addr("127.0.0.1", 0);
	socklen_t len = sizeof(addr);
	int server = socket(AF_INET, SOCK_STREAM, 0);
	struct dial d = {.ip = "127.0.0.1"};
	int r;

	if (bind(server, &addr.any, sizeof(addr.v4)) < 0 || listen(server, 4) < 0 ||
	    getsockname(server, &addr.any, &len) < 0)
		return errno;
	d.port = ntohs(addr.v4.sin_port);
	r = rig_dial(&d);
	if (r != 0)
		return r;
	return accept(server, NULL, NULL) < 0 ? errno : 0;
}

static void test_own_loopback(void **state _unused_)
{
	uint64_t before = rig_count(steer, SLUICE_COUNT_STEERED);

	assert_int_equal(rig_run(rig_path("agent"), a.fd, own_loopback, NULL), 0);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_STEERED), before);
}

/* In the node's own namespace loopback reaches others: governed like any address. */
static void test_host_loopback(void **state _unused_)
{
	struct ns host = {.fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union addr addr = rig_addr("127.0.0.1", 0);
	socklen_t len = sizeof(addr);
	struct sluice_origin o;
	uint64_t inode;
	uint16_t port;

	assert_int_equal(bind(other, &addr.any, sizeof(addr.v4)), 0);
	assert_int_equal(listen(other, 4), 0);
	assert_int_equal(getsockname(other, &addr.any, &len), 0);
	port = ntohs(addr.v4.sin_port);
	assert_int_equal(netns_identity(host.fd, &host.cookie, &inode), 0);
	assert_int_equal(rig_connect(rig_path("agent"), HOST_NETNS, "127.0.0.1", port),
			 ECONNREFUSED);
	rig_listen(steer, &host);
	o = take(&host, host.fd4, "127.0.0.1", port);
	assert_int_equal(*(uint32_t *)o.addr, htonl(INADDR_LOOPBACK));
	assert_false(rig_pending(other));
	assert_int_equal(steer_listener_del(steer, host.cookie), 0);
	rig_netns_done(&host);
	(void)close(other);
}

/* An enforcer in a namespace of its own: that one counts as the node's too, and the initial one
 * still does. */
static void test_two_hosts(void **state _unused_)
{
	_cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t before;
	struct sluice_origin o;

	assert_int_equal(setns(b.fd, CLONE_NEWNET), 0);
	steer_close(steer);
	steer = rig_open();
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	o = take(&b, b.fd4, "127.0.0.1", 80);
	assert_int_equal(*(uint32_t *)o.addr, htonl(INADDR_LOOPBACK));
	before = rig_count(steer, SLUICE_COUNT_REFUSED_LISTENER);
	assert_int_equal(rig_connect(rig_path("agent"), HOST_NETNS, "127.0.0.1", 80), ECONNREFUSED);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_REFUSED_LISTENER), before + 1);
	steer_close(steer);
	steer = rig_open();
}

/* A socket is used again: what it kept of its first connect must not show in its second. */
static int reconnect(void *arg _unused_)
{
	union addr server_addr = rig_addr("127.0.0.1", 0);
	union addr far = rig_addr("10.0.3.7", 5432);
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	int server = socket(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	union addr peer = {};
	socklen_t len = sizeof(server_addr);

	if (bind(server, &server_addr.any, sizeof(server_addr.v4)) < 0 || listen(server, 4) < 0 ||
	    getsockname(server, &server_addr.any, &len) < 0 ||
	    connect(fd, &far.any, sizeof(far.v4)) < 0 || connect(fd, &unspec, sizeof(unspec)) < 0 ||
	    connect(fd, &server_addr.any, sizeof(server_addr.v4)) < 0)
		return errno;
	len = sizeof(peer);
	if (getpeername(fd, &peer.any, &len) < 0)
		return errno;
	return peer.v4.sin_port == server_addr.v4.sin_port ? 0 : 252;
}

static void test_reconnect(void **state _unused_)
{
	assert_int_equal(rig_run(rig_path("agent"), a.fd, reconnect, NULL), 0);
	(void)close(rig_accept(a.fd4));
}

static int fast_open(void *arg _unused_)
{
	union addr far = rig_addr("10.0.3.7", 5432);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return sendto(fd, "x", 1, MSG_FASTOPEN, &far.any, sizeof(far.v4)) < 0 ? errno : 0;
}

static void test_fast_open(void **state _unused_)
{
	struct sluice_origin o;
	int fd;

	assert_int_equal(rig_run(rig_path("agent"), a.fd, fast_open, NULL), 0);
	fd = rig_accept(a.fd4);
	assert_int_equal(steer_origin(steer_storage_fd(steer), fd, &o), 0);
	assert_int_equal(o.port, htons(5432));
	(void)close(fd);
}

static int send_fd(int channel, int fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = {.iov_base = (char[]){0}, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};

	control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
					.cmsg_type = SCM_RIGHTS,
					.cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(channel, &msg, 0) < 0 ? -errno : 0;
}

static int receive_fd(int channel)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	int fd = -1;

	assert_int_equal(recvmsg(channel, &msg, 0), 1);
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	assert_true(fd >= 0);
	return fd;
}

static int make_and_hand_over(void *arg)
{
	return -send_fd(*(int *)arg, socket(AF_INET, SOCK_STREAM, 0));
}

/* A socket made in a governed cgroup stays governed in the hands of somebody outside. */
static void test_handed_socket(void **state _unused_)
{
	union addr far = rig_addr("10.0.3.7", 5432);
	struct sluice_origin o;
	int pair[2];
	int accepted;
	int fd;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(rig_run(rig_path("agent"), a.fd, make_and_hand_over, &pair[1]), 0);
	fd = receive_fd(pair[0]);
	assert_int_equal(connect(fd, &far.any, sizeof(far.v4)), 0);
	accepted = rig_accept(a.fd4);
	assert_int_equal(steer_origin(steer_storage_fd(steer), accepted, &o), 0);
	assert_int_equal(o.proc.tgid, getpid());
	(void)close(accepted);
	(void)close(fd);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

/* As the worker: no privilege at all, a map fd that reads only, lookups only. */
static int unprivileged_worker(void *arg)
{
	int accepted = *(int *)arg;
	int storage = steer_storage_fd(steer);
	struct sluice_sock forged = {.side = SLUICE_SOCK_ACCEPTED};
	union bpf_attr attr = {.map_fd = (uint32_t)storage,
			       .key = (uint64_t)(uintptr_t)&accepted,
			       .value = (uint64_t)(uintptr_t)&forged};
	struct sluice_origin o;
	int r;

	if (setgroups(0, NULL) < 0 || setresgid(61801, 61801, 61801) < 0 ||
	    setresuid(61801, 61801, 61801) < 0)
		return errno;
	r = steer_origin(storage, accepted, &o);
	if (r < 0)
		return -r;
	if (syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) == 0 || errno != EPERM)
		return 252;
	return o.port == htons(5432) ? 0 : 251;
}

static void test_unprivileged_worker(void **state _unused_)
{
	struct dial d = {.ip = "10.0.3.7", .port = 5432, .linger_ms = 200};
	pid_t pid = rig_start(rig_path("agent"), a.fd, rig_dial, &d);
	int fd = rig_accept(a.fd4);

	assert_int_equal(rig_run(NULL, HOST_NETNS, unprivileged_worker, &fd), 0);
	assert_int_equal(rig_wait(pid), 0);
	(void)close(fd);
}

/* Somebody who is not governed finds the listener: no origin, so the worker refuses. */
static void test_orphan(void **state _unused_)
{
	struct dial d = {.ip = "127.0.0.1", .port = a.port, .linger_ms = 100};
	uint64_t before = rig_count(steer, SLUICE_COUNT_ORPHAN);
	pid_t pid = rig_start(NULL, a.fd, rig_dial, &d);
	int fd = rig_accept(a.fd4);
	struct sluice_origin o;

	assert_int_equal(steer_origin(steer_storage_fd(steer), fd, &o), -ENOENT);
	assert_int_equal(rig_wait(pid), 0);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_ORPHAN), before + 1);
	(void)close(fd);
}

#define CONNECTS 1000

/* Every second one is reset at once, while the others are orderly. */
static int many_connects(void *arg _unused_)
{
	union addr far = rig_addr("10.0.3.7", 5432);
	struct linger reset = {.l_onoff = 1};

	for (int i = 0; i < CONNECTS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | (i % 2 ? SOCK_NONBLOCK : 0), 0);

		if (fd < 0)
			return errno;
		if (connect(fd, &far.any, sizeof(far.v4)) < 0 && errno != EINPROGRESS)
			return errno;
		if (i % 2)
			(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		(void)close(fd);
	}
	return 0;
}

static void drain(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		(void)close(fd);
}

static void test_no_leak(void **state _unused_)
{
	pid_t pid = rig_start(rig_path("agent"), a.fd, many_connects, NULL);
	uint32_t removed = 0;
	uint32_t left = 0;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		drain(a.fd4);
		(void)usleep(1000);
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	drain(a.fd4);
	assert_int_equal(steer_sweep(steer, 0, &removed, &left), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(left, 0);
}

#define WAITING 20

struct waiting {
	int ready[2];
	int go[2];
};

/* Connects that hang because nobody accepts. */
static int wait_connecting(void *arg)
{
	struct waiting *w = arg;
	union addr far = rig_addr("10.0.3.7", 5432);
	char byte;

	for (int i = 0; i < WAITING; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		if (connect(fd, &far.any, sizeof(far.v4)) < 0 && errno != EINPROGRESS)
			return errno;
	}
	if (write(w->ready[1], "x", 1) != 1 || read(w->go[0], &byte, 1) < 0)
		return errno;
	return 0; /* all are closed by the kernel */
}

static pid_t start_waiting(struct waiting *w, uint32_t *ret_left)
{
	char byte;
	pid_t pid;

	assert_int_equal(pipe(w->ready), 0);
	assert_int_equal(pipe(w->go), 0);
	pid = rig_start(rig_path("agent"), b.fd, wait_connecting, w);
	assert_int_equal(read(w->ready[0], &byte, 1), 1);
	assert_int_equal(steer_sweep(steer, UINT64_MAX, NULL, ret_left), 0);
	return pid;
}

static void end_waiting(struct waiting *w, pid_t pid)
{
	assert_int_equal(write(w->go[1], "x", 1), 1);
	assert_int_equal(rig_wait(pid), 0);
	for (int i = 0; i < 2; i++) {
		(void)close(w->ready[i]);
		(void)close(w->go[i]);
	}
}

static void test_aborted_connects(void **state _unused_)
{
	struct waiting w;
	uint32_t removed = 0;
	uint32_t left = 0;
	pid_t pid;

	assert_int_equal(listen(b.fd4, 0), 0); /* the queue is full after one */
	pid = start_waiting(&w, &left);
	assert_true(left >= WAITING - 2);
	end_waiting(&w, pid);
	assert_int_equal(steer_sweep(steer, UINT64_MAX, NULL, &left), 0);
	assert_int_equal(left, 0); /* gone with their sockets, no sweep needed */
	drain(b.fd4);

	pid = start_waiting(&w, &left);
	assert_int_equal(steer_sweep(steer, 0, &removed, NULL), 0);
	assert_int_equal(removed, left);
	assert_int_equal(steer_sweep(steer, 0, NULL, &left), 0);
	assert_int_equal(left, 0);
	end_waiting(&w, pid);
	drain(b.fd4);
	assert_int_equal(listen(b.fd4, 4096), 0);
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_v4_mapped),
		cmocka_unit_test(test_ipv6_without_listener),
		cmocka_unit_test(test_two_namespaces),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_outside_untouched),
		cmocka_unit_test(test_exempt_untouched),
		cmocka_unit_test(test_own_loopback),
		cmocka_unit_test(test_host_loopback),
		cmocka_unit_test(test_two_hosts),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_fast_open),
		cmocka_unit_test(test_handed_socket),
		cmocka_unit_test(test_unprivileged_worker),
		cmocka_unit_test(test_orphan),
		cmocka_unit_test(test_no_leak),
		cmocka_unit_test(test_aborted_connects),
	};

	return cmocka_run_group_tests_name("kernel/steer", list, setup, teardown);
}

int main(void)
{
	return rig_main(tests);
}
