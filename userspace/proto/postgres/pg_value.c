#include "proto/postgres/pg_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>

#include "base/cursor.h"
#include "base/utf8.h"

/* Functions <type>recv of src/backend/utils/adt say what a binary value is. */
enum form {
	FORM_BOOL,
	FORM_INT2,
	FORM_INT4,
	FORM_INT8,
	FORM_OID,
	FORM_FLOAT4,
	FORM_FLOAT8,
	FORM_NUMERIC,
	FORM_TEXT,
	FORM_JSONB,
	FORM_UUID,
	FORM_DATE,
	FORM_TIMESTAMP,
	FORM_TIMESTAMPTZ,
	FORM_BYTES, /* shown as they are */
};

static const struct type {
	uint32_t oid;
	const char *name;
	enum form form;
} types[] = {
	{16, "bool", FORM_BOOL},
	{17, "bytea", FORM_BYTES},
	{19, "name", FORM_TEXT},
	{20, "int8", FORM_INT8},
	{21, "int2", FORM_INT2},
	{23, "int4", FORM_INT4},
	{25, "text", FORM_TEXT},
	{26, "oid", FORM_OID},
	{114, "json", FORM_TEXT},
	{700, "float4", FORM_FLOAT4},
	{701, "float8", FORM_FLOAT8},
	{705, "unknown", FORM_TEXT},
	{1042, "bpchar", FORM_TEXT},
	{1043, "varchar", FORM_TEXT},
	{1082, "date", FORM_DATE},
	{1114, "timestamp", FORM_TIMESTAMP},
	{1184, "timestamptz", FORM_TIMESTAMPTZ},
	{1700, "numeric", FORM_NUMERIC},
	{2950, "uuid", FORM_UUID},
	{3802, "jsonb", FORM_JSONB},
};

static const struct type *find(uint32_t oid)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].oid == oid)
			return &types[i];
	return NULL;
}

const char *pg_type_name(uint32_t oid)
{
	const struct type *t = find(oid);

	return t ? t->name : NULL;
}

/* What was written of a value, in a buffer that holds it. */
struct writer {
	char *p;
	size_t n;
	bool full;
};

static void put(struct writer *w, const char *fmt, ...) _printf_(2, 3);
static void put(struct writer *w, const char *fmt, ...)
{
	size_t room = PG_VALUE_TEXT_MAX - w->n;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->p + w->n, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		w->full = true;
	else
		w->n += (size_t)n;
}

static int put_integer(struct writer *w, enum form form, struct cursor *cur)
{
	uint16_t two;
	uint32_t four;
	uint64_t eight;

	if (form == FORM_INT2) {
		if (cursor_be16(cur, &two) < 0)
			return -EBADMSG;
		put(w, "%d", (int16_t)two);
	} else if (form == FORM_INT8) {
		if (cursor_be64(cur, &eight) < 0)
			return -EBADMSG;
		put(w, "%" PRId64, (int64_t)eight);
	} else {
		if (cursor_be32(cur, &four) < 0)
			return -EBADMSG;
		if (form == FORM_OID)
			put(w, "%" PRIu32, four);
		else
			put(w, "%" PRId32, (int32_t)four);
	}
	return 0;
}

