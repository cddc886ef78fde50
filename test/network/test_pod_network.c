/* The pod network: addresses, links and routes, with real packets between namespaces. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "network/fixture.h"
#include "network/namespace.h"
#include "network/netlink.h"
#include "network/pod_network.h"

static const struct pod_network_config config = {.namespace_fd = -1, .own_namespace = true};

static void prefixes_are_read_strictly(void **state)
{
    static const char *const bad[] = {"",           "10.0.0.0",     "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/-1",
                                      "10.0.0.0/8x", "10.0.0.1/24", "10.0.0/8",    "::/64",       "10.0.0.0/ 8",
                                      "300.0.0.0/8", "1111111111111111111111.0.0.0/8"};
    struct ipv4_prefix prefix;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(ipv4_prefix_parse(bad[i], &prefix, NULL), -1);
    check_ok(ipv4_prefix_parse("10.244.0.0/16", &prefix, err));
    assert_true(ipv4_prefix_contains(&prefix, ip("10.244.255.255")));
    assert_false(ipv4_prefix_contains(&prefix, ip("10.245.0.0")));
    check_ok(ipv4_prefix_parse("0.0.0.0/0", &prefix, err));
    assert_true(ipv4_prefix_contains(&prefix, ip("255.1.2.3")));
}

static void addresses_are_reused_as_late_as_possible(void **state)
{
    struct ipv4_prefix prefix;
    struct address_pool pool;
    struct in_addr a, b;
    struct error e;
    check_ok(ipv4_prefix_parse("10.1.2.0/29", &prefix, err));
    check_ok(address_pool_init(&pool, &prefix, err));
    check_ok(address_pool_take(&pool, &a, err));
    assert_int_equal(a.s_addr, ip("10.1.2.2").s_addr);
    address_pool_release(&pool, a);
    for (int i = 3; i <= 6; i++) {
        check_ok(address_pool_take(&pool, &b, err));
        assert_int_equal(ntohl(b.s_addr) & 7, i);
    }
    check_ok(address_pool_take(&pool, &b, err));
    assert_int_equal(b.s_addr, a.s_addr);
    assert_int_equal(address_pool_take(&pool, &b, &e), -1);
    assert_int_equal(e.code, EADDRNOTAVAIL);
    assert_false(address_pool_claim(&pool, a));
    assert_false(address_pool_claim(&pool, ip("10.1.2.1")));
    assert_false(address_pool_claim(&pool, ip("10.1.2.7")));
    assert_false(address_pool_claim(&pool, ip("10.1.3.2")));
    address_pool_free(&pool);
}

static void pods_reach_each_other_and_the_node(void **state)
{
    struct pod_network *network;
    struct in_addr a, b;
    char path_a[128], path_b[128];
    int pod_a = fixture_pod_namespace("a", path_a), pod_b = fixture_pod_namespace("b", path_b);
    check_ok(pod_network_open(&config, &network, err));
    check_ok(pod_network_attach(network, "a", path_a, &a, err));
    check_ok(pod_network_attach(network, "b", path_b, &b, err));
    assert_int_not_equal(a.s_addr, b.s_addr);
    struct server *server = server_start(pod_b, IPPROTO_TCP, 80, "b");
    struct server *node = server_start(-1, IPPROTO_TCP, 6443, "node");
    assert_string_equal(tcp_ask(pod_a, b, 80), "b");
    assert_int_equal(server_client(server).s_addr, a.s_addr); /* nothing in between rewrites it */
    assert_string_equal(tcp_ask(-1, b, 80), "b");
    assert_string_equal(tcp_ask(pod_b, ip("127.0.0.1"), 80), "b");
    assert_string_equal(tcp_ask(pod_b, b, 80), "b");
    assert_string_equal(tcp_ask(pod_a, pod_network_gateway(network), 6443), "node");
    server_stop(server);
    server_stop(node);
    check_ok(pod_network_detach(network, "a", err));
    check_ok(pod_network_detach(network, "a", err));
    check_ok(pod_network_detach(network, "b", err));
    pod_network_close(network);
    network_namespace_remove(path_a, NULL);
    network_namespace_remove(path_b, NULL);
    close(pod_a);
    close(pod_b);
    check_ok(pod_network_destroy(&config, err));
}

static void count_pod(void *context, const char *key, struct in_addr address)
{
    ++*(int *)context;
}

