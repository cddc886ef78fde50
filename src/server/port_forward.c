/* pods/portforward: connections to ports of a pod. Each is two streams of the session, with one request id: one for the
 * bytes of both ways, one for what goes wrong. Older WebSocket clients name their ports in the request and get two
 * channels for each.
 *
 *     core   the pod is asked for
 *     I/O    the connection is upgraded; when both streams of a connection are there, the node is asked for it
 *     core   the node connects
 *     I/O    a pump moves bytes between stream and socket
 *
 * Every message to the core thread is answered by one; a forwarder is released when none is on its way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "server/private.h"
#include "server/stream/pump.h"
#include "server/stream/session.h"

/* Ports of a request of the older form. */
#define PORTS_MAX 64

static const struct stream_protocol protocols[] = {
    {.name = "SPDY/3.1+portforward.k8s.io", .carrier = STREAM_SPDY_IN_WEBSOCKET},
    {.name = "v4.channel.k8s.io", .carrier = STREAM_CHANNELS},
    {.name = "v4.base64.channel.k8s.io", .carrier = STREAM_CHANNELS, .base64 = true},
    {.name = "portforward.k8s.io", .carrier = STREAM_SPDY},
    {.name = "", .carrier = STREAM_SPDY},
};

struct forwarder {
    struct server *server;
    struct http_request *http;
    struct arena *arena;
    struct route route;
    const struct stream_protocol *protocol;
    uint16_t ports[PORTS_MAX]; /* of the older form */
    size_t port_count;
    const char *uid; /* of the pod */
    struct stream_session *session;
    struct list connections;
    size_t pending; /* messages to the core thread that are not answered */
    size_t closing; /* pumps */
    bool over;
    int code;
};

struct connection {
    struct list node;
    struct forwarder *forwarder;
    char *id;
    struct stream *data, *error;
    struct pump *pump;
    uint16_t port;
    bool asked;    /* the node; it is released with the answer, if it is over */
    bool answered; /* the pod sends no more */
    bool sent;     /* the pod takes no more */
    bool over;
    /* The answer. */
    int fd;
    struct error err;
};

/* ---- I/O thread ---- */

static void free_when_quiet(struct forwarder *f)
{
    if (!f->over || f->pending || f->closing)
        return;
    request_metrics_count(f->server->metrics, &f->route, VERB_OTHER, f->code,
                          env_monotonic(f->server->options.env) - f->http->received);
    http_request_release(f->http);
    arena_free(f->arena);
    free(f);
}

static void pump_closed(void *context)
{
    struct forwarder *f = context;
    f->closing--;
    free_when_quiet(f);
}

/* Its streams have been closed, or are gone. */
static void connection_over(struct connection *c)
{
    struct forwarder *f = c->forwarder;
    if (c->over)
        return;
    c->over = true;
    c->data = c->error = NULL;
    list_remove(&c->node);
    if (c->pump) {
        f->closing++;
        pump_close(steal_pointer(c->pump), pump_closed, f);
    }
    if (c->asked)
        return;
    free(c->id);
    free(c);
}

/* Ends the streams in order, and the connection. */
static void finish(struct connection *c)
{
    struct stream *streams[] = {c->data, c->error};
    for (size_t i = 0; i < ARRAY_COUNT(streams); i++) {
        if (!streams[i])
            continue;
        stream_end(streams[i]);
        stream_close(streams[i]);
    }
    connection_over(c);
}

static void end(struct forwarder *f)
{
    if (f->over)
        return;
    f->over = true;
    f->session = NULL;
    http_request_on_cancel(f->http, NULL, NULL);
    while (!list_empty(&f->connections))
        connection_over(list_entry(list_take(&f->connections), struct connection, node));
    free_when_quiet(f);
}

static void fail_connection(struct connection *c, const char *reason)
{
    cleanup_free char *text = mem_printf("error forwarding port %d to pod %s, uid %s: %s", c->port,
                                         c->forwarder->route.name, c->forwarder->uid, reason);
    stream_write(c->error, text, strlen(text));
    finish(c);
}

/* ---- Streams ---- */

static void on_data(void *context, const char *data, size_t size)
{
    struct connection *c = context;
    if (c->pump)
        pump_write(c->pump, c->data, data, size);
}

static void on_ended(void *context)
{
    struct connection *c = context;
    if (c->pump)
        pump_write_end(c->pump);
}

static void on_writable(void *context)
{
    struct connection *c = context;
    if (c->pump)
        pump_writable(c->pump);
}

