/* tls.h - TLS with OpenSSL 3: a stream over a non-blocking socket, contexts, and the node's own CA.
 * Used by: session/ (streams, contexts), roles/warden.c (CA).
 * Promises: TLS 1.2 or later; a stream without TLS is the socket itself, with the same calls. */
#ifndef SLUICE_TLS_TLS_H
#define SLUICE_TLS_TLS_H

#include "base/buf.h"
#include "model/config.h"

struct tls_context; /* server or client side; immutable, shared by streams; one process */

/* PEM certificate (chain) and key that a listener shows. */
struct tls_identity {
	struct buf cert_pem;
	struct buf key_pem; /* wiped by tls_identity_done */
};
void tls_identity_done(struct tls_identity *id);

/* -EBADMSG: not a certificate and the key of it. */
int tls_server_new(const struct tls_identity *id, struct tls_context **ret_context);
/* Client: ca_pem empty with a verifying mode: the system's store, which must be readable now.
 * -EBADMSG: no certificate in ca_pem; -ENOENT: no store; -EINVAL: TLS_DISABLE. */
int tls_client_new(enum tls_mode mode, struct span ca_pem, struct tls_context **ret_context);
void tls_context_free(struct tls_context *context);
DEFINE_CLEANUP(struct tls_context *, tls_context_free, tls_context_freep)

/* The node's CA: an EC P-256 key and certificate in state_dir (ca.key, ca.pem), made at the first
 * call. Mint a leaf for a resource: its host and every single address as SAN, short-lived.
 * The CA key does not stay in memory. ca.pem is for agents that verify.
 * A leaf holds for TLS_LEAF_DAYS. -EPERM: ca.key can be read by others than its owner; -EBADMSG:
 * what is in state_dir is no CA of ours; other -errno of files. */
#define TLS_LEAF_DAYS 30
_must_check_ int tls_ca_mint(const char *state_dir, const struct resource_config *resource,
			     struct tls_identity *ret_identity);

struct tls_stream {
	int fd;
	void *ssl;	 /* SSL *; NULL: clear */
	bool want_write; /* the last call needs the socket writable to go on */
	const char *why; /* what was wrong with the handshake: static text */
};

/* Does not own fd. */
void tls_stream_init(struct tls_stream *s, int fd);
void tls_stream_done(struct tls_stream *s);
/* Begin TLS on it; host: name to send (SNI) and, in verify-full, to check (a name or an address);
 * NULL on the server's side. -EINVAL: verify-full without a host. */
int tls_stream_start(struct tls_stream *s, struct tls_context *context, const char *host);
/* 1 done, 0 not yet (see want_write), -errno: -EKEYREJECTED when the peer's certificate is not
 * accepted (tls_stream_why tells), -EPROTO otherwise. */
int tls_stream_handshake(struct tls_stream *s);
const char *tls_stream_why(const struct tls_stream *s); /* never NULL */
/* Bytes, 0 at end of stream (TLS: after close_notify; without one it is -ECONNRESET), -EAGAIN,
 * other -errno. No SIGPIPE. After -EAGAIN a write is repeated with the same bytes at the front. */
ssize_t tls_stream_read(struct tls_stream *s, void *to, size_t n);
ssize_t tls_stream_write(struct tls_stream *s, const void *from, size_t n);
/* Bytes already decrypted that poll will not tell of. */
bool tls_stream_pending(const struct tls_stream *s);
/* close_notify, best effort. */
void tls_stream_shutdown(struct tls_stream *s);

#endif
