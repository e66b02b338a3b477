#include "proto/postgres/pg_codec.h"

#include "proto/sql/classify.h"

static const char *const out_of_memory = "out of memory";

static int fatal_memory(struct pg_codec *c)
{
	return pg_fatal(c, -ENOMEM, "53200", "Try again.", "sluice: %s", out_of_memory);
}

static int truncated(struct pg_codec *c, const char *what)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "a malformed %s message", what);
	return pg_fatal_frontend(c, text);
}

/* Put the question. ask.op_seen has what the kind of message adds; op is taken over. */
static int put(struct pg_codec *c, enum pg_ask_kind kind, struct pg_op *op)
{
	struct op *seen = &c->ask.op_seen;
	int r;

	c->ask.kind = kind;
	c->ask.op = op;
	seen->id = op->id;
	seen->sql = op->sql;
	seen->params = c->params;
	seen->in_transaction = c->status != 'I';
	r = c->env.sink.op(c->env.sink.ctx, seen);
	return r < 0 ? r : 0;
}

static int new_op(struct pg_codec *c, enum op_kind kind, struct pg_op **ret_op)
{
	struct pg_op *op = pg_op_new(c, true);

	if (!op)
		return fatal_memory(c);
	c->ask.op_seen = (struct op){.kind = kind};
	*ret_op = op;
	return 0;
}

static void copy_name(char to[static PG_NAME_MAX + 1], struct span name)
{
	size_t n = MIN(name.len, (size_t)PG_NAME_MAX);

	if (n > 0)
		memcpy(to, name.p, n);
	to[n] = '\0';
}

/* Up to the NUL that ends the body; of a cut body, as much as there is. */
static int whole_text(struct span body, bool cut, struct span *ret_text)
{
	struct cursor cur = cursor_of(body);
	struct span text;

	if (cursor_cstr(&cur, &text) < 0) {
		if (!cut)
			return -EBADMSG;
		*ret_text = body;
		return 0;
	}
	if (cut || cursor_left(&cur) > 0)
		return -EBADMSG;
	*ret_text = text;
	return 0;
}

int pg_ask_query(struct pg_codec *c, struct span body, bool cut)
{
	struct op *seen = &c->ask.op_seen;
	struct pg_op *op = NULL;
	struct span text;
	int r;

	if (whole_text(body, cut, &text) < 0)
		return truncated(c, "Query");
	r = new_op(c, OP_RUN, &op);
	if (r < 0)
		return r;
	seen->text = span_head(text, OP_TEXT_MAX);
	seen->text_len = cut ? c->front.length - 5 : text.len;
	op->sql = pg_classify(c, text, cut, &op->sql_owned);
	r = pg_digest(c, text, seen->text_sha256);
	if (r < 0) {
		op->id = 0;
		pg_op_unref(c, op);
		return fatal_memory(c);
	}
	return put(c, PG_ASK_QUERY, op);
}

static int parse_types(struct cursor *cur, struct span *ret_oids)
{
	struct span oids;
	uint16_t n;

	if (cursor_be16(cur, &n) < 0 || cursor_span(cur, (size_t)n * 4, &oids) < 0 ||
	    cursor_left(cur) > 0)
		return -EBADMSG;
	*ret_oids = oids;
	return 0;
}

int pg_ask_parse(struct pg_codec *c, struct span body, bool cut)
{
	struct cursor cur = cursor_of(body);
	struct pg_stmt *stmt = NULL;
	struct span name;
	struct span text;
	struct span oids = {0};
	struct pg_op *op = NULL;
	size_t text_len;
	int r;

	if (cursor_cstr(&cur, &name) < 0)
		return truncated(c, "Parse");
	if (cursor_cstr(&cur, &text) < 0) {
		if (!cut)
			return truncated(c, "Parse");
		text = cursor_rest(&cur);
	} else if (!cut && parse_types(&cur, &oids) < 0) {
		return truncated(c, "Parse");
	}
	if (name.len > PG_NAME_MAX)
		return pg_refuse_own(
			c, "42622",
			"sluice: the name of a prepared statement has more than 63 bytes");
	text_len = cut ? c->front.length - 4 - name.len - 1 : text.len;
	r = pg_stmt_new(&c->names, text, text_len, &stmt);
	if (r == -ENOSPC)
		return pg_refuse_own(
			c, "53400",
			"sluice: the prepared statements of this session take too much "
			"memory: close some");
	if (r < 0)
		return fatal_memory(c);
	c->ask.stmt = stmt;
	stmt->sql = pg_classify(c, text, cut, &stmt->sql_owned);
	if (pg_digest(c, text, stmt->text_sha256) < 0 || pg_stmt_set_types(stmt, oids) < 0)
		return fatal_memory(c);
	r = new_op(c, OP_PREPARE, &op);
	if (r < 0)
		return r;
	copy_name(c->ask.name, name);
	c->ask.kept_name = pg_name_kept(name);
	op->stmt = pg_stmt_ref(stmt);
	op->sql = stmt->sql;
	c->ask.op_seen.name = c->ask.name;
	c->ask.op_seen.text = span_of(stmt->text, stmt->kept);
	c->ask.op_seen.text_len = stmt->text_len;
	memcpy(c->ask.op_seen.text_sha256, stmt->text_sha256, sizeof(stmt->text_sha256));
	return put(c, PG_ASK_PARSE, op);
}

