/* The data plane with real packets: pods in namespaces of their own, on the pod network. With the argument "shared" as
 * in the host's namespace, where br_netfilter may be at work, else as in a sandbox's. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "base/cleanup.h"
#include "network/conntrack.h"
#include "network/dataplane.h"
#include "network/fixture.h"
#include "network/namespace.h"
#include "network/nft.h"
#include "network/pod_network.h"
#include "network/relay.h"
#include "sanitized.h"

#define PODS 3
#define NODE_PORT 30080
#define REPORT_WAIT 30 /* seconds */

static bool own_namespace = true;
static struct pod_network *network;
static struct in_addr address[PODS]; /* of the pods */
static int pod[PODS];                /* their namespaces */
static struct in_addr cluster, node;

/* ---- the plane under test, and its reports ---- */

static struct dataplane *plane;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t reported = PTHREAD_COND_INITIALIZER;
static uint64_t revision, applied_revision;
static bool failed;

static void applied(void *context, uint64_t r, const struct error *err)
{
    pthread_mutex_lock(&lock);
    if (err)
        failed = true;
    else
        applied_revision = r;
    pthread_cond_broadcast(&reported);
    pthread_mutex_unlock(&lock);
}

static void start_plane(void)
{
    struct dataplane_config config = {
        .namespace_fd = -1,
        .plan = {.table = "coracle-test",
                 .bridge = POD_NETWORK_BRIDGE,
                 .service_cidr = POD_NETWORK_SERVICE_CIDR,
                 .pod_cidr = POD_NETWORK_CLUSTER_CIDR,
                 .masquerade_egress = !own_namespace},
        .applied = applied,
    };
    check_ok(dataplane_start(&config, &plane, err));
}

/* Waits until all changes so far are in force. */
static void sync_plane(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += REPORT_WAIT;
    dataplane_revision(plane, ++revision);
    pthread_mutex_lock(&lock);
    int result = 0;
    while (applied_revision < revision && result == 0)
        result = pthread_cond_timedwait(&reported, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(result, 0);
}

static struct dataplane_service service(uint8_t protocol, const struct dataplane_endpoint *endpoints, size_t count)
{
    return (struct dataplane_service){.name = protocol == IPPROTO_UDP ? "default/dns:udp" : "default/web:http",
                                      .protocol = protocol,
                                      .port = 80,
                                      .cluster_address = ip_address_v4(cluster),
                                      .node_port = NODE_PORT,
                                      .endpoints = endpoints,
                                      .endpoint_count = count};
}

static void set(const struct dataplane_service *s)
{
    check_ok(dataplane_set(plane, s, err));
    sync_plane();
}

static struct dataplane_endpoint endpoint(int i)
{
    return (struct dataplane_endpoint){
        .address = ip_address_v4(address[i]), .port = 8080, .ready = true, .serving = true};
}

static int set_up(void **state)
{
    struct pod_network_config config = {.namespace_fd = -1, .own_namespace = own_namespace};
    char path[128], key[8];
    cluster = ip("10.96.0.10");
    check_ok(pod_network_open(&config, &network, err));
    node = pod_network_gateway(network);
    for (int i = 0; i < PODS; i++) {
        snprintf(key, sizeof(key), "pod%d", i);
        pod[i] = fixture_pod_namespace(key, path);
        check_ok(pod_network_attach(network, key, path, &address[i], err));
    }
    start_plane();
    sync_plane();
    return 0;
}

static int tear_down(void **state)
{
    dataplane_stop(plane);
    pod_network_close(network);
    for (int i = 0; i < PODS; i++)
        close(pod[i]);
    return 0;
}

static int forget_services(void **state)
{
    dataplane_remove(plane, AF_INET, "default/web:http");
    dataplane_remove(plane, AF_INET, "default/dns:udp");
    sync_plane();
    return 0;
}

/* ---- promises ---- */

static void a_service_is_reached_from_pods_and_from_the_node(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1);
    set(&s);
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "one");
    assert_int_equal(server_client(server).s_addr, address[0].s_addr); /* a pod keeps its address */
    assert_string_equal(tcp_ask(-1, cluster, 80), "one");
    server_stop(server);
}

static void a_pod_reaches_itself_through_its_service(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "self");
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1);
    set(&s);
    assert_string_equal(tcp_ask(pod[1], cluster, 80), "self");
    assert_string_equal(tcp_ask(pod[1], node, NODE_PORT), "self");
    server_stop(server);
}

