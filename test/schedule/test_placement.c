/* Affinity, spreading and priority as users see them: where pods go, what those that wait are told, in upstream's words,
 * and what makes them go on. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define POD "pods/default/p"
#define NO_VICTIMS(nodes, count)                                                                                       \
    " no new claims to deallocate, preemption: 0/" nodes " nodes are available: " count                                \
    " No preemption victims found for incoming pod."
#define NOT_HELPFUL(nodes, count)                                                                                      \
    " no new claims to deallocate, preemption: 0/" nodes " nodes are available: " count                                \
    " Preemption is not helpful for scheduling."

#define HOST "\"topologyKey\":\"kubernetes.io/hostname\""
#define ZONE "\"topologyKey\":\"topology.kubernetes.io/zone\""
#define APP(name) "\"labelSelector\":{\"matchLabels\":{\"app\":\"" name "\"}}"
#define REQUIRED "\"requiredDuringSchedulingIgnoredDuringExecution\""
#define PREFERRED "\"preferredDuringSchedulingIgnoredDuringExecution\""
#define APART(name, key) "\"affinity\":{\"podAntiAffinity\":{" REQUIRED ":[{" APP(name) "," key "}]}}"
#define TOGETHER(name, key) "\"affinity\":{\"podAffinity\":{" REQUIRED ":[{" APP(name) "," key "}]}}"
#define SPREAD(name, key, what)                                                                                        \
    "\"topologySpreadConstraints\":[{\"maxSkew\":1," key ",\"whenUnsatisfiable\":\"" what "\"," APP(name) "}]"

static void node(struct stage *s, const char *name, const char *zone)
{
    struct sim_node_options options = {.name = name, .zone = zone, .cpu = "4", .memory = "8Gi", .pods = "110"};
    sim_cluster_add_node(s->cluster, &options);
    stage_run(s, SECOND);
}

static void pod(struct stage *s, const char *name, const char *app, const char *cpu, const char *more)
{
    cleanup_free char *json = mem_printf(
        "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},\"spec\":{%s%s\"terminationGracePeriodSeconds\":5,"
        "\"containers\":[{\"name\":\"main\",\"image\":\"app:1\",\"resources\":{\"requests\":{\"cpu\":\"%s\"}}}]}}",
        name, app, more ? more : "", more ? "," : "", cpu);
    stage_create(s, "pods/default", json);
    stage_run(s, SECOND);
}

static bool is_bound(struct stage *s, const void *path)
{
    return stage_field(s, path, "spec/nodeName") != NULL;
}

static const char *node_of(struct stage *s, const char *name)
{
    static char out[4][64];
    static int turn;
    char path[128];
    snprintf(path, sizeof(path), "pods/default/%s", name);
    const char *is = stage_field(s, path, "spec/nodeName");
    snprintf(out[turn = (turn + 1) % 4], sizeof(out[0]), "%s", is ? is : "(none)");
    return out[turn];
}

static void assert_reason(struct stage *s, const char *message)
{
    assert_stage(s, POD, "spec/nodeName", NULL);
    assert_stage(s, POD, "status/conditions/PodScheduled/reason", "Unschedulable");
    assert_stage(s, POD, "status/conditions/PodScheduled/message", message);
    assert_string_equal(stage_event(s, "Pod", "FailedScheduling"), message);
}

static void copies_that_shun_each_other_get_a_node_each(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    node(s, "n2", "a");
    pod(s, "one", "web", "10m", APART("web", HOST));
    pod(s, "two", "web", "10m", APART("web", HOST));
    assert_string_not_equal(node_of(s, "one"), node_of(s, "two"));
    pod(s, "p", "web", "10m", APART("web", HOST));
    assert_reason(s, "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules." NO_VICTIMS("2", "2"));
    /* Not by the clock: what it waits for is a pod that goes, or a node that comes. */
    stage_run(s, 4 * MINUTE);
    assert_stage(s, POD, "spec/nodeName", NULL);
    node(s, "n3", "a");
    stage_until(s, is_bound, POD);
    assert_string_equal(node_of(s, "p"), "n3");
    stage_free(s);
}

