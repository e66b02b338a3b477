#include "policy/rules.h"

static bool any_glob(const struct patterns *p, const char *text)
{
	for (size_t i = 0; i < p->n; i++)
		if (policy_glob(p->list[i], text))
			return true;
	return false;
}

/* Lower m to what one condition says; false when it is decided. */
static bool lower(enum match *m, const struct patterns *p, const char *text)
{
	if (p->n == 0)
		return true;
	if (!text)
		*m = MATCH_MAYBE;
	else if (!any_glob(p, text))
		*m = MATCH_NO;
	return *m != MATCH_NO;
}

static bool lower_groups(enum match *m, const struct patterns *p, const struct principal *who)
{
	if (p->n == 0)
		return true;
	if (!who) {
		*m = MATCH_MAYBE;
		return true;
	}
	for (size_t i = 0; i < p->n; i++)
		for (size_t g = 0; g < who->n_groups; g++)
			if (streq(p->list[i], who->groups[g]))
				return true;
	*m = MATCH_NO;
	return false;
}

static bool lower_uid(enum match *m, const struct rule *rule, const struct process *process)
{
	if (rule->n_uids == 0)
		return true;
	if (!process) {
		*m = MATCH_MAYBE;
		return true;
	}
	for (size_t i = 0; i < rule->n_uids; i++)
		if (rule->uids[i] == process->uid)
			return true;
	*m = MATCH_NO;
	return false;
}

enum match rule_match_caller(const struct rule *rule, const struct facts *facts)
{
	const struct principal *who = facts->principal;
	const struct process *process = facts->process;
	const char *exe = process && process->has_proc ? process->exe : NULL;
	enum match m = MATCH_YES;

	if (!lower(&m, &rule->resources, facts->resource) ||
	    !lower(&m, &rule->workloads, facts->workload) ||
	    !lower_groups(&m, &rule->groups, who) ||
	    !lower(&m, &rule->subjects, who ? who->subject : NULL) ||
	    !lower(&m, &rule->issuers, who ? who->issuer_name : NULL) ||
	    !lower(&m, &rule->exes, exe) || !lower_uid(&m, rule, process))
		return MATCH_NO;
	return m;
}

/* A name without schema is whatever the server's search path makes of it. strict: only a pattern
 * for any schema matches it; otherwise any schema's pattern does. */
static bool name_matches(const struct name_patterns *patterns, const char *schema, const char *name,
			 bool strict)
{
	for (size_t i = 0; i < patterns->n; i++) {
		const struct name_pattern *p = &patterns->list[i];

		if (schema ? !policy_glob(p->schema, schema) : strict && !streq(p->schema, "*"))
			continue;
		if (policy_glob(p->name, name))
			return true;
	}
	return false;
}

static bool any_name(const struct name_patterns *patterns)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (streq(patterns->list[i].schema, "*") && streq(patterns->list[i].name, "*"))
			return true;
	return false;
}

bool rule_covers(const struct rule *rule, const struct part *part)
{
	if (!(rule->verbs & part->verb))
		return false;
	if (part->verb == SQL_CALL) {
		if (rule->functions.n == 0)
			return rule->tables.n == 0;
		return part->function ? name_matches(&rule->functions, part->function->schema,
						     part->function->name, true)
				      : any_name(&rule->functions);
	}
	if (rule->tables.n == 0)
		return true;
	if (part->table)
		return name_matches(&rule->tables, part->table->schema, part->table->name, true);
	/* Without a table: `select 1`, SHOW … are within any limit of tables; what changes
	 * something that is no table, or runs by means that were not understood, is not. */
	return !(part->verb & (SQL_WRITES | SQL_COPY_FILE | SQL_FUNCTION_CALL | SQL_UNKNOWN));
}

bool rule_denies(const struct rule *rule, const struct part *part)
{
	if (!(rule->verbs & part->verb))
		return false;
	if (part->verb == SQL_CALL) {
		if (rule->functions.n == 0)
			return rule->tables.n == 0;
		return !part->function || name_matches(&rule->functions, part->function->schema,
						       part->function->name, false);
	}
	if (rule->tables.n == 0)
		return true;
	if (part->table)
		return name_matches(&rule->tables, part->table->schema, part->table->name, false);
	return (part->verb & (SQL_WRITES | SQL_COPY_FILE | SQL_UNKNOWN)) != 0;
}
