/* tree.h - the Merkle tree over events (RFC 6962 section 2.1), kept as its right edge only.
 * Used by: audit/ (store, verifier), roles/recorder.
 * Promises: pushing a leaf costs one hash on average and no memory; whatever the size, the tree is
 * at most 64 hashes. */
#ifndef SLUICE_AUDIT_TREE_H
#define SLUICE_AUDIT_TREE_H

#include "base/buf.h"

#define HASH_LEN	  32
#define TREE_FRONTIER_MAX (64u * HASH_LEN)

/* Roots of the full subtrees that the leaves fall into: peak[i] is of 2^i leaves and there when bit
 * i of size is set. Zeroed: an empty tree. */
struct tree {
	uint64_t size;
	uint8_t peak[64][HASH_LEN];
};

/* SHA-256(0x00 || bytes) */
void tree_leaf_hash(struct span bytes, uint8_t ret[static HASH_LEN]);
/* SHA-256 of plain bytes. */
void tree_digest(struct span bytes, uint8_t ret[static HASH_LEN]);

void tree_push(struct tree *t, const uint8_t leaf[static HASH_LEN]);
/* Of the empty tree: SHA-256 of nothing. */
void tree_root(const struct tree *t, uint8_t ret[static HASH_LEN]);

/* The peaks, largest subtree first, and back: -EBADMSG when bytes is not as long as size demands.
 */
int tree_put_frontier(const struct tree *t, struct buf *out);
_must_check_ int tree_from_frontier(uint64_t size, struct span bytes, struct tree *ret_tree);

#endif
