/* The promises of endpoints: behind a Service stand its pods, at their ports, with their conditions, in both forms. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "api/well_known.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "control/endpoints.h"

#define ENDPOINTS "endpoints/default/web"

static void create_service(struct stage *s, const char *spec)
{
    char json[512];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"web\",\"labels\":{\"team\":\"a\"}},\"spec\":{%s}}", spec);
    stage_create(s, "services/default", json);
    stage_run(s, SECOND);
}

/* A pod without a kubelet: its status is what the test says. */
static void add_pod(struct stage *s, const char *name, const char *address, bool ready, const char *ports)
{
    char path[64];
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"nodeName\":\"nowhere\","
                   "\"containers\":[{\"name\":\"main\",\"image\":\"app:1\",\"ports\":[%s]}]}}",
                   name, ports ? ports : "");
    cleanup_free char *status = mem_printf(
        "{\"status\":{\"phase\":\"Running\",\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],\"conditions\":[{\"type\":"
        "\"Ready\",\"status\":\"%s\"}]}}",
        address, address, ready ? "True" : "False");
    stage_create(s, "pods/default", json);
    snprintf(path, sizeof(path), "pods/default/%s/status", name);
    stage_patch(s, path, status);
}

static void create_pod(struct stage *s, const char *name, const char *address, bool ready, const char *ports)
{
    add_pod(s, name, address, ready, ports);
    stage_run(s, SECOND);
}

static struct object *only_slice(struct stage *s)
{
    struct object *slice;
    assert_int_equal(stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", &slice, 1), 1);
    return slice;
}

static const struct endpoint *endpoint_of(struct stage *s, const char *pod)
{
    const struct endpoint_slice *slice = only_slice(s)->value;
    for (size_t i = 0; i < slice->endpoints.count; i++)
        if (strcmp(slice->endpoints.items[i].target_ref->name, pod) == 0)
            return &slice->endpoints.items[i];
    return NULL;
}

static void assert_conditions(const struct endpoint *e, bool ready, bool serving, bool terminating)
{
    assert_non_null(e);
    assert_int_equal(e->conditions.ready.value, ready);
    assert_int_equal(e->conditions.serving.value, serving);
    assert_int_equal(e->conditions.terminating.value, terminating);
}

static void a_service_has_its_pods_ready_or_not(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080}]");
    create_pod(s, "a", "10.0.0.1", true, NULL);
    create_pod(s, "b", "10.0.0.2", false, NULL);
    const struct object *slice = only_slice(s);
    const struct endpoint_slice *value = slice->value;
    assert_string_equal(value->address_type, "IPv4");
    assert_int_equal(value->ports.count, 1);
    assert_int_equal(value->ports.items[0].port.value, 8080);
    assert_string_equal(value->ports.items[0].name, "http");
    assert_string_equal(string_map_get(&slice->meta->labels, "team"), "a");
    assert_string_equal(string_map_get(&slice->meta->labels, "endpointslice.kubernetes.io/managed-by"),
                        "endpointslice-controller.k8s.io");
    assert_string_equal(slice->meta->owner_references.items[0].kind, "Service");
    assert_memory_equal(slice->meta->name, "web-", 4);
    assert_conditions(endpoint_of(s, "a"), true, true, false);
    assert_conditions(endpoint_of(s, "b"), false, false, false);
    assert_string_equal(endpoint_of(s, "a")->addresses.items[0], "10.0.0.1");
    assert_string_equal(endpoint_of(s, "a")->node_name, "nowhere");
    assert_stage(s, ENDPOINTS, "subsets/0/addresses/0/ip", "10.0.0.1");
    assert_stage(s, ENDPOINTS, "subsets/0/addresses/1", NULL);
    assert_stage(s, ENDPOINTS, "subsets/0/notReadyAddresses/0/targetRef/name", "b");
    assert_stage(s, ENDPOINTS, "subsets/0/ports/http/port", "8080");
    stage_free(s);
}

static void the_protocol_of_the_application_is_handed_on(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,\"appProtocol\":\"kubernetes.io/h2c\"}]");
    create_pod(s, "a", "10.0.0.1", true, NULL);
    const struct endpoint_slice *value = only_slice(s)->value;
    assert_string_equal(value->ports.items[0].app_protocol, "kubernetes.io/h2c");
    assert_stage(s, ENDPOINTS, "subsets/0/ports/0/appProtocol", "kubernetes.io/h2c");
    stage_patch(s, "services/default/web", "{\"spec\":{\"ports\":[{\"port\":80,\"appProtocol\":\"http\"}]}}");
    stage_run(s, SECOND);
    value = only_slice(s)->value;
    assert_string_equal(value->ports.items[0].app_protocol, "http");
    assert_stage(s, ENDPOINTS, "subsets/0/ports/0/appProtocol", "http");
    stage_free(s);
}

