#include "audit/visible.h"

#include "base/utf8.h"

static uint32_t code_point(const uint8_t *p, size_t n)
{
	static const uint8_t first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t c = p[0] & first_bits[n];

	for (size_t i = 1; i < n; i++)
		c = (c << 6) | (p[i] & 0x3fu);
	return c;
}

/* Ranges of Unicode 15: other controls, format characters (Cf) and what else draws nothing or
 * breaks lines. */
static bool hidden(uint32_t c)
{
	static const struct {
		uint32_t first;
		uint32_t last;
	} ranges[] = {
		{0x80, 0x9f},	     {0xad, 0xad},	 {0x34f, 0x34f},     {0x600, 0x605},
		{0x61c, 0x61c},	     {0x6dd, 0x6dd},	 {0x70f, 0x70f},     {0x890, 0x891},
		{0x8e2, 0x8e2},	     {0x115f, 0x1160},	 {0x17b4, 0x17b5},   {0x180b, 0x180f},
		{0x200b, 0x200f},    {0x2028, 0x202e},	 {0x2060, 0x206f},   {0x2800, 0x2800},
		{0x3164, 0x3164},    {0xe000, 0xf8ff},	 {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
		{0xffa0, 0xffa0},    {0xfff0, 0xfffb},	 {0xfffe, 0xffff},   {0x110bd, 0x110bd},
		{0x110cd, 0x110cd},  {0x13430, 0x1345f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
		{0xe0000, 0x10ffff},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

static void put_control(struct buf *out, uint8_t c)
{
	if (c == '\n')
		buf_put_str(out, "\\n");
	else if (c == '\r')
		buf_put_str(out, "\\r");
	else if (c == '\t')
		buf_put_str(out, "\\t");
	else
		buf_putf(out, "\\x%02x", c);
}

int visible_put(struct buf *out, struct span s)
{
	while (s.len > 0) {
		size_t n = utf8_valid_prefix(s);
		uint32_t c = n > 0 ? code_point(s.p, n) : 0;

		if (n == 0)
			buf_putf(out, "<%02X>", s.p[0]);
		else if (c < 0x20 || c == 0x7f)
			put_control(out, (uint8_t)c);
		else if (hidden(c))
			buf_putf(out, "<U+%04X>", (unsigned)c);
		else
			buf_put(out, s.p, n);
		s = span_skip(s, MAX(n, (size_t)1));
	}
	return buf_error(out);
}
