#include "ipc/msg.h"

/* Integers are big endian; bool is 0 or 1; a string of bytes is its length (u32) and the bytes; a
 * C string that may be missing is 0, or 1 and the string with its NUL. */

static int put_bytes(struct buf *b, struct span s)
{
	if (s.len > UINT32_MAX)
		return -ENOBUFS;
	(void)buf_put_be32(b, (uint32_t)s.len);
	return buf_put_span(b, s);
}

static int get_bytes(struct cursor *c, struct span *ret)
{
	uint32_t len;

	if (cursor_be32(c, &len) < 0)
		return -EBADMSG;
	return cursor_span(c, len, ret);
}

static int get_bool(struct cursor *c, bool *ret)
{
	uint8_t v;

	if (cursor_u8(c, &v) < 0 || v > 1)
		return -EBADMSG;
	*ret = v == 1;
	return 0;
}

static int get_end(const struct cursor *c)
{
	return cursor_left(c) == 0 ? 0 : -EBADMSG;
}

/* A value from 1 to below end. */
static int get_enum(struct cursor *c, uint8_t end, uint8_t *ret)
{
	uint8_t v;

	if (cursor_u8(c, &v) < 0 || v == 0 || v >= end)
		return -EBADMSG;
	*ret = v;
	return 0;
}

static int put_i32(struct buf *b, int32_t v)
{
	return buf_put_be32(b, (uint32_t)v);
}

static int get_i32(struct cursor *c, int32_t *ret)
{
	uint32_t v;

	if (cursor_be32(c, &v) < 0)
		return -EBADMSG;
	*ret = (int32_t)v;
	return 0;
}

static int get_array(struct cursor *c, void *to, size_t n)
{
	struct span s;

	if (cursor_span(c, n, &s) < 0)
		return -EBADMSG;
	memcpy(to, s.p, n);
	return 0;
}

static int put_opt(struct buf *b, const char *s)
{
	if (!s)
		return buf_put_u8(b, 0);
	(void)buf_put_u8(b, 1);
	return buf_put_cstr(b, s);
}

