#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "io/loop.h"

static struct loop *the_loop;
static int order[64];
static size_t n_order;

static int set_up(void **state)
{
	(void)state;
	n_order = 0;
	return loop_new(&the_loop);
}

static int tear_down(void **state)
{
	(void)state;
	loop_free(the_loop);
	return 0;
}

struct numbered {
	struct timer timer;
	struct deferred deferred;
	int number;
};

static void on_timer(struct timer *t)
{
	order[n_order++] = OWNER_OF(t, struct numbered, timer)->number;
}

static void on_last_timer(struct timer *t)
{
	on_timer(t);
	loop_stop(the_loop, 7);
}

static void test_timers_run_in_order(void **state)
{
	static const uint64_t after[] = {9, 3, 12, 1, 6, 3, 15, 0};
	struct numbered n[ARRAY_SIZE(after)] = {0};
	struct numbered last = {.number = 100};
	uint64_t start = now_ns();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		n[i].number = (int)after[i];
		assert_int_equal(timer_set(the_loop, &n[i].timer, after[i], on_timer), 0);
	}
	assert_int_equal(timer_set(the_loop, &last.timer, 20, on_last_timer), 0);
	timer_del(the_loop, &n[4].timer);
	timer_del(the_loop, &n[4].timer);
	assert_int_equal(loop_run(the_loop), 7);
	assert_true(now_ns() - start >= 20 * 1000000u);
	assert_int_equal(n_order, 8);
	for (size_t i = 1; i < n_order; i++)
		assert_true(order[i - 1] <= order[i]);
	assert_int_equal(order[n_order - 1], 100);
	for (size_t i = 0; i < n_order; i++)
		assert_int_not_equal(order[i], 6);
}

/* Many timers, set, moved and removed at random: what is left comes out by due time. */
static void test_timer_heap_keeps_order(void **state)
{
	enum { MANY = 500 };
	static struct numbered n[MANY];
	uint64_t last = 0;
	unsigned seed = 12345;

	(void)state;
	memset(n, 0, sizeof(n));
	for (int round = 0; round < 4 * MANY; round++) {
		struct numbered *one = &n[rand_r(&seed) % MANY];

		if (rand_r(&seed) % 3 == 0)
			timer_del(the_loop, &one->timer);
		else
			assert_int_equal(timer_set(the_loop, &one->timer,
						   (uint64_t)(rand_r(&seed) % 100000), on_timer),
					 0);
	}
	for (;;) {
		struct numbered *first = NULL;

		for (int i = 0; i < MANY; i++)
			if (n[i].timer.slot == 1)
				first = &n[i];
		if (!first)
			break;
		assert_true(first->timer.due_ns >= last);
		last = first->timer.due_ns;
		timer_del(the_loop, &first->timer);
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(n[i].timer.slot, 0);
}

static void test_absurd_wait_is_not_the_past(void **state)
{
	struct numbered far = {.number = 1};
	struct numbered soon = {.number = 2};

	(void)state;
	assert_int_equal(timer_set(the_loop, &far.timer, UINT64_MAX, on_timer), 0);
	assert_int_equal(timer_set(the_loop, &soon.timer, 1, on_last_timer), 0);
	assert_int_equal(loop_run(the_loop), 7);
	assert_int_equal(n_order, 1);
	assert_int_equal(order[0], 2);
	timer_del(the_loop, &far.timer);
}

static void on_deferred(struct deferred *d)
{
	order[n_order++] = OWNER_OF(d, struct numbered, deferred)->number;
}

static struct numbered again;

static void on_deferred_again(struct deferred *d)
{
	on_deferred(d);
	if (n_order < 10)
		defer(the_loop, &again.deferred, on_deferred_again);
	else
		loop_stop(the_loop, 0);
}

static void test_deferred(void **state)
{
	struct numbered a = {.number = 1};
	struct numbered b = {.number = 2};
	struct numbered c = {.number = 3};

	(void)state;
	again = (struct numbered){.number = 4};
	defer(the_loop, &a.deferred, on_deferred);
	defer(the_loop, &b.deferred, on_deferred);
	defer(the_loop, &c.deferred, on_deferred);
	defer(the_loop, &a.deferred, on_deferred); /* still once */
	defer_cancel(the_loop, &c.deferred);
	defer_cancel(the_loop, &c.deferred);
	defer(the_loop, &again.deferred, on_deferred_again);
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(n_order, 10);
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 2);
	for (size_t i = 2; i < 10; i++)
		assert_int_equal(order[i], 4);
}

