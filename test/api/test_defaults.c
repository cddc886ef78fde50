/* The promise of defaulting: the object that upstream would store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "prepare.h"

static const struct {
    enum api_resource_index resource;
    const char *json;
    const char *stored; /* with single quotes */
} cases[] = {
    {API_PODS,
     "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'a/b:v1','ports':[{'containerPort':80}],"
     "'resources':{'limits':{'cpu':'1'}},'readinessProbe':{'httpGet':{'port':80}}}],"
     "'volumes':[{'name':'v'},{'name':'s','secret':{'secretName':'x'}}]}}",
     "{'metadata':{'name':'p'},'spec':{'containers':[{'image':'a/b:v1','imagePullPolicy':'IfNotPresent','name':'c',"
     "'ports':[{'containerPort':80,'protocol':'TCP'}],'readinessProbe':{'failureThreshold':3,'httpGet':{'path':'/',"
     "'port':80,'scheme':'HTTP'},'periodSeconds':10,'successThreshold':1,'timeoutSeconds':1},'resources':{'limits':"
     "{'cpu':'1'},'requests':{'cpu':'1'}},'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':"
     "'File'}],'dnsPolicy':'ClusterFirst','enableServiceLinks':true,'preemptionPolicy':'PreemptLowerPriority',"
     "'priority':0,'restartPolicy':'Always','schedulerName':'default-scheduler','securityContext':{},"
     "'serviceAccount':'default','serviceAccountName':'default','terminationGracePeriodSeconds':30,'tolerations':["
     "{'effect':'NoExecute','key':'node.kubernetes.io/not-ready','operator':'Exists','tolerationSeconds':300},"
     "{'effect':'NoExecute','key':'node.kubernetes.io/unreachable','operator':'Exists','tolerationSeconds':300}],"
     "'volumes':[{'emptyDir':{},'name':'v'},{'name':'s','secret':{'defaultMode':420,'secretName':'x'}}]},'status':{}}"},
    {API_DEPLOYMENTS,
     "{'metadata':{'name':'d'},'spec':{'selector':{},'template':{'spec':{'containers':[{'name':'c','image':'i'}]}}}}",
     "{'metadata':{'name':'d'},'spec':{'progressDeadlineSeconds':600,'replicas':1,'revisionHistoryLimit':10,'selector':{},"
     "'strategy':{'rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'},'type':'RollingUpdate'},'template':{"
     "'metadata':{},'spec':{'containers':[{'image':'i','imagePullPolicy':'Always','name':'c','resources':{},"
     "'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File'}],'dnsPolicy':'ClusterFirst',"
     "'restartPolicy':'Always','schedulerName':'default-scheduler','securityContext':{},"
     "'terminationGracePeriodSeconds':30}}},'status':{}}"},
    {API_DEPLOYMENTS,
     "{'metadata':{'name':'d'},'spec':{'replicas':0,'strategy':{'type':'Recreate'},'selector':{},'template':{'spec':{"
     "'restartPolicy':'Never','containers':[]}}}}",
     "{'metadata':{'name':'d'},'spec':{'progressDeadlineSeconds':600,'replicas':0,'revisionHistoryLimit':10,'selector':{},"
     "'strategy':{'type':'Recreate'},'template':{'metadata':{},'spec':{'containers':[],'dnsPolicy':'ClusterFirst',"
     "'restartPolicy':'Never','schedulerName':'default-scheduler','securityContext':{},'terminationGracePeriodSeconds':"
     "30}}},'status':{}}"},
    {API_SERVICES, "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]}}",
     "{'metadata':{'name':'s'},'spec':{'internalTrafficPolicy':'Cluster','ports':[{'port':80,'protocol':'TCP','targetPort':80}],'sessionAffinity':'None','type':'ClusterIP'},"
     "'status':{'loadBalancer':{}}}"},
    {API_SERVICES, "{'metadata':{'name':'s'},'spec':{'type':'NodePort','sessionAffinity':'ClientIP','ports':[{'port':80,"
                   "'targetPort':'web'}]}}",
     "{'metadata':{'name':'s'},'spec':{'externalTrafficPolicy':'Cluster','internalTrafficPolicy':'Cluster','ports':[{'port':80,'protocol':'TCP','targetPort':'web'}],'sessionAffinity':"
     "'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':10800}},'type':'NodePort'},'status':{"
     "'loadBalancer':{}}}"},
    {API_SECRETS, "{'metadata':{'name':'s'},'data':{'b':'eA=='},'stringData':{'a':'x','b':'y'}}",
     "{'metadata':{'name':'s'},'data':{'a':'eA==','b':'eQ=='},'type':'Opaque'}"},
    {API_NAMESPACES, "{'metadata':{'name':'n','labels':{'a':'b','z':'y'}}}",
     "{'metadata':{'labels':{'a':'b','kubernetes.io/metadata.name':'n','z':'y'},'name':'n'},'spec':{},'status':{'phase':"
     "'Active'}}"},
    {API_ENDPOINTSLICES, "{'metadata':{'name':'n'},'addressType':'IPv4','endpoints':[],'ports':[{'port':1}]}",
     "{'metadata':{'name':'n'},'addressType':'IPv4','endpoints':[],'ports':[{'name':'','port':1,'protocol':'TCP'}]}"},
};

