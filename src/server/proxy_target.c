#include "server/proxy_target.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ip_text.h"
#include "base/text.h"

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

bool proxy_target_is_proxyable(const char *address)
{
    struct ip_text ip;
    return ip_text_parse(address, &ip) && ip_text_class(&ip) == IP_UNICAST;
}

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
    out->no_port = !out->port;
    if (!out->port)
        out->port = strcmp(name->scheme, "https") == 0 ? 443 : 80;
    return proxy_target_is_proxyable(out->address) ? NULL : api_status_bad_request(arena, "address not allowed");
}

static struct status *no_endpoints(struct arena *arena, const char *name)
{
    return api_status_service_unavailable(arena,
                                          arena_printf(arena, "no endpoints available for service \"%s\"", name));
}

/* The number of a service's port; 0: there is none of that name. */
static int subset_port(const struct endpoint_subset *subset, const char *name)
{
    for (size_t i = 0; i < subset->ports.count; i++)
        if (text_equal(subset->ports.items[i].name, name))
            return subset->ports.items[i].port;
    return 0;
}

static bool has_pod(const struct endpoint_address *address, const char *namespace)
{
    return address->target_ref && text_equal(address->target_ref->namespace, namespace) &&
           !text_empty(address->target_ref->name);
}

struct status *proxy_target_service(struct arena *arena, const struct service *service,
                                    const struct endpoints *endpoints, const char *id, const struct proxy_name *name,
                                    uint64_t random, size_t attempt, struct proxy_target *out)
{
    const char *port = name->port;
    if (is_number(port)) {
        const struct service_port *found = NULL;
        for (size_t i = 0; i < service->spec.ports.count && !found; i++)
            if (service->spec.ports.items[i].port == atoi(port))
                found = &service->spec.ports.items[i];
        if (!found)
            return api_status_service_unavailable(
                arena, arena_printf(arena, "no service port %s found for service \"%s\"", port, name->name));
        port = text_or_empty(found->name);
    }
    size_t subsets = endpoints->subsets.count;
    out->no_port = false;
    for (size_t i = 0; i < subsets; i++) {
        const struct endpoint_subset *subset = &endpoints->subsets.items[(random + i) % subsets];
        out->port = subset_port(subset, port);
        for (size_t j = 0; j < subset->addresses.count && out->port; j++) {
            const struct endpoint_address *address =
                &subset->addresses.items[(random / 7 + j) % subset->addresses.count];
            if (!has_pod(address, endpoints->metadata.namespace) || attempt--)
                continue;
            out->address = arena_string(arena, address->ip);
            out->pod = arena_string(arena, address->target_ref->name);
            return NULL;
        }
    }
    return no_endpoints(arena, subsets ? id : name->name);
}

bool proxy_target_is_pods(const struct proxy_target *target, const struct pod *pod)
{
    for (size_t i = 0; i < pod->status.pod_ips.count; i++)
        if (text_equal(pod->status.pod_ips.items[i].ip, target->address))
            return true;
    return false;
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
