/* steer_pins.c - see steer_pins.h. bpffs refuses names with a dot, hence the underscores. */
#include "kernel/steer_pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define NEW_SUFFIX "_new"

static void closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

int pin_path(const char *bpf_dir, const char *kind, const char *name, const char *suffix,
	     char ret_path[static PIN_PATH_MAX])
{
	int n = snprintf(ret_path, PIN_PATH_MAX, "%s/%s_%s%s", bpf_dir, kind, name, suffix);

	return n < 0 || n >= PIN_PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

int pins_prepare(const char *bpf_dir)
{
	char parent[PIN_PATH_MAX];
	char *slash;

	if (bpf_dir[0] != '/' || strlen(bpf_dir) >= sizeof(parent))
		return -EINVAL;
	(void)snprintf(parent, sizeof(parent), "%s", bpf_dir);
	slash = strrchr(parent, '/');
	if (slash == parent || slash[1] == '\0')
		return -EINVAL;
	*slash = '\0';
	if (!is_bpffs(parent) &&
	    mount("bpf", parent, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return -errno;
	if (mkdir(bpf_dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* Call for each entry of the directory; missing directory: nothing to call for. */
static int each_pin(const char *bpf_dir, int (*visit)(const char *path, const char *name))
{
	_cleanup_(closedirp) DIR *dir = opendir(bpf_dir);
	struct dirent *entry;
	int first = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		char path[PIN_PATH_MAX + NAME_MAX + 2];
		int r;

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", bpf_dir, entry->d_name);
		r = visit(path, entry->d_name);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

static bool is_new(const char *name)
{
	size_t len = strlen(name);

	return len > strlen(NEW_SUFFIX) && streq(name + len - strlen(NEW_SUFFIX), NEW_SUFFIX);
}

static int commit_one(const char *path, const char *name)
{
	char final[PIN_PATH_MAX + NAME_MAX + 2];

	if (!is_new(name))
		return 0;
	(void)snprintf(final, sizeof(final), "%.*s", (int)(strlen(path) - strlen(NEW_SUFFIX)),
		       path);
	return rename(path, final) < 0 ? -errno : 0;
}

int pins_commit(const char *bpf_dir)
{
	return each_pin(bpf_dir, commit_one);
}

static int unlink_new(const char *path, const char *name)
{
	return is_new(name) && unlink(path) < 0 ? -errno : 0;
}

void pins_discard(const char *bpf_dir)
{
	(void)each_pin(bpf_dir, unlink_new);
}

/* Detached, not only unpinned: somebody else may hold the link too. */
static int detach_link(const char *path, const char *name)
{
	_cleanup_close_ int fd = -1;

	if (strncmp(name, "link_", 5) != 0)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	/* The kernel says EINVAL or ENOLINK of a link whose cgroup is gone. */
	(void)bpf_link_detach(fd);
	return unlink(path) < 0 ? -errno : 0;
}

static int unlink_any(const char *path, const char *name _unused_)
{
	return unlink(path) < 0 ? -errno : 0;
}

int pins_remove(const char *bpf_dir)
{
	int r = each_pin(bpf_dir, detach_link);
	int q = each_pin(bpf_dir, unlink_any);

	if (r < 0 || q < 0)
		return r < 0 ? r : q;
	return rmdir(bpf_dir) < 0 && errno != ENOENT ? -errno : 0;
}
