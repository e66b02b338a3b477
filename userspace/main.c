/* main.c - sluiced: reads the command line and the configuration, then becomes the warden.
 * Used by: systemd, a container's entry point, people.
 * Promises: starts nothing when anything of the configuration is wrong. */
#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>

#include "config/config.h"
#include "model/version.h"
#include "roles/log.h"
#include "roles/warden.h"

#define CONFIG_DEFAULT "/etc/sluice/sluice.yaml"

#define EXIT_USAGE  64 /* sysexits(3) */
#define EXIT_CONFIG 78

static const char usage[] =
	"usage: sluiced [-c FILE] [--check | --detach]\n"
	"\n"
	"  -c, --config FILE   the node's configuration (" CONFIG_DEFAULT ")\n"
	"      --check         report every fault of configuration and policy, start nothing\n"
	"      --detach        take sluice off this node: what a stopped sluiced leaves in the\n"
	"                      kernel, which refuses connects of governed workloads\n"
	"      --version       print the version\n"
	"  -h, --help          this text\n"
	"\n"
	"Runs in the foreground and logs to stderr. SIGTERM ends it, SIGHUP loads policy and\n"
	"issuers anew.\n";

enum action {
	RUN,
	CHECK,
	DETACH,
};

struct options {
	const char *config;
	enum action action;
};

/* 0: go on; otherwise the exit status + 1. */
static int parse(int argc, char **argv, struct options *ret)
{
	enum { OPT_CHECK = 256, OPT_DETACH, OPT_VERSION };
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, OPT_CHECK},
		{"detach", no_argument, NULL, OPT_DETACH},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt;

	*ret = (struct options){.config = CONFIG_DEFAULT};
	while ((opt = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			ret->config = optarg;
			break;
		case OPT_CHECK:
			ret->action = CHECK;
			break;
		case OPT_DETACH:
			ret->action = DETACH;
			break;
		case OPT_VERSION:
			printf("sluiced %s\n", SLUICE_VERSION);
			return 1;
		case 'h':
			fputs(usage, stdout);
			return 1;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE + 1;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return EXIT_USAGE + 1;
	}
	return 0;
}

/* A closed standard stream would give its number to a channel. */
static int open_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	(void)close(fd);
	return 0;
}

static int load(const struct options *o, struct config **ret_config, struct policy **ret_policy)
{
	_cleanup_(config_freep) struct config *config = NULL;
	_cleanup_(policy_unrefp) struct policy *policy = NULL;
	static struct diags diags;
	unsigned flags = 0;
	int r;

	/* Detaching needs paths only, also where the files they were for are gone. */
	if (o->action == DETACH)
		flags = CONFIG_OFFLINE;
	else if (o->action == CHECK && geteuid() != 0)
		flags = CONFIG_PARTIAL | CONFIG_NO_SECRETS;
	else
		flags = CONFIG_PARTIAL;
	diags = DIAGS_INIT;
	r = config_load(o->config, flags, &diags, &config);
	/* The policy's faults are said beside the configuration's. */
	if (config && (r == 0 || config->policy_text.p) && o->action != DETACH)
		r = policy_load(config->policy_text, config->policy_file, config, &diags, &policy);
	diags_print(&diags, stderr);
	diags_done(&diags);
	if (r < 0)
		return r;
	*ret_config = TAKE_PTR(config);
	*ret_policy = TAKE_PTR(policy);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(policy_unrefp) struct policy *policy = NULL;
	_cleanup_(config_freep) struct config *config = NULL;
	struct options o;
	int r;

	if (open_standard_streams() < 0)
		return 1;
	r = parse(argc, argv, &o);
	if (r != 0)
		return r - 1;
	(void)umask(022);
	r = load(&o, &config, &policy);
	if (r < 0) {
		log_error("%s: not usable (%s): nothing was started", o.config, strerror(-r));
		return EXIT_CONFIG;
	}
	if (o.action == CHECK) {
		printf("%s: fine: %zu workloads, %zu resources, %zu rules\n", o.config,
		       config->n_workloads, config->n_resources, policy_n_rules(policy));
		return 0;
	}
	if (geteuid() != 0) {
		log_error("has to be started as root: it gives up what each role does not need");
		return 1;
	}
	if (o.action == DETACH)
		return warden_detach(config);
	return warden_run(TAKE_PTR(config), TAKE_PTR(policy));
}
