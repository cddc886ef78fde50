/* Which Services are to be looked at again is gathered in a set; one deferred call per turn translates them and
 * sends the server all that changed, as one. */
#include "network/service_dns.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/endpoint_slices.h"

struct service_dns {
    struct env *env;
    struct dns_server *server;
    struct informer *services, *slices, *namespaces, *pods;
    int slices_by_service;
    struct map dirty;          /* "namespace/name" -> NULL */
    struct dns_change *change; /* of Namespaces and Pods; NULL: none */
    bool flush_arranged, serving, freed;
};

/* ---- Events ---- */

static void flush(void *context);

static void arrange(struct service_dns *dns)
{
    if (dns->flush_arranged)
        return;
    dns->flush_arranged = true;
    env_defer(dns->env, flush, dns);
}

static void mark(struct service_dns *dns, const char *namespace, const char *name)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    map_set(&dns->dirty, key, NULL);
    arrange(dns);
}

static void service_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    mark(context, object->meta->namespace, object->meta->name);
}

static void slice_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    const char *name = endpoint_slice_service(object);
    if (name)
        mark(context, object->meta->namespace, name);
}

static struct dns_change *gathered(struct service_dns *dns)
{
    if (!dns->change)
        dns->change = dns_change_new();
    arrange(dns);
    return dns->change;
}

static void namespace_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    if (change != INFORMER_UPDATED)
        dns_change_set_namespace(gathered(context), object->meta->name, change == INFORMER_ADDED);
}

/* The i-th address that a Pod is found by: none once it has ended. */
static const char *pod_address(const struct object *object, size_t i)
{
    const struct pod *pod = object ? object->value : NULL;
    if (!pod || i >= pod->status.pod_ips.count || pod_has_ended(pod))
        return "";
    return pod->status.pod_ips.items[i].ip;
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    for (size_t i = 0; i < 2; i++) {
        const char *now = change == INFORMER_DELETED ? "" : pod_address(object, i);
        struct ip_address address;
        if (strcmp(now, change == INFORMER_DELETED ? pod_address(object, i) : pod_address(old, i)) == 0)
            continue;
        cleanup_free char *key = mem_printf("%s/%zu", object->meta->uid, i);
        dns_change_set_pod(gathered(context), key, object->meta->namespace,
                           ip_address_parse(now, &address) ? &address : NULL);
    }
}

/* ---- Translation ---- */

static const char *protocol_label(const char *protocol)
{
    return protocol && strcmp(protocol, "UDP") == 0 ? "udp" : protocol && strcmp(protocol, "SCTP") == 0 ? "sctp" : "tcp";
}

static char *port_name(const char *name)
{
    return name && *name ? mem_string(name) : NULL;
}

struct translation {
    VECTOR(struct dns_endpoint) endpoints;
};

static struct dns_port *slice_ports(const struct endpoint_slice *slice, size_t *count)
{
    struct dns_port *ports = mem_zero(slice->ports.count + 1, sizeof(*ports));
    *count = 0;
    for (size_t i = 0; i < slice->ports.count; i++) {
        const struct discovery_endpoint_port *port = &slice->ports.items[i];
        if (port->port.set)
            ports[(*count)++] = (struct dns_port){.name = port_name(port->name),
                                                  .protocol = protocol_label(port->protocol),
                                                  .number = (uint16_t)port->port.value};
    }
    return ports;
}

/* The label of an endpoint without a hostname: its address, with dashes. */
static char *address_label(const char *address)
{
    char *label = mem_string(address);
    for (char *c = label; *c; c++)
        *c = *c == '.' || *c == ':' ? '-' : *c;
    return label;
}

static bool add_slice(void *context, struct object *object)
{
    struct translation *t = context;
    const struct endpoint_slice *slice = object->value;
    for (size_t i = 0; i < slice->endpoints.count && t->endpoints.count < DNS_ENDPOINTS_MAX; i++) {
        const struct endpoint *e = &slice->endpoints.items[i];
        struct dns_endpoint out = {0};
        if (!endpoint_condition(e->conditions.ready, true) || !e->addresses.count ||
            !ip_address_parse(e->addresses.items[0], &out.address))
            continue;
        out.hostname = e->hostname && *e->hostname ? mem_string(e->hostname) : address_label(e->addresses.items[0]);
        out.ports = slice_ports(slice, &out.port_count);
        vector_push(&t->endpoints, out);
    }
    return true;
}

