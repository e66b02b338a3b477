#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>

#include "ipc/chan.h"

static struct loop *the_loop;
static struct chan *a;
static struct chan *b;

struct seen {
	size_t msgs;
	size_t fds;
	size_t bytes;
	uint16_t last_type;
	uint8_t last_byte;
	int kept_fd;
	int closed; /* times */
	int error;
	int drained;
	size_t stop_after; /* messages; 0: no */
	bool free_at_msg;
	bool in_order;
	uint32_t next;
};

static struct seen seen_a;
static struct seen seen_b;

static void on_msg(void *ctx, struct chan *c, struct chan_msg *msg)
{
	struct seen *s = ctx;

	s->msgs++;
	s->fds += msg->n_fds;
	s->bytes += msg->payload.len;
	s->last_type = msg->type;
	if (msg->payload.len > 0)
		s->last_byte = msg->payload.p[msg->payload.len - 1];
	if (msg->payload.len >= 4) {
		uint32_t n;

		memcpy(&n, msg->payload.p, 4);
		if (n != s->next)
			s->in_order = false;
		s->next = n + 1;
	}
	if (msg->n_fds > 0 && s->kept_fd < 0)
		s->kept_fd = TAKE_FD(msg->fds[0]);
	if (s->free_at_msg) {
		chan_free(c);
		b = NULL;
		loop_stop(the_loop, 0);
	} else if (s->msgs == s->stop_after) {
		loop_stop(the_loop, 0);
	}
}

static void on_closed(void *ctx, struct chan *c, int error)
{
	struct seen *s = ctx;

	(void)c;
	s->closed++;
	s->error = error;
	loop_stop(the_loop, 0);
}

static void on_drained(void *ctx, struct chan *c)
{
	struct seen *s = ctx;

	assert_int_equal(chan_queued(c), 0);
	s->drained++;
}

static const struct chan_events events = {
	.on_msg = on_msg, .on_closed = on_closed, .on_drained = on_drained};

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	seen_a = seen_b = (struct seen){.kept_fd = -1, .in_order = true};
	assert_int_equal(loop_new(&the_loop), 0);
	assert_int_equal(chan_pair(fds), 0);
	assert_int_equal(chan_new(the_loop, fds[0], &events, &seen_a, &a), 0);
	assert_int_equal(chan_new(the_loop, fds[1], &events, &seen_b, &b), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	chan_free(a);
	chan_free(b);
	a = b = NULL;
	loop_free(the_loop);
	closep(&seen_a.kept_fd);
	closep(&seen_b.kept_fd);
	return 0;
}

static void stop(struct timer *t)
{
	(void)t;
	loop_stop(the_loop, 0);
}

static void run_for(uint64_t ms)
{
	struct timer t = {0};

	assert_int_equal(timer_set(the_loop, &t, ms, stop), 0);
	assert_int_equal(loop_run(the_loop), 0);
	timer_del(the_loop, &t);
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			n++;
	return n;
}

static void test_messages_keep_their_edges(void **state)
{
	static uint8_t big[CHAN_MSG_MAX + 1];

	(void)state;
	memset(big, 0x5a, sizeof(big));
	assert_int_equal(chan_send(a, 7, (struct span){0}, NULL, 0), 0);
	assert_int_equal(chan_send(a, 0xffff, span_of(big, CHAN_MSG_MAX), NULL, 0), 0);
	assert_int_equal(chan_send(a, 8, span_of(big, CHAN_MSG_MAX + 1), NULL, 0), -EMSGSIZE);
	seen_b.stop_after = 2;
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(seen_b.msgs, 2);
	assert_int_equal(seen_b.bytes, CHAN_MSG_MAX);
	assert_int_equal(seen_b.last_type, 0xffff);
	assert_int_equal(seen_b.last_byte, 0x5a);
}

