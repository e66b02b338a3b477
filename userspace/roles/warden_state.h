/* warden_state.h - what the warden's files share: its state, and what each file does for the
 * others. Used by: roles/warden*.c, roles/control*.c only. Promises: every table has a maximum; one
 * thread. */
#ifndef SLUICE_ROLES_WARDEN_STATE_H
#define SLUICE_ROLES_WARDEN_STATE_H

#include <sys/types.h>

#include "base/buf.h"
#include "identity/proc.h"
#include "io/loop.h"
#include "ipc/chan.h"
#include "ipc/msg.h"
#include "kernel/cgroup.h"
#include "kernel/steer.h"
#include "model/config.h"
#include "policy/policy.h"
#include "tls/tls.h"

#define WORKERS_MAX	   64
#define CGROUPS_MAX	   16384
#define NETNS_MAX	   4096
#define NETNS_PER_CGROUP   64 /* so that one workload cannot take them all */
#define HEARTBEAT_MS	   1000u
#define HEARTBEAT_MAX_NS   5000000000u
#define STATUS_TEXT_MAX	   8192 /* JSON that a role tells of itself */
#define EVENT_BODY_MAX	   8192
#define NO_WORKLOAD	   UINT16_MAX
#define DEATHS_KEPT	   3
#define TIME_FOR_READY_MS  30000u
#define TIME_FOR_ENDING_MS 5000u

struct warden;
struct control;

/* A process that the warden started. */
struct child {
	struct warden *warden;
	bool is_recorder;
	unsigned index; /* of a worker */
	pid_t pid;	/* 0: not running */
	struct chan *chan;
	bool ready;
	bool asked_to_end; /* its end is no loss */
	unsigned restarts;
	uint64_t since;		      /* wall clock, ns */
	uint64_t deaths[DEATHS_KEPT]; /* monotonic, ns; the latest first */
	struct timer restart;
	struct buf status; /* last answer: one JSON object, checked */
	bool status_fresh; /* came since the last time it was asked for */
};

/* A governed cgroup. */
struct governed {
	uint64_t id;
	char *path;
	uint16_t workload;    /* index, or NO_WORKLOAD: refused by the kernel side */
	bool made_by_run;     /* by the control socket's `run`: removed when it is empty */
	bool refusal_told;    /* an event says that it matches no workload */
	uint64_t netns_inode; /* where its processes were seen last; 0: none yet */
};

/* A network namespace with a listener. */
struct netns {
	uint64_t cookie;
	uint64_t inode;
	int fd4;
	int fd6;
	uint16_t port;
	bool in_map;	 /* connects are steered to it */
	uint64_t handed; /* bit per worker that has the sockets */
	unsigned unseen; /* sweeps in a row that found no process in it */
	uint64_t cgroup; /* id of the cgroup it was opened for */
	uint16_t workload;
	char *cgroup_path;
};

struct warden {
	struct loop *loop;
	struct config *config;
	struct config *newer; /* after a reload: owns the issuers that config points to */
	struct policy *policy;
	struct tls_identity *identities; /* by resource */
	uint64_t minted_ns;		 /* wall clock */
	struct timer renewal;
	char cgroup_root[CGROUP_PATH_MAX];
	uint64_t
		node_netns[2]; /* inodes: the warden's own network namespace, the first process's */
	uint64_t own_cgroup;   /* id of the one the kernel side exempts; 0: none */
	struct steer *steer;
	struct watch steer_watch;
	struct watch signal_watch;
	sigset_t *signals_before; /* mask that children get back */
	struct timer heartbeat;
	uint64_t beat_ns; /* the last one, monotonic */
	struct timer ready_timeout;
	bool ready;
	bool ending;
	int result;
	uint64_t since; /* wall clock, ns */
	uint64_t counters[SLUICE_COUNT_MAX];

	struct child recorder;
	struct child workers[WORKERS_MAX];
	unsigned n_workers;
	struct timer end_timeout;
	bool workers_ended; /* the recorder is told to end after the workers */

	struct governed *governed; /* by ascending id */
	size_t n_governed;
	struct netns *netns;
	size_t n_netns;
	struct timer sweep;
	struct timer hand_out_again;

	struct exe_cache *exe_cache;
	struct seen *seen; /* warden_resolve.c */

