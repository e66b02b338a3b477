#include "roles/recorder_priv.h"

#include "audit/json_check.h"
#include "audit/search.h"
#include "base/json.h"
#include "roles/log.h"

#define SECONDS_MAX	 (7u * 24 * 3600) /* an approval waits, or is valid, at most so long */
#define NS_PER_S	 UINT64_C(1000000000)
#define GROUPS_BYTES_MAX 4096u

static struct live *find(const struct recorder *r, const char *id)
{
	for (size_t i = r->n_lives; i > 0; i--) {
		if (streq(r->lives[i - 1]->id, id))
			return r->lives[i - 1];
	}
	return NULL;
}

static void send_state(struct conn *c, uint64_t request, const struct live *a, int error)
{
	struct msg_approval_state m = {.request = request, .error = error};

	if (a) {
		memcpy(m.id, a->id, sizeof(m.id));
		m.state = a->state;
		m.by = span_str(a->by);
		m.why = span_str(a->why);
	}
	buf_reset(&c->r->out);
	recorder_send(c->r, c, MSG_APPROVAL_STATE, msg_put_approval_state(&c->r->out, &m));
}

static void send_decided(struct recorder *r, uint32_t request, uint8_t state, bool done,
			 const char *text)
{
	const struct msg_approval_decided m = {
		.request = request, .state = state, .done = done, .text = span_str(text)};

	if (!r->warden)
		return;
	buf_reset(&r->out);
	recorder_send(r, r->warden, MSG_APPROVAL_DECIDED, msg_put_approval_decided(&r->out, &m));
}

static void free_live(struct recorder *r, size_t at)
{
	struct live *a = r->lives[at];

	timer_del(r->loop, &a->timer);
	r->live_bytes -= a->groups.len + a->body.len;
	memmove(&r->lives[at], &r->lives[at + 1], (r->n_lives - at - 1) * sizeof(r->lives[0]));
	r->n_lives--;
	free(a);
}

/* Of those that are done with, keep the latest. */
static void prune(struct recorder *r)
{
	size_t done = r->n_lives - r->n_live;

	for (size_t i = 0; i < r->n_lives && done > RECENT_MAX;) {
		const struct live *a = r->lives[i];

		if (approval_is_final(a->state) && !a->untold && !a->decided) {
			free_live(r, i);
			done--;
		} else {
			i++;
		}
	}
}

void approvals_free(struct recorder *r)
{
	while (r->n_lives > 0)
		free_live(r, r->n_lives - 1);
	r->n_live = 0;
}

static void copy_text(char *to, size_t size, struct span s)
{
	size_t n = s.len > 0 ? strnlen((const char *)s.p, MIN(s.len, size - 1)) : 0;

	if (n > 0)
		memcpy(to, s.p, n);
	to[n] = '\0';
}

/* Move it, with an event. What permits something is not done when it cannot be recorded; what
 * refuses is done all the same. */
static int change(struct live *a, enum approval_state to, const char *why)
{
	struct recorder *r = a->r;
	uint8_t before = a->state;
	bool permits = to == APPROVAL_APPROVED || to == APPROVAL_CONSUMED;
	int result;

	if (approval_move(&a->state, to) < 0)
		return -EPERM;
	if (why)
		(void)snprintf(a->why, sizeof(a->why), "%s", why);
	result = approval_put_event(r, a);
	if (result < 0 && permits) {
		a->state = before;
		return result;
	}
	if (result < 0)
		log_error("approval %s: that it is %s cannot be recorded: %s", a->id,
			  approval_state_name(to), strerror(-result));
	a->change_seq = r->tree.size;
	if (approval_is_final(a->state)) {
		r->n_live--;
		timer_del(r->loop, &a->timer);
	}
	return 0;
}

static void tell(struct live *a)
{
	a->untold = false;
	if (a->asker)
		send_state(a->asker, a->request, a, 0);
}

/* Tell the asker once it is on disk; at once when the disk fails, for it only refuses. */
static void tell_later(struct live *a)
{
	a->untold = true;
	if (a->r->error)
		tell(a);
	else
		recorder_after(a->r);
}

static int set_due(struct live *a, uint32_t seconds, void (*on_due)(struct timer *t))
{
	a->due_ns = now_ns() + seconds * NS_PER_S;
	a->expires_ns = wall_ns() + seconds * NS_PER_S;
	return timer_set(a->r->loop, &a->timer, seconds * UINT64_C(1000), on_due);
}

