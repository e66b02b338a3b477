#include "io/loop.h"

#include <limits.h>
#include <sys/epoll.h>
#include <time.h>

#define EVENTS_MAX	64
#define TIMERS_INITIAL	64
#define NS_PER_MS	1000000u
#define NS_PER_S	1000000000u
#define TIMERS_PER_TURN 256 /* so that timers which re-arm at once do not starve descriptors */

struct loop {
	int epoll_fd;
	/* Binary heap by due time; timer.slot is the index + 1. */
	struct timer **timers;
	size_t n_timers;
	size_t cap_timers;
	struct deferred *queued; /* in the order they were asked for */
	struct deferred **queued_end;
	struct deferred *running; /* those of this turn that have not run yet */
	bool stopped;
	int result;
	/* The batch being handed out: entries of a watch that is removed meanwhile become NULL. */
	int n_events;
	int next_event;
	struct epoll_event events[EVENTS_MAX];
};

uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t wall_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int loop_new(struct loop **ret_loop)
{
	_cleanup_(loop_freep) struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->queued_end = &loop->queued;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->timers = calloc(TIMERS_INITIAL, sizeof(*loop->timers));
	if (!loop->timers)
		return -ENOMEM;
	loop->cap_timers = TIMERS_INITIAL;
	*ret_loop = TAKE_PTR(loop);
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	closep(&loop->epoll_fd);
	free(loop->timers);
	free(loop);
}

static int control(struct loop *loop, int op, struct watch *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	return epoll_ctl(loop->epoll_fd, op, w->fd, &e) < 0 ? -errno : 0;
}

int watch_add(struct loop *loop, struct watch *w, int fd, uint32_t events,
	      void (*on_ready)(struct watch *w, uint32_t events))
{
	int r;

	if (w->active)
		return -EBUSY;
	w->fd = fd;
	r = control(loop, EPOLL_CTL_ADD, w, events);
	if (r < 0)
		return r;
	w->events = events;
	w->on_ready = on_ready;
	w->active = true;
	return 0;
}

/* What the batch at hand still holds for it is not delivered any more. */
static void forget_events(struct loop *loop, const struct watch *w)
{
	for (int i = loop->next_event; i < loop->n_events; i++)
		if (loop->events[i].data.ptr == w)
			loop->events[i].data.ptr = NULL;
}

int watch_set(struct loop *loop, struct watch *w, uint32_t events)
{
	int r;

	if (!w->active)
		return -ENOENT;
	if (w->events == events)
		return 0;
	if (!((w->events | events) & EPOLLEXCLUSIVE)) {
		r = control(loop, EPOLL_CTL_MOD, w, events);
		if (r < 0)
			return r;
		w->events = events;
		return 0;
	}
	/* The kernel modifies no exclusive registration (epoll_ctl(2)): take it out and in. */
	watch_del(loop, w);
	return watch_add(loop, w, w->fd, events, w->on_ready);
}

void watch_del(struct loop *loop, struct watch *w)
{
	if (!w->active)
		return;
	(void)control(loop, EPOLL_CTL_DEL, w, 0);
	w->active = false;
	forget_events(loop, w);
}

static void heap_place(struct loop *loop, size_t i, struct timer *t)
{
	loop->timers[i] = t;
	t->slot = i + 1;
}

static void heap_up(struct loop *loop, size_t i, struct timer *t)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (loop->timers[parent]->due_ns <= t->due_ns)
			break;
		heap_place(loop, i, loop->timers[parent]);
		i = parent;
	}
	heap_place(loop, i, t);
}

static void heap_down(struct loop *loop, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= loop->n_timers)
			break;
		if (child + 1 < loop->n_timers &&
		    loop->timers[child + 1]->due_ns < loop->timers[child]->due_ns)
			child++;
		if (t->due_ns <= loop->timers[child]->due_ns)
			break;
		heap_place(loop, i, loop->timers[child]);
		i = child;
	}
	heap_place(loop, i, t);
}

static int heap_grow(struct loop *loop)
{
	struct timer **timers;
	size_t cap;

	if (loop->n_timers < loop->cap_timers)
		return 0;
	cap = loop->cap_timers * 2;
	timers = reallocarray(loop->timers, cap, sizeof(*timers));
	if (!timers)
		return -ENOMEM;
	loop->timers = timers;
	loop->cap_timers = cap;
	return 0;
}

