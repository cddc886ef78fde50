/* The pod network of one node: a bridge in the node's network namespace, and for each pod an address, a veth pair
 * and routes.
 *
 *     node namespace                                          pod namespace
 *     bridge, .1 of the pod CIDR ---- podXXXXXXXX ==veth== eth0, ADDRESS/32, default route through the bridge
 *
 * A pod has a /32 and sends everything to the bridge's address: pods reach each other through the node's routing and
 * never behind its back, so that connection tracking sees both directions of every service connection, whether the
 * machine has br_netfilter or not. (Where it has, a connection to a service may take the short way over the bridge; the
 * ports let it return to its own sender, which is hairpin mode.)
 *
 * Everything that must outlast the process is in the kernel: the alias of a veth holds the pod's key, the alias of
 * the bridge holds the address given out last. pod_network_open reads them back; there is no file.
 *
 * Addresses go round the whole CIDR before one is used again.
 *
 * Where the kernel has IPv6, everything of this has it too: a pod's IPv6 address is in the node's IPv6 prefix where its
 * IPv4 address is in the node's CIDR, so that one follows from the other. Nobody has to look for neighbours: hardware
 * addresses follow from addresses too, and are told to the kernel.
 *
 * Threads: every function blocks (a few hundred microseconds; up to a few milliseconds on a busy kernel) and is to
 * be called from worker threads; any number may call at once. They move the calling thread between namespaces and
 * always bring it back. */
#ifndef CORACLE_NETWORK_POD_NETWORK_H
#define CORACLE_NETWORK_POD_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "network/address.h"

/* The cluster's defaults. */
#define POD_NETWORK_CLUSTER_CIDR "10.244.0.0/16"
#define POD_NETWORK_NODE_CIDR "10.244.0.0/24" /* of node 0 */
#define POD_NETWORK_SERVICE_CIDR "10.96.0.0/16"
#define POD_NETWORK_CLUSTER_CIDR6 "fd00:10:244::/56"
#define POD_NETWORK_NODE_CIDR6 "fd00:10:244::/64" /* of node 0 */
#define POD_NETWORK_SERVICE_CIDR6 "fd00:10:96::/112"
#define POD_NETWORK_BRIDGE "coracle0"

/* A longer key is refused. Keys have no white space; pods use their UID. */
#define POD_NETWORK_KEY_MAX 200

struct pod_network_config {
    int namespace_fd;        /* the node's network namespace, or -1; not kept */
    const char *bridge;      /* NULL: POD_NETWORK_BRIDGE; at most 15 characters */
    const char *node_cidr;   /* NULL: POD_NETWORK_NODE_CIDR; see network/address.h for its size */
    const char *service_cidr; /* NULL: POD_NETWORK_SERVICE_CIDR; routed to the bridge, so that local processes reach
                                 services without a default route and nothing for them ever leaves the machine */
    const char *node_cidr6;    /* NULL: POD_NETWORK_NODE_CIDR6; at most /96 */
    const char *service_cidr6; /* NULL: POD_NETWORK_SERVICE_CIDR6 */
    int mtu;                 /* 0: of the link that the default route uses, or 1500 */
    bool own_namespace;      /* the namespace is the cluster's alone (a sandbox): settings for all links may change */
};

struct pod_network;

/* Creates the bridge or takes over the one that is there, with all pods attached to it. */
int pod_network_open(const struct pod_network_config *config, struct pod_network **out, struct error *err);
/* Forgets the object; bridge and pods stay. */
void pod_network_close(struct pod_network *network);
/* Removes all pods' links, the bridge and its routes from the namespace, as far as they are there. */
int pod_network_destroy(const struct pod_network_config *config, struct error *err);

/* Gives the pod an address and connects its network namespace: eth0, loopback, routes. A key that is attached to
 * this very namespace already keeps its address; one that is attached to another (the pod was made anew) gets a
 * fresh one. EADDRNOTAVAIL when the CIDR is used up. */
int pod_network_attach(struct pod_network *network, const char *key, const char *namespace_path, struct in_addr *address,
                       struct error *err);
/* Takes the link away, has the kernel forget the service connections that led to the pod or came from it, and frees the
 * address. A key that is not attached is fine. */
int pod_network_detach(struct pod_network *network, const char *key, struct error *err);
/* The address of an attached pod. False when there is none. */
bool pod_network_find(struct pod_network *network, const char *key, struct in_addr *address);
/* Calls back for each attached pod, to find those that no longer exist. The callback must not call back into the
 * pod network. */
void pod_network_each(struct pod_network *network, void (*callback)(void *context, const char *key, struct in_addr address),
                      void *context);

/* Whether the network has IPv6; if not, what its pods and services have is IPv4 alone. */
bool pod_network_has_ipv6(const struct pod_network *network);
/* The IPv6 address of the pod, or of the gateway, that has this IPv4 address. False, and no address, without IPv6. */
bool pod_network_address6(const struct pod_network *network, struct in_addr address, struct ip_address *out);
struct in_addr pod_network_gateway(const struct pod_network *network);
int pod_network_mtu(const struct pod_network *network);

#endif
