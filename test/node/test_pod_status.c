/* What users read of a pod, from what the agent knows of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "node/pod_state.h"

#define SECOND INT64_C(1000000)
#define NOW (1700000000 * SECOND)

/* A pod with an init container and two containers, "a" and "b". */
struct world {
    struct object *pod;
    struct container_observation containers[3];
    struct container_record records[3];
    struct pod_state state;
    struct arena *arena;
    struct pod_status status;
    struct buffer text;
};

static struct object *pod_with(const char *status)
{
    struct error err;
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\",\"generation\":3},\"spec\":{"
             "\"restartPolicy\":\"Always\",\"readinessGates\":[{\"conditionType\":\"example.com/gate\"}],"
             "\"initContainers\":[{\"name\":\"first\",\"image\":\"i\"}],"
             "\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\",\"image\":\"i\"}]},\"status\":%s}",
             status);
    struct object *o = object_from_json(&api_resources[API_PODS], json, strlen(json), &err);
    if (!o)
        fail_msg("%s", err.text);
    return o;
}

static void begin(struct world *w, const char *status)
{
    *w = (struct world){.pod = pod_with(status), .arena = arena_new(0)};
    const struct pod *pod = w->pod->value;
    w->state = (struct pod_state){
        .pod = w->pod,
        .seen = {.pod = pod, .containers = w->containers, .container_count = 3, .start_time = NOW - 60 * SECOND},
        .records = w->records,
    };
    w->containers[0].spec = &pod->spec.init_containers.items[0];
    w->containers[0].init = true;
    w->containers[1].spec = &pod->spec.containers.items[0];
    w->containers[2].spec = &pod->spec.containers.items[1];
}

static void end(struct world *w)
{
    buffer_free(&w->text);
    arena_free(w->arena);
    object_unref(w->pod);
}

/* The whole status as JSON. */
static const char *status(struct world *w)
{
    pod_status_build(w->arena, &w->state, w->pod->value, "10.89.0.1", NULL, NOW, &w->status);
    buffer_clear(&w->text);
    json_encode(&api_type_pod_status, &w->status, &w->text);
    buffer_add_string(&w->text, "");
    return w->text.data;
}

static const struct pod_condition *condition(const struct world *w, const char *type)
{
    for (size_t i = 0; i < w->status.conditions.count; i++)
        if (strcmp(w->status.conditions.items[i].type, type) == 0)
            return &w->status.conditions.items[i];
    fail_msg("there is no condition %s", type);
    return NULL;
}

static void assert_condition(const struct world *w, const char *type, const char *value, const char *reason)
{
    const struct pod_condition *c = condition(w, type);
    assert_string_equal(c->status, value);
    assert_string_equal(c->reason ? c->reason : "", reason);
}

static void runs(struct world *w, size_t i)
{
    w->containers[i].phase = CONTAINER_RUNNING;
    w->containers[i].image = PART_READY;
    w->records[i].id = "0123";
    w->records[i].image = "docker.io/library/i:latest";
    w->records[i].image_id = "docker.io/library/i@sha256:00";
    w->records[i].started_at = NOW - 5 * SECOND;
    w->containers[i].started = w->records[i].ready = true;
}

static void ends(struct world *w, size_t i, int code)
{
    runs(w, i);
    w->containers[i].phase = CONTAINER_EXITED;
    w->containers[i].exit_code = code;
    w->containers[i].finished_at = NOW - SECOND;
    w->containers[i].started = w->records[i].ready = false;
    w->records[i].current = (struct container_termination){.container_id = "0123",
                                                           .reason = code ? "Error" : "Completed",
                                                           .exit_code = code,
                                                           .started_at = NOW - 5 * SECOND,
                                                           .finished_at = NOW - SECOND};
}

