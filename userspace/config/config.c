#include "config/load.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pwd.h>
#include <sys/stat.h>

/* Key sets and certificates of every issuer and resource, and the policy. */
#define ARENA_BYTES (64u * 1024u * 1024u)

/* Of the range that systemd's UID documentation leaves unused (60706 to 61183): they need no entry
 * in the user database. */
#define WORKER_UID_DEFAULT   61001u
#define RECORDER_UID_DEFAULT 61002u

#define LISTEN_PORT_DEFAULT	 15001
#define RECORDER_WAIT_DEFAULT_MS 2000

enum {
	K_NODE,
	K_STATE_DIR,
	K_RUN_DIR,
	K_BPF_DIR,
	K_LISTEN_PORT,
	K_WORKERS,
	K_USERS,
	K_RECORDER_WAIT,
	K_POLICY,
	K_SCOPES,
	K_ISSUERS,
	K_WORKLOADS,
	K_RESOURCES,
	K_APPROVERS,
};
static const struct yaml_key top_keys[] = {
	[K_NODE] = {"node", false},
	[K_STATE_DIR] = {"state_dir", false},
	[K_RUN_DIR] = {"run_dir", false},
	[K_BPF_DIR] = {"bpf_dir", false},
	[K_LISTEN_PORT] = {"listen_port", false},
	[K_WORKERS] = {"workers", false},
	[K_USERS] = {"users", false},
	[K_RECORDER_WAIT] = {"recorder_wait", false},
	[K_POLICY] = {"policy", true},
	[K_SCOPES] = {"scopes", false},
	[K_ISSUERS] = {"issuers", false},
	[K_WORKLOADS] = {"workloads", true},
	[K_RESOURCES] = {"resources", true},
	[K_APPROVERS] = {"approvers", false},
};

const char *keep(struct loader *l, const char *text)
{
	const char *copy = arena_strdup(&l->config->arena, text);

	if (text && !copy)
		l->no_memory = true;
	return copy;
}

void read_text(struct loader *l, const struct yaml_node *node, size_t max, const char **ret)
{
	const char *text;

	if (yaml_str(&l->doc, node, max, &text) == 0)
		*ret = keep(l, text);
}

void read_name(struct loader *l, const struct yaml_node *node, const char **ret)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	const char *text;

	if (yaml_str(&l->doc, node, NAME_LEN_MAX, &text) < 0)
		return;
	if (strspn(text, allowed) != strlen(text)) {
		yaml_fault(&l->doc, node,
			   "\"%s\" must be a name of letters, digits, \".\", \"_\" and \"-\"",
			   text);
		return;
	}
	*ret = keep(l, text);
}

void read_path(struct loader *l, const struct yaml_node *node, const char **ret)
{
	const char *slash = strrchr(l->config->path, '/');
	const char *text;

	if (yaml_str(&l->doc, node, PATH_LEN_MAX, &text) < 0)
		return;
	if (text[0] == '/' || !slash)
		*ret = keep(l, text);
	else
		*ret = arena_printf(&l->config->arena, "%.*s%s", (int)(slash + 1 - l->config->path),
				    l->config->path, text);
	if (!*ret)
		l->no_memory = true;
}

void read_absolute(struct loader *l, const struct yaml_node *node, const char **ret)
{
	const char *text;

	if (yaml_str(&l->doc, node, PATH_LEN_MAX, &text) < 0)
		return;
	if (text[0] != '/') {
		yaml_fault(&l->doc, node, "\"%s\" must be an absolute path", text);
		return;
	}
	*ret = keep(l, text);
}

size_t read_list(struct loader *l, const struct yaml_node *node, size_t max, size_t size,
		 void *ret_array)
{
	void *array;

	if (!node)
		return 0;
	if (node->kind != YAML_SEQUENCE) {
		yaml_fault(&l->doc, node, "must be a list");
		return 0;
	}
	if (node->n > max) {
		yaml_fault(&l->doc, node, "more than %zu entries", max);
		return 0;
	}
	array = arena_calloc(&l->config->arena, MAX(node->n, (size_t)1), size);
	if (!array) {
		l->no_memory = true;
		return 0;
	}
	memcpy(ret_array, &array, sizeof(array));
	return node->n;
}

