/* The promises of the proxy: which backend a name means, what of a path is the backend's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/proxy_target.h"

static void names_are_read_as_upstream_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *name, *port; /* name NULL: refused */
    } cases[] = {
        {"web", "", "web", ""},
        {"web:80", "", "web", "80"},
        {"web:http", "", "web", "http"},
        {"https:web:", "https", "web", ""},
        {"http:web:80", "http", "web", "80"},
        {":web:80", "", "web", "80"},
        {"web:", "", "web", ""},
        {"", .name = NULL},
        {"a:b:c:d", .name = NULL},
        {"ftp:web:1", .name = NULL},
        {"web:0", .name = NULL},
        {"web:65536", .name = NULL},
        {"WEB", .name = NULL},
        {"web:a_b", .name = NULL},
        {"../x:80", .name = NULL},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct proxy_name name;
        bool good = proxy_name_parse(arena, cases[i].text, &name);
        if (good != (cases[i].name != NULL))
            fail_msg("\"%s\" was %s", cases[i].text, good ? "taken" : "refused");
        if (!good)
            continue;
        assert_string_equal(name.scheme, cases[i].scheme);
        assert_string_equal(name.name, cases[i].name);
        assert_string_equal(name.port, cases[i].port);
    }
    arena_free(arena);
}

static void paths_are_cut_behind_the_proxy(void **state)
{
    (void)state;
    size_t size;
    assert_string_equal(proxy_path("/api/v1/namespaces/n/services/s/proxy/a%2Fb/", true, &size), "/a%2Fb/");
    assert_int_equal(size, strlen("/api/v1/namespaces/n/services/s/proxy"));
    assert_string_equal(proxy_path("/api/v1/namespaces/n/pods/p/proxy", true, &size), "");
    assert_string_equal(proxy_path("/api", true, &size), "");
}

static struct object_reference reference(const char *namespace, const char *name)
{
    return (struct object_reference){.namespace = namespace, .name = name};
}

static void a_service_leads_to_a_ready_address_of_the_port(void **state)
{
    (void)state;
    struct arena *arena = arena_new(0);
    struct service_port service_port = {.name = (char *)"http", .port = 80};
    struct service service = {.spec.ports = {&service_port, 1}};
    struct object_reference pods[] = {reference("n", "a"), reference("n", "b")};
    struct endpoint_address addresses[] = {{.ip = "10.0.0.1", .target_ref = &pods[0]},
                                           {.ip = "10.0.0.2", .target_ref = &pods[1]}};
    struct endpoint_port port = {.name = (char *)"http", .port = 8080};
    struct endpoint_subset subset = {.addresses = {addresses, 2}, .ports = {&port, 1}};
    struct endpoints endpoints = {.metadata.namespace = "n", .subsets = {&subset, 1}}, none = {0};
    struct proxy_name name = {.scheme = "", .name = "s", .port = "80"};
    struct proxy_target target;
    bool seen[2] = {false};
    for (uint64_t random = 0; random < 50; random++) {
        assert_null(proxy_target_service(arena, &service, &endpoints, "s:80", &name, random, 0, &target));
        assert_int_equal(target.port, 8080);
        assert_string_equal(target.pod, strcmp(target.address, "10.0.0.2") == 0 ? "b" : "a");
        seen[strcmp(target.address, "10.0.0.2") == 0] = true;
    }
    assert_true(seen[0] && seen[1]);
    assert_string_equal(proxy_target_service(arena, &service, &none, "s:80", &name, 1, 0, &target)->message,
                        "no endpoints available for service \"s\"");
    name.port = "81";
    assert_string_equal(proxy_target_service(arena, &service, &endpoints, "s:81", &name, 1, 0, &target)->message,
                        "no service port 81 found for service \"s\"");
    name.port = "other";
    assert_string_equal(proxy_target_service(arena, &service, &endpoints, "s:other", &name, 1, 0, &target)->message,
                        "no endpoints available for service \"s:other\"");
    arena_free(arena);
}

