#include "policy/rules.h"

#include "base/utf8.h"

struct decision {
	/* Rules for this caller and this resource. */
	size_t n;
	const struct rule *rules[RULES_MAX];
	bool matched[RULES_MAX];      /* covers or denies a part; by index in rules */
	bool maybe[RULES_MAX];	      /* not surely for this caller: never covers a part */
	const struct rule *denied_by; /* first that denies a part */
	bool missing;		      /* a part that nothing covers: */
	struct part gap;
};

static void select_rules(const struct policy *policy, const struct facts *facts, struct decision *d)
{
	d->n = 0;
	d->denied_by = NULL;
	d->missing = false;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *rule = &policy->rules[i];
		enum match m = rule_match_caller(rule, facts);

		if (m == MATCH_NO)
			continue;
		d->matched[d->n] = false;
		d->maybe[d->n] = m == MATCH_MAYBE;
		d->rules[d->n++] = rule;
	}
}

static void decide_part(void *ctx, const struct part *part)
{
	struct decision *d = ctx;
	bool covered = part->implied;

	for (size_t i = 0; i < d->n; i++) {
		const struct rule *rule = d->rules[i];

		if (rule->effect == RULE_DENY) {
			if (!d->matched[i] && rule_denies(rule, part)) {
				d->matched[i] = true;
				if (!d->denied_by)
					d->denied_by = rule;
			}
		} else if (!d->maybe[i] && rule_covers(rule, part)) {
			d->matched[i] = true;
			covered = true;
		}
	}
	if (!covered && !d->missing) {
		d->missing = true;
		d->gap = *part;
	}
}

/* One line of valid UTF-8, whatever names the agent made up. */
static void clean(char *text)
{
	struct span rest = span_str(text);

	while (rest.len > 0) {
		size_t n = utf8_valid_prefix(rest);
		char *at = text + (rest.p - (const uint8_t *)text);

		if (n == 0 || rest.p[0] < 0x20 || rest.p[0] == 0x7f)
			*at = '?';
		rest = span_skip(rest, n == 0 ? 1 : n);
	}
}

#define SAY(v, ...) (void)snprintf((v)->reason, sizeof((v)->reason), __VA_ARGS__)

static const char *verb_name(uint32_t verb)
{
	for (const struct sql_verb_name *v = sql_verb_names; v->name; v++)
		if (v->verb == verb)
			return v->name;
	return "unknown";
}

static const char *or_nobody(const char *name)
{
	return name ? name : "(not known)";
}

static void say_gap(const struct facts *facts, const struct part *gap, struct verdict *v)
{
	const char *who = or_nobody(facts->workload);

	if (gap->verb == SQL_UNKNOWN)
		SAY(v, "no rule allows statements that cannot be classified for workload %s%s%s",
		    who, gap->error ? ": " : "", gap->error ? gap->error : "");
	else if (gap->function)
		SAY(v, "no rule allows call of function %s%s%s for workload %s",
		    gap->function->schema ? gap->function->schema : "",
		    gap->function->schema ? "." : "", gap->function->name, who);
	else if (gap->table && gap->table->schema)
		SAY(v, "no rule allows %s on %s.%s for workload %s", verb_name(gap->verb),
		    gap->table->schema, gap->table->name, who);
	else if (gap->table)
		SAY(v, "no rule allows %s on %s, whose schema is not known, for workload %s",
		    verb_name(gap->verb), gap->table->name, who);
	else
		SAY(v, "no rule allows %s for workload %s", verb_name(gap->verb), who);
}

static void say_rule(const char *what, const struct rule *rule, struct verdict *v)
{
	SAY(v, "%s rule \"%s\"%s%s", what, rule->name, rule->message ? ": " : "",
	    rule->message ? rule->message : "");
}

static void add_rule(struct verdict *v, const struct rule *rule)
{
	if (v->n_rules < VERDICT_RULES_MAX)
		v->rules[v->n_rules++] = rule->name;
}

static void refuse_denied(const struct decision *d, struct verdict *v)
{
	say_rule("refused by", d->denied_by, v);
	for (size_t i = 0; i < d->n; i++)
		if (d->matched[i] && d->rules[i]->effect == RULE_DENY)
			add_rule(v, d->rules[i]);
}

static bool has_group(const struct rule *rule, const char *group)
{
	for (size_t i = 0; i < rule->approver_groups.n; i++)
		if (streq(rule->approver_groups.list[i], group))
			return true;
	return false;
}

