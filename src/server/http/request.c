/* Requests and the responses to them, whatever the protocol. */
#include "server/http/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "server/http/tls.h"

/* ---- Life ---- */

static struct request *inside(const struct http_request *request)
{
    return (struct request *)request;
}

static void assert_own_thread(const struct request *r)
{
    assert(pthread_equal(pthread_self(), r->io->self));
}

struct request *request_new(struct connection *c)
{
    struct io_thread *io = c->io;
    struct request *r = io->pool;
    if (r) {
        io->pool = r->public.context;
        io->pooled--;
    } else {
        r = mem_zero(1, sizeof(*r));
    }
    io->live++;
    io_count(&io->counters.in_flight, 1);
    r->io = io;
    r->connection = c;
    r->peer = c->peer;
    r->peer->references++;
    r->public = (struct http_request){
        .query = "", .host = "", .body = "", .path = "/", .raw_path = "/", .method_name = "", .peer = &c->peer->public};
    atomic_init(&r->references, 1);
    atomic_init(&r->cancelled, false);
    list_append(&c->requests, &r->node);
    list_init(&r->drained_node);
    io_deadline_init(&r->deadline, c, r);
    r->output = &r->own_output;
    return r;
}

static void trim(struct buffer *b)
{
    if (b->capacity > REQUEST_KEEP_MAX)
        buffer_free(b);
    else
        buffer_clear(b);
}

/* The last reference is gone. */
static void recycle(void *context)
{
    struct request *r = context;
    struct io_thread *io = r->io;
    io->body_bytes -= r->body.size;
    io->live--;
    io_count(&io->counters.in_flight, (uint64_t)-1);
    peer_release(r->peer);
    trim(&r->text);
    trim(&r->decoded);
    trim(&r->body);
    trim(&r->response);
    struct request kept = {.io = io,
                           .text = r->text,
                           .decoded = r->decoded,
                           .body = r->body,
                           .response = r->response,
                           .headers = r->headers,
                           .parameters = r->parameters};
    *r = kept;
    r->headers.count = r->parameters.count = 0;
    if (io->pooled < IO_POOL_MAX) {
        r->public.context = io->pool;
        io->pool = r;
        io->pooled++;
    } else {
        buffer_free(&r->text);
        buffer_free(&r->decoded);
        buffer_free(&r->body);
        buffer_free(&r->response);
        vector_free(&r->headers);
        vector_free(&r->parameters);
        free(r);
    }
    io_check_finished(io);
}

void http_request_retain(struct http_request *request)
{
    atomic_fetch_add_explicit(&inside(request)->references, 1, memory_order_relaxed);
}

void http_request_release(struct http_request *request)
{
    struct request *r = inside(request);
    if (atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1)
        return;
    if (pthread_equal(pthread_self(), r->io->self))
        recycle(r);
    else
        mailbox_send(r->io->mailbox, recycle, r);
}

struct mailbox *http_request_mailbox(const struct http_request *request)
{
    return inside(request)->io->mailbox;
}

static void detach(struct request *r)
{
    list_remove(&r->node);
    list_remove(&r->drained_node);
    list_remove(&r->deadline.node);
    r->connection = NULL;
    r->drained = NULL;
    r->body_data = NULL;
    output_free(&r->own_output);
}

void request_over(struct request *r)
{
    detach(r);
    http_request_release(&r->public);
}

void request_cancel(struct request *r)
{
    bool complete = r->state == RESPONSE_COMPLETE;
    env_callback callback = complete ? NULL : r->cancel;
    void *context = r->cancel_context;
    r->state = RESPONSE_COMPLETE;
    r->cancel = NULL;
    if (!complete)
        atomic_store(&r->cancelled, true);
    detach(r);
    if (callback)
        callback(context);
    http_request_release(&r->public);
}

void http_request_on_cancel(struct http_request *request, env_callback callback, void *context)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    if (callback && atomic_load(&r->cancelled)) {
        callback(context);
        return;
    }
    r->cancel = callback;
    r->cancel_context = context;
}

bool http_request_cancelled(const struct http_request *request)
{
    return atomic_load_explicit(&inside(request)->cancelled, memory_order_relaxed);
}

