/* Network policies with real packets: pods in namespaces of their own, on the pod network, under the rules that the
 * plan makes of policies and the data plane puts into the kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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

#include "api/defaults.h"
#include "api/json.h"
#include "base/cleanup.h"
#include "network/dataplane.h"
#include "network/fixture.h"
#include "network/namespace.h"
#include "network/pod_network.h"
#include "network/policy_plan.h"

#define PODS 4
#define REPORT_WAIT 30 /* seconds */
/* How long a packet that should be dropped has to arrive nonetheless. */
#define DROP_WAIT 250 /* milliseconds */
#define DNS "10.96.0.10"

enum { SERVER, CLIENT, STRANGER, OTHER };
static const char *const names[PODS] = {"server", "client", "stranger", "other"};

static struct pod_network *network;
static struct in_addr address[PODS], cluster, node;
static int pod[PODS];
static struct arena *arena;
static struct policy_plan *plan;
static struct dataplane *plane;
static struct server *servers[5];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t reported = PTHREAD_COND_INITIALIZER;
static uint64_t revision, applied_revision, applied_number;

static void applied(void *context, uint64_t r, const struct error *err)
{
    (void)context;
    if (err)
        print_error("%s\n", err->text);
    pthread_mutex_lock(&lock);
    applied_revision = err ? applied_revision : r;
    pthread_cond_broadcast(&reported);
    pthread_mutex_unlock(&lock);
}

static void policies_applied(void *context, uint64_t number)
{
    (void)context;
    pthread_mutex_lock(&lock);
    applied_number = number;
    pthread_cond_broadcast(&reported);
    pthread_mutex_unlock(&lock);
}

