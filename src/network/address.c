#include "network/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ip_text.h"

struct ip_address ip_address_v4(struct in_addr address)
{
    return (struct ip_address){.family = AF_INET, .v4 = address};
}

bool ip_address_parse(const char *text, struct ip_address *out)
{
    struct ip_text ip;
    *out = (struct ip_address){0};
    if (!ip_text_parse(text, &ip))
        return false;
    out->family = ip.family == 6 ? AF_INET6 : AF_INET;
    memcpy(&out->v6, ip.address, ip_address_size(out->family));
    return true;
}

const char *ip_address_text(const struct ip_address *address, char out[IP_ADDRESS_TEXT_MAX])
{
    *out = 0;
    if (address->family)
        inet_ntop(address->family, &address->v6, out, IP_ADDRESS_TEXT_MAX);
    return out;
}

size_t ip_address_size(int family)
{
    return family == AF_INET ? sizeof(struct in_addr) : family == AF_INET6 ? sizeof(struct in6_addr) : 0;
}

int ip_address_compare(const struct ip_address *a, const struct ip_address *b)
{
    size_t m = ip_address_size(a->family), n = ip_address_size(b->family);
    return m != n ? (m < n ? -1 : 1) : memcmp(&a->v6, &b->v6, m);
}

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
    return ip_address_compare(a, b) == 0;
}

struct ip_address ip_address_at(const struct ip_address *first, uint64_t index)
{
    struct ip_address out = *first;
    unsigned char *bytes = (unsigned char *)&out.v6;
    for (size_t i = ip_address_size(out.family); i > 0 && index; i--, index >>= 8) {
        index += bytes[i - 1];
        bytes[i - 1] = (unsigned char)index;
    }
    return out;
}

/* The bits of byte i that a prefix of that length covers. */
static unsigned char prefix_bits(int length, size_t i)
{
    int left = length - (int)i * 8;
    return left >= 8 ? 0xff : left <= 0 ? 0 : (unsigned char)(0xff << (8 - left));
}

/* Where the address of `ip` is in its family, if it is a prefix of that length; moves the length there. A range of IPv4
 * within IPv6 is one of IPv4, unless it is so short that it has more than that. */
static bool place_prefix(const struct ip_text *ip, long length, struct ip_prefix *out)
{
    bool wide = ip->mapped && length < IP_MAPPED_SIZE * 8;
    out->address.family = wide || ip->family == 6 ? AF_INET6 : AF_INET;
    out->length = (int)length - (ip->mapped && !wide ? IP_MAPPED_SIZE * 8 : 0);
    unsigned char *bytes = (unsigned char *)&out->address.v6;
    if (wide)
        memcpy(bytes, ip_mapped, IP_MAPPED_SIZE);
    memcpy(bytes + (wide ? IP_MAPPED_SIZE : 0), ip->address, ip->family == 6 ? 16 : 4);
    return out->length <= (int)ip_address_size(out->address.family) * 8;
}

bool ip_prefix_parse(const char *text, struct ip_prefix *out)
{
    char address[IP_ADDRESS_TEXT_MAX];
    const char *slash = strchr(text, '/');
    char *end = NULL;
    struct ip_text ip;
    *out = (struct ip_prefix){0};
    if (!slash || (size_t)(slash - text) >= sizeof(address) || slash[1] < '0' || slash[1] > '9')
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = 0;
    long length = strtol(slash + 1, &end, 10);
    if (*end || length > 128 || !ip_text_parse(address, &ip) || !place_prefix(&ip, length, out))
        return false;
    unsigned char *bytes = (unsigned char *)&out->address.v6;
    for (size_t i = 0; i < ip_address_size(out->address.family); i++)
        bytes[i] &= prefix_bits(out->length, i);
    return true;
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *address)
{
    const unsigned char *a = (const unsigned char *)&prefix->address.v6, *b = (const unsigned char *)&address->v6;
    if (!address->family || prefix->address.family != address->family)
        return false;
    for (size_t i = 0; i < ip_address_size(address->family); i++)
        if ((a[i] ^ b[i]) & prefix_bits(prefix->length, i))
            return false;
    return true;
}

static uint32_t mask(int length)
{
    return length ? UINT32_MAX << (32 - length) : 0;
}

