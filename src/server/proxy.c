/* pods/proxy, services/proxy and nodes/proxy: a request that goes on over HTTP/1.1, plain or with TLS, and the answer
 * that comes back, both in whatever length. A request that asks for an upgrade, and gets it, becomes a tunnel from end
 * to end.
 *
 *     core   the pod, or the service and its endpoints, are asked for: where it goes
 *     I/O    connect, write the request, read the answer
 *
 * Back-pressure: the backend is read while the client has room, and the client, a long body or a tunnel, while the
 * backend has. */
#include <stdlib.h>
#include <string.h>

#include "api/node_status.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "server/http/tunnel.h"
#include "server/node_proxy.h"
#include "server/private.h"
#include "server/proxy_backend.h"
#include "server/proxy_headers.h"
#include "server/proxy_page.h"
#include "server/proxy_response.h"
#include "server/proxy_target.h"

/* Bytes that may wait for the client before the backend is not read, and for the backend before the client is not. */
#define QUEUE_MAX (256 * 1024)
/* Addresses of a service that may be none of their pods' before it is said to have no endpoints. */
#define ATTEMPTS_MAX 64

struct proxy {
    struct server *server;
    struct http_request *http;
    struct arena *arena;
    struct route route;
    struct proxy_name name;
    const char *path;   /* behind /proxy */
    size_t prefix_size; /* of the raw path, with /proxy */
    struct status *refused;

    /* Core thread, while a backend is looked for. */
    struct object *service, *endpoints;
    uint64_t random;
    size_t attempt; /* of the addresses, how many are not their pods' */

    struct proxy_target target;
    struct node_answer answer; /* of a node's agent; status 0: it goes to the target */

    /* I/O thread. */
    struct proxy_backend *backend; /* NULL: not yet, or not any more */
    bool answered, over, finding, closing, upgrade, connected;
    bool chunked; /* the body goes on in chunks */
    struct proxy_response response;
    struct proxy_page *page; /* NULL: the body passes as it is */
    struct http_tunnel *tunnel;
};

/* ---- Life, on the I/O thread ---- */

static void free_when_quiet(struct proxy *p)
{
    if (!p->over || p->finding || p->closing)
        return;
    request_metrics_count(p->server->metrics, &p->route, VERB_OTHER, p->response.status ? p->response.status : 503,
                          env_monotonic(p->server->options.env) - p->http->received);
    proxy_response_free(&p->response);
    proxy_page_free(p->page);
    buffer_free(&p->answer.body);
    http_request_release(p->http);
    arena_free(p->arena);
    free(p);
}

static void backend_closed(void *context)
{
    struct proxy *p = context;
    p->closing = false;
    free_when_quiet(p);
}

static void end(struct proxy *p)
{
    if (p->over)
        return;
    p->over = true;
    http_request_on_cancel(p->http, NULL, NULL);
    http_body_begin(p->http, NULL, NULL);
    p->closing = p->backend;
    if (p->backend)
        proxy_backend_free(steal_pointer(p->backend), backend_closed);
    else
        free_when_quiet(p);
}

static void cancelled(void *context)
{
    end(context);
}

/* Upstream has no class for what goes wrong with upgrades. */
static void refuse_upgrade(struct proxy *p, const char *why)
{
    answer_status(p->http, api_status(p->arena, 500, "", "%s", why));
}

static void unreachable(struct proxy *p, const char *why)
{
    if (p->tunnel)
        http_tunnel_close(p->tunnel);
    else if (p->answered)
        http_stream_abort(p->http);
    else if (p->upgrade)
        refuse_upgrade(p, p->connected ? why : arena_printf(p->arena, "error dialing backend: %s", why));
    else
        answer_status(p->http, api_status_service_unavailable(
                                   p->arena, arena_printf(p->arena, "error trying to reach service: %s", why)));
    end(p);
}

/* ---- The request ---- */

