#include "proto/postgres/pg_login.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "proto/postgres/pg_login_error.h"
#include "proto/postgres/pg_scram.h"
#include "proto/postgres/pg_settings.h"
#include "proto/postgres/pg_wire.h"

#define ARENA_BYTES (256u * 1024u)

/* AuthenticationXXX codes (PostgreSQL 15, 55.7) */
enum {
	AUTH_OK = 0,
	AUTH_CLEARTEXT = 3,
	AUTH_MD5 = 5,
	AUTH_SASL = 10,
	AUTH_SASL_CONTINUE = 11,
	AUTH_SASL_FINAL = 12,
};

/*  NEW ─start→ TLS_ASKED ─'S'→ TLS_WAIT ─tls_started→ STARTED
 *   └────────────start (no TLS)────────────────────────▲ │
 *  STARTED ─cleartext, md5→ ANSWERED ─ok→ SETTLING ─Z→ DONE
 *  STARTED ─ok→ SETTLING;  STARTED ─sasl→ SASL_FIRST ─continue→ SASL_PROVED ─final→ ANSWERED
 *  any ─fault→ FAILED */
enum state {
	NEW,
	TLS_ASKED,
	TLS_WAIT,
	STARTED,
	SASL_FIRST,
	SASL_PROVED,
	ANSWERED,
	SETTLING,
	DONE,
	FAILED,
};

struct login {
	struct arena arena;
	enum state state;
	char *user;
	char *password; /* NULL: none */
	bool tls;
	struct span startup; /* the whole packet */
	bool has_scram;
	struct pg_scram scram;
	size_t n_params;
	struct proto_param params[LOGIN_PARAMS_MAX];
	struct proto_login_result result;
	struct pg_login_error error;
};

static int fail(struct login *l, int code, const char *sqlstate, const char *message,
		const char *hint)
{
	pg_login_error_set(&l->error, sqlstate, message, hint);
	l->state = FAILED;
	return code;
}

static int nonsense(struct login *l)
{
	return fail(l, -EPROTO, "08P01",
		    "the database server answered the login with something that is not "
		    "PostgreSQL's protocol",
		    "Tell the operator of this resource: its upstream may not be PostgreSQL.");
}

/* Names that the login itself sends, or that would make it something else than a session. */
static bool param_of_ours(const char *name)
{
	return streq(name, "user") || streq(name, "database") || streq(name, "replication") ||
	       name[0] == '\0';
}

static int make_startup(struct login *l, const struct proto_login_config *config)
{
	_cleanup_buf_ struct buf b = BUF_INIT(PG_STARTUP_MAX);

	buf_put_be32(&b, 0);
	buf_put_be32(&b, PG_PROTOCOL_3_0);
	buf_put_cstr(&b, "user");
	buf_put_cstr(&b, config->user);
	if (config->database && config->database[0]) {
		buf_put_cstr(&b, "database");
		buf_put_cstr(&b, config->database);
	}
	for (size_t i = 0; i < config->n_params; i++) {
		if (param_of_ours(config->params[i].name))
			continue;
		buf_put_cstr(&b, config->params[i].name);
		buf_put_cstr(&b, config->params[i].value);
	}
	buf_put_u8(&b, 0);
	if (buf_error(&b) < 0)
		return buf_error(&b) == -ENOBUFS ? -E2BIG : buf_error(&b);
	buf_set_be32(&b, 0, (uint32_t)buf_len(&b));
	l->startup = arena_dup(&l->arena, buf_span(&b));
	return l->startup.p ? 0 : -ENOMEM;
}

static void login_close(void *login)
{
	struct login *l = login;

	if (!l)
		return;
	if (l->password)
		OPENSSL_cleanse(l->password, strlen(l->password));
	if (l->has_scram)
		pg_scram_done(&l->scram);
	arena_done(&l->arena);
	free(l);
}

DEFINE_CLEANUP(struct login *, login_close, login_closep)

static int login_open(const struct proto_login_config *config, void **ret_login)
{
	_cleanup_(login_closep) struct login *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->arena = ARENA_INIT(ARENA_BYTES);
	l->tls = config->tls;
	l->user = arena_strdup(&l->arena, config->user);
	l->password = arena_strdup(&l->arena, config->password);
	if (!l->user || (config->password && !l->password))
		return -ENOMEM;
	r = make_startup(l, config);
	if (r < 0)
		return r;
	pg_login_error_set(&l->error, "08001", "the login to the database server did not complete",
			   NULL);
	*ret_login = TAKE_PTR(l);
	return 0;
}

