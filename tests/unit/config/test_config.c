#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/sha.h>
#include <sys/stat.h>

#include "config/config.h"

static char dir[64];

static const char *at(const char *name)
{
	static char path[4][128];
	static unsigned turn;

	turn = (turn + 1) % 4;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *name, mode_t mode, const char *text)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) < 0, 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(at(name), mode), 0);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/sluice-config.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	put("policy.yaml", 0644, "rules: []\n");
	put("jwks.json", 0644, "{\"keys\":[]}");
	put("ca.pem", 0644, "-----BEGIN CERTIFICATE-----\n");
	put("password", 0600, "s3cret\n");
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"policy.yaml", "jwks.json",	  "ca.pem",
					    "password",	   "sluice.yaml", "open",
					    "empty",	   "lines",	  "world"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(at(names[i]));
	return rmdir(dir);
}

static int load(const char *text, unsigned flags, char **ret_faults, struct config **ret)
{
	struct diags d = DIAGS_INIT;
	size_t size;
	FILE *f;
	int r;

	put("sluice.yaml", 0600, text);
	r = config_load(at("sluice.yaml"), flags, &d, ret);
	f = open_memstream(ret_faults, &size);
	diags_print(&d, f);
	(void)fclose(f);
	diags_done(&d);
	return r;
}

/* Faults are compared without the folder's name. */
static void faults_with(const char *text, unsigned flags, const char *want)
{
	_cleanup_free_ char *got = NULL;
	struct config *c = NULL;
	char *from;
	char *to;

	assert_int_equal(load(text, flags, &got, &c), -EINVAL);
	assert_null(c);
	for (from = to = got; *from; from++, to++) {
		if (strncmp(from, dir, strlen(dir)) == 0)
			from += strlen(dir) + 1;
		*to = *from;
	}
	*to = '\0';
	if (strcmp(got, want) != 0)
		(void)fprintf(stderr, "%s", got);
	assert_string_equal(got, want);
}

static void faults(const char *text, const char *want)
{
	faults_with(text, 0, want);
}

#define WORKLOADS "workloads:\n  - { name: w, match: { cgroup: '/sluice/*' } }\n"
#define MINIMAL	  "policy: policy.yaml\n" WORKLOADS

static struct config *loaded(const char *text, unsigned flags)
{
	_cleanup_free_ char *got = NULL;
	struct config *c = NULL;

	if (load(text, flags, &got, &c) < 0)
		fail_msg("%s", got);
	return c;
}

static void defaults(void **state)
{
	static const char text[] = MINIMAL "resources: []\n";
	uint8_t sha256[SHA256_LEN];
	struct config *c = loaded(text, 0);
	char host[256];

	(void)state;
	assert_int_equal(gethostname(host, sizeof(host)), 0);
	assert_string_equal(c->node, host);
	assert_string_equal(c->state_dir, "/var/lib/sluice");
	assert_string_equal(c->run_dir, "/run/sluice");
	assert_string_equal(c->bpf_dir, "/sys/fs/bpf/sluice");
	assert_int_equal(c->listen_port, 15001);
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->recorder_wait_ms, 2000);
	assert_int_not_equal(c->worker_uid, c->recorder_uid);
	assert_int_not_equal(c->worker_uid, 0);
	assert_int_equal(c->n_scopes, 1);
	assert_string_equal(c->scopes[0], "/sluice");
	assert_true(span_eq_str(c->policy_text, "rules: []\n"));
	assert_string_equal(c->policy_file, at("policy.yaml"));
	assert_null(c->workloads[0].token_file);
	SHA256((const uint8_t *)text, sizeof(text) - 1, sha256);
	assert_memory_equal(c->file_sha256, sha256, SHA256_LEN);
	config_free(c);
}

static const char whole[] =
	"node: n1\n"
	"state_dir: /s\n"
	"run_dir: /r\n"
	"bpf_dir: /b\n"
	"listen_port: 16000\n"
	"workers: 3\n"
	"users: { worker: nobody, recorder: 61002 }\n"
	"recorder_wait: 500ms\n"
	"policy: policy.yaml\n"
	"scopes: [/sluice, /kubepods.slice]\n"
	"issuers:\n"
	"  - name: cluster\n"
	"    issuer: https://issuer.example\n"
	"    jwks: jwks.json\n"
	"    audience: sluice\n"
	"    algorithms: [RS256]\n"
	"    groups_claim: roles\n"
	"workloads:\n"
	"  - name: support-agent\n"
	"    match: { cgroup: '/sluice/support-*' }\n"
	"    token: { file: /var/run/secrets/sluice/token }\n"
	"    issuer: cluster\n"
	"resources:\n"
	"  - name: customers-db\n"
	"    protocol: postgres\n"
	"    match: { host: db.internal, address: [10.9.0.0/16, '2001:db8::1'], port: 5432 }\n"
	"    upstream: { address: '127.0.0.1:5433', tls: verify-ca, ca: ca.pem }\n"
	"    credential: { user: gateway, password_file: password }\n"
	"    databases: [customers, postgres]\n"
	"  - name: by-name\n"
	"    match: { host: localhost, port: 5432 }\n"
	"    upstream: { address: '[::1]:5432', tls: require, server_name: other.example }\n"
	"    credential: { user: gateway }\n"
	"approvers:\n"
	"  - { name: Ann, unix_user: root, groups: [dba, lead] }\n";

