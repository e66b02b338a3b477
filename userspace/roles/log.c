#include "roles/log.h"

#include <stdarg.h>

#define LINE_MAX_LEN 2048
#define ROLE_MAX     32

static char role_name[ROLE_MAX];

void log_role(const char *role)
{
	(void)snprintf(role_name, sizeof(role_name), "%s", role);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	size_t len = 0;
	va_list ap;
	int n;

	/* systemd sets it when stderr goes to the journal, which reads the prefix. */
	if (getenv("JOURNAL_STREAM"))
		len += (size_t)snprintf(line, sizeof(line), "<%d>", (int)level);
	len += (size_t)snprintf(line + len, sizeof(line) - len,
				"sluiced%s%s: ", role_name[0] ? " " : "", role_name);
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	n = (int)strlen(line + len);
	/* Paths and names in it may be an agent's: no escape sequence reaches a terminal. */
	for (char *p = line + len; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	len += (size_t)n;
	line[len++] = '\n';
	/* One write, so that lines of several processes do not mix. */
	(void)!write(STDERR_FILENO, line, len);
}
