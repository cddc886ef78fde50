/* Columns and cells of Jobs and CronJobs. */
#include "api/job.h"
#include "api/table_columns.h"

#define TEMPLATE                                                                                                       \
    {"Containers", "string", NULL, "Names of the containers in the template.", 1},                                     \
        {"Images", "string", NULL, "Images of the containers in the template.", 1},                                    \
    {                                                                                                                  \
        "Selector", "string", NULL, "Label selector of the pods that belong to it.", 1                                 \
    }

const struct table_column_definition job_columns[] = {
    COLUMN_NAME,
    {"Status", "string", NULL, "What the job is doing, summed up from its conditions.", 0},
    {"Completions", "string", NULL, "Pods that have succeeded, of those that have to.", 0},
    {"Duration", "string", NULL, "Time from its start to its completion, or until now.", 0},
    COLUMN_AGE,
    TEMPLATE,
    {0}};

const struct table_column_definition cron_job_columns[] = {
    COLUMN_NAME,
    {"Schedule", "string", NULL, "When jobs are started.", 0},
    {"Timezone", "string", NULL, "Time zone of the schedule.", 0},
    {"Suspend", "boolean", NULL, "Whether no jobs are started at present.", 0},
    {"Active", "integer", NULL, "Number of jobs that run.", 0},
    {"Last Schedule", "string", NULL, "Time since a job was last started.", 0},
    COLUMN_AGE,
    TEMPLATE,
    {0}};

static const char *state_of(const struct job *job)
{
    static const char *const before[] = {"Complete", "Failed"}, *const after[] = {"Suspended", "FailureTarget",
                                                                                  "SuccessCriteriaMet"};
    for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
        if (job_condition_is_true(&job->status, before[i]))
            return before[i];
    if (job->metadata.deletion_timestamp)
        return "Terminating";
    for (size_t i = 0; i < sizeof(after) / sizeof(*after); i++)
        if (job_condition_is_true(&job->status, after[i]))
            return after[i];
    return "Running";
}

void job_cells(struct cells *cells, const void *value)
{
    const struct job *job = value;
    const struct job_status *status = &job->status;
    int32_t parallelism = job->spec.parallelism.value;
    char duration[HUMAN_DURATION_MAX] = "";
    cell_text(cells, job->metadata.name);
    cell_text(cells, state_of(job));
    if (job->spec.completions.set)
        cell_format(cells, "%d/%d", status->succeeded, job->spec.completions.value);
    else if (parallelism > 1)
        cell_format(cells, "%d/1 of %d", status->succeeded, parallelism);
    else
        cell_format(cells, "%d/1", status->succeeded);
    if (status->start_time)
        human_duration((status->completion_time ? status->completion_time : cells->now) - status->start_time, duration);
    cell_text(cells, duration);
    cell_age(cells, job->metadata.creation_timestamp);
    cell_containers(cells, &job->spec.template.spec);
    cell_selector(cells, job->spec.selector);
}

void cron_job_cells(struct cells *cells, const void *value)
{
    const struct cron_job *cron_job = value;
    const struct cron_job_spec *spec = &cron_job->spec;
    char age[HUMAN_DURATION_MAX];
    int64_t last = cron_job->status.last_schedule_time;
    cell_text(cells, cron_job->metadata.name);
    cell_text(cells, spec->schedule);
    cell_text(cells, spec->time_zone ? spec->time_zone : "<none>");
    cell_text(cells, !spec->suspend.set ? "<unset>" : spec->suspend.value ? "True" : "False");
    cell_number(cells, (int64_t)cron_job->status.active.count);
    cell_text(cells, last ? age_text(cells, last, age) : "<none>");
    cell_age(cells, cron_job->metadata.creation_timestamp);
    cell_containers(cells, &spec->job_template.spec.template.spec);
    if (spec->job_template.spec.selector)
        cell_selector(cells, spec->job_template.spec.selector);
    else
        cell_text(cells, "<none>");
}
