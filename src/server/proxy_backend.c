#include "server/proxy_backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"

#define BLOCK_SIZE (32 * 1024)
#define WHY_MAX 256

enum stage { DIALLING, SHAKING_HANDS, OPEN, OVER };

struct proxy_backend {
    const struct proxy_backend_events *events;
    void *context;
    void (*closed)(void *context);
    char address[INET6_ADDRSTRLEN];
    int port, fd;
    SSL *ssl; /* NULL: plain */
    enum stage stage;
    bool paused, polls, wants_write; /* TLS has to write before it can go on */
    int polled, open_handles;
    uv_poll_t poll;
    uv_timer_t timer;
    struct buffer out;
    size_t written;
    char why[WHY_MAX];
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- Life ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct proxy_backend *b = handle->data;
    if (--b->open_handles)
        return;
    void (*closed)(void *context) = b->closed;
    void *context = b->context;
    SSL_free(b->ssl);
    if (b->fd >= 0)
        close(b->fd);
    buffer_free(&b->out);
    free(b);
    closed(context);
}

void proxy_backend_free(struct proxy_backend *b, void (*closed)(void *context))
{
    b->stage = OVER;
    b->closed = closed;
    if (b->polls) {
        uv_poll_stop(&b->poll);
        uv_close((uv_handle_t *)&b->poll, handle_closed);
    }
    uv_close((uv_handle_t *)&b->timer, handle_closed);
}

static void update(struct proxy_backend *b)
{
    int events = 0;
    if (b->stage == OVER || !b->polls)
        return;
    if (b->stage == DIALLING)
        events = UV_WRITABLE;
    else if (b->stage == SHAKING_HANDS)
        events = b->wants_write ? UV_WRITABLE : UV_READABLE;
    else
        events = (b->paused ? 0 : UV_READABLE) | (b->out.size || b->wants_write ? UV_WRITABLE : 0);
    if (events == b->polled)
        return;
    b->polled = events;
    if (events)
        uv_poll_start(&b->poll, events, on_poll);
    else
        uv_poll_stop(&b->poll);
}

static void fail(struct proxy_backend *b)
{
    uv_timer_stop(&b->timer);
    b->events->failed(b->context, b->why);
}

static void fail_dial(struct proxy_backend *b, int failure)
{
    snprintf(b->why, sizeof(b->why),
             strchr(b->address, ':') ? "dial tcp [%s]:%d: connect: %s" : "dial tcp %s:%d: connect: %s", b->address,
             b->port,
             failure == ECONNREFUSED   ? "connection refused"
             : failure == EHOSTUNREACH ? "no route to host"
                                       : strerror(failure));
    fail(b);
}

/* ---- TLS ---- */

static SSL_CTX *tls;

static void prepare_tls(void)
{
    tls = SSL_CTX_new(TLS_client_method());
    if (!tls)
        abort(); /* out of memory */
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

static SSL *tls_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_tls);
    SSL *ssl = SSL_new(tls);
    if (!ssl)
        abort(); /* out of memory */
    return ssl;
}

/* In the words of Go's crypto/tls. */
static void explain_handshake(struct proxy_backend *b, int error)
{
    unsigned long code = ERR_get_error();
    int reason = ERR_GET_REASON(code);
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && !code))
        snprintf(b->why, sizeof(b->why), "EOF");
    else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
             reason == SSL_R_PACKET_LENGTH_TOO_LONG)
        snprintf(b->why, sizeof(b->why), "tls: first record does not look like a TLS handshake");
    else if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
        snprintf(b->why, sizeof(b->why), "remote error: tls: %s",
                 SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    else
        snprintf(b->why, sizeof(b->why), "tls: %s", code ? ERR_reason_error_string(code) : strerror(errno));
}

/* Whether the step is done, and its result n is one; otherwise what it waits for is noted, or *broken set. */
static bool tls_done(struct proxy_backend *b, int n, bool *broken)
{
    int error = SSL_get_error(b->ssl, n);
    b->wants_write = error == SSL_ERROR_WANT_WRITE;
    *broken = n <= 0 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    return n > 0;
}

/* ---- The connection ---- */

static void open_up(struct proxy_backend *b)
{
    b->stage = OPEN;
    uv_timer_stop(&b->timer);
    b->events->connected(b->context);
}

static void shake_hands(struct proxy_backend *b)
{
    bool broken;
    ERR_clear_error();
    int n = SSL_connect(b->ssl);
    if (tls_done(b, n, &broken)) {
        open_up(b);
    } else if (broken) {
        explain_handshake(b, SSL_get_error(b->ssl, n));
        ERR_clear_error();
        fail(b);
    }
}

static void late(uv_timer_t *timer)
{
    struct proxy_backend *b = timer->data;
    if (b->stage == SHAKING_HANDS)
        snprintf(b->why, sizeof(b->why), "net/http: TLS handshake timeout");
    else
        snprintf(b->why, sizeof(b->why),
                 strchr(b->address, ':') ? "dial tcp [%s]:%d: i/o timeout" : "dial tcp %s:%d: i/o timeout", b->address,
                 b->port);
    fail(b);
}

