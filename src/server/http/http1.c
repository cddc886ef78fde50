/* HTTP/1.0 and HTTP/1.1 on a connection. One request is dealt with at a time, so that responses come in the order of
 * the requests; what the client sends ahead waits in connection->input, up to a limit beyond which nothing more is
 * read. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/http/connection.h"
#include "server/http/http1_parse.h"
#include "server/http/request.h"

/* Unsent bytes beyond which no further pipelined request is begun. */
#define PIPELINE_OUTPUT_MAX (256 * 1024)

enum http1_state {
    READING_HEAD,
    READING_LENGTH,
    READING_CHUNKS,
    HANDLING,    /* the handler has the request */
    HANDED_OVER, /* what comes is for the next protocol */
    DONE,        /* nothing more is read */
};

struct http1 {
    enum http1_state state;
    struct http1_scan scan;
    struct http1_chunks chunks;
    uint64_t left;           /* of the body */
    struct request *request; /* the present one */
    struct output output;
    bool served;     /* a request has come */
    bool keep_alive; /* after the present request */
    bool minor;      /* of the present request's version */
    bool expects;    /* the client waits for a go-ahead to send its body */
    bool chunked;    /* the present response is */
};

static void http1_open(struct connection *c)
{
    c->session = mem_zero(1, sizeof(struct http1));
}

/* ---- Responses ---- */

/* The response is queued in whole. */
static void finished(struct http1 *h, struct connection *c, struct request *r)
{
    h->request = NULL;
    c->restart = true;
    if (h->keep_alive && !c->io->stopping) {
        h->state = READING_HEAD;
    } else {
        h->state = DONE;
        c->closing = true;
    }
    request_over(r);
}

static void put_head(struct http1 *h, struct request *r, bool chunked)
{
    struct buffer *head = &r->io->head;
    buffer_clear(head);
    if (h->state < HANDLING)
        h->keep_alive = false; /* the rest of the body would have to be read first */
    if (r->status == 200)
        buffer_add_string(head, "HTTP/1.1 200 OK\r\n");
    else
        buffer_printf(head, "HTTP/1.1 %d %s\r\n", r->status, status_reason(r->status));
    buffer_add(head, r->response.data, r->response.size);
    if (chunked)
        buffer_add_string(head, "Transfer-Encoding: chunked\r\n");
    if (!h->keep_alive || r->io->stopping)
        buffer_add_string(head, "Connection: close\r\n");
    else if (!h->minor)
        buffer_add_string(head, "Connection: keep-alive\r\n");
    buffer_add(head, "\r\n", 2);
    output_add_text(&h->output, head->data, head->size);
}

static void http1_respond(struct request *r, const struct http_bytes *runs, size_t count, size_t total)
{
    (void)total;
    struct connection *c = r->connection;
    struct http1 *h = c->session;
    put_head(h, r, false);
    for (size_t i = 0; i < count; i++)
        output_add_run(&h->output, &runs[i]);
    finished(h, c, r);
}

static void http1_begin(struct request *r)
{
    struct http1 *h = r->connection->session;
    h->chunked = h->minor && !r->sized;
    if (!h->chunked && !r->sized)
        h->keep_alive = false; /* the end of the connection is the end of the body */
    put_head(h, r, h->chunked);
}

