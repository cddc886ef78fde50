/* The admission steps that complete a new pod. */
#include "api/admission.h"

#include <string.h>

#include "api/static_pod.h"
#include "api/status.h"
#include "base/text.h"

static const struct priority_class system_classes[] = {
    {.kind = "PriorityClass",
     .api_version = "scheduling.k8s.io/v1",
     .metadata.name = "system-node-critical",
     .value = 2000001000,
     .description = "Used for system critical pods that must not be moved from their current node.",
     .preemption_policy = "PreemptLowerPriority"},
    {.kind = "PriorityClass",
     .api_version = "scheduling.k8s.io/v1",
     .metadata.name = "system-cluster-critical",
     .value = 2000000000,
     .description = "Used for system critical pods that must run in the cluster, but can be moved to another node if "
                    "necessary.",
     .preemption_policy = "PreemptLowerPriority"},
};

const struct priority_class *api_system_priority_class_at(size_t place)
{
    return place < sizeof(system_classes) / sizeof(system_classes[0]) ? &system_classes[place] : NULL;
}

const struct priority_class *api_system_priority_class(const char *name)
{
    for (size_t i = 0; i < sizeof(system_classes) / sizeof(system_classes[0]); i++)
        if (strcmp(system_classes[i].metadata.name, name) == 0)
            return &system_classes[i];
    return NULL;
}

static bool tolerates(const struct toleration_array *tolerations, const char *key)
{
    for (size_t i = 0; i < tolerations->count; i++) {
        const struct toleration *t = &tolerations->items[i];
        if ((text_empty(t->key) || strcmp(t->key, key) == 0) &&
            (text_empty(t->effect) || strcmp(t->effect, "NoExecute") == 0))
            return true;
    }
    return false;
}

static void tolerate(struct arena *arena, struct toleration_array *tolerations, const char *key)
{
    if (tolerates(tolerations, key))
        return;
    tolerations->items =
        arena_array_grow(arena, tolerations->items, tolerations->count, 1, sizeof(*tolerations->items));
    tolerations->items[tolerations->count++] = (struct toleration){
        .key = key,
        .operator= "Exists",
        .effect = "NoExecute",
        .toleration_seconds = opt_int64(API_TOLERATION_SECONDS),
    };
}

struct status *api_admit_priority(struct arena *arena, struct pod *pod, const struct priority_class *class)
{
    struct pod_spec *spec = &pod->spec;
    const struct api_resource *pods = &api_resources[API_PODS];
    int32_t priority = class ? class->value : 0;
    const char *policy = class ? class->preemption_policy : "PreemptLowerPriority";
    if (spec->priority.set && spec->priority.value != priority)
        return api_status_forbidden(arena, pods, pod->metadata.name,
                                    arena_printf(arena,
                                                 "the integer value of priority (%d) must not be provided in pod spec; "
                                                 "priority admission controller computed %d from the given "
                                                 "PriorityClass name",
                                                 spec->priority.value, priority));
    if (policy && spec->preemption_policy && strcmp(spec->preemption_policy, policy) != 0)
        return api_status_forbidden(arena, pods, pod->metadata.name,
                                    arena_printf(arena,
                                                 "the string value of PreemptionPolicy (%s) must not be provided in "
                                                 "pod spec; priority admission controller computed %s from the given "
                                                 "PriorityClass name",
                                                 spec->preemption_policy, policy));
    if (class)
        spec->priority_class_name = arena_string(arena, class->metadata.name);
    spec->priority = opt_int32(priority);
    if (policy)
        spec->preemption_policy = arena_string(arena, policy);
    return NULL;
}

static struct status *reject_pod(struct arena *arena, const struct pod *pod, const char *why)
{
    return api_status_forbidden(arena, &api_resources[API_PODS], pod->metadata.name,
                                arena_printf(arena, "pod rejected: %s", why));
}

static struct status *admit_pod(struct arena *arena, struct pod *pod)
{
    struct pod_spec *spec = &pod->spec;
    /* There is one runtime, and no classes of it. */
    if (!text_empty(spec->runtime_class_name))
        return reject_pod(arena, pod, arena_printf(arena, "RuntimeClass \"%s\" not found", spec->runtime_class_name));
    /* A mirror shows what its node runs; nothing is added to it. */
    if (text_empty(spec->service_account_name) && !string_map_get(&pod->metadata.annotations, POD_MIRROR_ANNOTATION))
        spec->service_account = spec->service_account_name = "default";
    tolerate(arena, &spec->tolerations, "node.kubernetes.io/not-ready");
    tolerate(arena, &spec->tolerations, "node.kubernetes.io/unreachable");
    return NULL;
}

struct status *api_admit_create(struct arena *arena, const struct api_resource *resource, void *value)
{
    return resource->index == API_PODS ? admit_pod(arena, value) : NULL;
}

struct status *api_admit_valid(struct arena *arena, const struct api_resource *resource, const void *value)
{
    const struct pod *pod = value;
    if (resource->index != API_PODS || !pod->spec.overhead.count)
        return NULL;
    return reject_pod(arena, pod, "Pod Overhead set without corresponding RuntimeClass defined Overhead");
}
