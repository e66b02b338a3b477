#include <fcntl.h>
#include <getopt.h>
#include <time.h>

#include "audit/verify.h"
#include "base/jsonw.h"
#include "config/config.h"
#include "tools/audit_print.h"
#include "tools/cmd.h"

#define STATE_DIR_DEFAULT "/var/lib/sluice"
#define LIMIT_DEFAULT	  100
#define FAULTS_SHOWN	  50u

static const char usage[] =
	"usage: sluicectl audit search [--state-dir DIR] [--json] [filters]\n"
	"       sluicectl audit show SEQ [--state-dir DIR] [--json]\n"
	"       sluicectl audit verify [--state-dir DIR] [--key FILE] [--checkpoint FILE]… "
	"[--json]\n"
	"Reads the store itself: needs no daemon, and may run beside one.\n"
	"  --state-dir DIR    where store.db is (default: the configuration's state_dir)\n"
	"filters, all of which must hold:\n"
	"  --kind K           op, op.result, session.open, session.refused, approval, …\n"
	"  --session ID       --subject SUB    --workload NAME   --resource NAME\n"
	"  --pid N            --exe PATH|NAME  --verb VERB       --effect allow|approve|refuse\n"
	"  --since T          --until T        2026-11-23, 2026-11-23T02:07:58, or 10m, 2h, 7d "
	"ago\n"
	"  --text PART        a part of the operation's text\n"
	"  --limit N          the latest N (100; 0: all)\n"
	"verify:\n"
	"  --key FILE         the recorder's public key (default: DIR/signing.pub; keep your own "
	"copy)\n"
	"  --checkpoint FILE  a checkpoint kept elsewhere, which the store must agree with\n"
	"Exits 0: whole, or found; 1: not whole, or nothing found; 2: could not tell.\n";

struct options {
	char state_dir[4096];
	bool json;
	const char *key_file;
	size_t n_checkpoints;
	const char *checkpoints[VERIFY_NOTES_MAX - 1];
	struct search_filter filter;
	char since[ENTRY_TIME_LEN + 1];
	char until[ENTRY_TIME_LEN + 1];
};

static int fault(const char *what, const char *why)
{
	fprintf(stderr, "sluicectl: audit: %s: %s\n", what, why);
	return CMD_UNKNOWN;
}

static int read_file(const char *path, struct buf *out)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *to;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((to = buf_reserve(out, 1)) != NULL) {
		n = read(fd, to, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_commit(out, 1);
	}
	return buf_error(out);
}

/* As the configuration says, when there is one that can be read. */
static int find_state_dir(struct options *o)
{
	_cleanup_(config_freep) struct config *config = NULL;
	static struct diags diags;
	int r = 0;

	if (*o->state_dir)
		return 0;
	(void)snprintf(o->state_dir, sizeof(o->state_dir), "%s", STATE_DIR_DEFAULT);
	if (streq(cmd_globals.config, CMD_CONFIG_DEFAULT) && access(cmd_globals.config, R_OK) < 0)
		return 0;
	diags = DIAGS_INIT;
	r = config_load(cmd_globals.config, CONFIG_OFFLINE, &diags, &config);
	if (r < 0)
		diags_print(&diags, stderr);
	else
		(void)snprintf(o->state_dir, sizeof(o->state_dir), "%s", config->state_dir);
	diags_done(&diags);
	return r;
}

static int take_time(const char *text, char *to, const char **ret)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (search_time(text, (uint64_t)now.tv_sec * 1000000000u, to) < 0)
		return fault(text, "is not a time");
	*ret = to;
	return 0;
}

static int take_limit(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-')
		return fault(text, "is not a number");
	return 0;
}

enum {
	OPT_STATE_DIR = 256,
	OPT_JSON,
	OPT_KEY,
	OPT_CHECKPOINT,
	OPT_SINCE,
	OPT_UNTIL,
	OPT_LIMIT,
	OPT_FILTER, /* and those after it: which, by place in filters[] */
};

static const struct {
	const char *name;
	size_t offset;
} filters[] = {
	{"kind", offsetof(struct search_filter, kind)},
	{"session", offsetof(struct search_filter, session)},
	{"subject", offsetof(struct search_filter, subject)},
	{"workload", offsetof(struct search_filter, workload)},
	{"resource", offsetof(struct search_filter, resource)},
	{"pid", offsetof(struct search_filter, pid)},
	{"exe", offsetof(struct search_filter, exe)},
	{"verb", offsetof(struct search_filter, verb)},
	{"effect", offsetof(struct search_filter, effect)},
	{"text", offsetof(struct search_filter, text)},
};

