/* pods/exec and pods/attach: a process in a container, and a client that talks to it.
 *
 *     core   the pod is asked for; the node begins
 *     I/O    its streams are there: the connection is upgraded, and pumps move bytes between the two
 *     core   the process has ended
 *     I/O    what it had written goes out, then how it ended, then the connection is closed
 *
 * A command that the node cannot even begin is refused before the upgrade; one whose program cannot be run ends with an
 * error on the error stream, as upstream has it.
 *
 * The I/O thread's last message to the core thread is end_core; the core's answer to it, when the process is over,
 * frees the exchange. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "server/exec_end.h"
#include "server/private.h"
#include "server/stream/pump.h"
#include "server/stream/session.h"
#include "server/stream/terminal_size.h"

/* How long a client may take to open all streams that it has asked for: upstream's; milliseconds. */
#define STREAMS_TIMEOUT 30000

static const struct stream_protocol protocols[] = {
    {.name = "v5.channel.k8s.io", .carrier = STREAM_CHANNELS, .version = 5},
    {.name = "v4.channel.k8s.io", .carrier = STREAM_CHANNELS, .version = 4},
    {.name = "v4.base64.channel.k8s.io", .carrier = STREAM_CHANNELS, .version = 4, .base64 = true},
    {.name = "channel.k8s.io", .carrier = STREAM_CHANNELS, .version = 1},
    {.name = "base64.channel.k8s.io", .carrier = STREAM_CHANNELS, .version = 1, .base64 = true},
    {.name = "", .carrier = STREAM_CHANNELS, .version = 1},
    {.name = "v4.channel.k8s.io", .carrier = STREAM_SPDY, .version = 4},
    {.name = "v3.channel.k8s.io", .carrier = STREAM_SPDY, .version = 3},
    {.name = "v2.channel.k8s.io", .carrier = STREAM_SPDY, .version = 2},
    {.name = "channel.k8s.io", .carrier = STREAM_SPDY, .version = 1},
    {.name = "", .carrier = STREAM_SPDY, .version = 1},
};
#define VERSION_WITH_RESIZE 3

enum { IN, OUT, ERR, ERROR, RESIZE, STREAMS };
static const struct stream_channel channels[STREAMS] = {
    [IN] = {"stdin"}, [OUT] = {"stdout"}, [ERR] = {"stderr"}, [ERROR] = {"error"}, [RESIZE] = {"resize"},
};

struct exchange {
    struct server *server;
    struct http_request *http;
    struct arena *arena;
    struct route route;
    struct server_exec_request request;
    bool attach;

    /* Core thread. */
    struct server_exec *exec; /* NULL: not yet, or over */
    bool finding;             /* the pod is being asked for */
    bool canceled;

    /* I/O thread. */
    const struct stream_protocol *protocol;
    struct stream_session *session;
    struct stream *streams[STREAMS];
    struct pump *pumps[3];
    struct terminal_size_reader sizes;
    uv_timer_t timer; /* for the client to open its streams */
    size_t closing;   /* handles */
    struct server_exec_streams ends;
    bool begun;    /* the upgrade has been tried */
    bool has_ends; /* of the process, not given to pumps yet */
    bool pumping;
    bool process_over, io_over, sent_end, core_over;
    size_t outputs; /* pumps that still read */
    int exit_code;
    struct error err;
};

static void end_core(void *context);

/* ---- I/O thread ---- */

static void free_when_quiet(struct exchange *x)
{
    if (!x->core_over || x->closing)
        return;
    request_metrics_count(x->server->metrics, &x->route, VERB_OTHER, x->begun ? 101 : 500,
                          env_monotonic(x->server->options.env) - x->http->received);
    http_request_release(x->http);
    arena_free(x->arena);
    free(x);
}

static void core_is_over(void *context)
{
    struct exchange *x = context;
    x->core_over = true;
    free_when_quiet(x);
}

