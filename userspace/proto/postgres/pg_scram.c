#include "proto/postgres/pg_scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/cursor.h"

#define KEY_LEN	 SHA256_DIGEST_LENGTH
#define SALT_MAX 256u
#define AUTH_MAX (2 * PG_SCRAM_MESSAGE_MAX + 256u)
/* "biws": base64 of "n,,", the GS2 header: no channel binding, no authorisation identity. */
#define CHANNEL "c=biws"

/* 4096 rounds take a millisecond or two, for every session that is opened, always with the same
 * result as long as the password's verifier stays: so the last results are kept, by a digest of
 * what they were made of. A worker is one thread. */
#define CACHE_SIZE 16

static struct {
	uint8_t of[KEY_LEN];
	uint8_t salted[KEY_LEN];
	bool used;
} cache[CACHE_SIZE];
static size_t cache_next;

static int hmac(const uint8_t key[static KEY_LEN], struct span data, uint8_t ret[static KEY_LEN])
{
	return HMAC(EVP_sha256(), key, KEY_LEN, data.p, data.len, ret, NULL) ? 0 : -EIO;
}

static int cache_key(const char *password, struct span salt, uint32_t iterations,
		     uint8_t ret[static KEY_LEN])
{
	_cleanup_buf_ struct buf text = BUF_INIT(8192);

	buf_put_be32(&text, iterations);
	buf_put_be32(&text, (uint32_t)salt.len);
	buf_put_span(&text, salt);
	buf_put_str(&text, password);
	if (buf_error(&text) < 0)
		return buf_error(&text);
	(void)SHA256(buf_span(&text).p, buf_len(&text), ret);
	OPENSSL_cleanse(text.data, text.cap);
	return 0;
}

/* Hi(Normalize(password), salt, i). A password of ASCII is its own SASLprep form; of others the
 * bytes are taken as they are, as PostgreSQL does with those that cannot be prepared. */
static int salt_password(const char *password, struct span salt, uint32_t iterations,
			 uint8_t ret[static KEY_LEN])
{
	uint8_t key[KEY_LEN];
	int r;

	r = cache_key(password, salt, iterations, key);
	if (r < 0)
		return r;
	for (size_t i = 0; i < CACHE_SIZE; i++) {
		if (cache[i].used && CRYPTO_memcmp(cache[i].of, key, KEY_LEN) == 0) {
			memcpy(ret, cache[i].salted, KEY_LEN);
			return 0;
		}
	}
	if (PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt.p, (int)salt.len,
			      (int)iterations, EVP_sha256(), KEY_LEN, ret) != 1)
		return -EIO;
	memcpy(cache[cache_next].of, key, KEY_LEN);
	memcpy(cache[cache_next].salted, ret, KEY_LEN);
	cache[cache_next].used = true;
	cache_next = (cache_next + 1) % CACHE_SIZE;
	return 0;
}

/* Standard base64 with padding and nothing else. *ret_n: bytes decoded, at most max. */
static int base64_decode(struct span text, uint8_t *to, size_t max, size_t *ret_n)
{
	size_t pad = 0;
	uint8_t block[3];

	if (text.len == 0 || text.len % 4 != 0 || text.len / 4 * 3 > max + 2)
		return -EPROTO;
	while (pad < 2 && text.p[text.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < text.len - pad; i++) {
		uint8_t c = text.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '+' || c == '/'))
			return -EPROTO;
	}
	if (text.len / 4 * 3 - pad > max)
		return -EPROTO;
	*ret_n = text.len / 4 * 3 - pad;
	for (size_t i = 0; i < text.len / 4; i++) {
		size_t n = MIN(*ret_n - i * 3, (size_t)3);

		if (EVP_DecodeBlock(block, text.p + i * 4, 4) != 3)
			return -EPROTO;
		memcpy(to + i * 3, block, n);
	}
	return 0;
}

static void base64_put(struct buf *out, const uint8_t *bytes, int n)
{
	char text[2 * KEY_LEN];

	(void)EVP_EncodeBlock((uint8_t *)text, bytes, n);
	buf_put_str(out, text);
	OPENSSL_cleanse(text, sizeof(text));
}

/* "<name>=<value>" up to the next comma or the end. */
static int take(struct cursor *c, char name, struct span *ret)
{
	struct span rest = cursor_rest(c);
	const uint8_t *comma;
	size_t len;

	if (rest.len < 2 || rest.p[0] != (uint8_t)name || rest.p[1] != '=')
		return -EPROTO;
	comma = memchr(rest.p, ',', rest.len);
	len = comma ? (size_t)(comma - rest.p) : rest.len;
	*ret = span_of(rest.p + 2, len - 2);
	return cursor_skip(c, comma ? len + 1 : len) < 0 ? -EPROTO : 0;
}

static int parse_count(struct span text, uint32_t *ret)
{
	uint32_t v = 0;

	if (text.len == 0 || text.len > 7)
		return -EPROTO;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -EPROTO;
		v = v * 10 + (uint32_t)(text.p[i] - '0');
	}
	if (v == 0 || v > PG_SCRAM_ITERATIONS_MAX)
		return -EPROTO;
	*ret = v;
	return 0;
}

/* The whole nonce begins with ours and goes on. */
static bool nonce_ok(const struct pg_scram *s, struct span nonce)
{
	size_t own = strlen(s->nonce);

	if (nonce.len <= own || memcmp(nonce.p, s->nonce, own) != 0)
		return false;
	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.p[i] < 0x21 || nonce.p[i] > 0x7e)
			return false;
	return true;
}

