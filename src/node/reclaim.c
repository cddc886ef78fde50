#include "node/reclaim.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/vector.h"
#include "node/image_gc.h"
#include "node/runtime/log.h"
#include "node/worker.h"

struct reclaim {
    struct agent *agent;
    VECTOR(char *) logs; /* directories */
    env_callback done;
    void *context;
};

static void remove_logs(void *context)
{
    struct reclaim *r = context;
    struct error err;
    for (size_t i = 0; i < r->logs.count; i++)
        if (file_remove_tree(r->logs.items[i], &err) < 0)
            log_warning("Cannot remove the logs of an ended pod: %s", err.text);
}

static void logs_removed(void *context)
{
    struct reclaim *r = context;
    struct agent *agent = r->agent;
    agent->removals--;
    image_gc_remove_unused(agent->image_gc, r->done, r->context);
    for (size_t i = 0; i < r->logs.count; i++)
        free(r->logs.items[i]);
    vector_free(&r->logs);
    free(r);
    agent_settled(agent);
}

void reclaim_disk(struct agent *agent, env_callback done, void *context)
{
    struct reclaim *r = mem_zero(1, sizeof(*r));
    r->agent = agent;
    r->done = done;
    r->context = context;
    for (struct map_slot *s = NULL; (s = map_next(&agent->workers, s));) {
        const struct worker *w = s->value;
        const struct object_meta *meta = w->state.pod->meta;
        if (w->state.seen.torn_down)
            vector_push(&r->logs, runtime_pod_log_directory(agent->runtime, meta->namespace, meta->name, meta->uid));
    }
    agent->removals++;
    task_run(agent->env, remove_logs, logs_removed, r);
}
