#include "audit/json_check.h"

#include "base/cursor.h"
#include "base/utf8.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Not zero where a byte of w is zero (exact as a yes or no for the whole word). */
static uint64_t zero_bytes(uint64_t w)
{
	return (w - ONES) & ~w & HIGHS;
}

/* Skip the run of printable ASCII that a string holds as it is, eight bytes at a time: up to a
 * quote, a backslash, a control character, DEL or what is not ASCII. The lowest mark of each of
 * these tests is exact, as borrows go upwards only. */
static void skip_plain(struct cursor *c)
{
	uint64_t w;
	uint64_t marks;

	while (cursor_left(c) >= sizeof(w)) {
		memcpy(&w, c->p, sizeof(w));
		if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
			w = __builtin_bswap64(w);
		marks = (w | zero_bytes(w ^ (ONES * '"')) | zero_bytes(w ^ (ONES * '\\')) |
			 zero_bytes(w ^ (ONES * 0x7f)) | ((w - ONES * 0x20) & ~w)) &
			HIGHS;
		if (marks) {
			c->p += __builtin_ctzll(marks) / 8;
			return;
		}
		c->p += sizeof(w);
	}
	while (cursor_left(c) > 0 && *c->p >= 0x20 && *c->p < 0x7f && *c->p != '"' && *c->p != '\\')
		c->p++;
}

static int hex_digit(uint8_t ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	return -EBADMSG;
}

/* After a backslash: the three escapes that jsonw writes, each only where it must. */
static int skip_escape(struct cursor *c)
{
	struct span hex;
	uint8_t ch;
	int hi;
	int lo;

	if (cursor_u8(c, &ch) < 0)
		return -EBADMSG;
	if (ch == '"' || ch == '\\')
		return 0;
	if (ch != 'u' || cursor_span(c, 4, &hex) < 0 || hex.p[0] != '0' || hex.p[1] != '0')
		return -EBADMSG;
	hi = hex_digit(hex.p[2]);
	lo = hex_digit(hex.p[3]);
	if (hi < 0 || lo < 0)
		return -EBADMSG;
	return hi * 16 + lo < 0x20 || hi * 16 + lo == 0x7f ? 0 : -EBADMSG;
}

/* After the opening quote; the closing one is consumed. *ret is what stands between them. */
static int skip_string(struct cursor *c, bool escapes, struct span *ret)
{
	const uint8_t *start = c->p;

	for (;;) {
		size_t n;

		skip_plain(c);
		if (cursor_left(c) == 0)
			return -EBADMSG;
		if (*c->p == '"') {
			*ret = span_of(start, (size_t)(c->p - start));
			c->p++;
			return 0;
		}
		if (*c->p == '\\') {
			struct cursor at = *c;

			at.p++;
			if (!escapes || skip_escape(&at) < 0)
				return -EBADMSG;
			*c = at;
			continue;
		}
		n = *c->p < 0x80 ? 0 : utf8_valid_prefix(cursor_rest(c));
		if (n == 0)
			return -EBADMSG;
		c->p += n;
	}
}

/* What fits an int64_t, without leading zeros: every reader of JSON knows what to do with that. */
static int skip_integer(struct cursor *c)
{
	struct cursor at = *c;
	bool negative = *at.p == '-';
	uint64_t v = 0;
	size_t digits = 0;

	if (negative)
		at.p++;
	while (cursor_left(&at) > 0 && *at.p >= '0' && *at.p <= '9') {
		uint64_t d = (uint64_t)(*at.p - '0');

		if ((digits == 1 && v == 0) || v > ((uint64_t)INT64_MAX + 1 - d) / 10)
			return -EBADMSG;
		v = v * 10 + d;
		digits++;
		at.p++;
	}
	if (digits == 0 || (negative && v == 0) || (!negative && v > INT64_MAX))
		return -EBADMSG;
	*c = at;
	return 0;
}

struct level {
	struct span last_key;
	bool any;
	bool array;
};

