#include "tools/ctl.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "audit/visible.h"
#include "base/json.h"
#include "tools/cmd.h"
#include "config/config.h"

#define RUN_DIR_DEFAULT "/run/sluice"
#define ANSWER_WAIT_S	30

DEFINE_CLEANUP(char *, free, textp)

/* run_dir as the configuration says. An approver may not be able to read the default one: then the
 * default place. A configuration that was named must be there. */
static int find_socket(char *ret_path, size_t size)
{
	_cleanup_(config_freep) struct config *config = NULL;
	static struct diags diags;
	const char *dir = RUN_DIR_DEFAULT;
	int n;

	if (cmd_globals.socket) {
		n = snprintf(ret_path, size, "%s", cmd_globals.socket);
		return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
	}
	if (!streq(cmd_globals.config, CMD_CONFIG_DEFAULT) ||
	    access(cmd_globals.config, R_OK) == 0) {
		diags = DIAGS_INIT;
		if (config_load(cmd_globals.config, CONFIG_OFFLINE, &diags, &config) < 0) {
			diags_print(&diags, stderr);
			diags_done(&diags);
			return -EINVAL;
		}
		diags_done(&diags);
		dir = config->run_dir;
	}
	n = snprintf(ret_path, size, "%s/control.sock", dir);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int dial(void)
{
	const struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	int r;

	r = find_socket(to.sun_path, sizeof(to.sun_path));
	if (r < 0) {
		fprintf(stderr, "sluicectl: cannot tell where the control socket is: %s\n",
			strerror(-r));
		return r;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		r = -errno;
		fprintf(stderr, "sluicectl: sluiced cannot be reached at %s: %s\n", to.sun_path,
			strerror(-r));
		return r;
	}
	return TAKE_FD(fd);
}

static int exchange(const char *request, struct buf *answer)
{
	_cleanup_close_ int fd = dial();
	uint8_t *to;
	ssize_t n;

	if (fd < 0)
		return fd;
	to = buf_reserve(answer, CTL_ANSWER_MAX);
	if (!to)
		return buf_error(answer);
	/* The answer may come first: to a governed process it does, and the socket is closed. */
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0 && errno != EPIPE)
		return -errno;
	do {
		n = recv(fd, to, CTL_ANSWER_MAX, MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	if ((size_t)n > CTL_ANSWER_MAX)
		return -EMSGSIZE;
	buf_commit(answer, (size_t)n);
	return 0;
}

int ctl_ask(json_t *request, struct buf *ret_answer, json_t **ret_root)
{
	_cleanup_(textp) char *text = json_dumps(request, JSON_COMPACT | JSON_SORT_KEYS);
	_cleanup_(json_decrefp) json_t *root = NULL;
	int r;

	json_decref(request);
	r = text ? exchange(text, ret_answer) : -ENOMEM;
	if (r == 0)
		r = json_load_strict(buf_span(ret_answer), &root);
	if (r < 0) {
		fprintf(stderr, "sluicectl: no answer from sluiced: %s\n", strerror(-r));
		return CMD_UNKNOWN;
	}
	if (ctl_number(root, "ok") != 1) {
		fputs("sluicectl: ", stderr);
		ctl_print(stderr, ctl_text(root, "error"), 0);
		fputc('\n', stderr);
		return CMD_NO;
	}
	*ret_root = TAKE_PTR(root);
	return CMD_YES;
}

const char *ctl_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_int_t ctl_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

void ctl_print(FILE *to, const char *text, size_t width)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CTL_ANSWER_MAX * 8);
	struct span shown;

	if (visible_put(&b, span_str(text)) < 0)
		return;
	shown = buf_span(&b);
	if (width > 0 && shown.len > width) {
		/* Not within a character. */
		while (width > 0 && (shown.p[width] & 0xc0) == 0x80)
			width--;
		shown.len = width;
		fprintf(to, "%.*s…", SPAN_FMT(shown));
		return;
	}
	fprintf(to, "%.*s", SPAN_FMT(shown));
}

const char *ctl_age(uint64_t from_ns, uint64_t to_ns, char out[static 24])
{
	uint64_t s = to_ns > from_ns ? (to_ns - from_ns) / 1000000000u : 0;

	if (s < 120)
		(void)snprintf(out, 24, "%u s", (unsigned)s);
	else if (s < 7200)
		(void)snprintf(out, 24, "%u min", (unsigned)(s / 60));
	else if (s < 172800)
		(void)snprintf(out, 24, "%u h", (unsigned)(s / 3600));
	else
		(void)snprintf(out, 24, "%llu d", (unsigned long long)(s / 86400));
	return out;
}
