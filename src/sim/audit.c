/* A record per Deployment, ReplicaSet, pod and node, by uid or name, brought up to date by each event. */
#include "sim/audit.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "control/controller.h"
#include "control/rollout.h"
#include "schedule/node_info.h"
#include "sim/audit_job.h"
#include "sim/placement.h"

#define SLICE_ENDPOINTS_MAX 100

/* What a Deployment or ReplicaSet asked for, until it asked for something else. */
struct limit {
    int64_t until; /* INT64_MAX: now */
    int32_t most;  /* replicas + maxSurge, or the replicas of a ReplicaSet */
    int32_t least; /* replicas - maxUnavailable */
    bool recreate, paused;
};

struct owner {
    struct object *object; /* Deployment or ReplicaSet */
    VECTOR(struct limit) limits;
    VECTOR(int64_t) losses;   /* when available pods were deleted by others than controllers */
    int64_t scaled_generation; /* of the last change that asked for fewer pods */
    int64_t scaling_until;     /* INT64_MAX: the controller has not seen it yet */
};

struct pod_record {
    struct object *object;
    bool has_been_available;
    int64_t ready_at;   /* since when it is ready, see clock_now */
    bool asked;       /* a controller asked for its deletion, ... */
    int64_t asked_at; /* ... then; it may have been refused */
    int64_t binding_at; /* when the scheduler asked to bind it; 0: not yet */
};

struct sim_audit {
    struct env *env;
    struct sim_history *history;
    int64_t window;
    struct store_watch *watches[API_RESOURCE_COUNT];
    struct map owners; /* uid -> struct owner */
    struct map pods;   /* uid -> struct pod_record */
    struct map nodes;  /* name -> struct object */
    struct job_audit *jobs;
    uint64_t revision, writes;
    int64_t down, down_since; /* how long nobody was there to control anything; -1: not down */
    int64_t unsettled_at; /* when pods or nodes last went or changed, see clock_now */
    bool catching_up; /* what is seen now did not happen now, nor in this order */
    char violation[SIM_VIOLATION_MAX];
};

/* The clock by which controllers are measured: it stands while there are none. */
static int64_t clock_now(const struct sim_audit *audit)
{
    return (audit->down_since < 0 ? env_monotonic(audit->env) : audit->down_since) - audit->down;
}

static void __attribute__((format(printf, 2, 3))) violated(struct sim_audit *audit, const char *format, ...)
{
    if (*audit->violation)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(audit->violation, sizeof(audit->violation), format, args);
    va_end(args);
    sim_history_note(audit->history, "VIOLATION: %s", audit->violation);
}

/* Limits over the window. */

