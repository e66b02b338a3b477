#include <fcntl.h>
#include <getopt.h>
#include <time.h>

#include "authn/jws.h"
#include "base/jsonw.h"
#include "tools/cmd.h"
#include "tools/ctl.h"

#define TOKEN_INPUT_MAX (4u * TOKEN_BYTES_MAX) /* white space around it and all */
#define ANSWER_MAX	65536u

static const char usage[] =
	"usage: sluicectl token verify --jwks FILE --issuer ISS --audience AUD\n"
	"           [--at SECONDS] [--alg ES256,RS256] [--groups-claim NAME] [--json] < TOKEN\n"
	"Says whether a token would be accepted, and as whom. Needs no daemon.\n"
	"  --jwks FILE          the issuer's public keys, a JWK Set\n"
	"  --issuer ISS         what its iss claim must be\n"
	"  --audience AUD       what its aud claim must be, or hold\n"
	"  --at SECONDS         check as of then (since 1970; default: now)\n"
	"  --alg LIST           algorithms the issuer may use (default: ES256,RS256)\n"
	"  --groups-claim NAME  claim that lists the groups (default: groups)\n"
	"Exits 0: valid; 1: refused, with the reason's code; 2: could not tell.\n";

struct options {
	struct issuer_config issuer;
	char *algorithms; /* taken apart in place */
	int64_t at;
	bool json;
};

static int fault(const char *what, const char *why)
{
	fprintf(stderr, "sluicectl: token: %s: %s\n", what, why);
	return -EINVAL;
}

/* Read all of fd, at most the buffer's maximum; -ENOBUFS: there is more. */
static int read_all(int fd, struct buf *to)
{
	for (;;) {
		size_t want = MIN(buf_room(to), (size_t)4096);
		uint8_t over;
		uint8_t *p = want > 0 ? buf_reserve(to, want) : &over;
		ssize_t n;

		if (!p)
			return buf_error(to);
		n = read(fd, p, MAX(want, (size_t)1));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (want == 0)
			return -ENOBUFS;
		buf_commit(to, (size_t)n);
	}
}

static int read_file(const char *path, struct buf *to)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : read_all(fd, to);
}

static int parse_algorithms(struct options *o)
{
	char *rest = o->algorithms;
	const char *name;

	o->issuer.n_algorithms = 0;
	while ((name = strsep(&rest, ","))) {
		if (jws_alg_by_name(name) == JWS_ALG_NONE)
			return fault("--alg", "knows ES256 and RS256");
		if (o->issuer.n_algorithms == ALGORITHMS_MAX)
			return fault("--alg", "names one more than once");
		o->issuer.algorithms[o->issuer.n_algorithms++] = name;
	}
	return 0;
}

static int parse_time(const char *text, int64_t *ret)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
		return fault("--at", "not a number of seconds");
	*ret = v;
	return 0;
}

enum { OPT_JWKS = 1, OPT_ISSUER, OPT_AUDIENCE, OPT_AT, OPT_ALG, OPT_GROUPS, OPT_JSON, OPT_HELP };

