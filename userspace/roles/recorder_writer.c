#include "roles/recorder_writer.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#define PATH_LEN_MAX 4096

struct writer {
	pthread_t thread;
	bool started;
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock. */
	struct batch *work; /* NULL: idle, or finished and not collected */
	bool finished;
	bool stop;
	int result;
	char error[STORE_ERROR_MAX];
	/* The thread's own. */
	struct store *store; /* NULL: has to be opened again */
	int dir;
	char path[PATH_LEN_MAX];
};

int batch_init(struct batch *b)
{
	*b = (struct batch){.bytes = BUF_INIT(BATCH_BYTES_MAX)};
	b->items = calloc(BATCH_ITEMS_MAX, sizeof(*b->items));
	return b->items ? 0 : -ENOMEM;
}

void batch_done(struct batch *b)
{
	free(b->items);
	b->items = NULL;
	buf_done(&b->bytes);
}

void batch_reset(struct batch *b, uint64_t before)
{
	buf_reset(&b->bytes);
	b->n = 0;
	b->before = before;
	b->events = 0;
	b->urgent = false;
	b->oldest_ns = 0;
}

bool batch_has_room(const struct batch *b, size_t bytes, bool own)
{
	size_t items = own ? 0 : BATCH_ITEMS_KEPT;
	size_t kept = own ? 0 : BATCH_BYTES_KEPT;

	return b->n + items < BATCH_ITEMS_MAX && buf_room(&b->bytes) >= kept &&
	       buf_room(&b->bytes) - kept >= bytes;
}

int batch_put(struct batch *b, struct span s, struct piece *ret_piece)
{
	struct piece p = {.at = (uint32_t)buf_len(&b->bytes), .len = (uint32_t)s.len};
	int r = buf_put_span(&b->bytes, s);

	if (r < 0) {
		b->bytes.error = 0;
		return r;
	}
	*ret_piece = p;
	return 0;
}

struct span batch_piece(const struct batch *b, struct piece p)
{
	return span_head(span_skip(buf_span(&b->bytes), p.at), p.len);
}

static int put_event(struct store *s, const struct batch *b, const struct item_event *i)
{
	const struct store_event e = {
		.seq = i->seq,
		.time = span_of(i->time, ENTRY_TIME_LEN),
		.kind = span_str(i->kind),
		.session = batch_piece(b, i->session),
		.leaf = span_of(i->leaf, HASH_LEN),
		.json = batch_piece(b, i->json),
	};

	return store_append(s, &e);
}

static int put_approval(struct store *s, const struct batch *b, const struct item_approval *i,
			bool is_new)
{
	const struct store_approval a = {
		.id = span_str(i->id),
		.state = span_str(i->state),
		.digest = span_of(i->digest, SHA256_LEN),
		.asked_ns = i->asked_ns,
		.expires_ns = i->expires_ns,
		.groups = batch_piece(b, i->groups),
		.body = batch_piece(b, i->body),
		.by = batch_piece(b, i->by),
		.reason = batch_piece(b, i->reason),
	};

	return store_put_approval(s, &a, is_new);
}

static int put_item(struct store *s, const struct batch *b, const struct item *i)
{
	struct store_checkpoint c;

	switch (i->type) {
	case ITEM_EVENT:
		return put_event(s, b, &i->event);
	case ITEM_APPROVAL_NEW:
	case ITEM_APPROVAL:
		return put_approval(s, b, &i->approval, i->type == ITEM_APPROVAL_NEW);
	case ITEM_CHECKPOINT:
		c = (struct store_checkpoint){
			.size = i->checkpoint.size,
			.note = batch_piece(b, i->checkpoint.note),
			.frontier = batch_piece(b, i->checkpoint.frontier),
		};
		return store_put_checkpoint(s, &c);
	}
	return -EINVAL;
}

/* The last checkpoint, also as a file of its own: to be copied away, and to show a store whose end
 * was cut off. A failure here is not one of the record. */