static void add_limit(struct sim_audit *audit, struct owner *owner, struct limit limit)
{
    int64_t now = clock_now(audit);
    if (owner->limits.count) {
        struct limit *last = &owner->limits.items[owner->limits.count - 1];
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

static struct limit limit_over_window(const struct sim_audit *audit, const struct owner *owner)
{
    struct limit sum = {.most = 0, .least = INT32_MAX, .recreate = true, .paused = true};
    bool first = true;
    for (size_t i = 0; i < owner->limits.count; i++) {
        const struct limit *l = &owner->limits.items[i];
        if (l->until < clock_now(audit) - audit->window)
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

static struct limit limit_of_deployment(const struct deployment *d)
{
    int32_t replicas = deployment_replicas(d);
    bool rolling = rollout_is_rolling(d);
    return (struct limit){.most = replicas + rollout_max_surge(d),
                          .least = rolling ? replicas - rollout_max_unavailable(d) : 0,
                          .recreate = !rolling,
                          .paused = d->spec.paused};
}

static struct limit limit_of_replica_set(const struct replica_set *rs)
{
    return (struct limit){.most = rs->spec.replicas.set ? rs->spec.replicas.value : 1};
}

/* Records. */

static struct owner *owner_by(const struct sim_audit *audit, const struct object_meta *meta)
{
    const struct owner_reference *r = controller_of(meta);
    return r ? map_get(&audit->owners, r->uid) : NULL;
}

static int64_t min_ready(const struct sim_audit *audit, const struct object *pod)
{
    const struct owner *owner = owner_by(audit, pod->meta);
    bool has_set = owner && owner->object->resource->index == API_REPLICASETS;
    return has_set ? ((const struct replica_set *)owner->object->value)->spec.min_ready_seconds : 0;
}

static bool is_available(const struct sim_audit *audit, const struct object *object)
{
    return pod_is_available(object->value, (int32_t)min_ready(audit, object), env_now(audit->env), NULL);
}

/* Available for so long that the controllers have had the time to know. */
static bool is_known_available(const struct sim_audit *audit, const struct pod_record *record)
{
    return clock_now(audit) - record->ready_at >= min_ready(audit, record->object) * SECOND + audit->window;
}

static void owner_free(struct owner *owner)
{
    object_unref(owner->object);
    vector_free(&owner->limits);
    vector_free(&owner->losses);
    free(owner);
}

static void check_meta(struct sim_audit *audit, const struct object *object)
{
    size_t controllers = 0;
    for (size_t i = 0; i < object->meta->owner_references.count; i++)
        controllers += object->meta->owner_references.items[i].controller.value;
    if (controllers > 1)
        violated(audit, "%s %s has %zu controllers", object->resource->singular, object->meta->name, controllers);
}

static const char *node_of(const struct object *object)
{
    const char *name = ((const struct pod *)object->value)->spec.node_name;
    return name && *name ? name : NULL;
}

/* Deployments and ReplicaSets. */

static struct owner *record_owner(struct sim_audit *audit, struct object *object, struct limit limit)
{
    struct owner *owner = map_get(&audit->owners, object->meta->uid);
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
static int32_t asked_for(const struct sim_audit *audit, const struct owner *deployment)
{
    int32_t sum = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));) {
        const struct owner *set = s->value;
        if (set->object->resource->index == API_REPLICASETS && owner_by(audit, set->object->meta) == deployment)
            sum += replicas_of(set->object);
    }
    return sum;
}

/* What asks for fewer pods, whatever is available: a new one may adopt ReplicaSets that were scaled for another; one
 * that is paused is brought down to its limit; and so is one that is scaled, even up, when its maxSurge has become
 * smaller since; and with another minReadySeconds, pods that were counted as available may no longer be. */
static bool is_made_smaller(const struct sim_audit *audit, const struct owner *before, const struct deployment *d)
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
        violated(audit, "%s %s has observedGeneration %lld ahead of generation %lld", object->resource->singular,
                 object->meta->name, (long long)observed, (long long)object->meta->generation);
}

static void deployment_written(struct sim_audit *audit, struct object *object)
{
    const struct deployment *d = object->value;
    struct limit limit = limit_of_deployment(d);
    bool fewer = is_made_smaller(audit, map_get(&audit->owners, object->meta->uid), d);
    check_generation(audit, object, d->status.observed_generation);
    struct owner *owner = record_owner(audit, object, limit);
    if (fewer) {
        owner->scaled_generation = object->meta->generation;
        owner->scaling_until = INT64_MAX;
    }
    if (owner->scaling_until == INT64_MAX && d->status.observed_generation >= owner->scaled_generation)
        owner->scaling_until = clock_now(audit) + audit->window;
}

static void check_surge(struct sim_audit *audit, struct owner *deployment)
{
    int32_t sum = asked_for(audit, deployment);
    struct limit limit = limit_over_window(audit, deployment);
    if (sum > limit.most)
        violated(audit, "deployment %s: its replica sets ask for %d pods, with at most %d allowed",
                 deployment->object->meta->name, sum, limit.most);
}

static void check_templates(struct sim_audit *audit, const struct owner *deployment, const struct object *object)
{
    const struct replica_set *rs = object->value;
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));) {
        const struct owner *other = s->value;
        if (other->object->resource->index == API_REPLICASETS && other->object != object &&
            owner_by(audit, other->object->meta) == deployment &&
            rollout_same_template(&((const struct replica_set *)other->object->value)->spec.template,
                                  &rs->spec.template))
            violated(audit, "replica sets %s and %s have one template", object->meta->name, other->object->meta->name);
    }
}

static void check_recreate(struct sim_audit *audit, const struct owner *deployment, const struct owner *set)
{
    if (!limit_over_window(audit, deployment).recreate || deployment->scaling_until >= clock_now(audit))
        return;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct pod_record *r = s->value;
        const struct owner *other = owner_by(audit, r->object->meta);
        if (other && other != set && owner_by(audit, other->object->meta) == deployment && !pod_has_ended(r->object->value))
            violated(audit, "replica set %s grows under Recreate while pod %s has not ended", set->object->meta->name,
                     r->object->meta->name);
    }
}

