#include "identity/exe_cache.h"

#include <openssl/evp.h>
#include <time.h>

#define READ_BYTES 65536
/* A file changed so recently may be changed again without its times telling: they move in steps of
 * a few milliseconds. */
#define SETTLED_S 2

struct entry {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	struct timespec ctime;
	uint64_t used; /* turn of the last use, 0: empty */
	uint8_t sha256[SHA256_LEN];
};

struct exe_cache {
	size_t n;
	uint64_t turn;
	struct entry entries[];
};

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

int exe_cache_new(size_t entries, struct exe_cache **ret_cache)
{
	struct exe_cache *cache;
	size_t size;

	if (__builtin_mul_overflow(entries, sizeof(struct entry), &size) ||
	    __builtin_add_overflow(size, sizeof(*cache), &size))
		return -ENOMEM;
	cache = calloc(1, size);
	if (!cache)
		return -ENOMEM;
	cache->n = entries;
	*ret_cache = cache;
	return 0;
}

void exe_cache_free(struct exe_cache *cache)
{
	free(cache);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_content(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       same_time(a->st_mtim, b->st_mtim) && same_time(a->st_ctim, b->st_ctim);
}

static struct entry *find(struct exe_cache *cache, const struct stat *st)
{
	for (size_t i = 0; i < cache->n; i++) {
		struct entry *e = &cache->entries[i];

		if (e->used != 0 && e->ino == st->st_ino && e->dev == st->st_dev &&
		    e->size == st->st_size && same_time(e->mtime, st->st_mtim) &&
		    same_time(e->ctime, st->st_ctim))
			return e;
	}
	return NULL;
}

/* In the place of the one used longest ago. */
static void keep(struct exe_cache *cache, const struct stat *st, const uint8_t *sha256)
{
	struct entry *oldest = NULL;

	for (size_t i = 0; i < cache->n; i++)
		if (!oldest || cache->entries[i].used < oldest->used)
			oldest = &cache->entries[i];
	if (!oldest)
		return;
	*oldest = (struct entry){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
		.used = ++cache->turn,
	};
	memcpy(oldest->sha256, sha256, SHA256_LEN);
}

static int digest_file(int fd, uint8_t out[static SHA256_LEN])
{
	_cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_free_ uint8_t *chunk = malloc(READ_BYTES);
	off_t at = 0;

	if (!chunk || !ctx || EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	for (;;) {
		ssize_t n = pread(fd, chunk, READ_BYTES, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += n;
		if (at > (off_t)EXE_BYTES_MAX)
			return -EFBIG;
		if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
			return -EIO;
	}
	return EVP_DigestFinal_ex(ctx, out, NULL) == 1 ? 0 : -EIO;
}

int exe_cache_digest(struct exe_cache *cache, int fd, const struct stat *st,
		     uint8_t ret_sha256[static SHA256_LEN])
{
	struct entry *e = cache ? find(cache, st) : NULL;
	uint8_t sha256[SHA256_LEN];
	struct stat after;
	struct timespec now;
	int r;

	if (e) {
		e->used = ++cache->turn;
		memcpy(ret_sha256, e->sha256, SHA256_LEN);
		return 0;
	}
	if (!S_ISREG(st->st_mode))
		return -ENOTSUP;
	if (st->st_size > (off_t)EXE_BYTES_MAX)
		return -EFBIG;
	r = digest_file(fd, sha256);
	if (r < 0)
		return r;
	if (fstat(fd, &after) < 0)
		return -errno;
	if (!same_content(st, &after))
		return -ESTALE;
	if (cache && clock_gettime(CLOCK_REALTIME, &now) == 0 &&
	    st->st_ctim.tv_sec + SETTLED_S < now.tv_sec)
		keep(cache, st, sha256);
	memcpy(ret_sha256, sha256, SHA256_LEN);
	return 0;
}
