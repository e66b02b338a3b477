/* shape.h - a text of SQL without the numbers that it compares with.
 * Used by: proto/sql/cache.c: one class for `… WHERE id = 17` and `… WHERE id = 42`.
 * Promises: texts of one shape are the same to PostgreSQL's grammar, byte position by byte
 * position, but for the values of integer constants that are the right side of a comparison or
 * assignment. */
#ifndef SLUICE_PROTO_SQL_SHAPE_H
#define SLUICE_PROTO_SQL_SHAPE_H

#include "model/sql.h"

/* Write the shape to ret, which has room for text.len bytes; true when it is not the text itself.
 * It is known only of texts of printable ASCII without quotes, dollars, backslashes and comments:
 * elsewhere a digit may be anything. Each digit gives one byte, so that all positions stay. */
bool sql_shape(struct span text, uint8_t *ret);
/* May a class be another text's of the same shape? No parser's message (it quotes the text), and no
 * statement in it that gives numbers a meaning of their own. */
bool sql_shape_decides(const struct sql_class *class);

#endif
