#include "policy_test.h"

/* Load text that must be refused; compare what is printed. */
static void faults(const char *text, const struct config *config, const char *want)
{
	struct diags d = DIAGS_INIT;
	struct policy *p = NULL;
	char *got = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&got, &size);

	assert_int_equal(policy_load(span_str(text), "p.yaml", config, &d, &p), -EINVAL);
	assert_null(p);
	diags_print(&d, f);
	(void)fclose(f);
	assert_string_equal(got, want);
	free(got);
	diags_done(&d);
}

static void all_faults_at_once(void **state)
{
	(void)state;
	faults("rules:\n"
	       "  - name: a\n"
	       "    who: { workload: x, grups: [y] }\n"
	       "    on: db\n"
	       "    when: { sql: { verbs: [selct, select], tables: [customers, a.b.c] } }\n"
	       "    effect: alow\n"
	       "    mask:\n"
	       "      - { columns: [public.ssn], with: last5 }\n"
	       "      - { detect: [us-ssn], with: redact }\n"
	       "  - name: a\n"
	       "    who: {}\n"
	       "    on: db\n"
	       "    effect: approve\n"
	       "  - who: { workload: x }\n"
	       "    on: db\n"
	       "    effect: approve\n"
	       "    approval: { groups: [dba], quorum: 2, wait: 5 }\n",
	       NULL,
	       "p.yaml:3:25: unknown key \"grups\": did you mean \"groups\"?\n"
	       "p.yaml:5:28: unknown value \"selct\": did you mean \"select\"?\n"
	       "p.yaml:5:53: \"customers\" must be schema.name, such as public.customers or "
	       "public.*\n"
	       "p.yaml:5:64: \"a.b.c\" must be schema.name, such as public.customers or public.*\n"
	       "p.yaml:6:13: unknown value \"alow\": did you mean \"allow\"?\n"
	       "p.yaml:8:21: \"public.ssn\" must be schema.table.column\n"
	       "p.yaml:8:40: unknown value \"last5\": did you mean \"last4\"?\n"
	       "p.yaml:9:11: content detectors are not available in this version: name columns\n"
	       "p.yaml:10:11: a rule named \"a\" is here already\n"
	       "p.yaml:11:10: is empty: say workload: \"*\" if it is for everybody\n"
	       "p.yaml:13:13: effect approve needs approval: { groups: […] }: who may approve\n"
	       "p.yaml:14:5: key \"name\" is missing\n"
	       "p.yaml:17:40: only quorum 1 is supported\n"
	       "p.yaml:17:49: must be a length of time: a number and ms, s, m, h or d, such as "
	       "30s\n");
}

static void what_has_no_effect_is_a_fault(void **state)
{
	(void)state;
	faults("rules:\n"
	       "  - name: a\n"
	       "    who: { workload: x }\n"
	       "    on: db\n"
	       "    when: { sql: { verbs: [select, unknown, call], tables: [a.b] } }\n"
	       "    effect: allow\n"
	       "    approval: { groups: [dba] }\n"
	       "  - name: b\n"
	       "    who: { workload: x, groups: ['dba-*'] }\n"
	       "    on: db\n"
	       "    when: { sql: { verbs: select, functions: a.b } }\n"
	       "    effect: deny\n"
	       "    mask: [{ columns: a.b.c, with: last4 }]\n",
	       NULL,
	       "p.yaml:5:27: unknown cannot be limited to tables: write a rule of its own for it\n"
	       "p.yaml:5:27: call in a rule with tables needs functions: which may be called\n"
	       "p.yaml:7:15: has no effect without effect: approve\n"
	       "p.yaml:9:33: groups are names, not patterns\n"
	       "p.yaml:11:46: functions have no effect without the verb call\n"
	       "p.yaml:13:11: has no effect in a rule that denies\n");
	faults("rules: x\n", NULL, "p.yaml:1:8: must be a list of rules\n");
	faults("- a\n", NULL, "p.yaml:1:1: must be a mapping (key: value), not a list\n");
	faults("", NULL, "p.yaml: is empty\n");
	faults("{}\n", NULL, "p.yaml:1:1: key \"rules\" is missing\n");
}