static void who_is_there_may_forbid_who_comes(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    pod(s, "hermit", "hermit", "10m", APART("web", ZONE));
    pod(s, "p", "web", "10m", NULL);
    assert_reason(s, "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules." NO_VICTIMS(
                         "1", "1"));
    stage_delete(s, "pods/default/hermit", NULL);
    stage_until(s, is_bound, POD);
    stage_free(s);
}

static void a_pod_goes_where_its_friends_are(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    node(s, "n2", "b");
    pod(s, "p", "web", "10m", TOGETHER("cache", ZONE));
    assert_reason(s, "0/2 nodes are available: 2 node(s) didn't match pod affinity rules." NOT_HELPFUL("2", "2"));
    pod(s, "cache", "cache", "10m", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n2\"}");
    stage_until(s, is_bound, POD);
    assert_string_equal(node_of(s, "p"), "n2");
    /* The first of a series has nobody to go to. */
    pod(s, "first", "series", "10m", TOGETHER("series", ZONE));
    pod(s, "second", "series", "10m", TOGETHER("series", ZONE));
    assert_string_not_equal(node_of(s, "first"), "(none)");
    assert_string_equal(node_of(s, "first"), node_of(s, "second"));
    stage_free(s);
}

static void preferences_decide_between_nodes_that_fit(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    node(s, "n2", "b");
    node(s, "n3", "c");
    stage_patch(s, "nodes/n3", "{\"metadata\":{\"labels\":{\"disk\":\"ssd\"}}}");
    pod(s, "one", "web", "10m",
        "\"affinity\":{\"nodeAffinity\":{" PREFERRED ":[{\"weight\":50,\"preference\":{\"matchExpressions\":[{\"key\":"
        "\"disk\",\"operator\":\"In\",\"values\":[\"ssd\"]}]}}]}}");
    assert_string_equal(node_of(s, "one"), "n3");
    for (int i = 0; i < 2; i++)
        pod(s, i ? "three" : "two", "web", "10m",
            "\"affinity\":{\"podAntiAffinity\":{" PREFERRED ":[{\"weight\":100,\"podAffinityTerm\":{" APP("web") "," ZONE
            "}}]}}");
    assert_string_not_equal(node_of(s, "two"), "n3");
    assert_string_not_equal(node_of(s, "three"), "n3");
    assert_string_not_equal(node_of(s, "two"), node_of(s, "three"));
    stage_free(s);
}

static void required_node_affinity_is_obeyed(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    node(s, "n2", "b");
    stage_patch(s, "nodes/n2", "{\"metadata\":{\"labels\":{\"size\":\"7\"}}}");
    pod(s, "big", "web", "10m",
        "\"affinity\":{\"nodeAffinity\":{" REQUIRED ":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"size\","
        "\"operator\":\"Gt\",\"values\":[\"6\"]}]}]}}}");
    assert_string_equal(node_of(s, "big"), "n2");
    pod(s, "p", "web", "10m",
        "\"affinity\":{\"nodeAffinity\":{" REQUIRED ":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":"
        "\"metadata.name\",\"operator\":\"In\",\"values\":[\"n1\"]}],\"matchExpressions\":[{\"key\":\"size\","
        "\"operator\":\"Exists\"}]}]}}}");
    assert_reason(s, "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't "
                     "satisfy plugin(s) [NodeAffinity]." NOT_HELPFUL("2", "2"));
    stage_patch(s, "nodes/n1", "{\"metadata\":{\"labels\":{\"size\":\"1\"}}}");
    stage_until(s, is_bound, POD);
    stage_free(s);
}

