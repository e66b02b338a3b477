#include "roles/recorder_priv.h"

#include "audit/json_check.h"
#include "base/jsonw.h"

#define HEAD_TEXT_BYTES 200u /* of an operation's text, in a list */

static void put_member(struct jsonw *w, struct span body, const char *key)
{
	struct span value;

	if (json_member(body, key, &value) == 0)
		jsonw_raw(w, key, value);
}

static void put_groups(struct jsonw *w, struct span groups)
{
	const char *group;

	jsonw_array(w, "groups");
	while (msg_next_string(&groups, &group) == 0)
		jsonw_str(w, NULL, group);
	jsonw_close(w);
}

static void put_session(struct jsonw *w, struct span body)
{
	struct span session = entry_session(body);

	if (session.len > 0)
		jsonw_span(w, "session", session);
}

/* The event holds what the digest is of when it is asked for; afterwards what it is about. */
static int build_event(struct buf *out, const struct live *a)
{
	bool asked = a->state == APPROVAL_PENDING;
	struct jsonw w;

	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	if (*a->by)
		jsonw_str(&w, "by", a->by);
	jsonw_hex(&w, "digest", span_of(a->digest, SHA256_LEN));
	if (asked || a->state == APPROVAL_APPROVED) {
		char time[ENTRY_TIME_LEN + 1];

		entry_time(a->expires_ns, time);
		jsonw_str(&w, "expires", time);
	}
	if (asked)
		put_groups(&w, a->groups);
	jsonw_str(&w, "id", a->id);
	if (*a->why)
		jsonw_str(&w, "reason", a->why);
	if (asked)
		jsonw_raw(&w, "request", a->body);
	else
		put_member(&w, a->body, "resource");
	put_session(&w, a->body);
	jsonw_str(&w, "state", approval_state_name(a->state));
	if (!asked) {
		put_member(&w, a->body, "verdict");
		put_member(&w, a->body, "who");
	}
	jsonw_close(&w);
	return jsonw_end(&w);
}

static int put_row(struct batch *b, const struct live *a)
{
	struct item *item = &b->items[b->n];
	bool is_new = a->state == APPROVAL_PENDING;
	struct item_approval row = {
		.state = approval_state_name(a->state),
		.asked_ns = a->asked_ns,
		.expires_ns = a->expires_ns,
	};
	int r;

	memcpy(row.id, a->id, sizeof(row.id));
	memcpy(row.digest, a->digest, sizeof(row.digest));
	r = batch_put(b, span_str(a->by), &row.by);
	if (r == 0)
		r = batch_put(b, span_str(a->why), &row.reason);
	if (r == 0 && is_new)
		r = batch_put(b, a->groups, &row.groups);
	if (r == 0 && is_new)
		r = batch_put(b, a->body, &row.body);
	if (r < 0)
		return r;
	*item = (struct item){.type = is_new ? ITEM_APPROVAL_NEW : ITEM_APPROVAL, .approval = row};
	b->n++;
	return 0;
}

int approval_put_event(struct recorder *r, const struct live *a)
{
	size_t row = sizeof(a->by) + sizeof(a->why) + a->groups.len + a->body.len;
	struct batch *b = r->filling;
	int result;

	result = build_event(&r->body, a);
	if (result < 0)
		return result;
	/* Event and row go into the same transaction, or neither: reserve for both first. */
	if (b->n + 2 > BATCH_ITEMS_MAX)
		return -ENOBUFS;
	if (!buf_reserve(&b->bytes,
			 buf_len(&r->body) + buf_len(&r->node) + ENTRY_EXTRA_MAX + row)) {
		result = buf_error(&b->bytes);
		b->bytes.error = 0;
		return result;
	}
	result = recorder_append(r, EVENT_APPROVAL, buf_span(&r->body));
	if (result == 0)
		result = put_row(b, a);
	if (result == 0)
		b->urgent = true;
	return result;
}

/* The front of a JSON string as it stands, cut between characters and escapes. */
static void put_text_head(struct jsonw *w, struct span text)
{
	uint8_t head[HEAD_TEXT_BYTES + 2];
	size_t len = 1;

	if (text.len <= HEAD_TEXT_BYTES) {
		jsonw_raw(w, "text", text);
		return;
	}
	for (size_t next = 1; next <= HEAD_TEXT_BYTES;) {
		uint8_t c = text.p[next];

		len = next;
		if (c == '\\')
			next += text.p[next + 1] == 'u' ? 6 : 2;
		else
			next += c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	}
	memcpy(head, text.p, len);
	head[len] = '"';
	jsonw_uint(w, "cut", 1);
	jsonw_raw(w, "text", span_of(head, len + 1));
}

