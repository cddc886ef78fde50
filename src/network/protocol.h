/* Protocols by their names in the API. */
#ifndef CORACLE_NETWORK_PROTOCOL_H
#define CORACLE_NETWORK_PROTOCOL_H

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

/* NULL and anything unknown is TCP, the default. */
static inline uint8_t protocol_number(const char *name)
{
    return name && strcmp(name, "UDP") == 0    ? IPPROTO_UDP
           : name && strcmp(name, "SCTP") == 0 ? IPPROTO_SCTP
                                               : IPPROTO_TCP;
}

#endif
