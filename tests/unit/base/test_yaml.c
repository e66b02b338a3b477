#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/yaml.h"

static char *printed(struct diags *d)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	diags_print(d, f);
	(void)fclose(f);
	return text;
}

static void faults_of(struct span text, const char *want)
{
	struct diags d = DIAGS_INIT;
	struct yaml_doc doc = {0};
	_cleanup_free_ char *got = NULL;
	int r = yaml_load(text, "f", &d, &doc);

	assert_true(r == -EINVAL || (r == 0 && doc.root && doc.faults == d.n));
	got = printed(&d);
	assert_true(d.n > 0);
	yaml_done(&doc);
	assert_string_equal(got, want);
	diags_done(&d);
}

static void faults(const char *text, const char *want)
{
	faults_of(span_str(text), want);
}

static void load(const char *text, struct diags *d, struct yaml_doc *doc)
{
	assert_int_equal(yaml_load(span_str(text), "f", d, doc), 0);
}

static void tree_and_places(void **state)
{
	struct diags d = DIAGS_INIT;
	struct yaml_doc doc;
	const struct yaml_node *n;

	(void)state;
	load("a: 1\nb:\n  - x\n  - {c: 'q'}\n", &d, &doc);
	assert_int_equal(doc.root->kind, YAML_MAPPING);
	assert_int_equal(doc.root->n, 2);
	n = doc.root->first;
	assert_string_equal(n->key->text, "a");
	assert_string_equal(n->text, "1");
	assert_int_equal(n->line, 1);
	assert_int_equal(n->column, 4);
	assert_true(n->plain);
	n = n->next;
	assert_int_equal(n->kind, YAML_SEQUENCE);
	assert_int_equal(n->n, 2);
	n = n->first->next;
	assert_int_equal(n->kind, YAML_MAPPING);
	assert_int_equal(n->first->line, 4);
	assert_int_equal(n->first->column, 9);
	assert_false(n->first->plain);
	assert_null(n->next);
	yaml_done(&doc);
	diags_done(&d);
}

static void what_is_not_plain_yaml(void **state)
{
	(void)state;
	faults("a: &x 1\n", "f:1:4: anchors (&name) are not allowed here\n");
	faults("a: *x\n", "f:1:4: aliases (*name) are not allowed here\n");
	faults("a: !!str x\n", "f:1:4: tags (!name) are not allowed here\n");
	faults("a: !x {}\n", "f:1:4: tags (!name) are not allowed here\n");
	faults("%YAML 1.1\n---\na: 1\n", "f:1:1: directives (%) are not allowed here\n");
	faults("a: 1\n---\nb: 2\n", "f:2:1: a second document: one file holds one\n");
	faults("a: 1\nb: 2\na: 3\nb: 4\n", "f:3:1: key \"a\" is here twice (first on line 1)\n"
					   "f:4:1: key \"b\" is here twice (first on line 2)\n");
	faults("? [a]\n: b\n", "f:1:3: a key must be plain text\n");
	faults("a: \"x\\0y\"\n", "f:1:4: a text with a NUL in it\n");
	faults("", "f: is empty\n");
	faults("# nothing\n", "f: is empty\n");
	faults("a: [1\nb: 2\n", "f:2:2: not YAML: while parsing a flow sequence, did not find "
				"expected ',' or ']'\n");
	faults("a: b: c\n", "f:1:5: not YAML: mapping values are not allowed in this context\n");
	faults("b: \xc3\xa9\na: \xff\n", "f:2:4: not UTF-8 text: invalid leading UTF-8 octet\n");
	faults("\xff\xfe"
	       "a",
	       "f:1:1: not UTF-8 text: invalid leading UTF-8 octet\n");
}

