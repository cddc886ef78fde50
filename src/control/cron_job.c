/* The cronjob controller: lets cron_job_decide say what is due, and carries it out: deletions, the new Job, then the
 * status. A Job's name tells its time of the schedule, so that after a crash no Job is made twice. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "control/controller.h"
#include "control/cron_job_decide.h"

struct cron_jobs {
    struct informer *informer, *jobs;
    int jobs_by_owner;
};

/* ---- Events ---- */

static void cron_job_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    const struct cron_job *now = object->value, *before = change == INFORMER_UPDATED && old ? old->value : NULL;
    int64_t next = 0;
    /* A new schedule counts from now on: what it would have started before is not made up for. */
    if (before && (!text_equal(before->spec.schedule, now->spec.schedule) ||
                   !text_equal(before->spec.time_zone, now->spec.time_zone)))
        next = cron_job_next(now, env_now(c->env));
    if (next > 0)
        queue_add_after(c->queue, object->meta->namespace, object->meta->name, next);
    else
        controller_enqueue(c, object->meta);
}

static void job_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    const struct api_resource *cron_jobs = &api_resources[API_CRONJOBS];
    if (change == INFORMER_UPDATED && old)
        controller_enqueue_owner(c, cron_jobs, old->meta);
    controller_enqueue_owner(c, cron_jobs, object->meta);
}

static void start(struct controller *c)
{
    struct cron_jobs *own = mem_zero(1, sizeof(*own));
    c->state = own;
    own->informer = informer_set_get(c->informers, &api_resources[API_CRONJOBS]);
    own->jobs = informer_set_get(c->informers, &api_resources[API_JOBS]);
    own->jobs_by_owner = informer_add_index(own->jobs, controller_index_owner);
    informer_add_handler(own->informer, cron_job_changed, c);
    informer_add_handler(own->jobs, job_changed, c);
}

static void stop(struct controller *c)
{
    free(c->state);
}

/* ---- One run ---- */

struct cron_run {
    struct controller *controller;
    struct work *work;
    struct object *object; /* held */
    const struct cron_job *cron_job;
    struct cron_plan plan;
    struct job *job; /* the new one */
    size_t deleting;
    bool refused;
    /* the Jobs that it controls */
    struct object **jobs;
    size_t count, room;
};

static const char *message_of(const struct client_result *result)
{
    return result->status && result->status->message ? result->status->message : "";
}

static void record(struct cron_run *run, const char *type, const char *reason, const char *format, const char *text)
{
    cleanup_free char *message = mem_printf("%s%s", format, text);
    recorder_event(run->controller->recorder, run->object->resource, run->object->meta, NULL, type, reason, "%s",
                   message);
}

/* 3. The status. */
static void write_status(struct cron_run *run)
{
    struct cron_job fresh = *run->cron_job;
    fresh.status = run->plan.status;
    if (!api_equal(&api_type_cron_job_status, &fresh.status, &run->cron_job->status))
        work_update(run->work, run->object->resource, "status", &fresh, NULL, NULL);
}

static void note_started(struct cron_run *run, const struct object *job)
{
    struct arena *arena = work_arena(run->work);
    struct cron_job_status *status = &run->plan.status;
    status->active.items[status->active.count++] =
        (struct object_reference){.kind = "Job",
                                  .api_version = "batch/v1",
                                  .namespace = arena_string(arena, job->meta->namespace),
                                  .name = arena_string(arena, job->meta->name),
                                  .uid = arena_string(arena, job->meta->uid),
                                  .resource_version = arena_string(arena, job->meta->resource_version)};
    status->last_schedule_time = run->plan.start;
}

/* A Job of this name is there. It is ours if we made it and could not write it down. */
static void found(void *context, const struct client_result *result)
{
    struct cron_run *run = context;
    const struct owner_reference *r = client_ok(result) ? controller_of(result->object->meta) : NULL;
    bool listed = false;
    for (size_t i = 0; r && i < run->plan.status.active.count; i++)
        listed = listed || text_equal(run->plan.status.active.items[i].uid, result->object->meta->uid);
    if (r && text_equal(r->uid, run->cron_job->metadata.uid) && !listed)
        note_started(run, result->object);
    write_status(run);
}

