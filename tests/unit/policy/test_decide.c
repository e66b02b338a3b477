#include "policy_test.h"

#define RULE(name, rest) \
	"  - name: " name "\n    who: { workload: support-agent }\n    on: customers-db\n" rest

static const char basic[] = "rules:\n" RULE(
	"read",
	"    when: { sql: { verbs: [select], tables: [public.customers, public.orders] } }\n"
	"    effect: allow\n") RULE("change",
				    "    when: { sql: { verbs: [insert, update, delete] } }\n"
				    "    effect: approve\n"
				    "    approval: { groups: [dba], wait: 5m, valid: 10m }\n")
	RULE("no deletes", "    when: { sql: { verbs: [delete], tables: [public.ledger] } }\n"
			   "    effect: deny\n    message: the ledger is for ever\n");

static void each_effect_says_why(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, basic);
	assert_int_equal(decide_one(&w, SQL_SELECT, "public", "customers", R), EFFECT_ALLOW);
	assert_string_equal(w.v.reason, "allowed by rule \"read\"");
	assert_int_equal(w.v.n_rules, 1);
	assert_string_equal(w.v.rules[0], "read");
	assert_false(w.v.durable);
	assert_memory_equal(w.v.policy_sha256, policy_sha256(w.policy), SHA256_LEN);

	assert_int_equal(decide_one(&w, SQL_UPDATE, "public", "customers", W), EFFECT_APPROVE);
	assert_int_equal(w.v.n_approver_groups, 1);
	assert_string_equal(w.v.approver_groups[0], "dba");
	assert_int_equal(w.v.approval_wait_s, 300);
	assert_int_equal(w.v.approval_valid_s, 600);
	assert_true(w.v.durable);

	assert_int_equal(decide_one(&w, SQL_DELETE, "public", "ledger", W), EFFECT_REFUSE);
	assert_string_equal(w.v.reason, "refused by rule \"no deletes\": the ledger is for ever");
	assert_string_equal(w.v.sqlstate, "42501");
	assert_int_equal(w.v.n_rules, 1);
	assert_int_equal(w.v.n_approver_groups, 0);

	assert_int_equal(decide_one(&w, SQL_SELECT, "public", "salaries", R), EFFECT_REFUSE);
	assert_string_equal(w.v.reason,
			    "no rule allows select on public.salaries for workload support-agent");
	assert_int_equal(w.v.n_rules, 0);
	world_done(&w);
}

static void every_part_must_be_allowed(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, basic);
	/* Two tables, one of them not allowed. */
	op_new(&w);
	statement(&w, SQL_SELECT);
	table(&w, "public", "customers", R);
	table(&w, "public", "salaries", R);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	/* Two statements, the second not allowed. */
	op_new(&w);
	statement(&w, SQL_SELECT);
	table(&w, "public", "customers", R);
	statement(&w, SQL_DROP);
	table(&w, "public", "customers", W);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "drop on public.customers"));
	/* INSERT INTO a SELECT FROM b: both, by their own verbs. */
	op_new(&w);
	statement(&w, SQL_INSERT | SQL_SELECT);
	table(&w, "public", "anything", W);
	table(&w, "public", "orders", R);
	assert_int_equal(decide(&w), EFFECT_APPROVE);
	assert_int_equal(w.v.n_rules, 2);
	w.tables[1].name = "salaries";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "select on public.salaries"));
	/* UPDATE a FROM b: b is read although the statement has no select. */
	op_new(&w);
	statement(&w, SQL_UPDATE);
	table(&w, "public", "anything", W);
	table(&w, "public", "salaries", R);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.tables[1].name = "orders";
	assert_int_equal(decide(&w), EFFECT_APPROVE);
	/* A verb of the whole that no statement owns up to. */
	op_new(&w);
	statement(&w, SQL_SELECT);
	table(&w, "public", "customers", R);
	w.sql.verbs |= SQL_DROP;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	/* A data-modifying CTE: denied in one part is denied. */
	op_new(&w);
	statement(&w, SQL_SELECT | SQL_DELETE);
	table(&w, "public", "customers", R);
	table(&w, "public", "ledger", W);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "no deletes"));
	/* A write that no verb accounts for. */
	assert_int_equal(decide_one(&w, SQL_SELECT, "public", "customers", W), EFFECT_REFUSE);
	/* An access that was not told is both. */
	assert_int_equal(decide_one(&w, SQL_SELECT, "public", "customers", 0), EFFECT_REFUSE);
	world_done(&w);
}

