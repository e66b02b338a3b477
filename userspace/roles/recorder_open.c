#include "roles/recorder_priv.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include "audit/verify.h"
#include "roles/log.h"

#define KEY_FILE	"signing.key"
#define PUBLIC_FILE	"signing.pub"
#define CHECKPOINT_FILE "checkpoint"

static int fail(struct recorder *r, int error, const char *text)
{
	(void)snprintf(r->error_text, sizeof(r->error_text), "%s", text);
	return error;
}

/* Root's, with the recorder's group, and sticky: the recorder makes its own files here and cannot
 * touch those of others (the node's CA). Files are only ever opened with the recorder's own rights.
 */
int recorder_prepare_dir(const struct config *config)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(config->state_dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(config->state_dir, O_DIRECTORY | O_NOFOLLOW | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (geteuid() != 0)
		return 0;
	if (fchown(fd, 0, config->recorder_uid) < 0 || fchmod(fd, 01771) < 0)
		return -errno;
	return 0;
}

/* A small file, whole. -E2BIG when it is longer than the buffer may be. */
static int read_file(int dir, const char *name, struct buf *out, mode_t *ret_mode)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)buf_room(out))
		return -E2BIG;
	while (buf_len(out) < (size_t)st.st_size) {
		size_t left = (size_t)st.st_size - buf_len(out);
		uint8_t *to = buf_reserve(out, left);
		ssize_t n = to ? read(fd, to, left) : -1;

		if (n < 0 && to && errno == EINTR)
			continue;
		if (n <= 0)
			return !to ? -ENOMEM : n < 0 ? -errno : -EIO;
		buf_commit(out, (size_t)n);
	}
	if (ret_mode)
		*ret_mode = st.st_mode & 07777;
	return 0;
}

/* On disk under its name whole, or not at all; never over one that is there. */
static int write_file(int dir, const char *name, mode_t mode, struct span text)
{
	_cleanup_close_ int fd = -1;
	char new_name[64];
	int r = 0;

	(void)snprintf(new_name, sizeof(new_name), "%s.new", name);
	(void)unlinkat(dir, new_name, 0);
	fd = openat(dir, new_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text.p, text.len) != (ssize_t)text.len)
		r = -EIO;
	else if (fchmod(fd, mode) < 0 || fsync(fd) < 0 || linkat(dir, new_name, dir, name, 0) < 0)
		r = -errno;
	(void)unlinkat(dir, new_name, 0);
	return r;
}

static int make_key(const struct recorder *r, int dir, struct note_key *ret_key)
{
	_cleanup_note_key_ struct note_key key = {0};
	_cleanup_buf_ struct buf pem = BUF_INIT(4096);
	char name[NOTE_NAME_MAX];
	int result;

	note_key_name(r->config->node, name);
	result = note_key_generate(name, &key);
	if (result == 0)
		result = note_key_put_pem(&key, &pem);
	if (result == 0)
		result = write_file(dir, KEY_FILE, 0600, buf_span(&pem));
	if (pem.data)
		OPENSSL_cleanse(pem.data, pem.cap);
	if (result < 0)
		return result;
	*ret_key = key;
	key.pkey = NULL;
	return 0;
}

static int put_public(int dir, const struct note_key *key)
{
	_cleanup_buf_ struct buf vkey = BUF_INIT(VKEY_MAX);
	int r = note_put_vkey(key, &vkey);

	return r < 0 ? r : write_file(dir, PUBLIC_FILE, 0644, buf_span(&vkey));
}

