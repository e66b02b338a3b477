#include "roles/recorder_priv.h"

#include "base/jsonw.h"
#include "roles/log.h"

#define NS_PER_MS 1000000u

static int append(struct recorder *r, enum event_kind kind, struct span body, struct span session,
		  bool own)
{
	struct batch *b = r->filling;
	struct item *item = &b->items[b->n];
	size_t at = buf_len(&b->bytes);
	struct entry e = {
		.body = body,
		.kind = span_str(event_kind_name(kind)),
		.node = buf_span(&r->node),
		.seq = r->tree.size + 1,
	};

	if (!batch_has_room(b, body.len + e.node.len + ENTRY_EXTRA_MAX, own))
		return -ENOBUFS;
	*item = (struct item){.type = ITEM_EVENT,
			      .event = {.seq = e.seq, .kind = event_kind_name(kind)}};
	entry_time(wall_ns(), item->event.time);
	e.time = span_of(item->event.time, ENTRY_TIME_LEN);
	memcpy(e.prev, r->leaf, HASH_LEN);
	if (entry_put(&b->bytes, &e) < 0) {
		buf_truncate(&b->bytes, at);
		b->bytes.error = 0;
		return -ENOMEM;
	}
	item->event.json = (struct piece){(uint32_t)at, (uint32_t)(buf_len(&b->bytes) - at)};
	if (session.len > 0)
		item->event.session = (struct piece){
			(uint32_t)(at + ENTRY_BODY_AT + (size_t)(session.p - body.p)),
			(uint32_t)session.len};
	tree_leaf_hash(batch_piece(b, item->event.json), item->event.leaf);
	tree_push(&r->tree, item->event.leaf);
	memcpy(r->leaf, item->event.leaf, HASH_LEN);
	if (b->n == 0)
		b->oldest_ns = now_ns();
	b->n++;
	b->events++;
	return 0;
}

void recorder_submit(struct recorder *r)
{
	r->with_writer = true;
	writer_submit(r->writer, r->writing);
}

static void submit(struct recorder *r)
{
	timer_del(r->loop, &r->commit_timer);
	r->writing = r->filling;
	r->filling = r->writing == &r->batches[0] ? &r->batches[1] : &r->batches[0];
	batch_reset(r->filling, r->tree.size);
	recorder_submit(r);
}

int recorder_append(struct recorder *r, enum event_kind kind, struct span body)
{
	return append(r, kind, body, entry_session(body), true);
}

static void on_commit_due(struct timer *t)
{
	recorder_commit_if_due(OWNER_OF(t, struct recorder, commit_timer));
}

void recorder_commit_if_due(struct recorder *r)
{
	uint64_t age_ms;

	if (!r->open || r->error || r->writing || r->filling->n == 0)
		return;
	age_ms = (now_ns() - r->filling->oldest_ns) / NS_PER_MS;
	if (r->filling->urgent || r->filling->n >= COMMIT_EVENTS || age_ms >= COMMIT_DELAY_MS)
		submit(r);
	else if (r->commit_timer.slot == 0 &&
		 timer_set(r->loop, &r->commit_timer, COMMIT_DELAY_MS - age_ms, on_commit_due) < 0)
		submit(r);
}

int recorder_make_room(struct recorder *r, size_t bytes)
{
	if (r->error)
		return r->error;
	if (batch_has_room(r->filling, bytes, false))
		return 0;
	if (r->writing) {
		writer_wait(r->writer);
		recorder_collect(r);
		if (r->error)
			return r->error;
	}
	/* Taking in the batch may have submitted this one already. */
	if (!r->writing && !batch_has_room(r->filling, bytes, false))
		submit(r);
	return batch_has_room(r->filling, bytes, false) ? 0 : -ENOBUFS;
}

int recorder_sync(struct recorder *r)
{
	for (;;) {
		if (r->writing) {
			writer_wait(r->writer);
			recorder_collect(r);
			if (r->error)
				return r->error;
		}
		if (!r->writing && r->filling->n == 0)
			return 0;
		if (!r->writing)
			submit(r);
	}
}

