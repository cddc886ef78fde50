/* It is over with the first failure, or when its answer is complete; what is left of it then is a socket that the loop
 * closes. */
#include "node/http_exchange.h"

#include <ctype.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/dial.h"

/* Bytes of one read. */
#define READ_BLOCK (16 * 1024)
#define FAILURE_MAX 1024

struct http_client {
    uv_loop_t *loop;
    SSL_CTX *tls; /* made for the first of https */
    char block[READ_BLOCK];
};

struct http_exchange {
    struct http_client *client;
    struct dial *dial; /* NULL: it has ended */
    uv_tcp_t *socket;  /* NULL: not connected yet */
    bool https;
    char *host;
    int port;
    SSL *tls; /* NULL: in the clear */
    BIO *from_peer, *to_peer;
    char first[5]; /* that came over TLS */
    size_t first_size;
    char *request;
    struct http_answer answer;
    bool over;
    http_exchange_done done;
    void *context;
};

struct outgoing {
    uv_write_t request;
    struct http_exchange *exchange;
    char data[];
};

/* ---- The end ---- */

static void exchange_free(struct http_exchange *e)
{
    SSL_free(e->tls);
    http_answer_free(&e->answer);
    free(e->socket);
    free(e->request);
    free(e->host);
    free(e);
}

static void socket_closed(uv_handle_t *handle)
{
    exchange_free(handle->data);
}

/* Once connected: the rest is the closing of the socket. */
static void hang_up(struct http_exchange *e)
{
    e->over = true;
    uv_close((uv_handle_t *)e->socket, socket_closed);
}

void http_exchange_cancel(struct http_exchange *e)
{
    if (!e || e->over)
        return;
    if (e->socket) {
        hang_up(e);
    } else {
        dial_cancel(e->dial);
        exchange_free(e);
    }
}

static void finish(struct http_exchange *e, const char *failure)
{
    if (e->over)
        return;
    hang_up(e);
    e->done(e->context, failure ? NULL : &e->answer, failure);
}

/* "connect: connection refused", as Go words it. */
static void fail_system(struct http_exchange *e, const char *operation, int code)
{
    char text[FAILURE_MAX];
    const char *why = strerror(-code);
    const char *colon = strchr(e->host, ':');
    snprintf(text, sizeof(text), "%s tcp %s%s%s:%d: %s: %c%s", operation, colon ? "[" : "", e->host, colon ? "]" : "",
             e->port, operation, tolower((unsigned char)*why), why + 1);
    finish(e, text);
}

/* ---- The conversation ---- */

static void written(uv_write_t *request, int status)
{
    struct outgoing *outgoing = request->data;
    struct http_exchange *e = outgoing->exchange;
    free(outgoing);
    if (status < 0 && !e->over && status != UV_ECANCELED)
        fail_system(e, "write", status);
}

static void send_bytes(struct http_exchange *e, const void *data, size_t size)
{
    struct outgoing *outgoing = mem_alloc(sizeof(*outgoing) + size);
    outgoing->exchange = e;
    outgoing->request.data = outgoing;
    memcpy(outgoing->data, data, size);
    uv_buf_t block = uv_buf_init(outgoing->data, (unsigned)size);
    int status = uv_write(&outgoing->request, (uv_stream_t *)e->socket, &block, 1, written);
    if (status < 0) {
        free(outgoing);
        fail_system(e, "write", status);
    }
}

static void take_answer(struct http_exchange *e, const char *data, size_t size)
{
    char failure[HTTP_ANSWER_FAILURE_MAX];
    if (http_answer_feed(&e->answer, data, size, failure) < 0)
        finish(e, failure);
    else if (e->answer.complete)
        finish(e, NULL);
}

static void take_end(struct http_exchange *e)
{
    char failure[HTTP_ANSWER_FAILURE_MAX];
    finish(e, http_answer_end(&e->answer, failure) < 0 ? failure : NULL);
}

static const char *tls_failure(const struct http_exchange *e)
{
    if (SSL_is_init_finished(e->tls))
        return "tls: bad record";
    return e->first_size == sizeof(e->first) && memcmp(e->first, "HTTP/", sizeof(e->first)) == 0
               ? HTTP_EXCHANGE_PLAIN
               : "tls: first record does not look like a TLS handshake";
}

