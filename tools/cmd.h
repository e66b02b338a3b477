/* cmd.h - the verbs of sluicectl and what they share.
 * Used by: tools/.
 * Promises: a verb gets its own arguments (argv[0] is the verb) and returns the exit status. */
#ifndef SLUICE_TOOLS_CMD_H
#define SLUICE_TOOLS_CMD_H

#include "base/macro.h"

/* Exit statuses of every verb but run, which gives its command's. */
enum {
	CMD_YES = 0,
	CMD_NO = 1,	 /* not allowed, not valid, not found */
	CMD_UNKNOWN = 2, /* could not tell: usage, no daemon, unreadable file */
};

#define CMD_CONFIG_DEFAULT "/etc/sluice/sluice.yaml"

/* Options that stand before the verb: `sluicectl [--config FILE] [--socket PATH] [--json] VERB …`.
 * A verb takes --json among its own arguments too. */
struct cmd_globals {
	const char *config; /* CMD_CONFIG_DEFAULT unless said */
	const char *socket; /* NULL: control.sock in the configuration's run_dir */
	bool json;
};
extern struct cmd_globals cmd_globals;

int cmd_run(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_approvals(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_detach(int argc, char **argv);

#endif
