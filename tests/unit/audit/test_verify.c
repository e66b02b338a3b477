#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "audit/entry.h"
#include "audit/verify.h"

#define EVENTS	    40u
#define CHECKPOINT1 20u
#define CHECKPOINT2 35u

struct fixture {
	char dir[64];
	char path[96];
	struct note_key key;
	struct buf notes[2];
};

static char first_fault[1024];
static uint64_t first_seq;
static char all_faults[16384];

static void on_fault(void *ctx, uint64_t seq, const char *text)
{
	size_t n = strlen(all_faults);

	(void)ctx;
	if (!*first_fault) {
		(void)snprintf(first_fault, sizeof(first_fault), "%s", text);
		first_seq = seq;
	}
	(void)snprintf(all_faults + n, sizeof(all_faults) - n, "%s\n", text);
}

static void sign(struct fixture *f, struct store *s, const struct tree *t, struct buf *note)
{
	_cleanup_buf_ struct buf frontier = BUF_INIT(TREE_FRONTIER_MAX);
	struct store_checkpoint c = {.size = t->size};
	uint8_t root[HASH_LEN];

	tree_root(t, root);
	assert_int_equal(note_sign_checkpoint(&f->key, t->size, root, note), 0);
	assert_int_equal(tree_put_frontier(t, &frontier), 0);
	c.note = buf_span(note);
	c.frontier = buf_span(&frontier);
	assert_int_equal(store_put_checkpoint(s, &c), 0);
}

/* When the event with this number came, and what it was. */
static unsigned pause_at;
static unsigned start_at;

static void append(struct store *s, struct tree *t, uint8_t *leaf, const char *text)
{
	_cleanup_buf_ struct buf body = BUF_INIT(4096);
	_cleanup_buf_ struct buf b = BUF_INIT(8192);
	struct entry e = {.kind = span_str(t->size % 2 ? "op.result" : "op"),
			  .node = span_str("n1"),
			  .seq = t->size + 1};
	struct store_event row = {.seq = e.seq};
	char time[ENTRY_TIME_LEN + 1];

	if (e.seq == start_at) {
		e.kind = span_str("node.start");
		buf_put_str(&body, "{\"cause\":\"start\"}");
	} else {
		buf_putf(&body, "{\"op\":{\"text\":\"%s %llu\"},\"session\":\"s%llu\"}", text,
			 (unsigned long long)e.seq, (unsigned long long)e.seq / 4);
	}
	row.kind = e.kind;
	e.body = buf_span(&body);
	entry_time(UINT64_C(1795399678000000000) + e.seq * 1000000 +
			   (pause_at > 0 && e.seq >= pause_at ? UINT64_C(30000000000) : 0),
		   time);
	e.time = row.time = span_str(time);
	memcpy(e.prev, leaf, HASH_LEN);
	assert_int_equal(entry_put(&b, &e), 0);
	tree_leaf_hash(buf_span(&b), leaf);
	tree_push(t, leaf);
	row.leaf = span_of(leaf, HASH_LEN);
	row.json = buf_span(&b);
	row.session = entry_session(e.body);
	assert_int_equal(store_append(s, &row), 0);
}

