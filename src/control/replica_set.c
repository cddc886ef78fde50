/* The ReplicaSet controller: as many active pods as spec.replicas asks for, made from the template, counted in the
 * status. Order of victims and texts of events are upstream's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/timestamp.h"
#include "control/pod_control.h"
#include "control/victims.h"

/* Pods created or deleted in one run, as upstream's burst. The events of those lead to the next run. */
#define BURST 500

struct replica_sets {
    struct informer *informer, *pods;
    int pods_by_owner;
    int siblings; /* index of ReplicaSets by controller */
    struct map failures; /* uid -> struct failure */
};

static void replica_set_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct replica_sets *own = c->state;
    (void)old;
    if (change == INFORMER_DELETED)
        free(map_remove(&own->failures, object->meta->uid));
    controller_enqueue(c, object->meta);
}

static void enqueue_matching(struct controller *c, const struct pod *pod);

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    const struct api_resource *replica_sets = &api_resources[API_REPLICASETS];
    if (change == INFORMER_UPDATED && old)
        controller_enqueue_owner(c, replica_sets, old->meta);
    if (controller_of(object->meta))
        controller_enqueue_owner(c, replica_sets, object->meta);
    else if (change != INFORMER_DELETED)
        enqueue_matching(c, object->value);
}

struct matching {
    struct controller *controller;
    const struct pod *pod;
};

static bool enqueue_if_matching(void *context, struct object *object)
{
    struct matching *m = context;
    const struct replica_set *rs = object->value;
    const struct selector *selector;
    cleanup_arena struct arena *arena = arena_new(0);
    if (selector_from_label_selector(arena, rs->spec.selector, &selector, NULL) == 0 &&
        selector_matches(selector, &m->pod->metadata.labels))
        controller_enqueue(m->controller, object->meta);
    return true;
}

/* An orphan may be adopted by any ReplicaSet whose selector matches. */
static void enqueue_matching(struct controller *c, const struct pod *pod)
{
    struct replica_sets *own = c->state;
    struct matching m = {c, pod};
    informer_each(own->informer, pod->metadata.namespace, enqueue_if_matching, &m);
}

static void start(struct controller *c)
{
    struct replica_sets *own = mem_zero(1, sizeof(*own));
    c->state = own;
    own->informer = informer_set_get(c->informers, &api_resources[API_REPLICASETS]);
    own->pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    own->pods_by_owner = informer_add_index(own->pods, controller_index_owner);
    own->siblings = informer_add_index(own->informer, controller_index_owner);
    informer_add_handler(own->informer, replica_set_changed, c);
    informer_add_handler(own->pods, pod_changed, c);
}

static void stop(struct controller *c)
{
    struct replica_sets *own = c->state;
    for (struct map_slot *s = NULL; (s = map_next(&own->failures, s));)
        free(s->value);
    map_free(&own->failures);
    free(own);
}

/* ---- Failures ---- */

/* The last create or delete that was refused: the condition ReplicaFailure until one succeeds. */
struct failure {
    const char *reason;
    char message[];
};

static void forget_failure(struct replica_sets *own, const char *uid)
{
    free(map_remove(&own->failures, uid));
}

static void remember_failure(struct replica_sets *own, const char *uid, const char *reason, const char *message)
{
    size_t size = strlen(message) + 1;
    struct failure *failure = mem_zero(1, sizeof(*failure) + size);
    failure->reason = reason;
    memcpy(failure->message, message, size);
    free(map_set(&own->failures, uid, failure));
}

/* ---- Creating and deleting ---- */

/* Of one run. */
struct change {
    struct replica_sets *own;
    const char *uid;
    struct pod *pod;
};

static struct pod *same_pod(void *context, size_t i)
{
    (void)i;
    return ((struct change *)context)->pod;
}

static void create_failed(void *context, const char *message)
{
    struct change *change = context;
    remember_failure(change->own, change->uid, "FailedCreate", message);
}

static void batch_created(void *context)
{
    struct change *change = context;
    forget_failure(change->own, change->uid);
}

static void delete_answered(void *context, const char *refused)
{
    struct change *change = context;
    if (refused)
        remember_failure(change->own, change->uid, "FailedDelete", refused);
}

static struct change *change_new(struct controller *c, struct work *work, struct object *object)
{
    struct change *change = arena_alloc(work_arena(work), sizeof(*change));
    *change = (struct change){.own = c->state, .uid = object->meta->uid};
    return change;
}

static void create_pods(struct controller *c, struct work *work, struct object *object, size_t count)
{
    const struct replica_set *rs = object->value;
    struct change *change = change_new(c, work, object);
    struct pod_creation *creation = arena_alloc(work_arena(work), sizeof(*creation));
    change->pod = pod_control_from_template(work, object, &rs->spec.template);
    *creation = (struct pod_creation){.controller = c,
                                      .work = work,
                                      .owner = object,
                                      .count = count,
                                      .pod = same_pod,
                                      .failed = create_failed,
                                      .advanced = batch_created,
                                      .context = change};
    pod_control_create(creation);
}

struct siblings {
    struct arena *arena;
    struct controller *controller;
    struct object **items;
    size_t count, room;
};

static bool add_pod(void *context, struct object *pod)
{
    struct siblings *s = context;
    if (!pod_is_active(pod->value))
        return true;
    if (s->count == s->room) {
        s->items = arena_array_grow(s->arena, s->items, s->count, s->room + 16, sizeof(*s->items));
        s->room += s->room + 16;
    }
    s->items[s->count++] = pod;
    return true;
}

