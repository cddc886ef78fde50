/* Messages about links, their addresses, routes and neighbours, and what the kernel says of a link. The messages go
 * into a batch (network/netlink.h) and do nothing before it is committed. Threads: as network/netlink.h. */
#ifndef CORACLE_NETWORK_LINK_H
#define CORACLE_NETWORK_LINK_H

#include "network/address.h"
#include "network/netlink.h"

#define LINK_ADDRESS_SIZE 6
/* The kernel's IFALIASZ. */
#define LINK_ALIAS_SIZE 256
#define LINK_MTU_DEFAULT 1500

/* Opens a message of a type RTM_..LINK for the link `name`. up: and sets it up. */
void link_message(struct netlink_batch *batch, uint16_t type, uint16_t flags, const char *name, bool up);
/* Opens one that sets the link `name`, with its IPv6, if there is any, silent. */
void link_message_quiet(struct netlink_batch *batch, const char *name, bool ipv6);
/* The address, of a prefix of that length, on the link of that index. */
void link_message_address(struct netlink_batch *batch, int link, const struct ip_address *address, int length);
/* gateway NULL: directly on the link. */
void link_message_route(struct netlink_batch *batch, int link, const struct ip_prefix *to,
                        const struct ip_address *gateway);
/* Tells which hardware address an IPv6 address has, for good. */
void link_message_neighbour(struct netlink_batch *batch, int link, const struct ip_address *address,
                            const unsigned char hardware[LINK_ADDRESS_SIZE]);

struct link_view {
    int index;
    int mtu;
    bool bridge;
    unsigned char address[LINK_ADDRESS_SIZE];
    char alias[LINK_ALIAS_SIZE];
};

/* By name, or by index if name is NULL. */
int link_look(struct netlink *netlink, const char *name, int index, struct link_view *view, struct error *err);
/* Of the link that the default route uses; LINK_MTU_DEFAULT when there is none, or it says less than 576 bytes, which
 * is no link for IP. */
int link_uplink_mtu(struct netlink *netlink);

#endif
