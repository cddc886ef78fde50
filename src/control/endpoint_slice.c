/* The EndpointSlice controller: the addresses of a Service's pods in slices of at most 100, each with its conditions.
 * Endpoints stay in the slice that they are in; only slices with a difference are written. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/vector.h"
#include "control/endpoints.h"

#define SLICE_ENDPOINTS_MAX 100
#define MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define MANAGED_BY "endpointslice-controller.k8s.io"

struct slices {
    struct service_watch watch;
    struct informer *slices, *nodes;
    int by_service;
};

static bool slice_service(struct object *object, char *out, size_t size)
{
    const char *name = string_map_get(&object->meta->labels, SERVICE_NAME_LABEL);
    const char *manager = string_map_get(&object->meta->labels, MANAGED_BY_LABEL);
    if (!name || !manager || strcmp(manager, MANAGED_BY) != 0 ||
        strlen(name) + strlen(object->meta->namespace) + 2 > size)
        return false;
    strcpy(stpcpy(stpcpy(out, object->meta->namespace), "/"), name);
    return true;
}

/* Somebody else's change of a slice of ours is put right. */
static void slice_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    const char *name = string_map_get(&object->meta->labels, SERVICE_NAME_LABEL);
    (void)change, (void)old;
    if (name)
        queue_add(c->queue, object->meta->namespace, name);
}

static void start(struct controller *c)
{
    struct slices *own = mem_zero(1, sizeof(*own));
    c->state = own;
    endpoints_watch(c, &own->watch);
    own->slices = informer_set_get(c->informers, &api_resources[API_ENDPOINTSLICES]);
    own->nodes = informer_set_get(c->informers, &api_resources[API_NODES]);
    own->by_service = informer_add_index(own->slices, slice_service);
    informer_add_handler(own->slices, slice_changed, c);
}

static void stop(struct controller *c)
{
    free(c->state);
}

/* ---- What there should be ---- */

/* Pods with the same numbers behind the Service's ports share slices. */
struct group {
    struct discovery_endpoint_port_array ports;
    VECTOR(struct endpoint) endpoints;
    struct map by_uid; /* pod uid -> index + 1 into endpoints; removed once placed */
};

struct wanted {
    struct slices *own;
    struct arena *arena;
    const struct service *service;
    VECTOR(struct group *) groups;
};

static struct discovery_endpoint_port_array pod_ports(struct arena *arena, const struct pod *pod,
                                                      const struct service *service)
{
    struct discovery_endpoint_port_array out = {
        .items = arena_alloc(arena, service->spec.ports.count * sizeof(*out.items))};
    for (size_t i = 0; i < service->spec.ports.count; i++) {
        const struct service_port *port = &service->spec.ports.items[i];
        int32_t number = endpoints_port(pod, port);
        if (!number)
            continue;
        out.items[out.count++] = (struct discovery_endpoint_port){.name = port->name ? port->name : "",
                                                                  .port = opt_int32(number),
                                                                  .protocol = port->protocol ? port->protocol : "TCP",
                                                                  .app_protocol = port->app_protocol};
    }
    return out;
}

static bool same_ports(const struct discovery_endpoint_port_array *a, const struct discovery_endpoint_port_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!api_equal(&api_type_discovery_endpoint_port, &a->items[i], &b->items[i]))
            return false;
    return true;
}

static const char *zone_of(const struct slices *own, const struct pod *pod)
{
    struct object *node = pod->spec.node_name ? informer_get(own->nodes, NULL, pod->spec.node_name) : NULL;
    return node ? string_map_get(&node->meta->labels, "topology.kubernetes.io/zone") : NULL;
}

static struct endpoint endpoint_of(struct wanted *w, const struct pod *pod)
{
    bool serving = pod_is_ready(pod), terminating = pod->metadata.deletion_timestamp != 0;
    struct endpoint e = {.addresses = {arena_copy(w->arena, &pod->status.pod_ip, sizeof(char *)), 1},
                         .node_name = pod->spec.node_name,
                         .hostname = endpoints_hostname(pod, w->service),
                         .zone = zone_of(w->own, pod)};
    e.conditions.ready = opt_bool(w->service->spec.publish_not_ready_addresses || (serving && !terminating));
    e.conditions.serving = opt_bool(serving);
    e.conditions.terminating = opt_bool(terminating);
    e.target_ref = arena_alloc(w->arena, sizeof(*e.target_ref));
    e.target_ref->kind = "Pod";
    e.target_ref->namespace = pod->metadata.namespace;
    e.target_ref->name = pod->metadata.name;
    e.target_ref->uid = pod->metadata.uid;
    return e;
}

static bool add_pod(void *context, struct object *object)
{
    struct wanted *w = context;
    const struct pod *pod = object->value;
    struct discovery_endpoint_port_array ports = pod_ports(w->arena, pod, w->service);
    struct group *group = NULL;
    for (size_t i = 0; i < w->groups.count && !group; i++)
        if (same_ports(&w->groups.items[i]->ports, &ports))
            group = w->groups.items[i];
    if (!group) {
        group = mem_zero(1, sizeof(*group));
        group->ports = ports;
        vector_push(&w->groups, group);
    }
    vector_push(&group->endpoints, endpoint_of(w, pod));
    map_set(&group->by_uid, pod->metadata.uid, (void *)(uintptr_t)group->endpoints.count);
    return true;
}

/* ---- What there is ---- */

struct present {
    struct object *object;
    struct endpoint_slice slice; /* as it is to be */
    struct group *group;
};

struct presents {
    VECTOR(struct present) items;
};

static bool collect(void *context, struct object *object)
{
    struct presents *p = context;
    if (!object->meta->deletion_timestamp)
        vector_push(&p->items,
                    (struct present){.object = object, .slice = *(const struct endpoint_slice *)object->value});
    return true;
}

