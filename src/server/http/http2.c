/* HTTP/2 on a connection, framed by nghttp2. Every stream is a request with an output queue of its own; nghttp2 asks
 * for as much of it as the windows allow, and the bytes go from the queue into TLS records without a stop.
 *
 * Floods are bounded by nghttp2: unanswered pings and settings, resets per second (CVE-2023-44487) and continuation
 * frames each end the connection beyond its limit. Header bytes are counted here. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/http/connection.h"
#include "server/http/request.h"

/* Unread upload bytes that the server takes on before it reads them: per stream (as upstream) and per connection. */
#define STREAM_WINDOW (256 * 1024)
#define CONNECTION_WINDOW (1024 * 1024)
/* Frames that answer the client (acknowledgements of pings and settings) and wait because it does not read. */
#define OUTBOUND_ACK_MAX 1000
/* Resets by the client: a burst, then so many per second. */
#define RESET_BURST 1000
#define RESETS_PER_SECOND 100
#define FRAME_HEADER_SIZE 9

struct http2 {
    nghttp2_session *session;
    struct list drained; /* requests whose drained callback may be due */
    bool started;        /* the client has sent a frame */
    bool going_away;
};

static struct request *stream_request(struct http2 *h, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(h->session, stream);
}

/* ---- Requests ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct connection *c = context;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct request *r = request_new(c);
    r->stream = frame->hd.stream_id;
    r->public.http2 = true;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, r);
    return 0;
}

/* Names and values go into text one behind the other; until the head is complete the fields hold offsets, since the
 * text may move. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *context)
{
    (void)session, (void)flags;
    struct connection *c = context;
    struct request *r = stream_request(c->session, frame->hd.stream_id);
    if (!r || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;                                   /* a trailer */
    r->header_bytes += name_size + value_size + 32; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    if (r->header_bytes > c->io->limits->header_bytes || r->headers.count >= HTTP_HEADERS_MAX) {
        r->header_bytes = SIZE_MAX / 2;
        return 0;
    }
    uintptr_t name_at = r->text.size, value_at = name_at + name_size + 1;
    buffer_add(&r->text, name, name_size + 1); /* nghttp2 ends both with NUL */
    buffer_add(&r->text, value, value_size + 1);
    vector_push(&r->headers, (struct http_field){(const char *)name_at, (const char *)value_at});
    return 0;
}

/* Turns offsets into fields, and takes what begins with ':' out of them. Returns 0 or a status to refuse with. */
static int read_head(struct request *r, const char **reason)
{
    const char *method = NULL, *authority = NULL;
    char *target = NULL;
    size_t kept = 0;
    if (r->header_bytes >= SIZE_MAX / 2)
        return 431;
    for (size_t i = 0; i < r->headers.count; i++) {
        const char *name = r->text.data + (uintptr_t)r->headers.items[i].name;
        char *value = r->text.data + (uintptr_t)r->headers.items[i].value;
        if (strcmp(name, ":method") == 0)
            method = value;
        else if (strcmp(name, ":path") == 0)
            target = value;
        else if (strcmp(name, ":authority") == 0)
            authority = value;
        else if (*name != ':')
            r->headers.items[kept++] = (struct http_field){name, value};
        if (*name != ':' && strcmp(name, "host") == 0 && !authority)
            authority = value;
    }
    r->headers.count = kept;
    r->public.host = authority ? authority : "";
    *reason = "malformed request target";
    if (!method || !target || (*target != '/' && strcmp(target, "*") != 0))
        return 400;
    for (const char *at = target; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return 400;
    return request_set_target(r, method, target, reason);
}

static void refuse(struct request *r, int status, const char *reason)
{
    cleanup_free char *text = mem_printf("%d %s%s%s", status, status_reason(status), *reason ? ": " : "", reason);
    r->dispatched = true;
    io_deadline_set(r->io, &r->deadline, DEADLINE_NONE);
    http_respond_text(&r->public, status, "text/plain; charset=utf-8", text);
}

/* The value of a header among those of a request that is not dispatched yet. */
static const char *early_header(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->headers.count; i++)
        if (strcmp(r->headers.items[i].name, name) == 0)
            return r->headers.items[i].value;
    return NULL;
}

