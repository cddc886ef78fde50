/* Which endpoints traffic from a node prefers, by their hints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "network/topology.h"

static struct for_zone east = {.name = "east"}, west = {.name = "west"};
static struct for_node here = {.name = "here"}, there = {.name = "there"};
static const struct endpoint_hints of_east = {.for_zones = {&east, 1}}, of_west = {.for_zones = {&west, 1}};
static const struct endpoint_hints of_here = {.for_zones = {&east, 1}, .for_nodes = {&here, 1}};
static const struct endpoint_hints of_there = {.for_zones = {&east, 1}, .for_nodes = {&there, 1}};

/* Three endpoints seen from node here in zone east: which are distant, one bit each, the first the highest. */
static unsigned distant(const struct endpoint_hints *a, const struct endpoint_hints *b, const struct endpoint_hints *c,
                        bool all_ready)
{
    struct dataplane_endpoint e[3] = {{.ready = true}, {.ready = all_ready}, {.ready = true}};
    const struct endpoint_hints *hints[] = {a, b, c};
    topology_choose(e, hints, 3, "here", "east");
    return (unsigned)(e[0].distant << 2 | e[1].distant << 1 | e[2].distant);
}

static void hints_are_followed_when_all_ready_endpoints_have_them(void **state)
{
    assert_int_equal(distant(&of_east, &of_west, &of_east, true), 2);
    assert_int_equal(distant(&of_east, NULL, &of_west, true), 0);
    assert_int_equal(distant(&of_east, NULL, &of_west, false), 1);
}

static void a_zone_without_endpoints_uses_all(void **state)
{
    assert_int_equal(distant(&of_west, &of_west, &of_west, true), 0);
}

static void the_node_comes_before_its_zone(void **state)
{
    assert_int_equal(distant(&of_here, &of_there, &of_there, true), 3);
    assert_int_equal(distant(&of_there, &of_there, &of_there, true), 0);
    assert_int_equal(distant(&of_here, &of_there, &of_west, true), 1); /* not all have hints for nodes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hints_are_followed_when_all_ready_endpoints_have_them),
        cmocka_unit_test(a_zone_without_endpoints_uses_all),
        cmocka_unit_test(the_node_comes_before_its_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
