/* Admission that needs the store: NamespaceLifecycle (upstream's plugin of that name). The plugins that look at
 * the object alone are in api/admission.h. */
#include <string.h>

#include "api/admission.h"
#include "base/cleanup.h"
#include "registry/private.h"

/* Namespaces that a cluster cannot be without. */
static const char *const immortal[] = {"default", "kube-system", "kube-public"};

static struct status *terminating(struct task *task, const char *name, const char *namespace)
{
    struct status *status = api_status_forbidden(
        task->arena, task->resource, name,
        arena_printf(task->arena, "unable to create new content in namespace %s because it is being terminated",
                     namespace));
    struct status_cause *cause = arena_alloc(task->arena, sizeof(*cause));
    *cause = (struct status_cause){
        .reason = "NamespaceTerminating",
        .message = arena_printf(task->arena, "namespace %s is being terminated", namespace),
        .field = "metadata.namespace",
    };
    status->details->causes.items = cause;
    status->details->causes.count = 1;
    return status;
}

static struct status *admit_namespaced(struct task *task, const struct object_meta *meta)
{
    const struct api_resource *namespaces = &api_resources[API_NAMESPACES];
    const struct store *store = task->registry->store;
    /* It must be there for certain, and must not be on its way out. */
    const struct object *head = store_head(store, namespaces, NULL, meta->namespace);
    if (!head || !store_get(store, namespaces, NULL, meta->namespace))
        return api_status_not_found(task->arena, namespaces, meta->namespace);
    return head->meta->deletion_timestamp ? terminating(task, meta->name, meta->namespace) : NULL;
}

struct status *registry_admit_create(struct task *task, void *value)
{
    const struct object_meta *meta = api_meta(task->resource, value);
    struct status *refused = NULL;
    if (task->resource->namespaced && !text_empty(meta->namespace))
        refused = admit_namespaced(task, meta);
    if (!refused)
        refused = api_admit_create(task->arena, task->resource, value);
    if (!refused)
        refused = priority_admit_create(task, value);
    if (!refused)
        storage_admit_create(task, value);
    if (!refused)
        networking_admit_create(task, value);
    if (!refused)
        refused = escalation_admit(task, value, NULL);
    if (!refused && task->resource->index == API_PODS)
        refused = service_account_admit_create(task, value);
    return refused;
}

struct status *registry_admit_update(struct task *task, const void *value)
{
    struct status *refused = escalation_admit(task, value, task->old->value);
    if (refused)
        return refused;
    return task->resource->index == API_PERSISTENTVOLUMECLAIMS ? storage_admit_update(task, value)
                                                               : priority_admit_update(task, value);
}

struct status *registry_admit_delete(struct task *task, const char *name)
{
    if (task->resource->index != API_NAMESPACES)
        return priority_admit_delete(task, name);
    for (size_t i = 0; i < ARRAY_COUNT(immortal); i++)
        if (strcmp(name, immortal[i]) == 0)
            return api_status_forbidden(task->arena, task->resource, name, "this namespace may not be deleted");
    return NULL;
}
