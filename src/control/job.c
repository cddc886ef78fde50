/* The job controller: observes a Job and its pods, lets job_decide say what is due, and carries it out step by step:
 * deletions or creations of pods, then the status, then the finalizers of the pods that the status lists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/selector.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "control/job.h"
#include "control/job_decide.h"
#include "control/pod_control.h"

/* A generated name is a base of at most 58 characters and 5 random ones. */
#define NAME_BASE_MAX 58

struct jobs {
    struct informer *informer, *pods;
    int pods_by_owner;
    struct map backoffs; /* uid -> struct job_backoff */
};

/* ---- Events ---- */

static void job_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct jobs *own = c->state;
    (void)old;
    if (change == INFORMER_DELETED)
        free(map_remove(&own->backoffs, object->meta->uid));
    controller_enqueue(c, object->meta);
}

struct matching {
    struct controller *controller;
    const struct pod *pod;
};

static bool enqueue_if_matching(void *context, struct object *object)
{
    struct matching *m = context;
    const struct job *job = object->value;
    const struct selector *selector;
    cleanup_arena struct arena *arena = arena_new(0);
    if (!job_is_finished(&job->status) &&
        selector_from_label_selector(arena, job->spec.selector, &selector, NULL) == 0 &&
        selector_matches(selector, &m->pod->metadata.labels))
        controller_enqueue(m->controller, object->meta);
    return true;
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct jobs *own = c->state;
    const struct api_resource *jobs = &api_resources[API_JOBS];
    if (change == INFORMER_UPDATED && old)
        controller_enqueue_owner(c, jobs, old->meta);
    if (controller_of(object->meta)) {
        controller_enqueue_owner(c, jobs, object->meta);
    } else if (change != INFORMER_DELETED) {
        struct matching m = {c, object->value};
        informer_each(own->informer, object->meta->namespace, enqueue_if_matching, &m);
    }
}

static void start(struct controller *c)
{
    struct jobs *own = mem_zero(1, sizeof(*own));
    c->state = own;
    own->informer = informer_set_get(c->informers, &api_resources[API_JOBS]);
    own->pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    own->pods_by_owner = informer_add_index(own->pods, controller_index_owner);
    informer_add_handler(own->informer, job_changed, c);
    informer_add_handler(own->pods, pod_changed, c);
}

static void stop(struct controller *c)
{
    struct jobs *own = c->state;
    for (struct map_slot *s = NULL; (s = map_next(&own->backoffs, s));)
        free(s->value);
    map_free(&own->backoffs);
    free(own);
}

/* ---- One run ---- */

struct job_run {
    struct controller *controller;
    struct work *work;
    struct object *object; /* held */
    const struct job *job;
    struct job_plan plan;
    size_t deleting; /* not answered yet */
    bool refused;
    struct pod *template; /* of the pods to create */
    struct pod_creation creation;
};

void job_release_pod(struct work *work, struct object *pod, bool as_seen, client_done done, void *context)
{
    struct arena *arena = work_arena(work);
    const char *revision =
        as_seen ? arena_printf(arena, ",\"resourceVersion\":\"%s\"", pod->meta->resource_version) : "";
    const char *patch = arena_printf(arena,
                                     "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":"
                                     "[\"" JOB_TRACKING_FINALIZER "\"],\"uid\":\"%s\"%s}}",
                                     pod->meta->uid, revision);
    work_hold(work, pod);
    work_patch(work, pod->resource, NULL, pod->meta, PATCH_STRATEGIC, patch, done, context);
}

bool job_is_tracked(const struct object *pod)
{
    for (size_t i = 0; i < pod->meta->finalizers.count; i++)
        if (strcmp(pod->meta->finalizers.items[i], JOB_TRACKING_FINALIZER) == 0)
            return true;
    return false;
}

bool job_is_foreign(const struct job *job)
{
    return job->spec.managed_by && strcmp(job->spec.managed_by, JOB_CONTROLLER_NAME) != 0;
}

/* 3. Finalizers. */
static void release_pods(struct job_run *run)
{
    for (size_t i = 0; i < run->plan.release_count; i++)
        job_release_pod(run->work, run->plan.releases[i], false, NULL, NULL);
}

