#include "session/session.h"

#include "mask/mask.h"
#include "session/evidence.h"
#include "session/pipeline.h"

/* ---- the codec's sink ---- */

static int sink_send(void *ctx, enum proto_peer to, struct span bytes)
{
	struct session *s = ctx;

	if (to == PROTO_AGENT)
		return buf_put_span(&s->agent.out, bytes);
	/* Before the server is there, or after it is gone, nothing is kept for it. */
	return s->server.fd < 0 ? 0 : buf_put_span(&s->server.out, bytes);
}

static int sink_start_tls(void *ctx)
{
	struct session *s = ctx;

	s->tls_wanted = true;
	return 0;
}

static int copy_startup(struct session *s, const struct proto_startup *from)
{
	s->startup.user = arena_strdup(&s->arena, from->user);
	s->startup.database = arena_strdup(&s->arena, from->database);
	if (!s->startup.user || !s->startup.database)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_params; i++) {
		s->startup.params[i].name = arena_strdup(&s->arena, from->params[i].name);
		s->startup.params[i].value = arena_strdup(&s->arena, from->params[i].value);
		if (!s->startup.params[i].name || !s->startup.params[i].value)
			return -ENOMEM;
	}
	s->startup.n_params = from->n_params;
	s->has_startup = true;
	return 0;
}

static int sink_startup(void *ctx, const struct proto_startup *startup)
{
	struct session *s = ctx;
	int r = copy_startup(s, startup);

	if (r < 0)
		return r;
	/* The rest waits for the loop: the codec is in the middle of its startup. */
	return session_move(s, SESSION_AUTHN);
}

static void cancel_apply(struct session *target)
{
	if (!pipeline_cancel_held(target) && target->state == SESSION_READY)
		(void)dial_cancel(target->engine->loop, target->resource, target->ops,
				  target->server_cancel_pid, target->server_cancel_secret);
}

bool engine_cancel(struct engine *e, const struct msg_cancel *m)
{
	for (struct session *s = e->sessions; s; s = s->next) {
		bool own = s->origin.cgroup_id == m->cgroup_id &&
			   s->origin.netns_cookie == m->netns_cookie;
		uint64_t request;

		if (s->state != SESSION_READY || s->cancel_pid != m->pid ||
		    s->cancel_secret != m->secret)
			continue;
		if (evidence_cancel(s, own, own ? "requested" : "asked for by another container",
				    &e->event) == 0)
			(void)recorder_link_event(&e->recorder, EVENT_CANCEL, buf_span(&e->event),
						  false, false, &request);
		if (own)
			cancel_apply(s);
		return true;
	}
	return false;
}

static int sink_cancel(void *ctx, uint32_t pid, uint32_t secret)
{
	struct session *s = ctx;
	struct engine *e = s->engine;
	const struct msg_cancel m = {
		.pid = pid,
		.secret = secret,
		.cgroup_id = s->origin.cgroup_id,
		.netns_cookie = s->origin.netns_cookie,
	};

	s->close_reason = "cancel request";
	if (engine_cancel(e, &m))
		return 0;
	buf_reset(&e->message);
	if (msg_put_cancel(&e->message, &m) == 0)
		(void)chan_send(e->warden, MSG_CANCEL, buf_span(&e->message), NULL, 0);
	return 0;
}

static int sink_op(void *ctx, const struct op *op)
{
	return pipeline_op(ctx, op);
}

static int sink_columns(void *ctx, uint32_t op, const struct proto_column *columns, size_t n,
			uint8_t *ret_masks)
{
	return pipeline_columns(ctx, op, columns, n, ret_masks);
}

static int sink_field(void *ctx, uint8_t mask, uint32_t type_oid, struct span value,
		      struct buf *out)
{
	(void)ctx;
	return mask_text((enum mask_kind)mask, type_oid, value, out);
}

static void sink_done(void *ctx, uint32_t op, const struct op_result *result)
{
	pipeline_done(ctx, op, result);
}

static const struct sql_class *classify(void *ctx, struct span text)
{
	return sql_classify(((struct engine *)ctx)->sql_cache, text);
}

static void release(void *ctx, const struct sql_class *sql)
{
	sql_class_release(((struct engine *)ctx)->sql_cache, sql);
}

int session_open_codec(struct session *s, const struct proto_ops *ops)
{
	const struct proto_env env = {
		.sink =
			{
				.ctx = s,
				.send = sink_send,
				.start_tls = sink_start_tls,
				.startup = sink_startup,
				.cancel = sink_cancel,
				.op = sink_op,
				.columns = sink_columns,
				.field = sink_field,
				.done = sink_done,
			},
		.classify = classify,
		.release = release,
		.classify_ctx = s->engine,
		.tls_offered = s->resource && s->engine->server_tls[s->resource_index],
	};

	s->ops = ops;
	return ops->open(&env, &s->codec);
}