static void on_due(struct timer *t)
{
	struct live *a = OWNER_OF(t, struct live, timer);
	int r = a->state == APPROVAL_PENDING
			? change(a, APPROVAL_EXPIRED, "nobody decided in time")
			: change(a, APPROVAL_LAPSED, "it was not used in time");

	if (r == 0)
		tell_later(a);
}

static bool taken(struct recorder *r, const char *id)
{
	char path[4096];
	char error[STORE_ERROR_MAX];

	if (find(r, id))
		return true;
	if (!r->reader) {
		(void)snprintf(path, sizeof(path), "%s/" STORE_FILE, r->config->state_dir);
		if (store_open_read(path, error, &r->reader) < 0)
			return true;
	}
	return store_find_approval(r->reader, id, NULL, NULL) != -ENOENT;
}

static int new_id(struct recorder *r, char *ret_id)
{
	char id[APPROVAL_ID_MAX] = "";

	for (int i = 0; i < 8; i++) {
		int result = approval_id_make(id);

		if (result < 0)
			return result;
		if (!taken(r, id)) {
			memcpy(ret_id, id, sizeof(id));
			return 0;
		}
	}
	return -EIO;
}

static struct live *add(struct recorder *r, struct span groups, struct span body)
{
	struct live *a;

	if (r->n_lives == ARRAY_SIZE(r->lives))
		return NULL;
	a = calloc(1, sizeof(*a) + groups.len + body.len);
	if (!a)
		return NULL;
	a->r = r;
	if (groups.len > 0)
		memcpy(a->data, groups.p, groups.len);
	if (body.len > 0)
		memcpy(a->data + groups.len, body.p, body.len);
	a->groups = span_of(a->data, groups.len);
	a->body = span_of(a->data + groups.len, body.len);
	r->live_bytes += groups.len + body.len;
	r->lives[r->n_lives++] = a;
	return a;
}

/* Who asks: a person may not decide what they have asked for. A body that people's tools would
 * refuse to read (a NUL in a string) cannot be shown, so it cannot be decided on either. */
static int find_asker(struct live *a)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	json_t *subject;
	int r;

	r = json_load_strict(a->body, &root);
	if (r < 0)
		return r;
	subject = search_get(root, "who", "token", "subject", NULL);
	copy_text(a->asker_name, sizeof(a->asker_name),
		  span_of(json_string_value(subject), json_string_length(subject)));
	return 0;
}

static int ask(struct conn *c, const struct msg_approval_ask *m)
{
	struct recorder *r = c->r;
	size_t need = m->groups.len + m->body.len;
	struct live *a;
	int result;

	if (m->body.len > APPROVAL_BODY_MAX || m->groups.len > GROUPS_BYTES_MAX)
		return -E2BIG;
	prune(r);
	if (r->n_live == LIVE_MAX || r->live_bytes + need > LIVE_BYTES_MAX)
		return -ENOBUFS;
	result = recorder_make_room(r, 2 * need + 3 * ENTRY_EXTRA_MAX + ENTRY_NODE_MAX);
	if (result < 0)
		return result;
	a = add(r, m->groups, m->body);
	if (!a)
		return -ENOMEM;
	a->state = APPROVAL_PENDING;
	a->asked_ns = wall_ns();
	a->valid_s = MIN(m->valid_s, SECONDS_MAX);
	memcpy(a->digest, m->digest, sizeof(a->digest));
	result = find_asker(a);
	if (result == 0)
		result = new_id(r, a->id);
	if (result == 0)
		result = set_due(a, MIN(m->wait_s, SECONDS_MAX), on_due);
	if (result == 0)
		result = approval_put_event(r, a);
	if (result < 0) {
		free_live(r, r->n_lives - 1);
		return result;
	}
	r->n_live++;
	a->change_seq = r->tree.size;
	a->asker = c;
	a->request = m->request;
	a->untold = true;
	return 0;
}

int approvals_on_ask(struct conn *c, struct span payload)
{
	uint8_t digest[HASH_LEN];
	struct msg_approval_ask m;
	int error;

	if (msg_get_approval_ask(payload, &m) < 0 || c->warden ||
	    json_check(m.body, ENTRY_BODY_DEPTH - 1, NULL) < 0)
		return -EBADMSG;
	tree_digest(m.body, digest);
	if (memcmp(digest, m.digest, sizeof(digest)) != 0)
		return -EBADMSG;
	error = c->r->error ? c->r->error : ask(c, &m);
	if (error < 0) {
		c->r->refused++;
		send_state(c, m.request, NULL, error);
	}
	return 0;
}

