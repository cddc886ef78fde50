/* The Deployment controller. One run reads as upstream's syncDeployment: claim the ReplicaSets, find the new one,
 * scale or roll, write the status. Each run makes the one step that the observation allows; what it writes comes
 * back as events and leads to the next run. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "control/deployment.h"

static void deployment_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change, (void)old;
    controller_enqueue(context, object->meta);
}

struct matching {
    struct controller *controller;
    const struct object_meta *meta;
};

static bool enqueue_if_matching(void *context, struct object *object)
{
    struct matching *m = context;
    const struct deployment *d = object->value;
    const struct selector *selector;
    cleanup_arena struct arena *arena = arena_new(0);
    if (selector_from_label_selector(arena, d->spec.selector, &selector, NULL) == 0 && !selector_is_empty(selector) &&
        selector_matches(selector, &m->meta->labels))
        controller_enqueue(m->controller, object->meta);
    return true;
}

static void replica_set_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct deployments *own = c->state;
    const struct api_resource *deployments = &api_resources[API_DEPLOYMENTS];
    if (old)
        controller_enqueue_owner(c, deployments, old->meta);
    if (controller_of(object->meta)) {
        controller_enqueue_owner(c, deployments, object->meta);
    } else if (change != INFORMER_DELETED) {
        struct matching m = {c, object->meta};
        informer_each(own->informer, object->meta->namespace, enqueue_if_matching, &m);
    }
}

/* Recreate waits for the last old pod to go. */
static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct deployments *own = c->state;
    (void)old;
    if (change != INFORMER_DELETED && !pod_has_ended(object->value))
        return;
    const struct owner_reference *owner = controller_of(object->meta);
    struct object *rs =
        owner ? informer_get(own->replica_sets, object->meta->namespace, owner->name) : NULL;
    if (rs)
        controller_enqueue_owner(c, &api_resources[API_DEPLOYMENTS], rs->meta);
}

static void start(struct controller *c)
{
    struct deployments *own = mem_zero(1, sizeof(*own));
    c->state = own;
    own->informer = informer_set_get(c->informers, &api_resources[API_DEPLOYMENTS]);
    own->replica_sets = informer_set_get(c->informers, &api_resources[API_REPLICASETS]);
    own->pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    own->replica_sets_by_owner = informer_add_index(own->replica_sets, controller_index_owner);
    own->pods_by_owner = informer_add_index(own->pods, controller_index_owner);
    informer_add_handler(own->informer, deployment_changed, c);
    informer_add_handler(own->replica_sets, replica_set_changed, c);
    informer_add_handler(own->pods, pod_changed, c);
}

static void stop(struct controller *c)
{
    free(c->state);
}

/* ---- Observation ---- */

static int oldest_first(const void *a, const void *b)
{
    const struct rollout_set *x = a, *y = b;
    int64_t s = x->object->meta->creation_timestamp, t = y->object->meta->creation_timestamp;
    return s != t ? (s < t ? -1 : 1) : strcmp(x->object->meta->name, y->object->meta->name);
}

/* The sets that the Deployment controls, and which of them has its template. */
static void observe(struct deployment_run *run, const struct object_array *claimed)
{
    struct rollout *r = &run->rollout;
    r->deployment = run->deployment;
    r->sets = arena_alloc(run->arena, claimed->count * sizeof(*r->sets));
    for (size_t i = 0; i < claimed->count; i++) {
        const struct replica_set *rs = claimed->items[i]->value;
        work_hold(run->work, claimed->items[i]);
        int32_t replicas = rs->spec.replicas.set ? rs->spec.replicas.value : 1;
        r->sets[r->count++] = (struct rollout_set){claimed->items[i], rs, replicas, replicas};
    }
    if (r->count)
        qsort(r->sets, r->count, sizeof(*r->sets), oldest_first);
    for (size_t i = 0; i < r->count && !r->fresh; i++)
        if (rollout_same_template(&r->sets[i].rs->spec.template, &run->deployment->spec.template))
            r->fresh = &r->sets[i];
}

static bool count_running(void *context, struct object *object)
{
    *(size_t *)context += !pod_has_ended(object->value);
    return true;
}

/* Pods of old sets that have not ended, or that their sets may still be making. */
static bool old_pods_running(const struct deployment_run *run)
{
    const struct deployments *own = run->controller->state;
    size_t running = 0;
    for (size_t i = 0; i < run->rollout.count; i++) {
        const struct rollout_set *s = &run->rollout.sets[i];
        if (s == run->rollout.fresh)
            continue;
        informer_each_indexed(own->pods, own->pods_by_owner, s->object->meta->uid, count_running, &running);
        if (s->rs->status.replicas || s->rs->status.observed_generation < s->rs->metadata.generation)
            return true;
    }
    return running > 0;
}

/* ---- Acting ---- */

struct scaled {
    const struct deployment_run *run;
    const struct rollout_set *set;
};

static void scaled(void *context, const struct client_result *result)
{
    const struct scaled *s = context;
    int32_t from = s->set->replicas, to = s->set->target;
    if (client_ok(result) && from != to)
        recorder_event(s->run->controller->recorder, s->run->object->resource, s->run->object->meta, NULL, "Normal",
                       "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", to > from ? "up" : "down",
                       s->set->object->meta->name, from, to);
}

