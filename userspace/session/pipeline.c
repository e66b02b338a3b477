#include "session/pipeline.h"

#include <openssl/sha.h>
#include <stdarg.h>

#include "proto/postgres/pg_settings.h"
#include "session/evidence.h"

/* ---- one operation: policy ---- */

/* Where there is no room to look at it. */
static const struct sql_class unread = {
	.verbs = SQL_UNKNOWN,
	.n_statements = 1,
	.statements = (struct sql_statement[]){{.verbs = SQL_UNKNOWN, .kind = ""}},
	.error = "out of memory",
};

static void refuse(struct verdict *v, const char *sqlstate, const char *fmt, ...) _printf_(3, 4);

static void refuse(struct verdict *v, const char *sqlstate, const char *fmt, ...)
{
	va_list ap;

	v->effect = EFFECT_REFUSE;
	va_start(ap, fmt);
	(void)vsnprintf(v->reason, sizeof(v->reason), fmt, ap);
	va_end(ap);
	(void)snprintf(v->sqlstate, sizeof(v->sqlstate), "%s", sqlstate);
}

static bool has_unresolved(const struct sql_class *sql)
{
	for (size_t i = 0; i < sql->n_statements; i++)
		for (size_t j = 0; j < sql->statements[i].n_tables; j++)
			if (!sql->statements[i].tables[j].schema)
				return true;
	return false;
}

/* Names as policy sees them: resolved where it is sure what they stand for. */
static const struct sql_class *resolve_names(struct session *s, const struct sql_class *sql,
					     struct arena *arena)
{
	struct search_path path = {
		.known = s->path_known && s->catalog && !s->ddl_open &&
			 s->catalog_epoch == s->engine->catalogs.epoch,
	};

	if (path.known)
		path.n = pg_catalog_search_path(s->catalog, &path.schemas);
	return names_resolve(sql, &path, s->catalog, arena);
}

/* Masks hold whatever an unqualified name stands for: any relation of that name may be meant. */
static bool masks_hold(struct session *s, struct pending_op *p, const struct sql_class *joined,
		       char *why, size_t size)
{
	const struct search_path unknown = {.known = false};
	const struct sql_class *any;

	if (mask_guard(p->op, p->resolved, &p->verdict, s->catalog, why, size) < 0)
		return false;
	if (!has_unresolved(joined))
		return true;
	(void)snprintf(why, size, "this is too large to be checked for masked columns");
	any = names_resolve(joined, &unknown, s->catalog, &p->arena);
	return any && mask_guard(p->op, any, &p->verdict, s->catalog, why, size) == 0;
}

/* Everything that would run can be shown to a person. */
static bool can_be_shown(const struct op *op)
{
	size_t total = 0;

	for (size_t i = 0; i < op->n_params; i++) {
		if (op->params[i].cut)
			return false;
		total += op->params[i].value.len;
	}
	return op->text_len <= op->text.len && !op->params_cut && total <= EVIDENCE_PARAMS_MAX;
}

static void judge(struct session *s, struct pending_op *p)
{
	struct facts facts = session_facts(s);
	const struct sql_class *joined;
	char why[VERDICT_REASON_MAX];

	arena_reset(&p->arena);
	joined = sql_names_join(&s->names, p->op->sql, &p->arena);
	p->resolved = joined ? resolve_names(s, joined, &p->arena) : NULL;
	if (!p->resolved)
		p->resolved = joined = &unread;
	facts.op = p->op;
	facts.sql = p->resolved;
	policy_decide(s->engine->policy, &facts, &p->verdict);
	if (p->verdict.effect != EFFECT_REFUSE && p->verdict.n_masks > 0 &&
	    !masks_hold(s, p, joined, why, sizeof(why)))
		refuse(&p->verdict, "42501", "%s", why);
	if (p->verdict.effect != EFFECT_APPROVE || p->op->kind != OP_RUN)
		return;
	/* A person decides on what is shown: all of it, in its own words. */
	if (!can_be_shown(p->op))
		refuse(&p->verdict, "54000",
		       "this needs a person's approval and is too large to be shown to one");
	else if (p->op->sql->verbs & SQL_EXECUTE)
		refuse(&p->verdict, "0A000",
		       "this needs a person's approval, and EXECUTE does not show what it runs: "
		       "send "
		       "the statement itself");
}

