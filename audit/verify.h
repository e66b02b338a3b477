/* verify.h - is the store what was written? Offline: needs the file and a public key.
 * Used by: tools (sluicectl audit verify), roles/recorder (the tail, when it opens a store).
 * Promises: reads only; goes on after a fault, so that all are counted; the first one is the place
 * to look at. */
#ifndef SLUICE_AUDIT_VERIFY_H
#define SLUICE_AUDIT_VERIFY_H

#include "audit/note.h"
#include "audit/store.h"

#define VERIFY_NOTES_MAX 8

struct verify_note {
	const char *label; /* where it comes from, for people */
	struct span note;
};

struct verify_options {
	const struct note_key *key; /* NULL: signatures are not checked */
	size_t n_notes;
	struct verify_note notes[VERIFY_NOTES_MAX]; /* checkpoints kept elsewhere */
	/* Called for each fault. seq: the event it is about; 0: none in particular. */
	void (*on_fault)(void *ctx, uint64_t seq, const char *text);
	void *ctx;
};

/* Older than this, seen from the newest event, no event is without a signature: twice the time
 * between two checkpoints. */
#define VERIFY_UNSIGNED_MAX_S 20

struct verify_result {
	uint64_t events;      /* that were read */
	uint64_t checkpoints; /* whose signature and root are right */
	uint64_t faults;
	uint64_t signed_size; /* of the largest such checkpoint: events up to it are proven. 0: only
			       * the links were checked, which anybody can make anew */
	uint8_t root[HASH_LEN];
};

/* 0 when the store could be looked at, whatever was found: see ret_result->faults. A damaged file
 * is a fault too. Errors as store_open_read's, with the text in error: it could not be told. */
_must_check_ int verify_store(const char *path, const struct verify_options *options,
			      char error[static STORE_ERROR_MAX], struct verify_result *ret_result);

/* For the writer: the state to go on from. Takes the tree of the last checkpoint, checks it and all
 * events after it. key: as above. -EUCLEAN: the tail is not as it was written (text in error). */
_must_check_ int verify_tail(struct store *store, const struct note_key *key,
			     char error[static STORE_ERROR_MAX], struct tree *ret_tree,
			     uint8_t ret_last_leaf[static HASH_LEN]);

#endif
