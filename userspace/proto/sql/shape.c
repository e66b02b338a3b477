#include "proto/sql/shape.h"

/* A number of up to so many digits is an integer constant (ICONST) whatever they are; the grammar
 * then makes an A_Const of it. More may be a numeric one. */
#define DIGITS_MAX 9u

#define DIGIT 0x01 /* in no text that has a shape */

static bool is_digit(uint8_t ch)
{
	return ch >= '0' && ch <= '9';
}

static bool is_space(uint8_t ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '\f';
}

/* Outside these a byte is what it looks like. */
static bool is_plain(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t ch = text.p[i];
		uint8_t next = i + 1 < text.len ? text.p[i + 1] : 0;

		if (ch >= 0x7f || (ch < 0x20 && !is_space(ch)) || ch == '\'' || ch == '"' ||
		    ch == '$' || ch == '\\' || (ch == '-' && next == '-') ||
		    (ch == '/' && next == '*'))
			return false;
	}
	return true;
}

/* Digits of the constant that begins at i, which follows an operator; 0: it is not of those whose
 * value does not matter. A leading zero is left alone: zero is written otherwise in the tree. */
static size_t constant(struct span text, size_t i)
{
	size_t end = i;

	if (i == text.len || text.p[i] == '0')
		return 0;
	while (end < text.len && is_digit(text.p[end]))
		end++;
	if (end - i > DIGITS_MAX)
		return 0;
	if (end < text.len && !is_space(text.p[end]) && text.p[end] != ')' && text.p[end] != ',' &&
	    text.p[end] != ';')
		return 0;
	return end - i;
}

bool sql_shape(struct span text, uint8_t *ret)
{
	bool changed = false;

	if (text.len == 0 || !is_plain(text))
		return false;
	memcpy(ret, text.p, text.len);
	for (size_t i = 0; i < text.len; i++) {
		size_t at = i + 1;
		size_t n;

		if (text.p[i] != '=' && text.p[i] != '<' && text.p[i] != '>')
			continue;
		while (at < text.len && is_space(text.p[at]))
			at++;
		n = constant(text, at);
		memset(ret + at, DIGIT, n);
		changed = changed || n > 0;
	}
	return changed;
}

bool sql_shape_decides(const struct sql_class *class)
{
	const uint32_t plain = SQL_SELECT | SQL_INSERT | SQL_UPDATE | SQL_DELETE;

	return !class->error && class->verbs != 0 && !(class->verbs & ~plain);
}