static void a_new_pod_waits_for_its_init_containers(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\"}]}");
    const char *text = status(&w);
    assert_string_equal(w.status.phase, "Pending");
    assert_non_null(strstr(text, "\"hostIP\":\"10.89.0.1\",\"hostIPs\":[{\"ip\":\"10.89.0.1\"}]"));
    assert_null(w.status.pod_ip);
    assert_int_equal(w.status.observed_generation, 3);
    assert_string_equal(w.status.qos_class, "BestEffort");
    assert_condition(&w, "PodScheduled", "True", "");
    assert_condition(&w, "PodReadyToStartContainers", "False", "");
    assert_condition(&w, "Initialized", "False", "ContainersNotInitialized");
    assert_string_equal(condition(&w, "Initialized")->message, "containers with incomplete status: [first]");
    assert_condition(&w, "ContainersReady", "False", "ContainersNotReady");
    assert_string_equal(condition(&w, "ContainersReady")->message, "containers with unready status: [a b]");
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(w.status.container_statuses.items[i].state.waiting->reason, "PodInitializing");
        assert_true(w.status.container_statuses.items[i].started.set);
        assert_false(w.status.container_statuses.items[i].started.value);
    }
    end(&w);
}

static void a_running_pod_is_ready_when_containers_and_gates_are(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{\"conditions\":[{\"type\":\"example.com/gate\",\"status\":\"False\"},{\"type\":\"Ready\","
              "\"status\":\"False\",\"lastTransitionTime\":\"2020-01-02T03:04:05Z\"}]}");
    w.state.seen.sandbox = PART_READY;
    w.state.ip = "10.244.0.2";
    ends(&w, 0, 0);
    runs(&w, 1);
    runs(&w, 2);
    const char *text = status(&w);
    assert_string_equal(w.status.phase, "Running");
    assert_non_null(strstr(text, "\"podIP\":\"10.244.0.2\",\"podIPs\":[{\"ip\":\"10.244.0.2\"}]"));
    assert_non_null(strstr(text, "\"containerID\":\"crun://0123\""));
    assert_condition(&w, "Initialized", "True", "");
    assert_condition(&w, "ContainersReady", "True", "");
    assert_condition(&w, "Ready", "False", "ReadinessGatesNotReady");
    assert_string_equal(condition(&w, "Ready")->message,
                        "the status of pod readiness gate \"example.com/gate\" is not \"True\", but False");
    /* What did not change keeps the time of its last change; what others own stays. */
    assert_int_equal(condition(&w, "Ready")->last_transition_time / SECOND, 1577934245);
    assert_condition(&w, "example.com/gate", "False", "");
    assert_int_equal(condition(&w, "ContainersReady")->last_transition_time, NOW);
    assert_int_equal(condition(&w, "ContainersReady")->observed_generation, 3);
    end(&w);

    begin(&w, "{\"conditions\":[{\"type\":\"example.com/gate\",\"status\":\"True\"}]}");
    ends(&w, 0, 0);
    runs(&w, 1);
    runs(&w, 2);
    status(&w);
    assert_condition(&w, "Ready", "True", "");
    w.records[2].ready = false;
    status(&w);
    assert_condition(&w, "Ready", "False", "ContainersNotReady");
    assert_string_equal(condition(&w, "Ready")->message, "containers with unready status: [b]");
    end(&w);
}

static void a_missing_gate_says_so(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{}");
    ends(&w, 0, 0);
    runs(&w, 1);
    runs(&w, 2);
    status(&w);
    assert_condition(&w, "Ready", "False", "ReadinessGatesNotReady");
    assert_string_equal(condition(&w, "Ready")->message,
                        "corresponding condition of pod readiness gate \"example.com/gate\" does not exist.");
    end(&w);
}

static void a_crash_loop_shows_its_delay_and_the_last_end(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{}");
    ends(&w, 0, 0);
    runs(&w, 1);
    ends(&w, 2, 7);
    w.containers[2].restart = (struct backoff){.delay = 20 * SECOND, .updated = NOW - 2 * SECOND};
    w.records[2].restart_count = 2;
    status(&w);
    const struct container_status *b = &w.status.container_statuses.items[1];
    assert_string_equal(w.status.phase, "Running");
    assert_string_equal(b->state.waiting->reason, "CrashLoopBackOff");
    assert_string_equal(b->state.waiting->message, "back-off 20s restarting failed container=b pod=p_n(u)");
    assert_int_equal(b->last_state.terminated->exit_code, 7);
    assert_string_equal(b->last_state.terminated->container_id, "crun://0123");
    assert_int_equal(b->restart_count, 2);
    assert_false(b->ready);
    end(&w);
}

