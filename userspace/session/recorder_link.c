#include "session/recorder_link.h"

static void lose(struct recorder_link *l, const char *why)
{
	timer_del(l->loop, &l->timer);
	l->acked = l->sent;
	l->oldest_ns = 0;
	l->events->on_lost(l->ctx, why);
}

static void on_silent(struct timer *t)
{
	struct recorder_link *l = OWNER_OF(t, struct recorder_link, timer);

	if (l->acked == l->sent)
		return;
	lose(l, "the recorder does not answer");
}

static void watch_oldest(struct recorder_link *l)
{
	if (l->acked == l->sent) {
		timer_del(l->loop, &l->timer);
		l->oldest_ns = 0;
		return;
	}
	/* Acks come in order, so one timer, set again by each ack, sees a silence of wait_ms. */
	if (timer_set(l->loop, &l->timer, l->wait_ms, on_silent) < 0)
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
	watch_oldest(l);
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

static void on_closed(void *ctx, struct chan *c, int error)
{
	struct recorder_link *l = ctx;

	(void)error;
	chan_free(c);
	l->chan = NULL;
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
		.out = BUF_INIT(CHAN_MSG_MAX),
	};
	return 0;
}

void recorder_link_done(struct recorder_link *l)
{
	if (!l->loop)
		return;
	timer_del(l->loop, &l->timer);
	if (l->chan)
		chan_free(l->chan);
	l->chan = NULL;
	buf_done(&l->out);
}

int recorder_link_attach(struct recorder_link *l, int fd)
{
	if (l->chan) {
		chan_free(l->chan);
		l->chan = NULL;
		lose(l, "the recorder was started anew");
	}
	return chan_new(l->loop, fd, &chan_events, l, &l->chan);
}

static int send_out(struct recorder_link *l, enum msg_type type, int encoded)
{
	if (encoded < 0)
		return encoded;
	return chan_send(l->chan, (uint16_t)type, buf_span(&l->out), NULL, 0);
}

int recorder_link_event(struct recorder_link *l, enum event_kind kind, struct span body,
			bool durable, bool wanted, uint64_t *ret_request)
{
	struct msg_event m = {.kind = (uint8_t)kind, .durable = durable, .body = body};
	int r;

	if (!l->chan)
		return -ENOTCONN;
	if (wanted)
		m.request = l->sent + 1;
	buf_reset(&l->out);
	r = send_out(l, MSG_EVENT, msg_put_event(&l->out, &m));
	if (r < 0)
		return r;
	if (wanted) {
		bool first = l->acked == l->sent;

		l->sent++;
		if (first) {
			l->oldest_ns = now_ns();
			watch_oldest(l);
		}
	}
	*ret_request = m.request;
	return 0;
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
