/* Deployments and ReplicaSets under audit: surge, Recreate, pausing, and one ReplicaSet for each template. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "control/controller.h"
#include "control/rollout.h"
#include "sim/audit_record.h"

/* Limits over the window. */

static void add_limit(struct sim_audit *audit, struct audit_owner *owner, struct audit_limit limit)
{
    int64_t now = audit_now(audit);
    if (owner->limits.count) {
        struct audit_limit *last = &owner->limits.items[owner->limits.count - 1];
        if (last->most == limit.most && last->least == limit.least && last->recreate == limit.recreate &&
            last->paused == limit.paused)
            return;
        last->until = now;
    }
    while (owner->limits.count && owner->limits.items[0].until < now - audit->window)
        vector_remove(&owner->limits, 0);
    limit.until = INT64_MAX;
    vector_push(&owner->limits, limit);
}

struct audit_limit audit_limit_over_window(const struct sim_audit *audit, const struct audit_owner *owner)
{
    struct audit_limit sum = {.most = 0, .least = INT32_MAX, .recreate = true, .paused = true};
    bool first = true;
    for (size_t i = 0; i < owner->limits.count; i++) {
        const struct audit_limit *l = &owner->limits.items[i];
        if (l->until < audit_now(audit) - audit->window)
            continue;
        /* What is scaled or paused is not recreated, but scaled. */
        sum.recreate = sum.recreate && l->recreate && !l->paused && (first || l->most == sum.most);
        sum.paused = sum.paused && l->paused;
        sum.most = l->most > sum.most ? l->most : sum.most;
        sum.least = l->least < sum.least ? l->least : sum.least;
        first = false;
    }
    return sum;
}

static struct audit_limit limit_of_deployment(const struct deployment *d)
{
    int32_t replicas = deployment_replicas(d);
    bool rolling = rollout_is_rolling(d);
    return (struct audit_limit){.most = replicas + rollout_max_surge(d),
                                .least = rolling ? replicas - rollout_max_unavailable(d) : 0,
                                .recreate = !rolling,
                                .paused = d->spec.paused};
}

static struct audit_limit limit_of_replica_set(const struct replica_set *rs)
{
    return (struct audit_limit){.most = rs->spec.replicas.set ? rs->spec.replicas.value : 1};
}

struct audit_owner *audit_owner_by(const struct sim_audit *audit, const struct object_meta *meta)
{
    const struct owner_reference *r = controller_of(meta);
    return r ? map_get(&audit->owners, r->uid) : NULL;
}

void audit_owner_free(struct audit_owner *owner)
{
    object_unref(owner->object);
    vector_free(&owner->limits);
    vector_free(&owner->losses);
    free(owner);
}

/* Deployments and ReplicaSets. */

static struct audit_owner *record_owner(struct sim_audit *audit, struct object *object, struct audit_limit limit)
{
    struct audit_owner *owner = map_get(&audit->owners, object->meta->uid);
    if (!owner) {
        owner = mem_zero(1, sizeof(*owner));
        map_set(&audit->owners, object->meta->uid, owner);
    }
    object_unref(owner->object);
    owner->object = object_ref(object);
    add_limit(audit, owner, limit);
    return owner;
}

static int32_t replicas_of(const struct object *object)
{
    return limit_of_replica_set(object->value).most;
}

/* The pods that the ReplicaSets of the Deployment ask for. */
static int32_t asked_for(const struct sim_audit *audit, const struct audit_owner *deployment)
{
    int32_t sum = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));) {
        const struct audit_owner *set = s->value;
        if (set->object->resource->index == API_REPLICASETS && audit_owner_by(audit, set->object->meta) == deployment)
            sum += replicas_of(set->object);
    }
    return sum;
}

/* What asks for fewer pods, whatever is available: a new one may adopt ReplicaSets that were scaled for another; one
 * that is paused is brought down to its limit; and so is one that is scaled, even up, when its maxSurge has become
 * smaller since; and with another minReadySeconds, pods that were counted as available may no longer be. */
static bool is_made_smaller(const struct sim_audit *audit, const struct audit_owner *before, const struct deployment *d)
{
    if (!before || d->spec.paused)
        return true;
    const struct deployment *old = before->object->value;
    int32_t most = limit_of_deployment(d).most;
    return d->spec.min_ready_seconds != old->spec.min_ready_seconds || most < limit_of_deployment(old).most ||
           (deployment_replicas(d) != deployment_replicas(old) && asked_for(audit, before) > most);
}

