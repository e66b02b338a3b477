/* test_events.c - what happens to processes and cgroups below a scope arrives, and only that. */
#include "rig.h"

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

struct log {
	struct sluice_kevent e[256];
	size_t n;
};

static int keep(void *ctx, const struct sluice_kevent *e)
{
	struct log *l = ctx;

	assert_true(l->n < ARRAY_SIZE(l->e));
	l->e[l->n++] = *e;
	return 0;
}

static struct log *read_all(void)
{
	static struct log l;
	struct pollfd p = {.fd = steer_events_fd(steer), .events = POLLIN};

	l.n = 0;
	if (poll(&p, 1, 200) == 1)
		assert_true(steer_events_read(steer, keep, &l) > 0);
	return &l;
}

static const struct sluice_kevent *find(const struct log *l, enum sluice_kevent_type type,
					uint32_t tgid)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->e[i].type == type && (!tgid || l->e[i].who.proc.tgid == tgid))
			return &l->e[i];
	return NULL;
}

static int fork_and_exec(void *arg _unused_)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	return rig_wait(pid);
}

static void test_processes(void **state _unused_)
{
	const struct sluice_kevent *fork_event;
	const struct sluice_kevent *exec_event;
	const struct sluice_kevent *exit_event;
	const struct log *l;
	struct stat st;
	uint64_t id = rig_cgroup(rig_path("agent"));
	pid_t pid;

	(void)read_all();
	pid = rig_start(rig_path("agent"), HOST_NETNS, fork_and_exec, NULL);
	assert_int_equal(rig_wait(pid), 0);
	l = read_all();
	assert_int_equal(find(l, SLUICE_KEV_ATTACH, (uint32_t)pid)->cgroup_id, id);
	fork_event = find(l, SLUICE_KEV_FORK, 0);
	assert_non_null(fork_event);
	assert_int_equal(fork_event->who.ppid, pid);
	exec_event = find(l, SLUICE_KEV_EXEC, fork_event->who.proc.tgid);
	assert_non_null(exec_event);
	assert_int_equal(exec_event->cgroup_id, id);
	assert_int_equal(exec_event->who.proc.start_boottime, fork_event->who.proc.start_boottime);
	assert_int_equal(exec_event->who.proc.self_exec_id, fork_event->who.proc.self_exec_id + 1);
	assert_int_equal(stat("/bin/true", &st), 0);
	assert_int_equal(exec_event->who.exe_ino, st.st_ino);
	assert_string_equal(exec_event->who.comm, "true");
	assert_true(exec_event->time_ns > fork_event->time_ns);
	exit_event = find(l, SLUICE_KEV_EXIT, fork_event->who.proc.tgid);
	assert_non_null(exit_event);
	assert_non_null(find(l, SLUICE_KEV_EXIT, (uint32_t)pid));
	assert_true(exit_event->time_ns > exec_event->time_ns);
}

static void test_not_ours(void **state _unused_)
{
	(void)read_all();
	assert_int_equal(rig_run(NULL, HOST_NETNS, fork_and_exec, NULL), 0);
	assert_int_equal(read_all()->n, 0);
}

static void test_cgroups(void **state _unused_)
{
	const struct log *l;
	uint64_t id;

	(void)read_all();
	id = rig_cgroup(rig_path("pod"));
	l = read_all();
	assert_int_equal(l->n, 1);
	assert_int_equal(l->e[0].type, SLUICE_KEV_CGROUP_NEW);
	assert_int_equal(l->e[0].cgroup_id, id);
	assert_int_equal(l->e[0].who.proc.tgid, getpid());
	assert_int_equal(cgroup_remove(rig_root, rig_path("pod")), 0);
	l = read_all();
	assert_int_equal(l->n, 1);
	assert_int_equal(l->e[0].type, SLUICE_KEV_CGROUP_GONE);
	assert_int_equal(l->e[0].cgroup_id, id);
}

static int connect_then_exec(void *arg _unused_)
{
	union addr far = rig_addr("10.0.3.7", 5432);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, &far.any, sizeof(far.v4)) < 0 || dup2(fd, 1) < 0)
		return errno;
	(void)execl("/bin/echo", "echo", "hello", (char *)NULL);
	return errno;
}

/* The process that sends is not the one that connected: the key says so. */
static void test_exec_after_connect(void **state _unused_)
{
	const struct sluice_kevent *e;
	struct sluice_origin o;
	char text[8] = "";
	pid_t pid;
	int fd;

	(void)read_all();
	pid = rig_start(rig_path("agent"), a.fd, connect_then_exec, NULL);
	fd = rig_accept(a.fd4);
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_memory_equal(text, "hello\n", 6);
	assert_int_equal(steer_origin(steer_storage_fd(steer), fd, &o), 0);
	e = find(read_all(), SLUICE_KEV_EXEC, (uint32_t)pid);
	assert_non_null(e);
	assert_int_equal(o.proc.tgid, pid);
	assert_int_equal(o.proc.start_boottime, e->who.proc.start_boottime);
	assert_int_equal(e->who.proc.self_exec_id, o.proc.self_exec_id + 1);
	assert_true(e->time_ns > o.connect_ns);
	assert_int_not_equal(o.exe_ino, e->who.exe_ino);
	assert_int_equal(rig_wait(pid), 0);
	(void)close(fd);
}

static int stop_at_once(void *ctx, const struct sluice_kevent *e _unused_)
{
	(*(int *)ctx)++;
	return 77;
}

static void test_callback_stops(void **state _unused_)
{
	int calls = 0;

	(void)read_all();
	(void)rig_cgroup(rig_path("one"));
	(void)rig_cgroup(rig_path("two"));
	assert_int_equal(steer_events_read(steer, stop_at_once, &calls), 77);
	assert_int_equal(calls, 1);
	assert_int_equal(read_all()->n, 1); /* the other one; the fd is ready for it */
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_processes),      cmocka_unit_test(test_not_ours),
		cmocka_unit_test(test_cgroups),	       cmocka_unit_test(test_exec_after_connect),
		cmocka_unit_test(test_callback_stops),
	};

	return cmocka_run_group_tests_name("kernel/events", list, setup, teardown);
}

int main(void)
{
	return rig_main(tests);
}
