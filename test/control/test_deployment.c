/* The promises of Deployments. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "control/controller.h"
#include "control/rollout.h"

#define WEB "deployments/default/web"
#define REVISION "metadata/annotations/deployment.kubernetes.io|revision"
#define SLOWLY                                                                                                         \
    (&(struct sim_cluster_options){                                                                                    \
        .seed = 3, .behaviour = {.start_max = SECOND, .ready_max = 3 * SECOND, .stop_max = 3 * SECOND}})

static bool complete(struct stage *s, const void *path)
{
    const struct object *o = stage_get(s, path);
    const struct deployment *d = o ? o->value : NULL;
    return d && d->status.observed_generation == d->metadata.generation &&
           d->status.updated_replicas == d->spec.replicas.value && d->status.replicas == d->spec.replicas.value &&
           d->status.available_replicas == d->spec.replicas.value && !d->status.terminating_replicas.value;
}

static void set_image(struct stage *s, const char *image)
{
    char text[256];
    snprintf(text, sizeof(text),
             "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"%s\"}]}}}}", image);
    stage_patch(s, WEB, text);
}

static struct stage *web(struct stage *s, int replicas, const char *strategy)
{
    stage_node(s, "n1");
    stage_node(s, "n2");
    stage_deploy(s, "web", replicas, "app:1", strategy);
    stage_until(s, complete, WEB);
    return s;
}

/* Pods of app=web: those that are active, and those that are there at all, with this image or (NULL) any. */
static void count_pods(struct stage *s, const char *image, size_t *active, size_t *all)
{
    struct object *pods[100];
    size_t count = stage_list(s, "pods", "default", "app", "web", pods, ARRAY_COUNT(pods));
    *active = *all = 0;
    for (size_t i = 0; i < count; i++) {
        const struct pod *pod = pods[i]->value;
        if (image && strcmp(pod->spec.containers.items[0].image, image) != 0)
            continue;
        ++*all;
        *active += pod_is_active(pod);
    }
}

/* The ReplicaSet whose pods have this image. */
static const char *set_of(struct stage *s, const char *image)
{
    static char path[256];
    struct object *sets[100];
    size_t count = stage_list(s, "replicasets", "default", "app", "web", sets, ARRAY_COUNT(sets));
    for (size_t i = 0; i < count; i++) {
        const struct replica_set *rs = sets[i]->value;
        if (strcmp(rs->spec.template.spec.containers.items[0].image, image) != 0)
            continue;
        snprintf(path, sizeof(path), "replicasets/default/%s", rs->metadata.name);
        return path;
    }
    fail_msg("no replica set of %s", image);
    return NULL;
}

static void a_deployment_makes_its_pods(void **state)
{
    struct stage *s = web(stage_new(), 3, NULL);
    assert_int_equal(stage_ready(s, "web"), 3);
    assert_stage(s, WEB, "status/conditions/Available/status", "True");
    assert_stage(s, WEB, "status/conditions/Available/reason", "MinimumReplicasAvailable");
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    assert_stage(s, WEB, REVISION, "1");
    const char *set = set_of(s, "app:1");
    assert_stage(s, set, REVISION, "1");
    assert_stage(s, set, "metadata/annotations/deployment.kubernetes.io|desired-replicas", "3");
    assert_stage(s, set, "metadata/annotations/deployment.kubernetes.io|max-replicas", "4");
    char message[128];
    snprintf(message, sizeof(message), "ReplicaSet \"%s\" has successfully progressed.", strrchr(set, '/') + 1);
    assert_stage(s, WEB, "status/conditions/Progressing/message", message);
    snprintf(message, sizeof(message), "Scaled up replica set %s from 0 to 3", strrchr(set, '/') + 1);
    assert_string_equal(stage_event(s, "Deployment", "ScalingReplicaSet"), message);
    stage_free(s);
}