/* The shortest digits that read back as the same number, laid out as the server does. */
static int put_float(struct writer *w, enum form form, struct cursor *cur)
{
	uint32_t four;
	uint64_t eight;
	float single = 0;
	double v;
	char digits[40];

	if (form == FORM_FLOAT4) {
		if (cursor_be32(cur, &four) < 0)
			return -EBADMSG;
		memcpy(&single, &four, sizeof(single));
		v = (double)single;
	} else {
		if (cursor_be64(cur, &eight) < 0)
			return -EBADMSG;
		memcpy(&v, &eight, sizeof(v));
	}
	if (isnan(v) || isinf(v)) {
		put(w, "%s", isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
		return 0;
	}
	/* What has fewer digits than the first precision has them still: %g drops zeros at the end.
	 */
	for (int precision = form == FORM_FLOAT4 ? 6 : 15; precision <= 17; precision++) {
		(void)snprintf(digits, sizeof(digits), "%.*g", precision, v);
		if (form == FORM_FLOAT4
			    ? !(strtof(digits, NULL) < single) && !(strtof(digits, NULL) > single)
			    : !(strtod(digits, NULL) < v) && !(strtod(digits, NULL) > v))
			break;
	}
	put(w, "%s", digits);
	return 0;
}

#define NUMERIC_NEGATIVE   0x4000u
#define NUMERIC_NAN	   0xc000u
#define NUMERIC_PLUS	   0xd000u
#define NUMERIC_MINUS	   0xf000u
#define NUMERIC_DIGITS_MAX 200 /* of four decimal digits; more are not written */

/* Digits to the base 10000, of which the first stands for 10000^weight (numeric.c, numeric_recv).
 */
static int put_numeric(struct writer *w, struct cursor *cur)
{
	uint16_t digits[NUMERIC_DIGITS_MAX];
	uint16_t n;
	uint16_t weight_bits;
	uint16_t sign;
	uint16_t scale;
	int weight;

	if (cursor_be16(cur, &n) < 0 || cursor_be16(cur, &weight_bits) < 0 ||
	    cursor_be16(cur, &sign) < 0 || cursor_be16(cur, &scale) < 0 || n > NUMERIC_DIGITS_MAX ||
	    scale > 0x3fff)
		return -EBADMSG;
	weight = (int16_t)weight_bits;
	for (size_t i = 0; i < n; i++)
		if (cursor_be16(cur, &digits[i]) < 0 || digits[i] > 9999)
			return -EBADMSG;
	if (sign == NUMERIC_NAN || sign == NUMERIC_PLUS || sign == NUMERIC_MINUS) {
		put(w, "%s",
		    sign == NUMERIC_NAN	   ? "NaN"
		    : sign == NUMERIC_PLUS ? "Infinity"
					   : "-Infinity");
		return 0;
	}
	if (sign != 0 && sign != NUMERIC_NEGATIVE)
		return -EBADMSG;
	put(w, "%s", sign ? "-" : "");
	if (weight < 0)
		put(w, "0");
	for (int i = 0; i <= weight && !w->full; i++)
		put(w, i == 0 ? "%d" : "%04d", i < n ? digits[i] : 0);
	if (scale > 0)
		put(w, ".");
	/* The server drops what is beyond the scale (numeric_recv). */
	for (int i = weight + 1, left = scale; left > 0 && !w->full; i++, left -= 4) {
		char four[8];

		(void)snprintf(four, sizeof(four), "%04d", i >= 0 && i < n ? digits[i] : 0);
		put(w, "%.*s", MIN(left, 4), four);
	}
	return 0;
}

/* ---- dates: days and microseconds since 2000-01-01, proleptic Gregorian calendar ---- */

#define DAY_USEC  INT64_C(86400000000)
#define DAY_FIRST (-2451545)	      /* 4714-11-24 BC, utils/timestamp.h: DATETIME_MIN_JULIAN */
#define DATE_END  INT64_C(2145031949) /* after 5874897-12-31: DATE_END_JULIAN - 2451545 */
#define STAMP_END INT64_C(106751983)  /* after 294276-12-31: TIMESTAMP_END_JULIAN - 2451545 */

struct day {
	int64_t year;
	int month;
	int day;
};

/* Counted in eras of 400 years from 0000-03-01, so that the leap day is a year's last. */
static struct day day_of(int64_t since_2000)
{
	int64_t z = since_2000 + 730425; /* 0000-03-01 to 2000-01-01 */
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t in_era = z - era * 146097;
	int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * in_year + 2) / 153; /* from March */

	return (struct day){
		.year = year + era * 400 + (month >= 10 ? 1 : 0),
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(in_year - (153 * month + 2) / 5 + 1),
	};
}

static void put_day(struct writer *w, const struct day *d)
{
	put(w, "%04" PRId64 "-%02d-%02d", d->year > 0 ? d->year : 1 - d->year, d->month, d->day);
}

static int put_date(struct writer *w, struct cursor *cur)
{
	uint32_t bits;
	int32_t days;
	struct day d;

	if (cursor_be32(cur, &bits) < 0)
		return -EBADMSG;
	days = (int32_t)bits;
	if (days == INT32_MAX || days == INT32_MIN) {
		put(w, "%s", days > 0 ? "infinity" : "-infinity");
		return 0;
	}
	if (days < DAY_FIRST || days >= DATE_END)
		return -EBADMSG;
	d = day_of(days);
	put_day(w, &d);
	put(w, "%s", d.year > 0 ? "" : " BC");
	return 0;
}