static void everything(void **state)
{
	struct config *c = loaded(whole, 0);
	const struct resource_config *res = &c->resources[0];

	(void)state;
	assert_string_equal(c->node, "n1");
	assert_int_equal(c->listen_port, 16000);
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->worker_uid, 65534);
	assert_int_equal(c->recorder_uid, 61002);
	assert_int_equal(c->recorder_wait_ms, 500);
	assert_int_equal(c->n_scopes, 2);
	assert_string_equal(c->issuers[0].jwks_file, at("jwks.json"));
	assert_true(span_eq_str(c->issuers[0].jwks, "{\"keys\":[]}"));
	assert_int_equal(c->issuers[0].n_algorithms, 1);
	assert_string_equal(c->issuers[0].algorithms[0], "RS256");
	assert_string_equal(c->issuers[0].groups_claim, "roles");
	assert_string_equal(c->workloads[0].cgroup, "/sluice/support-*");
	assert_string_equal(c->workloads[0].token_file, "/var/run/secrets/sluice/token");
	assert_string_equal(c->workloads[0].issuer, "cluster");
	assert_int_equal(res->n_addrs, 2);
	assert_int_equal(res->addrs[0].prefix, 16);
	assert_int_equal(res->addrs[1].family, 6);
	assert_int_equal(res->port, 5432);
	assert_int_equal(res->upstream_addr.port, 5433);
	assert_memory_equal(res->upstream_addr.addr, "\x7f\0\0\x01", 4);
	assert_int_equal(res->tls, TLS_VERIFY_CA);
	/* The upstream is given by address: the certificate is for the name the agent knows. */
	assert_string_equal(res->upstream_host, "db.internal");
	assert_string_equal(res->password, "s3cret");
	assert_int_equal(res->n_databases, 2);
	assert_string_equal(c->resources[1].upstream_host, "other.example");
	assert_int_equal(c->resources[1].upstream_addr.family, 6);
	assert_true(c->resources[1].n_addrs >= 1);
	assert_null(c->resources[1].password);
	assert_int_equal(c->approvers[0].uid, 0);
	assert_int_equal(c->approvers[0].n_groups, 2);
	config_free(c);
	c = loaded(whole, CONFIG_NO_SECRETS);
	assert_null(c->resources[0].password);
	assert_string_equal(c->resources[0].password_file, at("password"));
	assert_non_null(c->resources[0].ca_pem.p);
	config_free(c);
	config_free(NULL);
}

