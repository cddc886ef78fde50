#include "control/cron_job_decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/timestamp.h"
#include "control/controller.h"

struct deciding {
    struct arena *arena;
    const struct cron_job *cron_job;
    const struct cron_job_spec *spec;
    struct object **jobs;
    size_t count;
    int64_t now;
    struct cron_plan *plan;
    struct cron_job_status *status;
    size_t event_room;
};

static void __attribute__((format(printf, 4, 5)))
event(struct deciding *d, const char *type, const char *reason, const char *format, ...)
{
    char message[1024];
    va_list args;
    struct cron_plan *plan = d->plan;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (plan->event_count == d->event_room) {
        plan->events = arena_array_grow(d->arena, plan->events, plan->event_count, 8, sizeof(*plan->events));
        d->event_room += 8;
    }
    plan->events[plan->event_count++] = (struct cron_event){type, reason, arena_string(d->arena, message)};
}

static const struct job *job_of(const struct object *object)
{
    return object->value;
}

/* ---- The list of active Jobs ---- */

static bool is_listed(const struct deciding *d, const char *uid)
{
    for (size_t i = 0; i < d->status->active.count; i++)
        if (text_equal(d->status->active.items[i].uid, uid))
            return true;
    return false;
}

static void unlist(struct deciding *d, const char *uid)
{
    struct object_reference_array *active = &d->status->active;
    size_t kept = 0;
    for (size_t i = 0; i < active->count; i++)
        if (!text_equal(active->items[i].uid, uid))
            active->items[kept++] = active->items[i];
    active->count = kept;
}

static struct object *find_job(const struct deciding *d, const char *uid)
{
    for (size_t i = 0; i < d->count; i++)
        if (text_equal(d->jobs[i]->meta->uid, uid))
            return d->jobs[i];
    return NULL;
}

static void follow_jobs(struct deciding *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct object_meta *meta = d->jobs[i]->meta;
        const struct job_status *s = &job_of(d->jobs[i])->status;
        bool listed = is_listed(d, meta->uid), finished = job_is_finished(s);
        bool complete = job_condition_is_true(s, "Complete");
        if (!listed && !finished) {
            event(d, "Warning", "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s",
                  meta->name);
        } else if (listed && finished) {
            unlist(d, meta->uid);
            event(d, "Normal", "SawCompletedJob", "Saw completed job: %s, condition: %s", meta->name,
                  complete ? "Complete" : "Failed");
        }
        if (complete && s->completion_time > d->status->last_successful_time)
            d->status->last_successful_time = s->completion_time;
    }
    for (size_t i = 0; i < d->status->active.count;) {
        const struct object_reference r = d->status->active.items[i];
        if (find_job(d, r.uid)) {
            i++;
            continue;
        }
        event(d, "Normal", "MissingJob", "Active job went missing: %s", r.name);
        unlist(d, r.uid);
    }
}

/* ---- History ---- */

/* By their start, those that have not started last. */
static int compare_starts(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    int64_t s = job_of(x)->status.start_time, t = job_of(y)->status.start_time;
    if (s == t)
        return strcmp(x->meta->name, y->meta->name);
    return !s ? 1 : !t ? -1 : s < t ? -1 : 1;
}

static void clean_up(struct deciding *d, const char *condition, struct opt_int32 limit)
{
    size_t found = 0;
    for (size_t i = 0; i < d->count; i++)
        found += job_condition_is_true(&job_of(d->jobs[i])->status, condition);
    if (!limit.set)
        return;
    for (size_t i = 0; i < d->count && found > (size_t)limit.value; i++) {
        if (!job_condition_is_true(&job_of(d->jobs[i])->status, condition))
            continue;
        found--;
        if (!d->jobs[i]->meta->deletion_timestamp)
            d->plan->history[d->plan->history_count++] = d->jobs[i];
        unlist(d, d->jobs[i]->meta->uid);
    }
}

/* ---- Times ---- */

enum missed { MISSED_NONE, MISSED_FEW, MISSED_MANY };

struct recent {
    int64_t earliest; /* the last start, or when the CronJob was made */
    int64_t at;       /* the last time of the schedule that has passed since; 0: none */
    enum missed missed;
    bool invalid; /* the schedule never comes, as that of February 31st */
};

/* The last time of the schedule in (after, now]. */
static int64_t last_before(const struct cron_schedule *schedule, int64_t after, int64_t now)
{
    int64_t from = after, last = 0;
    /* Steps back that double find where to begin, so that a schedule with a crowd of times is not walked through. */
    for (int64_t back = MINUTE; !schedule->every && now - back > after; back *= 2) {
        int64_t at = cron_next(schedule, now - back);
        if (at && at <= now) {
            from = now - back;
            break;
        }
    }
    for (int64_t at = cron_next(schedule, from); at && at <= now; at = cron_next(schedule, at))
        last = at;
    return last;
}

