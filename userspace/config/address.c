#include "config/load.h"

#include <arpa/inet.h>
#include <netdb.h>

#define HOST_LEN_MAX 253 /* RFC 1035 section 2.3.4 */

/* Clear the bits past the prefix, so that 10.1.2.3/8 is 10.0.0.0/8; false when one was set. */
static bool bits_clear(const struct netblock *b)
{
	unsigned len = b->family == 4 ? 4 : 16;

	for (unsigned i = b->prefix; i < len * 8; i++)
		if (b->addr[i / 8] & (0x80u >> (i % 8)))
			return false;
	return true;
}

static int prefix_parse(const char *text, unsigned max, uint8_t *ret)
{
	unsigned v = 0;

	if (!text[0] || strlen(text) > 3)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*text - '0');
	}
	if (v > max)
		return -EINVAL;
	*ret = (uint8_t)v;
	return 0;
}

int netblock_parse(const char *text, struct netblock *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct netblock b = {0};
	char addr[64];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (inet_pton(AF_INET, addr, b.addr) == 1)
		b.family = 4;
	else if (inet_pton(AF_INET6, addr, b.addr) == 1)
		b.family = 6;
	else
		return -EINVAL;
	b.prefix = b.family == 4 ? 32 : 128;
	if (slash && prefix_parse(slash + 1, b.prefix, &b.prefix) < 0)
		return -EINVAL;
	/* Origins come with v4-mapped addresses unmapped: such a block would never match. */
	if (b.family == 6 && memcmp(b.addr, mapped, sizeof(mapped)) == 0)
		return -EINVAL;
	if (!bits_clear(&b))
		return -ERANGE;
	*ret = b;
	return 0;
}

bool netblock_overlap(const struct netblock *a, const struct netblock *b)
{
	unsigned bits = a->prefix < b->prefix ? a->prefix : b->prefix;

	if (a->family != b->family)
		return false;
	for (unsigned i = 0; i < bits; i++)
		if ((a->addr[i / 8] ^ b->addr[i / 8]) & (0x80u >> (i % 8)))
			return false;
	return true;
}

int host_port_split(struct loader *l, const char *text, const char **ret_host, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	unsigned long port = 0;
	struct span host;
	const char *copy;

	if (!colon || colon == text || strlen(colon + 1) == 0 || strlen(colon + 1) > 5)
		return -EINVAL;
	for (const char *p = colon + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		port = port * 10 + (unsigned long)(*p - '0');
	}
	if (port == 0 || port > 65535)
		return -EINVAL;
	host = span_of(text, (size_t)(colon - text));
	if (host.p[0] == '[') {
		if (host.len < 3 || host.p[host.len - 1] != ']')
			return -EINVAL;
		host = span_of(host.p + 1, host.len - 2);
	} else if (memchr(host.p, ':', host.len)) {
		return -EINVAL; /* IPv6 without brackets */
	}
	if (host.len > HOST_LEN_MAX)
		return -EINVAL;
	copy = arena_strndup(&l->config->arena, host);
	if (!copy) {
		l->no_memory = true;
		return -ENOMEM;
	}
	*ret_host = copy;
	*ret_port = (uint16_t)port;
	return 0;
}

bool is_address(const char *host)
{
	uint8_t addr[16];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

static bool endpoint_take(const struct addrinfo *ai, uint16_t port, struct endpoint *ret)
{
	struct endpoint e = {.port = port};

	if (ai->ai_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, ai->ai_addr, sizeof(in));
		e.family = 4;
		memcpy(e.addr, &in.sin_addr, 4);
	} else if (ai->ai_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, ai->ai_addr, sizeof(in6));
		e.family = 6;
		memcpy(e.addr, &in6.sin6_addr, 16);
	} else {
		return false;
	}
	*ret = e;
	return true;
}

DEFINE_CLEANUP(struct addrinfo *, freeaddrinfo, freeaddrinfop)

size_t resolve(struct loader *l, const struct yaml_node *node, const char *host, uint16_t port,
	       struct endpoint *ret, size_t max)
{
	_cleanup_(freeaddrinfop) struct addrinfo *list = NULL;
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	size_t n = 0;
	int r;

	if (is_address(host))
		hints.ai_flags = AI_NUMERICHOST;
	else if (l->flags & CONFIG_OFFLINE)
		return 0;
	r = getaddrinfo(host, NULL, &hints, &list);
	if (r != 0) {
		yaml_fault(&l->doc, node, "cannot resolve \"%s\": %s", host,
			   r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return 0;
	}
	for (const struct addrinfo *ai = list; ai && n < max; ai = ai->ai_next)
		if (endpoint_take(ai, port, &ret[n]))
			n++;
	if (n == 0)
		yaml_fault(&l->doc, node, "\"%s\" has no address", host);
	return n;
}