static void unknown_needs_a_rule_that_says_so(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, "rules:\n" RULE("all", "    effect: allow\n"));
	assert_int_equal(decide_one(&w, SQL_DROP, "public", "customers", W), EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_UNKNOWN, NULL, NULL, 0), EFFECT_REFUSE);
	w.sql.error = "syntax error at or near \"selec\"";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "syntax error at or near \"selec\""));
	/* Nothing at all is not an operation that is understood. */
	op_new(&w);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.op.sql = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.op.sql = &w.sql;
	statement(&w, 0);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	world_done(&w);

	world_init(&w, "rules:\n" RULE("star", "    when: { sql: { verbs: ['*'] } }\n"
					       "    effect: allow\n"));
	assert_int_equal(decide_one(&w, SQL_UNKNOWN, NULL, NULL, 0), EFFECT_REFUSE);
	world_done(&w);

	world_init(&w, "rules:\n" RULE("named", "    when: { sql: { verbs: ['*', unknown] } }\n"
						"    effect: allow\n"));
	assert_int_equal(decide_one(&w, SQL_UNKNOWN, NULL, NULL, 0), EFFECT_ALLOW);
	world_done(&w);

	/* A rule that denies everything denies what is not understood too. */
	world_init(&w, "rules:\n" RULE("named", "    when: { sql: { verbs: [unknown] } }\n"
						"    effect: allow\n")
			       RULE("stop", "    effect: deny\n"));
	assert_int_equal(decide_one(&w, SQL_UNKNOWN, NULL, NULL, 0), EFFECT_REFUSE);
	assert_string_equal(w.v.reason, "refused by rule \"stop\"");
	world_done(&w);
}

static void names_without_schema_fail_closed(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, basic);
	assert_int_equal(decide_one(&w, SQL_SELECT, NULL, "customers", R), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "whose schema is not known"));
	assert_int_equal(decide_one(&w, SQL_DELETE, NULL, "ledger", W), EFFECT_REFUSE);
	world_done(&w);
	world_init(&w,
		   "rules:\n" RULE("any", "    when: { sql: { verbs: [select], tables: ['*'] } }\n"
					  "    effect: allow\n")
			   RULE("secret",
				"    when: { sql: { verbs: ['*'], tables: [secret.*] } }\n"
				"    effect: deny\n"));
	assert_int_equal(decide_one(&w, SQL_SELECT, "public", "keys", R), EFFECT_ALLOW);
	/* The path may lead to secret.keys. */
	assert_int_equal(decide_one(&w, SQL_SELECT, NULL, "keys", R), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_SELECT, "secret", "keys", R), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_SELECT, NULL, NULL, 0), EFFECT_ALLOW);
	world_done(&w);
	world_init(&w,
		   "rules:\n" RULE("c", "    when: { sql: { verbs: [select], tables: ['*.c*'] } }\n"
					"    effect: allow\n"));
	assert_int_equal(decide_one(&w, SQL_SELECT, NULL, "customers", R), EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_SELECT, NULL, "orders", R), EFFECT_REFUSE);
	world_done(&w);
}

