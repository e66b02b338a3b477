/* netns.c - see netns.h. A thread of its own enters the namespace and ends there, so that no error
 * can leave the caller in it. */
#include "kernel/netns.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define LISTEN_BACKLOG	 4096
#define PORT_CHOICES_MAX 16 /* tries to find a port that is free in both families */

struct visit {
	int netns_fd;
	int (*work)(struct visit *v);
	int result;
	uint64_t cookie;
	uint16_t port;
	int fd4;
	int fd6;
};

static void *visit_thread(void *arg)
{
	struct visit *v = arg;

	v->result = setns(v->netns_fd, CLONE_NEWNET) < 0 ? -errno : v->work(v);
	return NULL;
}

static int visit_run(struct visit *v)
{
	pthread_t thread;
	int r;

	r = pthread_create(&thread, NULL, visit_thread, v);
	if (r != 0)
		return -r;
	r = pthread_join(thread, NULL);
	return r != 0 ? -r : v->result;
}

static int read_cookie(struct visit *v)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(v->cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &v->cookie, &len) < 0)
		return -errno;
	return 0;
}

int netns_identity(int netns_fd, uint64_t *ret_cookie, uint64_t *ret_inode)
{
	struct visit v = {.netns_fd = netns_fd, .work = read_cookie};
	struct stat st;
	int r;

	if (fstat(netns_fd, &st) < 0)
		return -errno;
	r = visit_run(&v);
	if (r < 0)
		return r;
	*ret_cookie = v.cookie;
	*ret_inode = st.st_ino;
	return 0;
}

static int loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_name = "lo"};

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	if (ifr.ifr_flags & IFF_UP)
		return 0;
	ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* SO_REUSEADDR: sessions that an earlier listener accepted must not keep the port; the kernel still
 * lets no two sockets listen on it. Not SO_REUSEPORT, which would. */
static int listen_one(int family, uint16_t port, int *ret_fd)
{
	_cleanup_close_ int fd =
		socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = {};
	socklen_t len = family == AF_INET6 ? sizeof(addr.v6) : sizeof(addr.v4);
	int one = 1;

	if (fd < 0)
		return -errno;
	if (family == AF_INET6) {
		addr.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
						.sin6_port = htons(port),
						.sin6_addr = IN6ADDR_LOOPBACK_INIT};
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
			return -errno;
	} else {
		addr.v4 = (struct sockaddr_in){.sin_family = AF_INET,
					       .sin_port = htons(port),
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, &addr.any, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int port_of(int fd, uint16_t *ret_port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = {};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, &addr.any, &len) < 0)
		return -errno;
	*ret_port = ntohs(addr.any.sa_family == AF_INET6 ? addr.v6.sin6_port : addr.v4.sin_port);
	return 0;
}

/* No such family here, or switched off (disable_ipv6). */
static bool family_missing(int r)
{
	return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL;
}

static int listen_both(struct visit *v)
{
	_cleanup_close_ int fd4 = -1;
	_cleanup_close_ int fd6 = -1;
	uint16_t port = v->port;
	int r;

	r = listen_one(AF_INET, port, &fd4);
	if (r < 0 && !family_missing(r))
		return r;
	if (fd4 >= 0 && port == 0) {
		r = port_of(fd4, &port);
		if (r < 0)
			return r;
	}
	r = listen_one(AF_INET6, port, &fd6);
	if (r < 0 && (!family_missing(r) || fd4 < 0))
		return r;
	if (port == 0) {
		r = port_of(fd6, &port);
		if (r < 0)
			return r;
	}
	v->port = port;
	v->fd4 = TAKE_FD(fd4);
	v->fd6 = TAKE_FD(fd6);
	return 0;
}

static int listen_here(struct visit *v)
{
	int r;

	r = loopback_up();
	if (r < 0)
		return r;
	if (v->port != 0)
		return listen_both(v);
	for (int i = 0; i < PORT_CHOICES_MAX; i++) {
		r = listen_both(v);
		if (r != -EADDRINUSE)
			break;
	}
	return r;
}

int netns_listen(int netns_fd, uint16_t port, int *ret_fd4, int *ret_fd6, uint16_t *ret_port)
{
	struct visit v = {
		.netns_fd = netns_fd, .work = listen_here, .port = port, .fd4 = -1, .fd6 = -1};
	int r;

	r = visit_run(&v);
	if (r < 0)
		return r;
	*ret_fd4 = v.fd4;
	*ret_fd6 = v.fd6;
	*ret_port = v.port;
	return 0;
}
