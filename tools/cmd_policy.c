#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>

#include "base/jsonw.h"
#include "base/yaml.h"
#include "config/config.h"
#include "policy/policy.h"
#include "tools/cmd.h"

#define ANSWER_MAX (4u * 1024u * 1024u)

static const char usage[] =
	"usage: sluicectl policy check [--config FILE] [--offline] [--json] [POLICY…]\n"
	"Says every fault of policies, as file:line:column. Needs no daemon.\n"
	"  --config FILE  the node's configuration: it is checked too, and the names of "
	"workloads,\n"
	"                 resources, issuers and approvers' groups that rules use are looked up "
	"in\n"
	"                 it. Without POLICY, the policy that it names is checked.\n"
	"  --offline      do not read the files that the configuration names, nor resolve hosts\n"
	"Exits 0: no fault; 1: faults; 2: could not tell (a file cannot be read).\n";

struct check {
	const char *config_path; /* NULL: none */
	unsigned flags;
	bool json;
	struct config *config; /* NULL: none, or nothing of it can be read; may be partial */
	struct diags diags;
	bool unreadable;
	struct buf lines; /* what is said of policies without a fault */
	struct jsonw w;	  /* the same, as JSON */
};

static int read_fd(int fd, struct buf *to)
{
	for (;;) {
		uint8_t *p = buf_reserve(to, 4096);
		ssize_t n;

		if (!p)
			return buf_error(to) == -ENOBUFS ? -EFBIG : buf_error(to);
		n = read(fd, p, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_commit(to, (size_t)n);
	}
}

static int read_file(const char *path, struct buf *to)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : read_fd(fd, to);
}

static void say_policy(struct check *c, const char *path, const struct policy *policy)
{
	struct span digest = span_of(policy_sha256(policy), SHA256_LEN);

	if (c->json) {
		jsonw_object(&c->w, NULL);
		jsonw_str(&c->w, "file", path);
		jsonw_uint(&c->w, "rules", policy_n_rules(policy));
		jsonw_hex(&c->w, "sha256", digest);
		jsonw_close(&c->w);
		return;
	}
	buf_putf(&c->lines, "%s: no fault in %zu rules, sha256 ", path, policy_n_rules(policy));
	buf_put_hex(&c->lines, digest);
	buf_put_u8(&c->lines, '\n');
}

static void check_text(struct check *c, const char *path, struct span text)
{
	_cleanup_(policy_unrefp) struct policy *policy = NULL;
	int r = policy_load(text, path, c->config, &c->diags, &policy);

	if (r == 0) {
		say_policy(c, path, policy);
	} else if (r != -EINVAL) {
		fprintf(stderr, "sluicectl: policy: %s: %s\n", path, strerror(-r));
		c->unreadable = true;
	}
}

static void check_file(struct check *c, const char *path)
{
	/* Room for what is over the limit, so that the loader says that it is. */
	_cleanup_buf_ struct buf text = BUF_INIT(YAML_INPUT_MAX + 16384);
	int r = read_file(path, &text);

	if (r < 0) {
		fprintf(stderr, "sluicectl: policy: %s: %s\n", path, strerror(-r));
		c->unreadable = true;
		return;
	}
	check_text(c, path, buf_span(&text));
}

static void check_config(struct check *c, bool policy_too)
{
	int r;

	if (!c->config_path)
		return;
	if (access(c->config_path, R_OK) < 0) {
		fprintf(stderr, "sluicectl: policy: %s: %s\n", c->config_path, strerror(errno));
		c->unreadable = true;
		return;
	}
	r = config_load(c->config_path, c->flags | CONFIG_PARTIAL, &c->diags, &c->config);
	if (r < 0 && r != -EINVAL) {
		fprintf(stderr, "sluicectl: policy: %s: %s\n", c->config_path, strerror(-r));
		c->unreadable = true;
	}
	if (!c->config || !c->config->policy_file || !policy_too)
		return;
	if (c->config->policy_text.p)
		check_text(c, c->config->policy_file, c->config->policy_text);
	else if (c->flags & CONFIG_OFFLINE) /* the configuration's loader has not read it */
		check_file(c, c->config->policy_file);
}

