/* The promises of ReplicaSets: their number of pods, whose pods they are, and which of them go first. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "control/controller.h"
#include "control/victims.h"

#define SET "replicasets/default/set"

static void create_set(struct stage *s, int replicas)
{
    char json[512];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"set\"},\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":\"a\"}},"
             "\"template\":{\"metadata\":{\"labels\":{\"app\":\"a\"}},\"spec\":{\"containers\":[{\"name\":\"main\","
             "\"image\":\"app:1\"}]}}}}",
             replicas);
    stage_create(s, "replicasets/default", json);
    stage_run(s, 5 * SECOND);
}

static void create_pod(struct stage *s, const char *name, const char *app)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"main\","
             "\"image\":\"app:1\"}]}}",
             name, app);
    stage_create(s, "pods/default", json);
    stage_run(s, SECOND);
}

static void scale(struct stage *s, int replicas)
{
    char json[64];
    snprintf(json, sizeof(json), "{\"spec\":{\"replicas\":%d}}", replicas);
    stage_patch(s, SET, json);
    stage_run(s, 5 * SECOND);
}

static void pods_that_go_are_replaced_and_counted(void **state)
{
    struct stage *s = stage_new();
    struct object *pods[3];
    stage_node(s, "n1");
    create_set(s, 3);
    assert_stage(s, SET, "status/replicas", "3");
    assert_stage(s, SET, "status/readyReplicas", "3");
    assert_stage(s, SET, "status/availableReplicas", "3");
    assert_stage(s, SET, "status/fullyLabeledReplicas", "3");
    assert_stage(s, SET, "status/observedGeneration", "1");
    assert_int_equal(stage_list(s, "pods", "default", "app", "a", pods, 3), 3);
    assert_memory_equal(pods[0]->meta->name, "set-", 4);
    assert_string_equal(controller_of(pods[0]->meta)->kind, "ReplicaSet");
    assert_true(controller_of(pods[0]->meta)->block_owner_deletion.value);
    char path[128];
    snprintf(path, sizeof(path), "pods/default/%s", pods[0]->meta->name);
    assert_int_equal(stage_delete(s, path, NULL), 200);
    stage_run(s, 5 * SECOND);
    assert_null(stage_get(s, path));
    assert_int_equal(stage_ready(s, "a"), 3);
    assert_memory_equal(stage_event(s, "ReplicaSet", "SuccessfulCreate"), "Created pod: set-", 17);
    scale(s, 1);
    assert_int_equal(stage_ready(s, "a"), 1);
    assert_stage(s, SET, "status/replicas", "1");
    assert_memory_equal(stage_event(s, "ReplicaSet", "SuccessfulDelete"), "Deleted pod: set-", 17);
    stage_free(s);
}

static void orphans_that_match_are_adopted_and_counted(void **state)
{
    struct stage *s = stage_new();
    stage_node(s, "n1");
    create_pod(s, "mine", "a");
    create_pod(s, "too", "a");
    create_pod(s, "other", "b");
    create_set(s, 3);
    assert_int_equal(stage_count(s, "pods", "default", "app", "a"), 3);
    assert_stage(s, "pods/default/mine", "metadata/ownerReferences/set/controller", "true");
    assert_stage(s, "pods/default/too", "metadata/ownerReferences/set/kind", "ReplicaSet");
    assert_stage(s, "pods/default/other", "metadata/ownerReferences", NULL);
    create_pod(s, "more", "a");
    stage_run(s, 5 * SECOND);
    assert_int_equal(stage_count(s, "pods", "default", "app", "a"), 3);
    stage_free(s);
}

static void a_pod_that_matches_no_more_is_released_and_replaced(void **state)
{
    struct stage *s = stage_new();
    struct object *pods[2];
    stage_node(s, "n1");
    create_set(s, 2);
    stage_list(s, "pods", "default", "app", "a", pods, 2);
    char path[128];
    snprintf(path, sizeof(path), "pods/default/%s", pods[1]->meta->name);
    stage_patch(s, path, "{\"metadata\":{\"labels\":{\"app\":\"debug\"}}}");
    stage_run(s, 5 * SECOND);
    assert_stage(s, path, "metadata/ownerReferences", NULL);
    assert_int_equal(stage_ready(s, "a"), 2);
    assert_int_equal(stage_ready(s, "debug"), 1);
    assert_stage(s, SET, "status/replicas", "2");
    stage_free(s);
}

static void what_is_refused_once_is_not_asked_for_again_and_again(void **state)
{
    struct stage *s = stage_new();
    sim_link_refuse(sim_cluster_control_link(s->cluster), &api_resources[API_PODS], "exceeded quota");
    create_set(s, 200);
    struct object *events[300];
    int32_t asked = 0;
    size_t count = stage_list(s, "events", "default", NULL, NULL, events, ARRAY_COUNT(events));
    for (size_t i = 0; i < count; i++)
        asked += ((const struct event *)events[i]->value)->count;
    /* Retries back off: 5 ms, 10 ms, ... within the 5 s. */
    assert_in_range(asked, 5, 15);
    assert_stage(s, SET, "status/conditions/ReplicaFailure/message", "pods is forbidden: exceeded quota");
    scale(s, 0);
    assert_stage(s, SET, "status/conditions", NULL);
    stage_free(s);
}

