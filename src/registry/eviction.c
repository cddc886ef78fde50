/* Eviction: a pod is told why it has to leave, and is deleted as any other; upstream's pods/eviction. */
#include "api/pod_condition.h"
#include "base/timestamp.h"
#include "registry/private.h"

static bool wants_dry_run(const struct delete_options *options)
{
    for (size_t i = 0; i < options->dry_run.count; i++)
        if (text_equal(options->dry_run.items[i], "All"))
            return true;
    return false;
}

/* One that does not run any more, or has not begun, is not disrupted, as upstream sees it. */
static bool is_disrupted(const struct pod *pod)
{
    return !pod_has_ended(pod) && !text_equal(pod->status.phase, "Pending") && !pod->metadata.deletion_timestamp;
}

static void say_why(struct task *task, struct pod *pod)
{
    struct pod_condition *condition = registry_pod_condition(task, pod, "DisruptionTarget");
    bool was = text_equal(condition->status, "True");
    *condition = (struct pod_condition){
        .type = "DisruptionTarget",
        .status = "True",
        .reason = "EvictionByEvictionAPI",
        .message = "Eviction API: evicting",
        .observed_generation = pod->metadata.generation,
        .last_transition_time = was ? condition->last_transition_time : env_now(task->registry->env) / SECOND * SECOND,
    };
}

void registry_evict(struct task *task)
{
    const struct eviction *eviction = task->request->body;
    struct client_request *request = task->request;
    if (!text_equal(eviction->metadata.name, request->name)) {
        registry_answer_status(
            task, api_status_bad_request(task->arena, "name in URL does not match name in Eviction object"));
        return;
    }
    if (eviction->delete_options) {
        request->delete_options = eviction->delete_options;
        request->dry_run |= wants_dry_run(eviction->delete_options);
    }
    task->evicts = true;
    task->code = 201;
    if (!registry_begin_delete(task))
        return;
    struct pod *pod = object_copy(task->arena, task->old);
    if (is_disrupted(pod))
        say_why(task, pod);
    registry_delete_value(task, pod);
}
