#include <getopt.h>
#include <time.h>

#include "tools/cmd.h"
#include "tools/ctl.h"

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void print_role(const char *name, const json_t *role)
{
	const json_t *own = json_object_get(role, "status");
	json_int_t pid = ctl_number(role, "pid");
	char age[24];

	printf("%-10s ", name);
	if (pid == 0) {
		printf("%8s  %-8s %8lld\n", "-", "down", ctl_number(role, "restarts"));
		return;
	}
	printf("%8lld  %-8s %8lld %7lld MiB", pid,
	       ctl_age((uint64_t)ctl_number(role, "since"), now(), age),
	       ctl_number(role, "restarts"), ctl_number(role, "memory") >> 20);
	if (json_object_get(own, "sessions"))
		printf("   sessions %lld, held %lld, operations %lld", ctl_number(own, "sessions"),
		       ctl_number(own, "held"), ctl_number(own, "ops"));
	if (json_object_get(own, "events"))
		printf("   events %lld", ctl_number(own, "events"));
	else if (json_object_get(own, "seq"))
		printf("   events %lld", ctl_number(own, "seq"));
	if (json_object_get(own, "error")) {
		fputs("   ", stdout);
		ctl_print(stdout, ctl_text(own, "error"), 0);
	}
	putchar('\n');
}

static void print_containers(const json_t *containers)
{
	const json_t *c;
	size_t i;

	printf("\n%-16s %-12s %6s  %s\n", "WORKLOAD", "NETNS", "PORT", "CGROUP");
	json_array_foreach (containers, i, c) {
		printf("%-16s ", *ctl_text(c, "workload") ? ctl_text(c, "workload") : "(refused)");
		if (ctl_number(c, "ready"))
			printf("%-12lld %6lld  ", ctl_number(c, "netns"), ctl_number(c, "port"));
		else
			printf("%-12s %6s  ", "-", "-");
		ctl_print(stdout, ctl_text(c, "cgroup"), 0);
		putchar('\n');
	}
	if (json_array_size(containers) == 0)
		printf("(nothing governed is running)\n");
}

static void print_status(json_t *root)
{
	const json_t *workers = json_object_get(root, "workers");
	const json_t *policy = json_object_get(root, "policy");
	const json_t *value;
	const char *key;
	const json_t *w;
	size_t i;

	fputs("node ", stdout);
	ctl_print(stdout, ctl_text(root, "node"), 0);
	printf(", sluiced %s, policy %s (%lld rules)\n\n", ctl_text(root, "version"),
	       ctl_text(policy, "sha256"), ctl_number(policy, "rules"));
	printf("%-10s %8s  %-8s %8s %11s\n", "ROLE", "PID", "UP", "RESTARTS", "MEMORY");
	print_role("warden", json_object_get(root, "warden"));
	print_role("recorder", json_object_get(root, "recorder"));
	json_array_foreach (workers, i, w) {
		char name[32];

		(void)snprintf(name, sizeof(name), "worker %lld", ctl_number(w, "index"));
		print_role(name, w);
	}
	print_containers(json_object_get(root, "containers"));
	putchar('\n');
	json_object_foreach (json_object_get(root, "counters"), key, value)
		printf("%-20s %lld\n", key, json_integer_value(value));
}

int cmd_status(int argc, char **argv)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	_cleanup_buf_ struct buf answer = BUF_INIT(CTL_ANSWER_MAX);
	_cleanup_(json_decrefp) json_t *root = NULL;
	int opt;
	int r;

	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (opt != 'j') {
			fputs("usage: sluicectl status [--json]\n", opt == 'h' ? stdout : stderr);
			return opt == 'h' ? CMD_YES : CMD_UNKNOWN;
		}
		cmd_globals.json = true;
	}
	r = ctl_ask(json_pack("{s:s}", "verb", "status"), &answer, &root);
	if (r != CMD_YES)
		return r;
	if (cmd_globals.json)
		printf("%.*s\n", SPAN_FMT(buf_span(&answer)));
	else
		print_status(root);
	return CMD_YES;
}
