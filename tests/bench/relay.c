/* relay PORT UPSTREAM_PORT: the floor for any proxy: accept on 127.0.0.1, connect, copy both ways.
 * One thread, epoll, level-triggered, one buffer; nothing is looked at. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUF_SIZE   (64u * 1024u)
#define EVENTS_MAX 256

struct pair;

/* One direction's source: what is read from fd and not yet written to the other side waits in buf.
 */
struct side {
	struct pair *pair;
	struct side *other;
	int fd;
	uint32_t armed;
	size_t start, end;
	bool eof;
	uint8_t buf[BUF_SIZE];
};

struct pair {
	struct side a, b;
	bool dead;
	struct pair *next_dead;
};

static int epfd;
static struct pair *dead;

static int tcp_socket(void)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void arm(struct side *s)
{
	struct epoll_event ev = {.data.ptr = s};

	if (!s->eof && s->end == 0)
		ev.events |= EPOLLIN;
	if (s->other->end > 0)
		ev.events |= EPOLLOUT;
	if (ev.events != s->armed && epoll_ctl(epfd, EPOLL_CTL_MOD, s->fd, &ev) == 0)
		s->armed = ev.events;
}

/* Freed after the round: events of the same round may still point here. */
static void pair_end(struct pair *p)
{
	if (p->dead)
		return;
	p->dead = true;
	(void)close(p->a.fd);
	(void)close(p->b.fd);
	p->next_dead = dead;
	dead = p;
}

static int flush_to(struct side *from, struct side *to)
{
	while (from->start < from->end) {
		ssize_t n = send(to->fd, from->buf + from->start, from->end - from->start,
				 MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		from->start += (size_t)n;
	}
	from->start = from->end = 0;
	if (from->eof)
		(void)shutdown(to->fd, SHUT_WR);
	return 0;
}

static void on_side(struct side *s, uint32_t events)
{
	struct pair *p = s->pair;

	if (p->dead)
		return;
	if (events & EPOLLOUT && flush_to(s->other, s) < 0) {
		pair_end(p);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && s->end == 0 && !s->eof) {
		ssize_t n = recv(s->fd, s->buf, sizeof(s->buf), 0);

		if (n < 0 && errno != EAGAIN) {
			pair_end(p);
			return;
		}
		if (n == 0)
			s->eof = true;
		else if (n > 0)
			s->end = (size_t)n;
		if (n >= 0 && flush_to(s, s->other) < 0) {
			pair_end(p);
			return;
		}
	}
	if (s->eof && s->other->eof && s->end == 0 && s->other->end == 0) {
		pair_end(p);
		return;
	}
	arm(s);
	arm(s->other);
}

static void on_accept(int listener, uint16_t upstream)
{
	struct sockaddr_in to = loopback(upstream);
	struct pair *p;
	int one = 1;

	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		p = calloc(1, sizeof(*p));
		if (!p) {
			(void)close(fd);
			return;
		}
		p->a.pair = p->b.pair = p;
		p->a.other = &p->b;
		p->b.other = &p->a;
		p->a.fd = fd;
		p->b.fd = tcp_socket();
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (p->b.fd < 0 || (connect(p->b.fd, (struct sockaddr *)&to, sizeof(to)) < 0 &&
				    errno != EINPROGRESS)) {
			(void)close(fd);
			if (p->b.fd >= 0)
				(void)close(p->b.fd);
			free(p);
			continue;
		}
		for (int i = 0; i < 2; i++) {
			struct side *s = i ? &p->b : &p->a;
			struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};

			(void)epoll_ctl(epfd, EPOLL_CTL_ADD, s->fd, &ev);
			s->armed = EPOLLIN;
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS_MAX];
	struct epoll_event ev = {.events = EPOLLIN};
	struct sockaddr_in at;
	int listener;

	if (argc != 3) {
		fprintf(stderr, "usage: relay PORT UPSTREAM_PORT\n");
		return 2;
	}
	at = loopback((uint16_t)strtoul(argv[1], NULL, 10));
	epfd = epoll_create1(EPOLL_CLOEXEC);
	listener = tcp_socket();
	if (epfd < 0 || listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 1024) < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev) < 0) {
		perror("relay");
		return 1;
	}
	for (;;) {
		int n = epoll_wait(epfd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_side(events[i].data.ptr, events[i].events);
			else
				on_accept(listener, (uint16_t)strtoul(argv[2], NULL, 10));
		}
		while (dead) {
			struct pair *p = dead;

			dead = p->next_dead;
			free(p);
		}
	}
}
