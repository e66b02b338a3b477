#include "audit/note.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/cursor.h"

#define SIG_LEN	 64u
#define EM_DASH	 "\xe2\x80\x94"
#define ALG_BYTE 0x01 /* Ed25519, signed-note "Signature types" */

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_freep)
DEFINE_CLEANUP(BIO *, BIO_free_all, bio_freep)

void note_key_done(struct note_key *key)
{
	EVP_PKEY_free(key->pkey);
	*key = (struct note_key){0};
}

/* EVP_EncodeBlock is standard base64 with padding, without line breaks. */
static void put_base64(struct buf *out, struct span s)
{
	uint8_t *to = buf_reserve(out, (s.len + 2) / 3 * 4 + 1);

	if (to)
		buf_commit(out, (size_t)EVP_EncodeBlock(to, s.p, (int)s.len));
}

/* Decode what must come to exactly n bytes. EVP_DecodeBlock is lax about spaces and padding: what
 * was read must be what we would have written. */
static int get_base64(struct span text, size_t n, uint8_t *ret)
{
	uint8_t raw[128];
	_cleanup_buf_ struct buf again = BUF_INIT(256);

	if (text.len != (n + 2) / 3 * 4 || text.len / 4 * 3 > sizeof(raw))
		return -EBADMSG;
	if (EVP_DecodeBlock(raw, text.p, (int)text.len) < (int)n)
		return -EBADMSG;
	put_base64(&again, span_of(raw, n));
	if (buf_error(&again))
		return buf_error(&again);
	if (!span_eq(buf_span(&again), text))
		return -EBADMSG;
	memcpy(ret, raw, n);
	return 0;
}

/* Fill in the name, the public half and the id. Takes pkey. */
static int finish_key(struct span name, EVP_PKEY *pkey, struct note_key *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT(512);
	struct note_key key = {0};
	uint8_t digest[HASH_LEN];
	size_t n = ED25519_LEN;

	if (name.len == 0 || name.len >= NOTE_NAME_MAX || EVP_PKEY_id(pkey) != EVP_PKEY_ED25519 ||
	    EVP_PKEY_get_raw_public_key(pkey, key.public_key, &n) != 1 || n != ED25519_LEN) {
		EVP_PKEY_free(pkey);
		return -EBADMSG;
	}
	memcpy(key.name, name.p, name.len);
	buf_put_span(&b, name);
	buf_put(&b, "\n\x01", 2);
	buf_put(&b, key.public_key, ED25519_LEN);
	if (buf_error(&b)) {
		EVP_PKEY_free(pkey);
		return buf_error(&b);
	}
	tree_digest(buf_span(&b), digest);
	memcpy(key.id, digest, sizeof(key.id));
	key.pkey = pkey;
	*ret = key;
	return 0;
}

void note_key_name(const char *node, char ret_name[static NOTE_NAME_MAX])
{
	(void)snprintf(ret_name, NOTE_NAME_MAX, "sluice/%s", node);
	for (char *p = ret_name; *p; p++) {
		if (*p <= ' ' || *p >= 0x7f || *p == '+')
			*p = '-';
	}
}

int note_key_generate(const char *name, struct note_key *ret_key)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	if (!pkey)
		return -EIO;
	return finish_key(span_str(name), pkey, ret_key);
}

int note_key_put_pem(const struct note_key *key, struct buf *out)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
	char *text;
	long n;

	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) != 1)
		return -ENOMEM;
	n = BIO_get_mem_data(bio, &text);
	return buf_put(out, text, (size_t)n);
}

int note_key_from_pem(const char *name, struct span pem, struct note_key *ret_key)
{
	_cleanup_(bio_freep) BIO *bio = NULL;
	EVP_PKEY *pkey;

	if (pem.len > INT32_MAX)
		return -EBADMSG;
	bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	if (!bio)
		return -ENOMEM;
	pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	if (!pkey)
		return -EBADMSG;
	return finish_key(span_str(name), pkey, ret_key);
}

int note_put_vkey(const struct note_key *key, struct buf *out)
{
	uint8_t raw[1 + ED25519_LEN] = {ALG_BYTE};

	memcpy(raw + 1, key->public_key, ED25519_LEN);
	buf_put_str(out, key->name);
	buf_put_u8(out, '+');
	buf_put_hex(out, span_of(key->id, sizeof(key->id)));
	buf_put_u8(out, '+');
	put_base64(out, span_of(raw, sizeof(raw)));
	return buf_put_u8(out, '\n');
}

/* The bytes up to the next end, which is consumed. */
static int take_until(struct cursor *c, uint8_t end, struct span *ret)
{
	const uint8_t *at = cursor_left(c) > 0 ? memchr(c->p, end, cursor_left(c)) : NULL;

	if (!at)
		return -EBADMSG;
	*ret = span_of(c->p, (size_t)(at - c->p));
	c->p = at + 1;
	return 0;
}

static bool name_valid(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == '+')
			return false;
	}
	return name.len > 0 && name.len < NOTE_NAME_MAX;
}

