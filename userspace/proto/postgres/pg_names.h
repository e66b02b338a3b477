/* pg_names.h - prepared statements and portals of one session, as the server has them.
 * Used by: proto/postgres/.
 * Promises: a name never stands here for another text than it does in the server: what is sent but
 * not answered is pending, and vanishes if the server fails or skips it; what SQL text may have
 * changed behind the protocol's back is suspect, and stays so. Bounded. */
#ifndef SLUICE_PROTO_POSTGRES_PG_NAMES_H
#define SLUICE_PROTO_POSTGRES_PG_NAMES_H

#include "model/op.h"
#include "proto/postgres/pg_wire.h"

#define PG_STATEMENTS_MAX     4096
#define PG_PORTALS_MAX	      1024
#define PG_STATEMENT_TEXT_MAX (4u * 1024u * 1024u) /* of all statements of a session */
#define PG_NAME_BUCKETS	      256

struct pg_op;

/* A statement's text and what it was understood to do. Shared by the name and its portals. */
struct pg_stmt {
	unsigned refs;
	const struct sql_class *sql;
	bool sql_owned;	 /* to be released */
	size_t text_len; /* as sent */
	uint8_t text_sha256[32];
	size_t kept; /* bytes of text here */
	size_t cap;
	struct pg_stmt *next_free;
	uint8_t *text;
	size_t n_types; /* of parameters, from the first; at most OP_PARAMS_MAX */
	size_t cap_types;
	uint32_t *types;
};

enum pg_name_kind {
	PG_STATEMENT,
	PG_PORTAL,
};

/* What one Parse, Bind or Close gave a name. Several of one name form a chain, newest first; the
 * server's answer to one makes it the last of the chain. */
struct pg_name {
	struct pg_name *chain; /* next of the bucket */
	struct pg_name *next;  /* of all of the kind */
	struct pg_name **link;
	unsigned refs; /* the table's and the awaited reply's */
	enum pg_name_kind kind;
	bool listed;
	bool settled;	/* the server did it */
	bool closed;	/* a Close: the name stands for nothing */
	bool suspect;	/* SQL text may have given it another meaning */
	uint32_t batch; /* number of the ReadyForQuery after it; portals end with the transaction */
	struct pg_stmt *stmt;
	struct pg_op *op; /* portals: NULL once it has run to its end */
	char name[PG_NAME_MAX + 1];
};

struct pg_names {
	struct pg_name *buckets[PG_NAME_BUCKETS];
	struct pg_name *all[2]; /* by kind */
	size_t n[2];
	size_t text_bytes;
	struct pg_name *free;
	size_t n_free;
	struct pg_stmt *free_stmts;
	size_t n_free_stmts;
	/* Told when a name or a statement lets go of what is not its own. */
	void *ctx;
	void (*op_unref)(void *ctx, struct pg_op *op);
	void (*sql_release)(void *ctx, const struct sql_class *sql);
};

void pg_names_init(struct pg_names *t, void *ctx, void (*op_unref)(void *, struct pg_op *),
		   void (*sql_release)(void *, const struct sql_class *));
/* Frees everything, and lets go of operations and classes. */
void pg_names_done(struct pg_names *t);

/* Only names of plain ASCII are kept: others are converted by the server, by a setting that changes
 * under way. A name not kept is one that is not known. */
bool pg_name_kept(struct span name);

/* The newest meaning of a name, or NULL: none, closed, or not kept. */
struct pg_name *pg_names_find(struct pg_names *t, enum pg_name_kind kind, struct span name);
/* Is it open what the name stands for, to a message of that batch? The newest meaning holds for the
 * rest of its own batch, answered or not: if it fails, the server skips what follows too. Behind
 * the end of its batch it holds only once the server has answered; and the server will, as it was
 * told to by what ended the batch. */
bool pg_names_open(const struct pg_names *t, enum pg_name_kind kind, struct span name,
		   uint32_t batch);
/* A new meaning, pending, of a message of that batch. *ret_name carries a reference of the
 * caller's. -ENOSPC: too many. */
_must_check_ int pg_names_add(struct pg_names *t, enum pg_name_kind kind, struct span name,
			      uint32_t batch, struct pg_name **ret_name);
/* The server did it: whatever the name stood for before is gone. */
void pg_names_settle(struct pg_names *t, struct pg_name *n);
/* The server did not do it. */
void pg_names_void(struct pg_names *t, struct pg_name *n);
/* Every meaning of the name goes. */
void pg_names_forget(struct pg_names *t, enum pg_name_kind kind, struct span name);
/* Portals of transactions that ended before ReadyForQuery number batch. */
void pg_names_end_transaction(struct pg_names *t, uint32_t batch);
/* name "": all of the kind. Unnamed ones are out of SQL's reach. */
void pg_names_suspect(struct pg_names *t, enum pg_name_kind kind, struct span name);
void pg_name_unref(struct pg_names *t, struct pg_name *n);

/* A statement with its text kept up to OP_TEXT_MAX; the class is taken over on success.
 * -ENOSPC: the session's statements would take too much memory. */
_must_check_ int pg_stmt_new(struct pg_names *t, struct span text, size_t text_len,
			     struct pg_stmt **ret_stmt);
/* Types of its parameters, big-endian OIDs as they stand in messages: as declared (0: the server is
 * to find out), later as the server tells. -ENOMEM. */
_must_check_ int pg_stmt_set_types(struct pg_stmt *s, struct span oids);
/* The type of parameter i, from 0; 0: not known. */
uint32_t pg_stmt_type(const struct pg_stmt *s, size_t i);
struct pg_stmt *pg_stmt_ref(struct pg_stmt *s);
void pg_stmt_unref(struct pg_names *t, struct pg_stmt *s);

#endif
