/* The promises about services: addresses and node ports are given once, kept, and given back. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define SERVICE(name, spec) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"ports\":[{\"port\":80}]" spec "}}"

static char kept[64];

static const char *keep(const char *text)
{
    snprintf(kept, sizeof(kept), "%s", text);
    return kept;
}

static void the_cluster_has_its_own_service(void **state)
{
    struct world *w = world_new();
    struct reply *r = get(w, "services/default/kubernetes");
    assert_code(r, 200);
    assert_field(r, "spec/clusterIP", "10.96.0.1");
    assert_field(r, "spec/clusterIPs", "[\"10.96.0.1\"]");
    assert_field(r, "spec/ports/0/targetPort", "6443");
    assert_field(r, "metadata/labels", "{\"component\":\"apiserver\",\"provider\":\"kubernetes\"}");
    r = get(w, "endpoints/default/kubernetes");
    assert_field(r, "subsets/0/addresses/0/ip", "192.0.2.1");
    r = get(w, "endpointslices/default/kubernetes");
    assert_field(r, "endpoints/0/addresses", "[\"192.0.2.1\"]");
    assert_field(r, "ports/0/port", "6443");
    world_free(w);
}

static void an_address_is_allocated_and_kept(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default", SERVICE("a", ""));
    assert_code(r, 201);
    const char *ip = keep(field(r, "spec/clusterIP"));
    assert_memory_equal(ip, "10.96.", 6);
    assert_field(r, "spec/type", "ClusterIP");
    assert_field(r, "spec/ports/0/nodePort", NULL);
    r = update(w, "services/default/a", SERVICE("a", ",\"selector\":{\"x\":\"y\"}"));
    assert_code(r, 200);
    assert_field(r, "spec/clusterIP", ip);
    r = patch(w, "services/default/a", "{\"spec\":{\"clusterIP\":\"10.96.3.3\",\"clusterIPs\":[\"10.96.3.3\"]}}");
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "may not change once set"));
    world_free(w);
}

static void an_address_is_given_once_and_given_back(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "services/default", SERVICE("a", ",\"clusterIP\":\"10.96.1.2\"")), 201);
    struct reply *r = create(w, "services/kube-system", SERVICE("b", ",\"clusterIP\":\"10.96.1.2\""));
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "failed to allocate IP 10.96.1.2: provided IP is already allocated"));
    assert_non_null(strstr(r->text, "Service \"b\" is invalid: spec.clusterIPs: Invalid value: "));
    r = create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"10.97.1.2\""));
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "failed to allocate IP 10.97.1.2: the provided network does not match the current "
                                    "range"));
    r = create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"10.96.0.0\""));
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "the provided IP (10.96.0.0) is not in the valid range. The range of valid IPs is "
                                    "10.96.0.0/16"));
    assert_code(delete_(w, "services/default/a", NULL), 200);
    assert_code(create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"10.96.1.2\"")), 201);
    world_free(w);
}

static void headless_and_external_services_have_no_address(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default", SERVICE("a", ",\"clusterIP\":\"None\""));
    assert_code(r, 201);
    assert_field(r, "spec/clusterIP", "None");
    assert_field(r, "spec/clusterIPs", "[\"None\"]");
    assert_code(create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"None\"")), 201);
    r = create(w, "services/default",
               "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"example.com\"}}");
    assert_code(r, 201);
    assert_field(r, "spec/clusterIP", NULL);
    /* One that becomes external gives its address back. */
    assert_code(create(w, "services/default", SERVICE("d", ",\"clusterIP\":\"10.96.1.2\"")), 201);
    r = patch(w, "services/default/d",
              "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"example.com\",\"clusterIP\":null,"
              "\"clusterIPs\":null}}");
    assert_code(r, 200);
    assert_field(r, "spec/clusterIP", NULL);
    assert_code(create(w, "services/default", SERVICE("e", ",\"clusterIP\":\"10.96.1.2\"")), 201);
    world_free(w);
}