static void names_are_checked_against_the_configuration(void **state)
{
	struct workload_config workloads[] = {{.name = "support-agent"}, {.name = "batch"}};
	struct resource_config resources[] = {{.name = "customers-db"}};
	struct issuer_config issuers[] = {{.name = "cluster"}};
	struct approver_config approvers[] = {{.name = "Ann", .n_groups = 1, .groups = {"dba"}}};
	struct config c = {.n_workloads = 2,
			   .workloads = workloads,
			   .n_resources = 1,
			   .resources = resources,
			   .n_issuers = 1,
			   .issuers = issuers,
			   .n_approvers = 1,
			   .approvers = approvers};

	(void)state;
	faults("rules:\n"
	       "  - name: a\n"
	       "    who: { workload: [suport-agent, 'nightly-*', batch, 'sup*'], issuer: clustr }\n"
	       "    on: ledger\n"
	       "    effect: approve\n"
	       "    approval: { groups: [dba, boss] }\n",
	       &c,
	       "p.yaml:3:23: no workload \"suport-agent\" in the configuration: did you mean "
	       "\"support-agent\"?\n"
	       "p.yaml:3:37: no workload of the configuration is called or matches \"nightly-*\"\n"
	       "p.yaml:3:74: no issuer \"clustr\" in the configuration: did you mean \"cluster\"?\n"
	       "p.yaml:4:9: no resource of the configuration is called or matches \"ledger\"\n"
	       "p.yaml:6:25: no approver of the configuration is in group \"boss\"\n");
}

static void digest_is_of_the_meaning(void **state)
{
	static const char one[] =
		"rules:\n"
		"  - name: a\n    who: { workload: [x, y], uid: [2, 1] }\n    on: [db]\n"
		"    when: { sql: { verbs: [select, insert], tables: [a.b, c.d] } }\n"
		"    effect: allow\n"
		"    mask: [{ columns: [a.b.c, a.b.d], with: last4 }]\n"
		"  - name: b\n    who: { workload: x }\n    on: db\n    effect: approve\n"
		"    approval: { groups: [p, q], wait: 5m }\n";
	static const char same[] =
		"# other words for it\n"
		"rules:\n"
		"- effect: approve\n  on: [\"db\"]\n  name: \"b\"\n  who: {workload: [x]}\n"
		"  approval:\n    wait: 300s\n    groups:\n    - q\n    - p\n"
		"- name: a\n  effect: allow\n  on: db\n  durable: false\n"
		"  who: { uid: [1, 2], workload: [y, x, x] }\n"
		"  when: { sql: { tables: [c.d, a.b, a.b], verbs: [insert, select, select] } }\n"
		"  mask:\n  - { with: last4, columns: a.b.d }\n  - { with: last4, columns: a.b.c "
		"}\n";
	static const char *const changed[][2] = {
		{"uid: [2, 1]", "uid: [2, 3]"}, {"select, insert", "select, update"},
		{"a.b, c.d", "a.b, c.e"},	{"with: last4", "with: redact"},
		{"wait: 5m", "wait: 6m"},	{"[p, q]", "[p]"},
		{"name: b", "name: c"},		{"effect: allow", "effect: allow\n    message: m"},
	};
	struct policy *p = load(one);
	struct policy *q = load(same);

	(void)state;
	assert_memory_equal(policy_sha256(p), policy_sha256(q), SHA256_LEN);
	policy_unref(q);
	for (size_t i = 0; i < ARRAY_SIZE(changed); i++) {
		const char *at = strstr(one, changed[i][0]);
		char text[2048];

		assert_non_null(at);
		(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - one), one, changed[i][1],
			       at + strlen(changed[i][0]));
		q = load(text);
		assert_memory_not_equal(policy_sha256(p), policy_sha256(q), SHA256_LEN);
		policy_unref(q);
	}
	assert_ptr_equal(policy_ref(p), p);
	policy_unref(p);
	assert_int_equal(policy_n_rules(p), 2);
	policy_unref(p);
}

/* A configuration with faults of its own: only what it surely does not have is a fault here, and
 * there is no policy whatever the text. */
static void beside_a_faulty_configuration(void **state)
{
	static const char text[] =
		"rules:\n  - name: a\n    who: { workload: v, issuer: i }\n"
		"    on: db\n    effect: approve\n    approval: { groups: [dba] }\n";
	struct workload_config workloads[] = {{.name = "w"}, {.name = "x"}};
	struct approver_config approvers[] = {{.name = "ann", .n_groups = 1, .groups = {"lead"}}};
	struct config c = {.partial = true,
			   .n_workloads = 2,
			   .workloads = workloads,
			   .n_approvers = 1,
			   .approvers = approvers};

	(void)state;
	faults(text, &c,
	       "p.yaml:3:22: no workload of the configuration is called or matches \"v\"\n"
	       "p.yaml:6:25: no approver of the configuration is in group \"dba\"\n");
	workloads[1].name = NULL;
	approvers[0].n_groups = 0;
	faults(text, &c, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_faults_at_once),
		cmocka_unit_test(beside_a_faulty_configuration),
		cmocka_unit_test(what_has_no_effect_is_a_fault),
		cmocka_unit_test(names_are_checked_against_the_configuration),
		cmocka_unit_test(digest_is_of_the_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
