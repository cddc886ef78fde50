/* The plan: services in, nft text out. No kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "network/element.h"

static struct dataplane_plan *new_plan(void)
{
    struct dataplane_plan *plan;
    struct dataplane_plan_config config = {.table = "t", .bridge = "br", .service_cidr = "10.96.0.0/16"};
    assert_int_equal(dataplane_plan_new(&config, &plan, NULL), 0);
    return plan;
}

static struct ip_address ip(const char *text)
{
    struct ip_address address;
    assert_true(ip_address_parse(text, &address));
    return address;
}

static struct dataplane_endpoint ready(const char *address)
{
    return (struct dataplane_endpoint){.address = ip(address), .port = 8080, .ready = true, .serving = true};
}

static struct dataplane_service web(const struct dataplane_endpoint *endpoints, size_t count)
{
    return (struct dataplane_service){.name = "default/web:http",
                                      .protocol = IPPROTO_TCP,
                                      .port = 80,
                                      .cluster_address = ip("10.96.0.7"),
                                      .endpoints = endpoints,
                                      .endpoint_count = count};
}

/* The difference since the last call, in a static buffer. Withdrawals are counted in *withdrawn. */
static const char *diff(struct dataplane_plan *plan, size_t *withdrawn)
{
    static char text[65536];
    struct dataplane_transaction t = {0};
    dataplane_plan_diff(plan, &t);
    assert_true(t.script.size < sizeof(text));
    memcpy(text, t.script.size ? t.script.data : "", t.script.size + 1);
    if (withdrawn)
        *withdrawn = t.withdrawals.count;
    dataplane_transaction_free(&t);
    return text;
}

static void settle(struct dataplane_plan *plan)
{
    struct dataplane_transaction t = {0};
    dataplane_plan_full(plan, &t);
    dataplane_transaction_free(&t);
}

/* The element of a whole table that nft writes so; NULL: there is none. */
static const struct element *element_in(const struct dataplane_transaction *t, bool v6, const char *text)
{
    const struct element *found = NULL;
    for (size_t i = 0; i < t->elements[v6].count && !found; i++) {
        struct buffer written = {0};
        nft_write_element(&written, &t->elements[v6].items[i]);
        found = strcmp(written.data, text) == 0 ? &t->elements[v6].items[i] : NULL;
        buffer_free(&written);
    }
    return found;
}

static void a_service_is_its_elements(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.3"), ready("10.244.0.2")};
    struct dataplane_service s = web(e, 2);
    assert_int_equal(dataplane_plan_set(plan, &s, NULL), 0);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "add element ip t service-sizes { tcp . 10.96.0.7 . 80 : 2 }\n"));
    assert_non_null(strstr(text, "add element ip t service-endpoints-tcp { "));
    assert_non_null(strstr(text, "0 . 10.96.0.7 . 80 : 10.244.0.2 . 8080"));
    assert_non_null(strstr(text, "1 . 10.96.0.7 . 80 : 10.244.0.3 . 8080"));
    assert_non_null(strstr(text, "add chain ip t pick-2\n"));
    assert_null(strstr(text, "delete"));
    assert_string_equal(diff(plan, NULL), "");
    assert_int_equal(dataplane_plan_set(plan, &s, NULL), 0);
    assert_string_equal(diff(plan, NULL), "");
    dataplane_plan_remove(plan, s.name);
    dataplane_plan_remove(plan, s.name);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "delete element ip t service-sizes { tcp . 10.96.0.7 . 80 }\n"));
    assert_null(strstr(text, "add"));
    assert_int_equal(dataplane_plan_count(plan), 0);
    dataplane_plan_free(plan);
}

