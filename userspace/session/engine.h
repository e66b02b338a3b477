/* engine.h - what the sessions of one worker share.
 * Used by: session/, made by roles/worker.c.
 * Promises: nothing in it belongs to one session; sessions never see each other's state. */
#ifndef SLUICE_SESSION_ENGINE_H
#define SLUICE_SESSION_ENGINE_H

#include "authn/token.h"
#include "io/loop.h"
#include "ipc/chan.h"
#include "model/config.h"
#include "policy/policy.h"
#include "proto/proto.h"
#include "proto/sql/classify.h"
#include "session/catalogs.h"
#include "session/recorder_link.h"
#include "tls/tls.h"

#define SCRATCH_SIZE (32u * 1024u)

struct session;

struct engine {
	struct loop *loop;
	const struct config *config;
	struct policy *policy;
	struct token_verifier *verifier;
	struct sql_cache *sql_cache;
	/* One per resource, same order as in the configuration. */
	struct tls_context **server_tls;
	struct tls_context **client_tls;
	struct chan *warden;
	struct recorder_link recorder;
	struct catalogs catalogs;
	unsigned index; /* of this worker: goes into cancel keys */
	int storage_fd;
	bool stopping;

	struct session *sessions; /* doubly linked by session.next/prev */
	size_t n_sessions;
	uint64_t n_accepted;
	uint64_t n_ops;
	uint32_t last_request; /* of MSG_RESOLVE */
	uint32_t last_key;

	uint8_t scratch[SCRATCH_SIZE]; /* one read; nothing in it outlives a call */
	struct buf event;	       /* an event body being built */
	struct buf message;	       /* an IPC message being built */
};

/* MSG_RESOLVED and MSG_CANCEL from the warden, acks from the recorder: routed to sessions. */
struct msg_resolved;
struct msg_cancel;
void engine_resolved(struct engine *e, const struct msg_resolved *m);
/* True when one of this worker's sessions has that key (whether or not it may be cancelled). */
bool engine_cancel(struct engine *e, const struct msg_cancel *m);

#endif
