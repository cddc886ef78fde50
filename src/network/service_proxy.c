/* Services and EndpointSlices in, data plane services out. Which Services are to be looked at again is gathered
 * in a set; one deferred call per turn translates them. */
#include "network/service_proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/task.h"
#include "base/vector.h"
#include "network/endpoint_slices.h"
#include "network/host_ports.h"
#include "network/protocol.h"

#define MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define MANAGED_BY "endpointslice-controller.k8s.io"

struct service_proxy {
    struct service_proxy_options options;
    struct env *env;
    struct dataplane *plane;
    struct informer *services, *slices;
    int slices_by_service;
    struct map dirty;     /* "namespace/name" -> NULL */
    struct map installed; /* "namespace/name:port" -> "namespace/name" that put it there */
    struct map withheld;  /* pod uid -> NULL */
    struct host_ports *host_ports;
    bool flush_arranged, primed;
    uint64_t asked, applied;
    bool relay_busy, relay_again, freed;
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

/* ---- Translation ---- */

struct translation {
    struct service_proxy *proxy;
    const struct service_port *port;
    bool as_told; /* pods that are withheld count nonetheless */
    VECTOR(struct dataplane_endpoint) endpoints;
};

static bool same_name(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool add_slice(void *context, struct object *object)
{
    struct translation *t = context;
    const struct endpoint_slice *slice = object->value;
    if (strcmp(slice->address_type ? slice->address_type : "", "IPv4") != 0)
        return true;
    int32_t number = 0;
    for (size_t i = 0; i < slice->ports.count; i++)
        if (same_name(slice->ports.items[i].name, t->port->name) && slice->ports.items[i].port.set)
            number = slice->ports.items[i].port.value;
    for (size_t i = 0; number && i < slice->endpoints.count; i++) {
        const struct endpoint *e = &slice->endpoints.items[i];
        struct dataplane_endpoint out = {.port = (uint16_t)number,
                                         .ready = endpoint_condition(e->conditions.ready, true),
                                         .terminating = endpoint_condition(e->conditions.terminating, false)};
        out.serving = endpoint_condition(e->conditions.serving, out.ready);
        if (!t->as_told && e->target_ref && e->target_ref->uid && map_has(&t->proxy->withheld, e->target_ref->uid))
            out.ready = out.serving = false;
        out.remote = e->node_name && strcmp(e->node_name, t->proxy->options.node_name) != 0;
        if (e->addresses.count && inet_pton(AF_INET, e->addresses.items[0], &out.address) == 1)
            vector_push(&t->endpoints, out);
    }
    return true;
}

static bool is_local(const char *policy)
{
    return policy && strcmp(policy, "Local") == 0;
}

static char *port_key(const char *service, const struct service_port *port)
{
    /* Unnamed ports are the only one of their service. */
    return mem_printf("%s:%s", service, port->name ? port->name : "");
}

static void install(struct service_proxy *p, const char *key, const struct service *service,
                    const struct service_port *port)
{
    const struct service_spec *spec = &service->spec;
    struct translation t = {.proxy = p, .port = port, .as_told = spec->publish_not_ready_addresses};
    struct in_addr external[DATAPLANE_EXTERNAL_ADDRESSES_MAX];
    struct error err;
    cleanup_free char *name = port_key(key, port);
    struct dataplane_service out = {
        .name = name,
        .protocol = protocol_number(port->protocol),
        .port = (uint16_t)port->port,
        .node_port = (uint16_t)port->node_port,
        .external_addresses = external,
        .internal_local = spec->internal_traffic_policy && is_local(spec->internal_traffic_policy),
        .external_local = is_local(spec->external_traffic_policy),
    };
    if (inet_pton(AF_INET, spec->cluster_ip, &out.cluster_address) != 1)
        return;
    for (size_t i = 0; i < spec->external_ips.count && out.external_address_count < ARRAY_COUNT(external); i++)
        if (inet_pton(AF_INET, spec->external_ips.items[i], &external[out.external_address_count]) == 1)
            out.external_address_count++;
    if (spec->session_affinity && strcmp(spec->session_affinity, "ClientIP") == 0) {
        const struct session_affinity_config *config = spec->session_affinity_config;
        out.affinity_seconds = config && config->client_ip && config->client_ip->timeout_seconds.set
                                   ? (uint32_t)config->client_ip->timeout_seconds.value
                                   : 10800;
    }
    informer_each_indexed(p->slices, p->slices_by_service, key, add_slice, &t);
    out.endpoints = t.endpoints.items;
    out.endpoint_count = t.endpoints.count;
    if (dataplane_set(p->plane, &out, &err) < 0)
        log_warning("Service %s is not reachable: %s", name, err.text);
    else
        free(map_set(&p->installed, name, mem_string(key)));
    vector_free(&t.endpoints);
}

/* Takes away the ports of the service that are no longer there. */
static void uninstall(struct service_proxy *p, const char *key, const struct service *service)
{
    VECTOR(char *) gone = {0};
    for (struct map_slot *s = NULL; (s = map_next(&p->installed, s));) {
        if (strcmp(s->value, key) != 0)
            continue;
        bool there = false;
        for (size_t i = 0; service && i < service->spec.ports.count && !there; i++) {
            cleanup_free char *name = port_key(key, &service->spec.ports.items[i]);
            there = strcmp(name, s->key) == 0;
        }
        if (!there)
            vector_push(&gone, mem_string(s->key));
    }
    for (size_t i = 0; i < gone.count; i++) {
        dataplane_remove(p->plane, gone.items[i]);
        free(map_remove(&p->installed, gone.items[i]));
        free(gone.items[i]);
    }
    vector_free(&gone);
}

static void translate(struct service_proxy *p, const char *key)
{
    const char *slash = strchr(key, '/');
    cleanup_free char *namespace = mem_string_n(key, (size_t)(slash - key));
    struct object *object = informer_get(p->services, namespace, slash + 1);
    const struct service *service = object ? object->value : NULL;
    const char *ip = service ? service->spec.cluster_ip : NULL;
    if (!ip || !*ip || strcmp(ip, "None") == 0)
        service = NULL;
    uninstall(p, key, service);
    for (size_t i = 0; service && i < service->spec.ports.count; i++)
        install(p, key, service, &service->spec.ports.items[i]);
}

/* ---- The relay ---- */

struct relay_job {
    struct service_proxy *proxy;
    struct relay *relay;
    VECTOR(struct relay_port) ports;
    struct error err;
    bool failed;
};

static void sync_relay(struct service_proxy *p);

static void relay_done(void *context)
{
    struct relay_job *job = context;
    struct service_proxy *p = job->proxy;
    if (job->failed)
        log_warning("Not every node port is reachable from the host: %s", job->err.text);
    vector_free(&job->ports);
    free(job);
    p->relay_busy = false;
    if (p->freed)
        free(p);
    else if (p->relay_again)
        sync_relay(p);
}

static void relay_work(void *context)
{
    struct relay_job *job = context;
    job->failed = relay_set(job->relay, job->ports.items, job->ports.count, &job->err) < 0;
}

static bool add_node_ports(void *context, struct object *object)
{
    struct relay_job *job = context;
    const struct service *service = object->value;
    for (size_t i = 0; i < service->spec.ports.count; i++) {
        const struct service_port *port = &service->spec.ports.items[i];
        uint8_t protocol = protocol_number(port->protocol);
        if (port->node_port && protocol != IPPROTO_SCTP && job->ports.count < RELAY_PORTS_MAX)
            vector_push(&job->ports, (struct relay_port){protocol, (uint16_t)port->node_port});
    }
    return true;
}

static void add_host_port(void *context, struct relay_port port)
{
    struct relay_job *job = context;
    if (job->ports.count < RELAY_PORTS_MAX)
        vector_push(&job->ports, port);
}

static void sync_relay(struct service_proxy *p)
{
    if (!p->options.relay)
        return;
    p->relay_again = p->relay_busy;
    if (p->relay_busy)
        return;
    struct relay_job *job = mem_zero(1, sizeof(*job));
    job->proxy = p;
    job->relay = p->options.relay;
    informer_each(p->services, NULL, add_node_ports, job);
    host_ports_each_relayed(p->host_ports, add_host_port, job);
    p->relay_busy = true;
    task_run(p->env, relay_work, relay_done, job);
}

/* ---- */

static void flush(void *context)
{
    struct service_proxy *p = context;
    p->flush_arranged = false;
    if (p->freed) {
        if (!p->relay_busy)
            free(p);
        return;
    }
    /* Half of the truth is not applied; service_proxy_begin comes when both are synced. */
    if (!informer_synced(p->services) || !informer_synced(p->slices))
        return;
    p->primed = true;
    for (struct map_slot *s = NULL; (s = map_next(&p->dirty, s));)
        translate(p, s->key);
    map_free(&p->dirty);
    /* Of the slices alone: another collection's revision would claim slices that have not come yet. */
    if (informer_revision(p->slices) > p->asked)
        p->asked = informer_revision(p->slices);
    dataplane_revision(p->plane, p->asked);
    sync_relay(p);
}

void service_proxy_begin(struct service_proxy *p)
{
    if (!p->primed)
        arrange_flush(p);
}

void service_proxy_host_ports(void *context, const struct pod *pod, const char *pod_ip)
{
    struct service_proxy *p = context;
    if (host_ports_set(p->host_ports, p->plane, pod, pod_ip))
        arrange_flush(p);
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
    size_t terminating, alive; /* how often the slices name it */
    uint64_t revision;         /* of the newest slice that was looked at */
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
    const char *manager = string_map_get(&object->meta->labels, MANAGED_BY_LABEL);
    if (object->revision > look->revision)
        look->revision = object->revision;
    /* What others say in their slices need not follow the pod. */
    if (!manager || strcmp(manager, MANAGED_BY) != 0)
        return true;
    for (size_t i = 0; i < slice->endpoints.count; i++)
        if (names_pod(&slice->endpoints.items[i], look->pod))
            *(endpoint_condition(slice->endpoints.items[i].conditions.terminating, false) ? &look->terminating : &look->alive) += 1;
    return true;
}

/* Slices that were written before the controller saw the deletion call the pod alive, or are still to come. */
static bool look_at_service(void *context, struct object *object)
{
    struct pod_look *look = context;
    const struct service_spec *spec = &((const struct service *)object->value)->spec;
    const char *ip = spec->cluster_ip;
    if (!ip || !*ip || strcmp(ip, "None") == 0 || !spec->selector.count ||
        !string_map_contains(&look->pod->metadata.labels, &spec->selector))
        return true;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    look->terminating = look->alive = 0;
    informer_each_indexed(look->proxy->slices, look->proxy->slices_by_service, key, look_at_slice, look);
    look->drained = !look->alive && (look->terminating || !pod_is_ready(look->pod));
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
    p->services = informer_set_get(options->informers, &api_resources[API_SERVICES]);
    p->slices = informer_set_get(options->informers, &api_resources[API_ENDPOINTSLICES]);
    p->slices_by_service = informer_add_index(p->slices, endpoint_slice_service_key);
    informer_add_handler(p->services, service_changed, p);
    informer_add_handler(p->slices, slice_changed, p);
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
        free(s->value);
    map_free(&p->installed);
    map_free(&p->dirty);
    map_free(&p->withheld);
    host_ports_free(p->host_ports);
    p->freed = true;
    if (!p->flush_arranged && !p->relay_busy)
        free(p);
}
