/* children.h - child processes for tests of identity.
 * Used by: tests of identity.
 * Promises: a child lives until it is ended, and never longer than the test. */
#ifndef SLUICE_TESTS_CHILDREN_H
#define SLUICE_TESTS_CHILDREN_H

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "identity/procfs.h"

#define must(x)                                                                     \
	do {                                                                        \
		if (!(x)) {                                                         \
			fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #x); \
			abort();                                                    \
		}                                                                   \
	} while (0)

/* What the kernel side would say: somewhere within the tick that /proc names. */
static inline struct proc_key key_of(pid_t pid)
{
	_cleanup_close_ int dir = -1;
	struct procfs_stat st;

	must(procfs_open((uint32_t)pid, &dir) == 0 && procfs_stat(dir, &st) == 0);
	return (struct proc_key){
		.tgid = (uint32_t)pid,
		.start_boottime =
			st.start_ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK)) + 4711,
	};
}

/* Run body(arg) in a child, which then waits. Returns once the body has run. */
static inline pid_t child_start(void (*body)(void *), void *arg)
{
	int ready[2];
	char c;
	pid_t pid;

	must(pipe2(ready, O_CLOEXEC) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
		if (body)
			body(arg);
		must(write(ready[1], "r", 1) == 1);
		for (;;)
			pause();
	}
	(void)close(ready[1]);
	must(read(ready[0], &c, 1) == 1);
	(void)close(ready[0]);
	return pid;
}

/* Start fd's program; returns once it runs, for the pipe closes on exec. */
static inline pid_t child_exec(int fd, char *const argv[])
{
	char *const env[] = {NULL};
	int gone[2];
	char c;
	pid_t pid;

	must(pipe2(gone, O_CLOEXEC) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)fexecve(fd, argv, env);
		_exit(127);
	}
	(void)close(gone[1]);
	must(read(gone[0], &c, 1) == 0);
	(void)close(gone[0]);
	return pid;
}

static inline void child_end(pid_t pid)
{
	must(kill(pid, SIGKILL) == 0);
	must(waitpid(pid, NULL, 0) == pid);
}

#endif