static void dialled(struct proxy_backend *b)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    getsockopt(b->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure) {
        fail_dial(b, failure);
    } else if (!b->ssl) {
        open_up(b);
    } else {
        b->stage = SHAKING_HANDS;
        uv_timer_start(&b->timer, late, PROXY_HANDSHAKE_TIMEOUT, 0);
        SSL_set_fd(b->ssl, b->fd);
        shake_hands(b);
    }
}

/* Sends some of what is queued. */
static void send_some(struct proxy_backend *b)
{
    const char *data = b->out.data + b->written;
    size_t left = b->out.size - b->written;
    bool broken = false;
    ssize_t n;
    if (b->ssl) {
        ERR_clear_error();
        n = SSL_write(b->ssl, data, left < INT32_MAX ? (int)left : INT32_MAX);
        tls_done(b, (int)n, &broken);
        ERR_clear_error();
    } else {
        n = send(b->fd, data, left, MSG_NOSIGNAL);
        broken = n < 0 && errno != EAGAIN && errno != EINTR;
    }
    b->written += n > 0 ? (size_t)n : 0;
    if (b->written < b->out.size && !broken)
        return;
    buffer_free(&b->out);
    b->written = 0;
    b->events->drained(b->context);
}

static void receive_some(struct proxy_backend *b)
{
    char block[BLOCK_SIZE];
    bool broken = false;
    ssize_t n;
    if (b->ssl) {
        ERR_clear_error();
        n = SSL_read(b->ssl, block, sizeof(block));
        tls_done(b, (int)n, &broken);
        ERR_clear_error();
    } else {
        n = read(b->fd, block, sizeof(block));
        broken = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    }
    if (n > 0)
        b->events->data(b->context, block, (size_t)n);
    else if (broken)
        b->events->ended(b->context);
}

/* TLS keeps no bytes back: a block is larger than a record, and it reads no further than one. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct proxy_backend *b = poll->data;
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE;
    if (b->stage == DIALLING)
        dialled(b);
    else if (b->stage == SHAKING_HANDS)
        shake_hands(b);
    if (b->stage == OPEN && b->out.size && events & UV_WRITABLE)
        send_some(b);
    if (b->stage == OPEN && !b->paused && (events & UV_READABLE || b->wants_write))
        receive_some(b);
    if (status < 0)
        b->polled = 0;
    update(b);
}

/* ---- From outside ---- */

static void fail_late(uv_timer_t *timer)
{
    fail(timer->data);
}

/* Fails from the loop. */
static void refuse(struct proxy_backend *b, const char *why)
{
    snprintf(b->why, sizeof(b->why), "%s", why);
    uv_timer_start(&b->timer, fail_late, 0, 0);
}

static void dial(struct proxy_backend *b)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to = {0};
    bool v4 = inet_pton(AF_INET, b->address, &to.v4.sin_addr) == 1;
    to.any.sa_family = v4 ? AF_INET : AF_INET6;
    if (v4)
        to.v4.sin_port = htons((uint16_t)b->port);
    else
        to.v6.sin6_port = htons((uint16_t)b->port);
    if (!v4 && inet_pton(AF_INET6, b->address, &to.v6.sin6_addr) != 1) {
        refuse(b, "address not allowed");
        return;
    }
    b->fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (b->fd < 0 || (connect(b->fd, &to.any, v4 ? sizeof(to.v4) : sizeof(to.v6)) < 0 && errno != EINPROGRESS)) {
        cleanup_free char *why = mem_printf("dial tcp %s:%d: connect: %s", b->address, b->port, strerror(errno));
        refuse(b, why);
        return;
    }
    if (uv_poll_init(b->timer.loop, &b->poll, b->fd) < 0)
        abort(); /* a fresh socket, and the loop is in order */
    b->poll.data = b;
    b->polls = true;
    b->open_handles++;
    uv_timer_start(&b->timer, late, PROXY_DIAL_TIMEOUT, 0);
    update(b);
}

struct proxy_backend *proxy_backend_new(uv_loop_t *loop, const char *address, int port, bool tls_wanted,
                                        const struct proxy_backend_events *events, void *context)
{
    struct proxy_backend *b = mem_zero(1, sizeof(*b));
    b->events = events;
    b->context = context;
    b->port = port;
    b->fd = -1;
    b->ssl = tls_wanted ? tls_new() : NULL;
    snprintf(b->address, sizeof(b->address), "%s", address);
    uv_timer_init(loop, &b->timer);
    b->timer.data = b;
    b->open_handles = 1;
    dial(b);
    return b;
}

void proxy_backend_write(struct proxy_backend *b, const char *data, size_t size)
{
    buffer_add(&b->out, data, size);
    update(b);
}

size_t proxy_backend_queued(const struct proxy_backend *b)
{
    return b->out.size - b->written;
}

void proxy_backend_pause(struct proxy_backend *b, bool paused)
{
    b->paused = paused;
    update(b);
}
