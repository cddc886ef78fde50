/* What the cluster's DNS answers from: Services with their endpoints, and Pods, as the Kubernetes DNS-based service
 * discovery specification 1.1.0 turns them into records. No I/O, no clock; the same calls give the same answers, but
 * for the order of addresses.
 *
 * Not for concurrent use: the server's thread has it. */
#ifndef CORACLE_NETWORK_DNS_ZONE_H
#define CORACLE_NETWORK_DNS_ZONE_H

#include "network/address.h"
#include "network/dns/message.h"
#include "network/dns/service.h"

/* Seconds that clients may keep an answer: as CoreDNS has it by default. */
#define DNS_TTL 5
/* A CNAME of the cluster may lead to another one; this many are followed. */
#define DNS_CNAME_CHAIN_MAX 8
#define DNS_NETWORKS_MAX 4

struct dns_zone_config {
    const char *domain;       /* "cluster.local" */
    struct ip_address server; /* the address that clients ask */
    /* Networks of the cluster: nobody else is asked about their addresses. At most DNS_NETWORKS_MAX. */
    const struct ip_prefix *networks;
    size_t network_count;
};

struct dns_zone;

struct dns_zone *dns_zone_new(const struct dns_zone_config *config);
void dns_zone_free(struct dns_zone *zone);
/* Adds the Service or replaces the one of that name; takes it over. Endpoints of the same hostname and address, as one
 * that is in two slices, become one with the ports of all. */
void dns_zone_set_service(struct dns_zone *zone, struct dns_service *service);
void dns_zone_remove_service(struct dns_zone *zone, const char *namespace, const char *name);
/* A namespace that exists has a name, even without Services. */
void dns_zone_set_namespace(struct dns_zone *zone, const char *namespace, bool there);
/* Gives the Pod of that key an address, or with NULL none. */
void dns_zone_set_pod(struct dns_zone *zone, const char *key, const char *namespace, const struct ip_address *address);
size_t dns_zone_service_count(const struct dns_zone *zone);

enum dns_verdict {
    DNS_ANSWERED,      /* records, code and `authoritative` are set; finish and send it */
    DNS_FORWARD,       /* not our name: ask others */
    DNS_FORWARD_TARGET /* a CNAME that leads out is written; ask others for `target`, and add what they say */
};

struct dns_result {
    enum dns_verdict verdict;
    enum dns_code code;
    bool authoritative;
    const char *target; /* stays until the zone changes */
};

/* Writes the answer to a query of class IN. `random` turns the order of addresses, so that clients which take the first
 * spread over all. */
void dns_zone_answer(struct dns_zone *zone, const struct dns_query *query, uint64_t random, struct dns_writer *writer,
                     struct dns_result *result);

/* Writes what the cluster says of a name that leads out, with what another server said `age` seconds ago about where it
 * leads (data NULL: nothing), into `out` with its room for `limit` bytes, at least DNS_UDP_PLAIN_MAX. Returns the size.
 */
size_t dns_zone_join(struct dns_zone *zone, const struct dns_query *query, uint64_t random, const uint8_t *data,
                     size_t size, uint32_t age, uint8_t *out, size_t limit);

#endif
