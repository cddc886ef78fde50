/* The promises of the transport, TLS: who the client is, which protocol is spoken, resumption, large transfers. */
#include "http_fixture.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/timestamp.h"

/* ---- A client of OpenSSL ---- */

static X509 *certificate_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return certificate;
}

/* Trusts the fixture's CA and shows the pair, if there is one. */
static SSL_CTX *client_context(const struct pki_pair *pair)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    X509 *ca = certificate_of(pki_ca_certificate(fixture.pki));
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca);
    X509_free(ca);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (pair) {
        X509 *certificate = certificate_of(pair->certificate);
        BIO *bio = BIO_new_mem_buf(pair->key, -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
        X509_free(certificate);
        EVP_PKEY_free(key);
        BIO_free(bio);
    }
    return context;
}

static SSL *client_ssl(SSL_CTX *context, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, client_connect(fixture.tls_port));
    SSL_set1_host(ssl, "kubernetes.default.svc");
    if (session)
        SSL_set_session(ssl, session);
    return ssl;
}

static void client_close(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

/* Sends a request and returns the body of the response, which must be short and by Content-Length. */
static void exchange(SSL *ssl, const char *request, struct buffer *response)
{
    assert_int_equal(SSL_write(ssl, request, (int)strlen(request)), (int)strlen(request));
    buffer_clear(response);
    size_t end = SIZE_MAX;
    while (response->size < end) {
        int n = SSL_read(ssl, buffer_reserve(response, 16384), 16384);
        if (n <= 0)
            fail_msg("the response breaks off: %s", ERR_reason_error_string(ERR_get_error()));
        response->size += (size_t)n;
        response->data[response->size] = 0;
        char *head = strstr(response->data, "\r\n\r\n");
        if (head && end == SIZE_MAX)
            end = (size_t)(head + 4 - response->data) +
                  strtoull(strstr(response->data, "Content-Length: ") + 16, NULL, 10);
    }
}

static int64_t now(void)
{
    return (int64_t)time(NULL) * SECOND;
}

/* ---- Who the client is ---- */

static void a_client_is_who_its_certificate_says(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters", "g2"};
    cleanup_pki_pair struct pki_pair pair = {0};
    cleanup_buffer struct buffer response = {0};
    assert_int_equal(pki_client(fixture.pki, "admin", groups, 2, now(), &pair, NULL), 0);
    SSL_CTX *context = client_context(&pair);
    SSL *ssl = client_ssl(context, NULL);
    assert_int_equal(SSL_connect(ssl), 1);
    assert_int_equal(SSL_version(ssl), TLS1_3_VERSION);
    exchange(ssl, GET("/peer"), &response);
    assert_string_equal(client_body(&response), "127.0.0.1 tls cn=admin o=system:masters o=g2 verified - 64");
    exchange(ssl, GET("/hello"), &response);
    /* Once more with the ticket: the identity comes back with it. */
    SSL_SESSION *session = SSL_get1_session(ssl);
    assert_true(SSL_SESSION_is_resumable(session));
    SSL_shutdown(ssl);
    client_close(ssl);
    ssl = client_ssl(context, session);
    assert_int_equal(SSL_connect(ssl), 1);
    assert_true(SSL_session_reused(ssl));
    exchange(ssl, GET("/peer"), &response);
    assert_string_equal(client_body(&response), "127.0.0.1 tls cn=admin o=system:masters o=g2 verified - 64");
    client_close(ssl);
    SSL_SESSION_free(session);
    SSL_CTX_free(context);
}

static void a_client_without_a_certificate_is_nobody(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    SSL_CTX *context = client_context(NULL);
    SSL *ssl = client_ssl(context, NULL);
    assert_int_equal(SSL_connect(ssl), 1);
    exchange(ssl, GET("/peer"), &response);
    assert_string_equal(client_body(&response), "127.0.0.1 tls cn=- none - 0");
    client_close(ssl);
    SSL_CTX_free(context);
}

/* The handshake goes well all the same, as upstream's does: the request is refused, by the layer above. */
static void what_a_foreign_or_old_certificate_says_is_not_believed(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters"};
    const struct pki_options options = {.now = now()};
    struct pki *foreign = NULL;
    assert_int_equal(pki_open(&options, &foreign, NULL), 0);
    struct pki_pair pairs[3] = {{0}};
    assert_int_equal(pki_client(foreign, "admin", groups, 1, now(), &pairs[0], NULL), 0);
    assert_int_equal(pki_client(fixture.pki, "admin", groups, 1, now() - 400 * 24 * HOUR, &pairs[1], NULL), 0);
    /* A server's certificate does not make a client. */
    pairs[2].certificate = mem_string(pki_server_certificate(fixture.pki));
    pairs[2].key = mem_string(pki_server_key(fixture.pki));
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        cleanup_buffer struct buffer response = {0};
        SSL_CTX *context = client_context(&pairs[i]);
        SSL *ssl = client_ssl(context, NULL);
        assert_int_equal(SSL_connect(ssl), 1);
        exchange(ssl, GET("/peer"), &response);
        assert_non_null(strstr(client_body(&response), " refused "));
        client_close(ssl);
        SSL_CTX_free(context);
        pki_pair_free(&pairs[i]);
    }
    pki_free(foreign);
}