static void node_ports_are_given_once_and_given_back(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default", SERVICE("a", ",\"type\":\"NodePort\""));
    assert_code(r, 201);
    int port = atoi(field(r, "spec/ports/0/nodePort"));
    assert_in_range(port, 30086, 32767);
    r = update(w, "services/default/a", SERVICE("a", ",\"type\":\"NodePort\""));
    assert_int_equal(atoi(field(r, "spec/ports/0/nodePort")), port);

    char json[200];
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":%d}]}}",
        port);
    r = create(w, "services/default", json);
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "provided port is already allocated"));
    assert_non_null(strstr(r->text, "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: "));
    r = create(
        w, "services/default",
        "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":80}]}}");
    assert_code(r, 422);
    assert_non_null(
        strstr(r->text, "provided port is not in the valid range. The range of valid ports is 30000-32767"));

    r = patch(w, "services/default/a", "{\"spec\":{\"type\":\"ClusterIP\"}}");
    assert_code(r, 200);
    assert_field(r, "spec/ports/0/nodePort", NULL);
    assert_code(create(w, "services/default", json), 201);
    world_free(w);
}

static void a_port_for_two_protocols_has_one_number(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default",
                             "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"NodePort\",\"ports\":["
                             "{\"name\":\"t\",\"port\":53,\"protocol\":\"TCP\"},"
                             "{\"name\":\"u\",\"port\":53,\"protocol\":\"UDP\"}]}}");
    assert_code(r, 201);
    const char *port = keep(field(r, "spec/ports/0/nodePort"));
    assert_field(r, "spec/ports/1/nodePort", port);
    world_free(w);
}

static void a_local_load_balancer_has_a_port_for_its_health(void **state)
{
    struct world *w = world_new();
    struct reply *r =
        create(w, "services/default", SERVICE("a", ",\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\""));
    assert_code(r, 201);
    int health = atoi(field(r, "spec/healthCheckNodePort"));
    assert_in_range(health, 30000, 32767);
    assert_int_not_equal(health, atoi(field(r, "spec/ports/0/nodePort")));
    char json[200];
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":%d}]}}",
        health);
    assert_code(create(w, "services/default", json), 422);
    r = patch(w, "services/default/a", "{\"spec\":{\"type\":\"ClusterIP\"}}");
    assert_code(r, 200);
    assert_field(r, "spec/healthCheckNodePort", NULL);
    assert_code(create(w, "services/default", json), 201);
    world_free(w);
}

static void when_no_port_is_left_it_says_for_what(void **state)
{
    struct world *w = world_new();
    cleanup_buffer struct buffer all = {0};
    for (int port = 30000; port <= 32767; port++)
        buffer_printf(&all, "%s{\"name\":\"p%d\",\"port\":%d,\"nodePort\":%d}", port > 30000 ? "," : "", port, port,
                      port);
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"all\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[%s]}}", all.data);
    assert_code(create(w, "services/default", json), 201);
    struct reply *r = create(w, "services/default", SERVICE("a", ",\"type\":\"NodePort\""));
    assert_code(r, 500);
    assert_string_equal(r->text, "Internal error occurred: failed to allocate a nodePort: range is full");
    r = create(w, "services/default",
               SERVICE("a", ",\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\","
                            "\"allocateLoadBalancerNodePorts\":false"));
    assert_code(r, 500);
    assert_string_equal(r->text, "Internal error occurred: failed to allocate a HealthCheck NodePort 0: range is full");
    assert_code(delete_(w, "services/default/all", NULL), 200);
    assert_code(create(w, "services/default", SERVICE("a", ",\"type\":\"NodePort\"")), 201);
    world_free(w);
}

