#include "audit/verify.h"

#include <stdarg.h>
#include <time.h>

#include "audit/entry.h"
#include "audit/json_check.h"

#define FAULT_TEXT_MAX 512u

/* A checkpoint that waits for the tree to reach its size. */
struct awaited {
	bool any;
	uint64_t size;
	uint8_t root[HASH_LEN];
};

/* Events that no checkpoint signs for so far. */
struct unsigned_tail {
	uint64_t first; /* seq; 0: none */
	uint64_t start; /* seq of a start of the node after others, 0: none */
	bool others;	/* than what a recorder says of itself when it can write at last */
	int64_t oldest_s;
	int64_t newest_s;
};

struct verifier {
	const struct verify_options *o;
	struct store *store;
	struct verify_result result;
	struct tree tree;
	bool gap;      /* events are missing: the tree cannot be rebuilt any further */
	uint64_t last; /* seq of the event before */
	uint8_t leaf[HASH_LEN];
	bool leaf_known;
	struct unsigned_tail tail;
	struct awaited stored; /* next of the store's own */
	uint64_t next_stored;  /* the one after it is at least of this size */
	struct awaited notes[VERIFY_NOTES_MAX];
	char what[96]; /* "event 17 (op, 2026-…)" */
};

static void fault(struct verifier *v, uint64_t seq, const char *fmt, ...) _printf_(3, 4);

static void fault(struct verifier *v, uint64_t seq, const char *fmt, ...)
{
	char text[FAULT_TEXT_MAX];
	va_list ap;

	v->result.faults++;
	if (!v->o->on_fault)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->o->on_fault(v->o->ctx, seq, text);
}

#define U(v) ((unsigned long long)(v))

/* "event 17 (op, 2026-…)". Text of a damaged row may be anything: only what an event's kind and
 * time can hold is repeated. */
static const char *name_of(struct verifier *v, const struct store_event *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz.0123456789-:TZ";
	char kind[24] = "?";
	char time[ENTRY_TIME_LEN + 1] = "?";

	if (e->kind.len > 0 && e->kind.len < sizeof(kind)) {
		memcpy(kind, e->kind.p, e->kind.len);
		kind[e->kind.len] = '\0';
	}
	if (e->time.len == ENTRY_TIME_LEN) {
		memcpy(time, e->time.p, e->time.len);
		time[e->time.len] = '\0';
	}
	kind[strspn(kind, allowed)] = '\0';
	time[strspn(time, allowed)] = '\0';
	(void)snprintf(v->what, sizeof(v->what), "event %llu (%s, %s)", U(e->seq), kind, time);
	return v->what;
}

/* The next checkpoint of the store whose form and signature are right. */
static int on_next_checkpoint(void *ctx, const struct store_checkpoint *c)
{
	struct verifier *v = ctx;
	struct checkpoint cp;
	int r;

	v->next_stored = c->size + 1;
	if (!v->o->key)
		return 1;
	r = note_verify_checkpoint(v->o->key, c->note, &cp);
	if (r < 0) {
		fault(v, 0, "checkpoint of %llu events: %s", U(c->size),
		      r == -EKEYREJECTED ? "its signature is wrong"
		      : r == -ENOKEY	 ? "it is not signed by this key"
					 : "it is not a checkpoint");
		return 0;
	}
	if (cp.size != c->size || !span_eq_str(cp.origin, v->o->key->name)) {
		fault(v, 0, "checkpoint of %llu events: what is signed says %llu events of %.*s",
		      U(c->size), U(cp.size), (int)MIN(cp.origin.len, (size_t)100), cp.origin.p);
		return 0;
	}
	v->stored = (struct awaited){.any = true, .size = cp.size};
	memcpy(v->stored.root, cp.root, HASH_LEN);
	return 1;
}

static void await_stored(struct verifier *v)
{
	int r;

	v->stored.any = false;
	r = store_checkpoints(v->store, v->next_stored, on_next_checkpoint, v);
	if (r < 0)
		fault(v, 0, "checkpoints cannot be read from size %llu on: %s", U(v->next_stored),
		      store_error(v->store));
}

static void await_notes(struct verifier *v)
{
	for (size_t i = 0; i < v->o->n_notes; i++) {
		const struct verify_note *n = &v->o->notes[i];
		struct checkpoint cp;
		int r = v->o->key ? note_verify_checkpoint(v->o->key, n->note, &cp) : -ENOKEY;

		if (r < 0) {
			fault(v, 0, "%s: %s", n->label,
			      r == -EKEYREJECTED ? "the checkpoint's signature is wrong"
			      : r == -ENOKEY	 ? "the checkpoint is not signed by this key"
						 : "this is not a checkpoint");
			continue;
		}
		if (!span_eq_str(cp.origin, v->o->key->name)) {
			fault(v, 0, "%s: it is a checkpoint of another log", n->label);
			continue;
		}
		v->notes[i] = (struct awaited){.any = true, .size = cp.size};
		memcpy(v->notes[i].root, cp.root, HASH_LEN);
	}
}

