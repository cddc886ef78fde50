#include "network/announce_packet.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <string.h>

#define ETHERNET_SIZE 14
#define ARP_SIZE 28
#define OPTION_SIZE 8
#define HOP_LIMIT 255

static const unsigned char everybody[HARDWARE_ADDRESS_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static uint16_t read_u16(const unsigned char *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void write_u16(unsigned char *p, uint16_t value)
{
    p[0] = (unsigned char)(value >> 8);
    p[1] = (unsigned char)value;
}

static void write_ethernet(unsigned char *out, const unsigned char *to, const unsigned char *from, uint16_t type)
{
    memcpy(out, to, HARDWARE_ADDRESS_SIZE);
    memcpy(out + HARDWARE_ADDRESS_SIZE, from, HARDWARE_ADDRESS_SIZE);
    write_u16(out + 2 * HARDWARE_ADDRESS_SIZE, type);
}

/* ---- ARP ---- */

static const unsigned char arp_header[6] = {0, ARPHRD_ETHER, ETH_P_IP >> 8, ETH_P_IP & 0xff, HARDWARE_ADDRESS_SIZE, 4};

static bool read_arp(const unsigned char *p, size_t size, struct announce_question *out)
{
    if (size < ARP_SIZE || memcmp(p, arp_header, sizeof(arp_header)) != 0 || read_u16(p + 6) != ARPOP_REQUEST)
        return false;
    *out = (struct announce_question){.target.family = AF_INET, .source.family = AF_INET};
    memcpy(out->hardware, p + 8, HARDWARE_ADDRESS_SIZE);
    memcpy(&out->source.v4, p + 14, 4);
    memcpy(&out->target.v4, p + 24, 4);
    return true;
}

static size_t write_arp(unsigned char *out, uint16_t operation, const unsigned char *hardware,
                        const struct ip_address *address, const unsigned char *to_hardware, const struct ip_address *to)
{
    unsigned char *p = out + ETHERNET_SIZE;
    write_ethernet(out, to_hardware, hardware, ETH_P_ARP);
    memcpy(p, arp_header, sizeof(arp_header));
    write_u16(p + 6, operation);
    memcpy(p + 8, hardware, HARDWARE_ADDRESS_SIZE);
    memcpy(p + 14, &address->v4, 4);
    memcpy(p + 18, to_hardware, HARDWARE_ADDRESS_SIZE);
    memcpy(p + 24, &to->v4, 4);
    return ETHERNET_SIZE + ARP_SIZE;
}

/* ---- Neighbour discovery ---- */

static uint16_t checksum(const struct ip6_hdr *ip, const unsigned char *data, size_t size)
{
    uint32_t sum = IPPROTO_ICMPV6 + (uint32_t)size;
    const unsigned char *addresses = (const unsigned char *)&ip->ip6_src;
    for (size_t i = 0; i < 2 * sizeof(struct in6_addr); i += 2)
        sum += read_u16(addresses + i);
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += read_u16(data + i);
    if (size % 2)
        sum += (uint32_t)data[size - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The sender's hardware address among the options of a solicitation. */
static bool read_source_option(const unsigned char *p, size_t size, unsigned char out[HARDWARE_ADDRESS_SIZE])
{
    while (size >= OPTION_SIZE) {
        size_t length = (size_t)p[1] * 8;
        if (length == 0 || length > size)
            return false;
        if (p[0] == ND_OPT_SOURCE_LINKADDR && length >= 2 + HARDWARE_ADDRESS_SIZE) {
            memcpy(out, p + 2, HARDWARE_ADDRESS_SIZE);
            return true;
        }
        p += length;
        size -= length;
    }
    return false;
}

static bool read_solicitation(const unsigned char *p, size_t size, const unsigned char *sender,
                              struct announce_question *out)
{
    struct ip6_hdr ip;
    struct nd_neighbor_solicit ask;
    static const struct in6_addr unknown;
    if (size < sizeof(ip) + sizeof(ask))
        return false;
    memcpy(&ip, p, sizeof(ip));
    memcpy(&ask, p + sizeof(ip), sizeof(ask));
    size_t length = ntohs(ip.ip6_plen);
    if (p[0] >> 4 != 6 || ip.ip6_nxt != IPPROTO_ICMPV6 || ip.ip6_hlim != HOP_LIMIT || length < sizeof(ask) ||
        length > size - sizeof(ip) || ask.nd_ns_type != ND_NEIGHBOR_SOLICIT || ask.nd_ns_code != 0 ||
        checksum(&ip, p + sizeof(ip), length) != 0)
        return false;
    *out = (struct announce_question){.target = {.family = AF_INET6, .v6 = ask.nd_ns_target}};
    memcpy(out->hardware, sender, HARDWARE_ADDRESS_SIZE);
    if (memcmp(&ip.ip6_src, &unknown, sizeof(unknown)) == 0)
        return true;
    out->source = (struct ip_address){.family = AF_INET6, .v6 = ip.ip6_src};
    read_source_option(p + sizeof(ip) + sizeof(ask), length - sizeof(ask), out->hardware);
    return true;
}

/* to of no family: all nodes of the link. */
static size_t write_advertisement(unsigned char *out, const unsigned char *hardware, const struct ip_address *address,
                                  const unsigned char *to_hardware, const struct ip_address *to)
{
    static const unsigned char all_nodes_hardware[HARDWARE_ADDRESS_SIZE] = {0x33, 0x33, 0, 0, 0, 1};
    struct {
        struct nd_neighbor_advert advert;
        unsigned char option[OPTION_SIZE];
    } message = {.advert.nd_na_type = ND_NEIGHBOR_ADVERT,
                 .advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE,
                 .advert.nd_na_target = address->v6,
                 .option = {ND_OPT_TARGET_LINKADDR, 1}};
    struct ip6_hdr ip = {.ip6_flow = htonl(6 << 28),
                         .ip6_plen = htons(sizeof(message)),
                         .ip6_nxt = IPPROTO_ICMPV6,
                         .ip6_hlim = HOP_LIMIT,
                         .ip6_src = address->v6};
    if (to->family) {
        message.advert.nd_na_flags_reserved |= ND_NA_FLAG_SOLICITED;
        ip.ip6_dst = to->v6;
    } else {
        inet_pton(AF_INET6, "ff02::1", &ip.ip6_dst);
        to_hardware = all_nodes_hardware;
    }
    memcpy(message.option + 2, hardware, HARDWARE_ADDRESS_SIZE);
    message.advert.nd_na_cksum = htons(checksum(&ip, (const unsigned char *)&message, sizeof(message)));
    write_ethernet(out, to_hardware, hardware, ETH_P_IPV6);
    memcpy(out + ETHERNET_SIZE, &ip, sizeof(ip));
    memcpy(out + ETHERNET_SIZE + sizeof(ip), &message, sizeof(message));
    return ETHERNET_SIZE + sizeof(ip) + sizeof(message);
}

/* ---- Both ---- */

bool announce_read(const unsigned char *frame, size_t size, struct announce_question *out)
{
    if (size < ETHERNET_SIZE)
        return false;
    const unsigned char *payload = frame + ETHERNET_SIZE, *sender = frame + HARDWARE_ADDRESS_SIZE;
    switch (read_u16(frame + 2 * HARDWARE_ADDRESS_SIZE)) {
    case ETH_P_ARP:
        return read_arp(payload, size - ETHERNET_SIZE, out);
    case ETH_P_IPV6:
        return read_solicitation(payload, size - ETHERNET_SIZE, sender, out);
    }
    return false;
}

size_t announce_answer(const struct announce_question *q, const unsigned char hardware[HARDWARE_ADDRESS_SIZE],
                       unsigned char out[ANNOUNCE_PACKET_MAX])
{
    return q->target.family == AF_INET ? write_arp(out, ARPOP_REPLY, hardware, &q->target, q->hardware, &q->source)
                                       : write_advertisement(out, hardware, &q->target, q->hardware, &q->source);
}

size_t announce_unasked(const struct ip_address *address, const unsigned char hardware[HARDWARE_ADDRESS_SIZE],
                        unsigned char out[ANNOUNCE_PACKET_MAX])
{
    static const struct ip_address all;
    return address->family == AF_INET ? write_arp(out, ARPOP_REQUEST, hardware, address, everybody, address)
                                      : write_advertisement(out, hardware, address, everybody, &all);
}

/* FNV-1a, with a last stir so that similar names end far apart. */
static uint64_t weight(const struct ip_address *address, const char *node)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const unsigned char *bytes = (const unsigned char *)&address->v6;
    for (size_t i = 0; i < ip_address_size(address->family); i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    for (; *node; node++)
        hash = (hash ^ (unsigned char)*node) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ hash >> 33;
}

const char *announce_owner(const struct ip_address *address, const char *const *nodes, size_t count)
{
    const char *best = NULL;
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t w = weight(address, nodes[i]);
        if (!best || w > most || (w == most && strcmp(nodes[i], best) < 0)) {
            best = nodes[i];
            most = w;
        }
    }
    return best;
}
