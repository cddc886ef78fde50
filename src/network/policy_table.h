/* The nftables table that enforces network policies, as text: a fixed frame of chains, and the elements of its maps and
 * sets. No I/O: the data plane (network/dataplane.h) puts the text into its transactions; network/policy_plan.h says
 * which elements there ought to be.
 *
 * A packet that begins a connection, in the forward hook and hence behind the translation of services, is judged so,
 * once for its sender's egress and once for its receiver's ingress:
 *
 *     default      pod -> port set: a pod that is not in it is not isolated, and the packet passes
 *     peers        address of the other side -> its class: pods that all policies see alike are one class
 *     blocks       the same for addresses that are not a pod's: ranges, for ipBlock
 *     rules        pod . class -> port set; where there is none, the default's
 *     ports        port set . protocol . port: in it passes, else the packet is dropped
 *
 * Each step is one lookup, however many policies and pods there are. What is established, and its replies, pass; so
 * does what a node sends to its own pods, which is never forwarded; and what a pod sends to itself through a service.
 *
 * Without elements there is no table, and no hook in any packet's way. */
#ifndef CORACLE_NETWORK_POLICY_TABLE_H
#define CORACLE_NETWORK_POLICY_TABLE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/address.h"

/* Keys are written as nft writes them; port sets and classes are numbers. */
enum policy_set {
    POLICY_PEERS,          /* address -> class */
    POLICY_BLOCKS,         /* address, or FIRST-LAST -> class */
    POLICY_EGRESS,         /* pod . class -> port set */
    POLICY_EGRESS_DEFAULT, /* pod -> port set */
    POLICY_INGRESS,        /* the same for what a pod receives */
    POLICY_INGRESS_DEFAULT,
    POLICY_SELF,        /* pod . the same pod */
    POLICY_DNS,         /* pod . protocol: the pod may ask the cluster's DNS server by it */
    POLICY_PORTS,       /* port set . protocol . port; no family */
    POLICY_PORT_RANGES, /* port set . protocol . FIRST-LAST; no family */
    POLICY_PROTOCOLS,   /* port set . protocol, with all its ports; no family */
    POLICY_SETS
};

/* The port set of everything: every protocol, with and without ports. */
#define POLICY_EVERYTHING 1
/* The empty one. */
#define POLICY_NOTHING 2
/* The class of addresses that no policy names. */
#define POLICY_CLASS_NONE 0

struct policy_change {
    enum policy_set set;
    bool ipv6; /* false for sets without family */
    bool remove;
    char *key;      /* free() */
    uint32_t value; /* 0 for sets without values */
};

struct policy_changes {
    struct policy_change *items;
    size_t count;
    size_t capacity;
};
void policy_changes_free(struct policy_changes *changes);

/* Whether elements of the set have values, and whether keys begin with an address. */
bool policy_set_is_map(enum policy_set set);
bool policy_set_has_family(enum policy_set set);

struct policy_table_config {
    const char *table;       /* of family inet; otherwise as dataplane_plan_config.table */
    const char *bridge;      /* the pod network's */
    const char *dns_address; /* the cluster's DNS service, which is asked on port 53; NULL: none */
};

struct policy_table;

/* The config's strings are copied. */
struct policy_table *policy_table_new(const struct policy_table_config *config);
void policy_table_free(struct policy_table *table);
/* Applies the changes, in their order. Removing what is not there is fine. */
void policy_table_apply(struct policy_table *table, const struct policy_changes *changes);
const char *policy_table_name(const struct policy_table *table);
size_t policy_table_count(const struct policy_table *table);
/* Append what changed since the last call of diff or full, or the whole table, as nft script, and count it as done. */
void policy_table_diff(struct policy_table *table, struct buffer *script);
void policy_table_full(struct policy_table *table, struct buffer *script);

/* A flow behind the translation of services, and what its sender asked for. Ports in host order. */
struct policy_flow {
    uint8_t protocol;
    struct ip_address source, destination, asked;
    uint16_t destination_port, asked_port;
};

/* Whether what was written since the last call may forbid what was allowed before. */
bool policy_table_has_narrowed(struct policy_table *table);
/* What the table's rules say to a packet that begins this flow, if it is forwarded. */
bool policy_table_allows(const struct policy_table *table, const struct policy_flow *flow);

#endif
