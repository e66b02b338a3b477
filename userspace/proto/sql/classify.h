/* classify.h - what a text of SQL does, by PostgreSQL's own grammar (libpg-query 15).
 * Used by: session/ (hands it to codecs), tools. Knows nothing of policy or of a catalog.
 * Promises: never fails: what it cannot parse or does not know is SQL_UNKNOWN. A class is
 * immutable and reference-counted; not thread-safe. */
#ifndef SLUICE_PROTO_SQL_CLASSIFY_H
#define SLUICE_PROTO_SQL_CLASSIFY_H

#include "model/sql.h"

/* Longer texts are SQL_UNKNOWN without being parsed: one of this length takes the parser up to a
 * third of a second, in which its worker does nothing else. */
#define SQL_TEXT_MAX (512u * 1024u)

/* Cache of classes by text. entries: how many are kept; bytes: ceiling of the memory they take. */
struct sql_cache;
int sql_cache_new(size_t entries, size_t bytes, struct sql_cache **ret_cache);
void sql_cache_free(struct sql_cache *cache); /* every class must have been released */
DEFINE_CLEANUP(struct sql_cache *, sql_cache_free, sql_cache_freep)

/* Never NULL (under memory shortage: a static class that is SQL_UNKNOWN). Release each once. */
const struct sql_class *sql_classify(struct sql_cache *cache, struct span text);
void sql_class_release(struct sql_cache *cache, const struct sql_class *class);

/* A class for the protocol's FunctionCall message. Static; release does nothing. */
extern const struct sql_class sql_class_function_call;

#endif
