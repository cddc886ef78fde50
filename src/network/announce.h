/* Makes addresses of load balancers the node's on the links that it has: answers those who ask for their hardware
 * address (ARP, neighbour solicitation), and tells everybody when an address comes (gratuitous ARP, unsolicited
 * neighbour advertisement). The kernel is not given the addresses; the data plane translates what arrives for them.
 * When the process ends, nobody answers any more.
 *
 * One thread, and sockets only while there is something to announce. All functions may be called from any thread. */
#ifndef CORACLE_NETWORK_ANNOUNCE_H
#define CORACLE_NETWORK_ANNOUNCE_H

#include "base/error.h"
#include "base/timestamp.h"
#include "network/address.h"

#define ANNOUNCE_ADDRESSES_MAX 4096
/* An address that is new is announced so often, with this much between (microseconds): some devices miss the first. */
#define ANNOUNCE_REPEATS 3
#define ANNOUNCE_INTERVAL (1 * SECOND)

struct announcer;

/* Works in the network namespace of the calling thread. `bridge` is the pod network's, where nothing is announced. */
int announcer_start(const char *bridge, struct announcer **out, struct error *err);
/* NULL is fine. */
void announcer_stop(struct announcer *announcer);
/* The addresses from now on; those above the limit are left out. */
void announcer_set(void *announcer, const struct ip_address *addresses, size_t count);

#endif
