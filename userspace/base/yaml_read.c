#include "base/yaml.h"

#define SUGGEST_MAX	 32 /* longest word compared */
#define SUGGEST_DISTANCE 2

/* Edits (insert, delete, replace) between two words; more than SUGGEST_DISTANCE when long. */
static size_t distance(const char *a, const char *b)
{
	size_t row[SUGGEST_MAX + 1];
	size_t la = strlen(a);
	size_t lb = strlen(b);

	if (la > SUGGEST_MAX || lb > SUGGEST_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j];
			size_t edit = MIN(up, row[j - 1]) + 1;
			size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

			row[j] = MIN(edit, replace);
			diagonal = up;
		}
	}
	return row[lb];
}

const char *yaml_suggest(const char *word, const char *const *candidates, size_t n)
{
	const char *best = NULL;
	size_t least = SUGGEST_DISTANCE + 1;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(word, candidates[i]);

		/* A word of two letters is near to everything. */
		if (d < least && d < strlen(candidates[i])) {
			least = d;
			best = candidates[i];
		}
	}
	return best;
}

static const char *kind_name(enum yaml_kind kind)
{
	return kind == YAML_SCALAR ? "a text" : kind == YAML_SEQUENCE ? "a list" : "a mapping";
}

static void unknown_key(struct yaml_doc *doc, const struct yaml_node *key,
			const struct yaml_key *keys, size_t n)
{
	const char *names[YAML_MEMBERS_MAX];
	const char *near;

	n = MIN(n, (size_t)YAML_MEMBERS_MAX);
	for (size_t i = 0; i < n; i++)
		names[i] = keys[i].name;
	near = yaml_suggest(key->text, names, n);
	if (near)
		yaml_fault(doc, key, "unknown key \"%s\": did you mean \"%s\"?", key->text, near);
	else
		yaml_fault(doc, key, "unknown key \"%s\"", key->text);
}

int yaml_members(struct yaml_doc *doc, const struct yaml_node *node, const struct yaml_key *keys,
		 size_t n, struct yaml_node **ret_members)
{
	memset(ret_members, 0, n * sizeof(*ret_members));
	if (!node)
		return -EINVAL;
	if (node->kind != YAML_MAPPING) {
		yaml_fault(doc, node, "must be a mapping (key: value), not %s",
			   kind_name(node->kind));
		return -EINVAL;
	}
	for (struct yaml_node *x = node->first; x; x = x->next) {
		size_t i = 0;

		while (i < n && !streq(keys[i].name, x->key->text))
			i++;
		if (i < n)
			ret_members[i] = x;
		else
			unknown_key(doc, x->key, keys, n);
	}
	for (size_t i = 0; i < n; i++)
		if (keys[i].required && !ret_members[i])
			yaml_fault(doc, node, "key \"%s\" is missing", keys[i].name);
	return 0;
}

int yaml_str(struct yaml_doc *doc, const struct yaml_node *node, size_t max, const char **ret)
{
	if (!node)
		return -ENOENT;
	if (node->kind != YAML_SCALAR) {
		yaml_fault(doc, node, "must be a text, not %s", kind_name(node->kind));
		return -EINVAL;
	}
	if (node->text[0] == '\0' ||
	    (node->plain && (streq(node->text, "~") || streq(node->text, "null")))) {
		yaml_fault(doc, node, "must not be empty");
		return -EINVAL;
	}
	if (strlen(node->text) > max) {
		yaml_fault(doc, node, "is longer than %zu bytes", max);
		return -EINVAL;
	}
	for (const char *p = node->text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			yaml_fault(doc, node, "has a control character in it");
			return -EINVAL;
		}
	}
	*ret = node->text;
	return 0;
}

int yaml_bool(struct yaml_doc *doc, const struct yaml_node *node, bool *ret)
{
	if (!node)
		return -ENOENT;
	if (node->kind != YAML_SCALAR || !node->plain ||
	    (!streq(node->text, "true") && !streq(node->text, "false"))) {
		yaml_fault(doc, node, "must be true or false");
		return -EINVAL;
	}
	*ret = streq(node->text, "true");
	return 0;
}

/* Digits at the start of *p; false when there are none or the number does not fit. */
static bool digits(const char **p, uint64_t *ret)
{
	uint64_t v = 0;
	const char *s = *p;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	*p = s;
	*ret = v;
	return true;
}

