/* The cluster's certificates, by OpenSSL. Certificates are X.509 v3 with the extensions that upstream's have: the CA
 * may sign and carries a subject key identifier, leaves carry the authority's, key usage, extended key usage and, the
 * server's, its names. A leaf is dated back a little for clocks that differ. */
#include "server/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/timestamp.h"

#define DAY (24 * HOUR)
#define CA_LIFETIME (3650 * DAY)
#define LEAF_LIFETIME (365 * DAY)
#define LEAF_RENEWAL (30 * DAY) /* before its end */
#define BACKDATE (5 * MINUTE)
/* Of a certificate or key file. */
#define PEM_MAX (64 * 1024)
/* Of a common name, organization or DNS name (RFC 5280 and RFC 1035). */
#define NAME_MAX_SIZE 253
#define SERIAL_BITS 127

struct pki {
    char *directory;
    char **names;
    size_t name_count;
    X509 *ca;
    EVP_PKEY *ca_key;
    char *ca_text;
    struct pki_pair server;
    int64_t server_end;
    struct pki_pair service_account; /* certificate: the public key */
};

static const char *const standard_names[] = {
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "::1",
};

static void cleanup_x509(X509 **certificate)
{
    X509_free(*certificate);
}

static void cleanup_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

#define cleanup_x509 __attribute__((cleanup(cleanup_x509)))
#define cleanup_key __attribute__((cleanup(cleanup_key)))

static int openssl_error(struct error *err, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    error_set(err, EINVAL, "%s: %s", what, reason ? reason : "not understood");
    return -1;
}

void pki_pair_free(struct pki_pair *pair)
{
    free(pair->certificate);
    if (pair->key)
        OPENSSL_cleanse(pair->key, strlen(pair->key));
    free(pair->key);
    *pair = (struct pki_pair){0};
}

/* ---- PEM ---- */

/* Takes the BIO and returns its text. */
static char *bio_text(BIO *bio, int ok)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    char *text = ok ? mem_alloc((size_t)n + 1) : NULL;
    if (text) {
        memcpy(text, data, (size_t)n);
        text[n] = 0;
    }
    BIO_free(bio);
    return text;
}

static char *certificate_text(X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio_text(bio, PEM_write_bio_X509(bio, certificate));
}

static char *key_text(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    return bio_text(bio, PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
}

static char *public_key_text(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio_text(bio, PEM_write_bio_PUBKEY(bio, key));
}

static X509 *parse_certificate(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return certificate;
}

static int no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

static EVP_PKEY *parse_key(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return key;
}

/* ---- Making certificates ---- */

struct profile {
    const char *common_name;
    const char *const *organizations;
    size_t organization_count;
    const char *constraints;
    const char *usage;
    const char *extended_usage; /* NULL: none */
    const char *alternative;    /* "DNS:a,IP:b"; NULL: none */
    int64_t start, end;         /* microseconds */
};

static int add_extension(X509 *certificate, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    int ok = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

static int add_extensions(X509 *certificate, X509 *issuer, const struct profile *p)
{
    return add_extension(certificate, issuer, NID_basic_constraints, p->constraints) &&
           add_extension(certificate, issuer, NID_key_usage, p->usage) &&
           (!p->extended_usage || add_extension(certificate, issuer, NID_ext_key_usage, p->extended_usage)) &&
           add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
           (certificate == issuer ||
            add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always")) &&
           (!p->alternative || add_extension(certificate, issuer, NID_subject_alt_name, p->alternative));
}

static int add_name(X509_NAME *name, const char *kind, const char *value)
{
    return X509_NAME_add_entry_by_txt(name, kind, V_ASN1_UTF8STRING, (const unsigned char *)value, -1, -1, 0);
}

static int set_subject(X509 *certificate, const struct profile *p)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    for (size_t i = 0; i < p->organization_count; i++)
        if (!add_name(name, "O", p->organizations[i]))
            return 0;
    return add_name(name, "CN", p->common_name);
}

static int set_serial(X509 *certificate)
{
    BIGNUM *serial = BN_new();
    int ok = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
             BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate));
    BN_free(serial);
    return ok;
}

