#include "identity/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "identity/procfs.h"

/* openat2 gives up with EAGAIN when a rename or a mount races with "..": the container can keep
 * that up for ever, so not more often than this. */
#define OPEN_TRIES 8

static int open_in_root(int root, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	for (unsigned i = 0; i < OPEN_TRIES; i++) {
		long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

/* A regular file that holds data. Pipes, devices and sockets are never opened: that alone can
 * block, or do something. Nor are files that a kernel makes up as they are read. */
static int check_plain(int path_fd)
{
	struct statfs fs;
	struct stat st;

	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	if (st.st_size > TOKEN_BYTES_MAX)
		return -EFBIG;
	if (fstatfs(path_fd, &fs) < 0)
		return -errno;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
		return -ENOTSUP;
	default:
		return 0;
	}
}

/* The file that path_fd stands for, opened for reading: the very one that was checked. */
static int reopen(int path_fd)
{
	char path[48];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int read_all(int fd, uint8_t *out, size_t cap, size_t *ret_len)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = read(fd, out + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

static int read_below(int dir, const char *path, uint8_t *out, size_t cap, size_t *ret_len)
{
	_cleanup_close_ int root = openat(dir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int path_fd = -1;
	_cleanup_close_ int fd = -1;
	int r;

	if (root < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	path_fd = open_in_root(root, path);
	if (path_fd < 0)
		return path_fd;
	r = check_plain(path_fd);
	if (r < 0)
		return r;
	fd = reopen(path_fd);
	if (fd < 0)
		return fd;
	return read_all(fd, out, cap, ret_len);
}

int proc_read_file(const struct proc_key *key, const char *path, struct arena *arena,
		   struct span *ret_bytes)
{
	_cleanup_close_ int dir = -1;
	uint8_t bytes[TOKEN_BYTES_MAX + 1];
	const char *copy;
	size_t len = 0;
	int r;

	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return -EINVAL;
	r = procfs_open(key->tgid, &dir);
	if (r < 0)
		return r;
	r = procfs_check(dir, key->start_boottime);
	if (r < 0)
		return r;
	r = read_below(dir, path, bytes, sizeof(bytes), &len);
	if (r < 0)
		return r;
	if (len > TOKEN_BYTES_MAX)
		return -EFBIG;
	/* Whose root that was is certain only if the process is still there. */
	r = procfs_check(dir, key->start_boottime);
	if (r < 0)
		return r;
	copy = arena_strndup(arena, span_of(bytes, len));
	if (!copy)
		return -ENOMEM;
	*ret_bytes = span_of(copy, len);
	return 0;
}
