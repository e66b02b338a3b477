/* dial.h - a connection to a resource's real server, up to the end of the login.
 * Used by: session/ (a session's upstream, the catalog's side connection, cancel requests).
 * Promises: one answer, exactly once, by on_done; bounded in time; the credential stays here. */
#ifndef SLUICE_SESSION_DIAL_H
#define SLUICE_SESSION_DIAL_H

#include "io/loop.h"
#include "model/config.h"
#include "proto/proto.h"
#include "session/peer.h"

#define DIAL_TIMEOUT_MS 15000u

enum dial_state {
	DIAL_CONNECTING,
	DIAL_TALKING,	/* clear or under TLS */
	DIAL_HANDSHAKE, /* TLS */
	DIAL_DONE,
};

struct dial;

/* error NULL: logged in; dial->peer is the caller's to take (dial_take). Otherwise what to tell the
 * agent. Called from the loop, never from within dial_start; the dial may be freed in the call. */
typedef void (*dial_done_fn)(struct dial *d, const struct proto_error *error);

struct dial {
	struct loop *loop;
	const struct resource_config *resource;
	const struct proto_ops *ops;
	struct tls_context *tls_context;
	void *login;
	enum dial_state state;
	struct peer peer;
	struct timer timer;
	struct deferred finish;
	dial_done_fn on_done;
	bool failed;
	struct proto_error error;
	char message[256];
};

/* Begin. config's user and password are the resource's; its database and params are copied.
 * Negative: nothing was begun, on_done will not be called. */
_must_check_ int dial_start(struct dial *d, struct loop *loop,
			    const struct resource_config *resource, const struct proto_ops *ops,
			    struct tls_context *tls_context,
			    const struct proto_login_config *config, dial_done_fn on_done);
/* After a successful login: hand the connection to another peer. */
int dial_take(struct dial *d, struct peer *to, void (*on_ready)(struct watch *w, uint32_t events));
/* Give up, or forget; on_done is not called. */
void dial_stop(struct dial *d);

/* Send a cancel request for the server's own key, and wait for nothing but the close. */
int dial_cancel(struct loop *loop, const struct resource_config *resource,
		const struct proto_ops *ops, uint32_t pid, uint32_t secret);

/* A non-blocking TCP connect. The socket, or -errno. */
_must_check_ int dial_connect(const struct endpoint *to);

#endif
