/* How many events a second the recorder takes, keeps and verifies; and how long an ack takes.
 * Usage: recorder_bench [EVENTS] [DIR]. Prints one JSON object. Events are as long as those of a
 * real operation. DIR is kept when it is given. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "audit/json_check.h"
#include "audit/verify.h"
#include "ipc/chan.h"
#include "ipc/msg.h"
#include "roles/recorder.h"

#define LATENCY_ROUNDS 2000
#define WINDOW	       8192u /* events sent and not acked: a node's sessions together */

static const char body[] =
	"{\"op\":{\"id\":17,\"kind\":\"run\",\"tables\":[\"public.customers\"],\"text\":\"select "
	"id, "
	"name, email, phone from public.customers where region = $1 and since > $2 order by name "
	"limit 50\",\"text_sha256\":"
	"\"4fc82b26aecb47d2868c4efbe3581732a3e7cbcc6c2efb32062c08170a05eeb8\","
	"\"verbs\":[\"select\"]},\"resource\":\"customers-db\",\"session\":\"0192f3a4b5c6d7e8\","
	"\"verdict\":{\"effect\":\"allow\",\"policy\":"
	"\"4fc82b26aecb47d2868c4efbe3581732a3e7cbcc6c2efb32062c08170a05eeb8\",\"reason\":"
	"\"allowed by rule: read customers\",\"rules\":[\"read customers\"]},\"who\":{\"process\":{"
	"\"cgroup\":\"/sluice/support-1\",\"comm\":\"psql\",\"container\":\"9f31c2ab\",\"exe\":"
	"\"/usr/lib/postgresql/15/bin/psql\",\"exe_sha256\":"
	"\"6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918\",\"gid\":1000,\"pid\":"
	"4242,\"ppid\":4200,\"source\":\"kernel+proc\",\"start\":123456789012,\"uid\":1000},"
	"\"token\":{\"expires\":1795399999,\"groups\":[\"support\"],\"issuer\":"
	"\"https://issuer.example\",\"sha256\":"
	"\"4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a\",\"subject\":"
	"\"agent-7\"},\"workload\":\"support-agent\"}}";

