/* pg_fake.h - a session for the PostgreSQL codec that writes down all it is told.
 * Used by: tests/unit/proto/test_pg_*.c.
 * Promises: what it decides depends on the text alone; every class handed out is counted. */
#ifndef SLUICE_TESTS_PG_FAKE_H
#define SLUICE_TESTS_PG_FAKE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/proto.h"

struct fake {
	void *codec;
	struct buf agent;  /* sent to the agent since last looked at */
	struct buf server; /* sent to the server */
	struct buf all;	   /* everything, in order, for comparison */
	struct buf log;	   /* what was called */
	size_t step;	   /* bytes fed at once */
	size_t most;	   /* most bytes sent within one feed, beyond those taken */
	size_t sent;
	bool masked;
	uint32_t held; /* operation that waits */
	int last;      /* what the last feed returned */
	uint8_t masks[16];
	bool hold_columns;
	int columns_result;
	size_t live_classes;
};

#define VERB(text_, word_) (strncasecmp((text_), (word_), strlen(word_)) == 0)

struct fake_class {
	struct sql_class class;
	struct sql_statement statement;
	char name[64];
};

static const struct sql_class *fake_classify(void *ctx, struct span text)
{
	static const struct {
		const char *word;
		const char *kind;
		uint32_t verbs;
	} kinds[] = {
		{"select f(", "SelectStmt", SQL_SELECT | SQL_CALL},
		{"select", "SelectStmt", SQL_SELECT},
		{"insert", "InsertStmt", SQL_INSERT},
		{"delete", "DeleteStmt", SQL_DELETE},
		{"copy in", "CopyStmt", SQL_COPY_IN | SQL_INSERT},
		{"copy out", "CopyStmt", SQL_COPY_OUT | SQL_SELECT},
		{"prepare ", "PrepareStmt", SQL_PREPARE | SQL_SELECT},
		{"deallocate ", "DeallocateStmt", SQL_DEALLOCATE},
		{"declare ", "DeclareCursorStmt", SQL_DECLARE | SQL_SELECT},
		{"close ", "ClosePortalStmt", SQL_FETCH},
		{"execute ", "ExecuteStmt", SQL_EXECUTE},
		{"discard all", "DiscardStmt", SQL_SET},
		{"set ", "VariableSetStmt", SQL_SET},
		{"commit", "TransactionStmt", SQL_TRANSACTION},
		{"begin", "TransactionStmt", SQL_TRANSACTION},
	};
	struct fake *f = ctx;
	struct fake_class *c = calloc(1, sizeof(*c));
	char copy[128];
	const char *rest = "";

	assert_non_null(c);
	(void)snprintf(copy, sizeof(copy), "%.*s", SPAN_FMT(text));
	c->statement.kind = "";
	c->statement.verbs = SQL_UNKNOWN;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (VERB(copy, kinds[i].word)) {
			c->statement.kind = kinds[i].kind;
			c->statement.verbs = kinds[i].verbs;
			rest = copy + strlen(kinds[i].word);
			break;
		}
	if (c->statement.verbs &
	    (SQL_PREPARE | SQL_DEALLOCATE | SQL_DECLARE | SQL_FETCH | SQL_EXECUTE | SQL_SET)) {
		(void)sscanf(rest, "%63s", c->name);
		if (c->statement.verbs & SQL_SET)
			c->statement.setting = c->name;
		else if (!streq(c->name, "all"))
			c->statement.name = c->name;
	}
	c->class.verbs = c->statement.verbs;
	c->class.n_statements = 1;
	c->class.statements = &c->statement;
	f->live_classes++;
	return &c->class;
}

static void fake_release(void *ctx, const struct sql_class *sql)
{
	struct fake *f = ctx;

	assert_true(f->live_classes > 0);
	f->live_classes--;
	free((void *)(uintptr_t)sql);
}

