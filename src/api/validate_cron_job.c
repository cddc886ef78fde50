/* Rules for CronJobs. */
#include <strings.h>

#include "api/cron.h"
#include "api/validate_job.h"

/* A Job's name is that of the CronJob and "-<minutes>"; it may have 63 characters. */
#define CRON_JOB_NAME_MAX 52
#define ZONE_PART_MAX 14

static void validate_schedule(struct api_field_errors *errors, const struct api_path *path,
                              const struct cron_job_spec *spec, bool zone_allowed)
{
    struct cron_schedule parsed;
    const char *problem = cron_parse(errors->arena, spec->schedule, timezone_find(""), &parsed);
    if (problem)
        field_invalid(errors, path, spec->schedule, problem);
    if (!strstr(spec->schedule, "TZ"))
        return;
    if (!zone_allowed)
        field_invalid(errors, path, spec->schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    else if (spec->time_zone)
        field_invalid(errors, path, spec->schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
}

/* Each part of a name, between slashes: what the tz database calls its files. */
static bool zone_part_is_fine(const char *part, size_t size)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-_0123456789+";
    bool dots = (size == 1 && part[0] == '.') || (size == 2 && part[0] == '.' && part[1] == '.');
    return size && size <= ZONE_PART_MAX && *part != '-' && !dots && strspn(part, allowed) >= size;
}

static void validate_time_zone(struct api_field_errors *errors, const struct api_path *path, const char *zone)
{
    const char *unknown = arena_printf(errors->arena, "unknown time zone %s", zone);
    if (!*zone) {
        field_invalid(errors, path, zone, "timeZone must be nil or non-empty string");
        return;
    }
    for (const char *part = zone; part;) {
        size_t size = strcspn(part, "/");
        if (!zone_part_is_fine(part, size)) {
            field_invalid(errors, path, zone, unknown);
            return;
        }
        part = part[size] ? part + size + 1 : NULL;
    }
    if (strcasecmp(zone, "Local") == 0)
        field_invalid(errors, path, zone,
                      "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    if (!timezone_find(zone))
        field_invalid(errors, path, zone, unknown);
}

static void validate_spec(struct api_field_errors *errors, const struct cron_job_spec *spec,
                          const struct cron_job_spec *old)
{
    static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
    const struct api_path *path = PATH(NULL, "spec");
    if (text_empty(spec->schedule))
        field_required(errors, PATH(path, "schedule"), NULL);
    else
        validate_schedule(errors, PATH(path, "schedule"), spec, old && old->schedule && strstr(old->schedule, "TZ"));
    if (spec->starting_deadline_seconds.set)
        validate_nonnegative(errors, PATH(path, "startingDeadlineSeconds"), spec->starting_deadline_seconds.value);
    if (spec->time_zone && !(old && old->time_zone && strcmp(old->time_zone, spec->time_zone) == 0))
        validate_time_zone(errors, PATH(path, "timeZone"), spec->time_zone);
    validate_one_of(errors, PATH(path, "concurrencyPolicy"), spec->concurrency_policy, policies);
    validate_job_template(errors, PATH(path, "jobTemplate"), &spec->job_template);
    if (spec->successful_jobs_history_limit.set)
        validate_nonnegative(errors, PATH(path, "successfulJobsHistoryLimit"),
                             spec->successful_jobs_history_limit.value);
    if (spec->failed_jobs_history_limit.set)
        validate_nonnegative(errors, PATH(path, "failedJobsHistoryLimit"), spec->failed_jobs_history_limit.value);
}

void validate_cron_job_create(struct api_field_errors *errors, const void *value)
{
    const struct cron_job *cron_job = value;
    validate_spec(errors, &cron_job->spec, NULL);
    if (cron_job->metadata.name && strlen(cron_job->metadata.name) > CRON_JOB_NAME_MAX)
        field_invalid(errors, PATH(PATH(NULL, "metadata"), "name"), cron_job->metadata.name,
                      "must be no more than 52 characters");
}

void validate_cron_job_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_spec(errors, &((const struct cron_job *)value)->spec, &((const struct cron_job *)old)->spec);
}
