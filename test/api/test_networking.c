/* The promise of ingresses, their classes and network policies: upstream's defaults and answers, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "prepare.h"

#define NAMESPACED(spec) "{'metadata':{'name':'x','namespace':'default','resourceVersion':'1'},'spec':{" spec "}}"
#define CLASS(spec) "{'metadata':{'name':'x','resourceVersion':'1'},'spec':{" spec "}}"
#define BACKEND "'backend':{'service':{'name':'web','port':{'number':80}}}"
#define PATHS(path) NAMESPACED("'rules':[{'host':'a.example','http':{'paths':[{" path "}]}}]")
#define INGRESS_INVALID "Ingress.networking.k8s.io \"x\" is invalid: "
#define CLASS_INVALID "IngressClass.networking.k8s.io \"x\" is invalid: "
#define POLICY_INVALID "NetworkPolicy.networking.k8s.io \"x\" is invalid: "
#define DNS_LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

static const struct {
    enum api_resource_index resource;
    const char *json;
    const char *message;
} creations[] = {
    {API_INGRESSES, PATHS("'path':'/','pathType':'Prefix'," BACKEND), ""},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{'resource':{'apiGroup':'g.example','kind':'Bucket','name':'b'}}"),
     ""},
    {API_INGRESSES, NAMESPACED(""),
     INGRESS_INVALID "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{}"),
     INGRESS_INVALID "spec.defaultBackend: Invalid value: \"\": resource or service backend is required"},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{'service':{'name':'web'}}"),
     INGRESS_INVALID "spec.defaultBackend: Required value: port name or number is required"},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{'service':{'name':'','port':{'name':'a','number':1}}}"),
     INGRESS_INVALID
     "[spec.defaultBackend.service.name: Required value, spec.defaultBackend: Invalid value: \"\": cannot "
     "set both port name & port number]"},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{'service':{'name':'a','port':{'number':70000}}}"),
     INGRESS_INVALID "spec.defaultBackend.service.port.number: Invalid value: 70000: must be between 1 and 65535, "
                     "inclusive"},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{'service':{'name':'a','port':{'number':7}},'resource':{}}"),
     INGRESS_INVALID "spec.defaultBackend: Invalid value: \"\": cannot set both resource and service backends"},
    {API_INGRESSES, NAMESPACED("'defaultBackend':{'resource':{}}"),
     INGRESS_INVALID "[spec.defaultBackend.resource.kind: Required value, spec.defaultBackend.resource.name: Required "
                     "value]"},
    {API_INGRESSES, NAMESPACED("'rules':[{'http':{'paths':[]}}]"),
     INGRESS_INVALID "spec.rules[0].http.paths: Required value"},
    {API_INGRESSES, PATHS("'path':'/'," BACKEND),
     INGRESS_INVALID "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"},
    {API_INGRESSES, PATHS("'path':'/','pathType':'Regex'," BACKEND),
     INGRESS_INVALID "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", "
                     "\"ImplementationSpecific\", \"Prefix\""},
    {API_INGRESSES, PATHS("'path':'a//b/..','pathType':'Exact'," BACKEND),
     INGRESS_INVALID "[spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must be an absolute path, "
                     "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must not contain '//', "
                     "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": cannot end with '/..']"},
    {API_INGRESSES, PATHS("'path':'a','pathType':'ImplementationSpecific'," BACKEND),
     INGRESS_INVALID "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path"},
    {API_INGRESSES, NAMESPACED("'rules':[{'host':'10.0.0.1'},{'host':'*.example'},{'host':'a.*.example'}]"),
     INGRESS_INVALID
     "[spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address, spec.rules[2].host: "
     "Invalid "
     "value: \"a.*.example\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
     "which "
     "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
     "'*.example.com', regex used for validation is '\\*\\." DNS_LABEL "(\\." DNS_LABEL ")*')]"},
    {API_INGRESSES,
     "{'metadata':{'name':'x','namespace':'default','annotations':{'kubernetes.io/ingress.class':'a'}},'spec':{"
     "'ingressClassName':'b','defaultBackend':{'service':{'name':'a','port':{'number':7}}}}}",
     INGRESS_INVALID
     "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when "
     "both are specified"},
    {API_INGRESSCLASSES, CLASS("'controller':'example.com/ingress'"), ""},
    {API_INGRESSCLASSES, CLASS(""), CLASS_INVALID "spec.controller: Required value"},
    {API_INGRESSCLASSES, CLASS("'controller':'ingress'"),
     CLASS_INVALID "spec.controller: Invalid value: \"ingress\": must be a domain-prefixed path (such as "
                   "\"acme.io/foo\")"},
    {API_INGRESSCLASSES, CLASS("'controller':'example.com/a b'"),
     CLASS_INVALID "spec.controller: Invalid value: \"a b\": Invalid path (regex used for validation is "
                   "'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"},
    {API_INGRESSCLASSES, CLASS("'controller':'a.b/c','parameters':{'kind':'K','name':'n','scope':'Namespace'}"),
     CLASS_INVALID "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"},
    {API_INGRESSCLASSES, CLASS("'controller':'a.b/c','parameters':{'kind':'K','name':'n','namespace':'s'}"),
     CLASS_INVALID "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"},
    {API_INGRESSCLASSES, CLASS("'controller':'a.b/c','parameters':{'kind':'K','name':'n','scope':'World'}"),
     CLASS_INVALID "spec.parameters.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespace\""},
    {API_NETWORKPOLICIES, NAMESPACED("'podSelector':{}"), ""},
    {API_NETWORKPOLICIES, NAMESPACED(""), ""},
    {API_NETWORKPOLICIES, NAMESPACED("'ingress':[{}],'egress':[{'to':[{'namespaceSelector':{}}]}]"), ""},
    {API_NETWORKPOLICIES, NAMESPACED("'ingress':[{'ports':[{'port':'web'},{'port':80,'endPort':90}]}]"), ""},
    {API_NETWORKPOLICIES, NAMESPACED("'ingress':[{'from':[{}]}]"),
     POLICY_INVALID "spec.ingress[0].from[0]: Required value: must specify a peer"},
    {API_NETWORKPOLICIES, NAMESPACED("'egress':[{'to':[{'podSelector':{},'ipBlock':{'cidr':'10.0.0.0/8'}}]}]"),
     POLICY_INVALID "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer"},
    {API_NETWORKPOLICIES,
     NAMESPACED("'egress':[{'to':[{'ipBlock':{'cidr':'10.0.0.0/8','except':['10.1.0.0/16','11.0.0.0/16','10.0.0.0/8',"
                "'fd00::/64','x']}}]}]"),
     POLICY_INVALID
     "[spec.egress[0].to[0].ipBlock.except[1]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`, "
     "spec.egress[0].to[0].ipBlock.except[2]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`, "
     "spec.egress[0].to[0].ipBlock.except[3]: Invalid value: \"fd00::/64\": must be a strict subset of `cidr`, "
     "spec.egress[0].to[0].ipBlock.except[4]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or "
     "2001:db8::/64)]"},
    /* IPv4 within IPv6 is IPv4; lengths are compared as they are written. */
    {API_NETWORKPOLICIES,
     NAMESPACED(
         "'egress':[{'to':[{'ipBlock':{'cidr':'10.0.0.0/8','except':['::ffff:10.1.0.0/112','::ffff:11.0.0.0/112',"
         "'::ffff:10.0.0.0/90']}}]}]"),
     POLICY_INVALID
     "[spec.egress[0].to[0].ipBlock.except[1]: Invalid value: \"::ffff:11.0.0.0/112\": must be a strict subset of "
     "`cidr`, spec.egress[0].to[0].ipBlock.except[2]: Invalid value: \"::ffff:10.0.0.0/90\": must be a strict subset "
     "of `cidr`]"},
    {API_NETWORKPOLICIES,
     NAMESPACED("'egress':[{'to':[{'ipBlock':{'cidr':'::ffff:10.0.0.0/104','except':['::ffff:10.1.0.0/112',"
                "'10.1.0.0/16']}}]}]"),
     POLICY_INVALID
     "spec.egress[0].to[0].ipBlock.except[1]: Invalid value: \"10.1.0.0/16\": must be a strict subset of "
     "`cidr`"},
    {API_NETWORKPOLICIES,
     NAMESPACED("'egress':[{'to':[{'ipBlock':{'cidr':'::/0','except':['::ffff:10.0.0.0/104']}}]}]"),
     POLICY_INVALID "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"::ffff:10.0.0.0/104\": must be a strict "
                    "subset of `cidr`"},
    {API_NETWORKPOLICIES,
     NAMESPACED("'ingress':[{'from':[{'ipBlock':{'cidr':''}}]},{'from':[{'ipBlock':{'cidr':'10.0.0.0/ 8'}}]}]"),
     POLICY_INVALID
     "[spec.ingress[0].from[0].ipBlock.cidr: Required value, spec.ingress[1].from[0].ipBlock.cidr: Invalid "
     "value: \"10.0.0.0/ 8\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)]"},
    {API_NETWORKPOLICIES,
     NAMESPACED("'ingress':[{'ports':[{'protocol':'ICMP'},{'port':0},{'port':'Web'},{'endPort':5},{'port':'web',"
                "'endPort':5},{'port':9,'endPort':5},{'port':9,'endPort':70000}]}]"),
     POLICY_INVALID
     "[spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\", "
     "spec.ingress[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
     "spec.ingress[0].ports[2].port: Invalid value: \"Web\": must contain only alpha-numeric characters (a-z, 0-9), "
     "and "
     "hyphens (-), "
     "spec.ingress[0].ports[3].endPort: Invalid value: 5: may not be specified when `port` is not specified, "
     "spec.ingress[0].ports[4].endPort: Invalid value: 5: may not be specified when `port` is non-numeric, "
     "spec.ingress[0].ports[5].endPort: Invalid value: 9: must be greater than or equal to `port`, "
     "spec.ingress[0].ports[6].endPort: Invalid value: 70000: must be between 1 and 65535, inclusive]"},
    {API_NETWORKPOLICIES, NAMESPACED("'policyTypes':['Ingress','Both']"),
     POLICY_INVALID "spec.policyTypes[1]: Unsupported value: \"Both\": supported values: \"Ingress\", \"Egress\""},
    {API_NETWORKPOLICIES, NAMESPACED("'policyTypes':['Ingress','Egress','Ingress']"),
     POLICY_INVALID
     "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two "
     "policyTypes"},
    {API_NETWORKPOLICIES, NAMESPACED("'podSelector':{'matchExpressions':[{'key':'a','operator':'In'}]}"),
     POLICY_INVALID
     "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' "
     "or 'NotIn'"},
};

