#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/policy.h"
#include "proto/sql/classify.h"

/* Classifier and policy together: what docs/policy.md says of statements. */

static const char rules[] =
	"rules:\n"
	"  - name: read\n    who: { workload: support-agent }\n    on: customers-db\n"
	"    when: { sql: { verbs: [select, show], tables: [public.customers, public.orders] } }\n"
	"    effect: allow\n"
	"  - name: change\n    who: { workload: support-agent }\n    on: customers-db\n"
	"    when: { sql: { verbs: [insert, update], tables: [public.*] } }\n"
	"    effect: approve\n    approval: { groups: [dba] }\n"
	"  - name: sequences\n    who: { workload: support-agent }\n    on: customers-db\n"
	"    when: { sql: { verbs: [call], functions: ['*.nextval', public.total] } }\n"
	"    effect: allow\n"
	"  - name: copy out\n    who: { workload: support-agent }\n    on: customers-db\n"
	"    when: { sql: { verbs: [copy_out, explain], tables: [public.orders] } }\n"
	"    effect: allow\n"
	"  - name: no deletes\n    who: { workload: '*' }\n    on: '*'\n"
	"    when: { sql: { verbs: [delete, truncate] } }\n    effect: deny\n"
	"    message: ask the data office to remove records\n";

static const struct {
	const char *sql;
	enum effect effect;
	const char *says;
} cases[] = {
	{"select * from public.customers", EFFECT_ALLOW, "allowed by rule \"read\""},
	{"select 1", EFFECT_ALLOW, "read"},
	{"", EFFECT_ALLOW, "nothing in it needs a rule"},
	{"begin; select 1; commit", EFFECT_ALLOW, "read"},
	{"savepoint a", EFFECT_ALLOW, ""},
	{"set transaction isolation level serializable", EFFECT_ALLOW, ""},
	{"set session characteristics as transaction read only", EFFECT_ALLOW, ""},
	{"set search_path to public", EFFECT_ALLOW, ""},
	{"set time zone 'UTC'", EFFECT_ALLOW, ""},
	{"set local statement_timeout = 5", EFFECT_ALLOW, ""},
	{"show server_version", EFFECT_ALLOW, "read"},
	{"set role admin", EFFECT_REFUSE, "no rule allows set"},
	{"set session authorization admin", EFFECT_REFUSE, "no rule allows set"},
	{"set standard_conforming_strings = off", EFFECT_REFUSE, "no rule allows set"},
	{"select set_config('role', 'admin', false)", EFFECT_REFUSE, "no rule allows set"},
	{"reset all", EFFECT_REFUSE, "no rule allows set"},
	{"set client_encoding to 'SJIS'", EFFECT_REFUSE, "no rule allows set"},
	{"select * from public.customers, public.salaries", EFFECT_REFUSE,
	 "no rule allows select on public.salaries for workload support-agent"},
	{"select (select max(pay) from public.salaries)", EFFECT_REFUSE, "public.salaries"},
	{"select 1 where exists (table public.salaries)", EFFECT_REFUSE, "public.salaries"},
	{"update public.customers set name = 'x' where id = 1", EFFECT_APPROVE,
	 "approval is asked for by rule \"change\""},
	{"update public.customers set name = s.name from public.salaries s", EFFECT_REFUSE,
	 "select on public.salaries"},
	{"insert into public.log select id from public.orders", EFFECT_APPROVE, "change"},
	{"insert into public.log select id from public.salaries", EFFECT_REFUSE,
	 "select on public.salaries"},
	{"insert into public.log values (nextval('s'))", EFFECT_APPROVE, "change"},
	{"insert into public.log values (setval('s', 1))", EFFECT_REFUSE,
	 "call of function setval"},
	{"insert into secret.log values (1)", EFFECT_REFUSE, "insert on secret.log"},
	{"with d as (delete from public.orders returning *) select * from d", EFFECT_REFUSE,
	 "refused by rule \"no deletes\": ask the data office to remove records"},
	{"select 1; truncate public.orders", EFFECT_REFUSE, "no deletes"},
	{"prepare p as delete from public.orders", EFFECT_REFUSE, "no deletes"},
	{"prepare p as select * from public.orders", EFFECT_ALLOW, "read"},
	{"execute p", EFFECT_REFUSE, "cannot be classified"},
	{"declare c cursor for select * from public.salaries", EFFECT_REFUSE, "public.salaries"},
	{"deallocate all", EFFECT_ALLOW, ""},
	{"copy public.orders to stdout", EFFECT_ALLOW, ""},
	{"copy (select * from public.salaries) to stdout", EFFECT_REFUSE, "public.salaries"},
	{"copy (delete from public.orders returning *) to stdout", EFFECT_REFUSE, "no deletes"},
	{"copy public.orders to '/tmp/x'", EFFECT_REFUSE, "copy_file"},
	{"copy public.orders from program 'id'", EFFECT_REFUSE, "no rule allows"},
	{"explain select * from public.orders", EFFECT_ALLOW, "copy out"},
	{"explain analyze delete from public.orders", EFFECT_REFUSE, "no deletes"},
	{"explain select * from public.salaries", EFFECT_REFUSE, "explain on public.salaries"},
	{"select public.total(1), lower('A'), count(*) from public.orders", EFFECT_ALLOW, ""},
	{"select public.total(1), pg_read_file('/etc/passwd')", EFFECT_REFUSE,
	 "call of function pg_read_file"},
	{"select query_to_xml('table secret', true, true, '')", EFFECT_REFUSE, "query_to_xml"},
	{"call public.total(1)", EFFECT_ALLOW, "sequences"},
	{"call public.other(1)", EFFECT_REFUSE, "call of function public.other"},
	{"do $$ begin end $$", EFFECT_REFUSE, "cannot be classified"},
	{"selct 1", EFFECT_REFUSE, "syntax error at or near \"selct\""},
	{"drop table public.orders", EFFECT_REFUSE, "drop on public.orders"},
	{"create table public.x as select * from public.orders", EFFECT_REFUSE,
	 "create on public.x"},
	{"grant select on public.orders to x", EFFECT_REFUSE, "grant on public.orders"},
	{"create function f() returns int language sql as 'select 1'", EFFECT_REFUSE,
	 "no rule allows create"},
	{"vacuum", EFFECT_REFUSE, "no rule allows maintain"},
	{"lock table public.orders", EFFECT_REFUSE, "lock on public.orders"},
	{"select * from public.orders for update", EFFECT_REFUSE, "lock on public.orders"},
	{"merge into public.orders o using public.customers c on o.id = c.id "
	 "when matched then delete",
	 EFFECT_REFUSE, "no deletes"},
	{"listen x", EFFECT_REFUSE, "no rule allows listen"},
	{"select pg_notify('x', 'y')", EFFECT_REFUSE, "no rule allows notify"},
};

static void statements(void **state)
{
	struct diags d = DIAGS_INIT;
	struct sql_cache *cache = NULL;
	struct policy *p = NULL;

	(void)state;
	assert_int_equal(sql_cache_new(64, 1024 * 1024, &cache), 0);
	assert_int_equal(policy_load(span_str(rules), "rules", NULL, &d, &p), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct sql_class *class = sql_classify(cache, span_str(cases[i].sql));
		const struct op op = {.id = 1, .kind = OP_RUN, .sql = class};
		const struct facts facts = {
			.workload = "support-agent", .resource = "customers-db", .op = &op};
		struct verdict v;

		policy_decide(p, &facts, &v);
		if (v.effect != cases[i].effect || !strstr(v.reason, cases[i].says))
			fail_msg("%s: effect %d, %s", cases[i].sql, v.effect, v.reason);
		sql_class_release(cache, class);
	}
	policy_unref(p);
	sql_cache_free(cache);
	diags_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(statements)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