/* ---- Protocols ---- */

static void old_tls_is_refused(void **state)
{
    (void)state;
    SSL_CTX *context = client_context(NULL);
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
    SSL *ssl = client_ssl(context, NULL);
    assert_true(SSL_connect(ssl) < 1);
    client_close(ssl);
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    ssl = client_ssl(context, NULL);
    assert_int_equal(SSL_connect(ssl), 1);
    cleanup_buffer struct buffer response = {0};
    exchange(ssl, GET("/hello"), &response);
    assert_string_equal(client_body(&response), "hello");
    client_close(ssl);
    SSL_CTX_free(context);
    struct http_statistics statistics;
    http_server_statistics(fixture.server, &statistics);
    assert_int_equal(statistics.handshakes_failed, 1);
}

static void http_to_the_tls_port_gets_an_explanation(void **state)
{
    (void)state;
    cleanup_close int fd = client_connect(fixture.tls_port);
    char text[256] = "";
    client_send(fd, GET("/hello"));
    assert_true(recv(fd, text, sizeof(text) - 1, MSG_WAITALL) > 0);
    assert_non_null(strstr(text, "400 Bad Request"));
    assert_non_null(strstr(text, "Client sent an HTTP request to an HTTPS server."));
}

static void records_may_arrive_byte_by_byte(void **state)
{
    (void)state;
    SSL_CTX *context = client_context(NULL);
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    cleanup_close int fd = client_connect(fixture.tls_port);
    char got[4096], body[4096] = "";
    size_t size = 0;
    bool asked = false;
    while (size < 5 || memcmp(body + size - 5, "hello", 5) != 0) {
        char byte;
        if (!SSL_is_init_finished(ssl))
            SSL_do_handshake(ssl);
        if (SSL_is_init_finished(ssl) && !asked)
            asked = SSL_write(ssl, GET("/hello"), sizeof(GET("/hello")) - 1) > 0;
        while (BIO_read(out, &byte, 1) == 1)
            client_send_bytes(fd, &byte, 1);
        int n = asked ? SSL_read(ssl, body + size, (int)(sizeof(body) - size)) : 0;
        if (n > 0) {
            size += (size_t)n;
            continue;
        }
        ssize_t bytes = recv(fd, got, 1 + (size_t)random() % sizeof(got), 0);
        assert_true(bytes > 0);
        BIO_write(in, got, (int)bytes);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
}

static void a_new_certificate_serves_new_connections(void **state)
{
    (void)state;
    SSL_CTX *context = client_context(NULL);
    SSL *before = client_ssl(context, NULL);
    assert_int_equal(SSL_connect(before), 1);
    assert_int_equal(pki_renew(fixture.pki, now() + 340 * 24 * HOUR, NULL), 1);
    const struct http_tls tls = {pki_server_certificate(fixture.pki), pki_server_key(fixture.pki), NULL};
    assert_int_equal(http_server_set_tls(fixture.server, &tls, NULL), 0);
    struct error err;
    const struct http_tls mixed = {pki_ca_certificate(fixture.pki), pki_server_key(fixture.pki), NULL};
    assert_int_equal(http_server_set_tls(fixture.server, &mixed, &err), -1);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* it is of the future */
    SSL *after = client_ssl(context, NULL);
    assert_int_equal(SSL_connect(after), 1);
    X509 *first = SSL_get0_peer_certificate(before), *second = SSL_get0_peer_certificate(after);
    assert_int_not_equal(X509_cmp(first, second), 0);
    cleanup_buffer struct buffer response = {0};
    exchange(before, GET("/hello"), &response);
    exchange(after, GET("/hello"), &response);
    client_close(before);
    client_close(after);
    SSL_CTX_free(context);
}

/* ---- libcurl: HTTP/2 by ALPN, and HTTP/1.1, with large bodies both ways ---- */

static size_t take(char *data, size_t size, size_t count, void *context)
{
    buffer_add(context, data, size * count);
    return size * count;
}

static size_t give(char *out, size_t size, size_t count, void *context)
{
    size_t *left = context, n = size * count < *left ? size * count : *left;
    memset(out, 'u', n);
    *left -= n;
    return n;
}

static CURL *curl_client(struct buffer *response, long version)
{
    CURL *curl = curl_easy_init();
    struct curl_blob ca = {(void *)pki_ca_certificate(fixture.pki), strlen(pki_ca_certificate(fixture.pki)), 0};
    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, response);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WAIT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    return curl;
}

