/* identity.h - who is calling: the process the kernel saw and the principal its token names.
 * Used by: everything above model/. No logic.
 * Promises: strings are NUL-terminated and belong to the arena of whoever made the record. */
#ifndef SLUICE_MODEL_IDENTITY_H
#define SLUICE_MODEL_IDENTITY_H

#include "base/span.h"

#define SHA256_LEN	  32
#define ANCESTORS_MAX	  8
#define ARGS_MAX	  4096 /* bytes of the command line that are kept */
#define TOKEN_BYTES_MAX	  16384
#define GROUPS_MAX	  64
#define WORKLOAD_NAME_MAX 64

/* Pid reuse and exec both change it (see bpf/abi.h). */
struct proc_key {
	uint32_t tgid;
	uint32_t self_exec_id;
	uint64_t start_boottime; /* ns */
};

struct ancestor {
	uint32_t pid;
	const char *exe;		/* NULL: not known */
	uint8_t exe_sha256[SHA256_LEN]; /* all zero: not known */
	bool has_sha256;
};

/* Known from the kernel unless said otherwise. */
struct process {
	struct proc_key key;
	uint32_t ppid;
	uint32_t uid;
	uint32_t gid;
	char comm[16];
	uint64_t exe_ino;
	uint32_t exe_dev;
	uint64_t cgroup_id;
	uint64_t netns_cookie;

	/* From /proc, re-checked against key after the read; has_proc false: it was gone. */
	bool has_proc;
	const char *exe;       /* as the process sees it */
	const char *args;      /* arguments joined by spaces: the agent controls them */
	const char *cgroup;    /* path below the cgroup v2 root */
	const char *container; /* container id, or NULL */
	bool has_sha256;
	uint8_t exe_sha256[SHA256_LEN];
	size_t n_ancestors;
	struct ancestor ancestors[ANCESTORS_MAX]; /* parent first */
};

/* What a verified token says. */
struct principal {
	const char *issuer_name; /* name of the issuer in the configuration */
	const char *issuer;	 /* iss */
	const char *subject;	 /* sub */
	const char *token_id;	 /* jti, or NULL */
	int64_t expires;	 /* exp, seconds since 1970 */
	int64_t issued;		 /* iat, 0: none */
	size_t n_groups;
	const char *groups[GROUPS_MAX];
	uint8_t token_sha256[SHA256_LEN];
};

/* Where the connection wanted to go, in host byte order. */
struct endpoint {
	uint8_t family; /* 4 or 6 */
	bool v4_mapped;
	uint16_t port;
	uint8_t addr[16]; /* network order; IPv4 in the first 4 */
};

#define ENDPOINT_TEXT_MAX 64
/* "10.0.3.7:5432" or "[2001:db8::1]:5432". */
const char *endpoint_text(const struct endpoint *e, char out[static ENDPOINT_TEXT_MAX]);

#endif
