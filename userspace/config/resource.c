#include "config/load.h"

enum { K_NAME, K_PROTOCOL, K_MATCH, K_UPSTREAM, K_CREDENTIAL, K_DATABASES };
static const struct yaml_key resource_keys[] = {
	[K_NAME] = {"name", true},
	[K_PROTOCOL] = {"protocol", false},
	[K_MATCH] = {"match", true},
	[K_UPSTREAM] = {"upstream", true},
	[K_CREDENTIAL] = {"credential", true},
	[K_DATABASES] = {"databases", false},
};

enum { M_HOST, M_ADDRESS, M_PORT };
static const struct yaml_key match_keys[] = {
	[M_HOST] = {"host", false},
	[M_ADDRESS] = {"address", false},
	[M_PORT] = {"port", true},
};

enum { U_ADDRESS, U_TLS, U_CA, U_SERVER_NAME };
static const struct yaml_key upstream_keys[] = {
	[U_ADDRESS] = {"address", true},
	[U_TLS] = {"tls", false},
	[U_CA] = {"ca", false},
	[U_SERVER_NAME] = {"server_name", false},
};

enum { C_USER, C_PASSWORD_FILE };
static const struct yaml_key credential_keys[] = {
	[C_USER] = {"user", true},
	[C_PASSWORD_FILE] = {"password_file", false},
};

static const char *const protocols[] = {"postgres"};
static const char *const tls_modes[] = {
	[TLS_VERIFY_FULL] = "verify-full",
	[TLS_VERIFY_CA] = "verify-ca",
	[TLS_REQUIRE] = "require",
	[TLS_DISABLE] = "disable",
};

static void load_addresses(struct loader *l, const struct yaml_node *node,
			   struct resource_config *res)
{
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		struct netblock block;
		const char *text;
		int r;

		if (yaml_str(&l->doc, x, 64, &text) < 0)
			continue;
		if (res->n_addrs == RESOURCE_ADDRS_MAX) {
			yaml_fault(&l->doc, x, "more than %d addresses", RESOURCE_ADDRS_MAX);
			return;
		}
		r = netblock_parse(text, &block);
		if (r == -ERANGE)
			yaml_fault(&l->doc, x, "\"%s\" has bits set past its prefix length", text);
		else if (r < 0)
			yaml_fault(&l->doc, x,
				   "\"%s\" is neither an address nor a block such as 10.0.0.0/8",
				   text);
		else
			res->addrs[res->n_addrs++] = block;
	}
}

/* What the name stands for now: an agent's connect() carries an address, not a name. */
static void load_host_addresses(struct loader *l, const struct yaml_node *node,
				struct resource_config *res)
{
	struct endpoint found[RESOURCE_ADDRS_MAX];
	size_t n = resolve(l, node, res->host, res->port, found, ARRAY_SIZE(found));

	for (size_t i = 0; i < n; i++) {
		struct netblock *b = &res->addrs[res->n_addrs++];

		b->family = found[i].family;
		b->prefix = b->family == 4 ? 32 : 128;
		memcpy(b->addr, found[i].addr, sizeof(b->addr));
	}
}

static void load_match(struct loader *l, const struct yaml_node *node, struct resource_config *res)
{
	struct yaml_node *k[ARRAY_SIZE(match_keys)];
	uint64_t port = 0;

	if (yaml_members(&l->doc, node, match_keys, ARRAY_SIZE(match_keys), k) < 0)
		return;
	read_text(l, k[M_HOST], 253, &res->host);
	if (yaml_uint(&l->doc, k[M_PORT], 1, 65535, &port) == 0)
		res->port = (uint16_t)port;
	if (k[M_ADDRESS])
		load_addresses(l, k[M_ADDRESS], res);
	else if (res->host)
		load_host_addresses(l, k[M_HOST], res);
	else if (!k[M_HOST])
		yaml_fault(&l->doc, node, "needs host or address: what the agent connects to");
}

static void load_ca(struct loader *l, const struct yaml_node *node, struct resource_config *res)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";

	if (!node)
		return;
	read_path(l, node, &res->ca_file);
	if (res->tls == TLS_DISABLE || res->tls == TLS_REQUIRE) {
		yaml_fault(&l->doc, node,
			   "ca is not used with tls: %s; say verify-full or verify-ca",
			   tls_modes[res->tls]);
		return;
	}
	read_file(l, node, res->ca_file, &res->ca_pem);
	if (res->ca_pem.p && !memmem(res->ca_pem.p, res->ca_pem.len, begin, sizeof(begin) - 1))
		yaml_fault(&l->doc, node, "%s holds no PEM certificate", res->ca_file);
}