/* A fault of structure hides no other, of structure or of meaning, and makes none up. */
static void faults_beside_faults(void **state)
{
	static const struct yaml_key all[] = {{"a", true}, {"b", true}, {"c", true}, {"d", true}};
	struct diags d = DIAGS_INIT;
	struct yaml_doc doc;
	struct yaml_node *k[ARRAY_SIZE(all)];
	_cleanup_free_ char *got = NULL;
	const char *list[4];
	const char *text;
	uint64_t v = 0;
	size_t n;
	bool b;

	(void)state;
	load("%YAML 1.1\n---\na: &x 7\na: {b: [1, 2]}\nb: *x\nc: [u, *x, \"\\0\", v]\n? [q]\n"
	     ": r\n*x : s\nd: !t yes\nb: 4\nz: 1\n---\ne: 1\n",
	     &d, &doc);
	assert_int_equal(doc.faults, 11);
	assert_int_equal(yaml_members(&doc, doc.root, all, ARRAY_SIZE(all), k), 0);
	assert_int_equal(yaml_uint(&doc, k[0], 0, 9, &v), 0);
	assert_int_equal(v, 7); /* the first of two */
	assert_int_equal(k[1]->kind, YAML_UNKNOWN);
	assert_int_equal(yaml_str(&doc, k[1], 10, &text), -EINVAL);
	assert_int_equal(yaml_uint(&doc, k[1], 0, 9, &v), -EINVAL);
	assert_int_equal(yaml_bool(&doc, k[1], &b), -EINVAL);
	assert_int_equal(yaml_duration(&doc, k[1], 0, 9, &v), -EINVAL);
	assert_int_equal(yaml_strs(&doc, k[1], 10, 4, list, &n), -EINVAL);
	assert_int_equal(yaml_members(&doc, k[1], all, 1, (struct yaml_node *[1]){NULL}), -EINVAL);
	assert_int_equal(yaml_strs(&doc, k[2], 10, 4, list, &n), -EINVAL);
	assert_int_equal(k[2]->n, 4);
	assert_int_equal(yaml_bool(&doc, k[3], &b), -EINVAL);
	got = printed(&d);
	assert_string_equal(got, "f:1:1: directives (%) are not allowed here\n"
				 "f:3:4: anchors (&name) are not allowed here\n"
				 "f:4:1: key \"a\" is here twice (first on line 3)\n"
				 "f:5:4: aliases (*name) are not allowed here\n"
				 "f:6:8: aliases (*name) are not allowed here\n"
				 "f:6:12: a text with a NUL in it\n"
				 "f:7:3: a key must be plain text\n"
				 "f:9:1: aliases (*name) are not allowed here\n"
				 "f:10:4: tags (!name) are not allowed here\n"
				 "f:10:4: must be true or false\n"
				 "f:11:1: key \"b\" is here twice (first on line 5)\n"
				 "f:12:1: unknown key \"z\"\n"
				 "f:13:1: a second document: one file holds one\n");
	yaml_done(&doc);
	diags_done(&d);
}

static void limits(void **state)
{
	static char text[YAML_INPUT_MAX + 1];
	char deep[64] = "";
	char *p = text;

	(void)state;
	memset(deep, '[', 17);
	memset(deep + 17, ']', 17);
	faults(deep, "f:1:17: nested deeper than 16 levels\n");
	faults("[[[[[[[[[[[[[[[[[[1], {a: b}], [2]]]]]]]]]]]]]]]], &x 3]",
	       "f:1:17: nested deeper than 16 levels\nf:1:32: nested deeper than 16 levels\n"
	       "f:1:52: anchors (&name) are not allowed here\n");
	memset(text, ' ', sizeof(text));
	faults_of(span_of(text, sizeof(text)), "f: is larger than 1 MiB\n");
	text[0] = 'x';
	memset(text + 1, 'x', YAML_TEXT_MAX);
	faults_of(span_of(text, YAML_TEXT_MAX + 1), "f:1:1: a text of more than 4096 bytes\n");
	for (unsigned i = 0; i <= YAML_MEMBERS_MAX; i++)
		p += snprintf(p, 16, "k%u: 1\n", i);
	faults(text, "f:257:1: a mapping of more than 256 keys\n");
	text[0] = '[';
	for (unsigned i = 0; i < YAML_NODES_MAX; i++)
		memcpy(text + 1 + (size_t)i * 2, "1,", 2);
	text[1 + (size_t)YAML_NODES_MAX * 2] = ']';
	faults_of(span_of(text, 2 + (size_t)YAML_NODES_MAX * 2),
		  "f:1:131072: too many values in one document\n");
}

