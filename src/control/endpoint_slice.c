/* The EndpointSlice controller: the addresses of a Service's pods in slices of at most 100, each with its conditions,
 * one set of slices for each address family.
 *
 * As upstream packs them: endpoints stay in the slice that they are in. New ones fill the slices that are written
 * anyway, the fullest first; what is left and fits into one other slice goes there, else into new slices. Only slices
 * with a difference are written. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/well_known.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"
#include "control/endpoints.h"
#include "control/topology_hints.h"

#define SLICE_ENDPOINTS_MAX 100

struct slices {
    struct service_watch watch;
    struct informer *slices, *nodes;
    int by_service;
    struct map hinted; /* "namespace/name" of Services whose endpoints have hints of their topology */
};

static bool slice_service(struct object *object, char *out, size_t size)
{
    const char *name = string_map_get(&object->meta->labels, SERVICE_NAME_LABEL);
    const char *manager = string_map_get(&object->meta->labels, SLICE_MANAGED_BY_LABEL);
    if (!name || !manager || strcmp(manager, SLICE_CONTROLLER) != 0 ||
        strlen(name) + strlen(object->meta->namespace) + 2 > size)
        return false;
    strcpy(stpcpy(stpcpy(out, object->meta->namespace), "/"), name);
    return true;
}

/* Somebody else's change of a slice of ours is put right, also one that takes it away from its Service. */
static void slice_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change;
    endpoints_slice_seen(context, object);
    endpoints_slice_seen(context, old);
}

static bool enqueue_if_wanted(void *context, struct object *object)
{
    if (topology_wanted(object->value))
        controller_enqueue(context, object->meta);
    return true;
}

/* Another share of the zones is another choice. */
static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct slices *own = c->state;
    struct topology now = {0}, before = {0};
    if (object && change != INFORMER_DELETED)
        topology_add_node(&now, object->value);
    if (old)
        topology_add_node(&before, old->value);
    bool same = change == INFORMER_UPDATED && now.count == before.count && now.insufficient == before.insufficient &&
                (!now.count ||
                 (text_equal(now.zones[0].name, before.zones[0].name) && now.zones[0].cpu == before.zones[0].cpu));
    if (!same)
        informer_each(own->watch.services, NULL, enqueue_if_wanted, c);
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
    informer_add_handler(own->nodes, node_changed, c);
}

static void stop(struct controller *c)
{
    struct slices *own = c->state;
    endpoints_watch_free(&own->watch);
    map_free(&own->hinted);
    free(own);
}

/* ---- What there should be ---- */