/* A certificate of `key` by the issuer; an issuer of NULL means itself. */
static int make_certificate(const struct profile *p, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, X509 **out,
                            struct error *err)
{
    cleanup_x509 X509 *certificate = X509_new();
    time_t start = (time_t)(p->start / SECOND), end = (time_t)(p->end / SECOND);
    bool ok = certificate && X509_set_version(certificate, X509_VERSION_3) && set_serial(certificate) &&
              set_subject(certificate, p) &&
              X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate)) &&
              X509_time_adj_ex(X509_getm_notBefore(certificate), 0, 0, &start) &&
              X509_time_adj_ex(X509_getm_notAfter(certificate), 0, 0, &end) && X509_set_pubkey(certificate, key) &&
              add_extensions(certificate, issuer ? issuer : certificate, p) &&
              X509_sign(certificate, issuer_key, EVP_sha256());
    if (!ok) {
        openssl_error(err, "make a certificate");
        return error_wrap(err, "'%s'", p->common_name);
    }
    *out = steal_pointer(certificate);
    return 0;
}

static int make_key(EVP_PKEY **out, struct error *err)
{
    *out = EVP_EC_gen("P-256");
    return *out ? 0 : openssl_error(err, "make a key");
}

static int64_t certificate_end(X509 *certificate)
{
    struct tm t;
    if (!ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &t))
        return 0;
    return (int64_t)timegm(&t) * SECOND;
}

/* A new key and its certificate by the cluster's CA. */
static int make_pair(struct pki *pki, const struct profile *p, struct pki_pair *out, struct error *err)
{
    cleanup_key EVP_PKEY *key = NULL;
    cleanup_x509 X509 *certificate = NULL;
    if (make_key(&key, err) < 0 || make_certificate(p, key, pki->ca, pki->ca_key, &certificate, err) < 0)
        return -1;
    *out = (struct pki_pair){certificate_text(certificate), key_text(key)};
    if (out->certificate && out->key)
        return 0;
    pki_pair_free(out);
    return openssl_error(err, "write a certificate");
}

/* ---- Files ---- */

static char *path_of(const struct pki *pki, const char *name)
{
    return mem_printf("%s/%s", pki->directory, name);
}

/* *text is NULL when there is no such file. */
static int load(const struct pki *pki, const char *name, char **text, struct error *err)
{
    *text = NULL;
    if (!pki->directory)
        return 0;
    cleanup_free char *path = path_of(pki, name);
    cleanup_buffer struct buffer data = {0};
    struct error inner = {0};
    if (file_read(path, PEM_MAX, &data, &inner) < 0) {
        if (inner.code == ENOENT)
            return 0;
        if (err)
            *err = inner;
        return -1;
    }
    *text = buffer_steal(&data, NULL);
    return 0;
}

static int store(const struct pki *pki, const char *name, const char *text, mode_t mode, struct error *err)
{
    if (!pki->directory)
        return 0;
    cleanup_free char *path = path_of(pki, name);
    return file_write_atomic(path, text, strlen(text), mode, err);
}

/* The key goes first: a certificate is never there without its key. */
static int store_pair(const struct pki *pki, const char *certificate_name, const char *key_name,
                      const struct pki_pair *pair, struct error *err)
{
    return store(pki, key_name, pair->key, 0600, err) < 0 ||
                   store(pki, certificate_name, pair->certificate, 0644, err) < 0
               ? -1
               : 0;
}

static int unusable(const struct pki *pki, const char *name, const char *why, struct error *err)
{
    ERR_clear_error();
    return error_set(err, EINVAL, "%s/%s %s; restore it, or remove the directory to begin anew", pki->directory, name,
                     why);
}

/* ---- The authority ---- */

static int make_ca(struct pki *pki, int64_t now, struct error *err)
{
    const struct profile profile = {
        .common_name = "kubernetes",
        .constraints = "critical,CA:TRUE",
        .usage = "critical,digitalSignature,keyEncipherment,keyCertSign",
        .alternative = "DNS:kubernetes",
        .start = now - BACKDATE,
        .end = now + CA_LIFETIME,
    };
    if (make_key(&pki->ca_key, err) < 0 ||
        make_certificate(&profile, pki->ca_key, NULL, pki->ca_key, &pki->ca, err) < 0)
        return -1;
    struct pki_pair pair = {certificate_text(pki->ca), key_text(pki->ca_key)};
    int failed = pair.certificate && pair.key ? store_pair(pki, "ca.crt", "ca.key", &pair, err)
                                              : openssl_error(err, "write the authority's certificate");
    pki->ca_text = steal_pointer(pair.certificate);
    pki_pair_free(&pair);
    return failed;
}

