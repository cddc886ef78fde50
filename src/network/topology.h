/* Which endpoints traffic from this node prefers, by the hints in EndpointSlices, as upstream's kube-proxy decides: when
 * every ready endpoint has hints for nodes and one is for this node, those that are; else when every one has hints for
 * zones and one is for this zone, those that are; else all. Pure. */
#ifndef CORACLE_NETWORK_TOPOLOGY_H
#define CORACLE_NETWORK_TOPOLOGY_H

#include "api/types.h"
#include "network/plan.h"

/* Sets `distant` of the ready endpoints that are not preferred. hints[i], which may be NULL, are those of endpoints[i];
 * zone may be NULL. */
void topology_choose(struct dataplane_endpoint *endpoints, const struct endpoint_hints *const *hints, size_t count,
                     const char *node, const char *zone);

#endif
