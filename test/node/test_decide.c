/* The life of a pod, decision by decision: what pod_decide asks for in each situation, on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "node/decide.h"

#define SECOND INT64_C(1000000)
#define NOW (1000 * SECOND)

/* A pod with an init container and two containers, all of it under our hands. */
struct life {
    struct pod pod;
    struct container specs[3];
    struct container_observation containers[3];
    struct pod_observation seen;
    struct pod_action actions[POD_ACTIONS_PER_CONTAINER * 3 + POD_ACTIONS_EXTRA];
    struct pod_decision decision;
    struct buffer text;
};

static void begin(struct life *l, size_t inits, const char *restart_policy)
{
    *l = (struct life){.seen = {.containers = l->containers, .container_count = 3, .pod = &l->pod}};
    l->decision.actions = l->actions;
    l->pod.spec.restart_policy = restart_policy;
    for (size_t i = 0; i < 3; i++)
        l->containers[i] = (struct container_observation){.spec = &l->specs[i], .init = i < inits};
}

static void make_ready(struct life *l)
{
    l->seen.volumes = l->seen.sandbox = PART_READY;
    for (size_t i = 0; i < 3; i++)
        l->containers[i].image = PART_READY;
}

static void run(struct life *l)
{
    make_ready(l);
    for (size_t i = 0; i < 3; i++)
        l->containers[i].phase = CONTAINER_RUNNING;
}

/* The decision as text: "mount", "pull 0", "start 1", "pre-stop 2 30", ... */
static const char *decide(struct life *l, int64_t now)
{
    static const char *const names[] = {
        [ACTION_MOUNT_VOLUMES] = "mount",  [ACTION_CREATE_SANDBOX] = "sandbox", [ACTION_PULL_IMAGE] = "pull",
        [ACTION_START_CONTAINER] = "start", [ACTION_PRE_STOP] = "pre-stop",     [ACTION_STOP_CONTAINER] = "stop",
        [ACTION_KILL_CONTAINER] = "kill",   [ACTION_DRAIN] = "drain",           [ACTION_TEAR_DOWN] = "tear-down",
        [ACTION_FINISH] = "finish",         [ACTION_EXCEED_DEADLINE] = "deadline"};
    pod_decide(&l->seen, now, &l->decision);
    buffer_clear(&l->text);
    buffer_add_string(&l->text, "");
    for (size_t i = 0; i < l->decision.count; i++) {
        const struct pod_action *a = &l->actions[i];
        bool of_container = a->kind >= ACTION_PULL_IMAGE && a->kind <= ACTION_KILL_CONTAINER;
        buffer_printf(&l->text, "%s%s", i ? ", " : "", names[a->kind]);
        if (of_container)
            buffer_printf(&l->text, " %zu", a->container);
        if (a->kind == ACTION_PRE_STOP)
            buffer_printf(&l->text, " %lld", (long long)(a->grace / SECOND));
    }
    return l->text.data ? l->text.data : "";
}

/* What the worker records of the two actions of an end. */
static void begin_stop(struct life *l, size_t i, int64_t at, int seconds)
{
    l->containers[i].ending = true;
    l->containers[i].stop_by = at + seconds * SECOND;
    l->containers[i].pre_stop = PART_READY;
}

static void signal_container(struct life *l, size_t i, int64_t at, int seconds)
{
    begin_stop(l, i, at, seconds);
    l->containers[i].signalled_at = at;
}

static void ends(struct life *l, size_t i, int code, int64_t at)
{
    l->containers[i].phase = CONTAINER_EXITED;
    l->containers[i].exit_code = code;
    l->containers[i].finished_at = at;
}

