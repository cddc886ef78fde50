/* The promises of the scheduler: a pod goes where it fits best, and if it fits nowhere it is told why, in upstream's
 * words, and is tried again when something changes. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define POD "pods/default/p"

static void node(struct stage *s, const char *name, const char *cpu, const char *memory, const char *pods)
{
    struct sim_node_options options = {.name = name, .cpu = cpu, .memory = memory, .pods = pods};
    sim_cluster_add_node(s->cluster, &options);
    stage_run(s, SECOND);
}

static void pod(struct stage *s, const char *name, const char *cpu, const char *memory, const char *more)
{
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"p\"}},\"spec\":{%s%s\"containers\":[{\"name\":"
                   "\"main\",\"image\":\"app:1\",\"resources\":{\"requests\":{\"cpu\":\"%s\",\"memory\":\"%s\"}}}]}}",
                   name, more ? more : "", more ? "," : "", cpu, memory);
    stage_create(s, "pods/default", json);
    stage_run(s, SECOND);
}

#define NO_VICTIMS(nodes, count)                                                                                       \
    " no new claims to deallocate, preemption: 0/" nodes " nodes are available: " count                                \
    " No preemption victims found for incoming pod."
#define NOT_HELPFUL(nodes, count)                                                                                      \
    " no new claims to deallocate, preemption: 0/" nodes " nodes are available: " count                                \
    " Preemption is not helpful for scheduling."

static void assert_reason(struct stage *s, const char *message)
{
    const char *event = stage_event(s, "Pod", "FailedScheduling");
    assert_non_null(event);
    assert_string_equal(event, message);
    assert_stage(s, POD, "status/conditions/PodScheduled/status", "False");
    assert_stage(s, POD, "status/conditions/PodScheduled/reason", "Unschedulable");
    assert_stage(s, POD, "status/conditions/PodScheduled/message", message);
    assert_stage(s, POD, "spec/nodeName", NULL);
}

static void a_pod_that_fits_stage_is_bound_and_says_where(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    pod(s, "p", "1", "1Gi", NULL);
    assert_stage(s, POD, "spec/nodeName", "n1");
    assert_stage(s, POD, "status/conditions/PodScheduled/status", "True");
    assert_string_equal(stage_event(s, "Pod", "Scheduled"), "Successfully assigned default/p to n1");
    stage_free(s);
}

static void the_reasons_are_upstreams(void **state)
{
    static const struct {
        const char *cpu, *memory, *more, *message;
    } cases[] = {
        /* More than any node has: no eviction would help. */
        {"3", "1Gi", NULL, "0/1 nodes are available: 1 Insufficient cpu." NOT_HELPFUL("1", "1")},
        {"3", "5Gi", NULL, "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory." NOT_HELPFUL("1", "1")},
        /* Sums that no amount can hold are no small ones. */
        {"1", "9E",
         "\"initContainers\":[{\"name\":\"s\",\"image\":\"app:1\",\"restartPolicy\":\"Always\",\"resources\":{"
         "\"requests\":{\"memory\":\"9E\"}}}]",
         "0/1 nodes are available: 1 Insufficient memory." NOT_HELPFUL("1", "1")},
        {"1", "1Gi", "\"nodeSelector\":{\"disk\":\"ssd\"}",
         "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector." NOT_HELPFUL("1", "1")},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct stage *s = stage_new();
        node(s, "n1", "2", "2Gi", "10");
        pod(s, "p", cases[i].cpu, cases[i].memory, cases[i].more);
        assert_reason(s, cases[i].message);
        stage_free(s);
    }
}

/* Who names its node comes past the scheduler. */
static void a_node_with_more_than_an_amount_can_hold_is_full_until_it_has_gone(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    pod(s, "a", "1m", "9E", "\"nodeName\":\"n1\"");
    pod(s, "b", "1m", "9E", "\"nodeName\":\"n1\"");
    pod(s, "p", "1m", "1Gi", NULL);
    assert_stage(s, POD, "status/conditions/PodScheduled/reason", "Unschedulable");
    stage_delete(s, "pods/default/a", NULL);
    stage_delete(s, "pods/default/b", NULL);
    stage_run(s, MINUTE);
    assert_stage(s, POD, "spec/nodeName", "n1");
    stage_free(s);
}

