/* config.h - the node's configuration as loaded and checked.
 * Used by: config/ (makes it), roles/ and session/ (read it). No logic.
 * Promises: immutable once loaded; strings belong to the configuration's arena. */
#ifndef SLUICE_MODEL_CONFIG_H
#define SLUICE_MODEL_CONFIG_H

#include "base/arena.h"
#include "model/identity.h"

enum tls_mode {
	TLS_VERIFY_FULL = 0, /* the default: chain and name */
	TLS_VERIFY_CA,
	TLS_REQUIRE,
	TLS_DISABLE,
};

#define ALGORITHMS_MAX 2 /* ES256, RS256 */

struct issuer_config {
	const char *name;
	const char *issuer; /* iss, compared exactly */
	const char *jwks_file;
	struct span jwks; /* bytes of jwks_file, read at load */
	const char *audience;
	size_t n_algorithms;
	const char *algorithms[ALGORITHMS_MAX];
	const char *groups_claim; /* "groups" unless said */
};

struct workload_config {
	const char *name;
	const char *cgroup; /* glob over the path below the cgroup v2 root */
	const char *issuer; /* name of the issuer whose tokens it carries; NULL: any configured */
	const char *token_file; /* absolute path inside the container; NULL: no token asked for */
};

#define RESOURCE_ADDRS_MAX 16
#define RESOURCE_DBS_MAX   16

/* An address with a prefix length. */
struct netblock {
	uint8_t family; /* 4 or 6 */
	uint8_t prefix; /* bits */
	uint8_t addr[16];
};

struct resource_config {
	const char *name;
	const char *protocol; /* "postgres" */
	/* match: what the agent connects to. An address or host, and the port. */
	const char *host; /* name the agent knows it by, or NULL */
	size_t n_addrs;
	struct netblock
		addrs[RESOURCE_ADDRS_MAX]; /* `address:`, or what `host` resolved to at load */
	uint16_t port;
	/* upstream: where it really is. */
	const char *upstream;	   /* as written, "host:port", for people */
	const char *upstream_host; /* name or address that the certificate must be for */
	struct endpoint upstream_addr;
	enum tls_mode tls;
	const char *ca_file; /* NULL with verify-*: the system's */
	struct span ca_pem;
	/* credential */
	const char *user;
	const char *password_file; /* NULL: none (trust, or a client certificate later) */
	char *password;		   /* read at load; wiped by config_free */
	size_t n_databases;
	const char *databases[RESOURCE_DBS_MAX]; /* names that may be asked for; none: any */
};

struct approver_config {
	const char *name;      /* the person, as events name them */
	const char *unix_user; /* of the local socket's peer */
	uint32_t uid;
	size_t n_groups;
	const char *groups[GROUPS_MAX];
};

#define SCOPES_MAX 16

struct config {
	struct arena arena;
	bool partial; /* at fault: for finding more faults only; see CONFIG_PARTIAL */
	const char *path;
	uint8_t file_sha256[SHA256_LEN]; /* of the configuration file's bytes */
	const char *node;		 /* node's name in events; the host name unless said */
	const char *state_dir;		 /* /var/lib/sluice: store, keys */
	const char *run_dir;		 /* /run/sluice: control socket */
	const char *bpf_dir;		 /* /sys/fs/bpf/sluice: pins */
	uint16_t listen_port;		 /* of the listener in every namespace; 15001 */
	uint32_t workers;		 /* 0: one a core */
	uint32_t worker_uid;
	uint32_t recorder_uid;
	uint32_t
		recorder_wait_ms; /* longest wait for the recorder before an operation is refused */
	const char *policy_file;
	struct span policy_text;
	size_t n_scopes;
	const char *
		scopes[SCOPES_MAX]; /* cgroup paths below the v2 root whose subtrees are governed */
	size_t n_issuers;
	struct issuer_config *issuers;
	size_t n_workloads;
	struct workload_config *workloads;
	size_t n_resources;
	struct resource_config *resources;
	size_t n_approvers;
	struct approver_config *approvers;
};

#endif