int note_parse_vkey(struct span text, struct note_key *ret_key)
{
	_cleanup_buf_ struct buf again = BUF_INIT(VKEY_MAX);
	_cleanup_note_key_ struct note_key key = {0};
	uint8_t raw[1 + ED25519_LEN];
	struct cursor c = cursor_of(text);
	struct span name;
	struct span id;
	struct span b64;
	EVP_PKEY *pkey;
	int r;

	if (text.len > 0 && text.p[text.len - 1] == '\n')
		c.end--;
	if (take_until(&c, '+', &name) < 0 || take_until(&c, '+', &id) < 0)
		return -EBADMSG;
	b64 = cursor_rest(&c);
	if (!name_valid(name) || get_base64(b64, sizeof(raw), raw) < 0 || raw[0] != ALG_BYTE)
		return -EBADMSG;
	pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw + 1, ED25519_LEN);
	if (!pkey)
		return -EBADMSG;
	r = finish_key(name, pkey, &key);
	if (r < 0)
		return r;
	buf_put_hex(&again, span_of(key.id, sizeof(key.id)));
	if (buf_error(&again) || !span_eq(buf_span(&again), id))
		return -EBADMSG;
	*ret_key = key;
	key.pkey = NULL;
	return 0;
}

int note_sign_checkpoint(const struct note_key *key, uint64_t size,
			 const uint8_t root[static HASH_LEN], struct buf *out)
{
	_cleanup_(md_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_buf_ struct buf text = BUF_INIT(NOTE_MAX);
	uint8_t signed_id[4 + SIG_LEN];
	size_t n = SIG_LEN;

	if (!ctx)
		return -ENOMEM;
	buf_putf(&text, "%s\n%llu\n", key->name, (unsigned long long)size);
	put_base64(&text, span_of(root, HASH_LEN));
	buf_put_u8(&text, '\n');
	if (buf_error(&text))
		return buf_error(&text);
	memcpy(signed_id, key->id, 4);
	if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) != 1 ||
	    EVP_DigestSign(ctx, signed_id + 4, &n, buf_span(&text).p, buf_len(&text)) != 1 ||
	    n != SIG_LEN)
		return -EIO;
	buf_put_span(out, buf_span(&text));
	buf_putf(out, "\n" EM_DASH " %s ", key->name);
	put_base64(out, span_of(signed_id, sizeof(signed_id)));
	return buf_put_u8(out, '\n');
}

/* origin, size, root, and lines of extensions, none empty. */
static int parse_text(struct span text, struct checkpoint *ret)
{
	struct cursor c = cursor_of(text);
	struct checkpoint cp = {0};
	struct span size;
	struct span line;

	if (take_until(&c, '\n', &cp.origin) < 0 || cp.origin.len == 0 ||
	    take_until(&c, '\n', &size) < 0 || take_until(&c, '\n', &line) < 0 ||
	    get_base64(line, HASH_LEN, cp.root) < 0)
		return -EBADMSG;
	if (size.len == 0 || size.len > 19 || (size.p[0] == '0' && size.len > 1))
		return -EBADMSG;
	for (size_t i = 0; i < size.len; i++) {
		if (size.p[i] < '0' || size.p[i] > '9')
			return -EBADMSG;
		cp.size = cp.size * 10 + (uint64_t)(size.p[i] - '0');
	}
	while (cursor_left(&c) > 0) {
		if (take_until(&c, '\n', &line) < 0 || line.len == 0)
			return -EBADMSG;
	}
	*ret = cp;
	return 0;
}

static int check_signature(const struct note_key *key, struct span text, const uint8_t *signature)
{
	_cleanup_(md_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx)
		return -ENOMEM;
	if (EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) != 1)
		return -EIO;
	return EVP_DigestVerify(ctx, signature, SIG_LEN, text.p, text.len) == 1 ? 0 : -EKEYREJECTED;
}

int note_verify_checkpoint(const struct note_key *key, struct span note,
			   struct checkpoint *ret_checkpoint)
{
	const uint8_t *blank = note.len <= NOTE_MAX ? memmem(note.p, note.len, "\n\n", 2) : NULL;
	struct checkpoint cp;
	struct cursor c;
	struct span text;
	int result = -ENOKEY;

	if (!blank)
		return -EBADMSG;
	text = span_of(note.p, (size_t)(blank - note.p) + 1);
	c = cursor_of(span_skip(note, text.len + 1));
	if (parse_text(text, &cp) < 0)
		return -EBADMSG;
	while (cursor_left(&c) > 0) {
		uint8_t raw[4 + SIG_LEN];
		struct span line;
		struct span name;
		struct cursor l;

		if (take_until(&c, '\n', &line) < 0 || line.len < 4 ||
		    memcmp(line.p, EM_DASH " ", 4) != 0)
			return -EBADMSG;
		l = cursor_of(span_skip(line, 4));
		if (take_until(&l, ' ', &name) < 0)
			return -EBADMSG;
		if (!span_eq_str(name, key->name) ||
		    get_base64(cursor_rest(&l), sizeof(raw), raw) < 0 ||
		    memcmp(raw, key->id, 4) != 0)
			continue;
		result = check_signature(key, text, raw + 4);
		if (result < 0)
			return result;
	}
	if (result == 0)
		*ret_checkpoint = cp;
	return result;
}
