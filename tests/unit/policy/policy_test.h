/* policy_test.h - statements and callers made by hand, for the tests of policy.
 * Used by: tests/unit/policy.
 * Promises: nothing here needs the classifier. */
#ifndef SLUICE_TESTS_POLICY_TEST_H
#define SLUICE_TESTS_POLICY_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/policy.h"

#define R SQL_READ
#define W SQL_WRITE

struct world {
	struct policy *policy;
	struct facts facts;
	struct principal who;
	struct process process;
	struct op op;
	struct sql_class sql;
	struct sql_statement statements[4];
	struct sql_table tables[8];
	size_t n_tables;
	struct sql_function functions[8];
	size_t n_functions;
	struct verdict v;
};

static inline struct policy *load(const char *text)
{
	struct diags d = DIAGS_INIT;
	struct policy *p = NULL;
	int r = policy_load(span_str(text), "p.yaml", NULL, &d, &p);

	if (r < 0)
		diags_print(&d, stderr);
	assert_int_equal(r, 0);
	diags_done(&d);
	return p;
}

/* A caller: workload support-agent of group support, psql, on customers-db. */
static inline void world_init(struct world *w, const char *policy)
{
	memset(w, 0, sizeof(*w));
	w->policy = load(policy);
	w->who = (struct principal){.issuer_name = "cluster",
				    .subject = "agent-7",
				    .n_groups = 1,
				    .groups = {"support"}};
	w->process = (struct process){.uid = 1000, .has_proc = true, .exe = "/usr/bin/psql"};
	w->facts = (struct facts){.workload = "support-agent",
				  .resource = "customers-db",
				  .principal = &w->who,
				  .process = &w->process,
				  .op = &w->op};
	w->op = (struct op){.id = 1, .kind = OP_RUN, .sql = &w->sql};
	w->sql.statements = w->statements;
}

static inline void world_done(struct world *w)
{
	policy_unref(w->policy);
}

/* Begin another operation of no statements. */
static inline void op_new(struct world *w)
{
	w->sql = (struct sql_class){.statements = w->statements};
	w->n_tables = w->n_functions = 0;
}

static inline struct sql_statement *statement(struct world *w, uint32_t verbs)
{
	struct sql_statement *s = &w->statements[w->sql.n_statements++];

	*s = (struct sql_statement){.verbs = verbs,
				    .kind = "",
				    .tables = &w->tables[w->n_tables],
				    .functions = &w->functions[w->n_functions]};
	w->sql.verbs |= verbs;
	return s;
}

/* A table of the statement made last. */
static inline void table(struct world *w, const char *schema, const char *name, uint32_t access)
{
	w->tables[w->n_tables++] =
		(struct sql_table){.schema = schema, .name = name, .access = access};
	w->statements[w->sql.n_statements - 1].n_tables++;
}

static inline void function(struct world *w, const char *schema, const char *name, bool harmless)
{
	w->functions[w->n_functions++] =
		(struct sql_function){.schema = schema, .name = name, .harmless = harmless};
	w->statements[w->sql.n_statements - 1].n_functions++;
}

static inline enum effect decide(struct world *w)
{
	memset(&w->v, 0xa5, sizeof(w->v));
	policy_decide(w->policy, &w->facts, &w->v);
	return w->v.effect;
}

/* One statement with at most one table. */
static inline enum effect decide_one(struct world *w, uint32_t verbs, const char *schema,
				     const char *name, uint32_t access)
{
	op_new(w);
	statement(w, verbs);
	if (name)
		table(w, schema, name, access);
	return decide(w);
}

#endif
