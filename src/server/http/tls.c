/* TLS by OpenSSL. A BIO of our own reads what the thread has received and appends to what the thread will send, so
 * that one recv(2) and one send(2) serve any number of records, and a connection holds no BIO buffers. */
#include "server/http/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"

/* A ticket is good for this long: a resumed client's certificate is not verified again. */
#define TICKET_SECONDS 3600
#define TICKETS_PER_HANDSHAKE 1
/* Of the client's certificate chain, in bytes. */
#define CLIENT_CHAIN_MAX (32 * 1024)

/* ---- The BIO ---- */

static int bio_write(BIO *bio, const char *data, int size)
{
    struct connection *connection = BIO_get_data(bio);
    buffer_add(&connection->io->outgoing, data, (size_t)size);
    return size;
}

static int bio_read(BIO *bio, char *out, int size)
{
    struct io_thread *io = ((struct connection *)BIO_get_data(bio))->io;
    BIO_clear_retry_flags(bio);
    if (!io->incoming_size) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = (size_t)size < io->incoming_size ? (size_t)size : io->incoming_size;
    memcpy(out, io->incoming, n);
    io->incoming += n;
    io->incoming_size -= n;
    return (int)n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void free_bio_method(void)
{
    BIO_meth_free(bio_method);
}

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "coracle");
    if (!bio_method)
        abort(); /* out of memory */
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_control);
    atexit(free_bio_method);
}

void tls_attach(SSL *ssl, struct connection *connection)
{
    pthread_once(&bio_once, make_bio_method);
    BIO *bio = BIO_new(bio_method);
    if (!bio)
        abort(); /* out of memory */
    BIO_set_data(bio, connection);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
}

/* ---- Settings ---- */

static int tls_error(struct error *err, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return error_set(err, EINVAL, "%s: %s", what, reason ? reason : "unknown OpenSSL error");
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
                           unsigned in_size, void *context)
{
    (void)ssl, (void)context;
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_size, ours, sizeof(ours) - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

bool tls_chose_http2(SSL *ssl)
{
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(ssl, &protocol, &size);
    return size == 2 && memcmp(protocol, "h2", 2) == 0;
}

/* As upstream, a certificate that is not valid does not fail the handshake but the request, with a Status to read;
 * SSL_get_verify_result remembers. */
static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

static int use_certificate(SSL_CTX *context, const struct http_tls *tls, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(tls->certificate, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    int ok = certificate && SSL_CTX_use_certificate(context, certificate) == 1;
    X509_free(certificate);
    while (ok && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        if (SSL_CTX_add0_chain_cert(context, certificate) != 1) {
            X509_free(certificate);
            ok = 0;
        }
    BIO_free(bio);
    if (!ok)
        return tls_error(err, "use the server's certificate");
    ERR_clear_error(); /* the end of the chain */
    bio = BIO_new_mem_buf(tls->key, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    ok = key && SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok ? 0 : tls_error(err, "use the server's key");
}

static int use_client_ca(SSL_CTX *context, const char *pem, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    X509 *ca;
    int count = 0;
    while ((ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        count += X509_STORE_add_cert(store, ca) == 1 && SSL_CTX_add_client_CA(context, ca) == 1;
        X509_free(ca);
    }
    BIO_free(bio);
    if (!count)
        return tls_error(err, "use the authority for client certificates");
    ERR_clear_error();
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
    return 0;
}

SSL_CTX *tls_context_new(const struct http_tls *tls, struct error *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        tls_error(err, "set up TLS");
        return NULL;
    }
    static const unsigned char id[] = "coracle";
    bool ok = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                                "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
              SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
              SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1 &&
              SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1) == 1;
    if (!ok)
        tls_error(err, "set up TLS");
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets hold everything */
    SSL_CTX_set_timeout(context, TICKET_SECONDS);
    SSL_CTX_set_num_tickets(context, TICKETS_PER_HANDSHAKE);
    SSL_CTX_set_max_cert_list(context, CLIENT_CHAIN_MAX);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (!ok || use_certificate(context, tls, err) < 0 ||
        (tls->client_ca && use_client_ca(context, tls->client_ca, err) < 0)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

/* ---- Peers ---- */

struct peer *peer_new(const struct io_arrival *arrival)
{
    struct peer *peer = mem_zero(1, sizeof(*peer));
    peer->references = 1;
    peer->public.tls = !arrival->plain;
    switch (arrival->address.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &arrival->address.in.sin_addr, peer->address, sizeof(peer->address));
        peer->public.port = ntohs(arrival->address.in.sin_port);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &arrival->address.in6.sin6_addr, peer->address, sizeof(peer->address));
        peer->public.port = ntohs(arrival->address.in6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&arrival->address.in6.sin6_addr))
            memmove(peer->address, peer->address + 7, strlen(peer->address + 7) + 1); /* "::ffff:" */
        break;
    default:
        strcpy(peer->address, "@");
    }
    peer->public.address = peer->address;
    return peer;
}

void peer_release(struct peer *peer)
{
    if (--peer->references)
        return;
    arena_free(peer->arena);
    free(peer);
}

/* The text of a name's entry; NULL if it is not text. */
static const char *entry_text(struct peer *peer, X509_NAME *name, int index)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
    char *text =
        n < 0 || memchr(utf8, 0, (size_t)n) ? NULL : arena_string_n(peer->arena, (const char *)utf8, (size_t)n);
    OPENSSL_free(utf8);
    return text;
}

static const char *read_subject(struct peer *peer, X509 *certificate)
{
    struct http_peer *public = &peer->public;
    X509_NAME *name = X509_get_subject_name(certificate);
    public->common_name = "";
    /* The last common name counts, as in Go. */
    for (int i = -1; (i = X509_NAME_get_index_by_NID(name, NID_commonName, i)) >= 0;)
        if (!(public->common_name = entry_text(peer, name, i)))
            return "the common name is not text";
    size_t entries = (size_t)X509_NAME_entry_count(name);
    const char **organizations = arena_alloc(peer->arena, (entries + 1) * sizeof(*organizations));
    for (int i = -1; (i = X509_NAME_get_index_by_NID(name, NID_organizationName, i)) >= 0;) {
        if (!(organizations[public->organization_count++] = entry_text(peer, name, i)))
            return "an organization is not text";
    }
    public->organizations = organizations;
    return NULL;
}

void tls_identify(SSL *ssl, struct peer *peer)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (!certificate)
        return;
    struct http_peer *public = &peer->public;
    peer->arena = arena_new(0);
    long result = SSL_get_verify_result(ssl);
    /* A ticket may outlive the certificate that it was given for. */
    if (result == X509_V_OK && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        result = X509_V_ERR_CERT_HAS_EXPIRED;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &size))
        hex_encode(digest, size, public->fingerprint);
    const char *fault = read_subject(peer, certificate);
    if (result != X509_V_OK)
        fault = X509_verify_cert_error_string(result);
    public->certificate = fault ? HTTP_CERTIFICATE_REFUSED : HTTP_CERTIFICATE_VERIFIED;
    public->certificate_error = fault;
    ERR_clear_error();
}
