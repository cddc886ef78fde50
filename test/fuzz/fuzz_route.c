/* The way of a request to its resource: target, Accept, Content-Type and body, one per line, go through everything that
 * reads them before the registry is asked. Nothing may be read that is not there, and what is found must make sense. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/http/request.h"
#include "server/private.h"
#include "fuzz.h"

/* Cuts the next line off; the rest is "" behind the last one. */
static char *next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end)
        *end = 0;
    return line;
}

static void read_options(struct arena *arena, const struct http_request *http, const struct route *route)
{
    struct client_request *request = client_request_new(CLIENT_LIST, route->resource, route->namespace, route->name);
    struct client_watch_options watch = {0};
    struct delete_options delete = {0};
    struct opt_int64 timeout;
    if (options_for_list(arena, http, route, request) == NULL && request->limit < 0)
        abort();
    options_for_write(arena, http, "CreateOptions", request);
    options_for_delete(arena, http, &delete);
    options_for_watch(arena, http, route, &watch, &timeout);
    client_request_free(request);
}

static void read_body(struct arena *arena, const struct http_request *http, const struct route *route)
{
    const struct body_type expected = {
        .type = route->resource->type, .api_version = route->resource->api_version, .kind = route->resource->kind};
    struct body_report *report = arena_alloc(arena, sizeof(*report));
    void *value;
    struct status *status = decode_body(arena, http, &expected, arena, &value, report);
    if (status && (status->code < 400 || !status->message))
        abort();
}

static void follow(const struct http_request *http)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct route route;
    struct negotiated negotiated;
    struct table_options table;
    if (!route_parse(arena, http->path, &route) || !route.resource)
        return;
    if ((route.name && !*route.name) || (route.subresource && !route.name && !route.bindings) ||
        (route.namespace && !route.resource->namespaced))
        abort();
    if (negotiate(http, &negotiated))
        options_for_table(arena, http, &negotiated, &table);
    read_options(arena, http, &route);
    read_body(arena, http, &route);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = mem_alloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    char *rest = text, *target = next_line(&rest);
    const struct http_field headers[] = {{"accept", next_line(&rest)}, {"content-type", next_line(&rest)}};
    const char *reason;
    struct request request = {.public = {.path = "/",
                                         .query = "",
                                         .host = "",
                                         .headers = headers,
                                         .header_count = ARRAY_COUNT(headers),
                                         .body = rest,
                                         .body_size = size - (size_t)(rest - text)}};
    if (request_set_target(&request, "GET", target, &reason) == 0)
        follow(&request.public);
    buffer_free(&request.decoded);
    vector_free(&request.parameters);
    return 0;
}