static struct numbered canceller;
static struct numbered cancelled;

static void on_cancel(struct deferred *d)
{
	on_deferred(d);
	defer_cancel(the_loop, &cancelled.deferred);
	loop_stop(the_loop, 0);
}

/* One that is about to run in the same turn can still be taken back. */
static void test_deferred_cancelled_by_another(void **state)
{
	(void)state;
	canceller = (struct numbered){.number = 1};
	cancelled = (struct numbered){.number = 2};
	defer(the_loop, &canceller.deferred, on_cancel);
	defer(the_loop, &cancelled.deferred, on_deferred);
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(n_order, 1);
	assert_false(cancelled.deferred.queued);
}

static struct watch watches[2];
static int ready[2];

/* Removes both watches; the other must not be called although it was ready in the same batch. */
static void on_ready_remove(struct watch *w, uint32_t events)
{
	ready[w - watches]++;
	assert_true(events & EPOLLIN);
	watch_del(the_loop, &watches[0]);
	watch_del(the_loop, &watches[1]);
	loop_stop(the_loop, 0);
}

static void quiet(struct timer *t)
{
	(void)t;
	loop_stop(the_loop, 0);
}

static void test_handler_removes_others(void **state)
{
	int fds[2][2];
	struct timer stop = {0};

	(void)state;
	memset(watches, 0, sizeof(watches));
	memset(ready, 0, sizeof(ready));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
		assert_int_equal(write(fds[i][1], "x", 1), 1);
		assert_int_equal(
			watch_add(the_loop, &watches[i], fds[i][0], EPOLLIN, on_ready_remove), 0);
		assert_int_equal(
			watch_add(the_loop, &watches[i], fds[i][0], EPOLLIN, on_ready_remove),
			-EBUSY);
	}
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(timer_set(the_loop, &stop, 5, quiet), 0);
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(ready[0] + ready[1], 1);
	for (int i = 0; i < 2; i++) {
		(void)close(fds[i][0]);
		(void)close(fds[i][1]);
	}
}

static uint32_t seen;

static void on_ready_note(struct watch *w, uint32_t events)
{
	(void)w;
	seen |= events;
	loop_stop(the_loop, 0);
}

static void test_watch_set(void **state)
{
	struct watch w = {0};
	struct timer stop = {0};
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(watch_set(the_loop, &w, EPOLLIN), -ENOENT);
	assert_int_equal(watch_add(the_loop, &w, fds[0], EPOLLIN | EPOLLEXCLUSIVE, on_ready_note),
			 0);
	seen = 0;
	assert_int_equal(timer_set(the_loop, &stop, 5, quiet), 0);
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(seen, 0);
	assert_int_equal(watch_set(the_loop, &w, EPOLLOUT), 0);
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(seen, EPOLLOUT);
	seen = 0;
	assert_int_equal(watch_set(the_loop, &w, EPOLLIN | EPOLLEXCLUSIVE), 0);
	(void)close(fds[1]);
	assert_int_equal(loop_run(the_loop), 0);
	assert_true(seen & EPOLLHUP);
	watch_del(the_loop, &w);
	(void)close(fds[0]);
}

/* A stop that comes before the loop runs is not lost, and counts once. */
static void test_stop_before_run(void **state)
{
	struct numbered n = {.number = 1};

	(void)state;
	loop_stop(the_loop, 3);
	assert_int_equal(loop_run(the_loop), 3);
	assert_int_equal(timer_set(the_loop, &n.timer, 1, on_last_timer), 0);
	assert_int_equal(loop_run(the_loop), 7);
	assert_int_equal(n_order, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timers_run_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_timer_heap_keeps_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_absurd_wait_is_not_the_past, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_deferred, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_deferred_cancelled_by_another, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_handler_removes_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_watch_set, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop_before_run, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
