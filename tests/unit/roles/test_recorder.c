/* The recorder as a process of its own, over real channels, on a real file system. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "audit/search.h"
#include "audit/verify.h"
#include "ipc/chan.h"
#include "ipc/msg.h"
#include "roles/recorder.h"

#define TEST_UID 64998
#define WAIT_MS	 15000

struct fixture {
	char dir[64];
	char state[96];
	struct config config;
	pid_t pid;
	int warden;
	int workers[2];
	uint8_t in[CHAN_MSG_MAX + 2];
};

static bool tiny_disk;

static void start(struct fixture *f)
{
	int w[2];
	int a[2];
	int b[2];

	assert_int_equal(chan_pair(w), 0);
	assert_int_equal(chan_pair(a), 0);
	assert_int_equal(chan_pair(b), 0);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		int fds[2] = {a[1], b[1]};

		if (tiny_disk && (unshare(CLONE_NEWNS) < 0 ||
				  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
				  mount("tiny", f->state, "tmpfs", 0, "size=2m,mode=0755") < 0))
			_exit(77);
		(void)close(w[0]);
		(void)close(a[0]);
		(void)close(b[0]);
		exit(recorder_run(&f->config, w[1], fds, 2));
	}
	(void)close(w[1]);
	(void)close(a[1]);
	(void)close(b[1]);
	f->warden = w[0];
	f->workers[0] = a[0];
	f->workers[1] = b[0];
}

/* Takes the next message; its type, and the payload within f->in. 0: closed; -1: nothing came. */
static int receive(struct fixture *f, int fd, struct span *ret)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, WAIT_MS) <= 0)
		return -1;
	n = recv(fd, f->in, sizeof(f->in), 0);
	if (n < 2)
		return 0;
	*ret = span_of(f->in + 2, (size_t)n - 2);
	return f->in[0] << 8 | f->in[1];
}

static struct span expect(struct fixture *f, int fd, enum msg_type type)
{
	struct span s = {0};
	int got = receive(f, fd, &s);

	if (got != (int)type)
		fail_msg("message %d came instead of %d", got, (int)type);
	return s;
}

static void send_msg(int fd, enum msg_type type, const struct buf *payload)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CHAN_MSG_MAX + 2);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	buf_put_be16(&b, (uint16_t)type);
	if (payload)
		buf_put_span(&b, buf_span(payload));
	assert_int_equal(buf_error(&b), 0);
	do {
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		n = send(fd, buf_span(&b).p, buf_len(&b), MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EAGAIN);
	assert_int_equal(n, buf_len(&b));
}

static void send_event(int fd, uint64_t request, bool durable, const char *body)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CHAN_MSG_MAX);
	const struct msg_event m = {
		.request = request, .kind = EVENT_OP, .durable = durable, .body = span_str(body)};

	assert_int_equal(msg_put_event(&b, &m), 0);
	send_msg(fd, MSG_EVENT, &b);
}

/* Acks may tell of several requests at once: wait for this one. */
static struct msg_event_ack await_ack(struct fixture *f, int fd, uint64_t request)
{
	struct msg_event_ack ack = {0};
	uint64_t before = 0;

	do {
		assert_int_equal(msg_get_event_ack(expect(f, fd, MSG_EVENT_ACK), &ack), 0);
		assert_true(ack.request > before);
		before = ack.request;
	} while (ack.request < request && ack.error == 0);
	assert_int_equal(ack.request, request);
	return ack;
}

