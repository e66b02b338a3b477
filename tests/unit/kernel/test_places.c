/* test_places.c - cgroup.h and netns.h on the real kernel. */
#include "rig.h"

static void test_root(void **state _unused_)
{
	char root[256];
	char small[4];
	uint64_t id = 0;

	assert_int_equal(cgroup_v2_root(root, sizeof(root)), 0);
	assert_int_equal(cgroup_id(root, "/", &id), 0);
	assert_int_equal(id, 1);
	assert_int_equal(cgroup_v2_root(small, sizeof(small)), -ENAMETOOLONG);
}

/* The same where the hierarchy is mounted plainly, in a mount namespace. */
static int plain_mount(void *arg _unused_)
{
	char root[256];
	uint64_t id = 0;

	if (unshare(CLONE_NEWNS) < 0 || umount2("/sys/fs/cgroup", MNT_DETACH) < 0 ||
	    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0)
		return errno;
	if (cgroup_v2_root(root, sizeof(root)) < 0 || !streq(root, "/sys/fs/cgroup"))
		return 252;
	return cgroup_id(root, rig_top, &id) == 0 && id == *(uint64_t *)arg ? 0 : 251;
}

static int no_mount(void *arg _unused_)
{
	char root[256];

	if (unshare(CLONE_NEWNS) < 0 || umount2("/sys/fs/cgroup", MNT_DETACH) < 0)
		return errno;
	return cgroup_v2_root(root, sizeof(root)) == -ENODEV ? 0 : 252;
}

static void test_mounts(void **state _unused_)
{
	uint64_t id = rig_cgroup(rig_top);

	assert_int_equal(rig_run(NULL, HOST_NETNS, plain_mount, &id), 0);
	assert_int_equal(rig_run(NULL, HOST_NETNS, no_mount, NULL), 0);
}

