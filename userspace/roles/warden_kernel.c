#include "roles/warden_state.h"

#include <sys/stat.h>

#include "roles/log.h"

/* sluiced may have been started below a scope: then it is the one exception. Elsewhere it needs one
 * for the ports that a predecessor left reserved; not in the root, which is everybody's. */
static int exempt_self(struct warden *w)
{
	char path[CGROUP_PATH_MAX];
	int r;

	r = cgroup_of_pid(getpid(), path, sizeof(path));
	if (r < 0)
		return r;
	if (streq(path, "/"))
		return 0;
	for (size_t i = 0; i < w->config->n_scopes; i++) {
		if (streq(w->config->scopes[i], path)) {
			log_error("sluiced runs in the scope %s itself: start it in a cgroup of "
				  "its own",
				  path);
			return -EINVAL;
		}
	}
	r = cgroup_id(w->cgroup_root, path, &w->own_cgroup);
	return r < 0 ? r : steer_cgroup_set(w->steer, w->own_cgroup, SLUICE_CGROUP_EXEMPT);
}

static bool is_scope(void *ctx, uint64_t id)
{
	const struct warden *w = ctx;
	uint64_t scope;

	for (size_t i = 0; i < w->config->n_scopes; i++)
		if (cgroup_id(w->cgroup_root, w->config->scopes[i], &scope) == 0 && scope == id)
			return true;
	return false;
}

static int add_scopes(struct warden *w)
{
	for (size_t i = 0; i < w->config->n_scopes; i++) {
		const char *scope = w->config->scopes[i];
		uint64_t id;
		int r;

		r = cgroup_make(w->cgroup_root, scope);
		if (r >= 0)
			r = cgroup_id(w->cgroup_root, scope, &id);
		if (r >= 0)
			r = steer_scope_add(w->steer, id);
		if (r < 0) {
			log_error("scope %s: %s", scope, strerror(-r));
			return r;
		}
	}
	/* Those of a predecessor's configuration. */
	(void)steer_scopes_prune(w->steer, is_scope, w);
	return 0;
}

static uint64_t netns_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

int kernel_side_open(struct warden *w)
{
	struct steer_config sc = {.bpf_dir = w->config->bpf_dir,
				  .cgroup_root = w->cgroup_root,
				  .heartbeat_max_ns = HEARTBEAT_MAX_NS};
	const char *why = "";
	int r;

	r = cgroup_v2_root(w->cgroup_root, sizeof(w->cgroup_root));
	if (r < 0) {
		log_error("cgroup v2 is not mounted: nothing can be governed (%s)", strerror(-r));
		return r;
	}
	r = steer_open(&sc, &why, &w->steer);
	if (r < 0) {
		log_error("kernel side: %s (%s)", why, strerror(-r));
		return r;
	}
	w->node_netns[0] = netns_of("/proc/self/ns/net");
	w->node_netns[1] = netns_of("/proc/1/ns/net");
	r = exempt_self(w);
	if (r < 0)
		return r;
	return add_scopes(w);
}
