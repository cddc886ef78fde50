/* Random pods live random lives: what pod_decide asks for is carried out with random results and delays, and its
 * promises are checked at every step. One seed is one exact life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/decide.h"

#define SECOND INT64_C(1000000)
#define BEGIN (1000 * SECOND)
#define CONTAINERS_MAX 6
#define SEEDS 3000
/* Decisions at one instant, and in one life, beyond which it is a busy loop. */
#define INSTANT_MAX 40
#define LIFE_MAX 20000
/* After the end of the grace period: signals, kills and tearing down, each at most some seconds here. */
#define END_MAX (60 * SECOND)

/* A container's part of the world: what is under way, and when it is over (0: nothing). */
struct fate {
    int64_t image_at, start_at, exit_at, startup_at, hook_at, condemned_at;
    bool deaf; /* SIGTERM does not end it */
    bool done; /* an init container that has succeeded, or a sidecar that was up */
};

struct world {
    uint64_t seed, state;
    int64_t now;
    struct pod pod;
    struct container specs[CONTAINERS_MAX];
    struct lifecycle lifecycles[CONTAINERS_MAX];
    struct probe probes[CONTAINERS_MAX];
    struct container_observation containers[CONTAINERS_MAX];
    struct fate fates[CONTAINERS_MAX];
    struct pod_observation seen;
    int64_t volumes_at, sandbox_at, drain_at, tear_down_at, delete_at, told_at;
    bool finished;
    struct pod_action actions[POD_ACTIONS_PER_CONTAINER * CONTAINERS_MAX + POD_ACTIONS_EXTRA];
    struct pod_decision decision;
};

static const struct lifecycle_handler nap;

static uint32_t roll(struct world *w, uint32_t sides)
{
    w->state = w->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->state >> 33) % sides;
}

static bool chance(struct world *w, uint32_t percent)
{
    return roll(w, 100) < percent;
}

/* Some time from now; sometimes at once. */
static int64_t soon(struct world *w, uint32_t seconds)
{
    return w->now + (chance(w, 30) ? 1 : (int64_t)roll(w, seconds * 1000) * 1000 + 1);
}

static void broken(const struct world *w, size_t i, const char *promise)
{
    fail_msg("seed %llu, at %.3f s, container %zu: %s", (unsigned long long)w->seed,
             (double)(w->now - BEGIN) / (double)SECOND, i, promise);
}

static void make_world(struct world *w, uint64_t seed)
{
    static const char *const policies[] = {"Always", "OnFailure", "Never"};
    *w = (struct world){.seed = seed, .state = seed * 7919 + 17, .now = BEGIN};
    size_t inits = roll(w, 4), count = inits + 1 + roll(w, 3);
    w->pod.spec.restart_policy = policies[roll(w, 3)];
    w->pod.spec.termination_grace_period_seconds = opt_int64(roll(w, 12));
    if (chance(w, 15))
        w->pod.spec.active_deadline_seconds = opt_int64(1 + roll(w, 60));
    for (size_t i = 0; i < count; i++) {
        struct container *spec = &w->specs[i];
        if (i < inits ? chance(w, 50) : chance(w, 15))
            spec->restart_policy = i < inits ? "Always" : policies[roll(w, 3)];
        if ((i >= inits || spec->restart_policy) && chance(w, 40)) {
            spec->lifecycle = &w->lifecycles[i];
            w->lifecycles[i].post_start = chance(w, 50) ? (struct lifecycle_handler *)&nap : NULL;
            w->lifecycles[i].pre_stop = chance(w, 50) ? (struct lifecycle_handler *)&nap : NULL;
        }
        if ((i >= inits || spec->restart_policy) && chance(w, 30))
            spec->startup_probe = &w->probes[i];
        w->containers[i] = (struct container_observation){.spec = spec, .init = i < inits};
        w->fates[i].deaf = chance(w, 15);
    }
    w->seen = (struct pod_observation){
        .pod = &w->pod, .containers = w->containers, .container_count = count, .start_time = BEGIN, .end_untold = true};
    w->delete_at = BEGIN + (int64_t)roll(w, 400) * SECOND + 1;
    w->decision.actions = w->actions;
}

/* ---- Promises ---- */

static bool is_alive(const struct container_observation *c)
{
    return c->phase == CONTAINER_STARTING || c->phase == CONTAINER_RUNNING;
}

