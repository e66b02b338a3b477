#include "authn/jwks.h"

void jwks_free(struct jwks *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->n; i++)
		jwk_done(&set->keys[i]);
	free(set);
}

size_t jwks_count(const struct jwks *set)
{
	return set->n;
}

int jwks_parse(struct span json, struct jwks **ret_set)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	_cleanup_(jwks_freep) struct jwks *set = NULL;
	const json_t *keys;
	int r;

	r = json_load_strict(json, &root);
	if (r < 0)
		return r;
	keys = json_object_get(root, "keys");
	if (!json_is_array(keys))
		return -EBADMSG;
	if (json_array_size(keys) > JWKS_KEYS_MAX)
		return -E2BIG;
	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(keys); i++) {
		r = jwk_parse(json_array_get(keys, i), &set->keys[set->n]);
		if (r < 0)
			return r;
		if (r > 0)
			set->n++;
	}
	*ret_set = TAKE_PTR(set);
	return 0;
}
