/* ctl.h - asks the running sluiced through its control socket.
 * Used by: tools/.
 * Promises: one request, one answer, bounded; says on stderr why there is none. */
#ifndef SLUICE_TOOLS_CTL_H
#define SLUICE_TOOLS_CTL_H

#include <jansson.h>

#include "base/buf.h"

#define CTL_ANSWER_MAX (256u * 1024u)

/* Sends the request (whose reference is taken) and gives the answer's bytes, canonical JSON, and
 * its tree. An answer that says no is printed on stderr. CMD_YES, CMD_NO (the answer says so, or
 * may not be asked), CMD_UNKNOWN (nobody answers). */
_must_check_ int ctl_ask(json_t *request, struct buf *ret_answer, json_t **ret_root);

/* Member of an object as text, "" when it is not there; and as a number, 0. */
const char *ctl_text(const json_t *object, const char *key);
json_int_t ctl_number(const json_t *object, const char *key);

/* Print text of strangers with every character that could deceive made visible; at most width
 * bytes wide, 0: all of it. */
void ctl_print(FILE *to, const char *text, size_t width);

/* "3 s", "5 min", "2 h", "4 d" between two times in ns. */
const char *ctl_age(uint64_t from_ns, uint64_t to_ns, char out[static 24]);

#endif
