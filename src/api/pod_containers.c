#include "api/pod_containers.h"

#include "base/text.h"

struct container api_ephemeral_common(const struct ephemeral_container *e)
{
    return (struct container){.args = e->args,
                              .command = e->command,
                              .env = e->env,
                              .env_from = e->env_from,
                              .image = e->image,
                              .image_pull_policy = e->image_pull_policy,
                              .lifecycle = e->lifecycle,
                              .liveness_probe = e->liveness_probe,
                              .name = e->name,
                              .ports = e->ports,
                              .readiness_probe = e->readiness_probe,
                              .resize_policy = e->resize_policy,
                              .resources = e->resources,
                              .restart_policy = e->restart_policy,
                              .restart_policy_rules = e->restart_policy_rules,
                              .security_context = e->security_context,
                              .startup_probe = e->startup_probe,
                              .stdin = e->stdin,
                              .stdin_once = e->stdin_once,
                              .termination_message_path = e->termination_message_path,
                              .termination_message_policy = e->termination_message_policy,
                              .tty = e->tty,
                              .volume_devices = e->volume_devices,
                              .volume_mounts = e->volume_mounts,
                              .working_dir = e->working_dir};
}

bool api_is_sidecar(const struct container *init_container)
{
    return text_equal(init_container->restart_policy, "Always");
}

const struct container *api_next_serving(const struct pod_spec *spec, size_t *position)
{
    while (*position < spec->containers.count + spec->init_containers.count) {
        size_t i = (*position)++;
        if (i < spec->containers.count)
            return &spec->containers.items[i];
        const struct container *init = &spec->init_containers.items[i - spec->containers.count];
        if (api_is_sidecar(init))
            return init;
    }
    return NULL;
}

static bool rule_restarts(const struct container *c, int exit_code)
{
    for (size_t i = 0; i < c->restart_policy_rules.count; i++) {
        const struct container_restart_rule *rule = &c->restart_policy_rules.items[i];
        const struct container_restart_rule_on_exit_codes *codes = rule->exit_codes;
        bool named = false;
        for (size_t k = 0; codes && k < codes->values.count; k++)
            named |= codes->values.items[k] == exit_code;
        if (codes && text_equal(rule->action, "Restart") && named == text_equal(codes->operator, "In"))
            return true;
    }
    return false;
}

bool api_container_should_restart(const struct container *c, const struct pod_spec *spec, int exit_code)
{
    const char *policy = c->restart_policy ? c->restart_policy : spec->restart_policy;
    if (c->restart_policy && rule_restarts(c, exit_code))
        return true;
    return text_empty(policy) || text_equal(policy, "Always") || (text_equal(policy, "OnFailure") && exit_code != 0);
}