static void a_new_pod_gets_volumes_sandbox_images_and_containers_in_this_order(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    assert_string_equal(decide(&l, NOW), "mount");
    l.seen.volumes = PART_BUSY;
    assert_string_equal(decide(&l, NOW), "");
    l.seen.volumes = PART_READY;
    assert_string_equal(decide(&l, NOW), "sandbox");
    l.seen.sandbox = PART_READY;
    assert_string_equal(decide(&l, NOW), "pull 0, pull 1, pull 2");
    l.containers[1].image = PART_READY;
    l.containers[0].image = l.containers[2].image = PART_BUSY;
    assert_string_equal(decide(&l, NOW), "start 1");
    l.containers[1].phase = CONTAINER_STARTING;
    assert_string_equal(decide(&l, NOW), "");
    buffer_free(&l.text);
}

static void what_failed_is_tried_again_when_its_time_has_come(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    l.seen.volumes = PART_FAILED;
    l.seen.volumes_retry_at = NOW + SECOND;
    assert_string_equal(decide(&l, NOW), "");
    assert_int_equal(l.decision.wake_at, NOW + SECOND);
    assert_string_equal(decide(&l, NOW + SECOND), "mount");
    make_ready(&l);
    l.containers[0].image = PART_FAILED;
    l.containers[0].image_retry_at = NOW + 10 * SECOND;
    l.containers[1].image = PART_FAILED; /* and never again */
    assert_string_equal(decide(&l, NOW), "start 2");
    assert_int_equal(l.decision.wake_at, NOW + 10 * SECOND);
    assert_string_equal(decide(&l, NOW + 10 * SECOND), "pull 0, start 2");
    buffer_free(&l.text);
}

static void init_containers_run_one_after_the_other_to_success(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 2, "Always");
    make_ready(&l);
    assert_string_equal(decide(&l, NOW), "start 0");
    assert_string_equal(pod_phase(&l.seen), "Pending");
    ends(&l, 0, 1, NOW);
    assert_string_equal(decide(&l, NOW), "start 0");
    ends(&l, 0, 0, NOW);
    assert_string_equal(decide(&l, NOW), "start 1");
    ends(&l, 1, 0, NOW);
    assert_string_equal(decide(&l, NOW), "start 2");
    buffer_free(&l.text);
}

static void a_failed_init_container_is_the_end_of_a_pod_that_never_restarts(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 1, "Never");
    make_ready(&l);
    ends(&l, 0, 3, NOW);
    assert_string_equal(pod_phase(&l.seen), "Failed");
    assert_string_equal(decide(&l, NOW), "tear-down");
    buffer_free(&l.text);
}

static void ended_earlier(struct life *l, size_t i, int code)
{
    ends(l, i, code, NOW);
    l->containers[i].earlier = true;
}

/* After a reboot: the sandbox is made anew, init containers run again, and of the others those that have to. */
static void a_new_sandbox_begins_with_the_init_containers_and_leaves_out_what_succeeded(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 1, "OnFailure");
    l.seen.volumes = PART_READY;
    ended_earlier(&l, 0, 0);
    ended_earlier(&l, 1, 0);
    ended_earlier(&l, 2, 137);
    assert_string_equal(pod_phase(&l.seen), "Running");
    assert_string_equal(decide(&l, NOW), "sandbox");
    make_ready(&l);
    assert_string_equal(decide(&l, NOW), "start 0");
    l.containers[0].earlier = false;
    ends(&l, 0, 0, NOW);
    assert_string_equal(decide(&l, NOW), "start 2");
    l.containers[2].earlier = false;
    l.containers[2].phase = CONTAINER_RUNNING;
    assert_string_equal(decide(&l, NOW), "");
    ends(&l, 2, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Succeeded");
    assert_string_equal(decide(&l, NOW), "tear-down");
    buffer_free(&l.text);
}

