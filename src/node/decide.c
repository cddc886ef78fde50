/* The deciding half of the agent. Reads top to bottom as a pod's life: end it if it is to end; otherwise
 * volumes, sandbox, ephemeral containers, init containers one after the other, then all containers, each kept as its
 * restartPolicy says, and sidecars for as long as there are others. */
#include "node/decide.h"

#include "base/timestamp.h"

static void act(struct pod_decision *d, enum pod_action_kind kind, size_t container, int64_t grace)
{
    d->actions[d->count++] = (struct pod_action){kind, container, grace};
}

static void wake(struct pod_decision *d, int64_t at)
{
    if (at && (!d->wake_at || at < d->wake_at))
        d->wake_at = at;
}

static bool alive(const struct container_observation *c)
{
    return c->phase == CONTAINER_STARTING || c->phase == CONTAINER_RUNNING;
}

static bool has_post_start(const struct container_observation *c)
{
    return c->spec->lifecycle && c->spec->lifecycle->post_start;
}

static bool has_pre_stop(const struct container_observation *c)
{
    return c->spec->lifecycle && c->spec->lifecycle->pre_stop;
}

/* ---- The end ---- */

/* The next step of the end of a running container: preStop hook, stop signal once it is its turn, SIGKILL. `by` ends
 * its grace period; beyond that it has STOP_TIME_MIN from the signal. */
static void decide_stop(const struct pod_observation *o, size_t i, int64_t by, bool turn, int64_t now,
                        struct pod_decision *d)
{
    const struct container_observation *c = &o->containers[i];
    if (c->killed)
        return;
    if (c->signalled_at) {
        int64_t least = c->signalled_at + STOP_TIME_MIN;
        int64_t kill_at = by > least ? by : least;
        if (now >= kill_at)
            act(d, ACTION_KILL_CONTAINER, i, 0);
        else
            wake(d, kill_at);
        return;
    }
    bool hook = c->ending ? c->pre_stop == PART_BUSY : has_pre_stop(c);
    if (!c->ending)
        act(d, ACTION_PRE_STOP, i, by > now ? by - now : 0);
    if (now < by && (hook || !turn))
        wake(d, by);
    else
        act(d, ACTION_STOP_CONTAINER, i, 0);
}

/* Ends all that runs. Sidecars are signalled when the containers have ended, the last one first. */
static void decide_stop_all(const struct pod_observation *o, int64_t by, int64_t now, struct pod_decision *d)
{
    bool containers = false;
    size_t last = 0; /* the sidecar whose turn it is */
    for (size_t i = 0; i < o->container_count; i++) {
        if (!alive(&o->containers[i]))
            continue;
        if (container_is_sidecar(&o->containers[i]))
            last = i;
        else
            containers |= container_is_main(&o->containers[i]);
    }
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        bool turn = !container_is_sidecar(c) || (!containers && i == last);
        if (c->phase == CONTAINER_RUNNING) /* one that is starting is seen again when it has started */
            decide_stop(o, i, c->ending && c->stop_by < by ? c->stop_by : by, turn, now, d);
    }
}

static bool any_alive(const struct pod_observation *o)
{
    for (size_t i = 0; i < o->container_count; i++)
        if (alive(&o->containers[i]))
            return true;
    return false;
}

/* Something is being made that tearing down would take away under its maker. */
static bool parts_busy(const struct pod_observation *o)
{
    return o->volumes == PART_BUSY || o->volumes_updating || o->sandbox == PART_BUSY;
}

static void decide_end(const struct pod_observation *o, int64_t now, struct pod_decision *d)
{
    if (any_alive(o)) {
        /* Ordered drain: withdraw, confirm, drain, then preStop and signal; bounded by the grace period. */
        if (o->drain == PART_READY || now >= o->terminate_by) {
            decide_stop_all(o, o->terminate_by, now, d);
            return;
        }
        if (o->drain == PART_NONE)
            act(d, ACTION_DRAIN, 0, 0);
        wake(d, o->terminate_by);
        return;
    }
    if (parts_busy(o))
        return;
    if (!o->torn_down)
        act(d, ACTION_TEAR_DOWN, 0, 0);
    else if (o->pod->metadata.deletion_timestamp)
        act(d, ACTION_FINISH, 0, 0);
}

