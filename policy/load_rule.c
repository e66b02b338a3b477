#include "policy/load.h"

#include <stdlib.h>

#define VERBS_MAX 40

/* Each pattern must match a name of the configuration: a rule that can never apply is a mistake,
 * and a mistyped name in a rule that denies would let through what it was written to stop. */
static void check_names(struct rule_loader *l, const struct yaml_node *node, const char *what,
			const char *const *names, size_t n)
{
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		const char *near;
		size_t i = 0;

		if (x->kind != YAML_SCALAR)
			continue;
		while (i < n && !policy_glob(x->text, names[i]))
			i++;
		if (i < n)
			continue;
		near = yaml_suggest(x->text, names, n);
		if (near)
			yaml_fault(&l->doc, x,
				   "no %s \"%s\" in the configuration: did you mean \"%s\"?", what,
				   x->text, near);
		else
			yaml_fault(&l->doc, x,
				   "no %s of the configuration is called or matches \"%s\"", what,
				   x->text);
	}
}

/* The names in an array of structs that begin with their name. NULL: not all of them are known, as
 * the configuration itself has faults: then nothing is said of a name that is not there. */
static const char *const *names_of(struct rule_loader *l, const void *array, size_t n,
				   size_t stride)
{
	const char **names;

	if (n == 0 && l->config->partial)
		return NULL;
	names = policy_space(l, n > 0 ? n : 1, sizeof(*names));
	for (size_t i = 0; names && i < n; i++) {
		memcpy(&names[i], (const char *)array + i * stride, sizeof(names[i]));
		if (!names[i])
			return NULL;
	}
	return names;
}

#define CHECK_NAMES(l, node, what, array, n)                                                   \
	do {                                                                                   \
		_Static_assert(offsetof(__typeof__(*(array)), name) == 0, "name comes first"); \
		const char *const *names_ = names_of(l, array, n, sizeof(*(array)));           \
		if (names_)                                                                    \
			check_names(l, node, what, names_, n);                                 \
	} while (0)

static void load_uids(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	if (node && !yaml_item(node))
		yaml_fault(&l->doc, node, "must not be an empty list");
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		uint64_t uid;
		size_t at;

		if (yaml_uint(&l->doc, x, 0, UINT32_MAX - 1, &uid) < 0)
			continue;
		if (rule->n_uids == UIDS_MAX) {
			yaml_fault(&l->doc, x, "more than %d users", UIDS_MAX);
			return;
		}
		for (at = rule->n_uids; at > 0 && rule->uids[at - 1] > uid; at--)
			rule->uids[at] = rule->uids[at - 1];
		rule->uids[at] = (uint32_t)uid;
		rule->n_uids++;
	}
}

void load_who(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	static const struct yaml_key keys[] = {{"workload", false}, {"groups", false},
					       {"subject", false},  {"issuer", false},
					       {"exe", false},	    {"uid", false}};
	struct yaml_node *k[ARRAY_SIZE(keys)];
	const struct config *c = l->config;

	if (!node || yaml_members(&l->doc, node, keys, ARRAY_SIZE(keys), k) < 0)
		return;
	if (node->n == 0)
		yaml_fault(&l->doc, node, "is empty: say workload: \"*\" if it is for everybody");
	load_patterns(l, k[0], &rule->workloads);
	if (c && k[0])
		CHECK_NAMES(l, k[0], "workload", c->workloads, c->n_workloads);
	load_patterns(l, k[1], &rule->groups);
	for (size_t i = 0; i < rule->groups.n; i++)
		if (strpbrk(rule->groups.list[i], "*?"))
			yaml_fault(&l->doc, k[1], "groups are names, not patterns");
	load_patterns(l, k[2], &rule->subjects);
	load_patterns(l, k[3], &rule->issuers);
	if (c && k[3])
		CHECK_NAMES(l, k[3], "issuer", c->issuers, c->n_issuers);
	load_patterns(l, k[4], &rule->exes);
	load_uids(l, k[5], rule);
}

void load_on(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	const struct config *c = l->config;

	load_patterns(l, node, &rule->resources);
	if (c && node)
		CHECK_NAMES(l, node, "resource", c->resources, c->n_resources);
}

