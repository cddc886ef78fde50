/* Shared by the files of the DNS server; for nobody else. */
#ifndef CORACLE_NETWORK_DNS_INTERNAL_H
#define CORACLE_NETWORK_DNS_INTERNAL_H

#include <stdatomic.h>
#include <uv.h>

#include "base/env.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "network/dns/forward.h"
#include "network/dns/server.h"

#define UDP_BATCH 32

struct udp_batch;
struct connection;

struct dns_server {
    uv_thread_t thread;
    uv_loop_t loop;
    struct env *env;
    struct mailbox *mailbox;
    struct dns_zone *zone;
    struct dns_forwarder *forwarder;
    struct ipv4_prefix clients[DNS_NETWORKS_MAX];
    size_t client_count;
    struct in_addr address;
    uint16_t port;
    int udp_fd;
    uv_poll_t udp;
    struct udp_batch *batch;
    uv_tcp_t tcp;
    struct list connections; /* the one idle longest first */
    size_t connection_count;
    struct list waiting; /* questions that other servers have */
    size_t waiting_count;
    uint64_t random; /* turns lists of addresses */
    struct {
        atomic_uint_fast64_t udp, tcp, dropped, codes[DNS_REFUSED + 1], forwarded, cached;
    } count;
};

/* A question that waits for other servers. */
struct dns_pending {
    struct list link;
    struct dns_server *server;
    struct dns_query query;
    struct sockaddr_in client;     /* over UDP */
    struct connection *connection; /* over TCP; NULL once it has been closed */
    bool tcp;
    bool resumed; /* it begins with a CNAME of the cluster that leads out */
};

/* Answers the question, of which `parsed` is what dns_query_parse said, into `out`, of `limit` bytes. Returns the size
 * of the answer; 0 if others are asked for it first, and dns_server_reply is called then. `pending` says where the answer goes
 * and is copied. */
size_t dns_server_answer(struct dns_server *server, const struct dns_pending *pending, int parsed, uint8_t *out,
                         size_t limit);
/* Whether the address may ask. */
bool dns_server_allows(const struct dns_server *server, struct in_addr client);

/* UDP. */
int dns_udp_listen(struct dns_server *server, struct error *err);
void dns_udp_begin(struct dns_server *server);
void dns_udp_end(struct dns_server *server);
void dns_udp_send(struct dns_server *server, const struct sockaddr_in *client, const uint8_t *data, size_t size);

/* TCP. */
int dns_tcp_listen(struct dns_server *server, struct error *err);
void dns_tcp_begin(struct dns_server *server);
void dns_tcp_end(struct dns_server *server);
/* An answer that others were asked for. The connection counts it. */
void dns_tcp_send(struct connection *connection, const uint8_t *data, size_t size);

#endif