/* True: decided. False: it waits for a catalog (or the session has ended). */
static bool decide(struct session *s, struct pending_op *p)
{
	/* What this session did to the catalog is committed or undone: others can see it too. */
	if (s->ddl_open && !p->op->in_transaction && s->n_slots == 0) {
		s->ddl_open = false;
		s->engine->catalogs.epoch++;
	}
	judge(s, p);
	/* Refused, and a name is not in the catalog: it may be new. Look once. */
	if (p->verdict.effect == EFFECT_REFUSE && !p->reloaded && has_unresolved(p->resolved) &&
	    s->path_known && !s->ddl_open) {
		struct pg_catalog *younger =
			catalogs_get(&s->engine->catalogs, s->resource, s->startup.database,
				     CATALOG_RELOAD_MIN_NS);

		p->reloaded = true;
		if (younger) {
			pg_catalog_unref(s->catalog);
			s->catalog = younger;
			s->catalog_epoch = s->engine->catalogs.epoch;
			judge(s, p);
		} else if (session_load_catalog(s) == 0) {
			p->wait = OP_WAIT_CATALOG;
			return false;
		}
	}
	return true;
}

/* ---- record ---- */

static void lost(struct session *s, int error)
{
	session_on_recorder_lost(s, error == -ENOTCONN	? "the recorder is not running"
				    : error == -ENOBUFS ? "the recorder is behind"
							: "the event could not be written");
}

/* Whatever goes to the server from here on waits until request is held. */
static void close_gate(struct session *s, uint64_t request)
{
	s->gates[s->n_gates++] = (struct gate){
		.position = peer_position(&s->server),
		.request = request,
	};
	s->server.barrier = s->gates[0].position;
}

static int record(struct session *s, struct pending_op *p, bool gated)
{
	struct engine *e = s->engine;
	bool durable = p->verdict.durable || p->verdict.effect == EFFECT_APPROVE;
	uint64_t request;
	int r;

	r = evidence_op(s, p->op, p->resolved, &p->verdict, &e->event);
	if (r == 0)
		r = recorder_link_event(&e->recorder, EVENT_OP, buf_span(&e->event), durable, gated,
					&request);
	if (r < 0)
		return r;
	if (gated)
		close_gate(s, request);
	return 0;
}

/* ---- forward ---- */

static const struct mask_set *masks_of(struct session *s, const struct verdict *v)
{
	struct mask_set *set;

	if (v->n_masks == 0)
		return NULL;
	for (set = s->mask_sets; set; set = set->next)
		if (set->n == v->n_masks &&
		    memcmp(set->masks, v->masks, v->n_masks * sizeof(v->masks[0])) == 0)
			return set;
	set = arena_alloc(&s->arena, sizeof(*set));
	if (!set)
		return NULL;
	set->n = v->n_masks;
	memcpy(set->masks, v->masks, v->n_masks * sizeof(v->masks[0]));
	set->next = s->mask_sets;
	s->mask_sets = set;
	return set;
}

