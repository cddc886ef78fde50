/* Services and EndpointSlices in, data plane services out. Which Services are to be looked at again is gathered
 * in a set; one deferred call per turn translates them. */
#include "network/service_proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "api/well_known.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"
#include "network/endpoint_slices.h"
#include "network/host_ports.h"
#include "network/protocol.h"
#include "network/relayed_ports.h"
#include "network/service_external.h"
#include "network/topology.h"


struct service_proxy {
    struct service_proxy_options options;
    struct env *env;
    struct dataplane *plane;
    struct informer *services, *slices, *nodes;
    int slices_by_service;
    struct map dirty;     /* "namespace/name" -> NULL */
    struct map installed; /* "namespace/name" -> struct installed */
    struct map withheld;  /* pod uid -> NULL */
    struct host_ports *host_ports;
    bool flush_arranged, primed;
    uint64_t asked, applied;
    struct relayed_ports *relayed;
    bool freed;
};

/* ---- Events ---- */

static void flush(void *context);

static void arrange_flush(struct service_proxy *p)
{
    if (!p->flush_arranged) {
        p->flush_arranged = true;
        env_defer(p->env, flush, p);
    }
}

static void mark(struct service_proxy *p, const char *namespace, const char *name)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    map_set(&p->dirty, key, NULL);
    arrange_flush(p);
}

static void service_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change, (void)old;
    mark(context, object->meta->namespace, object->meta->name);
}

static void slice_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    const char *name = endpoint_slice_service(object);
    (void)change, (void)old;
    if (name)
        mark(context, object->meta->namespace, name);
}

static bool mark_all(void *context, struct object *object)
{
    mark(context, object->meta->namespace, object->meta->name);
    return true;
}

static const char *zone_of(const struct object *node)
{
    return node ? string_map_get(&node->meta->labels, "topology.kubernetes.io/zone") : NULL;
}

/* What is near is seen from this node's zone. */
static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct service_proxy *p = context;
    const char *now = zone_of(object), *before = zone_of(old);
    (void)change;
    if (strcmp(object->meta->name, p->options.node_name) == 0 && !text_equal(now, before))
        informer_each(p->services, NULL, mark_all, p);
}

/* ---- Translation ---- */

/* What a Service has in the data plane: names of its ports, by family. */
struct installed_port {
    int family;
    char *name;
};

struct installed {
    VECTOR(struct installed_port) ports;
    bool health_check;
};

struct translation {
    struct service_proxy *proxy;
    const char *key;
    const struct service *service;
    const struct service_port *port;
    int family;
    bool as_told; /* pods that are withheld count nonetheless */
    VECTOR(struct dataplane_endpoint) endpoints;
    VECTOR(const struct endpoint_hints *) hints; /* of each endpoint */
};

static struct dataplane_endpoint look_at_endpoint(const struct translation *t, const struct endpoint *e)
{
    struct dataplane_endpoint out = {.ready = endpoint_condition(e->conditions.ready, true),
                                     .terminating = endpoint_condition(e->conditions.terminating, false)};
    out.serving = endpoint_condition(e->conditions.serving, out.ready);
    if (!t->as_told && e->target_ref && e->target_ref->uid && map_has(&t->proxy->withheld, e->target_ref->uid))
        out.ready = out.serving = false;
    out.unplaced = text_empty(e->node_name);
    out.remote = !out.unplaced && !text_equal(e->node_name, t->proxy->options.node_name);
    if (e->addresses.count)
        ip_address_parse(e->addresses.items[0], &out.address);
    return out;
}

/* What the slice has behind the port, which it knows by name and protocol; 0: nothing. */
static int32_t port_number(const struct endpoint_slice *slice, const struct service_port *port)
{
    int32_t number = 0;
    for (size_t i = 0; i < slice->ports.count; i++) {
        const struct discovery_endpoint_port *p = &slice->ports.items[i];
        if (text_equal(p->name, port->name) && protocol_number(p->protocol) == protocol_number(port->protocol) &&
            p->port.set)
            number = p->port.value;
    }
    return number;
}

static bool add_slice(void *context, struct object *object)
{
    struct translation *t = context;
    const struct endpoint_slice *slice = object->value;
    if (!text_equal(slice->address_type, t->family == AF_INET6 ? "IPv6" : "IPv4"))
        return true;
    int32_t number = port_number(slice, t->port);
    for (size_t i = 0; number && i < slice->endpoints.count; i++) {
        struct dataplane_endpoint out = look_at_endpoint(t, &slice->endpoints.items[i]);
        out.port = (uint16_t)number;
        if (out.address.family != t->family)
            continue;
        vector_push(&t->endpoints, out);
        vector_push(&t->hints, slice->endpoints.items[i].hints);
    }
    return true;
}