static int login_start(void *login, struct buf *out)
{
	struct login *l = login;

	if (l->state != NEW)
		return -EINVAL;
	if (!l->tls) {
		l->state = STARTED;
		return buf_put_span(out, l->startup);
	}
	l->state = TLS_ASKED;
	buf_put_be32(out, PG_REQUEST_LENGTH);
	return buf_put_be32(out, PG_CODE_SSL);
}

static int login_tls_started(void *login, struct buf *out)
{
	struct login *l = login;

	if (l->state != TLS_WAIT)
		return -EINVAL;
	l->state = STARTED;
	return buf_put_span(out, l->startup);
}

/* One byte, and nothing behind it: what came before the handshake could be anybody's. */
static int on_tls_answer(struct login *l, struct span in, size_t *ret_used)
{
	if (in.len == 0)
		return LOGIN_MORE;
	*ret_used = 1;
	if (in.p[0] == 'N')
		return fail(l, -EPROTONOSUPPORT, "08001",
			    "the database server does not offer TLS, and this resource asks for it",
			    "The operator must turn TLS on at the server, or set upstream.tls of "
			    "this resource.");
	if (in.p[0] != 'S' || in.len > 1)
		return nonsense(l);
	l->state = TLS_WAIT;
	return LOGIN_TLS;
}

static int put_password(struct buf *out, const char *text)
{
	buf_put_u8(out, 'p');
	buf_put_be32(out, (uint32_t)(4 + strlen(text) + 1));
	return buf_put_cstr(out, text);
}

static int no_password(struct login *l)
{
	return fail(l, -EACCES, "28000",
		    "the database server asks for a password, and sluice has none for it",
		    "The operator must set credential.password_file of this resource.");
}

static int md5_hex(struct span a, struct span b, char ret[static 33])
{
	_cleanup_buf_ struct buf text = BUF_INIT(8192);
	_cleanup_buf_ struct buf hex = BUF_INIT(33);
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int ok;

	buf_put_span(&text, a);
	buf_put_span(&text, b);
	if (buf_error(&text) < 0)
		return buf_error(&text);
	ok = EVP_Digest(buf_span(&text).p, buf_len(&text), digest, &len, EVP_md5(), NULL);
	if (text.data)
		OPENSSL_cleanse(text.data, text.cap);
	if (ok != 1 || len != 16)
		return -EPROTONOSUPPORT;
	buf_put_hex(&hex, span_of(digest, len));
	buf_put_u8(&hex, 0);
	if (buf_error(&hex) < 0)
		return buf_error(&hex);
	memcpy(ret, buf_span(&hex).p, 33);
	return 0;
}

/* "md5" and md5(md5(password, user), salt), in hex. */
static int answer_md5(struct login *l, struct span salt, struct buf *out)
{
	char text[3 + 33] = "md5";
	int r;

	r = md5_hex(span_str(l->password), span_str(l->user), text + 3);
	if (r == 0)
		r = md5_hex(span_of(text + 3, 32), salt, text + 3);
	if (r == 0)
		r = put_password(out, text);
	OPENSSL_cleanse(text, sizeof(text));
	if (r == -EPROTONOSUPPORT)
		return fail(l, r, "08001",
			    "the database server asks for an MD5 password, which this node's "
			    "cryptography does not do",
			    "The operator must store the password as scram-sha-256.");
	return r;
}

static bool offers_scram(struct cursor *c)
{
	bool found = false;
	struct span name;

	while (cursor_cstr(c, &name) == 0 && name.len > 0)
		found = found || span_eq_str(name, PG_SCRAM_MECHANISM);
	return found;
}

static int not_supported(struct login *l)
{
	return fail(l, -EPROTONOSUPPORT, "08001",
		    "the database server asks for a kind of authentication that sluice does not do",
		    "The operator must allow scram-sha-256 for the gateway's user in pg_hba.conf.");
}

