/* The EndpointSlice mirroring controller: Endpoints that somebody made by hand, for a Service without a selector,
 * become slices, one for each set of ports and address family. */
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

/* Addresses of one subset; more are not mirrored. */
#define SUBSET_ADDRESSES_MAX 1000
/* As upstream validates slices: those of several subsets with the same ports come together. */
#define SLICE_ENDPOINTS_MAX 1000
#define MANAGED_BY "endpointslicemirroring-controller.k8s.io"
#define SKIP_LABEL "endpointslice.kubernetes.io/skip-mirror"
#define LEADER_ANNOTATION "control-plane.alpha.kubernetes.io/leader"

struct mirroring {
    struct informer *services, *endpoints, *slices;
    int by_service;
};

/* ---- Events ---- */

static bool is_ours(const struct object *slice)
{
    return text_equal(string_map_get(&slice->meta->labels, SLICE_MANAGED_BY_LABEL), MANAGED_BY);
}

static bool mirrored_service(struct object *object, char *out, size_t size)
{
    const char *name = string_map_get(&object->meta->labels, SERVICE_NAME_LABEL);
    if (!name || !is_ours(object) || strlen(name) + strlen(object->meta->namespace) + 2 > size)
        return false;
    strcpy(stpcpy(stpcpy(out, object->meta->namespace), "/"), name);
    return true;
}

static void named_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change, (void)old;
    controller_enqueue(context, object->meta);
}

/* A slice that is taken away from its Service, or from us, leaves a gap. */
static void slice_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change;
    if (is_ours(object))
        endpoints_slice_seen(context, object);
    if (old && is_ours(old))
        endpoints_slice_seen(context, old);
}

static void start(struct controller *c)
{
    struct mirroring *own = mem_zero(1, sizeof(*own));
    c->state = own;
    own->services = informer_set_get(c->informers, &api_resources[API_SERVICES]);
    own->endpoints = informer_set_get(c->informers, &api_resources[API_ENDPOINTS]);
    own->slices = informer_set_get(c->informers, &api_resources[API_ENDPOINTSLICES]);
    own->by_service = informer_add_index(own->slices, mirrored_service);
    informer_add_handler(own->services, named_changed, c);
    informer_add_handler(own->endpoints, named_changed, c);
    informer_add_handler(own->slices, slice_changed, c);
}

static void stop(struct controller *c)
{
    free(c->state);
}

/* ---- What there should be ---- */

struct group {
    const char *address_type;
    struct discovery_endpoint_port_array ports;
    struct endpoint_array endpoints;
    bool placed;
};

struct wanted {
    struct controller *controller;
    struct arena *arena;
    const struct endpoints *endpoints;
    VECTOR(struct group) groups;
    size_t invalid, skipped;
};

static struct discovery_endpoint_port_array slice_ports(struct arena *arena, const struct endpoint_port_array *from)
{
    struct discovery_endpoint_port_array out = {.items = arena_alloc(arena, from->count * sizeof(*out.items))};
    for (; out.count < from->count; out.count++) {
        const struct endpoint_port *port = &from->items[out.count];
        out.items[out.count] = (struct discovery_endpoint_port){.name = port->name ? port->name : "",
                                                                .port = opt_int32(port->port),
                                                                .protocol = port->protocol ? port->protocol : "TCP",
                                                                .app_protocol = port->app_protocol};
    }
    return out;
}

static struct group *group_of(struct wanted *w, const char *address_type,
                              const struct discovery_endpoint_port_array *ports)
{
    for (size_t i = 0; i < w->groups.count; i++)
        if (text_equal(w->groups.items[i].address_type, address_type) &&
            endpoint_slice_same_ports(&w->groups.items[i].ports, ports))
            return &w->groups.items[i];
    struct group fresh = {.address_type = address_type, .ports = *ports};
    fresh.endpoints.items = arena_alloc(w->arena, SLICE_ENDPOINTS_MAX * sizeof(struct endpoint));
    vector_push(&w->groups, fresh);
    return &w->groups.items[w->groups.count - 1];
}

