#include "proto/sql/parse.h"

#include "base/utf8.h"
#include "proto/sql/classify.h"
#include "proto/sql/nest.h"
#include "proto/sql/walk.h"

static void make_unknown(struct parsed *p, size_t len, const char *error)
{
	p->unknown = (struct sql_statement){.verbs = SQL_UNKNOWN, .kind = "", .len = len};
	p->class = (struct sql_class){
		.verbs = SQL_UNKNOWN,
		.n_statements = 1,
		.statements = &p->unknown,
		.error = p->error,
	};
	/* Cut between characters. */
	for (size_t i = 0, n; error[i] && i < PARSE_ERROR_MAX; i += n) {
		n = utf8_valid_prefix(span_of(error + i, strnlen(error + i, 4)));
		if (n == 0 || i + n > PARSE_ERROR_MAX)
			break;
		memcpy(p->error + i, error + i, n);
	}
}

/* Why a text is not given to the parser at all; NULL: it is. */
static const char *unfit(struct span text)
{
	if (text.len > SQL_TEXT_MAX)
		return "text is too long to be classified";
	if (memchr(text.p ? (const void *)text.p : "", 0, text.len))
		return "text has a NUL byte";
	if (!utf8_valid(text))
		return "text is not valid UTF-8";
	if (nest_check(text) < 0)
		return "text is nested too deep to be classified";
	return NULL;
}

/* The bytes of the text that a RawStmt covers, without the white space before it. */
static void place(struct span text, const struct tnode *raw, struct sql_statement *s)
{
	size_t start = (size_t)MAX(tree_number(raw, "stmt_location"), 0);
	size_t len = (size_t)MAX(tree_number(raw, "stmt_len"), 0);

	start = MIN(start, text.len);
	if (len == 0 || len > text.len - start)
		len = text.len - start;
	while (len > 0 && strchr(" \t\n\r\f\v", text.p[start]) != NULL) {
		start++;
		len--;
	}
	s->offset = start;
	s->len = len;
}

static size_t count_items(const struct tnode *array)
{
	size_t n = 0;

	for (const struct tnode *i = tree_first(array); i; i = i->next)
		n++;
	return n;
}

static int read_statements(struct arena *arena, struct span text, const struct tnode *root,
			   struct sql_class *ret_class)
{
	const struct tnode *list = tree_field(root, "stmts");
	struct sql_class c = {.n_statements = count_items(list)};
	size_t names = 0;
	size_t i = 0;

	if (c.n_statements > PARSE_STATEMENTS_MAX)
		return -E2BIG;
	if (c.n_statements == 0) {
		c.verbs = SQL_EMPTY;
		*ret_class = c;
		return 0;
	}
	c.statements = arena_calloc(arena, c.n_statements, sizeof(*c.statements));
	if (!c.statements)
		return -ENOMEM;
	for (const struct tnode *raw = tree_first(list); raw; raw = raw->next, i++) {
		struct sql_statement *s = &c.statements[i];
		const struct tnode *stmt = tree_field(raw, "stmt");

		if (!stmt || walk_statement(arena, stmt, s) < 0)
			*s = (struct sql_statement){.verbs = SQL_UNKNOWN, .kind = ""};
		names += s->n_tables + s->n_functions;
		if (names > PARSE_NAMES_MAX)
			return -E2BIG;
		place(text, raw, s);
		c.verbs |= s->verbs;
	}
	*ret_class = c;
	return 0;
}

void parse_text(struct arena *arena, struct span text, struct parsed *ret_parsed)
{
	struct parsed *p = ret_parsed;
	struct tnode *root;
	const char *why;
	char *copy;

	*p = (struct parsed){0};
	why = unfit(text);
	copy = why ? NULL : arena_strndup(arena, text);
	if (!copy) {
		make_unknown(p, text.len, why ? why : "no memory to classify the text");
		return;
	}
	p->result = pg_query_parse(copy);
	if (p->result.error || !p->result.parse_tree) {
		why = p->result.error ? p->result.error->message : NULL;
		make_unknown(p, text.len, why ? why : "text cannot be parsed");
		return;
	}
	if (tree_parse(p->result.parse_tree, arena, &root) < 0 ||
	    read_statements(arena, text, root, &p->class) < 0)
		make_unknown(p, text.len, "text is more than can be classified");
}

void parsed_done(struct parsed *p)
{
	pg_query_free_parse_result(p->result);
	*p = (struct parsed){0};
}
