/* op.h - one operation that an agent asks for, as a codec understood it.
 * Used by: proto (makes it), policy (decides it), session (moves it), audit (records it).
 * Promises: borrowed pointers are valid until the codec is told the outcome. */
#ifndef SLUICE_MODEL_OP_H
#define SLUICE_MODEL_OP_H

#include "model/sql.h"

/* PARSED → DECIDED → {HELD → APPROVED | REFUSED | EXPIRED} → RECORDED → FORWARDED → DONE */
enum op_state {
	OP_PARSED,
	OP_DECIDED,
	OP_HELD,
	OP_APPROVED,
	OP_REFUSED,
	OP_EXPIRED,
	OP_RECORDED,
	OP_FORWARDED,
	OP_DONE,
	OP_STATES,
};

enum op_kind {
	OP_CONNECT, /* a session is opened: workload and resource only */
	OP_PREPARE, /* a statement is sent to be parsed, not yet run (PostgreSQL Parse) */
	OP_RUN,	    /* a statement is run (Query, or Bind of a statement that was parsed) */
};

#define OP_PARAMS_MAX	  64	/* bind values kept for the record */
#define OP_PARAM_TEXT_MAX 1024	/* bytes of one value kept */
#define OP_TEXT_MAX	  65536 /* bytes of text kept in the record; the digest covers all */

struct op_param {
	bool is_null;
	bool binary;
	struct span value; /* at most OP_PARAM_TEXT_MAX bytes, cut marks that there was more */
	bool cut;
	uint32_t type_oid; /* as declared with the statement or told by the server; 0: not known */
};

struct op {
	uint32_t id; /* within the session, from 1 */
	enum op_kind kind;
	const char
		*name; /* OP_PREPARE: what the protocol calls the statement; NULL or "": unnamed */
	struct span text; /* as sent; may be cut at OP_TEXT_MAX */
	size_t text_len;  /* whole length */
	uint8_t text_sha256[32];
	const struct sql_class *sql; /* NULL for OP_CONNECT */
	size_t n_params;
	const struct op_param *params;
	uint8_t params_sha256[32]; /* over every bind value, whole, length-prefixed; zero when none
				    */
	bool params_cut;	   /* there are more bytes of bind values than were looked at */
	bool in_transaction;	   /* the session is inside an explicit transaction block */
	bool binary_results;	   /* any result column was asked for in binary format */
};

/* How an operation ended. */
struct op_result {
	uint64_t rows;	 /* sent to the agent, or affected as the command tag says */
	uint64_t bytes;	 /* of result payload sent to the agent */
	uint64_t masked; /* field values replaced */
	char tag[32];	 /* command tag, e.g. "SELECT 5"; "" when none */
	char error[6];	 /* SQLSTATE, or "" */
	bool executed;	 /* false: bound or prepared and never run */
};

#endif