void check_unique(struct loader *l, const struct yaml_node *node, const char *name,
		  const void *array, size_t n, size_t stride, size_t offset)
{
	for (size_t i = 0; name && i < n; i++) {
		const char *other;

		memcpy(&other, (const char *)array + i * stride + offset, sizeof(other));
		if (other && streq(other, name)) {
			yaml_fault(&l->doc, node, "the name \"%s\" is taken already", name);
			return;
		}
	}
}

/* A user by name or number, never root. */
static void read_uid(struct loader *l, const struct yaml_node *node, uint32_t *ret)
{
	const struct passwd *pw;
	const char *text;
	uint64_t uid;

	if (yaml_str(&l->doc, node, 32, &text) < 0)
		return;
	if (text[strspn(text, "0123456789")] == '\0') {
		if (yaml_uint(&l->doc, node, 1, UINT32_MAX - 1, &uid) == 0)
			*ret = (uint32_t)uid;
		return;
	}
	pw = getpwnam(text);
	if (!pw)
		yaml_fault(&l->doc, node, "no user \"%s\" on this machine", text);
	else if (pw->pw_uid == 0)
		yaml_fault(&l->doc, node, "must not be root");
	else
		*ret = pw->pw_uid;
}

static void load_users(struct loader *l, const struct yaml_node *node)
{
	static const struct yaml_key keys[] = {{"worker", false}, {"recorder", false}};
	struct config *c = l->config;
	struct yaml_node *k[ARRAY_SIZE(keys)];

	if (!node || yaml_members(&l->doc, node, keys, ARRAY_SIZE(keys), k) < 0)
		return;
	read_uid(l, k[0], &c->worker_uid);
	read_uid(l, k[1], &c->recorder_uid);
	/* A worker reads hostile bytes; it must not be able to touch the recorder or its files. */
	if (c->worker_uid == c->recorder_uid)
		yaml_fault(&l->doc, node, "worker and recorder must be different users");
}

static bool cgroup_path_ok(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && !strstr(path, "//") && !strstr(path, "/../") &&
	       !strstr(path, "/./") && (len == 1 || path[len - 1] != '/') &&
	       !(len >= 3 && streq(path + len - 3, "/..")) &&
	       !(len >= 2 && streq(path + len - 2, "/."));
}

static void load_scopes(struct loader *l, const struct yaml_node *node)
{
	struct config *c = l->config;

	if (!node) {
		c->scopes[c->n_scopes++] = "/sluice";
		return;
	}
	if (!yaml_item(node))
		yaml_fault(&l->doc, node, "must not be an empty list: nothing would be governed");
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		const char *text;

		l->scopes_unknown = l->scopes_unknown || x->kind == YAML_UNKNOWN;
		if (yaml_str(&l->doc, x, PATH_LEN_MAX, &text) < 0)
			continue;
		if (c->n_scopes == SCOPES_MAX) {
			yaml_fault(&l->doc, x, "more than %d scopes", SCOPES_MAX);
			break;
		}
		if (!cgroup_path_ok(text) || strpbrk(text, "*?"))
			yaml_fault(&l->doc, x,
				   "\"%s\" must be the path of a cgroup below the v2 root, such as "
				   "/sluice",
				   text);
		else
			c->scopes[c->n_scopes++] = keep(l, text);
	}
	l->scopes_unknown = l->scopes_unknown || c->n_scopes == 0;
}

enum { I_NAME, I_ISSUER, I_JWKS, I_AUDIENCE, I_ALGORITHMS, I_GROUPS_CLAIM };
static const struct yaml_key issuer_keys[] = {
	[I_NAME] = {"name", true},
	[I_ISSUER] = {"issuer", true},
	[I_JWKS] = {"jwks", true},
	[I_AUDIENCE] = {"audience", true},
	[I_ALGORITHMS] = {"algorithms", false},
	[I_GROUPS_CLAIM] = {"groups_claim", false},
};

static void load_algorithms(struct loader *l, const struct yaml_node *node,
			    struct issuer_config *is)
{
	static const char *const names[ALGORITHMS_MAX] = {"ES256", "RS256"};
	bool have[ALGORITHMS_MAX] = {false};

	for (size_t i = 0; !node && i < ALGORITHMS_MAX; i++)
		have[i] = true;
	if (node && !yaml_item(node))
		yaml_fault(&l->doc, node, "must not be an empty list");
	for (const struct yaml_node *x = yaml_item(node); x; x = yaml_next(node, x)) {
		size_t i;

		if (yaml_choice(&l->doc, x, names, ALGORITHMS_MAX, &i) < 0)
			continue;
		if (have[i])
			yaml_fault(&l->doc, x, "%s is here twice", names[i]);
		have[i] = true;
	}
	for (size_t i = 0; i < ALGORITHMS_MAX; i++)
		if (have[i])
			is->algorithms[is->n_algorithms++] = names[i];
}

