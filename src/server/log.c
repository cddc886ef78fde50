/* Container logs: chunks come from the node on the core thread and go out on the I/O thread, one asked for when the
 * one before has been taken, so that a slow reader holds the node back and not memory. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "server/private.h"

/* Bytes that may wait in the stream before the next chunk is asked for. */
#define QUEUE_LOW (256 * 1024)
/* sinceSeconds beyond which everything is wanted. */
#define SINCE_MAX (INT64_C(100) * 365 * 24 * 3600)

struct log_stream {
    struct server *server;
    struct http_request *http;
    struct arena *arena;
    struct route route;
    struct server_log_request request;
    /* Core thread. */
    struct server_log *log;
    bool finding; /* the pod is being asked for */
    bool asked;   /* a chunk is on its way */
    bool core_over;
    /* I/O thread. */
    bool begun, io_over;
    int code; /* that it was answered with */
};

struct chunk {
    struct log_stream *stream;
    char *data;
    size_t size;
    struct status *status; /* instead of a stream; in the stream's arena */
    bool end;
};

static void ask(void *context);
static void end_core(void *context);

/* ---- I/O thread ---- */

static void stream_free(void *context)
{
    struct log_stream *s = context;
    request_metrics_count(s->server->metrics, &s->route, VERB_GET, s->code,
                          env_monotonic(s->server->options.env) - s->http->received);
    http_request_release(s->http);
    arena_free(s->arena);
    free(s);
}

static void end_io(struct log_stream *s)
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

static void drained(void *context)
{
    struct log_stream *s = context;
    if (!s->io_over)
        mailbox_send(s->server->core, ask, s);
}

static void begin(struct log_stream *s)
{
    if (s->begun)
        return;
    s->begun = true;
    s->code = 200;
    http_response_header(s->http, "Content-Type", "text/plain");
    http_stream_begin(s->http, 200);
}

static void deliver(void *context)
{
    struct chunk *c = context;
    struct log_stream *s = c->stream;
    if (!s->io_over && c->status) {
        s->code = c->status->code;
        answer_status(s->http, c->status);
        end_io(s);
    } else if (!s->io_over) {
        begin(s);
        struct http_bytes run = http_bytes_owned(steal_pointer(c->data), c->size);
        bool ok = c->size ? http_stream_write(s->http, &run, 1) : true;
        if (!c->size)
            free((void *)(uintptr_t)run.data);
        if (c->end || !ok) {
            http_stream_end(s->http);
            end_io(s);
        } else if (http_stream_queued(s->http) > QUEUE_LOW) {
            http_stream_on_drained(s->http, QUEUE_LOW, drained, s);
        } else {
            mailbox_send(s->server->core, ask, s);
        }
    }
    free(c->data);
    free(c);
}

/* ---- Core thread ---- */

static void send_chunk(struct log_stream *s, const char *data, size_t size, bool end, struct status *status)
{
    struct chunk *c = mem_zero(1, sizeof(*c));
    c->stream = s;
    c->data = mem_alloc(size + 1);
    if (size)
        memcpy(c->data, data, size);
    c->size = size;
    c->end = end;
    c->status = status;
    mailbox_send(http_request_mailbox(s->http), deliver, c);
}

static void got_chunk(void *context, const char *data, size_t size, const struct error *err)
{
    struct log_stream *s = context;
    s->asked = false;
    if (err)
        send_chunk(s, err->text, strlen(err->text), true, NULL);
    else
        send_chunk(s, data, size, size == 0, NULL);
}

static void ask(void *context)
{
    struct log_stream *s = context;
    if (s->core_over || s->asked)
        return;
    assert(s->log);
    s->asked = true;
    s->log->next(s->log, got_chunk, s);
}

static void end_core(void *context)
{
    struct log_stream *s = context;
    s->core_over = true;
    if (s->log)
        s->log->close(s->log);
    s->log = NULL;
    if (!s->finding)
        mailbox_send(http_request_mailbox(s->http), stream_free, s);
}

static void got_pod(void *context, const struct client_result *result)
{
    struct log_stream *s = context;
    struct status *status = NULL;
    struct error err = {0};
    s->finding = false;
    if (s->core_over) {
        mailbox_send(http_request_mailbox(s->http), stream_free, s);
        return;
    }
    if (!client_ok(result)) {
        status = api_status_not_found(s->arena, &api_resources[API_PODS], s->request.pod);
    } else {
        const struct pod *pod = result->object->value;
        status = pod_container_choose(s->arena, pod, &s->request.container);
        if (!status && (!pod->spec.node_name || !*pod->spec.node_name))
            status = api_status_bad_request(s->arena, "pod %s does not have a host assigned", s->request.pod);
    }
    if (!status) {
        s->log = s->server->options.node.open_log(s->server->options.node.context, &s->request, &err);
        if (!s->log)
            status = err.code == ENOENT ? api_status(s->arena, 404, "NotFound", "%s", err.text)
                                        : api_status_bad_request(s->arena, "%s", err.text);
    }
    if (status)
        send_chunk(s, NULL, 0, true, status);
    else
        ask(s);
}

