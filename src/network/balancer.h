/* From the API to the announcer: which addresses of load balancers this node answers for. Each address of the pool has
 * one node among those that are ready; with externalTrafficPolicy Local, among those with endpoints that are.
 *
 * Runs on the client's thread. */
#ifndef CORACLE_NETWORK_BALANCER_H
#define CORACLE_NETWORK_BALANCER_H

#include "base/address_range.h"
#include "client/informer.h"
#include "network/announce.h"

struct balancer;

/* Nothing is taken over; `pool` must outlive it. */
struct balancer *balancer_new(struct client *client, struct informer_set *informers, const char *node_name,
                              const struct address_ranges *pool, struct announcer *announcer);
/* Call when the informers deliver nothing more. NULL is fine. */
void balancer_free(struct balancer *balancer);

#endif
