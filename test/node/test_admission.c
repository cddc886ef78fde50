/* Which pods a node takes in, and what it tells the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "node/admission.h"

#define OTHERS_MAX 4

/* Pairs of a map, in the order of keys. */
#define MAP(...)                                                                                                       \
    {                                                                                                                  \
        .items = (struct string_pair[]){__VA_ARGS__},                                                                  \
        .count = sizeof((struct string_pair[]){__VA_ARGS__}) / sizeof(struct string_pair)                              \
    }
#define CONTAINERS(c)                                                                                                  \
    {                                                                                                                  \
        .items = (c), .count = 1                                                                                       \
    }

static struct node some_node(void)
{
    static struct string_pair labels[] = {{"kubernetes.io/hostname", "n"}, {"kubernetes.io/os", "linux"}};
    static struct string_pair room[] = {
        {"cpu", "2"}, {"ephemeral-storage", "100Mi"}, {"example.com/gpu", "1"}, {"memory", "1Gi"}, {"pods", "3"}};
    return (struct node){.metadata = {.name = "n", .labels = {labels, 2}}, .status.allocatable = {room, 5}};
}

/* Takes the pod to a node with these others; NULL: in, else "REASON: message". */
static const char *answer(struct arena *arena, const struct admission_request *request)
{
    struct admission_refusal refusal;
    return admission_refuses(arena, request, &refusal) ? arena_printf(arena, "%s: %s", refusal.reason, refusal.message)
                                                       : NULL;
}

static const char *asking(struct arena *arena, const char *name, const char *amount, const char *used)
{
    struct container mine = {.name = "c", .resources.requests = MAP({name, amount})};
    struct container theirs = {.name = "c", .resources.requests = MAP({name, used})};
    struct pod pod = {.spec.containers = CONTAINERS(&mine)}, other = {.spec.containers = CONTAINERS(&theirs)};
    const struct pod *others[] = {&other};
    struct node node = some_node();
    return answer(arena, &(struct admission_request){.pod = &pod, .node = &node, .others = others, .count = 1});
}

static void what_does_not_fit_is_refused_in_upstreams_words(void **state)
{
    static const struct {
        const char *name, *amount, *used, *answer;
    } cases[] = {
        {"cpu", "1500m", "500m", NULL},
        {"cpu", "1501m", "500m",
         "OutOfcpu: Node didn't have enough resource: cpu, requested: 1501, used: 500, capacity: 2000"},
        {"cpu", "100", "0",
         "OutOfcpu: Node didn't have enough resource: cpu, requested: 100000, used: 0, capacity: 2000"},
        /* Asking for nothing always fits. */
        {"cpu", "0", "5", NULL},
        {"memory", "1Gi", "0", NULL},
        {"memory", "1Gi", "1",
         "OutOfmemory: Node didn't have enough resource: memory, requested: 1073741824, used: 1, capacity: 1073741824"},
        {"ephemeral-storage", "101Mi", "0",
         "OutOfephemeral-storage: Node didn't have enough resource: ephemeral-storage, requested: 105906176, used: 0, "
         "capacity: 104857600"},
        {"example.com/gpu", "1", "1",
         "OutOfexample.com/gpu: Node didn't have enough resource: example.com/gpu, requested: 1, used: 1, capacity: 1"},
        /* The node may not be the one that has to know it; but what is Kubernetes' own it would know. */
        {"example.com/other", "1", "0", NULL},
        {"hugepages-2Mi", "2Mi", "0",
         "OutOfhugepages-2Mi: Node didn't have enough resource: hugepages-2Mi, requested: 2097152, used: 0, capacity: "
         "0"},
        {"cpu", "9E", "9E",
         "OutOfcpu: Node didn't have enough resource: cpu, requested: 9223372036854775807, used: 9223372036854775807, "
         "capacity: 2000"},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *said = asking(arena, cases[i].name, cases[i].amount, cases[i].used);
        if (cases[i].answer)
            assert_string_equal(said, cases[i].answer);
        else
            assert_null(said);
    }
    arena_free(arena);
}

