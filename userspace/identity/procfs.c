#include "identity/procfs.h"

#include <fcntl.h>

#include "base/utf8.h"

#define STAT_MAX   1024
#define STATUS_MAX 4096

/* Fields of /proc/PID/stat, counted from the state, which follows the name: proc(5). */
#define STAT_PPID  1
#define STAT_START 19

int procfs_open(uint32_t pid, int *ret_dir)
{
	char path[32];
	int dir;

	if (pid == 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%u", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret_dir = dir;
	return 0;
}

int procfs_read(int dir, const char *name, void *out, size_t cap, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t len = 0;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (len < cap) {
		ssize_t n = read(fd, (char *)out + len, cap - len);

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

/* The name stands in brackets and may hold brackets and blanks: what follows the last bracket is
 * the kernel's own. */
static int parse_stat(const char *text, struct procfs_stat *ret_stat)
{
	struct procfs_stat out;
	const char *p = strrchr(text, ')');

	if (!p || p[1] != ' ' || p[2] == '\0' || p[3] != ' ')
		return -EBADMSG;
	out.state = p[2];
	p += 3;
	for (unsigned field = 1; field <= STAT_START; field++) {
		char *end;
		unsigned long long v;

		errno = 0;
		v = strtoull(p, &end, 10);
		if (end == p || errno != 0)
			return -EBADMSG;
		if (field == STAT_PPID)
			out.ppid = (uint32_t)v;
		if (field == STAT_START)
			out.start_ticks = v;
		p = end;
	}
	*ret_stat = out;
	return 0;
}

int procfs_stat(int dir, struct procfs_stat *ret_stat)
{
	struct procfs_stat out;
	char text[STAT_MAX];
	size_t len;
	int r;

	r = procfs_read(dir, "stat", text, sizeof(text) - 1, &len);
	if (r < 0)
		return r;
	text[len] = '\0';
	r = parse_stat(text, &out);
	if (r < 0)
		return r;
	if (out.state == 'Z' || out.state == 'X')
		return -ESRCH;
	*ret_stat = out;
	return 0;
}

int procfs_check(int dir, uint64_t start_boottime)
{
	struct procfs_stat st;
	long hz = sysconf(_SC_CLK_TCK);
	int r;

	r = procfs_stat(dir, &st);
	if (r < 0)
		return r;
	if (start_boottime == 0)
		return 0;
	if (hz <= 0)
		return -ENOTSUP;
	return st.start_ticks == start_boottime / (1000000000u / (uint64_t)hz) ? 0 : -ESRCH;
}

/* "NStgid:" lists the process's number in each pid namespace, from /proc's own to its innermost. A
 * line feed in a name is written as "\n" there, so the line cannot be made up. */
bool procfs_is_init(int dir)
{
	char text[STATUS_MAX];
	const char *line;
	size_t len;

	if (procfs_read(dir, "status", text, sizeof(text) - 1, &len) < 0)
		return false;
	text[len] = '\0';
	line = strstr(text, "\nNStgid:");
	if (!line)
		return false;
	line += strlen("\nNStgid:");
	len = strcspn(line, "\n");
	return len >= 2 && line[len - 1] == '1' && line[len - 2] == '\t';
}

char *procfs_clean(struct arena *arena, struct span s)
{
	char *out = arena_strndup(arena, s);
	size_t at = 0;

	while (out && at < s.len) {
		size_t n = utf8_valid_prefix(span_skip(s, at));

		if (n == 0 || utf8_is_control(span_head(span_skip(s, at), n))) {
			n = MAX(n, (size_t)1);
			memset(out + at, '?', n);
		}
		at += n;
	}
	return out;
}