static void no_sandbox_is_made_when_nothing_is_left_to_run(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 1, "OnFailure");
    ended_earlier(&l, 0, 0);
    ended_earlier(&l, 1, 0);
    ended_earlier(&l, 2, 0);
    assert_string_equal(decide(&l, NOW), "tear-down");
    buffer_free(&l.text);
    begin(&l, 1, "OnFailure");
    make_ready(&l);
    ended_earlier(&l, 0, 0);
    assert_string_equal(decide(&l, NOW), "start 0");
    assert_string_equal(pod_phase(&l.seen), "Pending");
    buffer_free(&l.text);
}

static void restarts_follow_the_policy(void **state)
{
    static const struct {
        const char *policy;
        int code;
        bool again;
    } cases[] = {{"Always", 0, true},     {"Always", 1, true}, {"OnFailure", 0, false},
                 {"OnFailure", 1, true}, {"Never", 0, false}, {"Never", 1, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct life l;
        begin(&l, 0, cases[i].policy);
        run(&l);
        ends(&l, 1, cases[i].code, NOW);
        assert_string_equal(decide(&l, NOW), cases[i].again ? "start 1" : "");
        assert_string_equal(pod_phase(&l.seen), "Running");
        buffer_free(&l.text);
    }
}

static void a_pod_has_ended_when_all_its_containers_have(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "OnFailure");
    run(&l);
    for (size_t i = 0; i < 3; i++)
        ends(&l, i, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Succeeded");
    assert_string_equal(decide(&l, NOW), "tear-down");
    l.seen.torn_down = true;
    assert_string_equal(decide(&l, NOW), "");
    buffer_free(&l.text);
    begin(&l, 0, "Never");
    run(&l);
    ends(&l, 0, 0, NOW);
    ends(&l, 1, 2, NOW);
    ends(&l, 2, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Failed");
    buffer_free(&l.text);
}

static void the_first_restart_is_immediate_and_later_ones_wait_10_s_doubling_to_5_min(void **state)
{
    static const int delays[] = {10, 20, 40, 80, 160, 300, 300};
    struct life l;
    int64_t now = NOW;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    ends(&l, 0, 1, now);
    assert_string_equal(decide(&l, now), "start 0");
    for (size_t i = 0; i < ARRAY_COUNT(delays); i++) {
        backoff_raise(&l.containers[0].restart, now);
        ends(&l, 0, 1, now);
        assert_string_equal(decide(&l, now), "");
        assert_int_equal(l.decision.wake_at, now + delays[i] * SECOND);
        now = l.decision.wake_at;
        assert_string_equal(decide(&l, now), "start 0");
    }
    /* Ten minutes of running well are forgiven. */
    ends(&l, 0, 1, now + BACKOFF_RESET + SECOND);
    assert_string_equal(decide(&l, now + BACKOFF_RESET + SECOND), "start 0");
    buffer_free(&l.text);
}

static void an_unhealthy_container_is_stopped_with_the_pods_grace_and_then_killed(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    l.pod.spec.termination_grace_period_seconds = opt_int64(7);
    run(&l);
    l.containers[2].stop_cause = STOP_LIVENESS;
    assert_string_equal(decide(&l, NOW), "pre-stop 2 7, stop 2");
    signal_container(&l, 2, NOW, 7);
    assert_string_equal(decide(&l, NOW + SECOND), "");
    assert_int_equal(l.decision.wake_at, NOW + 7 * SECOND);
    assert_string_equal(decide(&l, NOW + 7 * SECOND), "kill 2");
    l.containers[2].killed = true;
    assert_string_equal(decide(&l, NOW + 8 * SECOND), "");
    buffer_free(&l.text);
}

static void a_deleted_pod_is_drained_before_it_is_signalled(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    l.pod.metadata.deletion_timestamp = NOW;
    l.seen.terminating = true;
    l.seen.terminate_by = NOW + 30 * SECOND;
    assert_string_equal(decide(&l, NOW), "drain");
    l.seen.drain = PART_BUSY;
    assert_string_equal(decide(&l, NOW + SECOND), "");
    assert_int_equal(l.decision.wake_at, NOW + 30 * SECOND);
    l.seen.drain = PART_READY;
    /* The drain is counted inside the grace period. */
    assert_string_equal(decide(&l, NOW + 2 * SECOND), "pre-stop 0 28, stop 0, pre-stop 1 28, stop 1, pre-stop 2 28, stop 2");
    for (size_t i = 0; i < 3; i++)
        signal_container(&l, i, NOW + 2 * SECOND, 28);
    assert_string_equal(decide(&l, NOW + 3 * SECOND), "");
    ends(&l, 0, 0, NOW + 4 * SECOND);
    assert_string_equal(decide(&l, NOW + 30 * SECOND), "kill 1, kill 2");
    ends(&l, 1, 137, NOW + 30 * SECOND);
    ends(&l, 2, 137, NOW + 30 * SECOND);
    assert_string_equal(decide(&l, NOW + 30 * SECOND), "tear-down");
    l.seen.torn_down = true;
    assert_string_equal(decide(&l, NOW + 30 * SECOND), "finish");
    buffer_free(&l.text);
}

static void a_drain_that_never_ends_is_bounded_by_the_grace_period(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    l.pod.metadata.deletion_timestamp = NOW;
    l.seen.terminating = true;
    l.seen.terminate_by = NOW + 5 * SECOND;
    l.seen.drain = PART_BUSY;
    assert_string_equal(decide(&l, NOW + 5 * SECOND), "pre-stop 0 0, stop 0, pre-stop 1 0, stop 1, pre-stop 2 0, stop 2");
    /* However late it is, upstream leaves 2 s between the signal and SIGKILL. */
    for (size_t i = 0; i < 3; i++)
        signal_container(&l, i, NOW + 5 * SECOND, 0);
    assert_string_equal(decide(&l, NOW + 6 * SECOND), "");
    assert_int_equal(l.decision.wake_at, NOW + 7 * SECOND);
    assert_string_equal(decide(&l, NOW + 7 * SECOND), "kill 0, kill 1, kill 2");
    buffer_free(&l.text);
}

static void a_pod_that_never_ran_goes_without_a_drain(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    l.pod.metadata.deletion_timestamp = NOW;
    l.seen.terminating = true;
    l.seen.terminate_by = NOW + 30 * SECOND;
    assert_string_equal(decide(&l, NOW), "tear-down");
    l.seen.sandbox = PART_BUSY; /* what is under way is waited for */
    assert_string_equal(decide(&l, NOW), "");
    buffer_free(&l.text);
}

static void a_deleted_pod_ends_as_its_containers_did(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    l.seen.terminating = true;
    ends(&l, 0, 0, NOW);
    ends(&l, 1, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Running");
    ends(&l, 2, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Running"); /* until all of it has been taken down */
    l.seen.torn_down = true;
    assert_string_equal(pod_phase(&l.seen), "Succeeded");
    l.containers[1].exit_code = 143;
    assert_string_equal(pod_phase(&l.seen), "Failed");
    begin(&l, 1, "Always");
    l.seen.terminating = l.seen.torn_down = true;
    assert_string_equal(pod_phase(&l.seen), "Failed");
}

static void a_pod_that_has_ended_is_torn_down_once(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Never");
    make_ready(&l);
    for (size_t i = 0; i < 3; i++)
        ends(&l, i, 0, NOW);
    assert_string_equal(decide(&l, NOW), "tear-down");
    l.seen.sandbox = PART_BUSY;
    assert_string_equal(decide(&l, NOW), "");
    l.seen.sandbox = PART_NONE;
    l.seen.torn_down = true;
    assert_string_equal(decide(&l, NOW), "");
    buffer_free(&l.text);
}

static void what_a_pod_has_left_stays_until_its_end_is_told(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Never");
    make_ready(&l);
    l.seen.end_untold = true;
    for (size_t i = 0; i < 3; i++)
        ends(&l, i, 0, NOW);
    assert_string_equal(decide(&l, NOW), "");
    l.seen.end_untold = false;
    assert_string_equal(decide(&l, NOW), "tear-down");
    /* A deleted one ends with its object, which is told before. */
    l.seen.end_untold = l.seen.terminating = true;
    assert_string_equal(decide(&l, NOW), "tear-down");
    buffer_free(&l.text);
}

static void an_ephemeral_container_starts_at_any_time_once_and_counts_for_nothing(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 1, "Never");
    make_ready(&l);
    l.containers[2].ephemeral = true;
    /* Beside the init container, before all others. */
    assert_string_equal(decide(&l, NOW), "start 2, start 0");
    l.containers[2].phase = CONTAINER_RUNNING;
    ends(&l, 0, 0, NOW);
    assert_string_equal(decide(&l, NOW), "start 1");
    l.containers[1].phase = CONTAINER_RUNNING;
    assert_string_equal(pod_phase(&l.seen), "Running");
    /* One that has ended stays ended; one that could not be started is tried again. */
    ends(&l, 2, 1, NOW);
    assert_string_equal(decide(&l, NOW), "");
    assert_string_equal(pod_phase(&l.seen), "Running");
    l.containers[2].start_failed = true;
    assert_string_equal(decide(&l, NOW), "start 2");
    /* It ends with the others. */
    l.containers[2].start_failed = false;
    l.containers[2].phase = CONTAINER_RUNNING;
    ends(&l, 1, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Succeeded");
    assert_string_equal(decide(&l, NOW), "pre-stop 2 30, stop 2");
    buffer_free(&l.text);
}

/* A container becomes a sidecar. */
static void make_sidecar(struct life *l, size_t i)
{
    l->containers[i].init = true;
    l->specs[i].restart_policy = "Always";
}

static void a_sidecar_is_waited_for_until_it_has_started_and_kept_afterwards(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 1, "Never");
    make_sidecar(&l, 0);
    make_ready(&l);
    assert_string_equal(decide(&l, NOW), "start 0");
    l.containers[0].phase = CONTAINER_RUNNING;
    assert_string_equal(decide(&l, NOW), "");
    l.containers[0].started = true;
    assert_string_equal(decide(&l, NOW), "start 1, start 2");
    l.containers[1].phase = l.containers[2].phase = CONTAINER_RUNNING;
    ends(&l, 0, 0, NOW);
    assert_string_equal(decide(&l, NOW), "start 0");
    l.containers[0].phase = CONTAINER_RUNNING;
    l.containers[0].started = false;
    ends(&l, 1, 1, NOW);
    assert_string_equal(decide(&l, NOW), "");
    buffer_free(&l.text);
}

static void a_sidecar_that_restarts_does_not_hold_up_what_comes_after_it(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 2, "Always");
    make_sidecar(&l, 0);
    make_ready(&l);
    ends(&l, 0, 1, NOW);
    ends(&l, 1, 1, NOW);
    assert_string_equal(decide(&l, NOW), "start 0, start 1");
    buffer_free(&l.text);
}

static void sidecars_are_signalled_last_in_reverse_order(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 2, "Always");
    make_sidecar(&l, 0);
    make_sidecar(&l, 1);
    run(&l);
    l.seen.terminating = true;
    l.seen.terminate_by = NOW + 30 * SECOND;
    l.seen.drain = PART_READY;
    assert_string_equal(decide(&l, NOW), "pre-stop 0 30, pre-stop 1 30, pre-stop 2 30, stop 2");
    for (size_t i = 0; i < 3; i++)
        begin_stop(&l, i, NOW, 30);
    l.containers[2].signalled_at = NOW;
    assert_string_equal(decide(&l, NOW + SECOND), "");
    ends(&l, 2, 0, NOW + SECOND);
    assert_string_equal(decide(&l, NOW + SECOND), "stop 1");
    l.containers[1].signalled_at = NOW + SECOND;
    assert_string_equal(decide(&l, NOW + 2 * SECOND), "");
    ends(&l, 1, 0, NOW + 2 * SECOND);
    assert_string_equal(decide(&l, NOW + 2 * SECOND), "stop 0");
    /* The end of the grace period is the turn of all. */
    l.containers[1].phase = CONTAINER_RUNNING;
    assert_string_equal(decide(&l, NOW + 30 * SECOND), "stop 0, kill 1");
    l.containers[0].signalled_at = NOW + 30 * SECOND;
    l.containers[1].killed = true;
    assert_string_equal(decide(&l, NOW + 31 * SECOND), "");
    assert_string_equal(decide(&l, NOW + 32 * SECOND), "kill 0");
    buffer_free(&l.text);
}

static void a_pod_that_has_run_to_its_end_takes_its_sidecars_along(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 2, "Never");
    make_sidecar(&l, 0);
    make_sidecar(&l, 1);
    run(&l);
    ends(&l, 2, 0, NOW);
    assert_string_equal(pod_phase(&l.seen), "Running");
    assert_string_equal(decide(&l, NOW), "pre-stop 0 30, pre-stop 1 30, stop 1");
    signal_container(&l, 1, NOW, 30);
    begin_stop(&l, 0, NOW, 30);
    assert_string_equal(decide(&l, NOW + SECOND), "");
    ends(&l, 1, 143, NOW + SECOND);
    assert_string_equal(decide(&l, NOW + SECOND), "stop 0");
    ends(&l, 0, 143, NOW + SECOND);
    assert_string_equal(decide(&l, NOW + SECOND), "tear-down");
    assert_string_equal(pod_phase(&l.seen), "Succeeded");
    buffer_free(&l.text);
}

