/* Two nodes and a machine's worth of addresses: which node answers for which, as nodes, endpoints and policies come and
 * go. The API is the registry; the announcers only write down what they are given. */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "base/address_range.h"
#include "network/balancer.h"

#define NODES 2
#define ADDRESSES 16

static const char *const nodes[NODES] = {"one", "two"};

/* What a node answers for: a bit for each of 192.0.2.0 to .15, and how often it was told. */
struct told {
    unsigned addresses, calls;
};

struct link_of_nodes {
    struct world *w;
    struct informer_set *informers;
    struct address_ranges pool;
    struct balancer *balancers[NODES];
    struct told told[NODES];
};

static void tell(void *context, const struct ip_address *addresses, size_t count)
{
    struct told *told = context;
    told->addresses = 0;
    told->calls++;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(addresses[i].family, AF_INET);
        told->addresses |= 1u << (ntohl(addresses[i].v4.s_addr) & 0xff);
    }
}

static void set_ready(struct link_of_nodes *l, const char *node, bool ready)
{
    char path[64], json[160];
    snprintf(path, sizeof(path), "nodes/%s/status", node);
    snprintf(json, sizeof(json), "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
             ready ? "True" : "Unknown");
    assert_code(patch(l->w, path, json), 200);
    settle(l->w);
}

static void link_begin(struct link_of_nodes *l)
{
    *l = (struct link_of_nodes){.w = world_new()};
    assert_int_equal(address_ranges_parse("192.0.2.0/28", &l->pool, NULL), 0);
    l->informers = informer_set_new(l->w->client);
    for (size_t i = 0; i < NODES; i++)
        l->balancers[i] = balancer_new(l->w->client, l->informers, nodes[i], &l->pool, tell, &l->told[i]);
    informer_set_start(l->informers, NULL, NULL);
    settle(l->w);
    for (size_t i = 0; i < NODES; i++) {
        char json[64];
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\"}}", nodes[i]);
        assert_code(create(l->w, "nodes", json), 201);
        set_ready(l, nodes[i], true);
    }
}

static void link_end(struct link_of_nodes *l)
{
    informer_set_free(l->informers);
    for (size_t i = 0; i < NODES; i++)
        balancer_free(l->balancers[i]);
    world_free(l->w);
}

static void add_balancer(struct link_of_nodes *l, unsigned i, const char *policy)
{
    char path[64], json[256];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"s%u\"},\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"%s\","
             "\"ports\":[{\"port\":80}]}}",
             i, policy);
    assert_code(create(l->w, "services/default", json), 201);
    snprintf(path, sizeof(path), "services/default/s%u/status", i);
    snprintf(json, sizeof(json), "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.%u\"}]}}}", i);
    assert_code(patch(l->w, path, json), 200);
    settle(l->w);
}

/* The endpoints of service 0: one on each node, ready or not. */
static void set_endpoints(struct link_of_nodes *l, bool one, bool two)
{
    char json[768];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"s0-x\",\"labels\":{\"kubernetes.io/service-name\":\"s0\"}},"
             "\"addressType\":\"IPv4\",\"ports\":[{\"port\":80}],\"endpoints\":["
             "{\"addresses\":[\"10.244.0.2\"],\"nodeName\":\"one\",\"conditions\":{\"ready\":%s}},"
             "{\"addresses\":[\"10.244.1.2\"],\"nodeName\":\"two\",\"conditions\":{\"ready\":%s}},"
             "{\"addresses\":[\"10.244.9.2\"],\"conditions\":{\"ready\":true}}]}",
             one ? "true" : "false", two ? "true" : "false");
    if (get(l->w, "endpointslices/default/s0-x")->code == 404)
        assert_code(create(l->w, "endpointslices/default", json), 201);
    else
        assert_code(patch(l->w, "endpointslices/default/s0-x", json), 200);
    settle(l->w);
}

static void each_address_has_one_ready_node_and_moves_when_that_goes(void **state)
{
    struct link_of_nodes l;
    link_begin(&l);
    for (unsigned i = 0; i < ADDRESSES; i++)
        add_balancer(&l, i, "Cluster");
    unsigned all = (1u << ADDRESSES) - 1, one = l.told[0].addresses, two = l.told[1].addresses;
    assert_int_equal(one | two, all);
    assert_int_equal(one & two, 0);
    assert_true(one && two); /* both have some */
    set_ready(&l, "two", false);
    assert_int_equal(l.told[0].addresses, all);
    assert_int_equal(l.told[1].addresses, 0);
    set_ready(&l, "two", true); /* back: as before, and nobody else's has moved */
    assert_int_equal(l.told[0].addresses, one);
    assert_int_equal(l.told[1].addresses, two);
    set_ready(&l, "one", false);
    set_ready(&l, "two", false);
    assert_int_equal(l.told[0].addresses | l.told[1].addresses, 0);
    set_ready(&l, "one", true);
    assert_code(delete_(l.w, "nodes/two", NULL), 200);
    settle(l.w);
    assert_int_equal(l.told[0].addresses, all);
    link_end(&l);
}

static void with_policy_local_only_nodes_with_ready_endpoints_answer(void **state)
{
    struct link_of_nodes l;
    link_begin(&l);
    add_balancer(&l, 0, "Local");
    assert_int_equal(l.told[0].addresses | l.told[1].addresses, 0);
    set_endpoints(&l, true, false);
    assert_int_equal(l.told[0].addresses, 1);
    assert_int_equal(l.told[1].addresses, 0);
    set_endpoints(&l, false, true);
    assert_int_equal(l.told[0].addresses, 0);
    assert_int_equal(l.told[1].addresses, 1);
    /* Both have one, and one of them answers; it is taken over when that node goes. */
    set_endpoints(&l, true, true);
    assert_int_equal(l.told[0].addresses + l.told[1].addresses, 1);
    set_ready(&l, l.told[0].addresses ? "one" : "two", false);
    assert_int_equal(l.told[0].addresses + l.told[1].addresses, 1);
    set_ready(&l, "one", false);
    set_ready(&l, "two", false);
    assert_int_equal(l.told[0].addresses + l.told[1].addresses, 0);
    set_ready(&l, "two", true);
    assert_int_equal(l.told[1].addresses, 1);
    assert_code(delete_(l.w, "services/default/s0", NULL), 200);
    settle(l.w);
    assert_int_equal(l.told[1].addresses, 0);
    link_end(&l);
}

static void what_concerns_no_address_tells_nothing(void **state)
{
    struct link_of_nodes l;
    link_begin(&l);
    add_balancer(&l, 0, "Cluster");
    add_balancer(&l, 1, "Local");
    unsigned calls = l.told[0].calls + l.told[1].calls;
    set_endpoints(&l, true, true); /* of one whose policy is not Local */
    assert_code(patch(l.w, "services/default/s0", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
    assert_code(patch(l.w, "nodes/one", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
    assert_code(create(l.w, "services/default", "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"ports\":[{\"port\":1}]}}"),
                201);
    settle(l.w);
    assert_int_equal(l.told[0].calls + l.told[1].calls, calls);
    link_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_has_one_ready_node_and_moves_when_that_goes),
        cmocka_unit_test(with_policy_local_only_nodes_with_ready_endpoints_answer),
        cmocka_unit_test(what_concerns_no_address_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