/* The text of a statement that is known, or words for one that is not. */
static int show_statement(struct pg_codec *c, struct pg_stmt *stmt, const char *what,
			  struct span name)
{
	struct op *seen = &c->ask.op_seen;
	int n;

	if (stmt) {
		seen->text = span_of(stmt->text, stmt->kept);
		seen->text_len = stmt->text_len;
		memcpy(seen->text_sha256, stmt->text_sha256, sizeof(seen->text_sha256));
		return 0;
	}
	n = snprintf(c->ask.shown, sizeof(c->ask.shown), "%s \"%.*s\"", what, SPAN_FMT(name));
	seen->text = span_of(c->ask.shown, MIN((size_t)n, sizeof(c->ask.shown) - 1));
	seen->text_len = seen->text.len;
	return pg_digest(c, seen->text, seen->text_sha256);
}

/* ---- bind values ---- */

struct formats {
	uint16_t n;
	struct span codes;
};

static int read_formats(struct cursor *cur, struct formats *ret)
{
	struct formats f;

	if (cursor_be16(cur, &f.n) < 0 || cursor_span(cur, (size_t)f.n * 2, &f.codes) < 0)
		return -EBADMSG;
	*ret = f;
	return 0;
}

static bool is_binary(const struct formats *f, size_t i)
{
	struct cursor cur = cursor_of(f->codes);
	uint16_t code = 0;

	/* None: all text. One: for all of them. */
	if (cursor_skip(&cur, f->n == 1 ? 0 : i * 2) < 0 || cursor_be16(&cur, &code) < 0)
		return false;
	return code != 0;
}

static bool any_binary(const struct formats *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (is_binary(f, i))
			return true;
	return false;
}

/* One value. *ret_whole false: the message is cut inside it, and value is what there is. */
static int read_value(struct cursor *cur, struct op_param *ret, bool *ret_whole)
{
	struct op_param p = {0};
	uint32_t len;
	struct span value;

	if (cursor_be32(cur, &len) < 0)
		return -EBADMSG;
	*ret_whole = true;
	if (len == UINT32_MAX) {
		p.is_null = true;
		*ret = p;
		return 0;
	}
	if (len > PG_LARGE_MAX)
		return -EBADMSG;
	if (cursor_span(cur, len, &value) < 0) {
		*ret_whole = false;
		value = cursor_rest(cur);
		if (cursor_skip(cur, value.len) < 0)
			return -EBADMSG;
	}
	p.value = span_head(value, OP_PARAM_TEXT_MAX);
	p.cut = value.len > p.value.len || !*ret_whole;
	*ret = p;
	return 0;
}

/* All values of a Bind or FunctionCall: kept, counted, digested. Of a cut message those that are
 * there; the cursor is then at its end. stmt says their types; NULL: none are known. */
static int read_values(struct pg_codec *c, struct cursor *cur, bool cut, const struct pg_stmt *stmt)
{
	struct op *seen = &c->ask.op_seen;
	struct formats formats;
	struct span begin;
	struct op_param p;
	bool whole = true;
	uint16_t n;
	size_t i;

	if (read_formats(cur, &formats) < 0 || cursor_be16(cur, &n) < 0) {
		seen->params_cut = cut;
		return cut ? cursor_skip(cur, cursor_left(cur)) : -EBADMSG;
	}
	begin = cursor_rest(cur);
	for (i = 0; i < n && whole; i++) {
		if (read_value(cur, &p, &whole) < 0) {
			if (!cut)
				return -EBADMSG;
			break;
		}
		p.binary = is_binary(&formats, i);
		p.type_oid = stmt ? pg_stmt_type(stmt, i) : 0;
		if (i < OP_PARAMS_MAX)
			c->params[i] = p;
	}
	if (!whole && !cut)
		return -EBADMSG;
	seen->n_params = MIN(i, (size_t)OP_PARAMS_MAX);
	seen->params_cut = n > OP_PARAMS_MAX || (cut && (i < n || !whole));
	if (n == 0)
		return 0;
	return pg_digest(c, span_head(begin, begin.len - cursor_left(cur)), seen->params_sha256);
}

