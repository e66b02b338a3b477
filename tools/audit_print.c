#include "tools/audit_print.h"

#include "audit/visible.h"
#include "tools/param_text.h"

#define TEXT_SHOWN 160u /* bytes of a text that are shown in a list */
#define HASH_SHOWN 12u
#define INDENT	   "        "

/* A string value, made safe; at most max bytes of it, 0: all. Nothing when it is not there. */
static void put_text(struct buf *out, const json_t *value, size_t max)
{
	struct span s = span_of(json_string_value(value), json_string_length(value));

	if (max == 0 || s.len <= max) {
		(void)visible_put(out, s);
		return;
	}
	/* Not within a character. */
	while (max > 0 && (s.p[max] & 0xc0) == 0x80)
		max--;
	(void)visible_put(out, span_head(s, max));
	buf_put_str(out, "…");
}

static void put_list(struct buf *out, const json_t *list, const char *between)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (i > 0)
			buf_put_str(out, between);
		put_text(out, json_array_get(list, i), 0);
	}
}

static void put_number(struct buf *out, const char *label, const json_t *value)
{
	if (json_is_integer(value))
		buf_putf(out, "%s%" JSON_INTEGER_FORMAT, label, json_integer_value(value));
}

static bool has(const json_t *value)
{
	return json_string_length(value) > 0;
}

/* pid 4242 /usr/bin/psql (sha256 3f2a91c0d4e5) uid 1000, container 9f31c2ab4d5e, support-agent as s
 */
static void put_who(struct buf *out, json_t *who)
{
	json_t *process = search_get(who, "process", NULL);
	json_t *exe = search_get(process, "exe", NULL);
	json_t *digest = search_get(process, "exe_sha256", NULL);
	json_t *container = search_get(process, "container", NULL);
	json_t *subject = search_get(who, "token", "subject", NULL);

	put_number(out, "pid ", search_get(process, "pid", NULL));
	buf_put_str(out, " ");
	put_text(out, has(exe) ? exe : search_get(process, "comm", NULL), TEXT_SHOWN);
	if (has(digest)) {
		buf_put_str(out, " (sha256 ");
		put_text(out, digest, HASH_SHOWN);
		buf_put_str(out, ")");
	}
	put_number(out, " uid ", search_get(process, "uid", NULL));
	if (has(container)) {
		buf_put_str(out, ", container ");
		put_text(out, container, HASH_SHOWN);
	}
	if (has(search_get(who, "workload", NULL))) {
		buf_put_str(out, ", workload ");
		put_text(out, search_get(who, "workload", NULL), TEXT_SHOWN);
	}
	if (has(subject)) {
		buf_put_str(out, ", as ");
		put_text(out, subject, TEXT_SHOWN);
	}
}

static const char *decided(json_t *root, const char *kind)
{
	json_t *effect = search_get(root, "body", "verdict", "effect", NULL);
	const char *text = json_string_value(effect);

	if (streq(kind, "approval"))
		text = json_string_value(search_get(root, "body", "state", NULL));
	else if (streq(kind, "session.refused") || streq(kind, "kernel.refused"))
		text = "refused";
	else if (text && streq(text, "refuse"))
		text = "refused";
	else if (text && streq(text, "allow"))
		text = "allowed";
	else if (text && streq(text, "approve"))
		text = "by approval";
	/* Only words that sluice itself writes. */
	return text && strspn(text, "abcdefghijklmnopqrstuvwxyz ") == strlen(text) ? text : "";
}

/* verbs and tables; or what else the event is about. */
static void put_what(struct buf *out, json_t *root)
{
	json_t *body = search_get(root, "body", NULL);
	json_t *op = search_about(root, "op");
	json_t *result = search_get(body, "result", NULL);

	put_text(out, search_about(root, "resource"), TEXT_SHOWN);
	if (json_is_object(op)) {
		buf_put_str(out, "  ");
		put_list(out, search_get(op, "verbs", NULL), ",");
		/* Parsed by the server, not run yet: the run is an event of its own. */
		if (streq_null(json_string_value(search_get(op, "kind", NULL)), "prepare"))
			buf_put_str(out, " (parse)");
		buf_put_str(out, " ");
		put_list(out, search_get(op, "tables", NULL), " ");
	} else if (result) {
		buf_put_str(out, "  ");
		put_text(out, search_get(result, "tag", NULL), TEXT_SHOWN);
		put_text(out, search_get(result, "error", NULL), TEXT_SHOWN);
		put_number(out, ", rows ", search_get(result, "rows", NULL));
		put_number(out, ", bytes ", search_get(result, "bytes", NULL));
		put_number(out, ", masked ", search_get(result, "masked", NULL));
	} else {
		json_t *change = search_get(body, "change", NULL);

		buf_put_str(out, has(change) ? " " : "");
		put_text(out, change, TEXT_SHOWN);
	}
	if (has(search_get(body, "id", NULL))) {
		buf_put_str(out, "  ");
		put_text(out, search_get(body, "id", NULL), TEXT_SHOWN);
	}
}