static void http1_write(struct request *r, const struct http_bytes *runs, size_t count, size_t total)
{
    struct http1 *h = r->connection->session;
    char line[24];
    if (h->chunked)
        output_add_text(&h->output, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", total));
    for (size_t i = 0; i < count; i++)
        output_add_run(&h->output, &runs[i]);
    if (h->chunked)
        output_add_text(&h->output, "\r\n", 2);
}

static void http1_end(struct request *r)
{
    struct connection *c = r->connection;
    struct http1 *h = c->session;
    if (h->chunked && !r->head_only)
        output_add_text(&h->output, "0\r\n\r\n", 5);
    finished(h, c, r);
}

static void http1_abort(struct request *r)
{
    struct connection *c = r->connection;
    struct http1 *h = c->session;
    h->request = NULL;
    h->state = DONE;
    c->broken = true;
    request_over(r);
}

void http1_hand_over(struct request *r, struct output *output)
{
    struct http1 *h = r->connection->session;
    struct buffer *head = &r->io->head;
    buffer_clear(head);
    buffer_add_string(head, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    buffer_add(head, r->response.data, r->response.size);
    buffer_add(head, "\r\n", 2);
    output_add_text(&h->output, head->data, head->size);
    *output = h->output;
    h->output = (struct output){0};
    h->request = NULL;
    h->state = HANDED_OVER;
    request_over(r);
}

/* Answers what is no request, in the words of Go's server. */
static void refuse(struct connection *c, int status, const char *reason)
{
    struct http1 *h = c->session;
    if (h->request && h->request->dispatched) { /* its handler hears of it when the connection is closed */
        h->state = DONE;
        c->broken = true;
        connection_dirty(c);
        return;
    }
    if (h->request)
        request_over(h->request);
    h->request = NULL;
    struct buffer *head = &c->io->head;
    buffer_clear(head);
    buffer_printf(head,
                  "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%d %s%s%s",
                  status, status_reason(status), status, status_reason(status), *reason ? ": " : "", reason);
    output_add_text(&h->output, head->data, head->size);
    h->state = DONE;
    c->closing = true;
    connection_dirty(c);
}

/* ---- Requests ---- */

static void dispatch(struct connection *c, enum http_fault fault)
{
    struct http1 *h = c->session;
    h->state = HANDLING;
    if (fault)
        h->keep_alive = false; /* the rest of the body is not worth reading */
    request_dispatch(h->request, fault);
}

static void tell_to_go_on(struct connection *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http1 *h = c->session;
    h->expects = false;
    output_add_text(&h->output, go_on, sizeof(go_on) - 1);
    connection_dirty(c);
}

static void begin_body(struct connection *c, const struct http1_head *head, bool more_is_here)
{
    struct http1 *h = c->session;
    bool streams =
        request_streams(h->request, head->has_length && head->length < INT64_MAX ? (int64_t)head->length : -1);
    if (!streams && head->has_length && head->length > c->io->limits->body_bytes) {
        dispatch(c, HTTP_FAULT_BODY_TOO_LARGE);
        return;
    }
    h->state = head->chunked ? READING_CHUNKS : READING_LENGTH;
    h->left = head->length;
    h->chunks = (struct http1_chunks){0};
    h->expects = head->expect_continue && !more_is_here;
    c->restart = true;
    if (streams)
        request_dispatch(h->request, HTTP_FAULT_NONE);
    else if (h->expects)
        tell_to_go_on(c);
}

/* Whether bytes of the present request's body can be dealt with. */
static bool takes_body(const struct http1 *h)
{
    assert(h->request);
    return !h->request->public.streamed || request_takes_body(h->request);
}

static void end_body(struct connection *c)
{
    struct http1 *h = c->session;
    if (!h->request->public.streamed) {
        dispatch(c, HTTP_FAULT_NONE);
        return;
    }
    h->state = HANDLING;
    request_hand_body(h->request, NULL, 0);
}

static void http1_read_body(struct request *r)
{
    struct http1 *h = r->connection->session;
    if (h->expects && r->state == RESPONSE_NONE)
        tell_to_go_on(r->connection);
}

static void begin_request(struct connection *c, const char *data, size_t size, bool more_is_here)
{
    struct http1 *h = c->session;
    struct http1_head head;
    const char *reason = "";
    h->scan = (struct http1_scan){0};
    h->served = true;
    struct request *r = h->request = request_new(c);
    r->output = &h->output;
    buffer_add(&r->text, data, size);
    int status = http1_parse_head(r->text.data, size, &r->headers, &head, &reason);
    if (!status) {
        r->public.host = head.host;
        status = request_set_target(r, head.method, head.target, &reason);
    }
    if (status) {
        refuse(c, status, reason);
        return;
    }
    h->minor = head.minor;
    h->keep_alive = head.keep_alive && !c->io->stopping;
    if (head.chunked || head.length)
        begin_body(c, &head, more_is_here);
    else
        dispatch(c, HTTP_FAULT_NONE);
}

static bool add_body(struct connection *c, const char *data, size_t size)
{
    struct http1 *h = c->session;
    if (h->request->public.streamed) {
        request_hand_body(h->request, data, size);
        return h->state < HANDLING; /* it may be answered by now */
    }
    enum http_fault fault = request_add_body(h->request, data, size);
    if (fault)
        dispatch(c, fault);
    return !fault;
}

static size_t read_head(struct connection *c, const char *data, size_t size)
{
    struct http1 *h = c->session;
    size_t head_size = 0, limit = c->io->limits->header_bytes;
    enum http1_scan_result result = http1_scan(&h->scan, data, size, &head_size);
    if (result == HTTP1_SCAN_BAD) {
        refuse(c, 400, "malformed line");
    } else if (head_size > limit || (result == HTTP1_SCAN_MORE && size > limit)) {
        refuse(c, 431, "");
    } else if (result == HTTP1_SCAN_FOUND) {
        begin_request(c, data, head_size, size > head_size);
        return head_size;
    }
    return 0;
}

static size_t read_length(struct connection *c, const char *data, size_t size)
{
    struct http1 *h = c->session;
    size_t n = h->left < size ? (size_t)h->left : size;
    if (!takes_body(h))
        return 0;
    h->left -= n;
    if (add_body(c, data, n) && !h->left)
        end_body(c);
    return n;
}

static size_t read_chunks(struct connection *c, const char *data, size_t size)
{
    struct http1 *h = c->session;
    const char *at = data, *run;
    size_t left = size, run_size;
    while (h->state == READING_CHUNKS && takes_body(h)) {
        switch (http1_chunks_next(&h->chunks, &at, &left, &run, &run_size)) {
        case HTTP1_CHUNK_DATA:
            add_body(c, run, run_size);
            break;
        case HTTP1_CHUNK_END:
            end_body(c);
            break;
        case HTTP1_CHUNK_BAD:
            refuse(c, 400, "malformed chunked encoding");
            break;
        case HTTP1_CHUNK_MORE:
            return size;
        }
    }
    return size - left;
}

/* Works through the input as far as it goes now. Returns how many bytes are dealt with. */
static size_t digest(struct connection *c, const char *data, size_t size)
{
    static size_t (*const readers[])(struct connection *, const char *, size_t) = {
        [READING_HEAD] = read_head,
        [READING_LENGTH] = read_length,
        [READING_CHUNKS] = read_chunks,
    };
    struct http1 *h = c->session;
    size_t at = 0;
    while (at < size && h->state < HANDLING) {
        if (h->state == READING_HEAD && h->output.size > PIPELINE_OUTPUT_MAX)
            break;
        size_t n = readers[h->state](c, data + at, size - at);
        if (!n)
            break;
        at += n;
    }
    return h->state == DONE ? size : at;
}

/* How much may wait for the present request to be over. */
static void update_paused(struct connection *c)
{
    c->paused = c->input.size > c->io->limits->header_bytes;
}

static void digest_waiting(struct connection *c)
{
    size_t n = digest(c, c->input.data, c->input.size);
    if (n == c->input.size)
        buffer_free(&c->input);
    else if (n)
        buffer_consume(&c->input, n);
    update_paused(c);
}

static void http1_input(struct connection *c, const char *data, size_t size)
{
    if (c->input.size) {
        buffer_add(&c->input, data, size);
        digest_waiting(c);
        return;
    }
    size_t n = digest(c, data, size);
    if (n < size)
        buffer_add(&c->input, data + n, size - n);
    update_paused(c);
}

/* ---- The connection ---- */

static void http1_stop(struct connection *c)
{
    struct http1 *h = c->session;
    if (h->request && h->request->dispatched) {
        request_stop(h->request);
    } else if (h->state == READING_HEAD && !c->input.size) {
        h->state = DONE;
        c->closing = h->output.size || c->unsent.size;
        c->broken = !c->closing; /* idle */
    }
}

static void http1_produce(struct connection *c)
{
    struct http1 *h = c->session;
    if (c->io->stopping)
        http1_stop(c);
    for (;;) {
        size_t put = output_put(&h->output, c, connection_room(c));
        if (put && h->request)
            request_check_drained(h->request);
        if (c->input.size && (h->state == READING_HEAD ? !h->output.size : h->state < HANDLING && takes_body(h)))
            digest_waiting(c);
        if (!h->output.size || !connection_room(c))
            return;
    }
}

static enum deadline_class http1_waiting(const struct connection *c)
{
    const struct http1 *h = c->session;
    static const enum deadline_class classes[] = {
        [READING_LENGTH] = DEADLINE_BODY, [READING_CHUNKS] = DEADLINE_BODY, [HANDLING] = DEADLINE_NONE,
        [HANDED_OVER] = DEADLINE_NONE,    [DONE] = DEADLINE_LINGER,
    };
    if (h->request && h->request->dispatched)
        return DEADLINE_NONE; /* also while its body streams */
    if (h->state == READING_HEAD)
        return c->input.size || !h->served ? DEADLINE_HEADER : DEADLINE_IDLE;
    return classes[h->state];
}

static void http1_expire(struct connection *c, struct request *request)
{
    (void)request;
    struct http1 *h = c->session;
    if (h->state < HANDLING && (h->state != READING_HEAD || c->input.size)) {
        refuse(c, 408, "");
    } else {
        h->state = DONE;
        c->closing = true;
    }
}

static void http1_close(struct connection *c)
{
    struct http1 *h = c->session;
    output_free(&h->output);
    free(h);
}

const struct protocol http1_protocol = {
    .open = http1_open,
    .input = http1_input,
    .produce = http1_produce,
    .waiting = http1_waiting,
    .expire = http1_expire,
    .stop = http1_stop,
    .close = http1_close,
    .respond = http1_respond,
    .begin = http1_begin,
    .write = http1_write,
    .end = http1_end,
    .abort = http1_abort,
    .read_body = http1_read_body,
};
