/* Checks of what containers run, and of what they may use. */
#include <string.h>

#include "lint/private.h"

void lint_mutable_tag(struct lint_run *run, const struct lint_workload *workload)
{
    for (size_t i = 0; i < workload->spec->containers.count; i++) {
        const struct container *container = &workload->spec->containers.items[i];
        if (container->image && !strchr(container->image, '@') && container->image_pull_policy &&
            strcmp(container->image_pull_policy, "Always") == 0)
            lint_find_container(run, workload, i, "imagePullPolicy", "Always, with image \"%s\"", container->image);
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
    for (size_t i = 0; i < workload->spec->containers.count; i++) {
        const struct container *container = &workload->spec->containers.items[i];
        if (!has_request(&container->resources))
            lint_find_container(run, workload, i, "resources.requests", "missing for container \"%s\"",
                                container->name);
    }
}
