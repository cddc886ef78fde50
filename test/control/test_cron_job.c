/* The promises of CronJobs, played in simulated hours: the simulation begins on 2026-01-01 at 00:00 UTC. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "control/cron_job_decide.h"

#define TICK "cronjobs/default/tick"

/* A CronJob in UTC whose Jobs run the image; more is added to its spec. */
static void create(struct stage *s, const char *schedule, const char *image, const char *more)
{
    char json[1024];
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"name\":\"tick\"},\"spec\":{\"schedule\":\"%s\",\"timeZone\":\"UTC\"%s,\"jobTemplate\":"
        "{\"metadata\":{\"labels\":{\"app\":\"tick\"}},\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\","
        "\"containers\":[{\"name\":\"main\",\"image\":\"%s\"}]}}}}}}",
        schedule, more, image);
    assert_int_equal(stage_create(s, "cronjobs/default", json), 201);
}

static size_t jobs(struct stage *s)
{
    return stage_count(s, "jobs", "default", "app", "tick");
}

static struct stage *new_stage(void)
{
    struct stage *s = stage_new();
    stage_node(s, "n1");
    return s;
}

static void a_job_is_started_at_each_time_of_the_schedule(void **state)
{
    struct stage *s = new_stage();
    struct object *found[4];
    create(s, "*/5 * * * *", "done:1", "");
    stage_run(s, 4 * MINUTE);
    assert_int_equal(jobs(s), 0);
    stage_run(s, 2 * MINUTE);
    assert_int_equal(stage_list(s, "jobs", "default", "app", "tick", found, 4), 1);
    char name[64], event[128];
    snprintf(name, sizeof(name), "tick-%lld", (long long)(SIM_START / MINUTE + 5));
    assert_string_equal(found[0]->meta->name, name);
    assert_string_equal(string_map_get(&found[0]->meta->annotations, CRON_SCHEDULED_ANNOTATION),
                        "2026-01-01T00:05:00Z");
    assert_stage(s, TICK, "status/lastScheduleTime", "2026-01-01T00:05:00Z");
    assert_stage(s, TICK, "status/active", NULL);
    assert_memory_equal(stage_event(s, "CronJob", "SuccessfulCreate"), "Created job tick-", 17);
    snprintf(event, sizeof(event), "Saw completed job: %s, condition: Complete", name);
    assert_string_equal(stage_event(s, "CronJob", "SawCompletedJob"), event);
    assert_non_null(stage_field(s, TICK, "status/lastSuccessfulTime"));
    stage_free(s);
}

static void only_so_many_finished_jobs_are_kept(void **state)
{
    struct stage *s = new_stage();
    create(s, "* * * * *", "done:1", ",\"successfulJobsHistoryLimit\":2");
    stage_run(s, 10 * MINUTE + 30 * SECOND);
    assert_int_equal(jobs(s), 2);
    assert_memory_equal(stage_event(s, "CronJob", "SuccessfulDelete"), "Deleted job tick-", 17);
    stage_free(s);
}