static void begin_body(struct http2 *h, struct request *r)
{
    const char *length = early_header(r, "content-length"), *expect = early_header(r, "expect");
    unsigned long long size = length ? strtoull(length, NULL, 10) : 0;
    bool streams = request_streams(r, length && size < INT64_MAX ? (int64_t)size : -1);
    if (!streams && size > r->io->limits->body_bytes) {
        request_dispatch(r, HTTP_FAULT_BODY_TOO_LARGE);
        return;
    }
    if (expect && strcasecmp(expect, "100-continue") == 0) {
        nghttp2_nv go_on = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE};
        nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, r->stream, NULL, &go_on, 1, NULL);
    }
    if (streams)
        request_dispatch(r, HTTP_FAULT_NONE);
    else
        io_deadline_set(r->io, &r->deadline, DEADLINE_BODY);
}

/* ---- Streamed bodies: what comes while one is paused waits, and is at most the stream's window ---- */

static void end_streamed(struct request *r)
{
    if (r->public.streamed && r->remote_closed && !r->body_ended && !r->body.size)
        request_hand_body(r, NULL, 0);
}

static void hand_waiting(struct http2 *h, struct request *r)
{
    if (!r->public.streamed || !request_takes_body(r))
        return;
    if (r->body.size) {
        size_t size;
        cleanup_free char *data = buffer_steal(&r->body, &size);
        r->io->body_bytes -= size;
        nghttp2_session_consume_stream(h->session, r->stream, size);
        request_hand_body(r, data, size);
    }
    end_streamed(r);
}

static void add_streamed(struct http2 *h, struct request *r, const char *data, size_t size)
{
    nghttp2_session_consume_connection(h->session, size);
    if (!r->body.size && request_takes_body(r)) {
        nghttp2_session_consume_stream(h->session, r->stream, size);
        request_hand_body(r, data, size);
    } else if (request_add_body(r, data, size)) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_ENHANCE_YOUR_CALM);
    }
}

static void http2_read_body(struct request *r)
{
    struct http2 *h = r->connection->session;
    list_remove(&r->drained_node);
    list_append(&h->drained, &r->drained_node);
}

static int on_frame_received(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)session;
    struct connection *c = context;
    struct http2 *h = c->session;
    h->started = true;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct request *r = stream_request(h, frame->hd.stream_id);
    if (!r)
        return 0;
    const char *reason = "";
    int status = 0;
    r->remote_closed = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST &&
        (status = read_head(r, &reason)))
        refuse(r, status, reason);
    if (r->dispatched) {
        end_streamed(r);
        return 0;
    }
    if (r->remote_closed)
        request_dispatch(r, HTTP_FAULT_NONE);
    else if (frame->hd.type == NGHTTP2_HEADERS)
        begin_body(h, r);
    return 0;
}

/* A response may be complete before the request is (RFC 9113, 8.1). To reset the stream at once would make some
 * clients lose the response, so the rest of the body is dropped, within limits. */
static void reset_late_upload(struct http2 *h, struct request *r)
{
    if (r->answered && r->discarded > CONNECTION_LINGER_MAX)
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_NO_ERROR);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *context)
{
    (void)flags;
    struct connection *c = context;
    struct request *r = stream_request(c->session, stream);
    if (r && r->public.streamed && r->state != RESPONSE_COMPLETE) {
        add_streamed(c->session, r, (const char *)data, size);
        return 0;
    }
    nghttp2_session_consume(session, stream, size);
    if (!r)
        return 0;
    if (r->dispatched) {
        r->discarded += size;
        reset_late_upload(c->session, r);
        return 0;
    }
    enum http_fault fault = request_add_body(r, (const char *)data, size);
    if (fault)
        request_dispatch(r, fault);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    (void)session, (void)code;
    struct connection *c = context;
    struct request *r = stream_request(c->session, stream);
    if (!r)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream, NULL);
    c->restart = true;
    request_cancel(r); /* which is only to clear it away if it is answered */
    return 0;
}