static void check_generation(struct sim_audit *audit, const struct object *object, int64_t observed)
{
    if (observed > object->meta->generation)
        audit_violated(audit, "%s %s has observedGeneration %lld ahead of generation %lld", object->resource->singular,
                       object->meta->name, (long long)observed, (long long)object->meta->generation);
}

void audit_deployment_written(struct sim_audit *audit, struct object *object)
{
    const struct deployment *d = object->value;
    struct audit_limit limit = limit_of_deployment(d);
    bool fewer = is_made_smaller(audit, map_get(&audit->owners, object->meta->uid), d);
    check_generation(audit, object, d->status.observed_generation);
    struct audit_owner *owner = record_owner(audit, object, limit);
    if (fewer) {
        owner->scaled_generation = object->meta->generation;
        owner->scaling_until = INT64_MAX;
    }
    if (owner->scaling_until == INT64_MAX && d->status.observed_generation >= owner->scaled_generation)
        owner->scaling_until = audit_now(audit) + audit->window;
}

static void check_surge(struct sim_audit *audit, struct audit_owner *deployment)
{
    int32_t sum = asked_for(audit, deployment);
    struct audit_limit limit = audit_limit_over_window(audit, deployment);
    if (sum > limit.most)
        audit_violated(audit, "deployment %s: its replica sets ask for %d pods, with at most %d allowed",
                       deployment->object->meta->name, sum, limit.most);
}

static void check_templates(struct sim_audit *audit, const struct audit_owner *deployment, const struct object *object)
{
    const struct replica_set *rs = object->value;
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));) {
        const struct audit_owner *other = s->value;
        if (other->object->resource->index == API_REPLICASETS && other->object != object &&
            audit_owner_by(audit, other->object->meta) == deployment &&
            rollout_same_template(&((const struct replica_set *)other->object->value)->spec.template,
                                  &rs->spec.template))
            audit_violated(audit, "replica sets %s and %s have one template", object->meta->name,
                           other->object->meta->name);
    }
}

static void check_recreate(struct sim_audit *audit, const struct audit_owner *deployment, const struct audit_owner *set)
{
    if (!audit_limit_over_window(audit, deployment).recreate || deployment->scaling_until >= audit_now(audit))
        return;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct audit_pod *r = s->value;
        const struct audit_owner *other = audit_owner_by(audit, r->object->meta);
        if (other && other != set && audit_owner_by(audit, other->object->meta) == deployment &&
            !pod_has_ended(r->object->value))
            audit_violated(audit, "replica set %s grows under Recreate while pod %s has not ended",
                           set->object->meta->name, r->object->meta->name);
    }
}

/* What is paused is scaled, and stays with the templates that it has. */
static void check_paused(struct sim_audit *audit, const struct audit_owner *deployment, const struct object *set)
{
    if (audit_limit_over_window(audit, deployment).paused)
        audit_violated(audit, "replica set %s is made for deployment %s, which is paused", set->meta->name,
                       deployment->object->meta->name);
}

void audit_replica_set_written(struct sim_audit *audit, struct object *object)
{
    const struct replica_set *rs = object->value;
    struct audit_owner *own = map_get(&audit->owners, object->meta->uid);
    int32_t before = own ? replicas_of(own->object) : 0;
    bool fresh = !own;
    check_generation(audit, object, rs->status.observed_generation);
    own = record_owner(audit, object, limit_of_replica_set(rs));
    struct audit_owner *deployment = audit_owner_by(audit, object->meta);
    if (deployment && replicas_of(object) > before && !audit->catching_up) {
        check_surge(audit, deployment);
        check_recreate(audit, deployment, own);
    }
    if (deployment && fresh)
        check_templates(audit, deployment, own->object);
    if (deployment && fresh && !audit->catching_up)
        check_paused(audit, deployment, own->object);
}

void audit_owner_deleted(struct sim_audit *audit, const struct object *object)
{
    struct audit_owner *owner = map_remove(&audit->owners, object->meta->uid);
    if (owner)
        audit_owner_free(owner);
}
