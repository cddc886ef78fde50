/* Admission of volumes and claims, as upstream's plugins StorageObjectInUseProtection, DefaultStorageClass and
 * PersistentVolumeClaimResize do it. */
#include <string.h>

#include "api/quantity.h"
#include "api/storage.h"
#include "registry/private.h"

static void add_finalizer(struct task *task, struct object_meta *meta, const char *name)
{
    struct string_array *finalizers = &meta->finalizers;
    for (size_t i = 0; i < finalizers->count; i++)
        if (strcmp(finalizers->items[i], name) == 0)
            return;
    finalizers->items =
        arena_array_grow(task->arena, finalizers->items, finalizers->count, 1, sizeof(*finalizers->items));
    finalizers->items[finalizers->count++] = name;
}

/* The newest class that calls itself the default; by name among those of one age. */
struct default_class {
    const struct object_meta *meta;
};

static bool look_at_class(void *context, struct object *object)
{
    struct default_class *best = context;
    const struct object_meta *meta = object->meta;
    if (storage_class_is_default(object->value) &&
        (!best->meta || meta->creation_timestamp > best->meta->creation_timestamp ||
         (meta->creation_timestamp == best->meta->creation_timestamp && strcmp(meta->name, best->meta->name) < 0)))
        best->meta = meta;
    return true;
}

static void set_default_class(struct task *task, struct persistent_volume_claim *claim)
{
    struct default_class best = {0};
    if (claim->spec.storage_class_name || string_map_get(&claim->metadata.annotations, STORAGE_CLASS_BETA))
        return;
    store_list(task->registry->store, &api_resources[API_STORAGECLASSES], NULL, NULL, NULL, look_at_class, &best);
    if (best.meta)
        claim->spec.storage_class_name = arena_string(task->arena, best.meta->name);
}

void storage_admit_create(struct task *task, void *value)
{
    if (task->resource->index == API_PERSISTENTVOLUMES) {
        add_finalizer(task, api_meta(task->resource, value), STORAGE_VOLUME_FINALIZER);
    } else if (task->resource->index == API_PERSISTENTVOLUMECLAIMS) {
        add_finalizer(task, api_meta(task->resource, value), STORAGE_CLAIM_FINALIZER);
        set_default_class(task, value);
    }
}

struct status *storage_admit_update(struct task *task, const struct persistent_volume_claim *claim)
{
    const struct persistent_volume_claim *old = task->old->value;
    if (quantity_compare(string_map_get(&claim->spec.resources.requests, "storage"),
                         string_map_get(&old->spec.resources.requests, "storage")) <= 0)
        return NULL;
    if (!text_equal(old->status.phase, "Bound"))
        return api_status_forbidden(task->arena, task->resource, claim->metadata.name,
                                    "only bound persistent volume claims can be expanded");
    const char *name = storage_claim_class(claim);
    struct object *object = !*name ? NULL
                                   : store_get(task->registry->store, &api_resources[API_STORAGECLASSES], NULL, name);
    const struct storage_class *class = object ? object->value : NULL;
    if (class && class->allow_volume_expansion.set && class->allow_volume_expansion.value)
        return NULL;
    return api_status_forbidden(task->arena, task->resource, claim->metadata.name,
                                "only dynamically provisioned pvc can be resized and the storageclass that "
                                "provisions the pvc must support resize");
}
