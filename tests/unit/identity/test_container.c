#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "identity/proc.h"

#define ID    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define POD   "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/"

static const struct {
	const char *path;
	const char *id;
} rows[] = {
	{"/system.slice/docker-" ID ".scope", ID},
	{"/docker/" ID, ID},
	{POD "cri-containerd-" ID ".scope", ID},
	{POD "crio-" ID ".scope", ID},
	{"/kubepods/besteffort/pod12-34/" ID, ID},
	{"/kubepods/besteffort/pod12-34/crio-" ID, ID},
	{"/machine.slice/libpod-" ID ".scope", ID},
	{"/machine.slice/libpod-" ID ".scope/container", ID},
	{"/libpod_parent/libpod-" ID, ID},
	/* What a container makes below its own cgroup is not believed. */
	{"/docker/" ID "/docker-" OTHER ".scope", ID},
	{POD "cri-containerd-" ID ".scope/" OTHER, ID},
	/* The runtime's own helpers, and what only looks like an id. */
	{"/machine.slice/libpod-conmon-" ID ".scope", NULL},
	{POD "crio-conmon-" ID ".scope", NULL},
	{"/docker/" ID "0", NULL},
	{"/docker/0123456789abcdef", NULL},
	{"/docker/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", NULL},
	{"/system.slice/docker-.scope", NULL},
	{"/system.slice/docker.service", NULL},
	{"/system.slice/.scope", NULL},
	{"/sluice/support-7", NULL},
	{"/", NULL},
	{"", NULL},
	{"//", NULL},
};

static void patterns(void **state)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(65536);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *id = container_id(rows[i].path, &arena);

		if (!streq_null(id, rows[i].id))
			fail_msg("%s: %s", rows[i].path, id ? id : "none");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns),
	};

	return cmocka_run_group_tests_name("identity/container", tests, NULL, NULL);
}
