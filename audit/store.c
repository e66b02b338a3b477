#include "audit/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "audit/store_sql.h"

#define PAGE_CACHE_KIB	16384
#define WAL_PAGES	2000 /* of 8 KiB: copied into the file when the log is longer */
#define BUSY_TIMEOUT_MS 2000
#define CHECK_LINES_MAX 100

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[SQL_STATEMENTS];
	char path[4096];
	dev_t dev;
	ino_t ino;
	bool writer;
	uint64_t last;
	char error[STORE_ERROR_MAX];
};

const char *store_error(const struct store *s)
{
	return s->error;
}

static int errno_of(sqlite3 *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_IOERR:
		/* Writing the log's index to a full disk is reported as an I/O error. */
		return db && sqlite3_system_errno(db) == ENOSPC ? -ENOSPC : -EIO;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* a table or column is missing */
	case SQLITE_SCHEMA:
	case SQLITE_MISMATCH:
		return -EUCLEAN;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CANTOPEN:
		return db && sqlite3_system_errno(db) > 0 ? -sqlite3_system_errno(db) : -EACCES;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_TOOBIG:
		return -E2BIG;
	default:
		return -EIO;
	}
}

static int fail(struct store *s, int rc)
{
	(void)snprintf(s->error, sizeof(s->error), "%s",
		       s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
	return errno_of(s->db, rc);
}

static int fail_text(struct store *s, int error, const char *text)
{
	(void)snprintf(s->error, sizeof(s->error), "%s", text);
	return error;
}

static int prepared(struct store *s, enum sql_statement_id id, sqlite3_stmt **ret)
{
	int rc;

	if (!s->stmts[id]) {
		rc = sqlite3_prepare_v3(s->db, sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT,
					&s->stmts[id], NULL);
		if (rc != SQLITE_OK)
			return fail(s, rc);
	}
	*ret = s->stmts[id];
	return 0;
}

static int run(struct store *s, const char *sql)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc);
}

/* Step a statement that returns no row, and make it ready for the next time. */
static int finish(struct store *s, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);
	int r = rc == SQLITE_DONE ? 0 : fail(s, rc);

	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	return r;
}

/* One integer of one row. */
static int get_integer(struct store *s, enum sql_statement_id id, uint64_t *ret)
{
	sqlite3_stmt *stmt = NULL;
	int rc;
	int r;

	r = prepared(s, id, &stmt);
	if (r < 0)
		return r;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		int64_t v = sqlite3_column_int64(stmt, 0);

		*ret = v > 0 ? (uint64_t)v : 0;
	} else if (rc == SQLITE_DONE) {
		*ret = 0;
	} else {
		r = fail(s, rc);
	}
	(void)sqlite3_reset(stmt);
	return r;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SQL_STATEMENTS; i++)
		(void)sqlite3_finalize(s->stmts[i]);
	(void)sqlite3_close(s->db);
	free(s);
}

static int allocate(const char *path, struct store **ret)
{
	struct store *s;

	if (strlen(path) >= sizeof(s->path))
		return -ENAMETOOLONG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	memcpy(s->path, path, strlen(path) + 1);
	*ret = s;
	return 0;
}

static int give_up(struct store *s, int r, char *error)
{
	(void)snprintf(error, STORE_ERROR_MAX, "%s", s->error);
	return r;
}