static void a_service_leads_to_addresses_of_its_own_pods_alone(void **state)
{
    (void)state;
    struct arena *arena = arena_new(0);
    struct object_reference pods[] = {reference("other", "a"), reference("n", "b"), reference("n", "c")};
    struct endpoint_address addresses[] = {{.ip = "10.0.0.1"},
                                           {.ip = "10.0.0.2", .target_ref = &pods[0]},
                                           {.ip = "10.0.0.3", .target_ref = &pods[1]},
                                           {.ip = "10.0.0.4", .target_ref = &pods[2]}};
    struct endpoint_port port = {.port = 8080};
    struct endpoint_subset subset = {.addresses = {addresses, 4}, .ports = {&port, 1}};
    struct endpoints endpoints = {.metadata.namespace = "n", .subsets = {&subset, 1}};
    struct service service = {0};
    struct proxy_name name = {.scheme = "", .name = "s", .port = ""};
    for (uint64_t random = 0; random < 50; random++) {
        struct proxy_target first, second, third;
        assert_null(proxy_target_service(arena, &service, &endpoints, "s", &name, random, 0, &first));
        assert_null(proxy_target_service(arena, &service, &endpoints, "s", &name, random, 1, &second));
        assert_true(strcmp(first.pod, "b") == 0 || strcmp(first.pod, "c") == 0);
        assert_string_equal(second.pod, strcmp(first.pod, "b") == 0 ? "c" : "b");
        assert_string_equal(proxy_target_service(arena, &service, &endpoints, "s", &name, random, 2, &third)->message,
                            "no endpoints available for service \"s\"");
    }
    struct pod_ip ips[] = {{.ip = "fd00::1"}, {.ip = "10.0.0.3"}};
    struct pod pod = {.status.pod_ips = {ips, 2}};
    assert_true(proxy_target_is_pods(&(struct proxy_target){.address = "10.0.0.3"}, &pod));
    assert_false(proxy_target_is_pods(&(struct proxy_target){.address = "10.0.0.4"}, &pod));
    arena_free(arena);
}

static void a_pod_is_reached_at_a_port_that_it_names(void **state)
{
    (void)state;
    struct arena *arena = arena_new(0);
    struct container_port port = {.container_port = 8080};
    struct container containers[] = {{.name = "a"}, {.name = "b", .ports = {&port, 1}}};
    struct pod pod = {.status.pod_ip = "10.0.0.1", .spec.containers = {containers, 2}};
    static const struct {
        const char *scheme, *port;
        size_t containers;
        int expected;
        bool no_port;
    } cases[] = {
        {"", "80", 2, 80, false}, {"https", "", 2, 8080, false}, {"", "", 1, 80, true}, {"https", "", 1, 443, true}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct proxy_name name = {.scheme = cases[i].scheme, .name = "p", .port = cases[i].port};
        struct proxy_target target;
        pod.spec.containers.count = cases[i].containers;
        assert_null(proxy_target_pod(arena, &pod, &name, &target));
        assert_int_equal(target.port, cases[i].expected);
        assert_int_equal(target.no_port, cases[i].no_port);
    }
    arena_free(arena);
}

static void nobody_is_led_to_the_server_itself(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.1", "192.168.0.255", "255.255.255.254", "fd00::1", "2001:db8::1"};
    static const char *const bad[] = {"",          "127.0.0.1", "127.1.2.3",       "0.0.0.0", "169.254.169.254",
                                      "224.0.0.1", "239.1.1.1", "255.255.255.255", "::",      "::1",
                                      "fe80::1",   "ff02::1",   "localhost"};
    struct arena *arena = arena_new(0);
    struct proxy_name name = {.scheme = "", .name = "p", .port = "80"};
    struct proxy_target target;
    assert_false(proxy_target_is_proxyable(NULL));
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        assert_null(proxy_target_pod(arena, &(struct pod){.status.pod_ip = good[i]}, &name, &target));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct status *status = proxy_target_pod(arena, &(struct pod){.status.pod_ip = bad[i]}, &name, &target);
        if (!status)
            fail_msg("%s", bad[i]);
        assert_string_equal(status->message, "address not allowed");
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_as_upstream_reads_them),
        cmocka_unit_test(paths_are_cut_behind_the_proxy),
        cmocka_unit_test(a_service_leads_to_a_ready_address_of_the_port),
        cmocka_unit_test(a_service_leads_to_addresses_of_its_own_pods_alone),
        cmocka_unit_test(a_pod_is_reached_at_a_port_that_it_names),
        cmocka_unit_test(nobody_is_led_to_the_server_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
