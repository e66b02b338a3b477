/* pack.h - a class and all it points to in one block.
 * Used by: proto/sql only.
 * Promises: the copy shares nothing with the original. */
#ifndef SLUICE_PROTO_SQL_PACK_H
#define SLUICE_PROTO_SQL_PACK_H

#include "model/sql.h"

/* Bytes that the lists and strings of a class take. */
size_t pack_size(const struct sql_class *class);
/* A copy of class whose lists and strings are in block, which holds pack_size() bytes and is
 * aligned for any object. */
struct sql_class pack_copy(const struct sql_class *class, void *block);

#endif