static void new_objects_are_judged_in_upstreams_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(creations) / sizeof(creations[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        assert_string_equal(create_message(arena, &api_resources[creations[i].resource], creations[i].json),
                            creations[i].message);
    }
}

static const char *change_message(struct arena *arena, const struct api_resource *r, const char *from, const char *to,
                                  const char *subresource)
{
    void *old = prepare(arena, r, from), *now = prepare(arena, r, to);
    struct api_field_errors errors = {.arena = arena};
    api_validate_update(r, now, old, subresource, &errors);
    return errors.count ? api_status_invalid(arena, r, api_meta(r, now)->name, &errors)->message : "";
}

static void the_controller_of_a_class_cannot_change(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    assert_string_equal(change_message(arena, &api_resources[API_INGRESSCLASSES], CLASS("'controller':'a.b/c'"),
                                       CLASS("'controller':'a.b/d'"), NULL),
                        CLASS_INVALID "spec.controller: Invalid value: \"a.b/d\": field is immutable");
}

#define STATUS(ingress)                                                                                                \
    "{'metadata':{'name':'x','namespace':'default','resourceVersion':'1'},'status':{'loadBalancer':{'ingress':["       \
    "{" ingress "}]}}}"

static void addresses_in_the_status_are_checked(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_INGRESSES];
    assert_string_equal(
        change_message(arena, r, STATUS(""), STATUS("'ip':'10.0.0.1','hostname':'a.example'"), "status"), "");
    assert_string_equal(change_message(arena, r, STATUS(""), STATUS("'ip':'ten','hostname':'10.0.0.1'"), "status"),
                        INGRESS_INVALID
                        "[status.loadBalancer.ingress[0].ip: Invalid value: \"ten\": must be a valid IP "
                        "address, (e.g. 10.9.8.7 or 2001:db8::ffff), "
                        "status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a "
                        "DNS name, not an IP address]");
}