static void sctp_has_maps_of_its_own(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e = ready("10.244.0.3");
    struct dataplane_service s = web(&e, 1);
    s.protocol = IPPROTO_SCTP;
    s.node_port = 30080;
    dataplane_plan_set(plan, &s, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "add element ip t service-sizes { sctp . 10.96.0.7 . 80 : 1 }\n"));
    assert_non_null(
        strstr(text, "add element ip t service-endpoints-sctp { 0 . 10.96.0.7 . 80 : 10.244.0.3 . 8080 }\n"));
    assert_non_null(strstr(text, "add element ip t node-port-sizes { sctp . 30080 : 1 }\n"));
    assert_non_null(strstr(text, "add element ip t node-port-endpoints-sctp { 0 . 30080 : 10.244.0.3 . 8080 }\n"));
    /* The same address and port over TCP is another service. */
    struct dataplane_service tcp = web(&e, 1);
    tcp.name = "default/web:tcp";
    dataplane_plan_set(plan, &tcp, NULL);
    assert_non_null(strstr(diff(plan, NULL), "add element ip t service-sizes { tcp . 10.96.0.7 . 80 : 1 }\n"));
    s.endpoint_count = 0;
    dataplane_plan_set(plan, &s, NULL);
    assert_non_null(strstr(diff(plan, NULL), "add element ip t service-refused { sctp . 10.96.0.7 . 80 }\n"));
    dataplane_plan_free(plan);
}

static void a_change_costs_its_own_size(void **state)
{
    struct dataplane_plan *plan = new_plan();
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.3"), ready("10.244.0.4"),
                                     ready("10.244.0.5")};
    struct dataplane_service s = web(e, 4);
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "n/%d", i);
        s.name = name;
        s.cluster_address.v4.s_addr = htonl(0x0a600100 + (uint32_t)i);
        dataplane_plan_set(plan, &s, NULL);
    }
    s = web(e, 3);
    s.name = "n/three";
    s.port = 81;
    dataplane_plan_set(plan, &s, NULL); /* the chains for three endpoints are there then */
    s = web(e, 4);
    dataplane_plan_set(plan, &s, NULL);
    settle(plan);
    /* The second of four goes: the last takes its slot, and nothing else moves. */
    e[1].ready = e[1].serving = false;
    dataplane_plan_set(plan, &s, NULL);
    assert_string_equal(diff(plan, NULL),
                        "delete element ip t service-sizes { tcp . 10.96.0.7 . 80 }\n"
                        "delete element ip t service-endpoints-tcp { 1 . 10.96.0.7 . 80, 3 . 10.96.0.7 . 80 }\n"
                        "add element ip t service-sizes { tcp . 10.96.0.7 . 80 : 3 }\n"
                        "add element ip t service-endpoints-tcp { 1 . 10.96.0.7 . 80 : 10.244.0.5 . 8080 }\n");
    dataplane_plan_free(plan);
}

static void ready_endpoints_come_first_then_those_that_serve_while_terminating(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.3")};
    struct dataplane_service s = web(e, 2);
    e[0].ready = false;
    e[0].terminating = true;
    dataplane_plan_set(plan, &s, NULL);
    const char *text = diff(plan, NULL);
    assert_null(strstr(text, "10.244.0.2"));
    assert_non_null(strstr(text, "10.244.0.3 . 8080"));
    e[1].ready = e[1].serving = false;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "0 . 10.96.0.7 . 80 : 10.244.0.2 . 8080"));
    e[0].serving = false;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "add element ip t service-refused { tcp . 10.96.0.7 . 80 }"));
    assert_null(strstr(text, "add element ip t service-sizes"));
    dataplane_plan_free(plan);
}

/* publishNotReadyAddresses calls every pod ready, also one that is being deleted. */
static void a_terminating_endpoint_comes_second_even_if_it_is_called_ready(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.3")};
    struct dataplane_service s = web(e, 2);
    e[0].terminating = true;
    dataplane_plan_set(plan, &s, NULL);
    const char *text = diff(plan, NULL);
    assert_null(strstr(text, "10.244.0.2"));
    assert_non_null(strstr(text, "10.244.0.3 . 8080"));
    e[1].terminating = true;
    dataplane_plan_set(plan, &s, NULL);
    assert_non_null(strstr(diff(plan, NULL), "10.244.0.2 . 8080"));
    dataplane_plan_free(plan);
}