static int finish(struct fixture *f)
{
	int status;

	if (f->pid <= 0)
		return 0;
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	fd_clear(&f->warden);
	fd_clear(&f->workers[0]);
	fd_clear(&f->workers[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void stop(struct fixture *f)
{
	send_msg(f->warden, MSG_STOP, NULL);
	assert_int_equal(finish(f), 0);
}

static void crash(struct fixture *f)
{
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	assert_int_equal(finish(f), 128 + SIGKILL);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/sluice-recorder-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(chmod(f->dir, 0755), 0);
	(void)snprintf(f->state, sizeof(f->state), "%s/state", f->dir);
	f->config = (struct config){
		.node = "test node", .state_dir = f->state, .recorder_uid = TEST_UID};
	f->warden = f->workers[0] = f->workers[1] = -1;
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->pid > 0) {
		(void)kill(f->pid, SIGKILL);
		(void)waitpid(f->pid, NULL, 0);
	}
	closep(&f->warden);
	closep(&f->workers[0]);
	closep(&f->workers[1]);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	tiny_disk = false;
	free(f);
	return 0;
}

static void print_fault(void *ctx, uint64_t seq, const char *text)
{
	(void)ctx;
	(void)seq;
	print_error("fault: %s\n", text);
}

static struct verify_result look_at(const char *dir)
{
	_cleanup_note_key_ struct note_key key = {0};
	struct verify_options o = {.key = &key, .on_fault = print_fault};
	struct verify_result result;
	char error[STORE_ERROR_MAX];
	char path[128];
	char vkey[VKEY_MAX];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/signing.pub", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	n = read(fd, vkey, sizeof(vkey));
	(void)close(fd);
	assert_true(n > 0);
	assert_int_equal(note_parse_vkey(span_of(vkey, (size_t)n), &key), 0);
	(void)snprintf(path, sizeof(path), "%s/store.db", dir);
	if (verify_store(path, &o, error, &result) < 0)
		fail_msg("%s", error);
	return result;
}

static void assert_whole(struct fixture *f, uint64_t events)
{
	struct verify_result result = look_at(f->state);

	assert_int_equal(result.faults, 0);
	assert_int_equal(result.events, events);
	assert_true(result.checkpoints >= 1);
	assert_int_equal(result.signed_size, events);
}

struct found {
	uint64_t n;
	char last[4096];
};

static int on_found(void *ctx, const struct store_event *e, json_t *root)
{
	struct found *found = ctx;

	assert_non_null(root);
	found->n++;
	(void)snprintf(found->last, sizeof(found->last), "%.*s", SPAN_FMT(e->json));
	return 0;
}

static struct found search(const char *dir, const struct search_filter *filter)
{
	_cleanup_(store_closep) struct store *s = NULL;
	struct found found = {0};
	char error[STORE_ERROR_MAX];
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/store.db", dir);
	assert_int_equal(store_open_read(path, error, &s), 0);
	assert_int_equal(search_run(s, filter, on_found, &found), 0);
	return found;
}

static uint64_t count(struct fixture *f, const char *kind, const char *session)
{
	return search(f->state, &(struct search_filter){.kind = kind, .session = session}).n;
}

static void test_records(void **state)
{
	struct fixture *f = *state;
	struct msg_event_ack ack;
	struct stat st;
	char path[128];

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	for (uint64_t i = 1; i <= 3000; i++) {
		char body[128];

		(void)snprintf(body, sizeof(body), "{\"n\":%llu,\"session\":\"s-%llu\"}",
			       (unsigned long long)i, (unsigned long long)i % 3);
		send_event(f->workers[i % 2], i, false, body);
	}
	send_event(f->warden, 7, true, "{}");
	ack = await_ack(f, f->workers[0], 3000);
	assert_int_equal(ack.error, 0);
	assert_true(ack.seq >= 1500);
	(void)await_ack(f, f->workers[1], 2999);
	(void)await_ack(f, f->warden, 7);
	/* Beside the running recorder. */
	assert_int_equal(look_at(f->state).faults, 0);
	stop(f);
	assert_whole(f, 3001);
	assert_int_equal(count(f, NULL, "s-2"), 1000);
	assert_int_equal(count(f, "op", NULL), 3001);
	assert_int_equal(count(f, "cancel", NULL), 0);

	(void)snprintf(path, sizeof(path), "%s/signing.key", f->state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	if (geteuid() == 0)
		assert_int_equal(st.st_uid, TEST_UID);
	(void)snprintf(path, sizeof(path), "%s/store.db", f->state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)snprintf(path, sizeof(path), "%s/store.db-wal", f->state);
	assert_int_equal(stat(path, &st), -1);
	(void)snprintf(path, sizeof(path), "%s/checkpoint", f->state);
	assert_int_equal(stat(path, &st), 0);
}

/* Root looks while it runs: what sqlite then makes must still be the recorder's. */
static void test_readers_leave_no_trace(void **state)
{
	static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm"};
	struct fixture *f = *state;

	start(f);
	send_event(f->workers[0], 1, true, "{}");
	(void)await_ack(f, f->workers[0], 1);
	crash(f);
	/* With the log of a recorder that was killed, nobody has it open. */
	assert_int_equal(look_at(f->state).faults, 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];
		struct stat st;

		(void)snprintf(path, sizeof(path), "%s/%s", f->state, names[i]);
		if (stat(path, &st) == 0 && geteuid() == 0)
			assert_int_equal(st.st_uid, TEST_UID);
	}
	start(f);
	send_event(f->workers[0], 1, true, "{}");
	assert_int_equal(await_ack(f, f->workers[0], 1).seq, 2);
	stop(f);
	assert_whole(f, 2);
}

static void test_durable_survives_a_crash(void **state)
{
	struct fixture *f = *state;

	for (uint64_t round = 1; round <= 4; round++) {
		start(f);
		for (uint64_t i = 1; i <= 50; i++)
			send_event(f->workers[0], i, i == 50, "{\"session\":\"x\"}");
		(void)await_ack(f, f->workers[0], 50);
		crash(f);
		assert_int_equal(look_at(f->state).faults, 0);
		assert_int_equal(count(f, NULL, NULL), round * 50);
	}
	start(f);
	(void)expect(f, f->warden, MSG_READY);
	send_event(f->workers[0], 1, false, "{}");
	(void)await_ack(f, f->workers[0], 1);
	stop(f);
	assert_whole(f, 201);
}

static void test_sigterm(void **state)
{
	struct fixture *f = *state;

	start(f);
	send_event(f->workers[0], 1, false, "{}");
	(void)await_ack(f, f->workers[0], 1);
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	assert_int_equal(finish(f), 0);
	assert_whole(f, 1);
}

static void test_warden_gone(void **state)
{
	struct fixture *f = *state;

	start(f);
	send_event(f->workers[0], 1, false, "{}");
	(void)await_ack(f, f->workers[0], 1);
	fd_clear(&f->warden);
	assert_int_equal(finish(f), 0);
	assert_whole(f, 1);
}

static void assert_closed(struct fixture *f, int fd)
{
	struct span s;
	int got;

	do {
		got = receive(f, fd, &s);
	} while (got == MSG_EVENT_ACK);
	assert_int_equal(got, 0);
}

/* What is not as it must be closes that worker's channel, with an event, and nobody else's. */
static void test_hostile_worker(void **state)
{
	static const char *const bodies[] = {"",
					     "[]",
					     "{\"a\": 1}",
					     "{\"b\":1,\"a\":2}",
					     "{\"a\":1.5}",
					     "{} ",
					     "{\"a\":\"\xff\"}"};
	struct fixture *f = *state;
	_cleanup_buf_ struct buf junk = BUF_INIT(1024);

	for (size_t i = 0; i < ARRAY_SIZE(bodies) + 4; i++) {
		start(f);
		if (i < ARRAY_SIZE(bodies)) {
			send_event(f->workers[0], 1, true, bodies[i]);
		} else if (i == ARRAY_SIZE(bodies)) {
			buf_put_str(&junk, "junk");
			send_msg(f->workers[0], MSG_EVENT, &junk);
		} else if (i == ARRAY_SIZE(bodies) + 1) {
			send_msg(f->workers[0], MSG_STOP, NULL); /* the warden's to say */
		} else if (i == ARRAY_SIZE(bodies) + 2) {
			buf_reset(&junk);
			assert_int_equal(
				msg_put_event(&junk, &(struct msg_event){.kind = EVENT_OP,
									 .body = span_str("{}")}),
				0);
			buf_put_str(&junk, "junk after a good event");
			send_msg(f->workers[0], MSG_EVENT, &junk);
		} else {
			send_event(f->workers[0], 5, false, "{}");
			send_event(f->workers[0], 5, false, "{}"); /* numbers ascend */
		}
		assert_closed(f, f->workers[0]);
		send_event(f->workers[1], 1, true, "{}");
		assert_int_equal(await_ack(f, f->workers[1], 1).error, 0);
		stop(f);
		assert_int_equal(count(f, "recorder", NULL), i + 1);
	}
	assert_int_equal(look_at(f->state).faults, 0);
}

static void test_new_worker(void **state)
{
	struct fixture *f = *state;
	uint8_t data[] = {MSG_WORKER_ADD >> 8, MSG_WORKER_ADD, 0, 0, 0, 0};
	struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int pair[2];

	start(f);
	send_event(f->workers[0], 900, false, "{}");
	(void)await_ack(f, f->workers[0], 900);
	fd_clear(&f->workers[0]);
	assert_int_equal(chan_pair(pair), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pair[1], sizeof(int));
	assert_int_equal(sendmsg(f->warden, &msg, 0), sizeof(data));
	(void)close(pair[1]);
	send_event(pair[0], 1, true, "{}");
	assert_int_equal(await_ack(f, pair[0], 1).seq, 2);
	(void)close(pair[0]);
	stop(f);
	assert_whole(f, 2);
}

/* Approvals. */

#define REQUEST_BODY                                                  \
	"{\"op\":{\"text\":\"update t set "                           \
	"a=1\"},\"session\":\"s-9\",\"who\":{\"token\":{\"subject\":" \
	"\"agent-7\"},\"workload\":\"w\"}}"

static struct msg_approval_state ask_for(struct fixture *f, int fd, uint64_t request,
					 uint32_t wait_s, uint32_t valid_s, struct span body)
{
	_cleanup_buf_ struct buf b = BUF_INIT(CHAN_MSG_MAX);
	struct msg_approval_ask m = {.request = request,
				     .wait_s = wait_s,
				     .valid_s = valid_s,
				     .groups = span_of("dba", 4),
				     .body = body};
	struct msg_approval_state s;

	tree_digest(m.body, m.digest);
	assert_int_equal(msg_put_approval_ask(&b, &m), 0);
	send_msg(fd, MSG_APPROVAL_ASK, &b);
	assert_int_equal(msg_get_approval_state(expect(f, fd, MSG_APPROVAL_STATE), &s), 0);
	assert_int_equal(s.request, request);
	return s;
}

static struct msg_approval_state ask(struct fixture *f, int fd, uint64_t request, uint32_t wait_s,
				     uint32_t valid_s)
{
	return ask_for(f, fd, request, wait_s, valid_s, span_str(REQUEST_BODY));
}

static struct msg_approval_decided decide(struct fixture *f, const char *id, const char *by,
					  struct span groups, const char *digest, bool approve)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct msg_approval_decide m = {.request = 77,
					.approve = approve,
					.by = span_str(by),
					.groups = groups,
					.digest = span_str(digest),
					.reason = span_str("looks right")};
	struct msg_approval_decided d;

	(void)snprintf(m.id, sizeof(m.id), "%s", id);
	assert_int_equal(msg_put_approval_decide(&b, &m), 0);
	send_msg(f->warden, MSG_APPROVAL_DECIDE, &b);
	assert_int_equal(msg_get_approval_decided(expect(f, f->warden, MSG_APPROVAL_DECIDED), &d),
			 0);
	assert_int_equal(d.request, 77);
	return d;
}

static void send_ref(int fd, enum msg_type type, const char *id, uint64_t request)
{
	_cleanup_buf_ struct buf b = BUF_INIT(256);
	struct msg_approval_ref m = {.request = request};

	(void)snprintf(m.id, sizeof(m.id), "%s", id);
	assert_int_equal(msg_put_approval_ref(&b, &m), 0);
	send_msg(fd, type, &b);
}

static struct msg_approval_state next_state(struct fixture *f, int fd)
{
	struct msg_approval_state s;

	assert_int_equal(msg_get_approval_state(expect(f, fd, MSG_APPROVAL_STATE), &s), 0);
	return s;
}

static const struct span dba = {(const uint8_t *)"dba", 4};

static void test_approve_and_use_once(void **state)
{
	struct fixture *f = *state;
	struct msg_approval_state s;
	struct found found;
	char id[APPROVAL_ID_MAX];

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	s = ask(f, f->workers[0], 41, 60, 60);
	assert_int_equal(s.state, APPROVAL_PENDING);
	assert_int_equal(s.error, 0);
	memcpy(id, s.id, sizeof(id));
	/* On disk before it is told. */
	assert_int_equal(
		search(f->state, &(struct search_filter){.kind = "approval", .session = "s-9"}).n,
		1);

	assert_false(decide(f, id, "ann", span_of("users", 6), "", true).done);
	assert_false(decide(f, id, "ann", dba, "00", true).done);
	assert_false(decide(f, id, "agent-7", dba, "", true).done);
	assert_false(decide(f, "ap-0000-0000", "ann", dba, "", true).done);
	/* Not usable before it is approved, nor by another. */
	send_ref(f->workers[0], MSG_APPROVAL_CONSUME, id, 41);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_PENDING);

	assert_true(decide(f, id, "ann", dba, "", true).done);
	s = next_state(f, f->workers[0]);
	assert_int_equal(s.state, APPROVAL_APPROVED);
	assert_true(span_eq_str(s.by, "ann") && span_eq_str(s.why, "looks right"));
	assert_false(decide(f, id, "bob", dba, "", false).done);

	send_ref(f->workers[1], MSG_APPROVAL_CONSUME, id, 41);
	s = next_state(f, f->workers[1]);
	assert_int_equal(s.error, -ENOENT);
	send_ref(f->workers[0], MSG_APPROVAL_CONSUME, id, 42);
	s = next_state(f, f->workers[0]);
	assert_int_equal(s.state, APPROVAL_CONSUMED);
	assert_int_equal(s.error, 0);
	assert_int_equal(s.request, 42);
	send_ref(f->workers[0], MSG_APPROVAL_CONSUME, id, 43);
	assert_int_equal(next_state(f, f->workers[0]).error, -EPERM);
	assert_false(decide(f, id, "ann", dba, "", true).done);
	crash(f);

	found = search(f->state, &(struct search_filter){.kind = "approval", .subject = "agent-7"});
	assert_int_equal(found.n, 3);
	assert_non_null(strstr(found.last, "\"state\":\"consumed\""));
	assert_non_null(strstr(found.last, "\"by\":\"ann\""));
	start(f);
	(void)expect(f, f->warden, MSG_READY);
	assert_false(decide(f, id, "ann", dba, "", true).done);
	stop(f);
	assert_int_equal(look_at(f->state).faults, 0);
	assert_int_equal(count(f, "approval", NULL), 3);
}

