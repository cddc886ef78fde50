/* Admission of ingresses, as upstream's plugin DefaultIngressClass does it. */
#include <string.h>

#include "api/well_known.h"
#include "registry/private.h"

#define DEFAULT_CLASS_ANNOTATION "ingressclass.kubernetes.io/is-default-class"

/* The newest class that calls itself the default; by name among those of one age. */
static bool look_at_class(void *context, struct object *object)
{
    const struct object_meta **best = context, *meta = object->meta;
    if (text_equal(string_map_get(&meta->annotations, DEFAULT_CLASS_ANNOTATION), "true") &&
        (!*best || meta->creation_timestamp > (*best)->creation_timestamp ||
         (meta->creation_timestamp == (*best)->creation_timestamp && strcmp(meta->name, (*best)->name) < 0)))
        *best = meta;
    return true;
}

void networking_admit_create(struct task *task, void *value)
{
    struct ingress *ingress = value;
    const struct object_meta *best = NULL;
    if (task->resource->index != API_INGRESSES || ingress->spec.ingress_class_name ||
        string_map_get(&ingress->metadata.annotations, INGRESS_CLASS_ANNOTATION))
        return;
    store_list(task->registry->store, &api_resources[API_INGRESSCLASSES], NULL, NULL, NULL, look_at_class, &best);
    if (best)
        ingress->spec.ingress_class_name = arena_string(task->arena, best->name);
}
