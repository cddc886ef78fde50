#include "base/ip_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

const unsigned char ip_mapped[IP_MAPPED_SIZE] = {[10] = 0xff, [11] = 0xff};

static bool parse_v4(const char *text, unsigned char out[4], bool *padded)
{
    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        const char *digit = text;
        for (; *digit >= '0' && *digit <= '9'; digit++)
            if ((value = value * 10 + (unsigned)(*digit - '0')) > 255)
                return false;
        if (digit == text || *digit != (i < 3 ? '.' : 0))
            return false;
        *padded |= digit - text > 1 && *text == '0';
        out[i] = (unsigned char)value;
        text = digit + 1;
    }
    return true;
}

/* The last part may be an address of IPv4. */
static bool parse_v6(const char *text, unsigned char out[16], bool *padded)
{
    char plain[IP_TEXT_MAX];
    unsigned char v4[4];
    const char *last = strrchr(text, ':') + 1;
    if (!strchr(last, '.'))
        return inet_pton(AF_INET6, text, out) == 1;
    return parse_v4(last, v4, padded) &&
           snprintf(plain, sizeof(plain), "%.*s%d.%d.%d.%d", (int)(last - text), text, v4[0], v4[1], v4[2], v4[3]) <
               (int)sizeof(plain) &&
           inet_pton(AF_INET6, plain, out) == 1;
}

bool ip_text_parse(const char *text, struct ip_text *out)
{
    *out = (struct ip_text){0};
    bool v6 = text && strchr(text, ':');
    if (!text || !(v6 ? parse_v6(text, out->address, &out->padded) : parse_v4(text, out->address, &out->padded))) {
        *out = (struct ip_text){0};
        return false;
    }
    out->mapped = v6 && memcmp(out->address, ip_mapped, IP_MAPPED_SIZE) == 0;
    out->family = v6 && !out->mapped ? 6 : 4;
    if (out->mapped) {
        memcpy(out->address, out->address + IP_MAPPED_SIZE, 4);
        memset(out->address + 4, 0, 12);
    }
    return true;
}

static enum ip_class class_v4(const unsigned char a[4])
{
    static const unsigned char zero[4], ones[4] = {255, 255, 255, 255};
    if (memcmp(a, zero, 4) == 0)
        return IP_UNSPECIFIED;
    if (memcmp(a, ones, 4) == 0)
        return IP_BROADCAST;
    if (a[0] == 127)
        return IP_LOOPBACK;
    if (a[0] == 169 && a[1] == 254)
        return IP_LINK_LOCAL;
    if (a[0] >> 4 != 14)
        return IP_UNICAST;
    return a[0] == 224 && a[1] == 0 && a[2] == 0 ? IP_LINK_LOCAL_MULTICAST : IP_MULTICAST;
}

static enum ip_class class_v6(const unsigned char a[16])
{
    static const unsigned char zero[16], loopback[16] = {[15] = 1};
    if (memcmp(a, zero, 16) == 0)
        return IP_UNSPECIFIED;
    if (memcmp(a, loopback, 16) == 0)
        return IP_LOOPBACK;
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
        return IP_LINK_LOCAL;
    if (a[0] != 0xff)
        return IP_UNICAST;
    return (a[1] & 0x0f) == 0x02 ? IP_LINK_LOCAL_MULTICAST : IP_MULTICAST;
}

enum ip_class ip_text_class(const struct ip_text *ip)
{
    return ip->family == 4 ? class_v4(ip->address) : class_v6(ip->address);
}

const char *ip_text_write(const struct ip_text *ip, char out[IP_TEXT_MAX])
{
    *out = 0;
    if (ip->family)
        inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->address, out, IP_TEXT_MAX);
    return out;
}
