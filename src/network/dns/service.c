#include "network/dns/service.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"

static void free_ports(struct dns_port *ports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(ports[i].name);
    free(ports);
}

void dns_service_free(struct dns_service *service)
{
    if (!service)
        return;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        free(service->endpoints[i].hostname);
        free(service->endpoints[i].full_name);
        free_ports(service->endpoints[i].ports, service->endpoints[i].port_count);
    }
    free_ports(service->ports, service->port_count);
    free(service->endpoints);
    free(service->addresses);
    free(service->external_name);
    free(service->full_name);
    free(service->namespace);
    free(service->name);
    free(service);
}

static bool has_port(const struct dns_endpoint *endpoint, const struct dns_port *port)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        if (endpoint->ports[i].number == port->number && strcmp(endpoint->ports[i].protocol, port->protocol) == 0 &&
            text_equal(endpoint->ports[i].name, port->name))
            return true;
    return false;
}

/* Takes over the ports of the same endpoint in another slice. */
static void take_ports(struct dns_endpoint *endpoint, struct dns_port *ports, size_t count)
{
    endpoint->ports = mem_resize(endpoint->ports, (endpoint->port_count + count + 1) * sizeof(*ports));
    for (size_t i = 0; i < count; i++)
        if (has_port(endpoint, &ports[i]))
            free(ports[i].name);
        else
            endpoint->ports[endpoint->port_count++] = ports[i];
    free(ports);
}

/* Of the ports of one target, whose name is empty for the Service itself. */
static void mark_repeated(struct map *seen, const char *target, struct dns_port *ports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *number = mem_printf("%s %u", target, ports[i].number);
        cleanup_free char *whole =
            mem_printf("%s %s %s", number, ports[i].protocol, ports[i].name ? ports[i].name : "");
        ports[i].repeats = map_set(seen, whole, seen) != NULL;
        ports[i].repeats_number = map_set(seen, number, seen) != NULL;
    }
}

/* The same hostname may have several addresses. */
static void mark_ports(struct dns_service *service)
{
    struct map seen = {0};
    mark_repeated(&seen, "", service->ports, service->port_count);
    for (size_t i = 0; i < service->endpoint_count; i++)
        mark_repeated(&seen, service->endpoints[i].hostname, service->endpoints[i].ports,
                      service->endpoints[i].port_count);
    map_free(&seen);
}

void dns_service_merge_endpoints(struct dns_service *service)
{
    struct map seen = {0}; /* "hostname/address" -> its place, from 1; address -> not NULL */
    size_t count = service->endpoint_count;
    service->endpoint_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct dns_endpoint endpoint = service->endpoints[i];
        char text[INET6_ADDRSTRLEN];
        inet_ntop(endpoint.address.family, &endpoint.address.v4, text, sizeof(text));
        cleanup_free char *key = mem_printf("%s/%s", endpoint.hostname, text);
        uintptr_t place = (uintptr_t)map_get(&seen, key);
        if (place) {
            take_ports(&service->endpoints[place - 1], endpoint.ports, endpoint.port_count);
            free(endpoint.hostname);
            continue;
        }
        endpoint.repeats_address = map_has(&seen, text);
        service->endpoints[service->endpoint_count++] = endpoint;
        map_set(&seen, key, (void *)(uintptr_t)service->endpoint_count);
        map_set(&seen, text, service);
    }
    map_free(&seen);
    mark_ports(service);
}