static void load_upstream_address(struct loader *l, const struct yaml_node *node,
				  struct resource_config *res)
{
	uint16_t port = 0;
	int r;

	read_text(l, node, 300, &res->upstream);
	if (!res->upstream)
		return;
	r = host_port_split(l, res->upstream, &res->upstream_host, &port);
	if (r < 0) {
		yaml_fault(&l->doc, node, "\"%s\" must be host:port, or [address]:port for IPv6",
			   res->upstream);
		return;
	}
	(void)resolve(l, node, res->upstream_host, port, &res->upstream_addr, 1);
}

static void load_upstream(struct loader *l, const struct yaml_node *node,
			  struct resource_config *res)
{
	struct yaml_node *k[ARRAY_SIZE(upstream_keys)];
	size_t mode = TLS_VERIFY_FULL;

	if (yaml_members(&l->doc, node, upstream_keys, ARRAY_SIZE(upstream_keys), k) < 0)
		return;
	load_upstream_address(l, k[U_ADDRESS], res);
	(void)yaml_choice(&l->doc, k[U_TLS], tls_modes, ARRAY_SIZE(tls_modes), &mode);
	res->tls = (enum tls_mode)mode;
	load_ca(l, k[U_CA], res);
	/* Certificates are for names. Where the upstream is given by address, the name is the one
	 * that the agent knows, if there is one. */
	if (k[U_SERVER_NAME])
		read_text(l, k[U_SERVER_NAME], 253, &res->upstream_host);
	else if (res->upstream_host && is_address(res->upstream_host) && res->host)
		res->upstream_host = res->host;
}

static void load_credential(struct loader *l, const struct yaml_node *node,
			    struct resource_config *res)
{
	struct yaml_node *k[ARRAY_SIZE(credential_keys)];

	if (yaml_members(&l->doc, node, credential_keys, ARRAY_SIZE(credential_keys), k) < 0)
		return;
	read_text(l, k[C_USER], 63, &res->user);
	read_path(l, k[C_PASSWORD_FILE], &res->password_file);
	read_secret(l, k[C_PASSWORD_FILE], res->password_file, &res->password);
}

static void load_databases(struct loader *l, const struct yaml_node *node,
			   struct resource_config *res)
{
	const char *names[RESOURCE_DBS_MAX];
	size_t n;

	if (yaml_strs(&l->doc, node, 63, RESOURCE_DBS_MAX, names, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		res->databases[i] = keep(l, names[i]);
	res->n_databases = n;
}

/* A connection belongs to one resource, whatever order they are written in. */
static void check_overlap(struct loader *l, const struct yaml_node *node, size_t at)
{
	const struct resource_config *a = &l->config->resources[at];

	for (size_t i = 0; i < at; i++) {
		const struct resource_config *b = &l->config->resources[i];

		if (a->port != b->port)
			continue;
		for (size_t x = 0; x < a->n_addrs * b->n_addrs; x++) {
			if (!netblock_overlap(&a->addrs[x / b->n_addrs], &b->addrs[x % b->n_addrs]))
				continue;
			yaml_fault(&l->doc, node,
				   "matches an address and port that resource \"%s\" matches too",
				   b->name ? b->name : "?");
			break;
		}
	}
}

static void load_resource(struct loader *l, const struct yaml_node *node, size_t at)
{
	struct resource_config *res = &l->config->resources[at];
	struct yaml_node *k[ARRAY_SIZE(resource_keys)];
	size_t protocol = 0;

	if (yaml_members(&l->doc, node, resource_keys, ARRAY_SIZE(resource_keys), k) < 0)
		return;
	read_name(l, k[K_NAME], &res->name);
	check_unique(l, k[K_NAME], res->name, l->config->resources, at, sizeof(*res),
		     offsetof(struct resource_config, name));
	(void)yaml_choice(&l->doc, k[K_PROTOCOL], protocols, ARRAY_SIZE(protocols), &protocol);
	res->protocol = protocols[protocol];
	if (k[K_MATCH])
		load_match(l, k[K_MATCH], res);
	if (k[K_UPSTREAM])
		load_upstream(l, k[K_UPSTREAM], res);
	if (k[K_CREDENTIAL])
		load_credential(l, k[K_CREDENTIAL], res);
	load_databases(l, k[K_DATABASES], res);
	if (k[K_MATCH])
		check_overlap(l, k[K_MATCH], at);
}

void load_resources(struct loader *l, const struct yaml_node *node)
{
	size_t i = 0;

	l->config->n_resources = read_list(l, node, RESOURCES_MAX, sizeof(struct resource_config),
					   &l->config->resources);
	if (l->config->n_resources == 0)
		return;
	for (const struct yaml_node *x = node->first; x; x = x->next)
		load_resource(l, x, i++);
}