static void check_start(const struct world *w, size_t i)
{
    const struct container_observation *c = &w->containers[i];
    if (w->seen.terminating || w->seen.torn_down)
        broken(w, i, "nothing is started in a pod that ends");
    if (is_alive(c))
        broken(w, i, "nothing is started twice");
    if (w->seen.volumes != PART_READY || w->seen.sandbox != PART_READY || c->image != PART_READY)
        broken(w, i, "nothing is started before its volumes, sandbox and image are there");
    for (size_t k = 0; k < i; k++) {
        const struct container_observation *before = &w->containers[k];
        if (before->init && !w->fates[k].done)
            broken(w, i, "nothing is started before the init containers ahead of it are done");
        if (before->phase == CONTAINER_RUNNING && before->post_start == PART_BUSY)
            broken(w, i, "nothing is started during the postStart hook of one ahead of it");
    }
    if (c->init && !container_is_sidecar(c) && w->fates[i].done)
        broken(w, i, "an init container that has succeeded never runs again");
    if (c->phase == CONTAINER_EXITED && w->now < container_restart_at(c))
        broken(w, i, "restarts wait for their backoff");
}

static void check_stop(const struct world *w, size_t i)
{
    const struct container_observation *c = &w->containers[i];
    int64_t by = c->stop_by;
    if (w->seen.terminating && w->seen.terminate_by < by)
        by = w->seen.terminate_by;
    if (c->phase != CONTAINER_RUNNING || c->signalled_at)
        broken(w, i, "what runs is signalled once");
    if (!c->ending || (c->pre_stop == PART_BUSY && w->now < by))
        broken(w, i, "the signal follows the preStop hook");
    if (w->seen.terminating && w->seen.drain != PART_READY && w->now < w->seen.terminate_by)
        broken(w, i, "the signal follows the drain");
    if (!container_is_sidecar(c) || c->stop_cause || w->now >= by)
        return;
    for (size_t k = 0; k < w->seen.container_count; k++) {
        const struct container_observation *other = &w->containers[k];
        if (k > i && is_alive(other) && (!other->init || container_is_sidecar(other)))
            broken(w, i, "sidecars are signalled last, in reverse order");
    }
    if (!w->seen.terminating && !pod_is_over(&w->seen))
        broken(w, i, "sidecars are kept while there are containers");
}

static void check_kill(const struct world *w, size_t i)
{
    const struct container_observation *c = &w->containers[i];
    int64_t by = c->stop_by;
    if (w->seen.terminating && w->seen.terminate_by < by)
        by = w->seen.terminate_by;
    if (!c->signalled_at || c->killed || w->now < by || w->now < c->signalled_at + STOP_TIME_MIN)
        broken(w, i, "SIGKILL comes once, after the grace period and 2 s from the signal");
}

/* ---- What actions do ---- */

static void exits(struct world *w, size_t i, int code)
{
    struct container_observation *c = &w->containers[i];
    c->phase = CONTAINER_EXITED;
    c->ran = true;
    c->started = c->ending = c->killed = c->start_failed = false;
    c->signalled_at = 0;
    c->pre_stop = c->post_start = PART_NONE;
    c->exit_code = code;
    c->finished_at = w->now;
    c->image = PART_NONE;
    w->fates[i] = (struct fate){.deaf = w->fates[i].deaf, .done = w->fates[i].done || container_init_done(c)};
}

