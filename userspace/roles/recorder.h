/* recorder.h - the process that keeps the evidence: orders events, links, signs and stores them,
 * and keeps the approvals. Used by: roles/warden (forks it). Promises: an event is acknowledged
 * only when it is held, one that asks to be durable only when it is on disk; when it can hold no
 * more it says so to everybody, and goes on trying. */
#ifndef SLUICE_ROLES_RECORDER_H
#define SLUICE_ROLES_RECORDER_H

#include "model/config.h"

#define RECORDER_WORKERS_MAX 256u

/* Runs in the forked child, still with root's rights, which it gives up. The fds are one end of a
 * channel each and are taken; worker i is that of index i, -1: not there yet (MSG_WORKER_ADD brings
 * it). Sends MSG_READY to the warden. Returns the process's exit status: 0 after MSG_STOP or
 * SIGTERM with everything on disk, otherwise 1. */
int recorder_run(const struct config *config, int warden_fd, const int *worker_fds, size_t n);

#endif
