/* The Namespace controller: empties a namespace that is being deleted, then lets it go. Pods go first, so that nothing
 * that they run under (a NetworkPolicy, a Secret) goes before them; all else follows when the last one has ended, as
 * upstream's ordered deletion. A pod that has ended and is held by its Job only is not waited for: a Job that counts by
 * index holds a failed pod until it has replaced it, which it cannot here, and has to go first. Each object that leaves
 * a terminating namespace is a reason to look whether it was the last. Conditions tell what is in the way. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "control/controller.h"
#include "control/job.h"
#include "control/namespace_conditions.h"

/* Between two looks at a namespace when nothing is seen to go. */
#define LOOK_AGAIN (5 * SECOND)

#define FINALIZER "kubernetes"

static void namespace_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED && object->meta->deletion_timestamp)
        queue_add(((struct controller *)context)->queue, NULL, object->meta->name);
}

static void content_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    (void)old;
    if (change != INFORMER_DELETED)
        return;
    const struct object *namespace = informer_get(c->state, NULL, object->meta->namespace);
    if (namespace && namespace->meta->deletion_timestamp)
        queue_add(c->queue, NULL, object->meta->namespace);
}

static bool is_content(const struct api_resource *r)
{
    return r->namespaced && api_is_stored(r);
}

static void start(struct controller *c)
{
    c->state = informer_set_get(c->informers, &api_resources[API_NAMESPACES]);
    informer_add_handler(c->state, namespace_changed, c);
    /* Events and leases go at once, without finalizers: they are not worth a copy of all of them. */
    for (size_t i = 0; i < api_resource_count; i++)
        if (is_content(&api_resources[i]) && i != API_EVENTS && i != API_LEASES)
            informer_add_handler(informer_set_get(c->informers, &api_resources[i]), content_changed, c);
}

/* One look: pods or, when there are none, all other kinds are told to go, and what is left is counted. */
struct emptying {
    struct controller *controller;
    struct work *work;
    struct object *namespace; /* held by the work */
    bool pods;                /* it is their turn */
    size_t awaited;           /* pods that have to go before all else */
    size_t pending;
    struct namespace_remains remains;
};

static void finalize(struct emptying *e, const struct object *namespace)
{
    struct namespace fresh = *(const struct namespace *)namespace->value;
    struct arena *arena = work_arena(e->work);
    const char **kept = arena_alloc(arena, fresh.spec.finalizers.count * sizeof(*kept));
    size_t n = 0;
    for (size_t i = 0; i < fresh.spec.finalizers.count; i++)
        if (strcmp(fresh.spec.finalizers.items[i], FINALIZER) != 0)
            kept[n++] = fresh.spec.finalizers.items[i];
    fresh.spec.finalizers.items = kept;
    fresh.spec.finalizers.count = n;
    work_update(e->work, namespace->resource, "finalize", &fresh, NULL, NULL);
}

static bool is_empty(const struct emptying *e)
{
    return !e->pods && !e->remains.left && !e->remains.failure_count;
}

static void status_written(void *context, const struct client_result *result)
{
    struct emptying *e = context;
    if (client_ok(result) && is_empty(e))
        finalize(e, result->object);
}

static void begin(struct emptying *e, bool pods);

static void look_over(struct emptying *e)
{
    if (e->pods && !e->awaited && !e->remains.failure_count) {
        begin(e, false);
        return;
    }
    struct namespace fresh = *(const struct namespace *)e->namespace->value;
    bool changed = namespace_conditions(&e->remains, &fresh.status.conditions, env_now(e->controller->env),
                                        &fresh.status.conditions);
    if (changed)
        work_update(e->work, e->namespace->resource, "status", &fresh, status_written, e);
    else if (is_empty(e))
        finalize(e, e->namespace);
    if (!is_empty(e))
        work_again_after(e->work, LOOK_AGAIN);
}

static void note_failure(struct emptying *e, const struct client_result *result)
{
    if (!client_ok(result))
        namespace_remains_fail(&e->remains, result->status ? text_or_empty(result->status->message) : "");
}

/* It has ended: its node has said so, or it never had one. */
static bool is_held_by_job(const struct object *pod)
{
    const struct object_meta *meta = pod->meta;
    return meta->deletion_timestamp && meta->deletion_grace_period_seconds.set &&
           meta->deletion_grace_period_seconds.value == 0 && meta->finalizers.count == 1 && job_is_tracked(pod);
}

static void counted(void *context, const struct client_result *result)
{
    struct emptying *e = context;
    note_failure(e, result);
    for (size_t i = 0; i < result->count; i++) {
        namespace_remains_add(&e->remains, result->items[i]);
        e->awaited += e->pods && !is_held_by_job(result->items[i]);
    }
    if (--e->pending == 0)
        look_over(e);
}

/* Submits the request for every kind whose turn it is. */
static void ask(struct emptying *e, enum client_verb verb, client_done done)
{
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (!is_content(r) || e->pods != (i == API_PODS))
            continue;
        e->pending++;
        work_submit(e->work, client_request_new(verb, r, e->namespace->meta->name, NULL), done, e);
    }
}

static void emptied(void *context, const struct client_result *result)
{
    struct emptying *e = context;
    note_failure(e, result);
    /* All has been asked to go: what is still there? */
    if (--e->pending == 0)
        ask(e, CLIENT_LIST, counted);
}

static void begin(struct emptying *e, bool pods)
{
    e->pods = pods;
    ask(e, CLIENT_DELETE_COLLECTION, emptied);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct object *object = informer_get(c->state, NULL, work_name(work));
    if (!object || !object->meta->deletion_timestamp ||
        !((const struct namespace *)object->value)->spec.finalizers.count)
        return;
    struct emptying *e = arena_alloc(work_arena(work), sizeof(*e));
    e->controller = c;
    e->work = work;
    e->namespace = object;
    e->remains.arena = work_arena(work);
    work_hold(work, object);
    begin(e, true);
}

const struct controller_kind namespace_controller = {
    .name = "namespace-controller", .queue = "namespace", .start = start, .reconcile = reconcile};