/* Nothing in a file that somebody changed may make sqlite run what it says. */
static int harden(struct store *s)
{
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	(void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 16 * 1024 * 1024);
	(void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	return run(s, "PRAGMA cell_size_check = ON");
}

static int check_meta(struct store *s)
{
	uint64_t version;
	int r;

	r = get_integer(s, SQL_GET_VERSION, &version);
	if (r < 0)
		return r;
	if (version != STORE_VERSION)
		return fail_text(s, -EUCLEAN, "not a store of this version");
	return 0;
}

static int set_up_writer(struct store *s)
{
	char sql[160];
	uint64_t tables;
	struct stat st;
	int r;

	r = harden(s);
	if (r < 0)
		return r;
	r = get_integer(s, SQL_COUNT_TABLES, &tables);
	if (r < 0)
		return r;
	(void)snprintf(sql, sizeof(sql),
		       "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
		       "PRAGMA cache_size=-%d; PRAGMA wal_autocheckpoint=%d",
		       PAGE_CACHE_KIB, WAL_PAGES);
	r = run(s, sql);
	if (r == 0 && tables == 0)
		r = run(s, sql_create);
	if (r == 0)
		r = check_meta(s);
	if (r < 0)
		return r;
	if (stat(s->path, &st) < 0)
		return fail_text(s, -errno, strerror(errno));
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return get_integer(s, SQL_LAST_SEQ, &s->last);
}

int store_open(const char *path, char error[static STORE_ERROR_MAX], struct store **ret_store)
{
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_close_ int fd = -1;
	int rc;
	int r;

	*error = '\0';
	/* Its own counting of memory takes a lock each time. Too late to say once it is in use:
	 * then it goes on counting. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	r = allocate(path, &s);
	if (r < 0)
		return r;
	s->writer = true;
	/* sqlite would make it readable to everybody; its other files take the mode of this one.
	 * One that exists is not opened here: closing it would drop the locks of this process on
	 * it. */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno != EEXIST) {
		r = -errno;
		(void)snprintf(s->error, sizeof(s->error), "%s", strerror(errno));
		return give_up(s, r, error);
	}
	fd_clear(&fd); /* before sqlite has locks on it */
	rc = sqlite3_open_v2(path, &s->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
			     NULL);
	r = rc == SQLITE_OK ? set_up_writer(s) : fail(s, rc);
	if (r < 0)
		return give_up(s, r, error);
	*ret_store = TAKE_PTR(s);
	return 0;
}

/* "file:" and the path, with what has a meaning in a URI escaped. Without a log file nobody has the
 * store open: then nothing needs to be locked, and nothing is left beside it. */
static int read_uri(const char *path, struct buf *out)
{
	char wal[4096 + 8];
	struct stat st;

	buf_put_str(out, "file:");
	for (const char *p = path; *p; p++) {
		if (strchr("?#%", *p))
			buf_putf(out, "%%%02x", (unsigned char)*p);
		else
			buf_put(out, p, 1);
	}
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	buf_put_str(out,
		    stat(wal, &st) < 0 && errno == ENOENT ? "?mode=ro&immutable=1" : "?mode=ro");
	return buf_put_u8(out, '\0');
}

int store_open_read(const char *path, char error[static STORE_ERROR_MAX], struct store **ret_store)
{
	_cleanup_(store_closep) struct store *s = NULL;
	_cleanup_buf_ struct buf uri = BUF_INIT(16384);
	struct stat st;
	int rc;
	int r;

	*error = '\0';
	r = allocate(path, &s);
	if (r < 0)
		return r;
	if (stat(path, &st) < 0) {
		r = -errno;
		(void)snprintf(s->error, sizeof(s->error), "%s", strerror(errno));
		return give_up(s, r, error);
	}
	r = read_uri(path, &uri);
	if (r < 0)
		return r;
	rc = sqlite3_open_v2((const char *)buf_span(&uri).p, &s->db,
			     SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
	r = rc == SQLITE_OK ? harden(s) : fail(s, rc);
	if (r == 0)
		r = check_meta(s);
	if (r < 0)
		return give_up(s, r, error);
	*ret_store = TAKE_PTR(s);
	return 0;
}

int store_hold(struct store *s)
{
	return run(s, "BEGIN");
}

int store_begin(struct store *s)
{
	struct stat st;

	/* Removed or replaced under us: sqlite would go on writing into the file that is gone. */
	if (stat(s->path, &st) < 0 || st.st_dev != s->dev || st.st_ino != s->ino)
		return fail_text(s, -ESTALE, "the store's file was removed or replaced");
	return run(s, "BEGIN IMMEDIATE");
}

/* Borrowed until the statement is reset: every statement here is run at once. */
static void bind_text(sqlite3_stmt *stmt, int at, struct span s)
{
	(void)sqlite3_bind_text(stmt, at, s.p ? (const char *)s.p : "", (int)s.len, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *stmt, int at, struct span s)
{
	(void)sqlite3_bind_blob(stmt, at, s.p ? (const void *)s.p : "", (int)s.len, SQLITE_STATIC);
}

int store_append(struct store *s, const struct store_event *e)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	r = prepared(s, SQL_PUT_EVENT, &stmt);
	if (r < 0)
		return r;
	if (e->json.len > ENTRY_MAX)
		return fail_text(s, -E2BIG, "the event is too long");
	(void)sqlite3_bind_int64(stmt, 1, (int64_t)e->seq);
	bind_text(stmt, 2, e->time);
	bind_text(stmt, 3, e->kind);
	if (e->session.len > 0)
		bind_text(stmt, 4, e->session);
	bind_blob(stmt, 5, e->leaf);
	bind_blob(stmt, 6, e->json);
	r = finish(s, stmt);
	if (r == 0)
		s->last = e->seq;
	return r;
}

int store_put_checkpoint(struct store *s, const struct store_checkpoint *c)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	r = prepared(s, SQL_PUT_CHECKPOINT, &stmt);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(stmt, 1, (int64_t)c->size);
	bind_text(stmt, 2, c->note);
	bind_blob(stmt, 3, c->frontier);
	return finish(s, stmt);
}

