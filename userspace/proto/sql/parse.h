/* parse.h - one text to its class, without the cache.
 * Used by: proto/sql only.
 * Promises: total; the class points into the arena and the parser's own text until parsed_done. */
#ifndef SLUICE_PROTO_SQL_PARSE_H
#define SLUICE_PROTO_SQL_PARSE_H

#include <pg_query.h>

#include "base/arena.h"
#include "model/sql.h"

/* Memory for the tree of one text and what is gathered from it. */
#define PARSE_ARENA_MAX (96u * 1024u * 1024u)
/* Statements in one text; more are SQL_UNKNOWN. */
#define PARSE_STATEMENTS_MAX 4096
/* Tables and functions in all statements of one text, each once a statement; more are SQL_UNKNOWN.
 * Policy asks every rule about each of them. */
#define PARSE_NAMES_MAX 16384

/* Bytes of the parser's message kept; it may quote the whole text. */
#define PARSE_ERROR_MAX 200

struct parsed {
	struct sql_class class;
	struct sql_statement unknown; /* the one statement of a text that cannot be read */
	char error[PARSE_ERROR_MAX + 1];
	PgQueryParseResult result;
};

void parse_text(struct arena *arena, struct span text, struct parsed *ret_parsed);
void parsed_done(struct parsed *parsed);

#endif
