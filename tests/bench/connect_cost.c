/* connect_cost ADDRESS PORT N: time of connect() alone, median and 90th percentile, in nanoseconds.
 * Run governed and not; the difference is what steering adds. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	/* Closed by a reset, so that no port stays in TIME_WAIT. */
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	uint64_t *took;
	size_t n;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: connect_cost ADDRESS PORT N\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	n = strtoul(argv[3], NULL, 10);
	took = calloc(n > 0 ? n : 1, sizeof(*took));
	if (!took || n == 0)
		return 1;
	for (size_t i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint64_t begin = now_ns();

		if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
			fprintf(stderr, "connect_cost: %s\n", strerror(errno));
			return 1;
		}
		took[i] = now_ns() - begin;
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		(void)close(fd);
		/* The accepting side must get its turn, or the backlog fills. */
		(void)usleep(200);
	}
	qsort(took, n, sizeof(*took), by_value);
	printf("%llu %llu\n", (unsigned long long)took[n / 2],
	       (unsigned long long)took[n * 9 / 10]);
	free(took);
	return 0;
}