static void local_policies_keep_to_this_node(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.1.3")};
    struct dataplane_service s = web(e, 2);
    e[1].remote = true;
    s.node_port = 30080;
    s.external_local = true;
    dataplane_plan_set(plan, &s, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "node-port-sizes { tcp . 30080 : 1 }"));
    assert_non_null(strstr(text, "service-sizes { tcp . 10.96.0.7 . 80 : 2 }"));
    assert_null(strstr(text, "node-port-masquerade")); /* the client's address is kept */
    /* From inside the node port leads to all. */
    assert_non_null(strstr(text, "add element ip t inside-node-port-sizes { tcp . 30080 : 65538 }"));
    assert_non_null(strstr(text, "65537 . 30080 : 10.244.1.3 . 8080"));
    s.endpoints = e + 1;
    s.endpoint_count = 1;
    s.internal_local = true;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "add element ip t service-dropped { tcp . 10.96.0.7 . 80 }"));
    assert_non_null(strstr(text, "add element ip t node-port-dropped { tcp . 30080 }"));
    assert_non_null(strstr(text, "65536 . 30080 : 10.244.1.3 . 8080"));
    s.endpoint_count = 0;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "add element ip t service-refused { tcp . 10.96.0.7 . 80 }"));
    assert_non_null(strstr(text, "add element ip t node-port-refused { tcp . 30080 }"));
    s.endpoints = e;
    s.endpoint_count = 2;
    s.external_local = false;
    s.internal_local = true;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "node-port-sizes { tcp . 30080 : 2 }"));
    assert_non_null(strstr(text, "service-sizes { tcp . 10.96.0.7 . 80 : 1 }"));
    assert_non_null(strstr(text, "add element ip t node-port-masquerade { tcp . 30080 }"));
    dataplane_plan_free(plan);
}

/* As upstream: what is made by hand and names no node is no node's own. */
static void an_endpoint_that_names_no_node_is_not_local(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.3")};
    struct dataplane_service s = web(e, 2);
    e[1].unplaced = true;
    s.internal_local = true;
    dataplane_plan_set(plan, &s, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "service-sizes { tcp . 10.96.0.7 . 80 : 1 }"));
    assert_null(strstr(text, "10.244.0.3 . 8080"));
    /* It may be a pod of this node for all we know. */
    assert_non_null(strstr(text, "10.244.0.3 . 10.244.0.3"));
    dataplane_plan_free(plan);
}

static void the_first_to_claim_an_address_has_it(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct ip_address external = ip("192.0.2.1");
    struct dataplane_endpoint a = ready("10.244.0.2"), b = ready("10.244.0.3");
    struct dataplane_service first = {.name = "n/first:",
                                      .protocol = IPPROTO_TCP,
                                      .port = 80,
                                      .external_addresses = &external,
                                      .external_address_count = 1,
                                      .endpoints = &a,
                                      .endpoint_count = 1};
    struct dataplane_service second = first;
    second.name = "n/second:";
    second.endpoints = &b;
    dataplane_plan_set(plan, &first, NULL);
    dataplane_plan_set(plan, &second, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "0 . 192.0.2.1 . 80 : 10.244.0.2 . 8080"));
    assert_null(strstr(text, "80 : 10.244.0.3"));
    a = ready("10.244.0.4"); /* an update does not lose the place */
    dataplane_plan_set(plan, &first, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "0 . 192.0.2.1 . 80 : 10.244.0.4 . 8080"));
    dataplane_plan_remove(plan, first.name);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "0 . 192.0.2.1 . 80 : 10.244.0.3 . 8080"));
    dataplane_plan_free(plan);
}

static void endpoints_of_other_nodes_need_no_hairpin(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.1.2")};
    e[1].remote = true;
    struct dataplane_service one = web(e, 2);
    dataplane_plan_set(plan, &one, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "hairpin { 10.244.0.2 . 10.244.0.2 }"));
    assert_non_null(strstr(text, "10.244.1.2 . 8080"));
    dataplane_plan_free(plan);
}