static int add_slot(struct session *s, const struct pending_op *p)
{
	const struct mask_set *masks = masks_of(s, &p->verdict);

	if (p->verdict.n_masks > 0 && !masks)
		return -ENOMEM;
	if (s->n_slots == s->cap_slots) {
		size_t cap = s->cap_slots ? s->cap_slots * 2 : 4;
		struct op_slot *slots = realloc(s->slots, cap * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		s->slots = slots;
		s->cap_slots = cap;
	}
	s->slots[s->n_slots++] = (struct op_slot){
		.id = p->op->id,
		.kind = p->op->kind,
		.state = OP_FORWARDED,
		.masks = masks,
	};
	return 0;
}

static void learn(struct session *s, const struct op *op, const struct sql_class *resolved)
{
	if (!op->sql)
		return;
	if (op->kind == OP_PREPARE || op->sql->verbs & (SQL_PREPARE | SQL_DECLARE))
		sql_names_learn(&s->names, op);
	for (size_t i = 0; i < resolved->n_statements; i++) {
		const struct sql_statement *st = &resolved->statements[i];

		if (!names_may_move(st, s->catalog))
			continue;
		/* Relations come and go; who changes the path, or runs code that nobody here has
		 * read, leaves it unknown for good. */
		if (st->verbs & (SQL_CREATE | SQL_ALTER | SQL_DROP | SQL_UNKNOWN | SQL_CALL)) {
			s->ddl_open = true;
			s->engine->catalogs.epoch++;
		}
		if (st->setting || st->verbs & (SQL_UNKNOWN | SQL_CALL))
			s->path_known = false;
	}
}

static void resume(struct session *s, struct pending_op *p, bool masked)
{
	uint32_t id = p->op->id;
	int r;

	/* The codec may go on to the next operation inside resume(): this one is over first. */
	p->op = NULL;
	p->wait = OP_WAIT_NONE;
	s->agent_hold = false;
	r = s->ops->resume(s->codec, id, &p->verdict, masked);
	if (r < 0)
		session_refuse(s, "XX000", "internal",
			       "sluice: the operation could not be passed on",
			       "Tell the operator of this node.");
	else
		session_pump_later(s);
}

static void forward(struct session *s, struct pending_op *p)
{
	if (op_move(&p->state, OP_FORWARDED) < 0 || add_slot(s, p) < 0) {
		lost(s, -ENOMEM);
		return;
	}
	learn(s, p->op, p->resolved);
	s->n_ops++;
	s->engine->n_ops++;
	/* What the codec is told is only that it may pass. */
	p->verdict.effect = EFFECT_ALLOW;
	resume(s, p, s->masks_in_force);
}

static void turn_down(struct session *s, struct pending_op *p, enum op_state state)
{
	if (op_move(&p->state, state) < 0) {
		lost(s, -EPROTO);
		return;
	}
	s->n_ops++;
	s->n_refused++;
	s->engine->n_ops++;
	resume(s, p, s->masks_in_force);
}

/* ---- approval ---- */

#define NOTICE_MAX 512

static void tell_waiting(struct session *s, const struct pending_op *p)
{
	char text[NOTICE_MAX];
	char hint[NOTICE_MAX];
	const struct proto_error notice = {
		.severity = "NOTICE",
		.sqlstate = "00000",
		.message = text,
		.detail = p->verdict.reason,
		.hint = hint,
	};

	(void)snprintf(text, sizeof(text),
		       "sluice: this statement waits for approval %s, at most %u seconds",
		       p->approval, p->verdict.approval_wait_s);
	(void)snprintf(hint, sizeof(hint), "An approver runs: sluicectl approvals approve %s",
		       p->approval);
	if (s->ops->notice(s->codec, &notice) == 0)
		session_pump_later(s);
}

static int ask(struct session *s, struct pending_op *p)
{
	struct engine *e = s->engine;
	char groups[APPROVER_GROUPS_MAX * 128];
	struct buf b = BUF_INIT(sizeof(groups));
	struct msg_approval_ask m = {
		.wait_s = p->verdict.approval_wait_s,
		.valid_s = p->verdict.approval_valid_s,
	};
	int r = evidence_approval(s, p->op, p->resolved, &p->verdict, &e->event);

	if (r == 0)
		r = msg_put_strings(&b, p->verdict.approver_groups, p->verdict.n_approver_groups);
	if (r == 0) {
		m.body = buf_span(&e->event);
		m.groups = buf_span(&b);
		(void)SHA256(m.body.p, m.body.len, m.digest);
		r = recorder_link_ask(&e->recorder, &m, &p->approval_request);
	}
	buf_done(&b);
	return r;
}

static void hold(struct session *s, struct pending_op *p)
{
	int r = op_move(&p->state, OP_HELD);

	if (r == 0)
		r = record(s, p, false);
	if (r == 0)
		r = ask(s, p);
	if (r < 0) {
		lost(s, r);
		return;
	}
	p->wait = OP_WAIT_APPROVAL;
}

/* The hold ended without an approval: recorded as the operation's result, then refused. */
static void end_hold(struct session *s, struct pending_op *p, enum op_state state,
		     const char *sqlstate, const char *text)
{
	struct op_result result = {0};
	struct engine *e = s->engine;
	uint64_t request;

	refuse(&p->verdict, sqlstate, "%s", text);
	memcpy(result.error, p->verdict.sqlstate, sizeof(result.error));
	if (evidence_result(s, p->op->id, &result, &e->event) == 0)
		(void)recorder_link_event(&e->recorder, EVENT_OP_RESULT, buf_span(&e->event), false,
					  false, &request);
	turn_down(s, p, state);
}

static void on_decided(struct session *s, struct pending_op *p, const struct msg_approval_state *m)
{
	char text[VERDICT_REASON_MAX];

	switch (m->state) {
	case APPROVAL_PENDING:
		memcpy(p->approval, m->id, sizeof(p->approval));
		tell_waiting(s, p);
		return;
	case APPROVAL_APPROVED:
		if (op_move(&p->state, OP_APPROVED) < 0 ||
		    recorder_link_consume(&s->engine->recorder, p->approval, p->approval_request) <
			    0)
			lost(s, -ENOTCONN);
		else
			p->wait = OP_WAIT_CONSUME;
		return;
	case APPROVAL_CONSUMED:
		/* On disk: recorded before it is forwarded. */
		if (op_move(&p->state, OP_RECORDED) < 0)
			lost(s, -EPROTO);
		else
			forward(s, p);
		return;
	case APPROVAL_DENIED:
		(void)snprintf(text, sizeof(text), "approval %s was denied by %.*s%s%.*s", m->id,
			       SPAN_FMT(span_head(m->by, 64)), m->why.len ? ": " : "",
			       SPAN_FMT(span_head(m->why, 100)));
		end_hold(s, p, OP_REFUSED, "42501", text);
		return;
	case APPROVAL_EXPIRED:
	case APPROVAL_LAPSED:
		(void)snprintf(text, sizeof(text),
			       "approval %s was not given in time; nothing was changed", m->id);
		end_hold(s, p, OP_EXPIRED, "57014", text);
		return;
	default:
		(void)snprintf(text, sizeof(text), "approval %s was withdrawn", m->id);
		end_hold(s, p, OP_REFUSED, "57014", text);
		return;
	}
}

void pipeline_on_approval(struct session *s, const struct msg_approval_state *m)
{
	struct pending_op *p = &s->pending;

	if (!p->op || (p->wait != OP_WAIT_APPROVAL && p->wait != OP_WAIT_CONSUME))
		return;
	if (m->error)
		lost(s, m->error);
	else
		on_decided(s, p, m);
}

bool pipeline_cancel_held(struct session *s)
{
	struct pending_op *p = &s->pending;

	if (!p->op || p->wait != OP_WAIT_APPROVAL)
		return false;
	if (*p->approval)
		(void)recorder_link_withdraw(&s->engine->recorder, p->approval);
	end_hold(s, p, OP_REFUSED, "57014", "canceled by the client while it waited for approval");
	return true;
}

/* ---- the order of it all ---- */

static void advance(struct session *s)
{
	struct pending_op *p = &s->pending;
	int r;

	/* Room for one more record and one more operation under way, or wait for acks. */
	if (s->n_gates == GATES_MAX || s->n_slots == OP_SLOTS_MAX) {
		p->wait = OP_WAIT_GATE;
		return;
	}
	p->wait = OP_WAIT_NONE;
	if (!decide(s, p))
		return;
	if (op_move(&p->state, OP_DECIDED) < 0) {
		lost(s, -EPROTO);
		return;
	}
	/* To parse a statement is not to run it: the person is asked when it is run. */
	if (p->verdict.effect == EFFECT_APPROVE && p->op->kind == OP_RUN) {
		hold(s, p);
		return;
	}
	r = record(s, p, p->verdict.effect != EFFECT_REFUSE);
	if (r < 0) {
		lost(s, r);
		return;
	}
	if (p->verdict.effect == EFFECT_REFUSE) {
		turn_down(s, p, OP_REFUSED);
		return;
	}
	if (op_move(&p->state, OP_RECORDED) < 0)
		lost(s, -EPROTO);
	else
		forward(s, p);
}

int pipeline_op(struct session *s, const struct op *op)
{
	struct pending_op *p = &s->pending;

	if (s->state != SESSION_READY || p->op)
		return -EPROTO;
	p->op = op;
	p->state = OP_PARSED;
	p->wait = OP_WAIT_NONE;
	p->reloaded = false;
	p->approval[0] = '\0';
	p->approval_request = 0;
	advance(s);
	return s->state == SESSION_READY ? 0 : -ECONNABORTED;
}

void pipeline_continue(struct session *s)
{
	struct pending_op *p = &s->pending;

	if (s->state == SESSION_READY && p->op &&
	    (p->wait == OP_WAIT_GATE || p->wait == OP_WAIT_CATALOG))
		advance(s);
}

void pipeline_on_ack(struct session *s)
{
	uint64_t acked = s->engine->recorder.acked;
	size_t held = 0;

	if (s->state == SESSION_ADMITTED && s->open_request <= acked) {
		pipeline_recorded(s);
		return;
	}
	while (held < s->n_gates && s->gates[held].request <= acked)
		held++;
	if (held == 0)
		return;
	memmove(s->gates, s->gates + held, (s->n_gates - held) * sizeof(s->gates[0]));
	s->n_gates -= held;
	s->server.barrier = s->n_gates ? s->gates[0].position : UINT64_MAX;
	pipeline_continue(s);
	session_pump_later(s);
}

/* ---- mask, record the result ---- */

static struct op_slot *find_slot(struct session *s, uint32_t op)
{
	size_t low = 0;
	size_t high = s->n_slots;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->slots[mid].id < op)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->n_slots && s->slots[low].id == op ? &s->slots[low] : NULL;
}