static bool add_sibling(void *context, struct object *replica_set)
{
    struct siblings *s = context;
    struct replica_sets *own = s->controller->state;
    informer_each_indexed(own->pods, own->pods_by_owner, replica_set->meta->uid, add_pod, s);
    return true;
}

static void delete_pods(struct controller *c, struct work *work, struct object *object, struct object_array *active,
                        size_t count)
{
    struct replica_sets *own = c->state;
    const struct owner_reference *owner = controller_of(object->meta);
    /* Pods of all ReplicaSets of the same Deployment tell how crowded a node is. */
    struct siblings related = {.arena = work_arena(work), .controller = c};
    if (owner)
        informer_each_indexed(own->informer, own->siblings, owner->uid, add_sibling, &related);
    else
        related.items = active->items, related.count = active->count;
    if (count < active->count)
        victims_sort(work_arena(work), active->items, active->count, related.items, related.count,
                     ((const struct replica_set *)object->value)->spec.min_ready_seconds, env_now(c->env));
    struct change *change = change_new(c, work, object);
    for (size_t i = 0; i < count; i++)
        pod_control_delete(c, work, object, active->items[i], delete_answered, change);
}

/* ---- Status ---- */

static bool matches_template(const struct pod *pod, const struct string_map *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        const char *value = string_map_get(&pod->metadata.labels, labels->items[i].key);
        if (!value || strcmp(value, labels->items[i].value) != 0)
            return false;
    }
    return true;
}

static void set_failure(struct arena *arena, struct replica_set_status *status, const struct failure *failure,
                        int64_t now)
{
    struct replica_set_condition_array *list = &status->conditions;
    size_t kept = 0;
    struct replica_set_condition *items = arena_alloc(arena, (list->count + 1) * sizeof(*items));
    const struct replica_set_condition *old = NULL;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].type, "ReplicaFailure") == 0)
            old = &list->items[i];
        else
            items[kept++] = list->items[i];
    /* The first message of a kind stands, as upstream sets conditions. */
    if (failure)
        items[kept++] = old && old->reason && strcmp(old->reason, failure->reason) == 0
                            ? *old
                            : (struct replica_set_condition){.type = "ReplicaFailure",
                                                             .status = "True",
                                                             .reason = failure->reason,
                                                             .message = failure->message,
                                                             .last_transition_time = now / SECOND * SECOND};
    list->items = items;
    list->count = kept;
}

static void write_status(struct controller *c, struct work *work, struct object *object,
                         const struct object_array *active, size_t terminating)
{
    struct replica_sets *own = c->state;
    const struct replica_set *rs = object->value;
    struct replica_set fresh = *rs;
    struct replica_set_status *s = &fresh.status;
    int64_t now = env_now(c->env), next = 0;
    s->replicas = (int32_t)active->count;
    s->fully_labeled_replicas = s->ready_replicas = s->available_replicas = 0;
    s->terminating_replicas = opt_int32((int32_t)terminating);
    for (size_t i = 0; i < active->count; i++) {
        const struct pod *pod = active->items[i]->value;
        int64_t later;
        s->fully_labeled_replicas += matches_template(pod, &rs->spec.template.metadata.labels);
        s->ready_replicas += pod_is_ready(pod);
        s->available_replicas += pod_is_available(pod, rs->spec.min_ready_seconds, now, &later);
        if (later && (!next || later < next))
            next = later;
    }
    s->observed_generation = rs->metadata.generation;
    set_failure(work_arena(work), s, map_get(&own->failures, rs->metadata.uid), now);
    if (next)
        work_again_after(work, next - now);
    if (!api_equal(&api_type_replica_set_status, s, &rs->status))
        work_update(work, object->resource, "status", &fresh, NULL, NULL);
}

/* ---- */

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct replica_sets *own = c->state;
    struct object *object = informer_get(own->informer, work_namespace(work), work_name(work));
    if (!object)
        return;
    const struct replica_set *rs = object->value;
    struct claim claim = {.owner_resource = object->resource,
                          .owner = object->meta,
                          .resource = &api_resources[API_PODS],
                          .index = own->pods_by_owner};
    struct object_array pods, active = {0};
    size_t terminating = 0;
    if (selector_from_label_selector(work_arena(work), rs->spec.selector, &claim.selector, NULL) < 0)
        return;
    work_hold(work, object);
    if (!controller_claim(c, work, &claim, &pods))
        return;
    active.items = arena_alloc(work_arena(work), pods.count * sizeof(*active.items));
    for (size_t i = 0; i < pods.count; i++) {
        if (pod_is_active(pods.items[i]->value))
            active.items[active.count++] = pods.items[i];
        else
            terminating += !pod_has_ended(pods.items[i]->value);
    }

    size_t wanted = rs->spec.replicas.set ? (size_t)rs->spec.replicas.value : 1;
    if (active.count == wanted)
        forget_failure(own, rs->metadata.uid);
    write_status(c, work, object, &active, terminating);
    if (rs->metadata.deletion_timestamp)
        return;
    if (active.count < wanted)
        create_pods(c, work, object, wanted - active.count < BURST ? wanted - active.count : BURST);
    else if (active.count > wanted)
        delete_pods(c, work, object, &active, active.count - wanted < BURST ? active.count - wanted : BURST);
}

const struct controller_kind replica_set_controller = {
    .name = "replicaset-controller", .queue = "replicaset", .start = start, .reconcile = reconcile, .stop = stop};
