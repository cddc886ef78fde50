/* What a pod finds in /etc/hosts and /etc/resolv.conf, as upstream's kubelet writes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/json.h"
#include "api/object.h"
#include "base/arena.h"
#include "node/pod_files.h"

static struct pod_files_options options = {
    .cluster_domain = "cluster.local",
    .cluster_dns = "10.96.0.10",
    .node_resolver = "# made by hand\nsearch first.example\nnameserver 192.0.2.53\nnameserver\t192.0.2.54\n"
                     "search lab.example  example.com\noptions timeout:1 edns0\n",
    .node_hosts = "127.0.0.1\tlocalhost node\n",
};

static struct arena *arena;

static int set_up(void **state)
{
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    arena_free(arena);
    return 0;
}

static const struct pod *pod_of(const char *spec)
{
    struct pod *pod = arena_alloc(arena, sizeof(*pod));
    const char *json = arena_printf(
        arena,
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ml\"},\"spec\":%s}",
        spec);
    assert_int_equal(json_decode(api_resources[API_PODS].type, arena, json, strlen(json), pod, NULL, NULL), 0);
    return pod;
}

static const char *resolver(const char *spec)
{
    static char text[8192];
    struct buffer out = {0};
    struct resolver_omissions omitted = {0};
    pod_resolver(&out, pod_of(spec), &options, &omitted);
    assert_null(omitted.servers);
    assert_null(omitted.searches);
    snprintf(text, sizeof(text), "%s", out.data ? out.data : "");
    buffer_free(&out);
    return text;
}

static const char *hosts(const char *spec)
{
    static char text[8192];
    struct buffer out = {0};
    pod_hosts(&out, pod_of(spec), "p", "10.244.0.7", &options);
    snprintf(text, sizeof(text), "%s", out.data);
    buffer_free(&out);
    return text;
}

#define CLUSTER                                                                                                        \
    "search ml.svc.cluster.local svc.cluster.local cluster.local lab.example example.com\nnameserver 10.96.0.10\n"     \
    "options ndots:5\n"
#define NODE "search lab.example example.com\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions timeout:1 edns0\n"

static void the_policy_says_who_is_asked(void **state)
{
    assert_string_equal(resolver("{\"dnsPolicy\":\"ClusterFirst\"}"), CLUSTER);
    assert_string_equal(resolver("{\"dnsPolicy\":\"ClusterFirst\",\"hostNetwork\":true}"), NODE);
    assert_string_equal(resolver("{\"dnsPolicy\":\"ClusterFirstWithHostNet\",\"hostNetwork\":true}"), CLUSTER);
    assert_string_equal(resolver("{\"dnsPolicy\":\"Default\"}"), NODE);
    assert_string_equal(resolver("{\"dnsPolicy\":\"None\"}"), "");
}

static void the_pods_own_settings_are_merged(void **state)
{
    assert_string_equal(
        resolver("{\"dnsPolicy\":\"ClusterFirst\",\"dnsConfig\":{\"nameservers\":[\"192.0.2.1\",\"10.96.0.10\"],"
                 "\"searches\":[\"mine.example\",\"cluster.local\"],\"options\":[{\"name\":\"ndots\","
                 "\"value\":\"2\"},{\"name\":\"edns0\"}]}}"),
        "search ml.svc.cluster.local svc.cluster.local cluster.local lab.example example.com "
        "mine.example\nnameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:2 edns0\n");
    assert_string_equal(resolver("{\"dnsPolicy\":\"None\",\"dnsConfig\":{\"nameservers\":[\"192.0.2.1\"]}}"),
                        "nameserver 192.0.2.1\n");
}

static void what_resolvers_do_not_take_is_left_out_and_told(void **state)
{
    struct buffer out = {0}, spec = {0};
    struct resolver_omissions omitted = {0};
    buffer_add_string(&spec, "{\"dnsPolicy\":\"ClusterFirst\",\"dnsConfig\":{\"nameservers\":[\"192.0.2.1\","
                             "\"192.0.2.2\",\"192.0.2.3\"],\"searches\":[");
    for (int i = 0; i < 30; i++)
        buffer_printf(&spec, "%s\"d%d.example\"", i ? "," : "", i);
    buffer_add_string(&spec, "]}}");
    pod_resolver(&out, pod_of(spec.data), &options, &omitted);
    assert_non_null(strstr(out.data, "nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions"));
    assert_string_equal(omitted.servers, "Nameserver limits were exceeded, some nameservers have been omitted, the "
                                         "applied nameserver line is: 10.96.0.10 192.0.2.1 192.0.2.2");
    static const char sentence[] = "Search Line limits were exceeded, some search paths have been omitted, the applied "
                                   "search line is: ml.svc.cluster.local svc.cluster.local ";
    assert_memory_equal(omitted.searches, sentence, strlen(sentence));
    assert_string_equal(omitted.searches + strlen(omitted.searches) - strlen(" d26.example"), " d26.example");
    free(omitted.servers);
    free(omitted.searches);
    buffer_free(&out);
    buffer_free(&spec);
}

static void a_pod_knows_itself_and_its_aliases(void **state)
{
    assert_non_null(strstr(hosts("{}"), "\n10.244.0.7\tp\n"));
    assert_non_null(strstr(hosts("{\"subdomain\":\"workers\"}"), "\n10.244.0.7\tp.workers.ml.svc.cluster.local\tp\n"));
    assert_non_null(strstr(hosts("{\"hostAliases\":[{\"ip\":\"192.0.2.9\",\"hostnames\":[\"a\",\"b\"]}]}"),
                           "\n# Entries added by HostAliases.\n192.0.2.9\ta\tb\n"));
    assert_string_equal(hosts("{\"hostNetwork\":true}"),
                        "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost node\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_policy_says_who_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_pods_own_settings_are_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_resolvers_do_not_take_is_left_out_and_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pod_knows_itself_and_its_aliases, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("pod files", tests, NULL, NULL);
}
