/* warden.h - the privileged role: kernel side, cgroups, namespaces, processes, the other roles.
 * Used by: main.c.
 * Promises: returns once every role it started has ended. */
#ifndef SLUICE_ROLES_WARDEN_H
#define SLUICE_ROLES_WARDEN_H

#include "model/config.h"
#include "policy/policy.h"

/* Takes both. Returns the process's exit status: 0 after SIGTERM or SIGINT. */
int warden_run(struct config *config, struct policy *policy);

/* Take sluice off the node: links, maps and pins, then the scopes' cgroups that are empty. Exit
 * status. */
int warden_detach(const struct config *config);

#endif