static int open_ca(struct pki *pki, int64_t now, struct error *err)
{
    cleanup_pki_pair struct pki_pair pair = {0};
    if (load(pki, "ca.crt", &pair.certificate, err) < 0 || load(pki, "ca.key", &pair.key, err) < 0)
        return -1;
    /* A key alone is what an interrupted first start leaves. */
    if (!pair.certificate)
        return make_ca(pki, now, err);
    if (!pair.key)
        return unusable(pki, "ca.key", "is missing", err);
    pki->ca = parse_certificate(pair.certificate);
    pki->ca_key = parse_key(pair.key);
    if (!pki->ca)
        return unusable(pki, "ca.crt", "is not a certificate in PEM form", err);
    if (!pki->ca_key)
        return unusable(pki, "ca.key", "is not a private key in PEM form", err);
    if (X509_check_private_key(pki->ca, pki->ca_key) != 1)
        return unusable(pki, "ca.key", "does not belong to ca.crt", err);
    if (certificate_end(pki->ca) <= now)
        return unusable(pki, "ca.crt", "has expired", err);
    pki->ca_text = certificate_text(pki->ca);
    return 0;
}

/* ---- The server ---- */

static bool is_address(const char *name)
{
    unsigned char address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Only what a DNS name or an address is made of: the names go into an OpenSSL configuration string. */
static int check_name(const char *name, struct error *err)
{
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_SIZE ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:*") != n ||
        (strchr(name, ':') && !is_address(name)))
        return error_set(err, EINVAL, "'%s' is no name for a server certificate", name);
    return 0;
}

static int make_server(struct pki *pki, int64_t now, struct error *err)
{
    static const char *const organization[] = {"coracle"};
    cleanup_buffer struct buffer names = {0};
    for (size_t i = 0; i < pki->name_count; i++)
        buffer_printf(&names, "%s%s:%s", i ? "," : "", is_address(pki->names[i]) ? "IP" : "DNS", pki->names[i]);
    const struct profile profile = {
        .common_name = "kube-apiserver",
        .organizations = organization,
        .organization_count = 1,
        .constraints = "critical,CA:FALSE",
        .usage = "critical,digitalSignature,keyEncipherment",
        .extended_usage = "serverAuth",
        .alternative = names.data,
        .start = now - BACKDATE,
        .end = now + LEAF_LIFETIME,
    };
    cleanup_pki_pair struct pki_pair pair = {0};
    if (make_pair(pki, &profile, &pair, err) < 0 || store_pair(pki, "server.crt", "server.key", &pair, err) < 0)
        return -1;
    pki_pair_free(&pki->server);
    pki->server = pair;
    pair = (struct pki_pair){0};
    pki->server_end = profile.end;
    return 0;
}

