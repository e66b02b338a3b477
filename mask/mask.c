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
	SEPARATOR, /* stays */
	KEEPABLE,  /* a letter or digit */
	OTHER,	   /* never stays */
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

static enum class class_of_ascii(uint8_t c) {
	switch (c){
		case '0' ... '9' : case 'A' ... 'Z' : case 'a' ... 'z' : return KEEPABLE;
		case ' ' : case '-' : case '.' : case '/' : case '_' : case ':' : case ',' :
			case '(' : case ')' : case '+' : return SEPARATOR;
		default : return OTHER;
	}
}

/* Length and class of the first character; 0: not UTF-8. */
static size_t first_of(struct span s, enum class *ret_class)
{
	size_t n;

	if (s.len > 0 && s.p[0] < 0x80) {
		*ret_class = class_of_ascii(s.p[0]);
		return 1;
	}
	n = utf8_valid_prefix(s);
	if (n > 0)
		*ret_class = utf8_is_control(span_head(s, n)) ? OTHER : KEEPABLE;
	return n;
}

struct tally {
	size_t keepable;
	size_t separators;
	size_t others;
};

static bool tally_of(struct span value, struct tally *ret_tally)
{
	struct tally t = {0};

	while (value.len > 0) {
		enum class class;
		size_t n = first_of(value, &class);

		if (n == 0)
			return false;
		t.keepable += class == KEEPABLE;
		t.separators += class == SEPARATOR;
		t.others += class == OTHER;
		value = span_skip(value, n);
	}
	*ret_tally = t;
	return true;
}

/* No character grows, so the masked value is never longer than the value. */
static int put_last4(struct span value, const struct tally *t, struct buf *out)
{
	bool wholly = t->keepable + t->others < KEEP_ABOVE;
	size_t hide = t->keepable - MIN(t->keepable, (size_t)KEEP);
	size_t seen = 0;
	size_t len = 0;
	uint8_t *to;

	if (value.len == 0)
		return buf_error(out);
	to = buf_reserve(out, value.len);
	if (!to)
		return buf_error(out);
	while (value.len > 0) {
		enum class class = OTHER;
		size_t n = first_of(value, &class);
		bool stays = class == SEPARATOR || (class == KEEPABLE && seen >= hide);

		seen += class == KEEPABLE;
		if (stays && !wholly) {
			memcpy(to + len, value.p, n);
			len += n;
		} else {
			to[len++] = '*';
		}
		value = span_skip(value, MAX(n, (size_t)1));
	}
	buf_commit(out, len);
	return 0;
}

int mask_text(enum mask_kind kind, uint32_t type_oid, struct span value, struct buf *out)
{
	struct tally t;
	int r;

	if (!holds_text(type_oid) || (kind != MASK_LAST4 && kind != MASK_REDACT))
		return 0;
	if (type_oid == OID_CHAR)
		r = buf_put_str(out, "*");
	else if (kind == MASK_LAST4 && tally_of(value, &t))
		r = put_last4(value, &t, out);
	else
		r = buf_put_str(out, MASK_REDACTED);
	return r < 0 ? r : 1;
}
