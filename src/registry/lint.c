/* Lint on the way of a write: what the lint room finds about an object that is created or changed becomes Warning
 * headers. The neighbours are read from the store, at most LINT_NEIGHBOUR_MAX of each kind, so that a write costs the
 * same however full its namespace is. */
#include "lint/lint.h"

#include "api/quantity.h"
#include "base/cleanup.h"
#include "registry/private.h"

#define NEIGHBOURS_MAX (5 * LINT_NEIGHBOUR_MAX)

struct neighbours {
    struct lint_object *items;
    size_t count;
    size_t limit; /* of the kind that is being visited */
    bool more;    /* than the limit */
};

static bool visit(void *context, struct object *object)
{
    struct neighbours *neighbours = context;
    if (neighbours->count == neighbours->limit) {
        neighbours->more = true;
        return false;
    }
    neighbours->items[neighbours->count++] = (struct lint_object){object->resource, object->value};
    return true;
}

static void gather(const struct task *task, const char *namespace, struct lint_set *set, struct neighbours *neighbours)
{
    static const enum api_resource_index kinds[] = {API_SERVICES, API_DEPLOYMENTS, API_REPLICASETS, API_PODS, API_NODES};
    _Static_assert(ARRAY_COUNT(kinds) * LINT_NEIGHBOUR_MAX == NEIGHBOURS_MAX, "there is room for all");
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        const struct api_resource *kind = &api_resources[kinds[i]];
        if (!lint_needs(task->resource, kind))
            continue;
        neighbours->more = false;
        neighbours->limit = neighbours->count + LINT_NEIGHBOUR_MAX;
        store_list(task->registry->store, kind, kind->namespaced ? namespace : NULL, NULL, NULL, visit, neighbours);
        if (kinds[i] == API_NODES)
            set->nodes_known = !neighbours->more;
    }
    set->items = neighbours->items;
    set->count = neighbours->count;
}

static const struct pod_spec *template_of(const struct api_resource *resource, const void *value)
{
    if (resource->index == API_DEPLOYMENTS)
        return &((const struct deployment *)value)->spec.template.spec;
    return resource->index == API_REPLICASETS ? &((const struct replica_set *)value)->spec.template.spec : NULL;
}

/* Only then is it worth asking what is in use. */
static bool lowers_memory(const struct task *task, const void *value, const void *old)
{
    const struct pod_spec *now = template_of(task->resource, value);
    const struct pod_spec *before = old ? template_of(task->resource, old) : NULL;
    for (size_t i = 0; now && before && i < now->containers.count; i++) {
        const char *limit = string_map_get(&now->containers.items[i].resources.limits, "memory");
        const char *was = i < before->containers.count
                              ? string_map_get(&before->containers.items[i].resources.limits, "memory")
                              : NULL;
        if (limit && (!was || quantity_compare(limit, was) < 0))
            return true;
    }
    return false;
}

struct memories {
    struct task *task;
    struct lint_memory *items;
    size_t count;
};

static bool visit_pod(void *context, struct object *object)
{
    struct memories *m = context;
    const struct registry *registry = m->task->registry;
    const struct pod *pod = object->value;
    for (size_t i = 0; i < pod->status.container_statuses.count && m->count < LINT_NEIGHBOUR_MAX; i++) {
        const char *container = pod->status.container_statuses.items[i].name;
        int64_t bytes = registry->memory_used(registry->memory_context, pod->metadata.uid, container);
        if (bytes >= 0)
            m->items[m->count++] = (struct lint_memory){&pod->metadata.labels, pod->metadata.name, container, bytes};
    }
    return m->count < LINT_NEIGHBOUR_MAX;
}

static void measure(struct task *task, const char *namespace, struct lint_set *set)
{
    struct memories m = {task, arena_alloc(task->arena, LINT_NEIGHBOUR_MAX * sizeof(*m.items)), 0};
    store_list(task->registry->store, &api_resources[API_PODS], namespace, NULL, NULL, visit_pod, &m);
    set->memory = m.items;
    set->memory_count = m.count;
}

static bool is_looked_at(const struct task *task, const void *value)
{
    const struct object_meta *meta = api_meta(task->resource, value);
    for (size_t i = 0; i < meta->owner_references.count; i++)
        if (meta->owner_references.items[i].controller.value)
            return false;
    return lint_needs(task->resource, &api_resources[API_DEPLOYMENTS]);
}

void registry_lint(struct task *task, const void *value, const void *old)
{
    if (!is_looked_at(task, value))
        return;
    cleanup_free struct lint_object *items = mem_alloc(NEIGHBOURS_MAX * sizeof(*items));
    struct neighbours neighbours = {.items = items};
    struct lint_set set = {0};
    struct lint_findings now = {.arena = task->arena}, before = {.arena = task->arena};
    const struct lint_object object = {task->resource, value}, was = {task->resource, old};
    gather(task, api_meta(task->resource, value)->namespace, &set, &neighbours);
    if (task->registry->memory_used && lowers_memory(task, value, old))
        measure(task, api_meta(task->resource, value)->namespace, &set);
    lint_object(&object, &set, &now);
    if (old && now.count)
        lint_object(&was, &set, &before);
    for (size_t i = 0; i < now.count; i++) {
        if (lint_findings_have(&before, &now.items[i]))
            continue;
        cleanup_buffer struct buffer text = {0};
        lint_write(&now.items[i], &object, &text);
        registry_add_warning(task, text.data);
    }
}
