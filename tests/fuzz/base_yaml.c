/* YAML: whatever the bytes, a document is refused with a fault in its place or keeps its promises.
 */
#include <stdlib.h>

#include "base/utf8.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static size_t check_node(const struct yaml_node *n, unsigned depth)
{
	size_t children = 0;
	size_t all = 1;

	must(depth <= YAML_DEPTH_MAX && n->line > 0 && n->column > 0);
	if (n->kind == YAML_UNKNOWN) {
		must(!n->text && !n->first);
		return 1;
	}
	if (n->kind == YAML_SCALAR) {
		must(n->text && utf8_valid(span_str(n->text)) && !n->first);
		return 1;
	}
	for (const struct yaml_node *c = n->first; c; c = c->next) {
		must((c->key != NULL) == (n->kind == YAML_MAPPING));
		for (const struct yaml_node *other = c->next; c->key && other; other = other->next)
			must(!streq(c->key->text, other->key->text));
		all += check_node(c, depth + 1) + (c->key ? 1 : 0);
		children++;
	}
	must(children == n->n);
	return all;
}

static void read_all(struct yaml_doc *doc, const struct yaml_node *n)
{
	static const struct yaml_key keys[] = {{"name", true}, {"rules", false}, {"when", false}};
	static const char *const choices[] = {"allow", "deny"};
	struct yaml_node *members[ARRAY_SIZE(keys)];
	const char *list[4];
	const char *text;
	uint64_t v;
	size_t i;
	bool b;

	(void)yaml_members(doc, n, keys, ARRAY_SIZE(keys), members);
	if (yaml_str(doc, n, 100, &text) == 0)
		must(strlen(text) > 0 && strlen(text) <= 100);
	(void)yaml_bool(doc, n, &b);
	if (yaml_uint(doc, n, 5, 1000, &v) == 0)
		must(v >= 5 && v <= 1000);
	if (yaml_duration(doc, n, 5, 100000, &v) == 0)
		must(v >= 5 && v <= 100000);
	if (yaml_choice(doc, n, choices, ARRAY_SIZE(choices), &i) == 0)
		must(i < 2);
	if (yaml_strs(doc, n, 100, ARRAY_SIZE(list), list, &i) == 0)
		must(i > 0 && i <= ARRAY_SIZE(list));
	for (const struct yaml_node *c = n->first; c; c = c->next)
		read_all(doc, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diags d = DIAGS_INIT;
	struct yaml_doc doc;
	size_t nodes;
	int r = yaml_load(span_of(data, size), "f", &d, &doc);

	if (r < 0) {
		must(r == -ENOMEM || d.n > 0);
		diags_done(&d);
		return 0;
	}
	/* What is at fault may be left out of the tree. */
	nodes = check_node(doc.root, 0);
	must(doc.faults > 0 ? d.n > 0 && nodes <= doc.nodes : d.n == 0 && nodes == doc.nodes);
	read_all(&doc, doc.root);
	must(d.n + d.dropped == doc.faults);
	diags_sort(&d);
	for (size_t i = 1; i < d.n; i++)
		must(d.list[i - 1].line <= d.list[i].line);
	yaml_done(&doc);
	diags_done(&d);
	return 0;
}
