#include "identity/proc.h"

#define CONTAINER_HEX 64

/* What runtimes put before the id when systemd manages cgroups; ".scope" follows. */
static const char *const prefixes[] = {"docker-", "cri-containerd-", "crio-", "libpod-"};

static bool is_id(struct span s)
{
	if (s.len != CONTAINER_HEX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

/* The id in one component of a path; empty when there is none. */
static struct span id_of(struct span component)
{
	static const char scope[] = ".scope";
	const size_t scope_len = sizeof(scope) - 1;

	if (component.len > scope_len &&
	    span_eq_str(span_skip(component, component.len - scope_len), scope))
		component.len -= scope_len;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (span_eq_str(span_head(component, n), prefixes[i])) {
			component = span_skip(component, n);
			break;
		}
	}
	return is_id(component) ? component : (struct span){0};
}

/* The topmost one counts: a container may make cgroups below its own, and name them as it likes. */
const char *container_id(const char *cgroup_path, struct arena *arena)
{
	while (*cgroup_path != '\0') {
		size_t n = strcspn(cgroup_path, "/");
		struct span id = id_of(span_of(cgroup_path, n));

		if (id.len > 0)
			return arena_strndup(arena, id);
		cgroup_path += n + (cgroup_path[n] == '/' ? 1 : 0);
	}
	return NULL;
}