/* The client has broken off the stream of data. */
static void on_reset(void *context)
{
    struct connection *c = context;
    c->data = NULL;
    finish(c);
}

static void on_error_reset(void *context)
{
    struct connection *c = context;
    c->error = NULL;
    finish(c);
}

static void ignore_data(void *context, const char *data, size_t size)
{
    (void)context, (void)data, (void)size;
}

static void ignore(void *context)
{
    (void)context;
}

/* The pod sends no more. That ends the stream of errors, which is what kubectl waits for before it closes its side;
 * what it still sends goes to the pod. Channels have no end. */
static void read_ended(void *context)
{
    struct connection *c = context;
    c->answered = true;
    stream_end(c->data);
    if (c->error) {
        stream_end(c->error);
        stream_close(steal_pointer(c->error));
    }
    if (c->sent || c->forwarder->protocol->carrier == STREAM_CHANNELS)
        finish(c);
}

/* The pod takes no more: the client has ended, or nobody listens any longer. */
static void write_ended(void *context)
{
    struct connection *c = context;
    c->sent = true;
    if (c->answered)
        finish(c);
}

static const struct stream_events data_events = {
    .data = on_data, .ended = on_ended, .writable = on_writable, .reset = on_reset};
static const struct stream_events error_events = {
    .data = ignore_data, .ended = ignore, .writable = ignore, .reset = on_error_reset};
static const struct pump_events pump_events = {.read_ended = read_ended, .write_ended = write_ended};

/* The node has answered. */
static void connected(void *context)
{
    struct connection *c = context;
    struct forwarder *f = c->forwarder;
    c->asked = false;
    f->pending--;
    if (c->over) {
        if (c->fd >= 0)
            close(c->fd);
        free(c->id);
        free(c);
        free_when_quiet(f);
        return;
    }
    if (c->fd < 0) {
        fail_connection(c, c->err.text);
        return;
    }
    c->pump = pump_new(http_request_loop(f->http), c->fd, PUMP_SOCKET, &pump_events, c);
    pump_read(c->pump, c->data, NULL);
    stream_hold(c->data, false);
}

/* ---- Core thread ---- */

static void node_connected(void *context, int fd, const struct error *err)
{
    struct connection *c = context;
    c->fd = fd;
    if (err)
        c->err = *err;
    mailbox_send(http_request_mailbox(c->forwarder->http), connected, c);
}

static void ask_node(void *context)
{
    struct connection *c = context;
    const struct forwarder *f = c->forwarder;
    const struct server_node_access *node = &f->server->options.node;
    struct error err = {0};
    if (node->connect) {
        node->connect(node->context, f->route.namespace, f->route.name, c->port, node_connected, c);
        return;
    }
    error_set(&err, ENOTSUP, "there is no node");
    node_connected(c, -1, &err);
}

/* ---- I/O thread: new streams ---- */

static struct connection *find(struct forwarder *f, const char *id)
{
    struct connection *c;
    list_for_each(&f->connections, c, node)
    {
        if (strcmp(c->id, id) == 0)
            return c;
    }
    c = mem_zero(1, sizeof(*c));
    c->forwarder = f;
    c->id = mem_string(id);
    c->fd = -1;
    list_append(&f->connections, &c->node);
    return c;
}

static uint16_t parse_port(const char *text)
{
    char *rest;
    unsigned long value = *text >= '0' && *text <= '9' ? strtoul(text, &rest, 10) : 0;
    return value && value <= UINT16_MAX && !*rest ? (uint16_t)value : 0;
}

static void opened(void *context, struct stream_session *session, struct stream *stream)
{
    struct forwarder *f = context;
    bool is_error = strcmp(stream_type(stream), "error") == 0, is_data = strcmp(stream_type(stream), "data") == 0;
    uint16_t port = parse_port(stream_port(stream));
    f->session = session;
    struct connection *c = (is_error || is_data) && port ? find(f, stream_request_id(stream)) : NULL;
    if (!c || (is_error ? c->error : c->data) || (c->port && c->port != port)) {
        stream_close(stream);
        return;
    }
    c->port = port;
    if (is_error)
        c->error = stream;
    else
        c->data = stream;
    stream_accept(stream, is_error ? &error_events : &data_events, c);
    if (is_data)
        stream_hold(stream, true);
    if (f->protocol->carrier == STREAM_CHANNELS) {
        char number[] = {(char)port, (char)(port >> 8)}; /* upstream's first message on each channel */
        stream_write(stream, number, sizeof(number));
    }
    if (!c->error || !c->data)
        return;
    c->asked = true;
    f->pending++;
    mailbox_send(f->server->core, ask_node, c);
}

