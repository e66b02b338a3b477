/* mask.h - a value in, a masked value out.
 * Used by: session/, tools. Pure.
 * Promises: the output holds nothing of the input but what the kind says it keeps. Masking what is
 * masked changes nothing. */
#ifndef SLUICE_MASK_MASK_H
#define SLUICE_MASK_MASK_H

#include "base/buf.h"
#include "model/verdict.h"

/* "last4", "redact"; MASK_NONE for a name that is none. */
enum mask_kind mask_kind_by_name(const char *name);
const char *mask_kind_name(enum mask_kind kind);

#define MASK_REDACTED "[redacted]"

/* Mask a value in PostgreSQL text format. type_oid: pg_type OID of the column. Types whose values
 * may be any text (text, varchar, bpchar, name, unknown, "char") get the masked text; all others,
 * citext among them (its OID differs from database to database), become NULL, since no masked text
 * is valid for them.
 * 1: appended to out; 0: NULL; -ENOBUFS, -ENOMEM: nothing was appended.
 * redact: "[redacted]"; "*" for "char", which holds one byte.
 * last4: the last four letters or digits stay, and so do separators (blank - . / _ : , ( ) +);
 * every other character becomes '*'. A value with fewer than eight characters that are not
 * separators is masked wholly: '*' for every character. Characters are those of UTF-8, and all
 * beyond ASCII count as letters, save controls; a value that is not UTF-8 is redacted.
 * MASK_NONE, or no kind at all: NULL, so that a mistake passes no value. */
_must_check_ int mask_text(enum mask_kind kind, uint32_t type_oid, struct span value,
			   struct buf *out);

#endif
