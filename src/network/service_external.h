/* From the API to the data plane: the addresses from outside of one port of a Service, and who may use them.
 *
 * A pure function, on any thread. */
#ifndef CORACLE_NETWORK_SERVICE_EXTERNAL_H
#define CORACLE_NETWORK_SERVICE_EXTERNAL_H

#include "api/types.h"
#include "network/plan.h"

/* What the pointers of a struct dataplane_service lead to. */
struct service_external {
    struct ip_address addresses[DATAPLANE_EXTERNAL_ADDRESSES_MAX], balancers[DATAPLANE_EXTERNAL_ADDRESSES_MAX];
    struct ip_prefix ranges[DATAPLANE_SOURCE_RANGES_MAX];
};

/* Adds to `out`, whose family is set: external addresses, those of the load balancer, and its source ranges, of the
 * field or, where that is empty, of the annotation service.beta.kubernetes.io/load-balancer-source-ranges, as
 * upstream's cloud providers read them. Beyond the limits of network/plan.h nothing is added. `to` must outlive `out`.
 */
void service_external_add(const struct service *service, const struct service_port *port, struct service_external *to,
                          struct dataplane_service *out);

#endif
