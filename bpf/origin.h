/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* origin.h - who calls and where to, read from the task by BTF; and telling user space of it.
 * Used by: every program.
 * Promises: an event's every byte is written. */
#ifndef SLUICE_BPF_ORIGIN_H
#define SLUICE_BPF_ORIGIN_H

/* What a program knows of an address. */
struct target {
	__u64 netns_cookie;
	__u32 addr[4]; /* network order; IPv4 in the first */
	__u16 port;    /* network order */
	__u16 family;
	__u32 v4_mapped;
};

static __always_inline void origin_set_exe(struct sluice_origin *o, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *exe;
	struct inode *inode;

	o->exe_ino = 0;
	o->exe_dev = 0;
	if (!mm)
		return;
	exe = mm->exe_file;
	if (!exe)
		return;
	inode = exe->f_inode;
	if (!inode)
		return;
	o->exe_ino = inode->i_ino;
	o->exe_dev = inode->i_sb->s_dev;
}

static __always_inline void origin_set_task(struct sluice_origin *o, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	const struct cred *cred = task->cred;
	struct nsproxy *ns = task->nsproxy;
	const __u64 *comm = (const __u64 *)task->comm;

	o->proc.tgid = task->tgid;
	o->proc.self_exec_id = task->self_exec_id;
	o->proc.start_boottime = leader->start_boottime;
	o->tid = task->pid;
	o->ppid = task->real_parent->tgid;
	o->uid = cred->uid.val;
	o->gid = cred->gid.val;
	o->user_ns = cred->user_ns->ns.inum;
	/* An exiting task has none any more: zeros. */
	o->pid_ns = ns ? ns->pid_ns_for_children->ns.inum : 0;
	o->mnt_ns = ns ? ns->mnt_ns->ns.inum : 0;
	o->net_ns = ns ? ns->net_ns->ns.inum : 0;
	o->cgroup_id = task_cgroup_id(task);
	((__u64 *)o->comm)[0] = comm[0];
	((__u64 *)o->comm)[1] = comm[1];
	origin_set_exe(o, task);
}

/* t may be NULL: no address. */
static __always_inline void origin_set_target(struct sluice_origin *o, const struct target *t)
{
	__u32 *addr = (__u32 *)o->addr;

	o->family = t ? t->family : 0;
	o->port = t ? t->port : 0;
	addr[0] = t ? t->addr[0] : 0;
	addr[1] = t ? t->addr[1] : 0;
	addr[2] = t ? t->addr[2] : 0;
	addr[3] = t ? t->addr[3] : 0;
	o->netns_cookie = t ? t->netns_cookie : 0;
	o->v4_mapped = t ? t->v4_mapped : 0;
	__builtin_memset(o->pad_, 0, sizeof(o->pad_));
	o->connect_ns = bpf_ktime_get_boot_ns();
}

static __noinline int event_lifecycle(__u32 type, struct task_struct *task, __u64 cgroup_id)
{
	struct sluice_kevent *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		count(SLUICE_COUNT_EVENTS_LOST);
		return 0;
	}
	e->type = type;
	e->reason = 0;
	e->netns_cookie = 0;
	origin_set_task(&e->who, task);
	origin_set_target(&e->who, NULL);
	e->time_ns = e->who.connect_ns;
	e->cgroup_id = cgroup_id ? cgroup_id : e->who.cgroup_id;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Refuse what the current task does: the call fails with err. Returns what the program is to
 * return. t may be NULL. */
static __noinline int refuse(struct task_struct *task, const struct target *t, __u32 reason,
			     int err)
{
	struct sluice_kevent *e;

	count(reason);
	bpf_set_retval(-err);
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENTS_BYTES / 2) {
		count(SLUICE_COUNT_REFUSALS_UNTOLD);
		return 0;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(SLUICE_COUNT_EVENTS_LOST);
		return 0;
	}
	e->type = SLUICE_KEV_REFUSED;
	e->reason = reason;
	origin_set_task(&e->who, task);
	origin_set_target(&e->who, t);
	e->netns_cookie = e->who.netns_cookie;
	e->time_ns = e->who.connect_ns;
	e->cgroup_id = e->who.cgroup_id;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