static void a_pre_stop_hook_comes_before_the_signal_and_has_the_grace_period(void **state)
{
    struct lifecycle_handler nap = {0};
    struct lifecycle lifecycle = {.pre_stop = &nap};
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    l.specs[1].lifecycle = &lifecycle;
    l.seen.terminating = true;
    l.seen.terminate_by = NOW + 10 * SECOND;
    l.seen.drain = PART_READY;
    assert_string_equal(decide(&l, NOW), "pre-stop 0 10, stop 0, pre-stop 1 10, pre-stop 2 10, stop 2");
    signal_container(&l, 0, NOW, 10);
    signal_container(&l, 2, NOW, 10);
    begin_stop(&l, 1, NOW, 10);
    l.containers[1].pre_stop = PART_BUSY;
    assert_string_equal(decide(&l, NOW + 9 * SECOND), "");
    assert_string_equal(decide(&l, NOW + 10 * SECOND), "kill 0, stop 1, kill 2");
    l.containers[1].pre_stop = PART_FAILED;
    assert_string_equal(decide(&l, NOW + SECOND), "stop 1");
    /* Where there is no time, there is no hook. */
    l.containers[1] = (struct container_observation){.spec = &l.specs[1], .phase = CONTAINER_RUNNING};
    assert_string_equal(decide(&l, NOW + 10 * SECOND), "kill 0, pre-stop 1 0, stop 1, kill 2");
    buffer_free(&l.text);
}

