/* test_pins.c - what stays when the enforcer goes, how the next one takes over, and what detaching
 * leaves. */
#include "rig.h"

#include <bpf/bpf.h>
#include <dirent.h>

static struct ns a;

static int setup(void **state _unused_)
{
	a = rig_netns();
	return 0;
}

static int teardown(void **state _unused_)
{
	rig_netns_done(&a);
	return steer_detach(rig_bpf_dir);
}

/* Whether a program is attached to the root for one hook. Others may have theirs there too. */
static bool attached(enum bpf_attach_type type, uint32_t prog)
{
	_cleanup_close_ int root = open(rig_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t ids[64];
	uint32_t n = 64;

	assert_int_equal(bpf_prog_query(root, type, 0, NULL, ids, &n), 0);
	for (uint32_t i = 0; i < n; i++)
		if (ids[i] == prog)
			return true;
	return false;
}

/* The kernel lets go of a link in its own time after the last pin is gone: up to 5 s here. */
static bool comes_off(enum bpf_attach_type type, uint32_t prog)
{
	for (int i = 0; i < 500 && attached(type, prog); i++)
		(void)usleep(10000);
	return !attached(type, prog);
}

static uint32_t pinned_link(const char *name, uint32_t *ret_prog)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/link_%s", rig_bpf_dir, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	(void)close(fd);
	*ret_prog = info.prog_id;
	return info.id;
}

static size_t pins(void)
{
	DIR *dir = opendir(rig_bpf_dir);
	struct dirent *e;
	size_t n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.') {
			assert_null(strstr(e->d_name, "_new"));
			n++;
		}
	(void)closedir(dir);
	return n;
}

/* The enforcer is gone, its links are not: refused, and the port is nobody else's. */
static int listen_there(void *arg _unused_)
{
	union addr addr = rig_addr("127.0.0.1", a.port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return bind(fd, &addr.any, sizeof(addr.v4)) < 0 ? errno : 0;
}

static void test_enforcer_gone(void **state _unused_)
{
	struct steer *s = rig_open();

	(void)rig_governed(s, "agent");
	rig_listen(s, &a);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	steer_close(s);
	fd_clear(&a.fd4);
	fd_clear(&a.fd6);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), ECONNREFUSED);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "2001:db8::7", 5432), ECONNREFUSED);
	assert_int_equal(rig_run(rig_path("agent"), a.fd, listen_there, NULL), EADDRINUSE);
}

/* The next one finds scopes, cgroups and listeners, and gives each link its own program. */
static void test_take_over(void **state _unused_)
{
	struct steer_config config = {.bpf_dir = rig_bpf_dir, .cgroup_root = rig_root};
	size_t n_pins = pins();
	uint32_t prog;
	uint32_t link = pinned_link("sluice_connect4", &prog);
	uint32_t prog_after;
	struct steer *s = NULL;
	const char *why = "";

	assert_int_equal(steer_open(&config, &why, &s), 0);
	assert_int_equal(pinned_link("sluice_connect4", &prog_after), link);
	assert_int_not_equal(prog_after, prog);
	assert_true(attached(BPF_CGROUP_INET4_CONNECT, prog_after));
	assert_true(comes_off(BPF_CGROUP_INET4_CONNECT, prog));
	assert_int_equal(pins(), n_pins);
	/* no steer_scope_add: it is there */
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), ECONNREFUSED);
	rig_listen(s, &a);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	(void)close(rig_accept(a.fd4));
	steer_close(s);
}

static bool keep_one(void *ctx, uint64_t key)
{
	return key == *(uint64_t *)ctx;
}

/* What the next one does not know any more goes. */
static void test_prune(void **state _unused_)
{
	struct steer_config config = {.bpf_dir = rig_bpf_dir, .cgroup_root = rig_root};
	struct sluice_listener l = {.port4 = htons(1)};
	uint64_t scope = rig_cgroup(rig_scope);
	uint64_t agent = rig_cgroup(rig_path("agent"));
	struct steer *s = NULL;
	const char *why = "";

	assert_int_equal(steer_open(&config, &why, &s), 0);
	for (uint64_t id = 1; id <= 40; id++) {
		assert_int_equal(steer_scope_add(s, id << 40), 0);
		assert_int_equal(steer_cgroup_set(s, id << 40, SLUICE_CGROUP_GOVERNED), 0);
		assert_int_equal(steer_listener_set(s, id << 40, &l), 0);
	}
	assert_int_equal(steer_scopes_prune(s, keep_one, &scope), 40);
	assert_int_equal(steer_cgroups_prune(s, keep_one, &agent), 40);
	assert_int_equal(steer_listeners_prune(s, keep_one, &a.cookie), 40);
	assert_int_equal(steer_listeners_prune(s, keep_one, &a.cookie), 0);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	(void)close(rig_accept(a.fd4));
	steer_close(s);
}

