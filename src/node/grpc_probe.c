/* An HTTP/2 client of one request: libuv moves the bytes, nghttp2 understands them.
 *
 *     connecting -> connected -> the server's SETTINGS have come: it speaks HTTP/2 -> the stream closes
 *
 * Before the last step but one, every failure means another connection a little later; the timer ends it all. */
#include "node/grpc_probe.h"

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/grpc_answer.h"

/* Between two attempts to connect. */
#define RETRY_INTERVAL_MS 100
#define READ_SIZE 16384
#define NO_STATUS (-1)

enum code { CODE_OK = 0, CODE_DEADLINE_EXCEEDED = 4, CODE_RESOURCE_EXHAUSTED = 8, CODE_UNIMPLEMENTED = 12 };

static const char *const code_names[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};
static const char *const serving_names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
#define SERVING 1

/* A connection outlives its probe until its handles are closed. */
struct connection {
    uv_tcp_t socket;
    uv_connect_t connect;
    struct grpc_probe *probe; /* NULL: given up */
    char read[READ_SIZE];
};

struct grpc_probe {
    struct env *env;
    struct sockaddr_in address;
    char authority[64];
    int64_t timeout;
    struct env_timer *deadline, *retry;
    struct connection *connection; /* NULL: between two attempts */
    nghttp2_session *session;
    struct buffer request;
    size_t request_sent;
    bool ready; /* the server's SETTINGS have come */
    bool ended; /* the stream has closed, or the server has gone */
    bool too_large;
    struct buffer answer;
    int http_status;
    int code; /* NO_STATUS: none has come */
    char message[GRPC_MESSAGE_MAX];
    grpc_probe_done done;
    void *context;
};

static void connect_again(void *context);

/* ---- The end ---- */

static void connection_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop_connection(struct grpc_probe *p)
{
    if (p->session)
        nghttp2_session_del(p->session);
    p->session = NULL;
    if (!p->connection)
        return;
    p->connection->probe = NULL;
    uv_close((uv_handle_t *)&p->connection->socket, connection_closed);
    p->connection = NULL;
}

void grpc_probe_cancel(struct grpc_probe *p)
{
    if (!p)
        return;
    drop_connection(p);
    env_timer_free(p->deadline);
    env_timer_free(p->retry);
    buffer_free(&p->request);
    buffer_free(&p->answer);
    free(p);
}

static void finish(struct grpc_probe *p, const char *failure)
{
    grpc_probe_done done = p->done;
    void *context = p->context;
    grpc_probe_cancel(p);
    done(context, failure);
}

/* What the call has come to when it ended with a status other than OK. */
static void fail_call(struct grpc_probe *p, int code, const char *message)
{
    char text[GRPC_MESSAGE_MAX + 256], limit[TIME_TEXT_MAX];
    duration_format(p->timeout, limit);
    if (code == CODE_UNIMPLEMENTED)
        snprintf(text, sizeof(text),
                 "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", message);
    else if (code == CODE_DEADLINE_EXCEEDED)
        snprintf(text, sizeof(text), "timeout: health rpc did not complete within %s", limit);
    else if (code >= 0 && code < (int)ARRAY_COUNT(code_names))
        snprintf(text, sizeof(text), "error: health rpc probe failed: rpc error: code = %s desc = %s", code_names[code],
                 message);
    else
        snprintf(text, sizeof(text), "error: health rpc probe failed: rpc error: code = Code(%d) desc = %s", code,
                 message);
    finish(p, text);
}

static void timed_out(void *context)
{
    struct grpc_probe *p = context;
    char text[256], limit[TIME_TEXT_MAX];
    duration_format(p->timeout, limit);
    if (p->ready)
        snprintf(text, sizeof(text), "timeout: health rpc did not complete within %s", limit);
    else
        snprintf(text, sizeof(text), "timeout: failed to connect service \"%s\" within %s: context deadline exceeded",
                 p->authority, limit);
    finish(p, text);
}

