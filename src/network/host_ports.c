#include "network/host_ports.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/protocol.h"

/* What one pod has. */
struct entry {
    VECTOR(char *) services;
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

static bool is_loopback(struct in_addr address)
{
    return ntohl(address.s_addr) >> 24 == 127;
}

struct setting {
    struct host_ports *ports;
    struct dataplane *plane;
    const struct pod *pod;
    struct in_addr pod_address;
    struct entry *entry;
};

static void install(struct setting *s, const struct container *container, const struct container_port *port,
                    struct in_addr host_address, uint8_t protocol)
{
    struct dataplane_endpoint endpoint = {
        .address = s->pod_address, .port = (uint16_t)port->container_port, .ready = true, .serving = true};
    struct in_addr addresses[2] = {host_address, s->ports->node_address};
    char *name = mem_printf("hostPort/%s/%s/%d/%u", s->pod->metadata.uid, container->name, port->host_port, protocol);
    struct dataplane_service service = {.name = name,
                                        .protocol = protocol,
                                        .port = (uint16_t)port->host_port,
                                        .external_local = true,
                                        .endpoints = &endpoint,
                                        .endpoint_count = 1};
    if (!host_address.s_addr) {
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
    vector_push(&s->entry->services, name);
}

static void add_port(struct setting *s, const struct container *container, const struct container_port *port)
{
    uint8_t protocol = protocol_number(port->protocol);
    struct in_addr host_address = {0};
    if (port->host_port <= 0 ||
        (port->host_ip && *port->host_ip && inet_pton(AF_INET, port->host_ip, &host_address) != 1))
        return;
    if (!s->pod->spec.host_network)
        install(s, container, port, host_address, protocol);
    bool here =
        !host_address.s_addr || is_loopback(host_address) || host_address.s_addr == s->ports->node_address.s_addr;
    if (here && protocol != IPPROTO_SCTP && s->ports->node_address.s_addr)
        vector_push(&s->entry->relayed, (struct relay_port){protocol, (uint16_t)port->host_port});
}

static void add_ports(struct setting *s, const struct container_array *containers, bool sidecars_only)
{
    for (size_t i = 0; i < containers->count; i++) {
        const struct container *c = &containers->items[i];
        if (sidecars_only && !(c->restart_policy && strcmp(c->restart_policy, "Always") == 0))
            continue;
        for (size_t k = 0; k < c->ports.count; k++)
            add_port(s, c, &c->ports.items[k]);
    }
}

static bool drop(struct host_ports *h, struct dataplane *plane, const char *uid)
{
    struct entry *entry = map_remove(&h->pods, uid);
    if (!entry)
        return false;
    for (size_t i = 0; i < entry->services.count; i++)
        dataplane_remove(plane, entry->services.items[i]);
    entry_free(entry);
    return true;
}

bool host_ports_set(struct host_ports *h, struct dataplane *plane, const struct pod *pod, const char *pod_ip)
{
    struct setting s = {.ports = h, .plane = plane, .pod = pod};
    bool dropped = drop(h, plane, pod->metadata.uid);
    if (!pod_ip || inet_pton(AF_INET, pod_ip, &s.pod_address) != 1)
        return dropped;
    s.entry = mem_zero(1, sizeof(*s.entry));
    add_ports(&s, &pod->spec.init_containers, true);
    add_ports(&s, &pod->spec.containers, false);
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
