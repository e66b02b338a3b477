/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* steer.bpf.c - the programs: one line of attachment each, the work is in the headers.
 * Used by: userspace/kernel/, which loads them and attaches them at the root of cgroup v2.
 * Promises: what is below no scope is untouched; what is below one reaches only the enforcer. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "abi.h"

#define AF_INET	 2
#define AF_INET6 10

#define SOCK_STREAM 1
#define SOCK_DGRAM  2

#define IPPROTO_TCP   6
#define IPPROTO_UDP   17
#define IPPROTO_SCTP  132
#define IPPROTO_MPTCP 262

#define EPERM		1
#define EADDRINUSE	98
#define EPROTONOSUPPORT 93
#define ECONNREFUSED	111

#include "maps.h"
#include "govern.h"
#include "origin.h"
#include "connect.h"
#include "handover.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline void target_from4(struct target *t, struct bpf_sock_addr *ctx)
{
	t->family = AF_INET;
	t->addr[0] = ctx->user_ip4;
	t->port = (__u16)ctx->user_port;
}

/* ::ffff:a.b.c.d is a.b.c.d from here on. */
static __always_inline void target_from6(struct target *t, struct bpf_sock_addr *ctx)
{
	t->family = AF_INET6;
	t->addr[0] = ctx->user_ip6[0];
	t->addr[1] = ctx->user_ip6[1];
	t->addr[2] = ctx->user_ip6[2];
	t->addr[3] = ctx->user_ip6[3];
	t->port = (__u16)ctx->user_port;
	if (!t->addr[0] && !t->addr[1] && t->addr[2] == V4_MAPPED) {
		t->family = AF_INET;
		t->v4_mapped = 1;
		t->addr[0] = t->addr[3];
		t->addr[2] = 0;
		t->addr[3] = 0;
	}
}

SEC("cgroup/connect4")
int sluice_connect4(struct bpf_sock_addr *ctx)
{
	struct target t = {};
	int to;

	target_from4(&t, ctx);
	to = gate_connect(ctx, &t);
	if (to == GATE_REFUSE)
		return 0;
	if (to != GATE_PASS) {
		ctx->user_ip4 = V4_LOOPBACK;
		ctx->user_port = to & 0xffff;
	}
	return 1;
}

SEC("cgroup/connect6")
int sluice_connect6(struct bpf_sock_addr *ctx)
{
	struct target t = {};
	int to;

	target_from6(&t, ctx);
	to = gate_connect(ctx, &t);
	if (to == GATE_REFUSE)
		return 0;
	if (to != GATE_PASS) {
		bool v6 = to >> 16 == AF_INET6;

		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = v6 ? 0 : V4_MAPPED;
		ctx->user_ip6[3] = v6 ? bpf_htonl(1) : V4_LOOPBACK;
		ctx->user_port = to & 0xffff;
	}
	return 1;
}

SEC("cgroup/sendmsg4")
int sluice_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct target t = {};

	target_from4(&t, ctx);
	return gate_sendmsg(ctx, &t);
}

SEC("cgroup/sendmsg6")
int sluice_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct target t = {};

	target_from6(&t, ctx);
	return gate_sendmsg(ctx, &t);
}

static __always_inline struct sluice_sock *steered(struct bpf_sock_addr *ctx)
{
	struct sluice_sock *s;

	if (!ctx->sk)
		return NULL;
	s = bpf_sk_storage_get(&sockets, ctx->sk, NULL, 0);
	return s && s->side == SLUICE_SOCK_CONNECTING ? s : NULL;
}

SEC("cgroup/getpeername4")
int sluice_getpeer4(struct bpf_sock_addr *ctx)
{
	struct sluice_sock *s = steered(ctx);

	if (s && s->origin.family == AF_INET) {
		ctx->user_ip4 = *(__u32 *)s->origin.addr;
		ctx->user_port = s->origin.port;
	}
	return 1;
}