int ipv4_prefix_parse(const char *text, struct ipv4_prefix *out, struct error *err)
{
    char address[INET_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    char *end = NULL;
    long length = slash && slash[1] >= '0' && slash[1] <= '9' ? strtol(slash + 1, &end, 10) : -1;
    if (length < 0 || length > 32 || *end || (size_t)(slash - text) >= sizeof(address))
        return error_set(err, EINVAL, "\"%s\" is not an IPv4 prefix such as 10.244.0.0/24", text);
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = 0;
    if (inet_pton(AF_INET, address, &out->address) != 1)
        return error_set(err, EINVAL, "\"%s\" is not an IPv4 prefix such as 10.244.0.0/24", text);
    out->length = (int)length;
    if (ntohl(out->address.s_addr) & ~mask(out->length))
        return error_set(err, EINVAL, "\"%s\" has bits set behind its prefix", text);
    return 0;
}

bool ipv4_prefix_contains(const struct ipv4_prefix *prefix, struct in_addr address)
{
    return ((ntohl(address.s_addr) ^ ntohl(prefix->address.s_addr)) & mask(prefix->length)) == 0;
}

struct in_addr ipv4_prefix_at(const struct ipv4_prefix *prefix, uint32_t index)
{
    return (struct in_addr){htonl(ntohl(prefix->address.s_addr) + index)};
}

int address_pool_init(struct address_pool *pool, const struct ipv4_prefix *prefix, struct error *err)
{
    *pool = (struct address_pool){.prefix = *prefix};
    if (prefix->length < ADDRESS_POOL_LENGTH_MIN || prefix->length > ADDRESS_POOL_LENGTH_MAX)
        return error_set(err, EINVAL, "a node's pod addresses need a prefix of /%d to /%d, not /%d",
                         ADDRESS_POOL_LENGTH_MIN, ADDRESS_POOL_LENGTH_MAX, prefix->length);
    pool->size = UINT32_C(1) << (32 - prefix->length);
    pool->bits = mem_zero((pool->size + 63) / 64, sizeof(uint64_t));
    pool->next = 2;
    return 0;
}

void address_pool_free(struct address_pool *pool)
{
    free(pool->bits);
    *pool = (struct address_pool){0};
}

static bool taken(const struct address_pool *pool, uint32_t index)
{
    return pool->bits[index / 64] >> (index % 64) & 1;
}

/* The place of an address that the pool may give, or 0. */
static uint32_t place(const struct address_pool *pool, struct in_addr address)
{
    if (!ipv4_prefix_contains(&pool->prefix, address))
        return 0;
    uint32_t index = ntohl(address.s_addr) - ntohl(pool->prefix.address.s_addr);
    return index >= 2 && index < pool->size - 1 ? index : 0;
}

static void take(struct address_pool *pool, uint32_t index)
{
    pool->bits[index / 64] |= UINT64_C(1) << (index % 64);
    pool->used++;
}

int address_pool_take(struct address_pool *pool, struct in_addr *out, struct error *err)
{
    uint32_t usable = pool->size - 3;
    for (uint32_t i = 0; i < usable; i++) {
        uint32_t index = 2 + (pool->next - 2 + i) % usable;
        if (taken(pool, index))
            continue;
        take(pool, index);
        pool->next = 2 + (index - 2 + 1) % usable;
        *out = ipv4_prefix_at(&pool->prefix, index);
        return 0;
    }
    return error_set(err, EADDRNOTAVAIL, "all %u pod addresses of this node are in use", usable);
}

bool address_pool_claim(struct address_pool *pool, struct in_addr address)
{
    uint32_t index = place(pool, address);
    if (!index || taken(pool, index))
        return false;
    take(pool, index);
    return true;
}

void address_pool_release(struct address_pool *pool, struct in_addr address)
{
    uint32_t index = place(pool, address);
    if (!index || !taken(pool, index))
        return;
    pool->bits[index / 64] &= ~(UINT64_C(1) << (index % 64));
    pool->used--;
}

void address_pool_continue(struct address_pool *pool, struct in_addr last)
{
    uint32_t index = place(pool, last);
    if (index)
        pool->next = 2 + (index - 2 + 1) % (pool->size - 3);
}
