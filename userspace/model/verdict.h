/* verdict.h - what policy says of an operation, and what it obliges the enforcer to.
 * Used by: policy (makes it), session (obeys it), proto (tells the agent), audit (records it).
 * Promises: points into the policy that made it; the holder keeps that policy referenced. */
#ifndef SLUICE_MODEL_VERDICT_H
#define SLUICE_MODEL_VERDICT_H

#include "model/identity.h"

enum effect {
	EFFECT_REFUSE =
		0, /* no rule allows it, or one denies it. Zero, so that forgetting refuses */
	EFFECT_APPROVE,
	EFFECT_ALLOW,
};

enum mask_kind {
	MASK_NONE = 0,
	MASK_LAST4,
	MASK_REDACT, /* strictest last: of two masks for one column the greater wins */
};

/* A column pattern: each part is a glob (`*`, `?`), matched as the server compares names. */
struct mask_rule {
	const char *schema;
	const char *table;
	const char *column;
	enum mask_kind kind;
	const char *rule; /* name of the policy rule it comes from */
};

#define VERDICT_RULES_MAX   32
#define VERDICT_REASON_MAX  256
#define VERDICT_MASKS_MAX   128
#define APPROVER_GROUPS_MAX 8

struct verdict {
	enum effect effect;
	size_t n_rules;
	const char *rules[VERDICT_RULES_MAX]; /* names of the rules that matched and mattered */
	char reason[VERDICT_REASON_MAX];      /* one sentence, without secrets, fit for the agent */
	char sqlstate[6];		      /* for EFFECT_REFUSE; "42501" unless said otherwise */
	uint8_t policy_sha256[SHA256_LEN];
	bool durable; /* wait until the record is on disk */
	/* EFFECT_APPROVE only: */
	size_t n_approver_groups;
	const char *approver_groups[APPROVER_GROUPS_MAX];
	uint32_t approval_wait_s;
	uint32_t approval_valid_s;
	/* EFFECT_ALLOW and EFFECT_APPROVE: masks of all matching rules. */
	size_t n_masks;
	const struct mask_rule *masks[VERDICT_MASKS_MAX];
};

#endif