static void a_node_port_answers_on_every_address_of_the_node(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct server *datagrams = server_start(pod[1], IPPROTO_UDP, 8080, "udp");
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service tcp = service(IPPROTO_TCP, &e, 1), udp = service(IPPROTO_UDP, &e, 1);
    set(&tcp);
    set(&udp);
    assert_string_equal(tcp_ask(pod[0], node, NODE_PORT), "one");
    assert_int_equal(server_client(server).s_addr, node.s_addr);
    assert_string_equal(tcp_ask(-1, node, NODE_PORT), "one");
    assert_string_equal(tcp_ask(-1, ip("127.0.0.1"), NODE_PORT), "one");
    assert_string_equal(udp_ask(pod[0], node, NODE_PORT), "udp");
    assert_string_equal(udp_ask(-1, ip("127.0.0.1"), NODE_PORT), "udp");
    tcp.external_local = true;
    set(&tcp);
    assert_string_equal(tcp_ask(pod[0], node, NODE_PORT), "one");
    assert_int_equal(server_client(server).s_addr, address[0].s_addr);
    server_stop(server);
    server_stop(datagrams);
}

/* One pod plays an endpoint on another node. */
static void from_inside_a_local_service_has_the_endpoints_of_all_nodes(void **state)
{
    struct server *far = server_start(pod[2], IPPROTO_TCP, 8080, "far");
    struct in_addr external = ip("192.0.2.10");
    struct ip_address addresses[] = {ip_address_v4(external)};
    struct dataplane_endpoint e = endpoint(2);
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1);
    e.remote = true;
    s.external_local = true;
    s.external_addresses = addresses;
    s.external_address_count = 1;
    set(&s);
    assert_string_equal(tcp_ask(pod[0], external, 80), "far");
    assert_int_equal(server_client(far).s_addr, address[0].s_addr);
    assert_string_equal(tcp_ask(pod[0], node, NODE_PORT), "far");
    assert_string_equal(tcp_ask(-1, ip("127.0.0.1"), NODE_PORT), "far");
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "far");
    server_stop(far);
}

static void an_external_address_leads_to_the_service(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct in_addr external = ip("192.0.2.10");
    struct ip_address addresses[] = {ip_address_v4(external)};
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1);
    s.external_addresses = addresses;
    s.external_address_count = 1;
    set(&s);
    assert_string_equal(tcp_ask(pod[0], external, 80), "one");
    assert_int_equal(server_client(server).s_addr, node.s_addr);
    server_stop(server);
}

/* Sends a datagram from a pod as a process with raw sockets can: to an address that its own routes would not allow. */
static void send_raw_to(int namespace_fd, struct in_addr neighbour, struct in_addr source, struct in_addr destination,
                        uint16_t port)
{
    struct {
        struct iphdr ip;
        struct udphdr udp;
        char text[2];
    } packet = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP}, .text = "?"};
    struct error e;
    int previous;
    assert_int_equal(network_namespace_enter(namespace_fd, &previous, &e), 0);
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_IP),
                             .sll_ifindex = (int)if_nametoindex("eth0"),
                             .sll_halen = 6,
                             .sll_addr = {0x0a, 0xc0}};
    memcpy(to.sll_addr + 2, &neighbour, 4);
    packet.ip.tot_len = htons(sizeof(packet));
    packet.ip.saddr = source.s_addr;
    packet.ip.daddr = destination.s_addr;
    packet.udp.source = htons(4242);
    packet.udp.dest = htons(port);
    packet.udp.len = htons(sizeof(packet.udp) + sizeof(packet.text));
    uint32_t sum = 0;
    for (size_t i = 0; i < sizeof(packet.ip) / 2; i++)
        sum += ((const uint16_t *)&packet.ip)[i];
    sum = (sum & 0xffff) + (sum >> 16);
    packet.ip.check = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
    assert_int_equal(sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(packet));
    close(fd);
    network_namespace_leave(&previous);
}

/* Through the bridge, as what a pod sends ordinarily. */
static void send_raw(int namespace_fd, struct in_addr source, struct in_addr destination, uint16_t port)
{
    send_raw_to(namespace_fd, node, source, destination, port);
}

static void pods_cannot_reach_each_other_behind_the_nodes_back(void **state)
{
    if (!own_namespace)
        return;
    struct server *server = server_start(pod[1], IPPROTO_UDP, 9999, "pod");
    send_raw_to(pod[0], address[1], address[0], address[1], 9999);
    send_raw(pod[0], address[0], address[1], 9999); /* the way that all take, behind the other */
    int64_t end = now() + 10 * SECOND;
    while (server_count(server) == 0 && now() < end)
        sched_yield();
    assert_int_equal(server_count(server), 1);
    server_stop(server);
}

