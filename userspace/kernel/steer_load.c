/* steer_load.c - see steer_load.h.
 *
 * Order, so that nothing in force changes before all that can fail has been done:
 *   open · take over the pinned maps that fit · load (verifier) · copy scopes when maps do not fit
 * · pin as *_new · attach what has no link yet · trace · update the links there are · rename the
 * pins. A failure while links are updated gives those already updated their old program back. */
#include "kernel/steer_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

#include "kernel/cgroup.h"
#include "kernel/steer_pins.h"

static const char *const hook_names[STEER_HOOKS] = {
	/* Hand-over before the steering it serves. */
	"sluice_sockops",  "sluice_getpeer4", "sluice_getpeer6", "sluice_bind4",
	"sluice_bind6",	   "sluice_sendmsg4", "sluice_sendmsg6", "sluice_sock",
	"sluice_connect4", "sluice_connect6",
};

static const char *const trace_names[STEER_TRACES] = {
	"sluice_exec",	"sluice_fork",	"sluice_exit",
	"sluice_mkdir", "sluice_rmdir", "sluice_attach",
};

/* Pinned, so that they outlive the process. `events` is not: each sluiced reads its own. */
static const char *const map_names[] = {"scopes",   "cgroups", "listeners", "control",
					"counters", "sockets", "tuples"};

#define STEER_MAPS ARRAY_SIZE(map_names)

static _Thread_local char why[1024];
static _Thread_local char said[256];

void steer_why_clear(void)
{
	why[0] = '\0';
	said[0] = '\0';
}

const char *steer_why(void)
{
	return why[0] ? why : "unknown";
}

int steer_fail(int error, const char *doing, const char *name)
{
	if (!why[0])
		(void)snprintf(why, sizeof(why), "%s %s: %s%s%s", doing, name, strerror(-error),
			       said[0] ? "; libbpf: " : "", said);
	return error;
}

/* libbpf prints; a library here does not: its last warning is kept for *ret_why. */
static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	size_t len;

	if (level != LIBBPF_WARN)
		return 0;
	(void)vsnprintf(said, sizeof(said), format, args);
	len = strcspn(said, "\n");
	said[len] = '\0';
	return 0;
}

/* What the links are to be put back to. */
struct takeover {
	bool fits; /* the pinned maps are of this ABI: reused */
	bool fresh[STEER_HOOKS];
	int old_prog[STEER_HOOKS]; /* -1: not updated */
	int old_maps[STEER_MAPS];  /* -1: none pinned */
};

static void takeover_done(struct takeover *t)
{
	for (size_t i = 0; i < STEER_HOOKS; i++)
		fd_clear(&t->old_prog[i]);
	for (size_t i = 0; i < STEER_MAPS; i++)
		fd_clear(&t->old_maps[i]);
}

static bool map_fits(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return false;
	return info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
}

/* All of them or none: programs of one set must see one set of maps. */
static int maps_find(struct steer *s, const char *dir, struct takeover *t)
{
	struct sluice_control control;
	uint32_t zero = 0;
	int r;

	t->fits = true;
	for (size_t i = 0; i < STEER_MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(s->skel->obj, map_names[i]);
		char path[PIN_PATH_MAX];

		if (!map)
			return steer_fail(-ENOENT, "finding map", map_names[i]);
		r = pin_path(dir, "map", map_names[i], "", path);
		if (r < 0)
			return steer_fail(r, "naming the pin of map", map_names[i]);
		t->old_maps[i] = bpf_obj_get(path);
		if (t->old_maps[i] < 0 && errno != ENOENT)
			return steer_fail(-errno, "opening", path);
		if (t->old_maps[i] < 0 || !map_fits(t->old_maps[i], map))
			t->fits = false;
		else if (streq(map_names[i], "control") &&
			 (bpf_map_lookup_elem(t->old_maps[i], &zero, &control) < 0 ||
			  control.abi_version != SLUICE_ABI_VERSION))
			t->fits = false;
	}
	for (size_t i = 0; t->fits && i < STEER_MAPS; i++) {
		r = bpf_map__reuse_fd(bpf_object__find_map_by_name(s->skel->obj, map_names[i]),
				      t->old_maps[i]);
		if (r < 0)
			return steer_fail(r, "reusing map", map_names[i]);
	}
	return 0;
}