static void load_jwks(struct loader *l, const struct yaml_node *node, struct issuer_config *is)
{
	const char *text;

	if (yaml_str(&l->doc, node, PATH_LEN_MAX, &text) < 0)
		return;
	if (strstr(text, "://") || streq(text, "discover")) {
		yaml_fault(&l->doc, node, "must be a file here: keys are not fetched");
		return;
	}
	read_path(l, node, &is->jwks_file);
	read_file(l, node, is->jwks_file, &is->jwks);
}

static void load_issuers(struct loader *l, const struct yaml_node *node)
{
	struct config *c = l->config;
	size_t at = 0;

	c->n_issuers = read_list(l, node, ISSUERS_MAX, sizeof(struct issuer_config), &c->issuers);
	l->issuers_unknown =
		node && c->n_issuers == 0 && !(node->kind == YAML_SEQUENCE && node->n == 0);
	if (c->n_issuers == 0)
		return;
	for (const struct yaml_node *x = node->first; x; x = x->next, at++) {
		struct issuer_config *is = &c->issuers[at];
		struct yaml_node *k[ARRAY_SIZE(issuer_keys)];

		is->groups_claim = "groups";
		if (yaml_members(&l->doc, x, issuer_keys, ARRAY_SIZE(issuer_keys), k) < 0)
			continue;
		read_name(l, k[I_NAME], &is->name);
		check_unique(l, k[I_NAME], is->name, c->issuers, at, sizeof(*is),
			     offsetof(struct issuer_config, name));
		read_text(l, k[I_ISSUER], 512, &is->issuer);
		load_jwks(l, k[I_JWKS], is);
		read_text(l, k[I_AUDIENCE], 512, &is->audience);
		load_algorithms(l, k[I_ALGORITHMS], is);
		read_text(l, k[I_GROUPS_CLAIM], 128, &is->groups_claim);
	}
}

enum { W_NAME, W_MATCH, W_TOKEN, W_ISSUER };
static const struct yaml_key workload_keys[] = {
	[W_NAME] = {"name", true},
	[W_MATCH] = {"match", true},
	[W_TOKEN] = {"token", false},
	[W_ISSUER] = {"issuer", false},
};

/* A pattern above every scope would name processes that nothing governs. */
static bool below_a_scope(const struct loader *l, const char *glob)
{
	const struct config *c = l->config;
	size_t fixed = strcspn(glob, "*?");

	if (l->scopes_unknown)
		return true;
	for (size_t i = 0; i < c->n_scopes; i++) {
		size_t len = strlen(c->scopes[i]);

		if (len == 1)
			return true;
		if (fixed >= len && strncmp(glob, c->scopes[i], len) == 0 &&
		    (glob[len] == '\0' || (glob[len] == '/' && fixed > len)))
			return true;
	}
	return false;
}

static void load_workload_match(struct loader *l, const struct yaml_node *node,
				struct workload_config *w)
{
	static const struct yaml_key keys[] = {{"cgroup", true}};
	struct yaml_node *k[ARRAY_SIZE(keys)];

	if (!node || yaml_members(&l->doc, node, keys, ARRAY_SIZE(keys), k) < 0)
		return;
	read_text(l, k[0], PATH_LEN_MAX, &w->cgroup);
	if (!w->cgroup)
		return;
	if (!cgroup_path_ok(w->cgroup))
		yaml_fault(&l->doc, k[0], "\"%s\" must be a path such as /sluice/name-*",
			   w->cgroup);
	else if (!below_a_scope(l, w->cgroup))
		yaml_fault(&l->doc, k[0], "\"%s\" is not below a scope (%s%s)", w->cgroup,
			   l->config->n_scopes > 0 ? l->config->scopes[0] : "none",
			   l->config->n_scopes > 1 ? ", …" : "");
}

static void load_workload_issuer(struct loader *l, const struct yaml_node *node,
				 struct workload_config *w)
{
	const struct config *c = l->config;
	const char *names[ISSUERS_MAX];
	size_t n = 0;
	size_t i;

