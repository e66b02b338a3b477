/* worker.h - the data path's process: accepts, verifies, decides, relays.
 * Used by: roles/warden (forks it).
 * Promises: returns only when it is told to stop, or when it cannot go on. */
#ifndef SLUICE_ROLES_WORKER_H
#define SLUICE_ROLES_WORKER_H

#include "model/config.h"
#include "policy/policy.h"
#include "tls/tls.h"

struct worker_setup {
	const struct config *config;
	struct policy *policy;
	unsigned index;
	int warden_fd;
	int recorder_fd;
	int storage_fd;
	const struct tls_identity *identities; /* one per resource, same order */
};

/* Runs in the forked child, before any sandbox: it enters its own. The fds are taken. Returns the
 * process's exit status: 0 after MSG_STOP, otherwise 1. */
int worker_run(const struct worker_setup *setup);

#endif
