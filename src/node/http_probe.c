/* HTTP GETs over libuv, with OpenSSL for https. A probe is over with the first failure, or when its answer is complete;
 * what is left of it then are handles that the loop closes. */
#include "node/http_probe.h"

#include <ctype.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/http_answer.h"

/* Bytes of one read. */
#define READ_BLOCK (16 * 1024)
#define FAILURE_MAX 1024

struct http_prober {
    struct env *env;
    SSL_CTX *tls; /* made for the first https probe */
    char block[READ_BLOCK];
};

struct http_probe {
    struct http_prober *prober;
    uv_tcp_t socket;
    uv_timer_t timer;
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    int handles; /* that the loop still knows */
    SSL *tls;
    BIO *from_peer, *to_peer;
    char *url;
    char *host;
    int port;
    struct buffer request;
    struct http_answer answer;
    int error; /* of the beginning */
    bool any_status;
    bool over;
    http_probe_done done;
    void *context;
};

struct outgoing {
    uv_write_t request;
    struct http_probe *probe;
    char data[];
};

/* ---- The end ---- */

static void forget_handle(struct http_probe *p)
{
    if (--p->handles)
        return;
    SSL_free(p->tls);
    buffer_free(&p->request);
    free(p->url);
    free(p->host);
    free(p);
}

static void handle_closed(uv_handle_t *handle)
{
    forget_handle(handle->data);
}

static void stop(struct http_probe *p)
{
    if (p->over)
        return;
    p->over = true;
    uv_close((uv_handle_t *)&p->socket, handle_closed);
    uv_close((uv_handle_t *)&p->timer, handle_closed);
    uv_cancel((uv_req_t *)&p->lookup); /* fails when there is none */
}

void http_probe_cancel(struct http_probe *p)
{
    if (p)
        stop(p);
}

static void finish(struct http_probe *p, const char *failure)
{
    if (p->over)
        return;
    stop(p);
    p->done(p->context, failure);
}

