/* What upstream's strategies for Jobs and CronJobs do beyond validation. */
#include "api/format.h"
#include "api/job.h"
#include "base/buffer.h"
#include "registry/private.h"

/* From here on a Job may be too large for what its status can hold. */
#define COMPLETIONS_SOFT_MAX 100000
#define PARALLELISM_SOFT_MAX 10000

static void set_missing(struct arena *arena, struct string_map *map, const char *key, const char *value)
{
    if (!string_map_get(map, key))
        string_map_set(arena, map, key, value);
}

void batch_prepare_job(struct task *task, struct job *job)
{
    struct arena *arena = task->arena;
    struct job_spec *spec = &job->spec;
    struct string_map *labels = &spec->template.metadata.labels;
    batch_warn(task, job, NULL);
    if (spec->manual_selector.set && spec->manual_selector.value)
        return;
    /* A Job without labels of its own shows those of its template. */
    bool same = !job->metadata.labels.count || job->metadata.labels.items == labels->items;
    const char *name = job->metadata.name, *uid = job->metadata.uid;
    set_missing(arena, labels, JOB_LEGACY_NAME_LABEL, name);
    set_missing(arena, labels, JOB_NAME_LABEL, name);
    set_missing(arena, labels, JOB_LEGACY_UID_LABEL, uid);
    set_missing(arena, labels, JOB_UID_LABEL, uid);
    if (same)
        job->metadata.labels = *labels;
    if (!spec->selector)
        spec->selector = arena_alloc(arena, sizeof(*spec->selector));
    set_missing(arena, &spec->selector->match_labels, JOB_UID_LABEL, uid);
}

static void warn_of_name(struct task *task, const char *name)
{
    struct format_problems problems = {.count = 0};
    cleanup_buffer struct buffer text = {0};
    format_dns_label(name ? name : "", &problems);
    if (!problems.count)
        return;
    buffer_add_string(&text, "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
                             "behavior; a DNS label is recommended: ");
    for (size_t i = 0; i < problems.count; i++)
        buffer_printf(&text, "%c%s", i ? ' ' : '[', problems.items[i]);
    buffer_add_char(&text, ']');
    registry_add_warning(task, text.data);
}

static void warn_of_spec(struct task *task, const struct job_spec *spec, const char *path)
{
    if (job_is_indexed(spec) && spec->completions.value > COMPLETIONS_SOFT_MAX &&
        spec->parallelism.value > PARALLELISM_SOFT_MAX)
        registry_add_warning(
            task, arena_printf(task->arena,
                               "%s: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism "
                               "higher than 10^4, Kubernetes might not be able to track completedIndexes when a big "
                               "number of indexes fail",
                               path));
}

void batch_warn(struct task *task, const void *value, const void *old)
{
    if (!old)
        warn_of_name(task, api_meta(task->resource, value)->name);
    if (task->resource->index == API_JOBS) {
        warn_of_spec(task, &((const struct job *)value)->spec, "spec");
        return;
    }
    const struct cron_job_spec *spec = &((const struct cron_job *)value)->spec;
    warn_of_spec(task, &spec->job_template.spec, "spec.jobTemplate.spec");
    if (old && spec->schedule && __builtin_strstr(spec->schedule, "TZ"))
        registry_add_warning(task, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                                   "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more "
                                   "details");
}
