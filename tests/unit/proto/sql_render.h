/* sql_render.h - a class as one line of text, for tests to compare.
 * Used by: tests of the classifier.
 * Promises: everything that a class says is in it. */
#ifndef SLUICE_TESTS_SQL_RENDER_H
#define SLUICE_TESTS_SQL_RENDER_H

#include "base/buf.h"
#include "model/sql.h"

/* verbs | tables (catalog.schema.name:rw) | functions (name! is not harmless)
 * | columns (out: or in:) | others. Statements are parted by " ; ". */
static inline void render_name(struct buf *b, const char *catalog, const char *schema,
			       const char *name)
{
	if (catalog)
		buf_putf(b, "%s.", catalog);
	if (schema)
		buf_putf(b, "%s.", schema);
	buf_put_str(b, name);
}

static inline void render_columns(struct buf *b, const struct sql_statement *s)
{
	if (s->n_columns > 0)
		buf_put_str(b, " |");
	for (size_t i = 0; i < s->n_columns; i++) {
		const struct sql_column *c = &s->columns[i];

		buf_put_str(b, c->use == SQL_USE_OUTPUT ? " out:" : " in:");
		render_name(b, c->schema, c->qualifier, c->star ? "*" : c->name);
	}
}

static inline void render_statement(struct buf *b, const struct sql_statement *s)
{
	const char *comma = "";

	for (const struct sql_verb_name *v = sql_verb_names; v->name; v++) {
		if (!(s->verbs & v->verb))
			continue;
		buf_putf(b, "%s%s", comma, v->name);
		comma = ",";
	}
	if (s->n_tables > 0)
		buf_put_str(b, " |");
	for (size_t i = 0; i < s->n_tables; i++) {
		const struct sql_table *t = &s->tables[i];

		buf_put_str(b, " ");
		render_name(b, t->catalog, t->schema, t->name);
		buf_putf(b, ":%s%s", t->access & SQL_READ ? "r" : "",
			 t->access & SQL_WRITE ? "w" : "");
	}
	for (size_t i = 0; i < s->n_functions; i++) {
		buf_put_str(b, i == 0 ? " | " : " ");
		render_name(b, NULL, s->functions[i].schema, s->functions[i].name);
		buf_put_str(b, s->functions[i].harmless ? "()" : "()!");
	}
	render_columns(b, s);
	if (!s->where)
		buf_put_str(b, " | nowhere");
	if (s->name)
		buf_putf(b, " | name=%s", s->name);
	if (s->setting)
		buf_putf(b, " | set=%s", s->setting);
	if (s->setting_value)
		buf_putf(b, "=%s", s->setting_value);
	if (s->has_search_path)
		buf_put_str(b, " | path");
	for (size_t i = 0; i < s->n_search_path; i++)
		buf_putf(b, " %s", s->search_path[i]);
}

/* Into b, NUL-terminated. */
static inline const char *render_class(struct buf *b, const struct sql_class *c)
{
	buf_reset(b);
	for (size_t i = 0; i < c->n_statements; i++) {
		if (i > 0)
			buf_put_str(b, " ; ");
		render_statement(b, &c->statements[i]);
	}
	if (c->n_statements == 0)
		buf_put_str(b, c->verbs == SQL_EMPTY ? "empty" : "?");
	buf_put_u8(b, 0);
	return buf_error(b) == 0 ? (const char *)buf_span(b).p : "(no memory)";
}

#endif