static void what_a_service_has_is_its_own_after_a_restart(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "services/default",
                       "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":"
                       "\"Local\",\"healthCheckNodePort\":30099,\"clusterIP\":\"10.96.1.2\",\"ports\":[{\"port\":80,"
                       "\"nodePort\":30080}]}}"),
                201);
    world_restart(w);
    struct reply *r = create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"10.96.1.2\""));
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "failed to allocate IP 10.96.1.2: provided IP is already allocated"));
    static const int ports[] = {30080, 30099};
    for (size_t i = 0; i < ARRAY_COUNT(ports); i++) {
        char json[160];
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":%"
                 "d}]}}",
                 ports[i]);
        r = create(w, "services/default", json);
        assert_code(r, 422);
        assert_non_null(strstr(r->text, "provided port is already allocated"));
    }
    r = update(w, "services/default/a", SERVICE("a", ",\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\""));
    assert_code(r, 200);
    assert_field(r, "spec/clusterIP", "10.96.1.2");
    assert_field(r, "spec/ports/0/nodePort", "30080");
    assert_field(r, "spec/healthCheckNodePort", "30099");
    world_free(w);
}

static void a_number_of_the_nodes_is_one_services_for_all_protocols_and_uses(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "services/default",
                       "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":53,"
                       "\"protocol\":\"UDP\",\"nodePort\":30053}]}}"),
                201);
    struct reply *r = create(w, "services/default",
                             "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":53,"
                             "\"nodePort\":30053}]}}");
    assert_code(r, 422);
    assert_non_null(
        strstr(r->text, "spec.ports[0].nodePort: Invalid value: 30053: provided port is already allocated"));
    r = create(w, "services/default",
               "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\","
               "\"healthCheckNodePort\":30080,\"ports\":[{\"port\":80,\"nodePort\":30080}]}}");
    assert_code(r, 500);
    assert_non_null(strstr(r->text, "failed to allocate requested HealthCheck NodePort 30080: provided port is already "
                                    "allocated"));
    /* Both protocols of one Service may have it, also when the second comes later. */
    r = patch(w, "services/default/a",
              "{\"spec\":{\"ports\":[{\"name\":\"u\",\"port\":53,\"protocol\":\"UDP\",\"nodePort\":30053},"
              "{\"name\":\"t\",\"port\":53,\"protocol\":\"TCP\",\"nodePort\":30053}]}}");
    assert_code(r, 200);
    world_free(w);
}

#define NODE_PORTS(name, ports)                                                                                        \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[" ports "]}}"
#define PORT(name, protocol, port, rest) "{\"name\":\"" name "\",\"protocol\":\"" protocol "\",\"port\":" port rest "}"
#define NUMBER(number) ",\"nodePort\":" number

static void assert_refused(struct reply *r, const char *message)
{
    assert_code(r, 422);
    if (!strstr(r->text, message))
        fail_msg("%s\nis not in\n%s", message, r->text);
}

static void ports_of_a_new_service_share_a_number_when_they_have_one_port(void **state)
{
    struct world *w = world_new();
    assert_refused(
        create(w, "services/default",
               NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30080")) "," PORT("u", "UDP", "81", NUMBER("30080")))),
        "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated");
    assert_refused(
        create(w, "services/default",
               NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30080")) "," PORT("u", "TCP", "81", NUMBER("30080")))),
        "spec.ports[1].nodePort: Duplicate value: 30080");
    /* The number that a third port asks for is taken for the first, which has the same port. */
    assert_refused(
        create(w, "services/default",
               NODE_PORTS("a", PORT("t", "TCP", "80", "") "," PORT("u", "TCP", "81", NUMBER("30080")) "," PORT(
                                   "v", "UDP", "80", NUMBER("30080")))),
        "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated");
    assert_refused(
        create(w, "services/default",
               NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30080")) "," PORT(
                                   "u", "UDP", "80", NUMBER("30081")) "," PORT("v", "SCTP", "80", NUMBER("30081")))),
        "spec.ports[2].nodePort: Invalid value: 30081: provided port is already allocated");
    /* Refusals leave nothing taken. */
    struct reply *r = create(w, "services/default",
                             NODE_PORTS("a", PORT("t", "TCP", "80", "") "," PORT("u", "UDP", "80", NUMBER("30080"))));
    assert_code(r, 201);
    assert_field(r, "spec/ports/0/nodePort", "30080");
    r = create(w, "services/default",
               NODE_PORTS("b", PORT("t", "TCP", "80", NUMBER("30081")) "," PORT("u", "UDP", "80", NUMBER("30082"))));
    assert_code(r, 201);
    assert_refused(create(w, "services/default", NODE_PORTS("c", PORT("", "SCTP", "80", NUMBER("30082")))),
                   "spec.ports[0].nodePort: Invalid value: 30082: provided port is already allocated");
    world_free(w);
}

