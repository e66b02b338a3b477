#include "base/jsonw.h"

#include "base/utf8.h"

void jsonw_init(struct jsonw *w, struct buf *out)
{
	*w = (struct jsonw){.out = out};
}

int jsonw_end(struct jsonw *w)
{
	if (w->error)
		return w->error;
	if (w->depth != 0)
		return -EINVAL;
	return buf_error(w->out);
}

static void put_string(struct jsonw *w, struct span s)
{
	static const char hex[] = "0123456789abcdef";
	size_t i = 0;

	buf_put_u8(w->out, '"');
	while (i < s.len) {
		size_t run = i;
		size_t n;

		while (run < s.len && s.p[run] >= 0x20 && s.p[run] < 0x7f && s.p[run] != '"' &&
		       s.p[run] != '\\')
			run++;
		buf_put(w->out, s.p + i, run - i);
		i = run;
		if (i == s.len)
			break;
		n = utf8_valid_prefix(span_skip(s, i));
		if (s.p[i] == '"' || s.p[i] == '\\') {
			buf_put_u8(w->out, '\\');
			buf_put_u8(w->out, s.p[i]);
			i++;
		} else if (s.p[i] < 0x20 || s.p[i] == 0x7f) {
			buf_put_str(w->out, "\\u00");
			buf_put_u8(w->out, (uint8_t)hex[s.p[i] >> 4]);
			buf_put_u8(w->out, (uint8_t)hex[s.p[i] & 15]);
			i++;
		} else if (n > 0) {
			buf_put(w->out, s.p + i, n);
			i += n;
		} else {
			buf_put_str(w->out, "\xef\xbf\xbd");
			i++;
		}
	}
	buf_put_u8(w->out, '"');
}

/* Write the comma and the key, and check the order. False: an error is set, write nothing. */
static bool begin(struct jsonw *w, const char *key)
{
	if (w->error)
		return false;
	if (w->depth == 0) {
		if (key)
			w->error = -EINVAL;
		return !w->error;
	}
	if (w->level[w->depth - 1].array != !key) {
		w->error = -EINVAL;
		return false;
	}
	if (key) {
		char *last = w->level[w->depth - 1].last;

		if (strlen(key) >= JSONW_KEY_MAX ||
		    (w->level[w->depth - 1].any && strcmp(key, last) <= 0)) {
			w->error = -EINVAL;
			return false;
		}
		memcpy(last, key, strlen(key) + 1);
	}
	if (w->level[w->depth - 1].any)
		buf_put_u8(w->out, ',');
	w->level[w->depth - 1].any = true;
	if (key) {
		put_string(w, span_str(key));
		buf_put_u8(w->out, ':');
	}
	return true;
}

static void open_level(struct jsonw *w, const char *key, bool array)
{
	if (!begin(w, key))
		return;
	if (w->depth == JSONW_DEPTH_MAX) {
		w->error = -EINVAL;
		return;
	}
	w->level[w->depth].any = false;
	w->level[w->depth].array = array;
	w->depth++;
	buf_put_u8(w->out, array ? '[' : '{');
}

void jsonw_object(struct jsonw *w, const char *key)
{
	open_level(w, key, false);
}

void jsonw_array(struct jsonw *w, const char *key)
{
	open_level(w, key, true);
}

void jsonw_close(struct jsonw *w)
{
	if (w->error)
		return;
	if (w->depth == 0) {
		w->error = -EINVAL;
		return;
	}
	w->depth--;
	buf_put_u8(w->out, w->level[w->depth].array ? ']' : '}');
}

void jsonw_span(struct jsonw *w, const char *key, struct span value)
{
	if (begin(w, key))
		put_string(w, value);
}

void jsonw_str(struct jsonw *w, const char *key, const char *value)
{
	if (value)
		jsonw_span(w, key, span_str(value));
}

/* By hand: several in each event, and printf takes longer than the rest of it. */
static void put_decimal(struct jsonw *w, bool negative, uint64_t magnitude)
{
	uint8_t digits[21];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (uint8_t)('0' + magnitude % 10);
		magnitude /= 10;
	} while (magnitude > 0);
	if (negative)
		digits[--at] = '-';
	buf_put(w->out, digits + at, sizeof(digits) - at);
}

void jsonw_int(struct jsonw *w, const char *key, int64_t value)
{
	if (begin(w, key))
		put_decimal(w, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void jsonw_uint(struct jsonw *w, const char *key, uint64_t value)
{
	if (begin(w, key))
		put_decimal(w, false, value);
}

void jsonw_hex(struct jsonw *w, const char *key, struct span bytes)
{
	if (!begin(w, key))
		return;
	buf_put_u8(w->out, '"');
	buf_put_hex(w->out, bytes);
	buf_put_u8(w->out, '"');
}

void jsonw_raw(struct jsonw *w, const char *key, struct span json)
{
	if (begin(w, key))
		buf_put_span(w->out, json);
}