SEC("cgroup/getpeername6")
int sluice_getpeer6(struct bpf_sock_addr *ctx)
{
	struct sluice_sock *s = steered(ctx);
	__u32 *addr;
	bool mapped;

	if (!s)
		return 1;
	addr = (__u32 *)s->origin.addr;
	mapped = s->origin.family == AF_INET;
	ctx->user_ip6[0] = mapped ? 0 : addr[0];
	ctx->user_ip6[1] = mapped ? 0 : addr[1];
	ctx->user_ip6[2] = mapped ? V4_MAPPED : addr[2];
	ctx->user_ip6[3] = mapped ? addr[0] : addr[3];
	ctx->user_port = s->origin.port;
	return 1;
}

/* The listener's port is the enforcer's alone, on every address of the namespace: a process of the
 * same uid could otherwise join it by SO_REUSEPORT, or take it over when the enforcer is down. */
static __noinline int gate_bind(struct bpf_sock_addr *ctx, struct target *t)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sluice_listener *l;

	if (!t->port || ctx->type != SOCK_STREAM)
		return 1;
	t->netns_cookie = bpf_get_netns_cookie(ctx);
	l = bpf_map_lookup_elem(&listeners, &t->netns_cookie);
	if (!l || (t->port != l->port4 && t->port != l->port6))
		return 1;
	if (task_rule(task) == RULE_EXEMPT)
		return 1;
	return refuse(task, t, SLUICE_COUNT_REFUSED_BIND, EADDRINUSE);
}

SEC("cgroup/bind4")
int sluice_bind4(struct bpf_sock_addr *ctx)
{
	struct target t = {};

	target_from4(&t, ctx);
	return gate_bind(ctx, &t);
}

SEC("cgroup/bind6")
int sluice_bind6(struct bpf_sock_addr *ctx)
{
	struct target t = {};

	target_from6(&t, ctx);
	return gate_bind(ctx, &t);
}

/* Below a scope there is TCP, and UDP to oneself: no raw, ping, SCTP, MPTCP, UDP-Lite, … */
SEC("cgroup/sock_create")
int sluice_sock(struct bpf_sock *ctx)
{
	struct task_struct *task;
	int err = EPERM;

	if (ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP)
		return 1;
	if (ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP)
		return 1;
	task = bpf_get_current_task_btf();
	if (task_rule(task) < RULE_GOVERNED)
		return 1;
	/* What makes their clients fall back to TCP. */
	if (ctx->protocol == IPPROTO_MPTCP || ctx->protocol == IPPROTO_SCTP)
		err = EPROTONOSUPPORT;
	return refuse(task, NULL, SLUICE_COUNT_REFUSED_PROTOCOL, err);
}

/* The reply is left as other programs set it. */
SEC("sockops")
int sluice_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		handover_publish(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		handover_take(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			handover_forget(ctx);
		break;
	}
	return 1;
}

/* What happens to processes and cgroups below a scope. The enforcer's own is not told. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(sluice_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	if (task_rule(task) >= RULE_GOVERNED)
		event_lifecycle(SLUICE_KEV_EXEC, task, 0);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sluice_fork, struct task_struct *parent, struct task_struct *child)
{
	if (child->pid == child->tgid && task_rule(child) >= RULE_GOVERNED)
		event_lifecycle(SLUICE_KEV_FORK, child, 0);
	return 0;
}

/* Of the last thread. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(sluice_exit, struct task_struct *task)
{
	if (task->signal->live.counter == 0 && task_rule(task) >= RULE_GOVERNED)
		event_lifecycle(SLUICE_KEV_EXIT, task, 0);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(sluice_mkdir, struct cgroup *cgroup, const char *path)
{
	if (cgroup_rule(cgroup) >= RULE_GOVERNED)
		event_lifecycle(SLUICE_KEV_CGROUP_NEW, bpf_get_current_task_btf(), cgroup->kn->id);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(sluice_rmdir, struct cgroup *cgroup, const char *path)
{
	if (cgroup_rule(cgroup) >= RULE_GOVERNED)
		event_lifecycle(SLUICE_KEV_CGROUP_GONE, bpf_get_current_task_btf(), cgroup->kn->id);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(sluice_attach, struct cgroup *cgroup, const char *path, struct task_struct *task,
	     bool threadgroup)
{
	if (cgroup_rule(cgroup) >= RULE_GOVERNED)
		event_lifecycle(SLUICE_KEV_ATTACH, task, cgroup->kn->id);
	return 0;
}