static void set_abi_version(uint32_t version)
{
	struct sluice_control control;
	char path[256];
	uint32_t zero = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/map_control", rig_bpf_dir);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &control), 0);
	assert_int_equal(control.abi_version, SLUICE_ABI_VERSION);
	control.abi_version = version;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &control, 0), 0);
	(void)close(fd);
}

/* Maps of another version are replaced; what was governed is so without a gap. */
static void test_other_abi(void **state _unused_)
{
	struct steer_config config = {.bpf_dir = rig_bpf_dir, .cgroup_root = rig_root};
	size_t n_pins = pins();
	struct steer *s = NULL;
	const char *why = "";

	set_abi_version(SLUICE_ABI_VERSION + 7);
	assert_int_equal(steer_open(&config, &why, &s), 0);
	assert_int_equal(pins(), n_pins);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), ECONNREFUSED);
	assert_int_equal(rig_count(s, SLUICE_COUNT_REFUSED_LISTENER),
			 1); /* governed, and new maps */
	rig_netns_done(&a);
	a = rig_netns();
	rig_listen(s, &a);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	(void)close(rig_accept(a.fd4));
	steer_close(s);
	set_abi_version(SLUICE_ABI_VERSION); /* the pinned ones are the new ones */
}

/* A start that fails says why and leaves what was in force. */
static void test_failed_open(void **state _unused_)
{
	struct steer_config config = {.bpf_dir = rig_bpf_dir, .cgroup_root = "/nowhere"};
	uint32_t prog;
	uint32_t link = pinned_link("sluice_connect4", &prog);
	uint32_t after;
	struct steer *s = NULL;
	const char *why = NULL;

	assert_int_equal(steer_open(&config, &why, &s), -ENOENT);
	assert_null(s);
	assert_non_null(strstr(why, "/nowhere"));
	config = (struct steer_config){.bpf_dir = "/proc/x/y", .cgroup_root = rig_root};
	assert_true(steer_open(&config, &why, &s) < 0);
	assert_non_null(strstr(why, "/proc/x/y"));
	assert_int_equal(pinned_link("sluice_connect4", &after), link);
	assert_int_equal(after, prog);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
}

/* The programs are attached to another cgroup than asked for: attached anew, old ones gone. */
static void test_half_pinned(void **state _unused_)
{
	struct steer_config config = {.bpf_dir = rig_bpf_dir, .cgroup_root = rig_root};
	struct steer *s = NULL;
	const char *why = "";
	size_t n_pins = pins();
	uint32_t prog;
	uint32_t prog_after;
	char path[256];

	(void)pinned_link("sluice_connect4", &prog);
	(void)snprintf(path, sizeof(path), "%s/link_sluice_connect4", rig_bpf_dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(steer_open(&config, &why, &s), 0);
	assert_int_equal(pins(), n_pins);
	(void)pinned_link("sluice_connect4", &prog_after);
	assert_true(attached(BPF_CGROUP_INET4_CONNECT, prog_after));
	assert_true(comes_off(BPF_CGROUP_INET4_CONNECT, prog));
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), 0);
	steer_close(s);
}

static void test_detach(void **state _unused_)
{
	static const struct {
		const char *name;
		enum bpf_attach_type type;
	} hooks[] = {
		{"sluice_connect4", BPF_CGROUP_INET4_CONNECT},
		{"sluice_connect6", BPF_CGROUP_INET6_CONNECT},
		{"sluice_sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
		{"sluice_sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
		{"sluice_bind4", BPF_CGROUP_INET4_BIND},
		{"sluice_bind6", BPF_CGROUP_INET6_BIND},
		{"sluice_getpeer4", BPF_CGROUP_INET4_GETPEERNAME},
		{"sluice_getpeer6", BPF_CGROUP_INET6_GETPEERNAME},
		{"sluice_sock", BPF_CGROUP_INET_SOCK_CREATE},
		{"sluice_sockops", BPF_CGROUP_SOCK_OPS},
	};
	uint32_t progs[ARRAY_SIZE(hooks)];

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		(void)pinned_link(hooks[i].name, &progs[i]);
		assert_true(attached(hooks[i].type, progs[i]));
	}
	assert_int_equal(steer_detach(rig_bpf_dir), 0);
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
		assert_true(comes_off(hooks[i].type, progs[i]));
	assert_int_equal(access(rig_bpf_dir, F_OK), -1);
	assert_int_equal(rig_connect(rig_path("agent"), a.fd, "10.0.3.7", 5432), ENETUNREACH);
	assert_int_equal(steer_detach(rig_bpf_dir), 0); /* nothing to do is no failure */
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_enforcer_gone), cmocka_unit_test(test_take_over),
		cmocka_unit_test(test_prune),	      cmocka_unit_test(test_other_abi),
		cmocka_unit_test(test_failed_open),   cmocka_unit_test(test_half_pinned),
		cmocka_unit_test(test_detach),
	};

	return cmocka_run_group_tests_name("kernel/pins", list, setup, teardown);
}

int main(void)
{
	return rig_main(tests);
}