static void fail(struct http_probe *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As Go's client words an error of a request. */
static void fail(struct http_probe *p, const char *format, ...)
{
    char reason[FAILURE_MAX], text[2 * FAILURE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    snprintf(text, sizeof(text), "Get \"%s\": %s", p->url, reason);
    finish(p, text);
}

/* "connect: connection refused", as Go words it. */
static void fail_system(struct http_probe *p, const char *operation, const char *call, int code)
{
    const char *why = strerror(-code);
    const char *colon = strchr(p->host, ':');
    fail(p, "%s tcp %s%s%s:%d: %s: %c%s", operation, colon ? "[" : "", p->host, colon ? "]" : "", p->port, call,
         tolower((unsigned char)*why), why + 1);
}

static void judge(struct http_probe *p)
{
    char text[64];
    int status = p->answer.status;
    if (p->any_status || (status >= 200 && status < 400)) {
        finish(p, NULL);
        return;
    }
    snprintf(text, sizeof(text), "HTTP probe failed with statuscode: %d", status);
    finish(p, text);
}

static void timed_out(uv_timer_t *timer)
{
    struct http_probe *p = timer->data;
    fail(p, "context deadline exceeded (Client.Timeout %s)",
         p->answer.status ? "or context cancellation while reading body" : "exceeded while awaiting headers");
}

/* ---- The conversation ---- */

static void written(uv_write_t *request, int status)
{
    struct outgoing *outgoing = request->data;
    struct http_probe *p = outgoing->probe;
    free(outgoing);
    if (status < 0 && !p->over && status != UV_ECANCELED)
        fail_system(p, "write", "write", status);
}

static void send_bytes(struct http_probe *p, const void *data, size_t size)
{
    struct outgoing *outgoing = mem_alloc(sizeof(*outgoing) + size);
    outgoing->probe = p;
    outgoing->request.data = outgoing;
    memcpy(outgoing->data, data, size);
    uv_buf_t block = uv_buf_init(outgoing->data, (unsigned)size);
    int status = uv_write(&outgoing->request, (uv_stream_t *)&p->socket, &block, 1, written);
    if (status < 0) {
        free(outgoing);
        fail_system(p, "write", "write", status);
    }
}

static void take_answer(struct http_probe *p, const char *data, size_t size)
{
    char failure[HTTP_ANSWER_FAILURE_MAX];
    if (http_answer_feed(&p->answer, data, size, failure) < 0)
        fail(p, "%s", failure);
    else if (p->answer.complete)
        judge(p);
}

/* Does what TLS can do with the bytes that have come. */
static void turn_tls(struct http_probe *p)
{
    char plain[4096], *data;
    int n = 0;
    if (!SSL_is_init_finished(p->tls)) {
        n = SSL_do_handshake(p->tls);
        if (n == 1)
            SSL_write(p->tls, p->request.data, (int)p->request.size);
    }
    while (!p->over && SSL_is_init_finished(p->tls) && (n = SSL_read(p->tls, plain, sizeof(plain))) > 0)
        take_answer(p, plain, (size_t)n);
    if (p->over)
        return;
    int error = SSL_get_error(p->tls, n);
    long size = BIO_get_mem_data(p->to_peer, &data);
    if (size > 0) {
        send_bytes(p, data, (size_t)size);
        (void)BIO_reset(p->to_peer);
    }
    if (error == SSL_ERROR_SSL)
        fail(p,
             SSL_is_init_finished(p->tls) ? "tls: bad record" : "tls: first record does not look like a TLS handshake");
}

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *block)
{
    struct http_probe *p = stream->data;
    char failure[HTTP_ANSWER_FAILURE_MAX];
    if (n > 0 && p->tls) {
        BIO_write(p->from_peer, block->base, (int)n);
        turn_tls(p);
    } else if (n > 0) {
        take_answer(p, block->base, (size_t)n);
    } else if (n == UV_EOF) {
        if (http_answer_end(&p->answer, failure) < 0)
            fail(p, "%s", failure);
        else
            judge(p);
    } else if (n < 0) {
        fail_system(p, "read", "read", (int)n);
    }
}

static void give_block(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct http_probe *p = handle->data;
    *out = uv_buf_init(p->prober->block, READ_BLOCK);
}

static void begin_tls(struct http_probe *p)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (!p->prober->tls) {
        p->prober->tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(p->prober->tls, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_mode(p->prober->tls, SSL_MODE_RELEASE_BUFFERS);
    }
    p->tls = SSL_new(p->prober->tls);
    p->from_peer = BIO_new(BIO_s_mem());
    p->to_peer = BIO_new(BIO_s_mem());
    if (!p->tls || !p->from_peer || !p->to_peer)
        abort(); /* out of memory */
    BIO_set_mem_eof_return(p->from_peer, -1);
    SSL_set_bio(p->tls, p->from_peer, p->to_peer);
    SSL_set_connect_state(p->tls);
    if (uv_inet_pton(AF_INET, p->host, address) != 0 && uv_inet_pton(AF_INET6, p->host, address) != 0)
        SSL_set_tlsext_host_name(p->tls, p->host);
}

static void connected(uv_connect_t *connect, int status)
{
    struct http_probe *p = connect->data;
    if (p->over)
        return;
    if (status < 0) {
        fail_system(p, "dial", "connect", status);
        return;
    }
    uv_read_start((uv_stream_t *)&p->socket, give_block, received);
    if (strncmp(p->url, "https:", 6) == 0) {
        begin_tls(p);
        turn_tls(p);
    } else {
        send_bytes(p, p->request.data, p->request.size);
    }
}

static int connect_to(struct http_probe *p, const struct sockaddr *address)
{
    p->connect.data = p;
    return uv_tcp_connect(&p->connect, &p->socket, address, connected);
}

static void looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct http_probe *p = lookup->data;
    if (!p->over && status < 0)
        fail(p, "dial tcp: lookup %s: no such host", p->host);
    else if (!p->over && (status = connect_to(p, found->ai_addr)) < 0)
        fail_system(p, "dial", "connect", status);
    uv_freeaddrinfo(found);
    forget_handle(p);
}