static void pods_are_spread_over_zones(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    node(s, "n2", "b");
    node(s, "n3", "c");
    const char *names[] = {"one", "two", "three"};
    for (int i = 0; i < 3; i++)
        pod(s, names[i], "web", "10m", SPREAD("web", ZONE, "DoNotSchedule"));
    assert_string_not_equal(node_of(s, "one"), node_of(s, "two"));
    assert_string_not_equal(node_of(s, "two"), node_of(s, "three"));
    assert_string_not_equal(node_of(s, "one"), node_of(s, "three"));
    /* Nobody may go to a zone before the others have caught up. */
    stage_patch(s, "nodes/n1", "{\"spec\":{\"unschedulable\":true}}");
    stage_patch(s, "nodes/n2", "{\"spec\":{\"unschedulable\":true}}");
    stage_run(s, SECOND);
    pod(s, "four", "web", "10m", SPREAD("web", ZONE, "DoNotSchedule"));
    assert_string_equal(node_of(s, "four"), "n3");
    pod(s, "p", "web", "10m", SPREAD("web", ZONE, "DoNotSchedule"));
    assert_reason(s, "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 node(s) were "
                     "unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption "
                     "victims found for incoming pod, 2 Preemption is not helpful for scheduling.");
    stage_patch(s, "nodes/n1", "{\"spec\":{\"unschedulable\":null}}");
    stage_until(s, is_bound, POD);
    assert_string_equal(node_of(s, "p"), "n1");
    stage_free(s);
}

static void a_node_without_the_label_will_not_do(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", NULL);
    pod(s, "p", "web", "10m", SPREAD("web", ZONE, "DoNotSchedule"));
    assert_reason(s, "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required "
                     "label)." NOT_HELPFUL("1", "1"));
    pod(s, "any", "web", "10m", SPREAD("web", ZONE, "ScheduleAnyway"));
    assert_string_equal(node_of(s, "any"), "n1");
    stage_patch(s, "nodes/n1", "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"a\"}}}");
    stage_until(s, is_bound, POD);
    stage_free(s);
}

static void keys_of_labels_become_part_of_the_selector(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    pod(s, "p", "web", "10m",
        "\"topologySpreadConstraints\":[{\"maxSkew\":1," ZONE ",\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{"
        "\"matchLabels\":{\"a\":\"b\"}},\"matchLabelKeys\":[\"app\",\"absent\"]}],\"affinity\":{\"podAntiAffinity\":{" REQUIRED
        ":[{\"labelSelector\":{}," HOST ",\"mismatchLabelKeys\":[\"app\"]}]}}");
    assert_stage(s, POD, "spec/topologySpreadConstraints/0/labelSelector",
                 "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[\"web\"]}],\"matchLabels\":{\"a\":"
                 "\"b\"}}");
    assert_stage(s, POD, "spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector",
                 "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"web\"]}]}");
    stage_free(s);
}

static void namespaces_are_found_by_their_labels(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    stage_create(s, "namespaces", "{\"metadata\":{\"name\":\"other\",\"labels\":{\"team\":\"red\"}}}");
    stage_create(s, "pods/other",
                 "{\"metadata\":{\"name\":\"o\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"main\","
                 "\"image\":\"app:1\"}]}}");
    stage_run(s, SECOND);
    pod(s, "p", "web", "10m",
        "\"affinity\":{\"podAntiAffinity\":{" REQUIRED ":[{" APP("web") "," HOST
        ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"red\"}}}]}}");
    assert_reason(s, "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules." NO_VICTIMS("1", "1"));
    stage_patch(s, "namespaces/other", "{\"metadata\":{\"labels\":{\"team\":\"blue\"}}}");
    stage_until(s, is_bound, POD);
    stage_free(s);
}

/* ---- Priority ---- */

static void class(struct stage *s, const char *name, int value, const char *more)
{
    cleanup_free char *json = mem_printf("{\"metadata\":{\"name\":\"%s\"},\"value\":%d%s}", name, value, more);
    stage_create(s, "priorityclasses", json);
    stage_run(s, SECOND);
}

