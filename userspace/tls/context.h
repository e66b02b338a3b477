/* context.h - what streams see of a context.
 * Used by: tls/ alone.
 * Promises: immutable once made. */
#ifndef SLUICE_TLS_CONTEXT_H
#define SLUICE_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "tls/tls.h"

struct tls_context {
	SSL_CTX *ctx;
	bool server;
	enum tls_mode mode; /* client */
};

DEFINE_CLEANUP(BIO *, BIO_free_all, bio_freep)
DEFINE_CLEANUP(X509 *, X509_free, x509_freep)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free, pkey_freep)

#endif
