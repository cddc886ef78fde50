/* The Endpoints controller: the older form of endpoints, one object per Service, ready addresses apart from the
 * others. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/vector.h"
#include "control/endpoints.h"

/* Addresses of one object; more are cut off, as upstream does. */
#define ADDRESSES_MAX 1000
#define MANAGED_BY_LABEL "endpoints.kubernetes.io/managed-by"
#define MANAGED_BY "endpoint-controller"

struct endpoints_state {
    struct service_watch watch;
    struct informer *endpoints;
};

static void start(struct controller *c)
{
    struct endpoints_state *own = mem_zero(1, sizeof(*own));
    c->state = own;
    endpoints_watch(c, &own->watch);
    own->endpoints = informer_set_get(c->informers, &api_resources[API_ENDPOINTS]);
}

static void stop(struct controller *c)
{
    free(c->state);
}

struct build {
    struct arena *arena;
    const struct service *service;
    VECTOR(struct endpoint_subset) subsets;
    size_t addresses;
};

static struct endpoint_port_array ports_of(struct arena *arena, const struct pod *pod, const struct service *service)
{
    struct endpoint_port_array out = {.items = arena_alloc(arena, service->spec.ports.count * sizeof(*out.items))};
    for (size_t i = 0; i < service->spec.ports.count; i++) {
        const struct service_port *port = &service->spec.ports.items[i];
        int32_t number = endpoints_port(pod, port);
        if (number)
            out.items[out.count++] = (struct endpoint_port){.name = port->name,
                                                            .port = number,
                                                            .protocol = port->protocol ? port->protocol : "TCP",
                                                            .app_protocol = port->app_protocol};
    }
    return out;
}

static bool same_ports(const struct endpoint_port_array *a, const struct endpoint_port_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!api_equal(&api_type_endpoint_port, &a->items[i], &b->items[i]))
            return false;
    return true;
}

static int by_address(const void *a, const void *b)
{
    struct in_addr x, y;
    inet_pton(AF_INET, ((const struct endpoint_address *)a)->ip, &x);
    inet_pton(AF_INET, ((const struct endpoint_address *)b)->ip, &y);
    uint32_t m = ntohl(x.s_addr), n = ntohl(y.s_addr);
    return m < n ? -1 : m > n;
}

static void append(struct arena *arena, struct endpoint_address_array *list, const struct endpoint_address *address)
{
    list->items = arena_array_grow(arena, list->items, list->count, 1, sizeof(*list->items));
    list->items[list->count++] = *address;
}

static bool add_pod(void *context, struct object *object)
{
    struct build *b = context;
    const struct pod *pod = object->value;
    bool publish = b->service->spec.publish_not_ready_addresses;
    /* A pod that is being deleted has no place here unless everything is published. */
    if ((pod->metadata.deletion_timestamp && !publish) || b->addresses == ADDRESSES_MAX)
        return true;
    struct endpoint_port_array ports = ports_of(b->arena, pod, b->service);
    if (!ports.count && b->service->spec.ports.count)
        return true;
    struct endpoint_address address = {.ip = pod->status.pod_ip,
                                       .hostname = endpoints_hostname(pod, b->service),
                                       .node_name = pod->spec.node_name,
                                       .target_ref = arena_alloc(b->arena, sizeof(*address.target_ref))};
    address.target_ref->kind = "Pod";
    address.target_ref->namespace = pod->metadata.namespace;
    address.target_ref->name = pod->metadata.name;
    address.target_ref->uid = pod->metadata.uid;
    struct endpoint_subset *subset = NULL;
    for (size_t i = 0; i < b->subsets.count && !subset; i++)
        if (same_ports(&b->subsets.items[i].ports, &ports))
            subset = &b->subsets.items[i];
    if (!subset) {
        vector_push(&b->subsets, (struct endpoint_subset){.ports = ports});
        subset = &b->subsets.items[b->subsets.count - 1];
    }
    append(b->arena, publish || pod_is_ready(pod) ? &subset->addresses : &subset->not_ready_addresses, &address);
    b->addresses++;
    return true;
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct endpoints_state *own = c->state;
    const struct api_resource *resource = &api_resources[API_ENDPOINTS];
    struct object *service = informer_get(own->watch.services, work_namespace(work), work_name(work));
    struct object *present = informer_get(own->endpoints, work_namespace(work), work_name(work));
    if (!service || service->meta->deletion_timestamp) {
        const char *manager = present ? string_map_get(&present->meta->labels, MANAGED_BY_LABEL) : NULL;
        if (manager && strcmp(manager, MANAGED_BY) == 0)
            work_delete(work, resource, present->meta, NULL, NULL, NULL);
        return;
    }
    if (!endpoints_managed(service->value))
        return;
    struct build b = {.arena = work_arena(work), .service = service->value};
    endpoints_each_pod(&own->watch, b.service, add_pod, &b);
    for (size_t i = 0; i < b.subsets.count; i++) {
        struct endpoint_address_array *lists[] = {&b.subsets.items[i].addresses,
                                                  &b.subsets.items[i].not_ready_addresses};
        for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
            if (lists[l]->count)
                qsort(lists[l]->items, lists[l]->count, sizeof(*lists[l]->items), by_address);
    }
    struct endpoints fresh = present ? *(const struct endpoints *)present->value : (struct endpoints){0};
    fresh.metadata.name = service->meta->name;
    fresh.metadata.namespace = service->meta->namespace;
    fresh.metadata.labels = endpoints_labels(b.arena, b.service, MANAGED_BY_LABEL, MANAGED_BY);
    fresh.subsets.items = arena_copy(b.arena, b.subsets.items, b.subsets.count * sizeof(*b.subsets.items));
    fresh.subsets.count = b.subsets.count;
    vector_free(&b.subsets);
    if (!present)
        work_create(work, resource, service->meta->namespace, &fresh, NULL, NULL);
    else if (!api_equal(&api_type_endpoints, &fresh, present->value))
        work_update(work, resource, NULL, &fresh, NULL, NULL);
}

const struct controller_kind endpoints_controller = {
    .name = "endpoint-controller", .start = start, .reconcile = reconcile, .stop = stop};
