#include "session/recorder_link.h"

#define NS_PER_MS 1000000u
#define LINGER_MS 2 /* what a result may wait for company */
#define RETRY_MS  1 /* when the recorder's queue is full */

static void lose(struct recorder_link *l, const char *why)
{
	timer_del(l->loop, &l->silence);
	l->acked = l->sent;
	l->events->on_lost(l->ctx, why);
}

static void on_silent(struct timer *t);

static int watch_silence(struct recorder_link *l, uint64_t after_ms)
{
	return timer_set(l->loop, &l->silence, after_ms, on_silent);
}

/* Acks come in order, so one timer sees a silence of wait_ms. It is not set anew by each ack: what
 * came meanwhile is looked at when it is due. */
static void on_silent(struct timer *t)
{
	struct recorder_link *l = OWNER_OF(t, struct recorder_link, silence);
	uint64_t silent_ms = (now_ns() - l->heard_ns) / NS_PER_MS;

	if (l->acked == l->sent)
		return;
	if (silent_ms >= l->wait_ms)
		lose(l, "the recorder does not answer");
	else if (watch_silence(l, l->wait_ms - silent_ms) < 0)
		lose(l, "out of memory");
}

static void on_ack(struct recorder_link *l, const struct chan_msg *msg)
{
	struct msg_event_ack ack;

	if (msg_get_event_ack(msg->payload, &ack) < 0 || ack.request > l->sent)
		return;
	if (ack.error) {
		lose(l, ack.error == -ENOSPC ? "the recorder's disk is full"
					     : "the recorder cannot write");
		return;
	}
	if (ack.request <= l->acked)
		return;
	l->acked = ack.request;
	l->heard_ns = now_ns();
	l->events->on_ack(l->ctx);
}

static void on_msg(void *ctx, struct chan *c, struct chan_msg *msg)
{
	struct recorder_link *l = ctx;
	struct msg_approval_state state;

	(void)c;
	if (msg->type == MSG_EVENT_ACK)
		on_ack(l, msg);
	else if (msg->type == MSG_APPROVAL_STATE &&
		 msg_get_approval_state(msg->payload, &state) == 0)
		l->events->on_approval(l->ctx, &state);
}

/* What was not sent yet is lost with what was not read yet. */
static void drop_chan(struct recorder_link *l)
{
	chan_free(TAKE_PTR(l->chan));
	buf_reset(&l->events_out);
}

static void on_closed(void *ctx, struct chan *c, int error)
{
	struct recorder_link *l = ctx;

	(void)c;
	(void)error;
	drop_chan(l);
	lose(l, "the recorder is not running");
}

static const struct chan_events chan_events = {
	.on_msg = on_msg,
	.on_closed = on_closed,
};

int recorder_link_init(struct recorder_link *l, struct loop *loop, uint64_t wait_ms,
		       const struct recorder_events *events, void *ctx)
{
	*l = (struct recorder_link){
		.loop = loop,
		.wait_ms = wait_ms,
		.events = events,
		.ctx = ctx,
		.events_out = BUF_INIT(CHAN_MSG_MAX),
		.out = BUF_INIT(CHAN_MSG_MAX),
	};
	return 0;
}

void recorder_link_done(struct recorder_link *l)
{
	if (!l->loop)
		return;
	timer_del(l->loop, &l->silence);
	timer_del(l->loop, &l->linger);
	defer_cancel(l->loop, &l->flush);
	chan_free(TAKE_PTR(l->chan));
	buf_done(&l->events_out);
	buf_done(&l->out);
}

int recorder_link_attach(struct recorder_link *l, int fd)
{
	if (l->chan) {
		drop_chan(l);
		lose(l, "the recorder was started anew");
	}
	return chan_new(l->loop, fd, &chan_events, l, &l->chan);
}

static void on_linger(struct timer *t)
{
	recorder_link_flush(OWNER_OF(t, struct recorder_link, linger));
}