static void a_pod_that_is_being_deleted_serves_and_is_not_ready(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    create_pod(s, "a", "10.0.0.1", true, NULL);
    assert_int_equal(stage_delete(s, "pods/default/a", NULL), 200);
    stage_run(s, SECOND);
    assert_conditions(endpoint_of(s, "a"), false, true, true);
    assert_stage(s, ENDPOINTS, "subsets", NULL);
    stage_free(s);
}

static void addresses_that_are_not_ready_are_published_when_asked_for(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}],\"publishNotReadyAddresses\":true");
    create_pod(s, "a", "10.0.0.1", false, NULL);
    create_pod(s, "b", "10.0.0.2", true, NULL);
    stage_delete(s, "pods/default/b", NULL);
    stage_run(s, SECOND);
    assert_conditions(endpoint_of(s, "a"), true, false, false);
    assert_conditions(endpoint_of(s, "b"), true, true, true);
    assert_stage(s, ENDPOINTS, "subsets/0/addresses/1/ip", "10.0.0.2");
    assert_stage(s, ENDPOINTS, "subsets/0/notReadyAddresses", NULL);
    stage_free(s);
}

static void named_ports_are_those_of_each_pod(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":"
                      "\"http\"},{\"name\":\"admin\",\"port\":81,\"targetPort\":\"admin\"}]");
    create_pod(s, "a", "10.0.0.1", true,
               "{\"name\":\"http\",\"containerPort\":8080},{\"name\":\"admin\",\"containerPort\":9000}");
    create_pod(s, "b", "10.0.0.2", true, "{\"name\":\"http\",\"containerPort\":8081}");
    create_pod(s, "c", "10.0.0.3", true, "{\"name\":\"http\",\"containerPort\":8080}");
    struct object *slices[4];
    assert_int_equal(stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", slices, 4), 3);
    size_t endpoints = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct endpoint_slice *slice = slices[i]->value;
        endpoints += slice->endpoints.count;
        if (strcmp(slice->endpoints.items[0].target_ref->name, "b") == 0)
            assert_int_equal(slice->ports.items[0].port.value, 8081);
    }
    assert_int_equal(endpoints, 3);
    /* The old form: one subset for ports that lead to the same pods. */
    struct object *object = stage_get(s, ENDPOINTS);
    const struct endpoints *old = object->value;
    assert_int_equal(old->subsets.count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct endpoint_subset *subset = &old->subsets.items[i];
        assert_int_equal(subset->ports.count, 1);
        size_t wanted = subset->ports.items[0].port == 8080 ? 2 : 1;
        assert_int_equal(subset->addresses.count, wanted);
    }
    stage_free(s);
}

static void a_named_port_may_be_that_of_a_sidecar(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"name\":\"mesh\",\"port\":80,\"targetPort\":"
                      "\"mesh\"},{\"name\":\"setup\",\"port\":81,\"targetPort\":\"setup\"}]");
    stage_create(
        s, "pods/default",
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"nodeName\":\"nowhere\","
        "\"initContainers\":[{\"name\":\"setup\",\"image\":\"app:1\",\"ports\":[{\"name\":\"setup\","
        "\"containerPort\":1}]},{\"name\":\"proxy\",\"image\":\"app:1\",\"restartPolicy\":\"Always\",\"ports\":"
        "[{\"name\":\"mesh\",\"containerPort\":15001}]}],"
        "\"containers\":[{\"name\":\"main\",\"image\":\"app:1\"}]}}");
    stage_patch(s, "pods/default/a/status",
                "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}}");
    stage_run(s, SECOND);
    const struct endpoint_slice *slice = only_slice(s)->value;
    assert_int_equal(slice->ports.count, 1);
    assert_string_equal(slice->ports.items[0].name, "mesh");
    assert_int_equal(slice->ports.items[0].port.value, 15001);
    stage_free(s);
}

