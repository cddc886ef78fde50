/* What a CronJob needs next: a pure function of the CronJob, its Jobs and the time, as upstream's cronjob controller
 * (v2) decides. cron_job.c carries it out. */
#ifndef CORACLE_CONTROL_CRON_JOB_DECIDE_H
#define CORACLE_CONTROL_CRON_JOB_DECIDE_H

#include "api/cron.h"
#include "api/job.h"
#include "api/object.h"

#define CRON_SCHEDULED_ANNOTATION "batch.kubernetes.io/cronjob-scheduled-timestamp"
/* Starts that may have been missed before somebody is told that there were too many. */
#define CRON_MISSED_MAX 100
/* The controller looks again so long after a time of the schedule: clocks may differ a little. */
#define CRON_PADDING (100 * INT64_C(1000))

struct cron_event {
    const char *type, *reason, *message;
};

struct cron_plan {
    struct object **history; /* finished Jobs beyond the limits, oldest first: deleted first of all */
    size_t history_count;
    struct object **replaced; /* active Jobs that make room for the new one: deleted next */
    size_t replaced_count;
    int64_t start;                 /* the time of the schedule for which a Job is to be made; 0: none */
    struct cron_job_status status; /* without the Job that is to be made; with room for it in `active` */
    int64_t again_after;           /* look again so much later; 0: not before something happens */
    struct cron_event *events;
    size_t event_count;
};

/* jobs: all that the CronJob controls, in any order; sorted in place. The plan lives in the arena. */
void cron_job_decide(struct arena *arena, const struct cron_job *cron_job, struct object **jobs, size_t count,
                     int64_t now, struct cron_plan *plan);
/* How long from now until the next start; 0 or less: the schedule has none, or is none. */
int64_t cron_job_next(const struct cron_job *cron_job, int64_t now);
/* The Job of a time of the schedule, in the arena. Shares parts with the template. */
struct job *cron_job_make(struct arena *arena, const struct cron_job *cron_job, int64_t scheduled);

#endif
