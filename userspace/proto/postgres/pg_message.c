#include "proto/postgres/pg_message.h"

#define DETAIL_MAX 1024

static size_t begin(struct buf *out, char type)
{
	size_t at = buf_len(out);

	buf_put_u8(out, (uint8_t)type);
	buf_put_be32(out, 0);
	return at;
}

static int end(struct buf *out, size_t at)
{
	if (buf_error(out))
		return buf_error(out);
	buf_set_be32(out, at + 1, (uint32_t)(buf_len(out) - at - 1));
	return 0;
}

static void put_field(struct buf *out, char code, const char *value)
{
	if (!value)
		return;
	buf_put_u8(out, (uint8_t)code);
	buf_put_cstr(out, value);
}

static int put_report(struct buf *out, char type, const struct proto_error *e)
{
	size_t at = begin(out, type);

	put_field(out, 'S', e->severity);
	put_field(out, 'V', e->severity);
	put_field(out, 'C', e->sqlstate);
	put_field(out, 'M', e->message);
	put_field(out, 'D', e->detail);
	put_field(out, 'H', e->hint);
	buf_put_u8(out, 0);
	return end(out, at);
}

int pg_put_error(struct buf *out, const struct proto_error *error)
{
	return put_report(out, 'E', error);
}

int pg_put_notice(struct buf *out, const struct proto_error *notice)
{
	return put_report(out, 'N', notice);
}

int pg_put_refusal(struct buf *out, const struct verdict *verdict)
{
	char detail[DETAIL_MAX];
	struct proto_error e = {
		.severity = "ERROR",
		.sqlstate = verdict->sqlstate[0] ? verdict->sqlstate : "42501",
		.message = verdict->reason[0] ? verdict->reason : "refused by policy",
		.hint = "What may be done here is decided by the policy of this node; ask its "
			"owner for a rule that allows this.",
	};
	size_t used = 0;

	for (size_t i = 0; i < verdict->n_rules && i < VERDICT_RULES_MAX; i++) {
		int n = snprintf(detail + used, sizeof(detail) - used, "%s\"%s\"",
				 i == 0 ? "Rules that decided: " : ", ", verdict->rules[i]);

		if (n < 0 || (size_t)n >= sizeof(detail) - used) {
			detail[used] = '\0';
			break;
		}
		used += (size_t)n;
	}
	if (used > 0)
		e.detail = detail;
	return pg_put_error(out, &e);
}

int pg_put_admission(struct buf *out, const struct proto_admission *a)
{
	size_t at = begin(out, 'R');

	buf_put_be32(out, 0);
	end(out, at);
	for (size_t i = 0; i < a->n_params; i++) {
		at = begin(out, 'S');
		buf_put_cstr(out, a->params[i].name);
		buf_put_cstr(out, a->params[i].value);
		end(out, at);
	}
	at = begin(out, 'K');
	buf_put_be32(out, a->cancel_pid);
	buf_put_be32(out, a->cancel_secret);
	end(out, at);
	at = begin(out, 'Z');
	buf_put_u8(out, (uint8_t)a->transaction);
	return end(out, at);
}

int pg_put_negotiate(struct buf *out, const char *const *options, size_t n_options)
{
	size_t at = begin(out, 'v');

	/* The server puts the whole version here, not the minor alone (backend_startup.c). */
	buf_put_be32(out, PG_PROTOCOL_3_0);
	buf_put_be32(out, (uint32_t)n_options);
	for (size_t i = 0; i < n_options; i++)
		buf_put_cstr(out, options[i]);
	return end(out, at);
}

int pg_put_query(struct buf *out, const char *text)
{
	size_t at = begin(out, 'Q');

	buf_put_cstr(out, text);
	return end(out, at);
}

int pg_put_parse(struct buf *out, const char *name, const char *text)
{
	size_t at = begin(out, 'P');

	buf_put_cstr(out, name);
	buf_put_cstr(out, text);
	buf_put_be16(out, 0);
	return end(out, at);
}

