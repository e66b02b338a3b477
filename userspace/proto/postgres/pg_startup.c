#include "proto/postgres/pg_codec.h"

/* Majors that are answered in the protocol's own form, although only 3 is spoken. */
#define MAJOR_MAX 9u

#define NOT_POSTGRES                                                                          \
	"This address takes connections of PostgreSQL clients (protocol 3.0), also with TLS " \
	"after "                                                                              \
	"an SSLRequest."

int pg_detect(struct span head)
{
	struct cursor c = cursor_of(head);
	uint32_t length;
	uint32_t code;

	if (cursor_be32(&c, &length) < 0 || cursor_be32(&c, &code) < 0) {
		/* Lengths are below 10000: two bytes of zero. */
		for (size_t i = 0; i < head.len && i < 2; i++)
			if (head.p[i] != 0)
				return 0;
		return -EAGAIN;
	}
	if (code == PG_CODE_SSL || code == PG_CODE_GSSENC)
		return length == PG_REQUEST_LENGTH;
	if (code == PG_CODE_CANCEL)
		return length == PG_CANCEL_LENGTH;
	return length > PG_REQUEST_LENGTH && length <= PG_STARTUP_MAX && code >> 16 >= 1 &&
	       code >> 16 <= MAJOR_MAX;
}

static int fatal_garbage(struct pg_codec *c, int error, const char *what)
{
	return pg_fatal(c, error, PG_PROTOCOL_VIOLATION, NOT_POSTGRES,
			"sluice: not a PostgreSQL startup message: %s", what);
}

static int on_ssl(struct pg_codec *c, uint32_t length, const struct cursor *in)
{
	static const uint8_t yes = 'S';
	static const uint8_t no = 'N';
	int r;

	if (length != PG_REQUEST_LENGTH)
		return fatal_garbage(c, -EPROTO, "an SSLRequest of the wrong length");
	if (c->ssl_asked || c->tls)
		return fatal_garbage(c, -EPROTO, "TLS was asked for twice");
	c->ssl_asked = true;
	if (!c->env.tls_offered)
		return pg_to_agent(c, span_of(&no, 1));
	/* Whatever lies behind the request was put there by somebody in between, to be taken for
	 * what came encrypted (CVE-2021-23214). */
	if (cursor_left(in) > 0)
		return fatal_garbage(c, -EPROTO, "unencrypted data follows the request for TLS");
	r = pg_to_agent(c, span_of(&yes, 1));
	if (r < 0)
		return r;
	c->phase = PG_TLS;
	return c->env.sink.start_tls(c->env.sink.ctx);
}

static int on_gss(struct pg_codec *c, uint32_t length)
{
	static const uint8_t no = 'N';

	if (length != PG_REQUEST_LENGTH)
		return fatal_garbage(c, -EPROTO, "a GSSENCRequest of the wrong length");
	if (c->gss_asked || c->tls)
		return fatal_garbage(c, -EPROTO,
				     "GSSAPI encryption was asked for twice, or in TLS");
	c->gss_asked = true;
	return pg_to_agent(c, span_of(&no, 1));
}

static int on_cancel(struct pg_codec *c, uint32_t length, struct cursor body)
{
	uint32_t pid;
	uint32_t secret;
	int r;

	if (length != PG_CANCEL_LENGTH || cursor_be32(&body, &pid) < 0 ||
	    cursor_be32(&body, &secret) < 0)
		return fatal_garbage(c, -EPROTO, "a CancelRequest of the wrong length");
	c->phase = PG_ENDED;
	r = c->env.sink.cancel(c->env.sink.ctx, pid, secret);
	return r < 0 ? r : PROTO_CLOSE;
}

struct startup {
	struct proto_startup seen;
	size_t n_options; /* `_pq_.…`: asked of the protocol, not of the server */
	const char *options[PROTO_STARTUP_PARAMS_MAX];
};