static void a_rollout_keeps_what_is_promised_available_and_no_more_than_allowed(void **state)
{
    static const struct {
        const char *strategy;
        size_t least, most;
    } cases[] = {
        {"{\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}", 6, 7},
        {"{\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":2}}", 4, 6},
        {"{\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":\"25%\"}}", 5, 8},
        {"{\"rollingUpdate\":{\"maxSurge\":\"100%\",\"maxUnavailable\":\"50%\"}}", 3, 12},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct stage *s = web(stage_new_with(SLOWLY), 6, cases[i].strategy);
        set_image(s, "app:2");
        size_t active, all, most_seen = 0, least_seen = 6;
        while (!complete(s, WEB)) {
            stage_run(s, 20 * MILLISECOND);
            count_pods(s, NULL, &active, &all);
            most_seen = active > most_seen ? active : most_seen;
            least_seen = stage_ready(s, "web") < least_seen ? stage_ready(s, "web") : least_seen;
            assert_true(env_monotonic(s->env) < 10 * MINUTE);
        }
        assert_in_range(most_seen, 6, cases[i].most);
        assert_in_range(least_seen, cases[i].least, 6);
        count_pods(s, "app:2", &active, &all);
        assert_int_equal(active, 6);
        stage_free(s);
    }
}

static void recreate_waits_for_the_last_old_pod_to_end(void **state)
{
    struct stage *s = web(stage_new_with(SLOWLY), 4, "{\"type\":\"Recreate\"}");
    set_image(s, "app:2");
    while (!complete(s, WEB)) {
        size_t active, olds, news;
        stage_run(s, 20 * MILLISECOND);
        count_pods(s, "app:1", &active, &olds);
        count_pods(s, "app:2", &active, &news);
        assert_false(olds && news);
        assert_true(env_monotonic(s->env) < 10 * MINUTE);
    }
    stage_free(s);
}

static void an_undo_takes_the_old_replica_set_again_and_renumbers_it(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    char first[256];
    snprintf(first, sizeof(first), "%s", set_of(s, "app:1"));
    set_image(s, "app:2");
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, REVISION, "2");
    assert_stage(s, set_of(s, "app:2"), REVISION, "2");
    assert_stage(s, first, "spec/replicas", "0");
    set_image(s, "app:1");
    stage_until(s, complete, WEB);
    assert_int_equal(stage_count(s, "replicasets", "default", "app", "web"), 2);
    assert_stage(s, WEB, REVISION, "3");
    assert_stage(s, first, REVISION, "3");
    assert_stage(s, first, "metadata/annotations/deployment.kubernetes.io|revision-history", "1");
    assert_stage(s, first, "spec/replicas", "2");
    set_image(s, "app:2");
    stage_until(s, complete, WEB);
    set_image(s, "app:1");
    stage_until(s, complete, WEB);
    assert_stage(s, first, REVISION, "5");
    assert_stage(s, first, "metadata/annotations/deployment.kubernetes.io|revision-history", "1,3");
    stage_free(s);
}

static void annotations_are_handed_down_but_for_those_of_the_deployment_itself(void **state)
{
    struct stage *s = web(stage_new(), 1, NULL);
    stage_patch(s, WEB, "{\"metadata\":{\"annotations\":{\"kubernetes.io/change-cause\":\"more\","
                        "\"kubectl.kubernetes.io/last-applied-configuration\":\"{}\"}}}");
    stage_run(s, SECOND);
    const char *set = set_of(s, "app:1");
    assert_stage(s, set, "metadata/annotations/kubernetes.io|change-cause", "more");
    assert_stage(s, set, "metadata/annotations/kubectl.kubernetes.io|last-applied-configuration", NULL);
    stage_free(s);
}

static void what_a_set_was_scaled_for_changes_when_it_is_scaled(void **state)
{
    struct stage *s = web(stage_new(), 2, "{\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}");
    static const char desired[] = "metadata/annotations/deployment.kubernetes.io|desired-replicas";
    static const char most[] = "metadata/annotations/deployment.kubernetes.io|max-replicas";
    stage_patch(s, WEB, "{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":3}}}}");
    stage_run(s, SECOND);
    assert_stage(s, set_of(s, "app:1"), desired, "2");
    assert_stage(s, set_of(s, "app:1"), most, "3");
    stage_patch(s, WEB, "{\"spec\":{\"replicas\":4}}");
    stage_until(s, complete, WEB);
    assert_stage(s, set_of(s, "app:1"), desired, "4");
    assert_stage(s, set_of(s, "app:1"), most, "7");
    set_image(s, "app:2");
    stage_until(s, complete, WEB);
    assert_stage(s, set_of(s, "app:2"), desired, "4");
    assert_stage(s, set_of(s, "app:2"), most, "7");
    stage_free(s);
}