static int fake_send(void *ctx, enum proto_peer to, struct span bytes)
{
	struct fake *f = ctx;

	f->sent += bytes.len;
	buf_put_u8(&f->all, to == PROTO_AGENT ? 'a' : 's');
	buf_put_span(&f->all, bytes);
	return buf_put_span(to == PROTO_AGENT ? &f->agent : &f->server, bytes);
}

static int fake_start_tls(void *ctx)
{
	struct fake *f = ctx;

	return buf_putf(&f->log, "tls\n");
}

static int fake_startup(void *ctx, const struct proto_startup *s)
{
	struct fake *f = ctx;

	buf_putf(&f->log, "startup %s/%s", s->user, s->database);
	for (size_t i = 0; i < s->n_params; i++)
		buf_putf(&f->log, " %s=%s", s->params[i].name, s->params[i].value);
	return buf_putf(&f->log, "\n");
}

static int fake_cancel(void *ctx, uint32_t pid, uint32_t secret)
{
	struct fake *f = ctx;

	return buf_putf(&f->log, "cancel %u %u\n", pid, secret);
}

_unused_ static int fake_decide(struct fake *f, uint32_t id, bool allow)
{
	struct verdict v = {.effect = allow ? EFFECT_ALLOW : EFFECT_REFUSE};

	if (!allow) {
		(void)snprintf(v.reason, sizeof(v.reason), "no rule allows it");
		v.rules[v.n_rules++] = "no deletes";
	}
	f->held = 0;
	return postgres_ops.resume(f->codec, id, &v, f->masked);
}

static const char *fake_verbs(uint32_t verbs, char out[static 64])
{
	size_t n = 0;

	out[0] = '\0';
	for (const struct sql_verb_name *v = sql_verb_names; v->name; v++)
		if ((verbs & v->verb) && n < 60)
			n += (size_t)snprintf(out + n, 64 - n, "%s%s", n ? "|" : "", v->name);
	return out;
}

static int fake_op(void *ctx, const struct op *op)
{
	struct fake *f = ctx;
	char verbs[64];
	char text[64];

	(void)snprintf(text, sizeof(text), "%.*s", SPAN_FMT(op->text));
	buf_putf(&f->log, "op %u %s %s [%s]", op->id, op->kind == OP_RUN ? "run" : "prepare", text,
		 fake_verbs(op->sql->verbs, verbs));
	for (size_t i = 0; i < op->n_params; i++) {
		if (op->params[i].type_oid > 0)
			buf_putf(&f->log, " (%u)", op->params[i].type_oid);
		if (op->params[i].is_null)
			buf_putf(&f->log, " null");
		else
			buf_putf(&f->log, " %.8s%.*s", op->params[i].binary ? "b:" : "",
				 (int)MIN(op->params[i].value.len, (size_t)16),
				 (const char *)op->params[i].value.p);
	}
	buf_putf(&f->log, "%s%s\n", op->params_cut ? " cut" : "",
		 op->binary_results ? " binary" : "");
	if (strstr(text, "hold")) {
		f->held = op->id;
		return 0;
	}
	return fake_decide(f, op->id, !strstr(text, "refuse") && !VERB(text, "delete"));
}

static int fake_columns(void *ctx, uint32_t op, const struct proto_column *columns, size_t n,
			uint8_t *ret_masks)
{
	struct fake *f = ctx;

	buf_putf(&f->log, "columns %u", op);
	for (size_t i = 0; i < n; i++)
		buf_putf(&f->log, " %s:%u.%d%s", columns[i].name, columns[i].table_oid,
			 columns[i].attnum, columns[i].binary ? "b" : "");
	buf_putf(&f->log, "\n");
	if (f->hold_columns)
		return PROTO_HOLD;
	assert_true(n <= sizeof(f->masks));
	memcpy(ret_masks, f->masks, n);
	return f->columns_result;
}

static int fake_field(void *ctx, uint8_t mask, uint32_t type_oid, struct span value,
		      struct buf *out)
{
	(void)ctx;
	(void)type_oid;
	if (span_eq_str(value, "away"))
		return 0;
	buf_putf(out, "<%u:%zu>", mask, value.len);
	return 1;
}