static void ports_of_a_changed_service_may_ask_for_what_others_of_it_have(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "services/default", NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30080")))), 201);
    struct reply *r =
        update(w, "services/default/a",
               NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30090")) "," PORT(
                                   "u", "UDP", "81", NUMBER("30090")) "," PORT("v", "SCTP", "82", NUMBER("30080"))));
    assert_code(r, 200);
    /* What it asks for nothing gets a number of its own, though another has the same port. */
    r = update(w, "services/default/a",
               NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30090")) "," PORT("w", "UDP", "80", "")));
    assert_code(r, 200);
    assert_string_not_equal(field(r, "spec/ports/1/nodePort"), "30090");
    assert_refused(
        update(w, "services/default/a",
               NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30090")) "," PORT("u", "TCP", "81", NUMBER("30090")))),
        "spec.ports[1].nodePort: Duplicate value: 30090");
    assert_code(create(w, "services/default", NODE_PORTS("b", PORT("t", "TCP", "80", NUMBER("30070")))), 201);
    assert_refused(update(w, "services/default/a", NODE_PORTS("a", PORT("t", "TCP", "80", NUMBER("30070")))),
                   "spec.ports[0].nodePort: Invalid value: 30070: provided port is already allocated");
    /* What the service has given up is anybody's. */
    assert_code(create(w, "services/default", NODE_PORTS("c", PORT("t", "TCP", "80", NUMBER("30080")))), 201);
    world_free(w);
}

static void a_port_keeps_its_node_port_by_its_name(void **state)
{
    struct world *w = world_new();
    assert_code(
        create(w, "services/default",
               NODE_PORTS("a", PORT("x", "TCP", "80", NUMBER("30080")) "," PORT("y", "TCP", "81", NUMBER("30081")))),
        201);
    struct reply *r =
        update(w, "services/default/a", NODE_PORTS("a", PORT("y", "UDP", "8081", "") "," PORT("x", "TCP", "8080", "")));
    assert_code(r, 200);
    assert_field(r, "spec/ports/0/nodePort", "30081");
    assert_field(r, "spec/ports/1/nodePort", "30080");
    /* Another one that asks for the number gets it. */
    r = update(w, "services/default/a",
               NODE_PORTS("a", PORT("y", "UDP", "8081", NUMBER("30080")) "," PORT("x", "TCP", "8080", "")));
    assert_code(r, 200);
    assert_field(r, "spec/ports/0/nodePort", "30080");
    assert_string_not_equal(field(r, "spec/ports/1/nodePort"), "30080");
    world_free(w);
}

static void node_ports_of_a_load_balancer_go_with_its_type_or_when_they_are_taken_out(void **state)
{
#define BALANCER(allocate, number)                                                                                     \
    "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":" allocate   \
    ",\"ports\":[" PORT("x", "TCP", "80", number) "]}}"
    struct world *w = world_new();
    assert_code(create(w, "services/default", BALANCER("true", NUMBER("30080"))), 201);
    struct reply *r = update(w, "services/default/a", BALANCER("false", NUMBER("30080")));
    assert_code(r, 200);
    assert_field(r, "spec/ports/0/nodePort", "30080");
    r = update(w, "services/default/a", BALANCER("false", ""));
    assert_code(r, 200);
    assert_field(r, "spec/ports/0/nodePort", NULL);
    assert_code(update(w, "services/default/a", BALANCER("false", NUMBER("30081"))), 200);
    r = patch(w, "services/default/a", "{\"spec\":{\"type\":\"ClusterIP\"}}");
    assert_code(r, 200);
    assert_field(r, "spec/ports/0/nodePort", NULL);
    assert_code(create(w, "services/default", NODE_PORTS("b", PORT("x", "TCP", "80", NUMBER("30081")))), 201);
    world_free(w);
#undef BALANCER
}

static void assert_warnings(struct world *w, const char *path, const char *json, const char *const *wanted)
{
    struct reply *r = create(w, path, json);
    assert_code(r, 201);
    size_t count = 0;
    for (; wanted[count]; count++) {
        assert_true(count < r->warning_count);
        assert_string_equal(r->warnings[count], wanted[count]);
    }
    assert_int_equal(r->warning_count, count);
}

#define NON_STANDARD(text, canonical)                                                                                  \
    "non-standard IP address \"" text "\" will be considered invalid in a future Kubernetes release: use \"" canonical \
    "\""

static void an_address_is_one_however_it_is_written(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default", SERVICE("a", ",\"clusterIP\":\"10.096.001.7\""));
    assert_code(r, 201);
    assert_field(r, "spec/clusterIP", "10.096.001.7");
    r = create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"::ffff:10.96.1.7\""));
    assert_refused(r, "failed to allocate IP ::ffff:10.96.1.7: provided IP is already allocated");
    assert_refused(create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"10.96.1.7\"")),
                   "provided IP is already");
    assert_code(update(w, "services/default/a", SERVICE("a", ",\"clusterIP\":\"10.096.001.7\"")), 200);
    assert_code(delete_(w, "services/default/a", NULL), 200);
    r = create(w, "services/default", SERVICE("b", ",\"clusterIP\":\"::ffff:10.96.1.7\""));
    assert_code(r, 201);
    assert_field(r, "spec/ipFamilies", "[\"IPv4\"]");
    world_free(w);
}

