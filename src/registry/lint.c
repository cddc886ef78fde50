/* Lint on the way of a write: what the lint room finds about an object that is created or changed becomes Warning
 * headers. The neighbours are read from the store, at most LINT_NEIGHBOUR_MAX of each kind, so that a write costs the
 * same however full its namespace is. */
#include "lint/lint.h"

#include "api/pod_containers.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "registry/private.h"

/* Headers of one answer: kubectl prints each as a line. */
#define WARNINGS_MAX 16
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
    static const enum api_resource_index kinds[] = {API_SERVICES, API_DEPLOYMENTS, API_REPLICASETS, API_PODS,
                                                    API_NODES};
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

static const char *memory_limit(const struct pod_spec *spec, const char *container)
{
    const struct container *c;
    for (size_t at = 0; (c = api_next_serving(spec, &at));)
        if (text_equal(c->name, container))
            return string_map_get(&c->resources.limits, "memory");
    return NULL;
}

/* Only then is it worth asking what is in use. */
static bool lowers_memory(const struct task *task, const void *value, const void *old)
{
    const struct pod_spec *now = template_of(task->resource, value);
    const struct pod_spec *before = old ? template_of(task->resource, old) : NULL;
    const struct container *c;
    for (size_t at = 0; now && before && (c = api_next_serving(now, &at));) {
        const char *limit = string_map_get(&c->resources.limits, "memory"), *was = memory_limit(before, c->name);
        if (limit && (!was || quantity_compare(limit, was) < 0))
            return true;
    }
    return false;
}

struct memories {
    struct task *task;
    const struct pod_spec *spec; /* of the workload: containers without a limit are not measured */
    const struct selector *selector;
    struct lint_memory *items;
    size_t count;
};

static void measure_container(struct memories *m, const struct pod *pod, const char *container)
{
    const struct registry *registry = m->task->registry;
    if (m->count == LINT_NEIGHBOUR_MAX || !memory_limit(m->spec, container))
        return;
    int64_t bytes = registry->memory_used(registry->memory_context, pod->metadata.uid, container);
    if (bytes >= 0)
        m->items[m->count++] = (struct lint_memory){&pod->metadata.labels, pod->metadata.name, container, bytes};
}

static bool visit_pod(void *context, struct object *object)
{
    struct memories *m = context;
    const struct pod *pod = object->value;
    const struct container *c;
    for (size_t at = 0;
         selector_matches(m->selector, &pod->metadata.labels) && (c = api_next_serving(&pod->spec, &at));)
        measure_container(m, pod, c->name);
    return m->count < LINT_NEIGHBOUR_MAX;
}

/* Pods of the workload only, so that the bound is not used up by others. */
static void measure(struct task *task, const void *value, struct lint_set *set)
{
    struct memories m = {.task = task,
                         .spec = template_of(task->resource, value),
                         .items = arena_alloc(task->arena, LINT_NEIGHBOUR_MAX * sizeof(*m.items))};
    const struct label_selector *from = task->resource->index == API_DEPLOYMENTS
                                            ? ((const struct deployment *)value)->spec.selector
                                            : ((const struct replica_set *)value)->spec.selector;
    if (selector_from_label_selector(task->arena, from, &m.selector, NULL) < 0)
        return;
    store_list(task->registry->store, &api_resources[API_PODS], api_meta(task->resource, value)->namespace, NULL, NULL,
               visit_pod, &m);
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

static void warn(struct task *task, const struct lint_findings *now, const struct lint_findings *before,
                 const struct lint_object *looked_at)
{
    size_t count = 0;
    for (size_t i = 0; i < now->count; i++) {
        if (lint_findings_have(before, &now->items[i]))
            continue;
        if (count++ >= WARNINGS_MAX)
            continue;
        cleanup_buffer struct buffer text = {0};
        lint_write(&now->items[i], looked_at, &text);
        registry_add_warning(task, text.data);
    }
    if (count > WARNINGS_MAX)
        registry_add_warning(
            task, arena_printf(task->arena, "and %zu more findings, which coracle lint names", count - WARNINGS_MAX));
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
        measure(task, value, &set);
    lint_object(&object, &set, &now);
    if (old && now.count)
        lint_object(&was, &set, &before);
    warn(task, &now, &before, &object);
}
