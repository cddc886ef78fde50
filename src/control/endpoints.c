/* The Endpoints controller: the older form of endpoints, one object per Service, ready addresses apart from the
 * others. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/well_known.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"
#include "control/endpoints.h"

/* Addresses of one object; more are cut off, as upstream does. */
#define ADDRESSES_MAX 1000
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"

struct endpoints_state {
    struct service_watch watch;
    struct informer *endpoints;
    struct map gone; /* "namespace/name" of Services that went and may have left endpoints */
};

/* Endpoints go with their Service, whoever made them, as upstream has it. */
static void service_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct endpoints_state *own = c->state;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    (void)old;
    if (change == INFORMER_DELETED)
        map_set(&own->gone, key, NULL);
    else
        map_remove(&own->gone, key);
}

/* What somebody else has deleted is made again. */
static void endpoints_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change == INFORMER_DELETED)
        controller_enqueue(context, object->meta);
}

static void start(struct controller *c)
{
    struct endpoints_state *own = mem_zero(1, sizeof(*own));
    c->state = own;
    endpoints_watch(c, &own->watch);
    own->endpoints = informer_set_get(c->informers, &api_resources[API_ENDPOINTS]);
    informer_add_handler(own->watch.services, service_changed, c);
    informer_add_handler(own->endpoints, endpoints_changed, c);
}

static void stop(struct controller *c)
{
    struct endpoints_state *own = c->state;
    endpoints_watch_free(&own->watch);
    map_free(&own->gone);
    free(own);
}

/* Pods with the same ports. */
struct group {
    struct endpoint_port_array ports;
    struct endpoint_address_array ready, not_ready;
};

struct build {
    struct arena *arena;
    const struct service *service;
    VECTOR(struct group) groups;
    VECTOR(struct endpoint_subset) subsets;
    bool truncated;
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
    const char *left = ((const struct endpoint_address *)a)->ip, *right = ((const struct endpoint_address *)b)->ip;
    struct in6_addr x = {0}, y = {0};
    inet_pton(strchr(left, ':') ? AF_INET6 : AF_INET, left, &x);
    inet_pton(strchr(right, ':') ? AF_INET6 : AF_INET, right, &y);
    return memcmp(&x, &y, sizeof(x));
}