static void conclude(struct grpc_probe *p)
{
    char text[128];
    if (p->too_large) {
        snprintf(text, sizeof(text), "grpc: received message larger than max (%d)", GRPC_ANSWER_MAX);
        fail_call(p, CODE_RESOURCE_EXHAUSTED, text);
    } else if (p->code == NO_STATUS && p->http_status && p->http_status != 200) {
        snprintf(text, sizeof(text), "unexpected HTTP status code received from server: %d", p->http_status);
        fail_call(p, grpc_code_of_http(p->http_status), text);
    } else if (p->code == NO_STATUS) {
        fail_call(p, 14, "error reading from server: EOF");
    } else if (p->code != CODE_OK) {
        fail_call(p, p->code, p->message);
    } else {
        int status = grpc_answer_status(p->answer.data, p->answer.size);
        if (status < 0) {
            fail_call(p, 13, "grpc: failed to unmarshal the received message");
        } else if (status == SERVING) {
            finish(p, NULL);
        } else {
            if (status < (int)ARRAY_COUNT(serving_names))
                snprintf(text, sizeof(text), "service unhealthy (responded with \"%s\")", serving_names[status]);
            else
                snprintf(text, sizeof(text), "service unhealthy (responded with \"%d\")", status);
            finish(p, text);
        }
    }
}

/* ---- HTTP/2 ---- */

static int take_number(const uint8_t *value, size_t size)
{
    char text[16];
    snprintf(text, sizeof(text), "%.*s", (int)(size < sizeof(text) ? size : sizeof(text) - 1), (const char *)value);
    return atoi(text);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *context)
{
    (void)session, (void)frame, (void)flags;
    struct grpc_probe *p = context;
    if (name_size == 7 && memcmp(name, ":status", 7) == 0)
        p->http_status = take_number(value, value_size);
    else if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0)
        p->code = take_number(value, value_size);
    else if (name_size == 12 && memcmp(name, "grpc-message", 12) == 0)
        grpc_answer_message(value, value_size, p->message);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *context)
{
    (void)flags;
    struct grpc_probe *p = context;
    if (p->answer.size + size > GRPC_ANSWER_MAX) {
        p->too_large = true;
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
    } else {
        buffer_add(&p->answer, data, size);
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)session;
    struct grpc_probe *p = context;
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        p->ready = true;
    return 0;
}

static int on_stream_closed(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    (void)session, (void)stream, (void)code;
    ((struct grpc_probe *)context)->ended = true;
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *out, size_t size, uint32_t *flags,
                            nghttp2_data_source *source, void *context)
{
    (void)session, (void)stream, (void)source;
    struct grpc_probe *p = context;
    size_t left = p->request.size - p->request_sent, n = left < size ? left : size;
    memcpy(out, p->request.data + p->request_sent, n);
    p->request_sent += n;
    if (p->request_sent == p->request.size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void start_session(struct grpc_probe *p)
{
    char limit[32];
    nghttp2_session_callbacks *callbacks;
    snprintf(limit, sizeof(limit), "%lldm", (long long)(p->timeout / MILLISECOND));
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_client_new(&p->session, callbacks, p);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, NULL, 0);
    const nghttp2_nv headers[] = {pair(":method", "POST"),
                                  pair(":scheme", "http"),
                                  pair(":path", "/grpc.health.v1.Health/Check"),
                                  pair(":authority", p->authority),
                                  pair("content-type", "application/grpc"),
                                  pair("user-agent", "kube-probe/1.35"),
                                  pair("te", "trailers"),
                                  pair("grpc-timeout", limit)};
    nghttp2_data_provider body = {.read_callback = read_request};
    p->request_sent = 0;
    nghttp2_submit_request(p->session, NULL, headers, ARRAY_COUNT(headers), &body, NULL);
}

/* ---- The connection ---- */

static void try_later(struct grpc_probe *p)
{
    drop_connection(p);
    env_timer_start(p->retry, RETRY_INTERVAL_MS * MILLISECOND);
}

static void lost(struct grpc_probe *p)
{
    if (p->ready)
        conclude(p);
    else
        try_later(p);
}

static void written(uv_write_t *request, int status)
{
    (void)status; /* a broken connection is told by reading */
    free(request);
}

/* Returns -1 when the session is beyond repair. */
static int send_pending(struct grpc_probe *p)
{
    for (;;) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(p->session, &data);
        if (n <= 0)
            return n < 0 ? -1 : 0;
        uv_write_t *request = malloc(sizeof(*request) + (size_t)n);
        char *copy = (char *)(request + 1);
        memcpy(copy, data, (size_t)n);
        uv_buf_t part = uv_buf_init(copy, (unsigned)n);
        if (uv_write(request, (uv_stream_t *)&p->connection->socket, &part, 1, written) < 0) {
            free(request);
            return -1;
        }
    }
}

