#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "identity/exe_cache.h"
#include "unit/identity/children.h"

#define SLEEP "/bin/sleep"

static void digest_of(const char *path, uint8_t out[static SHA256_LEN])
{
	_cleanup_file_ FILE *f = fopen(path, "re");
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t chunk[4096];
	size_t n;

	must(f && EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) == 1);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		must(EVP_DigestUpdate(ctx, chunk, n) == 1);
	must(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
	EVP_MD_CTX_free(ctx);
}

static void itself(void **state)
{
	_cleanup_(exe_cache_freep) struct exe_cache *cache = NULL;
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	struct process p = {.key = key_of(getpid()), .cgroup_id = 77};
	uint8_t want[SHA256_LEN];
	char exe[4096] = "";
	struct stat st;

	(void)state;
	must(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0 && stat(exe, &st) == 0);
	digest_of(exe, want);
	p.exe_ino = st.st_ino;
	assert_int_equal(exe_cache_new(4, &cache), 0);
	assert_int_equal(proc_resolve(cache, &arena, &p), 0);
	assert_true(p.has_proc);
	assert_string_equal(p.exe, exe);
	assert_true(p.has_sha256);
	assert_memory_equal(p.exe_sha256, want, SHA256_LEN);
	assert_non_null(strstr(p.args, "test_proc"));
	assert_non_null(p.cgroup);
	assert_int_equal(p.cgroup[0], '/');
	assert_int_equal(p.cgroup_id, 77);
	assert_true(p.n_ancestors >= 1);
	assert_int_equal(p.ancestors[0].pid, getppid());
	assert_true(p.ancestors[0].has_sha256);

	/* Without a cache, and as it is. */
	p = (struct process){.key.tgid = (uint32_t)getpid()};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_memory_equal(p.exe_sha256, want, SHA256_LEN);
}

static void refused_as(const struct process *in, int expect)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	struct process p = *in;

	assert_int_equal(proc_resolve(NULL, &arena, &p), expect);
	assert_memory_equal(&p, in, sizeof(p));
}

/* The pid is right, and the process another: its start, or its program, says so. */
static void another_process(void **state)
{
	struct process p;
	struct stat st;

	(void)state;
	must(stat("/proc/self/exe", &st) == 0);
	memset(&p, 0, sizeof(p));
	p.key = key_of(getpid());
	p.key.start_boottime += 10000000;
	refused_as(&p, -ESRCH);
	p.key.start_boottime -= 20000000;
	refused_as(&p, -ESRCH);
	p.key.start_boottime = UINT64_MAX;
	refused_as(&p, -ESRCH);
	p.key = key_of(getpid());
	p.exe_ino = st.st_ino + 1;
	refused_as(&p, -ESRCH);
	p.exe_ino = 0;
	p.key.tgid = 0;
	refused_as(&p, -ESRCH);
	p.key.tgid = 0x7fffffff;
	refused_as(&p, -ESRCH);
	p.key.tgid = UINT32_MAX;
	refused_as(&p, -ESRCH);
}

static void gone(void **state)
{
	_cleanup_close_ int dir = -1;
	pid_t pid = child_start(NULL, NULL);
	struct procfs_stat st;
	struct process p;
	char c;
	size_t n;

	(void)state;
	memset(&p, 0, sizeof(p));
	p.key = key_of(pid);
	assert_int_equal(procfs_open((uint32_t)pid, &dir), 0);
	assert_int_equal(procfs_check(dir, p.key.start_boottime), 0);
	/* A zombie has ended. */
	must(kill(pid, SIGKILL) == 0);
	must(waitid(P_PID, (id_t)pid, NULL, WEXITED | WNOWAIT) == 0);
	refused_as(&p, -ESRCH);
	assert_int_equal(procfs_check(dir, 0), -ESRCH);
	must(waitpid(pid, NULL, 0) == pid);
	refused_as(&p, -ESRCH);
	/* The held directory stays that of the one that ended. */
	assert_int_equal(procfs_stat(dir, &st), -ESRCH);
	assert_int_equal(procfs_read(dir, "cmdline", &c, 1, &n), -ESRCH);
}

static void rename_self(void *arg)
{
	must(prctl(PR_SET_NAME, arg) == 0);
}

