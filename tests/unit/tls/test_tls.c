#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tls/tls.h"

static char dir[64];
static char other_dir[64];
static struct tls_identity identity;
static struct buf ca_pem = BUF_INIT(20000);
static struct buf other_ca_pem = BUF_INIT(20000);

static const struct resource_config resource = {
	.name = "customers-db",
	.host = "db.internal",
	.n_addrs = 3,
	.addrs = {{.family = 4, .prefix = 32, .addr = {10, 0, 3, 7}},
		  {.family = 4, .prefix = 8, .addr = {11}},
		  {.family = 6, .prefix = 128, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}}},
};

static const char *path(const char *in, const char *name)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s/%s", in, name);
	return text;
}

static void slurp(const char *file, struct buf *to)
{
	FILE *f = fopen(file, "r");
	uint8_t *at = buf_reserve(to, 8192);

	assert_non_null(f);
	assert_non_null(at);
	buf_commit(to, fread(at, 1, 8192, f));
	(void)fclose(f);
}

static int setup(void **state)
{
	struct tls_identity unused = {0};

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/sluice-tls.XXXXXX");
	(void)snprintf(other_dir, sizeof(other_dir), "/tmp/sluice-tls.XXXXXX");
	if (!mkdtemp(dir) || !mkdtemp(other_dir) || tls_ca_mint(dir, &resource, &identity) < 0 ||
	    tls_ca_mint(other_dir, &resource, &unused) < 0)
		return -1;
	tls_identity_done(&unused);
	slurp(path(dir, "ca.pem"), &ca_pem);
	slurp(path(other_dir, "ca.pem"), &other_ca_pem);
	return 0;
}

static int teardown(void **state)
{
	const char *const dirs[] = {dir, other_dir};

	(void)state;
	tls_identity_done(&identity);
	buf_done(&ca_pem);
	buf_done(&other_ca_pem);
	for (size_t i = 0; i < 2; i++) {
		(void)unlink(path(dirs[i], "ca.key"));
		(void)unlink(path(dirs[i], "ca.pem"));
		if (rmdir(dirs[i]) < 0)
			return -1;
	}
	return 0;
}

/* Both ends of a connection. */
struct pair {
	struct tls_context *server_context;
	struct tls_context *client_context;
	struct tls_stream server;
	struct tls_stream client;
	int server_result; /* of the handshake */
	int client_result;
};

static void pair_open(struct pair *p)
{
	int fds[2];

	*p = (struct pair){0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	tls_stream_init(&p->server, fds[0]);
	tls_stream_init(&p->client, fds[1]);
}

static void pair_close(struct pair *p)
{
	tls_stream_done(&p->server);
	tls_stream_done(&p->client);
	if (p->server.fd >= 0)
		(void)close(p->server.fd);
	(void)close(p->client.fd);
	tls_context_free(p->server_context);
	tls_context_free(p->client_context);
}

static void shake(struct pair *p)
{
	for (int i = 0; i < 20; i++) {
		if (p->client_result == 0)
			p->client_result = tls_stream_handshake(&p->client);
		if (p->server_result == 0)
			p->server_result = tls_stream_handshake(&p->server);
	}
}

static void pair_start(struct pair *p, const struct tls_identity *id, enum tls_mode mode,
		       const struct buf *ca, const char *host)
{
	pair_open(p);
	assert_int_equal(tls_server_new(id, &p->server_context), 0);
	assert_int_equal(
		tls_client_new(mode, ca ? buf_span(ca) : (struct span){0}, &p->client_context), 0);
	assert_int_equal(tls_stream_start(&p->server, p->server_context, NULL), 0);
	assert_int_equal(tls_stream_start(&p->client, p->client_context, host), 0);
	shake(p);
}

static void both_ways(struct pair *p)
{
	static char big[300000];
	static char got[sizeof(big)];
	size_t sent = 0;
	size_t taken = 0;
	char text[16];

	assert_int_equal(tls_stream_read(&p->server, text, sizeof(text)), -EAGAIN);
	assert_int_equal(tls_stream_write(&p->client, "hello", 5), 5);
	assert_int_equal(tls_stream_read(&p->server, text, 2), 2);
	assert_true(tls_stream_pending(&p->server) == (p->server.ssl != NULL));
	assert_int_equal(tls_stream_read(&p->server, text + 2, 10), 3);
	assert_false(tls_stream_pending(&p->server));
	assert_memory_equal(text, "hello", 5);
	/* More than the socket takes at once. */
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7);
	while (taken < sizeof(big)) {
		ssize_t n = tls_stream_write(&p->server, big + sent, sizeof(big) - sent);

		if (n < 0) {
			assert_int_equal(n, -EAGAIN);
			assert_true(p->server.want_write);
		} else {
			sent += (size_t)n;
		}
		do {
			n = tls_stream_read(&p->client, got + taken, sizeof(got) - taken + 1 - 1);
			taken += n > 0 ? (size_t)n : 0;
		} while (n > 0 && taken < sizeof(got));
	}
	assert_memory_equal(big, got, sizeof(big));
}

