#include "identity/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "identity/exe_cache.h"
#include "identity/procfs.h"

#define CGROUP_TEXT_MAX 8192

/* A part of what /proc says may be missing: not readable, or of a kind that cannot be read. Only
 * these end the whole. */
static bool is_fatal(int r)
{
	return r == -ESRCH || r == -ENOMEM;
}

/* Path of the executable as the kernel tells it: below the root of the process's mount namespace,
 * with " (deleted)" behind it when its name is gone. */
static int read_exe_path(int dir, struct arena *arena, const char **ret_path)
{
	char path[PATH_MAX + 16];
	ssize_t n = readlinkat(dir, "exe", path, sizeof(path));

	if (n < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret_path = procfs_clean(arena, span_of(path, (size_t)n));
	return *ret_path ? 0 : -ENOMEM;
}

/* Digest of the executable. want_ino: the inode that the kernel side saw, 0: not known. Another one
 * means an exec since: the caller was not what is there now. The device is not compared: on
 * overlayfs and btrfs stat(2) gives another than the inode's own. */
static int read_exe_digest(int dir, struct exe_cache *cache, uint64_t cgroup_id, uint64_t want_ino,
			   uint8_t ret_sha256[static SHA256_LEN])
{
	_cleanup_close_ int fd = openat(dir, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (want_ino != 0 && st.st_ino != want_ino)
		return -ESRCH;
	return exe_cache_digest(cache, cgroup_id, fd, &st, ret_sha256);
}

static int read_args(int dir, struct arena *arena, const char **ret_args)
{
	uint8_t text[ARGS_MAX];
	size_t len;
	int r;

	r = procfs_read(dir, "cmdline", text, sizeof(text), &len);
	if (r < 0)
		return r;
	while (len > 0 && text[len - 1] == '\0')
		len--;
	if (len == 0)
		return -ENODATA;
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0')
			text[i] = ' ';
	*ret_args = procfs_clean(arena, span_of(text, len));
	return *ret_args ? 0 : -ENOMEM;
}

/* The line of the v2 hierarchy: cgroups(7). */
static int read_cgroup(int dir, struct arena *arena, const char **ret_path)
{
	char text[CGROUP_TEXT_MAX];
	const char *line;
	size_t len;
	int r;

	r = procfs_read(dir, "cgroup", text, sizeof(text) - 1, &len);
	if (r < 0)
		return r;
	text[len] = '\0';
	for (line = text; line && strncmp(line, "0::", 3) != 0;) {
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	if (!line)
		return -ENODATA;
	line += 3;
	*ret_path = procfs_clean(arena, span_of(line, strcspn(line, "\n")));
	return *ret_path ? 0 : -ENOMEM;
}

/* A known runtime's id, else the cgroup's own name; NULL for the root. */
static const char *container_of(const char *cgroup, struct arena *arena)
{
	const char *id = container_id(cgroup, arena);
	const char *last = strrchr(cgroup, '/');

	if (id)
		return id;
	return last && last[1] != '\0' ? arena_strdup(arena, last + 1) : NULL;
}

static int read_process(int dir, struct exe_cache *cache, struct arena *arena, struct process *p)
{
	int r;

	r = read_exe_path(dir, arena, &p->exe);
	if (is_fatal(r))
		return r;
	r = read_exe_digest(dir, cache, p->cgroup_id, p->exe_ino, p->exe_sha256);
	if (is_fatal(r))
		return r;
	p->has_sha256 = r == 0;
	r = read_args(dir, arena, &p->args);
	if (is_fatal(r))
		return r;
	r = read_cgroup(dir, arena, &p->cgroup);
	if (is_fatal(r))
		return r;
	if (p->cgroup)
		p->container = container_of(p->cgroup, arena);
	return 0;
}

/* What is read of it is read for the process: its cgroup pays.
 * An ancestor that ends meanwhile loses what is not yet known of it, nothing more. */
static int read_ancestor(int dir, struct exe_cache *cache, uint64_t cgroup_id, struct arena *arena,
			 struct ancestor *a)
{
	int r;

	r = read_exe_path(dir, arena, &a->exe);
	if (r == -ENOMEM)
		return r;
	r = read_exe_digest(dir, cache, cgroup_id, 0, a->exe_sha256);
	if (r == -ENOMEM)
		return r;
	a->has_sha256 = r == 0;
	return 0;
}

/* Hold the parent of the process held by dir. The child names the same parent before and after, so
 * the directory opened in between is the parent's: a child never gets a lost parent back.
 * 0: there is none to see; 1: *ret_dir is the caller's. */
static int open_parent(int dir, uint32_t *ret_pid, int *ret_dir)
{
	_cleanup_close_ int parent = -1;
	struct procfs_stat before;
	struct procfs_stat after;

	if (procfs_stat(dir, &before) < 0 || before.ppid == 0)
		return 0;
	if (procfs_open(before.ppid, &parent) < 0)
		return 0;
	if (procfs_stat(dir, &after) < 0 || after.ppid != before.ppid)
		return 0;
	*ret_pid = before.ppid;
	*ret_dir = TAKE_FD(parent);
	return 1;
}

/* Parents up to the first process of the container, or of the machine. */
static int read_ancestors(int dir, struct exe_cache *cache, struct arena *arena, struct process *p)
{
	_cleanup_close_ int held = -1;

	p->n_ancestors = 0;
	while (p->n_ancestors < ANCESTORS_MAX && !procfs_is_init(held >= 0 ? held : dir)) {
		_cleanup_close_ int parent = -1;
		struct ancestor *a = &p->ancestors[p->n_ancestors];
		int r;

		*a = (struct ancestor){0};
		if (open_parent(held >= 0 ? held : dir, &a->pid, &parent) == 0)
			break;
		r = read_ancestor(parent, cache, p->cgroup_id, arena, a);
		if (r < 0)
			return r;
		p->n_ancestors++;
		fd_clear(&held);
		held = TAKE_FD(parent);
	}
	return 0;
}

int proc_resolve(struct exe_cache *cache, struct arena *arena, struct process *process)
{
	_cleanup_close_ int dir = -1;
	struct process p = *process;
	int r;

	p.exe = NULL;
	p.args = NULL;
	p.cgroup = NULL;
	p.container = NULL;
	p.has_sha256 = false;
	r = procfs_open(p.key.tgid, &dir);
	if (r < 0)
		return r;
	r = procfs_check(dir, p.key.start_boottime);
	if (r < 0)
		return r;
	r = read_process(dir, cache, arena, &p);
	if (r < 0)
		return r;
	r = read_ancestors(dir, cache, arena, &p);
	if (r < 0)
		return r;
	/* Still there, so the whole was of one process. An exec in between is seen by its inode. */
	r = procfs_check(dir, p.key.start_boottime);
	if (r < 0)
		return r;
	p.has_proc = true;
	*process = p;
	return 0;
}
