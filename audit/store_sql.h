/* store_sql.h - the store's tables and every statement on them.
 * Used by: audit/store.c only.
 * Promises: texts are constants; values are always bound. */
#ifndef SLUICE_AUDIT_STORE_SQL_H
#define SLUICE_AUDIT_STORE_SQL_H

#define STORE_VERSION 1

enum sql_statement_id {
	SQL_COUNT_TABLES,
	SQL_GET_VERSION,
	SQL_GET_SIZE,
	SQL_NOTE_SIZE,
	SQL_LAST_SEQ,
	SQL_PUT_EVENT,
	SQL_PUT_CHECKPOINT,
	SQL_CHECKPOINTS,
	SQL_LAST_CHECKPOINT,
	SQL_NEW_APPROVAL,
	SQL_PUT_APPROVAL,
	SQL_APPROVALS,
	SQL_FIND_APPROVAL,
	SQL_STATEMENTS,
};

extern const char *const sql_texts[SQL_STATEMENTS];
extern const char sql_create[];
extern const char sql_events[]; /* to be followed by conditions on ?3 … ?6 and an order */
/* A line for each object of the schema that is not as sql_create made it, or is missing. */
extern const char sql_foreign_schema[];

#endif