static void publish(struct writer *w, struct span note)
{
	_cleanup_close_ int fd = -1;

	fd = openat(w->dir, "checkpoint.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0644);
	if (fd < 0)
		return;
	if (write(fd, note.p, note.len) != (ssize_t)note.len || fsync(fd) < 0 ||
	    renameat(w->dir, "checkpoint.new", w->dir, "checkpoint") < 0)
		(void)unlinkat(w->dir, "checkpoint.new", 0);
}

static int same_leaf(void *ctx, const struct store_event *e)
{
	return span_eq(e->leaf, span_of(ctx, HASH_LEN)) ? 0 : -EUCLEAN;
}

/* After a failure: what does the store hold? 1: this batch already (its commit was reported as
 * failed and was not); 0: all before it. */
static int where_it_stands(struct writer *w, const struct batch *b)
{
	struct store_query q;
	uint64_t last;
	uint64_t noted;
	int r;

	r = store_head(w->store, &last, &noted);
	if (r < 0)
		return r;
	if (last == b->before)
		return 0;
	if (b->events == 0 || last != b->before + b->events)
		return -EUCLEAN;
	q = (struct store_query){.first = last, .last = last};
	for (size_t i = b->n; i-- > 0;) {
		if (b->items[i].type != ITEM_EVENT)
			continue;
		r = store_events(w->store, &q, same_leaf, b->items[i].event.leaf);
		return r < 0 ? r : 1;
	}
	return -EUCLEAN;
}

static int write_items(struct writer *w, const struct batch *b)
{
	int r = store_begin(w->store);

	for (size_t i = 0; i < b->n && r == 0; i++)
		r = put_item(w->store, b, &b->items[i]);
	return r < 0 ? r : store_commit(w->store);
}

static int write_batch(struct writer *w, const struct batch *b, char *error)
{
	int r = 0;

	*error = '\0';
	if (!w->store) {
		/* It was there: never make another in its place. */
		if (access(w->path, F_OK) < 0) {
			(void)snprintf(error, STORE_ERROR_MAX, "the store's file is gone");
			return -ESTALE;
		}
		r = store_open(w->path, error, &w->store);
		if (r < 0)
			return r;
		r = where_it_stands(w, b);
	}
	if (r == 0)
		r = write_items(w, b);
	if (r < 0) {
		(void)snprintf(error, STORE_ERROR_MAX, "%s",
			       *store_error(w->store)
				       ? store_error(w->store)
				       : "the store is not the one that was written to");
		store_rollback(w->store);
		store_close(w->store);
		w->store = NULL;
		return r;
	}
	for (size_t i = 0; i < b->n; i++) {
		if (b->items[i].type == ITEM_CHECKPOINT)
			publish(w, batch_piece(b, b->items[i].checkpoint.note));
	}
	return 0;
}

static void *run(void *ctx)
{
	struct writer *w = ctx;
	char error[STORE_ERROR_MAX];

	(void)pthread_mutex_lock(&w->lock);
	for (;;) {
		struct batch *b;
		uint64_t one = 1;
		int r;

		while (!w->stop && !w->work)
			(void)pthread_cond_wait(&w->changed, &w->lock);
		if (!w->work)
			break;
		b = w->work;
		(void)pthread_mutex_unlock(&w->lock);
		r = write_batch(w, b, error);
		(void)pthread_mutex_lock(&w->lock);
		w->work = NULL;
		w->finished = true;
		w->result = r;
		memcpy(w->error, error, sizeof(error));
		(void)pthread_cond_broadcast(&w->changed);
		(void)!write(w->fd, &one, sizeof(one));
	}
	(void)pthread_mutex_unlock(&w->lock);
	store_close(w->store);
	w->store = NULL;
	return NULL;
}

int writer_new(const char *state_dir, struct writer **ret_writer)
{
	_cleanup_(writer_freep) struct writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->changed, NULL);
	w->dir = -1;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0)
		return -errno;
	if ((size_t)snprintf(w->path, sizeof(w->path), "%s/" STORE_FILE, state_dir) >=
	    sizeof(w->path))
		return -ENAMETOOLONG;
	w->dir = open(state_dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (w->dir < 0)
		return -errno;
	*ret_writer = TAKE_PTR(w);
	return 0;
}

int writer_start(struct writer *w, struct store *store)
{
	int r;

	w->store = store;
	r = pthread_create(&w->thread, NULL, run, w);
	if (r != 0) {
		store_close(TAKE_PTR(w->store));
		return -r;
	}
	w->started = true;
	return 0;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	if (w->started) {
		(void)pthread_mutex_lock(&w->lock);
		w->stop = true;
		(void)pthread_cond_broadcast(&w->changed);
		(void)pthread_mutex_unlock(&w->lock);
		(void)pthread_join(w->thread, NULL);
	}
	(void)pthread_cond_destroy(&w->changed);
	(void)pthread_mutex_destroy(&w->lock);
	closep(&w->fd);
	closep(&w->dir);
	free(w);
}

int writer_fd(const struct writer *w)
{
	return w->fd;
}

void writer_submit(struct writer *w, struct batch *b)
{
	(void)pthread_mutex_lock(&w->lock);
	w->work = b;
	w->finished = false;
	(void)pthread_cond_broadcast(&w->changed);
	(void)pthread_mutex_unlock(&w->lock);
}

void writer_wait(struct writer *w)
{
	(void)pthread_mutex_lock(&w->lock);
	while (w->work)
		(void)pthread_cond_wait(&w->changed, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
}

bool writer_collect(struct writer *w, int *ret_result, char ret_error[static STORE_ERROR_MAX])
{
	bool finished;
	uint64_t count;

	(void)!read(w->fd, &count, sizeof(count));
	(void)pthread_mutex_lock(&w->lock);
	finished = w->finished;
	w->finished = false;
	if (finished) {
		*ret_result = w->result;
		memcpy(ret_error, w->error, STORE_ERROR_MAX);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return finished;
}
