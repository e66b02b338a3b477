#include "audit/entry.h"

#include <time.h>

#include "audit/json_check.h"
#include "base/cursor.h"
#include "base/jsonw.h"

static void put_digits(char *at, unsigned v, unsigned n)
{
	while (n-- > 0) {
		at[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

void entry_time(uint64_t wall_ns, char ret[static ENTRY_TIME_LEN + 1])
{
	time_t s = (time_t)(wall_ns / 1000000000u);
	struct tm tm;

	/* By hand: it is done for every event, and printf takes longer than the rest of it. */
	memcpy(ret, "9999-12-31T23:59:59.999999Z", ENTRY_TIME_LEN + 1);
	if (!gmtime_r(&s, &tm) || tm.tm_year > 9999 - 1900)
		return;
	put_digits(ret, (unsigned)tm.tm_year + 1900, 4);
	put_digits(ret + 5, (unsigned)tm.tm_mon + 1, 2);
	put_digits(ret + 8, (unsigned)tm.tm_mday, 2);
	put_digits(ret + 11, (unsigned)tm.tm_hour, 2);
	put_digits(ret + 14, (unsigned)tm.tm_min, 2);
	put_digits(ret + 17, (unsigned)tm.tm_sec, 2);
	put_digits(ret + 20, (unsigned)(wall_ns % 1000000000u / 1000u), 6);
}

int entry_escape_node(const char *node, struct buf *out)
{
	_cleanup_buf_ struct buf text = BUF_INIT(ENTRY_NODE_MAX + 2);
	struct jsonw w;
	struct span s;

	jsonw_init(&w, &text);
	jsonw_str(&w, NULL, node);
	s = buf_span(&text);
	if (jsonw_end(&w) < 0 || s.len <= 2)
		return -EINVAL;
	return buf_put(out, s.p + 1, s.len - 2);
}

static void put_decimal(struct buf *out, uint64_t v)
{
	uint8_t digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (uint8_t)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	buf_put(out, digits + n, sizeof(digits) - n);
}

int entry_put(struct buf *out, const struct entry *e)
{
	buf_put_str(out, "{\"body\":");
	buf_put_span(out, e->body);
	buf_put_str(out, ",\"kind\":\"");
	buf_put_span(out, e->kind);
	buf_put_str(out, "\",\"node\":\"");
	buf_put_span(out, e->node);
	buf_put_str(out, "\",\"prev\":\"");
	buf_put_hex(out, span_of(e->prev, HASH_LEN));
	buf_put_str(out, "\",\"seq\":");
	put_decimal(out, e->seq);
	buf_put_str(out, ",\"time\":\"");
	buf_put_span(out, e->time);
	return buf_put_str(out, "\"}");
}

static int expect(struct cursor *c, const char *text)
{
	struct span got;

	if (cursor_span(c, strlen(text), &got) < 0 || !span_eq_str(got, text))
		return -EBADMSG;
	return 0;
}

/* A value and what stands before it. */
static int take(struct cursor *c, const char *before, struct span *ret)
{
	size_t len;

	if (expect(c, before) < 0 || json_check_prefix(cursor_rest(c), ENTRY_BODY_DEPTH, &len) < 0)
		return -EBADMSG;
	return cursor_span(c, len, ret);
}

static struct span session_of(struct span value)
{
	struct span text;

	if (json_plain_string(value, &text) < 0 || text.len > ENTRY_SESSION_MAX)
		return (struct span){0};
	return text;
}

static int take_body(struct cursor *c, struct entry *e)
{
	struct span session;
	size_t len;

	if (expect(c, "{\"body\":") < 0 || cursor_left(c) == 0 || *c->p != '{' ||
	    json_check_find(cursor_rest(c), ENTRY_BODY_DEPTH, "session", &len, &session) < 0)
		return -EBADMSG;
	e->session = session_of(session);
	return cursor_span(c, len, &e->body);
}

static int take_plain(struct cursor *c, const char *before, struct span *ret)
{
	struct span value;

	if (take(c, before, &value) < 0 || json_plain_string(value, ret) < 0)
		return -EBADMSG;
	return 0;
}

static int from_hex(struct span hex, uint8_t *ret)
{
	if (hex.len != 2 * HASH_LEN)
		return -EBADMSG;
	for (size_t i = 0; i < hex.len; i++) {
		uint8_t ch = hex.p[i];
		uint8_t v;

		if (ch >= '0' && ch <= '9')
			v = (uint8_t)(ch - '0');
		else if (ch >= 'a' && ch <= 'f')
			v = (uint8_t)(ch - 'a' + 10);
		else
			return -EBADMSG;
		ret[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : ret[i / 2] | v);
	}
	return 0;
}

int entry_parse(struct span bytes, struct entry *ret_entry)
{
	struct cursor c = cursor_of(bytes);
	struct entry e = {0};
	struct span node;
	struct span prev;
	struct span seq;

	if (take_body(&c, &e) < 0 || take_plain(&c, ",\"kind\":", &e.kind) < 0 ||
	    take(&c, ",\"node\":", &node) < 0 || node.p[0] != '"' ||
	    take_plain(&c, ",\"prev\":", &prev) < 0 || from_hex(prev, e.prev) < 0 ||
	    take(&c, ",\"seq\":", &seq) < 0 || take_plain(&c, ",\"time\":", &e.time) < 0 ||
	    expect(&c, "}") < 0 || cursor_left(&c) > 0)
		return -EBADMSG;
	e.node = span_of(node.p + 1, node.len - 2);
	for (size_t i = 0; i < seq.len; i++) {
		if (seq.p[i] < '0' || seq.p[i] > '9')
			return -EBADMSG;
		e.seq = e.seq * 10 + (uint64_t)(seq.p[i] - '0');
	}
	*ret_entry = e;
	return 0;
}

int entry_check_body(struct span body, struct span *ret_session)
{
	struct span session;
	size_t len;

	if (body.len == 0 || body.p[0] != '{' ||
	    json_check_find(body, ENTRY_BODY_DEPTH, "session", &len, &session) < 0 ||
	    len != body.len)
		return -EBADMSG;
	*ret_session = session_of(session);
	return 0;
}

struct span entry_session(struct span body)
{
	struct span session;

	if (entry_check_body(body, &session) < 0)
		return (struct span){0};
	return session;
}
