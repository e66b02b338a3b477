/* load.h - what the parts of the policy loader share.
 * Used by: policy/ alone.
 * Promises: each reader adds its faults and goes on, so that all are found at once. */
#ifndef SLUICE_POLICY_LOAD_H
#define SLUICE_POLICY_LOAD_H

#include "base/yaml.h"
#include "policy/rules.h"

struct rule_loader {
	struct policy *policy;
	const struct config *config; /* NULL: names are not checked */
	struct yaml_doc doc;
	bool no_memory; /* the arena is full; the policy is not to be used */
};

/* Copy, and zeroed space, in the policy's arena; NULL when it is full. */
const char *policy_keep(struct rule_loader *l, const char *text);
void *policy_space(struct rule_loader *l, size_t n, size_t size);
/* One text or a list of them, sorted, each once. */
void load_patterns(struct rule_loader *l, const struct yaml_node *node, struct patterns *ret);

/* load_rule.c: the parts of a rule; the node may be NULL. */
void load_who(struct rule_loader *l, const struct yaml_node *node, struct rule *rule);
void load_on(struct rule_loader *l, const struct yaml_node *node, struct rule *rule);
void load_when(struct rule_loader *l, const struct yaml_node *node, struct rule *rule);
void load_masks(struct rule_loader *l, const struct yaml_node *node, struct rule *rule);

#endif