static int begin_sasl(struct login *l, struct cursor *c, struct buf *out)
{
	_cleanup_buf_ struct buf first = BUF_INIT(PG_SCRAM_MESSAGE_MAX);
	int r;

	if (!offers_scram(c))
		return not_supported(l);
	if (!l->password)
		return no_password(l);
	l->has_scram = true;
	r = pg_scram_begin(&l->scram, "", l->password, NULL, &first);
	if (r < 0)
		return r;
	buf_put_u8(out, 'p');
	buf_put_be32(out, (uint32_t)(4 + sizeof(PG_SCRAM_MECHANISM) + 4 + buf_len(&first)));
	buf_put_cstr(out, PG_SCRAM_MECHANISM);
	buf_put_be32(out, (uint32_t)buf_len(&first));
	l->state = SASL_FIRST;
	return buf_put_span(out, buf_span(&first));
}

static int go_on_sasl(struct login *l, struct span server_first, struct buf *out)
{
	_cleanup_buf_ struct buf final = BUF_INIT(2 * PG_SCRAM_MESSAGE_MAX);
	int r;

	r = pg_scram_answer(&l->scram, server_first, &final);
	if (r == -EPROTO)
		return nonsense(l);
	if (r < 0)
		return r;
	buf_put_u8(out, 'p');
	buf_put_be32(out, (uint32_t)(4 + buf_len(&final)));
	l->state = SASL_PROVED;
	return buf_put_span(out, buf_span(&final));
}

static int end_sasl(struct login *l, struct span server_final)
{
	int r = pg_scram_verify(&l->scram, server_final);

	if (r < 0)
		return fail(
			l, r, "08001",
			"the database server did not prove that it knows the gateway's password",
			"Tell the operator of this resource: something may stand between "
			"sluice and the server.");
	l->state = ANSWERED;
	return 0;
}

static int on_password_request(struct login *l, uint32_t code, struct cursor *c, struct buf *out)
{
	struct span salt = {0};
	int r;

	if (code == AUTH_MD5 && cursor_span(c, 4, &salt) < 0)
		return nonsense(l);
	if (cursor_left(c) > 0)
		return nonsense(l);
	if (!l->password)
		return no_password(l);
	r = code == AUTH_MD5 ? answer_md5(l, salt, out) : put_password(out, l->password);
	if (r == 0)
		l->state = ANSWERED;
	return r;
}

static int on_auth(struct login *l, struct cursor *c, struct buf *out)
{
	uint32_t code;

	if (cursor_be32(c, &code) < 0)
		return nonsense(l);
	if (code == AUTH_OK && (l->state == STARTED || l->state == ANSWERED) &&
	    cursor_left(c) == 0) {
		l->state = SETTLING;
		return 0;
	}
	if (code == AUTH_SASL_CONTINUE && l->state == SASL_FIRST)
		return go_on_sasl(l, cursor_rest(c), out);
	if (code == AUTH_SASL_FINAL && l->state == SASL_PROVED)
		return end_sasl(l, cursor_rest(c));
	if (l->state != STARTED || code == AUTH_OK || code == AUTH_SASL_CONTINUE ||
	    code == AUTH_SASL_FINAL)
		return nonsense(l);
	if (code == AUTH_CLEARTEXT || code == AUTH_MD5)
		return on_password_request(l, code, c, out);
	return code == AUTH_SASL ? begin_sasl(l, c, out) : not_supported(l);
}

static int on_parameter(struct login *l, struct cursor *c)
{
	struct span name;
	struct span value;
	struct proto_param p;
	size_t i = 0;

	if (cursor_cstr(c, &name) < 0 || cursor_cstr(c, &value) < 0 || cursor_left(c) > 0 ||
	    name.len == 0)
		return nonsense(l);
	while (i < l->n_params && !span_eq_str(name, l->params[i].name))
		i++;
	if (i == LOGIN_PARAMS_MAX)
		return nonsense(l);
	p.name = arena_strndup(&l->arena, name);
	p.value = arena_strndup(&l->arena, value);
	if (!p.name || !p.value)
		return nonsense(l); /* more than any server has to say */
	l->params[i] = p;
	l->n_params = MAX(l->n_params, i + 1);
	return 0;
}

static int on_key(struct login *l, struct cursor *c)
{
	struct proto_admission *a = &l->result.admission;

	if (cursor_be32(c, &a->cancel_pid) < 0 || cursor_be32(c, &a->cancel_secret) < 0 ||
	    cursor_left(c) > 0)
		return nonsense(l);
	return 0;
}

static const char *param(const struct login *l, const char *name)
{
	for (size_t i = 0; i < l->n_params; i++)
		if (streq(l->params[i].name, name))
			return l->params[i].value;
	return NULL;
}