/* What is paused is scaled, and stays with the templates that it has. */
static void check_paused(struct sim_audit *audit, const struct owner *deployment, const struct object *set)
{
    if (limit_over_window(audit, deployment).paused)
        violated(audit, "replica set %s is made for deployment %s, which is paused", set->meta->name,
                 deployment->object->meta->name);
}

static void replica_set_written(struct sim_audit *audit, struct object *object)
{
    const struct replica_set *rs = object->value;
    struct owner *own = map_get(&audit->owners, object->meta->uid);
    int32_t before = own ? replicas_of(own->object) : 0;
    bool fresh = !own;
    check_generation(audit, object, rs->status.observed_generation);
    own = record_owner(audit, object, limit_of_replica_set(rs));
    struct owner *deployment = owner_by(audit, object->meta);
    if (deployment && replicas_of(object) > before && !audit->catching_up) {
        check_surge(audit, deployment);
        check_recreate(audit, deployment, own);
    }
    if (deployment && fresh)
        check_templates(audit, deployment, own->object);
    if (deployment && fresh && !audit->catching_up)
        check_paused(audit, deployment, own->object);
}

static void owner_deleted(struct sim_audit *audit, const struct object *object)
{
    struct owner *owner = map_remove(&audit->owners, object->meta->uid);
    if (owner)
        owner_free(owner);
}

/* Pods. */

static void check_capacity(struct sim_audit *audit, const char *name)
{
    struct object *object = map_get(&audit->nodes, name);
    if (!object)
        return;
    struct node_info *node = mem_zero(1, sizeof(*node));
    node_info_set(node, object);
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct pod_record *r = s->value;
        const char *on = node_of(r->object);
        if (on && strcmp(on, name) == 0 && !pod_has_ended(r->object->value))
            node_info_add_pod(node, r->object->value, 1);
    }
    bool over = node->pods > node->pods_allocatable;
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        over = over || (node->requested.of[kind] && node->requested.of[kind] > node->allocatable.of[kind]);
    if (over)
        violated(audit, "node %s has more pods than fit: %lld pods, %lldm cpu", name, (long long)node->pods,
                 (long long)node->requested.of[RESOURCE_CPU]);
    node_info_free(node);
}

/* Whether the scheduler has seen what there is, and nothing but the last binding has changed since. */
static bool is_settled(const struct sim_audit *audit)
{
    int64_t since = clock_now(audit) - audit->window;
    if (audit->catching_up || audit->unsettled_at >= since)
        return false;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct pod_record *r = s->value;
        if (r->binding_at && r->binding_at >= since && !node_of(r->object))
            return false;
    }
    return true;
}

static void check_placement(struct sim_audit *audit, const struct object *pod)
{
    VECTOR(struct object *) bound = {0};
    int skew = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        struct pod_record *r = s->value;
        if (node_of(r->object) && !pod_has_ended(r->object->value))
            vector_push(&bound, r->object);
    }
    struct sim_placement placement = {bound.items, bound.count, &audit->nodes};
    const struct object *other = sim_placement_conflict(&placement, pod);
    if (other)
        violated(audit, "pod %s is bound to node %s near pod %s, against required anti-affinity", pod->meta->name,
                 node_of(pod), other->meta->name);
    const struct topology_spread_constraint *c =
        is_settled(audit) ? sim_placement_skewed(&placement, pod, &skew) : NULL;
    if (c)
        violated(audit, "pod %s is bound to node %s with a skew of %d over %s, where maxSkew is %d", pod->meta->name,
                 node_of(pod), skew, c->topology_key, c->max_skew);
    vector_free(&bound);
}

static bool same_labels(const struct object *a, const struct object *b)
{
    bool same = a->meta->labels.count == b->meta->labels.count;
    for (size_t i = 0; same && i < a->meta->labels.count; i++)
        same = strcmp(a->meta->labels.items[i].key, b->meta->labels.items[i].key) == 0 &&
               strcmp(a->meta->labels.items[i].value, b->meta->labels.items[i].value) == 0;
    return same;
}

static bool is_selected(const struct owner *set, const struct object *pod)
{
    const struct selector *selector;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct replica_set *rs = set->object->value;
    return selector_from_label_selector(arena, rs->spec.selector, &selector, NULL) == 0 &&
           selector_matches(selector, &pod->meta->labels);
}

static void check_new_pod(struct sim_audit *audit, struct owner *set, const struct object *object)
{
    int32_t active = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct pod_record *r = s->value;
        const struct owner *other = owner_by(audit, r->object->meta);
        /* One that was relabelled is about to be released. */
        active += other == set && pod_is_active(r->object->value) && is_selected(set, r->object);
    }
    struct limit limit = limit_over_window(audit, set);
    if (active > limit.most)
        violated(audit, "replica set %s has %d active pods, with at most %d allowed", set->object->meta->name, active,
                 limit.most);
}