static void start(void *context)
{
    struct log_stream *s = context;
    s->finding = true;
    client_get(s->server->client, &api_resources[API_PODS], s->request.namespace, s->request.pod, got_pod, s);
}

/* ---- The way in ---- */

/* The lines that are wanted; NULL, or the Status that refuses it. */
static struct status *read_since(struct log_stream *s, struct api_field_errors *errors)
{
    struct server_log_request *r = &s->request;
    const char *since = http_request_parameter(s->http, "sinceTime");
    struct opt_int64 seconds;
    struct status *status = parameter_int(s->arena, s->http, "sinceSeconds", &seconds);
    if (status)
        return status;
    bool both = since && *since && seconds.set;
    if (both)
        field_forbidden(errors, PATH(NULL, ""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    else if (seconds.set && seconds.value < 1)
        field_invalid_int(errors, PATH(NULL, "sinceSeconds"), seconds.value, "must be greater than 0");
    else if (seconds.set)
        r->since = seconds.value > SINCE_MAX ? 0 : env_now(s->server->options.env) - seconds.value * SECOND;
    if (since && *since && time_parse(since, &r->since) < 0)
        return api_status_bad_request(
            s->arena, "parsing time \"%s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"%s\"", since, since);
    return NULL;
}

static struct status *read_limits(struct log_stream *s, struct api_field_errors *errors)
{
    struct server_log_request *r = &s->request;
    struct opt_int64 tail, limit;
    struct status *status = parameter_int(s->arena, s->http, "tailLines", &tail);
    if (!status)
        status = parameter_int(s->arena, s->http, "limitBytes", &limit);
    if (status)
        return status;
    r->tail_lines = tail.set ? tail.value : -1;
    r->limit_bytes = limit.set ? limit.value : -1;
    if (tail.set && tail.value < 0)
        field_invalid_int(errors, PATH(NULL, "tailLines"), tail.value, "must be greater than or equal to 0");
    if (limit.set && limit.value < 1)
        field_invalid_int(errors, PATH(NULL, "limitBytes"), limit.value, "must be greater than 0");
    return NULL;
}

/* Which of the container's streams are wanted: upstream's PodLogsQuerySplitStreams, which v1.35 has and leaves off. */
static void read_stream(struct log_stream *s, struct api_field_errors *errors)
{
    static const char *const streams[] = {"All", "Stderr", "Stdout", NULL};
    struct server_log_request *r = &s->request;
    const char *which = http_request_parameter(s->http, "stream");
    if (!which)
        return;
    r->skip_stdout = strcmp(which, "Stderr") == 0;
    r->skip_stderr = strcmp(which, "Stdout") == 0;
    if (strcmp(which, "All") == 0)
        return;
    if (!r->skip_stdout && !r->skip_stderr)
        field_not_supported(errors, PATH(NULL, "stream"), which, streams);
    if (r->tail_lines >= 0)
        field_forbidden(errors, PATH(NULL, ""), "`tailLines` and specific `stream` are mutually exclusive for now");
}

static struct status *prepare(struct log_stream *s)
{
    static const struct api_resource options = {.group = "", .kind = "PodLogOptions", .plural = ""};
    const struct http_request *http = s->http;
    struct server_log_request *r = &s->request;
    struct api_field_errors errors = {.arena = s->arena};
    const char *container = http_request_parameter(http, "container");
    r->namespace = s->route.namespace;
    r->pod = s->route.name;
    r->container = container && *container ? container : NULL;
    r->previous = parameter_flag(http, "previous");
    r->follow = parameter_flag(http, "follow");
    r->timestamps = parameter_flag(http, "timestamps");
    struct status *status = read_limits(s, &errors);
    if (!status)
        status = read_since(s, &errors);
    read_stream(s, &errors);
    return status || !errors.count ? status : api_status_invalid(s->arena, &options, r->pod, &errors);
}

void log_handle(struct rest_request *request)
{
    struct log_stream *s = mem_zero(1, sizeof(*s));
    s->server = request->server;
    s->http = request->http;
    s->arena = request->arena;
    s->route = request->route;
    struct status *status = prepare(s);
    if (status) {
        answer_status(s->http, status);
        arena_free(s->arena);
        free(s);
        return;
    }
    http_request_retain(s->http);
    mailbox_send(s->server->core, start, s);
    http_request_on_cancel(s->http, cancelled, s);
}