static void line(const char *label, struct buf *text)
{
	if (buf_len(text) > 0)
		printf(INDENT "%-4s %.*s\n", label, SPAN_FMT(buf_span(text)));
	buf_reset(text);
}

static void put_why(struct buf *out, json_t *root)
{
	json_t *body = search_get(root, "body", NULL);
	json_t *verdict = search_about(root, "verdict");
	json_t *approval = search_get(body, "approval", NULL);
	json_t *rules = search_get(verdict, "rules", NULL);
	json_t *by = search_get(body, "by", NULL);

	if (has(by)) {
		buf_put_str(out, "by ");
		put_text(out, by, TEXT_SHOWN);
		buf_put_str(out, has(search_get(body, "reason", NULL)) ? ": " : "");
	}
	put_text(out, search_get(body, "reason", NULL), 0);
	if (has(search_get(body, "message", NULL))) {
		buf_put_str(out, buf_len(out) > 0 ? ": " : "");
		put_text(out, search_get(body, "message", NULL), 0);
	}
	if (json_is_object(verdict) && !has(by)) {
		buf_put_str(out, buf_len(out) > 0 ? "; " : "");
		put_text(out, search_get(verdict, "reason", NULL), 0);
		if (json_array_size(rules) > 0) {
			buf_put_str(out, " [");
			put_list(out, rules, "; ");
			buf_put_str(out, "]");
		}
	}
	if (approval) {
		buf_put_str(out, "; approved by ");
		put_text(out, search_get(approval, "by", NULL), TEXT_SHOWN);
		buf_put_str(out, ", ");
		put_text(out, search_get(approval, "id", NULL), TEXT_SHOWN);
	}
}

static void put_params(struct buf *out, const json_t *params)
{
	for (size_t i = 0; i < json_array_size(params); i++) {
		buf_putf(out, "%s$%zu=", i > 0 ? ", " : "", i + 1);
		param_put(out, json_array_get(params, i), TEXT_SHOWN);
	}
}

void audit_print_head(void)
{
	printf("%7s %-26s %-16s %-12s %s\n", "EVENT", "TIME (UTC)", "KIND", "DECIDED", "WHAT");
}

static void put_column(struct buf *out, struct span s, int width)
{
	size_t before = buf_len(out);

	(void)visible_put(out, s);
	do {
		buf_put_u8(out, ' ');
	} while (buf_len(out) - before <= (size_t)width && buf_error(out) == 0);
}

void audit_print_event(const struct store_event *e, json_t *root, bool whole)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4u * ENTRY_MAX);
	const json_t *kind_value = search_get(root, "kind", NULL);
	const char *kind = json_is_string(kind_value) ? json_string_value(kind_value) : "";
	json_t *who = search_about(root, "who");
	json_t *op = search_about(root, "op");

	buf_putf(&b, "%7llu ", (unsigned long long)e->seq);
	put_column(&b, span_head(e->time, 26), 26);
	put_column(&b, span_head(e->kind, 32), 16);
	if (!root) {
		buf_put_str(&b, "its bytes cannot be read: run `sluicectl audit verify`");
		printf("%.*s\n", SPAN_FMT(buf_span(&b)));
		return;
	}
	put_column(&b, span_str(decided(root, kind)), 12);
	put_what(&b, root);
	printf("%.*s\n", SPAN_FMT(buf_span(&b)));
	buf_reset(&b);
	if (who)
		put_who(&b, who);
	line("who", &b);
	put_text(&b, search_get(op, "text", NULL), whole ? 0 : TEXT_SHOWN);
	line("text", &b);
	put_params(&b, search_get(op, "params", NULL));
	line("with", &b);
	put_why(&b, root);
	line("why", &b);
}

void audit_print_json(json_t *root)
{
	char *text = json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

	/* Its own line breaks are the layout's; control characters are escaped, but for DEL. */
	for (char *p = text; p && *p; p++) {
		if (*p == 0x7f)
			*p = '?';
	}
	if (text)
		printf("%s\n", text);
	free(text);
}