static void await(const uint64_t *what, uint64_t number)
{
    struct timespec until;
    int result = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += REPORT_WAIT;
    pthread_mutex_lock(&lock);
    while (*what < number && result == 0)
        result = pthread_cond_timedwait(&reported, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(result, 0);
}

/* Brings what the plan says into force. */
static void enforce(void)
{
    struct policy_changes changes = {0};
    assert_true(policy_plan_changes(plan, &changes));
    if (changes.count)
        await(&applied_number, dataplane_policies(plane, &changes));
}

static void *decode(const struct api_resource *resource, const char *json)
{
    char *text = arena_string(arena, json);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    void *value = arena_alloc(arena, resource->type->size);
    struct error err = {0};
    if (json_decode(resource->type, arena, text, strlen(text), value, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, text);
    api_set_defaults(arena, resource, value);
    return value;
}

static void set_policy(const char *name, const char *spec)
{
    const void *value = NULL;
    if (spec)
        value = decode(&api_resources[API_NETWORKPOLICIES],
                       arena_printf(arena, "{'metadata':{'name':'%s','namespace':'default'},'spec':%s}", name, spec));
    policy_plan_set_policy(plan, "default", name, value);
    enforce();
}

static void set_pod(int i, const char *app)
{
    struct ip_address a = ip_address_v4(address[i]);
    const struct pod *value = decode(
        &api_resources[API_PODS],
        arena_printf(arena,
                     "{'metadata':{'name':'%s','namespace':'default','labels':{'app':'%s'}},'spec':{'containers':[{"
                     "'name':'c','image':'i','ports':[{'name':'web','containerPort':8080}]}]}}",
                     names[i], app));
    policy_plan_set_pod(plan, "default", names[i], value, &a, 1, true);
    enforce();
}

/* ---- packets ---- */

/* Whether a connection comes about while it may take a short time. */
static bool connects(int from, struct in_addr to, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = to, .sin_port = htons(port)};
    int previous, error = 0;
    socklen_t size = sizeof(error);
    check_ok(network_namespace_enter(from, &previous, err));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    network_namespace_leave(&previous);
    assert_true(fd >= 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EINPROGRESS)
        error = poll(&p, 1, DROP_WAIT) == 1 ? 0 : ETIMEDOUT;
    if (!error)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    close(fd);
    assert_true(error == 0 || error == ETIMEDOUT);
    return error == 0;
}

static bool exchanges(int from, struct in_addr to, uint16_t port)
{
    int fd = udp_open(from, to, port);
    char answer[64];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_true(fd >= 0 && send(fd, "x", 1, 0) == 1);
    bool got = poll(&p, 1, DROP_WAIT) == 1 && recv(fd, answer, sizeof(answer), 0) > 0;
    close(fd);
    return got;
}

static void passes(int from, struct in_addr to, uint16_t port, const char *label)
{
    assert_string_equal(tcp_ask(pod[from], to, port), label);
}

static void is_dropped(int from, struct in_addr to, uint16_t port)
{
    assert_false(connects(pod[from], to, port));
}

/* ---- */

static int set_up(void **state)
{
    (void)state;
    struct pod_network_config config = {.namespace_fd = -1, .own_namespace = true};
    char path[128];
    arena = arena_new(0);
    cluster = ip("10.96.0.80");
    check_ok(pod_network_open(&config, &network, err));
    node = pod_network_gateway(network);
    plan = policy_plan_new(DNS);
    policy_plan_set_namespace(plan, "default", &(struct string_map){0});
    policy_plan_set_namespace(plan, "kube-system", &(struct string_map){0});
    for (int i = 0; i < PODS; i++) {
        pod[i] = fixture_pod_namespace(names[i], path);
        check_ok(pod_network_attach(network, names[i], path, &address[i], err));
    }
    struct dataplane_config plane_config = {
        .namespace_fd = -1,
        .plan = {.table = "coracle-test", .bridge = POD_NETWORK_BRIDGE, .service_cidr = POD_NETWORK_SERVICE_CIDR},
        .applied = applied,
        .policies = {.table = "coracle-test", .bridge = POD_NETWORK_BRIDGE, .dns_address = DNS},
        .policies_applied = policies_applied,
    };
    check_ok(dataplane_start(&plane_config, &plane, err));
    servers[0] = server_start(pod[SERVER], IPPROTO_TCP, 8080, "server");
    servers[1] = server_start(pod[SERVER], IPPROTO_TCP, 9090, "other");
    servers[2] = server_start(pod[SERVER], IPPROTO_UDP, 8080, "datagram");
    servers[3] = server_start(-1, IPPROTO_TCP, 7070, "node");
    servers[4] = server_start(-1, IPPROTO_UDP, 5353, "names");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++)
        server_stop(servers[i]);
    dataplane_stop(plane);
    policy_plan_free(plan);
    pod_network_close(network);
    arena_free(arena);
    for (int i = 0; i < PODS; i++)
        close(pod[i]);
    return 0;
}

/* Each promise begins without policies, with one service that leads to the server, and the DNS service to the node. */
static int forget_policies(void **state)
{
    (void)state;
    struct dataplane_endpoint server = {.port = 8080, .ready = true, .serving = true};
    struct dataplane_endpoint names_server = {.port = 5353, .ready = true, .serving = true};
    server.address = ip_address_v4(address[SERVER]);
    names_server.address = ip_address_v4(node);
    struct ip_address at = ip_address_v4(cluster), dns = ip_address_v4(ip(DNS));
    struct dataplane_service web = {.name = "default/web:http",
                                    .protocol = IPPROTO_TCP,
                                    .port = 80,
                                    .cluster_address = at,
                                    .endpoints = &server,
                                    .endpoint_count = 1};
    struct dataplane_service kube_dns = {.name = "kube-system/kube-dns:dns",
                                         .protocol = IPPROTO_UDP,
                                         .port = 53,
                                         .cluster_address = dns,
                                         .endpoints = &names_server,
                                         .endpoint_count = 1};
    check_ok(dataplane_set(plane, &web, err));
    check_ok(dataplane_set(plane, &kube_dns, err));
    dataplane_revision(plane, ++revision);
    await(&applied_revision, revision);
    set_policy("first", NULL);
    set_policy("second", NULL);
    for (int i = 0; i < PODS; i++)
        set_pod(i, names[i]);
    return 0;
}