int pg_ask_bind(struct pg_codec *c, struct span body, bool cut)
{
	struct cursor cur = cursor_of(body);
	struct formats results;
	struct pg_name *known;
	struct pg_stmt *stmt;
	struct span portal;
	struct span name;
	struct pg_op *op = NULL;
	int r;

	if (cursor_cstr(&cur, &portal) < 0 || cursor_cstr(&cur, &name) < 0)
		return truncated(c, "Bind");
	if (portal.len > PG_NAME_MAX || name.len > PG_NAME_MAX)
		return pg_refuse_own(c, "42622",
				     "sluice: the name of a portal or prepared statement has more "
				     "than 63 bytes");
	known = pg_names_find(&c->names, PG_STATEMENT, name);
	stmt = known ? known->stmt : NULL;
	r = new_op(c, OP_RUN, &op);
	if (r < 0)
		return r;
	/* From here on op is the question's, also when the message turns out to be malformed. */
	c->ask.op = op;
	if (stmt) {
		op->stmt = pg_stmt_ref(stmt);
		c->ask.stmt = pg_stmt_ref(stmt);
	}
	op->sql = stmt && !known->suspect ? stmt->sql : &pg_class_execute_unknown;
	copy_name(c->ask.name, portal);
	c->ask.kept_name = pg_name_kept(portal);
	if (show_statement(c, stmt, "EXECUTE", name) < 0)
		return fatal_memory(c);
	if (read_values(c, &cur, cut, stmt && !known->suspect ? stmt : NULL) < 0)
		return truncated(c, "Bind");
	if (cut) {
		/* What results are asked for comes behind the values. */
		c->ask.op_seen.binary_results = true;
		c->ask.op_seen.params_cut = true;
	} else {
		if (read_formats(&cur, &results) < 0 || cursor_left(&cur) > 0)
			return truncated(c, "Bind");
		c->ask.op_seen.binary_results = any_binary(&results);
	}
	return put(c, PG_ASK_BIND, op);
}

int pg_ask_function(struct pg_codec *c, struct span body, bool cut)
{
	struct cursor cur = cursor_of(body);
	char oid_text[16];
	struct pg_op *op = NULL;
	uint16_t result;
	uint32_t oid;
	int r;

	if (cursor_be32(&cur, &oid) < 0)
		return truncated(c, "FunctionCall");
	r = new_op(c, OP_RUN, &op);
	if (r < 0)
		return r;
	c->ask.op = op;
	op->sql = &sql_class_function_call;
	(void)snprintf(oid_text, sizeof(oid_text), "%u", oid);
	if (show_statement(c, NULL, "function call by OID", span_str(oid_text)) < 0)
		return fatal_memory(c);
	if (read_values(c, &cur, cut, NULL) < 0)
		return truncated(c, "FunctionCall");
	if (cut) {
		c->ask.op_seen.binary_results = true;
		c->ask.op_seen.params_cut = true;
	} else {
		if (cursor_be16(&cur, &result) < 0 || cursor_left(&cur) > 0)
			return truncated(c, "FunctionCall");
		c->ask.op_seen.binary_results = result != 0;
	}
	return put(c, PG_ASK_FUNCTION, op);
}

/* Execute or Describe of a portal that no decided operation stands for: not made by Bind, changed
 * by SQL, or run to its end before. */
int pg_ask_portal(struct pg_codec *c, enum pg_ask_kind kind, struct span name)
{
	struct pg_name *known = pg_names_find(&c->names, PG_PORTAL, name);
	struct pg_stmt *stmt = known ? known->stmt : NULL;
	struct pg_op *op = NULL;
	int r = new_op(c, OP_RUN, &op);

	if (r < 0)
		return r;
	c->ask.op = op;
	if (stmt) {
		op->stmt = pg_stmt_ref(stmt);
		c->ask.stmt = pg_stmt_ref(stmt);
	}
	op->sql = stmt && !known->suspect ? op->stmt->sql : &pg_class_fetch_unknown;
	copy_name(c->ask.name, name);
	c->ask.kept_name = pg_name_kept(name);
	/* It may give what it was not asked for in text. */
	c->ask.op_seen.binary_results = !stmt || known->suspect;
	if (show_statement(c, stmt, "FETCH FROM", name) < 0)
		return fatal_memory(c);
	return put(c, kind, op);
}
