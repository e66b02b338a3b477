/* Policies: a text is refused with its faults, or its decisions hold to what the verdict promises
 * for every operation that is tried. */
#include <stdlib.h>

#include "base/utf8.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_verdict(const struct policy *p, const struct verdict *v)
{
	must(v->effect == EFFECT_REFUSE || v->effect == EFFECT_APPROVE ||
	     v->effect == EFFECT_ALLOW);
	must(v->n_rules <= VERDICT_RULES_MAX && v->n_masks <= VERDICT_MASKS_MAX);
	must(v->reason[0] && memchr(v->reason, 0, sizeof(v->reason)));
	must(utf8_valid(span_str(v->reason)));
	must(streq(v->sqlstate, "42501"));
	must(memcmp(v->policy_sha256, policy_sha256(p), SHA256_LEN) == 0);
	if (v->effect == EFFECT_APPROVE)
		must(v->n_approver_groups > 0 && v->durable && v->approval_wait_s > 0);
	else
		must(v->n_approver_groups == 0);
	if (v->effect == EFFECT_REFUSE)
		must(v->n_masks == 0);
	for (size_t i = 0; i < v->n_masks; i++)
		must(v->masks[i]->schema && v->masks[i]->kind != MASK_NONE);
}

/* The same operation on a table of a known schema, and on one that may be anywhere: what is not
 * known never gets more. */
static void decide(const struct policy *p, struct facts *facts, uint32_t verb)
{
	struct sql_table table = {
		.schema = "public", .name = "customers", .access = SQL_READ | SQL_WRITE};
	struct sql_function function = {.name = "f"};
	struct sql_statement s = {.verbs = verb,
				  .kind = "",
				  .n_tables = 1,
				  .tables = &table,
				  .n_functions = 1,
				  .functions = &function};
	struct sql_class class = {.verbs = verb, .n_statements = 1, .statements = &s};
	struct op op = {.id = 1, .kind = OP_RUN, .sql = &class};
	struct verdict known;
	struct verdict unknown;

	facts->op = &op;
	policy_decide(p, facts, &known);
	check_verdict(p, &known);
	must((known.effect == EFFECT_REFUSE || policy_masks_in_force(p, facts)) ==
	     (known.effect == EFFECT_REFUSE || known.n_masks > 0));
	table.schema = NULL;
	policy_decide(p, facts, &unknown);
	check_verdict(p, &unknown);
	must(unknown.effect == EFFECT_REFUSE || known.effect != EFFECT_REFUSE || verb == SQL_CALL);
	/* An unknown part more never helps. */
	s.verbs |= SQL_UNKNOWN;
	policy_decide(p, facts, &known);
	must(known.effect == EFFECT_REFUSE || unknown.effect != EFFECT_REFUSE);
	facts->op = NULL;
	policy_decide(p, facts, &known);
	check_verdict(p, &known);
	must(known.effect != EFFECT_APPROVE);
	must(unknown.effect == EFFECT_REFUSE || known.effect == EFFECT_ALLOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct principal who = {
		.issuer_name = "cluster", .subject = "a", .n_groups = 1, .groups = {"support"}};
	struct process process = {.uid = 1000, .has_proc = true, .exe = "/usr/bin/psql"};
	struct facts facts = {.workload = "support-agent", .resource = "customers-db"};
	struct diags d = DIAGS_INIT;
	struct policy *p = NULL;
	int r = policy_load(span_of(data, size), "f", NULL, &d, &p);

	if (r < 0) {
		must(!p && (r == -ENOMEM || d.n > 0));
		diags_done(&d);
		return 0;
	}
	must(d.n == 0);
	for (uint32_t bit = 1; bit; bit <<= 1) {
		facts.principal = bit % 3 ? &who : NULL;
		facts.process = bit % 5 ? &process : NULL;
		decide(p, &facts, bit);
	}
	policy_unref(p);
	diags_done(&d);
	return 0;
}