static void test_deny(void **state)
{
	struct fixture *f = *state;
	struct msg_approval_state s;
	struct msg_approval_decided d;
	char id[APPROVAL_ID_MAX];

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	s = ask(f, f->workers[0], 1, 60, 60);
	memcpy(id, s.id, sizeof(id));
	d = decide(f, id, "ann", dba, "", false);
	assert_true(d.done);
	assert_int_equal(d.state, APPROVAL_DENIED);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_DENIED);
	send_ref(f->workers[0], MSG_APPROVAL_CONSUME, id, 1);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_DENIED);
	stop(f);
}

static void test_times(void **state)
{
	struct fixture *f = *state;
	struct msg_approval_state s;
	char id[APPROVAL_ID_MAX];

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	(void)ask(f, f->workers[0], 1, 1, 60);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_EXPIRED);
	s = ask(f, f->workers[0], 2, 60, 1);
	memcpy(id, s.id, sizeof(id));
	assert_true(decide(f, id, "ann", dba, "", true).done);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_APPROVED);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_LAPSED);
	send_ref(f->workers[0], MSG_APPROVAL_CONSUME, id, 2);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_LAPSED);
	stop(f);
	assert_int_equal(count(f, "approval", NULL), 5);
}

/* Nobody is there any more who could use it. */
static void test_asker_gone(void **state)
{
	struct fixture *f = *state;
	struct msg_approval_decided d;
	struct msg_approval_state s;
	char ids[3][APPROVAL_ID_MAX];

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	s = ask(f, f->workers[0], 1, 60, 60);
	memcpy(ids[0], s.id, APPROVAL_ID_MAX);
	send_ref(f->workers[0], MSG_APPROVAL_WITHDRAW, ids[0], 0);
	assert_int_equal(next_state(f, f->workers[0]).state, APPROVAL_WITHDRAWN);
	s = ask(f, f->workers[0], 2, 60, 60);
	memcpy(ids[1], s.id, APPROVAL_ID_MAX);
	s = ask(f, f->workers[1], 1, 60, 60);
	memcpy(ids[2], s.id, APPROVAL_ID_MAX);
	/* Only one's own can be withdrawn. */
	send_ref(f->workers[0], MSG_APPROVAL_WITHDRAW, ids[2], 0);
	fd_clear(&f->workers[0]);
	do {
		d = decide(f, ids[1], "ann", span_of("none", 5), "", true);
	} while (d.state == APPROVAL_PENDING);
	assert_int_equal(d.state, APPROVAL_WITHDRAWN);
	assert_true(decide(f, ids[2], "ann", dba, "", true).done);
	crash(f);
	start(f);
	(void)expect(f, f->warden, MSG_READY);
	d = decide(f, ids[2], "ann", dba, "", true);
	assert_false(d.done);
	assert_int_equal(d.state, APPROVAL_LAPSED);
	stop(f);
	/* 3 asked, 2 withdrawn, 1 approved and lapsed */
	assert_int_equal(count(f, "approval", NULL), 7);
	assert_int_equal(look_at(f->state).faults, 0);
}