int pg_put_describe_portal(struct buf *out, const char *name)
{
	size_t at = begin(out, 'D');

	buf_put_u8(out, 'P');
	buf_put_cstr(out, name);
	return end(out, at);
}

int pg_put_empty(struct buf *out, char type)
{
	return end(out, begin(out, type));
}

/* One field: 1, or 0 at the end of the list (or of what there is of it, when cut). */
static int next_field(struct cursor *c, bool cut, char *ret_code, struct span *ret_value)
{
	struct span value;
	uint8_t code;

	if (cursor_u8(c, &code) < 0)
		return cut ? 0 : -EBADMSG;
	if (code == 0)
		return cursor_left(c) > 0 ? -EBADMSG : 0;
	if (cursor_cstr(c, &value) < 0)
		return cut ? 0 : -EBADMSG;
	*ret_code = (char)code;
	*ret_value = value;
	return 1;
}

int pg_error_parse(struct span body, bool cut, struct pg_error *ret_error)
{
	struct cursor c = cursor_of(body);
	struct pg_error e = {.sqlstate = "XX000"};
	bool has_severity = false;
	struct span value;
	char code;
	int r;

	while ((r = next_field(&c, cut, &code, &value)) > 0) {
		/* S is translated, V never is; V is not sent before PostgreSQL 9.6. */
		if (code == 'V' || (code == 'S' && !has_severity)) {
			e.fatal = span_eq_str(value, "FATAL") || span_eq_str(value, "PANIC");
			has_severity = code == 'V';
		} else if (code == 'C' && value.len == 5) {
			memcpy(e.sqlstate, value.p, 5);
		} else if (code == 'W') {
			e.has_context = true;
		} else if (code == 'R') {
			e.raised = span_eq_str(value, "exec_stmt_raise");
		}
	}
	if (r < 0)
		return r;
	/* What is missing of a cut message may be the context. */
	e.has_context |= cut;
	*ret_error = e;
	return 0;
}

static bool text_may_quote(char type, const struct pg_error *e)
{
	return type == 'N' || e->has_context || e->raised || strncmp(e->sqlstate, "22", 2) == 0 ||
	       strncmp(e->sqlstate, "P0", 2) == 0 || strncmp(e->sqlstate, "38", 2) == 0 ||
	       strncmp(e->sqlstate, "39", 2) == 0 || strncmp(e->sqlstate, "HV", 2) == 0 ||
	       strncmp(e->sqlstate, "XX", 2) == 0;
}

int pg_error_strip(char type, struct span body, bool cut, struct buf *out)
{
	/* Severity, SQLSTATE, message, position, place in the server's own source, and names of
	 * objects: none of them is a value of a row. */
	static const char kept[] = "SVCPFLRstcdn";
	struct cursor c = cursor_of(body);
	struct pg_error e;
	struct span value;
	size_t at;
	char code;
	int r = pg_error_parse(body, cut, &e);

	if (r < 0)
		return r;
	at = begin(out, type);
	while (next_field(&c, cut, &code, &value) > 0) {
		if (code == 'M' && text_may_quote(type, &e)) {
			buf_put_u8(out, 'M');
			buf_putf(out,
				 "text withheld by sluice: masks are in force, and it may quote "
				 "a masked value (SQLSTATE %s)",
				 e.sqlstate);
			buf_put_u8(out, 0);
		} else if (code == 'M' || strchr(kept, code)) {
			buf_put_u8(out, (uint8_t)code);
			buf_put_span(out, value);
			buf_put_u8(out, 0);
		}
	}
	buf_put_u8(out, 0);
	return end(out, at);
}

uint64_t pg_tag_rows(struct span tag)
{
	uint64_t n = 0;
	size_t i = tag.len;

	while (i > 0 && tag.p[i - 1] >= '0' && tag.p[i - 1] <= '9')
		i--;
	if (i == 0 || tag.p[i - 1] != ' ' || tag.len - i > 18)
		return 0;
	for (; i < tag.len; i++)
		n = n * 10 + (uint64_t)(tag.p[i] - '0');
	return n;
}
