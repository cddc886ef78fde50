/* The table of controllers. */
#include "control/control.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "control/controller.h"

static const struct controller_kind *const kinds[] = {
    &deployment_controller, &replica_set_controller,     &endpoint_slice_controller,   &endpoints_controller,
    &namespace_controller,  &service_account_controller, &garbage_collector,           &volume_binder,
    &claim_protection,      &volume_protection,          &ephemeral_volume_controller, &job_controller,
    &job_orphan_controller, &job_ttl_controller,         &cron_job_controller,         &pod_garbage_collector,
    &endpoint_slice_mirroring_controller, &load_balancer_controller,
    &node_lifecycle_controller,
    &taint_eviction_controller, &root_ca_publisher, &cluster_role_aggregation,
};

struct control {
    struct control_options options;
    struct controller controllers[ARRAY_COUNT(kinds)];
};

struct control *control_new(struct client *client, struct informer_set *informers,
                            const struct control_options *options)
{
    struct control *control = mem_zero(1, sizeof(*control));
    if (options)
        control->options = *options;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct controller *c = &control->controllers[i];
        c->options = &control->options;
        c->client = client;
        c->env = client->env;
        c->informers = informers;
        c->recorder = recorder_new(client, kinds[i]->name, NULL);
        c->queue = queue_new(client, informers, kinds[i]->reconcile, c);
        kinds[i]->start(c);
    }
    return control;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct controller *c = &control->controllers[i];
        queue_free(c->queue);
        recorder_free(c->recorder);
        if (kinds[i]->stop)
            kinds[i]->stop(c);
    }
    free(control);
}

size_t control_depth(const struct control *control)
{
    size_t depth = 0;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        depth += queue_depth(control->controllers[i].queue);
    return depth;
}

void control_queues(const struct control *control, void (*tell)(void *context, const char *queue, size_t waiting),
                    void *context)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        tell(context, kinds[i]->queue, queue_waiting(control->controllers[i].queue));
}