/* False for an address that is none. */
static bool add_address(struct wanted *w, const struct discovery_endpoint_port_array *ports,
                        const struct endpoint_address *from, bool ready)
{
    struct in6_addr parsed;
    char text[INET6_ADDRSTRLEN];
    const char *ip = from->ip ? from->ip : "";
    int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, ip, &parsed) != 1)
        return false;
    struct group *group = group_of(w, family == AF_INET6 ? "IPv6" : "IPv4", ports);
    if (group->endpoints.count == SLICE_ENDPOINTS_MAX)
        return true;
    const char *address = arena_string(w->arena, inet_ntop(family, &parsed, text, sizeof(text)));
    struct endpoint e = {.addresses = {arena_copy(w->arena, &address, sizeof(char *)), 1},
                         .conditions.ready = opt_bool(ready),
                         .target_ref = from->target_ref,
                         .node_name = from->node_name,
                         .hostname = from->hostname && *from->hostname ? from->hostname : NULL};
    group->endpoints.items[group->endpoints.count++] = e;
    return true;
}

static void add_subset(struct wanted *w, const struct endpoint_subset *subset)
{
    struct discovery_endpoint_port_array ports = slice_ports(w->arena, &subset->ports);
    size_t added = 0, total = subset->addresses.count + subset->not_ready_addresses.count;
    for (int ready = 1; ready >= 0; ready--) {
        const struct endpoint_address_array *list = ready ? &subset->addresses : &subset->not_ready_addresses;
        for (size_t i = 0; i < list->count && added < SUBSET_ADDRESSES_MAX; i++) {
            if (add_address(w, &ports, &list->items[i], ready))
                added++;
            else
                w->invalid++;
        }
    }
    w->skipped += total - added;
}

static void report_skipped(const struct wanted *w)
{
    const struct api_resource *resource = &api_resources[API_ENDPOINTS];
    struct recorder *recorder = w->controller->recorder;
    if (w->invalid)
        recorder_event(recorder, resource, &w->endpoints->metadata, NULL, "Warning", "InvalidIPAddress",
                       "Skipped %zu invalid IP addresses when mirroring to EndpointSlices", w->invalid);
    if (w->skipped > w->invalid)
        recorder_event(recorder, resource, &w->endpoints->metadata, NULL, "Warning", "TooManyAddressesToMirror",
                       "A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %zu addresses "
                       "were skipped",
                       SUBSET_ADDRESSES_MAX, w->skipped);
}

/* ---- The way there ---- */

static struct string_map slice_annotations(struct arena *arena, const struct string_map *from)
{
    struct string_map out = {arena_alloc(arena, from->count * sizeof(*out.items)), 0};
    for (size_t i = 0; i < from->count; i++)
        if (!text_equal(from->items[i].key, "endpoints.kubernetes.io/last-change-trigger-time") &&
            !text_equal(from->items[i].key, "kubectl.kubernetes.io/last-applied-configuration"))
            out.items[out.count++] = from->items[i];
    return out;
}

struct frame {
    struct work *work;
    struct string_map labels, annotations;
    struct owner_reference owner;
};

static void fill(struct endpoint_slice *slice, const struct frame *frame, const struct group *group)
{
    slice->metadata.labels = frame->labels;
    slice->metadata.annotations = frame->annotations;
    slice->ports = group->ports;
    slice->endpoints = group->endpoints;
}

struct presents {
    VECTOR(struct object *) items;
};

static bool collect(void *context, struct object *object)
{
    struct presents *p = context;
    if (!object->meta->deletion_timestamp)
        vector_push(&p->items, object);
    return true;
}

static void update(struct frame *frame, struct object *present, struct group *group)
{
    struct endpoint_slice slice = *(const struct endpoint_slice *)present->value;
    fill(&slice, frame, group);
    group->placed = true;
    if (!api_equal(&api_type_endpoint_slice, &slice, present->value))
        work_update(frame->work, &api_resources[API_ENDPOINTSLICES], NULL, &slice, NULL, NULL);
}