static void closed(void *context)
{
    end(context);
}

static void begin(struct forwarder *f)
{
    static const struct stream_session_events events = {.opened = opened, .closed = closed};
    struct stream_channel channels[2 * PORTS_MAX];
    for (size_t i = 0; i < f->port_count; i++) {
        const char *port = arena_printf(f->arena, "%d", f->ports[i]), *id = arena_printf(f->arena, "%zu", i);
        channels[2 * i] = (struct stream_channel){"data", port, id};
        channels[2 * i + 1] = (struct stream_channel){"error", port, id};
    }
    http_request_on_cancel(f->http, NULL, NULL);
    f->code = 101;
    struct stream_session *session = stream_session_open(f->http, f->protocol, channels, 2 * f->port_count, &events, f);
    if (!session)
        end(f);
    else
        f->session = session;
}

static void cancelled(void *context)
{
    end(context);
}

/* ---- The pod ---- */

struct finding {
    struct forwarder *forwarder;
    struct status *refused; /* in the forwarder's arena */
};

static void found(void *context)
{
    struct finding *finding = context;
    struct forwarder *f = finding->forwarder;
    f->pending--;
    if (f->over) {
        free_when_quiet(f);
    } else if (finding->refused) {
        f->code = finding->refused->code;
        answer_status(f->http, finding->refused);
        end(f);
    } else {
        begin(f);
    }
    free(finding);
}

static void got_pod(void *context, const struct client_result *result)
{
    struct finding *finding = context;
    struct forwarder *f = finding->forwarder;
    if (!client_ok(result)) {
        finding->refused = api_status_not_found(f->arena, &api_resources[API_PODS], f->route.name);
    } else {
        const struct pod *pod = result->object->value;
        f->uid = arena_string(f->arena, pod->metadata.uid);
        if (!pod->spec.node_name || !*pod->spec.node_name)
            finding->refused = api_status_bad_request(f->arena, "pod %s does not have a host assigned", f->route.name);
    }
    mailbox_send(http_request_mailbox(f->http), found, finding);
}

static void start(void *context)
{
    struct finding *finding = context;
    const struct forwarder *f = finding->forwarder;
    client_get(f->server->client, &api_resources[API_PODS], f->route.namespace, f->route.name, got_pod, finding);
}

/* ---- The way in ---- */

/* Ports of the older form, in as many parameters and with as many commas as there are. */
static struct status *read_ports(struct forwarder *f)
{
    const struct http_request *http = f->http;
    for (size_t i = 0; i < http->parameter_count; i++) {
        if (strcmp(http->parameters[i].name, "ports") != 0)
            continue;
        char *rest = arena_string(f->arena, http->parameters[i].value), *part;
        while ((part = strsep(&rest, ","))) {
            uint16_t port = parse_port(part);
            if (!port)
                return api_status_bad_request(f->arena, "unable to parse \"%s\" as a port", part);
            if (f->port_count == PORTS_MAX)
                return api_status_bad_request(f->arena, "too many ports: at most %d", PORTS_MAX);
            f->ports[f->port_count++] = port;
        }
    }
    return f->port_count ? NULL : api_status_bad_request(f->arena, "query parameter \"port\" is required");
}

static struct status *check(struct forwarder *f)
{
    if (f->http->method != HTTP_GET && f->http->method != HTTP_POST)
        return api_status_method_not_allowed(f->arena);
    if (!http_request_wants_upgrade(f->http))
        return api_status_bad_request(f->arena, "Upgrade request required");
    return NULL;
}

void port_forward_handle(struct rest_request *request)
{
    struct forwarder *f = mem_zero(1, sizeof(*f));
    f->server = request->server;
    f->http = request->http;
    f->arena = request->arena;
    f->route = request->route;
    f->uid = "";
    list_init(&f->connections);
    struct status *status = check(f);
    if (!status)
        f->protocol = stream_protocol_choose(f->http, protocols, ARRAY_COUNT(protocols));
    if (f->protocol && f->protocol->carrier == STREAM_CHANNELS)
        status = read_ports(f);
    if (status)
        answer_status(f->http, status);
    if (status || !f->protocol) {
        arena_free(f->arena);
        free(f);
        return;
    }
    struct finding *finding = mem_zero(1, sizeof(*finding));
    finding->forwarder = f;
    http_request_retain(f->http);
    f->pending++;
    mailbox_send(f->server->core, start, finding);
    http_request_on_cancel(f->http, cancelled, f);
}
