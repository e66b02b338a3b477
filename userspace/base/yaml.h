/* yaml.h - strict YAML in: a small tree over libyaml in which every node knows its place.
 * Used by: config/, policy/, tools. Where a fault in a document must be named, not guessed at.
 * Promises: aliases, anchors, tags, directives, duplicate keys, several documents and what is over
 * a limit are faults; every fault goes to the diags with file, line and column, and what can be
 * read beside a fault is, so that all are said at once. */
#ifndef SLUICE_BASE_YAML_H
#define SLUICE_BASE_YAML_H

#include "base/diag.h"

#define YAML_INPUT_MAX	 (1024u * 1024u)
#define YAML_DEPTH_MAX	 16u
#define YAML_NODES_MAX	 65536u
#define YAML_MEMBERS_MAX 256u  /* keys of one mapping */
#define YAML_TEXT_MAX	 4096u /* bytes of one scalar */

enum yaml_kind {
	YAML_SCALAR = 1,
	YAML_SEQUENCE,
	YAML_MAPPING,
	YAML_UNKNOWN, /* a fault was said of it; readers refuse it without another */
};

struct yaml_node {
	enum yaml_kind kind;
	unsigned line; /* from 1 */
	unsigned column;
	const char *text; /* scalar: NUL-terminated, no NUL inside */
	bool plain;	  /* scalar: written without quotes */
	size_t n;	  /* children */
	struct yaml_node *first;
	struct yaml_node *key;	/* of a mapping's member; NULL otherwise */
	struct yaml_node *next; /* of the same parent */
};

struct yaml_doc {
	struct arena arena; /* nodes and their text */
	const char *file;
	struct diags *diags;
	size_t faults; /* added through this document */
	size_t nodes;
	struct yaml_node *root;
};

/* Parse one document that fills the span. file is borrowed as long as the document is.
 * 0: there is a tree; where it has faults of structure (doc.faults counts them with those that
 * reading adds) it is for finding more of them, never for use. Of a key that is here twice, the
 * first counts. -EINVAL: faults were added and there is no tree; -ENOMEM. Untouched on failure. */
_must_check_ int yaml_load(struct span text, const char *file, struct diags *diags,
			   struct yaml_doc *ret_doc);
void yaml_done(struct yaml_doc *doc);

/* Add a fault at a node (NULL: the document as a whole); nothing at one of which a fault was said.
 */
void yaml_fault(struct yaml_doc *doc, const struct yaml_node *at, const char *fmt, ...)
	_printf_(3, 4);

struct yaml_key {
	const char *name;
	bool required;
};

/* Members of a mapping by the table's order into ret_members[n], NULL where absent. Unknown keys
 * (with a suggestion) and missing required ones are faults. -EINVAL when the node is no mapping or
 * NULL: every member is NULL then. */
int yaml_members(struct yaml_doc *doc, const struct yaml_node *node, const struct yaml_key *keys,
		 size_t n, struct yaml_node **ret_members);

/* For the readers: NULL for the node is -ENOENT without a fault (an optional key that is absent);
 * -EINVAL means a fault was added; the output is untouched in both cases. */

/* Text of 1..max bytes without control characters; an unquoted ~ or null or nothing is a fault. */
int yaml_str(struct yaml_doc *doc, const struct yaml_node *node, size_t max, const char **ret);
/* true or false, nothing else. */
int yaml_bool(struct yaml_doc *doc, const struct yaml_node *node, bool *ret);
/* Decimal digits. */
int yaml_uint(struct yaml_doc *doc, const struct yaml_node *node, uint64_t min, uint64_t max,
	      uint64_t *ret);
/* A number with ms, s, m, h or d: 500ms, 30s, 5m, 1h. In milliseconds. */
int yaml_duration(struct yaml_doc *doc, const struct yaml_node *node, uint64_t min_ms,
		  uint64_t max_ms, uint64_t *ret_ms);
/* The index of the scalar's text in names (n of them). */
int yaml_choice(struct yaml_doc *doc, const struct yaml_node *node, const char *const *names,
		size_t n, size_t *ret_index);

/* Where one value may stand for a list of one: walk either. A mapping is a list of one too.
 *     for (item = yaml_item(node); item; item = yaml_next(node, item)) */
const struct yaml_node *yaml_item(const struct yaml_node *list);
const struct yaml_node *yaml_next(const struct yaml_node *list, const struct yaml_node *item);
/* A list of text, or one text, into ret[max]. At least one. -EINVAL, -ENOENT as above. */
int yaml_strs(struct yaml_doc *doc, const struct yaml_node *node, size_t text_max, size_t max,
	      const char **ret, size_t *ret_n);

/* The candidate nearest to a mistyped word, or NULL when none is near. */
const char *yaml_suggest(const char *word, const char *const *candidates, size_t n);

#endif
