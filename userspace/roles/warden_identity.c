#include "roles/warden_state.h"

#include <limits.h>
#include <sys/stat.h>

#include "roles/log.h"

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

int identities_mint(struct warden *w)
{
	const struct config *c = w->config;
	int owner = check_ca_owner(c->state_dir);

	if (owner < 0)
		return owner;
	w->identities = calloc(MAX(c->n_resources, (size_t)1), sizeof(*w->identities));
	if (!w->identities)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_resources; i++) {
		int r = tls_ca_mint(c->state_dir, &c->resources[i], &w->identities[i]);

		if (r < 0) {
			log_error("no certificate for %s, from the node's CA in %s: %s",
				  c->resources[i].name, c->state_dir, strerror(-r));
			return r;
		}
	}
	return 0;
}

void identities_done(struct warden *w)
{
	for (size_t i = 0; w->identities && i < w->config->n_resources; i++)
		tls_identity_done(&w->identities[i]);
	free(TAKE_PTR(w->identities));
}
