/* Admission that needs the store: NamespaceLifecycle (upstream's plugin of that name). The plugins that look at
 * the object alone are in api/admission.h. */
#include <string.h>

#include "api/admission.h"
#include "api/json.h"
#include "api/static_pod.h"
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

/* What the mirror of a static pod may not hold. */
static const char *why_no_mirror(const struct pod_spec *spec)
{
    bool secrets = spec->image_pull_secrets.count > 0;
    for (size_t i = 0; i < spec->volumes.count; i++) {
        const struct projected_volume_source *projected = spec->volumes.items[i].projected;
        secrets |= spec->volumes.items[i].secret != NULL;
        for (size_t k = 0; projected && k < projected->sources.count; k++)
            if (projected->sources.items[k].service_account_token)
                return "a mirror pod may not use ServiceAccountToken volume projections";
    }
    return !text_empty(spec->service_account_name) ? "a mirror pod may not reference service accounts"
           : secrets                               ? "a mirror pod may not reference secrets"
                                                   : NULL;
}

static void copy_pull_secrets(struct arena *arena, const struct service_account *account, struct pod_spec *spec)
{
    const struct local_object_reference_array *secrets = &account->image_pull_secrets;
    spec->image_pull_secrets.items = arena_alloc(arena, (secrets->count + 1) * sizeof(*secrets->items));
    spec->image_pull_secrets.count = secrets->count;
    for (size_t i = 0; i < secrets->count; i++)
        spec->image_pull_secrets.items[i].name = arena_string(arena, secrets->items[i].name);
}

/* Upstream's ServiceAccount plugin: the account that a pod names must be there, and its secrets for pulling images are
 * the pod's unless it names others. "default" is taken on trust: every namespace gets it, if a moment after its first
 * pod. */
static struct status *admit_service_account(struct task *task, struct pod *pod)
{
    const char *name = pod->spec.service_account_name, *namespace = pod->metadata.namespace;
    if (string_map_get(&pod->metadata.annotations, POD_MIRROR_ANNOTATION)) {
        const char *why = why_no_mirror(&pod->spec);
        return why ? api_status_forbidden(task->arena, task->resource, pod->metadata.name, why) : NULL;
    }
    const struct object *object =
        text_empty(name)
            ? NULL
            : store_get(task->registry->store, &api_resources[API_SERVICEACCOUNTS], namespace, name);
    if (!object && !text_empty(name) && strcmp(name, "default") != 0)
        return api_status_forbidden(task->arena, task->resource, pod->metadata.name,
                                    arena_printf(task->arena,
                                                 "error looking up service account %s/%s: serviceaccount \"%s\" not "
                                                 "found",
                                                 namespace, name, name));
    const struct service_account *account = object ? object->value : NULL;
    if (account && !pod->spec.image_pull_secrets.count)
        copy_pull_secrets(task->arena, account, &pod->spec);
    return NULL;
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
        refused = networking_admit_create(task, value);
    if (!refused && task->resource->index == API_PODS)
        refused = admit_service_account(task, value);
    return refused;
}

struct status *registry_admit_update(struct task *task, const void *value)
{
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