static void send_ack(struct conn *c, uint64_t request, int error, uint64_t seq)
{
	const struct msg_event_ack ack = {.request = request, .error = error, .seq = seq};

	buf_reset(&c->r->out);
	recorder_send(c->r, c, MSG_EVENT_ACK, msg_put_event_ack(&c->r->out, &ack));
}

void recorder_flush_acks(struct conn *c)
{
	uint64_t upto = c->received;
	uint64_t seq = c->received_seq;

	if (c->n > 0) {
		upto = c->ring[c->first].request - 1;
		seq = c->ring[c->first].seq_before;
	}
	if (upto <= c->acked)
		return;
	c->acked = upto;
	send_ack(c, upto, 0, seq);
}

static void hold(struct conn *c, const struct msg_event *m)
{
	uint64_t seq = c->r->tree.size;

	if (m->durable) {
		c->r->filling->urgent = true;
		if (m->request > 0) {
			c->ring[(c->first + c->n) % DURABLES_MAX] =
				(struct waiting){m->request, seq, c->received_seq};
			c->n++;
		}
	}
	if (m->request > 0) {
		c->received = m->request;
		c->received_seq = seq;
	}
}

static int take(struct conn *c, const struct msg_event *m)
{
	struct recorder *r = c->r;
	struct span session;
	int error;

	if (!event_kind_name(m->kind) || (m->request > 0 && m->request <= c->received) ||
	    entry_check_body(m->body, &session) < 0)
		return -EBADMSG;
	error = r->error;
	if (!error && m->durable && c->n == DURABLES_MAX)
		error = recorder_sync(r);
	if (!error)
		error = recorder_make_room(r, m->body.len + ENTRY_NODE_MAX + ENTRY_EXTRA_MAX);
	if (!error)
		error = append(r, m->kind, m->body, session, false);
	if (!error) {
		hold(c, m);
		return 0;
	}
	r->refused++;
	if (m->request > 0) {
		recorder_flush_acks(c);
		c->received = c->acked = m->request;
		send_ack(c, m->request, error, 0);
	}
	return 0;
}

int recorder_on_event(struct conn *c, struct span payload)
{
	struct msg_event m;
	int r = payload.len > 0 ? 0 : -EBADMSG;

	while (r == 0) {
		r = msg_next_event(&payload, &m);
		if (r == 0)
			r = take(c, &m);
	}
	return r == -ENODATA ? 0 : r;
}

/* Those that wait for the disk will not get there in time: tell them, and note which events they
 * are, for they stay in the order of events and are written when that can be done again. */
static void fail_waiting(struct conn *c, int error)
{
	struct recorder *r = c->r;

	if (c->n == 0)
		return;
	for (; c->n > 0; c->n--) {
		if (r->n_unacknowledged < UNACKNOWLEDGED_KEPT)
			r->unacknowledged[r->n_unacknowledged] = c->ring[c->first].seq;
		r->n_unacknowledged++;
		c->first = (c->first + 1) % DURABLES_MAX;
	}
	c->acked = c->received;
	send_ack(c, c->received, error, 0);
}

static void on_retry(struct timer *t)
{
	recorder_submit(OWNER_OF(t, struct recorder, retry_timer));
}

static void on_failed(struct recorder *r, int error, const char *text)
{
	bool first = r->error == 0;

	if (error != r->error)
		log_error("cannot write: %s (%s); operations are refused until it works again",
			  text, strerror(-error));
	r->error = error;
	(void)snprintf(r->error_text, sizeof(r->error_text), "%s", text);
	if (first) {
		r->refused = 0;
		if (r->warden)
			fail_waiting(r->warden, error);
		for (size_t i = 0; i < RECORDER_WORKERS_MAX; i++) {
			if (r->workers[i])
				fail_waiting(r->workers[i], error);
		}
		approvals_on_failed(r);
	}
	if (!r->stopping && timer_set(r->loop, &r->retry_timer, RETRY_MS, on_retry) < 0)
		loop_stop(r->loop, 1);
}

