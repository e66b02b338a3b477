/* mask.h - a value in, a masked value out.
 * Used by: session/, tools. Pure.
 * Promises: the output holds nothing of the input but what the kind says it keeps. */
#ifndef SLUICE_MASK_MASK_H
#define SLUICE_MASK_MASK_H

#include "base/buf.h"
#include "model/verdict.h"

/* "last4", "redact"; MASK_NONE for a name that is none. */
enum mask_kind mask_kind_by_name(const char *name);
const char *mask_kind_name(enum mask_kind kind);

/* Mask a value in PostgreSQL text format. type_oid: pg_type OID of the column. Types whose values
 * may be any text (text, varchar, bpchar, name, unknown, citext-like) get the masked text; others
 * become NULL, since no masked text is valid for them.
 * 1: appended to out; 0: NULL; -ENOBUFS, -ENOMEM.
 * redact: "[redacted]". last4: every character but the last four becomes '*'; letters and digits
 * alone count as characters to keep, separators stay; a value of fewer than eight characters is
 * masked wholly. */
_must_check_ int mask_text(enum mask_kind kind, uint32_t type_oid, struct span value,
			   struct buf *out);

#endif