static void put_faults(struct check *c)
{
	diags_sort(&c->diags);
	for (size_t i = 0; i < c->diags.n; i++) {
		const struct diag *d = &c->diags.list[i];

		jsonw_object(&c->w, NULL);
		jsonw_uint(&c->w, "column", d->column);
		jsonw_str(&c->w, "file", d->file);
		jsonw_uint(&c->w, "line", d->line);
		jsonw_str(&c->w, "text", d->text);
		jsonw_close(&c->w);
	}
}

/* Faults come after policies in the order of keys: but they are known only at the end. */
static int print_json(struct check *c)
{
	_cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX);
	struct jsonw policies = c->w;
	int r;

	jsonw_close(&policies);
	r = jsonw_end(&policies);
	if (r < 0)
		return r;
	jsonw_init(&c->w, &out);
	jsonw_object(&c->w, NULL);
	jsonw_array(&c->w, "faults");
	put_faults(c);
	jsonw_close(&c->w);
	jsonw_uint(&c->w, "faults_dropped", c->diags.dropped);
	jsonw_raw(&c->w, "policies", buf_span(&c->lines));
	jsonw_str(&c->w, "result", c->unreadable ? "unknown" : c->diags.n > 0 ? "faulty" : "valid");
	jsonw_close(&c->w);
	r = jsonw_end(&c->w);
	if (r == 0)
		printf("%.*s\n", SPAN_FMT(buf_span(&out)));
	return r;
}

static int finish(struct check *c)
{
	int status = c->unreadable ? CMD_UNKNOWN : c->diags.n > 0 ? CMD_NO : CMD_YES;

	if (c->json) {
		if (print_json(c) < 0)
			status = CMD_UNKNOWN;
	} else {
		diags_print(&c->diags, stdout);
		printf("%.*s", SPAN_FMT(buf_span(&c->lines)));
		if (c->diags.n == 0 && buf_len(&c->lines) == 0 && !c->unreadable)
			printf("%s: no fault\n", c->config_path);
	}
	config_free(c->config);
	diags_done(&c->diags);
	buf_done(&c->lines);
	return status;
}

static int parse_options(int argc, char **argv, struct check *c)
{
	enum { OPT_OFFLINE = 256, OPT_JSON };
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"offline", no_argument, NULL, OPT_OFFLINE},
		{"json", no_argument, NULL, OPT_JSON},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		if (opt == 'c') {
			c->config_path = optarg;
		} else if (opt == OPT_OFFLINE) {
			c->flags |= CONFIG_OFFLINE;
		} else if (opt == OPT_JSON) {
			c->json = true;
		} else {
			fputs(usage, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? CMD_YES : CMD_UNKNOWN;
		}
	}
	if (optind == argc && !c->config_path) {
		fputs(usage, stderr);
		return CMD_UNKNOWN;
	}
	return -1;
}

static int verb_check(int argc, char **argv)
{
	struct check c = {
		.flags = CONFIG_NO_SECRETS,
		.json = cmd_globals.json,
		.diags = DIAGS_INIT,
		.lines = BUF_INIT(ANSWER_MAX),
	};
	int r;

	/* The default is for verbs that talk to the daemon: here it would make a policy's faults
	 * depend on what else the machine has. */
	if (!streq(cmd_globals.config, CMD_CONFIG_DEFAULT))
		c.config_path = cmd_globals.config;
	r = parse_options(argc, argv, &c);
	if (r >= 0)
		return r;
	jsonw_init(&c.w, &c.lines);
	if (c.json)
		jsonw_array(&c.w, NULL);
	check_config(&c, optind == argc);
	for (int i = optind; i < argc; i++)
		check_file(&c, argv[i]);
	return finish(&c);
}

int cmd_policy(int argc, char **argv)
{
	if (argc >= 2 && streq(argv[1], "check"))
		return verb_check(argc - 1, argv + 1);
	if (argc >= 2 && (streq(argv[1], "--help") || streq(argv[1], "help"))) {
		fputs(usage, stdout);
		return CMD_YES;
	}
	fputs(usage, stderr);
	return CMD_UNKNOWN;
}
