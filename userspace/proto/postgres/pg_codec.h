/* pg_codec.h - inside of the PostgreSQL codec: what its files share.
 * Used by: proto/postgres/ only.
 * Promises: one struct holds all of a session's protocol state; every buffer in it has a ceiling.
 */
#ifndef SLUICE_PROTO_POSTGRES_PG_CODEC_H
#define SLUICE_PROTO_POSTGRES_PG_CODEC_H

#include <openssl/evp.h>

#include "proto/postgres/pg_message.h"
#include "proto/postgres/pg_names.h"

/* STARTUP ──► TLS ──► STARTUP ──► ADMISSION ──► READY ──► ENDED
 *    └───────────────────────────────┴────────────────────┘
 * TLS: the session makes the handshake. ADMISSION: waiting for admit(). ENDED: nothing more is
 * taken; the agent was told why, or has said goodbye. */
enum pg_phase {
	PG_STARTUP,
	PG_TLS,
	PG_ADMISSION,
	PG_READY,
	PG_ENDED,
};

/* An operation, from the question to done(). */
struct pg_op {
	struct op_result result;
	uint32_t id; /* 0: the codec's own refusal, which the session does not know of */
	unsigned refs;
	bool masked;
	bool rebuild;	    /* a column of the current result has a mask */
	bool has_columns;   /* the current result was described (masked: asked for masks too) */
	uint32_t described; /* Execute count at which the description was asked for */
	uint16_t n_columns; /* of the current result */
	size_t cap_columns;
	uint8_t *masks; /* masked operations only */
	uint32_t *types;
	const struct sql_class *sql; /* stmt's, or owned, or static */
	bool sql_owned;
	struct pg_stmt *stmt; /* or NULL */
	struct buf refusal;   /* the ErrorResponse that stands for the server's */
	struct pg_op *next_free;
};

/* What the server will answer next, in the order in which it was asked. */
enum pg_reply_kind {
	PG_REPLY_PARSE,		     /* ParseComplete */
	PG_REPLY_BIND,		     /* BindComplete */
	PG_REPLY_CLOSE,		     /* CloseComplete */
	PG_REPLY_DESCRIBE_STATEMENT, /* ParameterDescription, RowDescription or NoData */
	PG_REPLY_DESCRIBE_PORTAL,    /* RowDescription or NoData */
	PG_REPLY_EXECUTE,	     /* rows or COPY, CommandComplete or PortalSuspended or empty */
	PG_REPLY_SYNC,		     /* ReadyForQuery */
	PG_REPLY_QUERY,		     /* any number of results, ReadyForQuery */
	PG_REPLY_FUNCTION,	     /* FunctionCallResponse, ReadyForQuery */
};

enum pg_reply_state {
	PG_WAITING,	/* nothing has come yet */
	PG_DESCRIBED,	/* ParameterDescription of a statement was there */
	PG_ROWS,	/* rows of a result */
	PG_COPY_FROM,	/* CopyInResponse was there */
	PG_COPY_TO,	/* CopyOutResponse was there */
	PG_COPY_TO_END, /* CopyDone was there */
	PG_COMPLETE,	/* a statement ended */
	PG_FAILED,	/* an error was there: only ReadyForQuery may follow */
};

struct pg_reply {
	uint8_t kind;
	uint8_t state;
	bool probe;	/* sent to be refused: the server's error is replaced */
	bool injected;	/* not asked for by the agent: the answer is swallowed */
	uint32_t batch; /* number of the ReadyForQuery that this ends in, or comes before */
	uint64_t rows;	/* of the current result */
	struct pg_op *op;
	struct pg_name *name;
	struct pg_stmt *stmt; /* described: told the types of its parameters; reference held */
};

#define PG_REPLIES_MIN	 16u
#define PG_REPLIES_MAX	 4096u /* then the agent waits */
#define PG_REPLIES_SLACK 8u    /* one message of the agent's makes at most this many */

enum pg_mode {
	PG_MODE_HEADER,
	PG_MODE_GATHER, /* into msg until msg has `want` bytes, then it is looked at */
	PG_MODE_PASS,
	PG_MODE_SKIP,
	PG_MODE_ROW, /* a masked row too large to hold */
};

/* One direction's bytes, cut into messages. */
struct pg_stream {
	enum pg_mode mode;
	uint8_t header[PG_HEADER_COUNT]; /* of a message that came in pieces */
	size_t header_len;
	struct span head; /* header just read: in `header`, or in what was fed */
	char type;
	uint32_t length; /* as announced: itself and the body */
	uint16_t count;	 /* DataRow, RowDescription: columns */
	uint32_t left;	 /* bytes of the message not yet taken */
	size_t want;
	struct buf msg;	 /* header and body, as far as held */
	struct span run; /* bytes to be passed on as they are; valid within one feed */
};

