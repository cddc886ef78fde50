/* The kernel's connection tracking, as far as the data plane and the pod network need it: flows that were translated to
 * an endpoint which no longer is one, that network policies no longer allow, or of pods that have gone. */
#ifndef CORACLE_NETWORK_CONNTRACK_H
#define CORACLE_NETWORK_CONNTRACK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "network/address.h"
#include "network/netlink.h"

struct conntrack_flow {
    uint8_t protocol;
    struct ip_address source, destination; /* as the client sent it */
    uint16_t source_port, destination_port;
    struct ip_address endpoint; /* where it was translated to, or its destination */
    uint16_t endpoint_port;
    struct ip_address answered; /* where the endpoint's answers go: the client, or who speaks for it */
    uint16_t answered_port;
    uint8_t tcp_state; /* enum tcp_conntrack; of other protocols 0 */
};

/* Looks at every flow of the family and of TCP, UDP or SCTP, or only at those that were translated, in the namespace of
 * `netlink` (NETLINK_NETFILTER), and deletes those for which `stale` is true; the next packet of such a flow is looked
 * up afresh. A flow that its client begins meanwhile, from the same port to another endpoint, is left alone. Costs what
 * the number of these flows costs. Returns how many were deleted, or -1. */
typedef bool (*conntrack_judge)(void *context, const struct conntrack_flow *flow);
long conntrack_delete(struct netlink *netlink, int family, bool translated, conntrack_judge stale, void *context,
                      struct error *err);

#endif
