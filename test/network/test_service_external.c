/* The promises of addresses from outside: a load balancer is open to its source ranges alone, whatever they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "network/service_external.h"

static const struct service_port port = {.port = 80, .protocol = "TCP"};

/* A balancer of both families, with what limits it. */
struct stand {
    struct arena *arena;
    struct load_balancer_ingress ingress[2];
    struct service service;
    struct service_external external;
    struct dataplane_service out;
};

static void set_up(struct stand *s, int family, const char *const *ranges, size_t count, const char *annotation)
{
    *s = (struct stand){.arena = arena_new(0), .out.family = family};
    s->ingress[0] = (struct load_balancer_ingress){.ip = "192.0.2.9", .ip_mode = "VIP"};
    s->ingress[1] = (struct load_balancer_ingress){.ip = "2001:db8::9", .ip_mode = "VIP"};
    s->service.spec.type = "LoadBalancer";
    s->service.spec.load_balancer_source_ranges = (struct string_array){(const char **)ranges, count};
    s->service.status.load_balancer.ingress = (struct load_balancer_ingress_array){s->ingress, 2};
    if (annotation)
        string_map_set(s->arena, &s->service.metadata.annotations,
                       "service.beta.kubernetes.io/load-balancer-source-ranges", annotation);
    service_external_add(&s->service, &port, &s->external, &s->out);
    assert_int_equal(s->out.balancer_address_count, 1);
}

static void assert_open_to(int family, const char *const *ranges, size_t count, const char *annotation, bool limited,
                           size_t wanted)
{
    struct stand s;
    set_up(&s, family, ranges, count, annotation);
    assert_int_equal(s.out.source_limited, limited);
    assert_int_equal(s.out.source_range_count, wanted);
    arena_free(s.arena);
}

static void a_range_of_ipv4_within_ipv6_is_one_of_ipv4(void **state)
{
    static const char *const ranges[] = {"::ffff:10.1.2.3/104"}, *const wider[] = {"::ffff:10.0.0.0/8"};
    struct stand s;
    set_up(&s, AF_INET, ranges, 1, NULL);
    assert_int_equal(s.out.source_range_count, 1);
    assert_int_equal(s.external.ranges[0].length, 8);
    assert_int_equal(ntohl(s.external.ranges[0].address.v4.s_addr), 0x0a000000);
    arena_free(s.arena);
    assert_open_to(AF_INET6, ranges, 1, NULL, true, 0);
    /* Its length counts from the front of IPv6: this is ::/8. */
    assert_open_to(AF_INET, wider, 1, NULL, true, 0);
    assert_open_to(AF_INET6, wider, 1, NULL, true, 1);
}

static void a_balancer_is_open_to_its_source_ranges_alone(void **state)
{
    static const char *const ranges[] = {" 10.0.0.0/8 ", "10.1.0.0/16"}, *const wrong[] = {"10.0.0.0/99"};
    assert_open_to(AF_INET, NULL, 0, NULL, false, 0);
    assert_open_to(AF_INET, NULL, 0, " ", false, 0);
    assert_open_to(AF_INET, ranges, 2, NULL, true, 2);
    assert_open_to(AF_INET, NULL, 0, "10.0.0.0/8, 192.0.2.0/24,2001:db8::/32", true, 2);
    assert_open_to(AF_INET6, NULL, 0, "10.0.0.0/8, 192.0.2.0/24,2001:db8::/32", true, 1);
    /* The field comes first. */
    assert_open_to(AF_INET, ranges, 2, "192.0.2.0/24", true, 2);
    /* What cannot be read, or is of the other family, opens nothing. */
    assert_open_to(AF_INET, wrong, 1, NULL, true, 0);
    assert_open_to(AF_INET, NULL, 0, "10.0.0.0", true, 0);
    assert_open_to(AF_INET6, ranges, 2, NULL, true, 0);
}

static void a_port_that_is_anothers_is_not_served(void **state)
{
    struct stand s;
    struct port_status states[] = {{.port = 80, .protocol = "TCP", .error = "coracle.dev/PortInUse"},
                                   {.port = 81, .protocol = "TCP"}};
    struct service_port other = {.port = 81, .protocol = "TCP"};
    set_up(&s, AF_INET, NULL, 0, NULL);
    s.ingress[0].ports = (struct port_status_array){states, 2};
    s.out = (struct dataplane_service){.family = AF_INET};
    service_external_add(&s.service, &port, &s.external, &s.out);
    assert_int_equal(s.out.balancer_address_count, 0);
    service_external_add(&s.service, &other, &s.external, &s.out);
    assert_int_equal(s.out.balancer_address_count, 1);
    arena_free(s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_balancer_is_open_to_its_source_ranges_alone),
        cmocka_unit_test(a_range_of_ipv4_within_ipv6_is_one_of_ipv4),
        cmocka_unit_test(a_port_that_is_anothers_is_not_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
