/* Pods under audit: whether one is available, where it is bound, whose it is, and what its Deployment loses with it. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "control/controller.h"
#include "schedule/node_info.h"
#include "sim/audit_record.h"
#include "sim/placement.h"

static int64_t min_ready(const struct sim_audit *audit, const struct object *pod)
{
    const struct audit_owner *owner = audit_owner_by(audit, pod->meta);
    bool has_set = owner && owner->object->resource->index == API_REPLICASETS;
    return has_set ? ((const struct replica_set *)owner->object->value)->spec.min_ready_seconds : 0;
}

static bool is_available(const struct sim_audit *audit, const struct object *object)
{
    return pod_is_available(object->value, (int32_t)min_ready(audit, object), env_now(audit->env), NULL);
}

/* Available for so long that the controllers have had the time to know. */
static bool is_known_available(const struct sim_audit *audit, const struct audit_pod *record)
{
    return audit_now(audit) - record->ready_at >= min_ready(audit, record->object) * SECOND + audit->window;
}

static const char *node_of(const struct object *object)
{
    const char *name = ((const struct pod *)object->value)->spec.node_name;
    return name && *name ? name : NULL;
}

static void check_capacity(struct sim_audit *audit, const char *name)
{
    struct object *object = map_get(&audit->nodes, name);
    if (!object)
        return;
    struct node_info *node = mem_zero(1, sizeof(*node));
    node_info_set(node, object);
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct audit_pod *r = s->value;
        const char *on = node_of(r->object);
        if (on && strcmp(on, name) == 0 && !pod_has_ended(r->object->value))
            node_info_add_pod(node, r->object->value, 1);
    }
    bool over = node->pods > node->pods_allocatable;
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        over = over || (node->requested.of[kind] && node->requested.of[kind] > node->allocatable.of[kind]);
    if (over)
        audit_violated(audit, "node %s has more pods than fit: %lld pods, %lldm cpu", name, (long long)node->pods,
                       (long long)node->requested.of[RESOURCE_CPU]);
    node_info_free(node);
}

/* Whether the scheduler has seen what there is, and nothing but the last binding has changed since. */
static bool is_settled(const struct sim_audit *audit)
{
    int64_t since = audit_now(audit) - audit->window;
    if (audit->catching_up || audit->unsettled_at >= since)
        return false;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct audit_pod *r = s->value;
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
        struct audit_pod *r = s->value;
        if (node_of(r->object) && !pod_has_ended(r->object->value))
            vector_push(&bound, r->object);
    }
    struct sim_placement placement = {bound.items, bound.count, &audit->nodes};
    const struct object *other = sim_placement_conflict(&placement, pod);
    if (other)
        audit_violated(audit, "pod %s is bound to node %s near pod %s, against required anti-affinity", pod->meta->name,
                       node_of(pod), other->meta->name);
    const struct topology_spread_constraint *c =
        is_settled(audit) ? sim_placement_skewed(&placement, pod, &skew) : NULL;
    if (c)
        audit_violated(audit, "pod %s is bound to node %s with a skew of %d over %s, where maxSkew is %d",
                       pod->meta->name, node_of(pod), skew, c->topology_key, c->max_skew);
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

static bool is_selected(const struct audit_owner *set, const struct object *pod)
{
    const struct selector *selector;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct replica_set *rs = set->object->value;
    return selector_from_label_selector(arena, rs->spec.selector, &selector, NULL) == 0 &&
           selector_matches(selector, &pod->meta->labels);
}

static void check_new_pod(struct sim_audit *audit, struct audit_owner *set, const struct object *object)
{
    int32_t active = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct audit_pod *r = s->value;
        const struct audit_owner *other = audit_owner_by(audit, r->object->meta);
        /* One that was relabelled is about to be released. */
        active += other == set && pod_is_active(r->object->value) && is_selected(set, r->object);
    }
    struct audit_limit limit = audit_limit_over_window(audit, set);
    if (active > limit.most)
        audit_violated(audit, "replica set %s has %d active pods, with at most %d allowed", set->object->meta->name,
                       active, limit.most);
}

