/* Rules for the subresource pods/resize: cpu and memory of containers may change, and nothing else; nothing may be
 * taken away, and the pod stays in its class. As upstream's ValidatePodResize. */
#include "api/json.h"
#include "api/pod_qos.h"
#include "api/validate.h"
#include "api/validate_parts.h"

static bool removed(const struct string_map *now, const struct string_map *old)
{
    for (size_t i = 0; i < old->count; i++)
        if (!string_map_get(now, old->items[i].key))
            return true;
    return false;
}

static void validate_kept(struct api_field_errors *errors, const struct api_path *path,
                          const struct resource_requirements *now, const struct resource_requirements *old)
{
    if (removed(&now->requests, &old->requests))
        field_forbidden(errors, PATH(path, "requests"), "resource requests cannot be removed");
    if (removed(&now->limits, &old->limits))
        field_forbidden(errors, PATH(path, "limits"), "resource limits cannot be removed");
}

static bool validate_same_list(struct api_field_errors *errors, const struct api_path *path, const char *what,
                               const struct container_array *now, const struct container_array *old)
{
    bool same = now->count == old->count;
    if (!same)
        field_forbidden(errors, path, arena_printf(errors->arena, "%s may not be added or removed on resize", what));
    for (size_t i = 0; i < now->count && now->count == old->count; i++)
        if (!text_equal(now->items[i].name, old->items[i].name)) {
            field_forbidden(errors, PATH(PATH_INDEX(path, i), "name"),
                            arena_printf(errors->arena, "%s may not be renamed or reordered on resize", what));
            same = false;
        }
    return same;
}

/* The old amounts of cpu and memory in place of the new ones. */
static void put_back(struct arena *arena, struct string_map *now, const struct string_map *old)
{
    static const char *const mutable[] = {"cpu", "memory"};
    for (size_t i = 0; i < 2; i++) {
        const char *amount = string_map_get(old, mutable[i]);
        if (amount) {
            string_map_set(arena, now, mutable[i], amount);
        } else if (string_map_get(now, mutable[i])) {
            struct string_map without = {arena_alloc(arena, now->count * sizeof(*now->items)), 0};
            for (size_t k = 0; k < now->count; k++)
                if (!text_equal(now->items[k].key, mutable[i]))
                    without.items[without.count++] = now->items[k];
            *now = without;
        }
    }
}

static struct container without_change(struct arena *arena, const struct container *now, const struct container *old)
{
    struct container c = *now;
    put_back(arena, &c.resources.requests, &old->resources.requests);
    put_back(arena, &c.resources.limits, &old->resources.limits);
    return c;
}

static bool node_supports_resize(const struct pod *old)
{
    for (size_t i = 0; i < old->status.container_statuses.count; i++)
        if (old->status.container_statuses.items[i].state.running)
            return old->status.container_statuses.items[i].resources;
    return true;
}

static void validate_resized(struct api_field_errors *errors, const struct api_path *path,
                             const struct container_array *now, const struct container_array *old)
{
    for (size_t i = 0; i < old->count; i++) {
        struct container munged = without_change(errors->arena, &now->items[i], &old->items[i]);
        if (!api_equal(&api_type_container, &munged, &old->items[i]))
            field_forbidden(errors, path, "only cpu and memory resources are mutable");
    }
}

static void validate_resized_inits(struct api_field_errors *errors, const struct api_path *path,
                                   const struct container_array *now, const struct container_array *old)
{
    for (size_t i = 0; i < old->count; i++) {
        bool sidecar = text_equal(now->items[i].restart_policy, "Always");
        struct container munged =
            sidecar ? without_change(errors->arena, &now->items[i], &old->items[i]) : now->items[i];
        if (!api_equal(&api_type_container, &munged, &old->items[i]))
            field_forbidden(errors, path,
                            sidecar ? "only cpu and memory resources for sidecar containers are mutable"
                                    : "resources for non-sidecar init containers are immutable");
    }
}

void validate_pod_resize(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct pod *pod = value, *old = old_value;
    const struct api_path *path = PATH(NULL, "spec");
    const struct api_path *containers = PATH(path, "containers"), *inits = PATH(path, "initContainers");
    if (string_map_get(&old->metadata.annotations, "kubernetes.io/config.mirror")) {
        field_forbidden(errors, PATH(NULL, ""), "static pods cannot be resized");
        return;
    }
    validate_pod_metadata_and_spec(errors, pod);
    const char *before = text_empty(old->status.qos_class) ? api_pod_qos_class(&old->spec) : old->status.qos_class;
    if (!text_equal(before, api_pod_qos_class(&pod->spec)))
        field_invalid(errors, path, pod->status.qos_class, "Pod QOS Class may not change as a result of resizing");
    if (!node_supports_resize(old))
        field_forbidden(errors, path, "Pod running on node without support for resize");
    if (old->spec.resources || pod->spec.resources)
        field_forbidden(errors, path, "pods with pod-level resources cannot be resized");
    bool same = validate_same_list(errors, containers, "containers", &pod->spec.containers, &old->spec.containers);
    same &= validate_same_list(errors, inits, "initContainers", &pod->spec.init_containers, &old->spec.init_containers);
    if (!same)
        return;
    for (size_t i = 0; i < old->spec.init_containers.count; i++)
        validate_kept(errors, PATH(PATH_INDEX(inits, i), "resources"), &pod->spec.init_containers.items[i].resources,
                      &old->spec.init_containers.items[i].resources);
    for (size_t i = 0; i < old->spec.containers.count; i++)
        validate_kept(errors, PATH(PATH_INDEX(containers, i), "resources"), &pod->spec.containers.items[i].resources,
                      &old->spec.containers.items[i].resources);
    validate_resized(errors, path, &pod->spec.containers, &old->spec.containers);
    validate_resized_inits(errors, path, &pod->spec.init_containers, &old->spec.init_containers);
}

static bool same_names(const struct container_array *now, const struct container_array *old)
{
    bool same = now->count == old->count;
    for (size_t i = 0; same && i < now->count; i++)
        same = text_equal(now->items[i].name, old->items[i].name);
    return same;
}

/* The old containers with the new resources; lists that differ stay as they are, and are refused later. */
static struct container_array resized(struct arena *arena, const struct container_array *now,
                                      const struct container_array *old)
{
    if (!same_names(now, old))
        return *now;
    struct container_array out = *old;
    out.items = arena_copy(arena, old->items, old->count * sizeof(*old->items));
    for (size_t i = 0; i < out.count; i++) {
        out.items[i].resources = now->items[i].resources;
        out.items[i].resize_policy = now->items[i].resize_policy;
    }
    return out;
}

void api_prepare_pod_resize(struct arena *arena, struct pod *pod, const struct pod *old)
{
    struct pod_spec now = pod->spec;
    const char *revision = pod->metadata.resource_version;
    pod->metadata = old->metadata;
    pod->metadata.resource_version = revision;
    pod->spec = old->spec;
    pod->spec.containers = resized(arena, &now.containers, &old->spec.containers);
    pod->spec.init_containers = resized(arena, &now.init_containers, &old->spec.init_containers);
    pod->status = old->status;
}