static void port_pod(struct stage *s, const char *name, const char *ports)
{
    cleanup_free char *json = mem_printf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"p\"}},\"spec\":{"
                                         "\"containers\":[{\"name\":\"main\",\"image\":\"app:1\",\"ports\":[%s]}]}}",
                                         name, ports);
    stage_create(s, "pods/default", json);
    stage_run(s, SECOND);
}

static void a_port_of_the_node_is_given_once(void **state)
{
    static const struct {
        const char *ports;
        bool fits;
    } cases[] = {
        {"{\"containerPort\":1,\"hostPort\":80}", false},
        {"{\"containerPort\":1,\"hostPort\":80,\"hostIP\":\"10.0.0.1\"}", false},
        {"{\"containerPort\":1,\"hostPort\":80,\"protocol\":\"UDP\"}", true},
        {"{\"containerPort\":80}", true},
        {"{\"containerPort\":1,\"hostPort\":81,\"hostIP\":\"10.0.0.2\"}", true},
        {"{\"containerPort\":1,\"hostPort\":81,\"hostIP\":\"10.0.0.1\"}", false},
        {"{\"containerPort\":1,\"hostPort\":81}", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct stage *s = stage_new();
        node(s, "n1", "2", "2Gi", "10");
        port_pod(s, "first", "{\"containerPort\":8080,\"hostPort\":80}");
        port_pod(s, "second", "{\"containerPort\":8080,\"hostPort\":81,\"hostIP\":\"10.0.0.1\"}");
        port_pod(s, "p", cases[i].ports);
        if (!cases[i].fits) {
            assert_reason(
                s, "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports." NO_VICTIMS(
                       "1", "1"));
            stage_delete(s, "pods/default/first", NULL);
            stage_delete(s, "pods/default/second", NULL);
        }
        stage_until(s, stage_is_bound, POD);
        stage_free(s);
    }
}

static void what_others_have_taken_is_no_reason_for_good(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    pod(s, "first", "1500m", "1Gi", NULL);
    pod(s, "p", "1", "100Mi", NULL);
    assert_reason(s, "0/1 nodes are available: 1 Insufficient cpu." NO_VICTIMS("1", "1"));
    stage_delete(s, "pods/default/first", NULL);
    stage_until(s, stage_is_bound, POD);
    stage_free(s);
}

static void reasons_of_several_nodes_are_counted_and_sorted(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "1", "8Gi", "10");
    node(s, "n2", "1", "8Gi", "10");
    node(s, "n3", "8", "1Gi", "10");
    node(s, "n4", "8", "8Gi", "10");
    stage_patch(s, "nodes/n4", "{\"spec\":{\"unschedulable\":true}}");
    stage_run(s, SECOND);
    pod(s, "p", "2", "2Gi", NULL);
    assert_reason(
        s,
        "0/4 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu." NOT_HELPFUL(
            "4", "4"));
    stage_free(s);
}

static void without_nodes_there_is_one_reason(void **state)
{
    struct stage *s = stage_new();
    pod(s, "p", "1", "1Gi", NULL);
    assert_reason(s, "no nodes available to schedule pods");
    node(s, "n1", "2", "2Gi", "10");
    stage_until(s, stage_is_bound, POD);
    stage_free(s);
}

static void a_node_takes_no_more_pods_than_it_says(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "8", "8Gi", "2");
    pod(s, "a", "0", "0", NULL);
    pod(s, "b", "0", "0", NULL);
    pod(s, "p", "0", "0", NULL);
    assert_reason(s, "0/1 nodes are available: 1 Too many pods." NO_VICTIMS("1", "1"));
    stage_free(s);
}