/* What tells one from another in a list. The body is for who asks for one: many are long. */
static void put_head(struct jsonw *w, struct span body)
{
	struct span op;
	struct span token;
	struct span text;
	struct span who;

	jsonw_object(w, "head");
	if (json_member(body, "op", &op) == 0 && op.p[0] == '{') {
		jsonw_object(w, "op");
		if (json_member(op, "text", &text) == 0 && text.p[0] == '"')
			put_text_head(w, text);
		put_member(w, op, "verbs");
		jsonw_close(w);
	}
	put_member(w, body, "resource");
	if (json_member(body, "who", &who) == 0 && who.p[0] == '{') {
		jsonw_object(w, "who");
		if (json_member(who, "token", &token) == 0 && token.p[0] == '{') {
			jsonw_object(w, "token");
			put_member(w, token, "subject");
			jsonw_close(w);
		}
		put_member(w, who, "workload");
		jsonw_close(w);
	}
	jsonw_close(w);
}

static int put_listed(struct buf *out, const struct store_approval *a, bool whole)
{
	struct jsonw w;

	buf_reset(out);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	jsonw_uint(&w, "asked", a->asked_ns);
	if (whole)
		jsonw_raw(&w, "body", a->body);
	if (a->by.len > 0)
		jsonw_span(&w, "by", a->by);
	jsonw_hex(&w, "digest", a->digest);
	jsonw_uint(&w, "expires", a->expires_ns);
	put_groups(&w, a->groups);
	if (!whole)
		put_head(&w, a->body);
	jsonw_span(&w, "id", a->id);
	if (a->reason.len > 0)
		jsonw_span(&w, "reason", a->reason);
	jsonw_span(&w, "state", a->state);
	jsonw_close(&w);
	return jsonw_end(&w);
}

struct listing {
	struct recorder *r;
	struct buf *out;
	bool whole;    /* bodies too: one is asked for */
	uint32_t more; /* did not fit any more */
};

/* What does not fit is counted: the order of the list is that of urgency. */
static int list_one(void *ctx, const struct store_approval *a)
{
	struct listing *l = ctx;
	struct buf *one = &l->r->body;
	/* Rows are not evidence: one that somebody changed must not spoil the answer. */
	int r = json_check(a->body, JSON_CHECK_DEPTH_MAX - 2, NULL) == 0
			? put_listed(one, a, l->whole)
			: -EBADMSG;

	if (r < 0)
		return 0;
	if (l->more > 0 || buf_len(one) + 2 > buf_room(l->out)) {
		l->more++;
		return 0;
	}
	if (buf_len(l->out) > 1)
		buf_put_u8(l->out, ',');
	(void)buf_put_span(l->out, buf_span(one));
	return 0;
}

static int list_live(struct listing *l, const struct live *a)
{
	const struct store_approval row = {
		.id = span_str(a->id),
		.state = span_str(approval_state_name(a->state)),
		.digest = span_of(a->digest, SHA256_LEN),
		.asked_ns = a->asked_ns,
		.expires_ns = a->expires_ns,
		.groups = a->groups,
		.body = a->body,
		.by = span_str(a->by),
		.reason = span_str(a->why),
	};

	return list_one(l, &row);
}

static void list_by_id(struct listing *l, const char *id)
{
	for (size_t i = 0; i < l->r->n_lives; i++) {
		if (streq(l->r->lives[i]->id, id)) {
			(void)list_live(l, l->r->lives[i]);
			return;
		}
	}
	/* Not found, or not readable: the list stays empty. */
	if (l->r->reader && store_find_approval(l->r->reader, id, list_one, l) < 0)
		return;
}

static unsigned rank_of(const struct live *a)
{
	return a->state == APPROVAL_PENDING ? 0 : approval_is_final(a->state) ? 2 : 1;
}

int approval_list(struct recorder *r, const struct msg_approval_list_get *get, struct buf *out,
		  uint32_t *ret_more)
{
	struct listing l = {.r = r, .out = out, .whole = *get->id != '\0'};
	int result;

	buf_put_u8(out, '[');
	if (*get->id) {
		list_by_id(&l, get->id);
		return buf_put_u8(out, ']');
	}
	for (unsigned rank = 0; rank < 3; rank++) {
		for (size_t i = r->n_lives; i > 0; i--) {
			if (rank_of(r->lives[i - 1]) == rank)
				(void)list_live(&l, r->lives[i - 1]);
		}
	}
	result = buf_put_u8(out, ']');
	if (result == 0)
		*ret_more = l.more;
	return result;
}