static char *port_key(const char *service, const struct service_port *port)
{
    /* Unnamed ports are the only one of their service. */
    return mem_printf("%s:%s", service, port->name ? port->name : "");
}

static uint32_t affinity_seconds(const struct service_spec *spec)
{
    const struct session_affinity_config *config = spec->session_affinity_config;
    if (!text_equal(spec->session_affinity, "ClientIP"))
        return 0;
    return config && config->client_ip && config->client_ip->timeout_seconds.set
               ? (uint32_t)config->client_ip->timeout_seconds.value
               : 10800;
}

static bool install(struct translation *t, const char *name, const struct ip_address *cluster_address)
{
    struct service_proxy *p = t->proxy;
    const struct service_spec *spec = &t->service->spec;
    cleanup_free struct service_external *external = mem_zero(1, sizeof(*external));
    struct object *node = informer_get(p->nodes, NULL, p->options.node_name);
    struct error err;
    struct dataplane_service out = {
        .name = name,
        .family = t->family,
        .protocol = protocol_number(t->port->protocol),
        .port = (uint16_t)t->port->port,
        .cluster_address = *cluster_address,
        .node_port = (uint16_t)t->port->node_port,
        .affinity_seconds = affinity_seconds(spec),
        .internal_local = text_equal(spec->internal_traffic_policy, "Local"),
        .external_local = text_equal(spec->external_traffic_policy, "Local"),
    };
    service_external_add(t->service, t->port, external, &out);
    t->endpoints.count = t->hints.count = 0;
    informer_each_indexed(p->slices, p->slices_by_service, t->key, add_slice, t);
    topology_choose(t->endpoints.items, t->hints.items, t->endpoints.count, p->options.node_name, zone_of(node));
    out.endpoints = t->endpoints.items;
    out.endpoint_count = t->endpoints.count;
    if (dataplane_set(p->plane, &out, &err) < 0) {
        log_warning("Service %s is not reachable: %s", name, err.text);
        return false;
    }
    return true;
}

static bool has_port(const struct installed *installed, int family, const char *name)
{
    for (size_t i = 0; installed && i < installed->ports.count; i++)
        if (installed->ports.items[i].family == family && strcmp(installed->ports.items[i].name, name) == 0)
            return true;
    return false;
}

static void free_installed(struct installed *installed)
{
    for (size_t i = 0; installed && i < installed->ports.count; i++)
        free(installed->ports.items[i].name);
    if (installed)
        vector_free(&installed->ports);
    free(installed);
}

/* Takes away what `before` had and `now` has not; either may be NULL. */
static void uninstall(struct service_proxy *p, const struct installed *before, const struct installed *now)
{
    for (size_t i = 0; before && i < before->ports.count; i++)
        if (!has_port(now, before->ports.items[i].family, before->ports.items[i].name))
            dataplane_remove(p->plane, before->ports.items[i].family, before->ports.items[i].name);
}

struct local_look {
    struct translation *translation;
    struct map addresses; /* of ready endpoints here */
};

static bool count_local(void *context, struct object *object)
{
    struct local_look *look = context;
    const struct endpoint_slice *slice = object->value;
    for (size_t i = 0; i < slice->endpoints.count; i++) {
        struct dataplane_endpoint e = look_at_endpoint(look->translation, &slice->endpoints.items[i]);
        if (e.ready && !e.terminating && !e.remote && !e.unplaced && e.address.family)
            map_set(&look->addresses, slice->endpoints.items[i].addresses.items[0], NULL);
    }
    return true;
}

/* Tells load balancers whether this node has endpoints. */
static void serve_health(struct translation *t, struct installed *now, const struct installed *before)
{
    struct health_check *health_check = t->proxy->options.health_check;
    if (!health_check)
        return;
    if (t->service && t->service->spec.health_check_node_port) {
        struct local_look look = {.translation = t};
        informer_each_indexed(t->proxy->slices, t->proxy->slices_by_service, t->key, count_local, &look);
        health_check_set(health_check, t->service->metadata.namespace, t->service->metadata.name,
                         (uint16_t)t->service->spec.health_check_node_port, look.addresses.count);
        map_free(&look.addresses);
        now->health_check = true;
    } else if (before && before->health_check) {
        health_check_remove(health_check, t->key);
    }
}

