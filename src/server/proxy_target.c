#include "server/proxy_target.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* ---- Names ---- */

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 9;
}

static bool is_name(const char *text)
{
    size_t n = strlen(text);
    return n && n <= 253 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

static bool is_port(const char *text)
{
    return !*text ||
           (is_number(text) ? atoi(text) > 0 && atoi(text) <= UINT16_MAX : is_name(text) && strlen(text) <= 63);
}

bool proxy_name_parse(struct arena *arena, const char *text, struct proxy_name *out)
{
    char *rest = arena_string(arena, text);
    const char *parts[3];
    size_t n = 0;
    for (char *part; (part = strsep(&rest, ":"));) {
        if (n == ARRAY_COUNT(parts))
            return false;
        parts[n++] = part;
    }
    *out =
        (struct proxy_name){.scheme = n == 3 ? parts[0] : "", .name = parts[n == 3], .port = n > 1 ? parts[n - 1] : ""};
    bool scheme = !*out->scheme || strcmp(out->scheme, "http") == 0 || strcmp(out->scheme, "https") == 0;
    return scheme && is_name(out->name) && is_port(out->port);
}

/* ---- Targets ---- */

struct status *proxy_target_pod(struct arena *arena, const struct pod *pod, const struct proxy_name *name,
                                struct proxy_target *out)
{
    const struct container_array *containers = &pod->spec.containers;
    out->address = arena_string(arena, pod->status.pod_ip);
    out->port = is_number(name->port) ? atoi(name->port) : 0;
    if (*name->port && !out->port)
        return api_status_bad_request(arena, "invalid pod request \"%s:%s\"", name->name, name->port);
    for (size_t i = 0; !*name->port && i < containers->count && !out->port; i++)
        if (containers->items[i].ports.count)
            out->port = containers->items[i].ports.items[0].container_port;
    if (!out->port)
        out->port = strcmp(name->scheme, "https") == 0 ? 443 : 80;
    return out->address && *out->address ? NULL : api_status_bad_request(arena, "address not allowed");
}

static struct status *no_endpoints(struct arena *arena, const char *name)
{
    return api_status_service_unavailable(arena,
                                          arena_printf(arena, "no endpoints available for service \"%s\"", name));
}

struct status *proxy_target_service(struct arena *arena, const struct service *service,
                                    const struct endpoints *endpoints, const struct proxy_name *name, uint64_t random,
                                    struct proxy_target *out)
{
    const char *port = name->port;
    if (is_number(port)) {
        const struct service_port *found = NULL;
        for (size_t i = 0; service && i < service->spec.ports.count && !found; i++)
            if (service->spec.ports.items[i].port == atoi(port))
                found = &service->spec.ports.items[i];
        if (!found)
            return api_status_service_unavailable(
                arena, arena_printf(arena, "no service port %s found for service \"%s\"", port, name->name));
        port = found->name ? found->name : "";
    }
    size_t subsets = endpoints ? endpoints->subsets.count : 0;
    for (size_t i = 0; i < subsets; i++) {
        const struct endpoint_subset *subset = &endpoints->subsets.items[(random + i) % subsets];
        for (size_t p = 0; p < subset->ports.count && subset->addresses.count; p++) {
            const char *port_name = subset->ports.items[p].name ? subset->ports.items[p].name : "";
            if (strcmp(port_name, port) != 0)
                continue;
            out->address = arena_string(arena, subset->addresses.items[random / 7 % subset->addresses.count].ip);
            out->port = subset->ports.items[p].port;
            return NULL;
        }
    }
    return no_endpoints(arena, name->name);
}

/* ---- Paths ---- */

const char *proxy_path(const char *raw_path, bool namespaced, size_t *prefix_size)
{
    const char *at = raw_path;
    for (int segments = namespaced ? 7 : 5; segments; segments--) { /* /api/v1/namespaces/N/services/S/proxy */
        at += strspn(at, "/");
        at += strcspn(at, "/");
    }
    *prefix_size = (size_t)(at - raw_path);
    return at;
}
