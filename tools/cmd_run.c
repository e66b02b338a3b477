#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "tools/cmd.h"
#include "tools/ctl.h"
#include "kernel/cgroup.h"

/* As env(1) and timeout(1) have it: everything else is the command's. */
#define EXIT_NOT_STARTED 125
#define EXIT_CANNOT_EXEC 126
#define EXIT_NOT_FOUND	 127

#define REMOVE_TRIES 20

static const char usage[] =
	"usage: sluicectl run --workload NAME [--net none|host] -- CMD [ARG…]\n"
	"\n"
	"Starts CMD governed, as root, in a cgroup of its own that matches the workload, ready\n"
	"before its first instruction.\n"
	"  --net host   in the network namespace of the caller (the default)\n"
	"  --net none   in one of its own with nothing but loopback: it reaches what policy\n"
	"               allows, by the addresses it asks for, and nothing else\n"
	"\n"
	"Gives CMD's exit status; 128 + N when signal N ended it; 125 when it was not started,\n"
	"126 and 127 when it cannot be executed or is not there.\n";

struct run {
	const char *workload;
	bool net_none;
	char **command;
};

static const int forwarded[] = {SIGINT,	 SIGTERM, SIGHUP,  SIGQUIT,
				SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

static sigset_t watched_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	return set;
}

/* In the child: waits until it is governed, then becomes the command. */
_noreturn_ static void become(const struct run *run, const sigset_t *mask, int said, int told)
{
	char byte = 'r';

	/* Nothing of ours is open in it, and it does not outlive us unseen. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (run->net_none && unshare(CLONE_NEWNET) < 0) {
		perror("sluicectl: a network namespace of its own");
		_exit(EXIT_NOT_STARTED);
	}
	if (write(said, &byte, 1) != 1 || read(told, &byte, 1) != 1)
		_exit(EXIT_NOT_STARTED);
	if (close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
		_exit(EXIT_NOT_STARTED);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(run->command[0], run->command);
	fprintf(stderr, "sluicectl: %s: %s\n", run->command[0], strerror(errno));
	_exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXEC);
}

/* The warden makes the cgroup, puts the child there and opens the listener. */
static int ask_to_govern(const struct run *run, pid_t child, char *ret_cgroup, size_t size)
{
	_cleanup_buf_ struct buf answer = BUF_INIT(CTL_ANSWER_MAX);
	_cleanup_(json_decrefp) json_t *root = NULL;
	int r;

	r = ctl_ask(json_pack("{s:i, s:s, s:s}", "pid", (int)child, "verb", "run", "workload",
			      run->workload),
		    &answer, &root);
	if (r == CMD_YES)
		(void)snprintf(ret_cgroup, size, "%s", ctl_text(root, "cgroup"));
	return r;
}

/* Until the child ends; signals that people send are passed on. Its wait status. */
static int wait_for(pid_t child)
{
	sigset_t signals = watched_signals();
	siginfo_t info;
	int status;

	for (;;) {
		if (waitpid(child, &status, WNOHANG) == child)
			return status;
		if (sigwaitinfo(&signals, &info) < 0 || info.si_signo == SIGCHLD)
			continue;
		/* What the terminal sends, it sends to the whole group, the child too. */
		if (info.si_code != SI_KERNEL)
			(void)kill(child, info.si_signo);
	}
}

/* The warden does it too, when it sees that nothing is left: sooner is tidier. */
static void remove_cgroup(const char *path)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	char root[CGROUP_PATH_MAX];
	int r = -EBUSY;

	if (!*path || cgroup_v2_root(root, sizeof(root)) < 0)
		return;
	for (int i = 0; i < REMOVE_TRIES && r == -EBUSY; i++) {
		r = cgroup_remove(root, path);
		if (r == -EBUSY)
			(void)nanosleep(&pause, NULL);
	}
	if (r == -EBUSY)
		fprintf(stderr, "sluicectl: processes go on, governed, in %s\n", path);
}

static int govern_and_wait(const struct run *run, pid_t child, int said, int told)
{
	char cgroup[CGROUP_PATH_MAX] = "";
	char byte = 'g';
	bool started;
	int status;

	started = read(said, &byte, 1) == 1 &&
		  ask_to_govern(run, child, cgroup, sizeof(cgroup)) == CMD_YES &&
		  write(told, &byte, 1) == 1;
	if (!started)
		(void)kill(child, SIGKILL);
	status = wait_for(child);
	remove_cgroup(cgroup);
	if (!started)
		return EXIT_NOT_STARTED;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int start(const struct run *run)
{
	sigset_t signals = watched_signals();
	sigset_t before;
	int up[2];   /* the child speaks */
	int down[2]; /* the child is told */
	pid_t child;
	int status;

	if (pipe2(up, O_CLOEXEC) < 0)
		return EXIT_NOT_STARTED;
	if (pipe2(down, O_CLOEXEC) < 0) {
		(void)close(up[0]);
		(void)close(up[1]);
		return EXIT_NOT_STARTED;
	}
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	child = fork();
	if (child == 0) {
		(void)close(up[0]);
		(void)close(down[1]);
		become(run, &before, up[1], down[0]);
	}
	(void)close(up[1]);
	(void)close(down[0]);
	status = child < 0 ? EXIT_NOT_STARTED : govern_and_wait(run, child, up[0], down[1]);
	(void)close(up[0]);
	(void)close(down[1]);
	return status;
}

int cmd_run(int argc, char **argv)
{
	static const struct option longs[] = {{"workload", required_argument, NULL, 'w'},
					      {"net", required_argument, NULL, 'n'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	struct run run = {0};
	int opt;

	while ((opt = getopt_long(argc, argv, "+w:h", longs, NULL)) != -1) {
		if (opt == 'w') {
			run.workload = optarg;
		} else if (opt == 'n' && (streq(optarg, "none") || streq(optarg, "host"))) {
			run.net_none = streq(optarg, "none");
		} else {
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? CMD_YES : EXIT_NOT_STARTED;
		}
	}
	run.command = argv + optind;
	if (!run.workload || optind >= argc) {
		fputs(usage, stderr);
		return EXIT_NOT_STARTED;
	}
	return start(&run);
}
