#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>

/* The verb itself, not a program around it. */
#include "tools/cmd_policy.c"

struct cmd_globals cmd_globals = {.config = CMD_CONFIG_DEFAULT};

static char dir[64];
static const char *const names[] = {"good.yaml", "bad.yaml", "sluice.yaml", "broken.yaml",
				    "faulty.yaml"};

static const char *at(const char *name)
{
	static char path[6][128];
	static unsigned turn;

	turn = (turn + 1) % 6;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/sluice-policy.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	put("good.yaml", "rules:\n  - name: a\n    who: { workload: w }\n    on: db\n"
			 "    effect: allow\n");
	put("bad.yaml", "rules:\n  - name: a\n    who: { workload: v }\n    on: db\n"
			"    effect: alow\n");
	put("sluice.yaml",
	    "policy: good.yaml\nworkloads:\n  - { name: w, match: { cgroup: /sluice/w } }\n"
	    "resources:\n  - name: db\n    match: { address: 10.0.0.1, port: 5432 }\n"
	    "    upstream: { address: '10.0.0.1:5432', tls: disable }\n"
	    "    credential: { user: gateway, password_file: nowhere }\n");
	put("broken.yaml", "policy: [\n");
	put("faulty.yaml",
	    "policy: bad.yaml\npolicy: good.yaml\nsurprise: 1\n"
	    "workloads:\n  - { name: w, match: { cgroup: /sluice/w } }\nresources: *x\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(at(names[i]));
	return rmdir(dir);
}

/* Run the verb in a process of its own; its exit status, and what it printed without the folder's
 * name. */
static int run(char *ret_out, size_t size, const char *const *args)
{
	char *argv[10] = {(char *)"policy"};
	int argc = 1;
	int fds[2];
	int status;
	size_t n = 0;
	pid_t pid;
	char *from;
	char *to;

	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)args[argc - 1];
	assert_int_equal(pipe(fds), 0);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)dup2(fds[1], STDERR_FILENO);
		(void)close(fds[0]);
		(void)close(fds[1]);
		status = cmd_policy(argc, argv);
		(void)fflush(NULL);
		_exit(status);
	}
	(void)close(fds[1]);
	for (;;) {
		ssize_t got = read(fds[0], ret_out + n, size - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	(void)close(fds[0]);
	ret_out[n] = '\0';
	for (from = to = ret_out; *from; from++, to++) {
		while (strncmp(from, dir, strlen(dir)) == 0)
			from += strlen(dir) + 1;
		*to = *from;
	}
	*to = '\0';
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define RUN(out, ...) run(out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})

static void valid(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(RUN(out, "check", at("good.yaml")), CMD_YES);
	assert_memory_equal(out, "good.yaml: no fault in 1 rules, sha256 ", 39);
	assert_int_equal(strlen(out), 39 + 64 + 1);
	assert_int_equal(RUN(out, "check", "--json", at("good.yaml")), CMD_YES);
	assert_non_null(
		strstr(out, "{\"faults\":[],\"faults_dropped\":0,\"policies\":[{\"file\":\""));
	assert_non_null(strstr(out, ",\"rules\":1,\"sha256\":\""));
	assert_non_null(strstr(out, "}],\"result\":\"valid\"}\n"));
}

static void faulty(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(RUN(out, "check", at("bad.yaml"), at("good.yaml")), CMD_NO);
	assert_memory_equal(out,
			    "bad.yaml:5:13: unknown value \"alow\": did you mean \"allow\"?\n"
			    "good.yaml: no fault",
			    75);
	assert_int_equal(RUN(out, "check", "--json", at("bad.yaml")), CMD_NO);
	assert_non_null(strstr(out, "\"column\":13,\"file\":"));
	assert_non_null(strstr(out, "\"policies\":[],\"result\":\"faulty\"}"));
}

static void against_a_configuration(void **state)
{
	char out[4096];

	(void)state;
	/* The password is not read, so that anybody may check. */
	assert_int_equal(RUN(out, "check", "--config", at("sluice.yaml")), CMD_YES);
	assert_memory_equal(out, "good.yaml: no fault", 19);
	assert_int_equal(RUN(out, "check", "--config", at("sluice.yaml"), at("bad.yaml")), CMD_NO);
	assert_string_equal(
		out, "bad.yaml:3:22: no workload of the configuration is called or matches \"v\"\n"
		     "bad.yaml:5:13: unknown value \"alow\": did you mean \"allow\"?\n");
	assert_int_equal(RUN(out, "check", "--config", at("broken.yaml"), at("good.yaml")), CMD_NO);
	assert_memory_equal(out, "broken.yaml:2:1: not YAML", 25);
	assert_int_equal(RUN(out, "check", "--offline", "--config", at("sluice.yaml")), CMD_YES);
	/* The configuration's faults do not hide the policy's, nor the other way about. */
	assert_int_equal(RUN(out, "check", "--config", at("faulty.yaml")), CMD_NO);
	assert_string_equal(
		out, "bad.yaml:3:22: no workload of the configuration is called or matches \"v\"\n"
		     "bad.yaml:5:13: unknown value \"alow\": did you mean \"allow\"?\n"
		     "faulty.yaml:2:1: key \"policy\" is here twice (first on line 1)\n"
		     "faulty.yaml:3:1: unknown key \"surprise\"\n"
		     "faulty.yaml:6:12: aliases (*name) are not allowed here\n");
}

static void cannot_tell(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(RUN(out, "check", at("none.yaml")), CMD_UNKNOWN);
	assert_string_equal(out, "sluicectl: policy: none.yaml: No such file or directory\n");
	assert_int_equal(RUN(out, "check", at("none.yaml"), at("bad.yaml")), CMD_UNKNOWN);
	assert_non_null(strstr(out, "bad.yaml:5:13"));
	assert_int_equal(RUN(out, "check", "--config", at("none.yaml")), CMD_UNKNOWN);
	assert_int_equal(RUN(out, "check", "/"), CMD_UNKNOWN);
	assert_int_equal(RUN(out, "check"), CMD_UNKNOWN);
	assert_memory_equal(out, "usage:", 6);
	assert_int_equal(RUN(out, "check", "--wrong"), CMD_UNKNOWN);
	assert_int_equal(RUN(out, "chek"), CMD_UNKNOWN);
	assert_int_equal(RUN(out, "--help"), CMD_YES);
	assert_int_equal(RUN(out, "check", "--help"), CMD_YES);
}

/* Tests run at the top of the tree. */
static void examples_are_valid(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(RUN(out, "check", "--offline", "--config", "examples/sluice.yaml"),
			 CMD_YES);
	assert_memory_equal(out, "examples/policy.yaml: no fault", 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid),
		cmocka_unit_test(faulty),
		cmocka_unit_test(against_a_configuration),
		cmocka_unit_test(cannot_tell),
		cmocka_unit_test(examples_are_valid),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