static void write_headers(struct proxy *p, struct buffer *out)
{
    const struct http_request *http = p->http;
    const char *forwarded = http_request_header(http, "x-forwarded-for");
    buffer_printf(out, "%s %s%s%s%s HTTP/1.1\r\nHost: %s\r\n", http->method_name, *p->path == '/' ? "" : "/", p->path,
                  *http->query ? "?" : "", http->query, *http->host ? http->host : p->target.address);
    for (size_t i = 0; i < http->header_count; i++)
        if (proxy_header_goes_in(http->headers, http->header_count, http->headers[i].name))
            buffer_printf(out, "%s: %s\r\n", http->headers[i].name, http->headers[i].value);
    buffer_printf(out, "X-Forwarded-For: %s%s%s\r\nX-Forwarded-Uri: %s\r\n", forwarded ? forwarded : "",
                  forwarded ? ", " : "", http->peer->address, http->raw_path);
    if (p->upgrade)
        buffer_printf(out, "Connection: Upgrade\r\nUpgrade: %s\r\n", http_request_header(http, "upgrade"));
    else
        buffer_add_string(out, "Connection: close\r\n");
}

static void write_request(struct proxy *p)
{
    const struct http_request *http = p->http;
    cleanup_buffer struct buffer out = {0};
    const char *length = http->streamed ? http_request_header(http, "content-length") : NULL;
    bool body = http->body_size || http->method == HTTP_POST || http->method == HTTP_PUT || http->method == HTTP_PATCH;
    write_headers(p, &out);
    p->chunked = http->streamed && !length;
    if (p->chunked)
        buffer_add_string(&out, "Transfer-Encoding: chunked\r\n");
    else if (length)
        buffer_printf(&out, "Content-Length: %s\r\n", length);
    else if (body && !p->upgrade)
        buffer_printf(&out, "Content-Length: %zu\r\n", http->body_size);
    buffer_add_string(&out, "\r\n");
    buffer_add(&out, http->body, http->body_size);
    proxy_backend_write(p->backend, out.data, out.size);
}