static void fill(struct fixture *f, const char *path, const char *text)
{
	_cleanup_(store_closep) struct store *s = NULL;
	char error[STORE_ERROR_MAX];
	struct tree t = {0};
	uint8_t leaf[HASH_LEN] = {0};

	assert_int_equal(store_open(path, error, &s), 0);
	assert_int_equal(store_begin(s), 0);
	while (t.size < EVENTS) {
		append(s, &t, leaf, text);
		if (t.size == CHECKPOINT1 || t.size == CHECKPOINT2) {
			struct buf *note = &f->notes[t.size == CHECKPOINT2];

			buf_reset(note);
			sign(f, s, &t, note);
		}
	}
	assert_int_equal(store_commit(s), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/sluice-audit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/store.db", f->dir);
	assert_int_equal(note_key_generate("sluice/n1", &f->key), 0);
	buf_init(&f->notes[0], NOTE_MAX);
	buf_init(&f->notes[1], NOTE_MAX);
	fill(f, f->path, "select");
	*first_fault = *all_faults = '\0';
	first_seq = 0;
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	note_key_done(&f->key);
	buf_done(&f->notes[0]);
	buf_done(&f->notes[1]);
	free(f);
	return 0;
}

static uint64_t verify(struct fixture *f, struct span kept, struct verify_result *ret)
{
	struct verify_options o = {.key = &f->key, .on_fault = on_fault};
	struct verify_result result;
	char error[STORE_ERROR_MAX];

	if (kept.len > 0)
		o.notes[o.n_notes++] = (struct verify_note){"the kept checkpoint", kept};
	assert_int_equal(verify_store(f->path, &o, error, &result), 0);
	if (ret)
		*ret = result;
	return result.faults;
}

static void sql(struct fixture *f, const char *text)
{
	char *error = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s: %s", text, error);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* The first fault is about this event and says so. */
static void expect(struct fixture *f, uint64_t seq, const char *says)
{
	if (verify(f, (struct span){0}, NULL) == 0)
		fail_msg("no fault found, expected: %s", says);
	if (!strstr(first_fault, says))
		fail_msg("first fault: %s; expected: %s", first_fault, says);
	assert_int_equal(first_seq, seq);
}

static void test_whole(void **state)
{
	struct fixture *f = *state;
	struct verify_result result;
	struct stat st;
	char path[128];

	if (verify(f, buf_span(&f->notes[0]), &result) != 0)
		fail_msg("%s", all_faults);
	assert_int_equal(result.events, EVENTS);
	assert_int_equal(result.checkpoints, 3);
	assert_int_equal(result.signed_size, CHECKPOINT2);
	/* Nothing is left behind by looking. */
	(void)snprintf(path, sizeof(path), "%s-wal", f->path);
	assert_int_equal(stat(path, &st), -1);
	(void)snprintf(path, sizeof(path), "%s-shm", f->path);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_changed(void **state)
{
	sql(*state, "UPDATE events SET json=replace(json,'select 17','delete 17') WHERE seq=17");
	expect(*state, 17,
	       "event 17 (op, 2026-11-23T02:07:58.017000Z): its bytes do not match its "
	       "leaf hash: changed after it was written");
	assert_null(strchr(strchr(all_faults, '\n') + 1, '\n'));
}

/* With its leaf made to match: the next does not link to it, and the checkpoint does not sign it.
 */
static void test_changed_with_leaf(void **state)
{
	struct fixture *f = *state;
	sqlite3_stmt *stmt;
	uint8_t leaf[HASH_LEN];
	sqlite3 *db;

	sql(f, "UPDATE events SET json=replace(json,'select 17','delete 17') WHERE seq=17");
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	(void)sqlite3_prepare_v2(db, "SELECT json FROM events WHERE seq=17", -1, &stmt, NULL);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	tree_leaf_hash(span_of(sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0)),
		       leaf);
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_prepare_v2(db, "UPDATE events SET leaf=?1 WHERE seq=17", -1, &stmt, NULL);
	(void)sqlite3_bind_blob(stmt, 1, leaf, HASH_LEN, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	expect(f, 18, "it does not link to event 17");
	assert_non_null(strstr(all_faults, "events 1 to 20 are not those that the checkpoint"));
}

static void test_leaf_changed(void **state)
{
	sql(*state, "UPDATE events SET leaf=zeroblob(32) WHERE seq=5");
	expect(*state, 5, "its bytes do not match its leaf hash");
}

static void test_leaf_cut(void **state)
{
	sql(*state, "UPDATE events SET leaf=x'00' WHERE seq=5");
	expect(*state, 5, "its bytes do not match its leaf hash");
}

static void test_removed(void **state)
{
	sql(*state, "DELETE FROM events WHERE seq=17");
	expect(*state, 17, "event 17 is missing: removed");
}

static void test_removed_run(void **state)
{
	sql(*state, "DELETE FROM events WHERE seq BETWEEN 3 AND 9");
	expect(*state, 3, "events 3 to 9 are missing: removed");
}

static void test_first_removed(void **state)
{
	sql(*state, "DELETE FROM events WHERE seq=1");
	expect(*state, 1, "event 1 is missing: removed");
}

static void test_removed_and_renumbered(void **state)
{
	sql(*state, "DELETE FROM events WHERE seq=17;"
		    "UPDATE events SET seq=-seq WHERE seq>17; UPDATE events SET seq=-seq-1 WHERE "
		    "seq<0");
	expect(*state, 17, "it does not link to event 16");
	assert_non_null(strstr(all_faults, "its bytes say it is event 18: moved"));
}

static void test_reordered(void **state)
{
	sql(*state, "UPDATE events SET seq=1000 WHERE seq=7; UPDATE events SET seq=7 WHERE seq=8;"
		    "UPDATE events SET seq=8 WHERE seq=1000");
	expect(*state, 7, "it does not link to event 6");
	assert_non_null(strstr(all_faults, "its bytes say it is event 8: moved"));
}

static void test_added(void **state)
{
	sql(*state, "INSERT INTO events SELECT 41,time,kind,session,leaf,json FROM events WHERE "
		    "seq=40; UPDATE meta SET value=41 WHERE key='size'");
	expect(*state, 41, "it does not link to event 40");
}

static void test_added_below(void **state)
{
	sql(*state, "INSERT INTO events SELECT -1,time,kind,session,leaf,json FROM events WHERE "
		    "seq=40");
	expect(*state, 0, "below 1: added");
}

static void test_cut_off(void **state)
{
	sql(*state, "DELETE FROM events WHERE seq>30; UPDATE meta SET value=30 WHERE key='size'");
	expect(*state, 31, "a signed checkpoint says 35 events, but the store ends at event 30");
}

static void test_cut_off_after_the_checkpoint(void **state)
{
	sql(*state, "DELETE FROM events WHERE seq>37");
	expect(*state, 38, "the store noted 40 events");
}

/* Nothing in the file shows it; a checkpoint that was kept elsewhere does. */
static void test_cut_off_thoroughly(void **state)
{
	struct fixture *f = *state;

	sql(f, "DELETE FROM events WHERE seq>25; UPDATE meta SET value=25 WHERE key='size';"
	       "DELETE FROM checkpoints WHERE size>25");
	assert_int_equal(verify(f, (struct span){0}, NULL), 0);
	assert_int_equal(verify(f, buf_span(&f->notes[1]), NULL), 1);
	assert_non_null(strstr(first_fault, "the kept checkpoint says 35 events"));
}

/* Everything made anew, with the right key even: only the kept checkpoint tells. */
static void test_rewritten(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf kept = BUF_INIT(NOTE_MAX);

	buf_put_span(&kept, buf_span(&f->notes[0]));
	assert_int_equal(unlink(f->path), 0);
	fill(f, f->path, "other");
	assert_int_equal(verify(f, (struct span){0}, NULL), 0);
	assert_int_equal(verify(f, buf_span(&kept), NULL), 1);
	assert_non_null(strstr(first_fault, "the store was rewritten"));
	assert_int_equal(first_seq, CHECKPOINT1);
}

/* Made anew by somebody without the key, who takes the checkpoints away: a store like that of a
 * node that has just begun, but that it is older, or was started again. */
static void test_rewritten_without_checkpoints(void **state)
{
	struct fixture *f = *state;
	struct verify_result result;

	sql(f, "DELETE FROM checkpoints");
	assert_int_equal(verify(f, (struct span){0}, &result), 0);
	assert_int_equal(result.signed_size, 0);
	assert_int_equal(unlink(f->path), 0);
	pause_at = 38;
	fill(f, f->path, "other");
	assert_int_equal(verify(f, (struct span){0}, NULL), 1);
	assert_int_equal(first_seq, CHECKPOINT2 + 1);
	assert_non_null(strstr(first_fault, "from 36 on ought to be signed for and are not"));
	sql(f, "DELETE FROM checkpoints");
	*first_fault = *all_faults = '\0';
	expect(f, 1, "events from 1 on ought to be signed for and are not");
	pause_at = 0;

	assert_int_equal(unlink(f->path), 0);
	start_at = 30;
	fill(f, f->path, "other");
	assert_int_equal(verify(f, (struct span){0}, NULL), 0);
	sql(f, "DELETE FROM checkpoints WHERE size>20");
	*first_fault = *all_faults = '\0';
	expect(f, 21, "events 21 to 29 ought to be signed for and are not: event 30 is a start");
	/* A tail that begins with a start is one of now. */
	assert_int_equal(unlink(f->path), 0);
	start_at = CHECKPOINT2 + 1;
	fill(f, f->path, "other");
	assert_int_equal(verify(f, (struct span){0}, NULL), 0);
	start_at = 0;
}

static void test_other_key(void **state)
{
	struct fixture *f = *state;

	note_key_done(&f->key);
	assert_int_equal(note_key_generate("sluice/n1", &f->key), 0);
	assert_int_equal(verify(f, buf_span(&f->notes[0]), NULL), 3);
	assert_non_null(
		strstr(all_faults, "checkpoint of 20 events: it is not signed by this key"));
}

static void test_checkpoint_changed(void **state)
{
	sql(*state, "UPDATE checkpoints SET note=replace(note,char(10)||'20'||char(10),char(10)||"
		    "'21'||char(10)) WHERE size=20");
	expect(*state, 0, "checkpoint of 20 events: its signature is wrong");
}

static void test_checkpoint_moved(void **state)
{
	sql(*state, "UPDATE checkpoints SET size=21 WHERE size=20");
	expect(*state, 0, "checkpoint of 21 events: what is signed says 20 events");
}

static void test_copies(void **state)
{
	struct fixture *f = *state;

	sql(f, "UPDATE events SET kind='cancel' WHERE seq=4");
	expect(f, 4, "the store's kind is not the event's");
	sql(f, "UPDATE events SET kind='op.result' WHERE seq=4;"
	       "UPDATE events SET time='2026-11-23T02:07:58.000000Z' WHERE seq=5");
	*first_fault = '\0';
	expect(f, 5, "the store's time is not the event's");
	sql(f, "UPDATE events SET time='2026-11-23T02:07:58.005000Z' WHERE seq=5;"
	       "UPDATE events SET session=NULL WHERE seq=6");
	*first_fault = '\0';
	expect(f, 6, "the store's session is not the event's");
	sql(f, "UPDATE events SET session='s1' WHERE seq=6");
	assert_int_equal(verify(f, (struct span){0}, NULL), 0);
}

/* An index made to hide a row from searches, a view instead of the table. */
static void test_schema(void **state)
{
	struct fixture *f = *state;

	sql(f, "DROP INDEX events_session;"
	       "CREATE INDEX events_session ON events(session) WHERE session<>'s1'");
	expect(f, 0, "schema: index events_session is not one that sluice made");
	sql(f, "DROP INDEX events_session");
	*first_fault = '\0';
	expect(f, 0, "schema: events_session is missing");
}

static void test_view_instead(void **state)
{
	sql(*state, "ALTER TABLE events RENAME TO hidden;"
		    "CREATE VIEW events AS SELECT * FROM hidden WHERE seq<>40");
	assert_true(verify(*state, (struct span){0}, NULL) > 0);
	assert_non_null(strstr(all_faults, "schema: view events is not one that sluice made"));
}

static void flip(struct fixture *f, off_t at)
{
	int fd = open(f->path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	assert_int_equal(close(fd), 0);
}

static void test_page_structure_damaged(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	unsigned told = 0;

	/* The first byte of each page but the first is its type. */
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(st.st_size > 3 * 8192);
	for (off_t page = 1; page < st.st_size / 8192; page++) {
		flip(f, page * 8192);
		*first_fault = *all_faults = '\0';
		if (verify(f, (struct span){0}, NULL) == 0)
			fail_msg("page %lld: no fault found", (long long)page + 1);
		told += strstr(all_faults, "the file is damaged") != NULL;
		flip(f, page * 8192);
	}
	assert_true(told > 3);
	*all_faults = '\0';
	assert_int_equal(verify(f, (struct span){0}, NULL), 0);
}

/* Each byte that belongs to an event's row, one at a time, is told. */
static void test_any_byte_of_events(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint8_t *file = NULL;
	struct stat st;
	unsigned n = 0;
	int fd;

	assert_int_equal(stat(f->path, &st), 0);
	file = malloc((size_t)st.st_size);
	assert_non_null(file);
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, file, (size_t)st.st_size), st.st_size);
	(void)close(fd);
	for (const uint8_t *p = file;
	     (p = memmem(p, (size_t)(file + st.st_size - p), "{\"body\"", 7)); p++) {
		off_t at = p - file + 7 + (off_t)(n * 5 % 150);

		flip(f, at);
		*first_fault = *all_faults = '\0';
		if (verify(f, (struct span){0}, NULL) == 0)
			fail_msg("byte %lld: no fault found", (long long)at);
		if (!strstr(first_fault, "event "))
			fail_msg("byte %lld: %s", (long long)at, first_fault);
		flip(f, at);
		n++;
	}
	assert_true(n >= EVENTS);
}

static void test_not_a_store(void **state)
{
	struct fixture *f = *state;

	flip(f, 3);
	assert_int_equal(verify(f, (struct span){0}, NULL), 1);
	assert_non_null(strstr(first_fault, "file is not a database"));
	assert_int_equal(truncate(f->path, 0), 0);
	assert_int_equal(verify(f, (struct span){0}, NULL), 1);
}

static void test_file_cut(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(truncate(f->path, st.st_size - 8192), 0);
	assert_true(verify(f, (struct span){0}, NULL) > 0);
	assert_non_null(strstr(all_faults, "the file is damaged"));
}

static void test_no_file(void **state)
{
	struct fixture *f = *state;
	const struct verify_options o = {.key = &f->key};
	struct verify_result result;
	char error[STORE_ERROR_MAX];

	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(verify_store(f->path, &o, error, &result), -ENOENT);
}

static int tail(struct fixture *f, char *error, uint64_t *ret_size)
{
	_cleanup_(store_closep) struct store *s = NULL;
	struct tree t;
	uint8_t leaf[HASH_LEN];
	int r;

	assert_int_equal(store_open(f->path, error, &s), 0);
	r = verify_tail(s, &f->key, error, &t, leaf);
	if (r == 0)
		*ret_size = t.size;
	return r;
}

static void test_tail(void **state)
{
	static const char *const tampered[] = {
		"UPDATE events SET json=replace(json,'select 38','delete 38') WHERE seq=38",
		"DELETE FROM events WHERE seq=37",
		"DELETE FROM events WHERE seq=40",
		"DELETE FROM events WHERE seq>30",
		"DELETE FROM events",
		"UPDATE events SET json=replace(json,'select 35','delete 35') WHERE seq=35",
		"UPDATE checkpoints SET frontier=zeroblob(96) WHERE size=35",
		"UPDATE checkpoints SET note='x' WHERE size=35",
		"UPDATE meta SET value=50 WHERE key='size'",
	};
	struct fixture *f = *state;
	char error[STORE_ERROR_MAX];
	uint64_t size = 0;

	assert_int_equal(tail(f, error, &size), 0);
	assert_int_equal(size, EVENTS);
	for (size_t i = 0; i < ARRAY_SIZE(tampered); i++) {
		assert_int_equal(unlink(f->path), 0);
		buf_reset(&f->notes[0]);
		fill(f, f->path, "select");
		sql(f, tampered[i]);
		if (tail(f, error, &size) != -EUCLEAN)
			fail_msg("not noticed: %s", tampered[i]);
		assert_true(*error);
	}
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_whole),
		T(test_changed),
		T(test_changed_with_leaf),
		T(test_leaf_changed),
		T(test_leaf_cut),
		T(test_removed),
		T(test_removed_run),
		T(test_first_removed),
		T(test_removed_and_renumbered),
		T(test_reordered),
		T(test_added),
		T(test_added_below),
		T(test_cut_off),
		T(test_cut_off_after_the_checkpoint),
		T(test_cut_off_thoroughly),
		T(test_rewritten),
		T(test_rewritten_without_checkpoints),
		T(test_other_key),
		T(test_checkpoint_changed),
		T(test_checkpoint_moved),
		T(test_copies),
		T(test_schema),
		T(test_view_instead),
		T(test_page_structure_damaged),
		T(test_any_byte_of_events),
		T(test_not_a_store),
		T(test_file_cut),
		T(test_no_file),
		T(test_tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