#define DENY_ALL "{'podSelector':{},'policyTypes':['Ingress','Egress']}"
#define FROM_CLIENT                                                                                                    \
    "{'podSelector':{'matchLabels':{'app':'server'}},'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':"        \
    "'client'}}}]%s}]}"

static void without_a_policy_everything_passes(void **state)
{
    (void)state;
    passes(CLIENT, address[SERVER], 8080, "server");
    passes(STRANGER, cluster, 80, "server");
    passes(CLIENT, node, 7070, "node");
    assert_true(exchanges(pod[CLIENT], address[SERVER], 8080));
}

static void an_isolated_pod_hears_those_whom_a_policy_lets_in(void **state)
{
    (void)state;
    set_policy("first", arena_printf(arena, FROM_CLIENT, ""));
    passes(CLIENT, address[SERVER], 8080, "server");
    passes(CLIENT, address[SERVER], 9090, "other");
    assert_true(exchanges(pod[CLIENT], address[SERVER], 8080));
    is_dropped(STRANGER, address[SERVER], 8080);
    assert_false(exchanges(pod[STRANGER], address[SERVER], 8080));
}

static void services_are_judged_behind_their_translation(void **state)
{
    (void)state;
    set_policy("first", arena_printf(arena, FROM_CLIENT, ",'ports':[{'port':'web'}]"));
    passes(CLIENT, cluster, 80, "server");
    is_dropped(STRANGER, cluster, 80);
    is_dropped(CLIENT, address[SERVER], 9090);
    assert_false(exchanges(pod[CLIENT], address[SERVER], 8080)); /* the port is one of TCP */
    set_policy("first", arena_printf(arena, FROM_CLIENT, ",'ports':[{'port':80}]"));
    is_dropped(CLIENT, cluster, 80);
}

static void the_node_reaches_its_pods_and_a_pod_itself(void **state)
{
    (void)state;
    set_policy("first", DENY_ALL);
    assert_string_equal(tcp_ask(-1, address[SERVER], 8080), "server");
    assert_string_equal(tcp_ask(-1, cluster, 80), "server");
    passes(SERVER, cluster, 80, "server");
    is_dropped(CLIENT, address[SERVER], 8080);
}

static void established_connections_go_on_and_replies_pass(void **state)
{
    (void)state;
    int fd = tcp_connect(pod[CLIENT], address[SERVER], 8080);
    char echo[8];
    assert_true(fd >= 0);
    assert_string_equal(tcp_read(fd), "server");
    set_policy("first", DENY_ALL);
    assert_int_equal(send(fd, "ping", 4, 0), 4);
    assert_int_equal(recv(fd, echo, sizeof(echo), 0), 4);
    close(fd);
    is_dropped(CLIENT, address[SERVER], 8080);
}

/* Whether a flow that is there already still gets an answer. */
static bool goes_on(int fd)
{
    char answer[64];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(send(fd, "x", 1, 0), 1);
    return poll(&p, 1, DROP_WAIT) == 1 && recv(fd, answer, sizeof(answer), 0) > 0;
}

static void flows_of_udp_end_when_a_policy_forbids_them(void **state)
{
    (void)state;
    int client = udp_open(pod[CLIENT], address[SERVER], 8080), stranger = udp_open(pod[STRANGER], address[SERVER], 8080);
    int dns = udp_open(pod[CLIENT], ip(DNS), 53);
    assert_true(goes_on(client) && goes_on(stranger) && goes_on(dns));
    set_policy("first", "{'podSelector':{'matchLabels':{'app':'server'}},'policyTypes':['Ingress'],'ingress':[{'from':[{"
                        "'podSelector':{'matchLabels':{'app':'client'}}}],'ports':[{'protocol':'UDP','port':8000,"
                        "'endPort':8090}]}]}");
    assert_true(goes_on(client));
    assert_false(goes_on(stranger));
    set_policy("first", NULL);
    assert_true(goes_on(stranger));
    set_policy("first", "{'podSelector':{},'policyTypes':['Egress'],'egress':[{'to':[{'namespaceSelector':{},"
                        "'podSelector':{'matchLabels':{'k8s-app':'kube-dns'}}}],'ports':[{'protocol':'UDP','port':53}]}]}");
    assert_true(goes_on(dns));
    assert_false(goes_on(client));
    close(client);
    close(stranger);
    close(dns);
}

