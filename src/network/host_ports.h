/* Ports of the node that lead to containers: hostPort and hostIP. Each becomes a service of the data plane with one
 * endpoint, whose clients keep their addresses; in a sandbox it is relayed to the host like a node port. A pod on the
 * node's own network has its ports there already: they are relayed only.
 *
 * One thread, that of the service proxy. */
#ifndef CORACLE_NETWORK_HOST_PORTS_H
#define CORACLE_NETWORK_HOST_PORTS_H

#include "api/types.h"
#include "network/dataplane.h"
#include "network/relay.h"

struct host_ports;

/* node_address: where the relay arrives; 0: there is no relay. */
struct host_ports *host_ports_new(struct in_addr node_address);
void host_ports_free(struct host_ports *ports);

/* The pod has its address, and where there is IPv6 another (NULL: not any more). Returns whether anything has changed; the data plane has been told all
 * but the revision. */
bool host_ports_set(struct host_ports *ports, struct dataplane *plane, const struct pod *pod, const char *pod_ip,
                    const char *pod_ip6);
/* Calls visit for each port that the relay has to offer. */
void host_ports_each_relayed(const struct host_ports *ports, void (*visit)(void *context, struct relay_port port),
                             void *context);

#endif
