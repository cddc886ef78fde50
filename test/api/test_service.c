/* The promise of validating Services: upstream's answers, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "prepare.h"

#define SERVICE(spec) "{'metadata':{'name':'s','namespace':'default'},'spec':{" spec "}}"
#define PORTS "'ports':[{'port':80}]"
#define BALANCER(more) SERVICE("'type':'LoadBalancer'," PORTS more)
#define IS "Service \"s\" is invalid: "
#define RANGES "service.beta.kubernetes.io/load-balancer-source-ranges"
#define ANNOTATED(type, ranges)                                                                                        \
    "{'metadata':{'name':'s','namespace':'default','annotations':{'" RANGES "':'" ranges "'}},'spec':{'type':'" type   \
    "'," PORTS "}}"
#define TOPOLOGY(mode, hints)                                                                                          \
    "{'metadata':{'name':'s','namespace':'default','annotations':{'service.kubernetes.io/topology-mode':'" mode        \
    "','service.kubernetes.io/topology-aware-hints':'" hints "'}},'spec':{" PORTS "}}"
#define BALANCERS_ALONE "Forbidden: may only be used when `type` is 'LoadBalancer'"
#define NO_CIDR "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

static const struct {
    const char *json;
    const char *message;
} creations[] = {
    /* Affinity. */
    {SERVICE("'sessionAffinity':'Cookie'," PORTS),
     IS "spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\""},
    {SERVICE("'sessionAffinity':'None','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':1}}," PORTS),
     ""}, /* a default takes it away */
    {SERVICE("'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':86401}}," PORTS), IS
     "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than "
     "86400"},
    {SERVICE("'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':86400}}," PORTS), ""},
    /* ExternalName. */
    {SERVICE("'type':'ExternalName'"), IS "spec.externalName: Required value"},
    {SERVICE("'type':'ExternalName','externalName':'-x'"),
     IS "spec.externalName: Invalid value: \"-x\": a lowercase RFC 1123 subdomain must consist of lower case "
        "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
        "'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    {SERVICE("'type':'ExternalName','externalName':'example.com.','clusterIPs':['10.0.0.1'],'clusterIP':'10.0.0.1',"
             "'ipFamilies':['IPv4'],'ipFamilyPolicy':'SingleStack'"),
     IS "[spec.clusterIPs: Forbidden: may not be set for ExternalName services, spec.ipFamilies: Forbidden: may not be "
        "set for ExternalName services, spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services]"},
    /* Traffic. */
    {SERVICE("'externalTrafficPolicy':'Local'," PORTS),
     IS "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"},
    {SERVICE("'type':'NodePort','externalTrafficPolicy':'Near'," PORTS),
     IS "spec.externalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\""},
    {SERVICE("'internalTrafficPolicy':'Near'," PORTS),
     IS "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\""},
    {SERVICE("'trafficDistribution':'Near'," PORTS),
     IS "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", "
        "\"PreferSameZone\""},
    {SERVICE("'type':'NodePort','healthCheckNodePort':30000," PORTS),
     IS "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and "
        "`externalTrafficPolicy` is 'Local'"},
    {BALANCER(",'externalTrafficPolicy':'Local','healthCheckNodePort':65536"),
     IS "spec.healthCheckNodePort: Invalid value: 65536: must be between 1 and 65535, inclusive"},
    /* Ports. */
    {SERVICE("'ports':[{'name':'a','port':80},{'name':'b','port':80}]"),
     IS "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,"
        "\"TargetPort\":0,\"NodePort\":0}"},
    {SERVICE("'ports':[{'name':'a','port':80},{'name':'b','port':80,'protocol':'UDP'}]"), ""},
    {SERVICE("'ports':[{'name':'a','port':80},{'name':'a','port':81}]"),
     IS "spec.ports[1].name: Duplicate value: \"a\""},
    {SERVICE(
         "'type':'NodePort','ports':[{'name':'a','port':80,'nodePort':30000},{'name':'b','port':81,'nodePort':30000}]"),
     IS "spec.ports[1].nodePort: Duplicate value: 30000"},
    {SERVICE("'ports':[{'port':80,'nodePort':30000}]"),
     IS "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
    {SERVICE("'ports':[{'port':80,'appProtocol':'kubernetes.io/h2c'}]"), ""},
    {SERVICE("'ports':[{'port':80,'appProtocol':'a b'}]"), IS
     "spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' "
     "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
     "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    {SERVICE("'ports':[{'port':80,'targetPort':'No_'}]"),
     IS "spec.ports[0].targetPort: Invalid value: \"No_\": must contain only alpha-numeric characters (a-z, 0-9), and "
        "hyphens (-)"},
    /* Addresses. */
    {SERVICE("'type':'NodePort','clusterIP':'None','clusterIPs':['None']," PORTS),
     IS "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"},
    {SERVICE("'externalIPs':['x']," PORTS),
     IS "spec.externalIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"},
    {SERVICE("'externalIPs':['127.0.0.1']," PORTS),
     IS "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"},
    /* What load balancers alone have. */
    {SERVICE("'loadBalancerClass':'a/b','allocateLoadBalancerNodePorts':false,'loadBalancerSourceRanges':['10.0.0.0/"
             "8']," PORTS),
     IS "[spec.LoadBalancerSourceRanges: " BALANCERS_ALONE ", spec.allocateLoadBalancerNodePorts: " BALANCERS_ALONE
        ", spec.loadBalancerClass: " BALANCERS_ALONE "]"},
    {BALANCER(",'loadBalancerSourceRanges':[' 10.0.0.0/8 ','10.0.0.0']"),
     IS "spec.LoadBalancerSourceRanges[1]: Invalid value: \"10.0.0.0\": " NO_CIDR},
    {ANNOTATED("ClusterIP", ""), IS "metadata.annotations[" RANGES "]: " BALANCERS_ALONE},
    {ANNOTATED("LoadBalancer", " "), ""},
    {ANNOTATED("LoadBalancer", " 10.0.0.0/8, 2001:db8::/32 "), ""},
    {ANNOTATED("LoadBalancer", "10.0.0.0/8,x"), IS "metadata.annotations[" RANGES "]: Invalid value: \"x\": " NO_CIDR},
    {TOPOLOGY("Auto", "Auto"), ""},
    {TOPOLOGY("Auto", "disabled"),
     IS "metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: \"Auto\": must match "
        "annotations[service.kubernetes.io/topology-aware-hints] when both are specified"},
    {ANNOTATED("LoadBalancer", "10.0.0.0/8,"), IS "metadata.annotations[" RANGES "]: Invalid value: \"\": " NO_CIDR},
};

