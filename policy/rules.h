/* rules.h - a policy in memory: rules as loaded and checked.
 * Used by: policy/ alone.
 * Promises: immutable once loaded; lists are sorted, so that layout does not show. */
#ifndef SLUICE_POLICY_RULES_H
#define SLUICE_POLICY_RULES_H

#include "policy/policy.h"

#define RULES_MAX     1024
#define PATTERNS_MAX  64
#define PATTERN_BYTES 256
#define UIDS_MAX      16

/* Every verb but `unknown`. */
#define SQL_KNOWN (~(uint32_t)SQL_UNKNOWN)

/* Verbs that change a table, or what is known of it: they pair with the tables written to. */
#define SQL_WRITES                                                                       \
	(SQL_INSERT | SQL_UPDATE | SQL_DELETE | SQL_MERGE | SQL_TRUNCATE | SQL_COPY_IN | \
	 SQL_CREATE | SQL_ALTER | SQL_DROP | SQL_GRANT | SQL_LOCK | SQL_MAINTAIN)
/* Verbs that pair with the tables read. */
#define SQL_READS (SQL_SELECT | SQL_COPY_OUT)
/* Verbs that are about tables at all. */
#define SQL_ON_TABLES (SQL_WRITES | SQL_READS | SQL_EXPLAIN)
/* Verbs that need no rule of their own: what they wrap is decided, or there is nothing in them. */
#define SQL_IMPLIED                                                                               \
	(SQL_TRANSACTION | SQL_EXECUTE | SQL_PREPARE | SQL_DEALLOCATE | SQL_DECLARE | SQL_FETCH | \
	 SQL_EMPTY)

enum rule_effect {
	RULE_ALLOW,
	RULE_APPROVE,
	RULE_DENY,
	RULE_EFFECTS,
};

/* Globs or names; n 0: not asked for. */
struct patterns {
	size_t n;
	const char **list;
};

/* schema.name, either part a glob */
struct name_pattern {
	const char *schema;
	const char *name;
};

struct name_patterns {
	size_t n;
	struct name_pattern *list;
};

struct rule {
	const char *name;
	enum rule_effect effect;
	/* who */
	struct patterns workloads;
	struct patterns groups; /* any of, exact */
	struct patterns subjects;
	struct patterns issuers;
	struct patterns exes;
	size_t n_uids;
	uint32_t uids[UIDS_MAX];
	/* on */
	struct patterns resources;
	/* when; has_when false: verbs is SQL_KNOWN, or all of a rule that denies */
	bool has_when;
	uint32_t verbs;
	struct name_patterns tables;
	struct name_patterns functions;
	/* obligations */
	bool durable;
	struct patterns approver_groups;
	uint32_t wait_s;
	uint32_t valid_s;
	size_t n_masks;
	struct mask_rule *masks;
	const char *message;
};

struct policy {
	struct arena arena;
	unsigned refs;
	uint8_t sha256[SHA256_LEN];
	size_t n_rules;
	struct rule *rules; /* by name */
};

/* parts.c */
/* What a rule must cover: a verb, and what it is done to. */
struct part {
	uint32_t verb;			     /* one bit */
	const struct sql_table *table;	     /* NULL: none, or not told */
	const struct sql_function *function; /* SQL_CALL: NULL when not told */
	bool implied;			     /* needs no rule; one that denies is heeded */
	const char *error;		     /* SQL_UNKNOWN: the parser's message, or NULL */
};
typedef void part_fn(void *ctx, const struct part *part);
/* Call fn with every part of an operation. */
void policy_parts(const struct sql_class *sql, part_fn *fn, void *ctx);

/* match.c */
enum match {
	MATCH_NO = 0,
	MATCH_MAYBE, /* what is asked for is not known of this caller */
	MATCH_YES,
};
/* who and on. */
enum match rule_match_caller(const struct rule *rule, const struct facts *facts);
/* Does a rule that allows or holds cover the part? What is not known is not covered. */
bool rule_covers(const struct rule *rule, const struct part *part);
/* Does a rule that denies apply to the part? What is not known applies. */
bool rule_denies(const struct rule *rule, const struct part *part);

/* Fill policy->sha256. -ENOMEM, -ENOBUFS. */
_must_check_ int policy_digest(struct policy *policy);

#endif
