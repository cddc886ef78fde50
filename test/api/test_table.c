/* The promise of tables: the cells that upstream's kubectl get shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "api/table.h"
#include "base/timestamp.h"
#include "prepare.h"

#define LONG_NAME "a-name-of-sixty-characters-as-long-as-a-namespace-may-be-called"
#define META "'metadata':{'name':'x','namespace':'n','creationTimestamp':'2026-01-01T00:00:00Z'}"
#define TERMINATED(reason, code) "'state':{'terminated':{'reason':'" reason "','exitCode':" #code "}}"
#define SIDECAR "{'name':'s','restartPolicy':'Always'}"

/* Two minutes and five seconds after the objects were made. */
static const char now_text[] = "2026-01-01T00:02:05Z";

static const struct {
    enum api_resource_index resource;
    const char *json;
    const char *cells; /* with single quotes */
} rows[] = {
    {API_PODS,
     "{" META
     ",'spec':{'nodeName':'node','containers':[{'name':'a'},{'name':'b'}]},'status':{'phase':'Running','podIPs':[{"
     "'ip':'10.1.0.2'}],'containerStatuses':[{'name':'a','ready':true,'restartCount':3,'state':{'running':{}},'"
     "lastState':{"
     "'terminated':{'finishedAt':'2026-01-01T00:01:35Z'}}},{'name':'b','ready':true,'state':{'running':{}}}]}}",
     "['x','2/2','Running','3 (30s ago)','2m5s','10.1.0.2','node','<none>','<none>']"},
    {API_PODS, "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Pending'}}",
     "['x','0/1','Pending','0','2m5s','<none>','<none>','<none>','<none>']"},
    {API_PODS,
     "{" META
     ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Running','containerStatuses':[{'name':'a','state':{"
     "'waiting':{'reason':'CrashLoopBackOff'}}}]}}",
     "['x','0/1','CrashLoopBackOff','0','2m5s','<none>','<none>','<none>','<none>']"},
    {API_PODS,
     "{" META ",'spec':{'initContainers':[{'name':'i'},{'name':'j'}],'containers':[{'name':'a'}],'readinessGates':[{"
     "'conditionType':'g'}]},'status':{'phase':'Pending','initContainerStatuses':[{'name':'i'," TERMINATED(
         "Completed", 0) "},{'name':'j','state':{'running':{}}}]}}",
     "['x','0/1','Init:1/2','0','2m5s','<none>','<none>','<none>','0/1']"},
    {API_PODS,
     "{" META ",'spec':{'initContainers':[{'name':'i'}],'containers':[{'name':'a'}]},'status':{'phase':'Pending',"
     "'initContainerStatuses':[{'name':'i','state':{'terminated':{'exitCode':2}}}]}}",
     "['x','0/1','Init:ExitCode:2','0','2m5s','<none>','<none>','<none>','<none>']"},
    {API_PODS,
     "{" META ",'spec':{'initContainers':[{'name':'i'}],'containers':[{'name':'a'}]},'status':{'phase':'Pending',"
     "'initContainerStatuses':[{'name':'i','state':{'waiting':{'reason':'ImagePullBackOff'}}}]}}",
     "['x','0/1','Init:ImagePullBackOff','0','2m5s','<none>','<none>','<none>','<none>']"},
    /* A sidecar that has not started is waited for as an init container is. */
    {API_PODS,
     "{" META ",'spec':{'initContainers':[" SIDECAR "],'containers':[{'name':'a'}]},'status':{'phase':'Pending',"
     "'initContainerStatuses':[{'name':'s','started':false,'restartCount':2,'state':{'running':{}}}],"
     "'containerStatuses':[{'name':'a','state':{'waiting':{'reason':'PodInitializing'}}}]}}",
     "['x','0/2','Init:0/1','2','2m5s','<none>','<none>','<none>','<none>']"},
    {API_PODS,
     "{" META ",'spec':{'initContainers':[" SIDECAR "],'containers':[{'name':'a'}]},'status':{'phase':'Running',"
     "'initContainerStatuses':[{'name':'s','started':true,'ready':true,'restartCount':2,'state':{'running':{}}}],"
     "'containerStatuses':[{'name':'a','ready':true,'restartCount':1,'state':{'running':{}}}]}}",
     "['x','2/2','Running','3','2m5s','<none>','<none>','<none>','<none>']"},
    /* Once initialized, a sidecar between its runs hides nothing of the containers. */
    {API_PODS,
     "{" META ",'spec':{'initContainers':[" SIDECAR "],'containers':[{'name':'a'}]},'status':{'phase':'Running',"
     "'conditions':[{'type':'Initialized','status':'True'}],'initContainerStatuses':[{'name':'s','started':false,"
     "'restartCount':4,'state':{'waiting':{'reason':'CrashLoopBackOff'}}}],"
     "'containerStatuses':[{'name':'a','ready':true,'state':{'running':{}}}]}}",
     "['x','1/2','Init:CrashLoopBackOff','4','2m5s','<none>','<none>','<none>','<none>']"},
    {API_PODS,
     "{" META
     ",'spec':{'containers':[{'name':'a'},{'name':'b'}]},'status':{'phase':'Running','containerStatuses':[{'name':"
     "'a'," TERMINATED("Completed", 0) "},{'name':'b','ready':true,'state':{'running':{}}}]}}",
     "['x','1/2','NotReady','0','2m5s','<none>','<none>','<none>','<none>']"},
    {API_PODS,
     "{'metadata':{'name':'x','creationTimestamp':'2026-01-01T00:00:00Z','deletionTimestamp':'2026-01-01T00:00:00Z'},'"
     "spec':"
     "{'containers':[{'name':'a'}]},'status':{'phase':'Running'}}",
     "['x','0/1','Terminating','0','2m5s','<none>','<none>','<none>','<none>']"},
    {API_DEPLOYMENTS,
     "{" META
     ",'spec':{'replicas':3,'selector':{'matchLabels':{'app':'x'}},'template':{'spec':{'containers':[{'name':'a',"
     "'image':'i:1'},{'name':'b','image':'j'}]}}},'status':{'readyReplicas':1,'updatedReplicas':2,'availableReplicas':"
     "1}}",
     "['x','1/3',2,1,'2m5s','a,b','i:1,j','app=x']"},
    {API_REPLICASETS, "{" META ",'spec':{'replicas':3},'status':{'replicas':2,'readyReplicas':1}}",
     "['x',3,2,1,'2m5s','','','<none>']"},
    {API_SERVICES,
     "{" META
     ",'spec':{'type':'NodePort','clusterIPs':['10.0.0.1'],'ports':[{'port':80,'nodePort':30080,'protocol':'TCP'},{"
     "'port':53,'protocol':'UDP'}],'selector':{'a':'b','c':'d'}}}",
     "['x','NodePort','10.0.0.1','<none>','80:30080/TCP,53/UDP','2m5s','a=b,c=d']"},
    {API_SERVICES,
     "{" META ",'spec':{'type':'LoadBalancer','externalIPs':['1.1.1.1']},'status':{'loadBalancer':{'ingress':[{'ip':"
     "'fd00::1'},{'hostname':'h'},{'ip':'10.0.0.2'},{'ip':'fd00::1'}]}}}",
     "['x','LoadBalancer','<none>','10.0.0.2,fd00::1,h,1.1.1.1','<none>','2m5s','<none>']"},
    {API_SERVICES, "{" META ",'spec':{'type':'LoadBalancer'}}",
     "['x','LoadBalancer','<none>','<pending>','<none>','2m5s','<none>']"},
    {API_ENDPOINTS,
     "{" META
     ",'subsets':[{'addresses':[{'ip':'1.1.1.1'},{'ip':'1.1.1.2'},{'ip':'1.1.1.3'},{'ip':'1.1.1.4'}],'ports':[{"
     "'port':80}]}]}",
     "['x','1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 1 more...','2m5s']"},
    {API_ENDPOINTS, "{" META "}", "['x','<none>','2m5s']"},
    {API_ENDPOINTS, "{" META ",'subsets':[{'notReadyAddresses':[{'ip':'1.1.1.1'}],'ports':[{'port':80}]}]}",
     "['x','','2m5s']"},
    {API_ENDPOINTSLICES,
     "{" META ",'addressType':'IPv4','endpoints':[{'addresses':['1.1.1.1']}],'ports':[{'port':80},{'name':'n'}]}",
     "['x','IPv4','80,n','1.1.1.1','2m5s']"},
    {API_NODES,
     "{'metadata':{'name':'x','labels':{'node-role.kubernetes.io/worker':'','node-role.kubernetes.io/"
     "control-plane':''}},"
     "'spec':{'unschedulable':true},'status':{'conditions':[{'type':'Ready','status':'True'}],'nodeInfo':{"
     "'kubeletVersion':'v1'},'addresses':[{'type':'InternalIP','address':'1.2.3.4'}]}}",
     "['x','Ready,SchedulingDisabled','control-plane,worker','<unknown>','v1','1.2.3.4','<none>','<unknown>','<unknown>"
     "',"
     "'<unknown>']"},
    {API_NAMESPACES, "{" META ",'status':{'phase':'Active'}}", "['x','Active','2m5s']"},
    {API_CONFIGMAPS, "{" META ",'data':{'a':'','b':''},'binaryData':{'c':''}}", "['x',3,'2m5s']"},
    {API_SECRETS, "{" META ",'type':'Opaque','data':{'a':''}}", "['x','Opaque',1,'2m5s']"},
    {API_SERVICEACCOUNTS, "{" META "}", "['x',0,'2m5s']"},
    {API_EVENTS,
     "{'metadata':{'name':'x'},'type':'Normal','reason':'Pulled','message':' done\\n','count':2,'firstTimestamp':"
     "'2026-01-01T00:00:00Z','lastTimestamp':'2026-01-01T00:02:00Z','involvedObject':{'kind':'Pod','name':'p','"
     "fieldPath':"
     "'f'},'source':{'component':'kubelet','host':'n'}}",
     "['5s','Normal','Pulled','pod/p','f','kubelet, n','done','2m5s',2,'x']"},
    {API_LEASES, "{" META ",'spec':{'holderIdentity':'h'}}", "['x','h','2m5s']"},
    {API_PERSISTENTVOLUMES,
     "{" META ",'spec':{'capacity':{'storage':'5Gi'},'accessModes':['ReadWriteMany','ReadWriteOnce'],"
     "'persistentVolumeReclaimPolicy':'Retain','claimRef':{'namespace':'default','name':'c'},'storageClassName':'slow',"
     "'volumeMode':'Filesystem'},'status':{'phase':'Bound'}}",
     "['x','5Gi','RWO,RWX','Retain','Bound','default/c','slow','<unset>','','2m5s','Filesystem']"},
    {API_PERSISTENTVOLUMES,
     "{" META ",'spec':{'claimRef':{'namespace':'" LONG_NAME "','name':'" LONG_NAME LONG_NAME LONG_NAME "'}}}",
     "['x','0','','','','" LONG_NAME "/" LONG_NAME LONG_NAME LONG_NAME "','','<unset>','','2m5s','<unset>']"},
    {API_PERSISTENTVOLUMECLAIMS,
     "{" META ",'spec':{'volumeName':'v','resources':{'requests':{'storage':'1Gi'}},'storageClassName':'slow',"
     "'volumeMode':'Filesystem'},'status':{'phase':'Bound','capacity':{'storage':'5Gi'},'accessModes':["
     "'ReadWriteOncePod']}}",
     "['x','Bound','v','5Gi','RWOP','slow','<unset>','2m5s','Filesystem']"},
    {API_PERSISTENTVOLUMECLAIMS,
     "{" META ",'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}},'status':{'phase':"
     "'Pending'}}",
     "['x','Pending','','','','','<unset>','2m5s','<unset>']"},
    {API_STORAGECLASSES,
     "{'metadata':{'name':'x','creationTimestamp':'2026-01-01T00:00:00Z','annotations':{"
     "'storageclass.kubernetes.io/is-default-class':'true'}},'provisioner':'p','volumeBindingMode':"
     "'WaitForFirstConsumer'}",
     "['x (default)','p','Delete','WaitForFirstConsumer','false','2m5s']"},
    {API_INGRESSES,
     "{" META
     ",'spec':{'ingressClassName':'c','rules':[{'host':'a'},{'host':'b'},{},{'host':'c'},{'host':'d'}],'tls':[{}]},"
     "'status':{'loadBalancer':{'ingress':[{'ip':'10.0.0.2'},{'hostname':'h'},{'ip':'10.0.0.2'}]}}}",
     "['x','c','a,b,c + 2 more...','10.0.0.2,h','80, 443','2m5s']"},
    {API_INGRESSES, "{" META ",'spec':{'rules':[{}]}}", "['x','<none>','*','','80','2m5s']"},
    {API_INGRESSCLASSES, "{" META ",'spec':{'controller':'a.b/c'}}", "['x','a.b/c','<none>','2m5s']"},
    {API_INGRESSCLASSES, "{" META ",'spec':{'controller':'a.b/c','parameters':{'apiGroup':'g','kind':'K','name':'n'}}}",
     "['x','a.b/c','K.g/n','2m5s']"},
    {API_ROLES, "{" META "}", "['x','2026-01-01T00:00:00Z']"},
    {API_CLUSTERROLES, "{'metadata':{'name':'x'}}", "['x','0001-01-01T00:00:00Z']"},
    {API_ROLEBINDINGS,
     "{" META ",'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':'User','name':'u'},{'kind':'ServiceAccount',"
     "'namespace':'n','name':'s'},{'kind':'User','name':'v'},{'kind':'Group','name':'g'}]}",
     "['x','Role/r','2m5s','u, v','g','n/s']"},
    {API_CLUSTERROLEBINDINGS, "{" META ",'roleRef':{'kind':'ClusterRole','name':'r'}}",
     "['x','ClusterRole/r','2m5s','','','']"},
    {API_NETWORKPOLICIES, "{" META ",'spec':{'podSelector':{}}}", "['x','<none>','2m5s']"},
    {API_NETWORKPOLICIES, "{" META ",'spec':{'podSelector':{'matchLabels':{'a':'b'}}}}", "['x','a=b','2m5s']"},
};

