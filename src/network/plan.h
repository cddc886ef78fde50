/* The deciding half of the data plane: services and their endpoints -> nftables rules. No I/O, no clock, no
 * randomness: the same calls give the same text.
 *
 * A plan is of one address family and fills one table of that family; a cluster of both has two plans, whose texts go
 * into one transaction.
 *
 * A plan holds what each service port contributes to the rule set. Setting a service costs what that service
 * costs, however many there are; the difference that dataplane_plan_diff writes is the size of the change.
 *
 * The rules are maps only. One lookup finds the number N of endpoints of a service address, one verdict map of at
 * most as many entries as there are distinct N sends the packet to chain pick-N, and one lookup there translates
 * it to one of the N endpoints at random. No chain belongs to a service: the kernel validates whole tables of
 * chains at each change of a verdict map, and data maps it does not.
 *
 * Which endpoints count, as upstream's kube-proxy chooses: the ready ones; where there are none, those that still
 * serve while they terminate. (One that is called ready while it terminates, behind publishNotReadyAddresses, is of
 * the second kind here: new connections to it could be lost.) internalTrafficPolicy and externalTrafficPolicy Local
 * keep to those on this node, and packets are dropped where all are on others; but what comes from a pod or the node
 * itself to an external address or node port uses them all. Of the ready ones, those that traffic from here had better
 * not go to are left out (network/topology.h). */
#ifndef CORACLE_NETWORK_PLAN_H
#define CORACLE_NETWORK_PLAN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/vector.h"
#include "network/address.h"

/* Endpoints of one service port above this number get no traffic; a warning names the service. */
#define DATAPLANE_ENDPOINTS_MAX 4096
/* External addresses of one service port. */
#define DATAPLANE_EXTERNAL_ADDRESSES_MAX 64
/* Ranges of one service that its load balancer's addresses are open to. */
#define DATAPLANE_SOURCE_RANGES_MAX 256
/* As upstream validates sessionAffinityConfig.clientIP.timeoutSeconds. */
#define DATAPLANE_AFFINITY_SECONDS_MAX 86400
/* Clients that are remembered for session affinity, over all services; further ones are balanced afresh. */
#define DATAPLANE_AFFINITY_CLIENTS_MAX 65536

struct dataplane_endpoint {
    struct ip_address address;
    uint16_t port; /* host order, as all ports here */
    bool ready;
    bool serving;
    bool terminating;
    bool remote;   /* on another node */
    bool unplaced; /* nobody says on which node: not this one's for Local policies, as upstream has it */
    bool distant;  /* ready, and others are to be preferred from here */
};

/* One port of one Service, in one address family. Nothing is kept of what it points to. */
struct dataplane_service {
    const char *name; /* unique in its family: "namespace/name:port" */
    int family;       /* AF_INET6, or AF_INET, which 0 stands for */
    uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
    uint16_t port;
    struct ip_address cluster_address; /* of no family: none */
    uint16_t node_port;                /* 0: none */
    const struct ip_address *external_addresses;
    size_t external_address_count;
    const struct ip_address *balancer_addresses; /* of the load balancer, as they arrive here */
    size_t balancer_address_count;
    bool source_limited; /* balancer_addresses are open to source_ranges alone; false: to everybody */
    const struct ip_prefix *source_ranges;
    size_t source_range_count;
    uint32_t affinity_seconds; /* sessionAffinity ClientIP; 0: none */
    bool internal_local;       /* internalTrafficPolicy: Local */
    bool external_local;       /* externalTrafficPolicy: Local */
    const struct dataplane_endpoint *endpoints;
    size_t endpoint_count;
};

/* EINVAL for a service that cannot be: no name, an unknown protocol, port 0, too many addresses, an address of the
 * other family. */
int dataplane_service_check(const struct dataplane_service *service, struct error *err);