static void a_restart_finds_every_pod_and_reuses_no_address(void **state)
{
    struct pod_network *network;
    struct in_addr a, b, c, again;
    char path_a[128], path_b[128], path_c[128];
    int pod_a = fixture_pod_namespace("a", path_a), pod_b = fixture_pod_namespace("b", path_b),
        pod_c = fixture_pod_namespace("c", path_c);
    check_ok(pod_network_open(&config, &network, err));
    check_ok(pod_network_attach(network, "uid-a", path_a, &a, err));
    check_ok(pod_network_attach(network, "uid-b", path_b, &b, err));
    check_ok(pod_network_attach(network, "uid-c", path_c, &c, err));
    check_ok(pod_network_detach(network, "uid-c", err));
    pod_network_close(network);

    check_ok(pod_network_open(&config, &network, err));
    int count = 0;
    pod_network_each(network, count_pod, &count);
    assert_int_equal(count, 2);
    assert_true(pod_network_find(network, "uid-a", &again));
    assert_int_equal(again.s_addr, a.s_addr);
    check_ok(pod_network_attach(network, "uid-a", path_a, &again, err));
    assert_int_equal(again.s_addr, a.s_addr);
    check_ok(pod_network_attach(network, "uid-d", path_c, &again, err));
    assert_int_equal(ntohl(again.s_addr), ntohl(c.s_addr) + 1); /* not the one that was just given back */
    struct server *server = server_start(pod_a, IPPROTO_TCP, 80, "a");
    assert_string_equal(tcp_ask(pod_b, a, 80), "a");
    server_stop(server);
    pod_network_close(network);

    check_ok(pod_network_destroy(&config, err));
    check_ok(pod_network_open(&config, &network, err));
    count = 0;
    pod_network_each(network, count_pod, &count);
    assert_int_equal(count, 0);
    pod_network_close(network);
    check_ok(pod_network_destroy(&config, err));
    for (int i = 0; i < 3; i++) {
        network_namespace_remove((char *[]){path_a, path_b, path_c}[i], NULL);
        close((int[]){pod_a, pod_b, pod_c}[i]);
    }
}

static void a_pod_made_anew_gets_a_fresh_link(void **state)
{
    struct pod_network *network;
    struct in_addr first, second;
    char path_a[128], path_b[128];
    int pod_a = fixture_pod_namespace("a", path_a), pod_b = fixture_pod_namespace("b", path_b);
    check_ok(pod_network_open(&config, &network, err));
    check_ok(pod_network_attach(network, "uid", path_a, &first, err));
    check_ok(pod_network_attach(network, "uid", path_b, &second, err));
    assert_int_not_equal(first.s_addr, second.s_addr);
    struct server *server = server_start(pod_b, IPPROTO_TCP, 80, "b");
    assert_string_equal(tcp_ask(-1, second, 80), "b");
    server_stop(server);
    pod_network_close(network);
    check_ok(pod_network_destroy(&config, err));
    network_namespace_remove(path_a, NULL);
    network_namespace_remove(path_b, NULL);
    close(pod_a);
    close(pod_b);
}

static void bad_input_is_refused_and_changes_nothing(void **state)
{
    struct pod_network *network;
    struct in_addr address;
    struct error e;
    check_ok(pod_network_open(&config, &network, err));
    assert_int_equal(pod_network_attach(network, "with space", "/proc/self/ns/net", &address, &e), -1);
    assert_int_equal(e.code, EINVAL);
    assert_int_equal(pod_network_attach(network, "", "/proc/self/ns/net", &address, &e), -1);
    assert_int_equal(pod_network_attach(network, "uid", "/etc/passwd", &address, &e), -1);
    assert_int_equal(e.code, EINVAL);
    assert_int_equal(pod_network_attach(network, "uid", "/nowhere", &address, &e), -1);
    assert_int_equal(e.code, ENOENT);
    assert_false(pod_network_find(network, "uid", &address));
    pod_network_close(network);

    struct pod_network_config bad = config;
    bad.node_cidr = "10.0.0.0/8";
    assert_int_equal(pod_network_open(&bad, &network, &e), -1);
    assert_null(network);
    bad = config;
    bad.bridge = "lo";
    assert_int_equal(pod_network_open(&bad, &network, &e), -1);
    bad.bridge = "a-name-that-is-too-long";
    assert_int_equal(pod_network_open(&bad, &network, &e), -1);
    check_ok(pod_network_destroy(&config, err));
}

static void the_price_of_a_pod(void **state)
{
    enum { PODS = 50 };
    struct pod_network *network;
    char paths[PODS][128], key[16];
    int fds[PODS];
    struct in_addr address;
    check_ok(pod_network_open(&config, &network, err));
    for (int i = 0; i < PODS; i++) {
        snprintf(key, sizeof(key), "p%d", i);
        fds[i] = fixture_pod_namespace(key, paths[i]);
    }
    int64_t start = now();
    for (int i = 0; i < PODS; i++) {
        snprintf(key, sizeof(key), "p%d", i);
        check_ok(pod_network_attach(network, key, paths[i], &address, err));
    }
    int64_t attached = now();
    for (int i = 0; i < PODS; i++) {
        snprintf(key, sizeof(key), "p%d", i);
        check_ok(pod_network_detach(network, key, err));
    }
    print_message("attach %.2f ms, detach %.2f ms per pod\n", (double)(attached - start) / 1000 / PODS,
                  (double)(now() - attached) / 1000 / PODS);
    for (int i = 0; i < PODS; i++) {
        network_namespace_remove(paths[i], NULL);
        close(fds[i]);
    }
    pod_network_close(network);
    check_ok(pod_network_destroy(&config, err));
}

int main(void)
{
    if (!fixture_enter())
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_are_read_strictly),
        cmocka_unit_test(addresses_are_reused_as_late_as_possible),
        cmocka_unit_test(pods_reach_each_other_and_the_node),
        cmocka_unit_test(a_restart_finds_every_pod_and_reuses_no_address),
        cmocka_unit_test(a_pod_made_anew_gets_a_fresh_link),
        cmocka_unit_test(bad_input_is_refused_and_changes_nothing),
        cmocka_unit_test(the_price_of_a_pod),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