/* ---- Responses ---- */

static ssize_t read_output(nghttp2_session *session, int32_t stream, uint8_t *out, size_t max, uint32_t *flags,
                           nghttp2_data_source *source, void *context)
{
    (void)session, (void)stream, (void)out, (void)context;
    struct request *r = source->ptr;
    size_t n = r->output->size < max ? r->output->size : max;
    if (n == r->output->size && r->state == RESPONSE_COMPLETE)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (!n)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)n;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t size,
                     nghttp2_data_source *source, void *context)
{
    (void)session, (void)frame;
    struct connection *c = context;
    struct http2 *h = c->session;
    struct request *r = source->ptr;
    if (connection_room(c) < FRAME_HEADER_SIZE)
        return NGHTTP2_ERR_WOULDBLOCK;
    connection_put(c, (const char *)header, FRAME_HEADER_SIZE);
    output_put(r->output, c, size);
    io_deadline_set(c->io, &r->deadline, r->output->size ? DEADLINE_WRITE : DEADLINE_NONE);
    if (r->drained) {
        list_remove(&r->drained_node);
        list_append(&h->drained, &r->drained_node);
    }
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)session;
    struct connection *c = context;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    struct request *r = stream_request(c->session, frame->hd.stream_id);
    if (r && !r->remote_closed) {
        r->answered = true;
        io_deadline_set(c->io, &r->deadline, DEADLINE_LINGER);
        reset_late_upload(c->session, r);
    }
    return 0;
}

/* Submits status and headers. The lines of request->response are taken apart where they are and must stay there until
 * they are sent, which they do as long as the stream. */
static void submit_head(struct request *r, bool body)
{
    struct http2 *h = r->connection->session;
    nghttp2_nv fields[HTTP_RESPONSE_HEADERS_MAX + 3];
    char status[] = {(char)('0' + r->status / 100), (char)('0' + r->status / 10 % 10), (char)('0' + r->status % 10)};
    fields[0] = (nghttp2_nv){(uint8_t *)":status", (uint8_t *)status, 7, 3, NGHTTP2_NV_FLAG_NO_COPY_NAME};
    size_t count = 1;
    char *at = r->response.data, *end = at + r->response.size;
    while (at < end && count < ARRAY_COUNT(fields)) {
        char *colon = memchr(at, ':', (size_t)(end - at));
        char *stop = memchr(colon, '\r', (size_t)(end - colon));
        for (char *letter = at; letter < colon; letter++)
            *letter |= *letter >= 'A' && *letter <= 'Z' ? 0x20 : 0;
        fields[count++] =
            (nghttp2_nv){(uint8_t *)at, (uint8_t *)colon + 2, (size_t)(colon - at), (size_t)(stop - colon - 2),
                         NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
        at = stop + 2;
    }
    nghttp2_data_provider provider = {.source.ptr = r, .read_callback = read_output};
    nghttp2_submit_response(h->session, r->stream, fields, count, body ? &provider : NULL);
}

static void add_runs(struct request *r, const struct http_bytes *runs, size_t count)
{
    bool was_empty = !r->output->size;
    for (size_t i = 0; i < count; i++)
        output_add_run(r->output, &runs[i]);
    if (was_empty)
        io_deadline_set(r->io, &r->deadline, DEADLINE_WRITE);
}

static void http2_respond(struct request *r, const struct http_bytes *runs, size_t count, size_t total)
{
    if (total)
        add_runs(r, runs, count);
    submit_head(r, total > 0);
}

static void http2_begin(struct request *r)
{
    submit_head(r, !r->head_only);
}

static void resume(struct request *r)
{
    struct http2 *h = r->connection->session;
    nghttp2_session_resume_data(h->session, r->stream); /* fails if it was not waiting, which is fine */
}

static void http2_write(struct request *r, const struct http_bytes *runs, size_t count, size_t total)
{
    (void)total;
    add_runs(r, runs, count);
    resume(r);
}

static void http2_end(struct request *r)
{
    resume(r);
}

static void http2_abort(struct request *r)
{
    struct http2 *h = r->connection->session;
    nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_INTERNAL_ERROR);
}