static void pods_cannot_reach_what_the_node_has_on_its_loopback(void **state)
{
    struct server *server = server_start(-1, IPPROTO_UDP, 9999, "secret");
    send_raw(pod[0], address[0], ip("127.0.0.1"), 9999);
    send_raw(pod[0], ip("127.0.0.1"), node, 9999);
    send_raw(pod[0], address[0], node, 9999); /* that is allowed, and comes in behind the others */
    int64_t end = now() + 10 * SECOND;
    while (server_count(server) == 0 && now() < end)
        sched_yield();
    assert_int_equal(server_count(server), 1);
    assert_int_equal(server_client(server).s_addr, address[0].s_addr);
    server_stop(server);
}

static void a_service_without_endpoints_is_refused_at_once(void **state)
{
    struct dataplane_service tcp = service(IPPROTO_TCP, NULL, 0), udp = service(IPPROTO_UDP, NULL, 0);
    struct server *behind = server_start(-1, IPPROTO_TCP, NODE_PORT, "not me");
    set(&tcp);
    set(&udp);
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "ECONNREFUSED");
    assert_string_equal(tcp_ask(-1, cluster, 80), "ECONNREFUSED");
    assert_string_equal(udp_ask(pod[0], cluster, 80), "ECONNREFUSED");
    assert_string_equal(tcp_ask(pod[0], node, NODE_PORT), "ECONNREFUSED");
    assert_string_equal(tcp_ask(-1, ip("127.0.0.1"), NODE_PORT), "ECONNREFUSED");
    server_stop(behind);
}

static void an_address_that_no_service_has_is_refused_and_stays_here(void **state)
{
    assert_string_equal(tcp_ask(pod[0], ip("10.96.99.99"), 80), "ECONNREFUSED");
    assert_string_equal(tcp_ask(-1, ip("10.96.99.99"), 80), "ECONNREFUSED");
    assert_string_equal(udp_ask(pod[0], ip("10.96.99.99"), 80), "ECONNREFUSED");
}

static void the_api_is_reached_through_its_service(void **state)
{
    struct server *api = server_start(-1, IPPROTO_TCP, 6443, "api");
    struct dataplane_endpoint e = {.address = ip_address_v4(node), .port = 6443, .ready = true, .serving = true};
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1);
    s.port = 443;
    s.node_port = 0;
    set(&s);
    assert_string_equal(tcp_ask(pod[0], cluster, 443), "api");
    assert_int_equal(server_client(api).s_addr, address[0].s_addr);
    assert_string_equal(tcp_ask(-1, cluster, 443), "api");
    server_stop(api);
}

static void connections_are_balanced_over_all_endpoints(void **state)
{
    enum { CONNECTIONS = 300 };
    struct server *servers[PODS];
    struct dataplane_endpoint e[PODS];
    for (int i = 0; i < PODS; i++) {
        servers[i] = server_start(pod[i], IPPROTO_TCP, 8080, "x");
        e[i] = endpoint(i);
    }
    struct dataplane_service s = service(IPPROTO_TCP, e, PODS);
    set(&s);
    for (int i = 0; i < CONNECTIONS; i++)
        assert_string_equal(tcp_ask(pod[i % PODS], i % 2 ? cluster : node, i % 2 ? 80 : NODE_PORT), "x");
    unsigned total = 0;
    for (int i = 0; i < PODS; i++) {
        unsigned count = server_count(servers[i]);
        total += count;
        assert_in_range(count, CONNECTIONS / PODS / 2, CONNECTIONS / PODS * 2); /* off by chance: below 1 in 10^9 */
        server_stop(servers[i]);
    }
    assert_int_equal(total, CONNECTIONS);
}

