#include "proto/postgres/pg_codec.h"

#include "proto/sql/classify.h"

#define UNKNOWN_CLASS(verbs_, error_)                                                    \
	{                                                                                \
		.verbs = (verbs_), .n_statements = 1,                                    \
		.statements = (struct sql_statement[]){{.verbs = (verbs_), .kind = ""}}, \
		.error = (error_),                                                       \
	}

const struct sql_class pg_class_execute_unknown =
	UNKNOWN_CLASS(SQL_UNKNOWN | SQL_EXECUTE,
		      "the statement was not prepared by the protocol's Parse, or SQL may have "
		      "given its name to another one since");
const struct sql_class pg_class_fetch_unknown =
	UNKNOWN_CLASS(SQL_UNKNOWN | SQL_FETCH,
		      "the portal was not made by the protocol's Bind, or SQL may have given its "
		      "name to another one since");
static const struct sql_class class_cut =
	UNKNOWN_CLASS(SQL_UNKNOWN, "the text is longer than what is classified");
static const struct sql_class class_odd = UNKNOWN_CLASS(
	SQL_UNKNOWN, "the text has backslashes or is not ASCII, and client_encoding is not UTF8 or "
		     "standard_conforming_strings is off (or may be, by what was just sent)");

/* Does this text mean the same whatever client_encoding and standard_conforming_strings are?
 * Encodings such as SJIS and GBK have backslashes inside their characters, and what quotes what is
 * another matter when strings have escapes. Plain ASCII without backslashes is the same in all. */
static bool reads_alike(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] >= 0x80 || text.p[i] == '\\')
			return false;
	return true;
}

static bool reading_known(struct pg_codec *c)
{
	if (c->odd_pending && (int32_t)(c->batch_seen - c->odd_batch) >= 0)
		c->odd_pending = false;
	if (c->odd_now || c->odd_pending)
		return false;
	/* Once they were odd, any end of a transaction may bring that back. */
	return !c->odd_ever || c->n_replies == 0;
}

const struct sql_class *pg_classify(struct pg_codec *c, struct span text, bool cut, bool *ret_owned)
{
	*ret_owned = false;
	if (cut)
		return &class_cut;
	if (!reading_known(c) && !reads_alike(text))
		return &class_odd;
	*ret_owned = true;
	return c->env.classify(c->env.classify_ctx, text);
}

int pg_digest(struct pg_codec *c, struct span bytes, uint8_t out[static 32])
{
	if (!c->digest) {
		c->digest = EVP_MD_CTX_new();
		c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
		if (!c->digest || !c->sha256)
			return -ENOMEM;
	}
	if (EVP_DigestInit_ex2(c->digest, c->sha256, NULL) != 1 ||
	    EVP_DigestUpdate(c->digest, bytes.p, bytes.len) != 1 ||
	    EVP_DigestFinal_ex(c->digest, out, NULL) != 1)
		return -EIO;
	return 0;
}

void pg_settings_told(struct pg_codec *c, struct span name, struct span value)
{
	static const struct {
		const char *name;
		const char *assumed;
	} settings[] = {
		{"client_encoding", "UTF8"},
		{"standard_conforming_strings", "on"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		unsigned bit = 1u << i;

		if (!span_eq_str(name, settings[i].name))
			continue;
		if (span_eq_str(value, settings[i].assumed))
			c->odd_now &= ~bit;
		else
			c->odd_now |= bit;
	}
	c->odd_ever |= c->odd_now != 0;
}

bool pg_sets_reading(const struct sql_class *sql)
{
	if (sql->verbs & (SQL_UNKNOWN | SQL_CALL | SQL_EXECUTE | SQL_FUNCTION_CALL))
		return true;
	if (!(sql->verbs & SQL_SET))
		return false;
	for (size_t i = 0; i < sql->n_statements; i++) {
		const struct sql_statement *s = &sql->statements[i];

		if ((s->verbs & SQL_SET) &&
		    (!s->setting || !*s->setting || streq(s->setting, "all") ||
		     streq(s->setting, "names") || streq(s->setting, "client_encoding") ||
		     streq(s->setting, "standard_conforming_strings")))
			return true;
	}
	return false;
}