static struct table_options options_now(void)
{
    struct table_options options = {.api_version = "meta.k8s.io/v1", .include = TABLE_INCLUDE_NONE};
    assert_int_equal(time_parse(now_text, &options.now), 0);
    return options;
}

static void rows_show_upstreams_cells(void **state)
{
    (void)state;
    struct table_options options = options_now();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const struct api_resource *r = &api_resources[rows[i].resource];
        cleanup_buffer struct buffer out = {0};
        table_row(r, &options, decode(arena, r, rows[i].json), NULL, 0, 0, &out);
        cleanup_buffer struct buffer wanted = {0};
        buffer_add_string(&wanted, "{\"cells\":");
        for (const char *c = rows[i].cells; *c; c++)
            buffer_add_string(&wanted, *c == '\''  ? "\""
                                       : *c == '<' ? "\\u003c"
                                       : *c == '>' ? "\\u003e"
                                                   : (char[]){*c, 0});
        buffer_add_string(&wanted, ",\"object\":null}");
        assert_string_equal(out.data, wanted.data);
    }
}

static void a_table_names_its_columns_and_objects(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_CONFIGMAPS];
    struct table_options options = options_now();
    options.include = TABLE_INCLUDE_METADATA;
    cleanup_buffer struct buffer out = {0};
    table_begin(r, &options, &(struct list_meta){.resource_version = "7"}, &out);
    void *value = decode(arena, r, "{'metadata':{'name':'x'}}");
    table_row(r, &options, value, NULL, 0, 0, &out);
    options.include = TABLE_INCLUDE_OBJECT;
    table_row(r, &options, value, NULL, 0, 1, &out);
    table_end(&out);
    assert_non_null(
        strstr(out.data, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"resourceVersion\":"
                         "\"7\"},\"columnDefinitions\":[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","));
    assert_non_null(strstr(
        out.data, "\"rows\":[{\"cells\":[\"x\",0,\"\\u003cunknown\\u003e\"],\"object\":{\"kind\":"
                  "\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"name\":\"x\"}}}"
                  ",{\"cells\":[\"x\",0,\"\\u003cunknown\\u003e\"],\"object\":{\"metadata\":{\"name\":\"x\"}}}]}"));
}

/* What is written row by row is what the descriptions say. */
static void tables_and_metadata_fit_their_descriptions(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_PODS];
    struct table_options options = options_now();
    options.include = TABLE_INCLUDE_METADATA;
    void *value = decode(arena, r, "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed'}}");
    cleanup_buffer struct buffer out = {0}, again = {0};
    table_begin(r, &options, &(struct list_meta){.resource_version = "7"}, &out);
    table_row(r, &options, value, NULL, 0, 0, &out);
    table_row(r, &options, value, NULL, 0, 1, &out);
    table_end(&out);
    struct table table = {0};
    struct json_report report = {0};
    assert_int_equal(json_decode(&api_type_table, arena, out.data, out.size, &table, &report, NULL), 0);
    assert_int_equal(report.count, 0);
    assert_string_equal(table.column_definitions.items[0].name, "Name");
    assert_int_equal(table.rows.count, 2);
    assert_string_equal(table.rows.items[1].conditions.items[0].message, "The pod failed.");
    json_encode(&api_type_table, &table, &again);
    assert_string_equal(again.data, out.data);

    struct partial_object_metadata_list list = {0};
    buffer_clear(&out);
    buffer_clear(&again);
    partial_metadata_list_begin(options.api_version, &(struct list_meta){.resource_version = "7"}, &out);
    partial_metadata_item(r, options.api_version, value, 0, &out);
    partial_metadata_item(r, options.api_version, value, 1, &out);
    partial_metadata_list_end(&out);
    assert_int_equal(
        json_decode(&api_type_partial_object_metadata_list, arena, out.data, out.size, &list, &report, NULL), 0);
    assert_int_equal(report.count, 0);
    assert_string_equal(list.items.items[1].metadata.name, "x");
    json_encode(&api_type_partial_object_metadata_list, &list, &again);
    assert_string_equal(again.data, out.data);
}

