#include "roles/control_state.h"

#include "approval/approval.h"
#include "roles/log.h"

#define REASON_MAX 512u

static bool is_root(const struct client *c)
{
	return c->uid == 0;
}

static const char *text_of(json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static struct client *waiting(struct warden *w, enum control_wait what, uint32_t request)
{
	if (!w->control)
		return NULL;
	for (struct client *c = w->control->clients; c; c = c->next)
		if (c->waits == what && c->request == request)
			return c;
	return NULL;
}

/* Send to the recorder; the answer comes by what. */
static void ask_recorder(struct client *c, uint16_t type, int encoded, const struct buf *b,
			 enum control_wait what)
{
	struct warden *w = c->control->warden;
	int r = encoded;

	if (r == 0)
		r = w->recorder.chan ? chan_send(w->recorder.chan, type, buf_span(b), NULL, 0)
				     : -EPIPE;
	if (r < 0)
		control_refuse(c, "the recorder cannot be asked now: %s", strerror(-r));
	else
		c->waits = what;
}

static void list(struct client *c, const char *id)
{
	_cleanup_buf_ struct buf b = BUF_INIT(256);
	struct msg_approval_list_get m = {.request = ++c->control->last_request};

	if (id && approval_id_parse(id, m.id) < 0) {
		control_refuse(c, "not an approval's id: they look like ap-7K3F-Q2MX");
		return;
	}
	c->request = m.request;
	c->show = id != NULL;
	ask_recorder(c, MSG_APPROVAL_LIST_GET, msg_put_approval_list_get(&b, &m), &b,
		     CONTROL_WAITS_LIST);
}

void control_approval_list(struct warden *w, struct span payload)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CONTROL_ANSWER_MAX);
	struct msg_approval_list m;
	struct client *c;
	struct jsonw j;

	if (msg_get_approval_list(payload, &m) < 0) {
		child_give_up(&w->recorder, "sent a message that is not understood");
		return;
	}
	c = waiting(w, CONTROL_WAITS_LIST, m.request);
	if (!c)
		return;
	if (c->show && span_eq_str(m.body, "[]")) {
		control_refuse(c, "there is no such approval");
		return;
	}
	jsonw_init(&j, &b);
	jsonw_object(&j, NULL);
	jsonw_raw(&j, "approvals", m.body);
	jsonw_uint(&j, "more", m.more);
	jsonw_int(&j, "ok", 1);
	jsonw_close(&j);
	if (jsonw_end(&j) < 0)
		control_refuse(c, "the list is too long to be sent");
	else
		control_answer(c, buf_span(&b));
}

static void decide(struct client *c, json_t *request, bool approve)
{
	_cleanup_buf_ struct buf groups = BUF_INIT(16384);
	_cleanup_buf_ struct buf b = BUF_INIT(65536);
	const char *digest = text_of(request, "digest");
	const char *reason = text_of(request, "reason");
	const char *id = text_of(request, "id");
	struct msg_approval_decide m = {.approve = approve};
	int r;

	if (!c->approver) {
		control_refuse(c, "uid %u is not among the approvers of the configuration", c->uid);
		return;
	}
	if (!id || approval_id_parse(id, m.id) < 0) {
		control_refuse(c, "not an approval's id: they look like ap-7K3F-Q2MX");
		return;
	}
	/* An approval is for what was shown: without its digest it is for nothing. */
	if (approve && (!digest || strlen(digest) != (size_t)SHA256_LEN * 2)) {
		control_refuse(c, "an approval needs the digest of what was shown");
		return;
	}
	if (reason && strlen(reason) > REASON_MAX) {
		control_refuse(c, "the reason is longer than %u bytes", REASON_MAX);
		return;
	}
	m.request = ++c->control->last_request;
	m.by = span_str(c->approver->name);
	(void)msg_put_strings(&groups, c->approver->groups, c->approver->n_groups);
	m.groups = buf_span(&groups);
	m.digest = span_str(digest);
	m.reason = span_str(reason);
	c->request = m.request;
	r = buf_error(&groups);
	if (r == 0)
		r = msg_put_approval_decide(&b, &m);
	ask_recorder(c, MSG_APPROVAL_DECIDE, r, &b, CONTROL_WAITS_DECISION);
}

void control_approval_decided(struct warden *w, struct span payload)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct msg_approval_decided m;
	struct client *c;
	struct jsonw j;

	if (msg_get_approval_decided(payload, &m) < 0) {
		child_give_up(&w->recorder, "sent a message that is not understood");
		return;
	}
	c = waiting(w, CONTROL_WAITS_DECISION, m.request);
	if (!c)
		return;
	jsonw_init(&j, &b);
	jsonw_object(&j, NULL);
	if (m.done && c->approver)
		jsonw_str(&j, "by", c->approver->name);
	if (!m.done)
		jsonw_span(&j, "error", span_head(m.text, 1024));
	jsonw_int(&j, "ok", m.done);
	jsonw_str(&j, "state", approval_state_name(m.state));
	jsonw_close(&j);
	if (jsonw_end(&j) < 0)
		control_refuse(c, "the answer could not be written");
	else
		control_answer(c, buf_span(&b));
}

void control_recorder_lost(struct warden *w)
{
	struct client *next;

	if (!w->control)
		return;
	for (struct client *c = w->control->clients; c; c = next) {
		next = c->next;
		if (c->waits == CONTROL_WAITS_LIST || c->waits == CONTROL_WAITS_DECISION)
			control_refuse(c, "the recorder went away before it answered: ask again, "
					  "and look whether it was decided");
	}
}

/* Of root or an approver; nobody else is listened to (control.c). */
void control_request(struct client *c, json_t *request)
{
	const char *verb = text_of(request, "verb");

	if (c->control->warden->ending) {
		control_refuse(c, "sluiced is stopping");
	} else if (!verb) {
		control_refuse(c, "the request has no verb");
	} else if (streq(verb, "status")) {
		control_status_ask(c);
	} else if (streq(verb, "approvals-list")) {
		list(c, NULL);
	} else if (streq(verb, "approvals-show")) {
		const char *id = text_of(request, "id");

		list(c, id ? id : "");
	} else if (streq(verb, "approve")) {
		decide(c, request, true);
	} else if (streq(verb, "deny")) {
		decide(c, request, false);
	} else if (!streq(verb, "run")) {
		control_refuse(c, "unknown verb");
	} else if (!is_root(c)) {
		control_refuse(c, "only root may start something governed");
	} else {
		control_run(c, request);
	}
}
