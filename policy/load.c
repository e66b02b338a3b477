#include "policy/load.h"

#include <stdlib.h>

#define ARENA_BYTES (32u * 1024u * 1024u)

enum {
	K_NAME,
	K_WHO,
	K_ON,
	K_WHEN,
	K_EFFECT,
	K_APPROVAL,
	K_DURABLE,
	K_MASK,
	K_MESSAGE,
};
static const struct yaml_key rule_keys[] = {
	[K_NAME] = {"name", true},
	[K_WHO] = {"who", true},
	[K_ON] = {"on", true},
	[K_WHEN] = {"when", false},
	[K_EFFECT] = {"effect", true},
	[K_APPROVAL] = {"approval", false},
	[K_DURABLE] = {"durable", false},
	[K_MASK] = {"mask", false},
	[K_MESSAGE] = {"message", false},
};

static const char *const effects[RULE_EFFECTS] = {
	[RULE_ALLOW] = "allow",
	[RULE_APPROVE] = "approve",
	[RULE_DENY] = "deny",
};

const char *policy_keep(struct rule_loader *l, const char *text)
{
	const char *copy = arena_strdup(&l->policy->arena, text);

	if (text && !copy)
		l->no_memory = true;
	return copy;
}

void *policy_space(struct rule_loader *l, size_t n, size_t size)
{
	void *p = arena_calloc(&l->policy->arena, n, size);

	if (!p)
		l->no_memory = true;
	return p;
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void load_patterns(struct rule_loader *l, const struct yaml_node *node, struct patterns *ret)
{
	const char *found[PATTERNS_MAX];
	size_t n;

	if (yaml_strs(&l->doc, node, PATTERN_BYTES, PATTERNS_MAX, found, &n) < 0)
		return;
	ret->list = policy_space(l, n, sizeof(*ret->list));
	if (!ret->list)
		return;
	qsort(found, n, sizeof(found[0]), compare_text);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !streq(found[i], found[i - 1]))
			ret->list[ret->n++] = policy_keep(l, found[i]);
}

static bool approvers_known(const struct config *c)
{
	for (size_t a = 0; a < c->n_approvers; a++)
		if (c->approvers[a].n_groups == 0)
			return false;
	return c->n_approvers > 0;
}

/* Approvals name groups that somebody must be in, else they could only ever expire. */
static void check_groups(struct rule_loader *l, const struct yaml_node *node,
			 const struct patterns *groups)
{
	const struct config *c = l->config;

	if (c && c->partial && !approvers_known(c))
		return;
	for (size_t g = 0; c && g < groups->n; g++) {
		bool found = false;

		for (size_t a = 0; a < c->n_approvers && !found; a++)
			for (size_t i = 0; i < c->approvers[a].n_groups && !found; i++)
				found = streq(c->approvers[a].groups[i], groups->list[g]);
		if (!found)
			yaml_fault(&l->doc, node,
				   "no approver of the configuration is in group \"%s\"",
				   groups->list[g]);
	}
}

static void load_approval(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	static const struct yaml_key keys[] = {
		{"groups", true}, {"quorum", false}, {"wait", false}, {"valid", false}};
	struct yaml_node *k[ARRAY_SIZE(keys)];
	uint64_t quorum = 1;
	uint64_t wait_ms = 5 * 60 * 1000;
	uint64_t valid_ms = 10 * 60 * 1000;

	if (yaml_members(&l->doc, node, keys, ARRAY_SIZE(keys), k) < 0)
		return;
	load_patterns(l, k[0], &rule->approver_groups);
	if (rule->approver_groups.n > APPROVER_GROUPS_MAX)
		yaml_fault(&l->doc, k[0], "more than %d groups", APPROVER_GROUPS_MAX);
	check_groups(l, k[0], &rule->approver_groups);
	if (yaml_uint(&l->doc, k[1], 1, 1000, &quorum) == 0 && quorum != 1)
		yaml_fault(&l->doc, k[1], "only quorum 1 is supported");
	(void)yaml_duration(&l->doc, k[2], 1000, 86400000, &wait_ms);
	(void)yaml_duration(&l->doc, k[3], 1000, 86400000, &valid_ms);
	if (wait_ms % 1000 != 0 || valid_ms % 1000 != 0)
		yaml_fault(&l->doc, node, "wait and valid must be whole seconds");
	rule->wait_s = (uint32_t)(wait_ms / 1000);
	rule->valid_s = (uint32_t)(valid_ms / 1000);
}

