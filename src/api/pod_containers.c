#include "api/pod_containers.h"

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