int store_put_approval(struct store *s, const struct store_approval *a, bool is_new)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	r = prepared(s, is_new ? SQL_NEW_APPROVAL : SQL_PUT_APPROVAL, &stmt);
	if (r < 0)
		return r;
	bind_text(stmt, 1, a->id);
	bind_text(stmt, 2, a->state);
	(void)sqlite3_bind_int64(stmt, 5, (int64_t)a->expires_ns);
	if (is_new) {
		bind_blob(stmt, 3, a->digest);
		(void)sqlite3_bind_int64(stmt, 4, (int64_t)a->asked_ns);
		bind_blob(stmt, 6, a->groups);
		bind_blob(stmt, 7, a->body);
	}
	bind_text(stmt, 8, a->by);
	bind_text(stmt, 9, a->reason);
	return finish(s, stmt);
}

int store_commit(struct store *s)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	r = prepared(s, SQL_NOTE_SIZE, &stmt);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(stmt, 1, (int64_t)s->last);
	r = finish(s, stmt);
	return r < 0 ? r : run(s, "COMMIT");
}

void store_rollback(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db))
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

int store_head(struct store *s, uint64_t *ret_last, uint64_t *ret_noted)
{
	uint64_t last;
	uint64_t noted;
	int r;

	r = get_integer(s, SQL_LAST_SEQ, &last);
	if (r == 0)
		r = get_integer(s, SQL_GET_SIZE, &noted);
	if (r < 0)
		return r;
	*ret_last = last;
	*ret_noted = noted;
	return 0;
}

int store_bytes(struct store *s, uint64_t *ret_bytes)
{
	char wal[sizeof(s->path) + 8];
	struct stat st;
	uint64_t bytes;

	if (stat(s->path, &st) < 0)
		return fail_text(s, -errno, strerror(errno));
	bytes = (uint64_t)st.st_size;
	(void)snprintf(wal, sizeof(wal), "%s-wal", s->path);
	if (stat(wal, &st) == 0)
		bytes += (uint64_t)st.st_size;
	*ret_bytes = bytes;
	return 0;
}

static struct span column(sqlite3_stmt *stmt, int at)
{
	const void *p = sqlite3_column_blob(stmt, at);
	int n = sqlite3_column_bytes(stmt, at);

	return span_of(p, p && n > 0 ? (size_t)n : 0);
}

static uint64_t column_u64(sqlite3_stmt *stmt, int at)
{
	int64_t v = sqlite3_column_int64(stmt, at);

	return v > 0 ? (uint64_t)v : 0;
}

static int hand_event(sqlite3_stmt *stmt, store_on_event *f, void *ctx)
{
	struct store_event e = {
		.seq = column_u64(stmt, 0),
		.time = column(stmt, 1),
		.kind = column(stmt, 2),
		.session = column(stmt, 3),
		.leaf = column(stmt, 4),
		.json = column(stmt, 5),
	};

	return f(ctx, &e);
}

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize, finalizep)

static int next_row(struct store *s, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : fail(s, rc);
}