/* A process names itself as it likes: brackets, blanks, numbers, a line feed. */
static void hostile_names(void **state)
{
	static const char *const names[] = {
		") R 1 1 1 1",
		"a) Z 0 (b",
		"\nNStgid:\t1\t1",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
		pid_t pid = child_start(rename_self, (void *)(uintptr_t)names[i]);
		struct process p = {.key = key_of(pid)};

		assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
		assert_true(p.n_ancestors >= 1);
		assert_int_equal(p.ancestors[0].pid, getpid());
		child_end(pid);
	}
}

static void arguments(void **state)
{
	_cleanup_close_ int fd = open(SLEEP, O_RDONLY | O_CLOEXEC);
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	char *longer = malloc(100000);
	char *argv[] = {(char[]){"sl\neep"}, (char[]){"1000"}, NULL};
	struct process p;
	pid_t pid;

	(void)state;
	assert_non_null(longer);
	pid = child_exec(fd, argv);
	p = (struct process){.key = key_of(pid)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_string_equal(p.args, "sl?eep 1000");
	child_end(pid);

	/* "sleep" takes several numbers and adds them up. */
	memset(longer, '1', 99999);
	longer[99999] = '\0';
	pid = child_exec(fd,
			 (char *[]){(char[]){"\x1b[31m\xe2\x80\xae\xff\xc3\xa9"}, longer, NULL});
	p = (struct process){.key = key_of(pid)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_int_equal(strlen(p.args), ARGS_MAX);
	assert_memory_equal(p.args, "?[31m????\xc3\xa9 111", 14);
	child_end(pid);
	free(longer);
}

/* A program that has no name left, or never had one, is known by its digest. */
static void nameless_programs(void **state)
{
	static char template[] = "/tmp/sluice-test-XXXXXX";
	char *argv[] = {(char[]){"sleep"}, (char[]){"1000"}, NULL};
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	uint8_t want[SHA256_LEN];
	struct process p;
	int mem = memfd_create("prog", 0);
	int file = mkostemp(template, O_CLOEXEC);
	int from = open(SLEEP, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char chunk[4096];
	ssize_t n;
	pid_t pid;

	(void)state;
	digest_of(SLEEP, want);
	must(mem >= 0 && file >= 0 && from >= 0 && fchmod(file, 0700) == 0);
	while ((n = read(from, chunk, sizeof(chunk))) > 0)
		must(write(mem, chunk, (size_t)n) == n && write(file, chunk, (size_t)n) == n);
	must(fstat(mem, &st) == 0);
	pid = child_exec(mem, argv);
	p = (struct process){.key = key_of(pid), .exe_ino = st.st_ino};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_string_equal(p.exe, "/memfd:prog (deleted)");
	assert_true(p.has_sha256);
	assert_memory_equal(p.exe_sha256, want, SHA256_LEN);
	child_end(pid);
	(void)close(mem);
	(void)close(from);

	(void)close(file);
	file = open(template, O_RDONLY | O_CLOEXEC);
	must(file >= 0);
	pid = child_exec(file, argv);
	must(unlink(template) == 0);
	(void)close(file);
	p = (struct process){.key = key_of(pid)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_non_null(strstr(p.exe, " (deleted)"));
	assert_memory_equal(p.exe_sha256, want, SHA256_LEN);
	child_end(pid);
}

/* An exec between what the kernel side saw and what is read now. */
static void exec_in_between(void **state)
{
	_cleanup_close_ int fd = open(SLEEP, O_RDONLY | O_CLOEXEC);
	pid_t pid = child_exec(fd, (char *[]){(char[]){"sleep"}, (char[]){"1000"}, NULL});
	struct process p;
	struct stat st;

	(void)state;
	must(stat("/proc/self/exe", &st) == 0);
	memset(&p, 0, sizeof(p));
	p.key = key_of(pid);
	p.exe_ino = st.st_ino;
	refused_as(&p, -ESRCH);
	child_end(pid);
}

static pid_t write_grandchild(int fd)
{
	pid_t pid = child_start(NULL, NULL);

	must(write(fd, &pid, sizeof(pid)) == sizeof(pid));
	return pid;
}

/* In a pid namespace of its own: children are born there, the first is its init. */
static void in_pid_namespace(void *arg)
{
	int fd = *(int *)arg;
	pid_t first;
	int ready[2];
	char c;

	must(unshare(CLONE_NEWPID) == 0);
	must(pipe2(ready, O_CLOEXEC) == 0);
	first = fork();
	must(first >= 0);
	if (first == 0) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
		(void)write_grandchild(fd);
		must(write(ready[1], "r", 1) == 1);
		for (;;)
			pause();
	}
	must(read(ready[0], &c, 1) == 1);
}

static uint32_t only_child_of(uint32_t pid)
{
	char path[64];
	unsigned child = 0;

	(void)snprintf(path, sizeof(path), "/proc/%u/task/%u/children", pid, pid);
	{
		_cleanup_file_ FILE *f = fopen(path, "re");

		must(f && fscanf(f, "%u", &child) == 1);
	}
	return child;
}

/* Ancestors end at the container's init, which is among them; what is beyond started it. */
static void container_ancestors(void **state)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	int fds[2];
	struct process p;
	uint32_t init;
	uint32_t inner;
	pid_t outer;

	(void)state;
	if (geteuid() != 0)
		skip();
	must(pipe2(fds, O_CLOEXEC) == 0);
	outer = child_start(in_pid_namespace, &fds[1]);
	init = only_child_of((uint32_t)outer);
	inner = only_child_of(init);
	p = (struct process){.key = key_of((pid_t)inner)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_int_equal(p.n_ancestors, 1);
	assert_int_equal(p.ancestors[0].pid, init);
	p = (struct process){.key = key_of((pid_t)init)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_int_equal(p.n_ancestors, 0);
	p = (struct process){.key = key_of(outer)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_true(p.n_ancestors >= 1);
	child_end(outer);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void nest(void *arg)
{
	int *depth = arg;

	if (--*depth > 0)
		(void)child_start(nest, depth);
}

static void many_ancestors(void **state)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	int depth = ANCESTORS_MAX + 3;
	pid_t top = child_start(nest, &depth);
	uint32_t pid = (uint32_t)top;
	struct process p;

	(void)state;
	for (int i = 0; i < ANCESTORS_MAX + 2; i++)
		pid = only_child_of(pid);
	p = (struct process){.key = key_of((pid_t)pid)};
	assert_int_equal(proc_resolve(NULL, &arena, &p), 0);
	assert_int_equal(p.n_ancestors, ANCESTORS_MAX);
	child_end(top);
}

static void small_arena(void **state)
{
	struct process p;

	(void)state;
	memset(&p, 0, sizeof(p));
	p.key = key_of(getpid());
	for (size_t max = 0; max <= 64; max += 16) {
		_cleanup_arena_ struct arena arena = ARENA_INIT(max);
		struct process q = p;

		assert_int_equal(proc_resolve(NULL, &arena, &q), -ENOMEM);
		assert_memory_equal(&p, &q, sizeof(p));
	}
}

/* The cache serves a file as long as nothing about it changed, and forgets the oldest. */
static void cache(void **state)
{
	_cleanup_(exe_cache_freep) struct exe_cache *c = NULL;
	_cleanup_close_ int fd = memfd_create("x", MFD_CLOEXEC);
	uint8_t first[SHA256_LEN];
	uint8_t got[SHA256_LEN];
	struct stat st;
	struct stat settled;

	(void)state;
	assert_int_equal(exe_cache_new(2, &c), 0);
	must(fd >= 0 && write(fd, "one", 3) == 3 && fstat(fd, &st) == 0);
	assert_int_equal(exe_cache_digest(c, 1, fd, &st, first), 0);
	/* Changed a moment ago: not kept, so the change below is seen even with the same times. */
	must(pwrite(fd, "two", 3, 0) == 3 && fstat(fd, &settled) == 0);
	assert_int_equal(exe_cache_digest(c, 1, fd, &settled, got), 0);
	assert_memory_not_equal(first, got, SHA256_LEN);
	/* What it was told is no longer so. */
	st.st_mtim.tv_sec--;
	assert_int_equal(exe_cache_digest(c, 1, fd, &st, got), -ESTALE);
	settled.st_size = (off_t)EXE_BYTES_MAX + 1;
	assert_int_equal(exe_cache_digest(c, 1, fd, &settled, got), -EFBIG);
	settled.st_mode = S_IFIFO;
	assert_int_equal(exe_cache_digest(c, 1, fd, &settled, got), -ENOTSUP);

	for (int turn = 0; turn < 3; turn++) {
		static const char *const files[] = {"/bin/sh", "/bin/cat", SLEEP};

		for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
			_cleanup_close_ int f = open(files[i], O_RDONLY | O_CLOEXEC);
			uint8_t want[SHA256_LEN];

			must(f >= 0 && fstat(f, &st) == 0);
			digest_of(files[i], want);
			assert_int_equal(exe_cache_digest(c, 1, f, &st, got), 0);
			assert_memory_equal(got, want, SHA256_LEN);
			/* Kept now: not read again, so the descriptor does not matter. */
			assert_int_equal(exe_cache_digest(c, 1, -1, &st, got), 0);
			assert_memory_equal(got, want, SHA256_LEN);
			st.st_ctim.tv_nsec ^= 1;
			assert_int_equal(exe_cache_digest(c, 1, -1, &st, got), -EBADF);
		}
	}
}

/* The file is touched before each time, so that it is never kept: as a container does that wants
 * the reader to do nothing else. */
static int touched(struct exe_cache *c, uint64_t cgroup, int fd)
{
	uint8_t got[SHA256_LEN];
	struct stat st;

	must(futimens(fd, NULL) == 0 && fstat(fd, &st) == 0);
	return exe_cache_digest(c, cgroup, fd, &st, got);
}

static void limits(void **state)
{
	_cleanup_(exe_cache_freep) struct exe_cache *c = NULL;
	_cleanup_close_ int large = memfd_create("large", MFD_CLOEXEC);
	_cleanup_close_ int usual = memfd_create("usual", MFD_CLOEXEC);
	struct timespec begun;
	struct timespec ended;
	unsigned n = 0;

	(void)state;
	assert_int_equal(exe_cache_new(8, &c), 0);
	must(large >= 0 && ftruncate(large, 160l << 20) == 0);
	must(usual >= 0 && ftruncate(usual, 48l << 20) == 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &begun);
	assert_int_equal(touched(c, 1, large), 0);
	for (unsigned i = 0; i < 200; i++)
		n += touched(c, 1, large) == 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &ended);
	/* The burst is spent by the first one. */
	assert_true(n <= 1 + (unsigned)(ended.tv_sec - begun.tv_sec) / 3);
	assert_int_equal(touched(c, 1, large), -EBUSY);

	/* Nor do many cgroups get more than the time for all. */
	for (n = 0; n < 50 && touched(c, 100 + n, large) == 0; n++)
		;
	assert_true(n < 20);
	/* Others have no time beyond their reserve then: the first executables of a container that
	 * starts are read all the same, though no more of them. */
	for (uint64_t other = 2; other < 6; other++) {
		assert_int_equal(touched(c, other, usual), 0);
		assert_int_equal(touched(c, other, usual), 0);
		assert_int_equal(touched(c, other, usual), -EBUSY);
	}
	/* What is cached is told at any time. */
	for (int turn = 0; turn < 2; turn++) {
		_cleanup_close_ int f = open("/bin/sh", O_RDONLY | O_CLOEXEC);
		uint8_t got[SHA256_LEN];
		struct stat st;

		must(f >= 0 && fstat(f, &st) == 0);
		assert_int_equal(exe_cache_digest(c, turn ? 1 : 7, turn ? -1 : f, &st, got), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(itself),
		cmocka_unit_test(another_process),
		cmocka_unit_test(gone),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(arguments),
		cmocka_unit_test(nameless_programs),
		cmocka_unit_test(exec_in_between),
		cmocka_unit_test(container_ancestors),
		cmocka_unit_test(limits),
		cmocka_unit_test(many_ancestors),
		cmocka_unit_test(small_arena),
		cmocka_unit_test(cache),
	};

	return cmocka_run_group_tests_name("identity/proc", tests, NULL, NULL);
}
