/* test_guard.c - the ways around: each is tried, and refused. */
#include "rig.h"

#include <net/if.h>
#include <netinet/ip.h>
#include <spawn.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static struct steer *steer;
static struct ns a;

static int setup(void **state _unused_)
{
	steer = rig_open();
	(void)rig_governed(steer, "agent");
	a = rig_netns();
	rig_listen(steer, &a);
	return 0;
}

static int teardown(void **state _unused_)
{
	rig_netns_done(&a);
	steer_close(steer);
	return steer_detach(rig_bpf_dir);
}

struct last_refusal {
	uint32_t reason;
	uint32_t tgid;
	uint16_t port;
	uint64_t netns_cookie;
};

static int keep_refusal(void *ctx, const struct sluice_kevent *e)
{
	struct last_refusal *l = ctx;

	if (e->type == SLUICE_KEV_REFUSED)
		*l = (struct last_refusal){.reason = e->reason,
					   .tgid = e->who.proc.tgid,
					   .port = ntohs(e->who.port),
					   .netns_cookie = e->netns_cookie};
	return 0;
}

static struct last_refusal refusal(void)
{
	struct last_refusal l = {.reason = UINT32_MAX};
	int r;

	do {
		r = steer_events_read(steer, keep_refusal, &l);
		assert_true(r >= 0);
	} while (r == STEER_EVENTS_BATCH);
	return l;
}

/* Refused with err, counted and told. */
static void refused_connect(const char *cgroup, int netns_fd, const char *ip, uint16_t port,
			    int err, enum sluice_counter reason)
{
	uint64_t before = rig_count(steer, reason);
	struct last_refusal l;

	(void)refusal();
	assert_int_equal(rig_connect(cgroup, netns_fd, ip, port), err);
	assert_int_equal(rig_count(steer, reason), before + 1);
	l = refusal();
	assert_int_equal(l.reason, reason);
	assert_int_equal(l.port, port);
	assert_false(rig_pending(a.fd4) || rig_pending(a.fd6));
}

static void test_unknown_cgroup(void **state _unused_)
{
	(void)rig_cgroup(rig_path("stranger"));
	refused_connect(rig_path("stranger"), a.fd, "10.0.3.7", 5432, ECONNREFUSED,
			SLUICE_COUNT_REFUSED_UNKNOWN);
	refused_connect(rig_path("stranger"), a.fd, "2001:db8::1", 5432, ECONNREFUSED,
			SLUICE_COUNT_REFUSED_UNKNOWN);
	refused_connect(rig_path("stranger"), a.fd, "127.0.0.1", 80, ECONNREFUSED,
			SLUICE_COUNT_REFUSED_UNKNOWN);
	refused_connect(rig_scope, a.fd, "10.0.3.7", 5432, ECONNREFUSED,
			SLUICE_COUNT_REFUSED_UNKNOWN);
}

/* What stands above a scope means nothing below it. */
static void test_exempt_above_scope(void **state _unused_)
{
	uint64_t top = rig_cgroup(rig_top);

	(void)rig_cgroup(rig_path("stranger"));
	assert_int_equal(steer_cgroup_set(steer, top, SLUICE_CGROUP_EXEMPT), 0);
	refused_connect(rig_path("stranger"), a.fd, "10.0.3.7", 5432, ECONNREFUSED,
			SLUICE_COUNT_REFUSED_UNKNOWN);
	assert_int_equal(steer_cgroup_del(steer, top), 0);
}

/* Nesting deeper than the programs look is no way out. */
static void test_deep_nesting(void **state _unused_)
{
	char path[512];
	size_t len = (size_t)snprintf(path, sizeof(path), "%s", rig_path("stranger"));

	for (int i = 0; i < 70; i++)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "/d");
	(void)rig_cgroup(path);
	refused_connect(path, a.fd, "10.0.3.7", 5432, ECONNREFUSED, SLUICE_COUNT_REFUSED_UNKNOWN);
}

static void test_no_listener(void **state _unused_)
{
	struct ns other = rig_netns();
	struct last_refusal l;

	(void)refusal();
	assert_int_equal(rig_connect(rig_path("agent"), other.fd, "10.0.3.7", 5432), ECONNREFUSED);
	l = refusal();
	assert_int_equal(l.reason, SLUICE_COUNT_REFUSED_LISTENER);
	assert_int_equal(l.netns_cookie, other.cookie); /* what the warden needs to open one */
	rig_netns_done(&other);
}

