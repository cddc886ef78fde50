/* When a container that has ended runs again: backoff, restart policies and restart rules. */
#include <string.h>

#include "api/pod_containers.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "node/decide.h"

void backoff_raise(struct backoff *backoff, int64_t now)
{
    if (!backoff->delay || now - backoff->updated > BACKOFF_RESET)
        backoff->delay = BACKOFF_FIRST;
    else
        backoff->delay = backoff->delay * 2 < BACKOFF_MAX ? backoff->delay * 2 : BACKOFF_MAX;
    backoff->updated = now;
}

int64_t container_restart_at(const struct container_observation *c)
{
    /* The first restart is immediate; each raises the delay of the one after it. */
    if (!c->restart.delay || c->finished_at - c->restart.updated > BACKOFF_RESET)
        return 0;
    return c->finished_at + c->restart.delay;
}

bool container_is_main(const struct container_observation *c)
{
    return !c->init && !c->ephemeral;
}

bool container_is_sidecar(const struct container_observation *c)
{
    return c->init && c->spec->restart_policy && strcmp(c->spec->restart_policy, "Always") == 0;
}

bool container_is_up(const struct container_observation *c)
{
    return c->phase == CONTAINER_RUNNING && c->post_start != PART_BUSY && c->post_start != PART_FAILED;
}

bool container_init_done(const struct container_observation *c)
{
    return c->init && c->phase == CONTAINER_EXITED && !c->earlier && !c->start_failed && c->exit_code == 0 &&
           !container_is_sidecar(c);
}

bool container_should_restart(const struct pod_observation *o, const struct container_observation *c)
{
    const struct pod_spec *spec = &o->pod->spec;
    const char *policy = c->spec->restart_policy ? c->spec->restart_policy : spec->restart_policy;
    if (container_is_sidecar(c) || c->start_failed || (c->init && c->earlier))
        return true;
    if (c->ephemeral || container_init_done(c))
        return false;
    if (c->stop_cause == STOP_CHANGED || c->stop_cause == STOP_RESIZED)
        return true;
    /* One that a probe has condemned counts as failed, however it took it. */
    bool condemned = c->stop_cause == STOP_LIVENESS || c->stop_cause == STOP_STARTUP;
    return (condemned && text_equal(policy, "OnFailure")) || api_container_should_restart(c->spec, spec, c->exit_code);
}

int64_t container_grace(const struct pod_observation *o, const struct container_observation *c)
{
    const struct pod_spec *spec = &o->pod->spec;
    const struct probe *probe = c->stop_cause == STOP_LIVENESS  ? c->spec->liveness_probe
                                : c->stop_cause == STOP_STARTUP ? c->spec->startup_probe
                                                                : NULL;
    if (probe && probe->termination_grace_period_seconds.set)
        return duration_of_seconds(probe->termination_grace_period_seconds.value);
    return duration_of_seconds(spec->termination_grace_period_seconds.set ? spec->termination_grace_period_seconds.value
                                                                          : 30);
}