	for (i = 0; i < c->n_issuers; i++)
		if (c->issuers[i].name)
			names[n++] = c->issuers[i].name;
	if (n < c->n_issuers || l->issuers_unknown)
		return; /* it may be the one whose name is at fault */
	if (node && n == 0) {
		yaml_fault(&l->doc, node, "names an issuer, and there are none");
		return;
	}
	if (yaml_choice(&l->doc, node, names, n, &i) == 0)
		w->issuer = names[i];
}

static void load_workloads(struct loader *l, const struct yaml_node *node)
{
	static const struct yaml_key token_keys[] = {{"file", true}};
	struct config *c = l->config;
	size_t at = 0;

	c->n_workloads =
		read_list(l, node, WORKLOADS_MAX, sizeof(struct workload_config), &c->workloads);
	if (c->n_workloads == 0)
		return;
	for (const struct yaml_node *x = node->first; x; x = x->next, at++) {
		struct workload_config *w = &c->workloads[at];
		struct yaml_node *k[ARRAY_SIZE(workload_keys)];
		struct yaml_node *file[ARRAY_SIZE(token_keys)];

		if (yaml_members(&l->doc, x, workload_keys, ARRAY_SIZE(workload_keys), k) < 0)
			continue;
		read_name(l, k[W_NAME], &w->name);
		check_unique(l, k[W_NAME], w->name, c->workloads, at, sizeof(*w),
			     offsetof(struct workload_config, name));
		load_workload_match(l, k[W_MATCH], w);
		if (k[W_TOKEN] && yaml_members(&l->doc, k[W_TOKEN], token_keys, 1, file) == 0)
			read_absolute(l, file[0], &w->token_file);
		if (k[W_TOKEN] && c->n_issuers == 0 && !l->issuers_unknown)
			yaml_fault(
				&l->doc, k[W_TOKEN],
				"a token is asked for, and no issuers are configured to verify it");
		if (k[W_ISSUER] && !k[W_TOKEN])
			yaml_fault(&l->doc, k[W_ISSUER], "has no effect without token");
		load_workload_issuer(l, k[W_ISSUER], w);
	}
}

enum { A_NAME, A_UNIX_USER, A_GROUPS };
static const struct yaml_key approver_keys[] = {
	[A_NAME] = {"name", true},
	[A_UNIX_USER] = {"unix_user", true},
	[A_GROUPS] = {"groups", true},
};

static void load_approver_user(struct loader *l, const struct yaml_node *node, size_t at)
{
	struct approver_config *a = &l->config->approvers[at];
	const struct passwd *pw;

	read_text(l, node, 64, &a->unix_user);
	if (!a->unix_user)
		return;
	if (l->flags & CONFIG_OFFLINE)
		return;
	pw = getpwnam(a->unix_user);
	if (!pw) {
		yaml_fault(&l->doc, node, "no user \"%s\" on this machine", a->unix_user);
		return;
	}
	a->uid = pw->pw_uid;
	for (size_t i = 0; i < at; i++)
		if (l->config->approvers[i].unix_user && l->config->approvers[i].uid == a->uid)
			yaml_fault(&l->doc, node, "user \"%s\" is an approver already",
				   a->unix_user);
}

static void load_approvers(struct loader *l, const struct yaml_node *node)
{
	struct config *c = l->config;
	size_t at = 0;

	c->n_approvers =
		read_list(l, node, APPROVERS_MAX, sizeof(struct approver_config), &c->approvers);
	if (c->n_approvers == 0)
		return;
	for (const struct yaml_node *x = node->first; x; x = x->next, at++) {
		struct approver_config *a = &c->approvers[at];
		struct yaml_node *k[ARRAY_SIZE(approver_keys)];
		const char *groups[GROUPS_MAX];
		size_t n;

		a->uid = UINT32_MAX; /* nobody's, until the user is found */
		if (yaml_members(&l->doc, x, approver_keys, ARRAY_SIZE(approver_keys), k) < 0)
			continue;
		read_text(l, k[A_NAME], 128, &a->name);
		check_unique(l, k[A_NAME], a->name, c->approvers, at, sizeof(*a),
			     offsetof(struct approver_config, name));
		load_approver_user(l, k[A_UNIX_USER], at);
		if (yaml_strs(&l->doc, k[A_GROUPS], 128, GROUPS_MAX, groups, &n) < 0)
			continue;
		for (size_t i = 0; i < n; i++)
			a->groups[i] = keep(l, groups[i]);
		a->n_groups = n;
	}
}