/* scopes and cgroups have been id -> number in every version. */
static int map_copy(int from, int to, const char *name)
{
	uint64_t key;
	uint32_t value;
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int r;

	if (bpf_obj_get_info_by_fd(from, &info, &len) < 0)
		return steer_fail(-errno, "reading pinned map", name);
	if (info.key_size != sizeof(key) || info.value_size != sizeof(value))
		return steer_fail(-EPROTO, "copying a map of another layout (detach first):", name);
	for (r = bpf_map_get_next_key(from, NULL, &key); r == 0;
	     r = bpf_map_get_next_key(from, &key, &key)) {
		if (bpf_map_lookup_elem(from, &key, &value) < 0)
			continue;
		if (bpf_map_update_elem(to, &key, &value, BPF_ANY) < 0)
			return steer_fail(-errno, "copying map", name);
	}
	return 0;
}

static int maps_fill(struct steer *s, const struct takeover *t)
{
	uint32_t zero = 0;
	int r;

	if (t->fits)
		return 0;
	/* Before any program that reads it is in force: a governed container stays governed. */
	for (size_t i = 0; i < STEER_MAPS; i++) {
		int to;

		if (t->old_maps[i] < 0 ||
		    !(streq(map_names[i], "scopes") || streq(map_names[i], "cgroups")))
			continue;
		to = bpf_object__find_map_fd_by_name(s->skel->obj, map_names[i]);
		r = map_copy(t->old_maps[i], to, map_names[i]);
		if (r < 0)
			return r;
	}
	if (bpf_map_update_elem(bpf_map__fd(s->skel->maps.control), &zero, &s->control, BPF_ANY) <
	    0)
		return steer_fail(-errno, "writing map", "control");
	return 0;
}

static int maps_pin(struct steer *s, const char *dir, const struct takeover *t)
{
	for (size_t i = 0; !t->fits && i < STEER_MAPS; i++) {
		int fd = bpf_object__find_map_fd_by_name(s->skel->obj, map_names[i]);
		char path[PIN_PATH_MAX];
		int r = pin_path(dir, "map", map_names[i], "_new", path);

		if (r == 0 && bpf_obj_pin(fd, path) < 0)
			r = -errno;
		if (r < 0)
			return steer_fail(r, "pinning map", map_names[i]);
	}
	return 0;
}

/* A pinned link that is attached to this cgroup; otherwise NULL. Its program is kept open. */
static struct bpf_link *link_find(const char *dir, const char *name, uint64_t cgroup_id,
				  int *ret_old_prog)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	char path[PIN_PATH_MAX];
	struct bpf_link *link;
	int prog;

	if (pin_path(dir, "link", name, "", path) < 0)
		return NULL;
	link = bpf_link__open(path);
	if (!link)
		return NULL;
	if (bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &len) == 0 &&
	    info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_id) {
		prog = bpf_prog_get_fd_by_id(info.prog_id);
		if (prog >= 0) {
			*ret_old_prog = prog;
			return link;
		}
	}
	(void)bpf_link__destroy(link);
	return NULL;
}