/* The name comes from signing.pub: so it stays what it was when the node is given another. */
static int load_key(struct recorder *r, int dir, struct span pem)
{
	_cleanup_note_key_ struct note_key key = {0};
	_cleanup_note_key_ struct note_key public = {0};
	_cleanup_buf_ struct buf vkey = BUF_INIT(VKEY_MAX);
	char name[NOTE_NAME_MAX];
	int has = read_file(dir, PUBLIC_FILE, &vkey, NULL);

	if (has < 0 && has != -ENOENT)
		return fail(r, has, "signing.pub cannot be read");
	note_key_name(r->config->node, name);
	if (has == 0) {
		if (note_parse_vkey(buf_span(&vkey), &public) < 0)
			return fail(r, -EUCLEAN, "signing.pub is not a key");
		memcpy(name, public.name, sizeof(name));
	}
	if (note_key_from_pem(name, pem, &key) < 0)
		return fail(r, -EUCLEAN, "signing.key is not an Ed25519 key");
	if (has == 0 && memcmp(key.public_key, public.public_key, ED25519_LEN) != 0)
		return fail(r, -EUCLEAN, "signing.pub is not that of signing.key");
	if (has == -ENOENT && put_public(dir, &key) < 0)
		return fail(r, -EIO, "signing.pub cannot be written");
	r->key = key;
	key.pkey = NULL;
	return 0;
}

static int open_key(struct recorder *r, int dir)
{
	_cleanup_buf_ struct buf pem = BUF_INIT(4096);
	mode_t mode;
	int result;

	if (r->key.pkey)
		return 0;
	result = read_file(dir, KEY_FILE, &pem, &mode);
	if (result == -ENOENT) {
		struct note_key key;

		result = make_key(r, dir, &key);
		if (result < 0)
			return fail(r, result, "signing.key cannot be written");
		r->key = key;
		log_info("made a signing key: %s", key.name);
		result = put_public(dir, &r->key);
		return result < 0 ? fail(r, result, "signing.pub cannot be written") : 0;
	}
	if (result < 0)
		return fail(r, result, "signing.key cannot be read");
	if (mode & 077)
		result = fail(r, -EPERM, "signing.key may be read by others: see who did");
	else
		result = load_key(r, dir, buf_span(&pem));
	OPENSSL_cleanse(pem.data, pem.cap);
	return result;
}

/* The checkpoint that was published last is of no more events than there are. */
static int check_published(struct recorder *r, int dir)
{
	_cleanup_buf_ struct buf note = BUF_INIT(NOTE_MAX);
	struct checkpoint cp;
	int result = read_file(dir, CHECKPOINT_FILE, &note, NULL);

	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return fail(r, result, "the file checkpoint cannot be read");
	if (note_verify_checkpoint(&r->key, buf_span(&note), &cp) < 0)
		return fail(r, -EUCLEAN, "the file checkpoint is not one signed by signing.key");
	if (cp.size > r->tree.size) {
		(void)snprintf(r->error_text, sizeof(r->error_text),
			       "the file checkpoint says %llu events, the store has %llu: the end "
			       "of the store was cut off",
			       (unsigned long long)cp.size, (unsigned long long)r->tree.size);
		return -EUCLEAN;
	}
	return 0;
}

/* From here on events can be appended. */
static int adopt(struct recorder *r, int dir, struct store *store)
{
	int result;

	result = verify_tail(store, &r->key, r->error_text, &r->tree, r->leaf);
	if (result == 0)
		result = check_published(r, dir);
	if (result < 0)
		return result;
	batch_reset(r->filling, r->tree.size);
	r->committed = r->tree.size;
	result = approvals_load(r, store);
	if (result < 0) {
		approvals_free(r);
		return fail(r, result, "approvals cannot be read");
	}
	return 0;
}

int recorder_open(struct recorder *r)
{
	_cleanup_(store_closep) struct store *store = NULL;
	_cleanup_close_ int dir = -1;
	char path[4096];
	int result;

	dir = open(r->config->state_dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (dir < 0)
		return fail(r, -errno, "the state directory cannot be opened");
	if (snprintf(path, sizeof(path), "%s/" STORE_FILE, r->config->state_dir) >=
	    (int)sizeof(path))
		return fail(r, -ENAMETOOLONG, "the state directory's path is too long");
	result = open_key(r, dir);
	if (result == 0)
		result = store_open(path, r->error_text, &store);
	if (result == 0)
		result = adopt(r, dir, store);
	if (result < 0)
		return result;
	result = writer_start(r->writer, TAKE_PTR(store));
	if (result < 0) {
		approvals_free(r);
		return fail(r, result, "the writing thread cannot be started");
	}
	r->signed_size = 0;
	r->open = true;
	log_info("recording; the store has %llu events", (unsigned long long)r->committed);
	return 0;
}