static void on_flush(struct deferred *d)
{
	recorder_link_flush(OWNER_OF(d, struct recorder_link, flush));
}

/* -ENOBUFS, -ENOMEM: nothing was sent, and nothing is dropped. */
static int flush(struct recorder_link *l)
{
	int r = 0;

	if (l->chan && buf_len(&l->events_out) > 0)
		r = chan_send(l->chan, MSG_EVENT, buf_span(&l->events_out), NULL, 0);
	/* Another error: the channel is about to say that it broke. */
	if (r != -ENOBUFS && r != -ENOMEM)
		buf_reset(&l->events_out);
	return r;
}

void recorder_link_flush(struct recorder_link *l)
{
	int r = flush(l);

	if ((r == -ENOBUFS || r == -ENOMEM) &&
	    timer_set(l->loop, &l->linger, RETRY_MS, on_linger) < 0)
		lose(l, "out of memory");
}

static int send_soon(struct recorder_link *l, enum event_kind kind)
{
	if (kind != EVENT_OP_RESULT)
		defer(l->loop, &l->flush, on_flush);
	else if (l->linger.slot == 0)
		return timer_set(l->loop, &l->linger, LINGER_MS, on_linger);
	return 0;
}

int recorder_link_event(struct recorder_link *l, enum event_kind kind, struct span body,
			bool durable, bool wanted, uint64_t *ret_request)
{
	struct msg_event m = {.kind = (uint8_t)kind, .durable = durable, .body = body};
	size_t at;
	int r = 0;

	if (!l->chan)
		return -ENOTCONN;
	if (buf_room(&l->events_out) < MSG_EVENT_EXTRA + body.len)
		r = flush(l);
	if (r == 0)
		r = send_soon(l, kind);
	if (r < 0)
		return r;
	if (wanted) {
		if (l->acked == l->sent)
			l->heard_ns = now_ns();
		if (l->silence.slot == 0)
			r = watch_silence(l, l->wait_ms);
		m.request = l->sent + 1;
	}
	at = buf_len(&l->events_out);
	if (r == 0)
		r = msg_put_event(&l->events_out, &m);
	if (r < 0) {
		buf_truncate(&l->events_out, at);
		l->events_out.error = 0;
		return r;
	}
	if (wanted)
		l->sent++;
	*ret_request = m.request;
	return 0;
}

static int send_out(struct recorder_link *l, enum msg_type type, int encoded)
{
	int r = encoded < 0 ? encoded : flush(l); /* in the order of events */

	return r < 0 ? r : chan_send(l->chan, (uint16_t)type, buf_span(&l->out), NULL, 0);
}

int recorder_link_ask(struct recorder_link *l, struct msg_approval_ask *ask, uint64_t *ret_request)
{
	static uint64_t last; /* outlives the channel: numbers are never used twice */
	int r;

	if (!l->chan)
		return -ENOTCONN;
	ask->request = last + 1;
	buf_reset(&l->out);
	r = send_out(l, MSG_APPROVAL_ASK, msg_put_approval_ask(&l->out, ask));
	if (r < 0)
		return r;
	*ret_request = ++last;
	return 0;
}

static int send_ref(struct recorder_link *l, enum msg_type type, const char *id, uint64_t request)
{
	struct msg_approval_ref m = {.request = request};

	if (!l->chan)
		return -ENOTCONN;
	if (strlen(id) >= sizeof(m.id))
		return -EINVAL;
	memcpy(m.id, id, strlen(id) + 1);
	buf_reset(&l->out);
	return send_out(l, type, msg_put_approval_ref(&l->out, &m));
}

int recorder_link_withdraw(struct recorder_link *l, const char *id)
{
	return send_ref(l, MSG_APPROVAL_WITHDRAW, id, 0);
}

int recorder_link_consume(struct recorder_link *l, const char *id, uint64_t request)
{
	return send_ref(l, MSG_APPROVAL_CONSUME, id, request);
}