enum { K_NAME, K_COUNT, K_ON, K_WAIT, K_LIST, K_KIND };
static const struct yaml_key keys[] = {
	[K_NAME] = {"name", true},  [K_COUNT] = {"count", false}, [K_ON] = {"on", false},
	[K_WAIT] = {"wait", false}, [K_LIST] = {"list", false},	  [K_KIND] = {"kind", false},
};
static const char *const kinds[] = {"small", "large"};

static void readers(void **state)
{
	struct diags d = DIAGS_INIT;
	struct yaml_doc doc;
	struct yaml_node *k[ARRAY_SIZE(keys)];
	const char *s = NULL;
	const char *list[3];
	uint64_t v = 0;
	size_t n = 0;
	bool b = false;

	(void)state;
	load("name: 7\ncount: 12\non: true\nwait: 90s\nlist: [a, b]\nkind: large\n", &d, &doc);
	assert_int_equal(yaml_members(&doc, doc.root, keys, ARRAY_SIZE(keys), k), 0);
	assert_int_equal(yaml_str(&doc, k[K_NAME], 10, &s), 0);
	assert_string_equal(s, "7");
	assert_int_equal(yaml_uint(&doc, k[K_COUNT], 12, 12, &v), 0);
	assert_int_equal(v, 12);
	assert_int_equal(yaml_bool(&doc, k[K_ON], &b), 0);
	assert_true(b);
	assert_int_equal(yaml_duration(&doc, k[K_WAIT], 0, 100000, &v), 0);
	assert_int_equal(v, 90000);
	assert_int_equal(yaml_strs(&doc, k[K_LIST], 10, 3, list, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(list[1], "b");
	assert_int_equal(yaml_strs(&doc, k[K_NAME], 10, 3, list, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(yaml_choice(&doc, k[K_KIND], kinds, 2, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(yaml_str(&doc, NULL, 10, &s), -ENOENT);
	assert_int_equal(d.n, 0);
	yaml_done(&doc);
	diags_done(&d);
}

static void readers_say_what_is_wrong(void **state)
{
	struct diags d = DIAGS_INIT;
	struct yaml_doc doc;
	struct yaml_node *k[ARRAY_SIZE(keys)];
	_cleanup_free_ char *got = NULL;
	const char *s = "untouched";
	const char *list[1];
	uint64_t v = 99;
	size_t n = 99;
	bool b = true;

	(void)state;
	load("nmae: x\ncount: -1\non: yes\nwait: 5\nlist: [a, b]\nkind: smal\nzzzzzz: 1\n", &d,
	     &doc);
	assert_int_equal(yaml_members(&doc, doc.root, keys, ARRAY_SIZE(keys), k), 0);
	assert_int_equal(yaml_uint(&doc, k[K_COUNT], 0, 5, &v), -EINVAL);
	assert_int_equal(yaml_bool(&doc, k[K_ON], &b), -EINVAL);
	assert_int_equal(yaml_duration(&doc, k[K_WAIT], 0, 5, &v), -EINVAL);
	assert_int_equal(yaml_strs(&doc, k[K_LIST], 10, 1, list, &n), -EINVAL);
	assert_int_equal(yaml_choice(&doc, k[K_KIND], kinds, 2, &n), -EINVAL);
	assert_int_equal(yaml_str(&doc, k[K_LIST], 10, &s), -EINVAL);
	assert_int_equal(v, 99);
	assert_int_equal(n, 99);
	assert_true(b);
	assert_string_equal(s, "untouched");
	got = printed(&d);
	assert_string_equal(got, "f:1:1: unknown key \"nmae\": did you mean \"name\"?\n"
				 "f:1:1: key \"name\" is missing\n"
				 "f:2:8: must be a number from 0 to 5\n"
				 "f:3:5: must be true or false\n"
				 "f:4:7: must be a length of time: a number and ms, s, m, h or d, "
				 "such as 30s\n"
				 "f:5:7: must be a text, not a list\n"
				 "f:5:11: more than 1 values\n"
				 "f:6:7: unknown value \"smal\": did you mean \"small\"?\n"
				 "f:7:1: unknown key \"zzzzzz\"\n");
	yaml_done(&doc);
	diags_done(&d);
}

static void scalars_that_are_refused(void **state)
{
	static const char *const empty[] = {"''", "~", "null", "", "\"a\\nb\"", "'0123456789x'"};
	static const char *const numbers[] = {"",    "1x", "0x1", "18446744073709551616",
					      "1.0", "[1]"};
	static const char *const times[] = {
		"s", "1", "1 s", "1w", "99999999999999999999s", "18446744073709551615d", "3m"};
	struct diags d = DIAGS_INIT;
	char text[64];
	struct yaml_doc doc;
	const char *s;
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		(void)snprintf(text, sizeof(text), "- %s\n", empty[i]);
		load(text, &d, &doc);
		assert_int_equal(yaml_str(&doc, doc.root->first, 10, &s), -EINVAL);
		yaml_done(&doc);
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		(void)snprintf(text, sizeof(text), "- %s\n", numbers[i]);
		load(text, &d, &doc);
		assert_int_equal(yaml_uint(&doc, doc.root->first, 0, UINT64_MAX, &v), -EINVAL);
		yaml_done(&doc);
	}
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		(void)snprintf(text, sizeof(text), "- %s\n", times[i]);
		load(text, &d, &doc);
		assert_int_equal(yaml_duration(&doc, doc.root->first, 0, 120000, &v), -EINVAL);
		yaml_done(&doc);
	}
	assert_int_equal(d.n, ARRAY_SIZE(empty) + ARRAY_SIZE(numbers) + ARRAY_SIZE(times));
	assert_string_equal(d.list[d.n - 1].text, "must be from 0s to 2m");
	diags_done(&d);
}

static void diags_are_sorted_and_bounded(void **state)
{
	struct diags d = DIAGS_INIT;
	_cleanup_free_ char *got = NULL;

	(void)state;
	diags_add(&d, "b", 2, 1, "third");
	diags_add(&d, "b", 1, 9, "second %d", 2);
	diags_add(&d, "a", 7, 1, "first");
	diags_add(&d, "b", 2, 1, "fourth");
	got = printed(&d);
	assert_string_equal(got, "a:7:1: first\nb:1:9: second 2\nb:2:1: third\nb:2:1: fourth\n");
	for (size_t i = 0; i < DIAGS_MAX; i++)
		diags_add(&d, "c", 1, 1, "x");
	assert_int_equal(d.n, DIAGS_MAX);
	assert_int_equal(d.dropped, 4);
	freep(&got);
	got = printed(&d);
	assert_non_null(strstr(got, "and 4 more faults\n"));
	diags_done(&d);
	assert_int_equal(d.n, 0);
}

static void suggestions(void **state)
{
	static const char *const words[] = {"name", "workload", "on", "effect"};

	(void)state;
	assert_string_equal(yaml_suggest("nam", words, 4), "name");
	assert_string_equal(yaml_suggest("worklaod", words, 4), "workload");
	assert_string_equal(yaml_suggest("effects", words, 4), "effect");
	assert_null(yaml_suggest("quorum", words, 4));
	assert_null(yaml_suggest("ab", words, 4));
	assert_null(yaml_suggest("0123456789012345678901234567890123456789", words, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_and_places),
		cmocka_unit_test(what_is_not_plain_yaml),
		cmocka_unit_test(faults_beside_faults),
		cmocka_unit_test(limits),
		cmocka_unit_test(readers),
		cmocka_unit_test(readers_say_what_is_wrong),
		cmocka_unit_test(scalars_that_are_refused),
		cmocka_unit_test(diags_are_sorted_and_bounded),
		cmocka_unit_test(suggestions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