/* The pod has run to its end: sidecars end too, then all of it is taken down. Until the API has it, what the containers
 * have left is all that would tell another agent how they ended. */
static void decide_wind_down(const struct pod_observation *o, int64_t now, struct pod_decision *d)
{
    int64_t grace = 0;
    for (size_t i = 0; i < o->container_count; i++)
        if (alive(&o->containers[i]))
            grace = container_grace(o, &o->containers[i]);
    if (any_alive(o))
        decide_stop_all(o, now + grace, now, d);
    else if (!parts_busy(o) && !o->end_untold)
        act(d, ACTION_TEAR_DOWN, 0, 0);
}

/* ---- Containers ---- */

/* Image, then start unless another's hook holds it up, for one container that should run. Returns whether it is on
 * its way up. */
static bool decide_start(const struct pod_observation *o, size_t i, bool held, int64_t now, struct pod_decision *d)
{
    const struct container_observation *c = &o->containers[i];
    if (c->phase == CONTAINER_EXITED) {
        int64_t at = container_restart_at(c);
        if (now < at) {
            wake(d, at);
            return false;
        }
    }
    if (c->image == PART_NONE || (c->image == PART_FAILED && c->image_retry_at && now >= c->image_retry_at)) {
        act(d, ACTION_PULL_IMAGE, i, 0);
        return true;
    }
    if (c->image == PART_FAILED) {
        wake(d, c->image_retry_at);
        return false;
    }
    if (c->image == PART_READY && !held)
        act(d, ACTION_START_CONTAINER, i, 0);
    return true;
}

/* Returns whether later containers have to wait with their start: upstream starts them one after the other, each when
 * the postStart hook of the one before it is over. */
static bool decide_container(const struct pod_observation *o, size_t i, bool held, int64_t now, struct pod_decision *d)
{
    const struct container_observation *c = &o->containers[i];
    bool rising = c->phase == CONTAINER_STARTING || (c->phase == CONTAINER_RUNNING && c->post_start == PART_BUSY);
    if (c->phase == CONTAINER_NONE || (c->phase == CONTAINER_EXITED && container_should_restart(o, c)))
        rising = decide_start(o, i, held, now, d);
    else if (c->phase == CONTAINER_RUNNING && c->stop_cause)
        decide_stop(o, i, c->ending ? c->stop_by : now + container_grace(o, c), true, now, d);
    return rising && has_post_start(c);
}

/* The init containers, each when those before it have succeeded or, sidecars, started. Returns whether the containers
 * may follow; `held` as for decide_container. */
static bool decide_init(const struct pod_observation *o, bool *held, int64_t now, struct pod_decision *d)
{
    bool initialized = false;
    size_t reached = 0; /* the last init container that has had its turn: those before it are not waited for again */
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        bool begun = c->phase != CONTAINER_NONE && !c->earlier;
        initialized |= begun && container_is_main(c);
        if (begun && c->init)
            reached = i;
    }
    for (size_t i = 0; i < o->container_count && o->containers[i].init; i++) {
        const struct container_observation *c = &o->containers[i];
        bool passed = initialized || i < reached, sidecar = container_is_sidecar(c);
        if (sidecar || (!passed && !container_init_done(c)))
            *held |= decide_container(o, i, *held, now, d);
        bool up = sidecar ? container_is_up(c) && c->started : container_init_done(c);
        if (!passed && !up)
            return false;
    }
    return true;
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
    if (pod_is_over(o)) {
        decide_wind_down(o, now, d);
        return;
    }
    if (o->pod->spec.active_deadline_seconds.set) {
        int64_t deadline = o->start_time + duration_of_seconds(o->pod->spec.active_deadline_seconds.value);
        if (now >= deadline) {
            act(d, ACTION_EXCEED_DEADLINE, 0, 0);
            return;
        }
        wake(d, deadline);
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
    bool held = false;
    for (size_t i = 0; i < o->container_count; i++)
        if (o->containers[i].ephemeral)
            decide_container(o, i, false, now, d);
    if (!decide_init(o, &held, now, d))
        return;
    for (size_t i = 0; i < o->container_count; i++)
        if (container_is_main(&o->containers[i]))
            held |= decide_container(o, i, held, now, d);
}