static void handle_closed(void *context)
{
    struct exchange *x = context;
    x->closing--;
    free_when_quiet(x);
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void close_pump(struct exchange *x, size_t i)
{
    if (!x->pumps[i])
        return;
    x->closing++;
    pump_close(steal_pointer(x->pumps[i]), handle_closed, x);
}

static void close_ends(struct exchange *x)
{
    int *fds[] = {&x->ends.in, &x->ends.out, &x->ends.err};
    for (size_t i = 0; x->has_ends && i < ARRAY_COUNT(fds); i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
    x->has_ends = false;
}

/* Nothing more goes to the client or comes from it. */
static void end_io(struct exchange *x)
{
    if (x->io_over)
        return;
    x->io_over = true;
    x->session = NULL;
    http_request_on_cancel(x->http, NULL, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(x->pumps); i++)
        close_pump(x, i);
    close_ends(x);
    if (x->begun) {
        x->closing++;
        uv_close((uv_handle_t *)&x->timer, timer_closed);
    }
    mailbox_send(x->server->core, end_core, x);
}

static void refuse(struct exchange *x, struct status *status)
{
    if (!x->io_over)
        answer_status(x->http, status);
    end_io(x);
}

static void write_error(struct exchange *x)
{
    const struct exec_end end = {.version = x->protocol->version,
                                 .attach = x->attach,
                                 .exit_code = x->exit_code,
                                 .problem = x->err.code ? x->err.text : NULL};
    cleanup_buffer struct buffer text = {0};
    exec_end_write(x->arena, &end, &text);
    if (text.size && x->streams[ERROR])
        stream_write(x->streams[ERROR], text.data, text.size);
}

static bool wanted(const struct exchange *x, size_t stream)
{
    const struct server_exec_request *r = &x->request;
    const bool all[STREAMS] = {r->in, r->out, r->err, true, r->tty && x->protocol->version >= VERSION_WITH_RESIZE};
    return all[stream];
}

/* The client has opened its streams. */
static bool all_open(const struct exchange *x)
{
    for (size_t i = 0; i < STREAMS; i++)
        if (wanted(x, i) && !x->streams[i])
            return false;
    return true;
}

/* All that the process has written is sent, and it has ended. */
static void finish_if_over(struct exchange *x)
{
    if (!x->process_over || x->outputs || x->io_over || !x->session || !all_open(x) || (x->has_ends && !x->pumping))
        return;
    write_error(x);
    for (size_t i = OUT; i <= ERROR; i++)
        if (x->streams[i])
            stream_end(x->streams[i]);
    stream_session_close(steal_pointer(x->session));
    end_io(x);
}

static void output_ended(void *context)
{
    struct exchange *x = context;
    x->outputs--;
    x->process_over |= x->ends.packets; /* that of an attached process is the end of its socket */
    finish_if_over(x);
}

/* ---- Streams ---- */

/* Input goes to the first pump: a pipe, a terminal or a socket. */
static void input_data(void *context, const char *data, size_t size)
{
    struct exchange *x = context;
    if (x->pumps[0])
        pump_write(x->pumps[0], x->streams[IN], data, size);
}

static void input_ended(void *context)
{
    struct exchange *x = context;
    if (x->pumps[0])
        pump_write_end(x->pumps[0]);
}

static void input_over(void *context)
{
    struct exchange *x = context;
    if (!x->request.tty && !x->ends.packets)
        close_pump(x, 0);
}

struct resize {
    struct exchange *exchange;
    uint16_t columns, rows;
};

/* Core thread. */
static void resize(void *context)
{
    struct resize *r = context;
    if (r->exchange->exec)
        r->exchange->exec->resize(r->exchange->exec, r->columns, r->rows);
    free(r);
}

static void resize_data(void *context, const char *data, size_t size)
{
    struct exchange *x = context;
    uint16_t columns, rows;
    while (terminal_size_read(&x->sizes, &data, &size, &columns, &rows)) {
        struct resize *r = mem_zero(1, sizeof(*r));
        *r = (struct resize){x, columns, rows};
        mailbox_send(x->server->core, resize, r);
    }
}

static void output_writable(void *context)
{
    struct exchange *x = context;
    for (size_t i = 0; i < ARRAY_COUNT(x->pumps) && !x->io_over; i++)
        if (x->pumps[i])
            pump_writable(x->pumps[i]);
}

static void ignore_data(void *context, const char *data, size_t size)
{
    (void)context, (void)data, (void)size;
}

static void ignore(void *context)
{
    (void)context;
}

static void client_gone(void *context)
{
    struct exchange *x = context;
    x->session = NULL;
    end_io(x);
}

/* A stream that the client breaks off ends the exchange: upstream's clients do not do that. */
static void stream_reset(void *context)
{
    struct exchange *x = context;
    if (x->session)
        stream_session_close(steal_pointer(x->session));
    end_io(x);
}

static const struct stream_events input_events = {
    .data = input_data, .ended = input_ended, .writable = ignore, .reset = stream_reset};
static const struct stream_events resize_events = {
    .data = resize_data, .ended = ignore, .writable = ignore, .reset = stream_reset};
static const struct stream_events output_events = {
    .data = ignore_data, .ended = ignore, .writable = output_writable, .reset = stream_reset};

static struct pump *add_pump(struct exchange *x, size_t i, int fd, enum pump_form form, bool reads)
{
    static const struct pump_events events = {.read_ended = output_ended, .write_ended = input_over};
    if (fd < 0)
        return NULL;
    x->pumps[i] = pump_new(http_request_loop(x->http), fd, form, &events, x);
    x->outputs += reads;
    return x->pumps[i];
}

/* The process is there, and so are all streams of the client. */
static void start_pumps(struct exchange *x)
{
    if (x->pumping || !x->has_ends || !x->session || x->io_over || !all_open(x))
        return;
    uv_timer_stop(&x->timer);
    x->pumping = true;
    x->has_ends = false;
    bool both = x->request.tty || x->ends.packets;
    add_pump(x, 0, x->ends.in, x->ends.packets ? PUMP_PACKETS : PUMP_BYTES, both);
    add_pump(x, 1, x->ends.out, PUMP_BYTES, true);
    add_pump(x, 2, x->ends.err, PUMP_BYTES, true);
    if (x->protocol->carrier == STREAM_CHANNELS) /* upstream's sign that the connection stands */
        stream_write(x->streams[x->request.out ? OUT : x->request.err ? ERR : ERROR], "", 0);
    if (both)
        pump_read(x->pumps[0], x->streams[OUT], x->streams[ERR]);
    for (size_t i = 1; i < ARRAY_COUNT(x->pumps); i++)
        if (x->pumps[i])
            pump_read(x->pumps[i], x->streams[i == 1 ? OUT : ERR], NULL);
    if (x->streams[IN])
        stream_hold(x->streams[IN], false);
    for (size_t i = 0; x->process_over && i < ARRAY_COUNT(x->pumps) && !x->io_over; i++)
        if (x->pumps[i] && (i || both))
            pump_drain(x->pumps[i]);
    finish_if_over(x);
}

static void opened(void *context, struct stream_session *session, struct stream *stream)
{
    struct exchange *x = context;
    x->session = session;
    size_t i = 0;
    while (i < STREAMS && strcmp(channels[i].type, stream_type(stream)) != 0)
        i++;
    if (i == STREAMS || x->streams[i] || !wanted(x, i)) {
        if (x->protocol->carrier == STREAM_CHANNELS)
            stream_accept(stream, &(struct stream_events){ignore_data, ignore, ignore, ignore}, x);
        else
            stream_close(stream);
        return;
    }
    x->streams[i] = stream;
    stream_accept(stream, i == IN ? &input_events : i == RESIZE ? &resize_events : &output_events, x);
    if (i == IN)
        stream_hold(stream, true);
    start_pumps(x);
    finish_if_over(x);
}

static void streams_late(uv_timer_t *timer)
{
    struct exchange *x = timer->data;
    if (x->session)
        stream_session_close(steal_pointer(x->session));
    end_io(x);
}

/* Upgrades the connection. */
static void begin(struct exchange *x)
{
    static const struct stream_session_events events = {.opened = opened, .closed = client_gone};
    if (x->begun || x->io_over)
        return;
    x->begun = true;
    http_request_on_cancel(x->http, NULL, NULL);
    uv_timer_init(http_request_loop(x->http), &x->timer);
    x->timer.data = x;
    uv_timer_start(&x->timer, streams_late, STREAMS_TIMEOUT, 0);
    struct stream_session *session =
        stream_session_open(x->http, x->protocol, channels, ARRAY_COUNT(channels), &events, x);
    if (!session)
        end_io(x);
    else if (!x->io_over)
        x->session = session;
}

static void cancelled(void *context)
{
    end_io(context);
}

/* ---- From the core thread ---- */

struct news {
    struct exchange *exchange;
    struct server_exec_streams streams;
    struct status *refused; /* in the exchange's arena */
    int exit_code;
    struct error err;
};

static void on_streams(void *context)
{
    struct news *n = context;
    struct exchange *x = n->exchange;
    x->ends = n->streams;
    x->has_ends = true;
    if (x->io_over) {
        close_ends(x);
    } else {
        begin(x);
        start_pumps(x);
    }
    free(n);
}

static void on_ended(void *context)
{
    struct news *n = context;
    struct exchange *x = n->exchange;
    x->process_over = true;
    x->exit_code = n->exit_code;
    x->err = n->err;
    if (!x->io_over) {
        begin(x);
        bool both = x->request.tty || x->ends.packets;
        for (size_t i = 0; x->pumping && i < ARRAY_COUNT(x->pumps) && !x->io_over; i++)
            if (x->pumps[i] && (i || both))
                pump_drain(x->pumps[i]);
        finish_if_over(x);
    }
    free(n);
}

static void on_refused(void *context)
{
    struct news *n = context;
    refuse(n->exchange, n->refused);
    free(n);
}

static void on_not_found(void *context)
{
    struct news *n = context;
    struct exchange *x = n->exchange;
    if (!x->io_over)
        http_respond_text(x->http, 500, "text/plain; charset=utf-8", n->err.text);
    end_io(x);
    free(n);
}

/* ---- Core thread ---- */

static struct news *news_new(struct exchange *x)
{
    struct news *n = mem_zero(1, sizeof(*n));
    n->exchange = x;
    return n;
}

static void send_news(struct exchange *x, env_callback deliver, struct news *n)
{
    mailbox_send(http_request_mailbox(x->http), deliver, n);
}

static void core_end_if_over(struct exchange *x)
{
    if (x->canceled && !x->exec && !x->finding)
        mailbox_send(http_request_mailbox(x->http), core_is_over, x);
}

static void end_core(void *context)
{
    struct exchange *x = context;
    x->canceled = true;
    if (x->exec)
        x->exec->cancel(x->exec);
    core_end_if_over(x);
}

static void exec_streams(void *context, const struct server_exec_streams *streams)
{
    struct exchange *x = context;
    struct news *n = news_new(x);
    n->streams = *streams;
    send_news(x, on_streams, n);
}

static void exec_ended(void *context, int exit_code, const struct error *err)
{
    struct exchange *x = context;
    struct news *n = news_new(x);
    x->exec = NULL;
    n->exit_code = exit_code;
    if (err)
        n->err = *err;
    send_news(x, on_ended, n);
    core_end_if_over(x);
}

static struct status *start_exec(struct exchange *x, const struct pod *pod)
{
    static const struct server_exec_events events = {.streams = exec_streams, .ended = exec_ended};
    const struct server_node_access *node = &x->server->options.node;
    struct status *status = pod_container_choose(x->arena, pod, &x->request.container);
    if (status)
        return status;
    if (!pod->spec.node_name || !*pod->spec.node_name)
        return api_status_bad_request(x->arena, "pod %s does not have a host assigned", x->request.pod);
    struct news *n = news_new(x);
    x->exec = node->exec ? node->exec(node->context, &x->request, &events, x, &n->err) : NULL;
    if (x->exec)
        free(n);
    else
        send_news(x, on_not_found, n);
    return NULL;
}

static void got_pod(void *context, const struct client_result *result)
{
    struct exchange *x = context;
    x->finding = false;
    if (!x->canceled) {
        struct news *n = news_new(x);
        n->refused = client_ok(result) ? start_exec(x, result->object->value)
                                       : api_status_not_found(x->arena, &api_resources[API_PODS], x->request.pod);
        if (n->refused)
            send_news(x, on_refused, n);
        else
            free(n);
    }
    core_end_if_over(x);
}

static void start(void *context)
{
    struct exchange *x = context;
    x->finding = true;
    client_get(x->server->client, &api_resources[API_PODS], x->request.namespace, x->request.pod, got_pod, x);
}

/* ---- The way in ---- */

static void read_parameters(struct exchange *x)
{
    const struct http_request *http = x->http;
    struct server_exec_request *r = &x->request;
    const char *container = http_request_parameter(http, "container");
    const char **command = arena_alloc(x->arena, (http->parameter_count + 1) * sizeof(*command));
    for (size_t i = 0; i < http->parameter_count; i++)
        if (strcmp(http->parameters[i].name, "command") == 0)
            command[r->command_count++] = http->parameters[i].value;
    r->namespace = x->route.namespace;
    r->pod = x->route.name;
    r->container = container && *container ? container : NULL;
    r->command = x->attach ? NULL : command;
    r->in = parameter_flag(http, "stdin");
    r->out = parameter_flag(http, "stdout");
    r->tty = parameter_flag(http, "tty");
    r->err = parameter_flag(http, "stderr") && !r->tty;
}

static struct status *check(struct exchange *x)
{
    const struct server_exec_request *r = &x->request;
    if (x->http->method != HTTP_GET && x->http->method != HTTP_POST)
        return api_status_method_not_allowed(x->arena);
    if (!http_request_wants_upgrade(x->http))
        return api_status_bad_request(x->arena, "Upgrade request required");
    if (!r->in && !r->out && !r->err)
        return api_status_bad_request(x->arena, "you must specify at least 1 of stdin, stdout, stderr");
    if (!x->attach && !r->command_count)
        return api_status_bad_request(x->arena, "you must specify at least one command for the container");
    return NULL;
}

void exec_handle(struct rest_request *request)
{
    struct exchange *x = mem_zero(1, sizeof(*x));
    x->server = request->server;
    x->http = request->http;
    x->arena = request->arena;
    x->route = request->route;
    x->attach = strcmp(x->route.subresource, "attach") == 0;
    x->ends = (struct server_exec_streams){-1, -1, -1, false};
    read_parameters(x);
    struct status *status = check(x);
    if (status)
        answer_status(x->http, status);
    else
        x->protocol = stream_protocol_choose(x->http, protocols, ARRAY_COUNT(protocols));
    if (!x->protocol) {
        arena_free(x->arena);
        free(x);
        return;
    }
    http_request_retain(x->http);
    mailbox_send(x->server->core, start, x);
    http_request_on_cancel(x->http, cancelled, x);
}