static void proven(struct verifier *v)
{
	v->result.checkpoints++;
	v->tail = (struct unsigned_tail){0};
	v->result.signed_size = MAX(v->result.signed_size, v->tree.size);
}

/* Does a checkpoint speak of exactly the events read so far? */
static void compare_roots(struct verifier *v)
{
	uint8_t root[HASH_LEN];

	if (v->gap)
		return;
	while (v->stored.any && v->stored.size == v->tree.size) {
		tree_root(&v->tree, root);
		if (memcmp(root, v->stored.root, HASH_LEN) == 0)
			proven(v);
		else
			fault(v, v->tree.size,
			      "events %llu to %llu are not those that the checkpoint of %llu "
			      "events "
			      "signs: some were changed and linked anew",
			      U(v->result.signed_size + 1), U(v->tree.size), U(v->tree.size));
		await_stored(v);
	}
	for (size_t i = 0; i < v->o->n_notes; i++) {
		if (!v->notes[i].any || v->notes[i].size != v->tree.size)
			continue;
		tree_root(&v->tree, root);
		if (memcmp(root, v->notes[i].root, HASH_LEN) == 0)
			proven(v);
		else
			fault(v, v->tree.size,
			      "the first %llu events are not those that %s signs: the store was "
			      "rewritten",
			      U(v->tree.size), v->o->notes[i].label);
		v->notes[i].any = false;
	}
}

static void check_link(struct verifier *v, const struct store_event *e, const struct entry *entry)
{
	static const uint8_t zeros[HASH_LEN];

	if (v->last + 1 == e->seq && v->last > 0 && v->leaf_known &&
	    memcmp(entry->prev, v->leaf, HASH_LEN) != 0)
		fault(v, e->seq,
		      "%s: it does not link to event %llu: one of the two was changed or put in "
		      "its "
		      "place",
		      name_of(v, e), U(v->last));
	if (e->seq == 1 && memcmp(entry->prev, zeros, HASH_LEN) != 0)
		fault(v, e->seq, "%s: it is first, but links to an event before it", name_of(v, e));
}

static void check_columns(struct verifier *v, const struct store_event *e,
			  const struct entry *entry)
{
	if (entry->seq != e->seq)
		fault(v, e->seq, "%s: its bytes say it is event %llu: moved", name_of(v, e),
		      U(entry->seq));
	if (!span_eq(entry->kind, e->kind))
		fault(v, e->seq, "%s: the store's kind is not the event's", name_of(v, e));
	if (!span_eq(entry->time, e->time))
		fault(v, e->seq, "%s: the store's time is not the event's", name_of(v, e));
	if (!span_eq(entry->session, e->session))
		fault(v, e->seq, "%s: the store's session is not the event's", name_of(v, e));
}

/* -1: not a time. */
static int64_t seconds_of(struct span time)
{
	char text[ENTRY_TIME_LEN + 1];
	struct tm tm = {0};

	if (time.len != ENTRY_TIME_LEN)
		return -1;
	memcpy(text, time.p, ENTRY_TIME_LEN);
	text[ENTRY_TIME_LEN] = '\0';
	return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : -1;
}

static bool is_start(const struct entry *entry)
{
	struct span cause;

	return span_eq_str(entry->kind, "node.start") &&
	       json_member(entry->body, "cause", &cause) == 0 && span_eq_str(cause, "\"start\"");
}

static void note_unsigned(struct verifier *v, const struct entry *entry)
{
	struct unsigned_tail *t = &v->tail;
	int64_t s = seconds_of(entry->time);

	if (t->first == 0)
		*t = (struct unsigned_tail){
			.first = v->tree.size + 1, .oldest_s = s, .newest_s = s};
	else if (t->others && is_start(entry) && t->start == 0)
		t->start = v->tree.size + 1;
	t->others = t->others || !span_eq_str(entry->kind, "recorder");
	if (s >= 0) {
		t->oldest_s = MIN(t->oldest_s, s);
		t->newest_s = MAX(t->newest_s, s);
	}
}

static void check_gap(struct verifier *v, const struct store_event *e)
{
	if (e->seq == v->last + 1)
		return;
	if (e->seq == 0)
		fault(v, 0, "there is an event with a number below 1: added");
	else if (e->seq == v->last + 2)
		fault(v, v->last + 1, "event %llu is missing: removed", U(v->last + 1));
	else
		fault(v, v->last + 1, "events %llu to %llu are missing: removed", U(v->last + 1),
		      U(e->seq - 1));
	v->gap = true;
}