static void fake_done(void *ctx, uint32_t op, const struct op_result *r)
{
	struct fake *f = ctx;

	buf_putf(&f->log, "done %u%s%s%s%s rows=%llu masked=%llu%s\n", op, *r->tag ? " " : "",
		 r->tag, *r->error ? " " : "", r->error, (unsigned long long)r->rows,
		 (unsigned long long)r->masked, r->executed ? "" : " not run");
}

static void fake_open(struct fake *f, size_t step, bool tls)
{
	const struct proto_env env = {
		.sink =
			{
				.ctx = f,
				.send = fake_send,
				.start_tls = fake_start_tls,
				.startup = fake_startup,
				.cancel = fake_cancel,
				.op = fake_op,
				.columns = fake_columns,
				.field = fake_field,
				.done = fake_done,
			},
		.classify = fake_classify,
		.release = fake_release,
		.classify_ctx = f,
		.tls_offered = tls,
	};

	*f = (struct fake){.step = step};
	buf_init(&f->agent, 64u << 20);
	buf_init(&f->server, 64u << 20);
	buf_init(&f->all, 128u << 20);
	buf_init(&f->log, 1u << 20);
	assert_int_equal(postgres_ops.open(&env, &f->codec), 0);
}

static void fake_close(struct fake *f)
{
	postgres_ops.close(f->codec);
	assert_int_equal(f->live_classes, 0);
	buf_done(&f->agent);
	buf_done(&f->server);
	buf_done(&f->all);
	buf_done(&f->log);
}

/* Feed all of it, in pieces. Returns what is left when the codec holds or ends. */
_unused_ static size_t fake_feed(struct fake *f, enum proto_peer from, struct span in)
{
	size_t at = 0;

	f->last = PROTO_MORE;
	while (at < in.len && f->last == PROTO_MORE) {
		size_t n = MIN(f->step, in.len - at);
		/* In memory of its own: what is kept of it would be seen by ASan. */
		uint8_t *piece = malloc(n);
		size_t used;

		assert_non_null(piece);
		memcpy(piece, in.p + at, n);
		f->sent = 0;
		f->last = postgres_ops.feed(f->codec, from, span_of(piece, n), &used);
		free(piece);
		assert_true(used <= n);
		if (f->sent > used)
			f->most = MAX(f->most, f->sent - used);
		at += used;
		assert_true(f->last != PROTO_MORE || used == n);
	}
	return in.len - at;
}

/* Messages: b a byte, h 16 bits, i 32 bits, z a string with NUL, s a string without, v a length and
 * a string, n a NULL value. type 0: a startup packet. */
_unused_ static void put_msg(struct buf *out, char type, const char *fmt, ...)
{
	size_t at = buf_len(out);
	va_list ap;

	if (type)
		buf_put_u8(out, (uint8_t)type);
	buf_put_be32(out, 0);
	va_start(ap, fmt);
	for (; *fmt; fmt++)
		switch (*fmt) {
		case 'b':
			buf_put_u8(out, (uint8_t)va_arg(ap, int));
			break;
		case 'h':
			buf_put_be16(out, (uint16_t)va_arg(ap, int));
			break;
		case 'i':
			buf_put_be32(out, (uint32_t)va_arg(ap, unsigned));
			break;
		case 'z':
			buf_put_cstr(out, va_arg(ap, const char *));
			break;
		case 's':
			buf_put_str(out, va_arg(ap, const char *));
			break;
		case 'v': {
			const char *value = va_arg(ap, const char *);

			buf_put_be32(out, (uint32_t)strlen(value));
			buf_put_str(out, value);
			break;
		}
		case 'n':
			buf_put_be32(out, UINT32_MAX);
			break;
		default:
			fail();
		}
	va_end(ap);
	assert_int_equal(buf_error(out), 0);
	buf_set_be32(out, at + (type ? 1 : 0), (uint32_t)(buf_len(out) - at - (type ? 1 : 0)));
}

