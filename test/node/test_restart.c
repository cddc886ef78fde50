/* When containers run again, and what a pod is called meanwhile: tables of upstream's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/decide.h"

#define SECOND INT64_C(1000000)

static struct container_restart_rule rules(const char *operator, int32_t *codes, size_t count,
                                           struct container_restart_rule_on_exit_codes *out)
{
    *out = (struct container_restart_rule_on_exit_codes){.operator = operator, .values = {codes, count}};
    return (struct container_restart_rule){.action = "Restart", .exit_codes = out};
}

static void a_container_runs_again_by_its_policy_and_rules_or_the_pods(void **state)
{
    static const struct {
        const char *pod, *own, *operator; /* of one rule about 42 and 43 */
        bool init;
        int code;
        enum stop_cause cause;
        bool start_failed, again;
    } cases[] = {
        {.pod = "Always", .code = 0, .again = true},
        {.pod = "OnFailure", .code = 0},
        {.pod = "OnFailure", .code = 1, .again = true},
        {.pod = "Never", .code = 1},
        /* What has never run is tried again. */
        {.pod = "Never", .code = 128, .start_failed = true, .again = true},
        /* A container's own policy goes before the pod's. */
        {.pod = "Never", .own = "Always", .code = 0, .again = true},
        {.pod = "Never", .own = "OnFailure", .code = 1, .again = true},
        {.pod = "Always", .own = "Never", .code = 1},
        {.pod = "Always", .own = "OnFailure", .code = 0},
        /* A rule restarts what the policy would not. */
        {.pod = "Never", .own = "Never", .operator = "In", .code = 42, .again = true},
        {.pod = "Never", .own = "Never", .operator = "In", .code = 43, .again = true},
        {.pod = "Never", .own = "Never", .operator = "In", .code = 44},
        {.pod = "Never", .own = "Never", .operator = "NotIn", .code = 42},
        {.pod = "Never", .own = "Never", .operator = "NotIn", .code = 44, .again = true},
        /* Init containers succeed once; sidecars never do. */
        {.pod = "Always", .init = true, .code = 0},
        {.pod = "Always", .init = true, .code = 1, .again = true},
        {.pod = "OnFailure", .init = true, .code = 1, .again = true},
        {.pod = "Never", .init = true, .code = 1},
        {.pod = "Always", .own = "Never", .init = true, .code = 1},
        {.pod = "Never", .own = "OnFailure", .init = true, .code = 1, .again = true},
        {.pod = "Never", .own = "Always", .init = true, .code = 0, .again = true},
        /* Condemned by a probe is failed, however it went; of another image is always made again. */
        {.pod = "OnFailure", .code = 0, .cause = STOP_LIVENESS, .again = true},
        {.pod = "OnFailure", .code = 0, .cause = STOP_STARTUP, .again = true},
        {.pod = "Never", .code = 1, .cause = STOP_LIVENESS},
        {.pod = "Never", .code = 1, .cause = STOP_POST_START},
        {.pod = "Never", .code = 0, .cause = STOP_CHANGED, .again = true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int32_t codes[] = {42, 43};
        struct container_restart_rule_on_exit_codes on;
        struct container_restart_rule rule = rules(cases[i].operator, codes, 2, &on);
        struct pod pod = {.spec.restart_policy = cases[i].pod};
        struct container spec = {.restart_policy = cases[i].own};
        if (cases[i].operator)
            spec.restart_policy_rules = (struct container_restart_rule_array){&rule, 1};
        struct pod_observation seen = {.pod = &pod};
        struct container_observation c = {.spec = &spec,
                                          .init = cases[i].init,
                                          .phase = CONTAINER_EXITED,
                                          .exit_code = cases[i].code,
                                          .stop_cause = cases[i].cause,
                                          .start_failed = cases[i].start_failed};
        if (container_should_restart(&seen, &c) != cases[i].again)
            fail_msg("case %zu", i);
    }
}

