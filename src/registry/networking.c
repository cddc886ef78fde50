/* Admission of ingresses, as upstream's plugin DefaultIngressClass does it. */
#include "registry/private.h"

#define CLASS_ANNOTATION "kubernetes.io/ingress.class"
#define DEFAULT_CLASS_ANNOTATION "ingressclass.kubernetes.io/is-default-class"

struct default_class {
    const char *name;
    size_t count;
};

static bool look_at_class(void *context, struct object *object)
{
    struct default_class *found = context;
    if (!text_equal(string_map_get(&object->meta->annotations, DEFAULT_CLASS_ANNOTATION), "true"))
        return true;
    found->name = object->meta->name;
    found->count++;
    return true;
}

struct status *networking_admit_create(struct task *task, void *value)
{
    struct ingress *ingress = value;
    struct default_class found = {0};
    if (task->resource->index != API_INGRESSES || ingress->spec.ingress_class_name ||
        string_map_get(&ingress->metadata.annotations, CLASS_ANNOTATION))
        return NULL;
    store_list(task->registry->store, &api_resources[API_INGRESSCLASSES], NULL, NULL, NULL, look_at_class, &found);
    if (found.count > 1)
        return api_status_forbidden(
            task->arena, task->resource, ingress->metadata.name,
            arena_printf(task->arena, "Internal error occurred: %zu default IngressClasses were found, only 1 allowed",
                         found.count));
    if (found.count)
        ingress->spec.ingress_class_name = arena_string(task->arena, found.name);
    return NULL;
}
