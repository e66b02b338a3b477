#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "audit/entry.h"
#include "audit/tree.h"
#include "audit/visible.h"

/* The eight leaves and the roots of RFC 6962's reference tests (certificate-transparency,
 * merkletree/merkle_tree_test). */
static const struct {
	const char *bytes;
	size_t len;
} inputs[8] = {
	{"", 0},
	{"\x00", 1},
	{"\x10", 1},
	{"\x20\x21", 2},
	{"\x30\x31", 2},
	{"\x40\x41\x42\x43", 4},
	{"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
	{"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16},
};

static const char *const roots[9] = {
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
	"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
	"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
	"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
	"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
	"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
	"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static void assert_hex(const uint8_t *hash, const char *hex)
{
	char text[2 * HASH_LEN + 1];

	for (size_t i = 0; i < HASH_LEN; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
	assert_string_equal(text, hex);
}

static void test_known_roots(void **state)
{
	struct tree t = {0};
	uint8_t hash[HASH_LEN];

	(void)state;
	for (size_t i = 0; i <= 8; i++) {
		tree_root(&t, hash);
		assert_hex(hash, roots[i]);
		if (i == 8)
			break;
		tree_leaf_hash(span_of(inputs[i].bytes, inputs[i].len), hash);
		tree_push(&t, hash);
	}
	assert_int_equal(t.size, 8);
}

/* MTH by its definition: split at the largest power of two below n. */
static void define(uint8_t (*leaves)[HASH_LEN], size_t n, uint8_t *ret)
{
	struct tree two = {0};
	uint8_t left[HASH_LEN];
	uint8_t right[HASH_LEN];
	size_t k = 1;

	if (n == 1) {
		memcpy(ret, leaves[0], HASH_LEN);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	define(leaves, k, left);
	define(leaves + k, n - k, right);
	/* A tree of two leaves is one interior hash. */
	tree_push(&two, left);
	tree_push(&two, right);
	tree_root(&two, ret);
}

static void test_agrees_with_the_definition(void **state)
{
	static uint8_t leaves[300][HASH_LEN];
	struct tree t = {0};

	(void)state;
	for (size_t n = 1; n <= ARRAY_SIZE(leaves); n++) {
		uint8_t expected[HASH_LEN];
		uint8_t root[HASH_LEN];

		tree_leaf_hash(span_of(&n, sizeof(n)), leaves[n - 1]);
		tree_push(&t, leaves[n - 1]);
		define(leaves, n, expected);
		tree_root(&t, root);
		assert_memory_equal(root, expected, HASH_LEN);
	}
}

static void test_frontier(void **state)
{
	struct tree t = {0};

	(void)state;
	for (uint64_t n = 0; n < 70; n++) {
		_cleanup_buf_ struct buf b = BUF_INIT(TREE_FRONTIER_MAX);
		struct tree again;
		uint8_t root[HASH_LEN];
		uint8_t expected[HASH_LEN];

		assert_int_equal(tree_put_frontier(&t, &b), 0);
		assert_int_equal(tree_from_frontier(n, buf_span(&b), &again), 0);
		tree_leaf_hash(span_of(&n, sizeof(n)), root);
		tree_push(&again, root);
		tree_push(&t, root);
		tree_root(&again, root);
		tree_root(&t, expected);
		assert_memory_equal(root, expected, HASH_LEN);
		assert_int_equal(tree_from_frontier(n + 1, buf_span(&b), &again),
				 __builtin_popcountll(n) == __builtin_popcountll(n + 1) ? 0
											: -EBADMSG);
	}
}

static void test_entry(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	_cleanup_buf_ struct buf node = BUF_INIT(ENTRY_NODE_MAX);
	struct entry e = {.body = span_str("{\"session\":\"s1\"}"),
			  .kind = span_str("op"),
			  .seq = 9223372036854775807u};
	struct entry got;
	char time[ENTRY_TIME_LEN + 1];

	(void)state;
	entry_time(UINT64_C(1795399678123456789), time);
	assert_string_equal(time, "2026-11-23T02:07:58.123456Z");
	assert_int_equal(entry_escape_node("n\"1", &node), 0);
	assert_int_equal(entry_escape_node("", &node), -EINVAL);
	e.node = buf_span(&node);
	e.time = span_str(time);
	memset(e.prev, 0xab, HASH_LEN);
	assert_int_equal(entry_put(&b, &e), 0);
	assert_true(span_eq_str(
		buf_span(&b),
		"{\"body\":{\"session\":\"s1\"},\"kind\":\"op\",\"node\":\"n\\\"1\",\"prev\":"
		"\"abababababababababababababababababababababababababababababababab\","
		"\"seq\":9223372036854775807,\"time\":\"2026-11-23T02:07:58.123456Z\"}"));
	assert_int_equal(entry_parse(buf_span(&b), &got), 0);
	assert_true(span_eq(got.body, e.body) && span_eq(got.kind, e.kind) &&
		    span_eq(got.node, e.node) && span_eq(got.time, e.time) && got.seq == e.seq);
	assert_memory_equal(got.prev, e.prev, HASH_LEN);
	assert_true(span_eq_str(entry_session(got.body), "s1"));
	for (size_t n = 0; n < buf_len(&b); n++)
		assert_int_equal(entry_parse(span_head(buf_span(&b), n), &got), -EBADMSG);
	buf_put_u8(&b, ' ');
	assert_int_equal(entry_parse(buf_span(&b), &got), -EBADMSG);
}

static void test_visible(void **state)
{
	static const struct {
		const char *text;
		const char *shown;
	} cases[] = {
		{"select 1", "select 1"},
		{"a\nb\tc\r\x1b[31m\x7f", "a\\nb\\tc\\r\\x1b[31m\\x7f"},
		{"\xe2\x80\xae"
		 "abc",
		 "<U+202E>abc"},
		{"\xe2\x80\x8b\xef\xbb\xbf\xe2\x81\xa6", "<U+200B><U+FEFF><U+2066>"},
		{"\xc2\x9b"
		 "31m",
		 "<U+009B>31m"},
		{"\xf3\xa0\x81\x81", "<U+E0041>"},
		{"caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80"},
		{"\xff\xc3", "<FF><C3>"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(4096);

		assert_int_equal(visible_put(&b, span_str(cases[i].text)), 0);
		buf_put_u8(&b, 0);
		assert_string_equal((const char *)buf_span(&b).p, cases[i].shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_roots),
		cmocka_unit_test(test_agrees_with_the_definition),
		cmocka_unit_test(test_frontier),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_visible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
