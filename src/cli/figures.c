/* What /metrics shows of the control plane beside the API, under upstream's names. */
#include "cli/figures.h"

static void write_queue(void *context, const char *queue, size_t waiting)
{
    buffer_printf(context, "workqueue_depth{name=\"%s\"} %zu\n", queue, waiting);
}

void figures_write(const struct control *control, const struct scheduler *scheduler, struct buffer *out)
{
    struct scheduler_pending pending;
    if (control) {
        buffer_add_string(out, "# HELP workqueue_depth Keys that wait for a controller.\n"
                               "# TYPE workqueue_depth gauge\n");
        control_queues(control, write_queue, out);
    }
    if (!scheduler)
        return;
    scheduler_count(scheduler, &pending);
    buffer_printf(out,
                  "# HELP scheduler_pending_pods Pods without a node, by the queue that they are in.\n"
                  "# TYPE scheduler_pending_pods gauge\n"
                  "scheduler_pending_pods{queue=\"active\"} %zu\n"
                  "scheduler_pending_pods{queue=\"backoff\"} %zu\n"
                  "scheduler_pending_pods{queue=\"gated\"} %zu\n"
                  "scheduler_pending_pods{queue=\"unschedulable\"} %zu\n",
                  pending.active, pending.backoff, pending.gated, pending.unschedulable);
}
