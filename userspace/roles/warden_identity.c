#include "roles/warden_state.h"

#include <limits.h>
#include <sys/stat.h>

#include "roles/log.h"

#define LOOK_MS 3600000u

/* The CA is root's: the directory is also the recorder's, who must not slip one in. */
static int check_ca_owner(const char *state_dir)
{
	static const char *const names[] = {"ca.key", "ca.pem"};
	char path[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", state_dir, names[i]) >=
		    sizeof(path))
			return -ENAMETOOLONG;
		if (lstat(path, &st) < 0) {
			if (errno == ENOENT)
				continue;
			return -errno;
		}
		if (st.st_uid != 0 || !S_ISREG(st.st_mode)) {
			log_error("%s: not a file of root's", path);
			return -EPERM;
		}
	}
	return 0;
}

static int mint(const struct warden *w, size_t resource, struct tls_identity *ret)
{
	const struct config *c = w->config;
	int r = tls_ca_mint(c->state_dir, &c->resources[resource], ret);

	if (r < 0)
		log_error("no certificate for %s, from the node's CA in %s: %s",
			  c->resources[resource].name, c->state_dir, strerror(-r));
	return r;
}

int identities_mint(struct warden *w)
{
	const struct config *c = w->config;
	int r = check_ca_owner(c->state_dir);

	if (r < 0)
		return r;
	w->identities = calloc(MAX(c->n_resources, (size_t)1), sizeof(*w->identities));
	if (!w->identities)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_resources && r == 0; i++)
		r = mint(w, i, &w->identities[i]);
	w->minted_ns = wall_ns();
	return r;
}

/* Those that are started later take it with them; those that run are told. */
static void hand_out(struct warden *w, size_t resource)
{
	const struct tls_identity *id = &w->identities[resource];
	struct msg_tls_identity m = {.resource = (uint32_t)resource,
				     .cert_pem = buf_span(&id->cert_pem),
				     .key_pem = buf_span(&id->key_pem)};
	_cleanup_buf_ struct buf b = BUF_INIT(3 * MSG_PEM_MAX);
	int r;

	/* In one piece: no part of the key is left where a smaller buffer was. */
	r = buf_reserve(&b, m.cert_pem.len + m.key_pem.len + 64) ? 0 : -ENOMEM;
	if (r == 0)
		r = msg_put_tls_identity(&b, &m);
	for (unsigned i = 0; i < w->n_workers && r == 0; i++)
		if (w->workers[i].chan &&
		    chan_send(w->workers[i].chan, MSG_TLS_IDENTITY, buf_span(&b), NULL, 0) < 0)
			child_give_up(&w->workers[i], "does not take certificates");
	if (r < 0)
		log_error("the new certificate of %s could not be handed out: %s",
			  w->config->resources[resource].name, strerror(-r));
	if (b.data)
		explicit_bzero(b.data, b.cap);
}

/* By the wall clock, as certificates are read: a machine that slept has not waited less. */
void identities_renew_if_due(struct warden *w)
{
	uint64_t half_ns = (uint64_t)TLS_LEAF_DAYS * 86400u / 2 * 1000000000u;
	uint64_t now = wall_ns();

	if (now - w->minted_ns < half_ns && now >= w->minted_ns)
		return;
	if (check_ca_owner(w->config->state_dir) < 0)
		return;
	for (size_t i = 0; i < w->config->n_resources; i++) {
		struct tls_identity id = {0};

		if (mint(w, i, &id) < 0)
			return; /* said; tried again, and the one at hand holds as long as it did */
		tls_identity_done(&w->identities[i]);
		w->identities[i] = id;
		hand_out(w, i);
	}
	w->minted_ns = now;
	log_info("certificates for agents made anew: %zu", w->config->n_resources);
}

static void on_renewal(struct timer *t)
{
	struct warden *w = OWNER_OF(t, struct warden, renewal);

	identities_renew_if_due(w);
	(void)identities_keep_fresh(w);
}

int identities_keep_fresh(struct warden *w)
{
	return timer_set(w->loop, &w->renewal, LOOK_MS, on_renewal);
}

void identities_done(struct warden *w)
{
	for (size_t i = 0; w->identities && i < w->config->n_resources; i++)
		tls_identity_done(&w->identities[i]);
	free(TAKE_PTR(w->identities));
}