static void directions_follow_from_the_rules(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        const char *types;
    } cases[] = {
        {NAMESPACED(""), "Ingress"},
        {NAMESPACED("'egress':[]"), "Ingress"},
        {NAMESPACED("'egress':[{}]"), "Ingress Egress"},
        {NAMESPACED("'egress':[{}],'policyTypes':['Egress']"), "Egress"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const struct network_policy *p = prepare(arena, &api_resources[API_NETWORKPOLICIES], cases[i].spec);
        cleanup_buffer struct buffer types = {0};
        for (size_t k = 0; k < p->spec.policy_types.count; k++)
            buffer_printf(&types, "%s%s", k ? " " : "", p->spec.policy_types.items[k]);
        assert_string_equal(types.data, cases[i].types);
    }
}

static void defaults_are_upstreams(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct ingress_class *class = prepare(arena, &api_resources[API_INGRESSCLASSES],
                                                CLASS("'controller':'a.b/c','parameters':{'kind':'K','name':'n'}"));
    assert_string_equal(class->spec.parameters->scope, "Cluster");
    const struct network_policy *policy =
        prepare(arena, &api_resources[API_NETWORKPOLICIES], NAMESPACED("'ingress':[{'ports':[{'port':80}]}]"));
    assert_string_equal(policy->spec.ingress.items[0].ports.items[0].protocol, "TCP");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_objects_are_judged_in_upstreams_words),
        cmocka_unit_test(the_controller_of_a_class_cannot_change),
        cmocka_unit_test(addresses_in_the_status_are_checked),
        cmocka_unit_test(directions_follow_from_the_rules),
        cmocka_unit_test(defaults_are_upstreams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