/* As upstream's kubelet shows it: no container that has run goes back to ContainerCreating. */
static void between_two_runs_the_last_end_or_the_backoff_is_shown(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{\"phase\":\"Running\"}");
    ends(&w, 0, 0);
    runs(&w, 1);
    ends(&w, 2, 7);
    status(&w);
    const struct container_status *b = &w.status.container_statuses.items[1];
    assert_int_equal(b->state.terminated->exit_code, 7);
    assert_null(b->last_state.terminated);

    /* It is being started again, at once. */
    w.containers[2].phase = CONTAINER_STARTING;
    w.containers[2].ran = true;
    w.containers[2].restart = (struct backoff){.delay = 10 * SECOND, .updated = NOW};
    w.records[2].id = "4567";
    w.records[2].last = w.records[2].current;
    w.records[2].current = (struct container_termination){0};
    status(&w);
    b = &w.status.container_statuses.items[1];
    assert_string_equal(w.status.phase, "Running");
    assert_int_equal(b->state.terminated->exit_code, 7);
    assert_string_equal(b->container_id, "crun://0123");
    assert_null(b->last_state.terminated);

    /* It is, after a backoff. */
    w.records[2].delayed = 20 * SECOND;
    w.containers[2].restart.delay = 40 * SECOND;
    status(&w);
    b = &w.status.container_statuses.items[1];
    assert_string_equal(b->state.waiting->reason, "CrashLoopBackOff");
    assert_string_equal(b->state.waiting->message, "back-off 20s restarting failed container=b pod=p_n(u)");
    assert_int_equal(b->last_state.terminated->exit_code, 7);

    /* The backoff is over, and its image is asked for. */
    w.containers[2].phase = CONTAINER_EXITED;
    w.containers[2].restart = (struct backoff){.delay = 10 * SECOND, .updated = NOW - 30 * SECOND};
    w.containers[2].finished_at = NOW - 20 * SECOND;
    w.records[2].current = w.records[2].last;
    status(&w);
    b = &w.status.container_statuses.items[1];
    assert_string_equal(b->state.waiting->reason, "CrashLoopBackOff");

    /* An init container that had succeeded and has to run once more waits for it. */
    w.containers[0].phase = CONTAINER_STARTING;
    w.records[0].last = w.records[0].current;
    status(&w);
    assert_non_null(w.status.init_container_statuses.items[0].state.waiting);
    end(&w);
}

