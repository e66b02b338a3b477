/* jsonw.h - writes canonical JSON: keys sorted, no spaces, integers and strings only.
 * Used by: whoever makes an event, a policy digest, or an answer of sluicectl --json.
 * Promises: output is valid UTF-8 JSON whatever the strings hold (bytes that are not UTF-8 become
 * U+FFFD). Within an object the caller writes keys in ascending byte order; a key out of order, or
 * written twice, sets the error to -EINVAL, so a document is canonical or refused. */
#ifndef SLUICE_BASE_JSONW_H
#define SLUICE_BASE_JSONW_H

#include "base/buf.h"

#define JSONW_DEPTH_MAX 16
#define JSONW_KEY_MAX	48 /* bytes, NUL included */

struct jsonw {
	struct buf *out;
	int error;
	unsigned depth;
	struct {
		char last[JSONW_KEY_MAX];
		bool any;
		bool array;
	} level[JSONW_DEPTH_MAX];
};

void jsonw_init(struct jsonw *w, struct buf *out);
/* 0, or the first error met: -EINVAL (key order, nesting), -ENOBUFS or -ENOMEM (the buffer's).
 * -EINVAL too while something is still open. */
_must_check_ int jsonw_end(struct jsonw *w);

/* key is NULL inside an array and at the top, and only there. */
void jsonw_object(struct jsonw *w, const char *key);
void jsonw_array(struct jsonw *w, const char *key);
void jsonw_close(struct jsonw *w); /* the innermost object or array */
void jsonw_str(struct jsonw *w, const char *key,
	       const char *value); /* NULL value: writes nothing */
void jsonw_span(struct jsonw *w, const char *key, struct span value);
void jsonw_int(struct jsonw *w, const char *key, int64_t value);
void jsonw_uint(struct jsonw *w, const char *key, uint64_t value);
void jsonw_hex(struct jsonw *w, const char *key, struct span bytes);
/* Bytes that are canonical JSON already (a value built elsewhere). */
void jsonw_raw(struct jsonw *w, const char *key, struct span json);

#endif
