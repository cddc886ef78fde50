/* Ports of the node that pods ask for (hostPort). As upstream's scheduler and kubelet count them: those of containers
 * and sidecars; hostIP "" is 0.0.0.0, any address. Thread-safe. */
#ifndef CORACLE_API_HOST_PORT_H
#define CORACLE_API_HOST_PORT_H

#include <stdbool.h>

#include "api/types.h"

#define HOST_PORT_ANY_ADDRESS "0.0.0.0"

/* Calls visit for each port of the node that the pod asks for; ip is never NULL. False from visit ends it: the result.
 */
bool pod_host_ports(const struct pod_spec *spec,
                    bool (*visit)(void *context, const struct container_port *port, const char *ip), void *context);
/* Whether two pods ask for the same one, so that they cannot be on one node. */
bool pod_host_ports_conflict(const struct pod_spec *a, const struct pod_spec *b);

#endif
