#include "base/cursor.h"
#include "authn/base64url.h"

static int value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -EBADMSG;
}

int base64url_decode(struct span text, uint8_t *out, size_t cap, size_t *ret_len)
{
	struct cursor c = cursor_of(text);
	uint32_t bits = 0;
	unsigned held = 0; /* bits not yet written */
	size_t n = 0;
	uint8_t character;

	if (text.len % 4 == 1)
		return -EBADMSG;
	while (cursor_u8(&c, &character) == 0) {
		int v = value_of(character);

		if (v < 0)
			return v;
		bits = (bits << 6) | (uint32_t)v;
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		if (n == cap)
			return -ENOBUFS;
		out[n++] = (uint8_t)(bits >> held);
		bits &= (1u << held) - 1;
	}
	if (bits != 0)
		return -EBADMSG;
	*ret_len = n;
	return 0;
}

int base64url_encode(struct span bytes, struct buf *out)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct cursor c = cursor_of(bytes);
	uint32_t bits = 0;
	unsigned held = 0;
	uint8_t byte;

	while (cursor_u8(&c, &byte) == 0) {
		bits = (bits << 8) | byte;
		held += 8;
		while (held >= 6) {
			held -= 6;
			buf_put_u8(out, (uint8_t)alphabet[(bits >> held) & 63]);
		}
		bits &= (1u << held) - 1;
	}
	if (held > 0)
		buf_put_u8(out, (uint8_t)alphabet[(bits << (6 - held)) & 63]);
	return buf_error(out);
}
