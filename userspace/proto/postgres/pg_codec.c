#include "proto/postgres/pg_codec.h"

#include <stdarg.h>

#include "proto/postgres/pg_login.h"

#define OUT_MAX	     (2u * 1024u * 1024u)
#define OUT_FLUSH    (32u * 1024u)
#define OUT_KEEP     4096u
#define COLUMNS_KEEP 64u
#define NOTICES_MAX  8192u
#define MESSAGE_MAX  512

/* ---- to the peers ---- */

static int send_to(struct pg_codec *c, enum proto_peer to, struct span bytes)
{
	return bytes.len > 0 ? c->env.sink.send(c->env.sink.ctx, to, bytes) : 0;
}

static int flush_run(struct pg_codec *c, struct pg_stream *s)
{
	struct span run = s->run;

	s->run = (struct span){0};
	return send_to(c, s == &c->front ? PROTO_SERVER : PROTO_AGENT, run);
}

static int flush_buf(struct pg_codec *c, struct buf *b, enum proto_peer to)
{
	int r = buf_error(b);

	if (r == 0)
		r = send_to(c, to, buf_span(b));
	buf_reset(b);
	return r;
}

int pg_flush_out(struct pg_codec *c)
{
	int r = flush_run(c, &c->back);

	return r < 0 || (buf_len(&c->out) == 0 && !buf_error(&c->out))
		       ? r
		       : flush_buf(c, &c->out, PROTO_AGENT);
}

int pg_flush_up(struct pg_codec *c)
{
	int r = flush_run(c, &c->front);

	return r < 0 || (buf_len(&c->up) == 0 && !buf_error(&c->up))
		       ? r
		       : flush_buf(c, &c->up, PROTO_SERVER);
}

int pg_flush_runs(struct pg_codec *c)
{
	int r = pg_flush_up(c);

	return r < 0 ? r : pg_flush_out(c);
}

int pg_to_agent(struct pg_codec *c, struct span bytes)
{
	int r = pg_flush_out(c);

	return r < 0 ? r : send_to(c, PROTO_AGENT, bytes);
}

int pg_to_server(struct pg_codec *c, struct span bytes)
{
	int r = pg_flush_up(c);

	return r < 0 ? r : send_to(c, PROTO_SERVER, bytes);
}

int pg_pass(struct pg_codec *c, struct pg_stream *s, struct span bytes)
{
	int r;

	if (s->run.len > 0 && s->run.p + s->run.len == bytes.p) {
		s->run.len += bytes.len;
		return 0;
	}
	r = s == &c->front ? pg_flush_up(c) : pg_flush_out(c);
	if (r < 0)
		return r;
	/* A header kept in the stream itself makes way for the next one. */
	if (bytes.p == s->header)
		return send_to(c, s == &c->front ? PROTO_SERVER : PROTO_AGENT, bytes);
	s->run = bytes;
	return 0;
}

int pg_flush_agent_run(struct pg_codec *c)
{
	return flush_run(c, &c->back);
}

int pg_trim(struct pg_codec *c)
{
	int r = pg_flush_out(c);

	if (c->out.cap > OUT_KEEP)
		buf_done(&c->out);
	if (c->cap_columns > COLUMNS_KEEP) {
		free(TAKE_PTR(c->columns));
		c->cap_columns = 0;
	}
	return r;
}

int pg_boundary(struct pg_codec *c)
{
	int r;

	if (buf_len(&c->out) >= OUT_FLUSH) {
		r = pg_flush_out(c);
		if (r < 0)
			return r;
	}
	if (buf_len(&c->notices) == 0)
		return 0;
	r = pg_flush_out(c);
	return r < 0 ? r : flush_buf(c, &c->notices, PROTO_AGENT);
}

/* ---- the end ---- */

static int end_with(struct pg_codec *c, const struct proto_error *error)
{
	enum pg_phase phase = c->phase;
	int r;

	if (phase == PG_ENDED)
		return 0;
	c->phase = PG_ENDED;
	r = pg_flush_runs(c);
	/* In the middle of a message, or while TLS is being agreed on, no error has a place. */
	if (r < 0 || c->agent_mid || phase == PG_TLS)
		return r;
	r = flush_buf(c, &c->notices, PROTO_AGENT);
	if (r < 0)
		return r;
	pg_put_error(&c->out, error);
	return pg_flush_out(c);
}

int pg_fatal(struct pg_codec *c, int error, const char *sqlstate, const char *hint, const char *fmt,
	     ...)
{
	char message[MESSAGE_MAX];
	va_list ap;
	int r;

	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	r = end_with(c, &(struct proto_error){
				.severity = "FATAL",
				.sqlstate = sqlstate,
				.message = message,
				.hint = hint,
			});
	return r < 0 ? r : error;
}

int pg_fatal_frontend(struct pg_codec *c, const char *what)
{
	return pg_fatal(
		c, -EPROTO, PG_PROTOCOL_VIOLATION,
		"The client does not speak PostgreSQL's protocol 3.0 as documented; connect "
		"again with a client that does.",
		"sluice: protocol violation by the client: %s", what);
}

int pg_fatal_backend(struct pg_codec *c, const char *what)
{
	return pg_fatal(c, -EPROTO, PG_PROTOCOL_VIOLATION,
			"The connection to the database server cannot be trusted any more and was "
			"closed. Tell the operator of the node if connecting again does not help.",
			"sluice: the database server sent what the protocol does not allow: %s",
			what);
}

/* ---- the table's functions ---- */

static void op_unref(void *ctx, struct pg_op *op)
{
	pg_op_unref(ctx, op);
}