static void test_direct_to_listener(void **state _unused_)
{
	const char *const ways[] = {"127.0.0.1", "127.9.9.9", "0.0.0.0",
				    "::1",	 "::",	      "::ffff:127.0.0.1"};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		refused_connect(rig_path("agent"), a.fd, ways[i], a.port, ECONNREFUSED,
				SLUICE_COUNT_REFUSED_DIRECT);
}

/* --- bind --- */

struct bind_try {
	const char *ip;
	bool reuse;
};

static int try_bind(void *arg)
{
	const struct bind_try *t = arg;
	union addr addr = rig_addr(t->ip, a.port);
	int fd = socket(addr.any.sa_family, SOCK_STREAM, 0);
	int one = 1;

	if (t->reuse && (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
			 setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0))
		return 252;
	return bind(fd, &addr.any, rig_addr_len(&addr)) < 0 ? errno : 0;
}

/* The enforcer's listeners are closed meanwhile: only the program stands in the way. */
static void test_bind_reserved(void **state _unused_)
{
	const char *const ips[] = {"127.0.0.1", "0.0.0.0",	    "127.0.0.2",     "::1",
				   "::",	"::ffff:127.0.0.1", "::ffff:0.0.0.0"};
	uint64_t before = rig_count(steer, SLUICE_COUNT_REFUSED_BIND);

	fd_clear(&a.fd4);
	fd_clear(&a.fd6);
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
		struct bind_try t = {.ip = ips[i]};

		assert_int_equal(rig_run(rig_path("agent"), a.fd, try_bind, &t), EADDRINUSE);
		t.reuse = true;
		assert_int_equal(rig_run(rig_path("agent"), a.fd, try_bind, &t), EADDRINUSE);
		/* nor anybody else in that namespace */
		assert_int_equal(rig_run(NULL, a.fd, try_bind, &t), EADDRINUSE);
	}
	assert_int_equal(rig_count(steer, SLUICE_COUNT_REFUSED_BIND), before + 3 * ARRAY_SIZE(ips));
}

/* In another namespace that port is free; the enforcer itself may take it anywhere. */
static void test_bind_free(void **state _unused_)
{
	struct bind_try t = {.ip = "127.0.0.1"};
	struct ns other = rig_netns();
	uint64_t id = rig_cgroup(rig_path("enforcer"));
	uint16_t port;

	assert_int_equal(rig_run(rig_path("agent"), other.fd, try_bind, &t), 0);
	assert_int_equal(steer_cgroup_set(steer, id, SLUICE_CGROUP_EXEMPT), 0);
	assert_int_equal(rig_run(rig_path("enforcer"), a.fd, try_bind, &t), 0);
	/* As the warden does after a restart; this process is exempt by its cgroup then. */
	assert_int_equal(netns_listen(a.fd, a.port, &a.fd4, &a.fd6, &port), -EADDRINUSE);
	assert_int_equal(cgroup_add_pid(rig_root, rig_path("enforcer"), getpid()), 0);
	assert_int_equal(netns_listen(a.fd, a.port, &a.fd4, &a.fd6, &port), 0);
	assert_int_equal(cgroup_add_pid(rig_root, "/", getpid()), 0);
	assert_int_equal(steer_cgroup_del(steer, id), 0);
	rig_netns_done(&other);
}

/* --- other sockets --- */

struct socket_try {
	int family;
	int type;
	int protocol;
};

static int try_socket(void *arg)
{
	const struct socket_try *t = arg;
	int file = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY);

	if (file < 0 || write(file, "0 2147483647", 12) != 12)
		return 252;
	return socket(t->family, t->type, t->protocol) < 0 ? errno : 0;
}

