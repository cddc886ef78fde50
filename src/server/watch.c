/* Watches: events from the core thread, one line of JSON each, to a stream that is written on an I/O thread.
 *
 * A watch is two halves with one life: the core half holds the client's watch, the I/O half the HTTP stream. Events go
 * one way by mailbox; the end of either half reaches the other by mailbox, and the last message releases both. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "server/private.h"

/* Without timeoutSeconds a watch ends after 30 to 60 minutes, as upstream's. */
#define TIMEOUT_LEAST (30 * MINUTE)
/* Seconds; a longer timeout is cut. */
#define TIMEOUT_MAX (365 * 24 * 3600)
/* Room for a revision in decimal. */
#define REVISION_TEXT_MAX 24

struct line {
    enum client_event_kind kind;
    struct object *object; /* held */
    uint64_t revision;
    bool initial_events_end;
    struct buffer status; /* of CLIENT_ERROR, as JSON */
};

struct stream {
    struct server *server;
    struct http_request *http;
    struct arena *arena; /* selectors, strings */
    struct route route;
    struct negotiated negotiated;
    struct table_options table;
    struct client_watch_options options;
    bool announce_end; /* sendInitialEvents was asked for: mark where they end */
    int64_t timeout;
    int64_t began;
    /* The core half. */
    struct client_watch *watch;
    struct env_timer *timer;
    VECTOR(struct line) gathered; /* events of this turn */
    bool flush_arranged;
    bool core_over;
    /* The I/O half. */
    bool begun, io_over, rows_written;
};

/* A batch of lines on its way to the I/O thread. */
struct batch {
    struct stream *stream;
    struct line *lines;
    size_t count;
    bool last;
};

/* ---- The I/O half ---- */

static void release_object(void *owner)
{
    object_unref(owner);
}

static const char *event_type(enum client_event_kind kind)
{
    static const char *const types[] = {[CLIENT_ADDED] = "ADDED",
                                        [CLIENT_MODIFIED] = "MODIFIED",
                                        [CLIENT_DELETED] = "DELETED",
                                        [CLIENT_BOOKMARK] = "BOOKMARK",
                                        [CLIENT_ERROR] = "ERROR"};
    return types[kind];
}

static void write_bookmark(const struct stream *s, const struct line *line, struct buffer *out)
{
    const struct api_resource *r = s->route.resource;
    char revision[REVISION_TEXT_MAX];
    snprintf(revision, sizeof(revision), "%llu", (unsigned long long)line->revision);
    if (s->negotiated.form == ANSWER_TABLE) {
        const struct table_options options = {.api_version = s->negotiated.api_version, .no_headers = true};
        table_begin(r, &options, &(struct list_meta){.resource_version = revision}, out);
        table_end(out);
        return;
    }
    bool metadata = s->negotiated.form == ANSWER_METADATA;
    struct string_pair initial_events_end = {"k8s.io/initial-events-end", "true"};
    const struct partial_object_metadata mark = {
        .kind = metadata ? "PartialObjectMetadata" : r->kind,
        .api_version = metadata ? s->negotiated.api_version : r->api_version,
        .metadata = {.resource_version = revision,
                     .annotations = {&initial_events_end, line->initial_events_end && s->announce_end}}};
    json_encode(&api_type_partial_object_metadata, &mark, out);
}

/* In a form that is not its own: as a table of one row, or its metadata alone. */
static void write_object(struct stream *s, const struct object *object, struct buffer *out)
{
    const struct api_resource *r = s->route.resource;
    if (s->negotiated.form != ANSWER_TABLE) {
        partial_metadata_write(r, s->negotiated.api_version, object->value, out);
        return;
    }
    struct list_meta meta = {.resource_version = object->meta->resource_version};
    s->table.no_headers = s->rows_written;
    s->rows_written = true;
    s->table.now = env_now(s->server->options.env);
    table_begin(r, &s->table, &meta, out);
    table_row(r, &s->table, object->value, NULL, 0, 0, out);
    table_end(out);
}

/* Everything but plain objects, which are sent from their snapshots' bytes. */
static void write_line(struct stream *s, const struct line *line, struct buffer *out)
{
    buffer_printf(out, "{\"type\":\"%s\",\"object\":", event_type(line->kind));
    if (line->kind == CLIENT_BOOKMARK) {
        write_bookmark(s, line, out);
    } else if (line->kind == CLIENT_ERROR) {
        buffer_add(out, line->status.data, line->status.size);
    } else {
        assert(line->object);
        write_object(s, line->object, out);
    }
    buffer_add_string(out, "}\n");
}

static bool send_line(struct stream *s, struct line *line)
{
    size_t size;
    bool plain = line->object && s->negotiated.form == ANSWER_OBJECT;
    if (plain) {
        static const struct http_bytes heads[] = {[CLIENT_ADDED] = HTTP_STATIC("{\"type\":\"ADDED\",\"object\":"),
                                                  [CLIENT_MODIFIED] = HTTP_STATIC("{\"type\":\"MODIFIED\",\"object\":"),
                                                  [CLIENT_DELETED] = HTTP_STATIC("{\"type\":\"DELETED\",\"object\":")};
        const char *json = object_json(line->object, &size);
        struct http_bytes runs[] = {
            heads[line->kind],
            {.data = json, .size = size, .release = release_object, .owner = object_ref(line->object)},
            HTTP_STATIC("}\n")};
        return http_stream_write(s->http, runs, ARRAY_COUNT(runs));
    }
    struct buffer out = {0};
    write_line(s, line, &out);
    char *data = buffer_steal(&out, &size);
    struct http_bytes run = http_bytes_owned(data, size);
    return http_stream_write(s->http, &run, 1);
}

