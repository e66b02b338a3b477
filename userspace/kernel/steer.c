/* steer.c - see steer.h. */
#include "kernel/steer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include "kernel/steer_load.h"
#include "kernel/steer_pins.h"

static int on_sample(void *ctx, void *data, size_t size)
{
	struct steer *s = ctx;

	if (size != sizeof(struct sluice_kevent))
		return 0;
	s->n_read++;
	s->on_event_result = s->on_event(s->on_event_ctx, data);
	/* A negative return ends this read; the event counts as read. */
	return s->on_event_result != 0 || s->n_read >= STEER_EVENTS_BATCH ? -ECANCELED : 0;
}

static int open_readers(struct steer *s, const char *bpf_dir)
{
	LIBBPF_OPTS(bpf_obj_get_opts, read_only, .file_flags = BPF_F_RDONLY);
	char path[PIN_PATH_MAX];
	int r;

	r = pin_path(bpf_dir, "map", "sockets", "", path);
	if (r < 0)
		return steer_fail(r, "naming the pin of map", "sockets");
	s->storage_fd = bpf_obj_get_opts(path, &read_only);
	if (s->storage_fd < 0)
		return steer_fail(-errno, "opening", path);
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.events), on_sample, s, NULL);
	if (!s->ring)
		return steer_fail(-errno, "reading map", "events");
	s->n_cpus = libbpf_num_possible_cpus();
	if (s->n_cpus <= 0)
		return steer_fail(-ENODEV, "counting", "processors");
	s->per_cpu = calloc((size_t)s->n_cpus, sizeof(*s->per_cpu));
	return s->per_cpu ? 0 : steer_fail(-ENOMEM, "opening", "counters");
}

int steer_open(const struct steer_config *config, const char **ret_why, struct steer **ret_steer)
{
	_cleanup_(steer_closep) struct steer *s = calloc(1, sizeof(*s));
	int r;

	steer_why_clear();
	if (!s) {
		*ret_why = "no memory";
		return -ENOMEM;
	}
	s->storage_fd = -1;
	r = steer_load(s, config);
	if (r == 0)
		r = open_readers(s, config->bpf_dir);
	if (r == 0) {
		r = steer_heartbeat(s);
		if (r < 0)
			r = steer_fail(r, "writing map", "control");
	}
	if (r < 0) {
		*ret_why = steer_why();
		return r;
	}
	*ret_steer = TAKE_PTR(s);
	return 0;
}

void steer_close(struct steer *s)
{
	if (!s)
		return;
	ring_buffer__free(s->ring);
	for (size_t i = 0; i < STEER_TRACES; i++)
		(void)bpf_link__destroy(s->traces[i]);
	/* The pins keep these attached. */
	for (size_t i = 0; i < STEER_HOOKS; i++)
		(void)bpf_link__destroy(s->hooks[i]);
	steer_bpf__destroy(s->skel);
	fd_clear(&s->storage_fd);
	free(s->per_cpu);
	free(s);
}

int steer_lock(const char *bpf_dir, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	int r = pins_prepare(bpf_dir);

	if (r < 0)
		return r;
	fd = open(bpf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int steer_detach(const char *bpf_dir)
{
	return pins_remove(bpf_dir);
}

static int map_set(const struct bpf_map *map, const void *key, const void *value)
{
	return bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) < 0 ? -errno : 0;
}

static int map_del(const struct bpf_map *map, const void *key)
{
	return bpf_map_delete_elem(bpf_map__fd(map), key) < 0 ? -errno : 0;
}

int steer_scope_add(struct steer *s, uint64_t cgroup_id)
{
	uint32_t one = 1;

	return map_set(s->skel->maps.scopes, &cgroup_id, &one);
}

int steer_scope_del(struct steer *s, uint64_t cgroup_id)
{
	return map_del(s->skel->maps.scopes, &cgroup_id);
}

int steer_cgroup_set(struct steer *s, uint64_t cgroup_id, enum sluice_cgroup_state state)
{
	uint32_t value = state;

	return map_set(s->skel->maps.cgroups, &cgroup_id, &value);
}

int steer_cgroup_del(struct steer *s, uint64_t cgroup_id)
{
	return map_del(s->skel->maps.cgroups, &cgroup_id);
}

int steer_listener_set(struct steer *s, uint64_t netns_cookie, const struct sluice_listener *l)
{
	return map_set(s->skel->maps.listeners, &netns_cookie, l);
}

int steer_listener_del(struct steer *s, uint64_t netns_cookie)
{
	return map_del(s->skel->maps.listeners, &netns_cookie);
}

/* A key that vanishes while it is stood on starts the walk again: bound it. */
static int map_prune(const struct bpf_map *map, bool (*keep)(void *ctx, uint64_t key), void *ctx)
{
	int fd = bpf_map__fd(map);
	uint32_t steps = 2 * bpf_map__max_entries(map);
	uint64_t next;
	uint64_t at = 0;
	bool first = true;
	int removed = 0;

	while (steps-- > 0 && bpf_map_get_next_key(fd, first ? NULL : &at, &next) == 0) {
		if (!keep(ctx, next)) {
			if (bpf_map_delete_elem(fd, &next) < 0 && errno != ENOENT)
				return -errno;
			removed++;
			continue;
		}
		at = next;
		first = false;
	}
	return removed;
}

int steer_scopes_prune(struct steer *s, bool (*keep)(void *ctx, uint64_t cgroup_id), void *ctx)
{
	return map_prune(s->skel->maps.scopes, keep, ctx);
}

int steer_cgroups_prune(struct steer *s, bool (*keep)(void *ctx, uint64_t cgroup_id), void *ctx)
{
	return map_prune(s->skel->maps.cgroups, keep, ctx);
}

int steer_listeners_prune(struct steer *s, bool (*keep)(void *ctx, uint64_t netns_cookie),
			  void *ctx)
{
	return map_prune(s->skel->maps.listeners, keep, ctx);
}

static uint64_t boottime_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int steer_heartbeat(struct steer *s)
{
	uint32_t zero = 0;

	s->control.heartbeat_ns = boottime_ns();
	return map_set(s->skel->maps.control, &zero, &s->control);
}

int steer_counters(const struct steer *s, uint64_t ret_counters[static SLUICE_COUNT_MAX])
{
	uint64_t sums[SLUICE_COUNT_MAX] = {};

	for (uint32_t i = 0; i < SLUICE_COUNT_MAX; i++) {
		if (bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.counters), &i, s->per_cpu) < 0)
			return -errno;
		for (int cpu = 0; cpu < s->n_cpus; cpu++)
			sums[i] += s->per_cpu[cpu];
	}
	memcpy(ret_counters, sums, sizeof(sums));
	return 0;
}