static void an_established_connection_survives_its_endpoints_withdrawal(void **state)
{
    struct server *one = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct server *two = server_start(pod[2], IPPROTO_TCP, 8080, "two");
    struct dataplane_endpoint e[] = {endpoint(1), endpoint(2)};
    struct dataplane_service s = service(IPPROTO_TCP, e, 1);
    set(&s);
    int fd = tcp_connect(pod[0], cluster, 80);
    assert_true(fd >= 0);
    assert_string_equal(tcp_read(fd), "one");
    e[0].ready = false;
    e[0].terminating = true;
    s.endpoint_count = 2;
    set(&s);
    for (int i = 0; i < 10; i++)
        assert_string_equal(tcp_ask(pod[0], cluster, 80), "two");
    assert_int_equal(send(fd, "still here", 10, MSG_NOSIGNAL), 10);
    assert_string_equal(tcp_read(fd), "still here");
    dataplane_remove(plane, AF_INET, s.name);
    sync_plane();
    assert_int_equal(send(fd, "and now", 7, MSG_NOSIGNAL), 7);
    assert_string_equal(tcp_read(fd), "and now");
    /* Also over a restart, which replaces the whole table. */
    dataplane_stop(plane);
    start_plane();
    check_ok(dataplane_set(plane, &s, err));
    sync_plane();
    assert_int_equal(send(fd, "restarted", 9, MSG_NOSIGNAL), 9);
    assert_string_equal(tcp_read(fd), "restarted");
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "two");
    close(fd);
    server_stop(one);
    server_stop(two);
}

/* The kernel remembers a connection that ended without a word for days. */
static void a_port_used_again_is_not_led_to_a_pod_that_has_gone(void **state)
{
    char path[128];
    struct server *one = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct server *two = server_start(pod[2], IPPROTO_TCP, 8080, "two");
    struct dataplane_endpoint e[] = {endpoint(1), endpoint(2)};
    struct dataplane_service s = service(IPPROTO_TCP, e, 1);
    set(&s);
    int fd = tcp_connect_from(pod[0], 4242, cluster, 80);
    assert_string_equal(tcp_read(fd), "one");
    s.endpoints = e + 1;
    set(&s);
    check_ok(pod_network_detach(network, "pod1", err));
    tcp_vanish(fd);
    fd = tcp_connect_from(pod[0], 4242, cluster, 80);
    assert_string_equal(tcp_read(fd), "two");
    close(fd);
    server_stop(one);
    server_stop(two);
    fixture_pod_path("pod1", path);
    check_ok(pod_network_attach(network, "pod1", path, &address[1], err));
}

static void a_udp_flow_leaves_a_withdrawn_endpoint(void **state)
{
    struct server *one = server_start(pod[1], IPPROTO_UDP, 8080, "one");
    struct server *two = server_start(pod[2], IPPROTO_UDP, 8080, "two");
    struct dataplane_endpoint e[] = {endpoint(1), endpoint(2)};
    struct dataplane_service s = service(IPPROTO_UDP, e, 1);
    set(&s);
    int fd = udp_open(pod[0], cluster, 80), port = udp_open(pod[0], node, NODE_PORT);
    assert_string_equal(udp_exchange(fd), "one");
    assert_string_equal(udp_exchange(port), "one");
    s.endpoints = e + 1;
    set(&s);
    assert_string_equal(udp_exchange(fd), "two");
    assert_string_equal(udp_exchange(port), "two");
    /* A data plane that comes back after the change finds the flows of before. */
    dataplane_stop(plane);
    start_plane();
    s.endpoints = e;
    check_ok(dataplane_set(plane, &s, err));
    sync_plane();
    assert_string_equal(udp_exchange(fd), "one");
    assert_string_equal(udp_exchange(port), "one");
    close(fd);
    close(port);
    server_stop(one);
    server_stop(two);
}

/* The kernel has an entry of it from before there was a service, which every packet keeps alive. */
static void a_udp_flow_that_began_before_its_service_is_served(void **state)
{
    struct server *one = server_start(pod[1], IPPROTO_UDP, 8080, "one");
    struct dataplane_endpoint e[] = {endpoint(1)};
    struct dataplane_service s = service(IPPROTO_UDP, e, 1);
    int port = udp_open(pod[0], node, NODE_PORT), refused = 0;
    socklen_t size = sizeof(refused);
    assert_int_equal(send(port, "x", 1, 0), 1);
    assert_int_equal(recv(port, &(char){0}, 1, 0), -1);
    assert_int_equal(errno, ECONNREFUSED);
    set(&s);
    getsockopt(port, SOL_SOCKET, SO_ERROR, &refused, &size);
    assert_string_equal(udp_exchange(port), "one");
    close(port);
    server_stop(one);
}

/* ---- flows that are told to be forgotten ---- */

struct telling {
    const struct dataplane_service *next;
    int client;
    unsigned seen;
};

static bool count_flow(void *context, const struct conntrack_flow *flow)
{
    ((struct telling *)context)->seen += flow->protocol == IPPROTO_UDP;
    return false;
}