static void a_pod_gets_the_priority_of_its_class(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    assert_stage(s, "priorityclasses/system-node-critical", "value", "2000001000");
    assert_stage(s, "priorityclasses/system-cluster-critical", "value", "2000000000");
    pod(s, "plain", "web", "10m", NULL);
    assert_stage(s, "pods/default/plain", "spec/priority", "0");
    class(s, "high", 1000, ",\"preemptionPolicy\":\"Never\"");
    pod(s, "p", "web", "10m", "\"priorityClassName\":\"high\"");
    assert_stage(s, POD, "spec/priority", "1000");
    assert_stage(s, POD, "spec/preemptionPolicy", "Never");
    class(s, "usual", 7, ",\"globalDefault\":true");
    pod(s, "q", "web", "10m", NULL);
    assert_stage(s, "pods/default/q", "spec/priority", "7");
    assert_stage(s, "pods/default/q", "spec/priorityClassName", "usual");
    assert_int_equal(stage_delete(s, "priorityclasses/system-node-critical", NULL), 403);
    stage_free(s);
}

static void the_more_important_is_placed_first(void **state)
{
    struct stage *s = stage_new();
    class(s, "high", 1000, "");
    pod(s, "low", "web", "3", NULL);
    pod(s, "p", "web", "3", "\"priorityClassName\":\"high\"");
    node(s, "n1", "a");
    stage_until(s, is_bound, POD);
    assert_stage(s, "pods/default/low", "spec/nodeName", NULL);
    stage_free(s);
}

static bool is_gone(struct stage *s, const void *path)
{
    return !stage_get(s, path);
}

static void the_less_important_makes_room(void **state)
{
    struct stage *s = stage_new_with(
        &(struct sim_cluster_options){.seed = 1, .behaviour = {.stop_max = 3 * SECOND}});
    node(s, "n1", "a");
    class(s, "low", 10, "");
    class(s, "high", 1000, "");
    pod(s, "keeps", "web", "1", "\"priorityClassName\":\"high\"");
    pod(s, "small", "web", "1", "\"priorityClassName\":\"low\"");
    pod(s, "large", "web", "2", NULL);
    stage_run(s, 5 * SECOND);
    stage_create(s, "pods/default",
                 "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"priorityClassName\":\"high\",\"containers\":[{\"name\":"
                 "\"main\",\"image\":\"app:1\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]}}");
    stage_run(s, 10 * MILLISECOND);
    /* The one of the lowest priority is enough, and it goes as one that a user deletes. */
    assert_string_equal(stage_event(s, "Pod", "FailedScheduling"), "0/1 nodes are available: 1 Insufficient cpu.");
    assert_stage(s, POD, "status/nominatedNodeName", "n1");
    assert_stage(s, "pods/default/large", "status/conditions/DisruptionTarget/reason", "PreemptionByScheduler");
    assert_stage(s, "pods/default/large", "metadata/deletionGracePeriodSeconds", "5");
    stage_until(s, is_gone, "pods/default/large");
    stage_until(s, is_bound, POD);
    assert_stage(s, POD, "status/nominatedNodeName", NULL);
    assert_stage(s, "pods/default/small", "metadata/deletionTimestamp", NULL);
    assert_stage(s, "pods/default/keeps", "metadata/deletionTimestamp", NULL);
    const char *event = stage_event(s, "Pod", "Preempted");
    assert_non_null(event);
    assert_memory_equal(event, "Preempted by pod ", 17);
    assert_string_equal(event + strlen(event) - 11, " on node n1");
    stage_free(s);
}

static void what_may_not_preempt_waits(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    class(s, "polite", 1000, ",\"preemptionPolicy\":\"Never\"");
    pod(s, "first", "web", "3", NULL);
    pod(s, "p", "web", "3", "\"priorityClassName\":\"polite\"");
    assert_reason(s, "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible "
                     "due to preemptionPolicy=Never.");
    assert_stage(s, "pods/default/first", "metadata/deletionTimestamp", NULL);
    stage_free(s);
}