static void sql_release(void *ctx, const struct sql_class *sql)
{
	const struct pg_codec *c = ctx;

	c->env.release(c->env.classify_ctx, sql);
}

static int codec_open(const struct proto_env *env, void **ret_codec)
{
	struct pg_codec *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->env = *env;
	c->status = 'I';
	c->batch = 1;
	pg_stream_init(&c->front, PG_HEADER + PG_TEXT_HOLD_MAX);
	pg_stream_init(&c->back, PG_HEADER + PG_COLUMNS_HOLD_MAX);
	buf_init(&c->out, OUT_MAX);
	buf_init(&c->up, OUT_MAX);
	buf_init(&c->notices, NOTICES_MAX);
	pg_names_init(&c->names, c, op_unref, sql_release);
	*ret_codec = c;
	return 0;
}

static void done_nothing(void *ctx, uint32_t op, const struct op_result *result)
{
	(void)ctx;
	(void)op;
	(void)result;
}

static void codec_close(void *codec)
{
	struct pg_codec *c = codec;

	if (!c)
		return;
	c->env.sink.done = done_nothing;
	while (c->n_replies > 0)
		pg_reply_pop(c);
	pg_op_unref(c, c->ask.op);
	if (c->ask.stmt)
		pg_stmt_unref(&c->names, c->ask.stmt);
	pg_names_done(&c->names);
	pg_ops_free(c);
	pg_stream_done(&c->front);
	pg_stream_done(&c->back);
	buf_done(&c->out);
	buf_done(&c->up);
	buf_done(&c->notices);
	free(c->replies);
	free(c->columns);
	EVP_MD_CTX_free(c->digest);
	EVP_MD_free(c->sha256);
	free(c);
}

static int feed_phase(struct pg_codec *c, enum proto_peer from, struct cursor *in)
{
	switch (c->phase) {
	case PG_STARTUP:
		/* The server has no part in it. */
		return from == PROTO_AGENT ? pg_startup_feed(c, in) : -EPROTO;
	case PG_TLS:
	case PG_ADMISSION:
		return PROTO_HOLD;
	case PG_READY:
		return from == PROTO_AGENT ? pg_front_feed(c, in) : pg_back_feed(c, in);
	case PG_ENDED:
		break;
	}
	return -EPROTO;
}

static int codec_feed(void *codec, enum proto_peer from, struct span in, size_t *ret_used)
{
	struct pg_codec *c = codec;
	struct cursor cursor = cursor_of(in);
	int flow = feed_phase(c, from, &cursor);
	int r = pg_flush_runs(c);

	*ret_used = in.len - cursor_left(&cursor);
	return flow >= 0 && r < 0 ? r : flow;
}

static int codec_tls_started(void *codec)
{
	struct pg_codec *c = codec;

	if (c->phase != PG_TLS)
		return -EINVAL;
	c->tls = true;
	c->phase = PG_STARTUP;
	return 0;
}

static int codec_admit(void *codec, const struct proto_admission *admission)
{
	struct pg_codec *c = codec;

	if (c->phase != PG_ADMISSION || !strchr("ITE", admission->transaction))
		return -EINVAL;
	for (size_t i = 0; i < admission->n_params; i++)
		pg_settings_told(c, span_str(admission->params[i].name),
				 span_str(admission->params[i].value));
	c->phase = PG_READY;
	c->status = admission->transaction;
	pg_put_admission(&c->out, admission);
	return pg_flush_out(c);
}

static int codec_fatal(void *codec, const struct proto_error *error)
{
	return end_with(codec, error);
}

static int codec_resume(void *codec, uint32_t op, const struct verdict *verdict, bool masked)
{
	struct pg_codec *c = codec;
	int r;
	int flushed;

	if (c->phase != PG_READY || !c->ask.op || c->ask.op->id != op)
		return -EINVAL;
	r = pg_front_resume(c, verdict, masked);
	flushed = pg_flush_runs(c);
	return r < 0 ? r : flushed;
}

static int codec_columns_ready(void *codec, const uint8_t *masks, size_t n)
{
	struct pg_codec *c = codec;
	int r;
	int flushed;

	if (c->phase != PG_READY || !c->columns_wait)
		return -EINVAL;
	r = pg_back_columns_ready(c, masks, n);
	flushed = pg_flush_runs(c);
	return r < 0 ? r : flushed;
}

static int codec_notice(void *codec, const struct proto_error *notice)
{
	struct pg_codec *c = codec;
	int r;

	if (c->phase != PG_READY && c->phase != PG_ADMISSION)
		return -EINVAL;
	r = pg_put_notice(&c->notices, notice);
	if (r < 0) {
		c->notices.error = 0; /* what waits already still goes */
		return r;
	}
	if (c->agent_mid)
		return 0;
	return pg_boundary(c);
}

static bool codec_idle(const void *codec)
{
	const struct pg_codec *c = codec;

	return c->phase == PG_READY && c->n_replies == 0 && c->ask.kind == PG_ASK_NONE &&
	       !c->skipping && !c->extended && c->status == 'I' &&
	       c->front.mode == PG_MODE_HEADER && c->front.header_len == 0 &&
	       c->back.mode == PG_MODE_HEADER && c->back.header_len == 0;
}

const struct proto_ops postgres_ops = {
	.name = "postgres",
	.detect = pg_detect,
	.open = codec_open,
	.close = codec_close,
	.feed = codec_feed,
	.tls_started = codec_tls_started,
	.admit = codec_admit,
	.fatal = codec_fatal,
	.resume = codec_resume,
	.columns_ready = codec_columns_ready,
	.notice = codec_notice,
	.idle = codec_idle,
	.login = &postgres_login_ops,
};
