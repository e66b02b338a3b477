/* recorder_writer.h - batches of records, and the thread that puts them on disk.
 * Used by: roles/recorder*.c.
 * Promises: one batch is one transaction; while one is written another is filled, so taking an
 * event never waits for the disk. A batch belongs either to its filler or to the thread. */
#ifndef SLUICE_ROLES_RECORDER_WRITER_H
#define SLUICE_ROLES_RECORDER_WRITER_H

#include "audit/entry.h"
#include "audit/store.h"
#include "ipc/msg.h"

#define BATCH_ITEMS_MAX 8192u
#define BATCH_BYTES_MAX (32u * 1024u * 1024u)
/* Kept free for what the recorder itself has to write when it can take no more from others. */
#define BATCH_ITEMS_KEPT 3072u
#define BATCH_BYTES_KEPT (6u * 1024u * 1024u)

/* A part of a batch's bytes. */
struct piece {
	uint32_t at;
	uint32_t len;
};

enum item_type {
	ITEM_EVENT,
	ITEM_APPROVAL_NEW,
	ITEM_APPROVAL,
	ITEM_CHECKPOINT,
};

struct item_event {
	uint64_t seq;
	const char *kind;
	char time[ENTRY_TIME_LEN + 1];
	uint8_t leaf[HASH_LEN];
	struct piece session;
	struct piece json;
};

struct item_approval {
	char id[APPROVAL_ID_MAX];
	const char *state;
	uint8_t digest[SHA256_LEN];
	uint64_t asked_ns;
	uint64_t expires_ns;
	struct piece groups;
	struct piece body;
	struct piece by;
	struct piece reason;
};

struct item_checkpoint {
	uint64_t size;
	struct piece note;
	struct piece frontier;
};

struct item {
	enum item_type type;
	union {
		struct item_event event;
		struct item_approval approval;
		struct item_checkpoint checkpoint;
	};
};

struct batch {
	struct item *items; /* BATCH_ITEMS_MAX */
	size_t n;
	struct buf bytes;
	uint64_t before; /* number of events before those in it */
	uint64_t events;
	bool urgent;	    /* somebody waits for it to be on disk */
	uint64_t oldest_ns; /* monotonic: when its first item came */
};

_must_check_ int batch_init(struct batch *b);
void batch_done(struct batch *b);
/* Empty it; before: number of events up to now. */
void batch_reset(struct batch *b, uint64_t before);
/* Room for one more record of so many bytes, leaving what is kept free unless `own`. */
bool batch_has_room(const struct batch *b, size_t bytes, bool own);
/* Append bytes: 0, -ENOBUFS, -ENOMEM (then nothing was appended). */
_must_check_ int batch_put(struct batch *b, struct span s, struct piece *ret_piece);
struct span batch_piece(const struct batch *b, struct piece p);

struct writer;

/* In state_dir. Makes no thread yet: what needs file descriptors only. */
_must_check_ int writer_new(const char *state_dir, struct writer **ret_writer);
/* Stops the thread, after what it is at. Closes the store. */
void writer_free(struct writer *w);
DEFINE_CLEANUP(struct writer *, writer_free, writer_freep)
/* Start the thread; takes the store. */
_must_check_ int writer_start(struct writer *w, struct store *store);
/* Readable when a batch was finished. */
int writer_fd(const struct writer *w);
/* Hand a batch over. There must be none with it. */
void writer_submit(struct writer *w, struct batch *b);
/* Wait until the batch is finished. */
void writer_wait(struct writer *w);
/* Is it finished? Then take it back: true once for each batch; *ret_result is 0 or -errno. */
bool writer_collect(struct writer *w, int *ret_result, char ret_error[static STORE_ERROR_MAX]);

#endif