static void record(struct job_run *run, const char *type, const char *reason, const char *message)
{
    recorder_event(run->controller->recorder, run->object->resource, run->object->meta, NULL, type, reason, "%s",
                   message);
}

static void remember(struct job_run *run)
{
    struct jobs *own = run->controller->state;
    const char *uid = run->job->metadata.uid;
    struct job_backoff *backoff = map_get(&own->backoffs, uid);
    if (!run->plan.backoff.failures || run->plan.finished) {
        free(map_remove(&own->backoffs, uid));
        return;
    }
    if (!backoff) {
        backoff = mem_zero(1, sizeof(*backoff));
        map_set(&own->backoffs, uid, backoff);
    }
    *backoff = run->plan.backoff;
}

static void status_written(void *context, const struct client_result *result)
{
    struct job_run *run = context;
    const struct job_plan *plan = &run->plan;
    if (!client_ok(result))
        return;
    remember(run);
    if (plan->suspended)
        record(run, "Normal", "Suspended", "Job suspended");
    if (plan->resumed)
        record(run, "Normal", "Resumed", "Job resumed");
    if (plan->too_many)
        record(run, "Warning", "TooManySucceededPods",
               "Too many succeeded pods running after completion count reached");
    if (plan->finished && strcmp(plan->finished->type, "Complete") == 0)
        record(run, "Normal", "Completed", "Job completed");
    else if (plan->finished)
        record(run, "Warning", plan->finished->reason, plan->finished->message);
    release_pods(run);
}

/* 2. The status. */
static void write_status(struct job_run *run)
{
    struct job fresh = *run->job;
    fresh.status = run->plan.status;
    if (api_equal(&api_type_job_status, &fresh.status, &run->job->status))
        release_pods(run);
    else
        work_update(run->work, run->object->resource, "status", &fresh, status_written, run);
}

/* 1. Pods. */

static void pods_created(void *context, size_t created)
{
    struct job_run *run = context;
    run->plan.status.active -= (int32_t)(run->plan.creation_count - created);
    write_status(run);
}

static void pod_deleted(void *context, const char *refused)
{
    struct job_run *run = context;
    run->refused = run->refused || refused;
    if (--run->deleting == 0 && !run->refused)
        write_status(run);
}

struct deletion {
    struct job_run *run;
    struct object *pod;
};

static void released_for_deletion(void *context, const struct client_result *result)
{
    struct deletion *d = context;
    struct job_run *run = d->run;
    if (client_ok(result))
        pod_control_delete(run->controller, run->work, run->object, d->pod, pod_deleted, run);
    else
        pod_deleted(run, result->code == 404 ? NULL : "not released");
}

static void delete_pods(struct job_run *run)
{
    const struct job_plan *plan = &run->plan;
    run->deleting = plan->deletion_count;
    for (size_t i = 0; i < plan->deletion_count; i++) {
        struct object *pod = plan->deletions[i];
        if (!plan->release_first || !job_is_tracked(pod)) {
            pod_control_delete(run->controller, run->work, run->object, pod, pod_deleted, run);
            continue;
        }
        struct deletion *d = arena_alloc(work_arena(run->work), sizeof(*d));
        *d = (struct deletion){run, pod};
        /* It is not to be counted, unless it has succeeded just now. */
        job_release_pod(run->work, pod, true, released_for_deletion, d);
    }
}

/* The variable that tells a container its index. */
static void add_index_variable(struct arena *arena, struct container_array *containers)
{
    static struct object_field_selector field = {.field_path = "metadata.labels['" JOB_COMPLETION_INDEX "']"};
    static struct env_var_source source = {.field_ref = &field};
    containers->items = arena_array_grow(arena, containers->items, containers->count, 0, sizeof(*containers->items));
    for (size_t i = 0; i < containers->count; i++) {
        struct env_var_array *env = &containers->items[i].env;
        size_t k = 0;
        while (k < env->count && strcmp(env->items[k].name, "JOB_COMPLETION_INDEX") != 0)
            k++;
        if (k < env->count)
            continue;
        env->items = arena_array_grow(arena, env->items, env->count, 1, sizeof(*env->items));
        env->items[env->count++] = (struct env_var){.name = "JOB_COMPLETION_INDEX", .value_from = &source};
    }
}

