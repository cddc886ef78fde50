/* Asks other servers (those of the node) what the cluster's DNS does not know: each query from a port and with a
 * number of its own, one server after the other until one answers, equal questions once; what they say is kept
 * (network/dns/cache.h).
 *
 * Belongs to the thread of its loop. */
#ifndef CORACLE_NETWORK_DNS_FORWARD_H
#define CORACLE_NETWORK_DNS_FORWARD_H

#include "base/env.h"
#include "base/timestamp.h"
#include "network/dns/message.h"

/* Questions under way, and clients that wait for one of them; those beyond are refused at once. */
#define DNS_FORWARDS_MAX 512
#define DNS_FORWARD_WAITERS_MAX 256
/* Of the resolver configuration, as the C library. */
#define DNS_RESOLVERS_MAX 3
/* How long one server may take, and how often servers are asked in all. */
#define DNS_FORWARD_PATIENCE (2 * SECOND)
#define DNS_FORWARD_ATTEMPTS 4

struct dns_forwarder;
struct uv_loop_s;

struct dns_forwarder_options {
    struct env *env; /* of the loop */
    struct uv_loop_s *loop;
    const char *resolvers; /* a file in the form of resolv.conf, read again when it changes; NULL: nobody is asked */
    struct in_addr self;   /* never asked */
    uint16_t port;         /* of the servers; 0: 53 */
};

struct dns_forwarder *dns_forwarder_new(const struct dns_forwarder_options *options);
/* No call is answered any more; handles close in the loop's next turns. */
void dns_forwarder_free(struct dns_forwarder *forwarder);

/* What is known already: the message, with its age in seconds, until the next call; else NULL. */
const uint8_t *dns_forward_cached(struct dns_forwarder *forwarder, const struct dns_query *query, size_t *size,
                                  uint32_t *age);
/* Calls done once, from the loop, with an answer to that question, or with NULL: there is none. With `whole`, a
 * truncated answer is fetched again over TCP. False: nobody can be asked, and done is not called. */
typedef void (*dns_forward_done)(void *context, const uint8_t *data, size_t size);
bool dns_forward(struct dns_forwarder *forwarder, const struct dns_query *query, bool whole, dns_forward_done done,
                 void *context);

struct dns_forward_statistics {
    uint64_t asked, answered, cached;
};
struct dns_forward_statistics dns_forward_statistics(const struct dns_forwarder *forwarder);

#endif