/* ---- What was asked for ---- */

/* Decodes n bytes to `out`, which has room for them and a NUL; '+' becomes a space if asked to. Returns the byte behind
 * the NUL, or NULL for a malformed escape or one of NUL. */
static char *percent_decode(const char *in, size_t n, char *out, bool plus)
{
    for (size_t i = 0; i < n; i++) {
        char c = in[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_value((unsigned char)in[i + 1]) : -1;
            int low = i + 2 < n ? hex_value((unsigned char)in[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0)
                return NULL;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        *out++ = c;
    }
    *out = 0;
    return out + 1;
}

static void parse_parameters(struct request *r, const char *query, char *out)
{
    while (*query) {
        size_t n = strcspn(query, "&");
        size_t name_size = strcspn(query, "=&");
        char *value = NULL, *end = NULL;
        /* Malformed pairs and those with a semicolon are left out, as Go does. */
        if (n && !memchr(query, ';', n) && (value = percent_decode(query, name_size, out, true))) {
            const char *raw = query + name_size + (name_size < n);
            end = percent_decode(raw, n - (size_t)(raw - query), value, true);
        }
        if (end) {
            vector_push(&r->parameters, (struct http_field){out, value});
            out = end;
        }
        query += n + (query[n] == '&');
    }
}

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},       {"PUT", HTTP_PUT},
    {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

/* Cuts "scheme://authority" off an absolute target; the authority takes Host's place (RFC 9112, 3.2.2). */
static char *cut_authority(struct request *r, char *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (strncasecmp(target, schemes[i], n) != 0)
            continue;
        char *authority = target + n, *end = authority + strcspn(authority, "/?");
        if (end == authority)
            return NULL;
        r->public.raw_path = "/";
        /* The authority moves one to the left, over the last '/', to make room for its NUL. */
        size_t size = (size_t)(end - authority);
        memmove(authority - 1, authority, size);
        authority[size - 1] = 0;
        r->public.host = authority - 1;
        return end;
    }
    return NULL;
}

int request_set_target(struct request *r, const char *method, char *target, const char **reason)
{
    struct http_request *public = &r->public;
    public->method = HTTP_OTHER_METHOD;
    public->method_name = method;
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++)
        if (strcmp(methods[i].name, method) == 0)
    public->method = methods[i].method;
    r->head_only = public->method == HTTP_HEAD;
    *reason = "malformed request target";
    if (strcmp(target, "*") == 0 && public->method == HTTP_OPTIONS) {
        public->path = public->raw_path = target;
        return 0;
    }
    if (*target != '/' && !(target = cut_authority(r, target)))
        return 400;
    char *query = strchr(target, '?');
    if (query)
        *query++ = 0;
    public->raw_path = *target ? target : "/";
    public->query = query ? query : "";
    size_t path_size = strlen(public->raw_path), query_size = strlen(public->query);
    /* Decoding never makes longer, but for a NUL behind each name that has no '='. */
    size_t pairs = 1;
    for (const char *c = public->query; *c; c++)
        pairs += *c == '&';
    char *out = buffer_reserve(&r->decoded, path_size + query_size + 2 * pairs + 2);
    char *end = percent_decode(public->raw_path, path_size, out, false);
    if (!end)
        return 400;
    public->path = out;
    parse_parameters(r, public->query, end);
    public->parameters = r->parameters.items;
    public->parameter_count = r->parameters.count;
    return 0;
}

enum http_fault request_add_body(struct request *r, const char *data, size_t size)
{
    if (size > r->io->limits->body_bytes - r->body.size)
        return HTTP_FAULT_BODY_TOO_LARGE;
    if (r->io->body_bytes + size > r->io->limits->body_total)
        return HTTP_FAULT_OVERLOADED;
    buffer_add(&r->body, data, size);
    r->io->body_bytes += size;
    return HTTP_FAULT_NONE;
}

bool request_streams(struct request *r, int64_t length)
{
    void *context;
    http_streams streams = server_streams(r->io->server, &context);
    if ((length >= 0 && length <= HTTP_BODY_WHOLE_MAX) || !streams || !streams(&r->public, context))
        return false;
    r->public.streamed = true;
    return true;
}