static void carry_out(struct world *w, const struct pod_action *a)
{
    size_t i = a->container;
    struct container_observation *c = &w->containers[i];
    struct fate *f = &w->fates[i];
    switch (a->kind) {
    case ACTION_MOUNT_VOLUMES:
        w->seen.volumes = PART_BUSY;
        w->volumes_at = soon(w, 3);
        break;
    case ACTION_CREATE_SANDBOX:
        w->seen.sandbox = PART_BUSY;
        w->sandbox_at = soon(w, 3);
        break;
    case ACTION_PULL_IMAGE:
        if (c->image == PART_BUSY || c->image == PART_READY)
            broken(w, i, "images are asked for once");
        c->image = PART_BUSY;
        f->image_at = soon(w, 5);
        break;
    case ACTION_START_CONTAINER:
        check_start(w, i);
        if (c->phase == CONTAINER_EXITED)
            backoff_raise(&c->restart, w->now);
        c->phase = CONTAINER_STARTING;
        c->start_failed = false;
        c->stop_cause = STOP_NONE;
        f->start_at = soon(w, 2);
        break;
    case ACTION_PRE_STOP:
        if (c->ending || c->phase != CONTAINER_RUNNING)
            broken(w, i, "an end is announced once");
        c->ending = true;
        c->stop_by = w->now + a->grace;
        c->post_start = c->post_start == PART_BUSY ? PART_NONE : c->post_start;
        c->pre_stop = PART_READY;
        f->hook_at = 0;
        if (c->spec->lifecycle && c->spec->lifecycle->pre_stop && a->grace > 0) {
            c->pre_stop = PART_BUSY;
            f->hook_at = chance(w, 80) ? soon(w, 5) : 0;
        }
        break;
    case ACTION_STOP_CONTAINER:
        check_stop(w, i);
        c->signalled_at = w->now;
        c->pre_stop = PART_READY;
        if (!f->deaf)
            f->exit_at = soon(w, 4);
        break;
    case ACTION_KILL_CONTAINER:
        check_kill(w, i);
        c->killed = true;
        f->exit_at = w->now + 1000;
        break;
    case ACTION_EXCEED_DEADLINE:
        if (w->now < BEGIN + w->pod.spec.active_deadline_seconds.value * SECOND)
            broken(w, i, "deadlines are not early");
        w->seen.terminating = true;
        w->seen.terminate_by = w->now + w->pod.spec.termination_grace_period_seconds.value * SECOND;
        break;
    case ACTION_DRAIN:
        w->seen.drain = PART_BUSY;
        w->drain_at = chance(w, 80) ? soon(w, 3) : 0;
        break;
    case ACTION_TEAR_DOWN:
        for (size_t k = 0; k < w->seen.container_count; k++)
            if (is_alive(&w->containers[k]))
                broken(w, k, "what is torn down has ended");
        if (w->seen.end_untold && !w->seen.terminating)
            broken(w, 0, "what tells how a pod ended stays until it has been told");
        w->seen.sandbox = PART_BUSY;
        w->seen.volumes = PART_NONE;
        w->tear_down_at = soon(w, 2);
        break;
    case ACTION_FINISH:
        w->finished = true;
        break;
    }
}

/* ---- What happens by itself ---- */

static bool due(const struct world *w, int64_t *at)
{
    if (!*at || *at > w->now)
        return false;
    *at = 0;
    return true;
}

static void start_ends(struct world *w, size_t i)
{
    struct container_observation *c = &w->containers[i];
    struct fate *f = &w->fates[i];
    if (chance(w, 5)) {
        c->phase = CONTAINER_EXITED;
        c->start_failed = true;
        c->exit_code = 128;
        c->finished_at = w->now;
        return;
    }
    c->phase = CONTAINER_RUNNING;
    c->started = !c->spec->startup_probe;
    if (!c->started && chance(w, 70))
        f->startup_at = soon(w, 5);
    else if (chance(w, 20))
        f->condemned_at = soon(w, 60);
    if (c->spec->lifecycle && c->spec->lifecycle->post_start) {
        c->post_start = PART_BUSY;
        f->hook_at = soon(w, 5);
    }
    f->exit_at = chance(w, c->init && !container_is_sidecar(c) ? 95 : 50) ? soon(w, 40) : 0;
    f->done |= container_is_sidecar(c) && container_is_up(c) && c->started;
}

static void hook_ends(struct world *w, size_t i)
{
    struct container_observation *c = &w->containers[i];
    if (c->ending) {
        c->pre_stop = PART_READY;
    } else if (chance(w, 20)) {
        c->post_start = PART_FAILED;
        c->stop_cause = STOP_POST_START;
    } else {
        c->post_start = PART_READY;
    }
}

static void happen_to(struct world *w, size_t i)
{
    struct container_observation *c = &w->containers[i];
    struct fate *f = &w->fates[i];
    if (due(w, &f->image_at)) {
        bool there = chance(w, 85);
        c->image = there ? PART_READY : PART_FAILED;
        c->image_retry_at = there ? 0 : w->now + 5 * SECOND;
    }
    if (due(w, &f->start_at))
        start_ends(w, i);
    if (due(w, &f->startup_at))
        c->started = true;
    if (due(w, &f->hook_at))
        hook_ends(w, i);
    if (due(w, &f->condemned_at) && c->phase == CONTAINER_RUNNING && !c->ending && !c->stop_cause)
        c->stop_cause = c->started ? STOP_LIVENESS : STOP_STARTUP;
    if (due(w, &f->exit_at))
        exits(w, i, chance(w, 60) ? 0 : 1);
    f->done |= container_is_sidecar(c) && container_is_up(c) && c->started;
}

