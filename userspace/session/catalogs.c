#include "session/catalogs.h"

#include <sys/epoll.h>

#define QUERY_TIMEOUT_MS 30000u

struct catalog_entry {
	struct catalog_entry *next;
	struct catalogs *owner;
	const struct resource_config *resource;
	char *database;
	struct pg_catalog *catalog; /* the last that was loaded whole */
	uint64_t loaded_ns;
	uint64_t epoch;	     /* of `catalog` */
	uint64_t load_epoch; /* of the load under way */
	/* A load under way. */
	bool loading;
	struct dial dial;
	struct peer peer;
	struct timer timer;
	struct pg_catalog *incoming;
	struct catalog_wait *waiters;
};

void catalogs_init(struct catalogs *c, struct loop *loop)
{
	*c = (struct catalogs){.loop = loop, .epoch = 1};
}

static void end_load(struct catalog_entry *e)
{
	timer_del(e->owner->loop, &e->timer);
	dial_stop(&e->dial);
	peer_close(e->owner->loop, &e->peer);
	if (e->incoming)
		pg_catalog_unref(TAKE_PTR(e->incoming));
	e->loading = false;
}

static void entry_free(struct catalog_entry *e)
{
	end_load(e);
	for (struct catalog_wait *w = e->waiters; w; w = w->next)
		w->entry = NULL;
	if (e->catalog)
		pg_catalog_unref(e->catalog);
	free(e->database);
	free(e);
}

void catalogs_done(struct catalogs *c)
{
	while (c->entries) {
		struct catalog_entry *e = c->entries;

		c->entries = e->next;
		entry_free(e);
	}
}

static struct catalog_entry *find(const struct catalogs *c, const struct resource_config *resource,
				  const char *database)
{
	for (struct catalog_entry *e = c->entries; e; e = e->next)
		if (e->resource == resource && streq(e->database, database))
			return e;
	return NULL;
}

struct pg_catalog *catalogs_get(struct catalogs *c, const struct resource_config *resource,
				const char *database, uint64_t max_age_ns)
{
	struct catalog_entry *e = find(c, resource, database);

	if (!e || !e->catalog || e->epoch != c->epoch || now_ns() - e->loaded_ns > max_age_ns)
		return NULL;
	return pg_catalog_ref(e->catalog);
}

uint64_t catalogs_epoch(const struct catalogs *c, const struct resource_config *resource,
			const char *database)
{
	const struct catalog_entry *e = find(c, resource, database);

	return e && e->catalog ? e->epoch : 0;
}

/* Database names come from agents: the oldest idle entry makes room for a new one. */
static int make_room(struct catalogs *c)
{
	struct catalog_entry **oldest = NULL;
	struct catalog_entry *e;

	if (c->n < CATALOGS_MAX)
		return 0;
	for (struct catalog_entry **at = &c->entries; *at; at = &(*at)->next)
		if (!(*at)->loading && (!oldest || (*at)->loaded_ns < (*oldest)->loaded_ns))
			oldest = at;
	if (!oldest)
		return -EBUSY;
	e = *oldest;
	*oldest = e->next;
	c->n--;
	entry_free(e);
	return 0;
}

static struct catalog_entry *add(struct catalogs *c, const struct resource_config *resource,
				 const char *database)
{
	struct catalog_entry *e;

	if (make_room(c) < 0)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->owner = c;
	e->resource = resource;
	peer_init(&e->peer);
	e->database = strdup(database);
	if (!e->database) {
		free(e);
		return NULL;
	}
	e->next = c->entries;
	c->entries = e;
	c->n++;
	return e;
}

static void tell(struct catalog_entry *e, const struct proto_error *error)
{
	while (e->waiters) {
		struct catalog_wait *w = e->waiters;

		e->waiters = w->next;
		w->entry = NULL;
		w->on_loaded(w, error ? NULL : pg_catalog_ref(e->catalog), error);
	}
}

static void fail(struct catalog_entry *e, const char *what)
{
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = "58000",
		.message = what,
		.hint = "sluice needs the catalog to know what a statement touches. Tell the "
			"operator of this resource.",
	};

	end_load(e);
	tell(e, &error);
}

