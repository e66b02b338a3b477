#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "audit/note.h"

/* From the documentation of golang.org/x/mod/sumdb/note (the form's origin): a key and a note that
 * it signs. */
static const char peter_vkey[] =
	"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

static void test_foreign_vkey(void **state)
{
	_cleanup_note_key_ struct note_key key = {0};
	_cleanup_buf_ struct buf b = BUF_INIT(VKEY_MAX);

	(void)state;
	assert_int_equal(note_parse_vkey(span_str(peter_vkey), &key), 0);
	assert_string_equal(key.name, "PeterNeumann");
	assert_int_equal(note_put_vkey(&key, &b), 0);
	assert_true(span_eq(span_head(buf_span(&b), buf_len(&b) - 1), span_str(peter_vkey)));
}

static void test_bad_vkeys(void **state)
{
	static const char *const bad[] = {
		"",
		"+",
		"PeterNeumann",
		"PeterNeumann+c74f20a3",
		"PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a3+AhpcXQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW ",
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n\n",
	};
	struct note_key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (note_parse_vkey(span_str(bad[i]), &key) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void make_key(const char *node, struct note_key *key)
{
	char name[NOTE_NAME_MAX];

	note_key_name(node, name);
	assert_int_equal(note_key_generate(name, key), 0);
}

static void test_sign_and_verify(void **state)
{
	static const char begin[] =
		"sluice/a-node-1\n42\nAQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
		"\xe2\x80\x94 sluice/a-node-1 ";
	_cleanup_note_key_ struct note_key key = {0};
	_cleanup_note_key_ struct note_key other = {0};
	_cleanup_note_key_ struct note_key public = {0};
	_cleanup_note_key_ struct note_key again = {0};
	_cleanup_buf_ struct buf note = BUF_INIT(NOTE_MAX);
	_cleanup_buf_ struct buf text = BUF_INIT(NOTE_MAX);
	uint8_t root[HASH_LEN] = {1, 2, 3};
	struct checkpoint cp;

	(void)state;
	make_key("a node+1", &key);
	assert_string_equal(key.name, "sluice/a-node-1");
	assert_int_equal(note_put_vkey(&key, &text), 0);
	assert_int_equal(note_parse_vkey(buf_span(&text), &public), 0);
	buf_reset(&text);
	assert_int_equal(note_key_put_pem(&key, &text), 0);
	assert_int_equal(note_key_from_pem(key.name, buf_span(&text), &again), 0);
	assert_memory_equal(again.id, key.id, sizeof(key.id));

	assert_int_equal(note_sign_checkpoint(&again, 42, root, &note), 0);
	assert_true(span_eq_str(span_head(buf_span(&note), strlen(begin)), begin));
	assert_int_equal(note_verify_checkpoint(&public, buf_span(&note), &cp), 0);
	assert_int_equal(cp.size, 42);
	assert_memory_equal(cp.root, root, HASH_LEN);
	assert_true(span_eq_str(cp.origin, "sluice/a-node-1"));
	make_key("a node+1", &other);
	assert_int_equal(note_verify_checkpoint(&other, buf_span(&note), &cp), -ENOKEY);

	/* Every bit flipped: never accepted with another meaning. */
	for (size_t i = 0; i < buf_len(&note); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			int r;

			note.data[i] ^= (uint8_t)(1u << bit);
			r = note_verify_checkpoint(&public, buf_span(&note), &cp);
			if (r == 0)
				fail_msg("accepted with bit %u of byte %zu flipped", bit, i);
			note.data[i] ^= (uint8_t)(1u << bit);
		}
	}
	for (size_t n = 0; n < buf_len(&note); n++)
		assert_true(note_verify_checkpoint(&public, span_head(buf_span(&note), n), &cp) <
			    0);
	/* Others' signatures beside it are passed over. */
	buf_put_str(&note, "\xe2\x80\x94 witness.example AAAAAAAA\n");
	assert_int_equal(note_verify_checkpoint(&public, buf_span(&note), &cp), 0);
	buf_put_str(&note, "junk\n");
	assert_int_equal(note_verify_checkpoint(&public, buf_span(&note), &cp), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_vkey),
		cmocka_unit_test(test_bad_vkeys),
		cmocka_unit_test(test_sign_and_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