static bool is_udp(void *context, const struct conntrack_flow *flow)
{
    return flow->protocol == IPPROTO_UDP;
}

/* While the list of flows is read, its endpoint is withdrawn, and the client begins another from the same port. */
static bool begin_elsewhere(void *context, const struct conntrack_flow *flow)
{
    struct telling *telling = context;
    if (flow->protocol != IPPROTO_UDP)
        return false;
    set(telling->next);
    assert_string_equal(udp_exchange(telling->client), "two");
    return true;
}

static void a_flow_that_began_meanwhile_is_not_forgotten(void **state)
{
    struct server *one = server_start(pod[1], IPPROTO_UDP, 8080, "one");
    struct server *two = server_start(pod[2], IPPROTO_UDP, 8080, "two");
    struct dataplane_endpoint e[] = {endpoint(1), endpoint(2)};
    struct dataplane_service before = service(IPPROTO_UDP, e, 1), after = service(IPPROTO_UDP, e + 1, 1);
    struct telling telling = {.next = &after};
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    check_ok(netlink_open(-1, NETLINK_NETFILTER, &netlink, err));
    set(&before);
    assert_true(conntrack_delete(&netlink, AF_INET, true, is_udp, NULL, NULL) >= 0);
    telling.client = udp_open(pod[0], cluster, 80);
    assert_string_equal(udp_exchange(telling.client), "one");
    assert_int_equal(conntrack_delete(&netlink, AF_INET, true, begin_elsewhere, &telling, NULL), 1);
    assert_int_equal(conntrack_delete(&netlink, AF_INET, true, count_flow, &telling, NULL), 0);
    assert_int_equal(telling.seen, 1);
    close(telling.client);
    server_stop(one);
    server_stop(two);
}

static void a_client_stays_with_its_endpoint_while_affinity_lasts(void **state)
{
    struct server *servers[PODS];
    struct dataplane_endpoint e[PODS];
    char first[16];
    static const char *const labels[] = {"0", "1", "2"};
    for (int i = 0; i < PODS; i++) {
        servers[i] = server_start(pod[i], IPPROTO_TCP, 8080, labels[i]);
        e[i] = endpoint(i);
    }
    struct dataplane_service s = service(IPPROTO_TCP, e, PODS);
    s.affinity_seconds = 10800;
    set(&s);
    snprintf(first, sizeof(first), "%s", tcp_ask(pod[0], cluster, 80));
    for (int i = 0; i < 20; i++)
        assert_string_equal(tcp_ask(pod[0], cluster, 80), first);
    /* Another endpoint goes: nothing changes. Its own goes: it moves, and stays there. */
    int own = atoi(first), other = (own + 1) % PODS;
    e[other].ready = false;
    set(&s);
    assert_string_equal(tcp_ask(pod[0], cluster, 80), first);
    e[other].ready = true;
    e[own].ready = false;
    set(&s);
    char second[16];
    snprintf(second, sizeof(second), "%s", tcp_ask(pod[0], cluster, 80));
    assert_string_not_equal(second, first);
    e[own].ready = true;
    set(&s);
    for (int i = 0; i < 20; i++)
        assert_string_equal(tcp_ask(pod[0], cluster, 80), second);
    /* Node ports too. */
    snprintf(first, sizeof(first), "%s", tcp_ask(pod[1], node, NODE_PORT));
    for (int i = 0; i < 20; i++)
        assert_string_equal(tcp_ask(pod[1], node, NODE_PORT), first);
    /* Over a restart as well, which replaces the whole table. */
    for (int restart = 0; restart < 5; restart++) {
        dataplane_stop(plane);
        start_plane();
        set(&s);
        assert_string_equal(tcp_ask(pod[0], cluster, 80), second);
        assert_string_equal(tcp_ask(pod[1], node, NODE_PORT), first);
    }
    /* Not if the endpoint has gone meanwhile. */
    dataplane_stop(plane);
    start_plane();
    e[atoi(second)].ready = false;
    set(&s);
    assert_string_not_equal(tcp_ask(pod[0], cluster, 80), second);
    for (int i = 0; i < PODS; i++)
        server_stop(servers[i]);
}

/* The kernel's own time, in the map that it keeps. */
static bool nobody(void *context, const struct dataplane_withdrawal *binding)
{
    ++*(unsigned *)context;
    return false;
}

static unsigned bound_clients(struct nft *nft)
{
    unsigned count = 0;
    cleanup_netlink_batch struct netlink_batch none = {0};
    check_ok(nft_keep_clients(nft, AF_INET, "coracle-test", nobody, &count, &none, err));
    return count;
}