static const struct option fixed[] = {
	{"state-dir", required_argument, NULL, OPT_STATE_DIR},
	{"json", no_argument, NULL, OPT_JSON},
	{"key", required_argument, NULL, OPT_KEY},
	{"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
	{"since", required_argument, NULL, OPT_SINCE},
	{"until", required_argument, NULL, OPT_UNTIL},
	{"limit", required_argument, NULL, OPT_LIMIT},
	{"help", no_argument, NULL, 'h'},
};

static int take_option(struct options *o, int opt)
{
	switch (opt) {
	case OPT_STATE_DIR:
		if (strlen(optarg) >= sizeof(o->state_dir))
			return fault(optarg, "is too long");
		memcpy(o->state_dir, optarg, strlen(optarg) + 1);
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_KEY:
		o->key_file = optarg;
		return 0;
	case OPT_CHECKPOINT:
		if (o->n_checkpoints == ARRAY_SIZE(o->checkpoints))
			return fault(optarg, "too many checkpoints");
		o->checkpoints[o->n_checkpoints++] = optarg;
		return 0;
	case OPT_SINCE:
		return take_time(optarg, o->since, &o->filter.since);
	case OPT_UNTIL:
		return take_time(optarg, o->until, &o->filter.until);
	case OPT_LIMIT:
		return take_limit(optarg, &o->filter.limit);
	case 'h':
		fputs(usage, stdout);
		return -1;
	default:
		if (opt >= OPT_FILTER) {
			memcpy((char *)&o->filter + filters[opt - OPT_FILTER].offset, &optarg,
			       sizeof(optarg));
			return 0;
		}
		fputs(usage, stderr);
		return CMD_UNKNOWN;
	}
}

/* 0; -1: help was given; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	struct option longs[ARRAY_SIZE(fixed) + ARRAY_SIZE(filters) + 1] = {0};
	int opt;
	int r;

	memcpy(longs, fixed, sizeof(fixed));
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		longs[ARRAY_SIZE(fixed) + i] = (struct option){filters[i].name, required_argument,
							       NULL, OPT_FILTER + (int)i};
	optind = 0;
	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		r = take_option(o, opt);
		if (r != 0)
			return r;
	}
	return find_state_dir(o) < 0 ? CMD_UNKNOWN : 0;
}

static int open_store(const struct options *o, struct store **ret)
{
	char path[sizeof(o->state_dir) + 16];
	char error[STORE_ERROR_MAX];

	(void)snprintf(path, sizeof(path), "%s/" STORE_FILE, o->state_dir);
	if (store_open_read(path, error, ret) < 0)
		return fault(path, error);
	return 0;
}

struct printing {
	const struct options *o;
	uint64_t n;
};

static int print_event(void *ctx, const struct store_event *e, json_t *root)
{
	struct printing *p = ctx;

	/* The very bytes that are hashed, one event a line. */
	if (p->o->json) {
		(void)fwrite(e->json.p, 1, e->json.len, stdout);
		putchar('\n');
	} else {
		if (p->n == 0)
			audit_print_head();
		audit_print_event(e, root, false);
	}
	p->n++;
	return 0;
}

static int search(const struct options *o)
{
	_cleanup_(store_closep) struct store *s = NULL;
	struct printing p = {.o = o};
	int r = open_store(o, &s);

	if (r != 0)
		return r;
	if (search_run(s, &o->filter, print_event, &p) < 0)
		return fault("the store cannot be read: run `sluicectl audit verify`",
			     store_error(s));
	if (p.n == 0) {
		fprintf(stderr, "sluicectl: audit: nothing found\n");
		return CMD_NO;
	}
	if (o->filter.limit && p.n == o->filter.limit && !o->json)
		fprintf(stderr, "(the latest %llu; --limit 0 for all)\n", (unsigned long long)p.n);
	return CMD_YES;
}

struct showing {
	const struct options *o;
	uint64_t seq;
	bool found;
	char session[ENTRY_SESSION_MAX + 1];
	json_int_t op;	/* its number; -1: not an operation */
	char *approval; /* id, or NULL */
	bool after;	/* printing what came of it */
};