static void egress_is_held_back_towards_pods_and_the_node(void **state)
{
    (void)state;
    set_policy("first", "{'podSelector':{'matchLabels':{'app':'client'}},'policyTypes':['Egress'],'egress':[{'to':[{"
                        "'podSelector':{'matchLabels':{'app':'server'}}}],'ports':[{'port':8000,'endPort':8090}]}]}");
    passes(CLIENT, address[SERVER], 8080, "server");
    passes(CLIENT, cluster, 80, "server");
    is_dropped(CLIENT, address[SERVER], 9090);
    is_dropped(CLIENT, node, 7070);
    passes(STRANGER, node, 7070, "node");
    set_policy("second", arena_printf(arena,
                                      "{'podSelector':{},'policyTypes':['Egress'],'egress':[{'to':[{'ipBlock':{"
                                      "'cidr':'%s/32'}}]}]}",
                                      inet_ntoa(node)));
    passes(CLIENT, node, 7070, "node"); /* policies add up */
    passes(CLIENT, address[SERVER], 8080, "server");
    is_dropped(STRANGER, address[SERVER], 8080);
}

static void the_dns_service_counts_as_upstreams_pod(void **state)
{
    (void)state;
    set_policy("first", "{'podSelector':{},'policyTypes':['Egress']}");
    assert_false(exchanges(pod[CLIENT], ip(DNS), 53));
    set_policy("second", "{'podSelector':{'matchLabels':{'app':'client'}},'policyTypes':['Egress'],'egress':[{'to':[{"
                         "'namespaceSelector':{},'podSelector':{'matchLabels':{'k8s-app':'kube-dns'}}}],'ports':[{"
                         "'protocol':'UDP','port':53}]}]}");
    assert_true(exchanges(pod[CLIENT], ip(DNS), 53));
    assert_false(exchanges(pod[CLIENT], node, 5353)); /* what it leads to is not meant */
    assert_false(exchanges(pod[STRANGER], ip(DNS), 53));
}

static void blocks_with_holes(void **state)
{
    (void)state;
    set_policy("first", arena_printf(arena,
                                     "{'podSelector':{'matchLabels':{'app':'server'}},'ingress':[{'from':[{"
                                     "'ipBlock':{'cidr':'0.0.0.0/0','except':['%s/32']}}]}]}",
                                     inet_ntoa(address[STRANGER])));
    passes(CLIENT, address[SERVER], 8080, "server");
    passes(OTHER, address[SERVER], 8080, "server");
    is_dropped(STRANGER, address[SERVER], 8080);
    set_policy("first", arena_printf(arena,
                                     "{'podSelector':{'matchLabels':{'app':'server'}},'ingress':[{'from':[{"
                                     "'ipBlock':{'cidr':'10.0.0.0/8','except':['%s/32','10.9.0.0/16']}}]}]}",
                                     inet_ntoa(address[CLIENT])));
    passes(STRANGER, address[SERVER], 8080, "server");
    is_dropped(CLIENT, address[SERVER], 8080);
}

static void new_labels_count_at_once(void **state)
{
    (void)state;
    set_policy("first", arena_printf(arena, FROM_CLIENT, ""));
    is_dropped(STRANGER, address[SERVER], 8080);
    set_pod(STRANGER, "client");
    passes(STRANGER, address[SERVER], 8080, "server");
    set_pod(STRANGER, "stranger");
    is_dropped(STRANGER, address[SERVER], 8080);
    set_pod(SERVER, "free");
    passes(STRANGER, address[SERVER], 8080, "server");
}