static void test_fds_arrive_and_do_not_leak(void **state)
{
	size_t before;
	int pipes[2];
	int fds[CHAN_FDS_MAX + 1];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	before = open_fds();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = pipes[1];
	assert_int_equal(chan_send(a, 1, span_str("x"), fds, CHAN_FDS_MAX + 1), -EMSGSIZE);
	assert_int_equal(chan_send(a, 1, span_str("x"), fds, CHAN_FDS_MAX), 0);
	seen_b.stop_after = 1;
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(seen_b.fds, CHAN_FDS_MAX);
	/* One was taken, the rest are closed. */
	assert_int_equal(open_fds(), before + 1);
	assert_int_equal(write(seen_b.kept_fd, "y", 1), 1);
	assert_true(fcntl(seen_b.kept_fd, F_GETFD) & FD_CLOEXEC);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

/* More than the socket takes waits in the queue, is bounded, keeps its order and its fds. */
static void test_queue_is_bounded_and_drains(void **state)
{
	static uint8_t payload[60000];
	size_t sent = 0;
	size_t before;
	int r;

	(void)state;
	before = open_fds();
	for (;;) {
		uint32_t n = (uint32_t)sent;
		bool with_fd = sent % 16 == 0;
		int fd = STDIN_FILENO;

		memcpy(payload, &n, 4);
		r = chan_send(a, 3, span_of(payload, sizeof(payload)), &fd, with_fd);
		if (r < 0)
			break;
		assert_true(++sent < 1000);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_true(chan_queued(a) > CHAN_QUEUE_MAX - 2 * sizeof(payload));
	assert_true(chan_queued(a) <= CHAN_QUEUE_MAX);
	seen_b.stop_after = sent;
	assert_int_equal(loop_run(the_loop), 0);
	run_for(5);
	assert_int_equal(seen_b.msgs, sent);
	assert_true(seen_b.in_order);
	assert_int_equal(seen_b.fds, (sent + 15) / 16);
	assert_int_equal(seen_a.drained, 1);
	assert_int_equal(chan_queued(a), 0);
	assert_int_equal(open_fds(), before + 1);
	/* And it takes more. */
	assert_int_equal(chan_send(a, 3, span_str("more"), NULL, 0), 0);
	run_for(5);
	assert_int_equal(seen_b.msgs, sent + 1);
}

static void test_too_many_queued_fds(void **state)
{
	static uint8_t payload[CHAN_MSG_MAX];
	size_t queued = 0;
	int fd = STDIN_FILENO;
	int r;

	(void)state;
	while (chan_queued(a) == 0)
		assert_int_equal(chan_send(a, 3, span_of(payload, sizeof(payload)), NULL, 0), 0);
	while ((r = chan_send(a, 3, span_str("x"), &fd, 1)) == 0)
		assert_true(++queued <= CHAN_QUEUE_FDS_MAX);
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(queued, CHAN_QUEUE_FDS_MAX);
	run_for(20);
	assert_int_equal(seen_b.fds, CHAN_QUEUE_FDS_MAX);
}

/* What was sent before the sender went is still delivered, then the end is told once. */
static void test_last_words_then_closed(void **state)
{
	(void)state;
	assert_int_equal(chan_send(b, 9, span_str("unread by a"), NULL, 0), 0);
	assert_int_equal(chan_send(a, 5, span_str("one"), NULL, 0), 0);
	assert_int_equal(chan_send(a, 6, span_str("two"), NULL, 0), 0);
	chan_free(a);
	a = NULL;
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(seen_b.msgs, 2);
	assert_int_equal(seen_b.last_type, 6);
	assert_int_equal(seen_b.closed, 1);
	assert_int_equal(seen_b.error, 0);
	assert_int_equal(chan_send(b, 1, span_str("x"), NULL, 0), -EPIPE);
	run_for(5);
	assert_int_equal(seen_b.closed, 1);
}

static void test_freed_in_handler(void **state)
{
	(void)state;
	seen_b.free_at_msg = true;
	assert_int_equal(chan_send(a, 1, span_str("x"), NULL, 0), 0);
	assert_int_equal(chan_send(a, 1, span_str("y"), NULL, 0), 0);
	assert_int_equal(loop_run(the_loop), 0);
	assert_null(b);
	assert_int_equal(seen_b.msgs, 1);
	assert_int_equal(loop_run(the_loop), 0);
	assert_int_equal(seen_a.closed, 1);
}

/* Bytes that chan_send never writes: too short for a type, longer than any message. */
static void test_foreign_bytes_break_it(void **state)
{
	static uint8_t huge[CHAN_MSG_MAX + 3];
	struct span bad[] = {span_of(huge, 1), span_of(huge, sizeof(huge))};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (i > 0) {
			tear_down(state);
			set_up(state);
		}
		assert_int_equal(send(chan_fd(a), bad[i].p, bad[i].len, 0), (ssize_t)bad[i].len);
		assert_int_equal(loop_run(the_loop), 0);
		assert_int_equal(seen_b.msgs, 0);
		assert_int_equal(seen_b.closed, 1);
		assert_int_equal(seen_b.error, -EBADMSG);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages_keep_their_edges),	TEST(test_fds_arrive_and_do_not_leak),
		TEST(test_queue_is_bounded_and_drains), TEST(test_too_many_queued_fds),
		TEST(test_last_words_then_closed),	TEST(test_freed_in_handler),
		TEST(test_foreign_bytes_break_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