static void old_replica_sets_beyond_the_limit_go_the_oldest_revision_first(void **state)
{
    struct stage *s = web(stage_new(), 1, NULL);
    stage_patch(s, WEB, "{\"spec\":{\"revisionHistoryLimit\":2}}");
    for (int i = 2; i <= 6; i++) {
        char image[16];
        snprintf(image, sizeof(image), "app:%d", i);
        set_image(s, image);
        stage_until(s, complete, WEB);
        stage_run(s, SECOND);
    }
    assert_int_equal(stage_count(s, "replicasets", "default", "app", "web"), 3);
    assert_stage(s, set_of(s, "app:4"), REVISION, "4");
    assert_stage(s, set_of(s, "app:5"), REVISION, "5");
    stage_free(s);
}

static void a_hash_that_is_taken_is_replaced_by_another(void **state)
{
    struct stage *s = web(stage_new(), 1, NULL);
    char taken[256];
    snprintf(taken, sizeof(taken), "%s", set_of(s, "app:1"));
    assert_int_equal(stage_delete(s, WEB, "Orphan"), 200);
    stage_run(s, SECOND);
    /* It is nobody's, and does not look like web's any more. */
    stage_patch(s, taken, "{\"metadata\":{\"labels\":{\"app\":\"other\"}}}");
    stage_deploy(s, "web", 1, "app:1", NULL);
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, "status/collisionCount", "1");
    assert_string_not_equal(set_of(s, "app:1"), taken);
    assert_int_equal(stage_count(s, "replicasets", "default", NULL, NULL), 2);
    stage_free(s);
}

static void a_deployment_adopts_the_replica_sets_that_it_finds(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    char set[256];
    snprintf(set, sizeof(set), "%s", set_of(s, "app:1"));
    assert_int_equal(stage_delete(s, WEB, "Orphan"), 200);
    stage_run(s, SECOND);
    assert_stage(s, set, "metadata/ownerReferences", NULL);
    assert_int_equal(stage_ready(s, "web"), 2);
    stage_deploy(s, "web", 2, "app:1", NULL);
    stage_until(s, complete, WEB);
    assert_stage(s, set, "metadata/ownerReferences/web/kind", "Deployment");
    assert_int_equal(stage_count(s, "replicasets", "default", NULL, NULL), 1);
    stage_free(s);
}

static void a_paused_deployment_scales_and_does_not_roll(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    stage_patch(s, WEB, "{\"spec\":{\"paused\":true}}");
    stage_run(s, SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "DeploymentPaused");
    assert_stage(s, WEB, "status/conditions/Progressing/status", "Unknown");
    set_image(s, "app:2");
    stage_patch(s, WEB, "{\"spec\":{\"replicas\":4}}");
    stage_run(s, 10 * SECOND);
    assert_int_equal(stage_count(s, "replicasets", "default", "app", "web"), 1);
    assert_int_equal(stage_ready(s, "web"), 4);
    assert_stage(s, WEB, "status/updatedReplicas", NULL);
    stage_patch(s, WEB, "{\"spec\":{\"paused\":false}}");
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    assert_int_equal(stage_count(s, "replicasets", "default", "app", "web"), 2);
    stage_free(s);
}

static void a_rollout_that_gets_nowhere_is_reported_after_its_deadline(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    stage_patch(s, WEB, "{\"spec\":{\"progressDeadlineSeconds\":60}}");
    set_image(s, "unready:1");
    stage_run(s, 50 * SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/status", "True");
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "ReplicaSetUpdated");
    stage_run(s, 20 * SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/status", "False");
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "ProgressDeadlineExceeded");
    char message[128];
    snprintf(message, sizeof(message), "ReplicaSet \"%s\" has timed out progressing.",
             strrchr(set_of(s, "unready:1"), '/') + 1);
    assert_stage(s, WEB, "status/conditions/Progressing/message", message);
    /* What was there before still serves. */
    assert_int_equal(stage_ready(s, "web"), 2);
    set_image(s, "app:3");
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    stage_free(s);
}

static void pods_are_available_only_after_min_ready_seconds(void **state)
{
    struct stage *s = web(stage_new(), 1, NULL);
    stage_run(s, MINUTE);
    stage_patch(s, WEB, "{\"spec\":{\"minReadySeconds\":30}}");
    set_image(s, "app:2");
    stage_run(s, 10 * SECOND);
    assert_stage(s, WEB, "status/updatedReplicas", "1");
    assert_stage(s, WEB, "status/readyReplicas", "2");
    assert_stage(s, WEB, "status/availableReplicas", "1");
    assert_stage(s, set_of(s, "app:1"), "spec/replicas", "1");
    stage_run(s, 25 * SECOND);
    assert_stage(s, WEB, "status/replicas", "1");
    assert_stage(s, WEB, "status/availableReplicas", "1");
    stage_free(s);
}