static void all_pods_are_made_although_they_start_slowly(void **state)
{
    struct stage *s = stage_new();
    create_set(s, 700);
    assert_int_equal(stage_count(s, "pods", "default", "app", "a"), 700);
    assert_stage(s, SET, "status/replicas", "700");
    scale(s, 20);
    assert_int_equal(stage_count(s, "pods", "default", "app", "a"), 20);
    stage_free(s);
}

/* Victims. */

#define NOW (INT64_C(1000000) * SECOND)

struct candidate {
    const char *name, *node, *phase;
    bool ready;
    int64_t age, ready_age; /* seconds */
    int32_t restarts;
    const char *cost;
    int32_t sidecar_restarts;
};

static struct object *pod_of(struct arena *arena, const struct candidate *c)
{
    struct pod *pod = arena_alloc(arena, sizeof(*pod));
    struct pod_condition *ready = arena_alloc(arena, sizeof(*ready));
    struct container_status *container = arena_alloc(arena, sizeof(*container));
    struct object *object = arena_alloc(arena, sizeof(*object));
    pod->metadata.name = pod->metadata.uid = c->name;
    pod->metadata.creation_timestamp = NOW - c->age * SECOND;
    pod->spec.node_name = c->node;
    pod->status.phase = c->phase;
    *ready = (struct pod_condition){.type = "Ready",
                                    .status = c->ready ? "True" : "False",
                                    .last_transition_time = NOW - c->ready_age * SECOND};
    pod->status.conditions.items = ready;
    pod->status.conditions.count = 1;
    container->restart_count = c->restarts;
    pod->status.container_statuses.items = container;
    pod->status.container_statuses.count = 1;
    if (c->cost)
        string_map_set(arena, &pod->metadata.annotations, "controller.kubernetes.io/pod-deletion-cost", c->cost);
    struct container *sidecar = arena_alloc(arena, sizeof(*sidecar));
    struct container_status *of_sidecar = arena_alloc(arena, sizeof(*of_sidecar));
    *sidecar = (struct container){.name = "sidecar", .restart_policy = "Always"};
    *of_sidecar = (struct container_status){.name = "sidecar", .restart_count = c->sidecar_restarts};
    container->name = "main";
    pod->spec.init_containers.items = sidecar;
    pod->spec.init_containers.count = 1;
    pod->status.init_container_statuses.items = of_sidecar;
    pod->status.init_container_statuses.count = 1;
    *object = (struct object){.resource = &api_resources[API_PODS], .value = pod, .meta = &pod->metadata};
    return object;
}