static void test_list_and_status(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(256);
	_cleanup_(json_decrefp) json_t *list = NULL;
	_cleanup_(json_decrefp) json_t *status = NULL;
	struct msg_approval_list_get get = {.request = 5};
	struct msg_approval_list m;
	struct span s;

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	(void)ask(f, f->workers[0], 1, 60, 60);
	(void)ask(f, f->workers[0], 2, 60, 60);
	assert_int_equal(msg_put_approval_list_get(&b, &get), 0);
	send_msg(f->warden, MSG_APPROVAL_LIST_GET, &b);
	assert_int_equal(msg_get_approval_list(expect(f, f->warden, MSG_APPROVAL_LIST), &m), 0);
	assert_int_equal(m.request, 5);
	assert_int_equal(search_load(m.body, &list), 0);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(search_get(json_array_get(list, 1), "head", "who",
							 "token", "subject", NULL)),
			    "agent-7");
	assert_string_equal(json_string_value(search_get(json_array_get(list, 0), "state", NULL)),
			    "pending");
	send_msg(f->warden, MSG_RECORDER_STATUS_GET, NULL);
	s = expect(f, f->warden, MSG_RECORDER_STATUS);
	assert_int_equal(search_load(s, &status), 0);
	assert_int_equal(json_integer_value(search_get(status, "events", NULL)), 2);
	assert_int_equal(json_integer_value(search_get(status, "approvals_open", NULL)), 2);
	assert_string_equal(json_string_value(search_get(status, "state", NULL)), "recording");
	stop(f);
}

