#include "network/element.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

const struct element_set_description element_sets[ELEMENT_SETS] = {
    [SERVICE_SIZES] = {"service-sizes", KEY_SERVICE, VALUE_NUMBER},
    [SERVICE_ENDPOINTS] = {"service-endpoints", KEY_SLOT_SERVICE, VALUE_ENDPOINT},
    [NODE_PORT_SIZES] = {"node-port-sizes", KEY_NODE_PORT, VALUE_NUMBER},
    [NODE_PORT_ENDPOINTS] = {"node-port-endpoints", KEY_SLOT_NODE_PORT, VALUE_ENDPOINT},
    [SERVICE_AFFINITY] = {"service-affinity", KEY_SERVICE, VALUE_NUMBER},
    [NODE_PORT_AFFINITY] = {"node-port-affinity", KEY_NODE_PORT, VALUE_NUMBER},
    [HAIRPIN] = {"hairpin", KEY_ADDRESS_TWICE, VALUE_NONE},
    [SERVICE_MASQUERADE] = {"service-masquerade", KEY_SERVICE, VALUE_NONE},
    [NODE_PORT_MASQUERADE] = {"node-port-masquerade", KEY_NODE_PORT, VALUE_NONE},
    [INSIDE_SIZES] = {"inside-sizes", KEY_SERVICE, VALUE_NUMBER},
    [INSIDE_NODE_PORT_SIZES] = {"inside-node-port-sizes", KEY_NODE_PORT, VALUE_NUMBER},
    [SERVICE_REFUSED] = {"service-refused", KEY_SERVICE, VALUE_NONE},
    [NODE_PORT_REFUSED] = {"node-port-refused", KEY_NODE_PORT, VALUE_NONE},
    [SERVICE_DROPPED] = {"service-dropped", KEY_SERVICE, VALUE_NONE},
    [NODE_PORT_DROPPED] = {"node-port-dropped", KEY_NODE_PORT, VALUE_NONE},
    [SOURCE_LIMITED] = {"source-limited", KEY_SERVICE, VALUE_NONE},
    [SOURCE_RANGES] = {"source-ranges", KEY_SERVICE_SOURCE, VALUE_NONE},
};

bool element_value_equal(const struct element *a, const struct element *b)
{
    return ip_address_equal(&a->endpoint_address, &b->endpoint_address) && a->endpoint_port == b->endpoint_port &&
           a->number == b->number;
}

/* ---- endpoints ---- */

static int compare_slots(const void *left, const void *right)
{
    const struct slot *a = left, *b = right;
    int order = ip_address_compare(&a->address, &b->address);
    return order ? order : (int)a->port - (int)b->port;
}

static void collect(const struct dataplane_service *service, bool local_only, bool terminating, struct slots *out)
{
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct dataplane_endpoint *e = &service->endpoints[i];
        bool eligible = e->terminating ? terminating && (e->serving || e->ready) : !terminating && e->ready;
        bool reachable = local_only ? !e->remote && !e->unplaced : terminating || !e->distant;
        if (!eligible || !reachable || !e->address.family || e->port == 0)
            continue;
        out->items[out->count++] = (struct slot){e->address, e->port, e->remote};
    }
}

/* Sorted, each once, at most DATAPLANE_ENDPOINTS_MAX. */
static void normalize(struct slots *slots)
{
    size_t kept = 0;
    if (slots->count == 0)
        return;
    qsort(slots->items, slots->count, sizeof(slots->items[0]), compare_slots);
    for (size_t i = 0; i < slots->count; i++)
        if (kept == 0 || compare_slots(&slots->items[i], &slots->items[kept - 1]) != 0)
            slots->items[kept++] = slots->items[i];
    slots->count = kept < DATAPLANE_ENDPOINTS_MAX ? kept : DATAPLANE_ENDPOINTS_MAX;
}

/* Puts what `sorted` has into the slots that it had before, and the rest into those that are left. */
static void keep_places(struct slots *sorted, const struct slots *previous)
{
    size_t count = sorted->count;
    struct slot *placed = mem_zero(count, sizeof(*placed));
    cleanup_free bool *used = mem_zero(count, sizeof(*used));
    cleanup_free bool *full = mem_zero(count, sizeof(*full));
    for (size_t i = 0; i < count && i < previous->count; i++) {
        const struct slot *found =
            bsearch(&previous->items[i], sorted->items, count, sizeof(sorted->items[0]), compare_slots);
        if (!found)
            continue;
        placed[i] = *found;
        full[i] = used[found - sorted->items] = true;
    }
    for (size_t i = 0, next = 0; i < count; i++) {
        if (used[i])
            continue;
        while (full[next])
            next++;
        placed[next] = sorted->items[i];
        full[next] = true;
    }
    free(sorted->items);
    sorted->items = placed;
}

struct slots slots_choose(const struct dataplane_service *service, bool local_only, const struct slots *previous)
{
    struct slots slots = {.items = mem_zero(service->endpoint_count + 1, sizeof(struct slot))};
    collect(service, local_only, false, &slots);
    if (slots.count == 0)
        collect(service, local_only, true, &slots);
    normalize(&slots);
    if (slots.count > 0 && previous && previous->count > 0)
        keep_places(&slots, previous);
    return slots;
}