static int show_one(void *ctx, const struct store_event *e)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct showing *s = ctx;
	const json_t *id;
	int r = search_load(e->json, &root);

	if (r == -ENOMEM)
		return r;
	s->found = true;
	if (s->o->json) {
		(void)fwrite(e->json.p, 1, e->json.len, stdout);
		putchar('\n');
		return 1;
	}
	audit_print_event(e, root, true);
	printf("        leaf ");
	for (size_t i = 0; i < e->leaf.len; i++)
		printf("%02x", e->leaf.p[i]);
	putchar('\n');
	if (!root)
		return 1;
	audit_print_json(root);
	if (span_eq_str(e->kind, "op") && e->session.len < sizeof(s->session)) {
		memcpy(s->session, e->session.p, e->session.len);
		s->op = json_integer_value(search_get(root, "body", "op", "id", NULL));
	}
	id = search_get(root, "body", "approval", "id", NULL);
	if (!id && span_eq_str(e->kind, "approval"))
		id = search_get(root, "body", "id", NULL);
	if (json_is_string(id))
		s->approval = strdup(json_string_value(id));
	return 1;
}

static int show_related(void *ctx, const struct store_event *e, json_t *root)
{
	struct showing *s = ctx;
	const char *id = json_string_value(search_get(root, "body", "id", NULL));
	bool result = s->op >= 0 && e->seq > s->seq && span_eq_str(e->kind, "op.result") &&
		      json_integer_value(search_get(root, "body", "op", NULL)) == s->op;
	bool approval =
		s->approval && id && span_eq_str(e->kind, "approval") && streq(id, s->approval);

	if (e->seq == s->seq || (!result && !approval))
		return 0;
	if (!s->after)
		printf("belonging to it:\n");
	s->after = true;
	audit_print_event(e, root, false);
	return 0;
}

static int show(const struct options *o, const char *text)
{
	_cleanup_(store_closep) struct store *store = NULL;
	struct showing s = {.o = o, .op = -1};
	struct search_filter related = {0};
	struct store_query q;
	int r;

	r = take_limit(text, &s.seq);
	if (r == 0)
		r = open_store(o, &store);
	if (r != 0)
		return r;
	if (s.seq == 0)
		return CMD_NO;
	q = (struct store_query){.first = s.seq, .last = s.seq};
	if (store_events(store, &q, show_one, &s) < 0)
		return fault("the store cannot be read: run `sluicectl audit verify`",
			     store_error(store));
	if (!s.found) {
		fprintf(stderr, "sluicectl: audit: there is no event %llu\n",
			(unsigned long long)s.seq);
		return CMD_NO;
	}
	r = 0;
	if (*s.session) {
		related.session = s.session;
		r = search_run(store, &related, show_related, &s);
	} else if (s.approval) {
		related.kind = "approval";
		r = search_run(store, &related, show_related, &s);
	}
	free(s.approval);
	return r < 0 ? fault("the store cannot be read", store_error(store)) : CMD_YES;
}

struct faults {
	bool json;
	uint64_t n;
	struct jsonw w;
};

static void on_fault(void *ctx, uint64_t seq, const char *text)
{
	struct faults *f = ctx;

	if (f->n++ >= FAULTS_SHOWN)
		return;
	if (!f->json) {
		printf("%s %s\n", f->n == 1 ? "first fault:" : "      also:", text);
		return;
	}
	jsonw_object(&f->w, NULL);
	if (seq > 0)
		jsonw_uint(&f->w, "event", seq);
	jsonw_str(&f->w, "text", text);
	jsonw_close(&f->w);
}

static int load_key(const struct options *o, struct note_key *ret_key)
{
	_cleanup_buf_ struct buf b = BUF_INIT(VKEY_MAX);
	char path[sizeof(o->state_dir) + 16];
	int r;

	(void)snprintf(path, sizeof(path), "%s/signing.pub", o->state_dir);
	r = read_file(o->key_file ? o->key_file : path, &b);
	if (r < 0)
		return fault(o->key_file ? o->key_file : path, strerror(-r));
	if (note_parse_vkey(buf_span(&b), ret_key) < 0)
		return fault(o->key_file ? o->key_file : path, "is not a public key");
	return 0;
}

/* The checkpoints that were named, and the one that the recorder published last. Read before the
 * store is: it only grows. */
static int load_notes(const struct options *o, struct buf *notes, struct verify_options *v)
{
	static char path[sizeof(o->state_dir) + 16];
	int r;

	for (size_t i = 0; i < o->n_checkpoints; i++) {
		struct buf *b = &notes[v->n_notes];

		r = read_file(o->checkpoints[i], b);
		if (r < 0)
			return fault(o->checkpoints[i], strerror(-r));
		v->notes[v->n_notes++] = (struct verify_note){o->checkpoints[i], buf_span(b)};
	}
	(void)snprintf(path, sizeof(path), "%s/checkpoint", o->state_dir);
	r = read_file(path, &notes[v->n_notes]);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return fault(path, strerror(-r));
	v->notes[v->n_notes] = (struct verify_note){path, buf_span(&notes[v->n_notes])};
	v->n_notes++;
	return 0;
}