static int on_event(void *ctx, const struct store_event *e)
{
	struct verifier *v = ctx;
	uint8_t leaf[HASH_LEN];
	struct entry entry;
	bool whole;

	v->result.events++;
	check_gap(v, e);
	tree_leaf_hash(e->json, leaf);
	whole = e->leaf.len == HASH_LEN && memcmp(leaf, e->leaf.p, HASH_LEN) == 0;
	if (!whole)
		fault(v, e->seq,
		      "%s: its bytes do not match its leaf hash: changed after it was written",
		      name_of(v, e));
	if (entry_parse(e->json, &entry) < 0) {
		if (whole)
			fault(v, e->seq, "%s: it is not an event in canonical form", name_of(v, e));
	} else {
		check_link(v, e, &entry);
		check_columns(v, e, &entry);
		note_unsigned(v, &entry);
	}
	/* Go on with the leaf as it was stored: so one changed event is one fault, and whether the
	 * stored leaf was the right one is what the next link and the checkpoints tell. */
	v->leaf_known = e->leaf.len == HASH_LEN;
	memcpy(v->leaf, v->leaf_known ? e->leaf.p : leaf, HASH_LEN);
	v->last = e->seq;
	if (!v->gap) {
		tree_push(&v->tree, v->leaf);
		compare_roots(v);
	}
	return 0;
}

/* Read on behind a place that sqlite cannot read, further and further away. */
static uint64_t resume_at(struct verifier *v, uint64_t from)
{
	for (uint64_t step = 1; step < UINT64_C(1) << 40; step *= 2) {
		uint64_t before = v->result.events;
		struct store_query q = {.first = from + step, .last = from + step * 2};

		v->gap = true;
		v->leaf_known = false;
		v->last = from + step - 1; /* what lies between is told by the caller */
		if (store_events(v->store, &q, on_event, v) == 0 && v->result.events > before)
			return v->last + 1;
	}
	return 0;
}

static void read_events(struct verifier *v)
{
	struct store_query q = {0};

	for (;;) {
		uint64_t before = v->last;
		int r = store_events(v->store, &q, on_event, v);

		if (r == 0)
			return;
		fault(v, before + 1, "the file is damaged after event %llu: %s", U(v->last),
		      store_error(v->store));
		q.first = resume_at(v, v->last + 1);
		if (q.first == 0)
			return;
	}
}

static int on_line(void *ctx, const char *line)
{
	struct verifier *v = ctx;
	const char *text = strncmp(line, "*** in database main ***\n", 25) == 0 ? line + 25 : line;

	fault(v, 0, "the file is damaged: %s", text);
	return 0;
}

/* What is not signed for is believed only as what was written a moment ago: a recorder signs what
 * it finds before it goes on, and then every few seconds. Else whoever cannot sign could make a
 * store anew and take the checkpoints away. */
static void check_unsigned(struct verifier *v)
{
	const struct unsigned_tail *t = &v->tail;

	if (!v->o->key || v->gap || t->first == 0)
		return;
	if (t->start != 0)
		fault(v, t->first,
		      "events %llu to %llu ought to be signed for and are not: event %llu is a "
		      "start, "
		      "before which the rest is signed",
		      U(t->first), U(t->start - 1), U(t->start));
	else if (t->newest_s - t->oldest_s > VERIFY_UNSIGNED_MAX_S)
		fault(v, t->first,
		      "events from %llu on ought to be signed for and are not: event %llu came "
		      "%lld "
		      "seconds later",
		      U(t->first), U(v->last), (long long)(t->newest_s - t->oldest_s));
}

static void check_ends(struct verifier *v)
{
	uint64_t last;
	uint64_t noted;

	while (v->stored.any) {
		if (v->stored.size > v->last)
			fault(v, v->last + 1,
			      "a signed checkpoint says %llu events, but the store ends at event "
			      "%llu: the end was cut off",
			      U(v->stored.size), U(v->last));
		await_stored(v);
	}
	for (size_t i = 0; i < v->o->n_notes; i++) {
		if (v->notes[i].any && v->notes[i].size > v->last)
			fault(v, v->last + 1,
			      "%s says %llu events, but the store ends at event %llu: the end was "
			      "cut off",
			      v->o->notes[i].label, U(v->notes[i].size), U(v->last));
	}
	if (store_head(v->store, &last, &noted) < 0)
		fault(v, 0, "the file is damaged: %s", store_error(v->store));
	else if (noted > v->last && noted > last)
		fault(v, v->last + 1,
		      "the store noted %llu events when it was last written, but ends at event "
		      "%llu: the end was cut off",
		      U(noted), U(v->last));
}