static void on_timeout(struct timer *t)
{
	fail(OWNER_OF(t, struct catalog_entry, timer),
	     "the database server did not answer the catalog query in time");
}

static void loaded(struct catalog_entry *e)
{
	if (e->catalog)
		pg_catalog_unref(e->catalog);
	e->catalog = TAKE_PTR(e->incoming);
	e->loaded_ns = now_ns();
	e->epoch = e->load_epoch;
	end_load(e);
	tell(e, NULL);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct catalog_entry *e = OWNER_OF(w, struct catalog_entry, peer.watch);
	uint8_t chunk[16384];
	size_t used;
	ssize_t n;
	int r;

	(void)events;
	if (peer_flush(&e->peer) < 0) {
		fail(e, "the database server closed the connection during the catalog query");
		return;
	}
	n = peer_read(&e->peer, chunk, sizeof(chunk));
	if (n == -EAGAIN) {
		peer_watch(e->owner->loop, &e->peer, true, false);
		return;
	}
	if (n <= 0 || buf_put(&e->peer.in, chunk, (size_t)n) < 0) {
		fail(e, "the database server closed the connection during the catalog query");
		return;
	}
	do {
		r = pg_catalog_feed(e->incoming, buf_span(&e->peer.in), &used);
		buf_consume(&e->peer.in, used);
	} while (r == 0 && used > 0);
	if (r < 0)
		fail(e, r == -EACCES ? "the gateway's role may not read the server's catalog"
				     : "the server's catalog could not be read");
	else if (r == 1)
		loaded(e);
	else
		peer_watch(e->owner->loop, &e->peer, true, false);
}

static void on_dialed(struct dial *d, const struct proto_error *error)
{
	struct catalog_entry *e = OWNER_OF(d, struct catalog_entry, dial);

	if (error) {
		struct proto_error copy = *error;
		char message[sizeof(d->message)];

		/* The dial that owns the text ends here. */
		(void)snprintf(message, sizeof(message), "%s", error->message);
		copy.message = message;
		copy.detail = NULL;
		end_load(e);
		tell(e, &copy);
		return;
	}
	if (dial_take(d, &e->peer, on_ready) < 0 || pg_catalog_query(&e->peer.out) < 0 ||
	    pg_catalog_new(&e->incoming) < 0 || peer_flush(&e->peer) < 0 ||
	    timer_set(e->owner->loop, &e->timer, QUERY_TIMEOUT_MS, on_timeout) < 0)
		fail(e, "the server's catalog could not be asked for");
	else
		peer_watch(e->owner->loop, &e->peer, true, false);
}

int catalogs_load(struct catalogs *c, const struct resource_config *resource,
		  const struct proto_ops *ops, struct tls_context *tls_context,
		  const char *database, struct catalog_wait *wait,
		  void (*on_loaded)(struct catalog_wait *w, struct pg_catalog *catalog,
				    const struct proto_error *error))
{
	const struct proto_param name = {"application_name", "sluice catalog"};
	const struct proto_login_config login = {
		.database = database, .n_params = 1, .params = &name};
	struct catalog_entry *e = find(c, resource, database);
	int r;

	if (!e)
		e = add(c, resource, database);
	if (!e)
		return -ENOMEM;
	if (!e->loading) {
		peer_init(&e->peer);
		r = dial_start(&e->dial, c->loop, resource, ops, tls_context, &login, on_dialed);
		if (r < 0)
			return r;
		e->loading = true;
		e->load_epoch = c->epoch;
	}
	wait->on_loaded = on_loaded;
	wait->entry = e;
	wait->next = e->waiters;
	e->waiters = wait;
	return 0;
}

void catalogs_forget(struct catalog_wait *wait)
{
	if (!wait->entry)
		return;
	for (struct catalog_wait **at = &wait->entry->waiters; *at; at = &(*at)->next) {
		if (*at == wait) {
			*at = wait->next;
			break;
		}
	}
	wait->entry = NULL;
}
