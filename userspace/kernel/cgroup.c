/* cgroup.c - see cgroup.h. Names below a delegated cgroup are the container's choice. */
#include "kernel/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <mntent.h>
#include <sys/stat.h>

#define DEPTH_MAX	64
#define FILEID_KERNFS	0xfe /* of a kernfs file handle: the 64 bit id (include/linux/exportfs.h) */
#define CGROUP_FULL_MAX (PATH_MAX)

static void endmntentp(FILE **f)
{
	if (*f)
		(void)endmntent(*f);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

int cgroup_v2_root(char *ret_path, size_t size)
{
	_cleanup_(endmntentp) FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char line[4096];

	if (!mounts)
		return -errno;
	while (getmntent_r(mounts, &entry, line, sizeof(line))) {
		if (!streq(entry.mnt_type, "cgroup2"))
			continue;
		if (strlen(entry.mnt_dir) >= size)
			return -ENAMETOOLONG;
		(void)snprintf(ret_path, size, "%s", entry.mnt_dir);
		return 0;
	}
	return -ENODEV;
}

/* root + path; path is absolute and climbs nowhere. */
static int full_path(const char *root, const char *path, const char *file,
		     char ret_full[static CGROUP_FULL_MAX])
{
	int n;

	if (path[0] != '/')
		return -EINVAL;
	for (const char *p = path; (p = strstr(p, "/..")); p += 3)
		if (p[3] == '/' || p[3] == '\0')
			return -EINVAL;
	n = snprintf(ret_full, CGROUP_FULL_MAX, "%s%s%s%s", root, streq(path, "/") ? "" : path,
		     file ? "/" : "", file ? file : "");
	return n < 0 || n >= CGROUP_FULL_MAX ? -ENAMETOOLONG : 0;
}

int cgroup_id(const char *root, const char *path, uint64_t *ret_id)
{
	char full[CGROUP_FULL_MAX];
	struct stat st;
	int r;

	r = full_path(root, path, NULL, full);
	if (r < 0)
		return r;
	if (stat(full, &st) < 0)
		return -errno;
	/* On 64 bit kernels the inode number is the kernfs id. */
	*ret_id = st.st_ino;
	return 0;
}

int cgroup_make(const char *root, const char *path)
{
	char full[CGROUP_FULL_MAX];
	bool made = false;
	int r;

	r = full_path(root, path, NULL, full);
	if (r < 0)
		return r;
	for (char *p = full + strlen(root) + 1; p <= full + strlen(full); p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(full, 0755) == 0)
			made = c == '\0';
		else if (errno != EEXIST)
			return -errno;
		*p = c;
		if (c == '\0')
			break;
	}
	return made;
}

int cgroup_remove(const char *root, const char *path)
{
	char full[CGROUP_FULL_MAX];
	int r;

	r = full_path(root, path, NULL, full);
	if (r < 0)
		return r;
	return rmdir(full) < 0 ? -errno : 0;
}

int cgroup_add_pid(const char *root, const char *path, int pid)
{
	_cleanup_close_ int fd = -1;
	char full[CGROUP_FULL_MAX];
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);
	int r;

	r = full_path(root, path, "cgroup.procs", full);
	if (r < 0)
		return r;
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)n) < 0 ? -errno : 0;
}

struct search {
	uint64_t id;
	char *path;
	size_t size;
};

static int search_visit(void *ctx, const char *path, uint64_t id)
{
	struct search *s = ctx;

	if (id != s->id)
		return 0;
	if (strlen(path) >= s->size)
		return -ENAMETOOLONG;
	(void)snprintf(s->path, s->size, "%s", path);
	return 1;
}

