/* Both peers of a PostgreSQL session from one input, with verdicts from it too.
 *
 * The input is a series of steps: a byte that says what happens (see `step`), for feeds a length
 * (two bytes), and that many bytes. Checked beside what the sanitizers see: nothing is taken that
 * was not offered; a held operation ends once; done() comes once for each operation that was asked
 * about; an operation that was refused leaves no byte of its text with the server; what is sent at
 * once is bounded; and, where the codec was never told to end, both peers get whole messages or
 * beginnings of one. */
#include "base/cursor.h"
#include "proto/proto.h"

#define OPS_MAX 4096
#define FIELD	"#"
#define HEAD	2048
#define MARKER	"REFUSEME" /* an operation with this in its text is always refused */

struct session {
	void *codec;
	const uint8_t *choice; /* byte of the current step */
	uint32_t waiting;
	bool ended;
	size_t sent;
	size_t live_classes;
	uint8_t op_state[OPS_MAX]; /* 1: asked, 2: done */
	bool columns_wait;
	size_t n_columns;
	bool starting;
	/* What goes to the server, cut into messages. */
	uint8_t message[5 + HEAD];
	size_t message_len;
	size_t message_left;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool has_marker(struct span text)
{
	return text.len > 0 && memmem(text.p, text.len, MARKER, strlen(MARKER));
}

/* A message to the server, whole or its first HEAD bytes. */
static void check_message(const struct session *s)
{
	struct cursor c = cursor_of(span_of(s->message + 5, s->message_len - 5));
	struct span name;
	struct span text;

	check(memchr("BCDEFHPQSXcdf", s->message[0], 13));
	if (s->message[0] == 'Q')
		check(!has_marker(cursor_rest(&c)));
	if (s->message[0] == 'P' && cursor_cstr(&c, &name) == 0 && cursor_cstr(&c, &text) == 0)
		check(!has_marker(text));
}

static void follow(struct session *s, struct span bytes)
{
	struct cursor c = cursor_of(bytes);
	uint8_t byte;

	while (cursor_u8(&c, &byte) == 0) {
		if (s->message_len < sizeof(s->message))
			s->message[s->message_len++] = byte;
		if (s->message_len == 5) {
			struct cursor head = cursor_of(span_of(s->message + 1, 4));
			uint32_t length;

			if (s->message_left == 0) {
				check(cursor_be32(&head, &length) == 0 && length >= 4);
				s->message_left = length - 3;
			}
		}
		if (s->message_len < 5 || --s->message_left > 0)
			continue;
		check_message(s);
		s->message_len = 0;
	}
}

static int on_send(void *ctx, enum proto_peer to, struct span bytes)
{
	struct session *s = ctx;

	s->sent += bytes.len;
	if (to == PROTO_SERVER)
		follow(s, bytes);
	return 0;
}

static int on_start_tls(void *ctx)
{
	(void)ctx;
	return 0;
}

static int on_startup(void *ctx, const struct proto_startup *startup)
{
	struct session *s = ctx;

	check(startup->user && *startup->user && startup->database);
	for (size_t i = 0; i < startup->n_params; i++)
		check(strlen(startup->params[i].name) + strlen(startup->params[i].value) < 10000);
	s->starting = true;
	return 0;
}

static int on_cancel(void *ctx, uint32_t pid, uint32_t secret)
{
	(void)ctx;
	(void)pid;
	(void)secret;
	return 0;
}

static int decide(struct session *s, uint32_t op, uint8_t choice, bool refuse)
{
	struct verdict v = {.effect = EFFECT_ALLOW};

	if (refuse || (choice & 0x10)) {
		v.effect = EFFECT_REFUSE;
		memcpy(v.reason, "refused", 8);
	}
	s->waiting = 0;
	return postgres_ops.resume(s->codec, op, &v, choice & 0x20);
}

static int on_op(void *ctx, const struct op *op)
{
	struct session *s = ctx;
	bool refuse = has_marker(span_head(op->text, HEAD));
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < op->text.len; i++)
		sum = (uint8_t)(sum + op->text.p[i]);
	for (size_t i = 0; i < op->n_params; i++)
		for (size_t j = 0; j < op->params[i].value.len; j++)
			sum = (uint8_t)(sum + op->params[i].value.p[j]);
	check(op->sql && op->text.len <= OP_TEXT_MAX);
	check(s->waiting == 0);
	if (op->id < OPS_MAX) {
		check(s->op_state[op->id] == 0);
		s->op_state[op->id] = 1;
	}
	if ((*s->choice & 0x40) && !refuse) {
		s->waiting = op->id;
		return 0;
	}
	return decide(s, op->id, *s->choice, refuse);
}

static int on_columns(void *ctx, uint32_t op, const struct proto_column *columns, size_t n,
		      uint8_t *ret_masks)
{
	struct session *s = ctx;

	(void)op;
	for (size_t i = 0; i < n; i++)
		check(strlen(columns[i].name) < 300000);
	if (*s->choice & 0x80) {
		s->columns_wait = true;
		s->n_columns = n;
		return PROTO_HOLD;
	}
	for (size_t i = 0; i < n; i++)
		ret_masks[i] = i % 2 ? MASK_REDACT : MASK_NONE;
	return 0;
}