static void clear(void **state)
{
	struct pair p;
	char c;

	(void)state;
	pair_open(&p);
	both_ways(&p);
	tls_stream_shutdown(&p.server); /* nothing to say */
	(void)close(p.server.fd);
	p.server.fd = -1;
	assert_int_equal(tls_stream_read(&p.client, &c, 1), 0);
	assert_int_equal(tls_stream_write(&p.client, "x", 1), -EPIPE);
	assert_int_equal(tls_stream_handshake(&p.client), -EINVAL);
	pair_close(&p);
}

static void accepted(void **state)
{
	static const struct {
		enum tls_mode mode;
		const char *host;
	} cases[] = {
		{TLS_VERIFY_FULL, "db.internal"},
		{TLS_VERIFY_FULL, "10.0.3.7"},
		{TLS_VERIFY_FULL, "2001:db8::1"},
		{TLS_VERIFY_CA, "other.example"},
		{TLS_VERIFY_CA, NULL},
	};
	struct pair p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pair_start(&p, &identity, cases[i].mode, &ca_pem, cases[i].host);
		assert_int_equal(p.client_result, 1);
		assert_int_equal(p.server_result, 1);
		both_ways(&p);
		pair_close(&p);
	}
	pair_start(&p, &identity, TLS_REQUIRE, NULL, "other.example");
	assert_int_equal(p.client_result, 1);
	assert_string_equal(tls_stream_why(&p.client), "no fault");
	assert_int_equal(tls_stream_start(&p.client, p.client_context, "x"), -EBUSY);
	pair_close(&p);
}

static void refused(void **state)
{
	static const struct {
		const char *host;
		bool other_ca;
		const char *why;
	} cases[] = {
		{"db.external", false, "hostname mismatch"},
		{"internal", false, "hostname mismatch"},
		{"10.0.3.8", false, "IP address mismatch"},
		{"11.0.0.0", false, "IP address mismatch"},
		{"db.internal", true, "unable to get local issuer certificate"},
	};
	struct pair p;
	char c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pair_start(&p, &identity, TLS_VERIFY_FULL,
			   cases[i].other_ca ? &other_ca_pem : &ca_pem, cases[i].host);
		assert_int_equal(p.client_result, -EKEYREJECTED);
		/* Both CAs have the same name: then it is the signature that is wrong. */
		if (!cases[i].other_ca)
			assert_string_equal(tls_stream_why(&p.client), cases[i].why);
		assert_true(tls_stream_read(&p.client, &c, 1) < 0);
		pair_close(&p);
	}
	pair_start(&p, &identity, TLS_VERIFY_CA, &other_ca_pem, "db.internal");
	assert_int_equal(p.client_result, -EKEYREJECTED);
	pair_close(&p);
	/* verify-full of nobody is not verify-ca. */
	pair_open(&p);
	assert_int_equal(tls_client_new(TLS_VERIFY_FULL, buf_span(&ca_pem), &p.client_context), 0);
	assert_int_equal(tls_stream_start(&p.client, p.client_context, NULL), -EINVAL);
	assert_int_equal(tls_stream_start(&p.client, p.client_context, ""), -EINVAL);
	assert_null(p.client.ssl);
	pair_close(&p);
}