/* Long texts hide nobody's request: a list has heads only, those that wait first, and says how many
 * it leaves out. */
static void test_list_of_long_ones(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf body = BUF_INIT(CHAN_MSG_MAX);
	_cleanup_buf_ struct buf b = BUF_INIT(256);
	_cleanup_(json_decrefp) json_t *list = NULL;
	struct msg_approval_list_get get = {.request = 5};
	struct msg_approval_list m;
	const char *text;

	start(f);
	(void)expect(f, f->warden, MSG_READY);
	buf_put_str(&body, "{\"op\":{\"text\":\"UPDATE \\u0001");
	while (buf_len(&body) < 52000)
		buf_put_str(&body, "\\\"\u00e9\u20ac");
	buf_put_str(&body,
		    "\",\"verbs\":[\"update\"]},\"resource\":\"db\",\"who\":{\"workload\":\"w\"}}");
	for (uint64_t i = 1; i <= 12; i++)
		assert_int_equal(ask_for(f, f->workers[0], i, 60, 60, buf_span(&body)).state,
				 APPROVAL_PENDING);
	assert_int_equal(msg_put_approval_list_get(&b, &get), 0);
	send_msg(f->warden, MSG_APPROVAL_LIST_GET, &b);
	assert_int_equal(msg_get_approval_list(expect(f, f->warden, MSG_APPROVAL_LIST), &m), 0);
	assert_int_equal(m.more, 0);
	assert_int_equal(search_load(m.body, &list), 0);
	assert_int_equal(json_array_size(list), 12);
	text = json_string_value(search_get(json_array_get(list, 0), "head", "op", "text", NULL));
	assert_non_null(text);
	assert_true(strlen(text) > 100 && strlen(text) <= 200);
	assert_memory_equal(text, "UPDATE \1\"", 9);
	assert_null(search_get(json_array_get(list, 0), "body", NULL));

	/* One asked for comes with all of it. */
	(void)snprintf(get.id, sizeof(get.id), "%s",
		       json_string_value(search_get(json_array_get(list, 11), "id", NULL)));
	buf_reset(&b);
	assert_int_equal(msg_put_approval_list_get(&b, &get), 0);
	send_msg(f->warden, MSG_APPROVAL_LIST_GET, &b);
	assert_int_equal(msg_get_approval_list(expect(f, f->warden, MSG_APPROVAL_LIST), &m), 0);
	assert_true(m.body.len > 52000);
	stop(f);
}