static void happen(struct world *w)
{
    if (due(w, &w->volumes_at)) {
        w->seen.volumes = chance(w, 80) ? PART_READY : PART_FAILED;
        w->seen.volumes_retry_at = w->now + SECOND;
    }
    if (due(w, &w->sandbox_at)) {
        w->seen.sandbox = chance(w, 80) ? PART_READY : PART_FAILED;
        w->seen.sandbox_retry_at = w->now + SECOND;
    }
    if (due(w, &w->drain_at))
        w->seen.drain = PART_READY;
    if (due(w, &w->tear_down_at)) {
        w->seen.sandbox = PART_NONE;
        w->seen.torn_down = true;
    }
    if (due(w, &w->told_at))
        w->seen.end_untold = false;
    if (due(w, &w->delete_at)) {
        w->pod.metadata.deletion_timestamp = w->now;
        int64_t by = w->now + w->pod.spec.termination_grace_period_seconds.value * SECOND;
        if (!w->seen.terminating || by < w->seen.terminate_by)
            w->seen.terminate_by = by;
        w->seen.terminating = true;
    }
    for (size_t i = 0; i < w->seen.container_count; i++)
        happen_to(w, i);
}

static void sooner(int64_t *next, int64_t at)
{
    if (at && (!*next || at < *next))
        *next = at;
}

static int64_t next_event(const struct world *w)
{
    int64_t next = w->decision.wake_at;
    sooner(&next, w->volumes_at);
    sooner(&next, w->sandbox_at);
    sooner(&next, w->drain_at);
    sooner(&next, w->tear_down_at);
    sooner(&next, w->delete_at);
    sooner(&next, w->told_at);
    for (size_t i = 0; i < w->seen.container_count; i++) {
        const struct fate *f = &w->fates[i];
        sooner(&next, f->image_at);
        sooner(&next, f->start_at);
        sooner(&next, f->exit_at);
        sooner(&next, f->startup_at);
        sooner(&next, f->hook_at);
        sooner(&next, f->condemned_at);
    }
    return next;
}

static void live(struct world *w)
{
    for (int decisions = 0, instant = 0; !w->finished; decisions++) {
        int64_t deleted = w->pod.metadata.deletion_timestamp;
        if (decisions > LIFE_MAX || instant++ > INSTANT_MAX)
            broken(w, 0, "nobody decides in a busy loop");
        if (deleted && w->now > deleted + 12 * SECOND + END_MAX)
            broken(w, 0, "every deleted pod ends");
        pod_decide(&w->seen, w->now, &w->decision);
        if (w->decision.count > ARRAY_COUNT(w->actions))
            broken(w, 0, "decisions have room");
        for (size_t i = 0; i < w->decision.count; i++)
            carry_out(w, &w->actions[i]);
        if (w->decision.count)
            continue;
        if (w->decision.wake_at && w->decision.wake_at <= w->now)
            broken(w, 0, "what is due is decided, not waited for");
        bool failed = w->seen.volumes == PART_FAILED || w->seen.sandbox == PART_FAILED;
        if (failed && !w->decision.wake_at && !w->seen.terminating && !w->seen.torn_down)
            broken(w, 0, "what failed is tried again");
        if (pod_is_over(&w->seen) && w->seen.end_untold && !w->told_at)
            w->told_at = soon(w, 3);
        int64_t next = next_event(w);
        if (!next)
            broken(w, 0, "there is always something to wait for");
        w->now = next;
        instant = 0;
        happen(w);
    }
}

static void random_pods_live_as_promised(void **state)
{
    const char *only = getenv("SEED");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1, last = only ? first : SEEDS;
    (void)state;
    for (uint64_t seed = first; seed <= last; seed++) {
        struct world w;
        make_world(&w, seed);
        live(&w);
        const char *phase = pod_phase(&w.seen);
        assert_true(strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_pods_live_as_promised)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
