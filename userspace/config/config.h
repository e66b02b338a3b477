/* config.h - loads sluice.yaml: the node, its issuers, workloads, resources and approvers.
 * Used by: roles/ (before the fork), tools (policy check).
 * Promises: every fault of the file and of the files it names is reported at once, each with its
 * place; what is returned is whole and checked. Schema: docs/configuration.md. */
#ifndef SLUICE_CONFIG_CONFIG_H
#define SLUICE_CONFIG_CONFIG_H

#include "base/diag.h"
#include "model/config.h"

enum config_flags {
	/* Do not open password files: for tools that only check, and may not read them. */
	CONFIG_NO_SECRETS = 1u << 0,
	/* Do not resolve host names nor read the files that are named: for tests of the schema
	 * alone, and for checking a configuration on another machine. Implies CONFIG_NO_SECRETS. */
	CONFIG_OFFLINE = 1u << 1,
	/* Where the file could be read as YAML but has faults, -EINVAL comes with what was read,
	 * marked partial: so that the policy it names can be checked too. Anything in it may be
	 * absent; it is never to be run with. */
	CONFIG_PARTIAL = 1u << 2,
};

/* -EINVAL: faults were added to diags; -ENOMEM. *ret_config is untouched on failure, but for
 * CONFIG_PARTIAL. */
_must_check_ int config_load(const char *path, unsigned flags, struct diags *diags,
			     struct config **ret_config);
/* Wipes passwords. */
void config_free(struct config *config);
DEFINE_CLEANUP(struct config *, config_free, config_freep)

#endif
