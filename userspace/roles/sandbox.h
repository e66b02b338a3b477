/* sandbox.h - how a role gives up what it does not need, once and for good.
 * Used by: roles/worker, roles/recorder, at their start.
 * Promises: when it returns 0 the process has no privilege, no capability and no way to regain one;
 * on failure the process must end. */
#ifndef SLUICE_ROLES_SANDBOX_H
#define SLUICE_ROLES_SANDBOX_H

#include "model/config.h"

/* Below run_dir: owned by root, empty, mode 0555. */
#define SANDBOX_EMPTY_DIR "empty"

/* Made by the warden before it forks. */
_must_check_ int sandbox_make_empty_dir(const char *run_dir);

/* Chroot to the empty directory, config->worker_uid, no groups, no capabilities, no new privileges,
 * no core dump, not dumpable, a system call filter, SIGKILL when the warden dies. Files that are
 * needed later must be open or read already. Under AddressSanitizer, which makes calls of its own,
 * without the filter. */
_must_check_ int sandbox_worker(const struct config *config);

/* The same for config->recorder_uid, with the file system (its own store), without sockets, and
 * SIGTERM when the warden dies: it has events to write. */
_must_check_ int sandbox_recorder(const struct config *config);

/* The filters alone; part of the above, apart for tests. A call that is not listed kills a worker;
 * in the recorder it fails with EPERM. */
_must_check_ int sandbox_filter_worker(void);
_must_check_ int sandbox_filter_recorder(void);

#endif