const char *steer_counter_name(enum sluice_counter which)
{
	static const char *const names[SLUICE_COUNT_MAX] = {
		[SLUICE_COUNT_STEERED] = "steered",
		[SLUICE_COUNT_REFUSED_UNKNOWN] = "refused-unknown",
		[SLUICE_COUNT_REFUSED_LISTENER] = "refused-listener",
		[SLUICE_COUNT_REFUSED_HEARTBEAT] = "refused-heartbeat",
		[SLUICE_COUNT_REFUSED_PROTOCOL] = "refused-protocol",
		[SLUICE_COUNT_REFUSED_BIND] = "refused-bind",
		[SLUICE_COUNT_REFUSED_FULL] = "refused-full",
		[SLUICE_COUNT_HANDED_OVER] = "handed-over",
		[SLUICE_COUNT_ORPHAN] = "orphan",
		[SLUICE_COUNT_EVENTS_LOST] = "events-lost",
		[SLUICE_COUNT_REFUSED_DIRECT] = "refused-direct",
		[SLUICE_COUNT_REFUSED_ROUTE] = "refused-route",
		[SLUICE_COUNT_REFUSALS_UNTOLD] = "refusals-untold",
	};

	return (unsigned)which < SLUICE_COUNT_MAX ? names[which] : NULL;
}

int steer_sweep(struct steer *s, uint64_t max_age_ns, uint32_t *ret_removed, uint32_t *ret_left)
{
	int fd = bpf_map__fd(s->skel->maps.tuples);
	uint64_t now = boottime_ns();
	struct sluice_tuple next;
	struct sluice_tuple at;
	bool first = true;
	uint32_t removed = 0;
	uint32_t left = 0;
	/* A key that vanishes while it is stood on starts the walk again: bound it. */
	uint32_t steps = 2 * bpf_map__max_entries(s->skel->maps.tuples);

	while (steps-- > 0 && bpf_map_get_next_key(fd, first ? NULL : &at, &next) == 0) {
		struct sluice_origin o;

		if (bpf_map_lookup_elem(fd, &next, &o) == 0 && now > o.connect_ns &&
		    now - o.connect_ns > max_age_ns) {
			if (bpf_map_delete_elem(fd, &next) == 0)
				removed++;
			continue;
		}
		left++;
		at = next;
		first = false;
	}
	if (ret_removed)
		*ret_removed = removed;
	if (ret_left)
		*ret_left = left;
	return 0;
}

int steer_events_fd(const struct steer *s)
{
	return ring_buffer__epoll_fd(s->ring);
}

int steer_events_read(struct steer *s, int (*on_event)(void *ctx, const struct sluice_kevent *e),
		      void *ctx)
{
	int r;

	s->on_event = on_event;
	s->on_event_ctx = ctx;
	s->on_event_result = 0;
	s->n_read = 0;
	r = ring_buffer__consume(s->ring);
	if (s->on_event_result != 0)
		return s->on_event_result;
	return r < 0 && r != -ECANCELED ? r : s->n_read;
}

int steer_storage_fd(const struct steer *s)
{
	return s->storage_fd;
}