static void a_client_is_free_when_its_time_is_over(void **state)
{
    struct server *servers[PODS];
    struct dataplane_endpoint e[PODS];
    static const char *const labels[] = {"0", "1", "2"};
    struct nft *nft;
    for (int i = 0; i < PODS; i++) {
        servers[i] = server_start(pod[i], IPPROTO_TCP, 8080, labels[i]);
        e[i] = endpoint(i);
    }
    struct dataplane_service s = service(IPPROTO_TCP, e, PODS);
    s.affinity_seconds = 1;
    set(&s);
    check_ok(nft_open(&nft, err));
    char first[16];
    bool moved = false;
    snprintf(first, sizeof(first), "%s", tcp_ask(pod[0], cluster, 80));
    /* To another endpoint with two chances of three each time. */
    for (int round = 0; round < 20 && !moved; round++) {
        int64_t end = now() + 10 * SECOND;
        assert_int_equal(bound_clients(nft), 1);
        while (bound_clients(nft) && now() < end)
            sched_yield();
        moved = strcmp(tcp_ask(pod[0], cluster, 80), first) != 0;
    }
    assert_true(moved);
    nft_close(nft);
    for (int i = 0; i < PODS; i++)
        server_stop(servers[i]);
}

static void a_restart_removes_what_is_not_wanted_and_nothing_of_others(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1), kept = s;
    struct nft *nft;
    set(&s);
    kept.name = "default/kept:http";
    kept.cluster_address = ip_address_v4(ip("10.96.0.11"));
    kept.node_port = 0;
    set(&kept);
    check_ok(nft_open(&nft, err));
    check_ok(nft_run(nft,
                     "add table ip foreign\nadd chain ip foreign c\nadd map ip foreign affinity { type mark : mark; }\n"
                     "add element ip foreign affinity { 1 : 2 }\nadd rule ip foreign c counter\n",
                     err));
    dataplane_stop(plane);
    start_plane();
    set(&kept);
    assert_string_equal(tcp_ask(pod[0], kept.cluster_address.v4, 80), "one");
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "ECONNREFUSED");
    assert_string_equal(tcp_ask(pod[0], node, NODE_PORT), "ECONNREFUSED");
    /* These fail if what they take away is not there. */
    check_ok(nft_run(nft, "delete element ip foreign affinity { 1 }\nflush chain ip foreign c\n", err));
    check_ok(nft_run(nft, "delete table ip foreign\n", err));
    nft_close(nft);
    dataplane_remove(plane, AF_INET, kept.name);
    sync_plane();
    server_stop(server);
}

static void the_kernel_takes_services_of_sctp(void **state)
{
    struct dataplane_endpoint e[] = {endpoint(1), endpoint(2)};
    struct dataplane_service s = service(IPPROTO_SCTP, e, 2);
    struct dataplane_statistics before, after;
    dataplane_statistics(plane, &before);
    s.affinity_seconds = 60;
    set(&s);
    s.endpoint_count = 1;
    set(&s);
    dataplane_remove(plane, AF_INET, s.name);
    sync_plane();
    dataplane_statistics(plane, &after);
    assert_int_equal(after.transactions, before.transactions + 3);
    assert_int_equal(after.failures, before.failures);
    assert_int_equal(after.full, before.full);
}

static void changes_never_lose_a_connection(void **state)
{
    enum { ROUNDS = 200 };
    struct server *servers[PODS];
    struct dataplane_endpoint e[PODS];
    for (int i = 0; i < PODS; i++) {
        servers[i] = server_start(pod[i], IPPROTO_TCP, 8080, "x");
        e[i] = endpoint(i);
    }
    struct dataplane_service s = service(IPPROTO_TCP, e, PODS);
    set(&s);
    for (int i = 0; i < ROUNDS; i++) {
        s.endpoints = e + i % 2;
        s.endpoint_count = 1 + (size_t)i % 2;
        check_ok(dataplane_set(plane, &s, err));
        dataplane_revision(plane, ++revision);
        for (int j = 0; j < 5; j++)
            assert_string_equal(tcp_ask(pod[2], cluster, 80), "x");
    }
    for (int i = 0; i < PODS; i++)
        server_stop(servers[i]);
}