struct dataplane_plan_config {
    int family;               /* AF_INET6, or AF_INET, which 0 stands for */
    const char *table;        /* the cluster's own table, of that family: letters, digits, '-', '_', '.'; no word of
                                 nft's language, so better "coracle-NAME" */
    const char *bridge;       /* the pod network's */
    const char *service_cidr; /* what is in it and has no rule is refused */
    const char *pod_cidr;     /* of the whole cluster; set for egress, see below */
    bool masquerade_egress;   /* connections from pods that leave the cluster take the node's address */
};

struct dataplane_plan;

/* The config's strings are copied. Fails on a name that nftables would not take. */
int dataplane_plan_new(const struct dataplane_plan_config *config, struct dataplane_plan **out, struct error *err);
void dataplane_plan_free(struct dataplane_plan *plan);

/* Adds the service or replaces the one of that name. Where two services claim the same address and port, the
 * first has it, and the second gets it when the first goes. A service that dataplane_service_check refuses changes
 * nothing. */
int dataplane_plan_set(struct dataplane_plan *plan, const struct dataplane_service *service, struct error *err);
/* An unknown name is fine. */
void dataplane_plan_remove(struct dataplane_plan *plan, const char *name);
size_t dataplane_plan_count(const struct dataplane_plan *plan);

/* Endpoints whose hairpin rule is kept though no service leads to them any more; it goes when newer ones need the
 * place. */
#define DATAPLANE_HAIRPINS_LINGERING 1024

/* An endpoint that a service address no longer leads to, where the kernel remembers the way: flows of UDP, and clients
 * bound by affinity. (TCP connections are left to end by themselves.) */
struct dataplane_withdrawal {
    uint8_t protocol;
    struct ip_address service_address; /* of no family: any address of the node (a node port) */
    uint16_t service_port;
    struct ip_address endpoint_address;
    uint16_t endpoint_port;
    bool inside;   /* that was so for traffic from inside */
    bool affinity; /* clients may be bound to it */
    bool flows;    /* flows may lead to it; not, where only the affinity has ended */
};

struct element; /* network/element.h */

struct dataplane_transaction {
    struct buffer script; /* nft syntax; empty: nothing to do */
    /* What goes into the tables that the script makes anew: of IPv4, of IPv6. Sets one after the other. */
    VECTOR(struct element) elements[2];
    VECTOR(struct dataplane_withdrawal) withdrawals;
    bool opened[2]; /* of IPv4, of IPv6: ways in for UDP are new */
    /* Affinity seconds whose chains are new, in a table of IPv6: libnftables cannot write their rule
     * (network/nft_batch.h). */
    VECTOR(uint32_t) remember;
};
void dataplane_transaction_free(struct dataplane_transaction *transaction);

/* Writes what changed since the last call of diff or full, as one atomic nft transaction, and counts it as done. */
void dataplane_plan_diff(struct dataplane_plan *plan, struct dataplane_transaction *out);
/* Writes the whole table, its chains as nft script and what is in its sets and maps as elements, and counts it as done.
 * A table that may be there has to go in the same transaction. */
void dataplane_plan_full(struct dataplane_plan *plan, struct dataplane_transaction *out);

/* Whether the rules do not lead from that service address to that endpoint, though the address is one of ours (that
 * of a known service, or in the service CIDR): what an earlier process left in the kernel is judged by this. */
bool dataplane_plan_is_stale(struct dataplane_plan *plan, const struct dataplane_withdrawal *flow);
/* Whether there is a way in at that service address, or, if node ports count, at that port of any address: a flow that
 * is not translated, and goes there, has begun before. */
bool dataplane_plan_enters(struct dataplane_plan *plan, const struct dataplane_withdrawal *flow, bool node_ports);
/* Whether they lead from that service address to that endpoint, and clients of the service stay with theirs. */
bool dataplane_plan_binds(struct dataplane_plan *plan, const struct dataplane_withdrawal *binding);

#endif
