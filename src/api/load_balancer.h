/* Load balancers: which are ours, and what their status says of the ports of their Service. */
#ifndef CORACLE_API_LOAD_BALANCER_H
#define CORACLE_API_LOAD_BALANCER_H

#include <stdbool.h>

#include "api/types.h"

/* In ports[].error, where the port at that address is another Service's. What is not upstream's begins with a domain.
 */
#define LOAD_BALANCER_PORT_IN_USE "coracle.dev/PortInUse"

/* It is a load balancer, and nobody else is asked to make it. */
bool load_balancer_is_ours(const struct service *service);
/* Whether the balancer says that the Service does not have the port at this address: an error of it. */
bool load_balancer_lacks_port(const struct load_balancer_ingress *ingress, const struct service_port *port);

#endif
