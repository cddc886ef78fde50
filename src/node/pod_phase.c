/* What the containers of a pod add up to. */
#include "node/decide.h"

/* What a container counts as in the sum. */
enum standing { WAITING, RUNNING, RESTARTING, SUCCEEDED, FAILED, STANDINGS };

static enum standing standing_of(const struct pod_observation *o, const struct container_observation *c)
{
    /* Nothing of such a pod will run again, whatever restartPolicy says. */
    bool final = o->terminating && o->torn_down;
    if (container_is_up(c))
        return RUNNING;
    if (c->phase == CONTAINER_EXITED && !c->start_failed && (final || !container_should_restart(o, c)))
        return c->exit_code == 0 ? SUCCEEDED : FAILED;
    if (final)
        return FAILED; /* it never ran */
    return c->ran || (c->phase == CONTAINER_EXITED && !c->start_failed) ? RESTARTING : WAITING;
}

bool pod_is_initialized(const struct pod_observation *o)
{
    for (size_t i = 0; i < o->container_count; i++)
        if (container_is_main(&o->containers[i]) && o->containers[i].phase != CONTAINER_NONE)
            return true;
    return false;
}

bool pod_is_over(const struct pod_observation *o)
{
    bool initialized = pod_is_initialized(o);
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        bool ended = c->phase == CONTAINER_EXITED && !container_should_restart(o, c);
        if (c->ephemeral || container_is_sidecar(c) || (c->init && (initialized || container_init_done(c))))
            continue;
        if (!ended || c->init)
            return ended; /* an init container that failed for good is the end */
    }
    return true;
}

const char *pod_phase(const struct pod_observation *o)
{
    size_t sum[STANDINGS] = {0};
    bool initialized = pod_is_initialized(o), pending = false;
    for (size_t i = 0; i < o->container_count; i++) {
        const struct container_observation *c = &o->containers[i];
        enum standing standing = standing_of(o, c);
        if (c->ephemeral) {
            continue;
        } else if (container_is_sidecar(c)) {
            /* Sidecars count while they run; how they end does not matter. */
            pending |= standing == WAITING || (standing == RUNNING && !c->started);
            sum[RUNNING] += standing == RUNNING;
        } else if (!c->init) {
            sum[standing]++;
        } else if (!initialized && !container_init_done(c)) {
            if (standing == FAILED)
                return "Failed";
            pending = true;
        }
    }
    if (sum[WAITING] || (pending && !initialized))
        return "Pending";
    if (sum[RUNNING] || sum[RESTARTING])
        return "Running";
    return sum[FAILED] ? "Failed" : "Succeeded";
}
