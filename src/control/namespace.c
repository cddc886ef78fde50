/* The Namespace controller: empties a namespace that is being deleted, then lets it go. Each object that leaves a
 * terminating namespace is a reason to look whether it was the last. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "control/controller.h"

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

/* One look: every kind is emptied, and what is left is counted. */
struct emptying {
    struct controller *controller;
    struct work *work;
    struct object *namespace; /* held by the work */
    size_t pending;
    size_t left;
    bool failed;
};

static void finalize(struct emptying *e)
{
    struct namespace fresh = *(const struct namespace *)e->namespace->value;
    struct arena *arena = work_arena(e->work);
    const char **kept = arena_alloc(arena, fresh.spec.finalizers.count * sizeof(*kept));
    size_t n = 0;
    for (size_t i = 0; i < fresh.spec.finalizers.count; i++)
        if (strcmp(fresh.spec.finalizers.items[i], FINALIZER) != 0)
            kept[n++] = fresh.spec.finalizers.items[i];
    fresh.spec.finalizers.items = kept;
    fresh.spec.finalizers.count = n;
    work_update(e->work, e->namespace->resource, "finalize", &fresh, NULL, NULL);
}

static void look_over(struct emptying *e)
{
    if (!e->failed && !e->left)
        finalize(e);
    else
        work_again_after(e->work, LOOK_AGAIN);
}

static void counted(void *context, const struct client_result *result)
{
    struct emptying *e = context;
    if (!client_ok(result))
        e->failed = true;
    e->left += result->count;
    if (--e->pending == 0)
        look_over(e);
}

static void emptied(void *context, const struct client_result *result)
{
    struct emptying *e = context;
    (void)result;
    if (--e->pending)
        return;
    /* All has been asked to go: what is still there? */
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (!is_content(r))
            continue;
        struct client_request *list = client_request_new(CLIENT_LIST, r, e->namespace->meta->name, NULL);
        list->limit = 1;
        e->pending++;
        work_submit(e->work, list, counted, e);
    }
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct object *object = informer_get(c->state, NULL, work_name(work));
    if (!object || !object->meta->deletion_timestamp || !((const struct namespace *)object->value)->spec.finalizers.count)
        return;
    struct emptying *e = arena_alloc(work_arena(work), sizeof(*e));
    e->controller = c;
    e->work = work;
    e->namespace = object;
    work_hold(work, object);
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (!is_content(r))
            continue;
        e->pending++;
        work_submit(work, client_request_new(CLIENT_DELETE_COLLECTION, r, object->meta->name, NULL), emptied, e);
    }
}

const struct controller_kind namespace_controller = {
    .name = "namespace-controller", .queue = "namespace", .start = start, .reconcile = reconcile};
