/* The status of a Deployment: counts, and the conditions Available, Progressing and ReplicaFailure. */
#include <string.h>

#include "api/json.h"
#include "base/timestamp.h"
#include "control/deployment.h"

#define CONDITIONS_MAX 16

struct conditions {
    struct deployment_condition items[CONDITIONS_MAX];
    size_t count;
};

static struct deployment_condition *find(struct conditions *c, const char *type)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->items[i].type, type) == 0)
            return &c->items[i];
    return NULL;
}

static void drop(struct conditions *c, const char *type)
{
    struct deployment_condition *at = find(c, type);
    if (at)
        memmove(at, at + 1, (size_t)(&c->items[--c->count] - at) * sizeof(*at));
}

/* As upstream's SetDeploymentCondition: the same status and reason change nothing; the same status keeps the time of
 * the transition. */
static void set(struct conditions *c, const char *type, const char *status, const char *reason, const char *message,
                int64_t now)
{
    now = now / SECOND * SECOND;
    struct deployment_condition *old = find(c, type);
    struct deployment_condition fresh = {.type = type,
                                         .status = status,
                                         .reason = reason,
                                         .message = message,
                                         .last_update_time = now,
                                         .last_transition_time = now};
    if (old && strcmp(old->status, status) == 0 && old->reason && strcmp(old->reason, reason) == 0)
        return;
    if (old && strcmp(old->status, status) == 0)
        fresh.last_transition_time = old->last_transition_time;
    drop(c, type);
    if (c->count < CONDITIONS_MAX)
        c->items[c->count++] = fresh;
}

/* The pods that end, over all sets; not set while the count of one is not known. */
static struct opt_int32 terminating(const struct rollout *r)
{
    struct opt_int32 sum = opt_int32(0);
    for (size_t i = 0; i < r->count; i++) {
        struct opt_int32 one = r->sets[i].rs->status.terminating_replicas;
        if (!one.set)
            return one;
        sum.value += one.value;
    }
    return sum;
}

struct deployment_status deployment_status_now(struct deployment_run *run)
{
    const struct rollout *r = &run->rollout;
    const struct deployment *d = run->deployment;
    struct deployment_status s = d->status;
    int32_t total = 0;
    for (size_t i = 0; i < r->count; i++)
        total += r->sets[i].replicas;
    s.observed_generation = d->metadata.generation;
    s.replicas = rollout_status_replicas(r);
    s.updated_replicas = r->fresh ? r->fresh->rs->status.replicas : 0;
    s.ready_replicas = rollout_ready(r);
    s.available_replicas = rollout_available(r, true);
    s.unavailable_replicas = total > s.available_replicas ? total - s.available_replicas : 0;
    s.terminating_replicas = terminating(r);
    return s;
}

static bool has_deadline(const struct deployment *d)
{
    return d->spec.progress_deadline_seconds.set && d->spec.progress_deadline_seconds.value != INT32_MAX;
}

static bool progressed(const struct deployment_status *old, const struct deployment_status *now)
{
    return now->updated_replicas > old->updated_replicas ||
           now->replicas - now->updated_replicas < old->replicas - old->updated_replicas ||
           now->ready_replicas > old->ready_replicas || now->available_replicas > old->available_replicas;
}

static bool reason_is(const struct deployment_condition *c, const char *reason)
{
    return c && c->reason && strcmp(c->reason, reason) == 0;
}

/* When the rollout that this condition speaks of is out of time; 0: never. */
static int64_t deadline(const struct deployment_run *run, const struct deployment_condition *c)
{
    if (!c || reason_is(c, "NewReplicaSetAvailable"))
        return 0;
    return c->last_update_time + run->deployment->spec.progress_deadline_seconds.value * SECOND;
}

static void judge_progress(struct deployment_run *run, const struct deployment_status *s, struct conditions *c)
{
    const struct rollout *r = &run->rollout;
    const struct deployment *d = run->deployment;
    struct deployment_condition *now = find(c, "Progressing");
    const char *what = r->fresh ? arena_printf(run->arena, "ReplicaSet \"%s\"", r->fresh->object->meta->name)
                                : arena_printf(run->arena, "Deployment \"%s\"", d->metadata.name);
    if (!has_deadline(d)) {
        drop(c, "Progressing");
        return;
    }
    if (run->progress_reason) {
        set(c, "Progressing", run->progress_status, run->progress_reason, run->progress_message, run->now);
        return;
    }
    if (d->spec.paused) {
        if (!reason_is(now, "ProgressDeadlineExceeded"))
            set(c, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", run->now);
        return;
    }
    if (reason_is(now, "DeploymentPaused"))
        set(c, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", run->now);
    if (run->is_scaling)
        return;
    now = find(c, "Progressing");
    if (s->replicas == s->updated_replicas && reason_is(now, "NewReplicaSetAvailable"))
        return;
    if (rollout_complete(r, s)) {
        set(c, "Progressing", "True", "NewReplicaSetAvailable",
            arena_printf(run->arena, "%s has successfully progressed.", what), run->now);
    } else if (progressed(&d->status, s)) {
        const char *message = arena_printf(run->arena, "%s is progressing.", what);
        bool kept = now && strcmp(now->status, "True") == 0;
        int64_t since = kept ? now->last_transition_time : 0;
        drop(c, "Progressing");
        set(c, "Progressing", "True", "ReplicaSetUpdated", message, run->now);
        if (kept)
            find(c, "Progressing")->last_transition_time = since;
    } else if (now && (reason_is(now, "ProgressDeadlineExceeded") ||
                       (deadline(run, now) && deadline(run, now) < run->now))) {
        set(c, "Progressing", "False", "ProgressDeadlineExceeded",
            arena_printf(run->arena, "%s has timed out progressing.", what), run->now);
    }
}

/* A failure of a ReplicaSet is the Deployment's, the new set's first. */
static void pass_on_failure(struct deployment_run *run, struct conditions *c)
{
    const struct rollout *r = &run->rollout;
    const struct replica_set_condition *failure = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const struct replica_set_condition_array *list = &r->sets[i].rs->status.conditions;
        for (size_t k = 0; k < list->count; k++)
            if (strcmp(list->items[k].type, "ReplicaFailure") == 0 && (!failure || &r->sets[i] == r->fresh))
                failure = &list->items[k];
    }
    if (failure)
        set(c, "ReplicaFailure", failure->status, failure->reason, failure->message, failure->last_transition_time);
    else
        drop(c, "ReplicaFailure");
}

void deployment_write_status(struct deployment_run *run)
{
    const struct deployment *d = run->deployment;
    struct deployment fresh = *d;
    struct conditions c = {.count = 0};
    for (size_t i = 0; i < d->status.conditions.count && c.count < CONDITIONS_MAX; i++)
        c.items[c.count++] = d->status.conditions.items[i];
    fresh.status = deployment_status_now(run);
    if (fresh.status.available_replicas >= deployment_replicas(d) - rollout_max_unavailable(d))
        set(&c, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", run->now);
    else
        set(&c, "Available", "False", "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.", run->now);
    judge_progress(run, &fresh.status, &c);
    pass_on_failure(run, &c);
    fresh.status.conditions.items = c.items;
    fresh.status.conditions.count = c.count;

    struct deployment_condition *progress = find(&c, "Progressing");
    if (!d->spec.paused && progress && !reason_is(progress, "ProgressDeadlineExceeded") && deadline(run, progress))
        work_again_after(run->work, deadline(run, progress) - run->now + SECOND);
    if (!api_equal(&api_type_deployment_status, &fresh.status, &d->status))
        work_update(run->work, run->object->resource, "status", &fresh, NULL, NULL);
}
