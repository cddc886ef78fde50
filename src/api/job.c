#include "api/job.h"

#include <string.h>

bool job_is_indexed(const struct job_spec *spec)
{
    return spec->completion_mode && strcmp(spec->completion_mode, "Indexed") == 0;
}

const struct job_condition *job_condition_find(const struct job_status *status, const char *type)
{
    for (size_t i = 0; i < status->conditions.count; i++)
        if (status->conditions.items[i].type && strcmp(status->conditions.items[i].type, type) == 0)
            return &status->conditions.items[i];
    return NULL;
}

bool job_condition_is_true(const struct job_status *status, const char *type)
{
    const struct job_condition *condition = job_condition_find(status, type);
    return condition && condition->status && strcmp(condition->status, "True") == 0;
}

bool job_is_finished(const struct job_status *status)
{
    return job_condition_is_true(status, "Complete") || job_condition_is_true(status, "Failed");
}