/* A value to JSON and back is sorted by the description alone, so both sides are compared as values. */
static void objects_get_what_upstream_fills_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const struct api_resource *r = &api_resources[cases[i].resource];
        void *value = prepare(arena, r, cases[i].json);
        cleanup_buffer struct buffer got = {0}, wanted = {0};
        json_encode(r->type, value, &got);
        json_encode(r->type, decode(arena, r, cases[i].stored), &wanted);
        assert_string_equal(got.data, wanted.data);
        api_set_defaults(arena, r, value);
        buffer_clear(&got);
        json_encode(r->type, value, &got);
        assert_string_equal(got.data, wanted.data);
    }
}

static void image_tags_decide_the_pull_policy(void **state)
{
    (void)state;
    static const char *const images[][2] = {
        {"nginx", "latest"},
        {"nginx:latest", "latest"},
        {"nginx:1.2", "1.2"},
        {"host:5000/nginx", "latest"},
        {"host:5000/nginx:1", "1"},
        {"nginx@sha256:00", ""},
        {"nginx:1@sha256:00", "1"},
    };
    char tag[20];
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        api_image_tag(images[i][0], tag, sizeof(tag));
        assert_string_equal(tag, images[i][1]);
    }
}

static void priorities_come_from_classes(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_PODS];
    struct priority_class class = {.metadata.name = "rare", .value = 7, .preemption_policy = "Never"};
    struct pod *pod = decode(arena, r, "{'metadata':{'name':'p'},'spec':{}}");
    assert_null(api_admit_priority(arena, pod, api_system_priority_class("system-node-critical")));
    assert_int_equal(pod->spec.priority.value, 2000001000);
    pod = decode(arena, r, "{'metadata':{'name':'p'},'spec':{}}");
    assert_null(api_admit_priority(arena, pod, &class));
    assert_string_equal(pod->spec.priority_class_name, "rare");
    assert_string_equal(pod->spec.preemption_policy, "Never");
    pod = decode(arena, r, "{'metadata':{'name':'p'},'spec':{'priority':5}}");
    assert_string_equal(api_admit_priority(arena, pod, &class)->message,
                        "pods \"p\" is forbidden: the integer value of priority (5) must not be provided in pod spec; "
                        "priority admission controller computed 7 from the given PriorityClass name");
    pod = decode(arena, r, "{'metadata':{'name':'p'},'spec':{'preemptionPolicy':'Never'}}");
    assert_string_equal(api_admit_priority(arena, pod, NULL)->message,
                        "pods \"p\" is forbidden: the string value of PreemptionPolicy (Never) must not be provided in "
                        "pod spec; priority admission controller computed PreemptLowerPriority from the given "
                        "PriorityClass name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_get_what_upstream_fills_in),
        cmocka_unit_test(image_tags_decide_the_pull_policy),
        cmocka_unit_test(priorities_come_from_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
