/* Takes the tracking finalizer from pods that no Job will count any more: their Job is gone or has finished, or they
 * have been orphaned. Without this such a pod could never be deleted. Keys are pods. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "control/job.h"

struct orphans {
    struct informer *jobs, *pods;
    int pods_by_owner;
};

/* The Job that controls the pod, if it is there. */
static const struct job *job_of(const struct orphans *own, const struct object *pod)
{
    const struct owner_reference *r = controller_of(pod->meta);
    struct object *job = r ? informer_get(own->jobs, pod->meta->namespace, r->name) : NULL;
    return job && strcmp(job->meta->uid, r->uid) == 0 ? job->value : NULL;
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    (void)old;
    if (change == INFORMER_DELETED || !job_is_tracked(object))
        return;
    /* A Job may be news that is still to come; a pod that is being deleted has none that is new. */
    const struct job *job = job_of(c->state, object);
    if (!controller_of(object->meta) || (object->meta->deletion_timestamp && !job) ||
        (job && job_is_finished(&job->status)))
        controller_enqueue(c, object->meta);
}

static bool enqueue_tracked(void *context, struct object *pod)
{
    if (job_is_tracked(pod))
        controller_enqueue(context, pod->meta);
    return true;
}

static void job_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct orphans *own = c->state;
    (void)old;
    if (change == INFORMER_DELETED || job_is_finished(&((const struct job *)object->value)->status))
        informer_each_indexed(own->pods, own->pods_by_owner, object->meta->uid, enqueue_tracked, c);
}

static void start(struct controller *c)
{
    struct orphans *own = mem_zero(1, sizeof(*own));
    c->state = own;
    own->jobs = informer_set_get(c->informers, &api_resources[API_JOBS]);
    own->pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    own->pods_by_owner = informer_add_index(own->pods, controller_index_owner);
    informer_add_handler(own->jobs, job_changed, c);
    informer_add_handler(own->pods, pod_changed, c);
}

static void stop(struct controller *c)
{
    free(c->state);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct orphans *own = c->state;
    struct object *pod = informer_get(own->pods, work_namespace(work), work_name(work));
    const struct owner_reference *r = pod ? controller_of(pod->meta) : NULL;
    if (!pod || !job_is_tracked(pod))
        return;
    if (r && (strcmp(r->kind, "Job") != 0 || strcmp(r->api_version, "batch/v1") != 0))
        return;
    const struct job *job = job_of(own, pod);
    if (job && (job_is_foreign(job) || !job_is_finished(&job->status)))
        return;
    job_release_pod(work, pod, false, NULL, NULL);
}

const struct controller_kind job_orphan_controller = {
    .name = "job-controller", .queue = "job_orphan_pod", .start = start, .reconcile = reconcile, .stop = stop};