/* Each line differs from the next in one respect, in the order in which they count. */
static void victims_go_in_upstreams_order_but_for_those_not_available_yet(void **state)
{
    static const struct candidate order[] = {
        {"unassigned", NULL, "Pending", false, 100, 0, 0, NULL},
        {"pending", "n1", "Pending", false, 100, 0, 0, NULL},
        {"unknown", "n1", "Unknown", false, 100, 0, 0, NULL},
        {"not-ready", "n1", "Running", false, 100, 0, 0, NULL},
        {"just-ready", "n1", "Running", true, 100, 5, 0, "100"},
        {"cheap", "n1", "Running", true, 100, 50, 0, "-5"},
        {"crowded", "n1", "Running", true, 100000, 50000, 0, NULL},
        {"ready-for-less", "n2", "Running", true, 100000, 50, 0, NULL},
        {"restarted", "n2", "Running", true, 100000, 50000, 3, NULL},
        {"younger", "n2", "Running", true, 60000, 50000, 0, NULL},
        {"older", "n2", "Running", true, 900000, 50000, 0, NULL},
        {"dear", "n1", "Running", true, 100, 50, 9, "10"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    struct object *pods[ARRAY_COUNT(order)], *related[ARRAY_COUNT(order) + 20];
    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        pods[(i * 7 + 3) % ARRAY_COUNT(order)] = related[i] = pod_of(arena, &order[i]);
    for (size_t i = 0; i < 20; i++)
        related[ARRAY_COUNT(order) + i] = related[1]; /* many more on n1 */
    victims_sort(arena, pods, ARRAY_COUNT(pods), related, ARRAY_COUNT(related), 10, NOW);
    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        assert_string_equal(pods[i]->meta->name, order[i].name);
}

static void assert_goes_first(const struct candidate *first, const struct candidate *second)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct object *pods[] = {pod_of(arena, second), pod_of(arena, first)}, *related[] = {pods[0], pods[1]};
    victims_sort(arena, pods, 2, related, 2, 0, NOW);
    assert_string_equal(pods[0]->meta->name, first->name);
}

static void among_victims_of_similar_age_the_uid_decides(void **state)
{
    /* Times that differ within one power of two leave no room for what would come next. */
    assert_goes_first(&(struct candidate){"a", "n1", "Running", true, 90000, 50001, 0, NULL},
                      &(struct candidate){"b", "n1", "Running", true, 90000, 50000, 5, NULL});
    /* The same second does. */
    assert_goes_first(&(struct candidate){"b", "n1", "Running", true, 90000, 50000, 5, NULL},
                      &(struct candidate){"a", "n1", "Running", true, 90000, 50000, 0, NULL});
    assert_goes_first(&(struct candidate){"b", "n1", "Running", true, 90000, 50000, 0, NULL, 2},
                      &(struct candidate){"a", "n1", "Running", true, 80000, 50000, 0, NULL, 1});
    assert_goes_first(&(struct candidate){"a", "n1", "Running", true, 90001, 50000, 0, NULL},
                      &(struct candidate){"b", "n1", "Running", true, 90000, 50000, 0, NULL});
    /* What has no time yet, before what has one. */
    assert_goes_first(&(struct candidate){"b", "n1", "Running", true, 90000, NOW / SECOND, 0, NULL},
                      &(struct candidate){"a", "n1", "Running", true, 90000, -5, 0, NULL});
}

static void a_deletion_cost_that_is_no_number_counts_as_none(void **state)
{
    static const char *const none[] = {"", "+10", "010", "10x", "3000000000"};
    for (size_t i = 0; i < ARRAY_COUNT(none); i++)
        assert_goes_first(&(struct candidate){"b", "n1", "Running", true, 90000, 50000, 0, none[i]},
                          &(struct candidate){"a", "n1", "Running", true, 90000, 50000, 0, "1"});
}

static void the_set_of_a_deployment_shrinks_where_its_sisters_crowd(void **state)
{
    struct stage *s = stage_new();
    stage_node(s, "n1");
    stage_deploy(s, "a", 3, "app:1", NULL);
    stage_run(s, 5 * SECOND);
    stage_node(s, "n2");
    stage_patch(s, "deployments/default/a", "{\"spec\":{\"replicas\":4}}");
    stage_run(s, 5 * SECOND);
    stage_patch(s, "deployments/default/a", "{\"spec\":{\"replicas\":2}}");
    stage_run(s, 5 * SECOND);
    struct object *pods[2];
    assert_int_equal(stage_list(s, "pods", "default", "app", "a", pods, 2), 2);
    assert_string_not_equal(((const struct pod *)pods[0]->value)->spec.node_name,
                            ((const struct pod *)pods[1]->value)->spec.node_name);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_that_go_are_replaced_and_counted),
        cmocka_unit_test(orphans_that_match_are_adopted_and_counted),
        cmocka_unit_test(a_pod_that_matches_no_more_is_released_and_replaced),
        cmocka_unit_test(what_is_refused_once_is_not_asked_for_again_and_again),
        cmocka_unit_test(all_pods_are_made_although_they_start_slowly),
        cmocka_unit_test(victims_go_in_upstreams_order_but_for_those_not_available_yet),
        cmocka_unit_test(among_victims_of_similar_age_the_uid_decides),
        cmocka_unit_test(a_deletion_cost_that_is_no_number_counts_as_none),
        cmocka_unit_test(the_set_of_a_deployment_shrinks_where_its_sisters_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