static void nobody_leaves_in_vain(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    class(s, "high", 1000, "");
    pod(s, "mighty", "web", "3", "\"priorityClassName\":\"system-node-critical\"");
    pod(s, "small", "web", "500m", NULL);
    pod(s, "p", "web", "2", "\"priorityClassName\":\"high\"");
    assert_reason(s, "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
                     "available: 1 Insufficient cpu.");
    assert_stage(s, "pods/default/small", "metadata/deletionTimestamp", NULL);
    stage_free(s);
}

static void anti_affinity_is_a_reason_to_make_room(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    class(s, "high", 1000, "");
    pod(s, "hermit", "hermit", "10m", APART("web", HOST));
    pod(s, "neighbour", "other", "10m", NULL);
    pod(s, "p", "web", "10m", "\"priorityClassName\":\"high\"");
    stage_until(s, is_bound, POD);
    assert_null(stage_get(s, "pods/default/hermit"));
    assert_stage(s, "pods/default/neighbour", "metadata/deletionTimestamp", NULL);
    stage_free(s);
}

/* ---- NoExecute ---- */

static void pods_leave_a_node_whose_taint_they_do_not_tolerate(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    pod(s, "goes", "web", "10m", NULL);
    pod(s, "stays", "web", "10m", "\"tolerations\":[{\"operator\":\"Exists\"}]");
    pod(s, "for-a-while", "web", "10m",
        "\"tolerations\":[{\"key\":\"fire\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":60}]");
    stage_patch(s, "nodes/n1", "{\"spec\":{\"taints\":[{\"key\":\"fire\",\"effect\":\"NoExecute\"}]}}");
    stage_until(s, is_gone, "pods/default/goes");
    assert_string_equal(stage_event(s, "Pod", "TaintManagerEviction"), "Marking for deletion Pod default/goes");
    stage_run(s, 30 * SECOND);
    assert_stage(s, "pods/default/for-a-while", "metadata/deletionTimestamp", NULL);
    stage_run(s, 35 * SECOND);
    assert_null(stage_get(s, "pods/default/for-a-while"));
    assert_non_null(stage_get(s, "pods/default/stays"));
    stage_free(s);
}

static void a_taint_that_goes_in_time_spares_the_pod(void **state)
{
    struct stage *s = stage_new();
    node(s, "n1", "a");
    pod(s, "p", "web", "10m",
        "\"tolerations\":[{\"key\":\"fire\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":60}]");
    stage_patch(s, "nodes/n1", "{\"spec\":{\"taints\":[{\"key\":\"fire\",\"effect\":\"NoExecute\"}]}}");
    stage_run(s, 30 * SECOND);
    stage_patch(s, "nodes/n1", "{\"spec\":{\"taints\":null}}");
    stage_run(s, 2 * MINUTE);
    assert_stage(s, POD, "metadata/deletionTimestamp", NULL);
    assert_string_equal(stage_event(s, "Pod", "TaintManagerEviction"), "Cancelling deletion of Pod default/p");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_that_shun_each_other_get_a_node_each),
        cmocka_unit_test(who_is_there_may_forbid_who_comes),
        cmocka_unit_test(a_pod_goes_where_its_friends_are),
        cmocka_unit_test(preferences_decide_between_nodes_that_fit),
        cmocka_unit_test(required_node_affinity_is_obeyed),
        cmocka_unit_test(pods_are_spread_over_zones),
        cmocka_unit_test(a_node_without_the_label_will_not_do),
        cmocka_unit_test(keys_of_labels_become_part_of_the_selector),
        cmocka_unit_test(namespaces_are_found_by_their_labels),
        cmocka_unit_test(a_pod_gets_the_priority_of_its_class),
        cmocka_unit_test(the_more_important_is_placed_first),
        cmocka_unit_test(the_less_important_makes_room),
        cmocka_unit_test(what_may_not_preempt_waits),
        cmocka_unit_test(nobody_leaves_in_vain),
        cmocka_unit_test(anti_affinity_is_a_reason_to_make_room),
        cmocka_unit_test(pods_leave_a_node_whose_taint_they_do_not_tolerate),
        cmocka_unit_test(a_taint_that_goes_in_time_spares_the_pod),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
