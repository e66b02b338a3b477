#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>

#include "identity/proc.h"
#include "unit/identity/children.h"

static char root[] = "/tmp/sluice-root-XXXXXX";
static pid_t jailed;
static struct proc_key jailed_key;

static void put(const char *path, size_t n)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

	must(fd >= 0);
	for (size_t i = 0; i < n; i++)
		must(write(fd, "t", 1) == 1);
}

/* A container in small: a mount namespace, a tmpfs as its root, and everything in it that could
 * lead out of it. Nothing of it is seen outside; it ends with the child. */
static void enter_jail(void *arg)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	must(unshare(CLONE_NEWNS) == 0);
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	must(mount("tmpfs", root, "tmpfs", 0, "size=1m") == 0);
	must(chdir(root) == 0);
	must(mkdir("token", 0700) == 0 && mkdir("token/..v1", 0700) == 0 &&
	     mkdir("proc", 0700) == 0 && mkdir("sys", 0700) == 0 && mkdir("etc", 0700) == 0);
	/* As kubelet lays out a projected volume. */
	put("token/..v1/token", 5);
	must(symlink("..v1", "token/..data") == 0);
	must(symlink("..data/token", "token/token") == 0);
	put("plain", 7);
	put("empty", 0);
	put("largest", TOKEN_BYTES_MAX);
	put("too-large", TOKEN_BYTES_MAX + 1);
	put("etc/passwd", 3);
	must(symlink("../../../../../../etc/passwd", "climb") == 0);
	must(symlink("/etc/passwd", "absolute") == 0);
	must(symlink("../../../../etc/shadow", "shadow") == 0);
	must(symlink("loop", "loop") == 0);
	must(symlink("/proc/self/root/etc/shadow", "magic-root") == 0);
	must(symlink("/proc/self/exe", "magic-exe") == 0);
	must(symlink("/proc/self/cwd/plain", "magic-cwd") == 0);
	must(symlink("/proc/self/environ", "environ") == 0);
	must(symlink("/proc/uptime", "uptime") == 0);
	must(symlink("/sys/kernel/uevent_seqnum", "seqnum") == 0);
	must(mkfifo("fifo", 0600) == 0);
	must(mknod("tty", S_IFCHR | 0600, makedev(5, 0)) == 0);
	must(mknod("zero", S_IFCHR | 0600, makedev(1, 5)) == 0);
	must(s >= 0 && bind(s, (struct sockaddr *)&un, sizeof(un)) == 0);
	must(mount("proc", "proc", "proc", 0, NULL) == 0);
	must(mount("sysfs", "sys", "sysfs", MS_RDONLY, NULL) == 0);
	must(chroot(".") == 0 && chdir("/") == 0);
}

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	must(mkdtemp(root));
	jailed = child_start(enter_jail, NULL);
	jailed_key = key_of(jailed);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (jailed > 0) {
		child_end(jailed);
		must(rmdir(root) == 0);
	}
	return 0;
}

static const struct {
	const char *path;
	int expect; /* 0 or more: bytes */
} rows[] = {
	{"/plain", 7},
	{"//plain", 7},
	{"/token/../plain", 7},
	{"/../../../plain", 7},
	{"/token/token", 5},
	{"/token/..data/token", 5},
	{"/empty", 0},
	{"/largest", TOKEN_BYTES_MAX},
	{"/too-large", -EFBIG},
	/* Everything that leads out leads to the jail's own. */
	{"/etc/passwd", 3},
	{"/climb", 3},
	{"/absolute", 3},
	{"/../../../../etc/passwd", 3},
	{"/shadow", -ENOENT},
	{"/etc/shadow", -ENOENT},
	{"/loop", -ELOOP},
	{"/magic-root", -ELOOP},
	{"/magic-exe", -ELOOP},
	{"/magic-cwd", -ELOOP},
	{"/proc/self/root/plain", -ELOOP},
	{"/proc/self/fd/0", -ELOOP},
	/* Made up by the kernel as it is read. */
	{"/environ", -ENOTSUP},
	{"/uptime", -ENOTSUP},
	{"/proc/kmsg", -ENOTSUP},
	{"/seqnum", -ENOTSUP},
	/* Opening these alone could wait, or do something. */
	{"/fifo", -ENOTSUP},
	{"/tty", -ENOTSUP},
	{"/zero", -ENOTSUP},
	{"/socket", -ENOTSUP},
	{"/token", -ENOTSUP},
	{"/", -ENOTSUP},
	{"/none", -ENOENT},
	{"/plain/x", -ENOTDIR},
	{"plain", -EINVAL},
	{"", -EINVAL},
};

static void in_a_jail(void **state)
{
	struct timespec begin;
	struct timespec end;

	(void)state;
	if (geteuid() != 0)
		skip();
	must(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
		struct span bytes = {.len = 99};
		int r = proc_read_file(&jailed_key, rows[i].path, &arena, &bytes);

		if (r != MIN(rows[i].expect, 0))
			fail_msg("%s: %d", rows[i].path, r);
		assert_int_equal(bytes.len, r == 0 ? rows[i].expect : 99);
		for (size_t b = 0; r == 0 && b < bytes.len; b++)
			assert_int_equal(bytes.p[b], 't');
	}
	must(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
	assert_true(end.tv_sec - begin.tv_sec <= 5);
}

static void too_long_a_path(void **state)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	char path[5000];
	struct span bytes;
	struct proc_key key = key_of(getpid());

	(void)state;
	memset(path, '/', sizeof(path));
	path[4999] = '\0';
	assert_int_equal(proc_read_file(&key, path, &arena, &bytes), -EINVAL);
}

static void another_process(void **state)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);
	pid_t pid = child_start(NULL, NULL);
	struct proc_key key = key_of(pid);
	struct proc_key wrong = key;
	struct span bytes;

	(void)state;
	assert_int_equal(proc_read_file(&key, "/etc/passwd", &arena, &bytes), 0);
	assert_true(bytes.len > 0);
	wrong.start_boottime += 10000000;
	assert_int_equal(proc_read_file(&wrong, "/etc/passwd", &arena, &bytes), -ESRCH);
	child_end(pid);
	assert_int_equal(proc_read_file(&key, "/etc/passwd", &arena, &bytes), -ESRCH);
	key.start_boottime = 0;
	assert_int_equal(proc_read_file(&key, "/etc/passwd", &arena, &bytes), -ESRCH);
}

static void no_memory(void **state)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(0);
	struct proc_key key = key_of(getpid());
	struct span bytes;

	(void)state;
	assert_int_equal(proc_read_file(&key, "/etc/passwd", &arena, &bytes), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_jail),
		cmocka_unit_test(too_long_a_path),
		cmocka_unit_test(another_process),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests_name("identity/proc_file", tests, setup, teardown);
}