static struct pod *make_template(struct job_run *run)
{
    struct arena *arena = work_arena(run->work);
    struct pod *pod = pod_control_from_template(run->work, run->object, &run->job->spec.template);
    struct string_array *finalizers = &pod->metadata.finalizers;
    bool tracked = false;
    for (size_t i = 0; i < finalizers->count; i++)
        tracked = tracked || strcmp(finalizers->items[i], JOB_TRACKING_FINALIZER) == 0;
    if (!tracked) {
        finalizers->items =
            arena_array_grow(arena, finalizers->items, finalizers->count, 1, sizeof(*finalizers->items));
        finalizers->items[finalizers->count++] = JOB_TRACKING_FINALIZER;
    }
    if (job_is_indexed(&run->job->spec)) {
        add_index_variable(arena, &pod->spec.init_containers);
        add_index_variable(arena, &pod->spec.containers);
    }
    return pod;
}

static struct pod *make_pod(void *context, size_t i)
{
    struct job_run *run = context;
    struct arena *arena = work_arena(run->work);
    const struct job_creation *creation = &run->plan.creations[i];
    if (creation->index < 0)
        return run->template;
    struct pod *pod = arena_copy(arena, run->template, sizeof(*pod));
    struct string_map *annotations = &pod->metadata.annotations;
    const char *name = run->job->metadata.name, *index = arena_printf(arena, "%d", creation->index);
    string_map_set(arena, annotations, JOB_COMPLETION_INDEX, index);
    string_map_set(arena, &pod->metadata.labels, JOB_COMPLETION_INDEX, index);
    if (run->job->spec.backoff_limit_per_index.set)
        string_map_set(arena, annotations, JOB_INDEX_FAILURE_COUNT, arena_printf(arena, "%d", creation->failures));
    if (run->job->spec.backoff_limit_per_index.set && creation->ignored)
        string_map_set(arena, annotations, JOB_INDEX_IGNORED_FAILURE_COUNT,
                       arena_printf(arena, "%d", creation->ignored));
    pod->spec.hostname = arena_printf(arena, "%s-%s", name, index);
    pod->metadata.generate_name = arena_printf(arena, "%.*s-%s-", NAME_BASE_MAX - 2 - (int)strlen(index), name, index);
    return pod;
}

static void act(struct job_run *run)
{
    if (run->plan.deletion_count) {
        delete_pods(run);
        return;
    }
    if (run->plan.creation_count)
        run->template = make_template(run);
    run->creation = (struct pod_creation){.controller = run->controller,
                                          .work = run->work,
                                          .owner = run->object,
                                          .count = run->plan.creation_count,
                                          .pod = make_pod,
                                          .done = pods_created,
                                          .context = run};
    pod_control_create(&run->creation);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct jobs *own = c->state;
    struct object *object = informer_get(own->informer, work_namespace(work), work_name(work));
    const struct job *job = object ? object->value : NULL;
    if (!job || job_is_foreign(job) || job_is_finished(&job->status))
        return;
    struct claim claim = {.owner_resource = object->resource,
                          .owner = object->meta,
                          .resource = &api_resources[API_PODS],
                          .index = own->pods_by_owner,
                          .finalizer = JOB_TRACKING_FINALIZER};
    struct object_array pods;
    if (selector_from_label_selector(work_arena(work), job->spec.selector, &claim.selector, NULL) < 0)
        return;
    work_hold(work, object);
    if (!controller_claim(c, work, &claim, &pods))
        return;
    struct job_run *run = arena_alloc(work_arena(work), sizeof(*run));
    *run = (struct job_run){.controller = c, .work = work, .object = object, .job = job};
    const struct job_backoff *backoff = map_get(&own->backoffs, job->metadata.uid);
    struct job_observation seen = {.job = job, .pods = pods.items, .count = pods.count, .now = env_now(c->env)};
    if (backoff)
        seen.backoff = *backoff;
    for (size_t i = 0; i < pods.count; i++)
        work_hold(work, pods.items[i]);
    job_decide(work_arena(work), &seen, &run->plan);
    if (run->plan.again_after)
        work_again_after(work, run->plan.again_after);
    act(run);
}

const struct controller_kind job_controller = {
    .name = "job-controller", .queue = "job", .start = start, .reconcile = reconcile, .stop = stop};