static void what_a_service_ignores_is_told_in_upstreams_words(void **state)
{
    struct world *w = world_new();
#define WARNINGS(...) ((const char *const[]){__VA_ARGS__, NULL})
    assert_warnings(w, "services/default",
                    SERVICE("a", ",\"clusterIP\":\"None\",\"loadBalancerIP\":\"192.0.2.1\",\"externalIPs\":["
                                 "\"192.0.2.2\"],\"sessionAffinity\":\"ClientIP\",\"externalName\":\"example.com\""),
                    WARNINGS("spec.loadBalancerIP is ignored for headless services",
                             "spec.externalIPs is ignored for headless services",
                             "spec.SessionAffinity is ignored for headless services",
                             "spec.externalName is ignored when spec.type is not \"ExternalName\""));
    assert_warnings(w, "services/default",
                    SERVICE("b", ",\"type\":\"ExternalName\",\"externalName\":\"example.com\",\"externalIPs\":["
                                 "\"192.0.2.2\"]"),
                    WARNINGS("spec.externalIPs is ignored when spec.type is \"ExternalName\""));
    assert_warnings(w, "services/default", SERVICE("c", ",\"trafficDistribution\":\"PreferClose\""),
                    WARNINGS("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""));
    assert_warnings(
        w, "services/default",
        "{\"metadata\":{\"name\":\"d\",\"annotations\":{\"service.kubernetes.io/topology-aware-hints\":\"Auto\"}},"
        "\"spec\":{\"ports\":[{\"port\":80}]}}",
        WARNINGS("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
                 "service.kubernetes.io/topology-mode instead"));
    assert_warnings(
        w, "services/default",
        SERVICE("e", ",\"type\":\"LoadBalancer\",\"externalIPs\":[\"2001:DB8::1\"],\"loadBalancerIP\":"
                     "\"::ffff:192.0.2.1\",\"loadBalancerSourceRanges\":[\"10.1.2.3/8\",\"2001:DB8::/32\"]"),
        WARNINGS("spec.externalIPs[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format "
                 "(\"2001:db8::1\")",
                 "spec.loadBalancerIP: non-standard IP address \"::ffff:192.0.2.1\" will be considered invalid in a "
                 "future Kubernetes release: use \"192.0.2.1\"",
                 "spec.loadBalancerSourceRanges[0]: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be "
                 "\"10.0.0.0/8\" or \"10.1.2.3/32\"?)",
                 "spec.loadBalancerSourceRanges[1]: IPv6 CIDR value \"2001:DB8::/32\" should be in RFC 5952 canonical "
                 "format (\"2001:db8::/32\")"));
    assert_warnings(w, "endpoints/default",
                    "{\"metadata\":{\"name\":\"x\"},\"subsets\":[{\"addresses\":[{\"ip\":\"2001:DB8::1\"}],"
                    "\"ports\":[{\"port\":80}]}]}",
                    WARNINGS("subsets[0].addresses[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical "
                             "format (\"2001:db8::1\")"));
    assert_warnings(w, "endpoints/default",
                    "{\"metadata\":{\"name\":\"y\",\"labels\":{\"endpoints.kubernetes.io/managed-by\":"
                    "\"endpoint-controller\"}},\"subsets\":[{\"addresses\":[{\"ip\":\"2001:DB8::1\"}]}]}",
                    (const char *const[]){NULL});
    assert_warnings(w, "services/default",
                    SERVICE("f", ",\"clusterIP\":\"10.096.001.7\",\"externalIPs\":[\"192.000.2.2\"]"),
                    WARNINGS("spec.clusterIPs[0]: " NON_STANDARD("10.096.001.7", "10.96.1.7"),
                             "spec.externalIPs[0]: " NON_STANDARD("192.000.2.2", "192.0.2.2")));
    struct reply *r =
        create(w, "pods/default",
               "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"a\"}],"
               "\"dnsConfig\":{\"nameservers\":[\"192.0.02.3\"]},\"hostAliases\":[{\"ip\":"
               "\"::ffff:192.0.2.4\"}]}}");
    assert_code(r, 201);
    assert_true(r->warning_count >= 2);
    assert_string_equal(r->warnings[0], "spec.dnsConfig.nameservers[0]: " NON_STANDARD("192.0.02.3", "192.0.2.3"));
    assert_string_equal(r->warnings[1], "spec.hostAliases[0].ip: " NON_STANDARD("::ffff:192.0.2.4", "192.0.2.4"));
    r = patch(w, "pods/default/p/status", "{\"status\":{\"podIPs\":[{\"ip\":\"10.244.0.07\"}]}}");
    assert_code(r, 200);
    assert_string_equal(r->warning, "status.podIPs[0].ip: " NON_STANDARD("10.244.0.07", "10.244.0.7"));
    r = patch(w, "services/default/e/status",
              "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.09\",\"ipMode\":\"VIP\"}]}}}");
    assert_code(r, 200);
    assert_string_equal(r->warning, "status.loadBalancer.ingress[0]: " NON_STANDARD("192.0.2.09", "192.0.2.9"));
    assert_warnings(
        w, "services/default",
        SERVICE("g", ",\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\"010.0.0.0/8\",\"10.0.0.0/08\"]"),
        WARNINGS("spec.loadBalancerSourceRanges[0]: non-standard CIDR value \"010.0.0.0/8\" will be "
                 "considered invalid in a future Kubernetes release: use \"10.0.0.0/8\"",
                 "spec.loadBalancerSourceRanges[1]: non-standard CIDR value \"10.0.0.0/08\" will be "
                 "considered invalid in a future Kubernetes release: use \"10.0.0.0/8\""));
#undef WARNINGS
    world_free(w);
}

static void the_clusters_own_services_follow_their_ports(void **state)
{
    struct world *w = world_new();
    const struct registry_bootstrap moved = {.address = "192.0.2.7", .api_port = 7443, .dns_port = 7053};
    registry_bootstrap(w->registry, &moved, NULL, NULL);
    settle(w);
    assert_field(get(w, "services/default/kubernetes"), "spec/ports/0/targetPort", "7443");
    assert_field(get(w, "services/default/kubernetes"), "spec/ports/0/name", "https");
    assert_field(get(w, "endpoints/default/kubernetes"), "subsets/0/addresses/0/ip", "192.0.2.7");
    assert_field(get(w, "endpointslices/default/kubernetes"), "ports/0/port", "7443");
    static const char *const protocols[] = {"UDP", "TCP"};
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof(path), "spec/ports/%d/protocol", i);
        assert_field(get(w, "services/kube-system/kube-dns"), path, protocols[i]);
        snprintf(path, sizeof(path), "spec/ports/%d/targetPort", i);
        assert_field(get(w, "services/kube-system/kube-dns"), path, "7053");
    }
    world_free(w);
}

