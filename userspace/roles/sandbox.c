#include "roles/sandbox.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITHOUT_FILTER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITHOUT_FILTER 1
#endif

DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release, seccomp_releasep)

int sandbox_make_empty_dir(const char *run_dir)
{
	_cleanup_close_ int dir = -1;
	_cleanup_close_ int fd = -1;
	struct stat st;

	dir = open(run_dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (mkdirat(dir, SANDBOX_EMPTY_DIR, 0555) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, SANDBOX_EMPTY_DIR, O_DIRECTORY | O_NOFOLLOW | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != 0)
		return -EPERM;
	return fchmod(fd, 0555) < 0 ? -errno : 0;
}

/* What both filters allow: memory, time, what is open already, and ending. */
static const int common_calls[] = {
	SCMP_SYS(epoll_create1),  SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),	  SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),	  SCMP_SYS(poll),
	SCMP_SYS(ppoll),	  SCMP_SYS(read),
	SCMP_SYS(readv),	  SCMP_SYS(write),
	SCMP_SYS(writev),	  SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),	  SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),	  SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),	  SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),	  SCMP_SYS(close),
	SCMP_SYS(close_range),	  SCMP_SYS(fcntl),
	SCMP_SYS(fstat),	  SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),	  SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),	  SCMP_SYS(gettimeofday),
	SCMP_SYS(time),		  SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),	  SCMP_SYS(getrandom),
	SCMP_SYS(munmap),	  SCMP_SYS(mremap),
	SCMP_SYS(madvise),	  SCMP_SYS(brk),
	SCMP_SYS(futex),	  SCMP_SYS(exit),
	SCMP_SYS(exit_group),	  SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),	  SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),	  SCMP_SYS(getppid),
	SCMP_SYS(gettid),	  SCMP_SYS(getuid),
	SCMP_SYS(geteuid),	  SCMP_SYS(getgid),
	SCMP_SYS(getegid),	  SCMP_SYS(sched_yield),
	SCMP_SYS(sysinfo),	  SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getrusage),	  SCMP_SYS(uname),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
};

/* Refused without killing: libc and OpenSSL try these and go on without. */
static const int worker_soft_calls[] = {
	SCMP_SYS(open),	 SCMP_SYS(openat),    SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(stat),	 SCMP_SYS(lstat),     SCMP_SYS(statx),	SCMP_SYS(readlink),
	SCMP_SYS(ioctl), SCMP_SYS(prlimit64), SCMP_SYS(prctl),	SCMP_SYS(readlinkat),
};

/* The store: sqlite in WAL mode, key and checkpoint files. */
static const int recorder_calls[] = {
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(flock),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchown),
	SCMP_SYS(utimensat),
	SCMP_SYS(getdents64),
	SCMP_SYS(umask),
	SCMP_SYS(msync),
	SCMP_SYS(ioctl),
	SCMP_SYS(prlimit64),
	SCMP_SYS(fadvise64),
	SCMP_SYS(sync_file_range),
	/* Its writer's thread (see add_threads), and how that wakes the main one. */
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(eventfd2),
	SCMP_SYS(signalfd4),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(pipe2),
};

/* A call that the architecture does not have is no fault. */
static int add_all(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = calls[i] < 0 ? 0 : seccomp_rule_add(f, action, calls[i], 0);

		if (r < 0)
			return r;
	}
	return 0;
}

/* mmap and mprotect of anything but code. */
static int add_memory(scmp_filter_ctx f)
{
	int r;

	r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r < 0)
		return r;
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* Upstream connections: TCP over IPv4 or IPv6, nothing else. */
static int add_network(scmp_filter_ctx f)
{
	static const int families[] = {AF_INET, AF_INET6};
	static const int protocols[] = {0, IPPROTO_TCP};
	static const int calls[] = {SCMP_SYS(connect), SCMP_SYS(accept4), SCMP_SYS(setsockopt)};
	const scmp_datum_t type_mask = ~(scmp_datum_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(protocols); j++) {
			int r = seccomp_rule_add(
				f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]),
				SCMP_A1(SCMP_CMP_MASKED_EQ, type_mask, SOCK_STREAM),
				SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)protocols[j]));

			if (r < 0)
				return r;
		}
	}
	return add_all(f, SCMP_ACT_ALLOW, calls, ARRAY_SIZE(calls));
}

