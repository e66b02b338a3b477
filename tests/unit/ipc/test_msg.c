#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ipc/msg.h"

/* Every message: written, read, written again gives the same bytes (nothing lost); cut at each
 * byte, or with one byte more, it is refused. */

static struct arena arena = ARENA_INIT(1 << 20);

static const struct process caller = {
	.key = {.tgid = 1234, .self_exec_id = 7, .start_boottime = 0x1122334455667788},
	.ppid = 99,
	.uid = 1000,
	.gid = 1001,
	.comm = "psql",
	.exe_ino = 0xaabbccddee,
	.exe_dev = 0x800001,
	.cgroup_id = 4242,
	.netns_cookie = 4026531840,
};

static struct process whole_caller(void)
{
	struct process p = caller;

	p.has_proc = true;
	p.exe = "/usr/bin/psql";
	p.args = "psql -h db \x01\xff";
	p.cgroup = "/sluice/support-1";
	p.container = NULL;
	p.has_sha256 = true;
	memset(p.exe_sha256, 0xab, SHA256_LEN);
	p.n_ancestors = 2;
	p.ancestors[0] = (struct ancestor){.pid = 99, .exe = "/bin/sh", .has_sha256 = true};
	memset(p.ancestors[0].exe_sha256, 0xcd, SHA256_LEN);
	p.ancestors[1] = (struct ancestor){.pid = 1};
	return p;
}

typedef int (*reread)(struct span in, struct buf *out);

#define REREAD(name)                                              \
	static int reread_##name(struct span in, struct buf *out) \
	{                                                         \
		struct msg_##name m;                              \
		int r = msg_get_##name(in, &m);                   \
                                                                  \
		return r < 0 ? r : msg_put_##name(out, &m);       \
	}

REREAD(resolve)
REREAD(cancel)
REREAD(listener)
REREAD(event_ack)
REREAD(approval_ask)
REREAD(approval_state)
REREAD(approval_ref)
REREAD(approval_decide)
REREAD(approval_decided)
REREAD(worker_add)
REREAD(approval_list_get)
REREAD(approval_list)
REREAD(tls_identity)

static int reread_event(struct span in, struct buf *out)
{
	struct msg_event m;
	int r = in.len > 0 ? 0 : -EBADMSG;

	while (r == 0) {
		r = msg_next_event(&in, &m);
		if (r == 0)
			r = msg_put_event(out, &m);
	}
	return r == -ENODATA ? 0 : r;
}

static int reread_resolved(struct span in, struct buf *out)
{
	struct msg_resolved m;
	int r = msg_get_resolved(in, &arena, &m);

	return r < 0 ? r : msg_put_resolved(out, &m);
}

/* The input is copied to its exact size, so that ASan sees any read past it. */
static int reread_exact(reread f, struct span in, struct buf *out)
{
	uint8_t *copy = malloc(in.len > 0 ? in.len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, in.p, in.len);
	r = f(span_of(copy, in.len), out);
	free(copy);
	arena_reset(&arena);
	return r;
}

static void check(struct buf *written, reread f)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1 << 18);
	struct span in = buf_span(written);

	assert_int_equal(buf_error(written), 0);
	assert_int_equal(reread_exact(f, in, &out), 0);
	assert_true(span_eq(in, buf_span(&out)));
	for (size_t n = 0; n < in.len; n++)
		assert_int_equal(reread_exact(f, span_head(in, n), &out), -EBADMSG);
	buf_put_u8(written, 0);
	assert_int_equal(reread_exact(f, buf_span(written), &out), -EBADMSG);
	buf_reset(written);
}