static void set_defaults(struct loader *l)
{
	struct config *c = l->config;
	char host[NAME_LEN_MAX + 1] = "";

	if (gethostname(host, sizeof(host)) < 0 || host[0] == '\0')
		(void)snprintf(host, sizeof(host), "localhost");
	host[sizeof(host) - 1] = '\0';
	c->node = keep(l, host);
	c->state_dir = "/var/lib/sluice";
	c->run_dir = "/run/sluice";
	c->bpf_dir = "/sys/fs/bpf/sluice";
	c->listen_port = LISTEN_PORT_DEFAULT;
	c->worker_uid = WORKER_UID_DEFAULT;
	c->recorder_uid = RECORDER_UID_DEFAULT;
	c->recorder_wait_ms = RECORDER_WAIT_DEFAULT_MS;
}

static void load_node(struct loader *l, struct yaml_node *const *k)
{
	struct config *c = l->config;
	uint64_t v;

	read_name(l, k[K_NODE], &c->node);
	read_absolute(l, k[K_STATE_DIR], &c->state_dir);
	read_absolute(l, k[K_RUN_DIR], &c->run_dir);
	read_absolute(l, k[K_BPF_DIR], &c->bpf_dir);
	if (yaml_uint(&l->doc, k[K_LISTEN_PORT], 1, 65535, &v) == 0)
		c->listen_port = (uint16_t)v;
	if (yaml_uint(&l->doc, k[K_WORKERS], 0, 256, &v) == 0)
		c->workers = (uint32_t)v;
	load_users(l, k[K_USERS]);
	if (yaml_duration(&l->doc, k[K_RECORDER_WAIT], 10, 60000, &v) == 0)
		c->recorder_wait_ms = (uint32_t)v;
	read_path(l, k[K_POLICY], &c->policy_file);
	read_file(l, k[K_POLICY], c->policy_file, &c->policy_text);
}

static void load_all(struct loader *l)
{
	struct yaml_node *k[ARRAY_SIZE(top_keys)];

	set_defaults(l);
	if (yaml_members(&l->doc, l->doc.root, top_keys, ARRAY_SIZE(top_keys), k) < 0)
		return;
	load_node(l, k);
	load_scopes(l, k[K_SCOPES]);
	load_issuers(l, k[K_ISSUERS]);
	load_workloads(l, k[K_WORKLOADS]);
	load_resources(l, k[K_RESOURCES]);
	load_approvers(l, k[K_APPROVERS]);
}

static int load_text(struct loader *l, const char *path, struct diags *diags)
{
	unsigned flags = l->flags;
	struct span text = {0};
	int r;

	/* A document of its own for the faults of the file as a whole; whatever the flags, this
	 * file is read. */
	l->doc = (struct yaml_doc){.file = path, .diags = diags};
	l->flags = 0;
	read_file(l, NULL, path, &text);
	l->flags = flags;
	if (l->no_memory)
		return -ENOMEM;
	if (l->doc.faults > 0)
		return -EINVAL;
	(void)SHA256(text.p, text.len, l->config->file_sha256);
	r = yaml_load(text, l->config->path, diags, &l->doc);
	if (r < 0)
		return r;
	load_all(l);
	yaml_done(&l->doc);
	if (l->no_memory)
		return -ENOMEM;
	l->config->partial = l->doc.faults > 0;
	return l->doc.faults > 0 ? -EINVAL : 0;
}

int config_load(const char *path, unsigned flags, struct diags *diags, struct config **ret_config)
{
	_cleanup_(config_freep) struct config *config = calloc(1, sizeof(*config));
	struct loader l = {.config = config, .flags = flags};
	int r;

	if (!config)
		return -ENOMEM;
	config->arena = ARENA_INIT(ARENA_BYTES);
	config->path = arena_strdup(&config->arena, path);
	if (!config->path)
		return -ENOMEM;
	r = load_text(&l, path, diags);
	if (r < 0 && !(r == -EINVAL && config->partial && (flags & CONFIG_PARTIAL)))
		return r;
	*ret_config = TAKE_PTR(config);
	return r;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->n_resources; i++) {
		char *password = config->resources[i].password;

		if (password)
			OPENSSL_cleanse(password, strlen(password));
	}
	arena_done(&config->arena);
	free(config);
}