static void tell(const struct note_key *key, const struct verify_result *result)
{
	if (result->faults > FAULTS_SHOWN)
		printf("      also: %llu more\n",
		       (unsigned long long)result->faults - FAULTS_SHOWN);
	printf("%llu events, %llu checkpoints by %s\n", (unsigned long long)result->events,
	       (unsigned long long)result->checkpoints, key->name);
	if (result->faults > 0) {
		printf("NOT WHOLE: %llu fault%s\n", (unsigned long long)result->faults,
		       result->faults == 1 ? "" : "s");
		return;
	}
	if (result->signed_size == 0) {
		printf("NOT KNOWN: nothing is signed for yet, so nothing but the links could be "
		       "checked\n");
		return;
	}
	printf("whole up to event %llu: none was changed, removed, reordered or added\n",
	       (unsigned long long)result->signed_size);
	if (result->events > result->signed_size)
		printf("%llu later events are linked and not yet signed for\n",
		       (unsigned long long)(result->events - result->signed_size));
}

static int tell_json(const struct note_key *key, const struct verify_result *result,
		     struct buf *faults)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1024 * 1024);
	struct jsonw w;
	int r;

	jsonw_init(&w, &out);
	jsonw_object(&w, NULL);
	jsonw_uint(&w, "checkpoints", result->checkpoints);
	jsonw_uint(&w, "events", result->events);
	jsonw_uint(&w, "fault_count", result->faults);
	jsonw_raw(&w, "faults", buf_span(faults));
	jsonw_str(&w, "key", key->name);
	jsonw_hex(&w, "root", span_of(result->root, HASH_LEN));
	jsonw_uint(&w, "signed_events", result->signed_size);
	jsonw_uint(&w, "whole", result->faults == 0 && result->signed_size > 0);
	jsonw_close(&w);
	r = jsonw_end(&w);
	if (r == 0)
		printf("%.*s\n", SPAN_FMT(buf_span(&out)));
	return r;
}

static int check(const struct options *o, struct verify_options *v, const struct note_key *key)
{
	_cleanup_buf_ struct buf text = BUF_INIT(512 * 1024);
	struct faults f = {.json = o->json};
	struct verify_result result;
	char path[sizeof(o->state_dir) + 16];
	char error[STORE_ERROR_MAX];

	jsonw_init(&f.w, &text);
	jsonw_array(&f.w, NULL);
	v->key = key;
	v->on_fault = on_fault;
	v->ctx = &f;
	(void)snprintf(path, sizeof(path), "%s/" STORE_FILE, o->state_dir);
	if (verify_store(path, v, error, &result) < 0)
		return fault(path, error);
	jsonw_close(&f.w);
	if (!o->json)
		tell(key, &result);
	else if (jsonw_end(&f.w) < 0 || tell_json(key, &result, &text) < 0)
		return fault("answer", "out of memory");
	if (result.faults > 0)
		return CMD_NO;
	return result.signed_size > 0 ? CMD_YES : CMD_UNKNOWN;
}

static int verify(const struct options *o)
{
	_cleanup_note_key_ struct note_key key = {0};
	struct buf notes[VERIFY_NOTES_MAX];
	struct verify_options v = {0};
	int r;

	for (size_t i = 0; i < VERIFY_NOTES_MAX; i++)
		buf_init(&notes[i], NOTE_MAX);
	r = load_key(o, &key);
	if (r == 0)
		r = load_notes(o, notes, &v);
	if (r == 0)
		r = check(o, &v, &key);
	for (size_t i = 0; i < VERIFY_NOTES_MAX; i++)
		buf_done(&notes[i]);
	return r;
}

int cmd_audit(int argc, char **argv)
{
	struct options o = {.json = cmd_globals.json, .filter.limit = LIMIT_DEFAULT};
	const char *verb = argc > 1 ? argv[1] : "";
	int r;

	if (streq(verb, "--help") || streq(verb, "-h")) {
		fputs(usage, stdout);
		return CMD_YES;
	}
	r = argc > 1 ? parse(argc - 1, argv + 1, &o) : CMD_UNKNOWN;
	if (r != 0)
		return r < 0 ? CMD_YES : r;
	argc -= 1 + optind;
	argv += 1 + optind;
	if (streq(verb, "search") && argc == 0)
		return search(&o);
	if (streq(verb, "verify") && argc == 0)
		return verify(&o);
	if (streq(verb, "show") && argc == 1)
		return show(&o, argv[0]);
	fputs(usage, stderr);
	return CMD_UNKNOWN;
}
