#include "model/identity.h"

#include <arpa/inet.h>

const char *endpoint_text(const struct endpoint *e, char out[static ENDPOINT_TEXT_MAX])
{
	char ip[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(e->family == 6 ? AF_INET6 : AF_INET, e->addr, ip, sizeof(ip));
	(void)snprintf(out, ENDPOINT_TEXT_MAX, e->family == 6 ? "[%s]:%u" : "%s:%u", ip, e->port);
	return out;
}
