/* The subresources that have objects of their own: binding (of a pod to a node) and scale. status and finalize
 * are ways of updating and live in update.c. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"

/* Binding: upstream's assignPod. */

static const struct api_resource pods_binding = {.group = "", .kind = "Binding", .plural = "pods/binding"};

struct pod_condition *registry_pod_condition(struct task *task, struct pod *pod, const char *type)
{
    pod->status.nominated_node_name = NULL;
    struct pod_condition_array *conditions = &pod->status.conditions;
    size_t i = 0;
    while (i < conditions->count && !text_equal(conditions->items[i].type, type))
        i++;
    if (i == conditions->count) {
        conditions->items = arena_array_grow(task->arena, conditions->items, i, 1, sizeof(*conditions->items));
        conditions->items[conditions->count++] = (struct pod_condition){.type = type};
    }
    return &conditions->items[i];
}

static void set_scheduled(struct task *task, struct pod *pod)
{
    struct pod_condition *condition = registry_pod_condition(task, pod, "PodScheduled");
    if (text_equal(condition->status, "True"))
        return;
    *condition = (struct pod_condition){
        .type = "PodScheduled",
        .status = "True",
        .observed_generation = pod->metadata.generation,
        .last_transition_time = env_now(task->registry->env) / SECOND * SECOND,
    };
}

static void merge_map(struct arena *arena, struct string_map *into, const struct string_map *from)
{
    struct string_map merged = {arena_alloc(arena, (into->count + from->count) * sizeof(*into->items)), 0};
    for (size_t i = 0, k = 0; i < into->count || k < from->count;) {
        int order = i == into->count ? 1 : k == from->count ? -1 : strcmp(into->items[i].key, from->items[k].key);
        merged.items[merged.count++] = order < 0 ? into->items[i] : from->items[k];
        if (order <= 0)
            i++;
        if (order >= 0)
            k++;
    }
    *into = merged;
}

static const char *why_not_bound(struct task *task, const struct pod *pod, const struct binding *binding)
{
    const struct object_meta *meta = &pod->metadata;
    if (!text_empty(binding->metadata.uid) && !text_equal(binding->metadata.uid, meta->uid))
        return arena_printf(task->arena, "Precondition failed: UID in precondition: %s, UID in object meta: %s",
                            binding->metadata.uid, meta->uid);
    if (meta->deletion_timestamp)
        return arena_printf(task->arena, "pod %s is being deleted, cannot be assigned to a host", meta->name);
    if (!text_empty(pod->spec.node_name))
        return arena_printf(task->arena, "pod %s is already assigned to node \"%s\"", meta->name, pod->spec.node_name);
    if (pod->spec.scheduling_gates.count)
        return arena_printf(task->arena, "pod %s has non-empty .spec.schedulingGates", meta->name);
    return NULL;
}

void registry_bind(struct task *task)
{
    const struct binding *binding = task->request->body;
    const char *name = task->request->name;
    struct status *refused = NULL;
    struct api_field_errors errors = {.arena = task->arena};
    api_validate_binding(binding, &errors);
    if (!text_empty(binding->metadata.name) && !text_equal(binding->metadata.name, name))
        refused = api_status_bad_request(task->arena, "name in URL does not match name in Binding object");
    else if (errors.count)
        refused = api_status_invalid(task->arena, &(struct api_resource){.group = "", .kind = "Binding", .plural = ""},
                                     name, &errors);
    else if (text_empty(name))
        refused = api_status_bad_request(task->arena, "Name parameter required.");
    if (!refused) {
        task->old = registry_head(task, task->request->namespace, name);
        const char *why = task->old ? why_not_bound(task, task->old->value, binding) : NULL;
        refused = !task->old ? api_status_not_found(task->arena, task->resource, name)
                  : why      ? api_status_conflict(task->arena, &pods_binding, name, why)
                             : NULL;
    }
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    const struct object *old = task->old;
    assert(old);
    struct pod *pod = object_copy(task->arena, old);
    pod->spec.node_name = binding->target.name;
    merge_map(task->arena, &pod->metadata.annotations, &binding->metadata.annotations);
    merge_map(task->arena, &pod->metadata.labels, &binding->metadata.labels);
    set_scheduled(task, pod);
    task->code = 201;
    task->answer_status = true;
    registry_put(task, pod, old->revision);
}

/* Scale. */

struct scale *registry_scale_of(struct arena *arena, const struct object *object)
{
    struct scale *scale = arena_alloc(arena, sizeof(*scale));
    const struct object_meta *meta = object->meta;
    scale->kind = "Scale";
    scale->api_version = "autoscaling/v1";
    scale->metadata = (struct object_meta){
        .name = meta->name,
        .namespace = meta->namespace,
        .uid = meta->uid,
        .resource_version = meta->resource_version,
        .creation_timestamp = meta->creation_timestamp,
    };
    const struct label_selector *from;
    if (object->resource->index == API_DEPLOYMENTS) {
        const struct deployment *deployment = object->value;
        scale->spec.replicas = deployment->spec.replicas.value;
        scale->status.replicas = deployment->status.replicas;
        from = deployment->spec.selector;
    } else {
        const struct replica_set *set = object->value;
        scale->spec.replicas = set->spec.replicas.value;
        scale->status.replicas = set->status.replicas;
        from = set->spec.selector;
    }
    const struct selector *selector;
    if (selector_from_label_selector(arena, from, &selector, NULL) == 0)
        scale->status.selector = selector_text(arena, selector);
    return scale;
}

static bool find_scalable(struct task *task)
{
    task->old = registry_head(task, task->request->namespace, task->request->name);
    if (!task->old)
        registry_answer_status(task, api_status_not_found(task->arena, task->resource, task->request->name));
    return task->old != NULL;
}

void registry_get_scale(struct task *task)
{
    struct object *object =
        store_get(task->registry->store, task->stored, task->request->namespace, task->request->name);
    if (object)
        registry_answer_scale(task, 200, object);
    else
        registry_answer_status(task, api_status_not_found(task->arena, task->resource, task->request->name));
}

void registry_apply_scale(struct task *task, const struct scale *scale)
{
    static const struct api_resource kind = {.group = "autoscaling", .kind = "Scale", .plural = ""};
    struct api_field_errors errors = {.arena = task->arena};
    api_validate_scale(scale, &errors);
    if (errors.count) {
        registry_answer_status(task, api_status_invalid(task->arena, &kind, task->request->name, &errors));
        return;
    }
    /* The object itself with another number of replicas: from here on an update like any other. */
    void *value = object_copy(task->arena, task->old);
    struct object_meta *meta = api_meta(task->resource, value);
    meta->resource_version = scale->metadata.resource_version;
    meta->uid = scale->metadata.uid;
    struct opt_int32 replicas = opt_int32(scale->spec.replicas);
    if (task->resource->index == API_DEPLOYMENTS)
        ((struct deployment *)value)->spec.replicas = replicas;
    else
        ((struct replica_set *)value)->spec.replicas = replicas;
    task->answer_scale = true;
    registry_replace(task, value);
}

void registry_update_scale(struct task *task)
{
    struct scale *scale = task->request->body;
    if (text_empty(scale->metadata.namespace))
        scale->metadata.namespace = task->request->namespace;
    if (!text_equal(scale->metadata.name, task->request->name)) {
        registry_answer_status(
            task,
            api_status_bad_request(task->arena, "the name of the object (%s) does not match the name on the URL (%s)",
                                   scale->metadata.name ? scale->metadata.name : "", task->request->name));
        return;
    }
    if (find_scalable(task))
        registry_apply_scale(task, scale);
}
