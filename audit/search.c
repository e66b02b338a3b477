#include "audit/search.h"

#include <stdarg.h>
#include <time.h>

#include "base/jsonw.h"

#define NS UINT64_C(1000000000)

static int ago(const char *text, uint64_t now_wall_ns, char *ret)
{
	char *end;
	unsigned long long n;
	uint64_t unit;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	n = strtoull(text, &end, 10);
	if (*end == '\0' || end[1] != '\0' || n > 1000000)
		return -EINVAL;
	switch (*end) {
	case 's':
		unit = 1;
		break;
	case 'm':
		unit = 60;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'd':
		unit = 86400;
		break;
	default:
		return -EINVAL;
	}
	entry_time(n * unit * NS < now_wall_ns ? now_wall_ns - n * unit * NS : 0, ret);
	return 0;
}

/* Does text follow the pattern, where 9 is any digit? */
static bool looks_like(const char *text, size_t n, const char *pattern)
{
	for (size_t i = 0; i < n; i++) {
		if (pattern[i] == '9' ? text[i] < '0' || text[i] > '9' : text[i] != pattern[i])
			return false;
	}
	return true;
}

int search_time(const char *text, uint64_t now_wall_ns, char ret[static ENTRY_TIME_LEN + 1])
{
	static const char pattern[] = "9999-99-99T99:99:99.999999";
	static const size_t lengths[] = {10, 16, 19, 21, 22, 23, 24, 25, 26};
	char time[] = "0000-00-00T00:00:00.000000Z";
	struct tm tm = {0};
	size_t n = strlen(text);

	if (ago(text, now_wall_ns, ret) == 0)
		return 0;
	if (n > 10 && text[n - 1] == 'Z')
		n--;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (n != lengths[i] || !looks_like(text, n, pattern))
			continue;
		memcpy(time, text, n);
		if (!strptime(time, "%Y-%m-%dT%H:%M:%S", &tm))
			return -EINVAL;
		memcpy(ret, time, sizeof(time));
		return 0;
	}
	return -EINVAL;
}

int search_load(struct span json, json_t **ret_root)
{
	json_error_t error;
	json_t *root;

	root = json_loadb((const char *)json.p, json.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
			  &error);
	if (!root)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
	*ret_root = root;
	return 0;
}

json_t *search_get(json_t *root, ...)
{
	va_list ap;
	const char *key;

	va_start(ap, root);
	while (root && (key = va_arg(ap, const char *)))
		root = json_object_get(root, key);
	va_end(ap);
	return root;
}

json_t *search_about(json_t *root, const char *key)
{
	json_t *value = search_get(root, "body", key, NULL);

	return value ? value : search_get(root, "body", "request", key, NULL);
}

static struct span text_of(const json_t *value)
{
	return span_of(json_string_value(value), json_string_length(value));
}

static bool is(const json_t *value, const char *wanted)
{
	return !wanted || (json_is_string(value) && span_eq_str(text_of(value), wanted));
}

static bool exe_is(const json_t *value, const char *wanted)
{
	struct span exe = text_of(value);
	size_t n;

	if (is(value, wanted))
		return true;
	n = strlen(wanted);
	return !strchr(wanted, '/') && exe.len > n && exe.p[exe.len - n - 1] == '/' &&
	       memcmp(exe.p + exe.len - n, wanted, n) == 0;
}

static bool pid_is(const json_t *value, const char *wanted)
{
	char text[24];

	if (!wanted)
		return true;
	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return json_is_integer(value) && streq(text, wanted);
}

static bool has_verb(const json_t *verbs, const char *wanted)
{
	if (!wanted)
		return true;
	for (size_t i = 0; i < json_array_size(verbs); i++) {
		if (is(json_array_get(verbs, i), wanted))
			return true;
	}
	return false;
}

static bool holds(const json_t *value, const char *wanted)
{
	struct span s = text_of(value);

	return !wanted || (s.len > 0 && memmem(s.p, s.len, wanted, strlen(wanted)));
}