static void install_all(struct translation *t, struct installed *now)
{
    const struct service_spec *spec = &t->service->spec;
    for (size_t i = 0; i < spec->cluster_ips.count; i++) {
        struct ip_address address;
        if (!ip_address_parse(spec->cluster_ips.items[i], &address))
            continue;
        t->family = address.family;
        for (size_t k = 0; k < spec->ports.count; k++) {
            cleanup_free char *name = port_key(t->key, &spec->ports.items[k]);
            t->port = &spec->ports.items[k];
            if (install(t, name, &address))
                vector_push(&now->ports, (struct installed_port){address.family, steal_pointer(name)});
        }
    }
}

static void translate(struct service_proxy *p, const char *key)
{
    const char *slash = strchr(key, '/');
    cleanup_free char *namespace = mem_string_n(key, (size_t)(slash - key));
    struct object *object = informer_get(p->services, namespace, slash + 1);
    const struct service *service = object ? object->value : NULL;
    relayed_ports_note(p->relayed, key, service);
    if (service &&
        (!service->spec.cluster_ip || !*service->spec.cluster_ip || text_equal(service->spec.cluster_ip, "None")))
        service = NULL;
    struct translation t = {.proxy = p, .key = key, .service = service};
    struct installed *now = mem_zero(1, sizeof(*now)), *before = map_get(&p->installed, key);
    if (service) {
        t.as_told = service->spec.publish_not_ready_addresses;
        install_all(&t, now);
    }
    uninstall(p, before, now);
    serve_health(&t, now, before);
    free_installed(before);
    if (service) {
        map_set(&p->installed, key, now);
    } else {
        map_remove(&p->installed, key);
        free_installed(now);
    }
    vector_free(&t.endpoints);
    vector_free(&t.hints);
}

/* ---- */

static void flush(void *context)
{
    struct service_proxy *p = context;
    p->flush_arranged = false;
    if (p->freed) {
        free(p);
        return;
    }
    /* Half of the truth is not applied; service_proxy_begin comes when both are synced. */
    if (!informer_synced(p->services) || !informer_synced(p->slices) || !informer_synced(p->nodes))
        return;
    p->primed = true;
    for (struct map_slot *s = NULL; (s = map_next(&p->dirty, s));)
        translate(p, s->key);
    map_free(&p->dirty);
    /* Of the slices alone: another collection's revision would claim slices that have not come yet. */
    if (informer_revision(p->slices) > p->asked)
        p->asked = informer_revision(p->slices);
    dataplane_revision(p->plane, p->asked);
    relayed_ports_sync(p->relayed);
}

void service_proxy_begin(struct service_proxy *p)
{
    if (!p->primed)
        arrange_flush(p);
}

void service_proxy_host_ports(void *context, const struct pod *pod, const char *pod_ip, const char *pod_ip6)
{
    struct service_proxy *p = context;
    if (host_ports_set(p->host_ports, p->plane, pod, pod_ip, pod_ip6)) {
        relayed_ports_touch(p->relayed);
        arrange_flush(p);
    }
}

void service_proxy_applied(void *context, uint64_t revision, const struct error *err)
{
    struct service_proxy *p = context;
    if (err) {
        log_warning("The data plane could not be changed, trying again: %s", err->text);
        return;
    }
    p->applied = revision;
    if (p->options.changed)
        p->options.changed(p->options.context);
}

/* ---- Pods that end, or are not ready ---- */

struct pod_look {
    struct service_proxy *proxy;
    const struct pod *pod;
    size_t terminating[2], alive; /* how often the slices name it, the former by family */
    uint64_t revision;            /* of the newest slice that was looked at */
    bool drained;
};

static bool names_pod(const struct endpoint *e, const struct pod *pod)
{
    return e->target_ref && e->target_ref->uid && strcmp(e->target_ref->uid, pod->metadata.uid) == 0;
}

static bool look_at_slice(void *context, struct object *object)
{
    struct pod_look *look = context;
    const struct endpoint_slice *slice = object->value;
    const char *manager = string_map_get(&object->meta->labels, SLICE_MANAGED_BY_LABEL);
    if (object->revision > look->revision)
        look->revision = object->revision;
    /* What others say in their slices need not follow the pod. */
    if (!text_equal(manager, SLICE_CONTROLLER))
        return true;
    size_t *terminating = &look->terminating[text_equal(slice->address_type, "IPv6")];
    for (size_t i = 0; i < slice->endpoints.count; i++) {
        const struct endpoint_conditions *c = &slice->endpoints.items[i].conditions;
        if (!names_pod(&slice->endpoints.items[i], look->pod))
            continue;
        if (endpoint_condition(c->terminating, false))
            ++*terminating;
        else
            look->alive += endpoint_condition(c->serving, true);
    }
    return true;
}