/* Writes the sets whose targets or annotations are to change. */
static void write_sets(struct deployment_run *run)
{
    struct rollout *r = &run->rollout;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_set *s = &r->sets[i];
        struct replica_set fresh = *s->rs;
        struct string_map *annotations = &fresh.metadata.annotations;
        fresh.spec.replicas = opt_int32(s->target);
        if (s == r->fresh) {
            deployment_set_annotations(run, annotations, deployment_next_revision(r));
            fresh.spec.min_ready_seconds = run->deployment->spec.min_ready_seconds;
        }
        bool counted = run->is_scaling || run->deployment->spec.paused;
        if (s->target != s->replicas || (counted && s->target > 0))
            deployment_set_counts(run, annotations);
        if (api_equal(&api_type_replica_set, &fresh, s->rs))
            continue;
        struct scaled *done = arena_alloc(run->arena, sizeof(*done));
        *done = (struct scaled){run, s};
        work_update(run->work, s->object->resource, NULL, &fresh, scaled, done);
    }
}

/* Copies the revision of the new set to the Deployment. True when that had to be written: the status then waits for
 * the next run, since both are writes of one object. */
static bool write_revision(struct deployment_run *run)
{
    if (!run->rollout.fresh)
        return false;
    const char *revision = arena_printf(run->arena, "%lld", (long long)deployment_next_revision(&run->rollout));
    const char *now = string_map_get(&run->deployment->metadata.annotations, ANNOTATION_REVISION);
    if (now && strcmp(now, revision) == 0)
        return false;
    struct deployment fresh = *run->deployment;
    string_map_set(run->arena, &fresh.metadata.annotations, ANNOTATION_REVISION, revision);
    /* As upstream, by the status, so that metadata.generation stays. */
    work_update(run->work, run->object->resource, "status", &fresh, NULL, NULL);
    return true;
}

static void roll(struct deployment_run *run)
{
    struct rollout *r = &run->rollout;
    bool rolling = rollout_is_rolling(run->deployment);
    if (!r->fresh) {
        /* What the new set starts with: as a member with 0 replicas it would be scaled to. */
        if (!rolling && (rollout_step_recreate(r, false) || old_pods_running(run))) {
            write_sets(run);
            deployment_write_status(run);
            return;
        }
        deployment_create_replica_set(run, rollout_fresh_replicas(r));
        return;
    }
    const struct deployment_condition_array *conditions = &run->deployment->status.conditions;
    bool known = false;
    for (size_t i = 0; i < conditions->count; i++)
        known |= strcmp(conditions->items[i].type, "Progressing") == 0;
    if (!known) {
        run->progress_status = "True";
        run->progress_reason = "FoundNewReplicaSet";
        run->progress_message = arena_printf(run->arena, "Found new replica set \"%s\"", r->fresh->object->meta->name);
    }
    if (rolling)
        rollout_step_rolling(r);
    else
        rollout_step_recreate(r, old_pods_running(run));
    write_sets(run);
    struct deployment_status status = deployment_status_now(run);
    if (rollout_complete(r, &status))
        deployment_clean_up(run);
    if (!write_revision(run))
        deployment_write_status(run);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct deployments *own = c->state;
    struct object *object = informer_get(own->informer, work_namespace(work), work_name(work));
    if (!object)
        return;
    struct deployment_run *run = arena_alloc(work_arena(work), sizeof(*run));
    *run = (struct deployment_run){.controller = c,
                                   .work = work,
                                   .arena = work_arena(work),
                                   .object = object,
                                   .deployment = object->value,
                                   .now = env_now(c->env)};
    work_hold(work, object);
    struct claim claim = {.owner_resource = object->resource,
                          .owner = object->meta,
                          .resource = &api_resources[API_REPLICASETS],
                          .index = own->replica_sets_by_owner};
    struct object_array claimed;
    if (selector_from_label_selector(run->arena, run->deployment->spec.selector, &claim.selector, NULL) < 0)
        return;
    if (selector_is_empty(claim.selector)) {
        recorder_event(c->recorder, object->resource, object->meta, NULL, "Warning", "SelectingAll",
                       "This deployment is selecting all pods. A non-empty selector is required.");
        deployment_write_status(run);
        return;
    }
    if (!controller_claim(c, work, &claim, &claimed))
        return;
    observe(run, &claimed);
    if (object->meta->deletion_timestamp) {
        deployment_write_status(run);
        return;
    }
    run->is_scaling = rollout_is_scaling(&run->rollout);
    if (run->deployment->spec.paused || run->is_scaling) {
        rollout_scale(&run->rollout);
        write_sets(run);
        if (run->deployment->spec.paused)
            deployment_clean_up(run);
        if (!write_revision(run))
            deployment_write_status(run);
        return;
    }
    roll(run);
}

const struct controller_kind deployment_controller = {
    .name = "deployment-controller", .queue = "deployment", .start = start, .reconcile = reconcile, .stop = stop};
