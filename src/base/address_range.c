#include "base/address_range.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static size_t family_size(int family)
{
    return family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
}

static bool read_address(const char *text, int *family, struct in6_addr *out)
{
    *family = strchr(text, ':') ? AF_INET6 : AF_INET;
    *out = (struct in6_addr){0};
    return inet_pton(*family, text, out) == 1;
}

/* b - a, or ADDRESS_RANGE_SIZE_MAX if it is more; UINT32_MAX if b comes before a. */
static uint32_t distance(const struct in6_addr *a, const struct in6_addr *b, int family)
{
    uint64_t result = 0;
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    if (memcmp(y, x, family_size(family)) < 0)
        return UINT32_MAX;
    /* The first difference is positive: from there on the sum stays so, and small ones are exact. */
    int64_t sum = 0;
    for (size_t i = 0; i < family_size(family); i++) {
        sum = sum * 256 + y[i] - x[i];
        if (sum > (INT64_C(1) << 40))
            return ADDRESS_RANGE_SIZE_MAX;
    }
    result = (uint64_t)sum;
    return result < ADDRESS_RANGE_SIZE_MAX ? (uint32_t)result : ADDRESS_RANGE_SIZE_MAX;
}

static bool read_prefix(const char *text, const char *slash, struct address_range *out)
{
    cleanup_free char *address = mem_string_n(text, (size_t)(slash - text));
    char *end = NULL;
    long length = slash[1] >= '0' && slash[1] <= '9' ? strtol(slash + 1, &end, 10) : -1;
    if (!read_address(address, &out->family, &out->first) || length < 0 || *end)
        return false;
    int bits = (int)family_size(out->family) * 8;
    if (length > bits)
        return false;
    unsigned char *bytes = (unsigned char *)&out->first;
    for (int i = (int)length; i < bits; i++)
        bytes[i / 8] &= (unsigned char)~(0x80 >> i % 8);
    out->size = bits - length >= 16 ? ADDRESS_RANGE_SIZE_MAX : UINT32_C(1) << (bits - length);
    return true;
}

static bool read_span(const char *text, const char *dash, struct address_range *out)
{
    cleanup_free char *first = mem_string_n(text, (size_t)(dash - text));
    struct in6_addr last;
    int family;
    if (!read_address(first, &out->family, &out->first) || !read_address(dash + 1, &family, &last) ||
        family != out->family)
        return false;
    uint32_t span = distance(&out->first, &last, family);
    out->size = span < ADDRESS_RANGE_SIZE_MAX ? span + 1 : ADDRESS_RANGE_SIZE_MAX;
    return span != UINT32_MAX;
}

static bool read_range(const char *text, struct address_range *out)
{
    const char *slash = strchr(text, '/'), *dash = strchr(text, '-');
    if (slash)
        return read_prefix(text, slash, out);
    if (dash)
        return read_span(text, dash, out);
    out->size = 1;
    return read_address(text, &out->family, &out->first);
}

int address_ranges_parse(const char *text, struct address_ranges *out, struct error *err)
{
    cleanup_free char *copy = mem_string(text);
    char *rest = copy;
    out->count = 0;
    for (char *part; (part = strsep(&rest, ","));) {
        if (out->count == ADDRESS_RANGES_MAX)
            return error_set(err, EINVAL, "more than %d ranges of addresses", ADDRESS_RANGES_MAX);
        if (!read_range(part, &out->items[out->count]))
            return error_set(err, EINVAL, "'%s' is no range of addresses such as 192.0.2.0/28 or 192.0.2.10-192.0.2.20",
                             part);
        out->count++;
    }
    return 0;
}

bool address_ranges_contain(const struct address_ranges *ranges, const char *text)
{
    struct in6_addr address;
    int family;
    if (!read_address(text, &family, &address))
        return false;
    for (size_t i = 0; i < ranges->count; i++)
        if (ranges->items[i].family == family &&
            distance(&ranges->items[i].first, &address, family) < ranges->items[i].size)
            return true;
    return false;
}

bool address_ranges_at(const struct address_ranges *ranges, int family, uint32_t place, char out[INET6_ADDRSTRLEN])
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct address_range *range = &ranges->items[i];
        if (range->family != family)
            continue;
        if (place >= range->size) {
            place -= range->size;
            continue;
        }
        struct in6_addr address = range->first;
        unsigned char *bytes = (unsigned char *)&address;
        for (size_t b = family_size(family); b > 0 && place; b--, place >>= 8) {
            place += bytes[b - 1];
            bytes[b - 1] = (unsigned char)place;
        }
        return inet_ntop(family, &address, out, INET6_ADDRSTRLEN) != NULL;
    }
    return false;
}