static long curl_get(CURL *curl, const char *path, struct buffer *response)
{
    char url[200];
    long status = 0;
    buffer_clear(response);
    snprintf(url, sizeof(url), "https://localhost:%d%s", fixture.tls_port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    CURLcode code = curl_easy_perform(curl);
    if (code)
        fail_msg("curl: %s", curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static void both_protocols_carry_large_bodies_both_ways(void **state)
{
    (void)state;
    static const long versions[] = {CURL_HTTP_VERSION_2TLS, CURL_HTTP_VERSION_1_1};
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        cleanup_buffer struct buffer response = {0};
        CURL *curl = curl_client(&response, versions[i]);
        long version = 0;
        assert_int_equal(curl_get(curl, "/stream?bytes=20000000", &response), 200);
        assert_int_equal(response.size, 20000000);
        curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &version);
        assert_int_equal(version, i == 0 ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_1_1);
        assert_int_equal(curl_get(curl, "/lent", &response), 200);
        assert_int_equal(response.size, LENT_SIZE);
        /* libcurl unpacks it and checks its sum. */
        curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
        assert_int_equal(curl_get(curl, "/lent", &response), 200);
        assert_int_equal(response.size, LENT_SIZE);
        for (size_t at = 0; at < LENT_SIZE; at++)
            if (response.data[at] != (char)('a' + at % 23))
                fail_msg("byte %zu is wrong", at);
        size_t left = 3000000;
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(curl, CURLOPT_READDATA, &left);
        assert_int_equal(curl_get(curl, "/echo", &response), 200);
        assert_true(response.size > 3000000);
        left = 4000000;
        assert_int_equal(curl_get(curl, "/echo", &response), 413);
        assert_string_equal(response.data, "too much");
        curl_easy_cleanup(curl);
    }
}

/* ---- Many ---- */

static void an_idle_tls_connection_holds_no_buffers(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct rlimit limit;
    allow_connections(COUNT, &limit);
    static int fds[COUNT];
    cleanup_buffer struct buffer response = {0};
    SSL_CTX *context = client_context(NULL);
    size_t before = 0;
    for (int i = -1; i < COUNT; i++) {
        SSL *ssl = client_ssl(context, NULL);
        assert_int_equal(SSL_connect(ssl), 1);
        exchange(ssl, GET("/hello"), &response);
        if (i >= 0)
            fds[i] = dup(SSL_get_fd(ssl));
        client_close(ssl); /* without a word: the connection goes on, but its client needs no memory */
        if (i < 0)
            before = resident_memory();
    }
    size_t each = (resident_memory() - before) / COUNT;
    print_message("an idle TLS connection takes %zu bytes\n", each);
#ifndef SANITIZED
    assert_true(each < 24 * 1024);
#endif
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    SSL_CTX_free(context);
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* for OpenSSL's client */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_client_is_who_its_certificate_says),
        WITH_SERVER(a_client_without_a_certificate_is_nobody),
        WITH_SERVER(what_a_foreign_or_old_certificate_says_is_not_believed),
        WITH_SERVER(old_tls_is_refused),
        WITH_SERVER(http_to_the_tls_port_gets_an_explanation),
        WITH_SERVER(records_may_arrive_byte_by_byte),
        WITH_SERVER(a_new_certificate_serves_new_connections),
        WITH_SERVER(both_protocols_carry_large_bodies_both_ways),
        WITH_SERVER(an_idle_tls_connection_holds_no_buffers),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
