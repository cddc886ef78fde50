/* The TCP sockets inside a network namespace, as the kernel sees them: whether clients are still arriving at a server
 * that is about to end, and whether what an ended server said has all been taken. */
#ifndef CORACLE_NETWORK_POD_SOCKETS_H
#define CORACLE_NETWORK_POD_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pod_sockets {
    size_t arriving; /* connections in their handshake, or waiting to be accepted */
    size_t leaving;  /* connections that this side has ended, whose last bytes or end are not acknowledged */
    uint64_t unsent; /* bytes of those */
};

/* Which sockets are a pod's. */
struct pod_sockets_scope {
    const char *namespace_path; /* NULL: the network of the calling thread */
    const uint16_t *ports;      /* only those at these local ports; NULL: all of the namespace */
    size_t port_count;
};

/* Counts them. Costs what a walk over the kernel's table of connections costs: below a millisecond on most machines.
 * Any thread, but not the loop's. */
int pod_sockets_count(const struct pod_sockets_scope *scope, struct pod_sockets *out, struct error *err);

#endif
