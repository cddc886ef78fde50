/* From the API to the announcer: which addresses of load balancers this node answers for. Each address of the pool has
 * one node among those that are ready; with externalTrafficPolicy Local, among those with endpoints that are. An event
 * costs what the Services cost that it concerns; a node that turns ready or unready concerns all load balancers.
 *
 * Runs on the client's thread. */
#ifndef CORACLE_NETWORK_BALANCER_H
#define CORACLE_NETWORK_BALANCER_H

#include "base/address_range.h"
#include "client/informer.h"
#include "network/address.h"

struct balancer;

/* What this node is to answer for from now on, whenever it is something else: announcer_set, with the announcer. */
typedef void (*balancer_announce)(void *context, const struct ip_address *addresses, size_t count);

/* Nothing is taken over; `pool` and `node_name` must outlive it. */
struct balancer *balancer_new(struct client *client, struct informer_set *informers, const char *node_name,
                              const struct address_ranges *pool, balancer_announce announce, void *context);
/* Call when the informers deliver nothing more. NULL is fine. */
void balancer_free(struct balancer *balancer);

#endif