static int key_order(struct span a, struct span b)
{
	int r = memcmp(a.p, b.p, MIN(a.len, b.len));

	return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

/* The key and its colon. Keys hold no escapes: so their order is the order of their bytes. */
static int skip_key(struct cursor *c, struct level *l)
{
	struct cursor at = *c;
	struct span key;

	if (cursor_left(c) == 0 || *c->p != '"')
		return -EBADMSG;
	at.p++;
	if (skip_string(&at, false, &key) < 0) {
		*c = at;
		return -EBADMSG;
	}
	if (l->last_key.p && key_order(l->last_key, key) >= 0)
		return -EBADMSG;
	l->last_key = key;
	*c = at;
	if (cursor_left(c) == 0 || *c->p != ':')
		return -EBADMSG;
	c->p++;
	return 0;
}

/* Before a value: the comma and, in an object, the key. 1: the level was closed instead. */
static int next_member(struct cursor *c, struct level *l)
{
	if (cursor_left(c) == 0)
		return -EBADMSG;
	if (*c->p == (l->array ? ']' : '}')) {
		c->p++;
		return 1;
	}
	if (l->any) {
		if (*c->p != ',')
			return -EBADMSG;
		c->p++;
	}
	l->any = true;
	return l->array ? 0 : skip_key(c, l);
}

/* One value. An object or array is only opened: 1. */
static int skip_scalar(struct cursor *c)
{
	struct span ignored;

	if (cursor_left(c) == 0)
		return -EBADMSG;
	if (*c->p == '"') {
		c->p++;
		return skip_string(c, true, &ignored);
	}
	if (*c->p == '-' || (*c->p >= '0' && *c->p <= '9'))
		return skip_integer(c);
	return *c->p == '{' || *c->p == '[' ? 1 : -EBADMSG;
}

/* A member of the outermost object that is looked for on the way. */
struct wanted {
	struct span key; /* p NULL: none */
	const uint8_t *start;
	struct span value;
};

static void note_start(struct wanted *w, const struct level *l, const uint8_t *at)
{
	if (w->key.p && !l->array && span_eq(l->last_key, w->key))
		w->start = at;
}

static void note_end(struct wanted *w, const uint8_t *at)
{
	if (w->start)
		w->value = span_of(w->start, (size_t)(at - w->start));
	w->start = NULL;
}

static int skip_value(struct cursor *c, unsigned depth, struct wanted *w)
{
	struct level levels[JSON_CHECK_DEPTH_MAX];
	unsigned n = 0;
	int r;

	do {
		if (n > 0) {
			r = next_member(c, &levels[n - 1]);
			if (r < 0)
				return r;
			if (r > 0) {
				if (--n == 1)
					note_end(w, c->p);
				continue;
			}
			if (n == 1)
				note_start(w, &levels[0], c->p);
		}
		r = skip_scalar(c);
		if (r < 0)
			return r;
		if (r > 0) {
			if (n >= MIN(depth, JSON_CHECK_DEPTH_MAX))
				return -EBADMSG;
			levels[n++] = (struct level){.array = *c->p == '['};
			c->p++;
		} else if (n == 1) {
			note_end(w, c->p);
		}
	} while (n > 0);
	return 0;
}

int json_check_find(struct span text, unsigned depth, const char *key, size_t *ret_len,
		    struct span *ret_value)
{
	struct wanted w = {.key = span_str(key)};
	struct cursor c = cursor_of(text);
	int r;

	r = skip_value(&c, depth, &w);
	if (r < 0)
		return r;
	*ret_len = text.len - cursor_left(&c);
	*ret_value = w.value;
	return 0;
}

int json_check_prefix(struct span text, unsigned depth, size_t *ret_len)
{
	struct span none;

	return json_check_find(text, depth, NULL, ret_len, &none);
}

int json_check(struct span text, unsigned depth, size_t *ret_at)
{
	struct cursor c = cursor_of(text);
	struct wanted none = {0};

	if (cursor_left(&c) > 0 && *c.p == '{' && skip_value(&c, depth, &none) == 0 &&
	    cursor_left(&c) == 0)
		return 0;
	if (ret_at)
		*ret_at = text.len - cursor_left(&c);
	return -EBADMSG;
}

int json_member(struct span text, const char *key, struct span *ret_value)
{
	struct span value;
	size_t len;

	if (json_check_find(text, JSON_CHECK_DEPTH_MAX, key, &len, &value) < 0 || value.len == 0)
		return -ENOENT;
	*ret_value = value;
	return 0;
}

int json_plain_string(struct span value, struct span *ret_text)
{
	struct cursor c = cursor_of(value);
	struct span text;

	if (cursor_left(&c) == 0 || *c.p != '"')
		return -EINVAL;
	c.p++;
	if (skip_string(&c, false, &text) < 0 || cursor_left(&c) > 0)
		return -EINVAL;
	*ret_text = text;
	return 0;
}