static struct recent find_recent(const struct cron_job *cron_job, const struct cron_schedule *schedule, int64_t now,
                                 bool by_deadline)
{
    const struct opt_int64 *deadline = &cron_job->spec.starting_deadline_seconds;
    struct recent r = {.earliest = cron_job->metadata.creation_timestamp};
    if (cron_job->status.last_schedule_time)
        r.earliest = cron_job->status.last_schedule_time;
    if (by_deadline && deadline->set && deadline->value < now / SECOND && now - deadline->value * SECOND > r.earliest)
        r.earliest = now - deadline->value * SECOND;
    int64_t first = cron_next(schedule, r.earliest), second = first ? cron_next(schedule, first) : 0;
    if (first && now < first)
        return r;
    if (first && (now < second || !second)) {
        r.at = first;
        return r;
    }
    /* How many there were is estimated by the distance of the first two. */
    int64_t distance = (second - first) / SECOND;
    if (!first || distance < 1) {
        r.invalid = true;
        return r;
    }
    int64_t count = (now - first) / SECOND / distance + 1;
    r.missed = count > CRON_MISSED_MAX ? MISSED_MANY : MISSED_FEW;
    r.at = last_before(schedule, first + (count - 2) * distance * SECOND, now);
    return r;
}

static int64_t next_after(const struct cron_job *cron_job, const struct cron_schedule *schedule, int64_t now)
{
    struct recent r = find_recent(cron_job, schedule, now, false);
    int64_t from = r.at ? r.at : r.invalid || r.missed != MISSED_NONE ? now : r.earliest;
    int64_t at = cron_next(schedule, from);
    return at ? at + CRON_PADDING - now : 0;
}

/* NULL, or what is wrong with the schedule. */
static const char *parse(struct arena *arena, const struct cron_job_spec *spec, struct cron_schedule *schedule)
{
    const char *zone = spec->time_zone ? spec->time_zone : "Local";
    const struct timezone_data *data = timezone_find(zone);
    return cron_parse(arena, spec->schedule ? spec->schedule : "", data ? data : timezone_find(""), schedule);
}

int64_t cron_job_next(const struct cron_job *cron_job, int64_t now)
{
    struct cron_schedule schedule;
    cleanup_arena struct arena *arena = arena_new(0);
    return parse(arena, &cron_job->spec, &schedule) ? 0 : next_after(cron_job, &schedule, now);
}

/* "Mon, 02 Jan 2006 15:04:05 +0000". */
static const char *mail_date(struct arena *arena, int64_t at)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil_time t = civil_from_instant(timezone_find(""), at / SECOND);
    return arena_printf(arena, "%s, %02d %s %lld %02d:%02d:%02d +0000", days[t.weekday], t.day, months[t.month - 1],
                        (long long)t.year, t.hour, t.minute, t.second);
}

/* ---- Starting ---- */

static char *job_name(struct arena *arena, const struct cron_job *cron_job, int64_t scheduled)
{
    return arena_printf(arena, "%s-%lld", cron_job->metadata.name, (long long)(scheduled / MINUTE));
}

static bool is_started(const struct deciding *d, int64_t scheduled)
{
    const char *name = job_name(d->arena, d->cron_job, scheduled);
    for (size_t i = 0; i < d->status->active.count; i++)
        if (text_equal(d->status->active.items[i].name, name))
            return true;
    return d->status->last_schedule_time == scheduled;
}

static void start_at(struct deciding *d, int64_t scheduled)
{
    const struct opt_int64 *deadline = &d->spec->starting_deadline_seconds;
    if (deadline->set && deadline->value < d->now / SECOND && scheduled + deadline->value * SECOND < d->now) {
        event(d, "Warning", "MissSchedule", "Missed scheduled time to start a job: %s", mail_date(d->arena, scheduled));
        return;
    }
    if (is_started(d, scheduled))
        return;
    if (text_equal(d->spec->concurrency_policy, "Forbid") && d->status->active.count) {
        event(d, "Normal", "JobAlreadyActive",
              "Not starting job because prior execution is running and concurrency policy is Forbid");
        return;
    }
    if (text_equal(d->spec->concurrency_policy, "Replace")) {
        for (size_t i = 0; i < d->status->active.count; i++) {
            struct object *job = find_job(d, d->status->active.items[i].uid);
            if (job)
                d->plan->replaced[d->plan->replaced_count++] = job;
        }
        d->status->active.count = 0;
    }
    d->plan->start = scheduled;
}

