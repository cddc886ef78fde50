/* The promises of load balancers: an address, or a port of a node's, is one Service's, goes to who waits for it, and is
 * not lost by a wish that cannot be met. */
#include "stage.h"

#include <stdio.h>

#include "base/address_range.h"
#include "base/cleanup.h"

#define FAILED "SyncLoadBalancerFailed"

static void create_balancer(struct stage *s, const char *name, const char *ports, const char *more)
{
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"type\":\"LoadBalancer\",\"ports\":"
                   "[%s]%s}}",
                   name, ports, more);
    assert_int_equal(stage_create(s, "services/default", json), 201);
    stage_run(s, SECOND);
}

#define PORT(number) "{\"name\":\"p" #number "\",\"port\":" #number "}"

static void change(struct stage *s, const char *path, const char *spec)
{
    cleanup_free char *json = mem_printf("{\"spec\":{%s}}", spec);
    assert_int_equal(stage_patch(s, path, json), 200);
    stage_run(s, SECOND);
}

static void assert_address(struct stage *s, const char *path, const char *wanted)
{
    assert_stage(s, path, "status/loadBalancer/ingress/0/ip", wanted);
}

/* A cluster without a pool, and with one node. */
static struct stage *on_a_node(void)
{
    struct stage *s = stage_new();
    stage_create(s, "nodes", "{\"metadata\":{\"name\":\"n\"}}");
    stage_patch(s, "nodes/n/status",
                "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"192.0.2.7\"}]}}");
    stage_run(s, SECOND);
    return s;
}

static void without_a_pool_each_port_of_a_node_is_one_services(void **state)
{
    struct stage *s = on_a_node();
    create_balancer(s, "a", PORT(80) "," PORT(81), "");
    assert_address(s, "services/default/a", "192.0.2.7");
    create_balancer(s, "b", PORT(81), "");
    assert_address(s, "services/default/b", NULL);
    assert_string_equal(stage_event(s, "Service", FAILED),
                        "Error syncing load balancer: failed to ensure load balancer: "
                        "a port of the service is another's on node n");
    create_balancer(s, "c", PORT(82), "");
    assert_address(s, "services/default/c", "192.0.2.7");
    stage_free(s);
}

static void a_port_that_is_given_back_goes_to_who_waits_for_it(void **state)
{
    struct stage *s = on_a_node();
    create_balancer(s, "a", PORT(80) "," PORT(81), "");
    create_balancer(s, "b", PORT(81), "");
    assert_address(s, "services/default/b", NULL);
    change(s, "services/default/a", "\"ports\":[" PORT(80) ",{\"port\":81,\"$patch\":\"delete\"}]");
    assert_address(s, "services/default/a", "192.0.2.7");
    assert_address(s, "services/default/b", "192.0.2.7");
    stage_free(s);
}

static void a_service_that_asks_for_a_taken_port_keeps_those_that_it_has(void **state)
{
    struct stage *s = on_a_node();
    create_balancer(s, "a", PORT(80), "");
    create_balancer(s, "b", PORT(81), "");
    change(s, "services/default/a", "\"ports\":[" PORT(80) "," PORT(81) "]");
    assert_address(s, "services/default/a", "192.0.2.7");
    assert_address(s, "services/default/b", "192.0.2.7");
    assert_stage(s, "services/default/a", "status/loadBalancer/ingress/0/ports/0/error", NULL);
    assert_stage(s, "services/default/a", "status/loadBalancer/ingress/0/ports/1/error", "coracle.dev/PortInUse");
    assert_stage(s, "services/default/b", "status/loadBalancer/ingress/0/ports", NULL);
    assert_non_null(stage_event(s, "Service", FAILED));
    /* What it has is still its own, also after a restart. */
    sim_cluster_crash(s->cluster);
    sim_cluster_restart(s->cluster);
    stage_run(s, SECOND);
    create_balancer(s, "c", PORT(80), "");
    assert_address(s, "services/default/c", NULL);
    assert_stage(s, "services/default/a", "status/loadBalancer/ingress/0/ports/1/error", "coracle.dev/PortInUse");
    assert_address(s, "services/default/b", "192.0.2.7");
    /* It gets the rest when that is free. */
    assert_int_equal(stage_delete(s, "services/default/b", NULL), 200);
    stage_run(s, SECOND);
    assert_address(s, "services/default/a", "192.0.2.7");
    assert_stage(s, "services/default/a", "status/loadBalancer/ingress/0/ports", NULL);
    stage_free(s);
}

static struct stage *with_pool(struct address_ranges *pool, const char *text)
{
    assert_int_equal(address_ranges_parse(text, pool, NULL), 0);
    return stage_new_with(&(struct sim_cluster_options){.seed = 1, .balancer_pool = pool});
}

static void a_wish_that_cannot_be_met_costs_no_address(void **state)
{
    struct address_ranges pool;
    struct stage *s = with_pool(&pool, "192.0.2.1-192.0.2.2,2001:db8::1");
    create_balancer(s, "a", PORT(80), "");
    create_balancer(s, "b", PORT(80), ",\"ipFamilyPolicy\":\"PreferDualStack\"");
    assert_address(s, "services/default/a", "192.0.2.1");
    assert_address(s, "services/default/b", "192.0.2.2");
    assert_stage(s, "services/default/b", "status/loadBalancer/ingress/1/ip", "2001:db8::1");
    change(s, "services/default/a", "\"loadBalancerIP\":\"192.0.2.2\"");
    assert_address(s, "services/default/a", "192.0.2.1");
    assert_string_equal(stage_event(s, "Service", FAILED),
                        "Error syncing load balancer: failed to ensure load balancer: "
                        "the requested address 192.0.2.2 is in use");
    change(s, "services/default/a", "\"loadBalancerIP\":\"192.0.2.9\"");
    assert_address(s, "services/default/a", "192.0.2.1");
    assert_string_equal(stage_event(s, "Service", FAILED),
                        "Error syncing load balancer: failed to ensure load balancer: "
                        "the requested address 192.0.2.9 is not in the pool");
    /* A second family of which nothing is left. */
    change(s, "services/default/a", "\"loadBalancerIP\":null,\"ipFamilyPolicy\":\"PreferDualStack\"");
    assert_address(s, "services/default/a", "192.0.2.1");
    assert_stage(s, "services/default/a", "status/loadBalancer/ingress/1/ip", NULL);
    /* A new Service has all or nothing. */
    change(s, "services/default/b", "\"loadBalancerIP\":\"2001:db8::1\"");
    create_balancer(s, "c", PORT(80), "");
    assert_address(s, "services/default/c", NULL);
    /* What is given back goes to those who wait, though they have something. */
    assert_int_equal(stage_delete(s, "services/default/b", NULL), 200);
    stage_run(s, SECOND);
    assert_stage(s, "services/default/a", "status/loadBalancer/ingress/1/ip", "2001:db8::1");
    assert_address(s, "services/default/c", "192.0.2.2");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_pool_each_port_of_a_node_is_one_services),
        cmocka_unit_test(a_port_that_is_given_back_goes_to_who_waits_for_it),
        cmocka_unit_test(a_service_that_asks_for_a_taken_port_keeps_those_that_it_has),
        cmocka_unit_test(a_wish_that_cannot_be_met_costs_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