/* A certificate of our own CA that ended an hour ago. */
static void expired(void **state)
{
	struct tls_identity old = {.cert_pem = BUF_INIT(20000), .key_pem = BUF_INIT(20000)};
	FILE *f = fopen(path(dir, "ca.key"), "r");
	EVP_PKEY *ca_key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	BIO *in = BIO_new_mem_buf(buf_span(&identity.cert_pem).p, (int)buf_len(&identity.cert_pem));
	X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
	BIO *out = BIO_new(BIO_s_mem());
	struct pair p;
	char *pem;
	long n;

	(void)state;
	(void)fclose(f);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -7200));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), -3600));
	assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(out, cert), 1);
	n = BIO_get_mem_data(out, &pem);
	buf_put(&old.cert_pem, pem, (size_t)n);
	buf_put_span(&old.key_pem, buf_span(&identity.key_pem));
	pair_start(&p, &old, TLS_VERIFY_FULL, &ca_pem, "db.internal");
	assert_int_equal(p.client_result, -EKEYREJECTED);
	assert_string_equal(tls_stream_why(&p.client), "certificate has expired");
	pair_close(&p);
	tls_identity_done(&old);
	BIO_free_all(in);
	BIO_free_all(out);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
}

static void ends(void **state)
{
	struct pair p;
	char c;

	(void)state;
	pair_start(&p, &identity, TLS_REQUIRE, NULL, NULL);
	tls_stream_shutdown(&p.server);
	assert_int_equal(tls_stream_read(&p.client, &c, 1), 0);
	pair_close(&p);
	/* Cut off without a word: not an end. */
	pair_start(&p, &identity, TLS_REQUIRE, NULL, NULL);
	(void)close(p.server.fd);
	p.server.fd = -1;
	assert_int_equal(tls_stream_read(&p.client, &c, 1), -ECONNRESET);
	assert_true(tls_stream_write(&p.client, "x", 1) < 0); /* and no SIGPIPE */
	assert_int_equal(tls_stream_read(&p.client, &c, 0), -EINVAL);
	assert_int_equal(tls_stream_write(&p.client, &c, 0), 0);
	pair_close(&p);
	/* Bytes that are not TLS, before and after the handshake. */
	pair_start(&p, &identity, TLS_REQUIRE, NULL, NULL);
	assert_int_equal(send(p.server.fd, "garbage!garbage!", 16, 0), 16);
	assert_int_equal(tls_stream_read(&p.client, &c, 1), -EPROTO);
	pair_close(&p);
	pair_open(&p);
	assert_int_equal(tls_server_new(&identity, &p.server_context), 0);
	assert_int_equal(tls_stream_start(&p.server, p.server_context, NULL), 0);
	assert_int_equal(tls_stream_handshake(&p.server), 0);
	assert_int_equal(send(p.client.fd, "\0\0\0\x08\x04\xd2\x16\x2f", 8, 0), 8);
	assert_int_equal(tls_stream_handshake(&p.server), -EPROTO);
	assert_string_not_equal(tls_stream_why(&p.server), "no fault");
	pair_close(&p);
}

static void no_old_version(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	struct pair p;
	int r = 0;

	(void)state;
	pair_open(&p);
	assert_int_equal(tls_server_new(&identity, &p.server_context), 0);
	assert_int_equal(tls_stream_start(&p.server, p.server_context, NULL), 0);
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, p.client.fd);
	(void)SSL_connect(ssl);
	for (int i = 0; i < 5 && r == 0; i++)
		r = tls_stream_handshake(&p.server);
	assert_int_equal(r, -EPROTO);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	pair_close(&p);
}

static void contexts_that_cannot_be(void **state)
{
	struct tls_context *c = NULL;
	struct tls_identity broken = {.cert_pem = BUF_INIT(20000), .key_pem = BUF_INIT(20000)};
	struct tls_identity other = {0};

	(void)state;
	assert_int_equal(tls_client_new(TLS_DISABLE, (struct span){0}, &c), -EINVAL);
	assert_int_equal(tls_client_new(TLS_VERIFY_CA, span_str("no certificate"), &c), -EBADMSG);
	assert_int_equal(tls_client_new(TLS_VERIFY_CA,
					span_str("-----BEGIN CERTIFICATE-----\nAAAA\n"
						 "-----END CERTIFICATE-----\n"),
					&c),
			 -EBADMSG);
	assert_int_equal(tls_server_new(&broken, &c), -EBADMSG);
	buf_put_span(&broken.cert_pem, buf_span(&identity.cert_pem));
	buf_put_str(&broken.key_pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
	assert_int_equal(tls_server_new(&broken, &c), -EBADMSG);
	/* The key of another certificate. */
	assert_int_equal(tls_ca_mint(dir, &resource, &other), 0);
	buf_reset(&broken.key_pem);
	buf_put_span(&broken.key_pem, buf_span(&other.key_pem));
	assert_int_equal(tls_server_new(&broken, &c), -EBADMSG);
	assert_null(c);
	tls_identity_done(&broken);
	tls_identity_done(&other);
}

static int64_t days_left(const X509 *cert)
{
	int days = 0;
	int seconds = 0;

	assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)), 1);
	return days + (seconds > 43200);
}

