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
