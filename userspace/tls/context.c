#include "tls/context.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

/* Read a PEM that must not be encrypted: never ask anybody for a passphrase. */
static int no_passphrase(char *to, int size, int writing, void *ctx)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

static int context_new(const SSL_METHOD *method, struct tls_context **ret)
{
	_cleanup_(tls_context_freep) struct tls_context *c = calloc(1, sizeof(*c));

	ERR_clear_error();
	if (!c)
		return -ENOMEM;
	c->ctx = SSL_CTX_new(method);
	if (!c->ctx)
		return -ENOMEM;
	if (SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1)
		return -EIO;
	(void)SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
						  SSL_OP_NO_TICKET);
	(void)SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	/* An idle session keeps no record buffers. */
	(void)SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					       SSL_MODE_RELEASE_BUFFERS);
	*ret = TAKE_PTR(c);
	return 0;
}

static int use_identity(SSL_CTX *ctx, const struct tls_identity *id)
{
	_cleanup_(bio_freep) BIO *cert_bio = NULL;
	_cleanup_(bio_freep) BIO *key_bio = NULL;
	_cleanup_(x509_freep) X509 *cert = NULL;
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;

	if (buf_len(&id->cert_pem) == 0 || buf_len(&id->cert_pem) > INT32_MAX ||
	    buf_len(&id->key_pem) == 0 || buf_len(&id->key_pem) > INT32_MAX)
		return -EBADMSG;
	cert_bio = BIO_new_mem_buf(buf_span(&id->cert_pem).p, (int)buf_len(&id->cert_pem));
	key_bio = BIO_new_mem_buf(buf_span(&id->key_pem).p, (int)buf_len(&id->key_pem));
	if (!cert_bio || !key_bio)
		return -ENOMEM;
	cert = PEM_read_bio_X509(cert_bio, NULL, no_passphrase, NULL);
	key = PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL);
	if (!cert || !key || SSL_CTX_use_certificate(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return -EBADMSG;
	for (;;) {
		_cleanup_(x509_freep) X509 *more =
			PEM_read_bio_X509(cert_bio, NULL, no_passphrase, NULL);

		if (!more)
			break;
		if (SSL_CTX_add1_chain_cert(ctx, more) != 1)
			return -EBADMSG;
	}
	ERR_clear_error(); /* the end of the PEM is reported as an error */
	return 0;
}

int tls_server_new(const struct tls_identity *id, struct tls_context **ret_context)
{
	_cleanup_(tls_context_freep) struct tls_context *c = NULL;
	int r;

	r = context_new(TLS_server_method(), &c);
	if (r < 0)
		return r;
	c->server = true;
	(void)SSL_CTX_set_num_tickets(c->ctx, 0);
	r = use_identity(c->ctx, id);
	if (r < 0)
		return r;
	*ret_context = TAKE_PTR(c);
	return 0;
}

static int trust_pem(SSL_CTX *ctx, struct span pem)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	_cleanup_(bio_freep) BIO *bio = NULL;
	size_t n = 0;

	if (pem.len > INT32_MAX)
		return -EBADMSG;
	bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	if (!bio)
		return -ENOMEM;
	for (;; n++) {
		_cleanup_(x509_freep) X509 *cert =
			PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);

		if (!cert)
			break;
		if (X509_STORE_add_cert(store, cert) != 1)
			return -ENOMEM;
	}
	/* The end of the PEM, or a certificate in it that is none: which must not go unnoticed. */
	if (n == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return -EBADMSG;
	ERR_clear_error();
	return 0;
}

/* A file, not a folder of hashes, which would be read at each handshake, from inside a sandbox. */
static int trust_system(SSL_CTX *ctx)
{
	const char *const files[] = {
		X509_get_default_cert_file(),
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (access(files[i], R_OK) == 0 && SSL_CTX_load_verify_file(ctx, files[i]) == 1)
			return 0;
	}
	ERR_clear_error();
	return -ENOENT;
}

int tls_client_new(enum tls_mode mode, struct span ca_pem, struct tls_context **ret_context)
{
	_cleanup_(tls_context_freep) struct tls_context *c = NULL;
	int r;

	if (mode != TLS_VERIFY_FULL && mode != TLS_VERIFY_CA && mode != TLS_REQUIRE)
		return -EINVAL;
	r = context_new(TLS_client_method(), &c);
	if (r < 0)
		return r;
	c->mode = mode;
	if (mode == TLS_REQUIRE) {
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
	} else {
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
		r = ca_pem.len > 0 ? trust_pem(c->ctx, ca_pem) : trust_system(c->ctx);
		if (r < 0)
			return r;
	}
	*ret_context = TAKE_PTR(c);
	return 0;
}

void tls_context_free(struct tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ctx);
	free(context);
}

void tls_identity_done(struct tls_identity *id)
{
	if (id->key_pem.data)
		OPENSSL_cleanse(id->key_pem.data, id->key_pem.cap);
	buf_done(&id->key_pem);
	buf_done(&id->cert_pem);
}
