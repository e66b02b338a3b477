/* session.h - one agent's connection, from accept to close.
 * Used by: roles/worker.c (accept, stop), pipeline.c, evidence.c.
 * Promises: owns both sockets, its codec and its memory; a session never changes worker. */
#ifndef SLUICE_SESSION_SESSION_H
#define SLUICE_SESSION_SESSION_H

#include "abi.h"
#include "session/dial.h"
#include "session/engine.h"
#include "session/mask_guard.h"
#include "session/sql_names.h"

/*      ACCEPTED ──► SNIFF ──► STARTUP ──► AUTHN ──► ADMITTED ──► LOGIN ──► READY ──► DRAIN ──►
 * CLOSED │           │       │    ▲       │          │           │         │         ▲ │ │       └
 * TLS┘       │          │           │         │         │
 *          └───────────┴────────┴───────────┴──────────┴───────────┴─────────┴─────────┘
 * SNIFF only where no resource matches: the protocol is told from the first bytes, so that the
 * refusal can be said in it. DRAIN: nothing more is taken; what is to be said is being sent. */
enum session_state {
	SESSION_ACCEPTED,
	SESSION_SNIFF,
	SESSION_STARTUP,  /* the codec reads the agent's startup */
	SESSION_TLS,	  /* handshake with the agent */
	SESSION_AUTHN,	  /* startup is known; waiting for process facts and token */
	SESSION_ADMITTED, /* policy lets it in; waiting until that is recorded */
	SESSION_LOGIN,	  /* towards the server, and the catalog */
	SESSION_READY,
	SESSION_DRAIN,
	SESSION_CLOSED,
	SESSION_STATES,
};

const char *session_state_name(enum session_state state);

#define SESSION_ID_MAX 37 /* UUID version 7 (RFC 9562), as text */

/* What the operation that the codec waits for is waiting for itself. */
enum op_wait {
	OP_WAIT_NONE,
	OP_WAIT_GATE,	  /* too many records under way */
	OP_WAIT_CATALOG,  /* a name or an OID is not in the catalog */
	OP_WAIT_APPROVAL, /* asked for, not yet decided */
	OP_WAIT_CONSUME,  /* approved; waiting until its use is on disk */
};

/* Bytes for the server from position on wait for the ack of request. */
struct gate {
	uint64_t position;
	uint64_t request;
};
#define GATES_MAX 64

/* Masks in force for an operation whose results have not all come. */
struct mask_set {
	struct mask_set *next;
	size_t n;
	const struct mask_rule *masks[VERDICT_MASKS_MAX];
};

struct op_slot {
	uint32_t id;
	enum op_kind kind;
	enum op_state state;
	const struct mask_set *masks; /* NULL: none */
};
#define OP_SLOTS_MAX 1024

/* The operation that the codec has asked about and that is not resumed yet. */
struct pending_op {
	const struct op *op; /* NULL: none */
	enum op_state state;
	enum op_wait wait;
	struct arena arena; /* names resolved, for this operation */
	const struct sql_class *resolved;
	struct verdict verdict;
	bool reloaded; /* the catalog was loaded anew for it already */
	char approval[APPROVAL_ID_MAX];
	uint64_t approval_request; /* what answers from the recorder carry */
};

struct session {
	struct engine *engine;
	struct session *next;
	struct session *prev;
	enum session_state state;
	char id[SESSION_ID_MAX];
	uint64_t opened_ns;

	/* Who and where. */
	struct sluice_origin origin;
	struct endpoint wanted;
	struct process process;
	struct principal principal;
	bool has_principal;
	const struct workload_config *workload;
	const struct resource_config *resource; /* NULL: none matches */
	size_t resource_index;
	uint32_t resolve_request;
	bool identity_asked; /* at the first byte */
	bool resolved;	     /* the warden has answered */
	uint8_t resolve_status;
	uint8_t token_source;
	struct span token; /* wiped once verified */
	struct arena arena;
	struct span who;      /* canonical JSON, short form, for operations */
	struct span who_long; /* with arguments and ancestors, until the session is open */

	/* Protocol. */
	const struct proto_ops *ops;
	void *codec;
	bool agent_hold;
	bool server_hold;
	struct proto_startup startup; /* copied into arena */
	bool has_startup;
	struct dial dial;
	struct proto_admission admission;
	uint32_t server_cancel_pid;
	uint32_t server_cancel_secret;
	uint32_t cancel_pid;
	uint32_t cancel_secret;
	struct peer agent;
	struct peer server;
	struct timer timer; /* login, drain, approval notices */
	struct deferred pump;
	struct deferred free_later;
	bool tls_wanted; /* the agent asked for TLS and was told yes */
	bool goodbye;	 /* the agent ended the session in the protocol's own way */
	bool said_all;	 /* DRAIN: everything is sent and our direction is shut */
	bool was_open;	 /* session.open is recorded: session.close will be */
	bool refusal_recorded;
	const char *close_reason;

	/* Operations. */
	struct pg_catalog *catalog;
	struct catalog_wait catalog_wait;
	bool masks_in_force;
	uint64_t catalog_epoch;
	bool path_known; /* the search path is as at login */
	bool ddl_open;	 /* relations may have changed in a way that only this session sees yet */
	struct sql_names names;
	struct pending_op pending;
	uint64_t open_request; /* record of SESSION_OPEN */
	struct gate gates[GATES_MAX];
	size_t n_gates;
	struct op_slot *slots; /* ids ascending */
	size_t n_slots;
	size_t cap_slots;
	struct mask_set *mask_sets;
	/* Columns that wait for a catalog. */
	uint32_t columns_op;
	struct proto_column *columns;
	size_t n_columns;
	uint64_t n_ops;
	uint64_t n_refused;
};

/* Take an accepted socket. Always takes the fd; a session that cannot begin is recorded and closed.
 */
void session_accept(struct engine *e, int fd);
/* The worker stops: close what is idle, end the rest. */
void session_stop(struct session *s, const char *why);
/* Ask the warden whose connection this is. */
_must_check_ int session_ask_identity(struct session *s);
void session_on_resolved(struct session *s, const struct msg_resolved *m);
void session_on_recorder_lost(struct session *s, const char *why);

/* For pipeline.c. */
_must_check_ int session_move(struct session *s, enum session_state to);
_must_check_ int op_move(enum op_state *state, enum op_state to);
/* Tell the agent and end. error->severity is FATAL. Recorded as session.refused before READY. */
void session_fatal(struct session *s, const struct proto_error *error, const char *reason_code);
/* Take nothing more from either side; say what is left to be said, then close. */
void session_begin_drain(struct session *s, const char *reason);
void session_drain(struct session *s);
/* relay.c: move what can be moved. */
void session_pump_later(struct session *s);
void session_agent_ready(struct watch *w, uint32_t events);
void session_server_ready(struct watch *w, uint32_t events);
/* sink.c: open the codec of a protocol with this session behind it. */
_must_check_ int session_open_codec(struct session *s, const struct proto_ops *ops);

#endif