static void what_needs_no_rule(void **state)
{
	static const char *const harmless[] = {"application_name", "datestyle", "timezone",
					       "search_path", "statement_timeout"};
	static const char *const harmful[] = {"role",
					      "session_authorization",
					      "",
					      "standard_conforming_strings",
					      "backslash_quote",
					      "client_encoding"};
	static const struct {
		const char *setting;
		const char *value;
		enum effect effect;
	} by_value[] = {
		{"client_encoding", "UTF8", EFFECT_ALLOW},
		{"client_encoding", "SJIS", EFFECT_REFUSE},
		{"client_encoding", NULL, EFFECT_REFUSE},
		{"standard_conforming_strings", "on", EFFECT_ALLOW},
		{"standard_conforming_strings", "off", EFFECT_REFUSE},
	};
	struct world w;

	(void)state;
	world_init(&w, basic);
	assert_int_equal(decide_one(&w, SQL_TRANSACTION, NULL, NULL, 0), EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_EMPTY, NULL, NULL, 0), EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_DEALLOCATE, NULL, NULL, 0), EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_FETCH, NULL, NULL, 0), EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_PREPARE | SQL_SELECT, "public", "orders", R),
			 EFFECT_ALLOW);
	assert_int_equal(decide_one(&w, SQL_PREPARE | SQL_SELECT, "public", "salaries", R),
			 EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_EXECUTE | SQL_SELECT, "public", "orders", R),
			 EFFECT_ALLOW);
	/* EXECUTE of what nobody knows. */
	assert_int_equal(decide_one(&w, SQL_EXECUTE, NULL, NULL, 0), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_SHOW, NULL, NULL, 0), EFFECT_REFUSE);
	for (size_t i = 0; i < ARRAY_SIZE(harmless) + ARRAY_SIZE(harmful); i++) {
		bool ok = i < ARRAY_SIZE(harmless);

		op_new(&w);
		statement(&w, SQL_SET)->setting =
			ok ? harmless[i] : harmful[i - ARRAY_SIZE(harmless)];
		assert_int_equal(decide(&w), ok ? EFFECT_ALLOW : EFFECT_REFUSE);
	}
	assert_int_equal(decide_one(&w, SQL_SET, NULL, NULL, 0), EFFECT_REFUSE);
	for (size_t i = 0; i < ARRAY_SIZE(by_value); i++) {
		op_new(&w);
		*statement(&w, SQL_SET) = (struct sql_statement){
			.verbs = SQL_SET,
			.setting = by_value[i].setting,
			.setting_value = by_value[i].value,
		};
		assert_int_equal(decide(&w), by_value[i].effect);
	}
	/* Nobody: not even this. */
	w.facts.workload = "other";
	assert_int_equal(decide_one(&w, SQL_TRANSACTION, NULL, NULL, 0), EFFECT_REFUSE);
	world_done(&w);
	world_init(&w, "rules:\n" RULE("all", "    effect: allow\n") RULE(
			       "no tx",
			       "    when: { sql: { verbs: [transaction] } }\n    effect: deny\n"));
	assert_int_equal(decide_one(&w, SQL_TRANSACTION, NULL, NULL, 0), EFFECT_REFUSE);
	world_done(&w);
}

static void calls_are_by_function(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, "rules:\n" RULE("calls", "    when: { sql: { verbs: [select, call], "
						"functions: [public.*, '*.nextval'] } }\n"
						"    effect: allow\n"));
	op_new(&w);
	statement(&w, SQL_SELECT | SQL_CALL);
	function(&w, "public", "f", false);
	function(&w, "pg_catalog", "lower", true);
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	w.functions[0] = (struct sql_function){.name = "nextval"};
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	/* Harmless, but it does something; beside one that is allowed. */
	op_new(&w);
	statement(&w, SQL_SELECT | SQL_CALL);
	function(&w, "public", "f", false);
	function(&w, NULL, "setval", true);
	w.functions[1].acts = true;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.functions[1].name = "nextval";
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	w.functions[0] = (struct sql_function){.name = "f"};
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "call of function f "));
	w.functions[0] = (struct sql_function){.schema = "pg_catalog", .name = "pg_read_file"};
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	/* The protocol's FunctionCall names no function. */
	assert_int_equal(decide_one(&w, SQL_CALL | SQL_FUNCTION_CALL, NULL, NULL, 0),
			 EFFECT_REFUSE);
	world_done(&w);
	/* Every verb on these tables is not every function, nor every setting or server file. */
	world_init(&w,
		   "rules:\n" RULE("t", "    when: { sql: { verbs: ['*'], tables: [public.*] } }\n"
					"    effect: allow\n"));
	assert_int_equal(decide_one(&w, SQL_DELETE, "public", "x", W), EFFECT_ALLOW);
	op_new(&w);
	statement(&w, SQL_SELECT | SQL_CALL);
	function(&w, "pg_catalog", "pg_read_file", false);
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	op_new(&w);
	statement(&w, SQL_SET)->setting = "role";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_COPY_FILE, "public", "x", R), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_CREATE, NULL, NULL, 0), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_MAINTAIN, NULL, NULL, 0), EFFECT_REFUSE);
	assert_int_equal(decide_one(&w, SQL_MAINTAIN, "public", "x", R), EFFECT_ALLOW);
	world_done(&w);
}