static void thousands_of_services_have_addresses_of_their_own(void **state)
{
    struct world *w = world_new();
    char json[128];
    static bool seen[65536];
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < 5000; i++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"s%d\"},\"spec\":{\"ports\":[{\"port\":80}]}}", i);
        struct reply *r = create(w, "services/default", json);
        assert_code(r, 201);
        const char *ip = ((const struct service *)r->object->value)->spec.cluster_ip;
        int a, b;
        assert_int_equal(sscanf(ip, "10.96.%d.%d", &a, &b), 2);
        assert_false(seen[a * 256 + b]);
        seen[a * 256 + b] = true;
    }
    world_free(w);
}

static void a_service_has_the_families_that_it_asks_for(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default", SERVICE("a", ""));
    assert_field(r, "spec/ipFamilies", "[\"IPv4\"]");
    assert_field(r, "spec/ipFamilyPolicy", "SingleStack");
    r = create(w, "services/default", SERVICE("b", ",\"ipFamilyPolicy\":\"PreferDualStack\""));
    assert_code(r, 201);
    assert_field(r, "spec/ipFamilies", "[\"IPv4\",\"IPv6\"]");
    assert_memory_equal(field(r, "spec/clusterIPs/1"), "fd00:10:96::", 12);
    r = create(w, "services/default",
               SERVICE("c", ",\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\"]"));
    assert_code(r, 201);
    assert_field(r, "spec/ipFamilies", "[\"IPv6\",\"IPv4\"]");
    assert_memory_equal(field(r, "spec/clusterIP"), "fd00:10:96::", 12);
    r = create(w, "services/default", SERVICE("d", ",\"clusterIP\":\"fd00:10:96::77\""));
    assert_code(r, 201);
    assert_field(r, "spec/ipFamilies", "[\"IPv6\"]");
    r = create(w, "services/default", SERVICE("e", ",\"clusterIP\":\"fd00:10:96::77\""));
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "failed to allocate IP fd00:10:96::77: provided IP is already allocated"));
    r = create(w, "services/default",
               SERVICE("e", ",\"clusterIPs\":[\"10.96.5.5\",\"fd00:10:96::78\"],"
                            "\"clusterIP\":\"10.96.5.5\""));
    assert_code(r, 422);
    assert_non_null(
        strstr(r->text, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"));
    /* Headless ones have the first family, unless nobody says which pods are behind them. */
    r = create(w, "services/default", SERVICE("f", ",\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"}"));
    assert_field(r, "spec/ipFamilies", "[\"IPv4\"]");
    r = create(w, "services/default", SERVICE("g", ",\"clusterIP\":\"None\""));
    assert_field(r, "spec/ipFamilies", "[\"IPv4\",\"IPv6\"]");
    assert_field(r, "spec/ipFamilyPolicy", "RequireDualStack");
    world_free(w);
}

static void a_service_gains_and_loses_its_second_family(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "services/default", SERVICE("a", ""));
    const char *ip = keep(field(r, "spec/clusterIP"));
    r = patch(w, "services/default/a", "{\"spec\":{\"ipFamilyPolicy\":\"PreferDualStack\"}}");
    assert_code(r, 200);
    assert_field(r, "spec/clusterIP", ip);
    assert_field(r, "spec/ipFamilies", "[\"IPv4\",\"IPv6\"]");
    static char second[64];
    snprintf(second, sizeof(second), "%s", field(r, "spec/clusterIPs/1"));
    assert_memory_equal(second, "fd00:10:96::", 12);
    /* Another change leaves it alone. */
    r = patch(w, "services/default/a", "{\"spec\":{\"selector\":{\"x\":\"y\"}}}");
    assert_field(r, "spec/clusterIPs/1", second);
    r = patch(w, "services/default/a", "{\"spec\":{\"ipFamilies\":[\"IPv4\"]}}");
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "must be 'SingleStack' to release the secondary IP family"));
    r = patch(w, "services/default/a", "{\"spec\":{\"ipFamilyPolicy\":\"SingleStack\"}}");
    assert_code(r, 200);
    assert_field(r, "spec/ipFamilies", "[\"IPv4\"]");
    assert_field(r, "spec/clusterIPs/1", NULL);
    assert_field(r, "spec/clusterIP", ip);
    /* What it gave up can be had again. */
    char json[200];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"ports\":[{\"port\":80}],\"clusterIP\":\"%s\"}}", second);
    assert_code(create(w, "services/default", json), 201);
    r = patch(w, "services/default/a", "{\"spec\":{\"ipFamilies\":[\"IPv6\"]}}");
    assert_code(r, 422);
    world_free(w);
}