static void later_containers_wait_for_a_post_start_hook(void **state)
{
    struct lifecycle_handler nap = {0};
    struct lifecycle lifecycle = {.post_start = &nap};
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    l.seen.volumes = l.seen.sandbox = PART_READY;
    l.specs[0].lifecycle = &lifecycle;
    assert_string_equal(decide(&l, NOW), "pull 0, pull 1, pull 2");
    make_ready(&l);
    assert_string_equal(decide(&l, NOW), "start 0");
    l.containers[0].phase = CONTAINER_RUNNING;
    l.containers[0].post_start = PART_BUSY;
    assert_string_equal(decide(&l, NOW), "");
    l.containers[0].post_start = PART_READY;
    assert_string_equal(decide(&l, NOW), "start 1, start 2");
    /* One that failed waits for its next time alone. */
    ends(&l, 0, 1, NOW);
    l.containers[0].restart = (struct backoff){10 * SECOND, NOW};
    assert_string_equal(decide(&l, NOW), "start 1, start 2");
    buffer_free(&l.text);
}

static void a_pod_ends_at_its_deadline(void **state)
{
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    l.pod.spec.active_deadline_seconds = opt_int64(60);
    l.seen.start_time = NOW;
    assert_string_equal(decide(&l, NOW + 59 * SECOND), "");
    assert_int_equal(l.decision.wake_at, NOW + 60 * SECOND);
    assert_string_equal(decide(&l, NOW + 60 * SECOND), "deadline");
    /* One that has run to its end in time has succeeded. */
    l.pod.spec.restart_policy = "Never";
    for (size_t i = 0; i < 3; i++)
        ends(&l, i, 0, NOW);
    assert_string_equal(decide(&l, NOW + 61 * SECOND), "tear-down");
    buffer_free(&l.text);
}