/* A server that was set up to read text in another way than the classifier would let through what
 * policy refuses. */
static int check_lexing(struct login *l)
{
	static const char *const names[] = {"standard_conforming_strings", "client_encoding"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = param(l, names[i]);

		if (!value || pg_setting_keeps_lexing(names[i], value))
			continue;
		return fail(
			l, -EACCES, "0A000",
			i == 0 ? "the database server has standard_conforming_strings off, "
				 "with which sluice cannot read statements as the server does"
			       : "the database server gives the gateway's user a client_encoding "
				 "with which sluice cannot read statements as the server does",
			"The operator must set standard_conforming_strings = on and "
			"client_encoding = UTF8 for the gateway's user.");
	}
	return 0;
}

static int on_ready(struct login *l, struct cursor *c)
{
	struct proto_admission *a = &l->result.admission;
	uint8_t status;
	int r;

	if (cursor_u8(c, &status) < 0 || cursor_left(c) > 0 || status != 'I')
		return nonsense(l);
	r = check_lexing(l);
	if (r < 0)
		return r;
	a->n_params = l->n_params;
	a->params = l->params;
	a->transaction = 'I';
	l->result.server_version = param(l, "server_version");
	l->state = DONE;
	return LOGIN_DONE;
}

static int on_message(struct login *l, uint8_t type, struct span body, struct buf *out)
{
	struct cursor c = cursor_of(body);

	if (type == 'E') {
		pg_login_error_take(&l->error, body);
		l->state = FAILED;
		return -EACCES;
	}
	if (type == 'N')
		return 0;
	if (l->state != SETTLING) {
		if (type == 'R')
			return on_auth(l, &c, out);
		/* NegotiateProtocolVersion: 3.0 without options is what is asked for anyhow. */
		return type == 'v' && l->state == STARTED && body.len >= 8 ? 0 : nonsense(l);
	}
	switch (type) {
	case 'S':
		return on_parameter(l, &c);
	case 'K':
		return on_key(l, &c);
	case 'Z':
		return on_ready(l, &c);
	default:
		return nonsense(l);
	}
}

/* One whole message: 1 taken, 0 not there yet. */
static int next_message(struct cursor *c, uint8_t *ret_type, struct span *ret_body)
{
	struct cursor at = *c;
	uint32_t len;

	if (cursor_u8(&at, ret_type) < 0 || cursor_be32(&at, &len) < 0)
		return 0;
	if (len < 4 || len - 4 > PG_LOGIN_MESSAGE_MAX)
		return -EPROTO;
	if (cursor_span(&at, len - 4, ret_body) < 0)
		return 0;
	*c = at;
	return 1;
}

static int login_feed(void *login, struct span in, size_t *ret_used, struct buf *out)
{
	struct login *l = login;
	struct cursor c = cursor_of(in);

	*ret_used = 0;
	if (l->state == TLS_ASKED)
		return on_tls_answer(l, in, ret_used);
	if (l->state < STARTED || l->state >= DONE)
		return l->state == FAILED ? -EPROTO : in.len == 0 ? LOGIN_MORE : nonsense(l);
	for (;;) {
		struct span body;
		uint8_t type;
		int r = next_message(&c, &type, &body);

		if (r < 0)
			return nonsense(l);
		if (r == 0)
			return LOGIN_MORE;
		r = on_message(l, type, body, out);
		*ret_used = in.len - cursor_left(&c);
		if (r != 0)
			return r;
	}
}

static const struct proto_login_result *login_result(const void *login)
{
	const struct login *l = login;

	return l->state == DONE ? &l->result : NULL;
}

static const struct proto_error *login_error(const void *login)
{
	const struct login *l = login;

	return &l->error.error;
}

static int login_cancel(uint32_t pid, uint32_t secret, struct buf *out)
{
	buf_put_be32(out, PG_CANCEL_LENGTH);
	buf_put_be32(out, PG_CODE_CANCEL);
	buf_put_be32(out, pid);
	return buf_put_be32(out, secret);
}

const struct proto_login_ops postgres_login_ops = {
	.open = login_open,
	.close = login_close,
	.start = login_start,
	.feed = login_feed,
	.tls_started = login_tls_started,
	.result = login_result,
	.error = login_error,
	.cancel = login_cancel,
};