/* ---- elements ---- */

static void add(struct elements *elements, struct element element)
{
    vector_push(elements, element);
}

static bool same_slots(const struct slots *a, const struct slots *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = compare_slots(&a->items[i], &b->items[i]) == 0;
    return same;
}

/* What a service has at one way in: an address, or any of the node if the address is none. */
struct entrance {
    struct elements *elements;
    const struct dataplane_service *service;
    struct ip_address address;
    uint16_t port;
};

static void add_at(const struct entrance *to, enum element_set of_service, enum element_set of_node_port,
                   struct element e)
{
    e.set = (uint8_t)(to->address.family ? of_service : of_node_port);
    e.address = to->address;
    e.protocol = to->service->protocol;
    e.port = to->port;
    add(to->elements, e);
}

static void add_slots(const struct entrance *to, const struct slots *slots, uint32_t first)
{
    for (size_t i = 0; i < slots->count; i++)
        add_at(to, SERVICE_ENDPOINTS, NODE_PORT_ENDPOINTS,
               (struct element){.slot = first + (uint32_t)i,
                                .endpoint_address = slots->items[i].address,
                                .endpoint_port = slots->items[i].port});
}

/* `slots` for everybody, and, if `inside`, all for traffic from inside. */
static void add_entrance(const struct entrance *to, const struct slots *all, const struct slots *slots, bool inside)
{
    if (slots->count)
        add_at(to, SERVICE_SIZES, NODE_PORT_SIZES, (struct element){.number = (uint32_t)slots->count});
    else if (all->count)
        add_at(to, SERVICE_DROPPED, NODE_PORT_DROPPED, (struct element){0});
    else
        add_at(to, SERVICE_REFUSED, NODE_PORT_REFUSED, (struct element){0});
    add_slots(to, slots, 0);
    if (inside && all->count && !same_slots(all, slots)) {
        add_at(to, INSIDE_SIZES, INSIDE_NODE_PORT_SIZES,
               (struct element){.number = ELEMENT_INSIDE + (uint32_t)all->count});
        add_slots(to, all, ELEMENT_INSIDE);
    }
    if (to->service->affinity_seconds && all->count)
        add_at(to, SERVICE_AFFINITY, NODE_PORT_AFFINITY, (struct element){.number = to->service->affinity_seconds});
}

/* What a pod sends to itself passes its own node alone. */
static void add_hairpins(struct elements *elements, const struct slots *slots)
{
    for (size_t i = 0; i < slots->count; i++)
        if (!slots->items[i].remote)
            add(elements, (struct element){.set = HAIRPIN, .address = slots->items[i].address});
}

/* Masquerade also where there is no endpoint: a packet on its way to the last one may still be on the way. */
static void add_external(struct elements *elements, const struct dataplane_service *service, struct ip_address address,
                         const struct slots *all, const struct slots *local)
{
    bool only_local = service->external_local;
    struct entrance to = {elements, service, address, address.family ? service->port : service->node_port};
    add_entrance(&to, all, only_local ? local : all, only_local);
    if (!only_local)
        add_at(&to, SERVICE_MASQUERADE, NODE_PORT_MASQUERADE, (struct element){0});
}

/* Whether another range has all of range i; of equal ones the first counts. The kernel refuses ranges that overlap. */
static bool is_within_another(const struct dataplane_service *service, size_t i)
{
    const struct ip_prefix *ranges = service->source_ranges;
    for (size_t k = 0; k < service->source_range_count; k++)
        if (k != i && ip_prefix_contains(&ranges[k], &ranges[i].address) &&
            (ranges[k].length < ranges[i].length || (ranges[k].length == ranges[i].length && k < i)))
            return true;
    return false;
}

static void add_source_ranges(struct elements *elements, const struct dataplane_service *service,
                              struct ip_address address)
{
    struct element e = {
        .set = SOURCE_LIMITED, .address = address, .protocol = service->protocol, .port = service->port};
    if (!service->source_limited)
        return;
    add(elements, e);
    e.set = SOURCE_RANGES;
    for (size_t i = 0; i < service->source_range_count; i++) {
        if (is_within_another(service, i))
            continue;
        e.endpoint_address = service->source_ranges[i].address;
        e.slot = (uint32_t)service->source_ranges[i].length;
        add(elements, e);
    }
}

struct elements elements_of_service(const struct dataplane_service *service, const struct slots *all,
                                    const struct slots *local)
{
    struct elements elements = {0};
    if (service->cluster_address.family)
        add_entrance(&(struct entrance){&elements, service, service->cluster_address, service->port}, all,
                     service->internal_local ? local : all, false);
    for (size_t i = 0; i < service->external_address_count; i++)
        if (service->external_addresses[i].family)
            add_external(&elements, service, service->external_addresses[i], all, local);
    for (size_t i = 0; i < service->balancer_address_count; i++) {
        add_external(&elements, service, service->balancer_addresses[i], all, local);
        add_source_ranges(&elements, service, service->balancer_addresses[i]);
    }
    if (service->node_port)
        add_external(&elements, service, (struct ip_address){0}, all, local);
    add_hairpins(&elements, all);
    add_hairpins(&elements, local);
    return elements;
}
