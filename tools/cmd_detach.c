#include <getopt.h>
#include <sys/file.h>
#include <fcntl.h>

#include "tools/cmd.h"
#include "config/config.h"
#include "kernel/cgroup.h"
#include "kernel/steer.h"

static const char usage[] =
	"usage: sluicectl detach\n"
	"\n"
	"Takes a stopped sluiced out of the kernel: links, maps and pins, and the scopes' cgroups\n"
	"that are empty. What was governed is free afterwards.\n";

static int remove_empty(void *ctx, const char *path, uint64_t id)
{
	(void)id;
	return cgroup_remove(ctx, path) == 0 ? 1 : 0;
}

/* A running sluiced holds the lock: then nothing is changed. */
static bool is_running(const struct config *config)
{
	_cleanup_close_ int fd = -1;
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/lock", config->run_dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return false;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static int detach(const struct config *config)
{
	char root[CGROUP_PATH_MAX];
	int r;

	if (is_running(config)) {
		fprintf(stderr, "sluicectl: sluiced is running: stop it first\n");
		return CMD_NO;
	}
	r = steer_detach(config->bpf_dir);
	if (r < 0) {
		fprintf(stderr, "sluicectl: %s: %s\n", config->bpf_dir, strerror(-r));
		return CMD_UNKNOWN;
	}
	if (cgroup_v2_root(root, sizeof(root)) < 0)
		return CMD_YES;
	for (size_t i = 0; i < config->n_scopes; i++)
		/* From the leaves up, one at a time. */
		while (cgroup_walk(root, config->scopes[i], remove_empty, root) == 1)
			;
	return CMD_YES;
}

int cmd_detach(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	_cleanup_(config_freep) struct config *config = NULL;
	static struct diags diags;
	int opt;

	opt = getopt_long(argc, argv, "h", longs, NULL);
	if (opt != -1 || optind < argc) {
		fputs(usage, opt == 'h' ? stdout : stderr);
		return opt == 'h' ? CMD_YES : CMD_UNKNOWN;
	}
	diags = DIAGS_INIT;
	if (config_load(cmd_globals.config, CONFIG_OFFLINE, &diags, &config) < 0) {
		diags_print(&diags, stderr);
		diags_done(&diags);
		return CMD_UNKNOWN;
	}
	diags_done(&diags);
	return detach(config);
}