static void a_probes_own_grace_period_replaces_the_pods(void **state)
{
    struct probe probe = {.termination_grace_period_seconds = opt_int64(4)};
    struct life l;
    (void)state;
    begin(&l, 0, "Always");
    run(&l);
    l.specs[1].liveness_probe = &probe;
    l.containers[1].stop_cause = STOP_LIVENESS;
    assert_string_equal(decide(&l, NOW), "pre-stop 1 4, stop 1");
    buffer_free(&l.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_pod_gets_volumes_sandbox_images_and_containers_in_this_order),
        cmocka_unit_test(what_failed_is_tried_again_when_its_time_has_come),
        cmocka_unit_test(init_containers_run_one_after_the_other_to_success),
        cmocka_unit_test(a_failed_init_container_is_the_end_of_a_pod_that_never_restarts),
        cmocka_unit_test(a_new_sandbox_begins_with_the_init_containers_and_leaves_out_what_succeeded),
        cmocka_unit_test(no_sandbox_is_made_when_nothing_is_left_to_run),
        cmocka_unit_test(restarts_follow_the_policy),
        cmocka_unit_test(a_pod_has_ended_when_all_its_containers_have),
        cmocka_unit_test(the_first_restart_is_immediate_and_later_ones_wait_10_s_doubling_to_5_min),
        cmocka_unit_test(an_unhealthy_container_is_stopped_with_the_pods_grace_and_then_killed),
        cmocka_unit_test(a_deleted_pod_is_drained_before_it_is_signalled),
        cmocka_unit_test(a_drain_that_never_ends_is_bounded_by_the_grace_period),
        cmocka_unit_test(a_pod_that_never_ran_goes_without_a_drain),
        cmocka_unit_test(a_deleted_pod_ends_as_its_containers_did),
        cmocka_unit_test(a_pod_that_has_ended_is_torn_down_once),
        cmocka_unit_test(what_a_pod_has_left_stays_until_its_end_is_told),
        cmocka_unit_test(a_sidecar_is_waited_for_until_it_has_started_and_kept_afterwards),
        cmocka_unit_test(a_sidecar_that_restarts_does_not_hold_up_what_comes_after_it),
        cmocka_unit_test(sidecars_are_signalled_last_in_reverse_order),
        cmocka_unit_test(a_pod_that_has_run_to_its_end_takes_its_sidecars_along),
        cmocka_unit_test(a_pre_stop_hook_comes_before_the_signal_and_has_the_grace_period),
        cmocka_unit_test(an_ephemeral_container_starts_at_any_time_once_and_counts_for_nothing),
        cmocka_unit_test(later_containers_wait_for_a_post_start_hook),
        cmocka_unit_test(a_pod_ends_at_its_deadline),
        cmocka_unit_test(a_probes_own_grace_period_replaces_the_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