static struct group *unplaced(struct wanted *w, const char *address_type, const struct endpoint_slice *with_ports)
{
    for (size_t i = 0; i < w->groups.count; i++) {
        struct group *g = &w->groups.items[i];
        if (!g->placed && text_equal(g->address_type, address_type) &&
            (!with_ports || endpoint_slice_same_ports(&g->ports, &with_ports->ports)))
            return g;
    }
    return NULL;
}

/* Slices of the same ports first; those that are left over take what would need new ones, or go. */
static void write_slices(struct wanted *w, struct frame *frame, struct presents *presents)
{
    const struct api_resource *resource = &api_resources[API_ENDPOINTSLICES];
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < presents->items.count; i++) {
            struct object *present = presents->items.items[i];
            const struct endpoint_slice *value = present ? present->value : NULL;
            struct group *group = present ? unplaced(w, value->address_type, pass ? NULL : value) : NULL;
            if (group)
                update(frame, present, group);
            else if (present && pass)
                work_delete(frame->work, resource, present->meta, NULL, NULL, NULL);
            if (group)
                presents->items.items[i] = NULL;
        }
    for (size_t i = 0; i < w->groups.count; i++) {
        struct endpoint_slice slice = {.address_type = w->groups.items[i].address_type};
        if (w->groups.items[i].placed)
            continue;
        slice.metadata.generate_name = arena_printf(w->arena, "%s-", w->endpoints->metadata.name);
        slice.metadata.namespace = w->endpoints->metadata.namespace;
        slice.metadata.owner_references.items = &frame->owner;
        slice.metadata.owner_references.count = 1;
        fill(&slice, frame, &w->groups.items[i]);
        work_create(frame->work, resource, w->endpoints->metadata.namespace, &slice, NULL, NULL);
    }
}

/* Made by hand, and not by those who elect leaders with it. */
static bool is_to_be_mirrored(const struct object *service, const struct object *endpoints)
{
    return service && !service->meta->deletion_timestamp && endpoints && !endpoints->meta->deletion_timestamp &&
           !((const struct service *)service->value)->spec.selector.count &&
           !text_equal(string_map_get(&endpoints->meta->labels, SKIP_LABEL), "true") &&
           !string_map_get(&endpoints->meta->annotations, LEADER_ANNOTATION);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct mirroring *own = c->state;
    struct object *service = informer_get(own->services, work_namespace(work), work_name(work));
    struct object *object = informer_get(own->endpoints, work_namespace(work), work_name(work));
    struct presents presents = {0};
    struct wanted w = {.controller = c, .arena = work_arena(work)};
    struct frame frame = {.work = work};
    cleanup_free char *key = mem_printf("%s/%s", work_namespace(work), work_name(work));
    informer_each_indexed(own->slices, own->by_service, key, collect, &presents);
    if (is_to_be_mirrored(service, object)) {
        w.endpoints = object->value;
        frame.labels = object->meta->labels;
        string_map_set(w.arena, &frame.labels, SERVICE_NAME_LABEL, object->meta->name);
        string_map_set(w.arena, &frame.labels, SLICE_MANAGED_BY_LABEL, MANAGED_BY);
        frame.annotations = slice_annotations(w.arena, &object->meta->annotations);
        frame.owner = controller_reference(&api_resources[API_ENDPOINTS], object->meta);
        for (size_t i = 0; i < w.endpoints->subsets.count; i++)
            add_subset(&w, &w.endpoints->subsets.items[i]);
        report_skipped(&w);
    }
    write_slices(&w, &frame, &presents);
    vector_free(&w.groups);
    vector_free(&presents.items);
}

const struct controller_kind endpoint_slice_mirroring_controller = {.name = "endpoint-slice-mirroring-controller",
                                                                    .queue = "endpoint_slice_mirroring",
                                                                    .start = start,
                                                                    .reconcile = reconcile,
                                                                    .stop = stop};