/* The API would not let it run again after it had been shown as ended. */
static void a_container_that_makes_way_for_a_new_image_waits(void **state)
{
    static const struct {
        const char *policy;
        int code;
        enum stop_cause cause;
        bool waits;
    } cases[] = {{"Never", 0, STOP_CHANGED, true},     {"Never", 143, STOP_CHANGED, true},
                 {"OnFailure", 0, STOP_CHANGED, true}, {"OnFailure", 143, STOP_CHANGED, false},
                 {"Always", 0, STOP_CHANGED, false},   {"OnFailure", 0, STOP_LIVENESS, true},
                 {"Never", 143, STOP_RESIZED, true},   {"Never", 143, STOP_NONE, false},
                 {"Never", 143, STOP_LIVENESS, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct world w;
        begin(&w, "{\"phase\":\"Running\"}");
        ((struct pod *)w.pod->value)->spec.restart_policy = (char *)cases[i].policy;
        ends(&w, 0, 0);
        runs(&w, 1);
        ends(&w, 2, cases[i].code);
        w.containers[2].stop_cause = cases[i].cause;
        status(&w);
        const struct container_status *b = &w.status.container_statuses.items[1];
        assert_true(cases[i].waits == (b->state.waiting != NULL));
        assert_true(cases[i].waits == (b->state.terminated == NULL));
        assert_true(!cases[i].waits || b->last_state.terminated->exit_code == cases[i].code);
        end(&w);
    }
}

/* After the machine has started again, nothing is left of the init container but what the API has. */
static void what_ended_for_good_is_shown_so_while_it_runs_once_more(void **state)
{
    static const struct {
        const char *policy;
        int code;
        bool kept;
    } cases[] = {{"Never", 0, true}, {"OnFailure", 0, true}, {"OnFailure", 1, false}, {"Always", 0, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct world w;
        char shown[256];
        snprintf(shown, sizeof(shown),
                 "{\"phase\":\"Running\",\"initContainerStatuses\":[{\"name\":\"first\",\"state\":{\"terminated\":{"
                 "\"exitCode\":%d,\"reason\":\"Before\"}}}]}",
                 cases[i].code);
        begin(&w, shown);
        ((struct pod *)w.pod->value)->spec.restart_policy = (char *)cases[i].policy;
        const struct container_state *now = NULL;
        for (int running = 0; running < 2; running++) {
            status(&w);
            now = &w.status.init_container_statuses.items[0].state;
            assert_true(cases[i].kept == (now->terminated != NULL));
            assert_true(!cases[i].kept == (running ? now->running != NULL : now->waiting != NULL));
            runs(&w, 0);
        }
        ends(&w, 0, 0);
        status(&w);
        assert_string_equal(w.status.init_container_statuses.items[0].state.terminated->reason, "Completed");
        end(&w);
    }
}

#define SHOWN_TERMINATED(code)                                                                                         \
    "\"terminated\":{\"exitCode\":" #code ",\"reason\":\"Before\",\"containerID\":\"crun://01\"}"

/* An agent that starts and finds nothing but what the API shows. */
static void begin_anew(struct world *w, const char *policy, const char *a, const char *b)
{
    char shown[1024];
    snprintf(
        shown, sizeof(shown),
        "{\"phase\":\"Running\",\"initContainerStatuses\":[{\"name\":\"first\",\"state\":{" SHOWN_TERMINATED(
            0) "}}],"
               "\"containerStatuses\":[{\"name\":\"a\",\"restartCount\":1,%s},{\"name\":\"b\",\"restartCount\":2,%s}]}",
        a, b);
    begin(w, shown);
    struct pod *pod = (struct pod *)w->pod->value;
    pod->spec.restart_policy = policy;
    pod_state_restore(&w->state, pod);
}

static void free_ends(struct world *w)
{
    for (size_t i = 0; i < 3; i++) {
        struct container_termination *ends[] = {&w->records[i].current, &w->records[i].last};
        for (size_t k = 0; k < 2; k++) {
            free(ends[k]->container_id);
            free(ends[k]->reason);
            free(ends[k]->message);
        }
    }
    end(w);
}

/* As upstream's runtimes still know after a reboot. */
static void after_a_reboot_what_had_succeeded_does_not_run_again(void **state)
{
    struct world w;
    (void)state;
    begin_anew(&w, "OnFailure", "\"state\":{" SHOWN_TERMINATED(0) "}",
               "\"state\":{\"running\":{\"startedAt\":\"2020-01-01T00:00:00Z\"}},\"containerID\":\"crun://02\"");
    pod_state_restore_lost(&w.state, w.pod->value, true, NOW);
    for (size_t i = 0; i < 3; i++)
        assert_true(w.containers[i].phase == CONTAINER_EXITED && w.containers[i].earlier);
    assert_true(container_should_restart(&w.state.seen, &w.containers[0]));
    assert_false(container_should_restart(&w.state.seen, &w.containers[1]));
    assert_true(container_should_restart(&w.state.seen, &w.containers[2]));
    assert_string_equal(pod_phase(&w.state.seen), "Running");
    status(&w);
    const struct container_status *shown = w.status.container_statuses.items;
    assert_string_equal(shown[0].state.terminated->reason, "Before");
    assert_int_equal(shown[0].restart_count, 1);
    assert_string_equal(shown[1].state.terminated->reason, "ContainerStatusUnknown");
    assert_string_equal(shown[1].state.terminated->container_id, "crun://02");
    assert_int_equal(shown[1].state.terminated->exit_code, 137);
    free_ends(&w);
}

static void after_a_reboot_a_pod_that_never_restarts_is_over(void **state)
{
    struct world w;
    (void)state;
    begin_anew(&w, "Never", "\"state\":{" SHOWN_TERMINATED(0) "}", "\"state\":{\"running\":{}}");
    pod_state_restore_lost(&w.state, w.pod->value, true, NOW);
    assert_true(pod_is_over(&w.state.seen));
    assert_string_equal(pod_phase(&w.state.seen), "Failed");
    free_ends(&w);
}

static void what_waited_for_its_next_run_had_ended_and_what_runs_is_left_alone(void **state)
{
    struct world w;
    (void)state;
    begin_anew(&w, "Always",
               "\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{" SHOWN_TERMINATED(3) "}",
               "\"state\":{" SHOWN_TERMINATED(0) "}");
    w.records[2].id = "03";
    w.containers[2].phase = CONTAINER_RUNNING;
    pod_state_restore_lost(&w.state, w.pod->value, false, NOW);
    assert_true(w.containers[1].phase == CONTAINER_EXITED && !w.containers[1].earlier);
    assert_int_equal(w.containers[1].exit_code, 3);
    assert_null(w.records[1].last.container_id);
    assert_int_equal(w.containers[2].phase, CONTAINER_RUNNING);
    free_ends(&w);
}

static void an_image_that_cannot_be_had_is_what_the_container_waits_for(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{}");
    ends(&w, 0, 0);
    w.containers[1].image = PART_FAILED;
    w.records[1].waiting_reason = "ImagePullBackOff";
    w.records[1].waiting_message = "Back-off pulling image \"i\"";
    runs(&w, 2);
    status(&w);
    const struct container_status *a = &w.status.container_statuses.items[0];
    assert_string_equal(a->state.waiting->reason, "ImagePullBackOff");
    assert_string_equal(a->image, "i");
    assert_string_equal(a->image_id, "");
    assert_null(a->container_id);
    assert_string_equal(w.status.phase, "Pending");
    end(&w);
}

static void a_pod_that_ended_says_how(void **state)
{
    static const struct {
        int a, b;
        const char *phase, *reason;
    } cases[] = {{0, 0, "Succeeded", "PodCompleted"}, {0, 3, "Failed", "PodFailed"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct world w;
        begin(&w, "{}");
        ((struct pod *)w.pod->value)->spec.restart_policy = "Never";
        ends(&w, 0, 0);
        ends(&w, 1, cases[i].a);
        ends(&w, 2, cases[i].b);
        status(&w);
        assert_string_equal(w.status.phase, cases[i].phase);
        assert_condition(&w, "Ready", "False", cases[i].reason);
        assert_condition(&w, "ContainersReady", "False", cases[i].reason);
        assert_int_equal(w.status.container_statuses.items[1].state.terminated->exit_code, cases[i].b);
        assert_null(w.status.container_statuses.items[1].state.waiting);
        end(&w);
    }
}

/* Ready goes at once, so that nobody is sent to it; that it has failed frees what it holds on the node. */
static void an_evicted_pod_has_failed_when_its_last_container_has_ended(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{\"phase\":\"Running\"}");
    ends(&w, 0, 0);
    runs(&w, 1);
    runs(&w, 2);
    w.state.seen.terminating = true;
    w.state.disruption = "for the node";
    w.state.reason = "Evicted";
    w.state.message = "too much";
    for (size_t i = 1; i < 3; i++) {
        const char *text = status(&w);
        assert_string_equal(w.status.phase, "Running");
        assert_null(w.status.reason);
        assert_null(w.status.message);
        assert_null(strstr(text, "DisruptionTarget"));
        assert_condition(&w, "Ready", "False", "PodFailed");
        assert_condition(&w, "ContainersReady", "False", "PodFailed");
        ends(&w, i, 143);
    }
    status(&w);
    assert_string_equal(w.status.phase, "Failed");
    assert_string_equal(w.status.reason, "Evicted");
    assert_string_equal(w.status.message, "too much");
    assert_condition(&w, "Ready", "False", "PodFailed");
    assert_condition(&w, "DisruptionTarget", "True", "TerminationByKubelet");
    assert_string_equal(condition(&w, "DisruptionTarget")->message, "for the node");
    end(&w);
}

/* One that is being made may run the next moment; a pod that waited for its init containers goes on doing so. */
/* An agent that has just started knows of a container before it knows how it ended. */
static void a_pod_that_is_over_stays_so(void **state)
{
    static const char *const phases[] = {"Succeeded", "Failed"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(phases); i++) {
        struct world w;
        char shown[64];
        snprintf(shown, sizeof(shown), "{\"phase\":\"%s\",\"reason\":\"Told\"}", phases[i]);
        begin(&w, shown);
        for (int running = 0; running < 2; running++) {
            status(&w);
            assert_string_equal(w.status.phase, phases[i]);
            assert_string_equal(w.status.reason, "Told");
            runs(&w, 1);
        }
        end(&w);
    }
}

static void a_container_that_starts_counts_as_one_that_runs(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{\"phase\":\"Pending\",\"reason\":\"Earlier\",\"message\":\"of before\"}");
    w.containers[0].phase = CONTAINER_STARTING;
    w.state.seen.terminating = true;
    w.state.reason = "DeadlineExceeded";
    status(&w);
    assert_string_equal(w.status.phase, "Pending");
    assert_string_equal(w.status.reason, "Earlier");
    assert_string_equal(w.status.message, "of before");
    assert_condition(&w, "Ready", "False", "PodFailed");
    w.containers[0].phase = CONTAINER_NONE;
    status(&w);
    assert_string_equal(w.status.phase, "Failed");
    assert_string_equal(w.status.reason, "DeadlineExceeded");
    assert_null(w.status.message);
    end(&w);
}

/* The end of an init container settles how the pod ends; its sidecars have still to go. */
static void a_pod_that_failed_waits_for_its_sidecars(void **state)
{
    struct world w;
    (void)state;
    begin(&w, "{\"phase\":\"Pending\"}");
    struct pod *pod = (struct pod *)w.pod->value;
    pod->spec.restart_policy = "Never";
    struct container sidecar = {.name = "beside", .image = "i", .restart_policy = "Always"};
    w.containers[1].spec = &sidecar; /* in the place of a container */
    w.containers[1].init = true;
    ends(&w, 0, 1);
    runs(&w, 1);
    status(&w);
    assert_string_equal(w.status.phase, "Pending");
    ends(&w, 1, 0);
    status(&w);
    assert_string_equal(w.status.phase, "Failed");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_pod_waits_for_its_init_containers),
        cmocka_unit_test(a_running_pod_is_ready_when_containers_and_gates_are),
        cmocka_unit_test(a_missing_gate_says_so),
        cmocka_unit_test(a_crash_loop_shows_its_delay_and_the_last_end),
        cmocka_unit_test(between_two_runs_the_last_end_or_the_backoff_is_shown),
        cmocka_unit_test(a_container_that_makes_way_for_a_new_image_waits),
        cmocka_unit_test(after_a_reboot_what_had_succeeded_does_not_run_again),
        cmocka_unit_test(after_a_reboot_a_pod_that_never_restarts_is_over),
        cmocka_unit_test(what_waited_for_its_next_run_had_ended_and_what_runs_is_left_alone),
        cmocka_unit_test(what_ended_for_good_is_shown_so_while_it_runs_once_more),
        cmocka_unit_test(an_image_that_cannot_be_had_is_what_the_container_waits_for),
        cmocka_unit_test(a_pod_that_ended_says_how),
        cmocka_unit_test(an_evicted_pod_has_failed_when_its_last_container_has_ended),
        cmocka_unit_test(a_pod_that_is_over_stays_so),
        cmocka_unit_test(a_container_that_starts_counts_as_one_that_runs),
        cmocka_unit_test(a_pod_that_failed_waits_for_its_sidecars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