/* Pods of the Deployment that are available or have been, and are not on their way out. */
static int32_t count_left(struct sim_audit *audit, const struct owner *deployment)
{
    int32_t left = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct pod_record *r = s->value;
        const struct owner *set = owner_by(audit, r->object->meta);
        if (set && owner_by(audit, set->object->meta) == deployment && pod_is_active(r->object->value))
            left += r->has_been_available || is_available(audit, r->object);
    }
    for (size_t i = 0; i < deployment->losses.count; i++)
        left += deployment->losses.items[i] >= clock_now(audit) - audit->window;
    return left;
}

/* The ReplicaSet keeps a pod in its place that has become available just now. */
static bool is_replaced(const struct sim_audit *audit, const struct owner *set)
{
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct pod_record *r = s->value;
        if (owner_by(audit, r->object->meta) == set && pod_is_active(r->object->value) &&
            is_available(audit, r->object) && !is_known_available(audit, r))
            return true;
    }
    return false;
}

/* A pod that was available is on its way out. */
static void check_lost_pod(struct sim_audit *audit, const struct pod_record *record)
{
    const struct object *object = record->object;
    const struct owner *set = owner_by(audit, object->meta);
    struct owner *deployment = set ? owner_by(audit, set->object->meta) : NULL;
    if (!deployment || deployment->object->meta->deletion_timestamp || set->object->meta->deletion_timestamp)
        return;
    if (!record->asked || record->asked_at < clock_now(audit) - audit->window) {
        vector_push(&deployment->losses, clock_now(audit));
        return;
    }
    /* Still taken for one that is not available, or part of what was to go. */
    if (audit->catching_up || !is_known_available(audit, record) || deployment->scaling_until >= clock_now(audit))
        return;
    int32_t left = count_left(audit, deployment), least = limit_over_window(audit, deployment).least;
    if (left < least && !is_replaced(audit, set))
        violated(audit, "deployment %s: with pod %s deleted, %d pods are left, with at least %d promised",
                 deployment->object->meta->name, object->meta->name, left, least);
}

/* Pods come to a ReplicaSet and leave it by their labels. One that somebody relabels is lost to its Deployment. */
static void check_owner(struct sim_audit *audit, const struct object *old, const struct object *object, bool available)
{
    struct owner *was = old ? owner_by(audit, old->meta) : NULL, *now = owner_by(audit, object->meta);
    if (was == now)
        return;
    if (now && !is_selected(now, object))
        violated(audit, "pod %s belongs to replica set %s, which does not select it", object->meta->name,
                 now->object->meta->name);
    if (!was || was->object->meta->deletion_timestamp)
        return;
    if (is_selected(was, object))
        violated(audit, "pod %s was taken from replica set %s, which selects it", object->meta->name,
                 was->object->meta->name);
    struct owner *deployment = owner_by(audit, was->object->meta);
    if (deployment && available)
        vector_push(&deployment->losses, clock_now(audit));
}

static void pod_written(struct sim_audit *audit, struct object *object)
{
    struct pod_record *r = map_get(&audit->pods, object->meta->uid);
    if (!r) {
        r = mem_zero(1, sizeof(*r));
        r->object = object_ref(object);
        r->ready_at = clock_now(audit);
        map_set(&audit->pods, object->meta->uid, r);
        struct owner *set = owner_by(audit, object->meta);
        if (set && !audit->catching_up)
            check_new_pod(audit, set, object);
        check_owner(audit, NULL, object, false);
        if (node_of(object))
            check_capacity(audit, node_of(object));
        return;
    }
    cleanup_object struct object *old = r->object;
    const char *was = node_of(old), *now = node_of(object);
    bool available = pod_is_active(old->value) && is_available(audit, old);
    r->has_been_available |= available;
    if (!pod_is_ready(old->value))
        r->ready_at = clock_now(audit);
    r->object = object_ref(object);
    if (was && (!now || strcmp(was, now) != 0))
        violated(audit, "pod %s was on node %s and is on %s", object->meta->name, was, now ? now : "none");
    if (!was && now) {
        check_capacity(audit, now);
        if (!audit->catching_up)
            check_placement(audit, object);
    }
    if (!old->meta->deletion_timestamp != !object->meta->deletion_timestamp || !same_labels(old, object) ||
        pod_has_ended(old->value) != pod_has_ended(object->value))
        audit->unsettled_at = clock_now(audit);
    check_owner(audit, old, object, available);
    if (available && object->meta->deletion_timestamp)
        check_lost_pod(audit, r);
}