static void a_hairpin_outlasts_its_endpoint(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.2"), ready("10.244.0.2")};
    e[1].port = 8081; /* two ports of one pod, and the same endpoint twice */
    struct dataplane_service one = web(e, 3), two = web(e, 1);
    two.name = "n/two:";
    two.port = 81;
    dataplane_plan_set(plan, &one, NULL);
    dataplane_plan_set(plan, &two, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "hairpin { 10.244.0.2 . 10.244.0.2 }"));
    assert_non_null(strstr(text, "tcp . 10.96.0.7 . 80 : 2"));
    dataplane_plan_remove(plan, one.name);
    assert_null(strstr(diff(plan, NULL), "hairpin"));
    dataplane_plan_remove(plan, two.name);
    assert_null(strstr(diff(plan, NULL), "hairpin")); /* a packet may be on the way */
    dataplane_plan_set(plan, &two, NULL);
    assert_null(strstr(diff(plan, NULL), "hairpin")); /* it is there still */
    dataplane_plan_remove(plan, two.name);
    diff(plan, NULL);
    for (uint32_t i = 0; i < DATAPLANE_HAIRPINS_LINGERING; i++) {
        e[0].address.v4.s_addr = htonl(0x0af50000 + i);
        dataplane_plan_set(plan, &two, NULL);
        diff(plan, NULL);
        dataplane_plan_remove(plan, two.name);
        text = diff(plan, NULL);
    }
    assert_non_null(strstr(text, "delete element ip t hairpin { 10.244.0.2 . 10.244.0.2 }\n")); /* in the end it goes */
    dataplane_plan_free(plan);
}

static void an_affinity_that_ends_lets_its_clients_go(void **state)
{
    struct dataplane_plan *plan = new_plan();
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.3")};
    struct dataplane_service s = web(e, 2);
    struct dataplane_transaction t = {0};
    s.affinity_seconds = 60;
    dataplane_plan_set(plan, &s, NULL);
    settle(plan);
    s.affinity_seconds = 0;
    dataplane_plan_set(plan, &s, NULL);
    dataplane_plan_diff(plan, &t);
    assert_int_equal(t.withdrawals.count, 2);
    assert_true(t.withdrawals.items[0].affinity && !t.withdrawals.items[0].flows);
    dataplane_transaction_free(&t);
    dataplane_plan_free(plan);
}

static void ipv6_has_a_table_of_its_own(void **state)
{
    struct dataplane_plan *plan;
    struct dataplane_plan_config config = {
        .family = AF_INET6, .table = "t", .bridge = "br", .service_cidr = "fd00:10:96::/112"};
    struct dataplane_endpoint e = ready("fd00:10:244::2");
    struct dataplane_service s = web(&e, 1);
    struct dataplane_transaction t = {0};
    struct error err;
    assert_int_equal(dataplane_plan_new(&config, &plan, NULL), 0);
    assert_int_equal(dataplane_plan_set(plan, &s, &err), -1); /* its address is of IPv4 */
    s.family = AF_INET6;
    s.cluster_address = ip("fd00:10:96::7");
    s.affinity_seconds = 60;
    assert_int_equal(dataplane_plan_set(plan, &s, NULL), 0);
    dataplane_plan_full(plan, &t);
    assert_non_null(strstr(t.script.data, "table ip6 t {\n"));
    assert_null(strstr(t.script.data, "ip t"));
    assert_non_null(element_in(&t, true, "tcp . fd00:10:96::7 . 80 : 1"));
    assert_non_null(element_in(&t, true, "0 . fd00:10:96::7 . 80 : fd00:10:244::2 . 8080"));
    assert_int_equal(t.elements[0].count, 0);
    assert_int_equal(t.remember.count, 1);
    assert_int_equal(t.remember.items[0], 60);
    /* A change leaves alone what was made ready for it. */
    s.affinity_seconds = 61;
    assert_int_equal(dataplane_plan_set(plan, &s, NULL), 0);
    buffer_clear(&t.script);
    dataplane_plan_diff(plan, &t);
    assert_int_equal(t.remember.items[1], 61);
    assert_non_null(strstr(t.script.data, "add element ip6 t remember { 61 : jump remember-61 }\n"));
    assert_null(strstr(t.script.data, "flush"));
    dataplane_transaction_free(&t);
    dataplane_plan_free(plan);
}

