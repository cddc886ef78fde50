/* When a container that has ended runs again: backoff, restart policies and restart rules. */
#include <string.h>

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
    return c->init && c->phase == CONTAINER_EXITED && !c->start_failed && c->exit_code == 0 && !container_is_sidecar(c);
}

/* Whether one of the container's own rules says that this exit code is to be followed by a restart. */
static bool rule_restarts(const struct container *spec, int exit_code)
{
    for (size_t i = 0; i < spec->restart_policy_rules.count; i++) {
        const struct container_restart_rule *rule = &spec->restart_policy_rules.items[i];
        const struct container_restart_rule_on_exit_codes *codes = rule->exit_codes;
        bool named = false;
        for (size_t k = 0; codes && k < codes->values.count; k++)
            named |= codes->values.items[k] == exit_code;
        if (codes && rule->action && strcmp(rule->action, "Restart") == 0 &&
            named == (strcmp(codes->operator, "In") == 0))
            return true;
    }
    return false;
}

bool container_should_restart(const struct pod_observation *o, const struct container_observation *c)
{
    const char *own = c->spec->restart_policy, *of_pod = o->pod->spec.restart_policy;
    const char *policy = own ? own : of_pod ? of_pod : "Always";
    if (container_is_sidecar(c) || c->start_failed)
        return true;
    if (c->ephemeral || container_init_done(c))
        return false;
    if (c->stop_cause == STOP_CHANGED || c->stop_cause == STOP_RESIZED || strcmp(policy, "Always") == 0 || (own && rule_restarts(c->spec, c->exit_code)))
        return true;
    /* One that a probe has condemned counts as failed, however it took it. */
    bool condemned = c->stop_cause == STOP_LIVENESS || c->stop_cause == STOP_STARTUP;
    return strcmp(policy, "OnFailure") == 0 && (c->exit_code != 0 || condemned);
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