static void a_replica_set_that_cannot_be_made_is_reported(void **state)
{
    struct stage *s = stage_new();
    sim_link_refuse(sim_cluster_control_link(s->cluster), &api_resources[API_REPLICASETS], "exceeded quota: compute");
    stage_deploy(s, "web", 2, "app:1", NULL);
    stage_run(s, 5 * SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/status", "False");
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "ReplicaSetCreateError");
    assert_non_null(strstr(stage_field(s, WEB, "status/conditions/Progressing/message"),
                           "is forbidden: exceeded quota: compute"));
    assert_non_null(strstr(stage_event(s, "Deployment", "ReplicaSetCreateError"), "Failed to create new replica set"));
    sim_link_refuse(sim_cluster_control_link(s->cluster), NULL, NULL);
    stage_node(s, "n1");
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    stage_free(s);
}

static void a_failure_of_the_replica_set_is_the_deployments(void **state)
{
    struct stage *s = stage_new();
    sim_link_refuse(sim_cluster_control_link(s->cluster), &api_resources[API_PODS], "exceeded quota: compute");
    stage_deploy(s, "web", 5, "app:1", NULL);
    stage_run(s, 5 * SECOND);
    assert_stage(s, WEB, "status/conditions/ReplicaFailure/status", "True");
    assert_stage(s, WEB, "status/conditions/ReplicaFailure/reason", "FailedCreate");
    assert_stage(s, set_of(s, "app:1"), "status/conditions/ReplicaFailure/reason", "FailedCreate");
    char since[64];
    const char *set = set_of(s, "app:1");
    snprintf(since, sizeof(since), "%s", stage_field(s, set, "status/conditions/ReplicaFailure/lastTransitionTime"));
    stage_run(s, 5 * SECOND);
    assert_stage(s, WEB, "status/conditions/ReplicaFailure/lastTransitionTime", since);
    assert_stage(s, WEB, "status/conditions/ReplicaFailure/lastUpdateTime", since);
    assert_string_equal(stage_event(s, "ReplicaSet", "FailedCreate"),
                        "Error creating: pods is forbidden: exceeded quota: compute");
    sim_link_refuse(sim_cluster_control_link(s->cluster), NULL, NULL);
    stage_node(s, "n1");
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, "status/conditions/ReplicaFailure", NULL);
    assert_stage(s, set_of(s, "app:1"), "status/conditions", NULL);
    stage_free(s);
}

static size_t sets_with_pods(struct stage *s)
{
    struct object *sets[100];
    size_t count = stage_list(s, "replicasets", "default", "app", "web", sets, ARRAY_COUNT(sets)), with = 0;
    for (size_t i = 0; i < count; i++)
        with += ((const struct replica_set *)sets[i]->value)->spec.replicas.value > 0;
    return with;
}

static void a_new_revision_overtakes_the_rollout_that_is_under_way(void **state)
{
    struct stage *s = web(stage_new(), 4, "{\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":1}}");
    set_image(s, "unready:1");
    stage_run(s, 10 * SECOND);
    assert_int_equal(sets_with_pods(s), 2);
    assert_true(stage_ready(s, "web") >= 3);
    set_image(s, "app:3");
    while (!complete(s, WEB)) {
        stage_run(s, 20 * MILLISECOND);
        assert_true(stage_ready(s, "web") >= 3);
        assert_true(env_monotonic(s->env) < 10 * MINUTE);
    }
    assert_int_equal(sets_with_pods(s), 1);
    assert_stage(s, set_of(s, "app:3"), REVISION, "3");
    assert_stage(s, set_of(s, "unready:1"), "spec/replicas", "0");
    stage_free(s);
}

static void changes_while_paused_are_one_revision(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    stage_patch(s, WEB, "{\"spec\":{\"paused\":true}}");
    set_image(s, "app:2");
    stage_run(s, SECOND);
    set_image(s, "app:3");
    stage_run(s, SECOND);
    assert_int_equal(stage_count(s, "replicasets", "default", "app", "web"), 1);
    stage_patch(s, WEB, "{\"spec\":{\"paused\":false}}");
    stage_until(s, complete, WEB);
    assert_int_equal(stage_count(s, "replicasets", "default", "app", "web"), 2);
    assert_stage(s, set_of(s, "app:3"), REVISION, "2");
    stage_free(s);
}