static void policies_decide_what_happens_when_the_last_job_still_runs(void **state)
{
    static const struct {
        const char *policy;
        size_t active;
        const char *reason;
    } cases[] = {
        {"Allow", 5, "SuccessfulCreate"}, {"Forbid", 1, "JobAlreadyActive"}, {"Replace", 1, "SuccessfulDelete"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct stage *s = new_stage();
        struct object *found[8];
        char more[64];
        snprintf(more, sizeof(more), ",\"concurrencyPolicy\":\"%s\"", cases[i].policy);
        create(s, "* * * * *", "app:1", more);
        stage_run(s, 5 * MINUTE + 30 * SECOND);
        assert_int_equal(jobs(s), cases[i].active);
        assert_non_null(stage_event(s, "CronJob", cases[i].reason));
        stage_list(s, "jobs", "default", "app", "tick", found, 8);
        char name[64];
        snprintf(name, sizeof(name), "tick-%lld", (long long)(SIM_START / MINUTE + (i == 1 ? 1 : 5)));
        assert_string_equal(found[cases[i].active - 1]->meta->name, name);
        stage_free(s);
    }
}

static void a_suspended_cronjob_starts_nothing(void **state)
{
    struct stage *s = new_stage();
    create(s, "* * * * *", "done:1", ",\"suspend\":true");
    stage_run(s, 5 * MINUTE);
    assert_int_equal(jobs(s), 0);
    assert_int_equal(stage_patch(s, TICK, "{\"spec\":{\"suspend\":false}}"), 200);
    stage_run(s, SECOND);
    /* The last start that was missed is made up for. */
    assert_int_equal(jobs(s), 1);
    stage_free(s);
}

static void after_a_long_absence_one_start_is_made_up_for(void **state)
{
    struct stage *s = new_stage();
    create(s, "* * * * *", "done:1", "");
    stage_run(s, SECOND);
    sim_cluster_crash(s->cluster);
    stage_run(s, 3 * HOUR);
    sim_cluster_restart(s->cluster);
    stage_run(s, 10 * SECOND);
    assert_int_equal(jobs(s), 1);
    assert_string_equal(stage_event(s, "CronJob", "TooManyMissedTimes"),
                        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock "
                        "skew");
    stage_free(s);
}

static void a_start_that_is_too_late_is_left_out(void **state)
{
    struct stage *s = new_stage();
    create(s, "0 * * * *", "done:1", ",\"startingDeadlineSeconds\":60");
    stage_run(s, SECOND);
    sim_cluster_crash(s->cluster);
    stage_run(s, 90 * MINUTE);
    sim_cluster_restart(s->cluster);
    stage_run(s, 10 * SECOND);
    assert_int_equal(jobs(s), 0);
    stage_run(s, 31 * MINUTE);
    assert_int_equal(jobs(s), 1);
    stage_free(s);
}

static void a_new_schedule_counts_from_now_on(void **state)
{
    struct stage *s = new_stage();
    create(s, "0 12 * * *", "done:1", "");
    stage_run(s, 10 * MINUTE + 30 * SECOND);
    assert_int_equal(stage_patch(s, TICK, "{\"spec\":{\"schedule\":\"*/10 * * * *\"}}"), 200);
    stage_run(s, 5 * MINUTE);
    assert_int_equal(jobs(s), 0);
    stage_run(s, 5 * MINUTE);
    assert_int_equal(jobs(s), 1);
    stage_free(s);
}

static void a_crash_between_job_and_status_starts_nothing_twice(void **state)
{
    struct stage *s = new_stage();
    create(s, "* * * * *", "app:1", ",\"concurrencyPolicy\":\"Forbid\"");
    /* The Job is there, and the CronJob does not know of it. */
    for (int step = 0; step < 700000 && !jobs(s); step++)
        stage_run(s, 100 * MILLISECOND);
    sim_cluster_crash(s->cluster);
    stage_run(s, SECOND);
    sim_cluster_restart(s->cluster);
    stage_run(s, 20 * SECOND);
    assert_int_equal(jobs(s), 1);
    assert_non_null(stage_field(s, TICK, "status/active/0/name"));
    stage_free(s);
}

static void a_schedule_that_never_comes_is_reported(void **state)
{
    struct stage *s = new_stage();
    create(s, "0 0 31 2 *", "done:1", "");
    stage_run(s, MINUTE);
    assert_string_equal(stage_event(s, "CronJob", "InvalidSchedule"),
                        "invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_started_at_each_time_of_the_schedule),
        cmocka_unit_test(only_so_many_finished_jobs_are_kept),
        cmocka_unit_test(policies_decide_what_happens_when_the_last_job_still_runs),
        cmocka_unit_test(a_suspended_cronjob_starts_nothing),
        cmocka_unit_test(after_a_long_absence_one_start_is_made_up_for),
        cmocka_unit_test(a_start_that_is_too_late_is_left_out),
        cmocka_unit_test(a_new_schedule_counts_from_now_on),
        cmocka_unit_test(a_crash_between_job_and_status_starts_nothing_twice),
        cmocka_unit_test(a_schedule_that_never_comes_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
