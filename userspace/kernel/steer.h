/* steer.h - the kernel side: loaded, pinned, attached, and its maps.
 * Used by: roles/warden.c (all of it), roles/worker.c (steer_origin only), tools.
 * Promises: either everything required is loaded, pinned and attached, or nothing is changed and
 * the reason can be told. Links stay pinned when the process ends: connects are refused then. */
#ifndef SLUICE_KERNEL_STEER_H
#define SLUICE_KERNEL_STEER_H

#include "abi.h"
#include "model/identity.h"

struct steer;

struct steer_config {
	const char *bpf_dir; /* pins go here; bpffs is mounted on its parent when it is missing */
	const char *cgroup_root; /* cgroup v2 mount point, see cgroup.h */
	uint64_t heartbeat_max_ns;
};

/* Load, pin, attach. What an earlier sluiced pinned is taken over: its maps with all they hold when
 * their layout is the same, else a copy of its scopes and cgroups; each link is given its new
 * program atomically. Attaching comes before any scope on a first start: until the first
 * steer_scope_add nothing is governed. The caller's own network namespace counts as the node's,
 * as does the initial one: loopback in them is governed.
 * *ret_why gets a sentence for people when it fails (thread-local storage, until the next call). */
_must_check_ int steer_open(const struct steer_config *config, const char **ret_why,
			    struct steer **ret_steer);
/* Close the handles; pins stay. */
void steer_close(struct steer *steer);
/* One at a time works on bpf_dir: whoever replaces the programs of one that runs opens its gate.
 * Makes the folder when it is missing. -EBUSY: another holds it. */
_must_check_ int steer_lock(const char *bpf_dir, int *ret_fd);
/* Detach every link and remove every pin below bpf_dir, and it. 0 too when there is none. */
int steer_detach(const char *bpf_dir);
DEFINE_CLEANUP(struct steer *, steer_close, steer_closep)

/* Maps. cgroup ids as the kernel has them (inode of the cgroup directory). */
int steer_scope_add(struct steer *s, uint64_t cgroup_id);
int steer_scope_del(struct steer *s, uint64_t cgroup_id);
int steer_cgroup_set(struct steer *s, uint64_t cgroup_id, enum sluice_cgroup_state state);
int steer_cgroup_del(struct steer *s, uint64_t cgroup_id);
int steer_listener_set(struct steer *s, uint64_t netns_cookie, const struct sluice_listener *l);
int steer_listener_del(struct steer *s, uint64_t netns_cookie);
/* Remove what keep() does not keep; returns how many. For a sluiced that took over: scopes that are
 * no longer configured, cgroups and network namespaces that are gone, listeners not opened anew
 * (until their entry goes, a connect finds the port closed and no SLUICE_KEV_REFUSED asks for a
 * listener). */
int steer_scopes_prune(struct steer *s, bool (*keep)(void *ctx, uint64_t cgroup_id), void *ctx);
int steer_cgroups_prune(struct steer *s, bool (*keep)(void *ctx, uint64_t cgroup_id), void *ctx);
int steer_listeners_prune(struct steer *s, bool (*keep)(void *ctx, uint64_t netns_cookie),
			  void *ctx);
/* To be called more often than heartbeat_max_ns. */
int steer_heartbeat(struct steer *s);
int steer_counters(const struct steer *s, uint64_t ret_counters[static SLUICE_COUNT_MAX]);
/* "steered", "refused-unknown", …; NULL past the last. */
const char *steer_counter_name(enum sluice_counter which);
/* Remove hand-over entries older than max_age_ns. Each goes by itself when its connection is
 * accepted or closed, so this finds something only when a program was replaced in between. Call it
 * now and then with an age no waiting connect reaches (10 minutes). Either output may be NULL. */
int steer_sweep(struct steer *s, uint64_t max_age_ns, uint32_t *ret_removed, uint32_t *ret_left);

/* Ring buffer: poll the fd (level-triggered); each event is given to the callback (a non-zero
 * return stops, and is returned). At most STEER_EVENTS_BATCH a call; returns how many were read.
 * When the counter SLUICE_COUNT_EVENTS_LOST rises, cgroups and processes must be scanned anew. */
#define STEER_EVENTS_BATCH 1024
int steer_events_fd(const struct steer *s);
int steer_events_read(struct steer *s, int (*on_event)(void *ctx, const struct sluice_kevent *e),
		      void *ctx);

/* fd of the socket storage map, for workers (read only; a lookup needs no privilege on kernels from
 * 5.19). Owned by steer. */
int steer_storage_fd(const struct steer *s);

/* Origin of an accepted socket. -ENOENT: it has none: whoever connected was not steered. */
_must_check_ int steer_origin(int storage_fd, int accepted_fd, struct sluice_origin *ret_origin);
/* In host order and the model's terms. The process is what the kernel knew when it called connect:
 * its /proc part is unset. */
void steer_origin_endpoint(const struct sluice_origin *o, struct endpoint *ret_endpoint);
void steer_origin_process(const struct sluice_origin *o, struct process *ret_process);

#endif