static void minted(void **state)
{
	struct tls_identity again = {0};
	BIO *bio =
		BIO_new_mem_buf(buf_span(&identity.cert_pem).p, (int)buf_len(&identity.cert_pem));
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	struct buf ca_now = BUF_INIT(20000);
	struct stat st;

	(void)state;
	assert_int_equal(days_left(cert), 30);
	assert_int_equal(X509_check_ca(cert), 0);
	assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_check_host(cert, "db.internal", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(cert, "10.0.3.7", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "11.0.0.0", 0), 0); /* a block, not an address */
	assert_int_equal(stat(path(dir, "ca.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access(path(dir, "ca.key.new"), F_OK), -1);
	/* The CA stays, the leaf does not. */
	assert_int_equal(tls_ca_mint(dir, &resource, &again), 0);
	slurp(path(dir, "ca.pem"), &ca_now);
	assert_true(span_eq(buf_span(&ca_now), buf_span(&ca_pem)));
	assert_false(span_eq(buf_span(&again.key_pem), buf_span(&identity.key_pem)));
	assert_false(span_eq(buf_span(&again.cert_pem), buf_span(&identity.cert_pem)));
	assert_null(memmem(buf_span(&again.cert_pem).p, buf_len(&again.cert_pem), "PRIVATE", 7));
	tls_identity_done(&again);
	buf_done(&ca_now);
	X509_free(cert);
	BIO_free_all(bio);
}

static void ca_that_is_not_ours(void **state)
{
	struct tls_identity id = {0};
	struct buf key = BUF_INIT(20000);
	FILE *f;

	(void)state;
	assert_int_equal(tls_ca_mint("/nonexistent", &resource, &id), -ENOENT);
	assert_int_equal(chmod(path(other_dir, "ca.key"), 0644), 0);
	assert_int_equal(tls_ca_mint(other_dir, &resource, &id), -EPERM);
	assert_int_equal(chmod(path(other_dir, "ca.key"), 0600), 0);
	/* Cut off between key and certificate: the next start makes it, for the same key. */
	assert_int_equal(unlink(path(other_dir, "ca.pem")), 0);
	slurp(path(other_dir, "ca.key"), &key);
	assert_int_equal(tls_ca_mint(other_dir, &resource, &id), 0);
	tls_identity_done(&id);
	buf_reset(&other_ca_pem);
	slurp(path(other_dir, "ca.pem"), &other_ca_pem);
	/* The certificate of another key. */
	f = fopen(path(other_dir, "ca.pem"), "w");
	(void)fwrite(buf_span(&ca_pem).p, 1, buf_len(&ca_pem), f);
	(void)fclose(f);
	assert_int_equal(tls_ca_mint(other_dir, &resource, &id), -EBADMSG);
	f = fopen(path(other_dir, "ca.key"), "w");
	(void)fputs("nothing", f);
	(void)fclose(f);
	assert_int_equal(tls_ca_mint(other_dir, &resource, &id), -EBADMSG);
	assert_int_equal(unlink(path(other_dir, "ca.key")), 0);
	assert_int_equal(symlink("/etc/passwd", path(other_dir, "ca.key")), 0);
	assert_int_equal(tls_ca_mint(other_dir, &resource, &id), -ELOOP);
	assert_null(id.key_pem.data);
	buf_done(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clear),
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(expired),
		cmocka_unit_test(ends),
		cmocka_unit_test(no_old_version),
		cmocka_unit_test(contexts_that_cannot_be),
		cmocka_unit_test(minted),
		cmocka_unit_test(ca_that_is_not_ours),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