/* {"change":"resumed","n_unacknowledged":…,"reason":"…","refused":…,"unacknowledged":[…]} */
void recorder_note_resumed(struct recorder *r)
{
	struct jsonw w;

	buf_reset(&r->body);
	jsonw_init(&w, &r->body);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "change", "resumed");
	jsonw_uint(&w, "n_unacknowledged", r->n_unacknowledged);
	jsonw_str(&w, "reason", r->error_text);
	jsonw_uint(&w, "refused", r->refused);
	jsonw_array(&w, "unacknowledged");
	for (size_t i = 0; i < MIN(r->n_unacknowledged, (uint64_t)UNACKNOWLEDGED_KEPT); i++)
		jsonw_uint(&w, NULL, r->unacknowledged[i]);
	jsonw_close(&w);
	jsonw_close(&w);
	if (jsonw_end(&w) < 0 || recorder_append(r, EVENT_RECORDER, buf_span(&r->body)) < 0)
		log_error("cannot record that writing was resumed");
	log_info("writing again; %llu requests were refused meanwhile",
		 (unsigned long long)r->refused);
	r->refused = 0;
	r->n_unacknowledged = 0;
	*r->error_text = '\0';
}

static void reached_disk(struct conn *c)
{
	while (c->n > 0 && c->ring[c->first].seq <= c->r->committed) {
		c->first = (c->first + 1) % DURABLES_MAX;
		c->n--;
	}
	recorder_flush_acks(c);
}

static void on_written(struct recorder *r)
{
	r->committed = r->writing->before + r->writing->events;
	r->writing = NULL;
	if (r->error) {
		r->error = 0;
		recorder_note_resumed(r);
	}
	if (r->warden)
		reached_disk(r->warden);
	for (size_t i = 0; i < RECORDER_WORKERS_MAX; i++) {
		if (r->workers[i])
			reached_disk(r->workers[i]);
	}
	approvals_on_committed(r);
	recorder_commit_if_due(r);
}

void recorder_collect(struct recorder *r)
{
	char text[STORE_ERROR_MAX];
	int result;

	if (!writer_collect(r->writer, &result, text))
		return;
	r->with_writer = false;
	if (result < 0)
		on_failed(r, result, text);
	else
		on_written(r);
}

void recorder_sign(struct recorder *r)
{
	_cleanup_buf_ struct buf note = BUF_INIT(NOTE_MAX);
	_cleanup_buf_ struct buf frontier = BUF_INIT(TREE_FRONTIER_MAX);
	struct batch *b = r->filling;
	struct item *item = &b->items[b->n];
	uint8_t root[HASH_LEN];

	if (!r->open || r->error || r->tree.size == r->signed_size ||
	    !batch_has_room(b, NOTE_MAX + TREE_FRONTIER_MAX, true))
		return;
	*item = (struct item){.type = ITEM_CHECKPOINT, .checkpoint = {.size = r->tree.size}};
	tree_root(&r->tree, root);
	if (note_sign_checkpoint(&r->key, r->tree.size, root, &note) < 0 ||
	    tree_put_frontier(&r->tree, &frontier) < 0 ||
	    batch_put(b, buf_span(&note), &item->checkpoint.note) < 0 ||
	    batch_put(b, buf_span(&frontier), &item->checkpoint.frontier) < 0) {
		log_error("cannot sign a checkpoint of %llu events",
			  (unsigned long long)r->tree.size);
		return;
	}
	if (b->n == 0)
		b->oldest_ns = now_ns();
	b->n++;
	r->signed_size = r->tree.size;
	r->signed_ns = now_ns();
	entry_time(wall_ns(), r->signed_time);
}

void recorder_note_closed(struct recorder *r, const struct conn *c, const char *reason)
{
	struct jsonw w;

	if (!r->open)
		return;
	buf_reset(&r->body);
	jsonw_init(&w, &r->body);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "change", "channel.closed");
	jsonw_str(&w, "reason", reason);
	if (!c->warden)
		jsonw_uint(&w, "worker", c->index);
	jsonw_close(&w);
	if (jsonw_end(&w) < 0 || recorder_append(r, EVENT_RECORDER, buf_span(&r->body)) < 0)
		log_error("cannot record that a channel was closed");
}