static void decide_start(struct deciding *d)
{
    struct cron_schedule schedule;
    const char *zone = d->spec->time_zone, *text = d->spec->schedule ? d->spec->schedule : "";
    if (zone && !timezone_find(zone)) {
        event(d, "Warning", "UnknownTimeZone", "invalid timeZone: \"%s\": unknown time zone %s", zone, zone);
        return;
    }
    if (d->spec->suspend.set && d->spec->suspend.value)
        return;
    if (strstr(text, "TZ"))
        event(d, "Warning", "UnsupportedSchedule",
              "CRON_TZ or TZ used in schedule \"%s\" is not officially supported, see "
              "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
              text);
    const char *problem = parse(d->arena, d->spec, &schedule);
    if (problem) {
        event(d, "Warning", "UnparseableSchedule", "unparseable schedule: \"%s\" : %s", text, problem);
        return;
    }
    struct recent r = find_recent(d->cron_job, &schedule, d->now, true);
    if (r.invalid) {
        event(d, "Warning", "InvalidSchedule",
              "invalid schedule: %s : time difference between two schedules is less than 1 second", text);
        return;
    }
    if (r.at && r.missed == MISSED_MANY)
        event(d, "Warning", "TooManyMissedTimes",
              "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
    if (r.at)
        start_at(d, r.at);
    struct cron_job after = *d->cron_job;
    if (d->plan->start)
        after.status.last_schedule_time = d->plan->start;
    int64_t next = next_after(&after, &schedule, d->now);
    d->plan->again_after = next > 0 ? next : 0;
}

void cron_job_decide(struct arena *arena, const struct cron_job *cron_job, struct object **jobs, size_t count,
                     int64_t now, struct cron_plan *plan)
{
    *plan = (struct cron_plan){.status = cron_job->status};
    struct deciding d = {.arena = arena,
                         .cron_job = cron_job,
                         .spec = &cron_job->spec,
                         .jobs = jobs,
                         .count = count,
                         .now = now,
                         .plan = plan,
                         .status = &plan->status};
    struct object_reference_array *active = &plan->status.active;
    active->items = arena_array_grow(arena, active->items, active->count, 1, sizeof(*active->items));
    plan->history = arena_alloc(arena, (count + 1) * sizeof(struct object *));
    plan->replaced = arena_alloc(arena, (active->count + 1) * sizeof(struct object *));
    if (count)
        qsort(jobs, count, sizeof(struct object *), compare_starts);
    clean_up(&d, "Complete", cron_job->spec.successful_jobs_history_limit);
    clean_up(&d, "Failed", cron_job->spec.failed_jobs_history_limit);
    follow_jobs(&d);
    if (!cron_job->metadata.deletion_timestamp)
        decide_start(&d);
}

/* RFC 3339, with the offset of the zone. */
static const char *zoned_time(struct arena *arena, const struct cron_job *cron_job, int64_t at)
{
    const struct timezone_data *zone = timezone_find(cron_job->spec.time_zone ? cron_job->spec.time_zone : "");
    if (!zone)
        zone = timezone_find("");
    struct civil_time t = civil_from_instant(zone, at / SECOND);
    int32_t offset = timezone_offset(zone, at / SECOND, NULL, NULL) / 60;
    const char *local = arena_printf(arena, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)t.year, t.month, t.day,
                                     t.hour, t.minute, t.second);
    return offset
               ? arena_printf(arena, "%s%c%02d:%02d", local, offset < 0 ? '-' : '+', abs(offset) / 60, abs(offset) % 60)
               : arena_printf(arena, "%sZ", local);
}

struct job *cron_job_make(struct arena *arena, const struct cron_job *cron_job, int64_t scheduled)
{
    const struct job_template_spec *template = &cron_job->spec.job_template;
    struct owner_reference *reference = arena_alloc(arena, sizeof(*reference));
    struct job *job = arena_alloc(arena, sizeof(*job));
    *reference = controller_reference(&api_resources[API_CRONJOBS], &cron_job->metadata);
    job->metadata.name = job_name(arena, cron_job, scheduled);
    job->metadata.namespace = cron_job->metadata.namespace;
    job->metadata.labels = template->metadata.labels;
    job->metadata.annotations = template->metadata.annotations;
    string_map_set(arena, &job->metadata.annotations, CRON_SCHEDULED_ANNOTATION,
                   zoned_time(arena, cron_job, scheduled));
    job->metadata.owner_references.items = reference;
    job->metadata.owner_references.count = 1;
    job->spec = template->spec;
    return job;
}