void request_hand_body(struct request *r, const char *data, size_t size)
{
    http_body_data callback = r->body_data;
    if (!callback)
        return;
    r->body_ended = !size;
    if (!size)
        r->body_data = NULL;
    callback(r->body_context, data, size);
}

void http_body_begin(struct http_request *request, http_body_data data, void *context)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    if (!request->streamed || r->body_ended)
        return;
    r->body_data = r->connection ? data : NULL;
    r->body_context = context;
    http_body_pause(request, false);
}

void http_body_pause(struct http_request *request, bool paused)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    r->body_paused = paused;
    if (paused || !r->connection || !r->body_data)
        return;
    r->connection->protocol->read_body(r);
    connection_dirty(r->connection);
}

void request_dispatch(struct request *r, enum http_fault fault)
{
    struct http_request *public = &r->public;
    io_deadline_set(r->io, &r->deadline, DEADLINE_NONE);
    r->dispatched = true;
    public->fault = fault;
    public->headers = r->headers.items;
    public->header_count = r->headers.count;
    public->received = (int64_t)(uv_hrtime() / 1000);
    if (fault) {
        r->io->body_bytes -= r->body.size;
        buffer_free(&r->body);
    } else if (r->body.size) {
        public->body = r->body.data;
        public->body_size = r->body.size;
    }
    io_count(&r->io->counters.requests, 1);
    void *context;
    http_handler handler = server_handler(r->io->server, &context);
    http_request_retain(public);
    handler(public, context);
    /* Nobody holds the request to answer it later. */
    if (r->state == RESPONSE_NONE && r->connection && atomic_load(&r->references) == 2)
        http_respond_text(public, 500, "text/plain; charset=utf-8", "500 Internal Server Error\n");
    http_request_release(public);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

const char *http_request_parameter(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->parameter_count; i++)
        if (strcmp(request->parameters[i].name, name) == 0)
            return request->parameters[i].value;
    return NULL;
}

/* ---- Response ---- */

struct http_bytes http_bytes_owned(void *data, size_t size)
{
    return (struct http_bytes){data, size, free, data};
}

static void drop(const struct http_bytes *runs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (runs[i].release)
            runs[i].release(runs[i].owner);
}

static size_t total_size(const struct http_bytes *runs, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += runs[i].size;
    return total;
}

void http_response_header(struct http_request *request, const char *name, const char *value)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    assert(r->state == RESPONSE_NONE || !r->connection);
    size_t name_size = strlen(name), value_size = strlen(value);
    if (!r->connection || r->response_headers == HTTP_RESPONSE_HEADERS_MAX ||
        r->response.size + name_size + value_size > HTTP_RESPONSE_HEADER_BYTES)
        return;
    r->response_headers++;
    char *out = buffer_reserve(&r->response, name_size + value_size + 4);
    memcpy(out, name, name_size);
    out += name_size;
    *out++ = ':';
    *out++ = ' ';
    for (size_t i = 0; i < value_size; i++) {
        unsigned char c = (unsigned char)value[i];
        *out++ = (c < ' ' && c != '\t') || c == 0x7f ? ' ' : value[i];
    }
    *out++ = '\r';
    *out++ = '\n';
    r->response.size += name_size + value_size + 4;
}

void request_finish_headers(struct request *r, int64_t length)
{
    size_t date_size;
    const char *date = io_date(r->io, &date_size);
    buffer_add(&r->response, date, date_size);
    if (length < 0)
        return;
    static const char name[] = "Content-Length: ";
    char text[sizeof(name) + 24], *at = text + sizeof(text);
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + length % 10);
    while (length /= 10);
    at -= sizeof(name) - 1;
    memcpy(at, name, sizeof(name) - 1);
    buffer_add(&r->response, at, (size_t)(text + sizeof(text) - at));
}

/* The request is answered. Its connection may have gone already. */
static bool begin(struct request *r, int status, enum response_state state)
{
    assert_own_thread(r);
    if (!r->connection)
        return false;
    assert(r->state == RESPONSE_NONE);
    assert(status >= 200 && status <= 999);
    r->status = status;
    r->state = state;
    connection_dirty(r->connection);
    return true;
}