static void a_relay_brings_a_node_port_to_the_host(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct server *datagrams = server_start(pod[1], IPPROTO_UDP, 8080, "udp");
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service tcp = service(IPPROTO_TCP, &e, 1), udp = service(IPPROTO_UDP, &e, 1);
    char path[128];
    int host = fixture_pod_namespace("host", path);
    struct relay_config config = {
        .host_namespace_fd = host, .node_namespace_fd = -1, .host_address = ip("127.0.0.1"), .node_address = node};
    struct relay_port ports[] = {{IPPROTO_TCP, NODE_PORT}, {IPPROTO_UDP, NODE_PORT}};
    struct relay *relay;
    set(&tcp);
    set(&udp);
    check_ok(relay_start(&config, &relay, err));
    check_ok(relay_set(relay, ports, 2, err));
    assert_string_equal(tcp_ask(host, ip("127.0.0.1"), NODE_PORT), "one");
    assert_string_equal(udp_ask(host, ip("127.0.0.1"), NODE_PORT), "udp");
    /* A client that only waits learns that the pod has gone, which could tell nobody. */
    int fd = tcp_connect(host, ip("127.0.0.1"), NODE_PORT);
    assert_string_equal(tcp_read(fd), "one");
    e = endpoint(2);
    set(&tcp);
    check_ok(pod_network_detach(network, "pod1", err));
    assert_string_equal(tcp_read(fd), "ECONNRESET");
    close(fd);
    relay_stop(relay);
    close(host);
    check_ok(network_namespace_remove(path, err));
    server_stop(server);
    server_stop(datagrams);
    fixture_pod_path("pod1", path);
    check_ok(pod_network_attach(network, "pod1", path, &address[1], err));
}

static void heard(void *context, uint64_t r, const struct error *err)
{
    assert_null(err);
    *(uint64_t *)context = r;
    uv_stop(uv_default_loop());
}

static void revisions_are_reported_on_the_receivers_thread(void **state)
{
    uint64_t got = 0;
    struct dataplane *second;
    struct mailbox *mailbox = mailbox_new(uv_default_loop());
    struct dataplane_config config = {
        .namespace_fd = -1,
        .plan = {.table = "coracle-second", .bridge = POD_NETWORK_BRIDGE, .service_cidr = "10.97.0.0/16"},
        .applied = heard,
        .context = &got,
        .mailbox = mailbox,
    };
    check_ok(dataplane_start(&config, &second, err));
    for (uint64_t r = 7; r < 10; r++) {
        dataplane_revision(second, r - 3);
        dataplane_revision(second, r);
        dataplane_revision(second, r - 1); /* never back */
        while (got != r)
            uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    }
    dataplane_stop(second);
    mailbox_free(mailbox);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    check_ok(dataplane_destroy(-1, "coracle-second", err));
    struct error e;
    config.plan.table = "not a name";
    assert_int_equal(dataplane_start(&config, &second, &e), -1);
    assert_null(second);
}

static void a_table_that_somebody_deleted_comes_back(void **state)
{
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct dataplane_endpoint e = endpoint(1);
    struct dataplane_service s = service(IPPROTO_TCP, &e, 1);
    set(&s);
    check_ok(dataplane_destroy(-1, "coracle-test", err));
    check_ok(dataplane_destroy(-1, "coracle-test", err));
    s.name = "default/other:http";
    s.cluster_address = ip_address_v4(ip("10.96.0.11"));
    s.node_port = 0;
    set(&s);
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "one");
    assert_string_equal(tcp_ask(pod[0], s.cluster_address.v4, 80), "one");
    dataplane_remove(plane, AF_INET, s.name);
    server_stop(server);
}

/* What the last change of s, to one endpoint and back to two, said to the kernel: bytes. */
static void measure_change(struct dataplane_service *s, size_t sizes[2])
{
    for (size_t count = 1; count <= 2; count++) {
        struct dataplane_statistics statistics;
        s->endpoint_count = count;
        set(s);
        dataplane_statistics(plane, &statistics);
        sizes[count - 1] = statistics.last_size;
    }
}

/* Withdraws an endpoint and brings it back, again and again; returns how long all of that took. */
static int64_t change(struct dataplane_service *s, int changes)
{
    int64_t began = now();
    for (int i = 0; i < changes; i++) {
        s->endpoint_count = 1 + (size_t)i % 2;
        set(s);
    }
    return now() - began;
}

/* Bytes of this process that are in memory. */
static int64_t resident(void)
{
    long long pages = 0;
    cleanup_file FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %lld", &pages), 1);
    return pages * sysconf(_SC_PAGESIZE);
}

