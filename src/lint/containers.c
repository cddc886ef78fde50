/* Checks of what containers run, and of what they may use. */
#include <string.h>

#include "api/quantity.h"
#include "lint/private.h"

void lint_mutable_tag(struct lint_run *run, const struct lint_workload *workload)
{
    const struct container *container;
    for (size_t at = 0; (container = api_next_serving(workload->spec, &at));) {
        if (container->image && !strchr(container->image, '@') && container->image_pull_policy &&
            strcmp(container->image_pull_policy, "Always") == 0)
            lint_find_container(run, workload, container, "imagePullPolicy", "Always, with image \"%s\"",
                                container->image);
    }
}

/* A limit without a request stands for one. */
static bool has_request(const struct resource_requirements *resources)
{
    static const char *const names[] = {"cpu", "memory"};
    for (size_t i = 0; resources && i < sizeof(names) / sizeof(names[0]); i++)
        if (string_map_get(&resources->requests, names[i]) || string_map_get(&resources->limits, names[i]))
            return true;
    return false;
}

void lint_requests_missing(struct lint_run *run, const struct lint_workload *workload)
{
    if (has_request(workload->spec->resources)) /* of the pod as a whole */
        return;
    const struct container *container;
    for (size_t at = 0; (container = api_next_serving(workload->spec, &at));) {
        if (!has_request(&container->resources))
            lint_find_container(run, workload, container, "resources.requests", "missing for container \"%s\"",
                                container->name);
    }
}

/* The most that a container of that name uses in a pod of the workload. */
static const struct lint_memory *most_used(const struct lint_run *run, const struct lint_workload *workload,
                                           const char *container)
{
    const struct lint_memory *most = NULL;
    for (size_t i = 0; i < run->set->memory_count; i++) {
        const struct lint_memory *m = &run->set->memory[i];
        if (strcmp(m->container, container) == 0 && (!most || m->bytes > most->bytes) &&
            lint_selector_matches(run, workload->selector, m->labels))
            most = m;
    }
    return most;
}

void lint_memory_limit(struct lint_run *run, const struct lint_workload *workload)
{
    const struct container *container;
    for (size_t at = 0; workload->selector && (container = api_next_serving(workload->spec, &at));) {
        const char *limit = string_map_get(&container->resources.limits, "memory");
        const struct lint_memory *m = limit ? most_used(run, workload, container->name) : NULL;
        if (m && m->bytes > quantity_value(limit))
            lint_find_container(run, workload, container, "resources.limits.memory", "%s, and pod \"%s\" uses %lldMi",
                                limit, m->pod, (long long)((m->bytes + (1 << 20) - 1) >> 20));
    }
}