static int on_field(void *ctx, uint8_t mask, uint32_t type_oid, struct span value, struct buf *out)
{
	volatile uint8_t sum = 0;

	(void)ctx;
	(void)type_oid;
	check(mask != MASK_NONE);
	for (size_t i = 0; i < value.len; i++)
		sum = (uint8_t)(sum + value.p[i]);
	if (value.len == 3)
		return 0;
	buf_put_str(out, FIELD);
	return 1;
}

static void on_done(void *ctx, uint32_t op, const struct op_result *result)
{
	struct session *s = ctx;

	check(strlen(result->tag) < sizeof(result->tag));
	if (op < OPS_MAX) {
		check(s->op_state[op] == 1);
		s->op_state[op] = 2;
	}
}

static const struct sql_class *classify(void *ctx, struct span text)
{
	static const uint32_t verbs[] = {
		SQL_SELECT, SQL_COPY_IN, SQL_COPY_OUT, SQL_UNKNOWN,	SQL_PREPARE,
		SQL_SET,    SQL_DECLARE, SQL_EXECUTE,  SQL_TRANSACTION, SQL_DEALLOCATE,
	};
	struct {
		struct sql_class class;
		struct sql_statement statement;
		char name[2];
	} *made = calloc(1, sizeof(*made));
	struct session *s = ctx;
	uint32_t verb = verbs[text.len > 0 ? text.p[0] % ARRAY_SIZE(verbs) : 0];

	check(made);
	made->name[0] = text.len > 1 ? (char)(text.p[1] & 0x7f) : '\0';
	made->statement = (struct sql_statement){
		.verbs = verb,
		.kind = "",
		.name = made->name,
		.setting = "client_encoding",
	};
	made->class = (struct sql_class){
		.verbs = verb,
		.n_statements = 1,
		.statements = &made->statement,
	};
	s->live_classes++;
	return &made->class;
}

static void release(void *ctx, const struct sql_class *sql)
{
	struct session *s = ctx;

	check(s->live_classes > 0);
	s->live_classes--;
	free((void *)(uintptr_t)sql);
}

static void feed(struct session *s, enum proto_peer from, struct span in)
{
	size_t at = 0;
	int r = 0;

	while (at < in.len && r == PROTO_MORE) {
		size_t used = SIZE_MAX;

		s->sent = 0;
		r = postgres_ops.feed(s->codec, from, span_skip(in, at), &used);
		check(used <= in.len - at);
		check(r != PROTO_MORE || used == in.len - at);
		check(s->sent <= used + PROTO_SEND_MAX + PROTO_HELD_MAX);
		at += used;
	}
	if (r < 0 || r == PROTO_CLOSE)
		s->ended = true;
}

static void admit(struct session *s)
{
	static const struct proto_param params[] = {{"client_encoding", "UTF8"}};
	const struct proto_admission admission = {
		.n_params = 1,
		.params = params,
		.transaction = 'I',
	};

	s->starting = false;
	check(postgres_ops.admit(s->codec, &admission) == 0);
}

static void step(struct session *s, uint8_t what, struct span bytes)
{
	static const struct proto_error error = {"NOTICE", "00000", "note", NULL, NULL};
	uint8_t masks[PROTO_COLUMNS_MAX];

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		feed(s, PROTO_AGENT, bytes);
		break;
	case 3:
	case 4:
		feed(s, PROTO_SERVER, bytes);
		break;
	case 5:
		if (s->waiting && decide(s, s->waiting, what, false) < 0)
			s->ended = true;
		break;
	case 6:
		if (s->columns_wait) {
			s->columns_wait = false;
			memset(masks, what & 0x10 ? MASK_REDACT : MASK_NONE, s->n_columns);
			if (postgres_ops.columns_ready(s->codec, masks, s->n_columns) < 0)
				s->ended = true;
		} else {
			(void)postgres_ops.notice(s->codec, &error);
		}
		break;
	default:
		if (what == 0xff) {
			(void)postgres_ops.fatal(s->codec, &error);
			s->ended = true;
		} else if (s->starting) {
			admit(s);
		} else {
			(void)postgres_ops.tls_started(s->codec);
			(void)postgres_ops.idle(s->codec);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session s = {0};
	const struct proto_env env = {
		.sink =
			{
				.ctx = &s,
				.send = on_send,
				.start_tls = on_start_tls,
				.startup = on_startup,
				.cancel = on_cancel,
				.op = on_op,
				.columns = on_columns,
				.field = on_field,
				.done = on_done,
			},
		.classify = classify,
		.release = release,
		.classify_ctx = &s,
		.tls_offered = size % 2,
	};
	struct cursor c = cursor_of(span_of(data, size));
	struct span bytes;
	uint16_t len;
	uint8_t what;

	(void)postgres_ops.detect(span_of(data, MIN(size, (size_t)16)));
	if (postgres_ops.open(&env, &s.codec) < 0)
		return 0;
	while (!s.ended && cursor_u8(&c, &what) == 0) {
		s.choice = &what;
		bytes = (struct span){0};
		if ((what & 7) < 5) {
			if (cursor_be16(&c, &len) < 0)
				break;
			if (cursor_span(&c, MIN((size_t)len, cursor_left(&c)), &bytes) < 0)
				break;
		}
		step(&s, what, bytes);
	}
	postgres_ops.close(s.codec);
	check(s.live_classes == 0);
	return 0;
}
