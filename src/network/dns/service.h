/* A Service as the cluster's DNS knows it: its addresses, ports and endpoints. */
#ifndef CORACLE_NETWORK_DNS_SERVICE_H
#define CORACLE_NETWORK_DNS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network/address.h"

/* Endpoints of one Service above this number have no records; no answer could hold more. */
#define DNS_ENDPOINTS_MAX 4096

struct dns_port {
    char *name;           /* NULL: has no name, and no SRV record */
    const char *protocol; /* "tcp", "udp" or "sctp"; static */
    uint16_t number;
    /* Set by the zone: one before it of the same target has the number too, with the same name and protocol (`repeats`),
     * or with any (`repeats_number`). */
    bool repeats, repeats_number;
};

/* An endpoint that is to be found: it is ready, or the Service publishes the others too. */
struct dns_endpoint {
    char *hostname;  /* one label: the endpoint's, or made from its address */
    char *full_name; /* set by the zone */
    struct ip_address address;
    struct dns_port *ports; /* those of its slice; of a headless Service they count, not the Service's */
    size_t port_count;
    bool repeats_address; /* set by the zone: one before it has the same address under another hostname */
};

struct dns_service {
    char *namespace, *name;
    char *full_name;              /* set by the zone */
    struct ip_address *addresses; /* clusterIPs; none: headless or external */
    size_t address_count;
    struct dns_port *ports;
    size_t port_count;
    char *external_name;            /* NULL unless it is of type ExternalName; an address has no record */
    struct dns_endpoint *endpoints; /* also of Services with an address: each is found by its hostname */
    size_t endpoint_count;
};
/* Releases it and all that it owns. */
void dns_service_free(struct dns_service *service);
/* Makes each pair of hostname and address one endpoint, with the ports of all: an endpoint may be in two slices, but no
 * answer is to hold a record twice. Sets what repeats what. */
void dns_service_merge_endpoints(struct dns_service *service);

#endif