static void slices_hold_a_hundred_endpoints_at_most_and_keep_their_own(void **state)
{
    struct stage *s = stage_new();
    struct object *slices[10];
    char before[10][64];
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        stage_node(s, name);
    }
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    stage_deploy(s, "web", 250, "app:1", NULL);
    stage_run(s, 30 * SECOND);
    assert_int_equal(stage_ready(s, "web"), 250);
    size_t count = stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", slices, 10), sum = 0;
    assert_in_range(count, 3, 5);
    for (size_t i = 0; i < count; i++) {
        snprintf(before[i], sizeof(before[i]), "%s", slices[i]->meta->name);
        sum += ((const struct endpoint_slice *)slices[i]->value)->endpoints.count;
        assert_in_range(((const struct endpoint_slice *)slices[i]->value)->endpoints.count, 1, 100);
    }
    assert_int_equal(sum, 250);
    assert_stage(s, ENDPOINTS, "metadata/annotations/endpoints.kubernetes.io|over-capacity", NULL);
    /* One pod less, and another in its place, change a slice or two. */
    uint64_t revision = store_revision(sim_cluster_store(s->cluster));
    struct object *pod;
    stage_list(s, "pods", "default", "app", "web", &pod, 1);
    char path[128];
    snprintf(path, sizeof(path), "pods/default/%s", pod->meta->name);
    stage_patch(s, path, "{\"metadata\":{\"labels\":{\"app\":\"debug\"}}}");
    size_t changed = 0;
    assert_int_equal(stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", slices, 10), count);
    for (size_t i = 0; i < count; i++) {
        changed += slices[i]->revision > revision;
        assert_string_equal(slices[i]->meta->name, before[i]);
    }
    assert_in_range(changed, 1, 2);
    stage_free(s);
}

static void the_old_form_is_cut_off_at_a_thousand_addresses(void **state)
{
    struct stage *s = stage_new();
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        stage_node(s, name);
    }
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    stage_deploy(s, "web", 1050, "app:1", NULL);
    stage_run(s, MINUTE);
    const struct endpoints *e = stage_get(s, ENDPOINTS)->value;
    assert_int_equal(e->subsets.items[0].addresses.count, 1000);
    assert_stage(s, ENDPOINTS, "metadata/annotations/endpoints.kubernetes.io|over-capacity", "truncated");
    stage_patch(s, "deployments/default/web", "{\"spec\":{\"replicas\":10}}");
    stage_run(s, MINUTE);
    assert_stage(s, ENDPOINTS, "metadata/annotations/endpoints.kubernetes.io|over-capacity", NULL);
    stage_free(s);
}

/* Of each set of ports as much as its share of all, those that are not ready first. */
static void what_is_cut_off_is_shared_among_subsets(void **state)
{
    static const struct {
        int ready[2], not_ready[2]; /* pods with each of two ports */
        size_t kept[2], kept_not_ready[2];
    } cases[] = {
        {{800, 400}, {30, 0}, {667, 333}, {0, 0}},
        {{600, 0}, {300, 300}, {600, 0}, {200, 200}},
    };
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        struct stage *s = stage_new();
        for (int port = 0, n = 0; port < 2; port++)
            for (int i = 0; i < cases[c].ready[port] + cases[c].not_ready[port]; i++, n++) {
                char name[16], address[32], ports[64];
                snprintf(name, sizeof(name), "p%04d", n);
                snprintf(address, sizeof(address), "10.0.%d.%d", n / 250, n % 250 + 1);
                snprintf(ports, sizeof(ports), "{\"name\":\"http\",\"containerPort\":%d}", 8080 + port);
                add_pod(s, name, address, i < cases[c].ready[port], ports);
            }
        create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,\"targetPort\":\"http\"}]");
        const struct endpoints *e = stage_get(s, ENDPOINTS)->value;
        assert_int_equal(e->subsets.count, 2);
        for (size_t i = 0; i < 2; i++) {
            const struct endpoint_subset *subset = &e->subsets.items[i];
            int port = subset->ports.items[0].port - 8080;
            assert_int_equal(subset->addresses.count, cases[c].kept[port]);
            assert_int_equal(subset->not_ready_addresses.count, cases[c].kept_not_ready[port]);
        }
        stage_free(s);
    }
}