/* Later events of a watch leave the columns out. */
static void columns_are_null_when_nobody_asked_for_headers(void **state)
{
    (void)state;
    struct table_options options = options_now();
    options.no_headers = true;
    cleanup_buffer struct buffer out = {0};
    table_begin(&api_resources[API_PODS], &options, NULL, &out);
    table_end(&out);
    assert_string_equal(out.data, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},"
                                  "\"columnDefinitions\":null,\"rows\":[]}");
}

static void ages_are_as_short_as_kubectls(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } ages[] = {
        {-5, "<invalid>"},       {-1, "0s"},          {119, "119s"},         {120, "2m"},
        {599, "9m59s"},          {600, "10m"},        {10799, "179m"},       {10800, "3h"},
        {7 * 3600 + 60, "7h1m"}, {47 * 3600, "47h"},  {49 * 3600, "2d1h"},   {8 * 86400, "8d"},
        {729 * 86400, "729d"},   {730 * 86400, "2y"}, {731 * 86400, "2y1d"}, {INT64_C(3000) * 86400, "8y"},
    };
    char text[HUMAN_DURATION_MAX];
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++)
        assert_string_equal(human_duration(ages[i].seconds * SECOND, text), ages[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_show_upstreams_cells),
        cmocka_unit_test(a_table_names_its_columns_and_objects),
        cmocka_unit_test(tables_and_metadata_fit_their_descriptions),
        cmocka_unit_test(columns_are_null_when_nobody_asked_for_headers),
        cmocka_unit_test(ages_are_as_short_as_kubectls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
