#include "roles/warden_state.h"

#include "roles/log.h"

#define EXE_CACHE_ENTRIES 1024u
#define EXECS_MAX	  65536u /* by pid; two pids that share a place: the later one holds */
#define RECORDS_MAX	  512u	 /* processes remembered after they ended */
#define RECORD_BYTES	  16384u
#define RECORDING_NS_MAX                                                         \
	300000000u /* of each second: a storm of execs must not hold up the rest \
		    */
#define SECOND_NS    1000000000u
#define ANSWER_BYTES (TOKEN_BYTES_MAX + 64u * 1024u)

/* The last exec that the kernel told of, by pid. */
struct exec {
	uint32_t tgid;
	uint32_t exec_id;
	uint64_t start;
};

/* What /proc said of a process after its exec. */
struct record {
	struct arena arena;
	struct process process;
};

struct seen {
	struct exec execs[EXECS_MAX];
	struct record records[RECORDS_MAX]; /* a ring */
	size_t next_record;
	uint64_t second;   /* when the one that is counted in began, monotonic */
	uint64_t spent_ns; /* in it, on records */
};

int resolve_start(struct warden *w)
{
	w->seen = calloc(1, sizeof(*w->seen));
	if (!w->seen)
		return -ENOMEM;
	for (size_t i = 0; i < RECORDS_MAX; i++)
		w->seen->records[i].arena = ARENA_INIT(RECORD_BYTES);
	return exe_cache_new(EXE_CACHE_ENTRIES, &w->exe_cache);
}

void resolve_done(struct warden *w)
{
	if (w->seen)
		for (size_t i = 0; i < RECORDS_MAX; i++)
			arena_done(&w->seen->records[i].arena);
	free(TAKE_PTR(w->seen));
	exe_cache_free(TAKE_PTR(w->exe_cache));
}

/* It went on to execute something else. */
static bool has_moved_on(const struct warden *w, const struct proc_key *key)
{
	const struct exec *e = &w->seen->execs[key->tgid % EXECS_MAX];

	return e->tgid == key->tgid && e->start == key->start_boottime &&
	       (int32_t)(e->exec_id - key->self_exec_id) > 0;
}

/* A record is for those that end before they are asked about; the others are read then. */
static void keep_record(struct warden *w, const struct sluice_origin *who)
{
	struct record *rec = &w->seen->records[w->seen->next_record];

	arena_reset(&rec->arena);
	steer_origin_process(who, &rec->process);
	if (proc_resolve(w->exe_cache, &rec->arena, &rec->process) < 0) {
		rec->process = (struct process){0};
		return;
	}
	w->seen->next_record = (w->seen->next_record + 1) % RECORDS_MAX;
}

void resolve_note_exec(struct warden *w, const struct sluice_origin *who)
{
	struct seen *seen = w->seen;
	uint64_t begun = now_ns();

	seen->execs[who->proc.tgid % EXECS_MAX] = (struct exec){.tgid = who->proc.tgid,
								.exec_id = who->proc.self_exec_id,
								.start = who->proc.start_boottime};
	if (begun - seen->second >= SECOND_NS) {
		seen->second = begun;
		seen->spent_ns = 0;
	}
	if (seen->spent_ns >= RECORDING_NS_MAX)
		return;
	keep_record(w, who);
	seen->spent_ns += now_ns() - begun;
}

/* The /proc part of a process that is gone, from the time of its exec. A child that was forked
 * and executed nothing has no record of its own. */
static bool from_record(const struct warden *w, struct process *p)
{
	for (size_t i = 0; i < RECORDS_MAX; i++) {
		const struct process *old = &w->seen->records[i].process;
		struct process now = *p;

		if (!old->has_proc || old->key.tgid != p->key.tgid ||
		    old->key.start_boottime != p->key.start_boottime ||
		    old->key.self_exec_id != p->key.self_exec_id)
			continue;
		*p = *old;
		/* What connect() saw is later than exec. */
		p->uid = now.uid;
		p->gid = now.gid;
		p->ppid = now.ppid;
		memcpy(p->comm, now.comm, sizeof(p->comm));
		p->cgroup_id = now.cgroup_id;
		p->netns_cookie = now.netns_cookie;
		return true;
	}
	return false;
}

static void read_token(const struct warden *w, struct arena *arena, struct msg_resolved *m)
{
	const char *path = w->config->workloads[m->workload].token_file;
	int r;

	m->token_source = TOKEN_SOURCE_NONE;
	if (!path)
		return;
	r = proc_read_file(&m->process.key, path, arena, &m->token);
	if (r == 0) {
		m->token_source = TOKEN_SOURCE_FILE;
	} else if (r == -ENOENT) {
		m->token_source = TOKEN_SOURCE_MISSING;
	} else {
		m->token_source = TOKEN_SOURCE_FAILED;
		m->token_errno = r;
	}
}

/* Fills all of *m but the request. */
static void resolve(struct warden *w, struct arena *arena, struct msg_resolved *m)
{
	const struct governed *g;

	watch_drain(w);
	g = watch_governed(w, m->process.cgroup_id, (int)m->process.key.tgid);
	if (!g) {
		m->status = RESOLVE_NO_WORKLOAD;
		return;
	}
	m->workload = g->workload;
	m->process.cgroup = arena_strdup(arena, g->path);
	m->process.container = container_id(g->path, arena);
	m->status = RESOLVE_GONE;
	if (has_moved_on(w, &m->process.key))
		return;
	if (proc_resolve(w->exe_cache, arena, &m->process) < 0 && !from_record(w, &m->process))
		return;
	read_token(w, arena, m);
	/* Again, for an exec while it was read: what was read would be another program's. */
	watch_drain(w);
	if (!has_moved_on(w, &m->process.key))
		m->status = RESOLVE_OK;
}

void resolve_answer(struct warden *w, struct child *worker, struct span payload)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(ANSWER_BYTES);
	_cleanup_buf_ struct buf b = BUF_INIT(CHAN_MSG_MAX);
	struct msg_resolved m = {0};
	struct msg_resolve ask;
	struct span token;
	int r;

	if (msg_get_resolve(payload, &ask) < 0) {
		child_give_up(worker, "sent a message that is not understood");
		return;
	}
	m.request = ask.request;
	m.process = ask.process;
	resolve(w, &arena, &m);
	/* Many may come one after the other before the timer has its turn. */
	if (now_ns() - w->beat_ns >= HEARTBEAT_MS * UINT64_C(1000000))
		warden_beat(w);
	token = m.token;
	if (m.status != RESOLVE_OK) {
		m.token = (struct span){0};
		m.token_source = TOKEN_SOURCE_NONE;
	}
	r = msg_put_resolved(&b, &m);
	if (r == 0)
		r = chan_send(worker->chan, MSG_RESOLVED, buf_span(&b), NULL, 0);
	if (b.data)
		explicit_bzero(b.data, b.cap);
	if (token.len > 0)
		explicit_bzero((void *)token.p, token.len);
	if (r < 0)
		child_give_up(worker, "does not take answers");
}