static int hooks_attach(struct steer *s, const struct steer_config *config, uint64_t cgroup_id,
			struct takeover *t)
{
	_cleanup_close_ int root = open(config->cgroup_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return steer_fail(-errno, "opening", config->cgroup_root);
	for (size_t i = 0; i < STEER_HOOKS; i++) {
		const char *name = hook_names[i];
		char path[PIN_PATH_MAX];
		int r;

		s->hooks[i] = link_find(config->bpf_dir, name, cgroup_id, &t->old_prog[i]);
		if (s->hooks[i])
			continue;
		t->fresh[i] = true;
		s->hooks[i] = bpf_program__attach_cgroup(
			bpf_object__find_program_by_name(s->skel->obj, name), root);
		if (!s->hooks[i])
			return steer_fail(-errno, "attaching", name);
		r = pin_path(config->bpf_dir, "link", name, "_new", path);
		if (r == 0 && bpf_obj_pin(bpf_link__fd(s->hooks[i]), path) < 0)
			r = -errno;
		if (r < 0)
			return steer_fail(r, "pinning the link of", name);
	}
	return 0;
}

static int traces_attach(struct steer *s)
{
	for (size_t i = 0; i < STEER_TRACES; i++) {
		s->traces[i] = bpf_program__attach_trace(
			bpf_object__find_program_by_name(s->skel->obj, trace_names[i]));
		if (!s->traces[i])
			return steer_fail(-errno, "attaching", trace_names[i]);
	}
	return 0;
}

static int hooks_update(struct steer *s, const struct takeover *t)
{
	size_t i;
	int r = 0;

	for (i = 0; i < STEER_HOOKS && r == 0; i++) {
		if (t->fresh[i])
			continue;
		if (bpf_link_update(bpf_link__fd(s->hooks[i]),
				    bpf_program__fd(bpf_object__find_program_by_name(
					    s->skel->obj, hook_names[i])),
				    NULL) < 0)
			r = steer_fail(-errno, "replacing", hook_names[i]);
	}
	while (r < 0 && i-- > 0) {
		if (!t->fresh[i])
			(void)bpf_link_update(bpf_link__fd(s->hooks[i]), t->old_prog[i], NULL);
	}
	return r;
}

static int control_init(struct steer *s, const struct steer_config *config)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timespec now;
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return steer_fail(-errno, "reading the cookie of", "the network namespace");
	if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return steer_fail(-errno, "reading", "the clock");
	s->control = (struct sluice_control){
		.heartbeat_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
		.heartbeat_max_ns = config->heartbeat_max_ns,
		.host_netns_cookie = cookie,
		.abi_version = SLUICE_ABI_VERSION,
	};
	return 0;
}

static int take_over(struct steer *s, const struct steer_config *config, struct takeover *t)
{
	const char *dir = config->bpf_dir;
	uint64_t cgroup = 0;
	int r;

	r = cgroup_id(config->cgroup_root, "/", &cgroup);
	if (r < 0)
		return steer_fail(r, "reading", config->cgroup_root);
	r = maps_find(s, dir, t);
	if (r < 0)
		return r;
	r = steer_bpf__load(s->skel);
	if (r < 0)
		return steer_fail(r, "loading", "the programs");
	r = maps_fill(s, t);
	if (r < 0)
		return r;
	r = maps_pin(s, dir, t);
	if (r < 0)
		return r;
	r = hooks_attach(s, config, cgroup, t);
	if (r < 0)
		return r;
	r = traces_attach(s);
	if (r < 0)
		return r;
	r = hooks_update(s, t);
	if (r < 0)
		return r;
	r = pins_commit(dir);
	return r < 0 ? steer_fail(r, "renaming pins in", dir) : 0;
}

int steer_load(struct steer *s, const struct steer_config *config)
{
	_cleanup_(takeover_done) struct takeover t = {};
	libbpf_print_fn_t print;
	int r;

	memset(t.old_prog, 0xff, sizeof(t.old_prog)); /* -1 */
	memset(t.old_maps, 0xff, sizeof(t.old_maps));
	r = control_init(s, config);
	if (r < 0)
		return r;
	r = pins_prepare(config->bpf_dir);
	if (r < 0)
		return steer_fail(r, "preparing", config->bpf_dir);
	pins_discard(config->bpf_dir); /* of a start that was killed half way */
	print = libbpf_set_print(keep_warning);
	s->skel = steer_bpf__open();
	r = s->skel ? take_over(s, config, &t) : steer_fail(-errno, "opening", "the programs");
	(void)libbpf_set_print(print);
	if (r < 0)
		pins_discard(config->bpf_dir);
	return r;
}
