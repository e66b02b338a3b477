#include "session/mask_relations.h"

#include "policy/policy.h"

/* Relations followed from one: more are taken as covered. */
#define FOLLOW_MAX 4096

/* Relations met, each once. */
struct met {
	size_t n;
	bool overflow;
	const struct pg_relation *list[FOLLOW_MAX];
};

/* Not by an initialiser: that would clear the whole list, several times an operation. */
static void begin_at(struct met *m, const struct pg_relation *rel)
{
	m->overflow = false;
	m->list[0] = rel;
	m->n = 1;
}

static void meet(struct met *m, const struct pg_catalog *c, uint32_t oid)
{
	const struct pg_relation *rel = pg_catalog_by_oid(c, oid);

	/* Not in the catalog: came about since, and is not known to be free of masks. */
	if (!rel) {
		m->overflow = true;
		return;
	}
	for (size_t i = 0; i < m->n; i++)
		if (m->list[i] == rel)
			return;
	if (m->n == FOLLOW_MAX)
		m->overflow = true;
	else
		m->list[m->n++] = rel;
}

/* Follow one direction from what has been met at `from` on. */
static void follow(struct met *m, const struct pg_catalog *c, size_t from, bool up)
{
	for (size_t i = from; i < m->n && !m->overflow; i++) {
		const struct pg_oids *next = up ? &m->list[i]->parents : &m->list[i]->children;

		for (size_t k = 0; k < next->n && !m->overflow; k++)
			meet(m, c, next->oids[k]);
	}
}

static bool rule_covers(const struct mask_rule *rule, const char *schema, const char *table)
{
	return (!schema || policy_glob(rule->schema, schema)) && policy_glob(rule->table, table);
}

void mask_set_of_name(const struct verdict *verdict, const char *schema, const char *table,
		      struct mask_set *ret_set)
{
	ret_set->n = 0;
	ret_set->everything = false;
	for (size_t i = 0; i < verdict->n_masks; i++)
		if (rule_covers(verdict->masks[i], schema, table))
			ret_set->rules[ret_set->n++] = verdict->masks[i];
}

void mask_set_of(const struct verdict *verdict, const struct pg_catalog *catalog,
		 const struct pg_relation *rel, struct mask_set *ret_set)
{
	struct met family;
	struct met below;

	if (rel->parents.n == 0 && rel->children.n == 0) {
		mask_set_of_name(verdict, rel->schema, rel->name, ret_set);
		return;
	}
	begin_at(&family, rel);
	follow(&family, catalog, 0, true);
	begin_at(&below, rel);
	follow(&below, catalog, 0, false);
	ret_set->n = 0;
	ret_set->everything = family.overflow || below.overflow;
	for (size_t i = 0; i < verdict->n_masks; i++) {
		bool covers = false;

		for (size_t k = 0; k < family.n && !covers; k++)
			covers = rule_covers(verdict->masks[i], family.list[k]->schema,
					     family.list[k]->name);
		for (size_t k = 0; k < below.n && !covers; k++)
			covers = rule_covers(verdict->masks[i], below.list[k]->schema,
					     below.list[k]->name);
		if (covers || ret_set->everything)
			ret_set->rules[ret_set->n++] = verdict->masks[i];
	}
}

enum mask_kind mask_set_column(const struct mask_set *set, const char *column,
			       const struct mask_rule **ret_rule)
{
	enum mask_kind kind = set->everything ? MASK_REDACT : MASK_NONE;
	const struct mask_rule *rule = set->everything && set->n > 0 ? set->rules[0] : NULL;

	for (size_t i = 0; i < set->n; i++) {
		if (set->rules[i]->kind > kind && policy_glob(set->rules[i]->column, column)) {
			kind = set->rules[i]->kind;
			rule = set->rules[i];
		}
	}
	if (ret_rule && kind != MASK_NONE)
		*ret_rule = rule;
	return kind;
}

bool mask_set_any(const struct mask_set *set, const struct pg_relation *rel,
		  const char **ret_column, const struct mask_rule **ret_rule)
{
	for (size_t i = 0; set->n > 0 && i < rel->n_columns; i++) {
		if (!rel->columns[i] ||
		    mask_set_column(set, rel->columns[i], ret_rule) == MASK_NONE)
			continue;
		*ret_column = rel->columns[i];
		return true;
	}
	return false;
}

bool mask_shows_samples(const char *schema, const char *table)
{
	static const char *const samples[] = {"pg_statistic", "pg_stats", "pg_statistic_ext_data",
					      "pg_stats_ext", "pg_stats_ext_exprs"};

	if (schema && !streq(schema, "pg_catalog"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		if (streq(table, samples[i]))
			return true;
	return false;
}

static bool has_masks(const struct verdict *verdict, const struct pg_catalog *catalog,
		      const struct pg_relation *rel)
{
	const struct mask_rule *rule;
	const char *column;
	struct mask_set set;

	mask_set_of(verdict, catalog, rel, &set);
	return mask_set_any(&set, rel, &column, &rule);
}

bool mask_reads_through(const struct verdict *verdict, const struct pg_catalog *catalog,
			const struct pg_relation *rel, const struct pg_relation **ret_rel)
{
	struct met met;

	/* pg_stats and its like are refused by name. */
	if (streq(rel->schema, "pg_catalog") || streq(rel->schema, "information_schema"))
		return false;
	begin_at(&met, rel);
	for (size_t i = 0; i < met.n; i++) {
		const struct pg_relation *at = met.list[i];

		if (at->calls) {
			*ret_rel = NULL;
			return true;
		}
		if (i > 0 &&
		    (has_masks(verdict, catalog, at) || mask_shows_samples(at->schema, at->name))) {
			*ret_rel = at;
			return true;
		}
		for (size_t k = 0; k < at->sources.n && !met.overflow; k++)
			meet(&met, catalog, at->sources.oids[k]);
		/* A view over a parent reads the children, which may have rules of their own. */
		for (size_t k = 0; i > 0 && k < at->children.n && !met.overflow; k++)
			meet(&met, catalog, at->children.oids[k]);
	}
	*ret_rel = NULL;
	return met.overflow;
}
