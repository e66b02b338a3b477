#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <netinet/in.h>

#include "roles/sandbox.h"
#include "tls/tls.h"

/* Each case runs in a child of its own; the exit status says how it went. */
#define STATUS_FINE	 0
#define STATUS_REFUSED	 10 /* the call failed, the process lived */
#define STATUS_NO_FILTER 98
#define TEST_UID	 64999

static char run_dir[] = "/tmp/sluice-test-sandbox-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(run_dir))
		return -1;
	return sandbox_make_empty_dir(run_dir);
}

static int tear_down(void **state)
{
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/%s", run_dir, SANDBOX_EMPTY_DIR);
	(void)rmdir(path);
	return rmdir(run_dir);
}

static int in_child(int (*enter)(void), int (*what)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		if (enter() < 0)
			_exit(STATUS_NO_FILTER);
		_exit(what());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int exit_of(int (*enter)(void), int (*what)(void))
{
	int status = in_child(enter, what);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void assert_killed(int (*what)(void))
{
	int status = in_child(sandbox_filter_worker, what);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static int refused(long r)
{
	return r < 0 ? STATUS_REFUSED : STATUS_FINE;
}

static int call_execve(void)
{
	char *argv[] = {(char *)"/bin/true", NULL};

	return refused(syscall(SYS_execve, "/bin/true", argv, argv));
}

static int call_fork(void)
{
	return refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int call_ptrace(void)
{
	return refused(syscall(SYS_ptrace, 16, getppid(), 0, 0));
}

static int call_kill(void)
{
	return refused(syscall(SYS_kill, getppid(), 0));
}

static int call_setns(void)
{
	return refused(syscall(SYS_setns, 0, 0));
}

static int call_mount(void)
{
	return refused(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL));
}

static int call_unix_socket(void)
{
	return refused(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
}

static int call_raw_socket(void)
{
	return refused(syscall(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_TCP));
}

static int call_udp_socket(void)
{
	return refused(syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0));
}

static int call_mptcp_socket(void)
{
	return refused(syscall(SYS_socket, AF_INET, SOCK_STREAM, 262));
}

static int call_bpf_load(void)
{
	return refused(syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0));
}

static int call_bpf_update(void)
{
	return refused(syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, NULL, 0));
}

static int call_map_code(void)
{
	return refused(syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static int call_protect_code(void)
{
	static uint8_t page[8192] __attribute__((aligned(4096)));

	return refused(syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC));
}

static int call_memfd(void)
{
	return refused(syscall(SYS_memfd_create, "x", 0));
}

static int call_unlisted(void)
{
	return refused(syscall(SYS_io_uring_setup, 1, NULL));
}

static void test_forbidden_calls_kill_a_worker(void **state)
{
	static int (*const calls[])(void) = {
		call_execve,	 call_fork,	    call_ptrace,      call_kill,
		call_setns,	 call_mount,	    call_unix_socket, call_raw_socket,
		call_udp_socket, call_mptcp_socket, call_bpf_load,    call_bpf_update,
		call_map_code,	 call_protect_code, call_memfd,	      call_unlisted,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		assert_killed(calls[i]);
}

static int call_open(void)
{
	return refused(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)) == STATUS_REFUSED &&
			       errno == EACCES
		       ? STATUS_FINE
		       : 1;
}

/* What a worker lives on. */
static int calls_of_a_worker(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = 1};
	long epoll = syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	long fd6 = syscall(SYS_socket, AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	long page = syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int one = 1;
	uint8_t random[8];

	if (epoll < 0 || fd < 0 || fd6 < 0 || page <= 0)
		return 1;
	if (syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0)
		return 2;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)syscall(SYS_connect, fd, &to, sizeof(to));
	if (syscall(SYS_getrandom, random, sizeof(random), 0) != sizeof(random))
		return 3;
	/* A lookup may fail by its arguments: the filter lets it through. */
	if (syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, NULL, 0) == 0)
		return 4;
	if (syscall(SYS_fcntl, fd, F_GETFL) < 0 || syscall(SYS_close, fd) < 0)
		return 5;
	return syscall(SYS_munmap, page, 4096) < 0 ? 6 : STATUS_FINE;
}

static void test_a_worker_can_work(void **state)
{
	(void)state;
	assert_int_equal(exit_of(sandbox_filter_worker, calls_of_a_worker), STATUS_FINE);
	assert_int_equal(exit_of(sandbox_filter_worker, call_open), STATUS_FINE);
}

static void test_recorder_is_refused(void **state)
{
	static int (*const calls[])(void) = {
		call_execve,   call_fork,     call_ptrace,     call_kill,
		call_setns,    call_mount,    call_raw_socket, call_unix_socket,
		call_bpf_load, call_map_code, call_memfd,      call_unlisted,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		assert_int_equal(exit_of(sandbox_filter_recorder, calls[i]), STATUS_REFUSED);
}

static int calls_of_a_recorder(void)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct flock lock = {.l_type = F_WRLCK};

	if (fd < 0)
		return errno == EOPNOTSUPP ? STATUS_FINE : 1;
	if (syscall(SYS_pwrite64, fd, "x", 1, 0) != 1 || syscall(SYS_fdatasync, fd) < 0)
		return 2;
	if (syscall(SYS_fcntl, fd, F_SETLK, &lock) < 0 || syscall(SYS_ftruncate, fd, 0) < 0)
		return 3;
	return STATUS_FINE;
}

