#include "mask/mask.h"

#include "base/utf8.h"

/* src/include/catalog/pg_type.dat: OIDs below 10000 never change. */
enum {
	OID_CHAR = 18,
	OID_NAME = 19,
	OID_TEXT = 25,
	OID_UNKNOWN = 705,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
};

#define KEEP	   4 /* letters and digits that last4 leaves */
#define KEEP_ABOVE 8 /* of a value with at least so many characters */

enum class {
	OTHER = 0, /* never stays */
	SEPARATOR, /* stays */
	KEEPABLE,  /* a letter or digit */
};

static const uint8_t ascii[128] = {
	['0' ... '9'] = KEEPABLE, ['A' ... 'Z'] = KEEPABLE, ['a' ... 'z'] = KEEPABLE,
	[' '] = SEPARATOR,	  ['-'] = SEPARATOR,	    ['.'] = SEPARATOR,
	['/'] = SEPARATOR,	  ['_'] = SEPARATOR,	    [':'] = SEPARATOR,
	[','] = SEPARATOR,	  ['('] = SEPARATOR,	    [')'] = SEPARATOR,
	['+'] = SEPARATOR,
};

static const struct {
	enum mask_kind kind;
	const char *name;
} kinds[] = {
	{MASK_LAST4, "last4"},
	{MASK_REDACT, "redact"},
};

enum mask_kind mask_kind_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kinds[i].name, name))
			return kinds[i].kind;
	return MASK_NONE;
}

const char *mask_kind_name(enum mask_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "none";
}

static bool holds_text(uint32_t type_oid)
{
	switch (type_oid) {
	case OID_CHAR:
	case OID_NAME:
	case OID_TEXT:
	case OID_UNKNOWN:
	case OID_BPCHAR:
	case OID_VARCHAR:
		return true;
	default:
		return false;
	}
}

/* What last4 has to know of a value before it writes. */
struct tally {
	size_t characters;
	size_t keepable;
	size_t separators;
};

/* Length and class of the first character; 0: not UTF-8. */
static size_t first_of(struct span s, enum class *ret_class)
{
	size_t n;

	if (s.len > 0 && s.p[0] < 0x80) {
		*ret_class = ascii[s.p[0]];
		return 1;
	}
	n = utf8_valid_prefix(s);
	if (n > 0)
		*ret_class = utf8_is_control(span_head(s, n)) ? OTHER : KEEPABLE;
	return n;
}

static bool is_ascii(struct span s)
{
	uint8_t bits = 0;

	for (size_t i = 0; i < s.len; i++)
		bits |= s.p[i];
	return bits < 0x80;
}

static struct tally tally_ascii(struct span value)
{
	struct tally t = {.characters = value.len};

	for (size_t i = 0; i < value.len; i++) {
		t.keepable += ascii[value.p[i]] == KEEPABLE;
		t.separators += ascii[value.p[i]] == SEPARATOR;
	}
	return t;
}

/* false: not UTF-8. */
static bool tally_wide(struct span value, struct tally *ret_tally)
{
	struct tally t = {0};

	while (value.len > 0) {
		enum class class;
		size_t n = first_of(value, &class);

		if (n == 0)
			return false;
		t.characters++;
		t.keepable += class == KEEPABLE;
		t.separators += class == SEPARATOR;
		value = span_skip(value, n);
	}
	*ret_tally = t;
	return true;
}

/* Nearly every value is ASCII: one byte in, one byte out, without a branch to guess. */
static size_t write_ascii(struct span value, uint8_t *to)
{
	size_t from = value.len; /* of the first that stays */
	unsigned kept = 0;

	while (from > 0 && kept < KEEP)
		kept += ascii[value.p[--from]] == KEEPABLE;
	for (size_t i = 0; i < from; i++)
		to[i] = ascii[value.p[i]] == SEPARATOR ? value.p[i] : '*';
	for (size_t i = from; i < value.len; i++)
		to[i] = ascii[value.p[i]] != OTHER ? value.p[i] : '*';
	return value.len;
}

static size_t write_wide(struct span value, const struct tally *t, uint8_t *to)
{
	size_t hide = t->keepable - MIN(t->keepable, (size_t)KEEP);
	size_t seen = 0;
	size_t len = 0;

	while (value.len > 0) {
		enum class class = OTHER;
		size_t n = first_of(value, &class);

		if (class == SEPARATOR || (class == KEEPABLE && seen >= hide)) {
			memcpy(to + len, value.p, n);
			len += n;
		} else {
			to[len++] = '*';
		}
		seen += class == KEEPABLE;
		value = span_skip(value, MAX(n, (size_t)1));
	}
	return len;
}

static int put_last4(struct span value, struct buf *out)
{
	bool narrow = is_ascii(value);
	struct tally t;
	size_t len;
	uint8_t *to;

	if (narrow)
		t = tally_ascii(value);
	else if (!tally_wide(value, &t))
		return buf_put_str(out, MASK_REDACTED);
	if (value.len == 0)
		return buf_error(out);
	/* No character grows, so the masked value is never longer than the value. */
	to = buf_reserve(out, value.len);
	if (!to)
		return buf_error(out);
	if (t.characters - t.separators < KEEP_ABOVE) {
		len = t.characters;
		memset(to, '*', len);
	} else if (narrow) {
		len = write_ascii(value, to);
	} else {
		len = write_wide(value, &t, to);
	}
	buf_commit(out, len);
	return 0;
}

int mask_text(enum mask_kind kind, uint32_t type_oid, struct span value, struct buf *out)
{
	int r;

	if (!holds_text(type_oid) || (kind != MASK_LAST4 && kind != MASK_REDACT))
		return 0;
	if (type_oid == OID_CHAR)
		r = buf_put_str(out, "*");
	else if (kind == MASK_LAST4)
		r = put_last4(value, out);
	else
		r = buf_put_str(out, MASK_REDACTED);
	return r < 0 ? r : 1;
}
