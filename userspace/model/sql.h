/* sql.h - vocabulary of a classified SQL operation.
 * Used by: proto/sql (makes it), policy (matches it), session (masks by it), audit (records it).
 * Promises: no logic but names; strings belong to the arena of the operation. */
#ifndef SLUICE_MODEL_SQL_H
#define SLUICE_MODEL_SQL_H

#include "base/span.h"

/* Verbs, one bit each. A statement has every verb that any part of it has. */
enum sql_verb {
	SQL_SELECT = 1u << 0,
	SQL_INSERT = 1u << 1,
	SQL_UPDATE = 1u << 2,
	SQL_DELETE = 1u << 3,
	SQL_MERGE = 1u << 4, /* with the bits of its actions */
	SQL_TRUNCATE = 1u << 5,
	SQL_COPY_IN = 1u << 6,	 /* COPY … FROM STDIN; also has SQL_INSERT */
	SQL_COPY_OUT = 1u << 7,	 /* COPY … TO STDOUT; also has SQL_SELECT */
	SQL_COPY_FILE = 1u << 8, /* COPY from or to a file or program of the server */
	SQL_CREATE = 1u << 9,
	SQL_ALTER = 1u << 10,
	SQL_DROP = 1u << 11,
	SQL_GRANT = 1u << 12, /* and REVOKE, and roles */
	SQL_CALL = 1u << 13,  /* CALL, or a function not known to be harmless (sql_functions) */
	SQL_EXECUTE = 1u << 14,
	SQL_PREPARE = 1u << 15, /* with the bits of the statement prepared */
	SQL_DEALLOCATE = 1u << 16,
	SQL_DECLARE = 1u << 17, /* cursor, with the bits of its query */
	SQL_FETCH = 1u << 18,	/* and MOVE, CLOSE */
	SQL_TRANSACTION = 1u << 19,
	SQL_SET = 1u << 20, /* SET, RESET, set_config() */
	SQL_SHOW = 1u << 21,
	SQL_LISTEN = 1u << 22, /* and UNLISTEN */
	SQL_NOTIFY = 1u << 23,
	SQL_LOCK = 1u << 24,	/* LOCK TABLE, SELECT … FOR UPDATE/SHARE */
	SQL_EXPLAIN = 1u << 25, /* with the bits of the statement explained only under ANALYZE */
	SQL_MAINTAIN =
		1u << 26, /* VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH, CHECKPOINT, COMMENT … */
	SQL_FUNCTION_CALL = 1u << 27, /* the protocol's FunctionCall message; also has SQL_CALL */
	SQL_EMPTY = 1u << 28,	      /* nothing but white space, comments and semicolons */
	SQL_UNKNOWN = 1u << 31, /* could not be classified: DO, a parse error, a node not known */
};

struct sql_verb_name {
	uint32_t verb;
	const char *name; /* as policies and events spell it */
};
/* Ends with a NULL name. */
extern const struct sql_verb_name sql_verb_names[];

enum sql_access {
	SQL_READ = 1,
	SQL_WRITE = 2,
};

/* Names are as the server compares them: unquoted ones already folded to lower case. */
struct sql_table {
	const char *catalog; /* database written in the name, or NULL */
	const char *schema;  /* as written, or resolved by the session; NULL: unqualified */
	const char *name;
	uint32_t access; /* SQL_READ | SQL_WRITE */
};

struct sql_function {
	const char *schema; /* NULL: unqualified */
	const char *name;
	bool harmless; /* built in and known to read nothing but its arguments */
	bool acts;     /* harmless, but does something (nextval): needs the verb call */
};

/* A place where a column is read. Lists every ColumnRef of the statement and each `*`. */
enum sql_column_use {
	/* The whole of an item of the outermost SELECT list or RETURNING list: what comes out is
	 * the column itself, and RowDescription tells which. */
	SQL_USE_OUTPUT = 1,
	/* Anything else: inside an expression, a nested query, WHERE, ORDER BY, COPY, a source of
	 * INSERT … SELECT or CREATE TABLE AS. What becomes of it is not followed. */
	SQL_USE_INNER = 2,
};

struct sql_column {
	const char *schema;    /* of `schema.table.column`, or NULL */
	const char *qualifier; /* table or alias before the dot, or NULL */
	const char *name;      /* NULL: a star, or a whole row (see star) */
	bool star;	       /* `*`, `t.*`, COPY t TO without a column list, TABLE t */
	enum sql_column_use use;
};

/* A name that something in a FROM list, or the target of a change, goes by in the statement.
 * Scopes are not kept apart: a qualifier may mean any range of that name. */
struct sql_range {
	const char *alias;
	const char *schema; /* of the table, as in sql_table */
	const char *table;  /* NULL: not a table (subquery, CTE, function) */
	bool join;	    /* alias of a join: may mean any table of the statement */
};

/* One statement of an operation. */
struct sql_statement {
	uint32_t verbs;
	const char *kind; /* node name of the outermost part, e.g. "SelectStmt"; "" when unknown */
	size_t offset;	  /* bytes of the text it takes */
	size_t len;
	bool where; /* every UPDATE and DELETE in it has a WHERE; false when unknown */
	size_t n_tables;
	struct sql_table *tables;
	size_t n_functions;
	struct sql_function *functions;
	size_t n_columns;
	struct sql_column *columns;
	size_t n_ranges;
	struct sql_range *ranges;
	/* Name of the SQL-level prepared statement or cursor made, used or dropped; NULL: none. */
	const char *name;
	/* PREPARE or DECLARE: the verbs, tables, functions and columns of this statement are those
	 * of what was prepared. EXECUTE or FETCH: the session joins them from its own memory. */
	/* SET, RESET or set_config(): the setting's name in lower case; "" when it cannot be told,
	 * "all" for RESET ALL and DISCARD ALL. */
	const char *setting;
	/* Its new value when that is one constant, else NULL. */
	const char *setting_value;
	/* SET [SESSION] search_path TO 'a','b' with constants only, no "$user", not LOCAL: how the
	 * session may still know the path (until a rollback takes it back). */
	bool has_search_path;
	size_t n_search_path;
	const char **search_path;
};

/* The result of classifying one text. Immutable once made; shared through the cache. */
struct sql_class {
	uint32_t verbs; /* of all statements */
	size_t n_statements;
	struct sql_statement *statements;
	const char *error; /* the parser's message when verbs has SQL_UNKNOWN for that reason, or
			      NULL */
};

#endif
