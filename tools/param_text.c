#include "tools/param_text.h"

#include "audit/visible.h"

static bool is_text_type(const char *type)
{
	static const char *const types[] = {"text", "varchar", "bpchar", "name",
					    "json", "jsonb",   "unknown"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(types[i], type))
			return true;
	return false;
}

static void put_cut(struct buf *out, struct span s, size_t max)
{
	size_t n = max == 0 ? s.len : MIN(s.len, max);

	/* Not within a character. */
	while (n < s.len && n > 0 && (s.p[n] & 0xc0) == 0x80)
		n--;
	(void)visible_put(out, span_head(s, n));
	if (n < s.len)
		buf_put_str(out, "…");
}

/* As a literal of SQL: a quote in it is doubled. */
static void put_quoted(struct buf *out, struct span s, size_t max)
{
	size_t n = max == 0 ? s.len : MIN(s.len, max);
	size_t at = 0;

	while (n < s.len && n > 0 && (s.p[n] & 0xc0) == 0x80)
		n--;
	buf_put_str(out, "'");
	while (at < n) {
		struct span rest = span_skip(span_head(s, n), at);
		const uint8_t *quote = memchr(rest.p, '\'', rest.len);
		size_t len = quote ? (size_t)(quote - rest.p) : rest.len;

		(void)visible_put(out, span_head(rest, len));
		if (quote)
			buf_put_str(out, "''");
		at += len + (quote ? 1 : 0);
	}
	buf_put_str(out, n < s.len ? "…'" : "'");
}

static void put_bytes(struct buf *out, const json_t *hex, const json_t *type, size_t max)
{
	const char *name = json_string_value(type);

	buf_put_str(out, "\\x");
	put_cut(out, span_of(json_string_value(hex), json_string_length(hex)), max);
	if (name && streq(name, "bytea")) {
		buf_put_str(out, " (bytea)");
		return;
	}
	buf_put_str(out, " (binary, type ");
	if (name)
		(void)visible_put(out, span_str(name));
	else if (json_is_integer(type))
		buf_putf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(type));
	else
		buf_put_str(out, "not known");
	buf_put_str(out, ")");
}

void param_put(struct buf *out, const json_t *param, size_t max)
{
	const json_t *text = json_object_get(param, "text");
	const json_t *hex = json_object_get(param, "hex");
	const json_t *type = json_object_get(param, "type");
	struct span s = span_of(json_string_value(text), json_string_length(text));

	if (json_is_string(hex)) {
		put_bytes(out, hex, type, max);
		return;
	}
	if (!json_is_string(text)) {
		buf_put_str(out, "NULL");
		return;
	}
	if (!json_is_string(type) || is_text_type(json_string_value(type)))
		put_quoted(out, s, max);
	else
		put_cut(out, s, max);
	if (json_is_string(type)) {
		buf_put_str(out, " (");
		(void)visible_put(out, span_of(json_string_value(type), json_string_length(type)));
		buf_put_str(out, ")");
	}
}
