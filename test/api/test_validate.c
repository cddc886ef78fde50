/* The promise of validation: upstream's answers, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "prepare.h"

#define POD(spec) "{'metadata':{'name':'p','namespace':'default'},'spec':" spec "}"
#define CONTAINER(more) "{'name':'c','image':'i'" more "}"
#define POD_OF(more) POD("{'containers':[" CONTAINER(more) "]}")
#define DEPLOYMENT(spec) "{'metadata':{'name':'d','namespace':'default'},'spec':{" spec "}}"
#define TEMPLATE "'template':{'metadata':{'labels':{'app':'y'}},'spec':{'containers':[" CONTAINER("") "]}}"
#define SELECTOR "'selector':{'matchLabels':{'app':'y'}}"
#define DIGITS_62 "12345678901234567890123456789012345678901234567890123456789012"
#define REGISTRY_SECRET(data)                                                                                          \
    "{'metadata':{'name':'s','namespace':'default'},'type':'kubernetes.io/dockerconfigjson','data':{"                 \
    "'.dockerconfigjson':'" data "'}}"
#define SERVICE(spec) "{'metadata':{'name':'s','namespace':'default'},'spec':{" spec "}}"

static const struct {
    enum api_resource_index resource;
    const char *json;
    const char *message;
} creations[] = {
    {API_PODS, POD_OF(""), ""},
    {API_PODS, POD("{}"), "Pod \"p\" is invalid: spec.containers: Required value"},
    {API_PODS, POD("{'containers':[{'name':'A','image':'i'}]}"),
     "Pod \"p\" is invalid: spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of "
     "lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. "
     "'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
    {API_NODES, "{'metadata':{'name':'n'},'spec':{'podCIDR':'10.0.0.0/33'}}",
     "Node \"n\" is invalid: spec.podCIDRs[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. "
     "10.9.8.0/24 or 2001:db8::/64)"},
    {API_NODES, "{'metadata':{'name':'n'},'spec':{'podCIDRs':['10.0.0.0/24','10.0.1.0/24']}}",
     "Node \"n\" is invalid: spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than "
     "one CIDR for each IP family"},
    {API_NODES, "{'metadata':{'name':'n'},'spec':{'podCIDRs':['10.0.0.0/24','fd00::/64']}}", ""},
    {API_PODS,
     "{'metadata':{'name':'p','namespace':'x','ownerReferences':[{'apiVersion':'foo/bar/x','kind':'K','name':"
     "'n','uid':'u'}]},'spec':{'containers':[" CONTAINER("") "]}}",
     "Pod \"p\" is invalid: metadata.ownerReferences.apiVersion: Invalid value: \"foo/bar/x\": version must not be "
     "empty"},
    {API_PODS, POD("{'containers':[{'name':'a.b'}]}"),
     "Pod \"p\" is invalid: [spec.containers[0].name: Invalid value: \"a.b\": must not contain dots, "
     "spec.containers[0].image: Required value]"},
    {API_PODS, POD("{'restartPolicy':'Sometimes','containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", "
     "\"OnFailure\", \"Never\""},
    {API_PODS, POD("{'containers':[" CONTAINER("") "," CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.containers[1].name: Duplicate value: \"c\""},
    {API_PODS, POD_OF(",'volumeMounts':[{'name':'v','mountPath':'/x'}]"),
     "Pod \"p\" is invalid: spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
#define SEARCH                                                                                                         \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must "    \
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "                  \
    "'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
    {API_PODS, POD("{'dnsConfig':{'searches':['_tcp.example','a._b_c.d.','.']},'containers':[" CONTAINER("") "]}"), ""},
    {API_PODS, POD("{'dnsConfig':{'searches':['__a']},'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.dnsConfig.searches[0]: Invalid value: \"__a\": " SEARCH},
    {API_PODS, POD("{'dnsConfig':{'searches':['a._']},'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.dnsConfig.searches[0]: Invalid value: \"a._\": " SEARCH},
    {API_PODS, POD_OF(",'livenessProbe':{}"),
     "Pod \"p\" is invalid: spec.containers[0].livenessProbe: Required value: must specify a handler type"},
    {API_PODS, POD_OF(",'livenessProbe':{'httpGet':{'port':0},'successThreshold':2}"),
     "Pod \"p\" is invalid: [spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and "
     "65535, inclusive, spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1]"},
    {API_PODS, POD_OF(",'resources':{'requests':{'cpu':'2'},'limits':{'cpu':'1'}}"),
     "Pod \"p\" is invalid: spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to "
     "cpu limit of 1"},
    {API_PODS,
     POD("{'resources':{'requests':{'cpu':'1','memory':'200M'}},'containers':[" CONTAINER(
         ",'resources':{'requests':{'cpu':'1500m','memory':'100M'}}") ","
                                                                      "{'name':'d','image':'i','resources':{'requests':"
                                                                      "{'cpu':'500m','memory':'150M'}}}]}"),
     "Pod \"p\" is invalid: [spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to "
     "aggregate container requests of 2, spec.resources.requests[memory]: Invalid value: \"200M\": must be greater "
     "than "
     "or equal to aggregate container requests of 250M]"},
    {API_PODS,
     POD("{'resources':{'requests':{'memory':'1Gi'}},'containers':[" CONTAINER(
         "") "],'initContainers':["
             "{'name':'d','image':'i','resources':{'requests':{'memory':'2Gi'}}}]}"),
     "Pod \"p\" is invalid: spec.resources.requests[memory]: Invalid value: \"1Gi\": must be greater than or equal to "
     "aggregate container requests of 2Gi"},
    {API_PODS,
     POD("{'resources':{'limits':{'cpu':'1','memory':'1Gi'}},'containers':[" CONTAINER(
         ",'resources':{'limits':{'cpu':'1','memory':'2Gi'},'requests':{'memory':'1Mi','cpu':'1m'}}") "]}"),
     "Pod \"p\" is invalid: spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or "
     "equal to pod limits of 1Gi"},
    /* Together their limits may be more. */
    {API_PODS,
     POD("{'resources':{'limits':{'cpu':'1'}},'containers':[" CONTAINER(
         ",'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'1m'}}") ","
                                                                        "{'name':'d','image':'i','resources':{'limits':"
                                                                        "{'cpu':'1'},'requests':{'cpu':'1m'}}}]}"),
     ""},
    {API_PODS,
     POD("{'resources':{'limits':{'cpu':'1','hugepages-2Mi':'2Mi'}},'containers':[" CONTAINER(
         ",'resources':{'limits':{'cpu':'1','hugepages-2Mi':'2Mi'},'requests':{'cpu':'1m'}}") ","
                                                                                              "{'name':'d','image':'i',"
                                                                                              "'resources':{'limits':{'"
                                                                                              "cpu':'1','hugepages-2Mi'"
                                                                                              ":'2Mi'},'requests':{'"
                                                                                              "cpu':'1m'}}}"
                                                                                              "]}"),
     "Pod \"p\" is invalid: spec.resources.limits[hugepages-2Mi]: Invalid value: \"2Mi\": must be greater than or "
     "equal "
     "to aggregate container limits of 4Mi"},
    {API_PODS, POD("{'os':{'name':'windows'},'resources':{'requests':{'cpu':'1'}},'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.resources: Forbidden: may not be set for a windows pod"},
    {API_PODS,
     POD("{'os':{'name':'windows'},'hostPID':true,'shareProcessNamespace':false,'securityContext':{"
         "'fsGroup':1,'runAsUser':1,'windowsOptions':{'runAsUserName':'x'}},'containers':[" CONTAINER(
             ",'securityContext':{'privileged':false,'capabilities':{},'runAsNonRoot':true}") "]}"),
     "Pod \"p\" is invalid: [spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod, "
     "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod, spec.hostPID: Forbidden: cannot be "
     "set for a windows pod, spec.shareProcessNamespace: Forbidden: cannot be set for a windows pod, "
     "spec.containers[0].securityContext.capabilities: Forbidden: cannot be set for a windows pod, "
     "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod]"},
    {API_PODS,
     POD("{'os':{'name':'linux'},'securityContext':{'windowsOptions':{'runAsUserName':'x'}},'containers':[" CONTAINER(
         ",'securityContext':{'windowsOptions':{'runAsUserName':'x'}}") "]}"),
     "Pod \"p\" is invalid: [spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux "
     "pod, spec.containers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux "
     "pod]"},
    {API_PODS,
     POD("{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true},'containers':[" CONTAINER("") "]}"), ""},
    {API_PODS, POD("{'os':{'name':'plan9'},'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""},
    {API_PODS, POD("{'hostnameOverride':'a." DIGITS_62 "','containers':[" CONTAINER("") "]}"), ""},
    {API_PODS, POD("{'hostnameOverride':'aa." DIGITS_62 "','containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.hostnameOverride: Too long: may not be more than 64 bytes"},
    {API_PODS, POD("{'hostnameOverride':'-','containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.hostnameOverride: Invalid value: \"-\": a lowercase RFC 1123 subdomain must consist "
     "of "
     "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
     "'example.com', regex used for validation is "
     "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    {API_PODS,
     POD("{'hostnameOverride':'a','hostNetwork':true,'setHostnameAsFQDN':true,'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: [spec.hostNetwork: Forbidden: may not be true when `hostnameOverride` is set, "
     "spec.setHostnameAsFQDN: Forbidden: may not be true when `hostnameOverride` is set]"},
    {API_PODS, POD_OF(",'resources':{'limits':{'foo':'1'}}"),
     "Pod \"p\" is invalid: [spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard "
     "resource type or fully qualified, spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a "
     "standard resource for containers, spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a "
     "standard resource type or fully qualified, spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": "
     "must be a standard resource for containers]"},
    {API_PODS, POD_OF(",'env':[{'name':'A','value':'x','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}}}]"),
     "Pod \"p\" is invalid: spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when "
     "`value` is not empty"},
    {API_PODS, POD_OF(",'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':'metadata.nam'}}}]"),
     "Pod \"p\" is invalid: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.nam\": "
     "error converting fieldPath: field label not supported: metadata.nam"},
    /* The brackets of a subscript share no character. */
    {API_PODS, POD_OF(",'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':'a[\\u0027]'}}}]"),
     "Pod \"p\" is invalid: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"a[']\": error "
     "converting fieldPath: field label not supported: a[']"},
#define FILE_KEY(volume)                                                                                               \
    POD("{'volumes':[{'name':'v','emptyDir':{}},{'name':'h','hostPath':{'path':'/x'}}],'containers':[" CONTAINER(      \
        ",'env':[{'name':'A','valueFrom':{'fileKeyRef':{'volumeName':'" volume "','path':'f','key':'K'}}}]") "]}")
    {API_PODS, FILE_KEY("v"), ""},
    {API_PODS, FILE_KEY("h"),
     "Pod \"p\" is invalid: spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: \"h\": "
     "referenced volume must be of type emptyDir"},
    {API_PODS, FILE_KEY("n"),
     "Pod \"p\" is invalid: spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"n\""},
    {API_PODS, FILE_KEY(""),
     "Pod \"p\" is invalid: spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Required value"},
    {API_PODS, POD_OF(",'env':[{'name':'A=B','value':'x'}]"),
     "Pod \"p\" is invalid: spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name "
     "must consist only of printable ASCII characters other than '='"},
    {API_PODS, POD_OF(",'ports':[{'containerPort':80,'protocol':'HTTP'}]"),
     "Pod \"p\" is invalid: spec.containers[0].ports[0].protocol: Unsupported value: \"HTTP\": supported values: "
     "\"SCTP\", \"TCP\", \"UDP\""},
    {API_PODS,
     POD("{'volumes':[{'name':'v','emptyDir':{},'hostPath':{'path':'/x'}}],'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"},
    {API_PODS,
     POD("{'volumes':[{'name':'v','secret':{'secretName':'s','items':[{'key':'a','path':'../b'}]}}],"
         "'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.volumes[0].secret.items[0].path: Invalid value: \"../b\": must not contain '..'"},
    {API_PODS,
     "{'metadata':{'name':'p','namespace':'default','labels':{'a b':'c'}},'spec':{'containers':[" CONTAINER("") "]}}",
     "Pod \"p\" is invalid: metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric "
     "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
     "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    {API_PODS,
     POD("{'hostNetwork':true,'securityContext':{'sysctls':[{'name':'net/ipv4/tcp_syncookies','value':'1'},"
         "{'name':'kernel.shm_rmid_forced','value':'1'}]},'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.securityContext.sysctls[0].name: Invalid value: \"net/ipv4/tcp_syncookies\": may not "
     "be "
     "specified when 'hostNetwork' is true"},
    {API_PODS,
     POD("{'hostIPC':true,'securityContext':{'sysctls':[{'name':'net.ipv4.tcp_syncookies','value':'1'},"
         "{'name':'kernel.sem','value':'1'}]},'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.securityContext.sysctls[1].name: Invalid value: \"kernel.sem\": may not be specified "
     "when 'hostIPC' is true"},
    {API_PODS, POD("{'tolerations':[{'effect':'NoSchedule'}],'containers':[" CONTAINER("") "]}"),
     "Pod \"p\" is invalid: spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is "
     "empty, which means \"match all values and all keys\""},
    {API_PODS, "{'metadata':{'namespace':'default'},'spec':{'containers':[" CONTAINER("") "]}}",
     "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required"},

    {API_DEPLOYMENTS, DEPLOYMENT(SELECTOR "," TEMPLATE), ""},
    {API_DEPLOYMENTS, DEPLOYMENT("'selector':{'matchLabels':{'app':'x'}}," TEMPLATE),
     "Deployment.apps \"d\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does "
     "not match template `labels`"},
    {API_DEPLOYMENTS, DEPLOYMENT(TEMPLATE),
     "Deployment.apps \"d\" is invalid: [spec.selector: Required value, spec.template.metadata.labels: Invalid value: "
     "{\"app\":\"y\"}: `selector` does not match template `labels`]"},
    {API_DEPLOYMENTS, DEPLOYMENT("'selector':{}," TEMPLATE),
     "Deployment.apps \"d\" is invalid: spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
    {API_DEPLOYMENTS, DEPLOYMENT("'replicas':-1," SELECTOR "," TEMPLATE),
     "Deployment.apps \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
    {API_DEPLOYMENTS,
     DEPLOYMENT("'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':0}}," SELECTOR "," TEMPLATE),
     "Deployment.apps \"d\" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 "
     "when "
     "`maxSurge` is 0"},
    {API_DEPLOYMENTS, DEPLOYMENT("'strategy':{'rollingUpdate':{'maxUnavailable':'101%'}}," SELECTOR "," TEMPLATE),
     "Deployment.apps \"d\" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not "
     "be "
     "greater than 100%"},
    {API_DEPLOYMENTS, DEPLOYMENT("'strategy':{'type':'Big'}," SELECTOR "," TEMPLATE),
     "Deployment.apps \"d\" is invalid: spec.strategy: Unsupported value: {\"Type\":\"Big\",\"RollingUpdate\":null}: "
     "supported values: \"Recreate\", \"RollingUpdate\""},

    {API_SERVICES, SERVICE("'ports':[{'port':80}]"), ""},
    {API_SERVICES, SERVICE(""), "Service \"s\" is invalid: spec.ports: Required value"},
    {API_SERVICES, "{'metadata':{'name':'1s','namespace':'default'},'spec':{'ports':[{'port':80}]}}",
     "Service \"1s\" is invalid: metadata.name: Invalid value: \"1s\": a DNS-1035 label must consist of lower case "
     "alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. "
     "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"},
    {API_SERVICES, SERVICE("'ports':[{'port':80},{'port':81}]"),
     "Service \"s\" is invalid: [spec.ports[0].name: Required value, spec.ports[1].name: Required value]"},
    {API_SERVICES, SERVICE("'ports':[{'port':0}]"),
     "Service \"s\" is invalid: [spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
     "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive]"},
    {API_SERVICES, SERVICE("'type':'Nodeport','ports':[{'port':80}]"),
     "Service \"s\" is invalid: spec.type: Unsupported value: \"Nodeport\": supported values: \"ClusterIP\", "
     "\"ExternalName\", \"LoadBalancer\", \"NodePort\""},

    {API_CONFIGMAPS, "{'metadata':{'name':'c','namespace':'default'},'data':{'a/b':'x'}}",
     "ConfigMap \"c\" is invalid: data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric "
     "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
     "'[-._a-zA-Z0-9]+')"},
    {API_SECRETS, REGISTRY_SECRET("e30="),
     ""},
    {API_SECRETS, REGISTRY_SECRET("bnVsbA=="),
     ""},
    {API_SECRETS, REGISTRY_SECRET("bm90anNvbg=="),
     "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "
     "invalid character 'o' in literal null (expecting 'u')"},
    {API_SECRETS, REGISTRY_SECRET(""),
     "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "
     "unexpected end of JSON input"},
    {API_SECRETS, REGISTRY_SECRET("WyJhIl0="),
     "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "
     "json: cannot unmarshal array into Go value of type map[string]interface {}"},
    {API_SECRETS, REGISTRY_SECRET("ICJ4Ig=="),
     "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "
     "json: cannot unmarshal string into Go value of type map[string]interface {}"},
    {API_SECRETS, REGISTRY_SECRET("dHJ1ZQ=="),
     "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "
     "json: cannot unmarshal bool into Go value of type map[string]interface {}"},
    {API_SECRETS, REGISTRY_SECRET("LTE="),
     "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "
     "json: cannot unmarshal number into Go value of type map[string]interface {}"},
    {API_SECRETS, "{'metadata':{'name':'s','namespace':'default'},'type':'kubernetes.io/tls'}",
     "Secret \"s\" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required value]"},
    {API_NAMESPACES, "{'metadata':{'name':'n','namespace':'x'}}",
     "Namespace \"n\" is invalid: metadata.namespace: Forbidden: not allowed on this type"},
#define SLICE(more)                                                                                                    \
    "{'metadata':{'name':'e','namespace':'x'},'addressType':'IPv4','endpoints':[{'addresses':['10.0.0.1']" more "}]}"
#define BAD_SLICE "EndpointSlice.discovery.k8s.io \"e\" is invalid: "
#define NAMED(a) "{'name':'" a "'}"
#define LABEL_64 "a234567890123456789012345678901234567890123456789012345678901234"
#define NINE                                                                                                           \
    NAMED("a")                                                                                                         \
    "," NAMED("b") "," NAMED("c") "," NAMED("d") "," NAMED("e") "," NAMED("f") "," NAMED("g") "," NAMED(               \
        "h") "," NAMED("i")
    {API_ENDPOINTSLICES, SLICE(",'hints':{'forNodes':[" NAMED("a.b") "],'forZones':[" NAMED("A_b") "]}"), ""},
#define NAMES(addresses)                                                                                               \
    "{'metadata':{'name':'e','namespace':'x'},'addressType':'FQDN','endpoints':[{'addresses':[" addresses "]}]}"
    {API_ENDPOINTSLICES, NAMES("'a.example','b.example.'"), ""},
    {API_ENDPOINTSLICES, NAMES("'','a.','a..b'"),
     BAD_SLICE "[endpoints[0].addresses[0]: Required value, endpoints[0].addresses[1]: Invalid value: \"a\": should be a "
               "domain with at least two segments separated by dots, endpoints[0].addresses[2]: Invalid value: "
               "\"a..b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
               "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
               "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]"},
    {API_ENDPOINTSLICES, NAMES("'" LABEL_64 ".example'"),
     BAD_SLICE "endpoints[0].addresses[0]: Invalid value: \"" LABEL_64 "\": must be no more than 63 bytes"},
    {API_ENDPOINTSLICES, SLICE(",'hints':{'forNodes':[" NINE "]}"),
     BAD_SLICE "endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"},
    {API_ENDPOINTSLICES, SLICE(",'hints':{'forZones':[" NINE "],'forNodes':[" NINE "]}"),
     BAD_SLICE "endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"},
    {API_ENDPOINTSLICES, SLICE(",'hints':{'forNodes':[" NAMED("a") "," NAMED("a") "]}"),
     BAD_SLICE "endpoints[0].hints.forNodes[1].name: Duplicate value: \"a\""},
    {API_ENDPOINTSLICES, SLICE(",'hints':{'forZones':[" NAMED("a") "," NAMED("a") "]}"),
     BAD_SLICE "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\""},
    {API_ENDPOINTSLICES, SLICE(",'hints':{'forNodes':[" NAMED("A_b") "]}"),
     BAD_SLICE "endpoints[0].hints.forNodes[0].name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must "
               "consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
               "character (e.g. 'example.com', regex used for validation is "
               "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    {API_ENDPOINTSLICES,
     SLICE(",'deprecatedTopology':{'1':'','2':'','3':'','4':'','5':'','6':'','7':'','8':'','9':'','10':'','11':'',"
           "'12':'','13':'','14':'','15':'','16':''}"),
     ""},
    {API_ENDPOINTSLICES,
     SLICE(",'deprecatedTopology':{'1':'','2':'','3':'','4':'','5':'','6':'','7':'','8':'','9':'','10':'','11':'',"
           "'12':'','13':'','14':'','15':'','16':'','17':''}"),
     BAD_SLICE "endpoints[0].deprecatedTopology: Too many: 17: must have at most 16 items"},
    {API_ENDPOINTSLICES,
     "{'metadata':{'name':'e','namespace':'x'},'addressType':'IPv4','endpoints':[{'addresses':"
     "['127.0.0.1']}]}",
     "EndpointSlice.discovery.k8s.io \"e\" is invalid: endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may "
     "not "
     "be in the loopback range (127.0.0.0/8, ::1/128)"},
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

#define CHANGED(name, spec)                                                                                            \
    "{'metadata':{'name':'" name "','namespace':'default','resourceVersion':'1'},'spec':{" spec "}}"
#define BALANCER(more) CHANGED("s", "'type':'LoadBalancer','ports':[{'port':80}]" more)
#define BOTH_FAMILIES(families)                                                                                        \
    CHANGED("s", "'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1','fd00::1'],'ipFamilyPolicy':'RequireDualStack',"     \
                 "'ipFamilies':[" families "],'ports':[{'port':80}]")
#define INDEXED_JOB(more)                                                                                              \
    CHANGED("j", "'completionMode':'Indexed','completions':1,'parallelism':1,'manualSelector':true,'selector':{"       \
                 "'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'restartPolicy':"       \
                 "'Never','containers':[{'name':'c','image':'i'}]}}" more)

static const struct {
    enum api_resource_index resource;
    const char *old;
    const char *now;
    const char *message; /* how it begins */
} changes[] = {
    {API_DEPLOYMENTS, DEPLOYMENT(SELECTOR "," TEMPLATE),
     "{'metadata':{'name':'d','namespace':'default','resourceVersion':'1'},'spec':{'selector':{'matchLabels':{'app':'z'"
     "}}," TEMPLATE "}}",
     "Deployment.apps \"d\" is invalid: [spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` "
     "does "
     "not match template `labels`, spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"z\"}}: field is "
     "immutable]"},
    {API_PODS, POD_OF(""),
     "{'metadata':{'name':'p','namespace':'default','resourceVersion':'1'},'spec':{'containers':[{'name':'c','image':'"
     "j'}]}}",
     ""},
    {API_PODS, POD_OF(""),
     "{'metadata':{'name':'p','namespace':'default','resourceVersion':'1'},'spec':{'containers':[{'name':'c','image':'"
     "i',"
     "'tty':true}]}}",
     "Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than "
     "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
     "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
     "previously negative)\n@@ -"},
    {API_CONFIGMAPS, "{'metadata':{'name':'c','namespace':'default'},'immutable':true,'data':{'a':'b'}}",
     "{'metadata':{'name':'c','namespace':'default','resourceVersion':'1'},'immutable':true,'data':{'a':'c'}}",
     "ConfigMap \"c\" is invalid: data: Forbidden: field is immutable when `immutable` is set"},
    {API_SECRETS, "{'metadata':{'name':'c','namespace':'default'}}",
     "{'metadata':{'name':'c','namespace':'default','resourceVersion':'1'},'type':'a'}",
     "Secret \"c\" is invalid: type: Invalid value: \"a\": field is immutable"},
    {API_SERVICES, SERVICE("'clusterIP':'10.0.0.1','ports':[{'port':80}]"),
     "{'metadata':{'name':'s','namespace':'default','resourceVersion':'1'},'spec':{'clusterIP':'10.0.0.2','ports':[{'"
     "port':"
     "80}]}}",
     "Service \"s\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"},
    {API_SERVICES, BALANCER(",'loadBalancerClass':'a/b'"), BALANCER(""),
     "Service \"s\" is invalid: spec.loadBalancerClass: Invalid value: \"null\": may not change once set"},
    {API_SERVICES, BOTH_FAMILIES("'IPv4','IPv6'"), BOTH_FAMILIES("'IPv6','IPv4'"),
     "Service \"s\" is invalid: [spec.ipFamilies[0]: Invalid value: [\"IPv6\",\"IPv4\"]: may not change once set, "
     "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`, "},
    {API_JOBS, INDEXED_JOB(",'backoffLimitPerIndex':1"), INDEXED_JOB(""),
     "Job.batch \"j\" is invalid: spec.backoffLimitPerIndex: Invalid value: \"null\": field is immutable"},
    {API_SERVICEACCOUNTS, "{'metadata':{'name':'s','namespace':'default','uid':'1'}}",
     "{'metadata':{'name':'t','namespace':'default','uid':'2'}}",
     "ServiceAccount \"t\" is invalid: [metadata.resourceVersion: Invalid value: \"\": must be specified for an "
     "update, "
     "metadata.name: Invalid value: \"t\": field is immutable, metadata.uid: Invalid value: \"2\": field is "
     "immutable]"},
};

static void changed_objects_are_judged_in_upstreams_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const struct api_resource *r = &api_resources[changes[i].resource];
        void *old = prepare(arena, r, changes[i].old), *now = prepare(arena, r, changes[i].now);
        struct api_field_errors errors = {.arena = arena};
        api_validate_update(r, now, old, NULL, &errors);
        const char *message =
            errors.count ? api_status_invalid(arena, r, api_meta(r, now)->name, &errors)->message : "";
        if (*changes[i].message)
            assert_memory_equal(message, changes[i].message, strlen(changes[i].message));
        else
            assert_string_equal(message, "");
    }
}

/* A status may call a container alive that has ended when it is to run again: by its rules, its policy, or the pod's.
 */
static void a_container_that_ended_for_good_stays_so(void **state)
{
#define RULE ",'restartPolicyRules':[{'action':'Restart','exitCodes':{'operator':'In','values':[0,42]}}]"
    static const struct {
        const char *policy, *own;
        int code;
        bool allowed;
    } cases[] = {
        {"Always", "", 0, true},
        {"OnFailure", "", 0, false},
        {"OnFailure", "", 1, true},
        {"Never", "", 1, false},
        {"Never", ",'restartPolicy':'OnFailure'", 1, true},
        {"Never", ",'restartPolicy':'OnFailure'", 0, false},
        {"Always", ",'restartPolicy':'Never'", 1, false},
        {"Never", ",'restartPolicy':'Never'" RULE, 42, true},
        {"Never", ",'restartPolicy':'Never'" RULE, 0, true},
        {"Never", ",'restartPolicy':'Never'" RULE, 1, false},
        {"Never", ",'restartPolicy':'Always'", 0, true},
    };
    static const char *const lists[][2] = {{"initContainers", "initContainerStatuses"},
                                           {"containers", "containerStatuses"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t l = 0; l < 2; l++) {
            cleanup_arena struct arena *arena = arena_new(0);
            const struct api_resource *r = &api_resources[API_PODS];
            char spec[512], old[1024], now[1024];
            snprintf(
                spec, sizeof(spec),
                "{'metadata':{'name':'p','namespace':'default','resourceVersion':'1'},'spec':{'restartPolicy':'%s',"
                "'%s':[{'name':'c','image':'i'%s}]},'status':{'%s':[{'name':'c','state':",
                cases[i].policy, lists[l][0], cases[i].own, lists[l][1]);
            snprintf(old, sizeof(old), "%s{'terminated':{'exitCode':%d}}}]}}", spec, cases[i].code);
            snprintf(now, sizeof(now), "%s{'waiting':{}}}]}}", spec);
            struct api_field_errors errors = {.arena = arena};
            api_validate_update(r, prepare(arena, r, now), prepare(arena, r, old), "status", &errors);
            const char *message = errors.count ? api_status_invalid(arena, r, "p", &errors)->message : "";
            char refused[256];
            snprintf(refused, sizeof(refused),
                     "Pod \"p\" is invalid: status.%s[0].state: Forbidden: may not be transitioned to non-terminated "
                     "state",
                     lists[l][1]);
            assert_string_equal(message, cases[i].allowed ? "" : refused);
        }
#undef RULE
}

/* When a Job began is fixed while it runs; one that is resumed begins anew. */
static void the_start_of_a_job_changes_only_with_its_resumption(void **state)
{
#define JOB(suspended, second)                                                                                         \
    "{'metadata':{'name':'j','namespace':'default','resourceVersion':'1'},'spec':{'template':{'spec':{"                \
    "'restartPolicy':'Never','containers':[" CONTAINER("") "]}}},'status':{'startTime':'2026-01-02T03:04:" second      \
                                                           "Z'," suspended "}}"
#define SUSPENDED(status) "'conditions':[{'type':'Suspended','status':'" status "'}]"
    static const char refused[] = "Job.batch \"j\" is invalid: status.startTime: Required value: startTime cannot be "
                                  "removed for unsuspended job";
    static const struct {
        const char *old, *now, *message;
    } cases[] = {
        {JOB(SUSPENDED("True"), "05"), JOB(SUSPENDED("False"), "59"), ""},
        {JOB(SUSPENDED("True"), "05"), JOB(SUSPENDED("True"), "59"), refused},
        {JOB(SUSPENDED("True"), "05"), JOB("'active':1", "59"), refused},
        {JOB(SUSPENDED("False"), "05"), JOB(SUSPENDED("False"), "59"), refused},
        {JOB("'active':1", "05"), JOB("'active':1", "59"), refused},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const struct api_resource *r = &api_resources[API_JOBS];
        struct api_field_errors errors = {.arena = arena};
        api_validate_update(r, prepare(arena, r, cases[i].now), prepare(arena, r, cases[i].old), "status", &errors);
        assert_string_equal(errors.count ? api_status_invalid(arena, r, "j", &errors)->message : "", cases[i].message);
    }
#undef SUSPENDED
#undef JOB
}

static void an_invalid_answer_names_a_cause_per_field(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_SERVICES];
    void *value = prepare(arena, r, SERVICE("'ports':[{'port':80,'protocol':'x'}]"));
    struct api_field_errors errors = {.arena = arena};
    api_validate_create(r, value, &errors);
    cleanup_buffer struct buffer json = {0};
    api_status_write(api_status_invalid(arena, r, "s", &errors), &json);
    assert_string_equal(
        json.data,
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"Service "
        "\\\"s\\\" is "
        "invalid: spec.ports[0].protocol: Unsupported value: \\\"x\\\": supported values: \\\"SCTP\\\", \\\"TCP\\\", "
        "\\\"UDP\\\"\",\"reason\":\"Invalid\",\"details\":{\"name\":\"s\",\"kind\":\"Service\",\"causes\":[{\"reason\":"
        "\"FieldValueNotSupported\",\"message\":\"Unsupported value: \\\"x\\\": supported values: \\\"SCTP\\\", "
        "\\\"TCP\\\", "
        "\\\"UDP\\\"\",\"field\":\"spec.ports[0].protocol\"}]},\"code\":422}");
}

static void other_failures_read_as_upstreams(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_DEPLOYMENTS];
    assert_string_equal(api_status_not_found(arena, r, "x")->message, "deployments.apps \"x\" not found");
    assert_string_equal(api_status_already_exists(arena, r, "x")->message, "deployments.apps \"x\" already exists");
    assert_string_equal(api_status_conflict(arena, r, "x", NULL)->message,
                        "Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please "
                        "apply your changes to the latest version and try again");
    assert_string_equal(api_status_forbidden(arena, r, "x", "no")->message, "deployments.apps \"x\" is forbidden: no");
    assert_string_equal(api_status_too_old_resource_version(arena, 3, 7)->message, "too old resource version: 3 (7)");
    assert_int_equal(api_status_too_old_resource_version(arena, 3, 7)->code, 410);
}

static void no_input_makes_endless_errors(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer json = {0};
    buffer_add_string(&json, "{'metadata':{'name':'c','namespace':'x'},'data':{");
    for (int i = 0; i < 3 * API_FIELD_ERROR_MAX; i++)
        buffer_printf(&json, "%s'/%d':''", i ? "," : "", i);
    buffer_add_string(&json, "}}");
    const struct api_resource *r = &api_resources[API_CONFIGMAPS];
    struct api_field_errors errors = {.arena = arena};
    api_validate_create(r, prepare(arena, r, json.data), &errors);
    assert_int_equal(errors.count, API_FIELD_ERROR_MAX);
    assert_int_equal(errors.dropped, 2 * API_FIELD_ERROR_MAX);
}

/* Long lists of one object, each just within the size that a request may have. */
static void long_lists_cost_no_more_than_their_length(void **state)
{
    (void)state;
    static const struct {
        enum api_resource_index resource;
        const char *before, *item, *after; /* %d in item counts */
    } lists[] = {
        {API_SERVICES, "{'metadata':{'name':'s','namespace':'x'},'spec':{'ports':[", "{'port':%d}", "]}}"},
        {API_SERVICES,
         "{'metadata':{'name':'s','namespace':'x'},'spec':{'clusterIP':'1.1.1.1','clusterIPs':['1.1.1.1',", "'a%d'",
         "],'ports':[{'port':1}]}}"},
        {API_PODS, "{'metadata':{'name':'p','namespace':'x'},'spec':{'containers':[", "{'name':'c%d'}", "]}}"},
        {API_PODS, "{'metadata':{'name':'p','namespace':'x'},'spec':{'volumes':[", "{'name':'v%d'}", "]}}"},
        {API_PODS, "{'metadata':{'name':'p','namespace':'x'},'spec':{'containers':[{'name':'c','resources':{'limits':{",
         "'a/%d':1", "}}}]}}"},
        {API_PODS, "{'metadata':{'name':'p','namespace':'x'},'spec':{'containers':[{'name':'c','volumeMounts':[",
         "{'name':'v%d','mountPath':'/x'}", "]}]}}"},
        {API_PODS, "{'metadata':{'name':'p','namespace':'x','ownerReferences':[", "{'uid':'%d','controller':true}",
         "]}}"},
        {API_SECRETS, "{'metadata':{'name':'s','namespace':'x'},'stringData':{", "'a%d':''", "}}"},
        {API_NODES, "{'metadata':{'name':'n'},'spec':{'taints':[", "{'key':'%d'}", "]}}"},
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        cleanup_buffer struct buffer json = {0};
        buffer_add_string(&json, lists[i].before);
        for (int n = 0; json.size < 1500000; n++) {
            if (n)
                buffer_add_char(&json, ',');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            buffer_printf(&json, lists[i].item, n);
#pragma GCC diagnostic pop
        }
        buffer_add_string(&json, lists[i].after);
        const struct api_resource *r = &api_resources[lists[i].resource];
        struct api_field_errors errors = {.arena = arena};
        void *value = prepare(arena, r, json.data);
        size_t before = arena_size(arena);
        api_validate_create(r, value, &errors);
        api_validate_update(r, value, value, NULL, &errors);
        assert_true(arena_size(arena) - before < 64 * 1024 * 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_objects_are_judged_in_upstreams_words),
        cmocka_unit_test(changed_objects_are_judged_in_upstreams_words),
        cmocka_unit_test(a_container_that_ended_for_good_stays_so),
        cmocka_unit_test(the_start_of_a_job_changes_only_with_its_resumption),
        cmocka_unit_test(an_invalid_answer_names_a_cause_per_field),
        cmocka_unit_test(other_failures_read_as_upstreams),
        cmocka_unit_test(no_input_makes_endless_errors),
        cmocka_unit_test(long_lists_cost_no_more_than_their_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