int store_events(struct store *s, const struct store_query *q, store_on_event *f, void *ctx)
{
	_cleanup_(finalizep) sqlite3_stmt *stmt = NULL;
	char sql[512];
	int rc;
	int r;

	(void)snprintf(sql, sizeof(sql), "%s%s%s%s%s%s", sql_events,
		       q->kind.len ? " AND kind=?3" : "", q->session.len ? " AND session=?4" : "",
		       q->since.len ? " AND time>=?5" : "", q->until.len ? " AND time<?6" : "",
		       q->newest_first ? " ORDER BY seq DESC" : " ORDER BY seq");
	rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return fail(s, rc);
	/* Rows below 0 can only have been put there by somebody else: they are to be seen. */
	(void)sqlite3_bind_int64(stmt, 1, q->first ? (int64_t)q->first : INT64_MIN);
	(void)sqlite3_bind_int64(stmt, 2, q->last ? (int64_t)q->last : INT64_MAX);
	if (q->kind.len)
		bind_text(stmt, 3, q->kind);
	if (q->session.len)
		bind_text(stmt, 4, q->session);
	if (q->since.len)
		bind_text(stmt, 5, q->since);
	if (q->until.len)
		bind_text(stmt, 6, q->until);
	for (;;) {
		r = next_row(s, stmt);
		if (r <= 0)
			return r;
		r = hand_event(stmt, f, ctx);
		if (r != 0)
			return MIN(r, 0);
	}
}

static int each_checkpoint(struct store *s, enum sql_statement_id id, uint64_t from,
			   store_on_checkpoint *f, void *ctx)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	r = prepared(s, id, &stmt);
	if (r < 0)
		return r;
	if (id == SQL_CHECKPOINTS)
		(void)sqlite3_bind_int64(stmt, 1, (int64_t)from);
	while ((r = next_row(s, stmt)) > 0) {
		struct store_checkpoint c = {
			.size = column_u64(stmt, 0),
			.note = column(stmt, 1),
			.frontier = column(stmt, 2),
		};

		r = f(ctx, &c);
		if (r != 0)
			break;
	}
	(void)sqlite3_reset(stmt);
	return MIN(r, 0);
}

int store_checkpoints(struct store *s, uint64_t from, store_on_checkpoint *f, void *ctx)
{
	return each_checkpoint(s, SQL_CHECKPOINTS, from, f, ctx);
}

int store_last_checkpoint(struct store *s, store_on_checkpoint *f, void *ctx)
{
	return each_checkpoint(s, SQL_LAST_CHECKPOINT, 0, f, ctx);
}

static int each_approval(struct store *s, sqlite3_stmt *stmt, store_on_approval *f, void *ctx,
			 size_t *ret_n)
{
	size_t n = 0;
	int r;

	while ((r = next_row(s, stmt)) > 0) {
		struct store_approval a = {
			.id = column(stmt, 0),
			.state = column(stmt, 1),
			.digest = column(stmt, 2),
			.asked_ns = column_u64(stmt, 3),
			.expires_ns = column_u64(stmt, 4),
			.groups = column(stmt, 5),
			.body = column(stmt, 6),
			.by = column(stmt, 7),
			.reason = column(stmt, 8),
		};

		n++;
		r = f ? f(ctx, &a) : 0;
		if (r != 0)
			break;
	}
	(void)sqlite3_reset(stmt);
	if (r >= 0)
		*ret_n = n;
	return MIN(r, 0);
}

int store_approvals(struct store *s, store_on_approval *f, void *ctx)
{
	sqlite3_stmt *stmt = NULL;
	size_t n;
	int r;

	r = prepared(s, SQL_APPROVALS, &stmt);
	return r < 0 ? r : each_approval(s, stmt, f, ctx, &n);
}

int store_find_approval(struct store *s, const char *id, store_on_approval *f, void *ctx)
{
	sqlite3_stmt *stmt = NULL;
	size_t n;
	int r;

	r = prepared(s, SQL_FIND_APPROVAL, &stmt);
	if (r < 0)
		return r;
	bind_text(stmt, 1, span_str(id));
	r = each_approval(s, stmt, f, ctx, &n);
	(void)sqlite3_clear_bindings(stmt);
	return r == 0 && n == 0 ? -ENOENT : r;
}

/* Hand the first column of each row on, as a line. */
static int each_line(struct store *s, const char *sql, store_on_line *f, void *ctx)
{
	_cleanup_(finalizep) sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
	int r;

	if (rc != SQLITE_OK)
		return fail(s, rc);
	while ((r = next_row(s, stmt)) > 0) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		if (!text || streq(text, "ok"))
			continue;
		r = f(ctx, text);
		if (r != 0)
			break;
	}
	return MIN(r, 0);
}

int store_check(struct store *s, store_on_line *f, void *ctx)
{
	char sql[64];
	int r;

	(void)snprintf(sql, sizeof(sql), "PRAGMA integrity_check(%d)", CHECK_LINES_MAX);
	r = each_line(s, sql_foreign_schema, f, ctx);
	return r < 0 ? r : each_line(s, sql, f, ctx);
}
