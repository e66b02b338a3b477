/* The login upstream against a server that says anything: the input's first byte chooses how, the
 * second in what pieces it is fed. */
#include <stdlib.h>

#include "proto/postgres/pg_login.h"
#include "proto/postgres/pg_scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_done(const struct proto_login_result *result)
{
	must(result && result->admission.n_params <= LOGIN_PARAMS_MAX);
	must(result->admission.transaction == 'I');
	for (size_t i = 0; i < result->admission.n_params; i++)
		must(result->admission.params[i].name[0] && result->admission.params[i].value);
}

static void check_end(void *login, int r)
{
	const struct proto_login_ops *ops = &postgres_login_ops;
	const struct proto_error *error = ops->error(login);

	must(r == LOGIN_MORE || r == LOGIN_DONE || r == LOGIN_TLS || r == -EPROTO || r == -EACCES ||
	     r == -EPROTONOSUPPORT || r == -ENOBUFS);
	must((r == LOGIN_DONE) == (ops->result(login) != NULL));
	if (r == LOGIN_DONE)
		check_done(ops->result(login));
	must(error && strlen(error->sqlstate) == 5 && error->message[0]);
}

static int run(void *login, bool tls, size_t piece, struct span in, struct buf *out)
{
	const struct proto_login_ops *ops = &postgres_login_ops;
	size_t have = 0;
	size_t taken = 0;
	int r = LOGIN_MORE;

	while (have < in.len && (r == LOGIN_MORE || r == LOGIN_TLS)) {
		size_t used = SIZE_MAX;

		have = MIN(have + piece, in.len);
		r = ops->feed(login, span_of(in.p + taken, have - taken), &used, out);
		must(used <= have - taken);
		taken += used;
		if (r == LOGIN_TLS) {
			must(tls && have == taken);
			must(ops->tls_started(login, out) == 0);
		}
		/* The password itself is sent only where it was asked for in the clear. */
		buf_reset(out);
	}
	return r;
}

static void scram(struct span in)
{
	struct buf out = BUF_INIT(4096);
	struct pg_scram s;

	if (pg_scram_begin(&s, "", "pencil", "fyko+d2lbbFgONRv9qkxdawL", &out) == 0 &&
	    pg_scram_answer(&s, in, &out) == 0)
		must(pg_scram_verify(&s, in) < 0);
	pg_scram_done(&s);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct proto_param param = {"application_name", "psql"};
	struct proto_login_config config = {
		.user = "gateway", .database = "customers", .n_params = 1, .params = &param};
	struct buf out = BUF_INIT(65536);
	void *login = NULL;
	size_t piece;
	int r;

	if (size < 2)
		return 0;
	if (data[0] & 4) {
		scram(span_of(data + 2, size - 2));
		return 0;
	}
	config.tls = data[0] & 1;
	config.password = data[0] & 2 ? "pencil" : NULL;
	piece = data[1] ? data[1] : size;
	must(postgres_login_ops.open(&config, &login) == 0);
	must(postgres_login_ops.start(login, &out) == 0);
	r = run(login, config.tls, piece, span_of(data + 2, size - 2), &out);
	check_end(login, r);
	postgres_login_ops.close(login);
	buf_done(&out);
	return 0;
}