/* One message, fed. */
#define agent_msg(f_, ...)                                         \
	({                                                         \
		_cleanup_buf_ struct buf b_ = BUF_INIT(16u << 20); \
		put_msg(&b_, __VA_ARGS__);                         \
		fake_feed((f_), PROTO_AGENT, buf_span(&b_));       \
	})
#define server_msg(f_, ...)                                        \
	({                                                         \
		_cleanup_buf_ struct buf b_ = BUF_INIT(16u << 20); \
		put_msg(&b_, __VA_ARGS__);                         \
		fake_feed((f_), PROTO_SERVER, buf_span(&b_));      \
	})

/* Short forms. */
#define agent_query(f_, text_)	       agent_msg(f_, 'Q', "z", text_)
#define agent_parse(f_, name_, text_)  agent_msg(f_, 'P', "zzh", name_, text_, 0)
#define agent_bind(f_, portal_, name_) agent_msg(f_, 'B', "zzhhh", portal_, name_, 0, 0, 0)
#define agent_execute(f_, portal_)     agent_msg(f_, 'E', "zi", portal_, 0u)
#define agent_sync(f_)		       agent_msg(f_, 'S', "")
#define server_ready(f_, status_)      server_msg(f_, 'Z', "b", status_)
#define server_tag(f_, tag_)	       server_msg(f_, 'C', "z", tag_)
#define server_error(f_, code_) \
	server_msg(f_, 'E', "szszszszb", "S", "ERROR", "V", "ERROR", "C", code_, "M", "no", 0)

/* What was sent and not looked at yet: one letter a message, '!' where it does not parse. */
_unused_ static const char *types_of(struct buf *b, char *out, size_t size)
{
	size_t n = 0;

	while (buf_len(b) > 0 && n + 1 < size) {
		struct span s = buf_span(b);
		size_t len = s.len >= 5 ? ((size_t)s.p[1] << 24 | (size_t)s.p[2] << 16 |
					   (size_t)s.p[3] << 8 | s.p[4]) +
						  1
					: 0;

		if (len < 5 || len > s.len) {
			out[n++] = '!';
			break;
		}
		out[n++] = (char)s.p[0];
		buf_consume(b, len);
	}
	out[n] = '\0';
	buf_reset(b);
	return out;
}

#define expect_agent(f_, types_)                                                     \
	({                                                                           \
		char t_[256];                                                        \
		assert_string_equal(types_of(&(f_)->agent, t_, sizeof(t_)), types_); \
	})
#define expect_server(f_, types_)                                                     \
	({                                                                            \
		char t_[256];                                                         \
		assert_string_equal(types_of(&(f_)->server, t_, sizeof(t_)), types_); \
	})
#define expect_log(f_, text_)                                                     \
	({                                                                        \
		buf_put_u8(&(f_)->log, 0);                                        \
		assert_string_equal((const char *)buf_span(&(f_)->log).p, text_); \
		buf_reset(&(f_)->log);                                            \
	})

/* Is this text in what was sent to the agent and not looked at yet? */
_unused_ static bool agent_has(struct fake *f, const char *text)
{
	struct span s = buf_span(&f->agent);

	return s.len > 0 && memmem(s.p, s.len, text, strlen(text)) != NULL;
}

_unused_ static void fake_admit(struct fake *f)
{
	static const struct proto_param params[] = {
		{"client_encoding", "UTF8"},
		{"standard_conforming_strings", "on"},
		{"server_version", "15.18"},
	};
	const struct proto_admission admission = {
		.n_params = ARRAY_SIZE(params),
		.params = params,
		.cancel_pid = 7,
		.cancel_secret = 77,
		.transaction = 'I',
	};

	assert_int_equal(postgres_ops.admit(f->codec, &admission), 0);
}

/* An admitted session. */
_unused_ static void fake_ready(struct fake *f, size_t step)
{
	fake_open(f, step, false);
	agent_msg(f, 0, "izzb", 196608u, "user", "ann", 0);
	fake_admit(f);
	expect_agent(f, "RSSSKZ");
	expect_log(f, "startup ann/\n");
}

#endif
