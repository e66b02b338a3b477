/* catalogs.h - the catalogs of the databases behind resources, loaded over side connections.
 * Used by: session/.
 * Promises: one load at a time for each (resource, database); waiters are told once; a catalog in
 * use stays as it is, a newer one replaces it for the next operation. */
#ifndef SLUICE_SESSION_CATALOGS_H
#define SLUICE_SESSION_CATALOGS_H

#include "io/loop.h"
#include "model/config.h"
#include "proto/postgres/pg_catalog.h"
#include "proto/proto.h"
#include "session/dial.h"

#define CATALOGS_MAX	      64		    /* databases known to one worker at a time */
#define CATALOG_STALE_NS      (60ull * 1000000000u) /* a session that begins wants a younger one */
#define CATALOG_RELOAD_MIN_NS (1ull * 1000000000u)  /* an unknown name reloads no more often */

struct catalog_entry;

struct catalogs {
	struct loop *loop;
	struct catalog_entry *entries;
	size_t n;
	/* Raised whenever what this worker passes on may have changed a catalog: one whose load
	 * began at an earlier epoch no longer tells what an unqualified name stands for. */
	uint64_t epoch;
};

/* Embedded in whoever waits; zeroed before first use. */
struct catalog_wait {
	struct catalog_wait *next;
	struct catalog_entry *entry; /* NULL: not waiting */
	/* catalog NULL: it could not be loaded, error says why (for the agent). */
	void (*on_loaded)(struct catalog_wait *w, struct pg_catalog *catalog,
			  const struct proto_error *error);
};

void catalogs_init(struct catalogs *c, struct loop *loop);
void catalogs_done(struct catalogs *c);

/* The catalog if there is one of this epoch and younger than max_age_ns, referenced for the caller;
 * else NULL. */
struct pg_catalog *catalogs_get(struct catalogs *c, const struct resource_config *resource,
				const char *database, uint64_t max_age_ns);
/* The epoch at which the load of the catalog there now began; 0: there is none. */
uint64_t catalogs_epoch(const struct catalogs *c, const struct resource_config *resource,
			const char *database);
/* Load it (or join a load under way) and tell the waiter, from the loop. */
_must_check_ int catalogs_load(struct catalogs *c, const struct resource_config *resource,
			       const struct proto_ops *ops, struct tls_context *tls_context,
			       const char *database, struct catalog_wait *wait,
			       void (*on_loaded)(struct catalog_wait *w, struct pg_catalog *catalog,
						 const struct proto_error *error));
void catalogs_forget(struct catalog_wait *wait);

#endif