static void a_service_without_pods_has_an_empty_slice(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    assert_int_equal(((const struct endpoint_slice *)only_slice(s)->value)->endpoints.count, 0);
    assert_stage(s, ENDPOINTS, "subsets", NULL);
    create_pod(s, "a", "10.0.0.1", true, NULL);
    assert_conditions(endpoint_of(s, "a"), true, true, false);
    stage_patch(s, "pods/default/a", "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
    stage_run(s, SECOND);
    assert_int_equal(((const struct endpoint_slice *)only_slice(s)->value)->endpoints.count, 0);
    stage_free(s);
}

static void a_headless_service_is_marked_as_such(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"clusterIP\":\"None\",\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    assert_string_equal(string_map_get(&only_slice(s)->meta->labels, "service.kubernetes.io/headless"), "");
    assert_stage(s, ENDPOINTS, "metadata/labels/service.kubernetes.io|headless", "");
    stage_free(s);
}

static void whether_a_service_is_headless_is_not_for_its_labels_to_say(void **state)
{
    struct stage *s = stage_new();
    stage_create(
        s, "services/default",
        "{\"metadata\":{\"name\":\"web\",\"labels\":{\"team\":\"a\",\"service.kubernetes.io/headless\":\"x\"}},"
        "\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]}}");
    stage_run(s, SECOND);
    assert_null(string_map_get(&only_slice(s)->meta->labels, HEADLESS_LABEL));
    assert_string_equal(string_map_get(&only_slice(s)->meta->labels, "team"), "a");
    assert_stage(s, ENDPOINTS, "metadata/labels/service.kubernetes.io|headless", NULL);
    stage_patch(s, "services/default/web", "{\"metadata\":{\"labels\":{\"service.kubernetes.io/headless\":null}}}");
    stage_run(s, SECOND);
    assert_string_equal(string_map_get(&only_slice(s)->meta->labels, "team"), "a");
    stage_free(s);
}

/* One that is left of an earlier Service of the name, or that somebody else owns. */
static void slices_of_another_owner_are_not_taken_over(void **state)
{
    struct stage *s = stage_new();
    stage_create(s, "configmaps/default", "{\"metadata\":{\"name\":\"other\"}}");
    cleanup_free char *json = mem_printf(
        "{\"metadata\":{\"name\":\"foreign\",\"labels\":{\"kubernetes.io/service-name\":\"web\","
        "\"endpointslice.kubernetes.io/managed-by\":\"endpointslice-controller.k8s.io\"},\"ownerReferences\":[{"
        "\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"other\",\"uid\":\"%s\"}]},\"addressType\":\"IPv4\","
        "\"endpoints\":[]}",
        stage_get(s, "configmaps/default/other")->meta->uid);
    stage_create(s, "endpointslices/default", json);
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    create_pod(s, "a", "10.0.0.1", true, NULL);
    const struct object *slice = only_slice(s);
    assert_memory_equal(slice->meta->name, "web-", 4);
    assert_string_equal(slice->meta->owner_references.items[0].uid, stage_get(s, "services/default/web")->meta->uid);
    assert_conditions(endpoint_of(s, "a"), true, true, false);
    stage_free(s);
}

/* Of the Service's creation at first, then of the pod that was first to change. */
static void endpoints_tell_when_what_changed_them_had_happened(void **state)
{
    static const char patch[] = "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\","
                                "\"lastTransitionTime\":\"%s\"}]}}";
    struct stage *s = stage_new();
    char json[256];
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    char created[TIME_TEXT_MAX];
    time_format(stage_get(s, "services/default/web")->meta->creation_timestamp, created);
    assert_string_equal(string_map_get(&only_slice(s)->meta->annotations, TRIGGER_TIME_ANNOTATION), created);
    assert_stage(s, ENDPOINTS, "metadata/annotations/endpoints.kubernetes.io|last-change-trigger-time", created);
    create_pod(s, "a", "10.0.0.1", false, NULL);
    snprintf(json, sizeof(json), patch, "True", "2099-01-02T03:04:05Z");
    stage_patch(s, "pods/default/a/status", json);
    stage_run(s, SECOND);
    assert_string_equal(string_map_get(&only_slice(s)->meta->annotations, TRIGGER_TIME_ANNOTATION),
                        "2099-01-02T03:04:05Z");
    assert_stage(s, ENDPOINTS, "metadata/annotations/endpoints.kubernetes.io|last-change-trigger-time",
                 "2099-01-02T03:04:05Z");
    /* A change that no pod's readiness brought tells no time. */
    stage_patch(s, "services/default/web", "{\"metadata\":{\"labels\":{\"team\":\"b\"}}}");
    stage_run(s, SECOND);
    assert_null(string_map_get(&only_slice(s)->meta->annotations, TRIGGER_TIME_ANNOTATION));
    assert_stage(s, ENDPOINTS, "metadata/annotations", NULL);
    stage_free(s);
}

static void what_nobody_selects_is_left_to_others(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"ports\":[{\"port\":80}]");
    assert_int_equal(stage_count(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web"), 0);
    assert_null(stage_get(s, ENDPOINTS));
    stage_free(s);
}

static void endpoints_go_with_their_service(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    assert_int_equal(stage_delete(s, "services/default/web", NULL), 200);
    stage_run(s, SECOND);
    assert_int_equal(stage_count(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web"), 0);
    assert_null(stage_get(s, ENDPOINTS));
    stage_free(s);
}

static void what_others_do_to_slices_and_endpoints_is_put_right(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    create_pod(s, "a", "10.0.0.1", true, NULL);
    char path[128];
    snprintf(path, sizeof(path), "endpointslices/default/%s", only_slice(s)->meta->name);
    stage_patch(s, path, "{\"endpoints\":null}");
    stage_delete(s, ENDPOINTS, NULL);
    stage_run(s, SECOND);
    assert_conditions(endpoint_of(s, "a"), true, true, false);
    assert_stage(s, ENDPOINTS, "subsets/0/addresses/0/ip", "10.0.0.1");
    stage_delete(s, path, NULL);
    stage_run(s, SECOND);
    assert_conditions(endpoint_of(s, "a"), true, true, false);
    stage_free(s);
}

/* Endpoints that somebody made by hand. */
static void create_endpoints(struct stage *s, const char *metadata, const char *subsets)
{
    cleanup_free char *json = mem_printf("{\"metadata\":{\"name\":\"web\"%s},\"subsets\":[%s]}", metadata, subsets);
    stage_create(s, "endpoints/default", json);
    stage_run(s, SECOND);
}

static void endpoints_made_by_hand_are_mirrored(void **state)
{
    struct stage *s = stage_new();
    create_service(s, "\"ports\":[{\"port\":80}]");
    create_endpoints(s, ",\"labels\":{\"team\":\"b\"},\"annotations\":{\"note\":\"x\"}",
                     "{\"addresses\":[{\"ip\":\"192.0.2.1\",\"hostname\":\"one\"},{\"ip\":\"2001:db8::1\"}],"
                     "\"notReadyAddresses\":[{\"ip\":\"192.0.2.2\"}],\"ports\":[{\"port\":8080}]}");
    struct object *slices[3];
    assert_int_equal(stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", slices, 3), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct endpoint_slice *slice = slices[i]->value;
        bool v6 = strcmp(slice->address_type, "IPv6") == 0;
        assert_string_equal(string_map_get(&slices[i]->meta->labels, "endpointslice.kubernetes.io/managed-by"),
                            "endpointslicemirroring-controller.k8s.io");
        assert_string_equal(string_map_get(&slices[i]->meta->labels, "team"), "b");
        assert_string_equal(string_map_get(&slices[i]->meta->annotations, "note"), "x");
        assert_string_equal(slices[i]->meta->owner_references.items[0].kind, "Endpoints");
        assert_int_equal(slice->ports.items[0].port.value, 8080);
        assert_int_equal(slice->endpoints.count, v6 ? 1 : 2);
        assert_string_equal(slice->endpoints.items[0].addresses.items[0], v6 ? "2001:db8::1" : "192.0.2.1");
        assert_true(slice->endpoints.items[0].conditions.ready.value);
        assert_true(v6 || !slice->endpoints.items[1].conditions.ready.value);
    }
    /* What does not change is not written. */
    uint64_t revision = store_revision(sim_cluster_store(s->cluster));
    stage_patch(s, ENDPOINTS,
                "{\"subsets\":[{\"addresses\":[{\"ip\":\"192.0.2.1\",\"hostname\":\"one\"}],"
                "\"ports\":[{\"port\":8080}]}]}");
    stage_run(s, SECOND);
    assert_int_equal(((const struct endpoint_slice *)only_slice(s)->value)->endpoints.count, 1);
    assert_int_equal(store_revision(sim_cluster_store(s->cluster)) - revision,
                     3); /* the patch, an update, a deletion */
    stage_delete(s, ENDPOINTS, NULL);
    stage_run(s, SECOND);
    assert_int_equal(stage_count(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web"), 0);
    stage_free(s);
}

static void endpoints_made_by_hand_go_with_their_service(void **state)
{
    static const char subset[] = "{\"addresses\":[{\"ip\":\"192.0.2.1\"}],\"ports\":[{\"port\":8080}]}";
    struct stage *s = stage_new();
    create_service(s, "\"ports\":[{\"port\":80}]");
    create_endpoints(s, "", subset);
    stage_delete(s, "services/default/web", NULL);
    stage_run(s, SECOND);
    assert_null(stage_get(s, ENDPOINTS));
    /* Those that have no Service, as of elections, are nobody's. */
    create_endpoints(s, "", subset);
    stage_delete(s, ENDPOINTS, NULL);
    create_endpoints(s, "", subset);
    assert_non_null(stage_get(s, ENDPOINTS));
    stage_free(s);
}

/* Somebody who changes the labels of a slice gets it, and the Service another one. */
static void a_slice_that_is_taken_away_is_made_again(void **state)
{
    static const char *const labels[] = {
        "{\"kubernetes.io/service-name\":\"other\"}",
        "{\"kubernetes.io/service-name\":null}",
        "{\"endpointslice.kubernetes.io/managed-by\":\"me\",\"kubernetes.io/service-name\":null}",
    };
    for (int mirrored = 0; mirrored < 2; mirrored++)
        for (size_t i = 0; i < ARRAY_COUNT(labels); i++) {
            struct stage *s = stage_new();
            create_service(s, mirrored ? "\"ports\":[{\"port\":80}]"
                                       : "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
            if (mirrored)
                create_endpoints(s, "", "{\"addresses\":[{\"ip\":\"192.0.2.1\"}],\"ports\":[{\"port\":80}]}");
            else
                create_pod(s, "a", "192.0.2.1", true, NULL);
            cleanup_free char *path = mem_printf("endpointslices/default/%s", only_slice(s)->meta->name);
            cleanup_free char *patch = mem_printf("{\"metadata\":{\"labels\":%s}}", labels[i]);
            stage_patch(s, path, patch);
            stage_run(s, SECOND);
            const struct endpoint_slice *slice = only_slice(s)->value;
            assert_string_not_equal(slice->metadata.name, strrchr(path, '/') + 1);
            assert_string_equal(slice->endpoints.items[0].addresses.items[0], "192.0.2.1");
            stage_free(s);
        }
}

static void endpoints_that_do_not_want_it_are_not_mirrored(void **state)
{
    static const char subset[] = "{\"addresses\":[{\"ip\":\"192.0.2.1\"}],\"ports\":[{\"port\":8080}]}";
    static const char *const metadata[] = {
        ",\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}",
        ",\"annotations\":{\"control-plane.alpha.kubernetes.io/leader\":\"{}\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(metadata); i++) {
        struct stage *s = stage_new();
        create_service(s, "\"ports\":[{\"port\":80}]");
        create_endpoints(s, metadata[i], subset);
        assert_int_equal(stage_count(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web"), 0);
        /* A skipped one that is no longer skipped is. */
        stage_patch(s, ENDPOINTS, "{\"metadata\":{\"labels\":null,\"annotations\":null}}");
        stage_run(s, SECOND);
        assert_int_equal(stage_count(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web"), 1);
        /* With a selector the slices are another controller's. */
        stage_patch(s, "services/default/web", "{\"spec\":{\"selector\":{\"app\":\"web\"}}}");
        stage_run(s, SECOND);
        assert_string_equal(string_map_get(&only_slice(s)->meta->labels, "endpointslice.kubernetes.io/managed-by"),
                            "endpointslice-controller.k8s.io");
        stage_free(s);
    }
}

static void a_thousand_addresses_of_a_subset_are_mirrored(void **state)
{
    struct stage *s = stage_new();
    cleanup_buffer struct buffer subset = {0};
    for (int i = 0; i < 1001; i++)
        buffer_printf(&subset, "%s{\"ip\":\"192.0.%d.%d\"}", i ? "," : "{\"addresses\":[", i / 250, i % 250 + 1);
    buffer_add_string(&subset, "],\"ports\":[{\"port\":80}]}");
    create_service(s, "\"ports\":[{\"port\":80}]");
    create_endpoints(s, "", subset.data);
    assert_int_equal(((const struct endpoint_slice *)only_slice(s)->value)->endpoints.count, 1000);
    assert_string_equal(stage_event(s, "Endpoints", "TooManyAddressesToMirror"),
                        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 1 addresses "
                        "were skipped");
    stage_free(s);
}

static void hints_say_who_should_prefer_an_endpoint(void **state)
{
    struct stage *s = stage_new();
    stage_create(s, "nodes",
                 "{\"metadata\":{\"name\":\"nowhere\",\"labels\":{\"topology.kubernetes.io/zone\":\"east\"}}}");
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}],"
                      "\"trafficDistribution\":\"PreferClose\"");
    create_pod(s, "a", "10.0.0.1", true, NULL);
    create_pod(s, "b", "10.0.0.2", false, NULL);
    assert_string_equal(endpoint_of(s, "a")->hints->for_zones.items[0].name, "east");
    assert_int_equal(endpoint_of(s, "a")->hints->for_nodes.count, 0);
    assert_null(endpoint_of(s, "b")->hints);
    stage_patch(s, "services/default/web", "{\"spec\":{\"trafficDistribution\":\"PreferSameNode\"}}");
    stage_run(s, SECOND);
    assert_string_equal(endpoint_of(s, "a")->hints->for_zones.items[0].name, "east");
    assert_string_equal(endpoint_of(s, "a")->hints->for_nodes.items[0].name, "nowhere");
    stage_patch(s, "services/default/web", "{\"spec\":{\"trafficDistribution\":null}}");
    stage_run(s, SECOND);
    assert_null(endpoint_of(s, "a")->hints);
    stage_free(s);
}

static void create_zone(struct stage *s, const char *node, const char *zone, int cpu)
{
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"topology.kubernetes.io/zone\":\"%s\"}}}", node, zone);
    cleanup_free char *status = mem_printf("{\"status\":{\"allocatable\":{\"cpu\":\"%d\"},\"conditions\":[{\"type\":"
                                           "\"Ready\",\"status\":\"True\"}]}}",
                                           cpu);
    cleanup_free char *path = mem_printf("nodes/%s/status", node);
    stage_create(s, "nodes", json);
    stage_patch(s, path, status);
}

/* How many endpoints are for the zone. */
static size_t hinted_at(struct stage *s, const char *zone)
{
    const struct endpoint_slice *slice = only_slice(s)->value;
    size_t count = 0;
    for (size_t i = 0; i < slice->endpoints.count; i++) {
        const struct endpoint_hints *hints = slice->endpoints.items[i].hints;
        count += hints && hints->for_zones.count == 1 && strcmp(hints->for_zones.items[0].name, zone) == 0;
    }
    return count;
}

#define TOPOLOGY_MODE "{\"metadata\":{\"annotations\":{\"service.kubernetes.io/topology-mode\":"

static void zones_share_endpoints_by_their_cpu_when_asked_to(void **state)
{
    struct stage *s = stage_new();
    create_zone(s, "nowhere", "east", 4);
    create_service(s,
                   "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}],\"trafficDistribution\":\"PreferClose\"");
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < 6; i++) {
        char address[16];
        snprintf(address, sizeof(address), "10.0.0.%zu", i + 1);
        create_pod(s, names[i], address, true, NULL);
    }
    assert_int_equal(hinted_at(s, "east"), 6);
    /* One zone is not enough. */
    stage_patch(s, "services/default/web", TOPOLOGY_MODE "\"Auto\"}}}");
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east"), 0);
    assert_string_equal(stage_event(s, "Service", "TopologyAwareHintsDisabled"),
                        "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes, "
                        "addressType: IPv4");
    /* Half as much cpu, half as many endpoints, though none of them is there. */
    create_zone(s, "other", "west", 2);
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east"), 4);
    assert_int_equal(hinted_at(s, "west"), 2);
    assert_string_equal(stage_event(s, "Service", "TopologyAwareHintsEnabled"),
                        "Topology Aware Hints has been enabled, addressType: IPv4");
    /* Too few endpoints for all zones. */
    create_zone(s, "third", "north", 1);
    for (size_t i = 1; i < 6; i++) {
        char path[32];
        snprintf(path, sizeof(path), "pods/default/%s", names[i]);
        stage_delete(s, path, NULL);
    }
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east") + hinted_at(s, "west") + hinted_at(s, "north"), 0);
    assert_string_equal(stage_event(s, "Service", "TopologyAwareHintsDisabled"),
                        "Insufficient number of endpoints (1 endpoints, 3 zones), addressType: IPv4");
    stage_patch(s, "services/default/web", TOPOLOGY_MODE "null}}}");
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east"), 1);
    stage_free(s);
}

static void hints_follow_the_zone_and_the_cpu_of_nodes(void **state)
{
    struct stage *s = stage_new();
    create_zone(s, "nowhere", "east", 3);
    create_zone(s, "other", "west", 3);
    create_service(s, "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]");
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < 6; i++) {
        char address[16];
        snprintf(address, sizeof(address), "10.0.0.%zu", i + 1);
        create_pod(s, names[i], address, true, NULL);
    }
    stage_patch(s, "services/default/web", TOPOLOGY_MODE "\"Auto\"}}}");
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east"), 3);
    stage_patch(s, "nodes/nowhere/status", "{\"status\":{\"allocatable\":{\"cpu\":\"6\"}}}");
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east"), 4);
    stage_patch(s, "nodes/nowhere", "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"south\"}}}");
    stage_run(s, SECOND);
    assert_int_equal(hinted_at(s, "east"), 0);
    assert_int_equal(hinted_at(s, "south"), 4);
    assert_int_equal(hinted_at(s, "west"), 2);
    assert_string_equal(endpoint_of(s, "a")->zone, "south");
    /* Without hints of the topology the zone of an endpoint is brought up to date by what changes the Service next. */
    stage_patch(s, "services/default/web", TOPOLOGY_MODE "null}}}");
    stage_run(s, SECOND);
    stage_patch(s, "nodes/nowhere", "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"east\"}}}");
    stage_run(s, SECOND);
    assert_string_equal(endpoint_of(s, "a")->zone, "south");
    stage_patch(s, "services/default/web", "{\"metadata\":{\"labels\":{\"any\":\"change\"}}}");
    stage_run(s, SECOND);
    assert_string_equal(endpoint_of(s, "a")->zone, "east");
    stage_free(s);
}

static void each_family_has_slices_of_its_own(void **state)
{
    struct stage *s = stage_new();
    struct object *slices[4];
    create_service(s,
                   "\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}],\"ipFamilyPolicy\":\"PreferDualStack\"");
    assert_int_equal(stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", slices, 4), 2);
    create_pod(s, "a", "10.0.0.1", true, NULL); /* of one family alone */
    create_pod(s, "b", "10.0.0.2", true, NULL);
    stage_patch(s, "pods/default/b/status", "{\"status\":{\"podIPs\":[{\"ip\":\"10.0.0.2\"},{\"ip\":\"fd00::2\"}]}}");
    stage_run(s, SECOND);
    assert_int_equal(stage_list(s, "endpointslices", "default", SERVICE_NAME_LABEL, "web", slices, 4), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct endpoint_slice *slice = slices[i]->value;
        bool v6 = strcmp(slice->address_type, "IPv6") == 0;
        assert_int_equal(slice->endpoints.count, v6 ? 1 : 2);
        if (v6)
            assert_string_equal(slice->endpoints.items[0].addresses.items[0], "fd00::2");
    }
    stage_patch(s, "services/default/web", "{\"spec\":{\"ipFamilyPolicy\":\"SingleStack\"}}");
    stage_run(s, SECOND);
    assert_string_equal(((const struct endpoint_slice *)only_slice(s)->value)->address_type, "IPv4");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_has_its_pods_ready_or_not),
        cmocka_unit_test(the_protocol_of_the_application_is_handed_on),
        cmocka_unit_test(a_pod_that_is_being_deleted_serves_and_is_not_ready),
        cmocka_unit_test(addresses_that_are_not_ready_are_published_when_asked_for),
        cmocka_unit_test(named_ports_are_those_of_each_pod),
        cmocka_unit_test(a_named_port_may_be_that_of_a_sidecar),
        cmocka_unit_test(slices_hold_a_hundred_endpoints_at_most_and_keep_their_own),
        cmocka_unit_test(the_old_form_is_cut_off_at_a_thousand_addresses),
        cmocka_unit_test(what_is_cut_off_is_shared_among_subsets),
        cmocka_unit_test(a_service_without_pods_has_an_empty_slice),
        cmocka_unit_test(a_headless_service_is_marked_as_such),
        cmocka_unit_test(whether_a_service_is_headless_is_not_for_its_labels_to_say),
        cmocka_unit_test(slices_of_another_owner_are_not_taken_over),
        cmocka_unit_test(endpoints_tell_when_what_changed_them_had_happened),
        cmocka_unit_test(what_nobody_selects_is_left_to_others),
        cmocka_unit_test(endpoints_go_with_their_service),
        cmocka_unit_test(what_others_do_to_slices_and_endpoints_is_put_right),
        cmocka_unit_test(endpoints_made_by_hand_are_mirrored),
        cmocka_unit_test(endpoints_made_by_hand_go_with_their_service),
        cmocka_unit_test(a_slice_that_is_taken_away_is_made_again),
        cmocka_unit_test(endpoints_that_do_not_want_it_are_not_mirrored),
        cmocka_unit_test(a_thousand_addresses_of_a_subset_are_mirrored),
        cmocka_unit_test(hints_say_who_should_prefer_an_endpoint),
        cmocka_unit_test(zones_share_endpoints_by_their_cpu_when_asked_to),
        cmocka_unit_test(hints_follow_the_zone_and_the_cpu_of_nodes),
        cmocka_unit_test(each_family_has_slices_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
