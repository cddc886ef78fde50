/* Inside the data plane: what a rule set is made of. A rule set is a fixed frame of chains and the elements of the
 * maps and sets named here; a service is nothing but its elements. */
#ifndef CORACLE_NETWORK_ELEMENT_H
#define CORACLE_NETWORK_ELEMENT_H

#include "network/plan.h"

/* "service" is a protocol, an address and a port; "node port" is a protocol and a port, on any address of the node. */
enum element_set {
    SERVICE_SIZES,          /* service -> how many endpoints */
    SERVICE_ENDPOINTS,      /* slot, service -> endpoint; slots run from 0 */
    NODE_PORT_SIZES,        /* node port -> how many endpoints */
    NODE_PORT_ENDPOINTS,    /* slot, node port -> endpoint */
    SERVICE_AFFINITY,       /* service -> seconds that a client stays with its endpoint */
    NODE_PORT_AFFINITY,     /* node port -> the same */
    HAIRPIN,                /* endpoint address, twice: what would come back to its own sender */
    SERVICE_MASQUERADE,     /* services whose connections take the node's address: external addresses */
    NODE_PORT_MASQUERADE,   /* node ports, likewise */
    INSIDE_SIZES,           /* service -> ELEMENT_INSIDE + how many endpoints, for pods and the node itself */
    INSIDE_NODE_PORT_SIZES, /* node port -> the same */
    SERVICE_REFUSED,        /* services without an endpoint */
    NODE_PORT_REFUSED,      /* node ports without one */
    SERVICE_DROPPED,        /* services of policy Local whose endpoints are all on other nodes */
    NODE_PORT_DROPPED,      /* node ports, likewise */
    SOURCE_LIMITED,         /* services that some may use only */
    SOURCE_RANGES,          /* service, prefix: who may */
    ELEMENT_SETS,
};

/* Slots for traffic from inside, where it may use other endpoints than traffic from outside, run from here. */
#define ELEMENT_INSIDE 65536

/* How a set's key and value are written. A set with slots is one map per protocol, NAME-tcp, NAME-udp and NAME-sctp,
 * whose keys do without the protocol: libnftables 1.0.6 reads the type of a translation to address and port back from
 * the kernel only when it knows the protocol. */
enum element_key {
    KEY_SERVICE,
    KEY_SLOT_SERVICE,
    KEY_NODE_PORT,
    KEY_SLOT_NODE_PORT,
    KEY_ADDRESS_TWICE,
    KEY_SERVICE_SOURCE,
};
enum element_value { VALUE_NONE, VALUE_NUMBER, VALUE_ENDPOINT };

struct element_set_description {
    const char *name;
    enum element_key key;
    enum element_value value;
};
extern const struct element_set_description element_sets[ELEMENT_SETS];

struct element {
    /* the key; what a set's key does not have is 0 */
    struct ip_address address;
    uint32_t slot; /* of SOURCE_RANGES: the length of the prefix */
    uint16_t port;
    uint8_t protocol;
    uint8_t set; /* enum element_set */
    /* the value; of SOURCE_RANGES still the key: the address of the prefix */
    struct ip_address endpoint_address;
    uint32_t number;
    uint16_t endpoint_port;
};

bool element_value_equal(const struct element *a, const struct element *b);

/* An eligible endpoint; its place in an array is its slot. */
struct slot {
    struct ip_address address;
    uint16_t port;
    bool remote; /* on another node */
};

struct slots {
    struct slot *items;
    size_t count;
};

/* Chooses the endpoints that get traffic, in slots: one that had a slot in `previous` keeps it where it can, so that a
 * change of one endpoint changes few elements. local_only: those of this node. Release items with free(). */
struct slots slots_choose(const struct dataplane_service *service, bool local_only, const struct slots *previous);

struct elements {
    struct element *items;
    size_t count;
    size_t capacity;
};

/* The elements of a service: pure. `all` are its endpoints wherever they are, `local` those of this node, which count
 * where a policy is Local. From inside, addresses for those outside lead to all of them whatever the policy, as
 * upstream has it. Release items with free(). */
struct elements elements_of_service(const struct dataplane_service *service, const struct slots *all,
                                    const struct slots *local);

/* ---- text, in network/nft_text.c ---- */

/* The place of a protocol among tcp, udp and sctp. */
#define ELEMENT_PROTOCOLS 3
size_t element_protocol_index(uint8_t protocol);
/* The name of the map or set that holds such elements of that protocol. */
void nft_write_set_name(struct buffer *out, enum element_set set, size_t protocol_index);
/* The word for a family in nft's language, as a table's family and before a header's fields: "ip" or "ip6". */
const char *nft_family(int family);
/* "tcp . 10.96.0.1 . 80", as the set's key is written. */
void nft_write_key(struct buffer *out, const struct element *element);
/* "... : 10.244.0.7 . 8080", key and value; the key alone for a set. */
void nft_write_element(struct buffer *out, const struct element *element);
/* The frame: the table with all its chains, maps and sets, empty of elements. */
void nft_write_frame(struct buffer *out, const struct dataplane_plan_config *config);
/* The chains that choose one of n endpoints, or of n - ELEMENT_INSIDE from slot ELEMENT_INSIDE, and the way to them.
 * Writing them twice does no harm. */
void nft_write_pick(struct buffer *out, const struct dataplane_plan_config *config, uint32_t n);
/* The chain that remembers a client for some seconds, likewise. In a table of IPv6 the chain is left as it is, or empty
 * if it is new: its rule is written by nft_batch_remember. */
void nft_write_remember(struct buffer *out, const struct dataplane_plan_config *config, uint32_t seconds);

#endif
