/* audit_print.h - events as people read them: who did what, and how it was decided.
 * Used by: tools/cmd_audit.c.
 * Promises: whatever an event's strings hold, what is printed deceives no terminal and no reader.
 */
#ifndef SLUICE_TOOLS_AUDIT_PRINT_H
#define SLUICE_TOOLS_AUDIT_PRINT_H

#include "audit/search.h"

void audit_print_head(void);
/* A few lines. root as search_run hands it on. whole: texts are not cut. */
void audit_print_event(const struct store_event *e, json_t *root, bool whole);
/* The event's JSON, laid out. */
void audit_print_json(json_t *root);

#endif