/* Threads, no processes. clone3 has its flags in memory, where no filter sees them: libc falls back
 * to clone when it is not there. */
static int add_threads(scmp_filter_ctx f)
{
	int r;

	r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r < 0)
		return r;
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

static int filter_new(uint32_t otherwise, scmp_filter_ctx *ret_filter)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx f = seccomp_init(otherwise);
	int r;

	if (!f)
		return -ENOMEM;
	r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r < 0)
		return r;
	/* Every thread there may be already. */
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r < 0)
		return r;
	/* Best effort: the kernel logs what it refuses. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
	r = add_all(f, SCMP_ACT_ALLOW, common_calls, ARRAY_SIZE(common_calls));
	if (r < 0)
		return r;
	r = add_memory(f);
	if (r < 0)
		return r;
	*ret_filter = TAKE_PTR(f);
	return 0;
}

int sandbox_filter_worker(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx f = NULL;
	int r;

	r = filter_new(SCMP_ACT_KILL_PROCESS, &f);
	if (r < 0)
		return r;
	r = add_network(f);
	if (r < 0)
		return r;
	/* The origin of an accepted socket. */
	r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
			     SCMP_A0(SCMP_CMP_EQ, BPF_MAP_LOOKUP_ELEM));
	if (r < 0)
		return r;
	r = add_all(f, SCMP_ACT_ERRNO(EACCES), worker_soft_calls, ARRAY_SIZE(worker_soft_calls));
	if (r < 0)
		return r;
	return seccomp_load(f);
}

int sandbox_filter_recorder(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx f = NULL;
	int r;

	r = filter_new(SCMP_ACT_ERRNO(EPERM), &f);
	if (r < 0)
		return r;
	r = add_threads(f);
	if (r < 0)
		return r;
	r = add_all(f, SCMP_ACT_ALLOW, recorder_calls, ARRAY_SIZE(recorder_calls));
	if (r < 0)
		return r;
	return seccomp_load(f);
}

/* Become uid, with nothing left of root; sure of it, or an error. */
static int give_up_root(uint32_t uid)
{
	if (uid == 0)
		return -EINVAL;
	capng_clear(CAPNG_SELECT_ALL);
	/* The bounding set first: dropping from it needs CAP_SETPCAP. */
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return -EPERM;
	if (setgroups(0, NULL) < 0)
		return -errno;
	if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0)
		return -EPERM;
	if (capng_get_caps_process() < 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return -EPERM;
	return 0;
}

/* Whoever reads a core or traces the process would read tokens and credentials. */
static int keep_memory_private(void)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

static int without_privilege(uint32_t uid, unsigned long signal_at_end)
{
	int r;

	r = give_up_root(uid);
	if (r < 0)
		return r;
	r = keep_memory_private();
	if (r < 0)
		return r;
	/* After the change of uid, which clears it. A warden that died before this call is seen by
	 * its closed channel. */
	return prctl(PR_SET_PDEATHSIG, signal_at_end, 0, 0, 0) < 0 ? -errno : 0;
}

static int enter_empty_dir(const char *run_dir)
{
	_cleanup_close_ int dir = open(run_dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
	_cleanup_close_ int fd = -1;

	if (dir < 0)
		return -errno;
	fd = openat(dir, SANDBOX_EMPTY_DIR, O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC);
	if (fd < 0 || fchdir(fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int sandbox_worker(const struct config *config)
{
	int r;

	r = enter_empty_dir(config->run_dir);
	if (r < 0)
		return r;
	r = without_privilege(config->worker_uid, SIGKILL);
	if (r < 0)
		return r;
#ifdef WITHOUT_FILTER
	return 0;
#else
	return sandbox_filter_worker();
#endif
}

int sandbox_recorder(const struct config *config)
{
	int r;

	r = without_privilege(config->recorder_uid, SIGTERM);
	if (r < 0)
		return r;
#ifdef WITHOUT_FILTER
	return 0;
#else
	return sandbox_filter_recorder();
#endif
}