/* Pods of the Deployment that are available or have been, and are not on their way out. */
static int32_t count_left(struct sim_audit *audit, const struct audit_owner *deployment)
{
    int32_t left = 0;
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct audit_pod *r = s->value;
        const struct audit_owner *set = audit_owner_by(audit, r->object->meta);
        if (set && audit_owner_by(audit, set->object->meta) == deployment && pod_is_active(r->object->value))
            left += r->has_been_available || is_available(audit, r->object);
    }
    for (size_t i = 0; i < deployment->losses.count; i++)
        left += deployment->losses.items[i] >= audit_now(audit) - audit->window;
    return left;
}

/* The ReplicaSet keeps a pod in its place that has become available just now. */
static bool is_replaced(const struct sim_audit *audit, const struct audit_owner *set)
{
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        const struct audit_pod *r = s->value;
        if (audit_owner_by(audit, r->object->meta) == set && pod_is_active(r->object->value) &&
            is_available(audit, r->object) && !is_known_available(audit, r))
            return true;
    }
    return false;
}

/* A pod that was available is on its way out. */
static void check_lost_pod(struct sim_audit *audit, const struct audit_pod *record)
{
    const struct object *object = record->object;
    const struct audit_owner *set = audit_owner_by(audit, object->meta);
    struct audit_owner *deployment = set ? audit_owner_by(audit, set->object->meta) : NULL;
    if (!deployment || deployment->object->meta->deletion_timestamp || set->object->meta->deletion_timestamp)
        return;
    if (!record->asked || record->asked_at < audit_now(audit) - audit->window) {
        vector_push(&deployment->losses, audit_now(audit));
        return;
    }
    /* Still taken for one that is not available, or part of what was to go. */
    if (audit->catching_up || !is_known_available(audit, record) || deployment->scaling_until >= audit_now(audit))
        return;
    int32_t left = count_left(audit, deployment), least = audit_limit_over_window(audit, deployment).least;
    if (left < least && !is_replaced(audit, set))
        audit_violated(audit, "deployment %s: with pod %s deleted, %d pods are left, with at least %d promised",
                       deployment->object->meta->name, object->meta->name, left, least);
}

/* Pods come to a ReplicaSet and leave it by their labels. One that somebody relabels is lost to its Deployment. */
static void check_owner(struct sim_audit *audit, const struct object *old, const struct object *object, bool available)
{
    struct audit_owner *was = old ? audit_owner_by(audit, old->meta) : NULL, *now = audit_owner_by(audit, object->meta);
    if (was == now)
        return;
    if (now && !is_selected(now, object))
        audit_violated(audit, "pod %s belongs to replica set %s, which does not select it", object->meta->name,
                       now->object->meta->name);
    if (!was || was->object->meta->deletion_timestamp)
        return;
    if (is_selected(was, object))
        audit_violated(audit, "pod %s was taken from replica set %s, which selects it", object->meta->name,
                       was->object->meta->name);
    struct audit_owner *deployment = audit_owner_by(audit, was->object->meta);
    if (deployment && available)
        vector_push(&deployment->losses, audit_now(audit));
}

void audit_pod_written(struct sim_audit *audit, struct object *object)
{
    struct audit_pod *r = map_get(&audit->pods, object->meta->uid);
    if (!r) {
        r = mem_zero(1, sizeof(*r));
        r->object = object_ref(object);
        r->ready_at = audit_now(audit);
        map_set(&audit->pods, object->meta->uid, r);
        struct audit_owner *set = audit_owner_by(audit, object->meta);
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
        r->ready_at = audit_now(audit);
    r->object = object_ref(object);
    if (was && (!now || strcmp(was, now) != 0))
        audit_violated(audit, "pod %s was on node %s and is on %s", object->meta->name, was, now ? now : "none");
    if (!was && now) {
        check_capacity(audit, now);
        if (!audit->catching_up)
            check_placement(audit, object);
    }
    if (!old->meta->deletion_timestamp != !object->meta->deletion_timestamp || !same_labels(old, object) ||
        pod_has_ended(old->value) != pod_has_ended(object->value))
        audit->unsettled_at = audit_now(audit);
    check_owner(audit, old, object, available);
    if (available && object->meta->deletion_timestamp)
        check_lost_pod(audit, r);
}

void audit_pod_deleted(struct sim_audit *audit, const struct object *object)
{
    struct audit_pod *r = map_remove(&audit->pods, object->meta->uid);
    if (!r)
        return;
    audit->unsettled_at = audit_now(audit);
    if (pod_is_active(r->object->value) && is_available(audit, r->object))
        check_lost_pod(audit, r);
    object_unref(r->object);
    free(r);
}
