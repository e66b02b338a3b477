/* pg_value.h - single values in PostgreSQL's binary format, as text that people read.
 * Used by: session/ (what is recorded and shown to approvers).
 * Promises: what is not exactly a value of its type gives no text, so that nothing is shown that
 * the server would not read the same way. */
#ifndef SLUICE_PROTO_POSTGRES_PG_VALUE_H
#define SLUICE_PROTO_POSTGRES_PG_VALUE_H

#include "base/span.h"

#define PG_VALUE_TEXT_MAX 512u /* bytes that pg_value_text writes, NUL included */

/* The name of a built-in type (catalog/pg_type.dat: their OIDs never change), or NULL. */
const char *pg_type_name(uint32_t oid);

/* A binary value as text: of character types the value's own bytes, otherwise written into buffer,
 * the way the server would with ISO dates and in UTC. cut: there was more, and only text can be
 * told by its beginning. -EOPNOTSUPP: no such type, or a type shown as bytes; -EBADMSG: not a value
 * of the type, or too long to write. */
_must_check_ int pg_value_text(uint32_t oid, struct span value, bool cut,
			       char buffer[static PG_VALUE_TEXT_MAX], struct span *ret_text);

#endif