static int make_nonce(char to[static PG_SCRAM_NONCE_LEN + 1])
{
	uint8_t random[PG_SCRAM_NONCE_LEN / 4 * 3];

	if (RAND_bytes(random, sizeof(random)) != 1)
		return -EIO;
	(void)EVP_EncodeBlock((uint8_t *)to, random, sizeof(random));
	return 0;
}

int pg_scram_begin(struct pg_scram *s, const char *user, const char *password, const char *nonce,
		   struct buf *out)
{
	int r = 0;

	*s = (struct pg_scram){.password = password, .auth = BUF_INIT(AUTH_MAX)};
	if (!nonce)
		r = make_nonce(s->nonce);
	else if (strlen(nonce) <= PG_SCRAM_NONCE_LEN && !strchr(nonce, ','))
		memcpy(s->nonce, nonce, strlen(nonce) + 1);
	else
		r = -EINVAL;
	if (r < 0)
		return r;
	if (strpbrk(user, ",="))
		return -EINVAL;
	buf_putf(&s->auth, "n=%s,r=%s", user, s->nonce);
	if (buf_error(&s->auth) < 0)
		return buf_error(&s->auth);
	buf_put_str(out, "n,,");
	return buf_put_span(out, buf_span(&s->auth));
}

/* ClientProof and ServerKey from SaltedPassword and AuthMessage (RFC 5802 section 3). */
static int prove(struct pg_scram *s, const uint8_t salted[static KEY_LEN],
		 uint8_t ret_proof[static KEY_LEN])
{
	uint8_t client_key[KEY_LEN];
	uint8_t stored_key[KEY_LEN];
	uint8_t signature[KEY_LEN];
	int r;

	r = hmac(salted, span_str("Client Key"), client_key);
	if (r == 0) {
		(void)SHA256(client_key, KEY_LEN, stored_key);
		r = hmac(stored_key, buf_span(&s->auth), signature);
	}
	if (r == 0)
		r = hmac(salted, span_str("Server Key"), s->server_key);
	for (size_t i = 0; r == 0 && i < KEY_LEN; i++)
		ret_proof[i] = client_key[i] ^ signature[i];
	OPENSSL_cleanse(client_key, sizeof(client_key));
	OPENSSL_cleanse(stored_key, sizeof(stored_key));
	OPENSSL_cleanse(signature, sizeof(signature));
	return r;
}

static int put_final(struct pg_scram *s, struct span nonce, struct span salt, uint32_t iterations,
		     struct buf *out)
{
	uint8_t salted[KEY_LEN];
	uint8_t proof[KEY_LEN];
	int r;

	buf_put_str(&s->auth, "," CHANNEL ",r=");
	buf_put_span(&s->auth, nonce);
	if (buf_error(&s->auth) < 0)
		return buf_error(&s->auth);
	r = salt_password(s->password, salt, iterations, salted);
	if (r == 0)
		r = prove(s, salted, proof);
	OPENSSL_cleanse(salted, sizeof(salted));
	if (r < 0)
		return r;
	buf_put_str(out, CHANNEL ",r=");
	buf_put_span(out, nonce);
	buf_put_str(out, ",p=");
	base64_put(out, proof, KEY_LEN);
	return buf_error(out);
}

int pg_scram_answer(struct pg_scram *s, struct span server_first, struct buf *out)
{
	struct cursor c = cursor_of(server_first);
	uint8_t salt[SALT_MAX];
	struct span nonce;
	struct span text;
	uint32_t iterations = 0;
	size_t salt_len = 0;
	int r;

	if (s->answered || server_first.len > PG_SCRAM_MESSAGE_MAX)
		return -EPROTO;
	/* A mandatory extension (m=) comes first and is none that we know. */
	if (take(&c, 'r', &nonce) < 0 || !nonce_ok(s, nonce))
		return -EPROTO;
	if (take(&c, 's', &text) < 0 || base64_decode(text, salt, sizeof(salt), &salt_len) < 0)
		return -EPROTO;
	if (take(&c, 'i', &text) < 0 || parse_count(text, &iterations) < 0)
		return -EPROTO;
	buf_put_u8(&s->auth, ',');
	buf_put_span(&s->auth, server_first);
	r = put_final(s, nonce, span_of(salt, salt_len), iterations, out);
	if (r < 0)
		return r;
	s->answered = true;
	return 0;
}

int pg_scram_verify(const struct pg_scram *s, struct span server_final)
{
	struct cursor c = cursor_of(server_final);
	uint8_t expected[KEY_LEN];
	uint8_t given[KEY_LEN];
	struct span text;
	size_t n = 0;

	if (!s->answered || server_final.len > PG_SCRAM_MESSAGE_MAX)
		return -EPROTO;
	if (take(&c, 'e', &text) == 0)
		return -EACCES;
	if (take(&c, 'v', &text) < 0 || base64_decode(text, given, sizeof(given), &n) < 0 ||
	    n != KEY_LEN)
		return -EPROTO;
	if (hmac(s->server_key, buf_span(&s->auth), expected) < 0)
		return -EPROTO;
	return CRYPTO_memcmp(expected, given, KEY_LEN) == 0 ? 0 : -EPROTO;
}

void pg_scram_done(struct pg_scram *s)
{
	buf_done(&s->auth);
	OPENSSL_cleanse(s->server_key, sizeof(s->server_key));
	s->answered = false;
}
