#include "tls/context.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#define CA_DAYS	     3650
#define PEM_MAX	     (16u * 1024u)
#define SERIAL_BITS  127  /* positive, at most 20 octets (RFC 5280 section 4.1.2.2) */
#define BACKDATE_S   3600 /* clocks of agents may be behind */
#define DAY_S	     86400L
#define KEY_NAME     "ca.key"
#define CERT_NAME    "ca.pem"
#define KEY_NAME_NEW "ca.key.new"
#define CERT_NEW     "ca.pem.new"

static int read_at(int dir, const char *name, bool secret, struct buf *to)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > PEM_MAX)
		return -EBADMSG;
	if (secret && (st.st_mode & 077))
		return -EPERM;
	for (;;) {
		uint8_t *at = buf_reserve(to, 4096);
		ssize_t n;

		if (!at)
			return buf_error(to);
		n = read(fd, at, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_commit(to, (size_t)n);
	}
}

static int write_all(int fd, struct span bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.p, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes = span_skip(bytes, (size_t)n);
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Whole or not at all; what is there already stays (-EEXIST). */
static int create_at(int dir, const char *name, const char *temporary, mode_t mode,
		     struct span bytes)
{
	_cleanup_close_ int fd = -1;
	int r;

	(void)unlinkat(dir, temporary, 0); /* of a start that was cut off */
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, bytes);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && linkat(dir, temporary, dir, name, 0) < 0)
		r = -errno;
	(void)unlinkat(dir, temporary, 0);
	if (r == 0 && fsync(dir) < 0)
		r = -errno;
	return r;
}

static int bio_take(BIO *bio, struct buf *to)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);

	return n > 0 ? buf_put(to, data, (size_t)n) : -EIO;
}

static int key_pem(EVP_PKEY *key, struct buf *to)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */

	if (!bio)
		return -ENOMEM;
	if (PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return -EIO;
	return bio_take(bio, to);
}

static int cert_pem(X509 *cert, struct buf *to)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio)
		return -ENOMEM;
	if (PEM_write_bio_X509(bio, cert) != 1)
		return -EIO;
	return bio_take(bio, to);
}

static void buf_wipe(struct buf *b)
{
	if (b->data)
		OPENSSL_cleanse(b->data, b->cap);
	buf_done(b);
}

static int set_serial(X509 *cert)
{
	BIGNUM *n = BN_new();
	int ok = n && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
		 BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;

	BN_free(n);
	return ok ? 0 : -EIO;
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok ? 0 : -EIO;
}

/* Version, serial, validity, name, key; neither issuer nor signature. */
static int cert_begin(EVP_PKEY *key, long days, const char *common_name, X509 **ret)
{
	_cleanup_(x509_freep) X509 *cert = X509_new();
	X509_NAME *name;

	if (!cert)
		return -ENOMEM;
	if (X509_set_version(cert, X509_VERSION_3) != 1 || set_serial(cert) < 0 ||
	    !X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) ||
	    !X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY_S) ||
	    X509_set_pubkey(cert, key) != 1)
		return -EIO;
	name = X509_get_subject_name(cert);
	if (X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)"sluice", -1, -1,
				       0) != 1 ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)common_name, -1,
				       -1, 0) != 1)
		return -EIO;
	*ret = TAKE_PTR(cert);
	return 0;
}

static int make_ca_cert(EVP_PKEY *key, X509 **ret)
{
	_cleanup_(x509_freep) X509 *cert = NULL;
	int r;

	r = cert_begin(key, CA_DAYS, "sluice node CA", &cert);
	if (r < 0)
		return r;
	if (X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1 ||
	    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") < 0 ||
	    X509_sign(cert, key, EVP_sha256()) == 0)
		return -EIO;
	*ret = TAKE_PTR(cert);
	return 0;
}

static int load_key(int dir, EVP_PKEY **ret)
{
	_cleanup_(buf_wipe) struct buf pem = BUF_INIT(PEM_MAX + 8192);
	_cleanup_(bio_freep) BIO *bio = NULL;
	EVP_PKEY *key;
	int r;

	r = read_at(dir, KEY_NAME, true, &pem);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(pem.data, (int)buf_len(&pem));
	if (!bio)
		return -ENOMEM;
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	if (!key)
		return -EBADMSG;
	*ret = key;
	return 0;
}