/* ---- The connection ---- */

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release_once(void)
{
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
}

static void prepare_once(void)
{
    if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&options))
        abort(); /* out of memory */
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_no_auto_window_update(options, 1); /* streamed bodies hold their clients back */
    nghttp2_option_set_max_outbound_ack(options, OUTBOUND_ACK_MAX);
    nghttp2_option_set_stream_reset_rate_limit(options, RESET_BURST, RESETS_PER_SECOND);
    atexit(release_once);
}

static void http2_open(struct connection *c)
{
    pthread_once(&once, prepare_once);
    struct http2 *h = c->session = mem_zero(1, sizeof(*h));
    list_init(&h->drained);
    if (nghttp2_session_server_new2(&h->session, callbacks, c, options))
        abort(); /* out of memory */
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->io->limits->streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)c->io->limits->header_bytes},
    };
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_COUNT(settings));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    connection_dirty(c);
}

static void http2_input(struct connection *c, const char *data, size_t size)
{
    struct http2 *h = c->session;
    if (c->closing)
        return;
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data, size);
    if (n < 0)
        c->closing = true; /* not HTTP/2, or a flood */
    connection_dirty(c);
}

static void go_away(struct http2 *h)
{
    if (h->going_away)
        return;
    h->going_away = true;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

static void http2_stop(struct connection *c)
{
    struct request *r;
    go_away(c->session);
    list_for_each(&c->requests, r, node) request_stop(r);
}

static void run_drained(struct http2 *h)
{
    while (!list_empty(&h->drained)) {
        struct request *r = list_entry(h->drained.next, struct request, drained_node);
        list_remove(&r->drained_node);
        request_check_drained(r);
        hand_waiting(h, r);
    }
}

static void http2_produce(struct connection *c)
{
    struct http2 *h = c->session;
    if (c->io->stopping)
        http2_stop(c);
    while (connection_room(c)) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->session, &data);
        if (n < 0)
            c->broken = true;
        if (n > 0)
            connection_put(c, (const char *)data, (size_t)n);
        else if (list_empty(&h->drained) || c->broken)
            break;
        run_drained(h);
    }
    bool over = !nghttp2_session_want_read(h->session) || (h->going_away && list_empty(&c->requests));
    if (over && !nghttp2_session_want_write(h->session))
        c->closing = true;
}

static enum deadline_class http2_waiting(const struct connection *c)
{
    const struct http2 *h = c->session;
    return !h->started ? DEADLINE_HEADER : list_empty(&c->requests) ? DEADLINE_IDLE : DEADLINE_NONE;
}

static void http2_expire(struct connection *c, struct request *r)
{
    struct http2 *h = c->session;
    if (!r)
        go_away(h);
    else if (!r->dispatched)
        refuse(r, 408, "");
    else
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream,
                                  r->answered ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
}

static void http2_close(struct connection *c)
{
    struct http2 *h = c->session;
    nghttp2_session_del(h->session);
    free(h);
}

const struct protocol http2_protocol = {
    .open = http2_open,
    .input = http2_input,
    .produce = http2_produce,
    .waiting = http2_waiting,
    .expire = http2_expire,
    .stop = http2_stop,
    .close = http2_close,
    .respond = http2_respond,
    .begin = http2_begin,
    .write = http2_write,
    .end = http2_end,
    .abort = http2_abort,
    .read_body = http2_read_body,
};
