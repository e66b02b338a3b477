/* proto.h - what a protocol codec is to a session.
 * Used by: session/. Codecs (proto/<name>/) implement it; registry.c lists them.
 * Promises: a codec has no fd, no clock, no policy. Bytes in by feed(), everything else out by the
 * sink. Memory per codec is bounded and does not grow with the size of a message or a result. */
#ifndef SLUICE_PROTO_PROTO_H
#define SLUICE_PROTO_PROTO_H

#include "base/buf.h"
#include "model/op.h"
#include "model/verdict.h"

enum proto_peer {
	PROTO_AGENT,
	PROTO_SERVER,
};

/* Returns of feed() beside -errno. */
enum proto_flow {
	PROTO_MORE = 0, /* took what it could; feed again when more bytes are there */
	/* Feed this peer's bytes no more for now; bytes not taken stay with the caller. Feed again
	 * after the call that was waited for (admit, tls_started, resume, columns_ready), and
	 * after each feed() of the other peer that took bytes: what the server answers may be what
	 * the agent is held for. Feeding too early is harmless: HOLD again, nothing taken. */
	PROTO_HOLD = 1,
	PROTO_CLOSE =
		2, /* the agent said goodbye; everything to be sent has been sent to the sink */
};

#define PROTO_STARTUP_PARAMS_MAX 32

struct proto_param {
	const char *name;
	const char *value;
};

/* What an agent says before it may do anything. Borrowed for the call. */
struct proto_startup {
	const char *user;     /* as claimed; never sent on */
	const char *database; /* as asked for, "" when none */
	size_t n_params;      /* further settings, in order, without user and database */
	struct proto_param params[PROTO_STARTUP_PARAMS_MAX];
};

/* A result column as the server describes it. Borrowed for the call. */
struct proto_column {
	const char *name;   /* as displayed: decides nothing */
	uint32_t table_oid; /* 0: not a plain column */
	int16_t attnum;
	uint32_t type_oid;
	bool binary;
};

#define PROTO_COLUMNS_MAX 1664 /* MaxTupleAttributeNumber, PostgreSQL 15 htup_details.h */

/* Session → what the codec tells. Every callback may call back into the codec only where said. */
struct proto_sink {
	void *ctx;

	/* Append bytes to what goes to a peer. What one feed() call sends is bounded by
	 * PROTO_SEND_MAX plus the bytes it took. A negative return is fatal: feed returns it. */
	int (*send)(void *ctx, enum proto_peer to, struct span bytes);

	/* The agent asked for TLS; its positive answer has been sent. The session completes the
	 * handshake before it feeds again. Clear bytes that follow the request are -EPROTO by the
	 * codec itself, before this call. */
	int (*start_tls)(void *ctx);

	/* The agent's startup is complete. The codec HOLDs the agent until admit() or refuse(). */
	int (*startup)(void *ctx, const struct proto_startup *startup);

	/* A cancel request: the whole connection is this. The session closes it afterwards. */
	int (*cancel)(void *ctx, uint32_t pid, uint32_t secret);

	/* An operation to be decided. op is valid until resume() is called for op->id, which may
	 * happen inside this callback; otherwise the codec HOLDs the agent. */
	int (*op)(void *ctx, const struct op *op);

	/* Result columns of an operation whose verdict has masks. Fill ret_masks[n] (enum
	 * mask_kind, MASK_NONE: clean). Return 0; or PROTO_HOLD, and call columns_ready() later:
	 * meanwhile the codec HOLDs the server; or -EACCES: end the session, nothing of the rows is
	 * sent. */
	int (*columns)(void *ctx, uint32_t op, const struct proto_column *columns, size_t n,
		       uint8_t *ret_masks);

	/* Replace one value. type_oid is the column's. Append the masked value to out and return 1,
	 * or return 0 for NULL, negative: fatal. Only for columns with a mask, text format. */
	int (*field)(void *ctx, uint8_t mask, uint32_t type_oid, struct span value,
		     struct buf *out);

	/* An operation ended, also one that was refused; its id is no longer used. Called once for
	 * each, in the order the server ended them, from feed() or resume(); not for operations
	 * under way at close(). May not call back into the codec. */
	void (*done)(void *ctx, uint32_t op, const struct op_result *result);
};

#define PROTO_SEND_MAX (128u * 1024u)
/* What one resume() may send on top of that: the message that was held, whole. */
#define PROTO_HELD_MAX (1280u * 1024u)

/* What the codec must know at open. Copied. */
struct proto_env {
	struct proto_sink sink;
	/* Classify SQL text (session-owned cache). *ret is valid until the codec closes or is told
	 * by release(). Never fails: what cannot be parsed is SQL_UNKNOWN. */
	const struct sql_class *(*classify)(void *ctx, struct span text);
	void (*release)(void *ctx, const struct sql_class *sql);
	void *classify_ctx;
	bool tls_offered; /* say yes to a request for TLS */
};