int timer_set(struct loop *loop, struct timer *t, uint64_t after_ms,
	      void (*on_due)(struct timer *t))
{
	uint64_t now = now_ns();
	uint64_t wait;
	int r;

	/* An absurd wait is for ever, not the past. */
	if (__builtin_mul_overflow(after_ms, (uint64_t)NS_PER_MS, &wait) || wait > UINT64_MAX - now)
		wait = UINT64_MAX - now;
	if (t->slot == 0) {
		r = heap_grow(loop);
		if (r < 0)
			return r;
	} else {
		timer_del(loop, t);
	}
	t->on_due = on_due;
	t->due_ns = now + wait;
	loop->n_timers++;
	heap_up(loop, loop->n_timers - 1, t);
	return 0;
}

void timer_del(struct loop *loop, struct timer *t)
{
	struct timer *last;
	size_t i;

	if (t->slot == 0)
		return;
	i = t->slot - 1;
	t->slot = 0;
	last = loop->timers[--loop->n_timers];
	if (last == t)
		return;
	if (i > 0 && loop->timers[(i - 1) / 2]->due_ns > last->due_ns)
		heap_up(loop, i, last);
	else
		heap_down(loop, i, last);
}

void defer(struct loop *loop, struct deferred *d, void (*run)(struct deferred *d))
{
	d->run = run;
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	*loop->queued_end = d;
	loop->queued_end = &d->next;
}

static bool unlink_from(struct deferred **list, struct deferred *d)
{
	for (struct deferred **p = list; *p; p = &(*p)->next) {
		if (*p != d)
			continue;
		*p = d->next;
		return true;
	}
	return false;
}

void defer_cancel(struct loop *loop, struct deferred *d)
{
	if (!d->queued)
		return;
	d->queued = false;
	if (unlink_from(&loop->running, d) || !unlink_from(&loop->queued, d))
		return;
	loop->queued_end = &loop->queued;
	while (*loop->queued_end)
		loop->queued_end = &(*loop->queued_end)->next;
}

/* Those queued by now; what they queue in turn comes after the next look at the descriptors. */
static void run_deferred(struct loop *loop)
{
	/* Some may be left of a turn that loop_stop() ended. */
	if (!loop->running) {
		loop->running = loop->queued;
		loop->queued = NULL;
		loop->queued_end = &loop->queued;
	}
	while (loop->running && !loop->stopped) {
		struct deferred *d = loop->running;

		loop->running = d->next;
		d->queued = false;
		d->run(d);
	}
}

static void run_timers(struct loop *loop)
{
	uint64_t now = now_ns();

	for (unsigned i = 0; i < TIMERS_PER_TURN && loop->n_timers > 0 && !loop->stopped; i++) {
		struct timer *t = loop->timers[0];

		if (t->due_ns > now)
			break;
		timer_del(loop, t);
		t->on_due(t);
	}
}

static int wait_ms(const struct loop *loop)
{
	uint64_t now;
	uint64_t ms;

	if (loop->queued || loop->running)
		return 0;
	if (loop->n_timers == 0)
		return -1;
	now = now_ns();
	if (loop->timers[0]->due_ns <= now)
		return 0;
	/* Rounded up: waking early would spin until the timer is due. */
	ms = (loop->timers[0]->due_ns - now - 1) / NS_PER_MS + 1;
	return (int)MIN(ms, (uint64_t)INT_MAX);
}

static int run_events(struct loop *loop)
{
	int n = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, wait_ms(loop));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->n_events = n;
	loop->next_event = 0;
	while (loop->next_event < loop->n_events && !loop->stopped) {
		struct epoll_event *e = &loop->events[loop->next_event++];
		struct watch *w = e->data.ptr;

		if (w)
			w->on_ready(w, e->events);
	}
	loop->n_events = 0;
	return 0;
}

int loop_run(struct loop *loop)
{
	int r;

	while (!loop->stopped) {
		run_deferred(loop);
		if (!loop->stopped)
			run_timers(loop);
		if (loop->stopped)
			break;
		r = run_events(loop);
		if (r < 0)
			return r;
	}
	loop->stopped = false;
	return loop->result;
}

void loop_stop(struct loop *loop, int result)
{
	loop->stopped = true;
	loop->result = result;
}