static int get_opt(struct cursor *c, struct arena *arena, const char **ret)
{
	const char *copy = NULL;
	struct span s;
	bool there;

	if (get_bool(c, &there) < 0)
		return -EBADMSG;
	if (there) {
		if (cursor_cstr(c, &s) < 0)
			return -EBADMSG;
		copy = arena_strndup(arena, s);
		if (!copy)
			return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static int put_id(struct buf *b, const char *id)
{
	struct span s = span_of(id, strnlen(id, APPROVAL_ID_MAX - 1));

	(void)buf_put_span(b, s);
	return buf_put_u8(b, 0);
}

static int get_id(struct cursor *c, char ret[static APPROVAL_ID_MAX])
{
	struct span s;

	if (cursor_cstr(c, &s) < 0 || s.len >= APPROVAL_ID_MAX)
		return -EBADMSG;
	memset(ret, 0, APPROVAL_ID_MAX);
	memcpy(ret, s.p, s.len);
	return 0;
}

int msg_put_strings(struct buf *b, const char *const *strings, size_t n)
{
	int r = buf_error(b);

	for (size_t i = 0; i < n; i++)
		r = buf_put_cstr(b, strings[i]);
	return r;
}

int msg_next_string(struct span *sequence, const char **ret_string)
{
	struct cursor c = cursor_of(*sequence);
	struct span s;

	if (sequence->len == 0)
		return -ENODATA;
	if (cursor_cstr(&c, &s) < 0)
		return -EBADMSG;
	*sequence = cursor_rest(&c);
	*ret_string = (const char *)s.p;
	return 0;
}

/* Groups: each string ended, no more of them than a principal may have. */
static int get_strings(struct cursor *c, struct span *ret)
{
	const char *string;
	struct span all;
	struct span rest;

	if (get_bytes(c, &all) < 0)
		return -EBADMSG;
	rest = all;
	for (size_t n = 0; rest.len > 0; n++)
		if (n == GROUPS_MAX || msg_next_string(&rest, &string) < 0)
			return -EBADMSG;
	*ret = all;
	return 0;
}

static int put_kernel_part(struct buf *b, const struct process *p)
{
	(void)buf_put_be32(b, p->key.tgid);
	(void)buf_put_be32(b, p->key.self_exec_id);
	(void)buf_put_be64(b, p->key.start_boottime);
	(void)buf_put_be32(b, p->ppid);
	(void)buf_put_be32(b, p->uid);
	(void)buf_put_be32(b, p->gid);
	(void)buf_put(b, p->comm, sizeof(p->comm));
	(void)buf_put_be64(b, p->exe_ino);
	(void)buf_put_be32(b, p->exe_dev);
	(void)buf_put_be64(b, p->cgroup_id);
	return buf_put_be64(b, p->netns_cookie);
}

static int get_kernel_part(struct cursor *c, struct process *p)
{
	if (cursor_be32(c, &p->key.tgid) < 0 || cursor_be32(c, &p->key.self_exec_id) < 0 ||
	    cursor_be64(c, &p->key.start_boottime) < 0 || cursor_be32(c, &p->ppid) < 0 ||
	    cursor_be32(c, &p->uid) < 0 || cursor_be32(c, &p->gid) < 0 ||
	    get_array(c, p->comm, sizeof(p->comm)) < 0 || cursor_be64(c, &p->exe_ino) < 0 ||
	    cursor_be32(c, &p->exe_dev) < 0 || cursor_be64(c, &p->cgroup_id) < 0 ||
	    cursor_be64(c, &p->netns_cookie) < 0)
		return -EBADMSG;
	p->comm[sizeof(p->comm) - 1] = '\0';
	return 0;
}

static int put_proc_part(struct buf *b, const struct process *p)
{
	size_t n = MIN(p->n_ancestors, (size_t)ANCESTORS_MAX);

	(void)buf_put_u8(b, p->has_proc);
	(void)put_opt(b, p->exe);
	(void)put_opt(b, p->args);
	(void)put_opt(b, p->cgroup);
	(void)put_opt(b, p->container);
	(void)buf_put_u8(b, p->has_sha256);
	(void)buf_put(b, p->exe_sha256, sizeof(p->exe_sha256));
	(void)buf_put_u8(b, (uint8_t)n);
	for (size_t i = 0; i < n; i++) {
		(void)buf_put_be32(b, p->ancestors[i].pid);
		(void)put_opt(b, p->ancestors[i].exe);
		(void)buf_put_u8(b, p->ancestors[i].has_sha256);
		(void)buf_put(b, p->ancestors[i].exe_sha256, SHA256_LEN);
	}
	return buf_error(b);
}

static int get_ancestor(struct cursor *c, struct arena *arena, struct ancestor *a)
{
	int r;

	if (cursor_be32(c, &a->pid) < 0)
		return -EBADMSG;
	r = get_opt(c, arena, &a->exe);
	if (r < 0)
		return r;
	if (get_bool(c, &a->has_sha256) < 0 || get_array(c, a->exe_sha256, SHA256_LEN) < 0)
		return -EBADMSG;
	return 0;
}

static int get_proc_part(struct cursor *c, struct arena *arena, struct process *p)
{
	const char **strings[] = {&p->exe, &p->args, &p->cgroup, &p->container};
	uint8_t n;
	int r;

	if (get_bool(c, &p->has_proc) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		r = get_opt(c, arena, strings[i]);
		if (r < 0)
			return r;
	}
	if (get_bool(c, &p->has_sha256) < 0 || get_array(c, p->exe_sha256, SHA256_LEN) < 0 ||
	    cursor_u8(c, &n) < 0 || n > ANCESTORS_MAX)
		return -EBADMSG;
	p->n_ancestors = n;
	for (size_t i = 0; i < n; i++) {
		r = get_ancestor(c, arena, &p->ancestors[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int msg_put_resolve(struct buf *out, const struct msg_resolve *m)
{
	(void)buf_put_be32(out, m->request);
	return put_kernel_part(out, &m->process);
}

int msg_get_resolve(struct span in, struct msg_resolve *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_resolve m = {0};

	if (cursor_be32(&c, &m.request) < 0 || get_kernel_part(&c, &m.process) < 0 ||
	    get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_resolved(struct buf *out, const struct msg_resolved *m)
{
	(void)buf_put_be32(out, m->request);
	(void)buf_put_u8(out, m->status);
	(void)buf_put_be16(out, m->workload);
	(void)put_kernel_part(out, &m->process);
	(void)put_proc_part(out, &m->process);
	(void)buf_put_u8(out, m->token_source);
	(void)put_i32(out, m->token_errno);
	return put_bytes(out, m->token);
}

int msg_get_resolved(struct span in, struct arena *arena, struct msg_resolved *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_resolved m = {0};
	struct span token;
	int r;

	if (cursor_be32(&c, &m.request) < 0 || cursor_u8(&c, &m.status) < 0 ||
	    m.status > RESOLVE_NO_WORKLOAD || cursor_be16(&c, &m.workload) < 0 ||
	    get_kernel_part(&c, &m.process) < 0)
		return -EBADMSG;
	r = get_proc_part(&c, arena, &m.process);
	if (r < 0)
		return r;
	if (cursor_u8(&c, &m.token_source) < 0 || m.token_source > TOKEN_SOURCE_FAILED ||
	    get_i32(&c, &m.token_errno) < 0 || get_bytes(&c, &token) < 0 ||
	    token.len > TOKEN_BYTES_MAX || get_end(&c) < 0)
		return -EBADMSG;
	if (token.len > 0) {
		m.token = arena_dup(arena, token);
		if (!m.token.p)
			return -ENOMEM;
	}
	*ret = m;
	return 0;
}

int msg_put_cancel(struct buf *out, const struct msg_cancel *m)
{
	(void)buf_put_be32(out, m->pid);
	(void)buf_put_be32(out, m->secret);
	(void)buf_put_be64(out, m->cgroup_id);
	return buf_put_be64(out, m->netns_cookie);
}

int msg_get_cancel(struct span in, struct msg_cancel *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_cancel m = {0};

	if (cursor_be32(&c, &m.pid) < 0 || cursor_be32(&c, &m.secret) < 0 ||
	    cursor_be64(&c, &m.cgroup_id) < 0 || cursor_be64(&c, &m.netns_cookie) < 0 ||
	    get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_listener(struct buf *out, const struct msg_listener *m)
{
	(void)buf_put_be64(out, m->netns_cookie);
	(void)buf_put_u8(out, m->has4);
	return buf_put_u8(out, m->has6);
}

int msg_get_listener(struct span in, struct msg_listener *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_listener m = {0};

	if (cursor_be64(&c, &m.netns_cookie) < 0 || get_bool(&c, &m.has4) < 0 ||
	    get_bool(&c, &m.has6) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_event(struct buf *out, const struct msg_event *m)
{
	(void)buf_put_be64(out, m->request);
	(void)buf_put_u8(out, m->kind);
	(void)buf_put_u8(out, m->durable);
	return put_bytes(out, m->body);
}

int msg_next_event(struct span *sequence, struct msg_event *ret)
{
	struct cursor c = cursor_of(*sequence);
	struct msg_event m = {0};

	if (sequence->len == 0)
		return -ENODATA;
	if (cursor_be64(&c, &m.request) < 0 || get_enum(&c, EVENT_KIND_MAX, &m.kind) < 0 ||
	    get_bool(&c, &m.durable) < 0 || get_bytes(&c, &m.body) < 0)
		return -EBADMSG;
	*sequence = cursor_rest(&c);
	*ret = m;
	return 0;
}

int msg_put_event_ack(struct buf *out, const struct msg_event_ack *m)
{
	(void)buf_put_be64(out, m->request);
	(void)put_i32(out, m->error);
	return buf_put_be64(out, m->seq);
}

int msg_get_event_ack(struct span in, struct msg_event_ack *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_event_ack m = {0};

	if (cursor_be64(&c, &m.request) < 0 || get_i32(&c, &m.error) < 0 ||
	    cursor_be64(&c, &m.seq) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_ask(struct buf *out, const struct msg_approval_ask *m)
{
	(void)buf_put_be64(out, m->request);
	(void)buf_put(out, m->digest, sizeof(m->digest));
	(void)buf_put_be32(out, m->wait_s);
	(void)buf_put_be32(out, m->valid_s);
	(void)put_bytes(out, m->groups);
	return put_bytes(out, m->body);
}

int msg_get_approval_ask(struct span in, struct msg_approval_ask *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_ask m = {0};

	if (cursor_be64(&c, &m.request) < 0 || get_array(&c, m.digest, sizeof(m.digest)) < 0 ||
	    cursor_be32(&c, &m.wait_s) < 0 || cursor_be32(&c, &m.valid_s) < 0 ||
	    get_strings(&c, &m.groups) < 0 || get_bytes(&c, &m.body) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_state(struct buf *out, const struct msg_approval_state *m)
{
	(void)buf_put_be64(out, m->request);
	(void)put_id(out, m->id);
	(void)buf_put_u8(out, m->state);
	(void)put_i32(out, m->error);
	(void)put_bytes(out, m->by);
	return put_bytes(out, m->why);
}

int msg_get_approval_state(struct span in, struct msg_approval_state *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_state m = {0};

	if (cursor_be64(&c, &m.request) < 0 || get_id(&c, m.id) < 0 ||
	    cursor_u8(&c, &m.state) < 0 || m.state >= APPROVAL_STATES ||
	    get_i32(&c, &m.error) < 0 || get_bytes(&c, &m.by) < 0 || get_bytes(&c, &m.why) < 0 ||
	    get_end(&c) < 0)
		return -EBADMSG;
	if (m.state == 0 && m.error == 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_ref(struct buf *out, const struct msg_approval_ref *m)
{
	(void)buf_put_be64(out, m->request);
	return put_id(out, m->id);
}

int msg_get_approval_ref(struct span in, struct msg_approval_ref *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_ref m = {0};

	if (cursor_be64(&c, &m.request) < 0 || get_id(&c, m.id) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_decide(struct buf *out, const struct msg_approval_decide *m)
{
	(void)buf_put_be32(out, m->request);
	(void)put_id(out, m->id);
	(void)buf_put_u8(out, m->approve);
	(void)put_bytes(out, m->by);
	(void)put_bytes(out, m->groups);
	(void)put_bytes(out, m->digest);
	return put_bytes(out, m->reason);
}

int msg_get_approval_decide(struct span in, struct msg_approval_decide *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_decide m = {0};

	if (cursor_be32(&c, &m.request) < 0 || get_id(&c, m.id) < 0 ||
	    get_bool(&c, &m.approve) < 0 || get_bytes(&c, &m.by) < 0 ||
	    get_strings(&c, &m.groups) < 0 || get_bytes(&c, &m.digest) < 0 ||
	    get_bytes(&c, &m.reason) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_decided(struct buf *out, const struct msg_approval_decided *m)
{
	(void)buf_put_be32(out, m->request);
	(void)buf_put_u8(out, m->state);
	(void)buf_put_u8(out, m->done);
	return put_bytes(out, m->text);
}

int msg_get_approval_decided(struct span in, struct msg_approval_decided *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_decided m = {0};

	/* State 0: there is no such approval. */
	if (cursor_be32(&c, &m.request) < 0 || cursor_u8(&c, &m.state) < 0 ||
	    m.state >= APPROVAL_STATES || get_bool(&c, &m.done) < 0 || get_bytes(&c, &m.text) < 0 ||
	    get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_worker_add(struct buf *out, const struct msg_worker_add *m)
{
	return buf_put_be32(out, m->index);
}

int msg_get_worker_add(struct span in, struct msg_worker_add *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_worker_add m = {0};

	if (cursor_be32(&c, &m.index) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_list_get(struct buf *out, const struct msg_approval_list_get *m)
{
	(void)buf_put_be32(out, m->request);
	return put_id(out, m->id);
}

int msg_get_approval_list_get(struct span in, struct msg_approval_list_get *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_list_get m = {0};

	if (cursor_be32(&c, &m.request) < 0 || get_id(&c, m.id) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_approval_list(struct buf *out, const struct msg_approval_list *m)
{
	(void)buf_put_be32(out, m->request);
	(void)buf_put_be32(out, m->more);
	return put_bytes(out, m->body);
}

int msg_get_approval_list(struct span in, struct msg_approval_list *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_approval_list m = {0};

	if (cursor_be32(&c, &m.request) < 0 || cursor_be32(&c, &m.more) < 0 ||
	    get_bytes(&c, &m.body) < 0 || get_end(&c) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int msg_put_tls_identity(struct buf *out, const struct msg_tls_identity *m)
{
	(void)buf_put_be32(out, m->resource);
	(void)put_bytes(out, m->cert_pem);
	return put_bytes(out, m->key_pem);
}

int msg_get_tls_identity(struct span in, struct msg_tls_identity *ret)
{
	struct cursor c = cursor_of(in);
	struct msg_tls_identity m = {0};

	if (cursor_be32(&c, &m.resource) < 0 || get_bytes(&c, &m.cert_pem) < 0 ||
	    get_bytes(&c, &m.key_pem) < 0 || get_end(&c) < 0 || m.cert_pem.len > MSG_PEM_MAX ||
	    m.key_pem.len > MSG_PEM_MAX)
		return -EBADMSG;
	*ret = m;
	return 0;
}
