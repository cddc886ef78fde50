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

static void a_service_leads_to_a_ready_address_of_the_port(void **state)
{
    (void)state;
    struct arena *arena = arena_new(0);
    struct service_port service_port = {.name = (char *)"http", .port = 80};
    struct service service = {.spec.ports = {&service_port, 1}};
    struct endpoint_address addresses[] = {{.ip = (char *)"10.0.0.1"}, {.ip = (char *)"10.0.0.2"}};
    struct endpoint_port port = {.name = (char *)"http", .port = 8080};
    struct endpoint_subset subset = {.addresses = {addresses, 2}, .ports = {&port, 1}};
    struct endpoints endpoints = {.subsets = {&subset, 1}}, none = {0};
    struct proxy_name name = {.scheme = "", .name = "s", .port = "80"};
    struct proxy_target target;
    bool seen[2] = {false};
    for (uint64_t random = 0; random < 50; random++) {
        assert_null(proxy_target_service(arena, &service, &endpoints, &name, random, &target));
        assert_int_equal(target.port, 8080);
        seen[strcmp(target.address, "10.0.0.2") == 0] = true;
    }
    assert_true(seen[0] && seen[1]);
    assert_string_equal(proxy_target_service(arena, &service, &none, &name, 1, &target)->message,
                        "no endpoints available for service \"s\"");
    name.port = "81";
    assert_string_equal(proxy_target_service(arena, &service, &endpoints, &name, 1, &target)->message,
                        "no service port 81 found for service \"s\"");
    name.port = "";
    assert_string_equal(proxy_target_service(arena, &service, &endpoints, &name, 1, &target)->message,
                        "no endpoints available for service \"s\"");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_as_upstream_reads_them),
        cmocka_unit_test(paths_are_cut_behind_the_proxy),
        cmocka_unit_test(a_service_leads_to_a_ready_address_of_the_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