static void give_up(const char *what, int r)
{
	fprintf(stderr, "recorder_bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void send_event(int fd, uint64_t request, bool durable)
{
	static struct buf b = BUF_INIT(CHAN_MSG_MAX);
	const struct msg_event m = {
		.request = request, .kind = EVENT_OP, .durable = durable, .body = span_str(body)};
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	buf_reset(&b);
	buf_put_be16(&b, MSG_EVENT);
	if (msg_put_event(&b, &m) < 0)
		give_up("encode", -ENOBUFS);
	while (send(fd, buf_span(&b).p, buf_len(&b), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno != EAGAIN || poll(&p, 1, 10000) <= 0)
			give_up("send", -errno);
	}
}

/* The last request that is acked; waits for one when block. */
static uint64_t take_acks(int fd, uint64_t acked, bool block)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct msg_event_ack ack;
	uint8_t in[256];

	for (;;) {
		ssize_t n = recv(fd, in, sizeof(in), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN && !block)
			return acked;
		if (n < 0 && errno == EAGAIN) {
			if (poll(&p, 1, 20000) <= 0)
				give_up("no ack", -ETIMEDOUT);
			continue;
		}
		if (n < 2 || msg_get_event_ack(span_of(in + 2, (size_t)n - 2), &ack) < 0)
			give_up("ack", -EBADMSG);
		if (ack.error)
			give_up("refused", ack.error);
		acked = ack.request;
		block = false;
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_latency(int fd, uint64_t *request, bool durable, const char *name)
{
	static uint64_t ns[LATENCY_ROUNDS];
	size_t n = durable ? LATENCY_ROUNDS / 10 : LATENCY_ROUNDS;

	for (size_t i = 0; i < n; i++) {
		uint64_t start = now_ns();

		send_event(fd, ++*request, durable);
		while (take_acks(fd, 0, true) < *request)
			;
		ns[i] = now_ns() - start;
	}
	qsort(ns, n, sizeof(ns[0]), by_size);
	printf("\"%s_us\":{\"p50\":%llu,\"p99\":%llu},", name, (unsigned long long)ns[n / 2] / 1000,
	       (unsigned long long)ns[n * 99 / 100] / 1000);
}

/* Processor time, which tells more than the clock on a machine that others use too. */
static double cpu_seconds(int who)
{
	struct rusage u;

	(void)getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double seconds_since(uint64_t start)
{
	return (double)(now_ns() - start) / 1e9;
}

static void print_check_speed(void)
{
	double before = cpu_seconds(RUSAGE_SELF);
	size_t rounds = 200000;

	for (size_t i = 0; i < rounds; i++) {
		if (json_check(span_str(body), 15, NULL) < 0)
			give_up("json_check", -EBADMSG);
	}
	printf("\"json_check_mb_s\":%.0f,",
	       (double)(rounds * (sizeof(body) - 1)) / 1e6 / (cpu_seconds(RUSAGE_SELF) - before));
}

static void print_verify_speed(const char *dir)
{
	struct verify_options o = {0};
	struct verify_result result;
	char error[STORE_ERROR_MAX];
	char path[4200];
	double before = cpu_seconds(RUSAGE_SELF);
	uint64_t start = now_ns();
	int r;

	(void)snprintf(path, sizeof(path), "%s/store.db", dir);
	r = verify_store(path, &o, error, &result);
	if (r < 0 || result.faults > 0)
		give_up("verify", r);
	printf("\"verify_events_s\":%.0f,", (double)result.events / seconds_since(start));
	printf("\"verify_events_s_cpu\":%.0f}\n",
	       (double)result.events / (cpu_seconds(RUSAGE_SELF) - before));
}

static pid_t start(const struct config *config, int ret_fds[static 2])
{
	int w[2];
	int a[2];
	pid_t pid;

	if (chan_pair(w) < 0 || chan_pair(a) < 0)
		give_up("channel", -errno);
	pid = fork();
	if (pid == 0) {
		(void)close(w[0]);
		(void)close(a[0]);
		_exit(recorder_run(config, w[1], &a[1], 1));
	}
	if (pid < 0)
		give_up("fork", -errno);
	(void)close(w[1]);
	(void)close(a[1]);
	ret_fds[0] = w[0];
	ret_fds[1] = a[0];
	return pid;
}

int main(int argc, char **argv)
{
	char made[] = "/tmp/sluice-bench-XXXXXX";
	const char *dir = argc > 2 ? argv[2] : mkdtemp(made);
	struct config config = {.node = "bench", .state_dir = dir, .recorder_uid = 64997};
	uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	uint64_t request = 0;
	uint64_t acked = 0;
	uint64_t first;
	uint64_t began;
	int status;
	int fds[2];
	pid_t pid;

	if (!dir)
		give_up("directory", -errno);
	pid = start(&config, fds);
	printf("{\"body_bytes\":%zu,", sizeof(body) - 1);
	print_check_speed();
	print_latency(fds[1], &request, false, "ack");
	print_latency(fds[1], &request, true, "durable_ack");
	first = acked = request;
	began = now_ns();
	while (acked < first + events) {
		while (request < first + events && request - acked < WINDOW) {
			request++;
			send_event(fds[1], request, request == first + events);
		}
		acked = take_acks(fds[1], acked, true);
	}
	/* The last one is acked when all of them are on disk. */
	printf("\"events\":%llu,\"events_s\":%.0f,", (unsigned long long)events,
	       (double)events / seconds_since(began));
	(void)fflush(stdout);
	(void)close(fds[0]);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		give_up("recorder", -ECHILD);
	printf("\"recorder_cpu_us_an_event\":%.2f,",
	       cpu_seconds(RUSAGE_CHILDREN) * 1e6 / (double)request);
	print_verify_speed(dir);
	if (argc <= 2) {
		static const char *const names[] = {"store.db", "signing.key", "signing.pub",
						    "checkpoint"};
		char path[128];

		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
			(void)unlink(path);
		}
		(void)rmdir(dir);
	}
	return 0;
}
