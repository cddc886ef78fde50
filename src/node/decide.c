/* The deciding half of the agent. Reads top to bottom as a pod's life: end it if it is to end; otherwise
 * volumes, sandbox, init containers one after the other, then all containers, each kept as its restartPolicy
 * says. */
#include "node/decide.h"

#include <string.h>

void backoff_raise(struct backoff *backoff, int64_t now)
{
    if (!backoff->delay || now - backoff->updated > BACKOFF_RESET)
        backoff->delay = BACKOFF_FIRST;
    else
        backoff->delay = backoff->delay * 2 < BACKOFF_MAX ? backoff->delay * 2 : BACKOFF_MAX;
    backoff->updated = now;
}

static void act(struct pod_decision *d, enum pod_action_kind kind, size_t container, int64_t grace)
{
    d->actions[d->count++] = (struct pod_action){kind, container, grace};
}

static void wake(struct pod_decision *d, int64_t at)
{
    if (at && (!d->wake_at || at < d->wake_at))
        d->wake_at = at;
}

static bool policy_is(const struct pod_observation *o, const char *policy)
{
    const char *own = o->pod->spec.restart_policy;
    return strcmp(own ? own : "Always", policy) == 0;
}

bool container_should_restart(const struct pod_observation *o, const struct container_observation *c)
{
    if (c->init) {
        /* An init container runs until it succeeds once; with restartPolicy Never its failure is the pod's. */
        if (c->phase == CONTAINER_EXITED && c->exit_code == 0 && !c->start_failed)
            return false;
        return c->start_failed || !policy_is(o, "Never");
    }
    if (c->start_failed || policy_is(o, "Always"))
        return true;
    if (policy_is(o, "Never"))
        return false;
    return c->exit_code != 0;
}

int64_t container_restart_at(const struct container_observation *c)
{
    /* The first restart is immediate; each raises the delay of the one after it. */
    if (!c->restart.delay || c->finished_at - c->restart.updated > BACKOFF_RESET)
        return 0;
    return c->finished_at + c->restart.delay;
}

static bool over(const struct container_observation *c)
{
    return c->phase == CONTAINER_NONE || c->phase == CONTAINER_EXITED;
}

static bool init_done(const struct container_observation *c)
{
    return c->phase == CONTAINER_EXITED && !c->start_failed && c->exit_code == 0;
}

/* True once no container of the pod will run again. */
static bool finished(const struct pod_observation *o)
{
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        if (c->init) {
            if (!init_done(c))
                return c->phase == CONTAINER_EXITED && !container_should_restart(o, c);
        } else if (c->phase != CONTAINER_EXITED || container_should_restart(o, c)) {
            return false;
        }
    }
    return true;
}

const char *pod_phase(const struct pod_observation *o)
{
    size_t running = 0, succeeded = 0, failed = 0, waiting = 0, total = 0;
    bool ended = o->terminating && o->torn_down; /* nothing of it will run again, whatever restartPolicy says */
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        if (c->init) {
            if (init_done(c))
                continue;
            if (ended || (c->phase == CONTAINER_EXITED && !container_should_restart(o, c)))
                return "Failed";
            return "Pending";
        }
        total++;
        if (c->phase == CONTAINER_RUNNING)
            running++;
        else if (c->phase == CONTAINER_EXITED && !c->start_failed && (ended || !container_should_restart(o, c)))
            *(c->exit_code == 0 ? &succeeded : &failed) += 1;
        else if (ended)
            failed++; /* it never ran */
        else if (c->phase == CONTAINER_EXITED && !c->start_failed)
            running++; /* between two runs: a pod in CrashLoopBackOff is Running */
        else if (c->restart.delay)
            running++; /* starting again */
        else
            waiting++;
    }
    if (waiting)
        return "Pending";
    if (running)
        return "Running";
    if (failed)
        return "Failed";
    return succeeded == total ? "Succeeded" : "Running";
}

/* Something is being made that tearing down would take away under its maker. */
static bool parts_busy(const struct pod_observation *o)
{
    return o->volumes == PART_BUSY || o->volumes_updating || o->sandbox == PART_BUSY;
}