/* Whoever gave them, the addresses of a load balancer go with its type. */
static void the_status_of_a_load_balancer_goes_with_its_type(void **state)
{
    static const char *const classes[] = {"", ",\"loadBalancerClass\":\"example.com/other\""};
    for (size_t i = 0; i < ARRAY_COUNT(classes); i++) {
        struct world *w = world_new();
        char json[256];
        snprintf(json, sizeof(json), SERVICE("a", ",\"type\":\"LoadBalancer\"%s"), classes[i]);
        assert_code(create(w, "services/default", json), 201);
        assert_code(patch(w, "services/default/a/status",
                          "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.9\"}]}}}"),
                    200);
        struct reply *r = patch(w, "services/default/a", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
        assert_field(r, "status/loadBalancer/ingress/0/ip", "192.0.2.9");
        r = patch(w, "services/default/a", "{\"spec\":{\"type\":\"NodePort\"}}");
        assert_code(r, 200);
        assert_field(r, "status/loadBalancer/ingress", NULL);
        assert_field(get(w, "services/default/a"), "status/loadBalancer/ingress", NULL);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cluster_has_its_own_service),
        cmocka_unit_test(an_address_is_allocated_and_kept),
        cmocka_unit_test(an_address_is_given_once_and_given_back),
        cmocka_unit_test(a_service_has_the_families_that_it_asks_for),
        cmocka_unit_test(a_service_gains_and_loses_its_second_family),
        cmocka_unit_test(headless_and_external_services_have_no_address),
        cmocka_unit_test(node_ports_are_given_once_and_given_back),
        cmocka_unit_test(a_port_for_two_protocols_has_one_number),
        cmocka_unit_test(a_local_load_balancer_has_a_port_for_its_health),
        cmocka_unit_test(when_no_port_is_left_it_says_for_what),
        cmocka_unit_test(what_a_service_has_is_its_own_after_a_restart),
        cmocka_unit_test(a_number_of_the_nodes_is_one_services_for_all_protocols_and_uses),
        cmocka_unit_test(ports_of_a_new_service_share_a_number_when_they_have_one_port),
        cmocka_unit_test(ports_of_a_changed_service_may_ask_for_what_others_of_it_have),
        cmocka_unit_test(a_port_keeps_its_node_port_by_its_name),
        cmocka_unit_test(node_ports_of_a_load_balancer_go_with_its_type_or_when_they_are_taken_out),
        cmocka_unit_test(the_status_of_a_load_balancer_goes_with_its_type),
        cmocka_unit_test(an_address_is_one_however_it_is_written),
        cmocka_unit_test(what_a_service_ignores_is_told_in_upstreams_words),
        cmocka_unit_test(the_clusters_own_services_follow_their_ports),
        cmocka_unit_test(thousands_of_services_have_addresses_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