static void test_sockets(void **state _unused_)
{
	static const struct {
		struct socket_try t;
		int governed;
		int outside;
	} tries[] = {
		{{AF_INET, SOCK_STREAM, 0}, 0, 0},
		{{AF_INET6, SOCK_STREAM, IPPROTO_TCP}, 0, 0},
		{{AF_INET, SOCK_DGRAM, 0}, 0, 0},
		{{AF_INET, SOCK_RAW, IPPROTO_ICMP}, EPERM, 0},
		{{AF_INET, SOCK_RAW, IPPROTO_RAW}, EPERM, 0},
		{{AF_INET6, SOCK_RAW, IPPROTO_TCP}, EPERM, 0},
		{{AF_INET, SOCK_DGRAM, IPPROTO_ICMP}, EPERM, 0},
		{{AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6}, EPERM, 0},
		{{AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE}, EPERM, 0},
		{{AF_INET, SOCK_STREAM, IPPROTO_MPTCP}, EPROTONOSUPPORT, 0},
		{{AF_INET6, SOCK_STREAM, IPPROTO_MPTCP}, EPROTONOSUPPORT, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		struct socket_try t = tries[i].t;
		int bare = rig_run(NULL, a.fd, try_socket, &t);

		/* The kernel may have been built without one of them. */
		assert_true(bare == tries[i].outside || bare == EPROTONOSUPPORT);
		assert_int_equal(rig_run(rig_path("agent"), a.fd, try_socket, &t),
				 bare == 0 ? tries[i].governed : bare);
	}
}

static int try_udp(const char *ip, bool connected)
{
	union addr addr = rig_addr(ip, 53);
	int fd = socket(addr.any.sa_family, SOCK_DGRAM, 0);

	if (connected)
		return connect(fd, &addr.any, rig_addr_len(&addr)) < 0 ? errno : 0;
	return sendto(fd, "x", 1, 0, &addr.any, rig_addr_len(&addr)) < 0 ? errno : 0;
}

static int try_udp_connect(void *arg)
{
	return try_udp(arg, true);
}

static int try_udp_send(void *arg)
{
	return try_udp(arg, false);
}

static void test_udp(void **state _unused_)
{
	static char far[][24] = {"10.0.3.7", "2001:db8::7", "::ffff:10.0.3.7"};
	static char own[][24] = {"127.0.0.1", "127.0.0.53", "::1", "::ffff:127.0.0.1"};
	uint64_t before = rig_count(steer, SLUICE_COUNT_REFUSED_PROTOCOL);
	const char *agent = rig_path("agent");

	for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
		assert_int_equal(rig_run(agent, a.fd, try_udp_connect, far[i]), EPERM);
		assert_int_equal(rig_run(agent, a.fd, try_udp_send, far[i]), EPERM);
		assert_int_equal(rig_run(NULL, a.fd, try_udp_send, far[i]), ENETUNREACH);
	}
	assert_int_equal(rig_count(steer, SLUICE_COUNT_REFUSED_PROTOCOL),
			 before + 2 * ARRAY_SIZE(far));
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		assert_int_equal(rig_run(agent, a.fd, try_udp_connect, own[i]), 0);
		assert_int_equal(rig_run(agent, a.fd, try_udp_send, own[i]), 0);
	}
	/* In the node's namespace loopback is others'. */
	assert_int_equal(rig_run(agent, HOST_NETNS, try_udp_send, own[0]), EPERM);
	assert_int_equal(rig_run(agent, HOST_NETNS, try_udp_connect, own[2]), EPERM);
}

/* --- what would send packets for loopback elsewhere --- */

static int source_route4(void *arg _unused_)
{
	const uint8_t lsrr[8] = {IPOPT_LSRR, 7, 4, 10, 0, 0, 9, IPOPT_END};
	union addr far = rig_addr("10.0.3.7", 5432);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, lsrr, sizeof(lsrr)) < 0)
		return 252;
	return connect(fd, &far.any, sizeof(far.v4)) < 0 ? errno : 0;
}

static int source_route6(void *arg _unused_)
{
	/* RFC 8754: next header, length in 8 bytes after the first, type, …; then one segment. */
	uint8_t srh[24] = {0, 2, 4};
	union addr hop = rig_addr("2001:db8::9", 0);
	union addr far = rig_addr("2001:db8::7", 5432);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	memcpy(srh + 8, &hop.v6.sin6_addr, 16);
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, srh, sizeof(srh)) < 0)
		return 252;
	return connect(fd, &far.any, sizeof(far.v6)) < 0 ? errno : 0;
}

static int add_veth(void *arg _unused_)
{
	char *const args[] = {"ip",   "link", "add",  "v0", "type",
			      "veth", "peer", "name", "v1", NULL};
	char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};

	(void)execvpe("ip", args, env);
	return errno;
}

