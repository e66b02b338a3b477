/* pg_wire.h - PostgreSQL's frontend/backend protocol 3.0 in numbers (documentation, chapter 55).
 * Used by: proto/postgres/.
 * Promises: every length that a peer may announce has its maximum here. */
#ifndef SLUICE_PROTO_POSTGRES_PG_WIRE_H
#define SLUICE_PROTO_POSTGRES_PG_WIRE_H

#include "base/buf.h"
#include "base/cursor.h"

/* Startup packets have no type byte: length (itself included), code, body. */
#define PG_STARTUP_MAX	  10000u /* MAX_STARTUP_PACKET_LENGTH, libpq/pqcomm.h */
#define PG_PROTOCOL_3_0	  196608u
#define PG_CODE_CANCEL	  80877102u
#define PG_CODE_SSL	  80877103u
#define PG_CODE_GSSENC	  80877104u
#define PG_CANCEL_LENGTH  16u
#define PG_REQUEST_LENGTH 8u

/* A message: type, length (itself included), body. */
#define PG_HEADER 5u
/* What is looked at before a message is passed on: of DataRow and RowDescription the count too. */
#define PG_HEADER_COUNT 7u
#define PG_SMALL_MAX	10000u	    /* PQ_SMALL_MESSAGE_LIMIT, libpq/libpq.h */
#define PG_LARGE_MAX	0x3ffffffeu /* PQ_LARGE_MESSAGE_LIMIT: MaxAllocSize - 1 */

#define PG_NAME_MAX 63u /* NAMEDATALEN - 1: the server compares names of statements up to here */

/* Held whole until decided; of a longer one the first PG_HEAD_MAX bytes, the rest is streamed. */
#define PG_TEXT_HOLD_MAX  (1024u * 1024u + 64u * 1024u) /* SQL_TEXT_MAX, name and types */
#define PG_PARAM_HOLD_MAX (256u * 1024u)
#define PG_HEAD_MAX	  (64u * 1024u)

/* From the server, held whole. */
#define PG_ROW_HOLD_MAX	    (64u * 1024u) /* a row with masked columns */
#define PG_ERROR_HOLD_MAX   (64u * 1024u)
#define PG_COLUMNS_HOLD_MAX (256u * 1024u) /* 1664 columns of 63 + 19 bytes */
#define PG_STATUS_HOLD_MAX  (64u * 1024u)
#define PG_TAG_MAX	    1024u
#define PG_TYPES_MAX	    1024u /* ParameterDescription */

/* Errors that a codec gives of its own. */
#define PG_PROTOCOL_VIOLATION	 "08P01"
#define PG_FEATURE_NOT_SUPPORTED "0A000"

#endif
