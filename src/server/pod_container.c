/* Which container of a pod is meant. */
#include <string.h>

#include "base/cleanup.h"
#include "server/private.h"

static void add_names(struct buffer *out, const struct container_array *containers)
{
    for (size_t i = 0; i < containers->count; i++)
        buffer_printf(out, "%s%s", i ? " " : "", containers->items[i].name);
}

static bool has_name(const struct pod *pod, const char *name)
{
    const struct container_array *lists[] = {&pod->spec.containers, &pod->spec.init_containers};
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (strcmp(lists[l]->items[i].name, name) == 0)
                return true;
    for (size_t i = 0; i < pod->spec.ephemeral_containers.count; i++)
        if (strcmp(pod->spec.ephemeral_containers.items[i].name, name) == 0)
            return true;
    return false;
}

struct status *pod_container_choose(struct arena *arena, const struct pod *pod, const char **container)
{
    const char *pod_name = pod->metadata.name;
    if (*container)
        return has_name(pod, *container)
                   ? NULL
                   : api_status_bad_request(arena, "container %s is not valid for pod %s", *container, pod_name);
    if (pod->spec.containers.count == 1) {
        *container = arena_string(arena, pod->spec.containers.items[0].name);
        return NULL;
    }
    cleanup_buffer struct buffer names = {0}, init_names = {0};
    add_names(&names, &pod->spec.containers);
    add_names(&init_names, &pod->spec.init_containers);
    return api_status_bad_request(arena, "a container name must be specified for pod %s, choose one of: [%s]%s%s%s",
                                  pod_name, names.size ? names.data : "",
                                  init_names.size ? " or one of the init containers: [" : "",
                                  init_names.size ? init_names.data : "", init_names.size ? "]" : "");
}
