#include "roles/control_state.h"

#include <sys/random.h>

#include "roles/log.h"

#define TRIES 8

static int find_workload(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_workloads; i++)
		if (streq(config->workloads[i].name, name))
			return (int)i;
	return -ENOENT;
}

static int parent_of(int pid)
{
	_cleanup_file_ FILE *f = NULL;
	char path[64];
	char line[256];
	int parent;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			return parent;
	return -ESRCH;
}

static bool put(char *out, size_t *at, const char *text)
{
	size_t n = strlen(text);

	if (n >= CGROUP_PATH_MAX - *at)
		return false;
	memcpy(out + *at, text, n + 1);
	*at += n;
	return true;
}

/* The pattern itself, with something in place of its wildcards. */
static bool fill_pattern(const char *pattern, const char *random, char *out)
{
	size_t at = 0;

	out[0] = '\0';
	for (const char *p = pattern; *p; p++) {
		char one[2] = {*p == '?' ? 'x' : *p, '\0'};

		if (!put(out, &at, *p == '*' ? random : one))
			return false;
	}
	return true;
}

/* A path below a scope that this workload is the one to match. */
static bool choose_path(const struct warden *w, uint16_t workload, char out[CGROUP_PATH_MAX])
{
	const struct workload_config *wl = &w->config->workloads[workload];
	char random[9];
	uint32_t bits;

	if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
		return false;
	(void)snprintf(random, sizeof(random), "%08x", bits);
	for (size_t i = 0; i < w->config->n_scopes; i++) {
		int n = snprintf(out, CGROUP_PATH_MAX, "%s/%s-%s", w->config->scopes[i], wl->name,
				 random);

		if (n > 0 && n < CGROUP_PATH_MAX && watch_workload(w, out) == workload)
			return true;
	}
	return fill_pattern(wl->cgroup, random, out) && watch_in_scope(w, out) &&
	       watch_workload(w, out) == workload;
}

/* 0 with a cgroup that was not there before; -ENOENT: the pattern leaves no place for one. */
static int make_cgroup(struct warden *w, uint16_t workload, char path[CGROUP_PATH_MAX])
{
	for (int i = 0; i < TRIES; i++) {
		int r;

		if (!choose_path(w, workload, path))
			return -ENOENT;
		r = cgroup_make(w->cgroup_root, path);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return -EEXIST;
}

/* Governed, the process in it, a listener where it is. */
static int set_up(struct warden *w, const char *path, int pid)
{
	struct governed *g;
	uint64_t id;
	int r;

	r = cgroup_id(w->cgroup_root, path, &id);
	if (r == 0)
		r = watch_enrol(w, path, id, &g);
	if (r < 0) {
		(void)cgroup_remove(w->cgroup_root, path);
		return r;
	}
	/* From here on it goes, when nothing is left in it, by a sweep. */
	g->made_by_run = true;
	netns_sweep_soon(w);
	r = cgroup_add_pid(w->cgroup_root, path, pid);
	return r < 0 ? r : netns_open_for(w, g, pid, pid);
}

static void answer(struct client *c, const char *path)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CGROUP_PATH_MAX * 8);
	struct jsonw j;

	jsonw_init(&j, &b);
	jsonw_object(&j, NULL);
	jsonw_str(&j, "cgroup", path);
	jsonw_int(&j, "ok", 1);
	jsonw_close(&j);
	if (jsonw_end(&j) < 0)
		control_refuse(c, "the answer could not be written");
	else
		control_answer(c, buf_span(&b));
}

void control_run(struct client *c, json_t *request)
{
	struct warden *w = c->control->warden;
	const char *name = json_string_value(json_object_get(request, "workload"));
	json_int_t pid = json_integer_value(json_object_get(request, "pid"));
	char path[CGROUP_PATH_MAX];
	int workload;
	int r;

	workload = name ? find_workload(w->config, name) : -ENOENT;
	if (workload < 0) {
		control_refuse(c, "the configuration has no workload of that name");
		return;
	}
	/* A pid is moved only by the process that started it. */
	if (pid <= 1 || pid > INT32_MAX || parent_of((int)pid) != c->pid) {
		control_refuse(c, "not a child of the process that asks");
		return;
	}
	r = make_cgroup(w, (uint16_t)workload, path);
	if (r == -ENOENT) {
		control_refuse(c,
			       "no cgroup below a scope matches workload %s and no other: look at "
			       "its pattern %s",
			       name, w->config->workloads[workload].cgroup);
		return;
	}
	if (r == 0)
		r = set_up(w, path, (int)pid);
	if (r < 0) {
		control_refuse(c, "it cannot be governed: %s",
			       r == -EAGAIN ? "no worker is running" : strerror(-r));
		return;
	}
	log_info("pid %d started as %s in %s", (int)pid, name, path);
	answer(c, path);
}
