/* steer_load.h - loading, taking over and attaching, for steer.c.
 * Used by: kernel/steer*.c only.
 * Promises: on failure what was in force still is. */
#ifndef SLUICE_KERNEL_STEER_LOAD_H
#define SLUICE_KERNEL_STEER_LOAD_H

#include "kernel/steer.h"
#include "steer.skel.h"

#define STEER_HOOKS  10 /* attached to the cgroup root; links pinned */
#define STEER_TRACES 6	/* lifecycle events; held by this process, they serve nobody else */

struct steer {
	struct steer_bpf *skel;
	struct bpf_link *hooks[STEER_HOOKS];
	struct bpf_link *traces[STEER_TRACES];
	struct ring_buffer *ring;
	int storage_fd;
	int n_cpus;
	uint64_t *per_cpu; /* n_cpus values, for steer_counters */
	struct sluice_control control;
	/* while steer_events_read runs */
	int (*on_event)(void *ctx, const struct sluice_kevent *e);
	void *on_event_ctx;
	int on_event_result;
	int n_read;
};

/* Fills skel, hooks, traces and control. */
_must_check_ int steer_load(struct steer *s, const struct steer_config *config);
/* A sentence for people: what was being done, why it failed, and what libbpf said last. */
void steer_why_clear(void);
int steer_fail(int error, const char *doing, const char *name);
const char *steer_why(void);

#endif
