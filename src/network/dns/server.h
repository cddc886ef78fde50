/* The cluster's DNS server: UDP and TCP on one address, a thread of its own, answers from the zone (network/dns/zone.h)
 * and, for other names, those of the node's own servers (network/dns/forward.h).
 *
 * It answers nobody outside the networks that it is given, so that it is nobody's amplifier, and never says more over
 * UDP than DNS_UDP_MAX.
 *
 * Threads: all functions may be called from any thread, but for new and stop, which are called by one. */
#ifndef CORACLE_NETWORK_DNS_SERVER_H
#define CORACLE_NETWORK_DNS_SERVER_H

#include "base/error.h"
#include "network/dns/zone.h"

/* TCP connections; the one idle longest makes room. */
#define DNS_CONNECTIONS_MAX 256
/* Questions of one connection that wait for other servers; those beyond are answered SERVFAIL. */
#define DNS_CONNECTION_QUESTIONS_MAX 32
/* A connection is closed when nothing was heard for that long (microseconds). */
#define DNS_CONNECTION_IDLE (10 * SECOND)
/* Bytes that a client has not fetched yet, after which nothing more is read from it. */
#define DNS_CONNECTION_BACKLOG_MAX (256 << 10)
/* Longest question. */
#define DNS_QUESTION_MAX 1232
/* UDP questions that wait for other servers; those beyond are answered SERVFAIL. */
#define DNS_WAITING_MAX 4096

struct dns_server_options {
    struct dns_zone_config zone;
    struct in_addr address; /* to listen on, in the caller's network namespace */
    uint16_t port;          /* 0: any that is free */
    const char *resolvers;  /* as resolv.conf; NULL: nobody else is asked. Copied. */
    uint16_t resolver_port; /* 0: 53 */
    /* Who may ask, besides the address itself. At most DNS_NETWORKS_MAX. */
    const struct ipv4_prefix *clients;
    size_t client_count;
};

struct dns_server;

/* Listens, and does not read yet: what is asked before dns_server_serve waits. */
int dns_server_new(const struct dns_server_options *options, struct dns_server **out, struct error *err);
/* Closes everything and joins the thread. NULL is fine. */
void dns_server_stop(struct dns_server *server);
uint16_t dns_server_port(const struct dns_server *server);

/* What changes together. Empty when all zero; built by any thread, handed over once. */
struct dns_change;
struct dns_change *dns_change_new(void);
void dns_change_set_service(struct dns_change *change, struct dns_service *service); /* takes it over */
void dns_change_remove_service(struct dns_change *change, const char *namespace, const char *name);
void dns_change_set_namespace(struct dns_change *change, const char *namespace, bool there);
void dns_change_set_pod(struct dns_change *change, const char *key, const char *namespace,
                        const struct ip_address *address); /* NULL: it has none */
/* One that is not handed over. */
void dns_change_free(struct dns_change *change);
/* Applies the change, in the order of the calls; takes it over. */
void dns_server_apply(struct dns_server *server, struct dns_change *change);
/* Begins to answer, after what has been applied so far. */
void dns_server_serve(struct dns_server *server);

struct dns_statistics {
    uint64_t udp, tcp;     /* questions */
    uint64_t codes[6];     /* answers by code, up to DNS_REFUSED */
    uint64_t dropped;      /* what was no question, or came from elsewhere */
    uint64_t forwarded, cached;
};
void dns_server_statistics(struct dns_server *server, struct dns_statistics *out);

#endif
