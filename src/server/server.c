/* The front door: who asks, for what, and which file answers. */
#include "server/server.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/field_error.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "server/private.h"

/* How often the certificate is looked at. */
#define RENEWAL_LOOK (24 * HOUR)

/* ---- The way in ---- */

/* What is looked at: who gets an answer at all has found it well. */
static const char *const checks[] = {"ping", "log", "store"};

static bool is_check(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(checks); i++)
        if (strcmp(name, checks[i]) == 0)
            return true;
    return false;
}

/* /livez and its like, and below each the checks by name; another name is a path that leads nowhere. */
static bool is_health(const char *path)
{
    static const char *const paths[] = {"/healthz", "/livez", "/readyz"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        size_t n = strlen(paths[i]);
        if (strncmp(path, paths[i], n) == 0 && (!path[n] || (path[n] == '/' && is_check(path + n + 1))))
            return true;
    }
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What the client wants left out, each once and sorted, as upstream's sets are. */
static size_t read_excluded(const struct http_request *request, const char **out)
{
    size_t count = 0, distinct = 0;
    for (size_t i = 0; i < request->parameter_count; i++)
        if (strcmp(request->parameters[i].name, "exclude") == 0)
            out[count++] = request->parameters[i].value;
    if (count)
        qsort(out, count, sizeof(*out), by_text);
    for (size_t i = 0; i < count; i++)
        if (!distinct || strcmp(out[distinct - 1], out[i]) != 0)
            out[distinct++] = out[i];
    return distinct;
}

static void write_checks(const struct http_request *request, struct buffer *out)
{
    cleanup_free const char **excluded = mem_alloc((request->parameter_count + 1) * sizeof(*excluded));
    size_t count = read_excluded(request, excluded), unknown = 0;
    for (size_t i = 0; i < ARRAY_COUNT(checks); i++) {
        bool left_out = count && bsearch(&checks[i], excluded, count, sizeof(*excluded), by_text);
        buffer_printf(out, "[+]%s %sok\n", checks[i], left_out ? "excluded: " : "");
    }
    for (size_t i = 0; i < count; i++) {
        if (is_check(excluded[i]))
            continue;
        buffer_add_string(out, unknown++ ? "," : "warn: some health checks cannot be excluded: no matches for ");
        go_quote(out, excluded[i]);
    }
    if (unknown)
        buffer_add_char(out, '\n');
}

static void answer_health(struct http_request *request)
{
    cleanup_buffer struct buffer text = {0};
    bool all = !strchr(request->path + 1, '/');
    if (all && http_request_parameter(request, "verbose")) {
        write_checks(request, &text);
        buffer_printf(&text, "%s check passed\n", request->path + 1);
    } else {
        buffer_add_string(&text, "ok");
    }
    http_respond_text(request, 200, "text/plain; charset=utf-8", text.data);
}

static struct status *fault_status(struct arena *arena, const struct http_request *request)
{
    if (request->fault == HTTP_FAULT_BODY_TOO_LARGE)
        return api_status_request_entity_too_large(arena, 3 * 1024 * 1024);
    if (request->fault == HTTP_FAULT_OVERLOADED)
        return api_status_too_many_requests(arena, "The server is busy: too many bodies are being received", 1);
    return NULL;
}

/* How others verify the cluster's tokens. */
static bool answer_issuer(const struct server *server, struct http_request *request)
{
    bool keys = strcmp(request->path, "/openid/v1/jwks") == 0;
    if (!server->options.tokens || (!keys && strcmp(request->path, "/.well-known/openid-configuration") != 0))
        return false;
    struct buffer out = {0};
    if (keys)
        token_issuer_write_keys(server->options.tokens, &out);
    else
        token_issuer_write_configuration(request->host, &out);
    size_t size;
    char *data = buffer_steal(&out, &size);
    struct http_bytes run = http_bytes_owned(data, size);
    http_response_header(request, "Content-Type", keys ? "application/jwk-set+json" : CONTENT_JSON);
    http_respond(request, 200, &run, 1);
    return true;
}

/* There are no custom resources, and nothing here defines one. kubectl looks for the definition of a kind that it does
 * not find in OpenAPI before it says that there is no such kind: to it, that the list is missing is another fault. */
static bool answer_definitions(struct http_request *request)
{
    if ((request->method != HTTP_GET && request->method != HTTP_HEAD) || parameter_flag(request, "watch") ||
        strcmp(request->path, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions") != 0)
        return false;
    http_respond_text(request, 200, CONTENT_JSON,
                      "{\"kind\":\"CustomResourceDefinitionList\",\"apiVersion\":\"apiextensions.k8s.io/v1\","
                      "\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}\n");
    return true;
}

/* Connections to something that is not an object: what the client accepts is none of ours. NULL: it is something else.
 */
static void (*connect_handler(const struct route *route))(struct rest_request *request)
{
    static const struct {
        size_t resource;
        const char *subresource;
        void (*handle)(struct rest_request *request);
    } handlers[] = {
        {API_NODES, "proxy", proxy_handle}, {API_PODS, "attach", exec_handle},
        {API_PODS, "exec", exec_handle},    {API_PODS, "portforward", port_forward_handle},
        {API_PODS, "proxy", proxy_handle},  {API_SERVICES, "proxy", proxy_handle},
    };
    for (size_t i = 0; route->resource && route->subresource && i < ARRAY_COUNT(handlers); i++)
        if (handlers[i].resource == route->resource->index && strcmp(handlers[i].subresource, route->subresource) == 0)
            return handlers[i].handle;
    return NULL;
}

/* Past the gate; refused NULL: the user may. */
static void route(struct rest_request *r, struct status *refused)
{
    struct server *server = r->server;
    struct http_request *request = r->http;
    struct arena *arena = r->arena;
    struct status *status = refused ? refused : fault_status(arena, request);
    if (status) {
        r->route.resource = NULL;
    } else if (documents_handle(server->documents, request) || answer_issuer(server, request) ||
               answer_definitions(request)) {
        arena_free(arena);
        return;
    } else if (strcmp(request->path, "/metrics") == 0) {
        arena_free(arena);
        metrics_handle(server, request);
        return;
    } else if (!route_parse(arena, request->path, &r->route)) {
        arena_free(arena);
        http_respond_text(request, 404, "text/plain; charset=utf-8", "404 page not found\n");
        return;
    } else if (connect_handler(&r->route)) {
        connect_handler (&r->route)(r);
        return;
    } else if (!r->route.resource)
        status = api_status_no_resource(arena);
    else if (!negotiate(request, &r->negotiated))
        status = api_status_not_acceptable(arena, ACCEPTED);
    if (status) {
        request_metrics_count(server->metrics, &r->route, VERB_OTHER, status->code, 0);
        answer_status(request, status);
        arena_free(arena);
        return;
    }
    const struct api_resource *resource = r->route.resource;
    assert(resource);
    answer_deprecation(request, resource);
    bool get = request->method == HTTP_GET || request->method == HTTP_HEAD;
    const char *of_pod = resource->index == API_PODS ? text_or_empty(r->route.subresource) : "";
    if (get && strcmp(of_pod, "log") == 0)
        log_handle(r);
    else if (get && !r->route.subresource && !resource->computed &&
             (r->route.watch || parameter_flag(request, "watch")))
        watch_handle(r);
    else if (strcmp(of_pod, "exec") == 0 || strcmp(of_pod, "attach") == 0)
        exec_handle(r);
    else if (strcmp(of_pod, "portforward") == 0)
        port_forward_handle(r);
    else
        rest_handle(r);
}

/* What a proxy hands on may be of any length, and need not be here in whole. */
static bool streams_body(const struct http_request *request, void *context)
{
    struct route route;
    (void)context;
    if (!strstr(request->path, "/proxy"))
        return false;
    cleanup_arena struct arena *arena = arena_new(0);
    return route_parse(arena, request->path, &route) && connect_handler(&route) == proxy_handle;
}

static void handle(struct http_request *request, void *context)
{
    struct server *server = context;
    http_response_header(request, "Cache-Control", "no-cache, private");
    if (is_health(request->path)) {
        answer_health(request);
        return;
    }
    if (strcmp(request->path, "/version") == 0 && documents_handle(server->documents, request))
        return;
    gate_enter(server, request, arena_new(2048), route);
}

/* ---- Start and stop ---- */

static int set_certificates(struct server *server, struct error *err)
{
    struct http_tls tls = {.certificate = pki_server_certificate(server->options.pki),
                           .key = pki_server_key(server->options.pki),
                           .client_ca = pki_ca_certificate(server->options.pki)};
    return http_server_set_tls(server->http, &tls, err);
}

static void renew(void *context)
{
    struct server *server = context;
    struct error err;
    int renewed = pki_renew(server->options.pki, env_now(server->options.env), &err);
    if (renewed < 0 || (renewed > 0 && set_certificates(server, &err) < 0))
        log_warning("Cannot renew the server's certificate: %s", err.text);
    env_timer_start(server->renewal, RENEWAL_LOOK);
}

int server_new(const struct server_options *options, struct server **out, struct error *err)
{
    struct server *server = mem_zero(1, sizeof(*server));
    struct http_options http = {
        .threads = options->threads, .handler = handle, .streams = streams_body, .context = server};
    server->options = *options;
    server->started = env_now(options->env);
    server->http = http_server_new(&http, err);
    if (!server->http || set_certificates(server, err) < 0) {
        http_server_free(server->http);
        free(server);
        return -1;
    }
    server->core = mailbox_new(env_uv_loop(options->env));
    server->client = registry_client(options->registry, NULL);
    server->documents = documents_new();
    server->lists = list_cache_new(server);
    server->metrics = request_metrics_new();
    server->renewal = env_timer_new(options->env, renew, server);
    env_timer_start(server->renewal, RENEWAL_LOOK);
    *out = server;
    return 0;
}

int server_listen(struct server *server, int fd, struct error *err)
{
    return http_server_listen(server->http, fd, false, err);
}

static void gone(void *context)
{
    struct server *server = context;
    env_callback stopped = server->stopped;
    void *stopped_context = server->stopped_context;
    http_server_free(server->http);
    registry_client_free(server->client);
    documents_free(server->documents);
    list_cache_free(server->lists);
    request_metrics_free(server->metrics);
    env_timer_free(server->renewal);
    mailbox_free(server->core);
    free(server);
    stopped(stopped_context);
}

/* On an I/O thread: the core thread does the rest. */
static void http_stopped(void *context)
{
    struct server *server = context;
    mailbox_send(server->core, gone, server);
}

void server_stop(struct server *server, env_callback done, void *context)
{
    server->stopped = done;
    server->stopped_context = context;
    http_server_on_stopped(server->http, http_stopped, server);
    http_server_stop(server->http);
}
