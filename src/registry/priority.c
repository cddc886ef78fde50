/* Admission of priorities, as upstream's plugin Priority does it: a pod gets the priority of its class, and at most one
 * class is the default. */
#include <string.h>

#include "api/admission.h"
#include "registry/private.h"

static bool look_at(void *context, struct object *object)
{
    const struct priority_class **best = context, *class = object->value;
    if (class->global_default && (!*best || class->value < (*best)->value))
        *best = class;
    return true;
}

/* The class that calls itself the default; should there be several, the lowest. NULL: none does. */
static const struct priority_class *default_class(struct task *task)
{
    const struct priority_class *best = NULL;
    store_list(task->registry->store, &api_resources[API_PRIORITYCLASSES], NULL, NULL, NULL, look_at, &best);
    return best;
}

static struct status *admit_pod(struct task *task, struct pod *pod)
{
    const char *name = pod->spec.priority_class_name;
    if (text_empty(name))
        return api_admit_priority(task->arena, pod, default_class(task));
    const struct object *object = store_get(task->registry->store, &api_resources[API_PRIORITYCLASSES], NULL, name);
    const struct priority_class *class = object ? object->value : api_system_priority_class(name);
    if (!class)
        return api_status_forbidden(task->arena, task->resource, pod->metadata.name,
                                    arena_printf(task->arena, "no PriorityClass with name %s was found", name));
    return api_admit_priority(task->arena, pod, class);
}

static struct status *admit_class(struct task *task, const struct priority_class *class)
{
    const struct priority_class *other = class->global_default ? default_class(task) : NULL;
    if (!other || text_equal(other->metadata.name, class->metadata.name))
        return NULL;
    return api_status_forbidden(
        task->arena, task->resource, class->metadata.name,
        arena_printf(task->arena, "PriorityClass %s is already marked as default. Only one default can exist",
                     other->metadata.name));
}

struct status *priority_admit_create(struct task *task, void *value)
{
    if (task->resource->index == API_PODS)
        return admit_pod(task, value);
    return task->resource->index == API_PRIORITYCLASSES ? admit_class(task, value) : NULL;
}

struct status *priority_admit_update(struct task *task, const void *value)
{
    return task->resource->index == API_PRIORITYCLASSES ? admit_class(task, value) : NULL;
}

struct status *priority_admit_delete(struct task *task, const char *name)
{
    if (task->resource->index != API_PRIORITYCLASSES || !api_system_priority_class(name))
        return NULL;
    return api_status_forbidden(task->arena, task->resource, name,
                                "this is a system priority class and cannot be deleted");
}
