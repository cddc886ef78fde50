/* The NodePort relay of a sandbox: makes ports of the sandbox's node reachable on an address of the host, usually
 * its loopback. One thread; sockets that clients see are made in the host's network namespace, those that lead to
 * the node in the sandbox's.
 *
 * TCP goes through pipes with splice(2); a half-closed connection stays half open, a reset becomes a reset, a pod that
 * vanishes without a word becomes one after a few seconds, and no byte is lost or added. UDP keeps one socket per
 * client until it is idle for RELAY_UDP_IDLE.
 *
 * Limits: RELAY_CONNECTIONS_MAX TCP connections (further ones wait in the listening socket's backlog) and
 * RELAY_UDP_CLIENTS_MAX UDP clients (the one idle longest makes room). An idle TCP connection costs two
 * descriptors; a pipe is only held while it has bytes in it.
 *
 * Threads: all functions may be called from any thread; relay_set blocks until the ports are open. */
#ifndef CORACLE_NETWORK_RELAY_H
#define CORACLE_NETWORK_RELAY_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"

#define RELAY_PORTS_MAX 4096
#define RELAY_CONNECTIONS_MAX 4096
#define RELAY_UDP_CLIENTS_MAX 4096
/* Microseconds. */
#define RELAY_UDP_IDLE (60 * SECOND)

struct relay_config {
    int host_namespace_fd; /* -1: the caller's; not kept */
    int node_namespace_fd; /* -1: the caller's; not kept */
    struct in_addr host_address; /* where to listen; 127.0.0.1 */
    struct in_addr node_address; /* where to connect to */
};

struct relay_port {
    uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t port;    /* the same on both sides */
};

struct relay;

int relay_start(const struct relay_config *config, struct relay **out, struct error *err);
/* Closes everything and joins the thread. */
void relay_stop(struct relay *relay);

/* The set of ports to relay from now on. Ports that go stop listening; their established connections stay. A port
 * that cannot be opened (in use on the host) is left out and tried again by the next relay_set: the result is -1,
 * err names the first one, and the others work. */
int relay_set(struct relay *relay, const struct relay_port *ports, size_t count, struct error *err);

struct relay_statistics {
    size_t ports;
    size_t connections;
    size_t udp_clients;
    size_t pipes; /* of these, those with bytes in them and spare ones */
};
void relay_statistics(struct relay *relay, struct relay_statistics *out);

#endif