static const struct option long_options[] = {
	{"jwks", required_argument, NULL, OPT_JWKS},
	{"issuer", required_argument, NULL, OPT_ISSUER},
	{"audience", required_argument, NULL, OPT_AUDIENCE},
	{"at", required_argument, NULL, OPT_AT},
	{"alg", required_argument, NULL, OPT_ALG},
	{"groups-claim", required_argument, NULL, OPT_GROUPS},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static int take_option(struct options *o, int opt)
{
	switch (opt) {
	case OPT_JWKS:
		o->issuer.jwks_file = optarg;
		return 0;
	case OPT_ISSUER:
		o->issuer.issuer = optarg;
		return 0;
	case OPT_AUDIENCE:
		o->issuer.audience = optarg;
		return 0;
	case OPT_AT:
		return parse_time(optarg, &o->at);
	case OPT_ALG:
		free(o->algorithms);
		o->algorithms = strdup(optarg);
		return o->algorithms ? parse_algorithms(o) : -ENOMEM;
	case OPT_GROUPS:
		o->issuer.groups_claim = optarg;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	default:
		return -EINVAL;
	}
}

/* 0, 1 when help was asked for and given, or an error that was told. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int opt;
	int r;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			(void)fputs(usage, stdout);
			return 1;
		}
		r = take_option(o, opt);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return fault(argv[optind], "not expected; the token is read from standard input");
	if (!o->issuer.jwks_file || !o->issuer.issuer || !o->issuer.audience)
		return fault("verify", "--jwks, --issuer and --audience are needed");
	return 0;
}

static void print_field(const char *name, const char *value)
{
	printf("%-10s ", name);
	ctl_print(stdout, value, 0);
	(void)putchar('\n');
}

static void print_time(const char *name, int64_t at)
{
	char text[40] = "";
	struct tm tm;
	time_t t = at;

	if (gmtime_r(&t, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	print_field(name, text);
}

static void print_valid(const struct principal *p, const struct jws_header *h)
{
	printf("valid\n");
	print_field("subject", p->subject);
	for (size_t i = 0; i < p->n_groups; i++)
		print_field(i == 0 ? "groups" : "", p->groups[i]);
	print_time("expires", p->expires);
	if (p->issued > 0)
		print_time("issued", p->issued);
	if (p->token_id)
		print_field("token id", p->token_id);
	print_field("algorithm", jws_alg_name(h->alg));
	print_field("key", h->has_kid ? h->kid : "(not named)");
}

static int print_json(enum token_reason reason, const struct principal *p,
		      const struct jws_header *h)
{
	_cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX);
	struct jsonw w;
	int r;

	jsonw_init(&w, &out);
	jsonw_object(&w, NULL);
	if (p) {
		jsonw_str(&w, "algorithm", jws_alg_name(h->alg));
		jsonw_int(&w, "expires", p->expires);
		jsonw_array(&w, "groups");
		for (size_t i = 0; i < p->n_groups; i++)
			jsonw_str(&w, NULL, p->groups[i]);
		jsonw_close(&w);
		if (p->issued > 0)
			jsonw_int(&w, "issued", p->issued);
		jsonw_str(&w, "issuer", p->issuer);
		jsonw_str(&w, "key", h->has_kid ? h->kid : NULL);
	}
	jsonw_str(&w, "reason", token_reason_code(reason));
	jsonw_str(&w, "result", p ? "valid" : "refused");
	if (p) {
		jsonw_str(&w, "subject", p->subject);
		jsonw_str(&w, "token_id", p->token_id);
		jsonw_hex(&w, "token_sha256", span_of(p->token_sha256, SHA256_LEN));
	}
	jsonw_close(&w);
	r = jsonw_end(&w);
	if (r < 0)
		return r;
	printf("%.*s\n", SPAN_FMT(buf_span(&out)));
	return 0;
}

/* The header once more, to show which key it was: the token was verified. */
static int header_of(struct span token, struct jws_header *ret_header)
{
	struct jws jws;

	if (jws_split(jws_trim(token), &jws) < 0 ||
	    jws_header_parse(jws.header, ret_header) != TOKEN_OK)
		return -EBADMSG;
	return 0;
}

static int verify(const struct options *o, const struct token_verifier *v)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(ANSWER_MAX);
	_cleanup_buf_ struct buf token = BUF_INIT(TOKEN_INPUT_MAX);
	struct jws_header header = {0};
	enum token_reason reason;
	struct principal p;
	int r;

	r = read_all(STDIN_FILENO, &token);
	if (r < 0 && r != -ENOBUFS) {
		(void)fault("standard input", strerror(-r));
		return CMD_UNKNOWN;
	}
	reason = r == -ENOBUFS ? TOKEN_TOO_LARGE
			       : token_verify(v, NULL, buf_span(&token), o->at, &arena, &p);
	if (reason == TOKEN_NO_MEMORY ||
	    (reason == TOKEN_OK && header_of(buf_span(&token), &header) < 0)) {
		(void)fault("verify", token_reason_public(TOKEN_NO_MEMORY));
		return CMD_UNKNOWN;
	}
	if (o->json) {
		if (print_json(reason, reason == TOKEN_OK ? &p : NULL, &header) < 0)
			return CMD_UNKNOWN;
	} else if (reason == TOKEN_OK) {
		print_valid(&p, &header);
	} else {
		printf("refused: %s\n%s\n", token_reason_code(reason), token_reason_public(reason));
	}
	return reason == TOKEN_OK ? CMD_YES : CMD_NO;
}

/* Keys first: without a usable one, no token could be told from another. */
static int load_keys(struct options *o, struct buf *jwks)
{
	_cleanup_(jwks_freep) struct jwks *set = NULL;
	int r;

	r = read_file(o->issuer.jwks_file, jwks);
	if (r < 0)
		return fault(o->issuer.jwks_file,
			     r == -ENOBUFS ? "larger than 1 MiB" : strerror(-r));
	o->issuer.jwks = buf_span(jwks);
	r = jwks_parse(o->issuer.jwks, &set);
	if (r == -EBADMSG)
		return fault(o->issuer.jwks_file,
			     "not a JWK Set, or a key in it is malformed, weak or private");
	if (r < 0)
		return fault(o->issuer.jwks_file, strerror(-r));
	if (jwks_count(set) == 0)
		return fault(o->issuer.jwks_file, "holds no key for ES256 or RS256 signatures");
	return 0;
}

static int verb_verify(int argc, char **argv)
{
	_cleanup_(token_verifier_freep) struct token_verifier *v = NULL;
	_cleanup_buf_ struct buf jwks = BUF_INIT(JSON_INPUT_MAX);
	struct options o = {
		.issuer = {.name = "command line",
			   .n_algorithms = 2,
			   .algorithms = {"ES256", "RS256"}},
		.at = time(NULL),
		.json = cmd_globals.json,
	};
	size_t bad;
	int r;

	r = parse_options(argc, argv, &o);
	if (r == 0)
		r = load_keys(&o, &jwks);
	if (r == 0)
		r = token_verifier_new(&o.issuer, 1, &bad, &v);
	if (r == 0)
		r = verify(&o, v);
	else
		r = r > 0 ? CMD_YES : CMD_UNKNOWN;
	free(o.algorithms);
	return r;
}

int cmd_token(int argc, char **argv)
{
	if (argc >= 2 && streq(argv[1], "verify"))
		return verb_verify(argc - 1, argv + 1);
	if (argc >= 2 && (streq(argv[1], "--help") || streq(argv[1], "help"))) {
		(void)fputs(usage, stdout);
		return CMD_YES;
	}
	(void)fputs(usage, stderr);
	return CMD_UNKNOWN;
}