static void all_faults_at_once(void **state)
{
	(void)state;
	faults("nodes: n\n"
	       "state_dir: relative\n"
	       "listen_port: 70000\n"
	       "recorder_wait: soon\n"
	       "users: { worker: 7, recorder: 7 }\n"
	       "policy: none.yaml\n"
	       "scopes: [sluice, '/a/*', /sluice]\n"
	       "issuers:\n"
	       "  - { name: a b, issuer: x, jwks: 'https://x/keys', audience: y, algorithms: "
	       "[HS256] }\n"
	       "workloads:\n"
	       "  - { name: w, match: { cgroup: '/sluice*' } }\n"
	       "  - { name: w, match: { cgroup: /sluice/../x } }\n"
	       "  - { name: x, match: { cgroup: /other/x }, issuer: z }\n"
	       "  - { name: y, match: { cgroup: /sluice/y, labels: {} }, token: { file: token } }\n"
	       "resources:\n"
	       "  - { name: r, match: {}, upstream: {}, credential: {} }\n"
	       "approvers:\n"
	       "  - { name: Ann, unix_user: nobody-of-that-name, groups: [] }\n",
	       "sluice.yaml:1:1: unknown key \"nodes\": did you mean \"node\"?\n"
	       "sluice.yaml:2:12: \"relative\" must be an absolute path\n"
	       "sluice.yaml:3:14: must be a number from 1 to 65535\n"
	       "sluice.yaml:4:16: must be a length of time: a number and ms, s, m, h or d, such as "
	       "30s\n"
	       "sluice.yaml:5:8: worker and recorder must be different users\n"
	       "sluice.yaml:6:9: cannot read none.yaml: No such file or directory\n"
	       "sluice.yaml:7:10: \"sluice\" must be the path of a cgroup below the v2 root, such "
	       "as /sluice\n"
	       "sluice.yaml:7:18: \"/a/*\" must be the path of a cgroup below the v2 root, such as "
	       "/sluice\n"
	       "sluice.yaml:9:13: \"a b\" must be a name of letters, digits, \".\", \"_\" and "
	       "\"-\"\n"
	       "sluice.yaml:9:35: must be a file here: keys are not fetched\n"
	       "sluice.yaml:9:79: unknown value \"HS256\": did you mean \"ES256\"?\n"
	       "sluice.yaml:11:33: \"/sluice*\" is not below a scope (/sluice)\n"
	       "sluice.yaml:12:13: the name \"w\" is taken already\n"
	       "sluice.yaml:12:33: \"/sluice/../x\" must be a path such as /sluice/name-*\n"
	       "sluice.yaml:13:33: \"/other/x\" is not below a scope (/sluice)\n"
	       "sluice.yaml:13:53: has no effect without token\n"
	       "sluice.yaml:14:44: unknown key \"labels\"\n"
	       "sluice.yaml:14:73: \"token\" must be an absolute path\n"
	       "sluice.yaml:16:23: key \"port\" is missing\n"
	       "sluice.yaml:16:23: needs host or address: what the agent connects to\n"
	       "sluice.yaml:16:37: key \"address\" is missing\n"
	       "sluice.yaml:16:53: key \"user\" is missing\n"
	       "sluice.yaml:18:29: no user \"nobody-of-that-name\" on this machine\n"
	       "sluice.yaml:18:58: must not be an empty list\n");
}

#define RES(name, addr, upstream, more)                   \
	"  - name: " name "\n    match: { address: " addr \
	", port: 5432 }\n    upstream: { " upstream " }\n    credential: { user: u" more " }\n"

static void resources(void **state)
{
	(void)state;
	faults(MINIMAL "resources:\n" RES("a", "10.0.0.0/8", "address: 'db', tls: off", "") RES(
		       "b", "[10.1.1.1, 11.0.0.1/8, 1.2.3, '::ffff:1.2.3.4', 1.2.3.4/33]",
		       "address: '::1:5', ca: password", "")
		       RES("c", "1.1.1.1", "address: 'no..such:1', tls: require, ca: ca.pem", "")
			       RES("d", "1.1.1.0/24", "address: '1.1.1.1:0', tls: disable",
				   ", password: x"),
	       "sluice.yaml:7:26: \"db\" must be host:port, or [address]:port for IPv6\n"
	       "sluice.yaml:7:37: unknown value \"off\": must be one of verify-full, verify-ca, "
	       "require, disable\n"
	       "sluice.yaml:10:12: matches an address and port that resource \"a\" matches too\n"
	       "sluice.yaml:10:34: \"11.0.0.1/8\" has bits set past its prefix length\n"
	       "sluice.yaml:10:46: \"1.2.3\" is neither an address nor a block such as 10.0.0.0/8\n"
	       "sluice.yaml:10:53: \"::ffff:1.2.3.4\" is neither an address nor a block such as "
	       "10.0.0.0/8\n"
	       "sluice.yaml:10:71: \"1.2.3.4/33\" is neither an address nor a block such as "
	       "10.0.0.0/8\n"
	       "sluice.yaml:11:26: \"::1:5\" must be host:port, or [address]:port for IPv6\n"
	       "sluice.yaml:11:39: password holds no PEM certificate\n"
	       "sluice.yaml:15:26: cannot resolve \"no..such\": Name or service not known\n"
	       "sluice.yaml:15:58: ca is not used with tls: require; say verify-full or verify-ca\n"
	       "sluice.yaml:18:12: matches an address and port that resource \"c\" matches too\n"
	       "sluice.yaml:19:26: \"1.1.1.1:0\" must be host:port, or [address]:port for IPv6\n"
	       "sluice.yaml:20:28: unknown key \"password\"\n");
}