	struct outbox *outbox; /* warden_events.c */
	struct refusals *refusals;

	struct control *control;
};

/* warden.c: tell the kernel side that somebody is there. */
void warden_beat(struct warden *w);

/* warden_kernel.c: programs and maps, what this configuration governs, and no more. */
int kernel_side_open(struct warden *w);

/* warden_identity.c: certificates that agents are shown. */
int identities_mint(struct warden *w);
/* From now on, anew at half of their life, handed to every worker. */
int identities_keep_fresh(struct warden *w);
void identities_renew_if_due(struct warden *w);
void identities_done(struct warden *w);

/* warden_children.c: the other roles, started, watched and replaced. */
int children_start(struct warden *w);
/* MSG_STOP to the workers, then to the recorder; ends the loop when all are gone. */
void children_stop(struct warden *w);
void children_kill(struct warden *w); /* at once, and waits for them */
void children_reap(struct warden *w);
/* A worker that does not take what it has to know is of no use: it is killed and replaced. */
void child_give_up(struct child *c, const char *why);
/* Each worker ends its sessions and is started again with the policy at hand. */
void children_renew(struct warden *w);

/* warden_watch.c: cgroups and what happens in them. */
int watch_start(struct warden *w);
void watch_done(struct warden *w);
/* Take in what the kernel side has told by now. */
void watch_drain(struct warden *w);
/* Everything there is, and no more: after the start, and when events were lost. */
int watch_rescan(struct warden *w);
/* Govern a cgroup; -ENOENT when no workload matches it. *ret_cgroup lives until the next change
 * of the table. */
int watch_enrol(struct warden *w, const char *path, uint64_t id, struct governed **ret_cgroup);
struct governed *watch_find(struct warden *w, uint64_t id);
/* The same, enrolled now if it was missed. NULL: no workload matches it, or it is gone. pid: of
 * what runs in it, for the event that tells so; 0: nothing known. */
struct governed *watch_governed(struct warden *w, uint64_t id, int pid);
void watch_forget(struct warden *w, uint64_t id);
/* Workload of a cgroup by its path: its own match, or that of the nearest cgroup above it within
 * the scope. NO_WORKLOAD: none. */
uint16_t watch_workload(const struct warden *w, const char *path);
/* Is the path that of a scope or below one? */
bool watch_in_scope(const struct warden *w, const char *path);

/* warden_netns.c: listeners in the namespaces of governed processes. */
int netns_open_for(struct warden *w, struct governed *g, int pid, int tid);
void netns_hand_out(struct warden *w);
void netns_worker_gone(struct warden *w, unsigned index);
/* Close those that no governed process is in any more: soon, not now. */
void netns_sweep_soon(struct warden *w);
struct netns *netns_by_inode(struct warden *w, uint64_t inode);
/* Is it the node's own, in which containers begin before they have one of theirs? */
bool netns_is_nodes(const struct warden *w, uint64_t inode);
void netns_close_all(struct warden *w);

/* warden_resolve.c: who a process is, its workload and its token. */
int resolve_start(struct warden *w);
void resolve_done(struct warden *w);
void resolve_note_exec(struct warden *w, const struct sluice_origin *who);
void resolve_answer(struct warden *w, struct child *worker, struct span payload);

/* warden_events.c: events of the node, kept until the recorder has them. */
int events_start(struct warden *w);
void events_done(struct warden *w);
void events_acked(struct warden *w, struct span payload);
void events_resend(struct warden *w); /* to a new recorder */
bool events_all_acked(const struct warden *w);
void event_node_start(struct warden *w, const char *cause);
void event_node_stop(struct warden *w);
void event_worker_lost(struct warden *w, const struct child *c, int wait_status);
void event_container(struct warden *w, enum event_kind kind, const struct netns *n, int pid);
void event_unknown_cgroup(struct warden *w, const struct governed *g, int pid);
void event_refused(struct warden *w, const struct sluice_kevent *e);
void events_tick(struct warden *w); /* with the heartbeat: counts of what was not told singly */

/* control.c */
int control_start(struct warden *w);
void control_done(struct warden *w);
void control_approval_list(struct warden *w, struct span payload);
void control_approval_decided(struct warden *w, struct span payload);
void control_role_status(struct warden *w);
void control_recorder_lost(struct warden *w);

#endif