static void callers(void **state)
{
	struct world w;

	(void)state;
	world_init(
		&w,
		"rules:\n"
		"  - name: psql of support\n"
		"    who: { workload: 'support-*', groups: [support, lead], exe: /usr/bin/psql,\n"
		"           subject: 'agent-*', issuer: cluster, uid: [1000, 7] }\n"
		"    on: 'customers-*'\n"
		"    effect: allow\n");
	assert_int_equal(decide_one(&w, SQL_SELECT, "a", "b", R), EFFECT_ALLOW);
	w.process.exe = "/tmp/psql";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.process.exe = "/usr/bin/psql";
	w.process.has_proc = false;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.process.has_proc = true;
	w.process.uid = 8;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.process.uid = 7;
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	w.who.groups[0] = "supports";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.who.groups[0] = "lead";
	w.who.subject = "person";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.facts.principal = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.facts.principal = &w.who;
	w.who.subject = "agent-1";
	w.facts.resource = "ledger";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	w.facts.resource = "customers-2";
	w.facts.process = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	world_done(&w);
	/* What is not known of a caller is held against it. */
	world_init(&w, "rules:\n" RULE(
			       "all",
			       "    effect: allow\n") "  - name: not curl\n    who: { exe: "
						      "'*/curl' }\n    on: '*'\n    effect: deny\n"
						      "  - name: not contractors\n    who: { "
						      "groups: [contractor] }\n    on: '*'\n"
						      "    effect: deny\n");
	assert_int_equal(decide_one(&w, SQL_SELECT, "a", "b", R), EFFECT_ALLOW);
	w.process.exe = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "not curl"));
	w.process.exe = "/usr/bin/psql";
	w.facts.principal = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_non_null(strstr(w.v.reason, "not contractors"));
	world_done(&w);
}

static void admission(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, basic);
	w.facts.op = NULL;
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	w.facts.op = &w.op;
	w.op = (struct op){.kind = OP_CONNECT};
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	w.facts.workload = "other";
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_string_equal(w.v.reason, "no rule gives workload other anything on customers-db");
	w.facts.workload = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	world_done(&w);
	world_init(&w, "rules:\n" RULE("all", "    effect: allow\n") RULE(
			       "locked", "    effect: deny\n    message: under examination\n"));
	w.facts.op = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_string_equal(w.v.reason, "refused by rule \"locked\": under examination");
	world_done(&w);
	world_init(&w, "rules: []\n");
	w.facts.op = NULL;
	assert_int_equal(decide(&w), EFFECT_REFUSE);
	assert_int_equal(policy_n_rules(w.policy), 0);
	world_done(&w);
}

static void obligations_add_up(void **state)
{
	struct world w;

	(void)state;
	world_init(
		&w,
		"rules:\n" RULE("a", "    when: { sql: { verbs: [update] } }\n    effect: approve\n"
				     "    approval: { groups: [dba, lead], wait: 5m, valid: 1m }\n")
			RULE("b", "    when: { sql: { verbs: [update] } }\n    effect: approve\n"
				  "    approval: { groups: [lead, boss], wait: 30s, valid: 1h }\n")
				RULE("c", "    when: { sql: { verbs: [select, insert] } }\n    "
					  "effect: allow\n"
					  "    durable: true\n"
					  "    mask:\n      - { columns: [public.customers.ssn, "
					  "'*.*.card'], "
					  "with: last4 }\n")
					RULE("d", "    when: { sql: { verbs: [insert] } }\n    "
						  "effect: approve\n"
						  "    approval: { groups: [dba] }\n")
						RULE("e", "    when: { sql: { verbs: [insert] } "
							  "}\n    effect: approve\n"
							  "    approval: { groups: [boss] }\n"));
	assert_int_equal(decide_one(&w, SQL_UPDATE, "public", "customers", W), EFFECT_APPROVE);
	assert_int_equal(w.v.n_approver_groups, 1);
	assert_string_equal(w.v.approver_groups[0], "lead");
	assert_int_equal(w.v.approval_wait_s, 30);
	assert_int_equal(w.v.approval_valid_s, 60);
	/* Masks are in force although the rule that has them is about other verbs. */
	assert_int_equal(w.v.n_masks, 2);
	assert_string_equal(w.v.masks[0]->rule, "c");
	assert_int_equal(decide_one(&w, SQL_SELECT, "public", "customers", R), EFFECT_ALLOW);
	assert_true(w.v.durable);
	assert_int_equal(w.v.n_masks, 2);
	assert_int_equal(w.v.masks[1]->kind, MASK_LAST4);
	assert_true(policy_masks_in_force(w.policy, &w.facts));
	/* Approvers that nobody can be at once. */
	assert_int_equal(decide_one(&w, SQL_INSERT, "public", "customers", W), EFFECT_REFUSE);
	assert_int_equal(w.v.n_approver_groups, 0);
	assert_int_equal(w.v.n_masks, 0);
	w.facts.workload = "other";
	assert_false(policy_masks_in_force(w.policy, &w.facts));
	world_done(&w);
}