static void pod_deleted(struct sim_audit *audit, const struct object *object)
{
    struct pod_record *r = map_remove(&audit->pods, object->meta->uid);
    if (!r)
        return;
    audit->unsettled_at = clock_now(audit);
    if (pod_is_active(r->object->value) && is_available(audit, r->object))
        check_lost_pod(audit, r);
    object_unref(r->object);
    free(r);
}

/* Events. */

/* A slice is written for a difference in what it says: never for the sake of writing. */
static void slice_written(struct sim_audit *audit, const struct object *object, const struct object *previous)
{
    const struct endpoint_slice *now = object->value;
    if (now->endpoints.count > SLICE_ENDPOINTS_MAX)
        violated(audit, "slice %s has too many endpoints", object->meta->name);
    if (!previous || object->meta->deletion_timestamp)
        return;
    struct endpoint_slice same = *(const struct endpoint_slice *)previous->value;
    struct object_meta meta = same.metadata;
    same.metadata = now->metadata;
    same.metadata.labels = meta.labels;
    same.metadata.finalizers = meta.finalizers;
    same.metadata.owner_references = meta.owner_references;
    if (api_equal(&api_type_endpoint_slice, &same, now))
        violated(audit, "slice %s was written and says what it said", object->meta->name);
}

static void written(struct sim_audit *audit, struct object *object, const struct object *previous)
{
    check_meta(audit, object);
    switch (object->resource->index) {
    case API_DEPLOYMENTS:
        deployment_written(audit, object);
        break;
    case API_REPLICASETS:
        replica_set_written(audit, object);
        break;
    case API_PODS:
        pod_written(audit, object);
        job_audit_pod(audit->jobs, object, clock_now(audit), !audit->catching_up);
        break;
    case API_JOBS:
        job_audit_job(audit->jobs, object, clock_now(audit));
        break;
    case API_NODES:
        if (!map_has(&audit->nodes, object->meta->name))
            audit->unsettled_at = clock_now(audit);
        object_unref(map_set(&audit->nodes, object->meta->name, object_ref(object)));
        break;
    case API_ENDPOINTSLICES:
        slice_written(audit, object, previous);
        break;
    default:
        break;
    }
}

static void deleted(struct sim_audit *audit, const struct object *object)
{
    switch (object->resource->index) {
    case API_DEPLOYMENTS:
    case API_REPLICASETS:
        owner_deleted(audit, object);
        break;
    case API_PODS:
        pod_deleted(audit, object);
        job_audit_deleted(audit->jobs, object);
        break;
    case API_JOBS:
        job_audit_deleted(audit->jobs, object);
        break;
    case API_NODES:
        object_unref(map_remove(&audit->nodes, object->meta->name));
        break;
    default:
        break;
    }
}

static void committed(void *context, const struct store_event *event)
{
    struct sim_audit *audit = context;
    const struct api_resource *resource = event->object->resource;
    audit->revision = event->object->revision;
    audit->writes += resource->index != API_LEASES && resource->index != API_NODES;
    sim_history_write(audit->history, event);
    if (event->kind == STORE_DELETED)
        deleted(audit, event->object);
    else
        written(audit, event->object, event->previous);
}

void sim_audit_request(void *context, const struct client_request *request)
{
    struct sim_audit *audit = context;
    if (request->verb == CLIENT_CREATE && request->resource->index == API_PODS && request->subresource) {
        const char *uid = ((const struct binding *)request->body)->metadata.uid;
        struct pod_record *bound = uid ? map_get(&audit->pods, uid) : NULL;
        if (bound)
            bound->binding_at = clock_now(audit) + 1;
        return;
    }
    if (request->verb != CLIENT_DELETE || request->resource->index != API_PODS || !request->delete_options)
        return;
    const struct preconditions *preconditions = request->delete_options->preconditions;
    struct pod_record *r = preconditions && preconditions->uid ? map_get(&audit->pods, preconditions->uid) : NULL;
    if (!r)
        return;
    r->asked = true;
    r->asked_at = clock_now(audit);
}

/* After a crash: what the disk had, and what nobody was told of. */

static bool catch_up(void *context, struct object *object)
{
    written(context, object, NULL);
    return true;
}

