/* The admission steps that complete a new pod. */
#include "api/admission.h"

#include <string.h>

#include "api/static_pod.h"
#include "api/status.h"

static const struct {
    const char *name;
    int32_t value;
} priority_classes[] = {
    {"system-cluster-critical", 2000000000},
    {"system-node-critical", 2000001000},
};

static bool blank(const char *s)
{
    return !s || !*s;
}

static bool tolerates(const struct toleration_array *tolerations, const char *key)
{
    for (size_t i = 0; i < tolerations->count; i++) {
        const struct toleration *t = &tolerations->items[i];
        if ((blank(t->key) || strcmp(t->key, key) == 0) && (blank(t->effect) || strcmp(t->effect, "NoExecute") == 0))
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
        .operator = "Exists",
        .effect = "NoExecute",
        .toleration_seconds = opt_int64(API_TOLERATION_SECONDS),
    };
}

/* The value of the pod's priority class; no class is priority 0. */
static struct status *admit_priority(struct arena *arena, struct pod *pod)
{
    struct pod_spec *spec = &pod->spec;
    const struct api_resource *pods = &api_resources[API_PODS];
    int32_t priority = 0;
    if (!blank(spec->priority_class_name)) {
        size_t i = 0;
        while (i < sizeof(priority_classes) / sizeof(priority_classes[0]) &&
               strcmp(priority_classes[i].name, spec->priority_class_name) != 0)
            i++;
        if (i == sizeof(priority_classes) / sizeof(priority_classes[0]))
            return api_status_forbidden(
                arena, pods, pod->metadata.name,
                arena_printf(arena, "no PriorityClass with name %s was found", spec->priority_class_name));
        priority = priority_classes[i].value;
    }
    if (spec->priority.set && spec->priority.value != priority)
        return api_status_forbidden(arena, pods, pod->metadata.name,
                                    arena_printf(arena,
                                                 "the integer value of priority (%d) must not be provided in pod spec; "
                                                 "priority admission controller computed %d from the given "
                                                 "PriorityClass name",
                                                 spec->priority.value, priority));
    spec->priority = opt_int32(priority);
    if (!spec->preemption_policy)
        spec->preemption_policy = "PreemptLowerPriority";
    return NULL;
}

static struct status *admit_pod(struct arena *arena, struct pod *pod)
{
    struct pod_spec *spec = &pod->spec;
    /* A mirror shows what its node runs; nothing is added to it. */
    if (blank(spec->service_account_name) && !string_map_get(&pod->metadata.annotations, POD_MIRROR_ANNOTATION))
        spec->service_account = spec->service_account_name = "default";
    tolerate(arena, &spec->tolerations, "node.kubernetes.io/not-ready");
    tolerate(arena, &spec->tolerations, "node.kubernetes.io/unreachable");
    return admit_priority(arena, pod);
}

struct status *api_admit_create(struct arena *arena, const struct api_resource *resource, void *value)
{
    return resource->index == API_PODS ? admit_pod(arena, value) : NULL;
}
