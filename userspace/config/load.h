/* load.h - what the parts of the loader share.
 * Used by: config/ alone.
 * Promises: each reader adds its faults and goes on, so that all are found at once. */
#ifndef SLUICE_CONFIG_LOAD_H
#define SLUICE_CONFIG_LOAD_H

#include "base/yaml.h"
#include "config/config.h"

#define NAME_LEN_MAX	 63
#define PATH_LEN_MAX	 1024
#define FILE_BYTES_MAX	 (1024u * 1024u)
#define PASSWORD_LEN_MAX 1024
#define ISSUERS_MAX	 16
#define WORKLOADS_MAX	 1024
#define RESOURCES_MAX	 256
#define APPROVERS_MAX	 256

struct loader {
	struct config *config;
	struct yaml_doc doc;
	unsigned flags;
	bool scopes_unknown;  /* one or all cannot be read: nothing is said of what is below none */
	bool issuers_unknown; /* they are there and cannot be read */
	bool no_memory;	      /* the arena is full; whatever is returned is not to be used */
};

/* Copies in the configuration's arena; NULL for NULL. */
const char *keep(struct loader *l, const char *text);
/* Text of at most max bytes into *ret; untouched when absent or at fault. */
void read_text(struct loader *l, const struct yaml_node *node, size_t max, const char **ret);
/* A name of letters, digits, `.`, `_` and `-`. */
void read_name(struct loader *l, const struct yaml_node *node, const char **ret);
/* A path; relative to the folder of the configuration file. */
void read_path(struct loader *l, const struct yaml_node *node, const char **ret);
/* A path that must be absolute. */
void read_absolute(struct loader *l, const struct yaml_node *node, const char **ret);
/* Walk a list of mappings: its length, and space for as many of size in the arena. 0 when absent or
 * at fault. */
size_t read_list(struct loader *l, const struct yaml_node *node, size_t max, size_t size,
		 void *ret_array);
/* Add a fault when a name is taken by one of the n before it; stride is the size of the structs, in
 * each of which the name is at the offset. */
void check_unique(struct loader *l, const struct yaml_node *node, const char *name,
		  const void *array, size_t n, size_t stride, size_t offset);

/* files.c */
/* Read a regular file that others may not write, into the arena. */
void read_file(struct loader *l, const struct yaml_node *node, const char *path,
	       struct span *ret_bytes);
/* Read the first line of a regular file that only its owner can read. */
void read_secret(struct loader *l, const struct yaml_node *node, const char *path,
		 char **ret_secret);

/* address.c */
/* An address, or a block in CIDR form. */
_must_check_ int netblock_parse(const char *text, struct netblock *ret);
/* Do two blocks share an address? */
bool netblock_overlap(const struct netblock *a, const struct netblock *b);
/* host:port with host a name, an IPv4 address or an IPv6 address in brackets. */
_must_check_ int host_port_split(struct loader *l, const char *text, const char **ret_host,
				 uint16_t *ret_port);
bool is_address(const char *host);
/* Resolve a host into at most max endpoints with the port; faults are added at the node. 0 when at
 * fault or CONFIG_OFFLINE and a name. */
size_t resolve(struct loader *l, const struct yaml_node *node, const char *host, uint16_t port,
	       struct endpoint *ret, size_t max);

/* resource.c */
void load_resources(struct loader *l, const struct yaml_node *node);

#endif