/* Who may approve satisfies every rule that asks; false when nobody could. */
static bool add_approval(const struct rule *rule, const struct rule *first, struct verdict *v)
{
	size_t n = 0;

	if (rule == first) {
		for (size_t i = 0; i < rule->approver_groups.n; i++)
			v->approver_groups[v->n_approver_groups++] = rule->approver_groups.list[i];
		v->approval_wait_s = rule->wait_s;
		v->approval_valid_s = rule->valid_s;
		return v->n_approver_groups > 0;
	}
	for (size_t i = 0; i < v->n_approver_groups; i++)
		if (has_group(rule, v->approver_groups[i]))
			v->approver_groups[n++] = v->approver_groups[i];
	v->n_approver_groups = n;
	v->approval_wait_s = MIN(v->approval_wait_s, rule->wait_s);
	v->approval_valid_s = MIN(v->approval_valid_s, rule->valid_s);
	return n > 0;
}

/* Masks are in force for a caller on a resource whatever the statement: otherwise a statement that
 * another rule covers, such as one on a view, would show what is masked. So are those of a rule
 * that may be for the caller. */
static void add_masks(const struct decision *d, struct verdict *v)
{
	for (size_t i = 0; i < d->n; i++)
		for (size_t m = 0; m < d->rules[i]->n_masks && v->n_masks < VERDICT_MASKS_MAX; m++)
			v->masks[v->n_masks++] = &d->rules[i]->masks[m];
}

static void grant(const struct decision *d, struct verdict *v)
{
	const struct rule *approve = NULL;
	const struct rule *allow = NULL;

	for (size_t i = 0; i < d->n; i++) {
		const struct rule *rule = d->rules[i];

		if (!d->matched[i])
			continue;
		add_rule(v, rule);
		v->durable = v->durable || rule->durable;
		if (rule->effect == RULE_ALLOW) {
			allow = allow ? allow : rule;
			continue;
		}
		approve = approve ? approve : rule;
		if (!add_approval(rule, approve, v)) {
			SAY(v,
			    "rules \"%s\" and \"%s\" ask for approvers that nobody can be at once",
			    approve->name, rule->name);
			v->n_approver_groups = 0;
			return;
		}
	}
	v->effect = approve ? EFFECT_APPROVE : EFFECT_ALLOW;
	if (approve)
		say_rule("approval is asked for by", approve, v);
	else if (allow)
		say_rule("allowed by", allow, v);
	else
		SAY(v, "allowed: nothing in it needs a rule");
	add_masks(d, v);
}

/* May this caller have a session at all? */
static void admit(const struct facts *facts, struct decision *d, struct verdict *v)
{
	bool any = false;

	for (size_t i = 0; i < d->n; i++) {
		const struct rule *rule = d->rules[i];

		if (rule->effect != RULE_DENY)
			any |= d->matched[i] = !d->maybe[i];
		else if (rule->verbs == UINT32_MAX && rule->tables.n == 0 && rule->functions.n == 0)
			d->matched[i] = true;
		if (d->matched[i] && rule->effect == RULE_DENY && !d->denied_by)
			d->denied_by = rule;
	}
	if (d->denied_by) {
		refuse_denied(d, v);
	} else if (!any) {
		SAY(v, "no rule gives workload %s anything on %s", or_nobody(facts->workload),
		    or_nobody(facts->resource));
	} else {
		v->effect = EFFECT_ALLOW;
		SAY(v, "a session may be had: operations are decided one by one");
		for (size_t i = 0; i < d->n; i++)
			if (d->matched[i])
				add_rule(v, d->rules[i]);
		add_masks(d, v);
	}
}

static bool any_grant(const struct decision *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->rules[i]->effect != RULE_DENY && !d->maybe[i])
			return true;
	return false;
}

static void decide_op(const struct facts *facts, const struct sql_class *sql, struct decision *d,
		      struct verdict *v)
{
	if (!sql) {
		SAY(v, "the operation could not be classified");
		return;
	}
	policy_parts(sql, decide_part, d);
	if (d->denied_by)
		refuse_denied(d, v);
	else if (d->missing)
		say_gap(facts, &d->gap, v);
	else if (!any_grant(d))
		SAY(v, "no rule gives workload %s anything on %s", or_nobody(facts->workload),
		    or_nobody(facts->resource));
	else
		grant(d, v);
}

void policy_decide(const struct policy *policy, const struct facts *facts,
		   struct verdict *ret_verdict)
{
	const struct op *op = facts->op;
	struct decision d;

	memset(ret_verdict, 0, sizeof(*ret_verdict));
	memcpy(ret_verdict->sqlstate, "42501", 6); /* insufficient_privilege */
	memcpy(ret_verdict->policy_sha256, policy->sha256, SHA256_LEN);
	select_rules(policy, facts, &d);
	if (!op || op->kind == OP_CONNECT)
		admit(facts, &d, ret_verdict);
	else
		decide_op(facts, facts->sql ? facts->sql : op->sql, &d, ret_verdict);
	clean(ret_verdict->reason);
}

bool policy_masks_in_force(const struct policy *policy, const struct facts *facts)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *rule = &policy->rules[i];

		if (rule->n_masks > 0 && rule_match_caller(rule, facts) != MATCH_NO)
			return true;
	}
	return false;
}