static void load_verb(struct rule_loader *l, const struct yaml_node *node, bool limited,
		      struct rule *rule)
{
	const char *names[VERBS_MAX];
	size_t n = 0;
	size_t i;

	for (; sql_verb_names[n].name && n < VERBS_MAX - 1; n++)
		names[n] = sql_verb_names[n].name;
	names[n++] = "*";
	if (yaml_choice(&l->doc, node, names, n, &i) < 0)
		return;
	if (i < n - 1)
		rule->verbs |= sql_verb_names[i].verb;
	else if (rule->effect == RULE_DENY)
		rule->verbs |= UINT32_MAX;
	else /* "every verb on these tables" must not mean every function or setting */
		rule->verbs |= limited ? SQL_ON_TABLES | SQL_IMPLIED : SQL_KNOWN;
}

static int compare_names(const void *a, const void *b)
{
	const struct name_pattern *x = a;
	const struct name_pattern *y = b;
	int r = strcmp(x->schema, y->schema);

	return r != 0 ? r : strcmp(x->name, y->name);
}

/* "*" or "schema.name". */
static void load_name(struct rule_loader *l, const struct yaml_node *node,
		      struct name_patterns *names)
{
	struct name_pattern *p = &names->list[names->n];
	const char *text;
	const char *dot;

	if (yaml_str(&l->doc, node, PATTERN_BYTES, &text) < 0)
		return;
	dot = strchr(text, '.');
	if (streq(text, "*")) {
		p->schema = p->name = "*";
	} else if (!dot || dot == text || !dot[1] || strchr(dot + 1, '.')) {
		yaml_fault(&l->doc, node,
			   "\"%s\" must be schema.name, such as public.%s or public.*", text,
			   dot ? "customers" : text);
		return;
	} else {
		p->schema = arena_strndup(&l->policy->arena, span_of(text, (size_t)(dot - text)));
		p->name = policy_keep(l, dot + 1);
		if (!p->schema || !p->name) {
			l->no_memory = true;
			return;
		}
	}
	names->n++;
}

static void load_names(struct rule_loader *l, const struct yaml_node *node,
		       struct name_patterns *names)
{
	size_t unique = 0;

	if (!node)
		return;
	if (!yaml_item(node)) {
		yaml_fault(&l->doc, node, "must not be an empty list");
		return;
	}
	names->list = policy_space(l, PATTERNS_MAX, sizeof(*names->list));
	if (!names->list)
		return;
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		if (names->n == PATTERNS_MAX) {
			yaml_fault(&l->doc, x, "more than %d names", PATTERNS_MAX);
			return;
		}
		load_name(l, x, names);
	}
	if (names->n > 1)
		qsort(names->list, names->n, sizeof(*names->list), compare_names);
	for (size_t i = 0; i < names->n; i++)
		if (i == 0 || compare_names(&names->list[i], &names->list[unique - 1]) != 0)
			names->list[unique++] = names->list[i];
	names->n = unique;
}

static void check_when(struct rule_loader *l, const struct yaml_node *verbs,
		       const struct yaml_node *tables, const struct yaml_node *functions,
		       const struct rule *rule)
{
	if (functions && !(rule->verbs & SQL_CALL))
		yaml_fault(&l->doc, functions, "functions have no effect without the verb call");
	if (!tables || rule->effect == RULE_DENY)
		return;
	if (rule->verbs & SQL_UNKNOWN)
		yaml_fault(&l->doc, verbs,
			   "unknown cannot be limited to tables: write a rule of its own for it");
	if ((rule->verbs & SQL_CALL) && !functions)
		yaml_fault(&l->doc, verbs,
			   "call in a rule with tables needs functions: which may be called");
}

