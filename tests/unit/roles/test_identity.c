#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "roles/warden_state.h"

/* What the warden does of itself half-way through a certificate's life; a worker's end of the
 * channel is read here. */

static char dir[64];
static struct warden w;
static struct config config;
static struct resource_config resources[2];
static struct tls_identity got[2];
static unsigned n_got;

static void on_msg(void *ctx, struct chan *c, struct chan_msg *msg)
{
	struct msg_tls_identity m;

	(void)ctx;
	(void)c;
	assert_int_equal(msg->type, MSG_TLS_IDENTITY);
	assert_int_equal(msg_get_tls_identity(msg->payload, &m), 0);
	assert_in_range(m.resource, 0, 1);
	tls_identity_done(&got[m.resource]);
	got[m.resource] = (struct tls_identity){.cert_pem = BUF_INIT(MSG_PEM_MAX),
						.key_pem = BUF_INIT(MSG_PEM_MAX)};
	assert_int_equal(buf_put_span(&got[m.resource].cert_pem, m.cert_pem), 0);
	assert_int_equal(buf_put_span(&got[m.resource].key_pem, m.key_pem), 0);
	if (++n_got % 2 == 0)
		loop_stop(w.loop, 0);
}

static void on_closed(void *ctx, struct chan *c, int error)
{
	(void)ctx;
	(void)c;
	(void)error;
}

static void on_late(struct timer *t)
{
	(void)t;
	loop_stop(w.loop, -ETIMEDOUT);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/sluice-identity.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	resources[0] = (struct resource_config){.name = "db", .host = "db.internal", .port = 5432};
	resources[1] =
		(struct resource_config){.name = "other", .host = "o.internal", .port = 5432};
	config = (struct config){.state_dir = dir, .n_resources = 2, .resources = resources};
	w = (struct warden){.config = &config, .n_workers = 2};
	return loop_new(&w.loop);
}

static int teardown(void **state)
{
	static const char *const names[] = {"ca.key", "ca.pem"};
	char path[128];

	(void)state;
	identities_done(&w);
	tls_identity_done(&got[0]);
	tls_identity_done(&got[1]);
	loop_free(w.loop);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}

static void run(void)
{
	struct timer late = {0};

	assert_int_equal(timer_set(w.loop, &late, 5000, on_late), 0);
	assert_int_equal(loop_run(w.loop), 0);
	timer_del(w.loop, &late);
}

static void anew_at_half_of_their_life(void **state)
{
	static const struct chan_events events = {.on_msg = on_msg, .on_closed = on_closed};
	const uint64_t day_ns = UINT64_C(86400000000000);
	_cleanup_(chan_freep) struct chan *worker = NULL;
	_cleanup_(tls_context_freep) struct tls_context *context = NULL;
	_cleanup_buf_ struct buf first = BUF_INIT(MSG_PEM_MAX);
	int fds[2];

	(void)state;
	if (geteuid() != 0)
		skip(); /* the CA must be root's */
	assert_int_equal(identities_mint(&w), 0);
	assert_int_equal(buf_put_span(&first, buf_span(&w.identities[0].cert_pem)), 0);
	assert_int_equal(chan_pair(fds), 0);
	assert_int_equal(chan_new(w.loop, fds[0], &events, NULL, &w.workers[1].chan), 0);
	assert_int_equal(chan_new(w.loop, fds[1], &events, NULL, &worker), 0);

	w.minted_ns -= 14 * day_ns;
	identities_renew_if_due(&w);
	assert_true(span_eq(buf_span(&first), buf_span(&w.identities[0].cert_pem)));

	w.minted_ns -= 2 * day_ns;
	identities_renew_if_due(&w);
	run();
	assert_int_equal(n_got, 2);
	assert_false(span_eq(buf_span(&first), buf_span(&got[0].cert_pem)));
	for (size_t i = 0; i < 2; i++) {
		assert_true(
			span_eq(buf_span(&got[i].cert_pem), buf_span(&w.identities[i].cert_pem)));
		assert_int_equal(tls_server_new(&got[i], &context), 0);
		tls_context_free(TAKE_PTR(context));
	}
	/* Once is enough; a clock that was set back is no reason to trust it. */
	identities_renew_if_due(&w);
	w.minted_ns += day_ns;
	identities_renew_if_due(&w);
	run();
	assert_int_equal(n_got, 4);
	chan_free(w.workers[1].chan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(anew_at_half_of_their_life, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