static void load_effect(struct rule_loader *l, struct yaml_node *const *k, struct rule *rule)
{
	size_t effect;

	if (yaml_choice(&l->doc, k[K_EFFECT], effects, RULE_EFFECTS, &effect) < 0)
		return;
	rule->effect = (enum rule_effect)effect;
	if (rule->effect == RULE_APPROVE && !k[K_APPROVAL])
		yaml_fault(&l->doc, k[K_EFFECT],
			   "effect approve needs approval: { groups: […] }: who may approve");
	if (rule->effect != RULE_APPROVE && k[K_APPROVAL])
		yaml_fault(&l->doc, k[K_APPROVAL], "has no effect without effect: approve");
	if (rule->effect == RULE_DENY && k[K_MASK])
		yaml_fault(&l->doc, k[K_MASK], "has no effect in a rule that denies");
	if (k[K_APPROVAL])
		load_approval(l, k[K_APPROVAL], rule);
}

static void load_rule(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	struct yaml_node *k[ARRAY_SIZE(rule_keys)];
	const char *text;

	if (yaml_members(&l->doc, node, rule_keys, ARRAY_SIZE(rule_keys), k) < 0)
		return;
	if (yaml_str(&l->doc, k[K_NAME], 128, &text) == 0)
		rule->name = policy_keep(l, text);
	for (const struct rule *other = l->policy->rules; rule->name && other < rule; other++)
		if (other->name && streq(other->name, rule->name))
			yaml_fault(&l->doc, k[K_NAME], "a rule named \"%s\" is here already",
				   rule->name);
	load_effect(l, k, rule);
	load_who(l, k[K_WHO], rule);
	load_on(l, k[K_ON], rule);
	load_when(l, k[K_WHEN], rule);
	(void)yaml_bool(&l->doc, k[K_DURABLE], &rule->durable);
	/* DESIGN promise 3: every approved operation waits for the disk. */
	if (rule->effect == RULE_APPROVE)
		rule->durable = true;
	load_masks(l, k[K_MASK], rule);
	if (yaml_str(&l->doc, k[K_MESSAGE], 160, &text) == 0)
		rule->message = policy_keep(l, text);
}

static int compare_rules(const void *a, const void *b)
{
	return strcmp(((const struct rule *)a)->name, ((const struct rule *)b)->name);
}

static void load_rules(struct rule_loader *l)
{
	static const struct yaml_key keys[] = {{"rules", true}};
	struct policy *p = l->policy;
	struct yaml_node *k[1];
	size_t n_masks = 0;

	if (yaml_members(&l->doc, l->doc.root, keys, 1, k) < 0 || !k[0])
		return;
	if (k[0]->kind != YAML_SEQUENCE) {
		yaml_fault(&l->doc, k[0], "must be a list of rules");
		return;
	}
	if (k[0]->n > RULES_MAX) {
		yaml_fault(&l->doc, k[0], "more than %d rules", RULES_MAX);
		return;
	}
	p->rules = policy_space(l, k[0]->n > 0 ? k[0]->n : 1, sizeof(*p->rules));
	if (!p->rules)
		return;
	for (const struct yaml_node *x = k[0]->first; x && !l->no_memory; x = x->next) {
		load_rule(l, x, &p->rules[p->n_rules]);
		n_masks += p->rules[p->n_rules].n_masks;
		p->n_rules++;
	}
	/* So that a verdict has room for whatever applies. */
	if (n_masks > VERDICT_MASKS_MAX)
		yaml_fault(&l->doc, k[0], "more than %d masked columns in all", VERDICT_MASKS_MAX);
}

int policy_load(struct span text, const char *name, const struct config *config,
		struct diags *diags, struct policy **ret_policy)
{
	_cleanup_(policy_unrefp) struct policy *policy = calloc(1, sizeof(*policy));
	struct rule_loader l = {.policy = policy, .config = config};
	int r;

	if (!policy)
		return -ENOMEM;
	policy->refs = 1;
	policy->arena = ARENA_INIT(ARENA_BYTES);
	r = yaml_load(text, name, diags, &l.doc);
	if (r < 0)
		return r;
	load_rules(&l);
	yaml_done(&l.doc);
	if (l.no_memory)
		return -ENOMEM;
	/* What a partial configuration could not say was not checked. */
	if (l.doc.faults > 0 || (config && config->partial))
		return -EINVAL;
	if (policy->n_rules > 1)
		qsort(policy->rules, policy->n_rules, sizeof(*policy->rules), compare_rules);
	r = policy_digest(policy);
	if (r < 0)
		return r;
	*ret_policy = TAKE_PTR(policy);
	return 0;
}

struct policy *policy_ref(struct policy *policy)
{
	policy->refs++;
	return policy;
}

void policy_unref(struct policy *policy)
{
	if (!policy || --policy->refs > 0)
		return;
	arena_done(&policy->arena);
	free(policy);
}

const uint8_t *policy_sha256(const struct policy *policy)
{
	return policy->sha256;
}

size_t policy_n_rules(const struct policy *policy)
{
	return policy->n_rules;
}