void load_when(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	static const struct yaml_key when_keys[] = {{"sql", true}};
	static const struct yaml_key sql_keys[] = {
		{"verbs", true}, {"tables", false}, {"functions", false}};
	struct yaml_node *when[ARRAY_SIZE(when_keys)];
	struct yaml_node *k[ARRAY_SIZE(sql_keys)];

	if (!node) {
		rule->verbs = rule->effect == RULE_DENY ? UINT32_MAX : SQL_KNOWN;
		return;
	}
	rule->has_when = true;
	if (yaml_members(&l->doc, node, when_keys, 1, when) < 0 || !when[0] ||
	    yaml_members(&l->doc, when[0], sql_keys, ARRAY_SIZE(sql_keys), k) < 0)
		return;
	if (k[0] && !yaml_item(k[0]))
		yaml_fault(&l->doc, k[0], "must not be an empty list");
	for (const struct yaml_node *x = yaml_item(k[0]); x; x = yaml_next(k[0], x))
		load_verb(l, x, k[1] != NULL, rule);
	load_names(l, k[1], &rule->tables);
	load_names(l, k[2], &rule->functions);
	check_when(l, k[0], k[1], k[2], rule);
}

/* schema.table.column */
static int split_column(struct rule_loader *l, const char *text, struct mask_rule *ret)
{
	const char *first = strchr(text, '.');
	const char *second = first ? strchr(first + 1, '.') : NULL;
	struct arena *a = &l->policy->arena;

	if (!second || first == text || second == first + 1 || !second[1] ||
	    strchr(second + 1, '.'))
		return -EINVAL;
	ret->schema = arena_strndup(a, span_of(text, (size_t)(first - text)));
	ret->table = arena_strndup(a, span_of(first + 1, (size_t)(second - first - 1)));
	ret->column = policy_keep(l, second + 1);
	if (!ret->schema || !ret->table || !ret->column)
		l->no_memory = true;
	return 0;
}

static void load_mask(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	static const struct yaml_key keys[] = {
		{"columns", false}, {"with", true}, {"detect", false}};
	static const char *const kinds[] = {"last4", "redact"};
	static const enum mask_kind kind_of[] = {MASK_LAST4, MASK_REDACT};
	struct yaml_node *k[ARRAY_SIZE(keys)];
	size_t kind = ARRAY_SIZE(kinds) - 1;

	if (yaml_members(&l->doc, node, keys, ARRAY_SIZE(keys), k) < 0)
		return;
	if (k[2])
		yaml_fault(&l->doc, k[2]->key,
			   "content detectors are not available in this version: name columns");
	else if (!k[0])
		yaml_fault(&l->doc, node, "key \"columns\" is missing");
	(void)yaml_choice(&l->doc, k[1], kinds, ARRAY_SIZE(kinds), &kind);
	if (k[0] && !yaml_item(k[0]))
		yaml_fault(&l->doc, k[0], "must not be an empty list");
	for (const struct yaml_node *x = yaml_item(k[0]); x; x = yaml_next(k[0], x)) {
		struct mask_rule *m = &rule->masks[rule->n_masks];
		const char *text;

		if (yaml_str(&l->doc, x, PATTERN_BYTES, &text) < 0)
			continue;
		if (rule->n_masks == VERDICT_MASKS_MAX) {
			yaml_fault(&l->doc, x, "more than %d columns", VERDICT_MASKS_MAX);
			return;
		}
		if (split_column(l, text, m) < 0) {
			yaml_fault(&l->doc, x, "\"%s\" must be schema.table.column", text);
			continue;
		}
		m->kind = kind_of[kind];
		m->rule = rule->name;
		rule->n_masks++;
	}
}

static int compare_masks(const void *a, const void *b)
{
	const struct mask_rule *x = a;
	const struct mask_rule *y = b;
	int r = strcmp(x->schema, y->schema);

	r = r != 0 ? r : strcmp(x->table, y->table);
	r = r != 0 ? r : strcmp(x->column, y->column);
	return r != 0 ? r : (int)x->kind - (int)y->kind;
}

void load_masks(struct rule_loader *l, const struct yaml_node *node, struct rule *rule)
{
	if (!node)
		return;
	if (node->kind != YAML_SEQUENCE || node->n == 0) {
		yaml_fault(&l->doc, node, "must be a list of { columns: […], with: last4 }");
		return;
	}
	rule->masks = policy_space(l, VERDICT_MASKS_MAX, sizeof(*rule->masks));
	if (!rule->masks)
		return;
	for (const struct yaml_node *x = node->first; x && !l->no_memory; x = x->next)
		load_mask(l, x, rule);
	if (rule->n_masks > 1 && !l->no_memory)
		qsort(rule->masks, rule->n_masks, sizeof(*rule->masks), compare_masks);
}
