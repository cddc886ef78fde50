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
    [SERVICE_REFUSED] = {"service-refused", KEY_SERVICE, VALUE_NONE},
    [NODE_PORT_REFUSED] = {"node-port-refused", KEY_NODE_PORT, VALUE_NONE},
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

/* One way in: an address, or any of the node if the address is none. */
static void add_entrance(struct elements *elements, const struct dataplane_service *service, struct ip_address address,
                         uint16_t port, const struct slots *slots)
{
    bool node_port = !address.family;
    struct element key = {.address = address, .protocol = service->protocol, .port = port};
    struct element e = key;
    if (slots->count == 0) {
        e.set = node_port ? NODE_PORT_REFUSED : SERVICE_REFUSED;
        add(elements, e);
        return;
    }
    e.set = node_port ? NODE_PORT_SIZES : SERVICE_SIZES;
    e.number = (uint32_t)slots->count;
    add(elements, e);
    for (size_t i = 0; i < slots->count; i++) {
        e = key;
        e.set = node_port ? NODE_PORT_ENDPOINTS : SERVICE_ENDPOINTS;
        e.slot = (uint32_t)i;
        e.endpoint_address = slots->items[i].address;
        e.endpoint_port = slots->items[i].port;
        add(elements, e);
    }
    if (service->affinity_seconds) {
        e = key;
        e.set = node_port ? NODE_PORT_AFFINITY : SERVICE_AFFINITY;
        e.number = service->affinity_seconds;
        add(elements, e);
    }
}

/* Also where there is no endpoint: a packet on its way to the last one may still be on the way. */
static void add_masquerade(struct elements *elements, const struct dataplane_service *service,
                           struct ip_address address, uint16_t port)
{
    add(elements, (struct element){.set = address.family ? SERVICE_MASQUERADE : NODE_PORT_MASQUERADE,
                                   .address = address,
                                   .protocol = service->protocol,
                                   .port = port});
}

/* What a pod sends to itself passes its own node alone. */
static void add_hairpins(struct elements *elements, const struct slots *slots)
{
    for (size_t i = 0; i < slots->count; i++)
        if (!slots->items[i].remote)
            add(elements, (struct element){.set = HAIRPIN, .address = slots->items[i].address});
}

static void add_external(struct elements *elements, const struct dataplane_service *service, struct ip_address address,
                         const struct slots *slots)
{
    add_entrance(elements, service, address, service->port, slots);
    if (!service->external_local)
        add_masquerade(elements, service, address, service->port);
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

struct elements elements_of_service(const struct dataplane_service *service, const struct slots *internal,
                                    const struct slots *external)
{
    struct elements elements = {0};
    if (service->cluster_address.family)
        add_entrance(&elements, service, service->cluster_address, service->port, internal);
    for (size_t i = 0; i < service->external_address_count; i++)
        if (service->external_addresses[i].family)
            add_external(&elements, service, service->external_addresses[i], external);
    for (size_t i = 0; i < service->balancer_address_count; i++) {
        add_external(&elements, service, service->balancer_addresses[i], external);
        add_source_ranges(&elements, service, service->balancer_addresses[i]);
    }
    if (service->node_port) {
        add_entrance(&elements, service, (struct ip_address){0}, service->node_port, external);
        if (!service->external_local)
            add_masquerade(&elements, service, (struct ip_address){0}, service->node_port);
    }
    add_hairpins(&elements, internal);
    add_hairpins(&elements, external);
    return elements;
}
