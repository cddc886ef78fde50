/* The network of a cluster's node: how it is made out of the parts of src/network. */
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cluster_internal.h"
#include "network/announce.h"
#include "network/balancer.h"
#include "network/pod_network.h"
#include "network/policy_proxy.h"
#include "network/service_dns.h"
#include "network/service_proxy.h"
#include "node/agent.h"
#include "server/server.h"

int cluster_network_open(struct cluster *c, struct error *err)
{
    const struct sandbox *sandbox = c->options->sandbox;
    struct pod_network_config config = {
        .namespace_fd = -1, .service_cidr = CLUSTER_SERVICE_CIDR, .own_namespace = sandbox->isolated};
    if (pod_network_open(&config, &c->network, err) < 0)
        return -1;
    struct in_addr gateway = pod_network_gateway(c->network);
    inet_ntop(AF_INET, &gateway, c->gateway, sizeof(c->gateway));
    snprintf(c->node_address, sizeof(c->node_address), "%s", sandbox->isolated ? SANDBOX_NODE_ADDRESS : c->gateway);
    struct ip_address gateway6;
    if (pod_network_address6(c->network, gateway, &gateway6))
        snprintf(c->node_address6, sizeof(c->node_address6), "%s",
                 sandbox->isolated ? SANDBOX_NODE_ADDRESS6 : ip_address_text(&gateway6, c->node_address6));
    if (!sandbox->isolated)
        return 0;
    struct relay_config relay = {.host_namespace_fd = sandbox->host_network_fd, .node_namespace_fd = -1};
    inet_pton(AF_INET, "127.0.0.1", &relay.host_address);
    inet_pton(AF_INET, SANDBOX_NODE_ADDRESS, &relay.node_address);
    return relay_start(&relay, &c->relay, err);
}

int cluster_network_listen(struct cluster *c, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(CLUSTER_API_PORT)};
    inet_pton(AF_INET, c->gateway, &address.sin_addr);
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0)
        return error_errno(err, "listen on %s:%d for pods", c->gateway, CLUSTER_API_PORT);
    return server_listen(c->server, steal_fd(fd), err);
}

int cluster_dns_start(struct cluster *c, struct error *err)
{
    struct ip_prefix networks[4];  /* those of services first */
    struct ipv4_prefix clients[4]; /* the last: the node itself */
    ip_prefix_parse(CLUSTER_SERVICE_CIDR, &networks[0]);
    ip_prefix_parse(POD_NETWORK_CLUSTER_CIDR, &networks[1]);
    ip_prefix_parse(CLUSTER_SERVICE_CIDR6, &networks[2]);
    ip_prefix_parse(POD_NETWORK_CLUSTER_CIDR6, &networks[3]);
    if (ipv4_prefix_parse(POD_NETWORK_CLUSTER_CIDR, &clients[0], err) < 0 ||
        ipv4_prefix_parse(CLUSTER_SERVICE_CIDR, &clients[1], err) < 0 ||
        ipv4_prefix_parse("127.0.0.0/8", &clients[2], err) < 0)
        return -1;
    clients[3].length = 32;
    inet_pton(AF_INET, c->node_address, &clients[3].address);
    struct dns_server_options options = {
        .zone = {.domain = DNS_DOMAIN,
                 .server = ip_address_at(&networks[0].address, CLUSTER_DNS_ADDRESS_INDEX),
                 .networks = networks,
                 .network_count = ARRAY_COUNT(networks)},
        .address = pod_network_gateway(c->network),
        .port = CLUSTER_DNS_PORT,
        .resolvers = "/etc/resolv.conf",
        .clients = clients,
        .client_count = ARRAY_COUNT(clients)};
    inet_ntop(AF_INET, &options.zone.server.v4, c->dns_address, sizeof(c->dns_address));
    return dns_server_new(&options, &c->dns, err);
}

static void data_plane_changed(void *context)
{
    struct cluster *c = context;
    if (c->agent && !c->stopping)
        agent_data_plane_changed(c->agent);
}

int cluster_network_start(struct cluster *c, struct error *err)
{
    const struct sandbox *sandbox = c->options->sandbox;
    char table[CLUSTER_TABLE_MAX];
    cluster_table_name(sandbox->name, table);
    c->health_check = health_check_new(&c->loop);
    struct service_proxy_options proxy = {.client = c->proxy_client,
                                          .informers = c->informers,
                                          .node_name = c->node_name,
                                          .relay = c->relay,
                                          .health_check = c->health_check,
                                          .changed = data_plane_changed,
                                          .context = c};
    if (c->relay)
        inet_pton(AF_INET, c->node_address, &proxy.node_address);
    c->proxy = service_proxy_new(&proxy);
    c->policies = policy_proxy_new(c->proxy_client, c->informers, c->node_name, c->dns_address);
    struct dataplane_config config = {
        .namespace_fd = -1,
        .plan = {.table = table,
                 .bridge = POD_NETWORK_BRIDGE,
                 .service_cidr = CLUSTER_SERVICE_CIDR,
                 .pod_cidr = POD_NETWORK_CLUSTER_CIDR,
                 .masquerade_egress = !sandbox->isolated},
        .plan6 = {.family = AF_INET6,
                  .table = pod_network_has_ipv6(c->network) ? table : NULL,
                  .bridge = POD_NETWORK_BRIDGE,
                  .service_cidr = CLUSTER_SERVICE_CIDR6,
                  .pod_cidr = POD_NETWORK_CLUSTER_CIDR6,
                  .masquerade_egress = !sandbox->isolated},
        .applied = service_proxy_applied,
        .context = c->proxy,
        .policies = {.table = table, .bridge = POD_NETWORK_BRIDGE, .dns_address = c->dns_address},
        .policies_applied = policy_proxy_applied,
        .policies_context = c->policies,
        .mailbox = c->mailbox};
    if (dataplane_start(&config, &c->plane, err) < 0)
        return -1;
    service_proxy_set_plane(c->proxy, c->plane);
    policy_proxy_set_plane(c->policies, c->plane);
    c->service_dns = service_dns_new(c->proxy_client, c->informers, c->dns);
    if (!c->options->balancer_pool)
        return 0;
    if (announcer_start(POD_NETWORK_BRIDGE, &c->announcer, err) < 0)
        return -1;
    c->balancer = balancer_new(c->proxy_client, c->informers, c->node_name, c->options->balancer_pool, announcer_set,
                               c->announcer);
    return 0;
}