static void stream_free(struct stream *s)
{
    request_metrics_count(s->server->metrics, &s->route, VERB_WATCH, 200,
                          env_monotonic(s->server->options.env) - s->began);
    http_request_release(s->http);
    arena_free(s->arena);
    free(s);
}

static void end_core(void *context);

/* Nothing more is written; the core half is told once. */
static void end_io(struct stream *s)
{
    if (s->io_over)
        return;
    s->io_over = true;
    http_request_on_cancel(s->http, NULL, NULL);
    mailbox_send(s->server->core, end_core, s);
}

static void cancelled(void *context)
{
    end_io(context);
}

static void begin(struct stream *s)
{
    if (s->begun)
        return;
    s->begun = true;
    http_response_header(s->http, "Content-Type", CONTENT_JSON);
    http_stream_begin(s->http, 200);
}

static void deliver(void *context)
{
    struct batch *b = context;
    struct stream *s = b->stream;
    for (size_t i = 0; i < b->count; i++) {
        if (!s->io_over && !send_line(s, &b->lines[i])) {
            /* Gone, or too slow to keep up: it lists and watches again. */
            http_stream_abort(s->http);
            end_io(s);
        }
        object_unref(b->lines[i].object);
        buffer_free(&b->lines[i].status);
    }
    if (b->last && !s->io_over) {
        http_stream_end(s->http);
        end_io(s);
    }
    free(b->lines);
    free(b);
}

/* The core half is over and sends nothing more. */
static void release(void *context)
{
    stream_free(context);
}

/* ---- The core half ---- */

static void flush(void *context)
{
    struct stream *s = context;
    s->flush_arranged = false;
    if (s->core_over) {
        mailbox_send(http_request_mailbox(s->http), release, s);
        return;
    }
    struct batch *b = mem_zero(1, sizeof(*b));
    b->stream = s;
    b->lines = s->gathered.items;
    b->count = s->gathered.count;
    b->last = b->count && b->lines[b->count - 1].kind == CLIENT_ERROR;
    memset(&s->gathered, 0, sizeof(s->gathered));
    mailbox_send(http_request_mailbox(s->http), deliver, b);
}

static void on_event(void *context, const struct client_event *event)
{
    struct stream *s = context;
    struct line line = {.kind = event->kind,
                        .object = event->object ? object_ref(event->object) : NULL,
                        .revision = event->revision,
                        .initial_events_end = event->initial_events_end};
    /* The mark that initial events are over is for those who asked for it. */
    if (event->kind == CLIENT_BOOKMARK && event->initial_events_end && !s->announce_end)
        return;
    if (event->kind == CLIENT_ERROR && event->status)
        api_status_write(event->status, &line.status);
    vector_push(&s->gathered, line);
    if (!s->flush_arranged) {
        s->flush_arranged = true;
        env_defer(s->server->options.env, flush, s);
    }
}

static void end_core(void *context)
{
    struct stream *s = context;
    client_watch_free(s->watch);
    s->server->watches--;
    s->watch = NULL;
    env_timer_free(s->timer);
    s->timer = NULL;
    s->core_over = true;
    for (size_t i = 0; i < s->gathered.count; i++) {
        object_unref(s->gathered.items[i].object);
        buffer_free(&s->gathered.items[i].status);
    }
    vector_free(&s->gathered);
    if (!s->flush_arranged)
        mailbox_send(http_request_mailbox(s->http), release, s);
}

static void timed_out(void *context)
{
    struct stream *s = context;
    struct batch *b = mem_zero(1, sizeof(*b));
    b->stream = s;
    b->last = true;
    mailbox_send(http_request_mailbox(s->http), deliver, b);
}

static void start(void *context)
{
    struct stream *s = context;
    struct env *env = s->server->options.env;
    if (!s->timeout)
        s->timeout = TIMEOUT_LEAST + (int64_t)(env_random(env) % (uint64_t)TIMEOUT_LEAST);
    s->timer = env_timer_new(env, timed_out, s);
    env_timer_start(s->timer, s->timeout);
    if (!s->options.from && !s->options.send_initial_events)
        s->options.from = store_revision(s->server->options.store);
    s->server->watches++;
    s->watch = client_watch(s->server->client, &s->options, on_event, s);
}

/* ---- The way in, on the I/O thread ---- */

static struct status *prepare(struct stream *s)
{
    struct opt_int64 timeout;
    bool asked = http_request_parameter(s->http, "sendInitialEvents") != NULL;
    struct status *status = options_for_watch(s->arena, s->http, &s->route, &s->options, &timeout);
    if (status)
        return status;
    if (s->negotiated.encoding != ENCODE_JSON)
        return api_status_not_acceptable(s->arena, ACCEPTED_WATCH);
    s->announce_end = asked && s->options.send_initial_events && s->options.bookmarks;
    if (timeout.value > 0)
        s->timeout = (timeout.value < TIMEOUT_MAX ? timeout.value : TIMEOUT_MAX) * SECOND;
    return options_for_table(s->arena, s->http, &s->negotiated, &s->table);
}

void watch_handle(struct rest_request *request)
{
    struct stream *s = mem_zero(1, sizeof(*s));
    s->server = request->server;
    s->http = request->http;
    s->arena = request->arena;
    s->route = request->route;
    s->negotiated = request->negotiated;
    s->began = request->http->received;
    struct status *status = prepare(s);
    if (status) {
        answer_status(s->http, status);
        arena_free(s->arena);
        free(s);
        return;
    }
    http_request_retain(s->http);
    begin(s);
    mailbox_send(s->server->core, start, s);
    http_request_on_cancel(s->http, cancelled, s);
}