static void a_probe_has_its_own_grace_period(void **state)
{
    struct probe quick = {.termination_grace_period_seconds = opt_int64(3)}, plain = {0};
    static const struct {
        enum stop_cause cause;
        bool liveness, startup;
        int seconds;
    } cases[] = {
        {STOP_NONE, true, true, 30},     {STOP_LIVENESS, true, false, 3}, {STOP_LIVENESS, false, true, 30},
        {STOP_STARTUP, false, true, 3},  {STOP_STARTUP, true, false, 30}, {STOP_CHANGED, true, true, 30},
        {STOP_POST_START, true, true, 30},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct pod pod = {0};
        struct container spec = {.liveness_probe = cases[i].liveness ? &quick : &plain,
                                 .startup_probe = cases[i].startup ? &quick : &plain};
        struct pod_observation seen = {.pod = &pod};
        struct container_observation c = {.spec = &spec, .stop_cause = cases[i].cause};
        assert_int_equal(container_grace(&seen, &c), cases[i].seconds * SECOND);
    }
}

/* How one container stands, by a letter:
 *   . not there   s starting   S starting after a run   h running, its postStart hook too   r running, not started
 *   R running     o succeeded  x failed                 e could not be started */
static struct container_observation standing(char letter, const struct container *spec, bool init)
{
    struct container_observation c = {.spec = spec, .init = init, .started = letter == 'R'};
    c.phase = letter == '.'            ? CONTAINER_NONE
              : strchr("sS", letter)   ? CONTAINER_STARTING
              : strchr("hrR", letter)  ? CONTAINER_RUNNING
                                       : CONTAINER_EXITED;
    c.post_start = letter == 'h' ? PART_BUSY : PART_NONE;
    c.ran = letter == 'S';
    c.start_failed = letter == 'e';
    c.exit_code = strchr("xe", letter) ? 1 : 0;
    return c;
}

static void the_phase_is_what_upstream_calls_it(void **state)
{
    static const struct {
        const char *policy;
        const char *containers; /* an init container, a sidecar and two containers; ' ': not in the spec */
        const char *phase;
        bool over;
    } cases[] = {
        {"Always", "  ..", "Pending", false},
        {"Always", "  ss", "Pending", false},
        {"Always", "  R.", "Pending", false},
        {"Always", "  Rh", "Pending", false},
        {"Always", "  Re", "Pending", false},
        {"Always", "  RR", "Running", false},
        {"Always", "  Rx", "Running", false},
        {"Always", "  xx", "Running", false},
        {"Always", "  RS", "Running", false},
        {"Never", "  Rx", "Running", false},
        {"Never", "  oo", "Succeeded", true},
        {"Never", "  ox", "Failed", true},
        {"Never", "  oe", "Pending", false},
        {"OnFailure", "  ox", "Running", false},
        {"OnFailure", "  oo", "Succeeded", true},
        /* Initialization. */
        {"Always", "r ..", "Pending", false},
        {"Always", "x ..", "Pending", false},
        {"Always", "S ..", "Pending", false},
        {"Never", "x ..", "Failed", true},
        {"Always", "o RR", "Running", false},
        /* Sidecars. */
        {"Always", " r..", "Pending", false},
        {"Always", " R..", "Pending", false},
        {"Always", " RRR", "Running", false},
        {"Always", " xRR", "Running", false},
        {"Always", " SRR", "Running", false},
        {"Always", " rRR", "Running", false},
        {"Never", "xR..", "Failed", true},
        {"Never", "oRoo", "Running", true}, /* until the sidecar has ended, too */
        {"Never", "oooo", "Succeeded", true},
        {"Never", "oxoo", "Succeeded", true},
        {"Never", "oxox", "Failed", true},
    };
    static const struct container plain = {0}, sidecar = {.restart_policy = "Always"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct pod pod = {.spec.restart_policy = cases[i].policy};
        struct container_observation containers[4];
        struct pod_observation seen = {.pod = &pod, .containers = containers};
        for (size_t k = 0; k < 4; k++)
            if (cases[i].containers[k] != ' ')
                containers[seen.container_count++] =
                    standing(cases[i].containers[k], k == 1 ? &sidecar : &plain, k < 2);
        const char *phase = pod_phase(&seen);
        if (strcmp(phase, cases[i].phase) != 0 || pod_is_over(&seen) != cases[i].over)
            fail_msg("%s with \"%s\" is %s, %sover", cases[i].policy, cases[i].containers, phase,
                     pod_is_over(&seen) ? "" : "not ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_runs_again_by_its_policy_and_rules_or_the_pods),
        cmocka_unit_test(a_probe_has_its_own_grace_period),
        cmocka_unit_test(the_phase_is_what_upstream_calls_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