/* The operation that waits for resume(). */
enum pg_ask_kind {
	PG_ASK_NONE,
	PG_ASK_QUERY,
	PG_ASK_PARSE,
	PG_ASK_BIND,
	PG_ASK_DESCRIBE,
	PG_ASK_EXECUTE,
	PG_ASK_FUNCTION,
};

struct pg_ask {
	enum pg_ask_kind kind;
	struct pg_op *op;
	struct pg_stmt *stmt;	      /* reference held */
	char name[PG_NAME_MAX + 1];   /* statement (Parse) or portal */
	char shown[PG_NAME_MAX + 64]; /* text made up for what has none */
	bool kept_name;
	bool refused;	   /* a probe went to the server in its place */
	struct op op_seen; /* what the session is shown */
};

/* Where in a streamed row we are. */
struct pg_row {
	struct pg_op *op;
	uint16_t column;
	uint8_t length[4];
	size_t length_len;
	uint32_t value_left;
	bool in_value;
	bool star;
};

struct pg_codec {
	struct proto_env env;
	enum pg_phase phase;
	bool tls;	/* the agent's side is encrypted */
	bool ssl_asked; /* each request once */
	bool gss_asked;
	char status; /* of the last ReadyForQuery */

	struct pg_stream front; /* from the agent */
	struct pg_stream back;	/* from the server */
	struct buf out;		/* built for the agent */
	struct buf up;		/* built for the server */
	struct buf notices;	/* waiting for a message boundary */
	bool agent_mid;		/* the agent has the beginning of a message only */

	/* Operations. */
	uint32_t last_id;
	struct pg_ask ask;
	struct pg_op *free_ops;
	size_t n_free_ops;
	struct pg_names names;
	EVP_MD_CTX *digest;
	EVP_MD *sha256;

	/* Replies awaited. */
	struct pg_reply *replies;
	uint32_t reply_head;
	uint32_t n_replies;
	uint32_t cap_replies; /* power of two */
	uint32_t batch;	      /* number of the next ReadyForQuery to be asked for */
	uint32_t batch_seen;  /* number of the last that came */
	uint32_t executes;    /* Execute, Query and FunctionCall sent so far */

	/* Where the server stands. */
	bool skipping;	 /* it drops the agent's messages until Sync; so do we */
	bool extended;	 /* the last message sent to it was one of the extended protocol */
	bool copy_in;	 /* it takes CopyData */
	bool copy_maybe; /* it may be about to: the agent waits until that is known */

	/* How it reads text. */
	unsigned odd_now; /* bits: client_encoding, standard_conforming_strings not as assumed */
	bool odd_ever;
	bool odd_pending; /* something sent may change them, known after batch odd_batch */
	uint32_t odd_batch;

	/* Masks. */
	bool strip; /* an operation was masked: errors and notices are stripped from then on */
	bool columns_wait; /* columns() held the server; the message is in back.msg */
	struct proto_column *columns;
	size_t cap_columns;
	struct pg_row row;

	struct op_param params[OP_PARAMS_MAX];
};

/* pg_codec.c: to the peers. Each returns 0, or what the sink said. */
int pg_to_agent(struct pg_codec *c, struct span bytes);
int pg_to_server(struct pg_codec *c, struct span bytes);
/* Bytes of what was fed, on their way unchanged: gathered into runs. */
int pg_pass(struct pg_codec *c, struct pg_stream *s, struct span bytes);
int pg_flush_runs(struct pg_codec *c);
/* Before something is built in c->out, which is sent after what was passed on. */
int pg_flush_agent_run(struct pg_codec *c);
int pg_flush_out(struct pg_codec *c); /* what was built in c->out */
/* Between operations: send what was built, and give large buffers back. */
int pg_trim(struct pg_codec *c);
int pg_flush_up(struct pg_codec *c); /* what was built in c->up */
/* A message for the agent has ended: notices may go now. */
int pg_boundary(struct pg_codec *c);
/* Say FATAL to the agent, where a message may begin, and end. Returns error (negative). */
int pg_fatal(struct pg_codec *c, int error, const char *sqlstate, const char *hint, const char *fmt,
	     ...) _printf_(5, 6);
int pg_fatal_frontend(struct pg_codec *c, const char *what);
int pg_fatal_backend(struct pg_codec *c, const char *what);

/* pg_stream.c */
void pg_stream_init(struct pg_stream *s, size_t max);
void pg_stream_done(struct pg_stream *s);
/* 1: a header is there (s->type …, s->head); 0: more bytes are needed; -EPROTO: a length that no
 * message has. counted: read the count of DataRow and RowDescription too. */