static void secrets(void **state)
{
	(void)state;
	put("open", 0640, "x\n");
	put("empty", 0600, "\n");
	put("lines", 0400, "a\nb\n");
	put("world", 0666, "rules: []\n");
	faults("policy: world\n" WORKLOADS
	       "resources:\n" RES("a", "1.1.1.1", "address: '1.1.1.1:1'", ", password_file: open")
		       RES("b", "1.1.1.2", "address: '1.1.1.1:1'", ", password_file: empty")
			       RES("c", "1.1.1.3", "address: '1.1.1.1:1'", ", password_file: lines")
				       RES("d", "1.1.1.4", "address: '1.1.1.1:1'",
					   ", password_file: /dev/null")
					       RES("e", "1.1.1.5", "address: '1.1.1.1:1'",
						   ", password_file: none"),
	       "sluice.yaml:1:9: world can be written by anybody: chmod o-w world\n"
	       "sluice.yaml:8:43: open can be read by others than its owner (mode 0640): chmod 600 "
	       "open\n"
	       "sluice.yaml:12:43: empty is empty: it must hold the password\n"
	       "sluice.yaml:16:43: lines must hold one line, the password\n"
	       "sluice.yaml:20:43: /dev/null is not a regular file\n"
	       "sluice.yaml:24:43: cannot read none: No such file or directory\n");
}

static void the_file_itself(void **state)
{
	struct diags d = DIAGS_INIT;
	struct config *c = NULL;

	(void)state;
	assert_int_equal(config_load("/nonexistent/sluice.yaml", 0, &d, &c), -EINVAL);
	assert_int_equal(d.n, 1);
	assert_int_equal(d.list[0].line, 0);
	assert_string_equal(d.list[0].text, "cannot read /nonexistent/sluice.yaml: "
					    "No such file or directory");
	diags_done(&d);
	faults("", "sluice.yaml: is empty\n");
	faults("- a\n", "sluice.yaml:1:1: must be a mapping (key: value), not a list\n");
	faults("{}\n", "sluice.yaml:1:1: key \"policy\" is missing\n"
		       "sluice.yaml:1:1: key \"workloads\" is missing\n"
		       "sluice.yaml:1:1: key \"resources\" is missing\n");
	/* Offline: the files that are named need not be there. */
	c = loaded("policy: none\n" WORKLOADS "resources:\n" RES(
			   "a", "1.1.1.1", "address: 'db.invalid:1'", ", password_file: none"),
		   CONFIG_OFFLINE);
	assert_null(c->policy_text.p);
	config_free(c);
}

/* What cannot be read makes up no faults elsewhere, and hides none. */
static void faults_of_structure_hide_none(void **state)
{
	faults("policy: none.yaml\npolicy: policy.yaml\nlisten_port: 0\nscopes: [*x, /b]\n"
	       "issuers: *x\nworkloads:\n"
	       "  - { name: w, match: { cgroup: /a/w }, token: { file: /t }, issuer: i }\n"
	       "  - { name: &y v, match: { cgroup: /b/v } }\n  - *x\nresources: []\nnode: a\nnode: "
	       "b\n",
	       "sluice.yaml:1:9: cannot read none.yaml: No such file or directory\n"
	       "sluice.yaml:2:1: key \"policy\" is here twice (first on line 1)\n"
	       "sluice.yaml:3:14: must be a number from 1 to 65535\n"
	       "sluice.yaml:4:10: aliases (*name) are not allowed here\n"
	       "sluice.yaml:5:10: aliases (*name) are not allowed here\n"
	       "sluice.yaml:8:13: anchors (&name) are not allowed here\n"
	       "sluice.yaml:9:5: aliases (*name) are not allowed here\n"
	       "sluice.yaml:12:1: key \"node\" is here twice (first on line 11)\n");
	(void)state;
}

static void partial(void **state)
{
	_cleanup_free_ char *got = NULL;
	struct config *c = NULL;

	(void)state;
	assert_int_equal(load(MINIMAL "resources: []\nx: 1\n", CONFIG_PARTIAL, &got, &c), -EINVAL);
	assert_non_null(c);
	assert_true(c->partial);
	assert_true(span_eq_str(c->policy_text, "rules: []\n"));
	config_free(c);
	c = loaded(MINIMAL "resources: []\n", CONFIG_PARTIAL);
	assert_false(c->partial);
	config_free(c);
	c = NULL;
	freep(&got);
	assert_int_equal(load("a: [\n", CONFIG_PARTIAL, &got, &c), -EINVAL);
	assert_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(everything),
		cmocka_unit_test(all_faults_at_once),
		cmocka_unit_test(resources),
		cmocka_unit_test(secrets),
		cmocka_unit_test(the_file_itself),
		cmocka_unit_test(faults_of_structure_hide_none),
		cmocka_unit_test(partial),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
