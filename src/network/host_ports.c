#include "network/host_ports.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_containers.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/protocol.h"

/* What one pod has. */
struct entry {
    VECTOR(char *) services; /* in both families, where there are two */
    VECTOR(struct relay_port) relayed;
};

struct host_ports {
    struct in_addr node_address;
    struct map pods; /* uid -> struct entry */
};

struct host_ports *host_ports_new(struct in_addr node_address)
{
    struct host_ports *h = mem_zero(1, sizeof(*h));
    h->node_address = node_address;
    return h;
}

static void entry_free(struct entry *entry)
{
    for (size_t i = 0; i < entry->services.count; i++)
        free(entry->services.items[i]);
    vector_free(&entry->services);
    vector_free(&entry->relayed);
    free(entry);
}

void host_ports_free(struct host_ports *h)
{
    if (!h)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&h->pods, s));)
        entry_free(s->value);
    map_free(&h->pods);
    free(h);
}

static bool is_loopback(const struct ip_address *address)
{
    return address->family == AF_INET && ntohl(address->v4.s_addr) >> 24 == 127;
}

struct setting {
    struct host_ports *ports;
    struct dataplane *plane;
    const struct pod *pod;
    struct ip_address pod_addresses[2]; /* of IPv4, of IPv6; either may be none */
    struct entry *entry;
};

/* In the family of the pod's address. A host address of no family: all of the node's. */
static void install(struct setting *s, const char *name, const struct container_port *port,
                    const struct ip_address *host_address, const struct ip_address *pod_address)
{
    struct dataplane_endpoint endpoint = {
        .address = *pod_address, .port = (uint16_t)port->container_port, .ready = true, .serving = true};
    struct ip_address addresses[2] = {*host_address, ip_address_v4(s->ports->node_address)};
    struct dataplane_service service = {.name = name,
                                        .family = pod_address->family,
                                        .protocol = protocol_number(port->protocol),
                                        .port = (uint16_t)port->host_port,
                                        .external_local = true,
                                        .endpoints = &endpoint,
                                        .endpoint_count = 1};
    if (!host_address->family) {
        service.node_port = (uint16_t)port->host_port;
    } else {
        service.external_addresses = addresses;
        /* What the relay brings from the host's loopback arrives at the node's address. */
        service.external_address_count = is_loopback(host_address) && s->ports->node_address.s_addr ? 2 : 1;
    }
    struct error err;
    if (dataplane_set(s->plane, &service, &err) < 0)
        log_warning("Port %d of the node does not lead to pod %s/%s: %s", port->host_port, s->pod->metadata.namespace,
                    s->pod->metadata.name, err.text);
}

/* "0.0.0.0" and "::" are every address of their family. */
static bool is_any(const struct ip_address *address)
{
    static const struct in6_addr any;
    return memcmp(&address->v6, &any, ip_address_size(address->family)) == 0;
}

static void add_port(struct setting *s, const struct container *container, const struct container_port *port)
{
    uint8_t protocol = protocol_number(port->protocol);
    struct ip_address host_address = {0}, node_address = ip_address_v4(s->ports->node_address);
    if (port->host_port <= 0 || (port->host_ip && *port->host_ip && !ip_address_parse(port->host_ip, &host_address)))
        return;
    int family = host_address.family;
    if (family && is_any(&host_address))
        host_address = (struct ip_address){0};
    char *name = mem_printf("hostPort/%s/%s/%d/%u", s->pod->metadata.uid, container->name, port->host_port, protocol);
    for (size_t i = 0; !s->pod->spec.host_network && i < 2; i++)
        if (s->pod_addresses[i].family && (!family || family == s->pod_addresses[i].family))
            install(s, name, port, &host_address, &s->pod_addresses[i]);
    vector_push(&s->entry->services, name);
    bool here = family != AF_INET6 &&
                (!host_address.family || is_loopback(&host_address) || ip_address_equal(&host_address, &node_address));
    if (here && protocol != IPPROTO_SCTP && s->ports->node_address.s_addr)
        vector_push(&s->entry->relayed, (struct relay_port){protocol, (uint16_t)port->host_port});
}

static bool drop(struct host_ports *h, struct dataplane *plane, const char *uid)
{
    struct entry *entry = map_remove(&h->pods, uid);
    if (!entry)
        return false;
    for (size_t i = 0; i < entry->services.count; i++) {
        dataplane_remove(plane, AF_INET, entry->services.items[i]);
        dataplane_remove(plane, AF_INET6, entry->services.items[i]);
    }
    entry_free(entry);
    return true;
}

bool host_ports_set(struct host_ports *h, struct dataplane *plane, const struct pod *pod, const char *pod_ip,
                    const char *pod_ip6)
{
    struct setting s = {.ports = h, .plane = plane, .pod = pod};
    bool dropped = drop(h, plane, pod->metadata.uid);
    if (!ip_address_parse(pod_ip, &s.pod_addresses[0]))
        return dropped;
    ip_address_parse(pod_ip6, &s.pod_addresses[1]);
    s.entry = mem_zero(1, sizeof(*s.entry));
    const struct container *c;
    for (size_t at = 0; (c = api_next_serving(&pod->spec, &at));)
        for (size_t i = 0; i < c->ports.count; i++)
            add_port(&s, c, &c->ports.items[i]);
    if (!s.entry->services.count && !s.entry->relayed.count) {
        entry_free(s.entry);
        return dropped;
    }
    map_set(&h->pods, pod->metadata.uid, s.entry);
    return true;
}

void host_ports_each_relayed(const struct host_ports *h, void (*visit)(void *context, struct relay_port port),
                             void *context)
{
    for (struct map_slot *s = NULL; (s = map_next(&h->pods, s));) {
        const struct entry *entry = s->value;
        for (size_t i = 0; i < entry->relayed.count; i++)
            visit(context, entry->relayed.items[i]);
    }
}