_must_check_ int pg_stream_header(struct pg_stream *s, struct cursor *in, bool counted);
/* Hold the message up to `want` bytes of body; s->mode becomes PG_MODE_GATHER. */
_must_check_ int pg_stream_gather(struct pg_stream *s, uint32_t want);
/* 1: held as far as wanted, *ret_whole is header and body, in place where possible; 0: more. */
_must_check_ int pg_stream_take(struct pg_stream *s, struct cursor *in, struct span *ret_whole);
/* Be done with what was held: what is left of the message goes by mode. */
void pg_stream_next(struct pg_stream *s, enum pg_mode mode);
/* Pass or skip what is left of the message, as far as it is there. */
_must_check_ int pg_stream_rest(struct pg_codec *c, struct pg_stream *s, struct cursor *in);

/* pg_startup.c */
int pg_detect(struct span head);
int pg_startup_feed(struct pg_codec *c, struct cursor *in);

/* pg_ops.c */
struct pg_op *pg_op_new(struct pg_codec *c, bool announced);
struct pg_op *pg_op_ref(struct pg_op *op);
void pg_op_unref(struct pg_codec *c, struct pg_op *op);
void pg_ops_free(struct pg_codec *c);
/* Room for a message's replies? Grows up to PG_REPLIES_MAX. */
bool pg_replies_room(struct pg_codec *c);
/* Takes references to op and name of its own. Room was made sure of. */
struct pg_reply *pg_reply_push(struct pg_codec *c, enum pg_reply_kind kind, struct pg_op *op,
			       struct pg_name *name);
struct pg_reply *pg_reply_first(struct pg_codec *c);
void pg_reply_pop(struct pg_codec *c);
/* The server failed in the extended protocol: nothing asked for before the next Sync is answered.
 */
void pg_replies_fail(struct pg_codec *c);
/* What running this may do to names, to the way text is read, and to what the agent may send. */
void pg_effects(struct pg_codec *c, const struct sql_class *sql);

/* pg_text.c: what text does, and digests. */
extern const struct sql_class pg_class_execute_unknown;
extern const struct sql_class pg_class_fetch_unknown;
/* *ret_owned: to be released. */
const struct sql_class *pg_classify(struct pg_codec *c, struct span text, bool cut,
				    bool *ret_owned);
int pg_digest(struct pg_codec *c, struct span bytes, uint8_t out[static 32]);
void pg_settings_told(struct pg_codec *c, struct span name, struct span value);
bool pg_sets_reading(const struct sql_class *sql);

/* pg_frontend.c */
int pg_front_feed(struct pg_codec *c, struct cursor *in);
int pg_front_resume(struct pg_codec *c, const struct verdict *verdict, bool masked);

/* pg_ask.c: from a held message to an operation. Each returns 0: asked or sent on; negative: fatal.
 */
int pg_ask_query(struct pg_codec *c, struct span body, bool cut);
int pg_ask_parse(struct pg_codec *c, struct span body, bool cut);
int pg_ask_bind(struct pg_codec *c, struct span body, bool cut);
int pg_ask_function(struct pg_codec *c, struct span body, bool cut);
int pg_ask_portal(struct pg_codec *c, enum pg_ask_kind kind, struct span name);

/* pg_send.c: a decided message goes to the server, or its refusal does. */
int pg_send_asked(struct pg_codec *c);
int pg_send_refusal(struct pg_codec *c, const struct verdict *verdict);
int pg_send_execute(struct pg_codec *c, const char *portal, struct pg_op *op);
int pg_refuse_own(struct pg_codec *c, const char *sqlstate, const char *reason);

/* pg_backend.c */
#define PG_OUT_OF_TURN "a message that nothing asked for"
int pg_back_feed(struct pg_codec *c, struct cursor *in);
/* What becomes of the message that began: on to the agent, nowhere, or held whole. */
int pg_back_pass(struct pg_codec *c);
int pg_back_skip(struct pg_codec *c);
int pg_back_gather(struct pg_codec *c, uint32_t max);

/* pg_columns.c: descriptions of results. */
int pg_columns_begin(struct pg_codec *c, struct pg_reply *reply);
int pg_columns_none(struct pg_codec *c, struct pg_reply *reply);
int pg_columns_whole(struct pg_codec *c, struct span whole);
int pg_back_columns_ready(struct pg_codec *c, const uint8_t *masks, size_t n);

/* pg_rows.c */
int pg_row_rebuild(struct pg_codec *c, struct pg_op *op, struct span whole);
int pg_row_begin(struct pg_codec *c, struct pg_op *op);
int pg_row_feed(struct pg_codec *c, struct cursor *in);

#endif
