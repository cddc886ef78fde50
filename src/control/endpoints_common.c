/* What both endpoint controllers know about Services and pods. */
#include <string.h>

#include "api/json.h"
#include "api/pod_containers.h"
#include "api/well_known.h"
#include "base/text.h"
#include "control/endpoints.h"

bool endpoints_managed(const struct service *service)
{
    const char *type = service->spec.type;
    return service->spec.selector.count && !(type && strcmp(type, "ExternalName") == 0);
}

bool endpoints_headless(const struct service *service)
{
    return service->spec.cluster_ip && strcmp(service->spec.cluster_ip, "None") == 0;
}

static bool selects(const struct service *service, const struct string_map *labels)
{
    return service->spec.selector.count > 0 && string_map_contains(labels, &service->spec.selector);
}

struct labels_visit {
    struct controller *controller;
    const struct string_map *labels;
};

static bool enqueue_if_selected(void *context, struct object *object)
{
    struct labels_visit *v = context;
    if (selects(object->value, v->labels))
        controller_enqueue(v->controller, object->meta);
    return true;
}

static void service_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change, (void)old;
    controller_enqueue(((struct service_watch *)context)->controller, object->meta);
}

void endpoints_slice_seen(struct controller *controller, const struct object *slice)
{
    const char *name = slice ? string_map_get(&slice->meta->labels, SERVICE_NAME_LABEL) : NULL;
    if (name)
        queue_add(controller->queue, slice->meta->namespace, name);
}

static bool same_addresses(const struct pod_ip_array *a, const struct pod_ip_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!text_equal(a->items[i].ip, b->items[i].ip))
            return false;
    return true;
}

const char *endpoints_pod_address(const struct pod *pod, const char *family)
{
    bool v6 = strcmp(family, "IPv6") == 0;
    for (size_t i = 0; i < pod->status.pod_ips.count; i++)
        if (!strchr(pod->status.pod_ips.items[i].ip, ':') != v6)
            return pod->status.pod_ips.items[i].ip;
    return NULL;
}

/* True when something that endpoints show is different. */
static bool pod_differs(const struct pod *a, const struct pod *b)
{
    return !a->metadata.deletion_timestamp != !b->metadata.deletion_timestamp || pod_is_ready(a) != pod_is_ready(b) ||
           !same_addresses(&a->status.pod_ips, &b->status.pod_ips) || !text_equal(a->status.phase, b->status.phase) ||
           !text_equal(a->spec.node_name, b->spec.node_name);
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct service_watch *w = context;
    bool relabelled = old && !string_map_equal(&old->meta->labels, &object->meta->labels);
    if (change == INFORMER_UPDATED && old && !relabelled && !pod_differs(old->value, object->value))
        return;
    struct labels_visit v = {w->controller, &object->meta->labels};
    informer_each(w->services, object->meta->namespace, enqueue_if_selected, &v);
    if (relabelled) {
        v.labels = &old->meta->labels;
        informer_each(w->services, object->meta->namespace, enqueue_if_selected, &v);
    }
}

void endpoints_watch(struct controller *c, struct service_watch *w)
{
    w->controller = c;
    w->services = informer_set_get(c->informers, &api_resources[API_SERVICES]);
    w->pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    informer_add_handler(w->services, service_changed, w);
    informer_add_handler(w->pods, pod_changed, w);
}

struct pod_visit {
    const struct service *service;
    struct trigger_look look;
    informer_visit visit;
    void *context;
};

static bool visit_pod(void *context, struct object *object)
{
    struct pod_visit *v = context;
    const struct pod *pod = object->value;
    if (!selects(v->service, &object->meta->labels))
        return true;
    endpoints_trigger_pod(&v->look, pod);
    return text_empty(pod->status.pod_ip) || pod_has_ended(pod) || v->visit(v->context, object);
}

int64_t endpoints_each_pod(struct service_watch *w, const struct service *service, informer_visit visit, void *context)
{
    struct pod_visit v = {.service = service, .visit = visit, .context = context};
    endpoints_trigger_begin(w, service, &v.look);
    informer_each(w->pods, service->metadata.namespace, visit_pod, &v);
    return endpoints_trigger_end(&v.look);
}

int32_t endpoints_port(const struct pod *pod, const struct service_port *port)
{
    if (port->target_port.kind == INT_OR_STRING_INT)
        return port->target_port.number;
    if (port->target_port.kind == INT_OR_STRING_UNSET)
        return port->port;
    const char *protocol = port->protocol ? port->protocol : "TCP";
    const struct container *c;
    for (size_t at = 0; (c = api_next_serving(&pod->spec, &at));)
        for (size_t i = 0; i < c->ports.count; i++)
            if (text_equal(c->ports.items[i].name, port->target_port.text) &&
                strcmp(c->ports.items[i].protocol ? c->ports.items[i].protocol : "TCP", protocol) == 0)
                return c->ports.items[i].container_port;
    return 0;
}

static struct string_map string_map_without(struct arena *arena, const struct string_map *map, const char *key)
{
    struct string_map out = {arena_alloc(arena, (map->count + 1) * sizeof(*out.items)), 0};
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->items[i].key, key) != 0)
            out.items[out.count++] = map->items[i];
    return out;
}

struct string_map endpoints_labels(struct arena *arena, const struct service *service, const char *key,
                                   const char *value)
{
    struct string_map labels = string_map_without(arena, &service->metadata.labels, HEADLESS_LABEL);
    if (endpoints_headless(service))
        string_map_set(arena, &labels, HEADLESS_LABEL, "");
    string_map_set(arena, &labels, key, value);
    return labels;
}

const char *endpoints_hostname(const struct pod *pod, const struct service *service)
{
    if (!pod->spec.hostname || !*pod->spec.hostname || !pod->spec.subdomain ||
        strcmp(pod->spec.subdomain, service->metadata.name) != 0)
        return NULL;
    return pod->spec.hostname;
}

bool endpoint_slice_same_ports(const struct discovery_endpoint_port_array *a,
                               const struct discovery_endpoint_port_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!api_equal(&api_type_discovery_endpoint_port, &a->items[i], &b->items[i]))
            return false;
    return true;
}
