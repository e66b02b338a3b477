/* The plain SHA256_* calls cannot fail and need no memory, unlike EVP's: a hash is taken three
 * times an event. OpenSSL 3 marks them as deprecated; they are kept in all of 3.x. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "audit/tree.h"

#include <openssl/sha.h>

static void hash_parts(uint8_t prefix, struct span a, struct span b, uint8_t *ret)
{
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	SHA256_Update(&ctx, &prefix, 1);
	if (a.len > 0)
		SHA256_Update(&ctx, a.p, a.len);
	if (b.len > 0)
		SHA256_Update(&ctx, b.p, b.len);
	SHA256_Final(ret, &ctx);
}

void tree_leaf_hash(struct span bytes, uint8_t ret[static HASH_LEN])
{
	hash_parts(0, bytes, (struct span){0}, ret);
}

void tree_digest(struct span bytes, uint8_t ret[static HASH_LEN])
{
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	if (bytes.len > 0)
		SHA256_Update(&ctx, bytes.p, bytes.len);
	SHA256_Final(ret, &ctx);
}

void tree_push(struct tree *t, const uint8_t leaf[static HASH_LEN])
{
	uint8_t hash[HASH_LEN];
	unsigned level = 0;

	memcpy(hash, leaf, HASH_LEN);
	while (t->size >> level & 1) {
		hash_parts(1, span_of(t->peak[level], HASH_LEN), span_of(hash, HASH_LEN), hash);
		level++;
	}
	memcpy(t->peak[level], hash, HASH_LEN);
	t->size++;
}

void tree_root(const struct tree *t, uint8_t ret[static HASH_LEN])
{
	uint8_t hash[HASH_LEN];
	bool any = false;

	if (t->size == 0) {
		tree_digest((struct span){0}, ret);
		return;
	}
	for (unsigned level = 0; level < 64; level++) {
		if (!(t->size >> level & 1))
			continue;
		if (any)
			hash_parts(1, span_of(t->peak[level], HASH_LEN), span_of(hash, HASH_LEN),
				   hash);
		else
			memcpy(hash, t->peak[level], HASH_LEN);
		any = true;
	}
	memcpy(ret, hash, HASH_LEN);
}

int tree_put_frontier(const struct tree *t, struct buf *out)
{
	for (unsigned level = 64; level-- > 0;) {
		if (t->size >> level & 1)
			buf_put(out, t->peak[level], HASH_LEN);
	}
	return buf_error(out);
}

int tree_from_frontier(uint64_t size, struct span bytes, struct tree *ret_tree)
{
	struct tree t = {.size = size};

	if (bytes.len != (size_t)__builtin_popcountll(size) * HASH_LEN)
		return -EBADMSG;
	for (unsigned level = 64; level-- > 0;) {
		if (!(size >> level & 1))
			continue;
		memcpy(t.peak[level], bytes.p, HASH_LEN);
		bytes = span_skip(bytes, HASH_LEN);
	}
	*ret_tree = t;
	return 0;
}
