/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* handover.h - origin and identity travel from the connecting socket to the accepted one.
 * Used by: steer.bpf.c (sockops).
 * Promises: an entry of `tuples` is gone when the listener's side is established or the connecting
 * socket is closed, whichever is first. accept() cannot return before the hand-over: the kernel
 * holds the new socket's lock from its making to the end of the callback. */
#ifndef SLUICE_BPF_HANDOVER_H
#define SLUICE_BPF_HANDOVER_H

/* A context field is read where it is written and nowhere else: merged by the compiler, two reads
 * become one through a computed context pointer, which the verifier refuses. */
#define CTX_READ(field) (*(const volatile __u32 *)&(field))

static __always_inline void ip6_read(__u8 dst[16], const __u32 *ip4, const __u32 *ip6)
{
	__u32 *w = (__u32 *)dst;

	if (ip4) {
		w[0] = CTX_READ(*ip4);
		return;
	}
	w[0] = CTX_READ(ip6[0]);
	w[1] = CTX_READ(ip6[1]);
	w[2] = CTX_READ(ip6[2]);
	w[3] = CTX_READ(ip6[3]);
}

/* The context's remote port, in network order as a 16 bit number. */
static __always_inline __u16 remote_port(struct bpf_sock_ops *ctx)
{
	return bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
}

/* Both take a zeroed tuple. */
static __always_inline void tuple_connecting(struct bpf_sock_ops *ctx, __u32 family,
					     struct sluice_tuple *t)
{
	t->netns_cookie = bpf_get_netns_cookie(ctx);
	t->family = family;
	t->sport = bpf_htons((__u16)ctx->local_port);
	t->dport = remote_port(ctx);
	if (family == AF_INET) { /* also an IPv6 socket that goes to a mapped address */
		ip6_read(t->saddr, &ctx->local_ip4, NULL);
		ip6_read(t->daddr, &ctx->remote_ip4, NULL);
	} else {
		ip6_read(t->saddr, NULL, ctx->local_ip6);
		ip6_read(t->daddr, NULL, ctx->remote_ip6);
	}
}

static __always_inline void tuple_accepted(struct bpf_sock_ops *ctx, __u64 cookie,
					   struct sluice_tuple *t)
{
	t->netns_cookie = cookie;
	t->family = ctx->family;
	t->sport = remote_port(ctx);
	t->dport = bpf_htons((__u16)ctx->local_port);
	if (ctx->family == AF_INET) {
		ip6_read(t->saddr, &ctx->remote_ip4, NULL);
		ip6_read(t->daddr, &ctx->local_ip4, NULL);
	} else {
		ip6_read(t->saddr, NULL, ctx->remote_ip6);
		ip6_read(t->daddr, NULL, ctx->local_ip6);
	}
}

static __always_inline struct sluice_sock *connecting_socket(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sluice_sock *s;

	if (!sk)
		return NULL;
	s = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	return s && s->side == SLUICE_SOCK_CONNECTING ? s : NULL;
}

/* Before the SYN leaves. With no entry the listener's side finds no origin, and is refused. */
static __noinline int handover_publish(struct bpf_sock_ops *ctx)
{
	struct sluice_sock *s = connecting_socket(ctx);
	struct sluice_tuple t = {};

	if (!s)
		return 0;
	tuple_connecting(ctx, s->family, &t);
	if (bpf_map_update_elem(&tuples, &t, &s->origin, BPF_ANY) < 0)
		count(SLUICE_COUNT_REFUSED_FULL);
	bpf_sock_ops_cb_flags_set(ctx,
				  (int)(ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG));
	return 0;
}

/* The connecting socket reached CLOSE: whatever it published and nobody took goes. */
static __noinline int handover_forget(struct bpf_sock_ops *ctx)
{
	struct sluice_sock *s = connecting_socket(ctx);
	struct sluice_tuple t = {};

	if (!s)
		return 0;
	tuple_connecting(ctx, s->family, &t);
	bpf_map_delete_elem(&tuples, &t);
	return 0;
}

static __noinline int handover_take(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct sluice_listener *l = bpf_map_lookup_elem(&listeners, &cookie);
	__u16 port = bpf_htons((__u16)ctx->local_port);
	struct bpf_sock *sk = ctx->sk;
	struct sluice_tuple t = {};
	struct sluice_origin *o;
	struct sluice_sock *s;

	if (!l || !sk || port != (ctx->family == AF_INET ? l->port4 : l->port6))
		return 0;
	tuple_accepted(ctx, cookie, &t);
	o = bpf_map_lookup_elem(&tuples, &t);
	if (!o) {
		count(SLUICE_COUNT_ORPHAN);
		return 0;
	}
	s = bpf_sk_storage_get(&sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		count(SLUICE_COUNT_REFUSED_FULL);
	} else {
		s->origin = *o;
		s->family = ctx->family;
		s->side = SLUICE_SOCK_ACCEPTED;
		count(SLUICE_COUNT_HANDED_OVER);
	}
	bpf_map_delete_elem(&tuples, &t);
	return 0;
}

#endif