/* A piece of a long body. */
static void body_data(void *context, const char *data, size_t size)
{
    struct proxy *p = context;
    char line[24];
    if (p->chunked)
        proxy_backend_write(p->backend, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", size));
    if (size)
        proxy_backend_write(p->backend, data, size);
    if (p->chunked)
        proxy_backend_write(p->backend, "\r\n", 2);
    if (size && proxy_backend_queued(p->backend) > QUEUE_MAX)
        http_body_pause(p->http, true);
}

/* ---- A tunnel ---- */

static void tunnel_data(void *context, const char *data, size_t size)
{
    struct proxy *p = context;
    proxy_backend_write(p->backend, data, size);
    if (proxy_backend_queued(p->backend) > QUEUE_MAX)
        http_tunnel_pause(p->tunnel, true);
}

static void tunnel_drained(void *context)
{
    struct proxy *p = context;
    if (http_tunnel_queued(p->tunnel) < QUEUE_MAX / 2)
        proxy_backend_pause(p->backend, false);
}

static void tunnel_closed(void *context)
{
    struct proxy *p = context;
    p->tunnel = NULL;
    end(p);
}

static void to_tunnel(struct proxy *p, const char *data, size_t size)
{
    http_tunnel_write(p->tunnel, data, size);
    if (http_tunnel_queued(p->tunnel) > QUEUE_MAX)
        proxy_backend_pause(p->backend, true);
}

/* ---- The answer ---- */

static struct proxy_links links_of(struct proxy *p)
{
    const char *format = p->target.no_port ? "%s" : strchr(p->target.address, ':') ? "[%s]:%d" : "%s:%d";
    return (struct proxy_links){.prefix = p->http->raw_path,
                                .prefix_size = p->prefix_size,
                                .backend = arena_printf(p->arena, format, p->target.address, p->target.port),
                                .host = p->http->host};
}

static void copy_headers(struct proxy *p, const struct proxy_links *links)
{
    const struct http_field *fields = p->response.fields.items;
    for (size_t i = 0; i < p->response.fields.count; i++) {
        cleanup_buffer struct buffer location = {0};
        const char *name = fields[i].name, *value = fields[i].value;
        bool upgrade = text_equal(name, "upgrade") && p->response.status == 101;
        if (!upgrade && !proxy_header_comes_out(fields, p->response.fields.count, name))
            continue;
        if (!p->upgrade && text_equal(name, "location") &&
            proxy_link_rewrite(links, value, strlen(value), false, &location))
            value = location.data;
        http_response_header(p->http, name, value);
    }
}

/* Why there is no upgrade, or one that nobody has asked for; NULL: all is well, or an answer of its own tells why. */
static const char *upgrade_problem(struct proxy *p)
{
    int status = p->response.status;
    if (p->upgrade && status != 101 && status < 400)
        return arena_printf(p->arena, "invalid upgrade response: status code %d", status);
    if (p->upgrade || status != 101)
        return NULL;
    const char *protocol = "";
    for (size_t i = 0; i < p->response.fields.count; i++)
        if (text_equal(p->response.fields.items[i].name, "upgrade"))
            protocol = p->response.fields.items[i].value;
    return arena_printf(p->arena, "backend tried to switch protocol \"%s\" when \"\" was requested", protocol);
}

/* False when that was the end. */
static bool begin_answer(struct proxy *p)
{
    static const struct http_tunnel_events events = {
        .data = tunnel_data, .drained = tunnel_drained, .closed = tunnel_closed};
    int status = p->response.status;
    struct proxy_links links = links_of(p);
    const char *problem = upgrade_problem(p);
    if (problem) {
        refuse_upgrade(p, problem);
        end(p);
        return false;
    }
    p->answered = true;
    copy_headers(p, &links);
    if (status == 101) {
        p->tunnel = http_tunnel_open(p->http, &events, p);
        if (p->tunnel)
            return true;
        end(p);
    } else if (status == 204 || status == 304) {
        http_respond(p->http, status, NULL, 0);
        end(p);
    } else {
        /* Of a page nobody knows yet how long it will be, also when only its head is asked for. */
        if (!p->upgrade)
            p->page = proxy_page_new(p->response.fields.items, p->response.fields.count, &links);
        if (p->response.has_length && !p->page)
            http_stream_begin_sized(p->http, status, p->response.left);
        else
            http_stream_begin(p->http, status);
        return true;
    }
    return false;
}

static void drained(void *context)
{
    struct proxy *p = context;
    if (p->backend)
        proxy_backend_pause(p->backend, false);
}

/* Takes what is in the buffer. False when that was the end. */
static bool to_client(struct proxy *p, struct buffer *out)
{
    size_t size;
    char *data = buffer_steal(out, &size);
    struct http_bytes run = http_bytes_owned(data, size);
    if (!http_stream_write(p->http, &run, 1)) {
        end(p);
        return false;
    }
    if (http_stream_queued(p->http) > QUEUE_MAX) {
        proxy_backend_pause(p->backend, true);
        http_stream_on_drained(p->http, QUEUE_MAX / 2, drained, p);
    }
    return true;
}

/* A piece of the body. False when that was the end. */
static bool hand_on(struct proxy *p, const char *data, size_t size)
{
    cleanup_buffer struct buffer out = {0};
    if (!p->page) {
        buffer_add(&out, data, size);
    } else if (proxy_page_feed(p->page, data, size, &out) < 0) {
        unreachable(p, "malformed content");
        return false;
    }
    return !out.size || to_client(p, &out);
}

/* The body is over, and with it all of it. */
static void end_answer(struct proxy *p)
{
    cleanup_buffer struct buffer out = {0};
    if (p->page && proxy_page_end(p->page, &out) < 0) {
        unreachable(p, "unexpected EOF");
        return;
    }
    if (out.size && !to_client(p, &out))
        return;
    http_stream_end(p->http);
    end(p);
}

static void backend_data(void *context, const char *data, size_t size)
{
    struct proxy *p = context;
    const char *run;
    size_t run_size;
    for (;;) {
        if (p->tunnel) {
            if (size)
                to_tunnel(p, data, size);
            return;
        }
        switch (proxy_response_next(&p->response, p->http->method == HTTP_HEAD, &data, &size, &run, &run_size)) {
        case PROXY_HEAD:
            if (!begin_answer(p))
                return;
            break;
        case PROXY_BODY:
            if (!hand_on(p, run, run_size))
                return;
            break;
        case PROXY_END:
            end_answer(p);
            return;
        case PROXY_BAD:
            unreachable(p, "malformed HTTP response");
            return;
        case PROXY_MORE:
            return;
        }
    }
}

static void backend_ended(void *context)
{
    struct proxy *p = context;
    const struct proxy_response *r = &p->response;
    if (p->tunnel) {
        http_tunnel_close(steal_pointer(p->tunnel));
        end(p);
    } else if (p->answered && !r->chunked && !r->has_length) {
        end_answer(p);
    } else {
        unreachable(p, p->upgrade ? "unexpected EOF" : "EOF");
    }
}

/* ---- The backend ---- */

static void backend_connected(void *context)
{
    struct proxy *p = context;
    p->connected = true;
    write_request(p);
    http_body_begin(p->http, body_data, p);
}

static void backend_failed(void *context, const char *why)
{
    unreachable(context, why);
}

static void backend_drained(void *context)
{
    struct proxy *p = context;
    if (p->tunnel)
        http_tunnel_pause(p->tunnel, false);
    else
        http_body_pause(p->http, false);
}

static void dial(struct proxy *p)
{
    static const struct proxy_backend_events events = {.connected = backend_connected,
                                                       .failed = backend_failed,
                                                       .data = backend_data,
                                                       .drained = backend_drained,
                                                       .ended = backend_ended};
    p->backend = proxy_backend_new(http_request_loop(p->http), p->target.address, p->target.port,
                                   strcmp(p->name.scheme, "https") == 0, &events, p);
}

/* ---- Where to, on the core thread ---- */

static void found(void *context)
{
    struct proxy *p = context;
    p->finding = false;
    if (p->over) {
        free_when_quiet(p);
    } else if (p->refused) {
        answer_status(p->http, p->refused);
        end(p);
    } else if (p->answer.status) {
        size_t size;
        char *body = buffer_steal(&p->answer.body, &size);
        struct http_bytes run = http_bytes_owned(body, size);
        p->response.status = p->answer.status;
        http_response_header(p->http, "Content-Type", p->answer.content_type);
        http_respond(p->http, p->answer.status, &run, 1);
        end(p);
    } else {
        dial(p);
    }
}

static void answer_finding(struct proxy *p, struct status *refused)
{
    p->refused = refused;
    object_unref(steal_pointer(p->service));
    object_unref(steal_pointer(p->endpoints));
    mailbox_send(http_request_mailbox(p->http), found, p);
}

static void try_backend(struct proxy *p);

/* What is an address of no pod is not reached from here: whoever may write endpoints could otherwise reach whatever the
 * server can. */
static void got_backend(void *context, const struct client_result *result)
{
    struct proxy *p = context;
    if (client_ok(result) && proxy_target_is_pods(&p->target, result->object->value)) {
        answer_finding(p, NULL);
    } else {
        p->attempt = p->attempt < ATTEMPTS_MAX ? p->attempt + 1 : SIZE_MAX;
        try_backend(p);
    }
}

static void try_backend(struct proxy *p)
{
    struct status *refused = proxy_target_service(p->arena, p->service->value, p->endpoints->value, p->route.name,
                                                  &p->name, p->random, p->attempt, &p->target);
    if (refused)
        answer_finding(p, refused);
    else
        client_get(p->server->client, &api_resources[API_PODS], p->route.namespace, p->target.pod, got_backend, p);
}

static void got_endpoints(void *context, const struct client_result *result)
{
    struct proxy *p = context;
    if (!client_ok(result)) {
        answer_finding(p, api_status_not_found(p->arena, &api_resources[API_ENDPOINTS], p->name.name));
        return;
    }
    p->endpoints = object_ref(result->object);
    p->random = (uint64_t)env_monotonic(p->server->options.env);
    try_backend(p);
}

static void got_service(void *context, const struct client_result *result)
{
    struct proxy *p = context;
    if (!client_ok(result)) {
        answer_finding(p, api_status_not_found(p->arena, &api_resources[API_SERVICES], p->name.name));
        return;
    }
    p->service = object_ref(result->object);
    client_get(p->server->client, &api_resources[API_ENDPOINTS], p->route.namespace, p->name.name, got_endpoints, p);
}

static void got_pod(void *context, const struct client_result *result)
{
    struct proxy *p = context;
    answer_finding(p, client_ok(result) ? proxy_target_pod(p->arena, result->object->value, &p->name, &p->target)
                                        : api_status_not_found(p->arena, &api_resources[API_PODS], p->name.name));
}

static void agent_answered(void *context)
{
    answer_finding(context, NULL);
}

static void got_node(void *context, const struct client_result *result)
{
    struct proxy *p = context;
    if (!client_ok(result)) {
        answer_finding(p, api_status_not_found(p->arena, &api_resources[API_NODES], p->name.name));
        return;
    }
    const struct node *node = result->object->value;
    const char *address = node_address(node, "InternalIP");
    if (node_proxy_is_agent(node, p->name.port)) {
        p->answer.done = agent_answered;
        p->answer.context = p;
        node_proxy_answer(p->server->client, &p->server->options.node, p->name.name, p->http->method, p->path,
                          &p->answer);
        return;
    }
    p->target = (struct proxy_target){.address = arena_string(p->arena, address), .port = atoi(p->name.port)};
    bool reachable = p->target.port && proxy_target_is_proxyable(address);
    answer_finding(p, reachable ? NULL : api_status_bad_request(p->arena, "address not allowed"));
}

static void start(void *context)
{
    struct proxy *p = context;
    enum api_resource_index kind = (enum api_resource_index)p->route.resource->index;
    client_get(p->server->client, p->route.resource, p->route.namespace, p->name.name,
               kind == API_PODS    ? got_pod
               : kind == API_NODES ? got_node
                                   : got_service,
               p);
}

/* ---- The way in ---- */

/* A path that ends at the proxy is the folder's: relative links of its pages would lead elsewhere. */
static bool redirect(struct proxy *p)
{
    const struct http_request *http = p->http;
    if (*p->path || p->upgrade || (http->method != HTTP_GET && http->method != HTTP_HEAD))
        return false;
    http_response_header(p->http, "Location",
                         arena_printf(p->arena, "%s/%s%s", http->raw_path, *http->query ? "?" : "", http->query));
    http_respond(p->http, 301, NULL, 0);
    return true;
}

void proxy_handle(struct rest_request *request)
{
    struct proxy *p = mem_zero(1, sizeof(*p));
    p->server = request->server;
    p->http = request->http;
    p->arena = request->arena;
    p->route = request->route;
    p->upgrade = http_request_wants_upgrade(p->http);
    p->path = proxy_path(p->http->raw_path, p->route.resource->namespaced, &p->prefix_size);
    const char *kind = p->route.resource->singular;
    struct status *status = NULL;
    if (!proxy_name_parse(p->arena, p->route.name, &p->name))
        status = api_status_bad_request(p->arena, "invalid %s request \"%s\"", kind, p->route.name);
    if (status)
        answer_status(p->http, status);
    if (status || redirect(p)) {
        arena_free(p->arena);
        free(p);
        return;
    }
    http_request_retain(p->http);
    p->finding = true;
    mailbox_send(p->server->core, start, p);
    http_request_on_cancel(p->http, cancelled, p);
}