int yaml_uint(struct yaml_doc *doc, const struct yaml_node *node, uint64_t min, uint64_t max,
	      uint64_t *ret)
{
	const char *p;
	uint64_t v;

	if (!node)
		return -ENOENT;
	p = node->kind == YAML_SCALAR ? node->text : "";
	if (!digits(&p, &v) || *p != '\0' || v < min || v > max) {
		yaml_fault(doc, node, "must be a number from %llu to %llu", (unsigned long long)min,
			   (unsigned long long)max);
		return -EINVAL;
	}
	*ret = v;
	return 0;
}

static void put_duration(char *out, size_t size, uint64_t ms)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms >= units[i].ms && ms % units[i].ms == 0) {
			(void)snprintf(out, size, "%llu%s", (unsigned long long)(ms / units[i].ms),
				       units[i].unit);
			return;
		}
	}
	(void)snprintf(out, size, "0s");
}

static bool parse_duration(const char *p, uint64_t *ret_ms)
{
	uint64_t v;
	uint64_t unit;

	if (!digits(&p, &v))
		return false;
	if (streq(p, "ms"))
		unit = 1;
	else if (streq(p, "s"))
		unit = 1000;
	else if (streq(p, "m"))
		unit = 60000;
	else if (streq(p, "h"))
		unit = 3600000;
	else if (streq(p, "d"))
		unit = 86400000;
	else
		return false;
	return !__builtin_mul_overflow(v, unit, ret_ms);
}

int yaml_duration(struct yaml_doc *doc, const struct yaml_node *node, uint64_t min_ms,
		  uint64_t max_ms, uint64_t *ret_ms)
{
	uint64_t ms = 0;
	char least[32];
	char most[32];

	if (!node)
		return -ENOENT;
	if (node->kind != YAML_SCALAR || !parse_duration(node->text, &ms)) {
		yaml_fault(doc, node,
			   "must be a length of time: a number and ms, s, m, h or d, such as 30s");
		return -EINVAL;
	}
	if (ms < min_ms || ms > max_ms) {
		put_duration(least, sizeof(least), min_ms);
		put_duration(most, sizeof(most), max_ms);
		yaml_fault(doc, node, "must be from %s to %s", least, most);
		return -EINVAL;
	}
	*ret_ms = ms;
	return 0;
}

int yaml_choice(struct yaml_doc *doc, const struct yaml_node *node, const char *const *names,
		size_t n, size_t *ret_index)
{
	char list[256] = "";
	const char *text;
	const char *near;
	size_t used = 0;
	int r;

	r = yaml_str(doc, node, YAML_TEXT_MAX, &text);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (streq(text, names[i])) {
			*ret_index = i;
			return 0;
		}
	}
	near = yaml_suggest(text, names, n);
	if (near) {
		yaml_fault(doc, node, "unknown value \"%s\": did you mean \"%s\"?", text, near);
		return -EINVAL;
	}
	for (size_t i = 0; i < n && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 i == 0 ? "" : ", ", names[i]);
	yaml_fault(doc, node, "unknown value \"%s\": must be one of %s", text, list);
	return -EINVAL;
}

const struct yaml_node *yaml_item(const struct yaml_node *list)
{
	return list && list->kind == YAML_SEQUENCE ? list->first : list;
}

const struct yaml_node *yaml_next(const struct yaml_node *list, const struct yaml_node *item)
{
	return list->kind == YAML_SEQUENCE ? item->next : NULL;
}

int yaml_strs(struct yaml_doc *doc, const struct yaml_node *node, size_t text_max, size_t max,
	      const char **ret, size_t *ret_n)
{
	size_t n = 0;
	bool bad = false;

	if (!node)
		return -ENOENT;
	if (!yaml_item(node)) {
		yaml_fault(doc, node, "must not be an empty list");
		return -EINVAL;
	}
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		const char *text;

		if (n == max) {
			yaml_fault(doc, x, "more than %zu values", max);
			return -EINVAL;
		}
		if (yaml_str(doc, x, text_max, &text) < 0)
			bad = true;
		else
			ret[n++] = text;
	}
	if (bad)
		return -EINVAL;
	*ret_n = n;
	return 0;
}