static void end(struct live *a, const char *why)
{
	enum approval_state to =
		a->state == APPROVAL_PENDING ? APPROVAL_WITHDRAWN : APPROVAL_LAPSED;

	if (!approval_is_final(a->state) && change(a, to, why) == 0)
		tell_later(a);
}

int approvals_on_withdraw(struct conn *c, struct span payload)
{
	struct msg_approval_ref m;
	struct live *a;

	if (msg_get_approval_ref(payload, &m) < 0 || c->warden)
		return -EBADMSG;
	a = find(c->r, m.id);
	if (a && a->asker == c)
		end(a, "the program that asked has gone");
	return 0;
}

int approvals_on_consume(struct conn *c, struct span payload)
{
	struct msg_approval_ref m;
	struct live *a;
	int result;

	if (msg_get_approval_ref(payload, &m) < 0 || c->warden)
		return -EBADMSG;
	a = find(c->r, m.id);
	if (!a || a->asker != c) {
		send_state(c, m.request, NULL, -ENOENT);
		return 0;
	}
	a->request = m.request;
	if (c->r->error || a->untold) {
		send_state(c, m.request, a, c->r->error ? c->r->error : -EBUSY);
		return 0;
	}
	if (a->state == APPROVAL_APPROVED && now_ns() >= a->due_ns)
		(void)change(a, APPROVAL_LAPSED, "it was not used in time");
	if (a->state != APPROVAL_APPROVED) {
		/* An answer that refuses; CONSUMED is never told twice. */
		send_state(c, m.request, a, a->state == APPROVAL_CONSUMED ? -EPERM : 0);
		return 0;
	}
	result = change(a, APPROVAL_CONSUMED, NULL);
	if (result < 0)
		send_state(c, m.request, a, result);
	else
		tell_later(a);
	return 0;
}

/* One that is not in memory any more. */
static int old_state(void *ctx, const struct store_approval *a)
{
	*(unsigned *)ctx = approval_state_of(a->state);
	return 1;
}

static const char *objection_to_old(struct recorder *r, const char *id,
				    const struct msg_approval_decide *m, unsigned *ret_state)
{
	struct approval_question q = {.asker = ""};
	unsigned state = 0;

	*ret_state = 0;
	if (!taken(r, id) || !r->reader ||
	    store_find_approval(r->reader, id, old_state, &state) < 0 || state == 0)
		return "there is no such approval";
	q.state = (uint8_t)state;
	*ret_state = state;
	/* Whatever is open is in memory. */
	return state == APPROVAL_PENDING ? "it is being withdrawn" : approval_objection(&q, m);
}

static const char *decide(struct live *a, const struct msg_approval_decide *m)
{
	const struct approval_question q = {
		.state = a->state,
		.digest = a->digest,
		.groups = a->groups,
		.asker = a->asker_name,
	};
	const char *objection = approval_objection(&q, m);
	uint64_t expires_ns = a->expires_ns;
	int result;

	if (objection)
		return objection;
	copy_text(a->by, sizeof(a->by), m->by);
	copy_text(a->why, sizeof(a->why), m->reason);
	if (m->approve)
		a->expires_ns = wall_ns() + a->valid_s * NS_PER_S;
	result = change(a, m->approve ? APPROVAL_APPROVED : APPROVAL_DENIED, NULL);
	if (result < 0) {
		*a->by = *a->why = '\0';
		a->expires_ns = expires_ns;
		return "it cannot be recorded at the moment: try again";
	}
	if (m->approve && set_due(a, a->valid_s, on_due) < 0)
		end(a, "out of memory");
	a->decided = true;
	a->decide_request = m->request;
	tell_later(a);
	return NULL;
}

int approvals_on_decide(struct conn *c, struct span payload)
{
	struct recorder *r = c->r;
	struct msg_approval_decide m;
	const char *objection;
	unsigned state = 0;
	struct live *a;

	if (msg_get_approval_decide(payload, &m) < 0 || !c->warden)
		return -EBADMSG;
	a = find(r, m.id);
	if (r->error)
		objection = "the recorder cannot write at the moment: nothing can be decided";
	else if (!a)
		objection = objection_to_old(r, m.id, &m, &state);
	else
		objection = decide(a, &m);
	if (objection)
		send_decided(r, m.request, a ? a->state : (uint8_t)state, false, objection);
	return 0;
}