static void a_new_service_is_judged_in_upstreams_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(creations) / sizeof(creations[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        assert_string_equal(create_message(arena, &api_resources[API_SERVICES], creations[i].json),
                            creations[i].message);
    }
}

#define INGRESS IS "status.loadBalancer.ingress"

static const struct {
    const char *type, *ingress;
    const char *message;
} statuses[] = {
    {"LoadBalancer", "{'ip':'192.0.2.1','ipMode':'VIP'},{'hostname':'example.com'}", ""},
    {"ClusterIP", "{'ip':'192.0.2.1','ipMode':'VIP'}",
     INGRESS ": Forbidden: may only be used when `spec.type` is 'LoadBalancer'"},
    {"LoadBalancer", "{'ip':'x','ipMode':'VIP'}",
     INGRESS "[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"},
    {"LoadBalancer", "{'hostname':'example.com','ipMode':'VIP'}",
     INGRESS "[0].ipMode: Forbidden: may not be specified when `ip` is not set"},
    {"LoadBalancer", "{'ip':'192.0.2.1','ipMode':'Direct'}",
     INGRESS "[0].ipMode: Unsupported value: \"Direct\": supported values: \"Proxy\", \"VIP\""},
    {"LoadBalancer", "{'hostname':'192.0.2.1'}",
     INGRESS "[0].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address"},
};

static void a_status_is_judged_in_upstreams_words(void **state)
{
    (void)state;
    const struct api_resource *r = &api_resources[API_SERVICES];
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        char json[400];
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'s','namespace':'default','resourceVersion':'1'},'spec':{'type':'%s'," PORTS
                 "},'status':{'loadBalancer':{'ingress':[%s]}}}",
                 statuses[i].type, statuses[i].ingress);
        void *value = prepare(arena, r, json);
        struct api_field_errors errors = {.arena = arena};
        api_validate_update(r, value, value, "status", &errors);
        assert_string_equal(errors.count ? api_status_invalid(arena, r, "s", &errors)->message : "",
                            statuses[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_service_is_judged_in_upstreams_words),
        cmocka_unit_test(a_status_is_judged_in_upstreams_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