/* Keeps what is still wanted, in its place and in its newest form. */
static void keep_wanted(struct wanted *w, struct present *p)
{
    for (size_t i = 0; i < w->groups.count && !p->group; i++)
        if (same_ports(&w->groups.items[i]->ports, &p->slice.ports))
            p->group = w->groups.items[i];
    struct endpoint_array kept = {arena_alloc(w->arena, SLICE_ENDPOINTS_MAX * sizeof(struct endpoint)), 0};
    for (size_t i = 0; p->group && i < p->slice.endpoints.count && kept.count < SLICE_ENDPOINTS_MAX; i++) {
        const struct object_reference *ref = p->slice.endpoints.items[i].target_ref;
        uintptr_t at = ref && ref->uid ? (uintptr_t)map_remove(&p->group->by_uid, ref->uid) : 0;
        if (at)
            kept.items[kept.count++] = p->group->endpoints.items[at - 1];
    }
    p->slice.endpoints = kept;
}

/* The next endpoint of the group that has no slice yet, in the order of pods; NULL: none. */
static const struct endpoint *next_unplaced(struct group *g, size_t *from)
{
    for (; *from < g->endpoints.count; (*from)++) {
        const struct endpoint *e = &g->endpoints.items[*from];
        if (map_has(&g->by_uid, e->target_ref->uid))
            return e;
    }
    return NULL;
}

static void place(struct group *g, struct endpoint_slice *slice, size_t *from)
{
    const struct endpoint *e;
    while (slice->endpoints.count < SLICE_ENDPOINTS_MAX && (e = next_unplaced(g, from))) {
        slice->endpoints.items[slice->endpoints.count++] = *e;
        map_remove(&g->by_uid, e->target_ref->uid);
    }
}

/* What all slices of a Service have in common. */
struct slice_frame {
    struct work *work;
    struct string_map labels;
    struct owner_reference owner;
};

static void create_slice(struct wanted *w, struct slice_frame *frame, struct group *group, size_t *from)
{
    struct endpoint_slice slice = {.address_type = "IPv4"};
    slice.metadata.generate_name = arena_printf(w->arena, "%s-", w->service->metadata.name);
    slice.metadata.namespace = w->service->metadata.namespace;
    slice.metadata.labels = frame->labels;
    slice.metadata.owner_references.items = &frame->owner;
    slice.metadata.owner_references.count = 1;
    slice.endpoints.items = arena_alloc(w->arena, SLICE_ENDPOINTS_MAX * sizeof(struct endpoint));
    if (group) {
        slice.ports = group->ports;
        place(group, &slice, from);
    }
    work_create(frame->work, &api_resources[API_ENDPOINTSLICES], w->service->metadata.namespace, &slice, NULL, NULL);
}

/* A Service without endpoints keeps one slice, which is empty. */
static void write_present(struct wanted *w, struct slice_frame *frame, struct present *p, bool placeholder)
{
    const struct api_resource *resource = &api_resources[API_ENDPOINTSLICES];
    p->slice.metadata.labels = frame->labels;
    if (placeholder)
        p->slice.ports.count = 0;
    if (!p->slice.endpoints.count && !placeholder)
        work_delete(frame->work, resource, p->object->meta, NULL, NULL, NULL);
    else if (!api_equal(&api_type_endpoint_slice, &p->slice, p->object->value))
        work_update(frame->work, resource, NULL, &p->slice, NULL, NULL);
}

static void write_slices(struct wanted *w, struct work *work, struct presents *presents)
{
    struct slice_frame frame = {.work = work,
                                .labels = endpoints_labels(w->arena, w->service, MANAGED_BY_LABEL, MANAGED_BY),
                                .owner = controller_reference(&api_resources[API_SERVICES], &w->service->metadata)};
    string_map_set(w->arena, &frame.labels, SERVICE_NAME_LABEL, w->service->metadata.name);
    size_t from[w->groups.count + 1];
    memset(from, 0, sizeof(from));
    for (size_t i = 0; i < presents->items.count; i++) {
        struct present *p = &presents->items.items[i];
        for (size_t g = 0; g < w->groups.count; g++)
            if (w->groups.items[g] == p->group)
                place(p->group, &p->slice, &from[g]);
        write_present(w, &frame, p, i == 0 && !w->groups.count);
    }
    for (size_t g = 0; g < w->groups.count; g++)
        while (next_unplaced(w->groups.items[g], &from[g]))
            create_slice(w, &frame, w->groups.items[g], &from[g]);
    if (!w->groups.count && !presents->items.count)
        create_slice(w, &frame, NULL, NULL);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct slices *own = c->state;
    struct object *object = informer_get(own->watch.services, work_namespace(work), work_name(work));
    if (!object || object->meta->deletion_timestamp || !endpoints_managed(object->value))
        return; /* slices of a Service that is gone are collected with their owner */
    struct wanted w = {.own = own, .arena = work_arena(work), .service = object->value};
    struct presents presents = {0};
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    endpoints_each_pod(&own->watch, w.service, add_pod, &w);
    informer_each_indexed(own->slices, own->by_service, key, collect, &presents);
    for (size_t i = 0; i < presents.items.count; i++)
        keep_wanted(&w, &presents.items.items[i]);
    write_slices(&w, work, &presents);
    for (size_t i = 0; i < w.groups.count; i++) {
        vector_free(&w.groups.items[i]->endpoints);
        map_free(&w.groups.items[i]->by_uid);
        free(w.groups.items[i]);
    }
    vector_free(&w.groups);
    vector_free(&presents.items);
}

const struct controller_kind endpoint_slice_controller = {
    .name = "endpoint-slice-controller", .start = start, .reconcile = reconcile, .stop = stop};