static int make_key(int dir, EVP_PKEY **ret)
{
	_cleanup_(buf_wipe) struct buf pem = BUF_INIT(PEM_MAX);
	_cleanup_(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
	int r;

	if (!key)
		return -EIO;
	r = key_pem(key, &pem);
	if (r < 0)
		return r;
	r = create_at(dir, KEY_NAME, KEY_NAME_NEW, 0600, buf_span(&pem));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(key);
	return 0;
}

static int load_cert(int dir, X509 **ret)
{
	_cleanup_buf_ struct buf pem = BUF_INIT(PEM_MAX + 8192);
	_cleanup_(bio_freep) BIO *bio = NULL;
	X509 *cert;
	int r;

	r = read_at(dir, CERT_NAME, false, &pem);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(pem.data, (int)buf_len(&pem));
	if (!bio)
		return -ENOMEM;
	cert = PEM_read_bio_X509(bio, NULL, NULL, (void *)"");
	if (!cert)
		return -EBADMSG;
	*ret = cert;
	return 0;
}

static int make_cert(int dir, EVP_PKEY *key, X509 **ret)
{
	_cleanup_buf_ struct buf pem = BUF_INIT(PEM_MAX);
	_cleanup_(x509_freep) X509 *cert = NULL;
	int r;

	r = make_ca_cert(key, &cert);
	if (r == 0)
		r = cert_pem(cert, &pem);
	if (r == 0)
		r = create_at(dir, CERT_NAME, CERT_NEW, 0644, buf_span(&pem));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(cert);
	return 0;
}

/* The key comes first: a start cut off between the two makes the certificate at the next. */
static int open_ca(const char *state_dir, EVP_PKEY **ret_key, X509 **ret_cert)
{
	_cleanup_close_ int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(x509_freep) X509 *cert = NULL;
	int r;

	if (dir < 0)
		return -errno;
	r = load_key(dir, &key);
	if (r == -ENOENT)
		r = make_key(dir, &key);
	if (r < 0)
		return r;
	r = load_cert(dir, &cert);
	if (r == -ENOENT)
		r = make_cert(dir, key, &cert);
	if (r < 0)
		return r;
	if (X509_check_private_key(cert, key) != 1 || X509_check_ca(cert) == 0)
		return -EBADMSG;
	*ret_key = TAKE_PTR(key);
	*ret_cert = TAKE_PTR(cert);
	return 0;
}

static int add_ip(GENERAL_NAMES *names, const uint8_t *addr, int len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_OCTET_STRING *ip = ASN1_OCTET_STRING_new();

	if (!name || !ip || ASN1_OCTET_STRING_set(ip, addr, len) != 1) {
		GENERAL_NAME_free(name);
		ASN1_OCTET_STRING_free(ip);
		return -ENOMEM;
	}
	GENERAL_NAME_set0_value(name, GEN_IPADD, ip);
	if (sk_GENERAL_NAME_push(names, name) <= 0) {
		GENERAL_NAME_free(name);
		return -ENOMEM;
	}
	return 0;
}

static int add_host(GENERAL_NAMES *names, const char *host)
{
	GENERAL_NAME *name;
	ASN1_IA5STRING *dns;
	uint8_t addr[16];

	if (inet_pton(AF_INET, host, addr) == 1)
		return add_ip(names, addr, 4);
	if (inet_pton(AF_INET6, host, addr) == 1)
		return add_ip(names, addr, 16);
	name = GENERAL_NAME_new();
	dns = ASN1_IA5STRING_new();
	if (!name || !dns || ASN1_STRING_set(dns, host, -1) != 1) {
		GENERAL_NAME_free(name);
		ASN1_IA5STRING_free(dns);
		return -ENOMEM;
	}
	GENERAL_NAME_set0_value(name, GEN_DNS, dns);
	if (sk_GENERAL_NAME_push(names, name) <= 0) {
		GENERAL_NAME_free(name);
		return -ENOMEM;
	}
	return 0;
}

static int add_names(X509 *cert, const struct resource_config *resource)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	int r;

	if (!names)
		return -ENOMEM;
	/* The resource's own name where there is no host: a certificate without any is no good. */
	r = add_host(names, resource->host ? resource->host : resource->name);
	for (size_t i = 0; r == 0 && i < resource->n_addrs; i++) {
		const struct netblock *b = &resource->addrs[i];
		int len = b->family == 4 ? 4 : 16;

		if (b->prefix == len * 8)
			r = add_ip(names, b->addr, len);
	}
	if (r == 0 &&
	    X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1)
		r = -EIO;
	GENERAL_NAMES_free(names);
	return r;
}

static int make_leaf(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key,
		     const struct resource_config *resource, X509 **ret)
{
	_cleanup_(x509_freep) X509 *cert = NULL;
	int r;

	r = cert_begin(key, TLS_LEAF_DAYS, resource->name, &cert);
	if (r < 0)
		return r;
	if (X509_set_issuer_name(cert, X509_get_subject_name(ca)) != 1 ||
	    add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
	    add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") < 0 ||
	    add_extension(cert, ca, NID_ext_key_usage, "serverAuth") < 0 ||
	    add_extension(cert, ca, NID_subject_key_identifier, "hash") < 0 ||
	    add_extension(cert, ca, NID_authority_key_identifier, "keyid:always") < 0)
		return -EIO;
	r = add_names(cert, resource);
	if (r < 0)
		return r;
	if (X509_sign(cert, ca_key, EVP_sha256()) == 0)
		return -EIO;
	*ret = TAKE_PTR(cert);
	return 0;
}

int tls_ca_mint(const char *state_dir, const struct resource_config *resource,
		struct tls_identity *ret_identity)
{
	_cleanup_(tls_identity_done) struct tls_identity id = {.cert_pem = BUF_INIT(PEM_MAX),
							       .key_pem = BUF_INIT(PEM_MAX)};
	_cleanup_(pkey_freep) EVP_PKEY *ca_key = NULL;
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(x509_freep) X509 *ca = NULL;
	_cleanup_(x509_freep) X509 *cert = NULL;
	int r;

	r = open_ca(state_dir, &ca_key, &ca);
	if (r < 0)
		return r;
	key = EVP_EC_gen("P-256");
	if (!key)
		return -EIO;
	r = make_leaf(ca, ca_key, key, resource, &cert);
	if (r == 0)
		r = cert_pem(cert, &id.cert_pem);
	if (r == 0)
		r = key_pem(key, &id.key_pem);
	ERR_clear_error();
	if (r < 0)
		return r;
	*ret_identity = id;
	/* Ownership has left: the cleanup finds nothing. */
	memset(&id, 0, sizeof(id));
	return 0;
}
