/* The packets with which a node says that an address is its own on a link: ARP and neighbour discovery. Pure: bytes in,
 * bytes out. */
#ifndef CORACLE_NETWORK_ANNOUNCE_PACKET_H
#define CORACLE_NETWORK_ANNOUNCE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network/address.h"

#define HARDWARE_ADDRESS_SIZE 6
/* The longest that is written, with the header of Ethernet. */
#define ANNOUNCE_PACKET_MAX 86

/* A question for the hardware address of an address. */
struct announce_question {
    struct ip_address target;
    struct ip_address source; /* who asks; of IPv6 of no family if that is not known: it looks for duplicates */
    unsigned char hardware[HARDWARE_ADDRESS_SIZE];
};

/* Reads a frame with its Ethernet header. False for anything but a well-formed question. */
bool announce_read(const unsigned char *frame, size_t size, struct announce_question *out);
/* Writes the answer of the node that has `hardware` on the link; returns its size. */
size_t announce_answer(const struct announce_question *question, const unsigned char hardware[HARDWARE_ADDRESS_SIZE],
                       unsigned char out[ANNOUNCE_PACKET_MAX]);
/* Writes what tells everybody on the link without being asked: gratuitous ARP, unsolicited neighbour advertisement. */
size_t announce_unasked(const struct ip_address *address, const unsigned char hardware[HARDWARE_ADDRESS_SIZE],
                        unsigned char out[ANNOUNCE_PACKET_MAX]);

/* Which of the nodes answers for an address: the same for all who ask with the same nodes, spread over them by address,
 * and another only for the addresses of a node that goes. NULL without nodes. The names are in any order. */
const char *announce_owner(const struct ip_address *address, const char *const *nodes, size_t count);

#endif