static void only_the_source_ranges_may_use_a_load_balancer(void **state)
{
    struct dataplane_plan *plan = new_plan();
    struct ip_address balancer = ip("192.0.2.9");
    struct ip_prefix ranges[3];
    struct dataplane_endpoint e = ready("10.244.0.2");
    struct dataplane_service s = web(&e, 1);
    assert_true(ip_prefix_parse("10.1.2.0/24", &ranges[0]) && ip_prefix_parse("10.1.0.7/16", &ranges[1]) &&
                ip_prefix_parse("10.1.0.0/16", &ranges[2]));
    settle(plan);
    s.balancer_addresses = &balancer;
    s.balancer_address_count = 1;
    s.source_limited = true;
    s.source_ranges = ranges;
    s.source_range_count = 3;
    dataplane_plan_set(plan, &s, NULL);
    const char *text = diff(plan, NULL);
    assert_non_null(strstr(text, "add element ip t source-limited { tcp . 192.0.2.9 . 80 }\n"));
    /* The kernel takes no ranges that overlap: the widest is enough. */
    assert_non_null(strstr(text, "add element ip t source-ranges { tcp . 192.0.2.9 . 80 . 10.1.0.0/16 }\n"));
    s.source_range_count = 1;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "delete element ip t source-ranges { tcp . 192.0.2.9 . 80 . 10.1.0.0/16 }\n"));
    assert_non_null(strstr(text, "add element ip t source-ranges { tcp . 192.0.2.9 . 80 . 10.1.2.0/24 }\n"));
    /* Without a range it is open to nobody. */
    s.source_range_count = 0;
    dataplane_plan_set(plan, &s, NULL);
    text = diff(plan, NULL);
    assert_non_null(strstr(text, "delete element ip t source-ranges { tcp . 192.0.2.9 . 80 . 10.1.2.0/24 }\n"));
    assert_null(strstr(text, "source-limited"));
    dataplane_plan_free(plan);
}

static void what_the_kernel_remembers_is_withdrawn(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.0.3")};
    struct dataplane_service s = web(e, 2);
    size_t withdrawn;
    s.protocol = IPPROTO_UDP;
    s.node_port = 30053;
    dataplane_plan_set(plan, &s, NULL);
    diff(plan, &withdrawn);
    assert_int_equal(withdrawn, 0);
    s.endpoint_count = 1;
    dataplane_plan_set(plan, &s, NULL);
    diff(plan, &withdrawn);
    assert_int_equal(withdrawn, 2); /* one for each way in */
    s.endpoint_count = 2;
    dataplane_plan_set(plan, &s, NULL);
    diff(plan, &withdrawn);
    s.endpoint_count = 1; /* gone and back between two transactions: nothing happened */
    dataplane_plan_set(plan, &s, NULL);
    s.endpoint_count = 2;
    dataplane_plan_set(plan, &s, NULL);
    assert_string_equal(diff(plan, &withdrawn), "");
    assert_int_equal(withdrawn, 0);
    dataplane_plan_remove(plan, s.name);
    diff(plan, &withdrawn);
    assert_int_equal(withdrawn, 4);

    s = web(e, 1);
    dataplane_plan_set(plan, &s, NULL);
    dataplane_plan_remove(plan, s.name);
    diff(plan, &withdrawn);
    assert_int_equal(withdrawn, 0); /* TCP ends by itself */
    dataplane_plan_free(plan);
}

static void traffic_from_inside_leaves_a_withdrawn_endpoint(void **state)
{
    struct dataplane_plan *plan = new_plan();
    struct dataplane_endpoint e[] = {ready("10.244.0.2"), ready("10.244.1.3"), ready("10.244.1.4")};
    struct dataplane_service s = web(e, 3);
    size_t withdrawn;
    e[1].remote = e[2].remote = true;
    s.protocol = IPPROTO_UDP;
    s.cluster_address = (struct ip_address){0};
    s.node_port = 30053;
    s.external_local = true;
    dataplane_plan_set(plan, &s, NULL);
    settle(plan);
    s.endpoint_count = 2;
    dataplane_plan_set(plan, &s, NULL);
    diff(plan, &withdrawn);
    assert_int_equal(withdrawn, 1);
    /* A flow to any of the others is as good as before, from wherever it comes. */
    struct dataplane_withdrawal flow = {
        .protocol = IPPROTO_UDP, .service_address = ip("192.0.2.7"), .service_port = 30053, .endpoint_port = 8080};
    for (size_t i = 0; i < ARRAY_COUNT(e); i++) {
        flow.endpoint_address = e[i].address;
        assert_int_equal(dataplane_plan_is_stale(plan, &flow), i == 2);
    }
    /* Another policy moves no flow from inside; those from outside may now go elsewhere, and need not. */
    s.external_local = false;
    dataplane_plan_set(plan, &s, NULL);
    diff(plan, &withdrawn);
    assert_int_equal(withdrawn, 0);
    dataplane_plan_free(plan);
}

