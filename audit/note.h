/* note.h - signed checkpoints: "the first N events have this root", Ed25519.
 * Used by: roles/recorder (signs), audit/verify and tools (check).
 * Promises: the forms are C2SP's signed-note and tlog-checkpoint, so other tools read them; reading
 * trusts nothing; a private key leaves the process only into its own file. */
#ifndef SLUICE_AUDIT_NOTE_H
#define SLUICE_AUDIT_NOTE_H

#include "audit/tree.h"

#define NOTE_MAX      4096u /* bytes of a checkpoint with all its signatures */
#define NOTE_NAME_MAX 128u  /* bytes of a key's name, NUL included */
#define VKEY_MAX      256u
#define ED25519_LEN   32u

struct note_key {
	char name[NOTE_NAME_MAX];
	uint8_t id[4]; /* SHA-256(name || 0x0A || 0x01 || public)[:4] */
	uint8_t public_key[ED25519_LEN];
	void *pkey; /* EVP_PKEY; with the private half where it signs */
};

struct checkpoint {
	struct span origin; /* points into the note */
	uint64_t size;
	uint8_t root[HASH_LEN];
};

void note_key_done(struct note_key *key);
#define _cleanup_note_key_ _cleanup_(note_key_done)

/* The name of a node's key: "sluice/<node>", where what a key's name may not hold (spaces, '+',
 * anything but printable ASCII) becomes '-'. Cut when it is too long. */
void note_key_name(const char *node, char ret_name[static NOTE_NAME_MAX]);
_must_check_ int note_key_generate(const char *name, struct note_key *ret_key);
/* The private key as PKCS#8 PEM, and back. The name is not part of it: it comes from the vkey. */
_must_check_ int note_key_put_pem(const struct note_key *key, struct buf *out);
_must_check_ int note_key_from_pem(const char *name, struct span pem, struct note_key *ret_key);

/* The public key: "name+hexid+base64(0x01 || public)\n". Reading allows for the newline only. */
int note_put_vkey(const struct note_key *key, struct buf *out);
_must_check_ int note_parse_vkey(struct span text, struct note_key *ret_key);

/* "name\nsize\nbase64(root)\n\n— name base64(id || signature)\n" */
_must_check_ int note_sign_checkpoint(const struct note_key *key, uint64_t size,
				      const uint8_t root[static HASH_LEN], struct buf *out);
/* Read a checkpoint and check the signature of this key; others' are passed over.
 * -EBADMSG: not a checkpoint; -ENOKEY: this key has not signed it; -EKEYREJECTED: the signature is
 * wrong. */
_must_check_ int note_verify_checkpoint(const struct note_key *key, struct span note,
					struct checkpoint *ret_checkpoint);

#endif
