/* store.h - where events, checkpoints and approvals are kept. Embedded: sqlite in WAL mode.
 * Used by: roles/recorder (the one writer), audit/verify, audit/search, tools (readers).
 * Promises: nothing of sqlite shows here, so another engine can take its place; what store_commit
 * said 0 to is on disk. A reader never writes: not to the store, nor to its owners and modes. */
#ifndef SLUICE_AUDIT_STORE_H
#define SLUICE_AUDIT_STORE_H

#include "audit/tree.h"

#define STORE_FILE	"store.db"
#define STORE_ERROR_MAX 256u
#define ENTRY_MAX	(256u * 1024u) /* bytes of one event */

struct store;

/* Spans point into the store's memory and last until the callback returns. */
struct store_event {
	uint64_t seq;
	struct span time;
	struct span kind;
	struct span session; /* empty: none */
	struct span leaf;    /* HASH_LEN bytes, unless somebody was at it */
	struct span json;
};

struct store_checkpoint {
	uint64_t size;
	struct span note;
	struct span frontier; /* of the tree of that size */
};

struct store_approval {
	struct span id;
	struct span state;  /* approval_state_name */
	struct span digest; /* of body */
	uint64_t asked_ns;  /* wall clock, since 1970 */
	uint64_t expires_ns;
	struct span groups; /* NUL-terminated each */
	struct span body;
	struct span by;
	struct span reason;
};

struct store_query {
	uint64_t first; /* seq; 0: from the beginning */
	uint64_t last;	/* 0: to the end */
	struct span kind;
	struct span session;
	struct span since; /* a time is in when since <= time < until, as text */
	struct span until;
	bool newest_first;
};

/* Callbacks: 0 to go on, 1 to stop, -errno to stop and return it. */
typedef int store_on_event(void *ctx, const struct store_event *e);
typedef int store_on_checkpoint(void *ctx, const struct store_checkpoint *c);
typedef int store_on_approval(void *ctx, const struct store_approval *a);
typedef int store_on_line(void *ctx, const char *line);

/* Errors of all: -ENOSPC, -EIO, -EROFS, -EACCES, -ENOENT, -EBUSY, -ENOMEM; -EUCLEAN: the file is
 * not a store, or damaged; -ESTALE: another file took its place. The text for people is left in
 * error. */

/* For the one writer: made when it is missing, mode 0600. */
_must_check_ int store_open(const char *path, char error[static STORE_ERROR_MAX],
			    struct store **ret_store);
/* For readers, also beside a writer. */
_must_check_ int store_open_read(const char *path, char error[static STORE_ERROR_MAX],
				 struct store **ret_store);
void store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close, store_closep)
/* What went wrong last. */
const char *store_error(const struct store *s);

/* For a reader: from here on see one state of the store, whatever is written meanwhile. */
_must_check_ int store_hold(struct store *s);

/* A transaction: begin, any of append and put, commit. After an error: store_rollback. */
_must_check_ int store_begin(struct store *s);
_must_check_ int store_append(struct store *s, const struct store_event *e);
_must_check_ int store_put_checkpoint(struct store *s, const struct store_checkpoint *c);
/* is_new: all of it; -EEXIST when there is one of that id. Otherwise what can change: state,
 * expires, by, reason. */
_must_check_ int store_put_approval(struct store *s, const struct store_approval *a, bool is_new);
_must_check_ int store_commit(struct store *s);
void store_rollback(struct store *s);

/* Last event's seq (0: none) and what the store noted of its size at the last commit. */
_must_check_ int store_head(struct store *s, uint64_t *ret_last, uint64_t *ret_noted);
_must_check_ int store_bytes(struct store *s, uint64_t *ret_bytes);

_must_check_ int store_events(struct store *s, const struct store_query *q, store_on_event *f,
			      void *ctx);
/* In order of size, from those of at least from; newest only: the last one. */
_must_check_ int store_checkpoints(struct store *s, uint64_t from, store_on_checkpoint *f,
				   void *ctx);
_must_check_ int store_last_checkpoint(struct store *s, store_on_checkpoint *f, void *ctx);
/* Newest first. */
_must_check_ int store_approvals(struct store *s, store_on_approval *f, void *ctx);
/* -ENOENT: no such approval. f may be NULL. */
_must_check_ int store_find_approval(struct store *s, const char *id, store_on_approval *f,
				     void *ctx);

/* Look for damage below the rows: the schema that is not ours, pages, indexes. Each finding is a
 * line. Reads the whole file. */
_must_check_ int store_check(struct store *s, store_on_line *f, void *ctx);

#endif
