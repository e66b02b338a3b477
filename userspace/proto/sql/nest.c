#include "proto/sql/nest.h"

/* One open bracket, or the text outside all of them. */
struct level {
	uint32_t path;	 /* tokens since the last comma */
	uint32_t commas; /* in it */
	uint64_t factor; /* how often the tree repeats what is in it now */
	uint64_t base;	 /* the same, of what encloses it */
};

struct nest {
	const uint8_t *p;
	const uint8_t *end;
	size_t depth;
	uint64_t path;	   /* over all levels */
	uint64_t repeated; /* bytes the tree holds once more */
	uint64_t rescanned;
	const uint8_t *run_end; /* of the operator characters that p is in, when p is before it */
	uint32_t closed; /* items of the bracket just closed, when ')' was the last token; else 0 */
	struct level level[NEST_BRACKETS_MAX + 1];
};

static int peek(const struct nest *n, size_t i)
{
	return (size_t)(n->end - n->p) > i ? n->p[i] : -1;
}

static bool is_space(int c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_ident_start(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_ident(int c)
{
	return is_ident_start(c) || is_digit(c) || c == '$';
}

/* The scanner looks at operator characters from here on. */
static void rescan(struct nest *n)
{
	static const char op_chars[] = "~!@#^&|`?+-*/%<>="; /* scan.l, op_chars */

	if (n->p >= n->run_end) {
		n->run_end = n->p;
		while (n->run_end < n->end && *n->run_end != 0 &&
		       strchr(op_chars, *n->run_end) != NULL)
			n->run_end++;
	}
	n->rescanned += (uint64_t)(n->run_end - n->p);
}

static void skip_line(struct nest *n)
{
	while (n->p < n->end && *n->p != '\n' && *n->p != '\r')
		n->p++;
}

static void skip_comment(struct nest *n)
{
	size_t open = 0;

	do {
		if (peek(n, 0) == '/' && peek(n, 1) == '*') {
			rescan(n);
			open++;
			n->p += 2;
		} else if (peek(n, 0) == '*' && peek(n, 1) == '/') {
			open--;
			n->p += 2;
		} else {
			n->p++;
		}
	} while (open > 0 && n->p < n->end);
}

/* After the opening quote. */
static void skip_quoted(struct nest *n, uint8_t quote, bool backslash)
{
	while (n->p < n->end) {
		uint8_t c = *n->p++;

		if (backslash && c == '\\' && n->p < n->end) {
			n->p++;
		} else if (c == quote) {
			if (peek(n, 0) != quote)
				return;
			n->p++;
		}
	}
}

/* E'…' goes on, backslashes and all, in a quote that follows on another line (scan.l,
 * quotecontinue). */
static bool continues(struct nest *n)
{
	const uint8_t *start = n->p;
	bool newline = false;

	while (n->p < n->end) {
		if (is_space(*n->p)) {
			newline = newline || *n->p == '\n' || *n->p == '\r';
			n->p++;
		} else if (*n->p == '-' && peek(n, 1) == '-') {
			skip_line(n);
		} else {
			break;
		}
	}
	if (newline && peek(n, 0) == '\'') {
		n->p++;
		return true;
	}
	n->p = start;
	return false;
}

/* At '$'. */
static void skip_dollar(struct nest *n)
{
	const uint8_t *tag = n->p;
	size_t len = 1;
	const uint8_t *close;

	if (is_ident_start(peek(n, 1)))
		while (is_ident_start(peek(n, len)) || is_digit(peek(n, len)))
			len++;
	if (peek(n, len) != '$') {
		n->p++;
		return;
	}
	len++;
	close = memmem(tag + len, (size_t)(n->end - tag) - len, tag, len);
	n->p = close ? close + len : n->end;
}

static void skip_word(struct nest *n)
{
	int c = *n->p | 0x20;
	int next = peek(n, 1);

	if (next == '\'' && (c == 'e' || c == 'b' || c == 'x' || c == 'n')) {
		n->p += 2;
		do
			skip_quoted(n, '\'', c == 'e');
		while (c == 'e' && continues(n));
		return;
	}
	if (c == 'u' && next == '&' && (peek(n, 2) == '\'' || peek(n, 2) == '"')) {
		uint8_t quote = n->p[2];

		n->p += 3;
		skip_quoted(n, quote, false);
		return;
	}
	while (n->p < n->end && is_ident(*n->p))
		n->p++;
}

static void skip_number(struct nest *n)
{
	while (is_digit(peek(n, 0)) || peek(n, 0) == '.')
		n->p++;
	if ((peek(n, 0) | 0x20) == 'e' &&
	    (is_digit(peek(n, 1)) ||
	     ((peek(n, 1) == '+' || peek(n, 1) == '-') && is_digit(peek(n, 2)))))
		n->p += 2;
	while (is_digit(peek(n, 0)))
		n->p++;
}

static bool open_bracket(struct nest *n)
{
	uint64_t factor = n->level[n->depth].factor;

	if (n->depth == NEST_BRACKETS_MAX)
		return false;
	n->level[++n->depth] = (struct level){.factor = factor, .base = factor};
	return true;
}

static void end_item(struct nest *n)
{
	struct level *l = &n->level[n->depth];

	n->path -= l->path;
	l->path = 0;
	l->factor = l->base;
}

/* One more token, of which the first byte was c. False: too much. */
static bool count(struct nest *n, uint8_t c, size_t len)
{
	struct level *l = &n->level[n->depth];
	uint32_t closed = n->closed;
	uint64_t repeated;

	n->closed = 0;
	l->path++;
	n->path++;
	if (__builtin_mul_overflow((uint64_t)len, l->factor - 1, &repeated) ||
	    __builtin_add_overflow(n->repeated, repeated, &n->repeated))
		return false;
	if (c == '(' || c == '[') {
		if (!open_bracket(n))
			return false;
	} else if (c == ')' || c == ']') {
		if (n->depth > 0) {
			n->closed = l->commas + 1;
			n->path -= l->path;
			n->depth--;
		}
	} else if (c == ',') {
		l->commas++;
		end_item(n);
	} else if (c == ';') {
		end_item(n);
	} else if (c == '=' && closed > 1) {
		uint64_t factor;

		if (__builtin_mul_overflow(l->base, (uint64_t)closed, &factor))
			return false;
		l->factor = MAX(l->factor, factor);
	}
	return n->path <= NEST_PATH_MAX && n->repeated <= NEST_REPEAT_MAX;
}

/* Past white space and comments. False: at the end. */
static bool next_token(struct nest *n)
{
	while (n->p < n->end) {
		if (is_space(*n->p))
			n->p++;
		else if (*n->p == '-' && peek(n, 1) == '-')
			skip_line(n);
		else if (*n->p == '/' && peek(n, 1) == '*')
			skip_comment(n);
		else
			return true;
	}
	return false;
}

int nest_check(struct span text)
{
	struct nest n;

	n.p = text.p;
	n.end = text.len > 0 ? text.p + text.len : text.p;
	n.depth = 0;
	n.path = 0;
	n.repeated = 0;
	n.rescanned = 0;
	n.run_end = n.p;
	n.closed = 0;
	n.level[0] = (struct level){.factor = 1, .base = 1};
	while (next_token(&n)) {
		const uint8_t *start = n.p;
		uint8_t c = *start;

		if (c == '\'' || c == '"') {
			n.p++;
			skip_quoted(&n, c, false);
		} else if (c == '$') {
			skip_dollar(&n);
		} else if (is_ident_start(c)) {
			skip_word(&n);
		} else if (is_digit(c)) {
			skip_number(&n);
		} else {
			rescan(&n);
			n.p++;
		}
		if (!count(&n, c, (size_t)(n.p - start)))
			return -E2BIG;
	}
	return n.rescanned <= NEST_RESCAN_MAX ? 0 : -E2BIG;
}