static void all_that_is_short_is_told_once(void **state)
{
    struct container containers[] = {
        {.name = "a", .resources.requests = MAP({"cpu", "1"}, {"example.com/gpu", "2"}, {"memory", "2Gi"})},
        {.name = "b", .resources.requests = MAP({"cpu", "1"}, {"example.com/gpu", "2"}, {"memory", "1"})}};
    struct container theirs = {.name = "c", .resources.requests = MAP({"memory", "1Mi"})};
    struct pod pod = {.spec.containers = {containers, 2}}, other = {.spec.containers = CONTAINERS(&theirs)};
    const struct pod *others[] = {&other, &other, &other};
    struct node node = some_node();
    struct arena *arena = arena_new(0);
    struct admission_shortages all = admission_shortages(
        arena, &(struct admission_request){.pod = &pod, .node = &node, .others = others, .count = 3});
    static const struct admission_shortage expected[] = {
        {"pods", 1, 3, 3}, {"memory", (INT64_C(2) << 30) + 1, 3 << 20, 1 << 30}, {"example.com/gpu", 4, 0, 1}};
    assert_int_equal(all.count, ARRAY_COUNT(expected));
    for (size_t i = 0; i < all.count; i++) {
        assert_string_equal(all.items[i].name, expected[i].name);
        assert_int_equal(all.items[i].requested, expected[i].requested);
        assert_int_equal(all.items[i].used, expected[i].used);
        assert_int_equal(all.items[i].capacity, expected[i].capacity);
    }
    arena_free(arena);
}

static void a_pod_that_asks_for_more_waits_or_asks_in_vain(void **state)
{
    static const struct {
        const char *cpu, *memory;
        const char *refused, *message;
    } cases[] = {
        {"1", "512Mi", NULL, NULL},
        {"1500m", "512Mi", "Deferred",
         "Node didn't have enough resource: cpu, requested: 1500, used: 800, capacity: 2000"},
        {"1", "768Mi", "Deferred",
         "Node didn't have enough resource: memory, requested: 805306368, used: 536870912, capacity: 1073741824"},
        {"2500m", "1Gi", "Infeasible", "Node didn't have enough capacity: cpu, requested: 2500, capacity: 2000"},
        {"1", "5Gi", "Infeasible",
         "Node didn't have enough capacity: memory, requested: 5368709120, capacity: 1073741824"},
        /* Memory is named first, as upstream names it. */
        {"9", "5Gi", "Infeasible",
         "Node didn't have enough capacity: memory, requested: 5368709120, capacity: 1073741824"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct container mine = {.name = "c",
                                 .resources.requests = MAP({"cpu", cases[i].cpu}, {"memory", cases[i].memory})};
        struct container theirs = {.name = "c", .resources.requests = MAP({"cpu", "300m"}, {"memory", "512Mi"})};
        struct pod pod = {.spec.containers = CONTAINERS(&mine)}, other = {.spec.containers = CONTAINERS(&theirs)};
        /* What it has until the change is made counts, as for a pod that is new. */
        struct resource_requirements before = {.requests = MAP({"cpu", "800m"})};
        struct container_status shown = {.name = "c", .resources = &before};
        other.status.container_statuses = (struct container_status_array){&shown, 1};
        const struct pod *others[] = {&other};
        struct node node = some_node();
        const char *message = NULL;
        const char *refused = admission_refuses_resize(
            arena, &(struct admission_request){.pod = &pod, .node = &node, .others = others, .count = 1}, &message);
        if (!cases[i].refused) {
            assert_null(refused);
        } else {
            assert_string_equal(refused, cases[i].refused);
            assert_string_equal(message, cases[i].message);
        }
        arena_free(arena);
    }
}

static void a_node_takes_so_many_pods_and_no_more(void **state)
{
    struct arena *arena = arena_new(0);
    struct pod pod = {0};
    const struct pod *others[OTHERS_MAX] = {&pod, &pod, &pod, &pod};
    struct node node = some_node();
    struct admission_request request = {.pod = &pod, .node = &node, .others = others, .count = 2};
    assert_null(answer(arena, &request));
    request.count = 3;
    assert_string_equal(answer(arena, &request),
                        "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3");
    /* Others end for a critical one. */
    pod.spec.priority = opt_int32(2000000000);
    assert_null(answer(arena, &request));
    arena_free(arena);
}

static void a_pod_is_refused_by_a_node_with_other_labels(void **state)
{
    static const char refused[] = "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node "
                                  "affinity/selector";
    struct arena *arena = arena_new(0);
    struct node node = some_node();
    struct pod pod = {.spec.node_selector = MAP({"kubernetes.io/os", "linux"})};
    struct admission_request request = {.pod = &pod, .node = &node};
    assert_null(answer(arena, &request));
    pod.spec.node_selector = (struct string_map)MAP({"x", "q"});
    assert_string_equal(answer(arena, &request), refused);
    /* Labels may go from under a pod that has been taken in. */
    request.known = true;
    assert_null(answer(arena, &request));
    request.known = false;
    pod.spec.node_selector = (struct string_map){0};
    const char *elsewhere = "other";
    struct node_selector_requirement by_name = {
        .key = "metadata.name", .operator= "In", .values = {.items = &elsewhere, .count = 1}};
    struct node_selector_term term = {.match_fields = {.items = &by_name, .count = 1}};
    struct node_selector terms = {.node_selector_terms = {.items = &term, .count = 1}};
    struct node_affinity required = {.required_during_scheduling_ignored_during_execution = &terms};
    struct affinity affinity = {.node_affinity = &required};
    pod.spec.affinity = &affinity;
    assert_string_equal(answer(arena, &request), refused);
    elsewhere = "n";
    assert_null(answer(arena, &request));
    pod.spec.node_name = "other";
    assert_string_equal(answer(arena, &request),
                        "NodeName: Predicate NodeName failed: node(s) didn't match the requested node name");
    arena_free(arena);
}

static void a_port_of_the_node_has_one_pod(void **state)
{
    static const char refused[] =
        "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    static const struct {
        struct container_port mine, theirs;
        bool refused;
    } cases[] = {
        {{.host_port = 80}, {.host_port = 81}, false},
        {{.host_port = 80}, {.host_port = 80, .protocol = "TCP"}, true},
        {{.host_port = 80}, {.host_port = 80, .protocol = "UDP"}, false},
        {{.host_port = 80, .host_ip = "10.0.0.1"}, {.host_port = 80, .host_ip = "10.0.0.2"}, false},
        {{.host_port = 80, .host_ip = "10.0.0.1"}, {.host_port = 80, .host_ip = "10.0.0.1"}, true},
        {{.host_port = 80, .host_ip = "10.0.0.1"}, {.host_port = 80}, true},
        {{.host_port = 80}, {.host_port = 80, .host_ip = "10.0.0.1"}, true},
        {{.container_port = 80}, {.container_port = 80}, false},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct container_port mine = cases[i].mine, theirs = cases[i].theirs;
        struct container c = {.name = "c", .ports = {.items = &mine, .count = 1}};
        struct container d = {.name = "d", .ports = {.items = &theirs, .count = 1}};
        struct pod pod = {.spec.containers = CONTAINERS(&c)}, other = {.spec.containers = CONTAINERS(&d)};
        const struct pod *others[] = {&other};
        struct node node = some_node();
        const char *said =
            answer(arena, &(struct admission_request){.pod = &pod, .node = &node, .others = others, .count = 1});
        if (cases[i].refused)
            assert_string_equal(said, refused);
        else
            assert_null(said);
    }
    arena_free(arena);
}