static int put_timestamp(struct writer *w, enum form form, struct cursor *cur)
{
	uint64_t bits;
	int64_t usec;
	int64_t days;
	int64_t rest;
	struct day d;

	if (cursor_be64(cur, &bits) < 0)
		return -EBADMSG;
	usec = (int64_t)bits;
	if (usec == INT64_MAX || usec == INT64_MIN) {
		put(w, "%s", usec > 0 ? "infinity" : "-infinity");
		return 0;
	}
	days = usec / DAY_USEC - (usec % DAY_USEC < 0 ? 1 : 0);
	rest = usec - days * DAY_USEC;
	if (days < DAY_FIRST || days >= STAMP_END)
		return -EBADMSG;
	d = day_of(days);
	put_day(w, &d);
	rest /= 1000000;
	put(w, " %02d:%02d:%02d", (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
	rest = usec - days * DAY_USEC - rest * 1000000;
	if (rest > 0) {
		put(w, ".%06d", (int)rest);
		while (w->p[w->n - 1] == '0')
			w->n--;
	}
	put(w, "%s%s", form == FORM_TIMESTAMPTZ ? "+00" : "", d.year > 0 ? "" : " BC");
	return 0;
}

static int put_uuid(struct writer *w, struct cursor *cur)
{
	uint8_t byte;

	for (int i = 0; i < 16; i++) {
		if (cursor_u8(cur, &byte) < 0)
			return -EBADMSG;
		put(w, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", byte);
	}
	return 0;
}

static int put_bool(struct writer *w, struct cursor *cur)
{
	uint8_t byte;

	if (cursor_u8(cur, &byte) < 0 || byte > 1)
		return -EBADMSG;
	put(w, "%s", byte ? "true" : "false");
	return 0;
}

/* Text as it is. Where it was cut it may end within a character. */
static int own_text(struct span value, bool cut, struct span *ret_text)
{
	for (size_t trim = 0; trim <= (cut ? 3u : 0u) && trim <= value.len; trim++) {
		struct span text = span_head(value, value.len - trim);

		if (!utf8_valid(text))
			continue;
		if (text.len > 0 && memchr(text.p, 0, text.len))
			return -EBADMSG;
		*ret_text = text;
		return 0;
	}
	return -EBADMSG;
}

static int put_value(struct writer *w, enum form form, struct cursor *cur)
{
	switch (form) {
	case FORM_BOOL:
		return put_bool(w, cur);
	case FORM_INT2:
	case FORM_INT4:
	case FORM_INT8:
	case FORM_OID:
		return put_integer(w, form, cur);
	case FORM_FLOAT4:
	case FORM_FLOAT8:
		return put_float(w, form, cur);
	case FORM_NUMERIC:
		return put_numeric(w, cur);
	case FORM_UUID:
		return put_uuid(w, cur);
	case FORM_DATE:
		return put_date(w, cur);
	case FORM_TIMESTAMP:
	case FORM_TIMESTAMPTZ:
		return put_timestamp(w, form, cur);
	case FORM_TEXT:
	case FORM_JSONB:
	case FORM_BYTES:
		break;
	}
	return -EOPNOTSUPP;
}

int pg_value_text(uint32_t oid, struct span value, bool cut, char buffer[static PG_VALUE_TEXT_MAX],
		  struct span *ret_text)
{
	const struct type *t = find(oid);
	struct cursor cur = cursor_of(value);
	struct writer w = {.p = buffer};
	int r;

	if (!t || t->form == FORM_BYTES)
		return -EOPNOTSUPP;
	if (t->form == FORM_TEXT)
		return own_text(value, cut, ret_text);
	if (t->form == FORM_JSONB) /* a version, always 1, and text (jsonb_recv) */
		return value.len > 0 && value.p[0] == 1
			       ? own_text(span_skip(value, 1), cut, ret_text)
			       : -EBADMSG;
	if (cut)
		return -EBADMSG;
	r = put_value(&w, t->form, &cur);
	if (r < 0)
		return r;
	if (w.full || cursor_left(&cur) > 0)
		return -EBADMSG;
	*ret_text = span_of(buffer, w.n);
	return 0;
}