int pipeline_columns(struct session *s, uint32_t op, const struct proto_column *columns, size_t n,
		     uint8_t *ret_masks)
{
	const struct op_slot *slot = find_slot(s, op);
	struct verdict v = {0};
	int r;

	if (!slot)
		return -EACCES;
	memset(ret_masks, MASK_NONE, n);
	if (!slot->masks)
		return 0;
	v.n_masks = slot->masks->n;
	memcpy(v.masks, slot->masks->masks, v.n_masks * sizeof(v.masks[0]));
	r = mask_columns(&v, s->catalog, columns, n, ret_masks);
	if (r != -EAGAIN)
		return r < 0 ? -EACCES : 0;
	if (s->columns)
		return -EACCES;
	s->columns = calloc(n ? n : 1, sizeof(*s->columns));
	if (!s->columns || session_load_catalog(s) < 0)
		return -EACCES;
	memcpy(s->columns, columns, n * sizeof(*columns));
	for (size_t i = 0; i < n; i++)
		s->columns[i].name = ""; /* borrowed, and of no use here */
	s->n_columns = n;
	s->columns_op = op;
	return PROTO_HOLD;
}

void pipeline_done(struct session *s, uint32_t op, const struct op_result *result)
{
	struct engine *e = s->engine;
	struct op_slot *slot = find_slot(s, op);
	uint64_t request;
	bool recorded;
	int r;

	if (!slot)
		return; /* refused: recorded as such */
	/* A statement that was parsed without error is recorded already. */
	recorded = slot->kind == OP_PREPARE && !*result->error;
	memmove(slot, slot + 1, (size_t)(s->slots + s->n_slots - slot - 1) * sizeof(*slot));
	s->n_slots--;
	if (s->ddl_open)
		e->catalogs.epoch++;
	if (!recorded) {
		r = evidence_result(s, op, result, &e->event);
		if (r == 0)
			r = recorder_link_event(&e->recorder, EVENT_OP_RESULT, buf_span(&e->event),
						false, false, &request);
		if (r < 0)
			lost(s, r);
	}
	if (s->pending.wait == OP_WAIT_GATE)
		session_pump_later(s);
}

void pipeline_end(struct session *s)
{
	struct pending_op *p = &s->pending;

	if (p->op && p->wait == OP_WAIT_APPROVAL && *p->approval)
		(void)recorder_link_withdraw(&s->engine->recorder, p->approval);
	p->op = NULL;
	p->wait = OP_WAIT_NONE;
	catalogs_forget(&s->catalog_wait);
	dial_stop(&s->dial);
	free(TAKE_PTR(s->columns));
}
