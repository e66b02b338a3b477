/* json_check.h - are these bytes canonical JSON, as base/jsonw.h writes it?
 * Used by: audit/ and roles/ on bodies of events, before they are hashed and kept.
 * Promises: reads each byte once, allocates nothing, and accepts exactly one writing of a document:
 * keys ascending and unique, no spaces, integers (of an int64_t) and strings only, one escape for
 * one character. */
#ifndef SLUICE_AUDIT_JSON_CHECK_H
#define SLUICE_AUDIT_JSON_CHECK_H

#include "base/span.h"

#define JSON_CHECK_DEPTH_MAX 16u

/* 0 when text is one canonical object, nested at most depth deep (1: no object or array inside it;
 * at most JSON_CHECK_DEPTH_MAX); else -EBADMSG. *ret_at, which may be NULL, is then the offset of
 * the first byte that cannot stand there. */
_must_check_ int json_check(struct span text, unsigned depth, size_t *ret_at);

/* Length of the canonical value (object, array, string or integer) that text begins with;
 * -EBADMSG when it begins with none. */
_must_check_ int json_check_prefix(struct span text, unsigned depth, size_t *ret_len);
/* The same; in the same pass *ret_value becomes the value of a member of the outermost object, or
 * empty when there is none. */
_must_check_ int json_check_find(struct span text, unsigned depth, const char *key, size_t *ret_len,
				 struct span *ret_value);

/* The value of a member of the object, as it stands there (a string with its quotes).
 * text must have passed json_check. -ENOENT: no such member. */
_must_check_ int json_member(struct span text, const char *key, struct span *ret_value);

/* The bytes between the quotes of a string value that needs no escape; else -EINVAL. */
_must_check_ int json_plain_string(struct span value, struct span *ret_text);

#endif