/* Faults. */

static void test_changed_store_is_refused(void **state)
{
	struct fixture *f = *state;
	struct msg_event_ack ack;
	char path[128];
	sqlite3 *db;

	start(f);
	send_event(f->workers[0], 1, true, "{}");
	(void)await_ack(f, f->workers[0], 1);
	stop(f);
	(void)snprintf(path, sizeof(path), "%s/store.db", f->state);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE events SET json=x'7b7d'", NULL, NULL, NULL),
			 SQLITE_OK);
	(void)sqlite3_close(db);
	start(f);
	send_event(f->workers[0], 1, false, "{}");
	ack = await_ack(f, f->workers[0], 1);
	assert_int_equal(ack.error, -EUCLEAN);
	assert_int_equal(ask(f, f->workers[0], 9, 60, 60).error, -EUCLEAN);
	stop(f);
}

static void test_store_removed_under_it(void **state)
{
	struct fixture *f = *state;
	char path[128];

	start(f);
	send_event(f->workers[0], 1, true, "{}");
	(void)await_ack(f, f->workers[0], 1);
	(void)snprintf(path, sizeof(path), "%s/store.db", f->state);
	assert_int_equal(unlink(path), 0);
	send_event(f->workers[0], 2, true, "{}");
	assert_int_equal(await_ack(f, f->workers[0], 2).error, -ESTALE);
	send_event(f->workers[0], 3, false, "{}");
	assert_true(await_ack(f, f->workers[0], 3).error < 0);
	send_msg(f->warden, MSG_STOP, NULL);
	assert_int_equal(finish(f), 1);
}