static void a_table_that_somebody_deleted_comes_back(void **state)
{
    (void)state;
    set_policy("first", arena_printf(arena, FROM_CLIENT, ""));
    assert_int_equal(system("nft delete table inet coracle-test"), 0);
    passes(STRANGER, address[SERVER], 8080, "server");
    set_pod(OTHER, "client"); /* the change is refused, and everything is written anew */
    is_dropped(STRANGER, address[SERVER], 8080);
    passes(OTHER, address[SERVER], 8080, "server");
}

static void no_table_is_left_without_policies(void **state)
{
    (void)state;
    set_policy("first", DENY_ALL);
    assert_int_equal(system("nft list tables | grep -q 'inet coracle-test'"), 0);
    set_policy("first", NULL);
    assert_int_not_equal(system("nft list tables | grep -q 'inet coracle-test'"), 0);
}

/* Lines of the table without the elements of its sets: what a packet may have to go through. */
static int count_rules(void)
{
    int lines = 0;
    FILE *listing = popen("nft -t list table inet coracle-test", "r");
    assert_non_null(listing);
    for (int c; (c = getc(listing)) != EOF;)
        lines += c == '\n';
    assert_int_equal(pclose(listing), 0);
    return lines;
}

static void set_numbered(int i, bool there)
{
    char name[16], text[24];
    struct ip_address a;
    const void *policy = NULL, *peer = NULL;
    snprintf(name, sizeof(name), "many-%d", i);
    snprintf(text, sizeof(text), "10.244.%d.%d", 1 + i / 200, 1 + i % 200);
    ip_address_parse(text, &a);
    if (there) {
        policy = decode(&api_resources[API_NETWORKPOLICIES],
                        arena_printf(arena,
                                     "{'metadata':{'name':'%s','namespace':'default'},'spec':{'podSelector':{},"
                                     "'ingress':[{'from':[{'podSelector':{'matchLabels':{'number':'%d'}}}],'ports':["
                                     "{'port':%d}]}]}}",
                                     name, i, 10000 + i));
        peer = decode(&api_resources[API_PODS],
                      arena_printf(arena,
                                   "{'metadata':{'name':'%s','namespace':'default','labels':{'number':'%d'}},'spec':"
                                   "{'containers':[]}}",
                                   name, i));
    }
    policy_plan_set_policy(plan, "default", name, policy);
    policy_plan_set_pod(plan, "default", name, peer, &a, 1, false);
}

/* 1,000 policies, each with a peer and a port of its own, are elements: a packet meets the rules that it met with one.
 */
static void many_policies_cost_a_connection_nothing(void **state)
{
    (void)state;
    set_policy("first", arena_printf(arena, FROM_CLIENT, ",'ports':[{'port':'web'},{'port':1000,'endPort':2000}]"));
    int before = count_rules();
    for (int i = 0; i < 1000; i++)
        set_numbered(i, true);
    enforce();
    assert_int_equal(count_rules(), before);
    passes(CLIENT, cluster, 80, "server");
    is_dropped(STRANGER, cluster, 80);
    for (int i = 0; i < 1000; i++)
        set_numbered(i, false);
    enforce();
}

int main(int argc, char **argv)
{
    if (!fixture_enter())
        return 77;
#define PROMISE(name) cmocka_unit_test_setup(name, forget_policies)
    const struct CMUnitTest tests[] = {
        PROMISE(without_a_policy_everything_passes),
        PROMISE(an_isolated_pod_hears_those_whom_a_policy_lets_in),
        PROMISE(services_are_judged_behind_their_translation),
        PROMISE(the_node_reaches_its_pods_and_a_pod_itself),
        PROMISE(established_connections_go_on_and_replies_pass),
        PROMISE(flows_of_udp_end_when_a_policy_forbids_them),
        PROMISE(egress_is_held_back_towards_pods_and_the_node),
        PROMISE(the_dns_service_counts_as_upstreams_pod),
        PROMISE(blocks_with_holes),
        PROMISE(new_labels_count_at_once),
        PROMISE(a_table_that_somebody_deleted_comes_back),
        PROMISE(no_table_is_left_without_policies),
        PROMISE(many_policies_cost_a_connection_nothing),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