static void taints_that_end_pods_keep_them_out(void **state)
{
    struct arena *arena = arena_new(0);
    struct node node = some_node();
    struct taint taint = {.key = "k", .value = "v", .effect = "NoExecute"};
    node.spec.taints = (struct taint_array){.items = &taint, .count = 1};
    struct pod pod = {0};
    struct admission_request request = {.pod = &pod, .node = &node};
    assert_string_equal(answer(arena, &request),
                        "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't "
                        "tolerate");
    request.known = true;
    assert_null(answer(arena, &request));
    request.known = false;
    struct toleration tolerates = {.key = "k", .operator= "Exists" };
    pod.spec.tolerations = (struct toleration_array){.items = &tolerates, .count = 1};
    assert_null(answer(arena, &request));
    pod.spec.tolerations.count = 0;
    pod.metadata.annotations = (struct string_map)MAP({"kubernetes.io/config.source", "file"});
    assert_null(answer(arena, &request));
    pod.metadata.annotations.count = 0;
    /* Who has been sent past the scheduler is past its taints. */
    taint.effect = "NoSchedule";
    assert_null(answer(arena, &request));
    arena_free(arena);
}

static void a_pod_for_another_system_is_refused(void **state)
{
    struct arena *arena = arena_new(0);
    struct node node = some_node();
    struct pod_os os = {.name = "windows"};
    struct pod pod = {.spec.os = &os};
    struct admission_request request = {.pod = &pod, .node = &node, .known = true};
    assert_string_equal(answer(arena, &request),
                        "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS");
    os.name = "linux";
    assert_null(answer(arena, &request));
    pod.metadata.labels = (struct string_map)MAP({"kubernetes.io/os", "windows"});
    assert_string_equal(answer(arena, &request),
                        "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label "
                        "doesn't match node label");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_refused_in_upstreams_words),
        cmocka_unit_test(all_that_is_short_is_told_once),
        cmocka_unit_test(a_pod_that_asks_for_more_waits_or_asks_in_vain),
        cmocka_unit_test(a_node_takes_so_many_pods_and_no_more),
        cmocka_unit_test(a_pod_is_refused_by_a_node_with_other_labels),
        cmocka_unit_test(a_port_of_the_node_has_one_pod),
        cmocka_unit_test(taints_that_end_pods_keep_them_out),
        cmocka_unit_test(a_pod_for_another_system_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