static void fill_disk(const char *dir)
{
	static const uint8_t zeros[4096];
	char path[160];
	size_t chunk = sizeof(zeros);
	int fd;

	(void)snprintf(path, sizeof(path), "%s/filler", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, zeros, chunk) == (ssize_t)chunk)
		;
	assert_int_equal(errno, ENOSPC);
	(void)close(fd);
}

/* sqlite resolves links itself, so /proc/PID/root will not do. */
static void enter_mounts(pid_t pid)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(setns(fd, CLONE_NEWNS), 0);
	(void)close(fd);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	struct msg_approval_state s;
	struct msg_event_ack ack;
	char inside[128];
	char filler[160];
	uint64_t request = 0;
	uint64_t faults;
	struct found found;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(f->state, 0755), 0);
	tiny_disk = true;
	start(f);
	(void)expect(f, f->warden, MSG_READY);
	(void)snprintf(inside, sizeof(inside), "/proc/%d/root%s", (int)f->pid, f->state);
	send_event(f->workers[0], ++request, true, "{\"n\":\"before\"}");
	assert_int_equal(await_ack(f, f->workers[0], request).error, 0);
	s = ask(f, f->workers[1], 1, 600, 600);
	assert_int_equal(s.error, 0);

	fill_disk(inside);
	/* What the log has room for is still taken; then it is told. */
	do {
		send_event(f->workers[0], ++request, true, "{\"n\":\"full\"}");
		ack = await_ack(f, f->workers[0], request);
	} while (ack.error == 0 && request < 100000);
	assert_int_equal(ack.error, -ENOSPC);
	/* Everything is refused now, at once. */
	send_event(f->workers[0], ++request, false, "{\"n\":\"refused\"}");
	assert_int_equal(await_ack(f, f->workers[0], request).error, -ENOSPC);
	assert_int_equal(ask(f, f->workers[1], 2, 600, 600).error, -ENOSPC);
	assert_false(decide(f, s.id, "ann", dba, "", true).done);

	(void)snprintf(filler, sizeof(filler), "%s/filler", inside);
	assert_int_equal(unlink(filler), 0);
	for (unsigned tries = 0; ack.error && tries < 100; tries++) {
		const struct timespec pause = {.tv_nsec = 100000000};

		(void)nanosleep(&pause, NULL);
		send_event(f->workers[0], ++request, true, "{\"n\":\"after\"}");
		ack = await_ack(f, f->workers[0], request);
	}
	assert_int_equal(ack.error, 0);
	enter_mounts(f->pid);
	faults = look_at(f->state).faults;
	found = search(f->state, &(struct search_filter){.kind = "recorder"});
	enter_mounts(getppid());
	assert_int_equal(faults, 0);
	assert_int_equal(found.n, 1);
	assert_non_null(strstr(found.last, "\"change\":\"resumed\""));
	/* The event whose ack failed was written after all, and that says so. */
	assert_non_null(strstr(found.last, "\"n_unacknowledged\":1,"));
	stop(f);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_records),
		T(test_readers_leave_no_trace),
		T(test_durable_survives_a_crash),
		T(test_sigterm),
		T(test_warden_gone),
		T(test_hostile_worker),
		T(test_new_worker),
		T(test_approve_and_use_once),
		T(test_deny),
		T(test_times),
		T(test_asker_gone),
		T(test_list_and_status),
		T(test_list_of_long_ones),
		T(test_changed_store_is_refused),
		T(test_store_removed_under_it),
		T(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