/* One name and its value. The strings end in NULs, in the held message. */
static int on_param(struct pg_codec *c, struct startup *s, struct span name, struct span value)
{
	const char *n = (const char *)name.p;
	const char *v = (const char *)value.p;

	if (streq(n, "user")) {
		s->seen.user = v;
	} else if (streq(n, "database")) {
		s->seen.database = v;
	} else if (streq(n, "replication")) {
		return pg_fatal(c, -EPROTO, PG_FEATURE_NOT_SUPPORTED,
				"Connect without the parameter `replication`.",
				"sluice: replication connections are not let through");
	} else if (strncmp(n, "_pq_.", 5) == 0) {
		if (s->n_options == ARRAY_SIZE(s->options))
			return fatal_garbage(c, -EMSGSIZE, "too many parameters");
		s->options[s->n_options++] = n;
	} else {
		if (s->seen.n_params == PROTO_STARTUP_PARAMS_MAX)
			return fatal_garbage(c, -EMSGSIZE, "too many parameters");
		s->seen.params[s->seen.n_params++] = (struct proto_param){.name = n, .value = v};
	}
	return 0;
}

static int parse_params(struct pg_codec *c, struct startup *s, struct cursor *body)
{
	struct span name;
	struct span value;
	int r;

	for (;;) {
		if (cursor_cstr(body, &name) < 0)
			return fatal_garbage(c, -EPROTO, "it is cut off");
		if (name.len == 0)
			break;
		if (cursor_cstr(body, &value) < 0)
			return fatal_garbage(c, -EPROTO, "a parameter has no value");
		r = on_param(c, s, name, value);
		if (r < 0)
			return r;
	}
	if (cursor_left(body) > 0)
		return fatal_garbage(c, -EPROTO, "bytes follow its end");
	return 0;
}

static int on_startup(struct pg_codec *c, uint32_t version, struct cursor body)
{
	struct startup s = {.seen.database = ""};
	int r;

	if (version >> 16 != 3)
		return pg_fatal(c, -EPROTO, PG_FEATURE_NOT_SUPPORTED,
				"Use a client that speaks protocol 3.0 (PostgreSQL 7.4 and later).",
				"sluice: unsupported frontend protocol %u.%u: only 3.0 is spoken",
				version >> 16, version & 0xffff);
	r = parse_params(c, &s, &body);
	if (r < 0)
		return r;
	if (!s.seen.user || !*s.seen.user)
		return pg_fatal(c, -EPROTO, "28000", "Give a user name, any: it is not sent on.",
				"sluice: no PostgreSQL user name specified in startup packet");
	c->phase = PG_ADMISSION;
	if (version != PG_PROTOCOL_3_0 || s.n_options > 0) {
		pg_put_negotiate(&c->out, s.options, s.n_options);
		r = pg_flush_out(c);
		if (r < 0)
			return r;
	}
	r = c->env.sink.startup(c->env.sink.ctx, &s.seen);
	return r < 0 ? r : PROTO_HOLD;
}

static int on_packet(struct pg_codec *c, uint32_t length, const struct cursor *in)
{
	struct cursor body = cursor_of(buf_span(&c->front.msg));
	uint32_t code;

	if (cursor_skip(&body, 4) < 0 || cursor_be32(&body, &code) < 0)
		return fatal_garbage(c, -EPROTO, "it is too short");
	switch (code) {
	case PG_CODE_SSL:
		return on_ssl(c, length, in);
	case PG_CODE_GSSENC:
		return on_gss(c, length);
	case PG_CODE_CANCEL:
		return on_cancel(c, length, body);
	default:
		return on_startup(c, code, body);
	}
}

int pg_startup_feed(struct pg_codec *c, struct cursor *in)
{
	struct buf *msg = &c->front.msg;
	uint32_t length = 4;
	struct span part;
	int r = PROTO_MORE;

	while (c->phase == PG_STARTUP && r == PROTO_MORE) {
		size_t need = 4;

		if (buf_len(msg) >= 4) {
			struct cursor head = cursor_of(buf_span(msg));

			if (cursor_be32(&head, &length) < 0)
				return -EPROTO;
			if (length < PG_REQUEST_LENGTH || length > PG_STARTUP_MAX)
				return fatal_garbage(c, -EPROTO, "its length is impossible");
			need = length;
		}
		if (buf_len(msg) < need) {
			size_t n = MIN(need - buf_len(msg), cursor_left(in));

			if (n == 0)
				return PROTO_MORE;
			if (cursor_span(in, n, &part) < 0 || buf_put_span(msg, part) < 0)
				return -ENOMEM;
			continue;
		}
		r = on_packet(c, length, in);
		buf_done(msg);
	}
	return r == PROTO_MORE && c->phase != PG_STARTUP ? PROTO_HOLD : r;
}