/* Whether the slices of each family in which the Service and the pod have addresses call it terminating. */
static bool is_withdrawn(const struct pod_look *look, const struct service_spec *spec)
{
    bool any = false;
    for (size_t i = 0; i < spec->ip_families.count; i++) {
        bool v6 = text_equal(spec->ip_families.items[i], "IPv6"), has = false;
        for (size_t k = 0; k < look->pod->status.pod_ips.count; k++)
            has |= !strchr(look->pod->status.pod_ips.items[k].ip, ':') != v6;
        if (has && !look->terminating[v6])
            return false;
        any |= has;
    }
    return any;
}

/* Slices that were written before the controller saw the deletion, or that a pod that ends by itself is not ready any
 * more, call the pod alive, or are still to come. */
static bool look_at_service(void *context, struct object *object)
{
    struct pod_look *look = context;
    const struct service_spec *spec = &((const struct service *)object->value)->spec;
    const char *ip = spec->cluster_ip;
    if (!ip || !*ip || strcmp(ip, "None") == 0 || !spec->selector.count ||
        !string_map_contains(&look->pod->metadata.labels, &spec->selector))
        return true;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    look->terminating[0] = look->terminating[1] = look->alive = 0;
    informer_each_indexed(look->proxy->slices, look->proxy->slices_by_service, key, look_at_slice, look);
    look->drained = !look->alive && (is_withdrawn(look, spec) || !pod_is_ready(look->pod));
    return look->drained;
}

bool service_proxy_drained(void *context, const struct pod *pod)
{
    struct service_proxy *p = context;
    struct pod_look look = {.proxy = p, .pod = pod, .drained = true};
    if (!pod->status.pod_ip || !*pod->status.pod_ip)
        return true;
    informer_each(p->services, pod->metadata.namespace, look_at_service, &look);
    return look.drained && p->applied >= look.revision;
}

static bool mark_slice_of_pod(void *context, struct object *object)
{
    struct pod_look *look = context;
    const struct endpoint_slice *slice = object->value;
    for (size_t i = 0; i < slice->endpoints.count; i++)
        if (names_pod(&slice->endpoints.items[i], look->pod)) {
            slice_changed(look->proxy, INFORMER_UPDATED, object, object);
            break;
        }
    return true;
}

void service_proxy_withhold(void *context, const struct pod *pod, bool withhold)
{
    struct service_proxy *p = context;
    struct pod_look look = {.proxy = p, .pod = pod};
    if (withhold == map_has(&p->withheld, pod->metadata.uid))
        return;
    if (withhold)
        map_set(&p->withheld, pod->metadata.uid, NULL);
    else
        map_remove(&p->withheld, pod->metadata.uid);
    informer_each(p->slices, pod->metadata.namespace, mark_slice_of_pod, &look);
}

struct service_proxy *service_proxy_new(const struct service_proxy_options *options)
{
    struct service_proxy *p = mem_zero(1, sizeof(*p));
    p->options = *options;
    p->env = options->client->env;
    p->host_ports = host_ports_new(options->node_address);
    p->relayed = relayed_ports_new(p->env, options->relay, p->host_ports);
    p->services = informer_set_get(options->informers, &api_resources[API_SERVICES]);
    p->slices = informer_set_get(options->informers, &api_resources[API_ENDPOINTSLICES]);
    p->nodes = informer_set_get(options->informers, &api_resources[API_NODES]);
    p->slices_by_service = informer_add_index(p->slices, endpoint_slice_service_key);
    informer_add_handler(p->services, service_changed, p);
    informer_add_handler(p->slices, slice_changed, p);
    informer_add_handler(p->nodes, node_changed, p);
    return p;
}

void service_proxy_set_plane(struct service_proxy *p, struct dataplane *plane)
{
    p->plane = plane;
}

void service_proxy_free(struct service_proxy *p)
{
    if (!p)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&p->installed, s));)
        free_installed(s->value);
    map_free(&p->installed);
    map_free(&p->dirty);
    map_free(&p->withheld);
    relayed_ports_free(p->relayed);
    host_ports_free(p->host_ports);
    p->freed = true;
    if (!p->flush_arranged)
        free(p);
}
