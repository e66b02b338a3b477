/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* abi.h - what the kernel side and the user side say to each other through maps.
 * Used by: bpf/, userspace/kernel/, and whoever reads an origin. Fixed-width types only.
 * Promises: the same layout in both; ABI_VERSION changes when any of it does. */
#ifndef SLUICE_BPF_ABI_H
#define SLUICE_BPF_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define SLUICE_ABI_VERSION 1

/* Identity of a process as the kernel keeps it: pid reuse and exec both change it. */
struct sluice_proc_key {
	__u32 tgid;
	__u32 self_exec_id;
	__u64 start_boottime; /* ns since boot, of the thread group leader */
};

/* Where a governed connect() wanted to go, and who called it. Value of the socket storage and of
 * the tuple map. Addresses in network byte order; an IPv4 address is the first 4 bytes of addr. */
struct sluice_origin {
	struct sluice_proc_key proc;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__u32 gid;
	__u64 exe_ino;
	__u32 exe_dev; /* kernel's encoding: major << 20 | minor */
	__u32 pid_ns;
	__u32 mnt_ns;
	__u32 net_ns;
	__u32 user_ns;
	__u16 family; /* AF_INET or AF_INET6: of the address asked for, v4-mapped already unmapped
		       */
	__u16 port;   /* network byte order */
	__u8 addr[16];
	__u64 cgroup_id; /* of the task that called connect */
	__u64 netns_cookie;
	__u64 connect_ns; /* boottime clock */
	__u8 v4_mapped;	  /* 1: asked for as ::ffff:a.b.c.d on an IPv6 socket */
	__u8 pad_[7];
	char comm[16];
};

/* sk-storage of a governed socket whose connect() was rewritten, and of the accepted one. */
enum sluice_sock_side {
	SLUICE_SOCK_CONNECTING = 1,
	SLUICE_SOCK_ACCEPTED = 2,
};

struct sluice_sock {
	struct sluice_origin origin;
	__u32 side;
	__u32 family; /* AF_INET or AF_INET6: of the listener it was steered to */
};

/* Key of the hand-over map: written before the SYN leaves, taken when the listener's side is
 * established. Seen from the connecting side. */
struct sluice_tuple {
	__u64 netns_cookie;
	__u8 saddr[16];
	__u8 daddr[16];
	__u16 sport; /* network byte order */
	__u16 dport; /* network byte order */
	__u32 family;
};

/* Map `scopes`: cgroup id of the top of a governed subtree -> 1. */
/* Map `cgroups`: cgroup id -> one of these. Of a cgroup and its ancestors up to the scope's top,
 * the nearest entry holds; none: refused. An entry above a scope means nothing below it. */
enum sluice_cgroup_state {
	SLUICE_CGROUP_GOVERNED = 1,
	SLUICE_CGROUP_EXEMPT = 2, /* the enforcer's own */
};

/* Map `listeners`: network namespace cookie -> ports (network byte order) of the enforcer in it;
 * 0: none of that family. */
struct sluice_listener {
	__u16 port4;
	__u16 port6;
	__u32 pad_;
};

/* Map `control`, key 0. */
struct sluice_control {
	__u64 heartbeat_ns;	 /* boottime clock, written by the warden */
	__u64 heartbeat_max_ns;	 /* older than this: refuse; 0: no check */
	__u64 host_netns_cookie; /* the node's own namespace: loopback in it is governed */
	__u32 abi_version;
	__u32 pad_;
};

/* Map `counters` (per-cpu array). */
enum sluice_counter {
	SLUICE_COUNT_STEERED,
	SLUICE_COUNT_REFUSED_UNKNOWN,	/* below a scope, cgroup not enrolled */
	SLUICE_COUNT_REFUSED_LISTENER,	/* no listener in this network namespace yet */
	SLUICE_COUNT_REFUSED_HEARTBEAT, /* enforcer silent */
	SLUICE_COUNT_REFUSED_PROTOCOL,	/* UDP, raw and the like */
	SLUICE_COUNT_REFUSED_BIND,
	SLUICE_COUNT_REFUSED_FULL,    /* a map refused an entry */
	SLUICE_COUNT_HANDED_OVER,     /* origins moved to an accepted socket */
	SLUICE_COUNT_ORPHAN,	      /* accepted with no origin */
	SLUICE_COUNT_EVENTS_LOST,     /* ring buffer full: rescan cgroups and processes */
	SLUICE_COUNT_REFUSED_DIRECT,  /* connect straight to the enforcer's port */
	SLUICE_COUNT_REFUSED_ROUTE,   /* source route or device bound: would miss the listener */
	SLUICE_COUNT_REFUSALS_UNTOLD, /* refused, but the ring buffer was kept for lifecycle events
				       */
	SLUICE_COUNT_MAX,
};

/* Ring buffer `events`. */
enum sluice_kevent_type {
	SLUICE_KEV_EXEC = 1,
	SLUICE_KEV_EXIT,
	SLUICE_KEV_FORK,
	SLUICE_KEV_CGROUP_NEW, /* a cgroup was made below a scope */
	SLUICE_KEV_CGROUP_GONE,
	SLUICE_KEV_ATTACH,  /* a task moved into a cgroup below a scope */
	SLUICE_KEV_REFUSED, /* a connect, bind, sendmsg or socket was refused: see reason */
};

/* Refusals are told only while the ring buffer is less than half full, so that a refused workload
 * cannot crowd out the others; they are always counted. */
struct sluice_kevent {
	__u32 type;
	__u32 reason;		  /* enum sluice_counter for SLUICE_KEV_REFUSED */
	__u64 time_ns;		  /* boottime clock */
	__u64 cgroup_id;	  /* CGROUP_*: the cgroup's; ATTACH: where it went; else who's */
	__u64 netns_cookie;	  /* SLUICE_KEV_REFUSED only; 0: not known (a socket being made) */
	struct sluice_origin who; /* address fields only for SLUICE_KEV_REFUSED */
};

#endif