/* ---- The beginning ---- */

static void failed_at_once(uv_timer_t *timer)
{
    struct http_probe *p = timer->data;
    fail_system(p, "dial", "connect", p->error);
}

static int begin(struct http_probe *p)
{
    struct sockaddr_storage address;
    char port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (uv_ip4_addr(p->host, p->port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(p->host, p->port, (struct sockaddr_in6 *)&address) == 0)
        return connect_to(p, (const struct sockaddr *)&address);
    snprintf(port, sizeof(port), "%d", p->port);
    p->lookup.data = p;
    int status = uv_getaddrinfo(env_uv_loop(p->prober->env), &p->lookup, looked_up, p->host, port, &hints);
    if (status == 0)
        p->handles++;
    return status;
}

/* A header that is named with an empty value is not sent, as by Go. */
static void write_request(struct http_probe *p, const struct http_get_action *get, const char *path,
                          const char *authority, const char *user_agent)
{
    static const char *const names[] = {"Host", "User-Agent", "Accept"};
    const char *values[] = {authority, user_agent, "*/*"};
    for (size_t i = 0; i < get->http_headers.count; i++)
        for (size_t n = 0; n < ARRAY_COUNT(names); n++)
            if (strcasecmp(get->http_headers.items[i].name, names[n]) == 0)
                values[n] = get->http_headers.items[i].value;
    buffer_printf(&p->request, "GET %s%s HTTP/1.1\r\n", *path == '/' ? "" : "/", path);
    for (size_t n = 0; n < ARRAY_COUNT(names); n++)
        if (values[n] && *values[n])
            buffer_printf(&p->request, "%s: %s\r\n", names[n], values[n]);
    for (size_t i = 0; i < get->http_headers.count; i++) {
        const struct http_header *h = &get->http_headers.items[i];
        bool sent = false;
        for (size_t n = 0; n < ARRAY_COUNT(names); n++)
            sent |= strcasecmp(h->name, names[n]) == 0;
        if (!sent)
            buffer_printf(&p->request, "%s: %s\r\n", h->name, h->value ? h->value : "");
    }
    buffer_add_string(&p->request, "Connection: close\r\n\r\n");
}

struct http_prober *http_prober_new(struct env *env)
{
    struct http_prober *prober = mem_zero(1, sizeof(*prober));
    prober->env = env;
    return prober;
}

void http_prober_free(struct http_prober *prober)
{
    SSL_CTX_free(prober->tls);
    free(prober);
}

struct http_probe *http_probe_start(struct http_prober *prober, const struct http_get_action *get,
                                    const struct http_probe_options *options, http_probe_done done, void *context)
{
    struct http_probe *p = mem_zero(1, sizeof(*p));
    const char *path = get->path && *get->path ? get->path : "/";
    bool https = get->scheme && strcmp(get->scheme, "HTTPS") == 0;
    bool colon = strchr(options->host, ':');
    cleanup_free char *authority = mem_printf(colon ? "[%s]:%d" : "%s:%d", options->host, options->port);
    p->prober = prober;
    p->any_status = options->any_status;
    p->done = done;
    p->context = context;
    p->host = mem_string(options->host);
    p->port = options->port;
    p->url = mem_printf("%s://%s%s%s", https ? "https" : "http", authority, *path == '/' ? "" : "/", path);
    write_request(p, get, path, authority, options->user_agent);
    uv_tcp_init(env_uv_loop(prober->env), &p->socket);
    uv_timer_init(env_uv_loop(prober->env), &p->timer);
    p->socket.data = p->timer.data = p;
    p->handles = 2;
    p->error = begin(p);
    if (p->error)
        uv_timer_start(&p->timer, failed_at_once, 0, 0);
    else if (options->timeout)
        uv_timer_start(&p->timer, timed_out, (uint64_t)(options->timeout / MILLISECOND), 0);
    return p;
}
