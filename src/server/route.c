/* Splitting a path into its parts. */
#include "server/route.h"

#include <string.h>

#include "api/types.h"

static size_t split(struct arena *arena, const char *path, const char *out[ROUTE_SEGMENTS_MAX])
{
    size_t n = 0;
    char *rest = arena_string(arena, path), *part;
    while ((part = strsep(&rest, "/"))) {
        if (!*part)
            continue;
        if (n == ROUTE_SEGMENTS_MAX)
            break; /* too long for anything but a proxy's path */
        out[n++] = part;
    }
    return n;
}

/* /namespaces/x/status and /finalize are about the namespace; anything else there is inside it. */
static bool is_namespace_subresource(const char *segment)
{
    return strcmp(segment, "status") == 0 || strcmp(segment, "finalize") == 0;
}

static bool is_served(const char *group, const char *version)
{
    for (size_t i = 0; i < api_resource_count; i++)
        if (strcmp(api_resources[i].group, group) == 0 && strcmp(api_resources[i].version, version) == 0)
            return true;
    return false;
}

/* The older way to bind a pod, which discovery lists as a resource of its own. */
static void find_bindings(const char *group, const char *version, const char *segment, struct route *out)
{
    if (*group || strcmp(version, "v1") != 0 || strcmp(segment, "bindings") != 0 || !out->namespace || out->name)
        return;
    out->bindings = true;
    out->resource = &api_resources[API_PODS];
    out->subresource = "binding";
}

bool route_parse(struct arena *arena, const char *path, struct route *out)
{
    const char *s[ROUTE_SEGMENTS_MAX], *group = "", *version;
    size_t n = split(arena, path, s), at;
    *out = (struct route){0};
    if (n >= 3 && strcmp(s[0], "api") == 0) {
        version = s[1];
        at = 2;
    } else if (n >= 4 && strcmp(s[0], "apis") == 0) {
        group = s[1];
        version = s[2];
        at = 3;
    } else {
        return false;
    }
    if (strcmp(s[at], "watch") == 0 && at + 1 < n) {
        out->watch = true;
        at++;
    }
    if (strcmp(s[at], "namespaces") == 0 && n - at >= 3 && !is_namespace_subresource(s[at + 2])) {
        out->namespace = s[at + 1];
        at += 2;
    }
    out->resource = api_resource_find(group, version, s[at]);
    out->name = at + 1 < n ? s[at + 1] : NULL;
    out->subresource = at + 2 < n ? s[at + 2] : NULL;
    bool is_proxy = out->subresource && strcmp(out->subresource, "proxy") == 0;
    bool too_long = n > at + 3 && !is_proxy, misplaced = out->resource && out->namespace && !out->resource->namespaced;
    bool unplaced = out->resource && out->resource->namespaced && !out->namespace && out->name;
    if (too_long || misplaced || unplaced)
        out->resource = NULL;
    find_bindings(group, version, s[at], out);
    return out->resource || is_served(group, version);
}
