#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "approval/approval.h"

static void test_every_move(void **state)
{
	static const struct {
		uint8_t from;
		uint8_t to;
	} allowed[] = {
		{APPROVAL_PENDING, APPROVAL_APPROVED},	{APPROVAL_PENDING, APPROVAL_DENIED},
		{APPROVAL_PENDING, APPROVAL_EXPIRED},	{APPROVAL_PENDING, APPROVAL_WITHDRAWN},
		{APPROVAL_APPROVED, APPROVAL_CONSUMED}, {APPROVAL_APPROVED, APPROVAL_LAPSED},
	};

	(void)state;
	for (unsigned from = 0; from <= APPROVAL_STATES; from++) {
		for (unsigned to = 0; to <= APPROVAL_STATES; to++) {
			uint8_t s = (uint8_t)from;
			bool may = false;

			for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
				may |= allowed[i].from == from && allowed[i].to == to;
			assert_int_equal(approval_move(&s, (enum approval_state)to),
					 may ? 0 : -EPERM);
			assert_int_equal(s, may ? to : from);
		}
	}
}

static void test_final_states(void **state)
{
	(void)state;
	assert_false(approval_is_final(APPROVAL_PENDING));
	assert_false(approval_is_final(APPROVAL_APPROVED));
	for (unsigned s = APPROVAL_DENIED; s < APPROVAL_STATES; s++)
		assert_true(approval_is_final(s));
}

static void test_names(void **state)
{
	(void)state;
	for (unsigned s = APPROVAL_PENDING; s < APPROVAL_STATES; s++)
		assert_int_equal(approval_state_of(span_str(approval_state_name(s))), s);
	assert_int_equal(approval_state_of(span_str("")), 0);
	assert_int_equal(approval_state_of(span_str("Pending")), 0);
	assert_null(approval_state_name(0));
	assert_null(approval_state_name(APPROVAL_STATES));
}

static void test_ids(void **state)
{
	char seen[512][APPROVAL_ID_MAX];
	char again[APPROVAL_ID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		assert_int_equal(approval_id_make(seen[i]), 0);
		assert_int_equal(strlen(seen[i]), 12);
		assert_int_equal(strspn(seen[i] + 3, "0123456789ABCDEFGHJKMNPQRSTVWXYZ-"), 9);
		assert_int_equal(approval_id_parse(seen[i], again), 0);
		assert_string_equal(seen[i], again);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
	}
}

static void test_typed_ids(void **state)
{
	static const char *const same[] = {"ap-7K3F-01MX", "7k3f01mx", "AP-7K3F-OLMX", "7K3F-0IMX",
					   "ap-7k3fo1mx"};
	static const char *const bad[] = {"",
					  "ap-",
					  "ap-7K3F-01M",
					  "ap-7K3F-01MXX",
					  "ap-7K3-F01MX",
					  "ap-7K3F-01MU",
					  "ap-7K3F 01MX",
					  "ap--7K3F01MX",
					  "ap-7K3F-01MX-",
					  "../7K3F01MX"};
	char id[APPROVAL_ID_MAX] = "untouched";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (approval_id_parse(bad[i], id) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	}
	assert_string_equal(id, "untouched");
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(approval_id_parse(same[i], id), 0);
		assert_string_equal(id, "ap-7K3F-01MX");
	}
}

static const uint8_t digest[SHA256_LEN] = {0xab, 0xcd, 0x01};
#define HEX "abcd010000000000000000000000000000000000000000000000000000000000"

static const char *objection(uint8_t state, const char *by, struct span groups, const char *hex)
{
	const struct approval_question q = {
		.state = state,
		.digest = digest,
		.groups = span_of("dba\0security", 13),
		.asker = "agent-7",
	};
	const struct msg_approval_decide d = {
		.approve = true, .by = span_str(by), .groups = groups, .digest = span_str(hex)};

	return approval_objection(&q, &d);
}

static void test_who_may_decide(void **state)
{
	const struct span dba = span_of("x\0dba", 6);

	(void)state;
	assert_null(objection(APPROVAL_PENDING, "ann", dba, ""));
	assert_null(objection(APPROVAL_PENDING, "ann", dba, HEX));
	assert_null(objection(APPROVAL_PENDING, "ann", span_of("security", 9), ""));
	/* wrong digest, whole or cut */
	assert_non_null(objection(APPROVAL_PENDING, "ann", dba, "ab"));
	assert_non_null(objection(APPROVAL_PENDING, "ann", dba,
				  "0bcd0100000000000000000000000000000000000000000000000000000000"
				  "00"));
	/* in none of the groups, or in one that is only a part of its name */
	assert_non_null(objection(APPROVAL_PENDING, "ann", (struct span){0}, ""));
	assert_non_null(objection(APPROVAL_PENDING, "ann", span_of("db\0dbas\0", 8), ""));
	assert_non_null(objection(APPROVAL_PENDING, "ann", span_of("dba", 3), "")); /* no end */
	/* the one who asked; nobody */
	assert_non_null(objection(APPROVAL_PENDING, "agent-7", dba, ""));
	assert_non_null(objection(APPROVAL_PENDING, "", dba, ""));
	for (unsigned s = 0; s <= APPROVAL_STATES; s++) {
		if (s != APPROVAL_PENDING)
			assert_non_null(objection((uint8_t)s, "ann", dba, ""));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_move), cmocka_unit_test(test_final_states),
		cmocka_unit_test(test_names),	   cmocka_unit_test(test_ids),
		cmocka_unit_test(test_typed_ids),  cmocka_unit_test(test_who_may_decide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
