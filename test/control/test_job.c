/* The promises of Jobs that need time to pass: back-offs, limits, deadlines, policies, and that no pod is forgotten. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "control/job.h"

#define JOB "jobs/default/work"

static void create(struct stage *s, const char *image, const char *more)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"work\"},\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\","
             "\"containers\":[{\"name\":\"main\",\"image\":\"%s\"}]}}%s}}",
             image, more);
    assert_int_equal(stage_create(s, "jobs/default", json), 201);
}

static struct stage *new_stage(void)
{
    struct stage *s = stage_new();
    stage_node(s, "n1");
    return s;
}

static size_t pods(struct stage *s)
{
    return stage_count(s, "pods", "default", "job-name", "work");
}

static size_t tracked(struct stage *s)
{
    struct object *found[64];
    size_t count = stage_list(s, "pods", "default", NULL, NULL, found, ARRAY_COUNT(found)), held = 0;
    for (size_t i = 0; i < count; i++)
        held += job_is_tracked(found[i]);
    return held;
}

static void failed_pods_are_replaced_ever_more_slowly_until_the_limit(void **state)
{
    struct stage *s = new_stage();
    create(s, "crashing:1", ",\"backoffLimit\":3");
    stage_run(s, 5 * SECOND);
    assert_int_equal(pods(s), 1);
    stage_run(s, 10 * SECOND); /* after 10 s ... */
    assert_int_equal(pods(s), 2);
    stage_run(s, 15 * SECOND);
    assert_int_equal(pods(s), 2);
    stage_run(s, 10 * SECOND); /* ... 20 s ... */
    assert_int_equal(pods(s), 3);
    stage_run(s, 45 * SECOND); /* ... and 40 s */
    assert_int_equal(pods(s), 4);
    stage_run(s, 10 * SECOND);
    assert_stage(s, JOB, "status/failed", "4");
    assert_stage(s, JOB, "status/conditions/Failed/reason", "BackoffLimitExceeded");
    assert_stage(s, JOB, "status/conditions/FailureTarget/status", "True");
    assert_string_equal(stage_event(s, "Job", "BackoffLimitExceeded"), "Job has reached the specified backoff limit");
    assert_int_equal(tracked(s), 0);
    stage_free(s);
}

static void an_index_counts_its_own_failures(void **state)
{
    struct stage *s = new_stage();
    struct object *found[8];
    create(s, "crashing:1",
           ",\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,"
           "\"backoffLimitPerIndex\":1");
    stage_run(s, 30 * SECOND);
    assert_int_equal(stage_list(s, "pods", "default", "job-name", "work", found, 8), 4);
    for (size_t i = 0; i < 4; i++) {
        const char *failures = string_map_get(&found[i]->meta->annotations, JOB_INDEX_FAILURE_COUNT);
        assert_true(strcmp(failures, "0") == 0 || strcmp(failures, "1") == 0);
    }
    assert_stage(s, JOB, "status/failedIndexes", "0,1");
    assert_stage(s, JOB, "status/conditions/Failed/reason", "FailedIndexes");
    stage_free(s);
}

static void a_deadline_counts_from_the_last_resume(void **state)
{
    struct stage *s = new_stage();
    create(s, "app:1", ",\"activeDeadlineSeconds\":60,\"suspend\":true");
    stage_run(s, 2 * MINUTE);
    assert_stage(s, JOB, "status/conditions/Suspended/status", "True");
    stage_patch(s, JOB, "{\"spec\":{\"suspend\":false}}");
    stage_run(s, 55 * SECOND);
    assert_stage(s, JOB, "status/active", "1");
    stage_run(s, 10 * SECOND);
    assert_stage(s, JOB, "status/conditions/Failed/reason", "DeadlineExceeded");
    stage_free(s);
}

static void a_job_that_ran_and_is_resumed_has_a_status_again(void **state)
{
    struct stage *s = new_stage();
    create(s, "app:1", "");
    stage_run(s, 20 * SECOND);
    const struct job *job = stage_get(s, JOB)->value;
    int64_t first = job->status.start_time;
    stage_patch(s, JOB, "{\"spec\":{\"suspend\":true}}");
    stage_run(s, MINUTE);
    assert_stage(s, JOB, "status/conditions/Suspended/status", "True");
    assert_stage(s, JOB, "status/active", NULL);
    int64_t resumed_at = env_now(s->env);
    stage_patch(s, JOB, "{\"spec\":{\"suspend\":false}}");
    stage_run(s, 10 * SECOND);
    assert_stage(s, JOB, "status/conditions/Suspended/status", "False");
    assert_stage(s, JOB, "status/conditions/Suspended/reason", "JobResumed");
    assert_stage(s, JOB, "status/active", "1");
    assert_stage(s, JOB, "status/ready", "1");
    assert_string_equal(stage_event(s, "Job", "Resumed"), "Job resumed");
    job = stage_get(s, JOB)->value;
    assert_true(job->status.start_time > first);
    assert_true(job->status.start_time >= resumed_at / SECOND * SECOND);
    stage_free(s);
}

