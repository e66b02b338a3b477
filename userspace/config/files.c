#include "config/load.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Open a regular file without being held up by a FIFO; the fault names what is wrong. */
static int open_regular(struct loader *l, const struct yaml_node *node, const char *path,
			struct stat *ret_st)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		yaml_fault(&l->doc, node, "cannot read %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
		yaml_fault(&l->doc, node, "%s is not a regular file", path);
		return -EINVAL;
	}
	return TAKE_FD(fd);
}

/* Up to max bytes; -EFBIG when there are more. */
static ssize_t read_whole(int fd, void *to, size_t max)
{
	size_t n = 0;

	for (;;) {
		char extra;
		ssize_t r = n < max ? read(fd, (char *)to + n, max - n) : read(fd, &extra, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return (ssize_t)n;
		if (n == max)
			return -EFBIG;
		n += (size_t)r;
	}
}

void read_file(struct loader *l, const struct yaml_node *node, const char *path,
	       struct span *ret_bytes)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;
	char *bytes;

	if (!path || (l->flags & CONFIG_OFFLINE))
		return;
	fd = open_regular(l, node, path, &st);
	if (fd < 0)
		return;
	if (st.st_mode & S_IWOTH) {
		yaml_fault(&l->doc, node, "%s can be written by anybody: chmod o-w %s", path, path);
		return;
	}
	if (st.st_size > FILE_BYTES_MAX) {
		yaml_fault(&l->doc, node, "%s is larger than 1 MiB", path);
		return;
	}
	bytes = arena_alloc(&l->config->arena, (size_t)st.st_size + 1);
	if (!bytes) {
		l->no_memory = true;
		return;
	}
	n = read_whole(fd, bytes, (size_t)st.st_size);
	if (n < 0) {
		yaml_fault(&l->doc, node, "cannot read %s: %s", path,
			   n == -EFBIG ? "it grew meanwhile" : strerror((int)-n));
		return;
	}
	*ret_bytes = span_of(bytes, (size_t)n);
}

static void take_secret(struct loader *l, const struct yaml_node *node, const char *path,
			struct span bytes, char **ret_secret)
{
	char *copy;

	if (bytes.len > 0 && bytes.p[bytes.len - 1] == '\n')
		bytes.len--;
	if (bytes.len > 0 && bytes.p[bytes.len - 1] == '\r')
		bytes.len--;
	if (bytes.len == 0) {
		yaml_fault(&l->doc, node, "%s is empty: it must hold the password", path);
		return;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.p[i] == '\n' || bytes.p[i] == '\r' || bytes.p[i] == 0) {
			yaml_fault(&l->doc, node, "%s must hold one line, the password", path);
			return;
		}
	}
	copy = arena_strndup(&l->config->arena, bytes);
	if (!copy)
		l->no_memory = true;
	*ret_secret = copy;
}

void read_secret(struct loader *l, const struct yaml_node *node, const char *path,
		 char **ret_secret)
{
	_cleanup_close_ int fd = -1;
	char bytes[PASSWORD_LEN_MAX + 2]; /* and a line end */
	struct stat st;
	ssize_t n;

	if (!path || (l->flags & (CONFIG_OFFLINE | CONFIG_NO_SECRETS)))
		return;
	fd = open_regular(l, node, path, &st);
	if (fd < 0)
		return;
	if (st.st_mode & 077) {
		yaml_fault(&l->doc, node,
			   "%s can be read by others than its owner (mode %04o): chmod 600 %s",
			   path, (unsigned)(st.st_mode & 07777), path);
		return;
	}
	n = read_whole(fd, bytes, sizeof(bytes));
	if (n == -EFBIG)
		yaml_fault(&l->doc, node, "%s holds more than a password of %u bytes", path,
			   PASSWORD_LEN_MAX);
	else if (n < 0)
		yaml_fault(&l->doc, node, "cannot read %s: %s", path, strerror((int)-n));
	else
		take_secret(l, node, path, span_of(bytes, (size_t)n), ret_secret);
	explicit_bzero(bytes, sizeof(bytes));
}