void http_respond(struct http_request *request, int status, const struct http_bytes *runs, size_t count)
{
    struct request *r = inside(request);
    size_t total = total_size(runs, count);
    if (r->connection && total >= HTTP_GZIP_MIN && compress_respond(r, status, runs, count, total))
        return;
    if (!begin(r, status, RESPONSE_COMPLETE)) {
        drop(runs, count);
        return;
    }
    r->cancel = NULL;
    bool empty = r->head_only || status_has_no_body(status);
    if (empty)
        drop(runs, count);
    request_finish_headers(r, status_has_no_body(status) ? -1 : (int64_t)total);
    r->connection->protocol->respond(r, runs, empty ? 0 : count, empty ? 0 : total);
}

void http_respond_text(struct http_request *request, int status, const char *content_type, const char *body)
{
    http_response_header(request, "Content-Type", content_type);
    size_t size = strlen(body);
    char *copy = mem_alloc(size);
    memcpy(copy, body, size);
    struct http_bytes run = http_bytes_owned(copy, size);
    http_respond(request, status, &run, 1);
}

static void begin_stream(struct request *r, int status, int64_t length)
{
    if (!begin(r, status, RESPONSE_STREAMING))
        return;
    assert(!status_has_no_body(status));
    request_finish_headers(r, length);
    r->connection->protocol->begin(r);
}

void http_stream_begin(struct http_request *request, int status)
{
    begin_stream(inside(request), status, -1);
}

void http_stream_begin_sized(struct http_request *request, int status, uint64_t size)
{
    struct request *r = inside(request);
    assert(size <= INT64_MAX);
    r->sized = true;
    r->left = r->head_only ? 0 : size;
    begin_stream(r, status, (int64_t)size);
}

bool http_stream_write(struct http_request *request, const struct http_bytes *runs, size_t count)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    size_t total = total_size(runs, count);
    bool possible = r->connection && r->state == RESPONSE_STREAMING &&
                    (r->output->size == 0 || r->output->size + total <= r->io->limits->stream_bytes);
    if (!possible || r->head_only || !total) {
        drop(runs, count);
        return possible;
    }
    assert(!r->sized || total <= r->left);
    r->left -= r->sized ? total : 0;
    r->connection->protocol->write(r, runs, count, total);
    connection_dirty(r->connection);
    return true;
}

size_t http_stream_queued(const struct http_request *request)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    return r->connection && r->state == RESPONSE_STREAMING ? r->output->size : 0;
}

void http_stream_on_drained(struct http_request *request, size_t low_water, env_callback callback, void *context)
{
    struct request *r = inside(request);
    assert_own_thread(r);
    r->drained = r->connection ? callback : NULL;
    r->drained_context = context;
    r->low_water = low_water;
}

void request_check_drained(struct request *r)
{
    env_callback callback = r->drained;
    if (!callback || r->state != RESPONSE_STREAMING || r->output->size > r->low_water)
        return;
    r->drained = NULL;
    callback(r->drained_context);
}

/* Nothing more is written. Returns whether the protocol is to be told: there is a stream, and somebody who reads. */
static bool stream_over(struct request *r)
{
    assert_own_thread(r);
    if (!r->connection || r->state != RESPONSE_STREAMING)
        return false;
    connection_dirty(r->connection);
    r->state = RESPONSE_COMPLETE;
    r->cancel = NULL;
    r->drained = NULL;
    return true;
}

void http_stream_end(struct http_request *request)
{
    struct request *r = inside(request);
    if (!stream_over(r))
        return;
    if (r->sized && r->left)
        r->connection->protocol->abort(r);
    else
        r->connection->protocol->end(r);
}

void http_stream_abort(struct http_request *request)
{
    struct request *r = inside(request);
    if (stream_over(r))
        r->connection->protocol->abort(r);
}

void request_stop(struct request *r)
{
    if (r->state != RESPONSE_STREAMING || r->finite)
        return;
    env_callback callback = r->cancel;
    void *context = r->cancel_context;
    atomic_store(&r->cancelled, true);
    http_stream_end(&r->public);
    if (callback)
        callback(context);
}