static void a_deadline_does_not_count_what_was_before_a_suspension(void **state)
{
    struct stage *s = new_stage();
    create(s, "app:1", ",\"activeDeadlineSeconds\":60");
    stage_run(s, 50 * SECOND);
    stage_patch(s, JOB, "{\"spec\":{\"suspend\":true}}");
    stage_run(s, 5 * MINUTE);
    stage_patch(s, JOB, "{\"spec\":{\"suspend\":false}}");
    stage_run(s, 55 * SECOND);
    assert_stage(s, JOB, "status/active", "1");
    assert_stage(s, JOB, "status/conditions/Failed", NULL);
    stage_run(s, 10 * SECOND);
    assert_stage(s, JOB, "status/conditions/Failed/reason", "DeadlineExceeded");
    stage_free(s);
}

static void a_job_lives_as_long_after_its_end_as_it_says(void **state)
{
    struct stage *s = new_stage();
    create(s, "done:1", ",\"ttlSecondsAfterFinished\":100");
    stage_run(s, 90 * SECOND);
    assert_stage(s, JOB, "status/conditions/Complete/status", "True");
    stage_run(s, 20 * SECOND);
    assert_null(stage_get(s, JOB));
    assert_int_equal(pods(s), 0);
    stage_free(s);
}

static void a_job_of_somebody_else_is_left_alone(void **state)
{
    struct stage *s = new_stage();
    create(s, "done:1", ",\"managedBy\":\"example.com/other\"");
    stage_run(s, MINUTE);
    assert_int_equal(pods(s), 0);
    assert_stage(s, JOB, "status/startTime", NULL);
    stage_free(s);
}

static void with_a_selector_of_its_own_a_job_adopts_and_counts(void **state)
{
    struct stage *s = new_stage();
    assert_int_equal(
        stage_create(s, "pods/default",
                     "{\"metadata\":{\"name\":\"early\",\"labels\":{\"app\":\"w\"}},\"spec\":{"
                     "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"main\",\"image\":\"app:1\"}]}}"),
        201);
    stage_run(s, SECOND);
    assert_int_equal(
        stage_create(
            s, "jobs/default",
            "{\"metadata\":{\"name\":\"work\"},\"spec\":{\"manualSelector\":true,\"selector\":{\"matchLabels\":"
            "{\"app\":\"w\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{"
            "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"main\",\"image\":\"app:1\"}]}}}}"),
        201);
    stage_run(s, 5 * SECOND);
    assert_stage(s, JOB, "status/active", "1");
    assert_stage(s, "pods/default/early", "metadata/ownerReferences/work/kind", "Job");
    assert_int_equal(tracked(s), 1);
    assert_int_equal(stage_count(s, "pods", "default", "app", "w"), 1);
    stage_free(s);
}

static void a_pod_that_was_never_bound_ends_when_it_is_deleted(void **state)
{
    struct stage *s = stage_new();
    struct object *found[2];
    create(s, "done:1", ",\"podReplacementPolicy\":\"Failed\"");
    stage_run(s, SECOND);
    assert_int_equal(stage_list(s, "pods", "default", "job-name", "work", found, 2), 1);
    char path[128];
    snprintf(path, sizeof(path), "pods/default/%s", found[0]->meta->name);
    stage_delete(s, path, NULL);
    stage_run(s, 15 * SECOND);
    assert_null(stage_get(s, path));
    assert_stage(s, JOB, "status/failed", "1");
    assert_int_equal(pods(s), 1);
    stage_free(s);
}

static void what_is_refused_is_not_counted_as_active(void **state)
{
    struct stage *s = new_stage();
    sim_link_refuse(sim_cluster_control_link(s->cluster), &api_resources[API_PODS], "exceeded quota");
    create(s, "done:1", ",\"completions\":5,\"parallelism\":5");
    stage_run(s, 5 * SECOND);
    assert_string_equal(stage_event(s, "Job", "FailedCreate"), "Error creating: pods is forbidden: exceeded quota");
    assert_stage(s, JOB, "status/active", NULL);
    sim_link_refuse(sim_cluster_control_link(s->cluster), &api_resources[API_PODS], NULL);
    stage_run(s, MINUTE);
    assert_stage(s, JOB, "status/succeeded", "5");
    stage_free(s);
}

/* Pods of a stage without nodes: they end as the test says. NULL: whichever pod is still pending. */
static void end_pod(struct stage *s, const char *index, const char *phase, const char *conditions)
{
    struct object *found[16], *pod = NULL;
    char path[128], json[256];
    size_t count = stage_list(s, "pods", "default", "job-name", "work", found, ARRAY_COUNT(found));
    for (size_t i = 0; i < count && !pod; i++) {
        const char *own = string_map_get(&found[i]->meta->labels, "batch.kubernetes.io/job-completion-index");
        if (strcmp(((const struct pod *)found[i]->value)->status.phase, "Pending") == 0 &&
            (!index || (own && strcmp(own, index) == 0)))
            pod = found[i];
    }
    assert_non_null(pod);
    snprintf(path, sizeof(path), "pods/default/%s/status", pod->meta->name);
    snprintf(json, sizeof(json), "{\"status\":{\"phase\":\"%s\",\"conditions\":[%s]}}", phase, conditions);
    assert_int_equal(stage_patch(s, path, json), 200);
    stage_run(s, SECOND);
}

