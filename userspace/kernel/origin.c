/* origin.c - see steer.h: the part that a worker without privilege uses. */
#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "kernel/steer.h"

int steer_origin(int storage_fd, int accepted_fd, struct sluice_origin *ret_origin)
{
	struct sluice_sock sock;

	if (bpf_map_lookup_elem(storage_fd, &accepted_fd, &sock) < 0)
		return -errno;
	if (sock.side != SLUICE_SOCK_ACCEPTED)
		return -ENOENT;
	*ret_origin = sock.origin;
	return 0;
}

void steer_origin_endpoint(const struct sluice_origin *o, struct endpoint *ret_endpoint)
{
	*ret_endpoint = (struct endpoint){
		.family = o->family == AF_INET6 ? 6 : 4,
		.v4_mapped = o->v4_mapped != 0,
		.port = ntohs(o->port),
	};
	memcpy(ret_endpoint->addr, o->addr, o->family == AF_INET6 ? 16 : 4);
}

void steer_origin_process(const struct sluice_origin *o, struct process *ret_process)
{
	*ret_process = (struct process){
		.key = {.tgid = o->proc.tgid,
			.self_exec_id = o->proc.self_exec_id,
			.start_boottime = o->proc.start_boottime},
		.ppid = o->ppid,
		.uid = o->uid,
		.gid = o->gid,
		.exe_ino = o->exe_ino,
		.exe_dev = o->exe_dev,
		.cgroup_id = o->cgroup_id,
		.netns_cookie = o->netns_cookie,
	};
	memcpy(ret_process->comm, o->comm, sizeof(ret_process->comm));
	ret_process->comm[sizeof(ret_process->comm) - 1] = '\0';
}
