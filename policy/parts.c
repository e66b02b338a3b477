#include "policy/rules.h"

#include <strings.h>

/* Verbs that bring rows from where they read into a table, a view or a procedure. */
#define TAKES_ROWS \
	(SQL_INSERT | SQL_UPDATE | SQL_DELETE | SQL_MERGE | SQL_CREATE | SQL_COPY_IN | SQL_CALL)
/* Verbs in whose statements a table that is read is paired with the verb itself. */
#define NAMES_READ                                                                       \
	(SQL_SELECT | SQL_EXPLAIN | SQL_LOCK | SQL_MAINTAIN | SQL_GRANT | SQL_TRUNCATE | \
	 SQL_DROP | SQL_ALTER)

struct walk {
	part_fn *fn;
	void *ctx;
	const struct sql_statement *s;
	const char *error;
};

/* Settings that change how values look or how long things take, and nothing of what a statement
 * means or who runs it. value: only with this one of them. search_path is followed by the session.
 * In other encodings than these a character may end in a byte that reads as a backslash: the server
 * would find another end of a string than the classifier. */
static const struct {
	const char *name;
	const char *value;
} harmless_settings[] = {
	{"application_name", NULL},
	{"bytea_output", NULL},
	{"client_encoding", "utf8"},
	{"client_encoding", "utf-8"},
	{"client_encoding", "unicode"},
	{"client_encoding", "sql_ascii"},
	{"datestyle", NULL},
	{"extra_float_digits", NULL},
	{"idle_in_transaction_session_timeout", NULL},
	{"intervalstyle", NULL},
	{"lock_timeout", NULL},
	{"search_path", NULL},
	{"session characteristics", NULL},
	{"standard_conforming_strings", "on"},
	{"statement_timeout", NULL},
	{"timezone", NULL},
};

static bool setting_harmless(const struct sql_statement *s)
{
	for (size_t i = 0; s->setting && i < ARRAY_SIZE(harmless_settings); i++) {
		const char *value = harmless_settings[i].value;

		if (streq(s->setting, harmless_settings[i].name) &&
		    (!value || (s->setting_value && strcasecmp(s->setting_value, value) == 0)))
			return true;
	}
	return false;
}

static bool implied(const struct walk *w, uint32_t verb)
{
	if (verb == SQL_SET)
		return w->s && setting_harmless(w->s);
	return (verb & SQL_IMPLIED) != 0;
}

static void emit(const struct walk *w, uint32_t verb, const struct sql_table *table,
		 const struct sql_function *function)
{
	struct part part = {
		.verb = verb,
		.table = table,
		.function = function,
		.implied = implied(w, verb),
		.error = verb == SQL_UNKNOWN ? w->error : NULL,
	};

	w->fn(w->ctx, &part);
}

static uint32_t access_of(const struct sql_table *t)
{
	return t->access ? t->access : (uint32_t)(SQL_READ | SQL_WRITE);
}

/* A verb with each table it is done to. */
static void emit_tables(const struct walk *w, uint32_t verb)
{
	const struct sql_statement *s = w->s;
	uint32_t want = verb & SQL_WRITES  ? (uint32_t)SQL_WRITE
			: verb & SQL_READS ? (uint32_t)SQL_READ
					   : (uint32_t)(SQL_READ | SQL_WRITE);
	size_t n = 0;

	for (size_t i = 0; i < s->n_tables; i++) {
		if (access_of(&s->tables[i]) & want) {
			emit(w, verb, &s->tables[i], NULL);
			n++;
		}
	}
	if (n > 0)
		return;
	/* Something is changed and no table is said to be: then any of them may be. */
	if ((verb & SQL_WRITES) && s->n_tables > 0) {
		for (size_t i = 0; i < s->n_tables; i++)
			emit(w, verb, &s->tables[i], NULL);
		return;
	}
	emit(w, verb, NULL, NULL);
}

static void emit_calls(const struct walk *w)
{
	const struct sql_statement *s = w->s;
	size_t n = 0;

	for (size_t i = 0; i < s->n_functions; i++) {
		if (!s->functions[i].harmless || s->functions[i].acts) {
			emit(w, SQL_CALL, NULL, &s->functions[i]);
			n++;
		}
	}
	if (n == 0)
		emit(w, SQL_CALL, NULL, NULL);
}

/* Tables that no verb of the statement was paired with. */
static void emit_rest(const struct walk *w)
{
	const struct sql_statement *s = w->s;
	bool read = (s->verbs & TAKES_ROWS) || !(s->verbs & NAMES_READ);

	for (size_t i = 0; i < s->n_tables; i++) {
		uint32_t access = access_of(&s->tables[i]);

		if ((access & SQL_READ) && read && !(s->verbs & SQL_SELECT))
			emit(w, SQL_SELECT, &s->tables[i], NULL);
		if ((access & SQL_WRITE) && !(s->verbs & (SQL_WRITES | SQL_EXPLAIN)))
			emit(w, SQL_UNKNOWN, &s->tables[i], NULL);
	}
}

static void statement_parts(struct walk *w, const struct sql_statement *s)
{
	uint32_t inner = s->verbs & ~(uint32_t)(SQL_IMPLIED | SQL_EXPLAIN | SQL_CREATE);

	w->s = s;
	for (uint32_t rest = s->verbs; rest; rest &= rest - 1) {
		uint32_t verb = rest & -rest;

		if (verb == SQL_CALL)
			emit_calls(w);
		else if (verb & SQL_ON_TABLES)
			emit_tables(w, verb);
		else
			emit(w, verb, NULL, NULL);
	}
	emit_rest(w);
	/* EXECUTE of something that nobody joined to it, or a statement that is nothing. */
	if (((s->verbs & SQL_EXECUTE) && !inner) || s->verbs == 0)
		emit(w, SQL_UNKNOWN, NULL, NULL);
}

void policy_parts(const struct sql_class *sql, part_fn *fn, void *ctx)
{
	struct walk w = {.fn = fn, .ctx = ctx, .error = sql->error};
	uint32_t seen = 0;

	for (size_t i = 0; i < sql->n_statements; i++) {
		statement_parts(&w, &sql->statements[i]);
		seen |= sql->statements[i].verbs;
	}
	w.s = NULL;
	for (uint32_t rest = sql->verbs & ~seen; rest; rest &= rest - 1)
		emit(&w, rest & -rest, NULL, NULL);
	if (sql->n_statements == 0 && sql->verbs == 0)
		emit(&w, SQL_UNKNOWN, NULL, NULL);
}