/* Does what TLS can do with the bytes that have come. */
static void turn_tls(struct http_exchange *e)
{
    char plain[4096], *data;
    int n = 0, error = SSL_ERROR_NONE;
    if (!SSL_is_init_finished(e->tls)) {
        n = SSL_do_handshake(e->tls);
        if (n == 1)
            n = SSL_write(e->tls, e->request, (int)strlen(e->request)); /* whole: memory takes all */
        if (n <= 0)
            error = SSL_get_error(e->tls, n);
    }
    while (!e->over && error == SSL_ERROR_NONE && SSL_is_init_finished(e->tls))
        if ((n = SSL_read(e->tls, plain, sizeof(plain))) > 0)
            take_answer(e, plain, (size_t)n);
        else
            error = SSL_get_error(e->tls, n);
    if (e->over)
        return;
    long size = BIO_get_mem_data(e->to_peer, &data);
    if (size > 0) {
        send_bytes(e, data, (size_t)size);
        (void)BIO_reset(e->to_peer);
    }
    if (error == SSL_ERROR_SSL)
        finish(e, tls_failure(e));
    else if (error == SSL_ERROR_ZERO_RETURN)
        take_end(e); /* whatever becomes of the connection below it */
}

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *block)
{
    struct http_exchange *e = stream->data;
    if (e->over)
        return;
    if (n > 0 && e->tls) {
        for (ssize_t i = 0; i < n && e->first_size < sizeof(e->first); i++)
            e->first[e->first_size++] = block->base[i];
        BIO_write(e->from_peer, block->base, (int)n);
        turn_tls(e);
    } else if (n > 0) {
        take_answer(e, block->base, (size_t)n);
    } else if (n == UV_EOF) {
        take_end(e);
    } else if (n < 0) {
        fail_system(e, "read", (int)n);
    }
}

static void give_block(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct http_exchange *e = handle->data;
    (void)suggested;
    *out = uv_buf_init(e->client->block, READ_BLOCK);
}

/* ---- The beginning ---- */

static void begin_tls(struct http_exchange *e)
{
    unsigned char address[sizeof(struct in6_addr)];
    struct http_client *client = e->client;
    if (!client->tls) {
        client->tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(client->tls, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_mode(client->tls, SSL_MODE_RELEASE_BUFFERS);
    }
    e->tls = SSL_new(client->tls);
    e->from_peer = BIO_new(BIO_s_mem());
    e->to_peer = BIO_new(BIO_s_mem());
    if (!e->tls || !e->from_peer || !e->to_peer)
        abort(); /* out of memory */
    BIO_set_mem_eof_return(e->from_peer, -1);
    SSL_set_bio(e->tls, e->from_peer, e->to_peer);
    SSL_set_connect_state(e->tls);
    if (uv_inet_pton(AF_INET, e->host, address) != 0 && uv_inet_pton(AF_INET6, e->host, address) != 0)
        SSL_set_tlsext_host_name(e->tls, e->host);
}

static void connected(void *context, uv_tcp_t *socket, const char *failure)
{
    struct http_exchange *e = context;
    e->dial = NULL;
    if (failure) {
        e->over = true;
        e->done(e->context, NULL, failure);
        exchange_free(e);
        return;
    }
    e->socket = socket;
    socket->data = e;
    uv_read_start((uv_stream_t *)socket, give_block, received);
    if (e->https) {
        begin_tls(e);
        turn_tls(e);
    } else {
        send_bytes(e, e->request, strlen(e->request));
    }
}

struct http_exchange *http_exchange_start(struct http_client *client, bool https, const char *host, int port,
                                          const char *request, http_exchange_done done, void *context)
{
    struct http_exchange *e = mem_zero(1, sizeof(*e));
    e->client = client;
    e->https = https;
    e->host = mem_string(host);
    e->port = port;
    e->request = mem_string(request);
    e->done = done;
    e->context = context;
    e->dial = dial_start(client->loop, host, port, connected, e);
    return e;
}

int http_exchange_status(const struct http_exchange *e)
{
    return e->answer.status;
}

struct http_client *http_client_new(uv_loop_t *loop)
{
    struct http_client *client = mem_zero(1, sizeof(*client));
    client->loop = loop;
    return client;
}

void http_client_free(struct http_client *client)
{
    SSL_CTX_free(client->tls);
    free(client);
}