static void test_round_trips(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 18);
	_cleanup_buf_ struct buf again = BUF_INIT(1 << 18);
	struct msg_approval_ask ask = {.request = 5,
				       .wait_s = 300,
				       .valid_s = 600,
				       .groups = span_of("dba\0ops", 8),
				       .body = span_str("{\"a\":1}")};

	(void)state;
	memset(ask.digest, 0x77, sizeof(ask.digest));
	msg_put_resolve(&b, &(struct msg_resolve){.request = 3, .process = caller});
	check(&b, reread_resolve);
	msg_put_resolved(&b, &(struct msg_resolved){.request = 3,
						    .status = RESOLVE_OK,
						    .workload = 2,
						    .process = whole_caller(),
						    .token_source = TOKEN_SOURCE_FILE,
						    .token = span_str("a.b.c")});
	check(&b, reread_resolved);
	msg_put_resolved(&b, &(struct msg_resolved){.request = 4,
						    .status = RESOLVE_GONE,
						    .process = caller,
						    .token_source = TOKEN_SOURCE_FAILED,
						    .token_errno = -EACCES});
	check(&b, reread_resolved);
	msg_put_cancel(&b, &(struct msg_cancel){1, 0xdeadbeef, 3, 4});
	check(&b, reread_cancel);
	msg_put_listener(&b, &(struct msg_listener){.netns_cookie = 9, .has6 = true});
	check(&b, reread_listener);
	msg_put_event(&b, &(struct msg_event){.request = 1,
					      .kind = EVENT_OP,
					      .durable = true,
					      .body = span_str("{}")});
	check(&b, reread_event);
	for (uint64_t i = 1; i <= 3; i++)
		msg_put_event(&b, &(struct msg_event){
					  .request = i, .kind = EVENT_OP, .body = span_str("{}")});
	assert_int_equal(buf_len(&b), 3 * (MSG_EVENT_EXTRA + 2));
	assert_int_equal(reread_exact(reread_event, buf_span(&b), &again), 0);
	assert_true(span_eq(buf_span(&b), buf_span(&again)));
	assert_int_equal(
		reread_exact(reread_event, span_head(buf_span(&b), buf_len(&b) - 1), &again),
		-EBADMSG);
	buf_reset(&b);
	msg_put_event_ack(&b, &(struct msg_event_ack){.request = 1, .error = -ENOSPC, .seq = 8});
	check(&b, reread_event_ack);
	msg_put_approval_ask(&b, &ask);
	check(&b, reread_approval_ask);
	msg_put_approval_state(&b, &(struct msg_approval_state){.request = 1,
								.id = "a-1",
								.state = APPROVAL_DENIED,
								.by = span_str("anna"),
								.why = span_str("no")});
	check(&b, reread_approval_state);
	msg_put_approval_ref(&b, &(struct msg_approval_ref){.request = 1, .id = "a-1"});
	check(&b, reread_approval_ref);
	msg_put_approval_decide(&b, &(struct msg_approval_decide){.request = 1,
								  .id = "a-1",
								  .approve = true,
								  .by = span_str("anna"),
								  .groups = span_of("dba", 4),
								  .digest = span_str("00ff"),
								  .reason = span_str("ok")});
	check(&b, reread_approval_decide);
	msg_put_approval_decided(
		&b, &(struct msg_approval_decided){.request = 1, .text = span_str("gone")});
	check(&b, reread_approval_decided);
	msg_put_worker_add(&b, &(struct msg_worker_add){.index = 3});
	check(&b, reread_worker_add);
	msg_put_approval_list_get(&b, &(struct msg_approval_list_get){.request = 2, .id = "a-9"});
	check(&b, reread_approval_list_get);
	msg_put_approval_list(&b,
			      &(struct msg_approval_list){.request = 2, .body = span_str("[]")});
	check(&b, reread_approval_list);
	msg_put_tls_identity(&b, &(struct msg_tls_identity){.resource = 3,
							    .cert_pem = span_str("cert"),
							    .key_pem = span_str("key")});
	check(&b, reread_tls_identity);
	arena_done(&arena);
}

static void test_fields_arrive(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 16);
	_cleanup_arena_ struct arena mine = ARENA_INIT(1 << 16);
	struct process p = whole_caller();
	struct msg_resolved m;

	(void)state;
	msg_put_resolved(&b, &(struct msg_resolved){.request = 3,
						    .status = RESOLVE_OK,
						    .workload = 513,
						    .process = p,
						    .token_source = TOKEN_SOURCE_FILE,
						    .token_errno = -5,
						    .token = span_str("a.b.c")});
	assert_int_equal(msg_get_resolved(buf_span(&b), &mine, &m), 0);
	buf_done(&b); /* nothing in m may point into it */
	assert_int_equal(m.workload, 513);
	assert_int_equal(m.token_errno, -5);
	assert_true(span_eq_str(m.token, "a.b.c"));
	assert_int_equal(m.process.key.start_boottime, p.key.start_boottime);
	assert_int_equal(m.process.netns_cookie, p.netns_cookie);
	assert_string_equal(m.process.args, p.args);
	assert_null(m.process.container);
	assert_memory_equal(m.process.exe_sha256, p.exe_sha256, SHA256_LEN);
	assert_int_equal(m.process.n_ancestors, 2);
	assert_string_equal(m.process.ancestors[0].exe, "/bin/sh");
	assert_null(m.process.ancestors[1].exe);
}