static void decide_end(const struct pod_observation *o, int64_t now, struct pod_decision *d)
{
    bool alive = false;
    for (size_t i = 0; i < o->container_count; i++)
        alive |= !over(&o->containers[i]);
    /* Ordered drain: withdraw, confirm, drain, then signal; bounded by the grace period. */
    if (alive && o->drain != PART_READY && now < o->terminate_by) {
        if (o->drain == PART_NONE)
            act(d, ACTION_DRAIN, 0, 0);
        wake(d, o->terminate_by);
        return;
    }
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        int64_t kill_at = c->stopping && c->kill_at < o->terminate_by ? c->kill_at : o->terminate_by;
        if (c->phase != CONTAINER_RUNNING)
            continue; /* one that is starting is seen again when it has started */
        if (now >= kill_at) {
            if (!c->killed)
                act(d, ACTION_KILL_CONTAINER, i, 0);
        } else {
            if (!c->stopping)
                act(d, ACTION_STOP_CONTAINER, i, kill_at - now);
            wake(d, kill_at);
        }
    }
    if (alive || parts_busy(o))
        return;
    if (!o->torn_down)
        act(d, ACTION_TEAR_DOWN, 0, 0);
    else if (o->pod->metadata.deletion_timestamp)
        act(d, ACTION_FINISH, 0, 0);
}

/* Image, then start, for one container that should run. */
static void decide_start(const struct pod_observation *o, size_t i, int64_t now, struct pod_decision *d)
{
    const struct container_observation *c = &o->containers[i];
    if (c->phase == CONTAINER_EXITED) {
        int64_t at = container_restart_at(c);
        if (now < at) {
            wake(d, at);
            return;
        }
    }
    if (c->image == PART_NONE || (c->image == PART_FAILED && c->image_retry_at && now >= c->image_retry_at))
        act(d, ACTION_PULL_IMAGE, i, 0);
    else if (c->image == PART_FAILED)
        wake(d, c->image_retry_at);
    else if (c->image == PART_READY)
        act(d, ACTION_START_CONTAINER, i, 0);
}

static void decide_container(const struct pod_observation *o, size_t i, int64_t now, struct pod_decision *d)
{
    const struct container_observation *c = &o->containers[i];
    int64_t grace = o->pod->spec.termination_grace_period_seconds.set
                        ? o->pod->spec.termination_grace_period_seconds.value * 1000000
                        : 30 * INT64_C(1000000);
    switch (c->phase) {
    case CONTAINER_NONE:
        decide_start(o, i, now, d);
        break;
    case CONTAINER_STARTING:
        break;
    case CONTAINER_RUNNING:
        if (c->stopping && now >= c->kill_at && !c->killed)
            act(d, ACTION_KILL_CONTAINER, i, 0);
        else if (c->stopping)
            wake(d, c->kill_at);
        else if (c->must_restart)
            act(d, ACTION_STOP_CONTAINER, i, grace);
        break;
    case CONTAINER_EXITED:
        if (container_should_restart(o, c))
            decide_start(o, i, now, d);
        break;
    }
}

void pod_decide(const struct pod_observation *o, int64_t now, struct pod_decision *d)
{
    d->count = 0;
    d->wake_at = 0;
    if (o->terminating) {
        decide_end(o, now, d);
        return;
    }
    if (o->torn_down)
        return;
    if (finished(o)) {
        if (!parts_busy(o))
            act(d, ACTION_TEAR_DOWN, 0, 0);
        return;
    }
    if (o->volumes != PART_READY) {
        if (o->volumes == PART_NONE || (o->volumes == PART_FAILED && now >= o->volumes_retry_at))
            act(d, ACTION_MOUNT_VOLUMES, 0, 0);
        else if (o->volumes == PART_FAILED)
            wake(d, o->volumes_retry_at);
        return;
    }
    if (o->sandbox != PART_READY) {
        if (o->sandbox == PART_NONE || (o->sandbox == PART_FAILED && now >= o->sandbox_retry_at))
            act(d, ACTION_CREATE_SANDBOX, 0, 0);
        else if (o->sandbox == PART_FAILED)
            wake(d, o->sandbox_retry_at);
        return;
    }
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        if (c->init && init_done(c))
            continue;
        decide_container(o, i, now, d);
        if (c->init)
            return; /* the next waits for this one */
    }
}
