/* Addresses as the API's older fields take them, where upstream reads them with its forgiving parser: the numbers of
 * IPv4 may begin with zeros, and are decimal all the same; and IPv4 within IPv6, "::ffff:10.0.0.1", is IPv4. Pure
 * functions. */
#ifndef CORACLE_BASE_IP_TEXT_H
#define CORACLE_BASE_IP_TEXT_H

#include <netinet/in.h>
#include <stdbool.h>

/* What IPv4 within IPv6 begins with, ::ffff:0:0/96. */
#define IP_MAPPED_SIZE 12
extern const unsigned char ip_mapped[IP_MAPPED_SIZE];

/* Room for the text of an address, with its end. */
#define IP_TEXT_MAX INET6_ADDRSTRLEN

struct ip_text {
    int family;                /* 4 or 6 */
    unsigned char address[16]; /* the first 4, or all */
    bool mapped;               /* family is 4, and it was written as IPv6 */
    bool padded;               /* a number of IPv4 was written with zeros before it */
};

/* False, and family 0, for what is no address; NULL is none. */
bool ip_text_parse(const char *text, struct ip_text *out);
/* What an address is for, as Go's net.IP tells it. */
enum ip_class {
    IP_UNICAST, /* none of the others */
    IP_UNSPECIFIED,
    IP_LOOPBACK,
    IP_LINK_LOCAL,
    IP_LINK_LOCAL_MULTICAST,
    IP_MULTICAST,
    IP_BROADCAST, /* 255.255.255.255 */
};
/* Of one that has a family. */
enum ip_class ip_text_class(const struct ip_text *ip);
/* The canonical form (RFC 5952); returns `out`. */
const char *ip_text_write(const struct ip_text *ip, char out[IP_TEXT_MAX]);

#endif
