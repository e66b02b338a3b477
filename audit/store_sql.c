#include "audit/store_sql.h"

/* time, kind and session are copies of what json says, for searching; the verifier compares them.
 * Times are text of one length, so they sort as they follow each other. */
#define EVENTS                                                                                  \
	"CREATE TABLE events(seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, " \
	"session TEXT, leaf BLOB NOT NULL, json BLOB NOT NULL)"
#define CHECKPOINTS                                                               \
	"CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL, " \
	"frontier BLOB NOT NULL)"
#define APPROVALS                                                                                 \
	"CREATE TABLE approvals(id TEXT PRIMARY KEY, state TEXT NOT NULL, digest BLOB NOT NULL, " \
	"asked INTEGER NOT NULL, expires INTEGER NOT NULL, groups BLOB NOT NULL, "                \
	"body BLOB NOT NULL, decided_by TEXT NOT NULL, reason TEXT NOT NULL)"
#define META		"CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL)"
#define EVENTS_KIND	"CREATE INDEX events_kind ON events(kind)"
#define EVENTS_SESSION	"CREATE INDEX events_session ON events(session) WHERE session IS NOT NULL"
#define EVENTS_TIME	"CREATE INDEX events_time ON events(time)"
#define APPROVALS_ASKED "CREATE INDEX approvals_asked ON approvals(asked)"

const char sql_create[] = "BEGIN;" EVENTS ";" CHECKPOINTS ";" APPROVALS ";" META ";" EVENTS_KIND
			  ";" EVENTS_SESSION ";" EVENTS_TIME ";" APPROVALS_ASKED ";"
			  "INSERT INTO meta VALUES('version',1),('size',0);"
			  "COMMIT";

const char sql_foreign_schema[] =
	"WITH ours(name, sql) AS (VALUES"
	"('events','" EVENTS "'),('checkpoints','" CHECKPOINTS "'),('approvals','" APPROVALS "'),"
	"('meta','" META "'),('events_kind','" EVENTS_KIND "'),('events_session','" EVENTS_SESSION
	"'),('events_time','" EVENTS_TIME "'),('approvals_asked','" APPROVALS_ASKED "'))"
	"SELECT 'schema: ' || type || ' ' || name || ' is not one that sluice made' "
	"FROM sqlite_master WHERE name NOT GLOB 'sqlite_autoindex_*' "
	"AND (name, sql) NOT IN (SELECT name, sql FROM ours) "
	"UNION ALL SELECT 'schema: ' || name || ' is missing' "
	"FROM ours WHERE name NOT IN (SELECT name FROM sqlite_master)";

const char sql_events[] = "SELECT seq, time, kind, session, leaf, json FROM events "
			  "WHERE seq>=?1 AND seq<=?2";

#define APPROVAL_COLUMNS                                                                   \
	"SELECT id, state, digest, asked, expires, groups, body, decided_by, reason FROM " \
	"approvals "

const char *const sql_texts[SQL_STATEMENTS] = {
	[SQL_COUNT_TABLES] = "SELECT count(*) FROM sqlite_master",
	[SQL_GET_VERSION] = "SELECT value FROM meta WHERE key='version'",
	[SQL_GET_SIZE] = "SELECT value FROM meta WHERE key='size'",
	[SQL_NOTE_SIZE] = "UPDATE meta SET value=?1 WHERE key='size'",
	[SQL_LAST_SEQ] = "SELECT max(seq) FROM events",
	[SQL_PUT_EVENT] = "INSERT INTO events VALUES(?1,?2,?3,?4,?5,?6)",
	[SQL_PUT_CHECKPOINT] = "INSERT OR IGNORE INTO checkpoints VALUES(?1,?2,?3)",
	[SQL_CHECKPOINTS] =
		"SELECT size, note, frontier FROM checkpoints WHERE size>=?1 ORDER BY size",
	[SQL_LAST_CHECKPOINT] =
		"SELECT size, note, frontier FROM checkpoints ORDER BY size DESC LIMIT 1",
	[SQL_NEW_APPROVAL] = "INSERT INTO approvals VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
	[SQL_PUT_APPROVAL] =
		"UPDATE approvals SET state=?2, expires=?5, decided_by=?8, reason=?9 WHERE id=?1",
	[SQL_APPROVALS] = APPROVAL_COLUMNS "ORDER BY asked DESC",
	[SQL_FIND_APPROVAL] = APPROVAL_COLUMNS "WHERE id=?1",
};