static void taints_keep_pods_out_that_do_not_tolerate_them(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "8", "8Gi", "10");
    stage_patch(s, "nodes/n1",
                "{\"spec\":{\"taints\":[{\"key\":\"gpu\",\"value\":\"yes\",\"effect\":\"NoSchedule\"}]}}");
    stage_run(s, SECOND);
    pod(s, "p", "1", "1Gi", NULL);
    assert_reason(s, "0/1 nodes are available: 1 node(s) had untolerated taint(s)." NOT_HELPFUL("1", "1"));
    pod(s, "same", "1", "1Gi", "\"tolerations\":[{\"key\":\"gpu\",\"operator\":\"Equal\",\"value\":\"yes\"}]");
    pod(s, "any", "1", "1Gi", "\"tolerations\":[{\"operator\":\"Exists\"}]");
    pod(s, "other", "1", "1Gi", "\"tolerations\":[{\"key\":\"gpu\",\"value\":\"no\",\"effect\":\"NoSchedule\"}]");
    assert_stage(s, "pods/default/same", "spec/nodeName", "n1");
    assert_stage(s, "pods/default/any", "spec/nodeName", "n1");
    assert_stage(s, "pods/default/other", "spec/nodeName", NULL);
    stage_patch(s, "nodes/n1", "{\"spec\":{\"taints\":null}}");
    stage_until(s, stage_is_bound, POD);
    stage_free(s);
}

static void a_taint_that_prefers_is_only_a_preference(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "8", "8Gi", "10");
    node(s, "n2", "8", "8Gi", "10");
    stage_patch(s, "nodes/n1", "{\"spec\":{\"taints\":[{\"key\":\"old\",\"effect\":\"PreferNoSchedule\"}]}}");
    stage_run(s, SECOND);
    pod(s, "p", "1", "1Gi", NULL);
    assert_stage(s, POD, "spec/nodeName", "n2");
    stage_patch(s, "nodes/n2", "{\"spec\":{\"unschedulable\":true}}");
    stage_run(s, SECOND);
    pod(s, "q", "1", "1Gi", NULL);
    assert_stage(s, "pods/default/q", "spec/nodeName", "n1");
    stage_free(s);
}

static void pods_go_where_most_is_left(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "4", "8Gi", "110");
    node(s, "n2", "4", "8Gi", "110");
    node(s, "n3", "4", "8Gi", "110");
    stage_deploy(s, "web", 30, "app:1", NULL);
    stage_run(s, 10 * SECOND);
    struct object *pods[30];
    size_t on[4] = {0};
    assert_int_equal(stage_list(s, "pods", "default", "app", "web", pods, 30), 30);
    for (size_t i = 0; i < 30; i++)
        on[((const struct pod *)pods[i]->value)->spec.node_name[1] - '0']++;
    assert_int_equal(on[1], 10);
    assert_int_equal(on[2], 10);
    assert_int_equal(on[3], 10);
    stage_free(s);
}

static void a_node_that_changes_is_a_reason_to_try_again(void **state)
{
    static const char *const changes[] = {
        "{\"spec\":{\"unschedulable\":null}}",
        "{\"metadata\":{\"labels\":{\"disk\":\"ssd\"}}}",
    };
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    stage_patch(s, "nodes/n1", "{\"spec\":{\"unschedulable\":true}}");
    stage_run(s, SECOND);
    pod(s, "p", "1", "1Gi", "\"nodeSelector\":{\"disk\":\"ssd\"}");
    stage_run(s, 2 * MINUTE);
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        assert_stage(s, POD, "spec/nodeName", NULL);
        stage_patch(s, "nodes/n1", changes[i]);
        stage_run(s, 11 * SECOND);
    }
    assert_stage(s, POD, "spec/nodeName", "n1");
    stage_free(s);
}