static void allocate(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    (void)size;
    struct connection *c = handle->data;
    *out = uv_buf_init(c->read, sizeof(c->read));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *data)
{
    struct connection *c = stream->data;
    struct grpc_probe *p = c->probe;
    if (!p || n == 0)
        return;
    bool broken = n < 0 || nghttp2_session_mem_recv(p->session, (const uint8_t *)data->base, (size_t)n) < 0;
    if (!broken && !p->ended && send_pending(p) < 0)
        broken = true;
    if (p->ended && p->ready)
        conclude(p);
    else if (broken || !(nghttp2_session_want_read(p->session) || nghttp2_session_want_write(p->session)))
        lost(p);
}

static void connected(uv_connect_t *request, int status)
{
    struct connection *c = request->data;
    struct grpc_probe *p = c->probe;
    if (!p)
        return;
    if (status == 0) {
        start_session(p);
        if (uv_read_start((uv_stream_t *)&c->socket, allocate, on_read) == 0 && send_pending(p) == 0)
            return;
    }
    lost(p);
}

static void connect_again(void *context)
{
    struct grpc_probe *p = context;
    struct connection *c = mem_zero(1, sizeof(*c));
    c->probe = p;
    c->socket.data = c->connect.data = c;
    p->connection = c;
    p->ended = false;
    uv_tcp_init(env_uv_loop(p->env), &c->socket);
    uv_tcp_nodelay(&c->socket, 1);
    if (uv_tcp_connect(&c->connect, &c->socket, (const struct sockaddr *)&p->address, connected) < 0)
        try_later(p);
}

struct grpc_probe *grpc_probe_start(struct env *env, const char *host, int port, const char *service, int64_t timeout,
                                    grpc_probe_done done, void *context)
{
    struct grpc_probe *p = mem_zero(1, sizeof(*p));
    size_t size = strlen(service);
    p->env = env;
    p->timeout = timeout;
    p->code = NO_STATUS;
    p->done = done;
    p->context = context;
    snprintf(p->authority, sizeof(p->authority), "%s:%d", host, port);
    /* HealthCheckRequest: the service in field 1, behind the prefix of a message. */
    struct buffer body = {0};
    if (size) {
        buffer_add(&body, "\x0a", 1);
        for (size_t n = size;; n >>= 7) {
            char byte = (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
            buffer_add(&body, &byte, 1);
            if (n <= 0x7f)
                break;
        }
        buffer_add(&body, service, size);
    }
    const uint8_t prefix[GRPC_PREFIX_SIZE] = {0, (uint8_t)(body.size >> 24), (uint8_t)(body.size >> 16),
                                              (uint8_t)(body.size >> 8), (uint8_t)body.size};
    buffer_add(&p->request, prefix, sizeof(prefix));
    if (body.size)
        buffer_add(&p->request, body.data, body.size);
    buffer_free(&body);
    p->deadline = env_timer_new(env, timed_out, p);
    p->retry = env_timer_new(env, connect_again, p);
    env_timer_start(p->deadline, timeout);
    if (uv_ip4_addr(host, port, &p->address) == 0)
        connect_again(p);
    return p;
}
