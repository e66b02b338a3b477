/* main.c - sluicectl: finds the verb.
 * Used by: people and scripts.
 * Promises: exit status 0 yes, 1 no, 2 could not tell. */
#include <getopt.h>

#include "tools/cmd.h"
#include "model/version.h"

struct cmd_globals cmd_globals = {.config = CMD_CONFIG_DEFAULT};

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *use;
	const char *help;
} verbs[] = {
	{"run", cmd_run, "run --workload NAME [--net none|host] -- CMD…",
	 "start something governed"},
	{"status", cmd_status, "status", "roles, containers and counters of this node"},
	{"approvals", cmd_approvals, "approvals list|show|approve|deny …",
	 "operations that wait for a person"},
	{"audit", cmd_audit, "audit search|show|verify|…", "evidence: look into it, verify it"},
	{"policy", cmd_policy, "policy check …", "check policies: every fault with its place"},
	{"token", cmd_token, "token verify …", "verify a workload's token"},
	{"detach", cmd_detach, "detach", "take a stopped sluiced out of the kernel"},
};

static void usage(FILE *to)
{
	fputs("usage: sluicectl [--config FILE] [--socket PATH] [--json] VERB …\n\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-50s %s\n", verbs[i].use, verbs[i].help);
	fputs("\n"
	      "  --config FILE   the node's configuration (" CMD_CONFIG_DEFAULT ")\n"
	      "  --socket PATH   sluiced's control socket (from the configuration)\n"
	      "  --json          answers as JSON; after the verb too\n"
	      "\n"
	      "Exit status: 0 yes, 1 no (not allowed, not valid, not found), 2 could not tell.\n"
	      "`sluicectl VERB --help` tells more of a verb.\n",
	      to);
}

int main(int argc, char **argv)
{
	enum { OPT_SOCKET = 256, OPT_JSON, OPT_VERSION };
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"socket", required_argument, NULL, OPT_SOCKET},
		{"json", no_argument, NULL, OPT_JSON},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt;

	/* "+": stop at the verb. */
	while ((opt = getopt_long(argc, argv, "+c:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			cmd_globals.config = optarg;
			break;
		case OPT_SOCKET:
			cmd_globals.socket = optarg;
			break;
		case OPT_JSON:
			cmd_globals.json = true;
			break;
		case OPT_VERSION:
			printf("sluicectl %s\n", SLUICE_VERSION);
			return CMD_YES;
		case 'h':
			usage(stdout);
			return CMD_YES;
		default:
			usage(stderr);
			return CMD_UNKNOWN;
		}
	}
	argc -= optind;
	argv += optind;
	if (argc > 0 && streq(argv[0], "help")) {
		usage(stdout);
		return CMD_YES;
	}
	optind = 0; /* a verb parses anew */
	for (size_t i = 0; argc > 0 && i < ARRAY_SIZE(verbs); i++)
		if (streq(argv[0], verbs[i].name))
			return verbs[i].run(argc, argv);
	usage(stderr);
	return CMD_UNKNOWN;
}
