#include "base/utf8.h"

size_t utf8_valid_prefix(struct span s)
{
	uint32_t c;
	uint32_t min;
	size_t n;

	if (s.len == 0)
		return 0;
	if (s.p[0] < 0x80)
		return 1;
	if (s.p[0] < 0xc2)
		return 0;
	if (s.p[0] < 0xe0) {
		n = 2;
		c = s.p[0] & 0x1fu;
		min = 0x80;
	} else if (s.p[0] < 0xf0) {
		n = 3;
		c = s.p[0] & 0x0fu;
		min = 0x800;
	} else if (s.p[0] < 0xf5) {
		n = 4;
		c = s.p[0] & 0x07u;
		min = 0x10000;
	} else {
		return 0;
	}
	if (s.len < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		c = (c << 6) | (s.p[i] & 0x3fu);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

bool utf8_valid(struct span s)
{
	while (s.len > 0) {
		size_t n = utf8_valid_prefix(s);

		if (n == 0)
			return false;
		s = span_skip(s, n);
	}
	return true;
}

bool utf8_is_control(struct span c)
{
	if (c.len == 1)
		return c.p[0] < 0x20 || c.p[0] == 0x7f;
	if (c.len == 2)
		return (c.p[0] == 0xc2 && c.p[1] < 0xa0) || /* U+0080..U+009F */
		       (c.p[0] == 0xd8 && c.p[1] == 0x9c);  /* U+061C */
	if (c.len == 3 && c.p[0] == 0xe2 && c.p[1] == 0x80)
		return (c.p[2] >= 0xa8 && c.p[2] <= 0xae) || /* U+2028..U+202E */
		       c.p[2] == 0x8e || c.p[2] == 0x8f;     /* U+200E, U+200F */
	if (c.len == 3 && c.p[0] == 0xe2 && c.p[1] == 0x81)
		return c.p[2] >= 0xa6 && c.p[2] <= 0xa9; /* U+2066..U+2069 */
	return false;
}