static void a_rollout_paused_in_the_middle_stays_there_and_changes_course_when_resumed(void **state)
{
    struct stage *s = web(stage_new(), 3, "{\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}");
    set_image(s, "unready:1");
    stage_run(s, 5 * SECOND);
    stage_patch(s, WEB, "{\"spec\":{\"paused\":true}}");
    set_image(s, "app:3");
    stage_run(s, 5 * SECOND);
    assert_stage(s, set_of(s, "app:1"), "spec/replicas", "3");
    assert_stage(s, set_of(s, "unready:1"), "spec/replicas", "1");
    stage_patch(s, WEB, "{\"spec\":{\"paused\":false}}");
    stage_until(s, complete, WEB);
    assert_stage(s, set_of(s, "app:3"), "spec/replicas", "3");
    assert_stage(s, set_of(s, "unready:1"), "spec/replicas", "0");
    stage_free(s);
}

static void the_deadline_stands_still_while_a_deployment_is_paused(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    stage_patch(s, WEB, "{\"spec\":{\"progressDeadlineSeconds\":60}}");
    set_image(s, "unready:1");
    stage_run(s, 30 * SECOND);
    stage_patch(s, WEB, "{\"spec\":{\"paused\":true}}");
    stage_run(s, 5 * MINUTE);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "DeploymentPaused");
    stage_patch(s, WEB, "{\"spec\":{\"paused\":false}}");
    stage_run(s, 30 * SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "DeploymentResumed");
    assert_stage(s, WEB, "status/conditions/Progressing/message", "Deployment is resumed");
    stage_run(s, 35 * SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "ProgressDeadlineExceeded");
    /* What has been reported is not covered up by a pause. */
    stage_patch(s, WEB, "{\"spec\":{\"paused\":true}}");
    stage_run(s, SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "ProgressDeadlineExceeded");
    stage_free(s);
}

static void without_a_deadline_progress_is_not_judged(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    stage_patch(s, WEB, "{\"spec\":{\"progressDeadlineSeconds\":2147483647}}");
    stage_run(s, SECOND);
    assert_stage(s, WEB, "status/conditions/Progressing", NULL);
    set_image(s, "unready:1");
    stage_run(s, HOUR);
    assert_stage(s, WEB, "status/conditions/Progressing", NULL);
    assert_stage(s, WEB, "status/conditions/Available/status", "True");
    stage_free(s);
}

static void too_few_pods_are_not_the_minimum_availability(void **state)
{
    struct stage *s = web(stage_new(), 2, "{\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":1}}");
    stage_patch(s, WEB, "{\"spec\":{\"replicas\":1000}}");
    stage_run(s, 10 * SECOND);
    assert_stage(s, WEB, "status/conditions/Available/status", "False");
    assert_stage(s, WEB, "status/conditions/Available/reason", "MinimumReplicasUnavailable");
    assert_stage(s, WEB, "status/conditions/Available/message", "Deployment does not have minimum availability.");
    /* Scaling is no rollout. */
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    stage_free(s);
}

static void pods_that_end_are_counted_until_they_are_gone(void **state)
{
    struct stage *s = web(stage_new_with(SLOWLY), 4, NULL);
    assert_stage(s, WEB, "status/terminatingReplicas", "0");
    stage_patch(s, WEB, "{\"spec\":{\"replicas\":1}}");
    int64_t most = 0;
    while (!complete(s, WEB)) {
        stage_run(s, 20 * MILLISECOND);
        size_t active, all;
        const struct deployment *d = stage_get(s, WEB)->value;
        count_pods(s, NULL, &active, &all);
        assert_true(d->status.terminating_replicas.set && d->status.terminating_replicas.value <= 3);
        most = d->status.terminating_replicas.value > most ? d->status.terminating_replicas.value : most;
        assert_true(env_monotonic(s->env) < 10 * MINUTE);
    }
    assert_int_equal(most, 3);
    stage_free(s);
}