/* Pods with the same numbers behind the Service's ports share slices, in each family. */
struct group {
    const char *address_type;
    struct discovery_endpoint_port_array ports;
    VECTOR(struct endpoint) endpoints;
    struct map by_uid; /* pod uid -> index + 1 into endpoints; removed once placed */
    size_t next;       /* where the next endpoint without a slice is looked for */
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
    struct discovery_endpoint_port_array out = {.items =
                                                    arena_alloc(arena, service->spec.ports.count * sizeof(*out.items))};
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

static const char *zone_of(const struct slices *own, const struct pod *pod)
{
    struct object *node = pod->spec.node_name ? informer_get(own->nodes, NULL, pod->spec.node_name) : NULL;
    return node ? string_map_get(&node->meta->labels, "topology.kubernetes.io/zone") : NULL;
}

/* Who should prefer the endpoint, as trafficDistribution says: only ready ones have hints. The annotation for hints of
 * the topology comes first (add_topology). */
static struct endpoint_hints *hints_of(struct wanted *w, const struct endpoint *e)
{
    const char *distribution = w->service->spec.traffic_distribution;
    bool same_node = text_equal(distribution, "PreferSameNode");
    bool zone =
        e->zone && (same_node || text_equal(distribution, "PreferClose") || text_equal(distribution, "PreferSameZone"));
    bool node = e->node_name && same_node;
    if (!e->conditions.ready.value || (!zone && !node) || topology_wanted(w->service))
        return NULL;
    struct endpoint_hints *hints = arena_alloc(w->arena, sizeof(*hints));
    if (zone) {
        hints->for_zones.items = arena_copy(w->arena, &(struct for_zone){.name = e->zone}, sizeof(struct for_zone));
        hints->for_zones.count = 1;
    }
    if (node) {
        hints->for_nodes.items =
            arena_copy(w->arena, &(struct for_node){.name = e->node_name}, sizeof(struct for_node));
        hints->for_nodes.count = 1;
    }
    return hints;
}

static struct endpoint endpoint_of(struct wanted *w, const struct pod *pod, const char *address)
{
    bool serving = pod_is_ready(pod), terminating = pod->metadata.deletion_timestamp != 0;
    struct endpoint e = {.addresses = {arena_copy(w->arena, &address, sizeof(char *)), 1},
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
    e.hints = hints_of(w, &e);
    return e;
}

static struct group *group_of(struct wanted *w, const char *address_type,
                              const struct discovery_endpoint_port_array *ports)
{
    for (size_t i = 0; i < w->groups.count; i++)
        if (text_equal(w->groups.items[i]->address_type, address_type) &&
            endpoint_slice_same_ports(&w->groups.items[i]->ports, ports))
            return w->groups.items[i];
    return NULL;
}

static bool add_pod(void *context, struct object *object)
{
    struct wanted *w = context;
    const struct pod *pod = object->value;
    const struct string_array *families = &w->service->spec.ip_families;
    struct discovery_endpoint_port_array ports = pod_ports(w->arena, pod, w->service);
    for (size_t i = 0; i < families->count; i++) {
        const char *address = endpoints_pod_address(pod, families->items[i]);
        if (!address)
            continue;
        struct group *group = group_of(w, families->items[i], &ports);
        if (!group) {
            group = mem_zero(1, sizeof(*group));
            group->address_type = families->items[i];
            group->ports = ports;
            vector_push(&w->groups, group);
        }
        vector_push(&group->endpoints, endpoint_of(w, pod, address));
        map_set(&group->by_uid, pod->metadata.uid, (void *)(uintptr_t)group->endpoints.count);
    }
    return true;
}

static bool count_node(void *context, struct object *object)
{
    topology_add_node(context, object->value);
    return true;
}

static void tell_topology(struct controller *c, struct object *service, bool enabled, const char *text,
                          const char *family)
{
    recorder_event(c->recorder, service->resource, service->meta, NULL, enabled ? "Normal" : "Warning",
                   enabled ? "TopologyAwareHintsEnabled" : "TopologyAwareHintsDisabled", "%s, addressType: %s", text,
                   family);
}

/* Hints of the topology for the ready endpoints of a family, in all groups. */
static const char *hint_family(struct wanted *w, const struct topology *topology, const char *family)
{
    VECTOR(struct endpoint *) ready = {0};
    for (size_t i = 0; i < w->groups.count; i++) {
        struct group *g = w->groups.items[i];
        for (size_t k = 0; k < g->endpoints.count && text_equal(g->address_type, family); k++)
            if (g->endpoints.items[k].conditions.ready.value)
                vector_push(&ready, &g->endpoints.items[k]);
    }
    const char *why = topology_hint(w->arena, topology, ready.items, ready.count);
    vector_free(&ready);
    return why;
}

static void add_topology(struct controller *c, struct wanted *w, struct object *service, const char *key)
{
    const struct string_array *families = &w->service->spec.ip_families;
    struct topology topology = {0};
    bool wanted = topology_wanted(w->service);
    if (wanted)
        informer_each(w->own->nodes, NULL, count_node, &topology);
    for (size_t i = 0; i < families->count; i++) {
        bool had = map_has(&w->own->hinted, key);
        const char *why = wanted ? hint_family(w, &topology, families->items[i]) : NULL;
        if (why || (!wanted && had))
            tell_topology(c, service, false, why ? why : "Topology Aware Hints has been disabled", families->items[i]);
        else if (wanted && !had)
            tell_topology(c, service, true, "Topology Aware Hints has been enabled", families->items[i]);
        if (wanted && !why)
            map_set(&w->own->hinted, key, NULL);
        else
            map_remove(&w->own->hinted, key);
    }
}

/* The next endpoint of the group that has no slice yet, in the order of pods; NULL: none. */
static const struct endpoint *next_unplaced(struct group *g)
{
    for (; g->next < g->endpoints.count; g->next++) {
        const struct endpoint *e = &g->endpoints.items[g->next];
        if (map_has(&g->by_uid, e->target_ref->uid))
            return e;
    }
    return NULL;
}

static void place(struct group *g, struct endpoint_slice *slice)
{
    const struct endpoint *e;
    while (slice->endpoints.count < SLICE_ENDPOINTS_MAX && (e = next_unplaced(g))) {
        slice->endpoints.items[slice->endpoints.count++] = *e;
        map_remove(&g->by_uid, e->target_ref->uid);
    }
}

/* ---- What there is ---- */

struct present {
    struct object *object;
    struct endpoint_slice slice; /* as it is to be */
    struct group *group;         /* NULL: none any more */
    bool changed;
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
static void keep_wanted(struct wanted *w, struct present *p, const struct string_map *labels)
{
    struct endpoint_array kept = {arena_alloc(w->arena, SLICE_ENDPOINTS_MAX * sizeof(struct endpoint)), 0};
    p->group = group_of(w, p->slice.address_type, &p->slice.ports);
    for (size_t i = 0; p->group && i < p->slice.endpoints.count && kept.count < SLICE_ENDPOINTS_MAX; i++) {
        const struct object_reference *ref = p->slice.endpoints.items[i].target_ref;
        uintptr_t at = ref && ref->uid ? (uintptr_t)map_remove(&p->group->by_uid, ref->uid) : 0;
        if (at)
            kept.items[kept.count++] = p->group->endpoints.items[at - 1];
    }
    p->slice.endpoints = kept;
    p->slice.metadata.labels = *labels;
    p->changed = !api_equal(&api_type_endpoint_slice, &p->slice, p->object->value);
}

/* The fullest slice of the group that is or is not written anyway, and has room for that many more. Empty ones are on
 * their way out. */
static struct present *fullest(struct presents *presents, const struct group *group, bool changed, size_t room)
{
    struct present *best = NULL;
    for (size_t i = 0; i < presents->items.count; i++) {
        struct present *p = &presents->items.items[i];
        size_t count = p->slice.endpoints.count;
        if (p->group == group && p->changed == changed && count && count + room <= SLICE_ENDPOINTS_MAX &&
            (!best || count > best->slice.endpoints.count))
            best = p;
    }
    return best;
}

/* A slice that has become empty takes what would need a new one. */
static struct present *empty_one(struct presents *presents, const char *address_type)
{
    for (size_t i = 0; i < presents->items.count; i++)
        if (!presents->items.items[i].slice.endpoints.count &&
            text_equal(presents->items.items[i].slice.address_type, address_type))
            return &presents->items.items[i];
    return NULL;
}

/* ---- The way there ---- */

/* What all slices of a Service have in common. */
struct slice_frame {
    struct work *work;
    int64_t trigger; /* see endpoints_trigger_end */
    struct string_map labels;
    struct owner_reference owner;
};

static void create_slice(struct wanted *w, struct slice_frame *frame, const char *address_type, struct group *group)
{
    struct endpoint_slice slice = {.address_type = address_type};
    slice.metadata.generate_name = arena_printf(w->arena, "%s-", w->service->metadata.name);
    slice.metadata.namespace = w->service->metadata.namespace;
    slice.metadata.labels = frame->labels;
    endpoints_set_trigger_time(w->arena, &slice.metadata.annotations, frame->trigger);
    slice.metadata.owner_references.items = &frame->owner;
    slice.metadata.owner_references.count = 1;
    slice.endpoints.items = arena_alloc(w->arena, SLICE_ENDPOINTS_MAX * sizeof(struct endpoint));
    if (group) {
        slice.ports = group->ports;
        place(group, &slice);
    }
    work_create(frame->work, &api_resources[API_ENDPOINTSLICES], w->service->metadata.namespace, &slice, NULL, NULL);
}

static void update_slice(struct wanted *w, struct slice_frame *frame, struct present *p)
{
    endpoints_set_trigger_time(w->arena, &p->slice.metadata.annotations, frame->trigger);
    work_update(frame->work, &api_resources[API_ENDPOINTSLICES], NULL, &p->slice, NULL, NULL);
}

static void place_all(struct wanted *w, struct slice_frame *frame, struct presents *presents, struct group *group)
{
    struct present *p;
    while (next_unplaced(group) && (p = fullest(presents, group, true, 1)))
        place(group, &p->slice);
    while (next_unplaced(group)) {
        size_t left = group->by_uid.count;
        p = left < SLICE_ENDPOINTS_MAX ? fullest(presents, group, false, left) : NULL;
        if (!p && (p = empty_one(presents, group->address_type))) {
            p->group = group;
            p->slice.ports = group->ports;
        }
        if (p) {
            p->changed = true;
            place(group, &p->slice);
        } else {
            create_slice(w, frame, group->address_type, group);
        }
    }
}

/* A Service without endpoints keeps one slice of each family, which is empty. */
static void keep_placeholder(struct wanted *w, struct slice_frame *frame, struct presents *presents,
                             const char *address_type)
{
    for (size_t i = 0; i < w->groups.count; i++)
        if (text_equal(w->groups.items[i]->address_type, address_type))
            return;
    struct present *p = empty_one(presents, address_type);
    if (!p) {
        create_slice(w, frame, address_type, NULL);
        return;
    }
    p->slice.ports.count = 0;
    if (!api_equal(&api_type_endpoint_slice, &p->slice, p->object->value))
        update_slice(w, frame, p);
    p->object = NULL; /* done with */
}

static bool is_owned(const struct object *slice, const struct service *service)
{
    for (size_t i = 0; i < slice->meta->owner_references.count; i++)
        if (text_equal(slice->meta->owner_references.items[i].uid, service->metadata.uid))
            return true;
    return false;
}

/* Those of an earlier Service of the name, which are about to be collected, and what others claim to be ours. */
static void drop_foreign(struct wanted *w, struct slice_frame *frame, struct presents *presents)
{
    for (size_t i = presents->items.count; i-- > 0;) {
        const struct object *object = presents->items.items[i].object;
        if (is_owned(object, w->service))
            continue;
        work_delete(frame->work, &api_resources[API_ENDPOINTSLICES], object->meta, NULL, NULL, NULL);
        vector_remove(&presents->items, i);
    }
}

static void write_slices(struct wanted *w, struct slice_frame *frame, struct presents *presents)
{
    const struct api_resource *resource = &api_resources[API_ENDPOINTSLICES];
    const struct string_array *families = &w->service->spec.ip_families;
    for (size_t i = 0; i < w->groups.count; i++)
        place_all(w, frame, presents, w->groups.items[i]);
    for (size_t i = 0; i < families->count; i++)
        keep_placeholder(w, frame, presents, families->items[i]);
    for (size_t i = 0; i < presents->items.count; i++) {
        struct present *p = &presents->items.items[i];
        if (p->object && !p->slice.endpoints.count)
            work_delete(frame->work, resource, p->object->meta, NULL, NULL, NULL);
        else if (p->object && p->changed)
            update_slice(w, frame, p);
    }
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct slices *own = c->state;
    struct object *object = informer_get(own->watch.services, work_namespace(work), work_name(work));
    cleanup_free char *key = mem_printf("%s/%s", work_namespace(work), work_name(work));
    if (!object)
        endpoints_forget_trigger(&own->watch, work_namespace(work), work_name(work));
    if (!object || object->meta->deletion_timestamp || !endpoints_managed(object->value)) {
        map_remove(&own->hinted, key);
        return; /* slices of a Service that is gone are collected with their owner */
    }
    struct wanted w = {.own = own, .arena = work_arena(work), .service = object->value};
    struct presents presents = {0};
    struct slice_frame frame = {.work = work,
                                .labels =
                                    endpoints_labels(w.arena, w.service, SLICE_MANAGED_BY_LABEL, SLICE_CONTROLLER),
                                .owner = controller_reference(&api_resources[API_SERVICES], &w.service->metadata)};
    string_map_set(w.arena, &frame.labels, SERVICE_NAME_LABEL, w.service->metadata.name);
    frame.trigger = endpoints_each_pod(&own->watch, w.service, add_pod, &w);
    add_topology(c, &w, object, key);
    informer_each_indexed(own->slices, own->by_service, key, collect, &presents);
    drop_foreign(&w, &frame, &presents);
    for (size_t i = 0; i < presents.items.count; i++)
        keep_wanted(&w, &presents.items.items[i], &frame.labels);
    write_slices(&w, &frame, &presents);
    for (size_t i = 0; i < w.groups.count; i++) {
        vector_free(&w.groups.items[i]->endpoints);
        map_free(&w.groups.items[i]->by_uid);
        free(w.groups.items[i]);
    }
    vector_free(&w.groups);
    vector_free(&presents.items);
}

const struct controller_kind endpoint_slice_controller = {.name = "endpoint-slice-controller",
                                                          .queue = "endpoint_slice",
                                                          .start = start,
                                                          .reconcile = reconcile,
                                                          .stop = stop};