int approvals_on_list(struct conn *c, struct span payload)
{
	_cleanup_buf_ struct buf list = BUF_INIT(CHAN_MSG_MAX - 64);
	struct recorder *r = c->r;
	struct msg_approval_list_get get;
	struct msg_approval_list answer;
	uint32_t more = 0;

	if (msg_get_approval_list_get(payload, &get) < 0 || !c->warden)
		return -EBADMSG;
	if (*get.id)
		(void)taken(r, get.id); /* opens the reader for it */
	if (approval_list(r, &get, &list, &more) < 0) {
		buf_reset(&list);
		buf_put_str(&list, "[]");
	}
	answer = (struct msg_approval_list){
		.request = get.request, .more = more, .body = buf_span(&list)};
	buf_reset(&r->out);
	recorder_send(r, c, MSG_APPROVAL_LIST, msg_put_approval_list(&r->out, &answer));
	return 0;
}

void approvals_on_conn_closed(struct conn *c)
{
	struct recorder *r = c->r;

	for (size_t i = 0; i < r->n_lives; i++) {
		struct live *a = r->lives[i];

		if (a->asker != c)
			continue;
		a->asker = NULL;
		end(a, "the worker that held it has gone");
	}
}

void approvals_end_all(struct recorder *r, const char *why)
{
	for (size_t i = 0; i < r->n_lives; i++)
		end(r->lives[i], why);
}

void approvals_on_committed(struct recorder *r)
{
	for (size_t i = 0; i < r->n_lives; i++) {
		struct live *a = r->lives[i];
		bool stands = a->state == APPROVAL_APPROVED || a->state == APPROVAL_DENIED ||
			      a->state == APPROVAL_CONSUMED;

		if (a->change_seq > r->committed)
			continue;
		if (a->untold)
			tell(a);
		if (a->decided)
			send_decided(r, a->decide_request, a->state, stands, stands ? "" : a->why);
		a->decided = false;
	}
	prune(r);
}

void approvals_on_failed(struct recorder *r)
{
	for (size_t i = 0; i < r->n_lives; i++) {
		struct live *a = r->lives[i];

		if (a->change_seq <= r->committed || (!a->untold && !a->decided))
			continue;
		if (!approval_is_final(a->state))
			(void)change(a,
				     a->state == APPROVAL_PENDING ? APPROVAL_WITHDRAWN
								  : APPROVAL_LAPSED,
				     "the recorder could not write");
		if (a->untold && a->asker)
			send_state(a->asker, a->request, a, r->error);
		if (a->decided)
			send_decided(r, a->decide_request, a->state, false,
				     "it could not be recorded; the operation is refused");
		a->untold = a->decided = false;
	}
}

struct loading {
	struct recorder *r;
	size_t final;
};

static int load_one(void *ctx, const struct store_approval *row)
{
	struct loading *l = ctx;
	unsigned state = approval_state_of(row->state);
	struct live *a;

	/* Rows are not evidence: one that nobody can have written is passed over. */
	if (state == 0 || row->id.len == 0 || row->id.len >= APPROVAL_ID_MAX ||
	    row->digest.len != SHA256_LEN || json_check(row->body, ENTRY_BODY_DEPTH - 1, NULL) < 0)
		return 0;
	if (approval_is_final(state) && l->final++ >= RECENT_MAX)
		return 0;
	a = add(l->r, row->groups, row->body);
	if (!a)
		return l->r->n_lives == ARRAY_SIZE(l->r->lives) ? 1 : -ENOMEM;
	copy_text(a->id, sizeof(a->id), row->id);
	memcpy(a->digest, row->digest.p, SHA256_LEN);
	a->state = (uint8_t)state;
	a->asked_ns = row->asked_ns;
	a->expires_ns = row->expires_ns;
	copy_text(a->by, sizeof(a->by), row->by);
	copy_text(a->why, sizeof(a->why), row->reason);
	l->r->n_live += !approval_is_final(state);
	return 0;
}

int approvals_load(struct recorder *r, struct store *store)
{
	struct loading l = {.r = r};
	int result = store_approvals(store, load_one, &l);

	if (result < 0)
		return result;
	/* They came newest first. */
	for (size_t i = 0; i < r->n_lives / 2; i++) {
		struct live *a = r->lives[i];

		r->lives[i] = r->lives[r->n_lives - 1 - i];
		r->lives[r->n_lives - 1 - i] = a;
	}
	/* Connections that were held were refused when the recorder ended. */
	approvals_end_all(r, "the recorder was started anew");
	return 0;
}
