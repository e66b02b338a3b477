/* loop.h - one epoll loop a process: descriptors, timers, deferred calls.
 * Used by: roles/, session/.
 * Promises: single-threaded; a handler may remove any watch, its own too; no allocation after add.
 */
#ifndef SLUICE_IO_LOOP_H
#define SLUICE_IO_LOOP_H

#include "base/macro.h"

struct loop;

/* An fd that is watched. Embedded in its owner; zeroed before first use. */
struct watch {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT, EPOLLRDHUP … */
	void (*on_ready)(struct watch *w, uint32_t events);
	bool active;
};

/* One shot. Embedded in its owner; zeroed before first use. */
struct timer {
	uint64_t due_ns; /* monotonic */
	void (*on_due)(struct timer *t);
	size_t slot; /* position in the heap + 1; 0: not set */
};

/* Runs once before the loop waits again. Embedded in its owner; zeroed before first use. */
struct deferred {
	void (*run)(struct deferred *d);
	struct deferred *next;
	bool queued;
};

int loop_new(struct loop **ret_loop);
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free, loop_freep)

/* Level-triggered. events may hold EPOLLEXCLUSIVE (then only EPOLLIN and EPOLLOUT beside it).
 * on_ready may see EPOLLERR and EPOLLHUP unasked. -EBUSY when it is watched already. */
int watch_add(struct loop *loop, struct watch *w, int fd, uint32_t events,
	      void (*on_ready)(struct watch *w, uint32_t events));
int watch_set(struct loop *loop, struct watch *w, uint32_t events);
/* Stop watching; the fd stays open. Nothing when it is not active. */
void watch_del(struct loop *loop, struct watch *w);

/* (Re)arm: after_ms from now. Growing the heap may fail: -ENOMEM. */
int timer_set(struct loop *loop, struct timer *t, uint64_t after_ms,
	      void (*on_due)(struct timer *t));
void timer_del(struct loop *loop, struct timer *t);

/* Run it once before the loop waits; asked for again while it is queued: still once. What a run
 * defers in turn comes after the next look at the descriptors. */
void defer(struct loop *loop, struct deferred *d, void (*run)(struct deferred *d));
void defer_cancel(struct loop *loop, struct deferred *d);

/* Until loop_stop(), which may come before too; returns what it was given, or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int result);

/* Monotonic clock, ns. */
uint64_t now_ns(void);
/* Wall clock, ns since 1970. */
uint64_t wall_ns(void);

/* container_of for the structs above. */
#define OWNER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
