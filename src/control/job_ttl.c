/* Deletes Jobs ttlSecondsAfterFinished after their end, with what they made. */
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "control/job.h"

/* When the Job is to go; 0: not. */
static int64_t expires_at(const struct job *job)
{
    static const char *const ends[] = {"Complete", "Failed"};
    if (!job->spec.ttl_seconds_after_finished.set || job->metadata.deletion_timestamp)
        return 0;
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        if (job_condition_is_true(&job->status, ends[i]))
            return job_condition_find(&job->status, ends[i])->last_transition_time +
                   job->spec.ttl_seconds_after_finished.value * SECOND;
    return 0;
}

static void job_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED && expires_at(object->value))
        controller_enqueue(context, object->meta);
}

static void start(struct controller *c)
{
    informer_add_handler(informer_set_get(c->informers, &api_resources[API_JOBS]), job_changed, c);
}

struct expiring {
    struct controller *controller;
    struct work *work;
    struct object *object; /* held */
};

/* Somebody may have given it more time. */
static void confirmed(void *context, const struct client_result *result)
{
    struct expiring *e = context;
    if (!client_ok(result) || strcmp(result->object->meta->uid, e->object->meta->uid) != 0)
        return;
    int64_t at = expires_at(result->object->value), now = env_now(e->controller->env);
    if (at && at > now)
        work_again_after(e->work, at - now);
    else if (at)
        work_delete(e->work, e->object->resource, e->object->meta, "Foreground", NULL, NULL);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct informer *jobs = informer_set_get(c->informers, &api_resources[API_JOBS]);
    struct object *object = informer_get(jobs, work_namespace(work), work_name(work));
    int64_t at = object ? expires_at(object->value) : 0, now = env_now(c->env);
    if (!at)
        return;
    if (at > now) {
        work_again_after(work, at - now);
        return;
    }
    struct expiring *e = arena_alloc(work_arena(work), sizeof(*e));
    *e = (struct expiring){c, work, object};
    work_hold(work, object);
    work_submit(work, client_request_new(CLIENT_GET, object->resource, object->meta->namespace, object->meta->name),
                confirmed, e);
}

const struct controller_kind job_ttl_controller = {
    .name = "ttl-after-finished-controller", .queue = "ttl_jobs_to_delete", .start = start, .reconcile = reconcile};