static void impossible_services_are_refused_and_change_nothing(void **state)
{
    struct dataplane_plan *plan = new_plan();
    settle(plan);
    struct dataplane_service s = web(NULL, 0);
    struct error e;
    s.protocol = IPPROTO_ICMP;
    assert_int_equal(dataplane_plan_set(plan, &s, &e), -1);
    assert_int_equal(e.code, EINVAL);
    s = web(NULL, 0);
    s.port = 0;
    assert_int_equal(dataplane_plan_set(plan, &s, &e), -1);
    s = web(NULL, 0);
    s.name = "";
    assert_int_equal(dataplane_plan_set(plan, &s, &e), -1);
    s = web(NULL, 0);
    s.affinity_seconds = DATAPLANE_AFFINITY_SECONDS_MAX + 1;
    assert_int_equal(dataplane_plan_set(plan, &s, &e), -1);
    assert_string_equal(diff(plan, NULL), "");
    dataplane_plan_free(plan);

    static const char *const bad[] = {"", "1a", "a b", "a;b", "a\"", "a{"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct dataplane_plan_config config = {.table = bad[i], .bridge = "br", .service_cidr = "10.96.0.0/16"};
        assert_int_equal(dataplane_plan_new(&config, &plan, &e), -1);
        config = (struct dataplane_plan_config){.table = "t", .bridge = bad[i], .service_cidr = "10.96.0.0/16"};
        assert_int_equal(dataplane_plan_new(&config, &plan, &e), -1);
        config = (struct dataplane_plan_config){.table = "t", .bridge = "br", .service_cidr = bad[i]};
        assert_int_equal(dataplane_plan_new(&config, &plan, &e), -1);
    }
}

static void more_endpoints_than_the_limit_are_cut(void **state)
{
    enum { COUNT = DATAPLANE_ENDPOINTS_MAX + 10 };
    static struct dataplane_endpoint e[COUNT];
    struct dataplane_plan *plan = new_plan();
    for (uint32_t i = 0; i < COUNT; i++)
        e[i] = (struct dataplane_endpoint){
            .address = ip_address_v4((struct in_addr){htonl(0x0af40002 + i)}), .port = 80, .ready = true};
    struct dataplane_service s = web(e, COUNT);
    dataplane_plan_set(plan, &s, NULL);
    struct dataplane_transaction t = {0};
    dataplane_plan_full(plan, &t);
    assert_non_null(element_in(&t, false, "tcp . 10.96.0.7 . 80 : 4096"));
    dataplane_transaction_free(&t);
    dataplane_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_is_its_elements),
        cmocka_unit_test(sctp_has_maps_of_its_own),
        cmocka_unit_test(a_change_costs_its_own_size),
        cmocka_unit_test(ready_endpoints_come_first_then_those_that_serve_while_terminating),
        cmocka_unit_test(a_terminating_endpoint_comes_second_even_if_it_is_called_ready),
        cmocka_unit_test(local_policies_keep_to_this_node),
        cmocka_unit_test(an_endpoint_that_names_no_node_is_not_local),
        cmocka_unit_test(the_first_to_claim_an_address_has_it),
        cmocka_unit_test(endpoints_of_other_nodes_need_no_hairpin),
        cmocka_unit_test(a_hairpin_outlasts_its_endpoint),
        cmocka_unit_test(what_the_kernel_remembers_is_withdrawn),
        cmocka_unit_test(an_affinity_that_ends_lets_its_clients_go),
        cmocka_unit_test(ipv6_has_a_table_of_its_own),
        cmocka_unit_test(only_the_source_ranges_may_use_a_load_balancer),
        cmocka_unit_test(traffic_from_inside_leaves_a_withdrawn_endpoint),
        cmocka_unit_test(impossible_services_are_refused_and_change_nothing),
        cmocka_unit_test(more_endpoints_than_the_limit_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