static bool is_stored(struct store *store, const struct object *object)
{
    const struct object *now = store_get(store, object->resource, object->meta->namespace, object->meta->name);
    return now && strcmp(now->meta->uid, object->meta->uid) == 0;
}

/* What is there was acknowledged. The disk may have one batch more, of which nobody was told. */
static void check_kept(struct sim_audit *audit, struct store *store, const struct object *object)
{
    const struct object *now = store_get(store, object->resource, object->meta->namespace, object->meta->name);
    bool missing = !now || strcmp(now->meta->uid, object->meta->uid) != 0;
    if (missing ? store_revision(store) == audit->revision : now->revision < object->revision)
        violated(audit, "revision %llu of %s %s was announced and is not on the disk",
                 (unsigned long long)object->revision, object->resource->singular, object->meta->name);
}

static void check_all_kept(struct sim_audit *audit, struct store *store)
{
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));)
        check_kept(audit, store, ((const struct owner *)s->value)->object);
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));)
        check_kept(audit, store, ((const struct pod_record *)s->value)->object);
    for (struct map_slot *s = NULL; (s = map_next(&audit->nodes, s));)
        check_kept(audit, store, s->value);
}

static void drop_missing(struct sim_audit *audit, struct store *store)
{
    VECTOR(struct object *) missing = {0};
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));)
        if (!is_stored(store, ((const struct owner *)s->value)->object))
            vector_push(&missing, object_ref(((const struct owner *)s->value)->object));
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));)
        if (!is_stored(store, ((const struct pod_record *)s->value)->object))
            vector_push(&missing, object_ref(((const struct pod_record *)s->value)->object));
    for (size_t i = 0; i < missing.count; i++) {
        deleted(audit, missing.items[i]);
        object_unref(missing.items[i]);
    }
    vector_free(&missing);
}

void sim_audit_opened(void *context, struct sim_cluster *cluster)
{
    static const enum api_resource_index looked_at[] = {API_DEPLOYMENTS, API_REPLICASETS, API_JOBS, API_PODS, API_NODES};
    struct sim_audit *audit = context;
    struct store *store = sim_cluster_store(cluster);
    sim_history_note(audit->history, "the control plane starts at revision %llu",
                     (unsigned long long)store_revision(store));
    if (store_revision(store) < audit->revision)
        violated(audit, "revision %llu was announced and is not on the disk", (unsigned long long)audit->revision);
    if (audit->down_since >= 0)
        audit->down += env_monotonic(audit->env) - audit->down_since;
    audit->down_since = -1;
    audit->unsettled_at = clock_now(audit);
    check_all_kept(audit, store);
    audit->catching_up = true;
    drop_missing(audit, store);
    for (size_t i = 0; i < ARRAY_COUNT(looked_at); i++)
        store_list(store, &api_resources[looked_at[i]], NULL, NULL, NULL, catch_up, audit);
    audit->catching_up = false;
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++)
        if (api_resources[i].storage == i)
            audit->watches[i] =
                store_watch_new(store, &api_resources[i], NULL, store_revision(store), committed, audit, NULL);
}

void sim_audit_closing(void *context, struct sim_cluster *cluster)
{
    struct sim_audit *audit = context;
    audit->down_since = env_monotonic(audit->env);
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++)
        store_watch_free(steal_pointer(audit->watches[i]));
}

/* The interface. */

static void report(void *context, const char *text)
{
    violated(context, "%s", text);
}

struct sim_audit *sim_audit_new(struct env *env, struct sim_history *history, int64_t window)
{
    struct sim_audit *audit = mem_zero(1, sizeof(*audit));
    audit->env = env;
    audit->history = history;
    audit->window = window;
    audit->down_since = -1;
    audit->jobs = job_audit_new(window, report, audit);
    return audit;
}

void sim_audit_free(struct sim_audit *audit)
{
    if (!audit)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));)
        owner_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        object_unref(((struct pod_record *)s->value)->object);
        free(s->value);
    }
    for (struct map_slot *s = NULL; (s = map_next(&audit->nodes, s));)
        object_unref(s->value);
    map_free(&audit->owners);
    map_free(&audit->pods);
    map_free(&audit->nodes);
    job_audit_free(audit->jobs);
    free(audit);
}

const char *sim_audit_violation(const struct sim_audit *audit)
{
    return *audit->violation ? audit->violation : NULL;
}

uint64_t sim_audit_writes(const struct sim_audit *audit)
{
    return audit->writes;
}
