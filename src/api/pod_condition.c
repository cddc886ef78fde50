#include "api/pod_condition.h"

#include <string.h>

const struct pod_condition *pod_condition_find(const struct pod_condition_array *conditions, const char *type)
{
    for (size_t i = 0; i < conditions->count; i++)
        if (strcmp(conditions->items[i].type, type) == 0)
            return &conditions->items[i];
    return NULL;
}

bool pod_is_ready(const struct pod *pod)
{
    const struct pod_condition *ready = pod_condition_find(&pod->status.conditions, "Ready");
    return ready && strcmp(ready->status, "True") == 0;
}

bool pod_has_ended(const struct pod *pod)
{
    const char *phase = pod->status.phase ? pod->status.phase : "";
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}