static void created(void *context, const struct client_result *result)
{
    struct cron_run *run = context;
    if (client_ok(result)) {
        record(run, "Normal", "SuccessfulCreate", "Created job ", result->object->meta->name);
        note_started(run, result->object);
    } else if (result->code == 409) {
        work_submit(run->work,
                    client_request_new(CLIENT_GET, &api_resources[API_JOBS], run->job->metadata.namespace,
                                       run->job->metadata.name),
                    found, run);
        return;
    } else if (controller_namespace_terminating(result)) {
        work_forgive(run->work);
    } else {
        record(run, "Warning", "FailedCreate", "Error creating job: ", message_of(result));
    }
    write_status(run);
}

/* 2. The new Job. */
static void create_job(struct cron_run *run)
{
    if (!run->plan.start) {
        write_status(run);
        return;
    }
    run->job = cron_job_make(work_arena(run->work), run->cron_job, run->plan.start);
    work_create(run->work, &api_resources[API_JOBS], run->job->metadata.namespace, run->job, created, run);
}

struct deletion {
    struct cron_run *run;
    struct object *job; /* held */
};

static void deleted(void *context, const struct client_result *result)
{
    const struct deletion *d = context;
    struct cron_run *run = d->run;
    if (client_ok(result)) {
        record(run, "Normal", "SuccessfulDelete", "Deleted job ", d->job->meta->name);
    } else if (result->code != 404) {
        run->refused = true;
        record(run, "Warning", "FailedDelete", "Deleted job: ", message_of(result));
    }
    if (--run->deleting == 0 && !run->refused)
        create_job(run);
}

static void delete_job(struct cron_run *run, struct object *job)
{
    struct deletion *d = arena_alloc(work_arena(run->work), sizeof(*d));
    *d = (struct deletion){run, job};
    work_hold(run->work, job);
    work_delete(run->work, job->resource, job->meta, "Background", deleted, d);
}

/* 1. Jobs that go. */
static void act(struct cron_run *run)
{
    const struct cron_plan *plan = &run->plan;
    for (size_t i = 0; i < plan->event_count; i++)
        record(run, plan->events[i].type, plan->events[i].reason, "", plan->events[i].message);
    run->deleting = plan->history_count + plan->replaced_count;
    if (!run->deleting)
        create_job(run);
    for (size_t i = 0; i < plan->history_count; i++)
        delete_job(run, plan->history[i]);
    for (size_t i = 0; i < plan->replaced_count; i++)
        delete_job(run, plan->replaced[i]);
}

static bool collect(void *context, struct object *job)
{
    struct cron_run *run = context;
    if (run->count == run->room) {
        run->room += run->room + 16;
        run->jobs = arena_array_grow(work_arena(run->work), run->jobs, run->count, run->room - run->count,
                                     sizeof(struct object *));
    }
    run->jobs[run->count++] = job;
    return true;
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct cron_jobs *own = c->state;
    struct object *object = informer_get(own->informer, work_namespace(work), work_name(work));
    if (!object)
        return;
    struct cron_run *run = arena_alloc(work_arena(work), sizeof(*run));
    *run = (struct cron_run){.controller = c, .work = work, .object = object, .cron_job = object->value};
    work_hold(work, object);
    informer_each_indexed(own->jobs, own->jobs_by_owner, object->meta->uid, collect, run);
    cron_job_decide(work_arena(work), run->cron_job, run->jobs, run->count, env_now(c->env), &run->plan);
    if (run->plan.again_after)
        work_again_after(work, run->plan.again_after);
    act(run);
}

const struct controller_kind cron_job_controller = {
    .name = "cronjob-controller", .queue = "cronjob", .start = start, .reconcile = reconcile, .stop = stop};