/* Change one byte of a valid message to each of some values: refused, and the output untouched. */
static void test_values_out_of_range(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 16);
	struct msg_event e = {.kind = EVENT_OP};
	struct msg_event untouched = {.request = 77};
	struct span in;
	struct msg_approval_state s;
	struct msg_approval_ask ask;
	struct msg_listener l;

	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		buf_reset(&b);
		e.kind = (uint8_t)kind;
		msg_put_event(&b, &e);
		in = buf_span(&b);
		assert_int_equal(msg_next_event(&in, &untouched),
				 kind == 0 || kind >= EVENT_KIND_MAX ? -EBADMSG : 0);
		if (kind == 0)
			assert_int_equal(untouched.request, 77);
	}
	buf_reset(&b);
	msg_put_listener(&b, &(struct msg_listener){.netns_cookie = 1});
	b.data[b.end - 1] = 2;
	assert_int_equal(msg_get_listener(buf_span(&b), &l), -EBADMSG);
	buf_reset(&b);
	msg_put_approval_state(&b, &(struct msg_approval_state){.state = 0, .error = 0});
	assert_int_equal(msg_get_approval_state(buf_span(&b), &s), -EBADMSG);
	buf_reset(&b);
	msg_put_approval_state(&b, &(struct msg_approval_state){.state = 0, .error = -EIO});
	assert_int_equal(msg_get_approval_state(buf_span(&b), &s), 0);
	/* A last group without its NUL would be read past the message. */
	buf_reset(&b);
	msg_put_approval_ask(&b, &(struct msg_approval_ask){.groups = span_str("dba")});
	assert_int_equal(msg_get_approval_ask(buf_span(&b), &ask), -EBADMSG);
}

static void test_counts_have_maxima(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 18);
	_cleanup_buf_ struct buf groups = BUF_INIT(1 << 16);
	static const uint8_t token[TOKEN_BYTES_MAX + 1];
	struct msg_approval_ask ask;
	static const uint8_t pem[MSG_PEM_MAX + 1];
	struct msg_tls_identity identity;
	struct msg_approval_ref ref;
	struct msg_resolved m;
	char id[2 * APPROVAL_ID_MAX];

	(void)state;
	for (int i = 0; i < GROUPS_MAX; i++)
		buf_put_cstr(&groups, "g");
	msg_put_approval_ask(&b, &(struct msg_approval_ask){.groups = buf_span(&groups)});
	assert_int_equal(msg_get_approval_ask(buf_span(&b), &ask), 0);
	buf_put_cstr(&groups, "g");
	buf_reset(&b);
	msg_put_approval_ask(&b, &(struct msg_approval_ask){.groups = buf_span(&groups)});
	assert_int_equal(msg_get_approval_ask(buf_span(&b), &ask), -EBADMSG);

	buf_reset(&b);
	msg_put_resolved(&b, &(struct msg_resolved){.token = span_of(token, TOKEN_BYTES_MAX)});
	assert_int_equal(msg_get_resolved(buf_span(&b), &arena, &m), 0);
	buf_reset(&b);
	msg_put_resolved(&b, &(struct msg_resolved){.token = span_of(token, sizeof(token))});
	assert_int_equal(msg_get_resolved(buf_span(&b), &arena, &m), -EBADMSG);

	buf_reset(&b);
	msg_put_tls_identity(&b, &(struct msg_tls_identity){.key_pem = span_of(pem, MSG_PEM_MAX)});
	assert_int_equal(msg_get_tls_identity(buf_span(&b), &identity), 0);
	buf_reset(&b);
	msg_put_tls_identity(&b, &(struct msg_tls_identity){.key_pem = span_of(pem, sizeof(pem))});
	assert_int_equal(msg_get_tls_identity(buf_span(&b), &identity), -EBADMSG);

	memset(id, 'x', sizeof(id));
	buf_reset(&b);
	buf_put_be64(&b, 1);
	buf_put(&b, id, APPROVAL_ID_MAX);
	buf_put_u8(&b, 0);
	assert_int_equal(msg_get_approval_ref(buf_span(&b), &ref), -EBADMSG);
	arena_done(&arena);
}

static void test_no_memory(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 16);
	_cleanup_arena_ struct arena small = ARENA_INIT(16);
	struct msg_resolved m = {.request = 55};

	(void)state;
	msg_put_resolved(&b, &(struct msg_resolved){.process = whole_caller()});
	assert_int_equal(msg_get_resolved(buf_span(&b), &small, &m), -ENOMEM);
	assert_int_equal(m.request, 55);
}

static void test_string_sequences(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1024);
	static const char *const in[] = {"dba", "", "on call"};
	struct span rest;
	const char *s;

	(void)state;
	assert_int_equal(msg_put_strings(&b, in, ARRAY_SIZE(in)), 0);
	rest = buf_span(&b);
	for (size_t i = 0; i < ARRAY_SIZE(in); i++) {
		assert_int_equal(msg_next_string(&rest, &s), 0);
		assert_string_equal(s, in[i]);
	}
	assert_int_equal(msg_next_string(&rest, &s), -ENODATA);
	rest = span_head(buf_span(&b), 3);
	assert_int_equal(msg_next_string(&rest, &s), -EBADMSG);
	assert_int_equal(rest.len, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_fields_arrive),
		cmocka_unit_test(test_values_out_of_range),
		cmocka_unit_test(test_counts_have_maxima),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_string_sequences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
