#include <getopt.h>
#include <openssl/sha.h>
#include <time.h>

#include "audit/json_check.h"
#include "base/json.h"
#include "tools/cmd.h"
#include "tools/ctl.h"
#include "tools/param_text.h"

#define DIGEST_LEN 32

static const char usage[] =
	"usage: sluicectl approvals list [--json]\n"
	"       sluicectl approvals show ID [--json]\n"
	"       sluicectl approvals approve ID [--digest D] [--reason TEXT] [--yes]\n"
	"       sluicectl approvals deny ID [--reason TEXT]\n"
	"\n"
	"approve shows the operation and asks; where nobody can be asked (no terminal, --yes) it\n"
	"approves what it has printed. --digest: approve exactly what `show` gave that digest.\n";

/* One approval as it came: its own bytes, which the digest is over, and their tree. */
struct shown {
	json_t *root;
	struct span text; /* in the answer */
	struct span body; /* empty in a list: there is "head" instead, which has no digest */
	char digest[2 * DIGEST_LEN + 1]; /* computed here */
};

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void hex(const uint8_t *bytes, char *out)
{
	for (size_t i = 0; i < DIGEST_LEN; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* What stands at the front of an array's rest; CMD_NO at its end. */
static int next_shown(struct span *rest, struct shown *ret)
{
	struct shown s = {0};
	struct span head;
	uint8_t digest[DIGEST_LEN];
	size_t len;

	while (rest->len > 0 && (rest->p[0] == '[' || rest->p[0] == ','))
		*rest = span_skip(*rest, 1);
	if (rest->len == 0 || rest->p[0] == ']')
		return CMD_NO;
	if (json_check_prefix(*rest, JSON_CHECK_DEPTH_MAX - 2, &len) < 0)
		return CMD_UNKNOWN;
	s.text = span_head(*rest, len);
	if (json_member(s.text, "body", &s.body) < 0 && json_member(s.text, "head", &head) < 0)
		return CMD_UNKNOWN;
	if (json_load_strict(s.text, &s.root) < 0)
		return CMD_UNKNOWN;
	(void)SHA256(s.body.p, s.body.len, digest);
	hex(digest, s.digest);
	*rest = span_skip(*rest, len);
	*ret = s;
	return CMD_YES;
}

static void shown_done(const struct shown *s)
{
	json_decref(s->root);
}

static const json_t *part(const struct shown *s, const char *name)
{
	return json_object_get(json_object_get(s->root, s->body.len > 0 ? "body" : "head"), name);
}

static const json_t *process_of(const struct shown *s)
{
	return json_object_get(part(s, "who"), "process");
}

static void print_field(const char *name, const char *text)
{
	if (!*text)
		return;
	printf("%-11s ", name);
	ctl_print(stdout, text, 0);
	putchar('\n');
}

static void print_list(const char *name, const json_t *array)
{
	const json_t *one;
	size_t i;

	if (json_array_size(array) == 0)
		return;
	printf("%-11s ", name);
	json_array_foreach (array, i, one) {
		if (i > 0)
			fputs(", ", stdout);
		ctl_print(stdout, json_string_value(one) ? json_string_value(one) : "", 0);
	}
	putchar('\n');
}

static void print_params(const json_t *params)
{
	const json_t *one;
	size_t i;

	json_array_foreach (params, i, one) {
		_cleanup_buf_ struct buf value = BUF_INIT(CTL_ANSWER_MAX);
		char name[32];

		(void)snprintf(name, sizeof(name), "  $%zu", i + 1);
		param_put(&value, one, 0);
		printf("%-11s %.*s\n", name, SPAN_FMT(buf_span(&value)));
		if (json_object_get(one, "cut"))
			print_field("", "(longer than shown: the digest covers all of it)");
	}
}

/* Where it stands; not of one that is being decided. */
static void print_state(const struct shown *s)
{
	print_field("state", ctl_text(s->root, "state"));
	print_field("by", ctl_text(s->root, "by"));
	print_field("reason", ctl_text(s->root, "reason"));
}

static void print_shown(const struct shown *s, bool with_state)
{
	const json_t *op = part(s, "op");
	const json_t *verdict = part(s, "verdict");
	char age[24];

	print_field("approval", ctl_text(s->root, "id"));
	if (with_state)
		print_state(s);
	printf("%-11s %s ago\n", "asked",
	       ctl_age((uint64_t)ctl_number(s->root, "asked"), now(), age));
	if (streq(ctl_text(s->root, "state"), "pending"))
		printf("%-11s in %s\n", "expires",
		       ctl_age(now(), (uint64_t)ctl_number(s->root, "expires"), age));
	print_list("for", json_object_get(s->root, "groups"));
	print_field("workload", ctl_text(part(s, "who"), "workload"));
	print_field("subject", ctl_text(json_object_get(part(s, "who"), "token"), "subject"));
	print_field("executable", ctl_text(process_of(s), "exe"));
	print_field("container", ctl_text(process_of(s), "container"));
	print_field("resource", json_string_value(part(s, "resource"))
					? json_string_value(part(s, "resource"))
					: "");
	print_list("rule", json_object_get(verdict, "rules"));
	print_list("verbs", json_object_get(op, "verbs"));
	print_list("tables", json_object_get(op, "tables"));
	print_field("statement", ctl_text(op, "text"));
	if (json_object_get(op, "text_len"))
		print_field("", "(longer than shown)");
	print_params(json_object_get(op, "params"));
	print_field("digest", s->digest);
}

/* The digest that the store has must be that of the bytes shown here. */
static bool digest_holds(const struct shown *s)
{
	if (streq(s->digest, ctl_text(s->root, "digest")))
		return true;
	fprintf(stderr,
		"sluicectl: the digest of %s is not that of what is shown: do not trust it\n",
		ctl_text(s->root, "id"));
	return false;
}

static int fetch(const char *id, struct buf *answer, struct shown *ret)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct span list;
	int r;

	r = ctl_ask(json_pack("{s:s, s:s}", "id", id, "verb", "approvals-show"), answer, &root);
	if (r != CMD_YES)
		return r;
	if (json_check(buf_span(answer), JSON_CHECK_DEPTH_MAX, NULL) < 0 ||
	    json_member(buf_span(answer), "approvals", &list) < 0) {
		fputs("sluicectl: the answer is not understood\n", stderr);
		return CMD_UNKNOWN;
	}
	return next_shown(&list, ret);
}

static int show(const char *id)
{
	_cleanup_buf_ struct buf answer = BUF_INIT(CTL_ANSWER_MAX);
	_cleanup_(shown_done) struct shown s = {0};
	int r;

	r = fetch(id, &answer, &s);
	if (r != CMD_YES)
		return r;
	if (cmd_globals.json)
		printf("%.*s\n", SPAN_FMT(s.text));
	else
		print_shown(&s, true);
	return digest_holds(&s) ? CMD_YES : CMD_UNKNOWN;
}

static void print_line(const struct shown *s)
{
	char age[24];

	printf("%-14s %-10s %-8s ", ctl_text(s->root, "id"), ctl_text(s->root, "state"),
	       ctl_age((uint64_t)ctl_number(s->root, "asked"), now(), age));
	printf("%-16s %-14s ", ctl_text(part(s, "who"), "workload"),
	       json_string_value(part(s, "resource")) ? json_string_value(part(s, "resource"))
						      : "");
	ctl_print(stdout, ctl_text(part(s, "op"), "text"), 60);
	putchar('\n');
}

/* What an approver cannot see must not pass for not being there. */
static void print_more(const json_t *root)
{
	json_int_t more = ctl_number(root, "more");

	if (more > 0)
		fprintf(cmd_globals.json ? stderr : stdout,
			"%lld more that are not listed: pending ones stand first; `approvals show "
			"ID` "
			"shows any\n",
			(long long)more);
}

static int list(void)
{
	_cleanup_buf_ struct buf answer = BUF_INIT(CTL_ANSWER_MAX);
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct span rest;
	int r;

	r = ctl_ask(json_pack("{s:s}", "verb", "approvals-list"), &answer, &root);
	if (r != CMD_YES)
		return r;
	if (json_check(buf_span(&answer), JSON_CHECK_DEPTH_MAX, NULL) < 0 ||
	    json_member(buf_span(&answer), "approvals", &rest) < 0) {
		fputs("sluicectl: the answer is not understood\n", stderr);
		return CMD_UNKNOWN;
	}
	if (cmd_globals.json) {
		printf("%.*s\n", SPAN_FMT(rest));
		print_more(root);
		return CMD_YES;
	}
	printf("%-14s %-10s %-8s %-16s %-14s %s\n", "ID", "STATE", "ASKED", "WORKLOAD", "RESOURCE",
	       "STATEMENT");
	for (;;) {
		_cleanup_(shown_done) struct shown s = {0};

		r = next_shown(&rest, &s);
		if (r == CMD_NO)
			print_more(root);
		if (r != CMD_YES)
			return r == CMD_NO ? CMD_YES : r;
		print_line(&s);
	}
}

static bool person_agrees(void)
{
	char line[16];

	fputs("\nApprove this operation? [y/N] ", stdout);
	(void)fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	return streq(line, "y\n") || streq(line, "yes\n");
}

struct decision {
	const char *id;
	const char *digest;
	const char *reason;
	bool yes;
};

/* ap-59GV-7HEX approved by Ann */
static void print_outcome(const char *id, const json_t *answer)
{
	const char *by = ctl_text(answer, "by");

	printf("%s %s%s", id, ctl_text(answer, "state"), *by ? " by " : "");
	ctl_print(stdout, by, 0);
	putchar('\n');
}

static int send_decision(const char *verb, const struct decision *d)
{
	_cleanup_buf_ struct buf answer = BUF_INIT(CTL_ANSWER_MAX);
	_cleanup_(json_decrefp) json_t *root = NULL;
	json_t *request = json_pack("{s:s, s:s}", "id", d->id, "verb", verb);
	int r;

	if (!request ||
	    (d->digest && json_object_set_new(request, "digest", json_string(d->digest)) < 0) ||
	    (d->reason && json_object_set_new(request, "reason", json_string(d->reason)) < 0)) {
		json_decref(request);
		fputs("sluicectl: the digest or the reason is not UTF-8\n", stderr);
		return CMD_UNKNOWN;
	}
	r = ctl_ask(request, &answer, &root);
	if (r != CMD_YES)
		return r;
	if (cmd_globals.json)
		printf("%.*s\n", SPAN_FMT(buf_span(&answer)));
	else
		print_outcome(d->id, root);
	return CMD_YES;
}

static int approve(struct decision *d)
{
	_cleanup_buf_ struct buf answer = BUF_INIT(CTL_ANSWER_MAX);
	_cleanup_(shown_done) struct shown s = {0};
	int r;

	if (d->digest)
		return send_decision("approve", d);
	r = fetch(d->id, &answer, &s);
	if (r != CMD_YES)
		return r;
	if (!digest_holds(&s))
		return CMD_UNKNOWN;
	if (!cmd_globals.json)
		print_shown(&s, !streq(ctl_text(s.root, "state"), "pending"));
	if (!d->yes && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !person_agrees()) {
		fputs("not approved\n", stderr);
		return CMD_NO;
	}
	d->digest = s.digest;
	return send_decision("approve", d);
}

static int bad_usage(void)
{
	fputs(usage, stderr);
	return CMD_UNKNOWN;
}

int cmd_approvals(int argc, char **argv)
{
	static const struct option longs[] = {
		{"digest", required_argument, NULL, 'd'}, {"reason", required_argument, NULL, 'r'},
		{"yes", no_argument, NULL, 'y'},	  {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},	  {0}};
	struct decision d = {0};
	int opt;

	while ((opt = getopt_long(argc, argv, "yh", longs, NULL)) != -1) {
		switch (opt) {
		case 'd':
			d.digest = optarg;
			break;
		case 'r':
			d.reason = optarg;
			break;
		case 'y':
			d.yes = true;
			break;
		case 'j':
			cmd_globals.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return CMD_YES;
		default:
			return bad_usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 1 && streq(argv[0], "list"))
		return list();
	if (argc != 2)
		return bad_usage();
	d.id = argv[1];
	if (streq(argv[0], "show"))
		return show(d.id);
	if (streq(argv[0], "approve"))
		return approve(&d);
	if (streq(argv[0], "deny"))
		return send_decision("deny", &d);
	return bad_usage();
}