static void ten_thousand_services_cost_a_change_nothing(void **state)
{
    enum { SERVICES = 10000, CHANGES = 50 };
    size_t beside_one[2], beside_many[2];
    struct server *server = server_start(pod[1], IPPROTO_TCP, 8080, "one");
    struct dataplane_endpoint e[] = {endpoint(1), endpoint(2), endpoint(0)};
    struct dataplane_service s = service(IPPROTO_TCP, e, 1);
    struct dataplane_statistics before, after;
    char name[32];
    int64_t few = change(&s, CHANGES);
    measure_change(&s, beside_one);
    s.node_port = 0;
    s.endpoint_count = 3;
    for (uint32_t i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof(name), "bulk/%u:http", i);
        s.name = name;
        s.cluster_address.v4.s_addr = htonl(0x0a601000 + i);
        check_ok(dataplane_set(plane, &s, err));
    }
    int64_t install = now(), memory = resident();
    sync_plane();
    install = now() - install;
    memory = resident() - memory;
#ifndef SANITIZED
    /* What libnftables needs meanwhile, four times as much, is given back. */
    assert_in_range(memory, 0, 60 << 20);
#endif
    dataplane_statistics(plane, &before);
    s = service(IPPROTO_TCP, e, 1);
    int64_t many = change(&s, CHANGES);
    dataplane_statistics(plane, &after);
    assert_int_equal(after.failures, before.failures);
    assert_int_equal(after.full, before.full);
    assert_int_equal(after.transactions, before.transactions + CHANGES);
    measure_change(&s, beside_many);
    assert_in_range(beside_one[0], 1, 1000);
    assert_int_equal(beside_many[0], beside_one[0]);
    assert_int_equal(beside_many[1], beside_one[1]);
    s.endpoint_count = 1;
    set(&s);
    assert_string_equal(tcp_ask(pod[0], cluster, 80), "one");
    int64_t restart = now();
    print_message("one change: %.2f ms beside 1 service, %.2f ms beside %d; installing those: %.0f ms\n",
                  (double)few / CHANGES / 1000, (double)many / CHANGES / 1000, SERVICES, (double)install / 1000);
    for (uint32_t i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof(name), "bulk/%u:http", i);
        dataplane_remove(plane, AF_INET, name);
    }
    sync_plane();
    print_message("removing them: %.0f ms\n", (double)(now() - restart) / 1000);
    server_stop(server);
}

int main(int argc, char **argv)
{
    if (!fixture_enter())
        return 77;
#define PROMISE(name) cmocka_unit_test_setup(name, forget_services)
    const struct CMUnitTest tests[] = {
        PROMISE(a_service_is_reached_from_pods_and_from_the_node),
        PROMISE(a_pod_reaches_itself_through_its_service),
        PROMISE(a_node_port_answers_on_every_address_of_the_node),
        PROMISE(an_external_address_leads_to_the_service),
        PROMISE(from_inside_a_local_service_has_the_endpoints_of_all_nodes),
        PROMISE(pods_cannot_reach_what_the_node_has_on_its_loopback),
        PROMISE(pods_cannot_reach_each_other_behind_the_nodes_back),
        PROMISE(a_service_without_endpoints_is_refused_at_once),
        PROMISE(an_address_that_no_service_has_is_refused_and_stays_here),
        PROMISE(the_api_is_reached_through_its_service),
        PROMISE(connections_are_balanced_over_all_endpoints),
        PROMISE(an_established_connection_survives_its_endpoints_withdrawal),
        PROMISE(a_port_used_again_is_not_led_to_a_pod_that_has_gone),
        PROMISE(a_udp_flow_leaves_a_withdrawn_endpoint),
        PROMISE(a_udp_flow_that_began_before_its_service_is_served),
        PROMISE(a_flow_that_began_meanwhile_is_not_forgotten),
        PROMISE(a_client_stays_with_its_endpoint_while_affinity_lasts),
        PROMISE(a_client_is_free_when_its_time_is_over),
        PROMISE(a_restart_removes_what_is_not_wanted_and_nothing_of_others),
        PROMISE(the_kernel_takes_services_of_sctp),
        PROMISE(changes_never_lose_a_connection),
        PROMISE(a_relay_brings_a_node_port_to_the_host),
        PROMISE(revisions_are_reported_on_the_receivers_thread),
        PROMISE(a_table_that_somebody_deleted_comes_back),
        PROMISE(ten_thousand_services_cost_a_change_nothing),
    };
    own_namespace = argc < 2 || strcmp(argv[1], "shared") != 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
