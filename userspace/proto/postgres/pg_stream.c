#include "proto/postgres/pg_codec.h"

/* A held message of up to this stays allocated between messages. */
#define KEEP_MAX 4096u

void pg_stream_init(struct pg_stream *s, size_t max)
{
	*s = (struct pg_stream){.mode = PG_MODE_HEADER, .msg = BUF_INIT(max)};
}

void pg_stream_done(struct pg_stream *s)
{
	buf_done(&s->msg);
}

static bool is_counted(uint8_t type)
{
	return type == 'D' || type == 'T';
}

static int parse_header(struct pg_stream *s)
{
	struct cursor c = cursor_of(s->head);
	uint32_t length;
	uint8_t type;

	if (cursor_u8(&c, &type) < 0 || cursor_be32(&c, &length) < 0 || length < 4)
		return -EPROTO;
	s->type = (char)type;
	s->length = length;
	s->left = length - 4;
	s->count = 0;
	if (cursor_left(&c) > 0) {
		if (s->left < 2 || cursor_be16(&c, &s->count) < 0)
			return -EPROTO;
		s->left -= 2;
	}
	return 1;
}

/* The common case: all of it is there. */
static int header_in_place(struct pg_stream *s, struct cursor *in, bool counted)
{
	struct cursor c = *in;
	size_t need = PG_HEADER;
	uint8_t type;

	if (cursor_u8(&c, &type) < 0)
		return 0;
	if (counted && is_counted(type))
		need = PG_HEADER_COUNT;
	if (cursor_span(in, need, &s->head) < 0)
		return 0;
	return parse_header(s);
}

int pg_stream_header(struct pg_stream *s, struct cursor *in, bool counted)
{
	size_t need;
	int r;

	if (s->header_len == 0) {
		r = header_in_place(s, in, counted);
		if (r != 0)
			return r;
	}
	need = s->header_len > 0 && counted && is_counted(s->header[0]) ? PG_HEADER_COUNT
									: PG_HEADER;
	while (s->header_len < need) {
		if (cursor_u8(in, &s->header[s->header_len]) < 0)
			return 0;
		s->header_len++;
		if (counted && is_counted(s->header[0]))
			need = PG_HEADER_COUNT;
		s->head = span_of(s->header, PG_HEADER);
		/* A length that leaves no place for the count must not make us wait for it. */
		if (s->header_len == PG_HEADER &&
		    (parse_header(s) < 0 || (need > PG_HEADER && s->left < 2)))
			return -EPROTO;
	}
	s->head = span_of(s->header, need);
	s->header_len = 0;
	return parse_header(s);
}

int pg_stream_gather(struct pg_stream *s, uint32_t want)
{
	buf_reset(&s->msg);
	s->want = PG_HEADER + want;
	s->mode = PG_MODE_GATHER;
	/* Header bytes in `header` are overwritten by the next one, those fed are gone with them.
	 */
	if (s->head.p == s->header)
		return buf_put_span(&s->msg, s->head);
	return 0;
}

int pg_stream_take(struct pg_stream *s, struct cursor *in, struct span *ret_whole)
{
	struct span part;
	size_t n;

	if (buf_len(&s->msg) == 0) {
		/* Nothing held yet: the header lies right before what is left of `in`. */
		n = s->want - s->head.len;
		if (cursor_span(in, n, &part) == 0) {
			s->left -= (uint32_t)n;
			*ret_whole = span_of(s->head.p, s->want);
			return 1;
		}
		if (buf_put_span(&s->msg, s->head) < 0)
			return buf_error(&s->msg);
	}
	n = MIN(s->want - buf_len(&s->msg), cursor_left(in));
	if (cursor_span(in, n, &part) < 0 || buf_put_span(&s->msg, part) < 0)
		return buf_error(&s->msg) ? buf_error(&s->msg) : -EPROTO;
	s->left -= (uint32_t)n;
	if (buf_len(&s->msg) < s->want)
		return 0;
	*ret_whole = buf_span(&s->msg);
	return 1;
}

void pg_stream_next(struct pg_stream *s, enum pg_mode mode)
{
	if (s->msg.cap > KEEP_MAX)
		buf_done(&s->msg);
	else
		buf_reset(&s->msg);
	s->mode = s->left > 0 ? mode : PG_MODE_HEADER;
}

int pg_stream_rest(struct pg_codec *c, struct pg_stream *s, struct cursor *in)
{
	size_t n = MIN((size_t)s->left, cursor_left(in));
	struct span part;
	int r = 0;

	if (cursor_span(in, n, &part) < 0)
		return -EPROTO;
	if (s->mode == PG_MODE_PASS && n > 0)
		r = pg_pass(c, s, part);
	s->left -= (uint32_t)n;
	if (s->left == 0)
		s->mode = PG_MODE_HEADER;
	return r;
}