static void test_make_and_find(void **state _unused_)
{
	char path[CGROUP_PATH_MAX];
	char small[8];
	uint64_t id = 0;

	assert_int_equal(cgroup_make(rig_root, rig_path("x/y")), 1);
	assert_int_equal(cgroup_make(rig_root, rig_path("x/y")), 0);
	assert_int_equal(cgroup_id(rig_root, rig_path("x/y"), &id), 0);
	assert_int_equal(cgroup_path(rig_root, id, path, sizeof(path)), 0);
	assert_string_equal(path, rig_path("x/y"));
	assert_int_equal(cgroup_path(rig_root, 1, path, sizeof(path)), 0);
	assert_string_equal(path, "/");
	assert_int_equal(cgroup_path(rig_root, id, small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(cgroup_remove(rig_root, rig_path("x/y")), 0);
	assert_int_equal(cgroup_path(rig_root, id, path, sizeof(path)), -ENOENT);
	assert_int_equal(cgroup_id(rig_root, rig_path("x/y"), &id), -ENOENT);
	assert_int_equal(cgroup_remove(rig_root, rig_path("x/y")), -ENOENT);
}

/* A path climbs nowhere. */
static void test_paths(void **state _unused_)
{
	uint64_t id = 0;

	assert_int_equal(cgroup_id(rig_root, "/..", &id), -EINVAL);
	assert_int_equal(cgroup_id(rig_root, "/x/../y", &id), -EINVAL);
	assert_int_equal(cgroup_id(rig_root, "x", &id), -EINVAL);
	assert_int_equal(cgroup_id(rig_root, "/..x", &id), -ENOENT);
	assert_int_equal(cgroup_make(rig_root, "/../outside"), -EINVAL);
}

/* Without the privilege to open by id it is looked for. */
static int find_unprivileged(void *arg)
{
	char path[CGROUP_PATH_MAX];

	if (setresuid(61801, 61801, 61801) < 0)
		return errno;
	if (cgroup_path(rig_root, *(uint64_t *)arg, path, sizeof(path)) < 0)
		return 252;
	return streq(path, rig_path("u/v")) ? 0 : 251;
}

static void test_find_unprivileged(void **state _unused_)
{
	uint64_t id = rig_cgroup(rig_path("u/v"));

	assert_int_equal(rig_run(NULL, HOST_NETNS, find_unprivileged, &id), 0);
}

static int stop_at_two(void *ctx, const char *path _unused_, uint64_t id _unused_)
{
	return ++*(int *)ctx == 2 ? 5 : 0;
}

static void test_walk(void **state _unused_)
{
	struct rig_list *l = calloc(1, sizeof(*l));
	char deep[1200];
	size_t len = (size_t)snprintf(deep, sizeof(deep), "%s", rig_path("w"));
	int visits = 0;

	(void)rig_cgroup(rig_path("w/.hidden/b"));
	assert_int_equal(cgroup_walk(rig_root, rig_path("w"), rig_collect, l), 0);
	assert_int_equal(l->n, 3);
	assert_string_equal(l->path[0], rig_path("w"));
	assert_string_equal(l->path[1], rig_path("w/.hidden"));
	assert_string_equal(l->path[2], rig_path("w/.hidden/b"));
	assert_int_equal(cgroup_walk(rig_root, rig_path("w"), stop_at_two, &visits), 5);
	assert_int_equal(cgroup_walk(rig_root, rig_path("none"), rig_collect, l), -ENOENT);
	/* A container that nests without end does not stop the walk. */
	for (int i = 0; i < 80; i++)
		len += (size_t)snprintf(deep + len, sizeof(deep) - len, "/n");
	(void)rig_cgroup(deep);
	l->n = 0;
	assert_int_equal(cgroup_walk(rig_root, rig_path("w"), rig_collect, l), 0);
	assert_int_equal(l->n, 3 + 64);
	free(l);
}

static int idle(void *arg _unused_)
{
	(void)pause();
	return 0;
}

static int count_pid(void *ctx, int pid)
{
	int *want = ctx;

	return pid == *want ? 1 : 0;
}

static void test_processes(void **state _unused_)
{
	char path[CGROUP_PATH_MAX];
	int pid = rig_start(NULL, HOST_NETNS, idle, NULL);
	int none = -1;

	(void)rig_cgroup(rig_path("p"));
	assert_int_equal(cgroup_add_pid(rig_root, rig_path("p"), pid), 0);
	assert_int_equal(cgroup_of_pid(pid, path, sizeof(path)), 0);
	assert_string_equal(path, rig_path("p"));
	assert_int_equal(cgroup_pids(rig_root, rig_path("p"), count_pid, &pid), 1);
	assert_int_equal(cgroup_pids(rig_root, rig_path("p"), count_pid, &none), 0);
	assert_int_equal(cgroup_of_pid(pid, path, 4), -ENAMETOOLONG);
	(void)kill(pid, SIGKILL);
	assert_int_equal(rig_wait(pid), -SIGKILL);
	assert_int_equal(cgroup_of_pid(pid, path, sizeof(path)), -ESRCH);
	assert_true(cgroup_add_pid(rig_root, rig_path("p"), pid) < 0);
}

/* --- network namespaces --- */

static int try_connect(void *arg)
{
	return rig_dial(arg);
}

static void test_listen(void **state _unused_)
{
	struct ns n = rig_netns();
	struct stat before;
	struct stat after;
	struct dial d = {.ip = "127.0.0.1"};
	int fd4 = -1;
	int fd6 = -1;
	uint16_t port = 0;

	assert_int_equal(stat("/proc/thread-self/ns/net", &before), 0);
	assert_int_equal(netns_listen(n.fd, 15001, &n.fd4, &n.fd6, &n.port), 0);
	assert_int_equal(stat("/proc/thread-self/ns/net", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(n.port, 15001);
	assert_true(fcntl(n.fd4, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(n.fd6, F_GETFD) & FD_CLOEXEC);
	d.port = n.port; /* loopback was down in the new namespace */
	assert_int_equal(rig_run(NULL, n.fd, try_connect, &d), 0);
	(void)close(rig_accept(n.fd4));
	d.ip = "::1";
	assert_int_equal(rig_run(NULL, n.fd, try_connect, &d), 0);
	(void)close(rig_accept(n.fd6));
	assert_int_equal(rig_run(NULL, HOST_NETNS, try_connect, &d), ECONNREFUSED);
	assert_int_equal(netns_listen(n.fd, 15001, &fd4, &fd6, &port), -EADDRINUSE);
	assert_true(fd4 == -1 && fd6 == -1 && port == 0);
	rig_netns_done(&n);
}

/* Like try_connect, without the listeners that a child inherits. */
static int connect_and_stay(void *arg)
{
	struct dial d = {.ip = "127.0.0.1", .port = ((struct ns *)arg)->port, .linger_ms = 10000};

	(void)close(((struct ns *)arg)->fd4);
	(void)close(((struct ns *)arg)->fd6);
	return rig_dial(&d);
}

/* Its old sessions do not keep the port from the next enforcer. */
static void test_listen_again(void **state _unused_)
{
	struct ns n = rig_netns();
	pid_t pid;
	int session;

	assert_int_equal(netns_listen(n.fd, 0, &n.fd4, &n.fd6, &n.port), 0);
	pid = rig_start(NULL, n.fd, connect_and_stay, &n);
	session = rig_accept(n.fd4);
	fd_clear(&n.fd4);
	fd_clear(&n.fd6);
	assert_int_equal(netns_listen(n.fd, n.port, &n.fd4, &n.fd6, &n.port), 0);
	(void)close(session);
	(void)kill(pid, SIGKILL);
	(void)rig_wait(pid);
	rig_netns_done(&n);
}

static int no_ipv6(void *arg _unused_)
{
	int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY);

	return fd >= 0 && write(fd, "1", 1) == 1 ? 0 : errno;
}

static void test_listen_without_ipv6(void **state _unused_)
{
	struct ns n = rig_netns();

	assert_int_equal(rig_run(NULL, n.fd, no_ipv6, NULL), 0);
	assert_int_equal(netns_listen(n.fd, 0, &n.fd4, &n.fd6, &n.port), 0);
	assert_true(n.fd4 >= 0 && n.port > 0);
	assert_int_equal(n.fd6, -1);
	rig_netns_done(&n);
}

static void test_identity(void **state _unused_)
{
	struct ns a = rig_netns();
	struct ns b = rig_netns();
	_cleanup_close_ int not_ns = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uint64_t cookie = 0;
	uint64_t inode = 0;
	struct stat st;

	assert_int_not_equal(a.cookie, b.cookie);
	assert_int_equal(netns_identity(a.fd, &cookie, &inode), 0);
	assert_int_equal(cookie, a.cookie);
	assert_int_equal(fstat(a.fd, &st), 0);
	assert_int_equal(inode, st.st_ino);
	assert_int_equal(netns_identity(not_ns, &cookie, &inode), -EINVAL);
	rig_netns_done(&a);
	rig_netns_done(&b);
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_make_and_find),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_find_unprivileged),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_listen_again),
		cmocka_unit_test(test_listen_without_ipv6),
		cmocka_unit_test(test_identity),
	};

	return cmocka_run_group_tests_name("kernel/places", list, NULL, NULL);
}

int main(void)
{
	return rig_main(tests);
}