/* What admit() needs: taken from the login upstream. Borrowed for the call. */
struct proto_admission {
	size_t n_params; /* ParameterStatus */
	const struct proto_param *params;
	uint32_t cancel_pid; /* this session's own key, minted by sluice, not the server's */
	uint32_t cancel_secret;
	char transaction; /* status byte of the server's first ReadyForQuery */
};

struct proto_error {
	const char *severity; /* "ERROR", "FATAL", "NOTICE" … */
	const char *sqlstate;
	const char *message;
	const char *detail; /* or NULL */
	const char *hint;   /* or NULL: what to do */
};

struct proto_ops {
	const char *name;

	/* Is this the beginning of the protocol? 1 yes, 0 no, -EAGAIN: more bytes are needed. */
	int (*detect)(struct span head);

	/* -ENOMEM. The codec is the caller's, freed by close(). */
	int (*open)(const struct proto_env *env, void **ret_codec);
	void (*close)(void *codec);

	/* Take bytes of one peer. enum proto_flow, or: -EPROTO (not the protocol: the codec has
	 * sent the agent its error where the protocol has a place for it; close after flushing),
	 * -EMSGSIZE (over a limit, likewise), or what the sink returned. *ret_used is always set.
	 */
	int (*feed)(void *codec, enum proto_peer from, struct span in, size_t *ret_used);

	/* After the session's TLS handshake with the agent. */
	int (*tls_started)(void *codec);

	/* Let the agent in: it is answered as by the server after a login. */
	int (*admit)(void *codec, const struct proto_admission *admission);

	/* Tell the agent why it cannot go on, in the protocol's own form, and end: at any time,
	 * also in the middle of a server's message (which is then cut: error bytes only where a
	 * message boundary allows; otherwise nothing). */
	int (*fatal)(void *codec, const struct proto_error *error);

	/* Decide an operation: EFFECT_REFUSE refuses, anything else sends it on (a verdict to
	 * approve comes here only once approved, or for an OP_PREPARE, which waits for nobody).
	 * -EINVAL: it is not the operation that waits. masked: its verdict carries masks, or masks
	 * are in force for the session: descriptions are made sure of, error texts are stripped.
	 * refuse: the operation is answered with the verdict's error as if the server itself had
	 * refused it, with all it means for the transaction. */
	int (*resume)(void *codec, uint32_t op, const struct verdict *verdict, bool masked);

	/* The masks of the columns that columns() held for. -EACCES as there. */
	int (*columns_ready)(void *codec, const uint8_t *masks, size_t n);

	/* Something for the agent to read while it waits; at the next message boundary.
	 * -ENOBUFS: too many wait for one. */
	int (*notice)(void *codec, const struct proto_error *notice);

	/* No operation under way and no transaction open. */
	bool (*idle)(const void *codec);

	const struct proto_login_ops *login;
};

/* The client's part towards the real server: logging in with the gateway's credential. Sans-I/O. */
enum proto_login_flow {
	LOGIN_MORE = 0, /* send what was put in out, feed again */
	LOGIN_TLS = 1,	/* send out, make the TLS handshake, then call tls_started() */
	LOGIN_DONE = 2,
};

struct proto_login_config {
	const char *user;
	const char *password; /* NULL: none */
	const char *database;
	size_t n_params;
	const struct proto_param *params;
	bool tls; /* ask for TLS; a server without it is -EPROTONOSUPPORT */
};

#define LOGIN_PARAMS_MAX 64

struct proto_login_result {
	struct proto_admission admission; /* cancel_* are the server's own */
	const char *server_version;
};

struct proto_login_ops {
	int (*open)(const struct proto_login_config *config,
		    void **ret_login); /* strings are copied */
	void (*close)(void *login);    /* wipes secrets */
	int (*start)(void *login, struct buf *out);
	/* enum proto_login_flow; -EACCES: the server refused the credential or the session;
	 * -EPROTO: it answered nonsense; -EPROTONOSUPPORT: no TLS, or an authentication we do not
	 * do. error() then says why. */
	int (*feed)(void *login, struct span in, size_t *ret_used, struct buf *out);
	int (*tls_started)(void *login, struct buf *out);
	const struct proto_login_result *(*result)(const void *login); /* after LOGIN_DONE */
	/* SQLSTATE and a sentence fit for the agent (no secret, no address); never NULL. */
	const struct proto_error *(*error)(const void *login);
	/* The bytes of a cancel request for the server's key. */
	int (*cancel)(uint32_t pid, uint32_t secret, struct buf *out);
};

/* By name ("postgres"), or NULL. */
const struct proto_ops *proto_find(const char *name);
/* By the first bytes: the codec; NULL with *ret_more true: ask again with more. */
const struct proto_ops *proto_detect(struct span head, bool *ret_more);

extern const struct proto_ops postgres_ops;

#endif