#ifndef __SANITIZE_ADDRESS__ /* it makes calls of its own for each thread */
static void *write_there(void *arg)
{
	*(int *)arg = 42;
	return NULL;
}

static int thread_of_a_recorder(void)
{
	pthread_t thread;
	int there = 0;

	if (pthread_create(&thread, NULL, write_there, &there) != 0)
		return 1;
	if (pthread_join(thread, NULL) != 0)
		return 2;
	return there == 42 ? STATUS_FINE : 3;
}
#endif

static void test_a_recorder_can_work(void **state)
{
	(void)state;
#ifndef __SANITIZE_ADDRESS__
	assert_int_equal(exit_of(sandbox_filter_recorder, thread_of_a_recorder), STATUS_FINE);
#endif
	assert_int_equal(exit_of(sandbox_filter_recorder, calls_of_a_recorder), STATUS_FINE);
}

static struct config config;

static int enter_worker(void)
{
	config.run_dir = run_dir;
	config.worker_uid = TEST_UID;
	return sandbox_worker(&config);
}

static int enter_recorder(void)
{
	config.run_dir = run_dir;
	config.recorder_uid = TEST_UID + 1;
	return sandbox_recorder(&config);
}

static int enter_as_root(void)
{
	config.run_dir = run_dir;
	config.worker_uid = 0;
	return sandbox_worker(&config);
}

static int end_at_once(void)
{
	return STATUS_FINE;
}

static int worker_has_nothing(void)
{
	if (getuid() != TEST_UID || geteuid() != TEST_UID || getgid() != TEST_UID)
		return 1;
	if (open("/etc/passwd", O_RDONLY) >= 0 || open("/proc/self/status", O_RDONLY) >= 0)
		return 2;
	if (open("../../../../../../etc/passwd", O_RDONLY) >= 0)
		return 3;
	return STATUS_FINE;
}

static int recorder_has_little(void)
{
	struct rlimit core;
	char line[256];
	FILE *f;
	bool none = false;

	if (getuid() != TEST_UID + 1 || getegid() != TEST_UID + 1)
		return 1;
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
		return 2;
	if (setuid(0) == 0 || seteuid(0) == 0)
		return 3;
	if (open("/etc/shadow", O_RDONLY) >= 0)
		return 4;
	/* Not dumpable: /proc/self belongs to root, who it is not; but status is for all. */
	f = fopen("/proc/self/status", "re");
	if (!f)
		return 5;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NoNewPrivs:\t1", 13) == 0)
			none = true;
		if (strncmp(line, "Cap", 3) == 0 && !strstr(line, "0000000000000000"))
			return 6;
		if (strncmp(line, "Groups:", 7) == 0 && strpbrk(line, "0123456789"))
			return 7;
	}
	return none ? STATUS_FINE : 8;
}

static void test_roles_give_up_root(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(exit_of(enter_worker, worker_has_nothing), STATUS_FINE);
	assert_int_equal(exit_of(enter_recorder, recorder_has_little), STATUS_FINE);
	assert_int_equal(exit_of(enter_as_root, end_at_once), STATUS_NO_FILTER);
}

static struct tls_identity identity;

static int enter_worker_with_certificate(void)
{
	struct tls_context *context;
	int r = tls_server_new(&identity, &context);

	return r < 0 ? r : enter_worker();
}

static int take_certificate(void)
{
	struct tls_context *context = NULL;

	return tls_server_new(&identity, &context) < 0 || !context ? 1 : STATUS_FINE;
}

/* MSG_TLS_IDENTITY comes when a worker has neither files nor a privilege. */
static void test_a_worker_takes_a_new_certificate(void **state)
{
	static const struct resource_config resource = {.name = "db", .host = "db.internal"};
	static const char *const names[] = {"ca.key", "ca.pem"};
	char dir[] = "/tmp/sluice-test-ca-XXXXXX";
	char path[64];

	(void)state;
	if (getuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(tls_ca_mint(dir, &resource, &identity), 0);
	assert_int_equal(exit_of(enter_worker_with_certificate, take_certificate), STATUS_FINE);
	tls_identity_done(&identity);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(dir), 0);
}

/* A directory that is not root's, or a link in its place, is not entered. */
static void test_empty_dir_is_checked(void **state)
{
	char path[128];
	struct stat st;

	(void)state;
	if (getuid() != 0)
		skip();
	(void)snprintf(path, sizeof(path), "%s/%s", run_dir, SANDBOX_EMPTY_DIR);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0555);
	assert_int_equal(chown(path, TEST_UID, TEST_UID), 0);
	assert_int_equal(sandbox_make_empty_dir(run_dir), -EPERM);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/", path), 0);
	assert_int_equal(sandbox_make_empty_dir(run_dir), -ENOTDIR);
	assert_int_equal(exit_of(enter_worker, end_at_once), STATUS_NO_FILTER);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(sandbox_make_empty_dir(run_dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forbidden_calls_kill_a_worker),
		cmocka_unit_test(test_a_worker_can_work),
		cmocka_unit_test(test_recorder_is_refused),
		cmocka_unit_test(test_a_recorder_can_work),
		cmocka_unit_test(test_roles_give_up_root),
		cmocka_unit_test(test_a_worker_takes_a_new_certificate),
		cmocka_unit_test(test_empty_dir_is_checked),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
