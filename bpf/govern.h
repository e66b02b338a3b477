/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* govern.h - who is governed: the one place where cgroups are turned into a rule.
 * Used by: every program.
 * Promises: what cannot be told is RULE_UNKNOWN, which is refused. */
#ifndef SLUICE_BPF_GOVERN_H
#define SLUICE_BPF_GOVERN_H

/* In ascending strictness: of two, the greater holds. */
enum rule {
	RULE_PASS,     /* below no scope: not ours */
	RULE_EXEMPT,   /* the enforcer */
	RULE_GOVERNED, /* steered */
	RULE_UNKNOWN,  /* below a scope, not enrolled */
};

/* The kernel sets no limit; runtimes nest about ten deep. Deeper ones are RULE_UNKNOWN. */
#define CGROUP_DEPTH_MAX 64

static __always_inline enum rule rule_of_state(__u32 state)
{
	if (state == SLUICE_CGROUP_GOVERNED)
		return RULE_GOVERNED;
	return state == SLUICE_CGROUP_EXEMPT ? RULE_EXEMPT : RULE_UNKNOWN;
}

/* From the cgroup up to the first scope: the nearest state holds, for it and all it nests. A
 * state counts below a scope only if it was met before the scope's top was passed. */
static __noinline int cgroup_rule(struct cgroup *cg)
{
	__u32 state = 0;
	int i;

	for (i = 0; i < CGROUP_DEPTH_MAX; i++) {
		struct cgroup_subsys_state *parent;
		__u64 id = cg->kn->id;

		if (!id)
			return RULE_UNKNOWN;
		if (!state) {
			__u32 *s = bpf_map_lookup_elem(&cgroups, &id);

			if (s)
				state = *s;
		}
		if (bpf_map_lookup_elem(&scopes, &id))
			return rule_of_state(state);
		parent = cg->self.parent;
		if (!parent)
			return state == SLUICE_CGROUP_EXEMPT ? RULE_EXEMPT : RULE_PASS;
		cg = parent->cgroup;
		if (!cg)
			return RULE_UNKNOWN;
	}
	return RULE_UNKNOWN;
}

static __always_inline __u64 task_cgroup_id(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp->kn->id;
}

static __always_inline int task_rule(struct task_struct *task)
{
	return cgroup_rule(task->cgroups->dfl_cgrp);
}

/* Of a task that uses a socket: the kernel picks programs by the socket's cgroup, and a socket can
 * be handed to a task in another; either one governed is governed. tp may be NULL (not TCP). */
static __always_inline int task_socket_rule(struct task_struct *task, struct tcp_sock *tp)
{
	struct cgroup *cg;
	int rule = task_rule(task);
	int other;

	if (!tp)
		return rule;
	cg = tp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup;
	if (!cg || cg->kn->id == task_cgroup_id(task))
		return rule;
	other = cgroup_rule(cg);
	return other > rule ? other : rule;
}

#endif