static void add_addresses(const struct service_spec *spec, struct dns_service *out)
{
    out->addresses = mem_zero(spec->cluster_ips.count + 1, sizeof(*out->addresses));
    for (size_t i = 0; i < spec->cluster_ips.count; i++)
        out->address_count += ip_address_parse(spec->cluster_ips.items[i], &out->addresses[out->address_count]);
    if (!out->address_count && ip_address_parse(spec->cluster_ip, &out->addresses[0]))
        out->address_count = 1;
}

static void add_ports(const struct service_spec *spec, struct dns_service *out)
{
    out->ports = mem_zero(spec->ports.count + 1, sizeof(*out->ports));
    out->port_count = spec->ports.count;
    for (size_t i = 0; i < spec->ports.count; i++)
        out->ports[i] = (struct dns_port){.name = port_name(spec->ports.items[i].name),
                                          .protocol = protocol_label(spec->ports.items[i].protocol),
                                          .number = (uint16_t)spec->ports.items[i].port};
}

static void add_external_name(const struct service_spec *spec, struct dns_service *out)
{
    if (!spec->type || strcmp(spec->type, "ExternalName") != 0)
        return;
    out->external_name = mem_string(spec->external_name ? spec->external_name : "");
    size_t length = strlen(out->external_name);
    if (length && out->external_name[length - 1] == '.')
        out->external_name[length - 1] = 0;
}

static void translate(struct service_dns *dns, const char *key, struct dns_change *change)
{
    const char *name = strchr(key, '/') + 1;
    cleanup_free char *namespace = mem_string_n(key, (size_t)(name - 1 - key));
    struct object *object = informer_get(dns->services, namespace, name);
    if (!object) {
        dns_change_remove_service(change, namespace, name);
        return;
    }
    const struct service_spec *spec = &((const struct service *)object->value)->spec;
    struct translation t = {0};
    struct dns_service *out = mem_zero(1, sizeof(*out));
    out->namespace = steal_pointer(namespace);
    out->name = mem_string(name);
    add_addresses(spec, out);
    add_ports(spec, out);
    add_external_name(spec, out);
    informer_each_indexed(dns->slices, dns->slices_by_service, key, add_slice, &t);
    out->endpoints = t.endpoints.items;
    out->endpoint_count = t.endpoints.count;
    dns_change_set_service(change, out);
}

static bool all_synced(const struct service_dns *dns)
{
    return informer_synced(dns->services) && informer_synced(dns->slices) && informer_synced(dns->namespaces) &&
           informer_synced(dns->pods);
}

static void flush(void *context)
{
    struct service_dns *dns = context;
    dns->flush_arranged = false;
    if (dns->freed) {
        free(dns);
        return;
    }
    /* Half of the truth is not told; service_dns_begin comes when all are synced. */
    if (!all_synced(dns))
        return;
    struct dns_change *change = dns->change ? steal_pointer(dns->change) : dns_change_new();
    for (struct map_slot *s = NULL; (s = map_next(&dns->dirty, s));)
        translate(dns, s->key, change);
    map_free(&dns->dirty);
    dns_server_apply(dns->server, change);
    if (!dns->serving)
        dns_server_serve(dns->server);
    dns->serving = true;
}

/* ---- */

struct service_dns *service_dns_new(struct client *client, struct informer_set *informers, struct dns_server *server)
{
    struct service_dns *dns = mem_zero(1, sizeof(*dns));
    dns->env = client->env;
    dns->server = server;
    dns->services = informer_set_get(informers, &api_resources[API_SERVICES]);
    dns->slices = informer_set_get(informers, &api_resources[API_ENDPOINTSLICES]);
    dns->namespaces = informer_set_get(informers, &api_resources[API_NAMESPACES]);
    dns->pods = informer_set_get(informers, &api_resources[API_PODS]);
    dns->slices_by_service = informer_add_index(dns->slices, endpoint_slice_service_key);
    informer_add_handler(dns->services, service_changed, dns);
    informer_add_handler(dns->slices, slice_changed, dns);
    informer_add_handler(dns->namespaces, namespace_changed, dns);
    informer_add_handler(dns->pods, pod_changed, dns);
    return dns;
}

void service_dns_begin(struct service_dns *dns)
{
    arrange(dns);
}

void service_dns_free(struct service_dns *dns)
{
    if (!dns)
        return;
    if (dns->change)
        dns_change_free(dns->change);
    map_free(&dns->dirty);
    dns->freed = true;
    if (!dns->flush_arranged)
        free(dns);
}