static void a_replica_set_that_matches_no_more_is_released(void **state)
{
    struct stage *s = web(stage_new(), 2, NULL);
    char set[256];
    snprintf(set, sizeof(set), "%s", set_of(s, "app:1"));
    stage_patch(s, set, "{\"metadata\":{\"labels\":{\"app\":\"lost\"}}}");
    stage_run(s, 5 * SECOND);
    assert_stage(s, set, "metadata/ownerReferences", NULL);
    assert_stage(s, set, "spec/replicas", "2");
    /* Another takes its place, under another name. */
    stage_until(s, complete, WEB);
    assert_stage(s, WEB, "status/collisionCount", "1");
    assert_int_equal(stage_count(s, "replicasets", "default", NULL, NULL), 2);
    stage_free(s);
}

static void the_history_of_revisions_has_a_bound(void **state)
{
    struct stage *s = web(stage_new(), 1, NULL);
    char text[2100], patch[2300];
    size_t used = 0;
    for (int i = 1000; used < 1990; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%d", used ? "," : "", i);
    snprintf(patch, sizeof(patch),
             "{\"metadata\":{\"annotations\":{\"deployment.kubernetes.io/revision-history\":\"%s\"}}}", text);
    stage_patch(s, set_of(s, "app:1"), patch);
    set_image(s, "app:2");
    stage_until(s, complete, WEB);
    set_image(s, "app:1");
    stage_until(s, complete, WEB);
    const char *history =
        stage_field(s, set_of(s, "app:1"), "metadata/annotations/deployment.kubernetes.io|revision-history");
    assert_true(strlen(history) <= 2000);
    assert_string_equal(history + strlen(history) - 2, ",1");
    stage_free(s);
}

static void a_long_name_is_cut_where_the_hash_does_not_fit(void **state)
{
    struct stage *s = stage_new();
    char name[254], path[300];
    memset(name, 'w', 253);
    name[253] = 0;
    stage_node(s, "n1");
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"app\":\"w\"}},"
             "\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"name\":\"main\","
             "\"image\":\"app:1\"}]}}}}",
             name);
    assert_int_equal(stage_create(s, "deployments/default", json), 201);
    snprintf(path, sizeof(path), "deployments/default/%s", name);
    stage_run(s, SECOND);
    struct object *sets[2];
    assert_int_equal(stage_list(s, "replicasets", "default", "app", "w", sets, 2), 1);
    assert_int_equal(strlen(sets[0]->meta->name), 253);
    assert_stage(s, path, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deployment_makes_its_pods),
        cmocka_unit_test(a_rollout_keeps_what_is_promised_available_and_no_more_than_allowed),
        cmocka_unit_test(recreate_waits_for_the_last_old_pod_to_end),
        cmocka_unit_test(an_undo_takes_the_old_replica_set_again_and_renumbers_it),
        cmocka_unit_test(annotations_are_handed_down_but_for_those_of_the_deployment_itself),
        cmocka_unit_test(what_a_set_was_scaled_for_changes_when_it_is_scaled),
        cmocka_unit_test(old_replica_sets_beyond_the_limit_go_the_oldest_revision_first),
        cmocka_unit_test(a_hash_that_is_taken_is_replaced_by_another),
        cmocka_unit_test(a_deployment_adopts_the_replica_sets_that_it_finds),
        cmocka_unit_test(a_paused_deployment_scales_and_does_not_roll),
        cmocka_unit_test(a_rollout_that_gets_nowhere_is_reported_after_its_deadline),
        cmocka_unit_test(pods_are_available_only_after_min_ready_seconds),
        cmocka_unit_test(a_replica_set_that_cannot_be_made_is_reported),
        cmocka_unit_test(a_failure_of_the_replica_set_is_the_deployments),
        cmocka_unit_test(a_new_revision_overtakes_the_rollout_that_is_under_way),
        cmocka_unit_test(changes_while_paused_are_one_revision),
        cmocka_unit_test(a_rollout_paused_in_the_middle_stays_there_and_changes_course_when_resumed),
        cmocka_unit_test(the_deadline_stands_still_while_a_deployment_is_paused),
        cmocka_unit_test(without_a_deadline_progress_is_not_judged),
        cmocka_unit_test(too_few_pods_are_not_the_minimum_availability),
        cmocka_unit_test(pods_that_end_are_counted_until_they_are_gone),
        cmocka_unit_test(a_replica_set_that_matches_no_more_is_released),
        cmocka_unit_test(the_history_of_revisions_has_a_bound),
        cmocka_unit_test(a_long_name_is_cut_where_the_hash_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