static bool matches(const struct search_filter *f, json_t *root)
{
	json_t *who = search_about(root, "who");
	json_t *op = search_about(root, "op");
	json_t *process = search_get(who, "process", NULL);

	return is(search_get(who, "token", "subject", NULL), f->subject) &&
	       is(search_get(who, "workload", NULL), f->workload) &&
	       is(search_about(root, "resource"), f->resource) &&
	       pid_is(search_get(process, "pid", NULL), f->pid) &&
	       exe_is(search_get(process, "exe", NULL), f->exe) &&
	       has_verb(search_get(op, "verbs", NULL), f->verb) &&
	       is(search_get(search_about(root, "verdict"), "effect", NULL), f->effect) &&
	       holds(search_get(op, "text", NULL), f->text);
}

/* Escaping goes character by character: what an event's string holds, its bytes hold escaped. So
 * events that cannot match are passed over without being parsed. */
struct needle {
	uint8_t *bytes;
	size_t len;
};

#define NEEDLES_MAX 8

struct search {
	const struct search_filter *f;
	size_t n_needles;
	struct needle needles[NEEDLES_MAX];
	uint64_t found;
	uint64_t *seqs; /* of those found, newest first */
	size_t cap;
	search_on_event *on;
	void *ctx;
};

static int add_needle(struct search *s, const char *text)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
	struct needle *n = &s->needles[s->n_needles];
	struct jsonw w;
	int r;

	if (!text)
		return 0;
	jsonw_init(&w, &b);
	jsonw_str(&w, NULL, text);
	r = jsonw_end(&w);
	if (r < 0)
		return r;
	n->len = buf_len(&b) - 2;
	n->bytes = malloc(n->len + 1);
	if (!n->bytes)
		return -ENOMEM;
	memcpy(n->bytes, buf_span(&b).p + 1, n->len);
	s->n_needles++;
	return 0;
}

static int add_needles(struct search *s)
{
	const struct search_filter *f = s->f;
	const char *const texts[NEEDLES_MAX] = {f->subject, f->workload, f->resource, f->pid,
						f->exe,	    f->verb,	 f->effect,   f->text};
	int r = 0;

	for (size_t i = 0; i < NEEDLES_MAX && r == 0; i++)
		r = add_needle(s, texts[i]);
	return r;
}

static int remember(struct search *s, uint64_t seq)
{
	if (s->found == s->cap) {
		size_t cap = MAX(s->cap * 2, (size_t)256);
		uint64_t *seqs = reallocarray(s->seqs, cap, sizeof(*seqs));

		if (!seqs)
			return -ENOMEM;
		s->seqs = seqs;
		s->cap = cap;
	}
	s->seqs[s->found++] = seq;
	return s->f->limit && s->found == s->f->limit;
}

static int look(void *ctx, const struct store_event *e)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct search *s = ctx;
	int r;

	for (size_t i = 0; i < s->n_needles; i++) {
		if (!memmem(e->json.p, e->json.len, s->needles[i].bytes, s->needles[i].len))
			return 0;
	}
	if (s->n_needles == 0)
		return remember(s, e->seq);
	r = search_load(e->json, &root);
	if (r == -ENOMEM)
		return r;
	return r < 0 || matches(s->f, root) ? remember(s, e->seq) : 0;
}

static int hand_on(void *ctx, const struct store_event *e)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct search *s = ctx;
	int r;

	r = search_load(e->json, &root);
	if (r == -ENOMEM)
		return r;
	return s->on(s->ctx, e, root);
}

/* Newest first to find the latest, then each again, in the order of things. */
static int find(struct search *s, struct store *store)
{
	const struct store_query q = {
		.kind = span_str(s->f->kind),
		.session = span_str(s->f->session),
		.since = span_str(s->f->since),
		.until = span_str(s->f->until),
		.newest_first = true,
	};
	int r;

	r = add_needles(s);
	if (r == 0)
		r = store_events(store, &q, look, s);
	for (size_t i = s->found; i > 0 && r == 0; i--) {
		struct store_query one = {.first = s->seqs[i - 1], .last = s->seqs[i - 1]};

		r = store_events(store, &one, hand_on, s);
	}
	return r;
}

int search_run(struct store *store, const struct search_filter *f, search_on_event *on, void *ctx)
{
	struct search s = {.f = f, .on = on, .ctx = ctx};
	int r;

	r = find(&s, store);
	for (size_t i = 0; i < s.n_needles; i++)
		free(s.needles[i].bytes);
	free(s.seqs);
	return r;
}