static int device_bound(void *arg)
{
	union addr far = rig_addr("10.0.3.7", 5432);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	const char *device = arg;

	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) < 0)
		return 252;
	return connect(fd, &far.any, sizeof(far.v4)) < 0 ? errno : 0;
}

static void test_misrouted(void **state _unused_)
{
	uint64_t before = rig_count(steer, SLUICE_COUNT_REFUSED_ROUTE);
	char veth[] = "v0";
	char lo[] = "lo";

	assert_int_equal(rig_run(rig_path("agent"), a.fd, source_route4, NULL), EPERM);
	assert_int_equal(rig_run(rig_path("agent"), a.fd, source_route6, NULL), EPERM);
	assert_int_equal(rig_run(NULL, a.fd, add_veth, NULL), 0);
	assert_int_equal(rig_run(rig_path("agent"), a.fd, device_bound, veth), EPERM);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_REFUSED_ROUTE), before + 3);
	assert_int_equal(rig_run(rig_path("agent"), a.fd, device_bound, lo), 0);
	(void)close(rig_accept(a.fd4));
}

/* --- the enforcer is silent, slow or flooded --- */

static void test_heartbeat(void **state _unused_)
{
	struct steer_config config = {
		.bpf_dir = rig_bpf_dir, .cgroup_root = rig_root, .heartbeat_max_ns = 200000000};
	const char *why = "";

	steer_close(steer);
	steer = NULL;
	assert_int_equal(steer_open(&config, &why, &steer), 0);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	(void)close(rig_accept(a.fd4));
	(void)usleep(300000);
	refused_connect(rig_path("agent"), a.fd, "127.0.0.1", a.port, ECONNREFUSED,
			SLUICE_COUNT_REFUSED_DIRECT);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), ECONNREFUSED);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_REFUSED_HEARTBEAT), 1);
	assert_int_equal(steer_heartbeat(steer), 0);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	(void)close(rig_accept(a.fd4));
}

static int flood(void *arg _unused_)
{
	union addr addr = rig_addr("127.0.0.1", a.port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	for (int i = 0; i < 8000; i++)
		if (connect(fd, &addr.any, sizeof(addr.v4)) == 0 || errno != ECONNREFUSED)
			return 252;
	return 0;
}

static int count_types(void *ctx, const struct sluice_kevent *e)
{
	((uint32_t *)ctx)[e->type]++;
	return 0;
}

/* A flood of refusals leaves room for what the warden must hear. */
static void test_refusal_flood(void **state _unused_)
{
	uint32_t types[SLUICE_KEV_REFUSED + 1] = {};
	uint64_t untold;
	uint64_t lost;
	int r;

	steer_close(steer);
	steer = rig_open(); /* its ring buffer is the one in force */
	untold = rig_count(steer, SLUICE_COUNT_REFUSALS_UNTOLD);
	lost = rig_count(steer, SLUICE_COUNT_EVENTS_LOST);
	assert_int_equal(rig_run(rig_path("agent"), a.fd, flood, NULL), 0);
	(void)rig_cgroup(rig_path("latecomer"));
	assert_true(rig_count(steer, SLUICE_COUNT_REFUSALS_UNTOLD) > untold);
	assert_int_equal(rig_count(steer, SLUICE_COUNT_EVENTS_LOST), lost);
	do {
		r = steer_events_read(steer, count_types, types);
		assert_in_range(r, 0, STEER_EVENTS_BATCH);
	} while (r > 0);
	assert_true(types[SLUICE_KEV_REFUSED] > 100);
	assert_int_equal(types[SLUICE_KEV_CGROUP_NEW], 1);
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_unknown_cgroup),
		cmocka_unit_test(test_exempt_above_scope),
		cmocka_unit_test(test_deep_nesting),
		cmocka_unit_test(test_no_listener),
		cmocka_unit_test(test_direct_to_listener),
		cmocka_unit_test(test_bind_reserved),
		cmocka_unit_test(test_bind_free),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_misrouted),
		cmocka_unit_test(test_refusal_flood),
		cmocka_unit_test(test_heartbeat),
	};

	return cmocka_run_group_tests_name("kernel/guard", list, setup, teardown);
}

int main(void)
{
	return rig_main(tests);
}
