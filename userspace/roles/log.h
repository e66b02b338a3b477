/* log.h - lines for people on stderr, where journald or a terminal takes them.
 * Used by: roles/ and main.c only; libraries return errors instead.
 * Promises: one line a call; control characters in it are made visible; never blocks on memory. */
#ifndef SLUICE_ROLES_LOG_H
#define SLUICE_ROLES_LOG_H

#include "base/macro.h"

/* Severities as syslog(3) numbers them; journald is told by a "<N>" prefix. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
};

/* Name of this process in its lines: "warden", "worker 2", … Copied. */
void log_role(const char *role);
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)

#endif