/* Appends to a list that is grown by doubling: its room is the next power of two. */
static void append(struct arena *arena, struct endpoint_address_array *list, const struct endpoint_address *address)
{
    if ((list->count & (list->count - 1)) == 0)
        list->items = arena_array_grow(arena, list->items, list->count, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = *address;
}

/* This form has one family only: the Service's first. */
static const char *primary_family(const struct service *service)
{
    return service->spec.ip_families.count ? service->spec.ip_families.items[0] : "IPv4";
}

static bool add_pod(void *context, struct object *object)
{
    struct build *b = context;
    const struct pod *pod = object->value;
    bool publish = b->service->spec.publish_not_ready_addresses;
    /* A pod that is being deleted has no place here unless everything is published. */
    if (pod->metadata.deletion_timestamp && !publish)
        return true;
    struct endpoint_port_array ports = ports_of(b->arena, pod, b->service);
    const char *ip = endpoints_pod_address(pod, primary_family(b->service));
    if (!ip || (!ports.count && b->service->spec.ports.count))
        return true;
    struct endpoint_address address = {.ip = ip,
                                       .hostname = endpoints_hostname(pod, b->service),
                                       .node_name = pod->spec.node_name,
                                       .target_ref = arena_alloc(b->arena, sizeof(*address.target_ref))};
    address.target_ref->kind = "Pod";
    address.target_ref->namespace = pod->metadata.namespace;
    address.target_ref->name = pod->metadata.name;
    address.target_ref->uid = pod->metadata.uid;
    struct group *group = NULL;
    for (size_t i = 0; i < b->groups.count && !group; i++)
        if (same_ports(&b->groups.items[i].ports, &ports))
            group = &b->groups.items[i];
    if (!group) {
        vector_push(&b->groups, (struct group){.ports = ports});
        group = &b->groups.items[b->groups.count - 1];
    }
    append(b->arena, publish || pod_is_ready(pod) ? &group->ready : &group->not_ready, &address);
    return true;
}

static void add_all(struct arena *arena, struct endpoint_address_array *to, const struct endpoint_address_array *from)
{
    for (size_t i = 0; i < from->count; i++)
        append(arena, to, &from->items[i]);
}

static void sort(struct endpoint_address_array *list)
{
    if (list->count)
        qsort(list->items, list->count, sizeof(*list->items), by_address);
}

static bool has_port(const struct group *group, const struct endpoint_port *port)
{
    for (size_t i = 0; i < group->ports.count; i++)
        if (api_equal(&api_type_endpoint_port, &group->ports.items[i], port))
            return true;
    return false;
}

/* True when the ports are behind the same groups of pods. */
static bool same_groups(const struct build *b, const struct endpoint_port *x, const struct endpoint_port *y)
{
    for (size_t i = 0; i < b->groups.count; i++)
        if (has_port(&b->groups.items[i], x) != has_port(&b->groups.items[i], y))
            return false;
    return true;
}

static void add_subset(struct build *b, const struct endpoint_port *port)
{
    struct endpoint_subset subset = {.ports = {0}};
    for (size_t i = 0; i < b->groups.count; i++) {
        if (port ? !has_port(&b->groups.items[i], port) : b->groups.items[i].ports.count)
            continue;
        add_all(b->arena, &subset.addresses, &b->groups.items[i].ready);
        add_all(b->arena, &subset.not_ready_addresses, &b->groups.items[i].not_ready);
    }
    sort(&subset.addresses);
    sort(&subset.not_ready_addresses);
    if (port) {
        subset.ports.items = arena_copy(b->arena, port, sizeof(*port));
        subset.ports.count = 1;
    }
    vector_push(&b->subsets, subset);
}

/* Upstream's RepackSubsets: one subset for all ports that lead to the same pods. */
static void make_subsets(struct build *b)
{
    for (size_t i = 0; i < b->groups.count; i++) {
        const struct endpoint_port_array *ports = &b->groups.items[i].ports;
        if (!ports->count)
            add_subset(b, NULL);
        for (size_t k = 0; k < ports->count; k++) {
            const struct endpoint_port *port = &ports->items[k];
            struct endpoint_subset *subset = NULL;
            for (size_t n = 0; n < b->subsets.count && !subset; n++)
                if (b->subsets.items[n].ports.count && same_groups(b, &b->subsets.items[n].ports.items[0], port))
                    subset = &b->subsets.items[n];
            if (!subset) {
                add_subset(b, port);
                continue;
            }
            bool there = false;
            for (size_t n = 0; n < subset->ports.count; n++)
                there |= api_equal(&api_type_endpoint_port, &subset->ports.items[n], port);
            if (there)
                continue;
            subset->ports.items =
                arena_array_grow(b->arena, subset->ports.items, subset->ports.count, 1, sizeof(*port));
            subset->ports.items[subset->ports.count++] = *port;
        }
    }
}

/* Leaves `room` of all the addresses of a kind, each subset with its share of them, rounded up as long as there is
 * room. */
static void share_room(struct build *b, bool ready, size_t total, size_t room)
{
    size_t left = room;
    for (size_t i = 0; i < b->subsets.count; i++) {
        struct endpoint_address_array *list =
            ready ? &b->subsets.items[i].addresses : &b->subsets.items[i].not_ready_addresses;
        size_t share = total ? (list->count * room + total - 1) / total : 0;
        if (share > left)
            share = left;
        if (list->count > share)
            list->count = share;
        left -= list->count;
    }
}

/* The rules of the API want an address in each. */
static void drop_empty_subsets(struct build *b)
{
    for (size_t i = b->subsets.count; i-- > 0;)
        if (!b->subsets.items[i].addresses.count && !b->subsets.items[i].not_ready_addresses.count)
            vector_remove(&b->subsets, i);
}

/* Cuts off what is too much, addresses that are not ready first, as upstream shares the room. */
static void truncate_addresses(struct build *b)
{
    size_t ready = 0, not_ready = 0;
    for (size_t i = 0; i < b->subsets.count; i++) {
        ready += b->subsets.items[i].addresses.count;
        not_ready += b->subsets.items[i].not_ready_addresses.count;
    }
    b->truncated = ready + not_ready > ADDRESSES_MAX;
    if (!b->truncated)
        return;
    size_t room = ready < ADDRESSES_MAX ? ADDRESSES_MAX - ready : 0;
    if (ready > ADDRESSES_MAX)
        share_room(b, true, ready, ADDRESSES_MAX);
    share_room(b, false, not_ready, room);
    drop_empty_subsets(b);
}

static void set_over_capacity(struct build *b, struct string_map *annotations)
{
    struct string_map kept = {arena_alloc(b->arena, annotations->count * sizeof(*kept.items)), 0};
    for (size_t i = 0; i < annotations->count; i++)
        if (strcmp(annotations->items[i].key, OVER_CAPACITY) != 0)
            kept.items[kept.count++] = annotations->items[i];
    *annotations = kept;
    if (b->truncated)
        string_map_set(b->arena, annotations, OVER_CAPACITY, "truncated");
}

/* Without a Service: what it has left, and what we have made. */
static void let_go(struct endpoints_state *own, struct work *work, const struct object *service,
                   const struct object *present)
{
    cleanup_free char *key = mem_printf("%s/%s", work_namespace(work), work_name(work));
    if (!service)
        endpoints_forget_trigger(&own->watch, work_namespace(work), work_name(work));
    if (!present)
        map_remove(&own->gone, key);
    else if (map_has(&own->gone, key) ||
             text_equal(string_map_get(&present->meta->labels, ENDPOINTS_MANAGED_BY_LABEL), ENDPOINTS_CONTROLLER))
        work_delete(work, present->resource, present->meta, NULL, NULL, NULL);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct endpoints_state *own = c->state;
    const struct api_resource *resource = &api_resources[API_ENDPOINTS];
    struct object *service = informer_get(own->watch.services, work_namespace(work), work_name(work));
    struct object *present = informer_get(own->endpoints, work_namespace(work), work_name(work));
    if (!service || service->meta->deletion_timestamp) {
        let_go(own, work, service, present);
        return;
    }
    if (!endpoints_managed(service->value))
        return;
    struct build b = {.arena = work_arena(work), .service = service->value};
    int64_t trigger = endpoints_each_pod(&own->watch, b.service, add_pod, &b);
    make_subsets(&b);
    truncate_addresses(&b);
    struct endpoints fresh = present ? *(const struct endpoints *)present->value : (struct endpoints){0};
    fresh.metadata.name = service->meta->name;
    fresh.metadata.namespace = service->meta->namespace;
    fresh.metadata.labels = endpoints_labels(b.arena, b.service, ENDPOINTS_MANAGED_BY_LABEL, ENDPOINTS_CONTROLLER);
    fresh.subsets.items = arena_copy(b.arena, b.subsets.items, b.subsets.count * sizeof(*b.subsets.items));
    fresh.subsets.count = b.subsets.count;
    vector_free(&b.groups);
    vector_free(&b.subsets);
    set_over_capacity(&b, &fresh.metadata.annotations);
    if (present && api_equal(&api_type_endpoints, &fresh, present->value))
        return;
    endpoints_set_trigger_time(b.arena, &fresh.metadata.annotations, trigger);
    if (present)
        work_update(work, resource, NULL, &fresh, NULL, NULL);
    else
        work_create(work, resource, service->meta->namespace, &fresh, NULL, NULL);
}

const struct controller_kind endpoints_controller = {
    .name = "endpoint-controller", .queue = "endpoint", .start = start, .reconcile = reconcile, .stop = stop};
