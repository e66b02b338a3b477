#include "tls/context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

/* A BIO over a socket that does not own it and raises no SIGPIPE, which the library's own does. */

static int bio_fd(BIO *bio)
{
	return (int)(intptr_t)BIO_get_data(bio);
}

static int bio_write(BIO *bio, const char *from, int n)
{
	ssize_t r = send(bio_fd(bio), from, (size_t)n, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)r;
}

static int bio_read(BIO *bio, char *to, int n)
{
	ssize_t r = recv(bio_fd(bio), to, (size_t)n, 0);

	BIO_clear_retry_flags(bio);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	if (r == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)r;
}

static long bio_ctrl(BIO *bio, int command, long n, void *p)
{
	(void)n;
	(void)p;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH;
}

static BIO *bio_new(int fd)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice socket");
		if (!method || BIO_meth_set_write(method, bio_write) != 1 ||
		    BIO_meth_set_read(method, bio_read) != 1 ||
		    BIO_meth_set_ctrl(method, bio_ctrl) != 1)
			return NULL;
	}
	bio = BIO_new(method);
	if (!bio)
		return NULL;
	BIO_set_data(bio, (void *)(intptr_t)fd);
	BIO_set_init(bio, 1);
	return bio;
}

void tls_stream_init(struct tls_stream *s, int fd)
{
	*s = (struct tls_stream){.fd = fd};
}

void tls_stream_done(struct tls_stream *s)
{
	SSL_free(s->ssl);
	s->ssl = NULL;
	s->want_write = false;
}

static bool is_address(const char *host)
{
	uint8_t addr[16];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

/* RFC 6066 section 3: addresses are not sent. RFC 6125: they are compared with SANs of their own.
 */
static int name_peer(SSL *ssl, const struct tls_context *context, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	if (host && !is_address(host) && SSL_set_tlsext_host_name(ssl, host) != 1)
		return -EINVAL;
	if (context->mode != TLS_VERIFY_FULL)
		return 0;
	if (!host || !host[0])
		return -EINVAL;
	if (is_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 ? 0 : -EINVAL;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 ? 0 : -EINVAL;
}

DEFINE_CLEANUP(SSL *, SSL_free, ssl_freep)

int tls_stream_start(struct tls_stream *s, struct tls_context *context, const char *host)
{
	_cleanup_(ssl_freep) SSL *ssl = NULL;
	BIO *bio;
	int r;

	if (s->ssl)
		return -EBUSY;
	ERR_clear_error();
	ssl = SSL_new(context->ctx);
	if (!ssl)
		return -ENOMEM;
	bio = bio_new(s->fd);
	if (!bio)
		return -ENOMEM;
	SSL_set_bio(ssl, bio, bio); /* owns it */
	if (context->server) {
		SSL_set_accept_state(ssl);
	} else {
		r = name_peer(ssl, context, host);
		if (r < 0)
			return r;
		SSL_set_connect_state(ssl);
	}
	s->ssl = TAKE_PTR(ssl);
	s->want_write = false;
	s->why = NULL;
	return 0;
}

int tls_stream_handshake(struct tls_stream *s)
{
	long verify;
	int r;

	s->want_write = false;
	if (!s->ssl)
		return -EINVAL;
	ERR_clear_error();
	r = SSL_do_handshake(s->ssl);
	if (r == 1)
		return 1;
	r = SSL_get_error(s->ssl, r);
	if (r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE) {
		s->want_write = r == SSL_ERROR_WANT_WRITE;
		return 0;
	}
	verify = SSL_get_verify_result(s->ssl);
	if (verify != X509_V_OK && SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE) {
		s->why = X509_verify_cert_error_string(verify);
		ERR_clear_error();
		return -EKEYREJECTED;
	}
	s->why = ERR_reason_error_string(ERR_peek_error());
	if (!s->why)
		s->why = "the connection ended in the middle of the handshake";
	ERR_clear_error();
	return -EPROTO;
}

const char *tls_stream_why(const struct tls_stream *s)
{
	return s->why ? s->why : "no fault";
}

/* What a call that did not succeed comes to. */
static ssize_t outcome(struct tls_stream *s, int error)
{
	int saved = errno;
	unsigned long e = ERR_peek_error();

	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_WRITE:
		s->want_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_SYSCALL:
		return saved ? -saved : -ECONNRESET;
	default:
		return ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? -ECONNRESET
									       : -EPROTO;
	}
}

ssize_t tls_stream_read(struct tls_stream *s, void *to, size_t n)
{
	size_t got = 0;
	ssize_t r;

	s->want_write = false;
	if (n == 0)
		return -EINVAL; /* would look like the end */
	if (!s->ssl) {
		do
			r = recv(s->fd, to, n, 0);
		while (r < 0 && errno == EINTR);
		return r < 0 ? -errno : r;
	}
	ERR_clear_error();
	errno = 0;
	if (SSL_read_ex(s->ssl, to, n, &got) == 1)
		return (ssize_t)got;
	return outcome(s, SSL_get_error(s->ssl, 0));
}

ssize_t tls_stream_write(struct tls_stream *s, const void *from, size_t n)
{
	size_t put = 0;
	ssize_t r;

	s->want_write = false;
	if (n == 0)
		return 0;
	if (!s->ssl) {
		do
			r = send(s->fd, from, n, MSG_NOSIGNAL);
		while (r < 0 && errno == EINTR);
		if (r >= 0)
			return r;
		r = -errno;
		s->want_write = r == -EAGAIN;
		return r;
	}
	ERR_clear_error();
	errno = 0;
	if (SSL_write_ex(s->ssl, from, n, &put) == 1)
		return (ssize_t)put;
	r = outcome(s, SSL_get_error(s->ssl, 0));
	return r == 0 ? -EPIPE : r;
}

bool tls_stream_pending(const struct tls_stream *s)
{
	return s->ssl && SSL_pending(s->ssl) > 0;
}

void tls_stream_shutdown(struct tls_stream *s)
{
	if (!s->ssl || !SSL_is_init_finished(s->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
}
