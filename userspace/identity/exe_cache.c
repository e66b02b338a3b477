#include "identity/exe_cache.h"

#include <openssl/evp.h>
#include <time.h>

#define READ_BYTES 65536
/* A file changed so recently may be changed again without its times telling: they move in steps of
 * a few milliseconds. */
#define SETTLED_S 2
/* A cgroup may have this much read at once, and is then given back a little each second. */
#define BURST_BYTES  (256LL * 1024 * 1024)
#define REFILL_BYTES (32ll * 1024 * 1024) /* each second */
/* The first bytes that are ever read for a cgroup: whatever others do, a container that starts has
 * its executable read, twice while it is too new to be kept. */
#define RESERVE_BYTES (128ll * 1024 * 1024)
/* Time for all cgroups together beyond their reserves. */
#define TIME_NS_MAX    250000000ll
#define TIME_NS_REFILL 250000000ll /* each second */
#define ONE_NS_MAX \
	2000000000ll /* a file that takes longer: a slow disk, or one that is meant to be */
#define SECOND_NS  1000000000LL
#define PAYERS_MAX 1024u

/* What a cgroup may still have read. */
struct payer {
	uint64_t cgroup_id;
	uint64_t used; /* turn of the last use, 0: empty */
	int64_t at_ns; /* when bytes was right */
	int64_t bytes; /* below 0: it read more than it had */
	int64_t reserve;
};

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
	int64_t time_at_ns; /* when time_ns was right */
	int64_t time_ns;    /* below 0: more was spent than there was */
	struct payer payers[PAYERS_MAX];
	struct entry entries[];
};

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

static int64_t clock_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

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
	cache->time_at_ns = clock_ns();
	cache->time_ns = TIME_NS_MAX;
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

/* What there is after so much time: per_s more each second, at most max. */
static int64_t refilled(int64_t has, int64_t ns, int64_t per_s, int64_t max)
{
	if (ns <= 0)
		return has;
	ns = MIN(ns, 100 * SECOND_NS); /* fills any of them */
	return MIN(has + (int64_t)((double)ns / (double)SECOND_NS * (double)per_s), max);
}

/* The one used longest ago gives up its place: it comes back with a full measure, which matters
 * only where more cgroups than places compete, and the time for all holds there too. */
static struct payer *payer_of(struct exe_cache *cache, uint64_t cgroup_id, int64_t now)
{
	struct payer *oldest = &cache->payers[0];

	for (size_t i = 0; i < PAYERS_MAX; i++) {
		struct payer *p = &cache->payers[i];

		if (p->used != 0 && p->cgroup_id == cgroup_id) {
			p->bytes = refilled(p->bytes, now - p->at_ns, REFILL_BYTES, BURST_BYTES);
			p->at_ns = now;
			p->used = ++cache->turn;
			return p;
		}
		if (p->used < oldest->used)
			oldest = p;
	}
	*oldest = (struct payer){
		.cgroup_id = cgroup_id,
		.used = ++cache->turn,
		.at_ns = now,
		.bytes = BURST_BYTES,
		.reserve = RESERVE_BYTES,
	};
	return oldest;
}

/* May a file of this size be read for the cgroup? If so it has paid for it. One larger than a whole
 * measure is read out of a full one. */
static bool may_read(struct exe_cache *cache, uint64_t cgroup_id, int64_t size)
{
	int64_t now = clock_ns();
	struct payer *p = payer_of(cache, cgroup_id, now);

	cache->time_ns =
		refilled(cache->time_ns, now - cache->time_at_ns, TIME_NS_REFILL, TIME_NS_MAX);
	cache->time_at_ns = now;
	if (p->bytes < MIN(size, BURST_BYTES))
		return false;
	if (p->reserve < size && cache->time_ns <= 0)
		return false;
	p->bytes -= size;
	p->reserve -= MIN(size, p->reserve);
	return true;
}

/* No more than the size that was paid for is read. */
static int digest_file(int fd, int64_t size, uint8_t out[static SHA256_LEN])
{
	_cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_free_ uint8_t *chunk = malloc(READ_BYTES);
	int64_t begun = clock_ns();
	int64_t at = 0;

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
		if (at > size)
			return -ESTALE;
		if (clock_ns() - begun > ONE_NS_MAX)
			return -ETIME;
		if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
			return -EIO;
	}
	return EVP_DigestFinal_ex(ctx, out, NULL) == 1 ? 0 : -EIO;
}

static int digest_paid(struct exe_cache *cache, uint64_t cgroup_id, int fd, int64_t size,
		       uint8_t out[static SHA256_LEN])
{
	int64_t begun;
	int r;

	if (!cache)
		return digest_file(fd, size, out);
	if (!may_read(cache, cgroup_id, size))
		return -EBUSY;
	begun = clock_ns();
	r = digest_file(fd, size, out);
	cache->time_ns -= clock_ns() - begun;
	return r;
}

int exe_cache_digest(struct exe_cache *cache, uint64_t cgroup_id, int fd, const struct stat *st,
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
	r = digest_paid(cache, cgroup_id, fd, st->st_size, sha256);
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