int verify_store(const char *path, const struct verify_options *options,
		 char error[static STORE_ERROR_MAX], struct verify_result *ret_result)
{
	_cleanup_(store_closep) struct store *store = NULL;
	struct verifier v = {.o = options, .leaf_known = true};
	int r;

	r = store_open_read(path, error, &store);
	if (r == 0) {
		r = store_hold(store);
		(void)snprintf(error, STORE_ERROR_MAX, "%s", r < 0 ? store_error(store) : "");
	}
	if (r == -EUCLEAN) {
		fault(&v, 0, "the file is damaged: %s", error);
		*ret_result = v.result;
		return 0;
	}
	if (r < 0)
		return r;
	v.store = store;
	await_notes(&v);
	await_stored(&v);
	compare_roots(&v);
	read_events(&v);
	check_unsigned(&v);
	check_ends(&v);
	if (store_check(store, on_line, &v) < 0)
		fault(&v, 0, "the file is damaged: %s", store_error(store));
	tree_root(&v.tree, v.result.root);
	*ret_result = v.result;
	return 0;
}

struct tail {
	struct verifier v;
	char *error;
	int r;
};

static void tail_fault(void *ctx, uint64_t seq, const char *text)
{
	struct tail *t = ctx;

	(void)seq;
	if (t->r == 0)
		(void)snprintf(t->error, STORE_ERROR_MAX, "%s", text);
	t->r = -EUCLEAN;
}

static int tail_checkpoint(void *ctx, const struct store_checkpoint *c)
{
	struct tail *t = ctx;
	uint8_t root[HASH_LEN];
	struct checkpoint cp;
	struct tree tree;

	if (note_verify_checkpoint(t->v.o->key, c->note, &cp) < 0 || cp.size != c->size)
		fault(&t->v, 0, "the last checkpoint, of %llu events, is not signed by this key",
		      U(c->size));
	else if (tree_from_frontier(cp.size, c->frontier, &tree) < 0)
		fault(&t->v, 0, "the tree stored with the last checkpoint was changed");
	else {
		tree_root(&tree, root);
		if (memcmp(root, cp.root, HASH_LEN) != 0)
			fault(&t->v, 0, "the tree stored with the last checkpoint was changed");
		t->v.tree = tree;
		t->v.last = tree.size;
		t->v.leaf_known = false;
	}
	return 1;
}

/* The event that the last checkpoint ends with: what the next one links to. */
static int tail_event(void *ctx, const struct store_event *e)
{
	struct tail *t = ctx;
	struct entry entry;

	tree_leaf_hash(e->json, t->v.leaf);
	t->v.leaf_known = true;
	if (e->leaf.len != HASH_LEN || memcmp(e->leaf.p, t->v.leaf, HASH_LEN) != 0 ||
	    entry_parse(e->json, &entry) < 0)
		fault(&t->v, e->seq, "%s: it is not what was written", name_of(&t->v, e));
	/* An odd size ends with a leaf of its own: then the tree says whether it is the one. */
	if ((t->v.tree.size & 1) && memcmp(t->v.tree.peak[0], t->v.leaf, HASH_LEN) != 0)
		fault(&t->v, e->seq, "%s: it is not what the checkpoint signs", name_of(&t->v, e));
	return 0;
}

int verify_tail(struct store *store, const struct note_key *key, char error[static STORE_ERROR_MAX],
		struct tree *ret_tree, uint8_t ret_last_leaf[static HASH_LEN])
{
	struct tail t = {.error = error};
	const struct verify_options o = {.key = key, .on_fault = tail_fault, .ctx = &t};
	struct store_query q;
	uint64_t last;
	uint64_t noted;
	int r;

	*error = '\0';
	t.v.o = &o;
	t.v.store = store;
	t.v.leaf_known = true;
	r = store_last_checkpoint(store, tail_checkpoint, &t);
	if (r == 0 && t.v.last > 0) {
		q = (struct store_query){.first = t.v.last, .last = t.v.last};
		r = store_events(store, &q, tail_event, &t);
	}
	if (r == 0 && t.v.last > 0 && !t.v.leaf_known)
		fault(&t.v, t.v.last,
		      "a signed checkpoint says %llu events, but the last of them is "
		      "missing",
		      U(t.v.last));
	if (r == 0) {
		q = (struct store_query){.first = t.v.last + 1};
		r = store_events(store, &q, on_event, &t.v);
	}
	if (r == 0)
		r = store_head(store, &last, &noted);
	if (r < 0) {
		(void)snprintf(error, STORE_ERROR_MAX, "%s", store_error(store));
		return r;
	}
	if (last != t.v.last || noted != last)
		fault(&t.v, last,
		      "the store noted %llu events when it was last written, but ends at "
		      "event %llu",
		      U(noted), U(last));
	if (t.r < 0)
		return t.r;
	*ret_tree = t.v.tree;
	memcpy(ret_last_leaf, t.v.leaf, HASH_LEN);
	return 0;
}
