/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* connect.h - what happens to a connect() or sendmsg(): pass, steer or refuse.
 * Used by: steer.bpf.c.
 * Promises: a socket has an origin in its storage exactly when its last connect was steered. */
#ifndef SLUICE_BPF_CONNECT_H
#define SLUICE_BPF_CONNECT_H

#define V4_LOOPBACK bpf_htonl(0x7f000001)
#define V4_MAPPED   bpf_htonl(0x0000ffff)
#define LO_IFINDEX  1 /* of loopback in every network namespace */

/* A gate's answer: refused, passed untouched, or steered to (family << 16 | port). */
enum gate {
	GATE_REFUSE = -1,
	GATE_PASS = 0,
};

/* Loopback, or the unspecified address, which the kernel takes for it. */
static __always_inline bool target_is_loopback(const struct target *t)
{
	if (t->family == AF_INET)
		return !t->addr[0] || (t->addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !t->addr[0] && !t->addr[1] && !t->addr[2] &&
	       (!t->addr[3] || t->addr[3] == bpf_htonl(1));
}

/* In a namespace of its own, loopback is the workload itself. In the node's, it reaches others. */
static __always_inline bool target_is_own(const struct target *t, const struct sluice_control *c)
{
	if (!target_is_loopback(t) || !c)
		return false;
	return t->netns_cookie != c->host_netns_cookie &&
	       t->netns_cookie != bpf_get_netns_cookie(NULL);
}

static __always_inline bool heartbeat_stale(const struct sluice_control *c)
{
	__u64 now;

	if (!c)
		return true;
	if (!c->heartbeat_max_ns)
		return false;
	now = bpf_ktime_get_boot_ns();
	return now > c->heartbeat_ns && now - c->heartbeat_ns > c->heartbeat_max_ns;
}

/* Would packets to loopback leave by another way? Source routes (which need no privilege) put
 * their first hop in the destination's place; a socket bound to a device is routed by it. */
static __always_inline bool socket_misrouted(struct bpf_sock *sk, struct tcp_sock *tp)
{
	struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	struct ip_options_rcu *opt4 = inet->inet_opt;
	struct ipv6_pinfo *np = inet->pinet6;

	if (sk->bound_dev_if && sk->bound_dev_if != LO_IFINDEX)
		return true;
	if (opt4 && opt4->opt.srr)
		return true;
	if (np) {
		struct ipv6_txoptions *opt6 = np->opt;

		if (opt6 && opt6->srcrt)
			return true;
	}
	return false;
}

static __always_inline int gate_refuse(struct bpf_sock_addr *ctx, struct task_struct *task,
				       const struct target *t, __u32 reason, int err)
{
	if (ctx->sk)
		bpf_sk_storage_delete(&sockets, ctx->sk);
	refuse(task, t, reason, err);
	return GATE_REFUSE;
}

static __always_inline int gate_pass(struct bpf_sock_addr *ctx)
{
	if (ctx->sk)
		bpf_sk_storage_delete(&sockets, ctx->sk);
	return GATE_PASS;
}

/* Keep origin and identity with the socket. */
static __always_inline int gate_steer(struct bpf_sock_addr *ctx, struct task_struct *task,
				      const struct target *t, const struct sluice_listener *l)
{
	struct sluice_sock *s;
	__u32 family = AF_INET;
	__u32 port = l->port4;

	/* An IPv6 socket reaches the IPv4 listener as ::ffff:127.0.0.1. */
	if (t->family == AF_INET6 && l->port6) {
		family = AF_INET6;
		port = l->port6;
	}
	if (!port)
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_LISTENER, ECONNREFUSED);
	s = bpf_sk_storage_get(&sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_FULL, ECONNREFUSED);
	origin_set_task(&s->origin, task);
	origin_set_target(&s->origin, t);
	s->side = SLUICE_SOCK_CONNECTING;
	s->family = family;
	count(SLUICE_COUNT_STEERED);
	return (int)(family << 16 | port);
}

static __noinline int gate_connect(struct bpf_sock_addr *ctx, struct target *t)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct sluice_control *c = control_get();
	struct sluice_listener *l;
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp;
	int rule;

	if (!sk)
		return GATE_REFUSE;
	tp = bpf_skc_to_tcp_sock(sk);
	rule = task_socket_rule(task, tp);
	if (rule < RULE_GOVERNED)
		return gate_pass(ctx);
	t->netns_cookie = bpf_get_netns_cookie(ctx);
	if (rule == RULE_UNKNOWN)
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_UNKNOWN, ECONNREFUSED);
	l = bpf_map_lookup_elem(&listeners, &t->netns_cookie);
	if (ctx->protocol == IPPROTO_UDP)
		return target_is_own(t, c)
			       ? gate_pass(ctx)
			       : gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_PROTOCOL, EPERM);
	if (ctx->protocol != IPPROTO_TCP || !tp)
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_PROTOCOL, EPERM);
	if (target_is_own(t, c)) {
		if (l && (t->port == l->port4 || t->port == l->port6))
			return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_DIRECT, ECONNREFUSED);
		return gate_pass(ctx);
	}
	if (socket_misrouted(sk, tp))
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_ROUTE, EPERM);
	if (heartbeat_stale(c))
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_HEARTBEAT, ECONNREFUSED);
	if (!l)
		return gate_refuse(ctx, task, t, SLUICE_COUNT_REFUSED_LISTENER, ECONNREFUSED);
	return gate_steer(ctx, task, t, l);
}

/* An unconnected datagram: only to itself. Returns what the program is to return. */
static __noinline int gate_sendmsg(struct bpf_sock_addr *ctx, struct target *t)
{
	struct task_struct *task = bpf_get_current_task_btf();
	int rule = task_rule(task);

	if (rule < RULE_GOVERNED)
		return 1;
	t->netns_cookie = bpf_get_netns_cookie(ctx);
	if (rule == RULE_UNKNOWN)
		return refuse(task, t, SLUICE_COUNT_REFUSED_UNKNOWN, EPERM);
	if (ctx->protocol == IPPROTO_UDP && target_is_own(t, control_get()))
		return 1;
	return refuse(task, t, SLUICE_COUNT_REFUSED_PROTOCOL, EPERM);
}

#endif
