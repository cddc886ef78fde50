/* Addresses and prefixes of both families, and the pool that a node's pod addresses come from. Addresses are in network
 * order, as everywhere in struct in_addr. */
#ifndef CORACLE_NETWORK_ADDRESS_H
#define CORACLE_NETWORK_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* An address of either family. What a family does not use is 0, so that memory compares as addresses do. */
struct ip_address {
    int family; /* AF_INET or AF_INET6; 0: none */
    union {
        struct in_addr v4;
        struct in6_addr v6;
    };
};

/* Longest text, with its NUL. */
#define IP_ADDRESS_TEXT_MAX INET6_ADDRSTRLEN

struct ip_prefix {
    struct ip_address address; /* the host part is zero */
    int length;
};

struct ip_address ip_address_v4(struct in_addr address);
/* "10.244.0.7" or "fd00::7", read as base/ip_text.h says; false, and an address of no family, for what is neither. NULL
 * is neither. */
bool ip_address_parse(const char *text, struct ip_address *out);
/* Returns `out`; "" for no family. */
const char *ip_address_text(const struct ip_address *address, char out[IP_ADDRESS_TEXT_MAX]);
bool ip_address_equal(const struct ip_address *a, const struct ip_address *b);
/* IPv4 before IPv6, then by number. */
int ip_address_compare(const struct ip_address *a, const struct ip_address *b);
/* The address `index` places after this one. */
struct ip_address ip_address_at(const struct ip_address *first, uint64_t index);
/* 4, 16 or 0. */
size_t ip_address_size(int family);

/* "10.0.0.0/8", "fd00::/8"; bits behind the prefix are dropped. The length of "::ffff:10.0.0.0/104" counts from the
 * front of IPv6, as upstream counts it: from 96 on it is the prefix of IPv4 10.0.0.0/8, below that one of IPv6. */
bool ip_prefix_parse(const char *text, struct ip_prefix *out);
/* Whether the address is of the prefix' family and in it. */
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *address);

struct ipv4_prefix {
    struct in_addr address; /* the host part is zero */
    int length;
};

/* Reads "10.244.0.0/24"; the host part must be zero. */
int ipv4_prefix_parse(const char *text, struct ipv4_prefix *out, struct error *err);
bool ipv4_prefix_contains(const struct ipv4_prefix *prefix, struct in_addr address);
/* The address `index` places after the first. */
struct in_addr ipv4_prefix_at(const struct ipv4_prefix *prefix, uint32_t index);

/* A pool of a prefix of /16 to /29, one bit per address. The network address, the first (the gateway's) and the
 * broadcast address are never given out. Addresses come in turn, so that one is used again as late as possible. */
#define ADDRESS_POOL_LENGTH_MIN 16
#define ADDRESS_POOL_LENGTH_MAX 29

struct address_pool {
    struct ipv4_prefix prefix;
    uint32_t size;
    uint32_t used;
    uint32_t next; /* where the search begins */
    uint64_t *bits;
};

int address_pool_init(struct address_pool *pool, const struct ipv4_prefix *prefix, struct error *err);
void address_pool_free(struct address_pool *pool);
/* EADDRNOTAVAIL when none is left. */
int address_pool_take(struct address_pool *pool, struct in_addr *out, struct error *err);
/* Marks an address as taken; false if it was already, or is not the pool's to give. */
bool address_pool_claim(struct address_pool *pool, struct in_addr address);
/* An address that is not taken is fine. */
void address_pool_release(struct address_pool *pool, struct in_addr address);
/* Goes on after `last`, the address that an earlier pool gave out last. */
void address_pool_continue(struct address_pool *pool, struct in_addr last);

#endif