static bool covers(X509 *certificate, const char *name)
{
    return is_address(name) ? X509_check_ip_asc(certificate, name, 0) == 1
                            : X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

/* Whether the stored server certificate will do. */
static bool serves(const struct pki *pki, const struct pki_pair *pair, int64_t now, int64_t *end)
{
    cleanup_x509 X509 *certificate = pair->certificate ? parse_certificate(pair->certificate) : NULL;
    cleanup_key EVP_PKEY *key = pair->key ? parse_key(pair->key) : NULL;
    bool good = certificate && key && X509_check_private_key(certificate, key) == 1 &&
                X509_verify(certificate, X509_get0_pubkey(pki->ca)) == 1;
    for (size_t i = 0; good && i < pki->name_count; i++)
        good = covers(certificate, pki->names[i]);
    *end = good ? certificate_end(certificate) : 0;
    ERR_clear_error();
    return good && *end - LEAF_RENEWAL > now;
}

static int open_server(struct pki *pki, int64_t now, struct error *err)
{
    cleanup_pki_pair struct pki_pair pair = {0};
    if (load(pki, "server.crt", &pair.certificate, err) < 0 || load(pki, "server.key", &pair.key, err) < 0)
        return -1;
    if (!serves(pki, &pair, now, &pki->server_end))
        return make_server(pki, now, err);
    pki->server = pair;
    pair = (struct pki_pair){0};
    return 0;
}

/* ---- Service accounts ---- */

static int open_service_account(struct pki *pki, struct error *err)
{
    char *text;
    cleanup_key EVP_PKEY *key = NULL;
    if (load(pki, "sa.key", &text, err) < 0)
        return -1;
    if (text) {
        key = parse_key(text);
        OPENSSL_cleanse(text, strlen(text));
        free(text);
        if (!key)
            return unusable(pki, "sa.key", "is not a private key in PEM form", err);
    } else if (make_key(&key, err) < 0) {
        return -1;
    }
    pki->service_account = (struct pki_pair){public_key_text(key), key_text(key)};
    if (!pki->service_account.certificate || !pki->service_account.key)
        return openssl_error(err, "write the service accounts' key");
    return text && pki->directory ? store(pki, "sa.pub", pki->service_account.certificate, 0644, err)
                                  : store_pair(pki, "sa.pub", "sa.key", &pki->service_account, err);
}

/* ---- The room's door ---- */

static int take_names(struct pki *pki, const struct pki_options *options, struct error *err)
{
    size_t total = ARRAY_COUNT(standard_names) + options->name_count;
    if (total > PKI_NAMES_MAX)
        return error_set(err, E2BIG, "a server certificate with more than %d names", PKI_NAMES_MAX);
    pki->names = mem_zero(total, sizeof(*pki->names));
    for (size_t i = 0; i < total; i++) {
        const char *name =
            i < ARRAY_COUNT(standard_names) ? standard_names[i] : options->names[i - ARRAY_COUNT(standard_names)];
        if (check_name(name, err) < 0)
            return -1;
        pki->names[pki->name_count++] = mem_string(name);
    }
    return 0;
}

int pki_open(const struct pki_options *options, struct pki **out, struct error *err)
{
    struct pki *pki = mem_zero(1, sizeof(*pki));
    pki->directory = options->directory ? mem_string(options->directory) : NULL;
    int failed = take_names(pki, options, err);
    if (!failed && pki->directory)
        failed = file_make_directories(pki->directory, 0700, err);
    if (failed || open_ca(pki, options->now, err) < 0 || open_server(pki, options->now, err) < 0 ||
        open_service_account(pki, err) < 0) {
        pki_free(pki);
        return error_wrap(err, "open the cluster's certificates");
    }
    *out = pki;
    return 0;
}

void pki_free(struct pki *pki)
{
    if (!pki)
        return;
    for (size_t i = 0; i < pki->name_count; i++)
        free(pki->names[i]);
    free(pki->names);
    free(pki->directory);
    X509_free(pki->ca);
    EVP_PKEY_free(pki->ca_key);
    free(pki->ca_text);
    pki_pair_free(&pki->server);
    pki_pair_free(&pki->service_account);
    free(pki);
}

const char *pki_ca_certificate(const struct pki *pki)
{
    return pki->ca_text;
}

const char *pki_server_certificate(const struct pki *pki)
{
    return pki->server.certificate;
}

const char *pki_server_key(const struct pki *pki)
{
    return pki->server.key;
}

const char *pki_service_account_key(const struct pki *pki)
{
    return pki->service_account.key;
}

const char *pki_service_account_public_key(const struct pki *pki)
{
    return pki->service_account.certificate;
}

int64_t pki_renewal(const struct pki *pki)
{
    return pki->server_end - LEAF_RENEWAL;
}

int pki_renew(struct pki *pki, int64_t now, struct error *err)
{
    if (now < pki_renewal(pki))
        return 0;
    return make_server(pki, now, err) < 0 ? error_wrap(err, "renew the server's certificate") : 1;
}

int pki_client(struct pki *pki, const char *user, const char *const *groups, size_t group_count, int64_t now,
               struct pki_pair *out, struct error *err)
{
    const struct profile profile = {
        .common_name = user,
        .organizations = groups,
        .organization_count = group_count,
        .constraints = "critical,CA:FALSE",
        .usage = "critical,digitalSignature,keyEncipherment",
        .extended_usage = "clientAuth",
        .start = now - BACKDATE,
        .end = now + LEAF_LIFETIME,
    };
    *out = (struct pki_pair){0};
    return make_pair(pki, &profile, out, err) < 0 ? error_wrap(err, "make a client certificate") : 0;
}