/* The kernel opens a cgroup by its id; where it may not (no CAP_DAC_READ_SEARCH), look for it. */
static int open_by_id(const char *root, uint64_t id)
{
	_cleanup_close_ int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct {
		struct file_handle head;
		uint64_t id;
	} handle = {.head = {.handle_bytes = sizeof(id), .handle_type = FILEID_KERNFS}};
	int fd;

	if (root_fd < 0)
		return -errno;
	memcpy(handle.head.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(root_fd, &handle.head, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_path(const char *root, uint64_t id, char *ret_path, size_t size)
{
	_cleanup_close_ int fd = open_by_id(root, id);
	char link[PATH_MAX];
	char proc[32];
	size_t skip = strlen(root);
	ssize_t n;

	if (fd == -ESTALE || fd == -ENOENT)
		return -ENOENT;
	if (fd < 0) {
		struct search s = {.id = id, .path = ret_path, .size = size};
		int r = cgroup_walk(root, "/", search_visit, &s);

		return r < 0 ? r : (r == 1 ? 0 : -ENOENT);
	}
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = readlink(proc, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	if (strncmp(link, root, skip) != 0 || (link[skip] != '/' && link[skip] != '\0'))
		return -ENOENT;
	if ((size_t)n > strlen(" (deleted)") &&
	    streq(link + (size_t)n - strlen(" (deleted)"), " (deleted)"))
		return -ENOENT;
	if (strlen(link + skip) >= size || size < 2)
		return -ENAMETOOLONG;
	(void)snprintf(ret_path, size, "%s", link[skip] ? link + skip : "/");
	return 0;
}

int cgroup_of_pid(int pid, char *ret_path, size_t size)
{
	_cleanup_file_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	char name[32];
	ssize_t n;

	(void)snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	f = fopen(name, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	/* Version 1 hierarchies, on a hybrid host, have other numbers. */
	while ((n = getline(&line, &cap, f)) > 0) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		if (line[n - 1] == '\n')
			line[--n] = '\0';
		if ((size_t)n - 3 >= size)
			return -ENAMETOOLONG;
		(void)snprintf(ret_path, size, "%s", line + 3);
		return 0;
	}
	return ferror(f) ? -ESRCH : -ENODEV;
}

struct walk {
	char path[CGROUP_PATH_MAX];
	int (*visit)(void *ctx, const char *path, uint64_t id);
	void *ctx;
};

/* A cgroup that vanishes under way is none. */
static bool vanished(int error)
{
	return error == ENOENT || error == ENODEV;
}

static DIR *open_dir(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		(void)close(fd);
	return dir;
}

static int walk_dir(struct walk *w, int parent, const char *name, size_t len, unsigned depth)
{
	_cleanup_(closedirp) DIR *dir = open_dir(parent, name);
	struct dirent *entry;
	struct stat st;
	int r;

	if (!dir || fstat(dirfd(dir), &st) < 0)
		return vanished(errno) && depth > 0 ? 0 : -errno;
	r = w->visit(w->ctx, len ? w->path : "/", st.st_ino);
	if (r != 0)
		return r;
	if (depth == DEPTH_MAX)
		return 0;
	while ((entry = readdir(dir))) {
		int n;

		if (entry->d_type != DT_DIR || streq(entry->d_name, ".") ||
		    streq(entry->d_name, ".."))
			continue;
		n = snprintf(w->path + len, sizeof(w->path) - len, "/%s", entry->d_name);
		if (n < 0 || (size_t)n >= sizeof(w->path) - len)
			continue;
		r = walk_dir(w, dirfd(dir), entry->d_name, len + (size_t)n, depth + 1);
		w->path[len] = '\0';
		if (r != 0)
			return r;
	}
	return 0;
}

int cgroup_walk(const char *root, const char *path,
		int (*visit)(void *ctx, const char *path, uint64_t id), void *ctx)
{
	struct walk w = {.visit = visit, .ctx = ctx};
	char full[CGROUP_FULL_MAX];
	size_t len = streq(path, "/") ? 0 : strlen(path);
	int r;

	r = full_path(root, path, NULL, full);
	if (r < 0)
		return r;
	if (len >= sizeof(w.path))
		return -ENAMETOOLONG;
	memcpy(w.path, path, len);
	return walk_dir(&w, AT_FDCWD, full, len, 0);
}

int cgroup_pids(const char *root, const char *path, int (*visit)(void *ctx, int pid), void *ctx)
{
	_cleanup_file_ FILE *f = NULL;
	char full[CGROUP_FULL_MAX];
	char line[32];
	int r;

	r = full_path(root, path, "cgroup.procs", full);
	if (r < 0)
		return r;
	f = fopen(full, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		long pid = strtol(line, NULL, 10);

		/* 0: a process that this pid namespace does not see. */
		if (pid <= 0 || pid > INT_MAX)
			continue;
		r = visit(ctx, (int)pid);
		if (r != 0)
			return r;
	}
	return 0;
}
