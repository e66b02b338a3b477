/* netns.h - listeners inside other network namespaces.
 * Used by: roles/warden.c, tools.
 * Promises: the calling thread never leaves its own namespace (a helper thread enters). */
#ifndef SLUICE_KERNEL_NETNS_H
#define SLUICE_KERNEL_NETNS_H

#include "base/macro.h"

/* Cookie of the network namespace an fd (/proc/PID/ns/net) refers to, and its inode. */
_must_check_ int netns_identity(int netns_fd, uint64_t *ret_cookie, uint64_t *ret_inode);

/* Open listening sockets on 127.0.0.1:port and [::1]:port inside a namespace; loopback is brought
 * up when it is down. A family the namespace does not have gives fd -1. port 0: the kernel
 * chooses, both families get the same. The fds are the caller's: non-blocking, close-on-exec.
 * -EADDRINUSE when the port is taken. */
_must_check_ int netns_listen(int netns_fd, uint16_t port, int *ret_fd4, int *ret_fd6,
			      uint16_t *ret_port);

#endif