static void a_mask_that_may_apply_does(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, "rules:\n" RULE("all",
				       "    effect: allow\n") "  - name: masked for psql\n    who: "
							      "{ exe: '*/psql' }\n    on: '*'\n"
							      "    effect: allow\n"
							      "    mask: [{ columns: [public.c.d], "
							      "with: redact }]\n");
	w.process.exe = "/bin/other";
	assert_int_equal(decide_one(&w, SQL_SELECT, "a", "b", R), EFFECT_ALLOW);
	assert_int_equal(w.v.n_masks, 0);
	w.process.has_proc = false;
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	assert_int_equal(w.v.n_masks, 1);
	assert_int_equal(w.v.n_rules, 1);
	assert_true(policy_masks_in_force(w.policy, &w.facts));
	world_done(&w);
}

static void resolved_names_replace_written_ones(void **state)
{
	struct world w;
	struct sql_table t = {.schema = "public", .name = "customers", .access = R};
	struct sql_statement s = {.verbs = SQL_SELECT, .kind = "", .n_tables = 1, .tables = &t};
	struct sql_class resolved = {.verbs = SQL_SELECT, .n_statements = 1, .statements = &s};

	(void)state;
	world_init(&w, basic);
	assert_int_equal(decide_one(&w, SQL_SELECT, NULL, "customers", R), EFFECT_REFUSE);
	w.facts.sql = &resolved;
	assert_int_equal(decide(&w), EFFECT_ALLOW);
	world_done(&w);
}

static void reasons_are_clean_text(void **state)
{
	struct world w;
	char name[600];

	(void)state;
	world_init(&w, basic);
	assert_int_equal(decide_one(&w, SQL_SELECT, "pub\nlic", "\x1b[2Jx\xff", R), EFFECT_REFUSE);
	assert_null(strpbrk(w.v.reason, "\n\x1b\xff"));
	for (size_t i = 0; i + 2 < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xa9", 3);
	for (size_t pad = 0; pad < 2; pad++) {
		assert_int_equal(decide_one(&w, SQL_SELECT, pad ? "a" : "aa", name, R),
				 EFFECT_REFUSE);
		assert_int_equal(strlen(w.v.reason), VERDICT_REASON_MAX - 1);
		assert_true((unsigned char)w.v.reason[VERDICT_REASON_MAX - 2] != 0xc3);
	}
	world_done(&w);
}

static void globs(void **state)
{
	static const struct {
		const char *pattern;
		const char *text;
		bool match;
	} cases[] = {
		{"", "", true},	       {"", "a", false},       {"*", "", true},
		{"*", "abc", true},    {"?", "", false},       {"?", "a", true},
		{"a*c", "abbc", true}, {"a*c", "abcd", false}, {"*a*", "bbabb", true},
		{"a**b", "ab", true},  {"*ab", "aab", true},   {"*abab", "ababab", true},
		{"ab?", "ab", false},  {"A", "a", false},      {"a.b", "axb", false},
		{"[a]", "a", false},   {"x*", "abc", false},   {"*?", "", false},
	};
	char text[4001];
	char pattern[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(policy_glob(cases[i].pattern, cases[i].text), cases[i].match);
	/* Not exponential. */
	memset(text, 'a', 4000);
	text[4000] = '\0';
	for (size_t i = 0; i < 254; i += 2)
		memcpy(pattern + i, "*a", 3);
	pattern[254] = 'b';
	pattern[255] = '\0';
	assert_false(policy_glob(pattern, text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_effect_says_why),
		cmocka_unit_test(every_part_must_be_allowed),
		cmocka_unit_test(unknown_needs_a_rule_that_says_so),
		cmocka_unit_test(names_without_schema_fail_closed),
		cmocka_unit_test(what_needs_no_rule),
		cmocka_unit_test(calls_are_by_function),
		cmocka_unit_test(callers),
		cmocka_unit_test(admission),
		cmocka_unit_test(obligations_add_up),
		cmocka_unit_test(a_mask_that_may_apply_does),
		cmocka_unit_test(resolved_names_replace_written_ones),
		cmocka_unit_test(reasons_are_clean_text),
		cmocka_unit_test(globs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
