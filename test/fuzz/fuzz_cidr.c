/* Ranges of addresses: what is read is within its family's bounds, a range holds its own first address, and both
 * readers (of the API, and of the network) agree on what is one. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/format.h"
#include "network/address.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct format_cidr cidr, again;
    struct ip_prefix prefix;
    char text[128], address[INET6_ADDRSTRLEN];
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    bool good = format_cidr_parse(text, &cidr);
    CHECK(!good || ip_prefix_parse(text, &prefix));
    if (!good)
        return 0;
    CHECK(cidr.bits >= 0 && cidr.bits <= (cidr.family == 4 ? 32 : 128));
    /* The network takes IPv4 within IPv6 for IPv4. */
    int within = cidr.mapped && cidr.bits >= 96 ? 96 : 0;
    CHECK(prefix.length == cidr.bits - within && (prefix.address.family == AF_INET) == (within || cidr.family == 4));
    again = cidr;
    format_cidr_mask(&again);
    CHECK(format_cidr_contains(&cidr, &again) && format_cidr_contains(&again, &cidr));
    CHECK(memcmp(again.address + within / 8, &prefix.address.v6, ip_address_size(prefix.address.family)) == 0);
    inet_ntop(cidr.family == 4 ? AF_INET : AF_INET6, again.address, address, sizeof(address));
    snprintf(text, sizeof(text), "%s/%d", address, again.bits);
    struct format_cidr third;
    CHECK(format_cidr_parse(text, &third) && third.family == again.family && third.bits == again.bits);
    CHECK(memcmp(third.address, again.address, sizeof(third.address)) == 0);
    return 0;
}