static void a_condition_of_a_failed_pod_decides_what_it_means(void **state)
{
    struct stage *s = stage_new();
    create(s, "app:1",
           ",\"backoffLimit\":9,\"podFailurePolicy\":{\"rules\":["
           "{\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\"}]},"
           "{\"action\":\"FailJob\",\"onPodConditions\":[{\"type\":\"Lost\",\"status\":\"Unknown\"},"
           "{\"type\":\"Misconfigured\",\"status\":\"True\"}]}]}");
    stage_run(s, SECOND);
    /* Ignored: neither counted nor the end. */
    end_pod(s, NULL, "Failed", "{\"type\":\"DisruptionTarget\",\"status\":\"True\"}");
    stage_run(s, 30 * SECOND);
    assert_stage(s, JOB, "status/failed", NULL);
    /* Of another status, it matches nothing: counted. */
    end_pod(s, NULL, "Failed", "{\"type\":\"Misconfigured\",\"status\":\"False\"}");
    stage_run(s, 30 * SECOND);
    assert_stage(s, JOB, "status/failed", "1");
    assert_stage(s, JOB, "status/conditions", NULL);
    end_pod(s, NULL, "Failed", "{\"type\":\"Misconfigured\",\"status\":\"True\"}");
    assert_stage(s, JOB, "status/conditions/FailureTarget/reason", "PodFailurePolicy");
    assert_stage(s, JOB, "status/conditions/Failed/reason", "PodFailurePolicy");
    const struct job *job = stage_get(s, JOB)->value;
    const char *message = job->status.conditions.items[0].message;
    assert_memory_equal(message, "Pod default/work-", 17);
    assert_non_null(strstr(message, " has condition Misconfigured matching FailJob rule at index 1"));
    stage_free(s);
}

static void enough_indexes_are_success(void **state)
{
    struct stage *s = stage_new();
    create(s, "app:1",
           ",\"completionMode\":\"Indexed\",\"completions\":5,\"parallelism\":5,\"successPolicy\":{\"rules\":["
           "{\"succeededIndexes\":\"0,2-3\",\"succeededCount\":2},{\"succeededCount\":4}]}");
    stage_run(s, SECOND);
    assert_int_equal(pods(s), 5);
    end_pod(s, "1", "Succeeded", "");
    end_pod(s, "4", "Succeeded", "");
    end_pod(s, "2", "Succeeded", "");
    assert_stage(s, JOB, "status/conditions", NULL); /* one of the first rule, three in all */
    end_pod(s, "0", "Succeeded", "");
    assert_stage(s, JOB, "status/conditions/SuccessCriteriaMet/reason", "SuccessPolicy");
    assert_stage(s, JOB, "status/conditions/SuccessCriteriaMet/message", "Matched rules at index 0");
    assert_stage(s, JOB, "status/conditions/Complete/reason", "SuccessPolicy");
    assert_stage(s, JOB, "status/succeeded", "4");
    assert_int_equal(pods(s), 4); /* index 3 need not go on */
    stage_free(s);
}

static void a_number_of_indexes_is_success_whichever_they_are(void **state)
{
    struct stage *s = stage_new();
    create(s, "app:1",
           ",\"completionMode\":\"Indexed\",\"completions\":3,\"parallelism\":3,\"successPolicy\":{\"rules\":["
           "{\"succeededCount\":2}]}");
    stage_run(s, SECOND);
    end_pod(s, "1", "Succeeded", "");
    assert_stage(s, JOB, "status/conditions", NULL);
    end_pod(s, "2", "Succeeded", "");
    assert_stage(s, JOB, "status/conditions/SuccessCriteriaMet/message", "Matched rules at index 0");
    assert_stage(s, JOB, "status/completedIndexes", "1,2");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_pods_are_replaced_ever_more_slowly_until_the_limit),
        cmocka_unit_test(an_index_counts_its_own_failures),
        cmocka_unit_test(a_deadline_counts_from_the_last_resume),
        cmocka_unit_test(a_job_that_ran_and_is_resumed_has_a_status_again),
        cmocka_unit_test(a_deadline_does_not_count_what_was_before_a_suspension),
        cmocka_unit_test(a_job_lives_as_long_after_its_end_as_it_says),
        cmocka_unit_test(a_job_of_somebody_else_is_left_alone),
        cmocka_unit_test(with_a_selector_of_its_own_a_job_adopts_and_counts),
        cmocka_unit_test(a_pod_that_was_never_bound_ends_when_it_is_deleted),
        cmocka_unit_test(what_is_refused_is_not_counted_as_active),
        cmocka_unit_test(a_condition_of_a_failed_pod_decides_what_it_means),
        cmocka_unit_test(enough_indexes_are_success),
        cmocka_unit_test(a_number_of_indexes_is_success_whichever_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
