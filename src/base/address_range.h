/* Ranges of IP addresses, as people write them: "192.0.2.240-192.0.2.250", "192.0.2.0/28", "2001:db8::/120",
 * "192.0.2.7", with commas between them. */
#ifndef CORACLE_BASE_ADDRESS_RANGE_H
#define CORACLE_BASE_ADDRESS_RANGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ADDRESS_RANGES_MAX 16
/* Addresses of one range that are counted; what a wide IPv6 prefix has beyond them is not used. */
#define ADDRESS_RANGE_SIZE_MAX 65536

struct address_range {
    int family;            /* AF_INET or AF_INET6 */
    struct in6_addr first; /* of IPv4 the first four bytes */
    uint32_t size;
};

struct address_ranges {
    struct address_range items[ADDRESS_RANGES_MAX];
    size_t count;
};

/* EINVAL with a message that quotes the part that is wrong. */
int address_ranges_parse(const char *text, struct address_ranges *out, struct error *err);
bool address_ranges_contain(const struct address_ranges *ranges, const char *address);
/* The address of that family at a place, counted over all ranges; false behind the last. */
bool address_ranges_at(const struct address_ranges *ranges, int family, uint32_t place, char out[INET6_ADDRSTRLEN]);

#endif
