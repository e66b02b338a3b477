#include "proto/postgres/pg_settings.h"

#include <strings.h>

/* May be given at startup: they change how values look or how long things may take. */
static const char *const allowed[] = {
	"application_name",
	"bytea_output",
	"client_encoding",
	"client_min_messages",
	"datestyle",
	"default_transaction_isolation",
	"default_transaction_read_only",
	"extra_float_digits",
	"geqo",
	"idle_in_transaction_session_timeout",
	"intervalstyle",
	"jit",
	"lock_timeout",
	"search_path",
	"statement_timeout",
	"timezone",
};

/* Encodings in which every byte below 0x80 stands for itself wherever it is: a quote or a backslash
 * cannot be half of another character (PostgreSQL 15, 24.3.1). */
static const char *const safe_encodings[] = {
	"utf8", "utf-8", "unicode", "sql_ascii", "latin1", "latin9", "win1252", "auto",
};

static bool listed(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(list[i], name) == 0)
			return true;
	return false;
}

bool pg_setting_keeps_path(const char *name)
{
	static const char *const moving[] = {"", "search_path", "role", "session_authorization"};

	return !listed(moving, ARRAY_SIZE(moving), name);
}

bool pg_setting_keeps_lexing(const char *name, const char *value)
{
	if (*name == '\0')
		return false;
	if (strcasecmp(name, "standard_conforming_strings") == 0)
		return value && strcasecmp(value, "on") == 0;
	if (strcasecmp(name, "client_encoding") == 0)
		return value && listed(safe_encodings, ARRAY_SIZE(safe_encodings), value);
	return true;
}

static int take(const char *name, const char *value, struct pg_settings *to, char *why, size_t size)
{
	if (!listed(allowed, ARRAY_SIZE(allowed), name)) {
		(void)snprintf(why, size, "sluice: setting \"%.64s\" may not be given at startup",
			       name);
		return -EACCES;
	}
	if (!pg_setting_keeps_lexing(name, value)) {
		(void)snprintf(why, size,
			       "sluice: client encoding \"%.32s\" is not supported: use UTF8",
			       value);
		return -EACCES;
	}
	if (!pg_setting_keeps_path(name))
		to->path_known = false;
	if (to->n_params == PROTO_STARTUP_PARAMS_MAX) {
		(void)snprintf(why, size, "sluice: more than %d settings at startup",
			       PROTO_STARTUP_PARAMS_MAX);
		return -E2BIG;
	}
	to->params[to->n_params++] = (struct proto_param){name, value};
	return 0;
}

/* name=value, where '-' in the name stands for '_' (guc.c ParseLongOption). */
static int take_assignment(char *text, struct pg_settings *to, char *why, size_t size)
{
	char *equals = strchr(text, '=');

	if (!equals) {
		(void)snprintf(why, size, "sluice: option \"%.64s\" has no value", text);
		return -EACCES;
	}
	*equals = '\0';
	for (char *c = text; *c; c++)
		if (*c == '-')
			*c = '_';
	return take(text, equals + 1, to, why, size);
}

/* One word of `options`, with white space at its front and backslashes taken away (pg_split_opts in
 * PostgreSQL 15's postinit.c). NULL at the end. */
static char *next_word(const char **at, struct arena *arena)
{
	const char *in = *at;
	char *word;
	char *out;

	in += strspn(in, " \t\n\v\f\r");
	if (*in == '\0')
		return NULL;
	word = out = arena_alloc(arena, strlen(in) + 1);
	if (!word)
		return NULL;
	while (*in && !strchr(" \t\n\v\f\r", *in)) {
		if (*in == '\\' && in[1])
			in++;
		*out++ = *in++;
	}
	*out = '\0';
	*at = in;
	return word;
}

static int take_options(const char *options, struct arena *arena, struct pg_settings *to, char *why,
			size_t size)
{
	char *word;
	int r;

	while ((word = next_word(&options, arena))) {
		if (streq(word, "-c")) {
			word = next_word(&options, arena);
			r = word ? take_assignment(word, to, why, size) : -EACCES;
		} else if (strncmp(word, "-c", 2) == 0 || strncmp(word, "--", 2) == 0) {
			r = take_assignment(word + 2, to, why, size);
		} else {
			r = -EACCES;
			(void)snprintf(why, size,
				       "sluice: option \"%.64s\" may not be given at startup",
				       word);
		}
		if (r < 0)
			return r;
	}
	/* Stopped early for want of memory: what is left has not been looked at. */
	if (options[strspn(options, " \t\n\v\f\r")] != '\0')
		return -ENOMEM;
	return 0;
}

int pg_settings_check(const struct proto_param *params, size_t n, struct arena *arena,
		      struct pg_settings *ret_settings, char *ret_why, size_t why_size)
{
	struct pg_settings settings = {.path_known = true};
	int r;

	(void)snprintf(ret_why, why_size, "sluice: the startup settings cannot be read");
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(params[i].name, "options") == 0)
			r = take_options(params[i].value, arena, &settings, ret_why, why_size);
		else
			r = take(params[i].name, params[i].value, &settings, ret_why, why_size);
		if (r < 0)
			return r;
	}
	*ret_settings = settings;
	return 0;
}