/* A heartbeat is not a change; and however often nodes change, a pod has its turn. */
static void heartbeats_neither_wake_a_pod_nor_keep_it_waiting(void **state)
{
    struct stage *s = stage_new();
    struct sim_node_options options = {
        .name = "n1", .cpu = "2", .memory = "2Gi", .pods = "10", .heartbeat = 10 * SECOND, .status_period = SECOND};
    sim_cluster_add_node(s->cluster, &options);
    stage_run(s, 2 * SECOND);
    stage_patch(s, "nodes/n1", "{\"spec\":{\"unschedulable\":true}}");
    pod(s, "p", "1", "1Gi", NULL);
    uint64_t revision = stage_get(s, POD)->revision;
    stage_run(s, MINUTE);
    assert_int_equal(stage_get(s, POD)->revision, revision);
    struct object *event;
    assert_true(stage_list(s, "events", "default", NULL, NULL, &event, 1) >= 1);
    assert_int_equal(((const struct event *)event->value)->count, 1);
    for (int i = 0; i < 30; i++) {
        char text[128];
        snprintf(text, sizeof(text), "{\"metadata\":{\"labels\":{\"n\":\"%d\"}},\"spec\":{\"unschedulable\":%s}}", i,
                 i < 10 ? "true" : "null");
        stage_patch(s, "nodes/n1", text);
        stage_run(s, SECOND);
    }
    assert_true(stage_is_bound(s, POD));
    stage_free(s);
}

static void the_largest_init_container_counts_as_well(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    pod(s, "p", "100m", "100Mi",
        "\"initContainers\":[{\"name\":\"big\",\"image\":\"app:1\",\"resources\":{\"requests\":{\"cpu\":\"3\"}}}]");
    assert_reason(s, "0/1 nodes are available: 1 Insufficient cpu." NOT_HELPFUL("1", "1"));
    stage_free(s);
}

static void another_schedulers_pods_and_gated_pods_are_let_alone(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    pod(s, "p", "1", "1Gi", "\"schedulerName\":\"mine\"");
    pod(s, "q", "1", "1Gi", "\"schedulingGates\":[{\"name\":\"example.com/wait\"}]");
    stage_run(s, MINUTE);
    assert_stage(s, POD, "spec/nodeName", NULL);
    assert_stage(s, "pods/default/q", "spec/nodeName", NULL);
    assert_stage(s, "pods/default/q", "status/conditions/PodScheduled/reason", "SchedulingGated");
    stage_patch(s, "pods/default/q", "{\"spec\":{\"schedulingGates\":null}}");
    stage_until(s, stage_is_bound, "pods/default/q");
    stage_free(s);
}

static void a_pod_that_somebody_else_binds_counts(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "2", "2Gi", "10");
    pod(s, "first", "1500m", "1Gi", "\"schedulerName\":\"mine\"");
    stage_create(s, "pods/default/first/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
    stage_run(s, SECOND);
    pod(s, "p", "1", "100Mi", NULL);
    assert_reason(s, "0/1 nodes are available: 1 Insufficient cpu." NO_VICTIMS("1", "1"));
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_that_fits_stage_is_bound_and_says_where),
        cmocka_unit_test(the_reasons_are_upstreams),
        cmocka_unit_test(a_node_with_more_than_an_amount_can_hold_is_full_until_it_has_gone),
        cmocka_unit_test(a_port_of_the_node_is_given_once),
        cmocka_unit_test(what_others_have_taken_is_no_reason_for_good),
        cmocka_unit_test(reasons_of_several_nodes_are_counted_and_sorted),
        cmocka_unit_test(without_nodes_there_is_one_reason),
        cmocka_unit_test(a_node_takes_no_more_pods_than_it_says),
        cmocka_unit_test(taints_keep_pods_out_that_do_not_tolerate_them),
        cmocka_unit_test(a_taint_that_prefers_is_only_a_preference),
        cmocka_unit_test(pods_go_where_most_is_left),
        cmocka_unit_test(a_node_that_changes_is_a_reason_to_try_again),
        cmocka_unit_test(heartbeats_neither_wake_a_pod_nor_keep_it_waiting),
        cmocka_unit_test(the_largest_init_container_counts_as_well),
        cmocka_unit_test(another_schedulers_pods_and_gated_pods_are_let_alone),
        cmocka_unit_test(a_pod_that_somebody_else_binds_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
