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
