/* The garbage collector: an object whose owners are all gone goes too. An owner deleted in the foreground waits for
 * the dependents that block it; an orphaning one lets them go first.
 *
 * Keys are "RESOURCE:name", RESOURCE being the index in api_resources. Each key is one object, looked at as a
 * dependent (are its owners there?) and as an owner (is it being deleted with a finalizer of ours?). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "control/controller.h"

#define FOREGROUND "foregroundDeletion"
#define ORPHAN "orphan"

struct kind_watch {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *informer; /* NULL: not collected */
    int by_owner;              /* index by the uid of the first owner, see index_owner */
};

struct garbage {
    struct kind_watch kinds[API_RESOURCE_COUNT];
};

/* Events and leases come and go by the hundred and own nothing. */
static bool collected(const struct api_resource *r)
{
    return r->storage == r->index && r->index != API_EVENTS && r->index != API_LEASES;
}

static void enqueue(struct controller *c, const struct api_resource *resource, const struct object_meta *meta)
{
    cleanup_free char *name = mem_printf("%u:%s", resource->index, meta->name);
    queue_add(c->queue, meta->namespace, name);
}

/* Objects with several owners are indexed by the first; the others are found when that one is looked at. */
static bool index_owner(struct object *object, char *out, size_t size)
{
    if (!object->meta->owner_references.count)
        return false;
    snprintf(out, size, "%s", object->meta->owner_references.items[0].uid);
    return true;
}

struct dependents {
    struct controller *controller;
    VECTOR(struct object *) items;
};

static bool collect(void *context, struct object *object)
{
    struct dependents *d = context;
    vector_push(&d->items, object);
    return true;
}

static void find_dependents(struct controller *c, const char *uid, struct dependents *out)
{
    struct garbage *own = c->state;
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++)
        if (own->kinds[i].informer)
            informer_each_indexed(own->kinds[i].informer, own->kinds[i].by_owner, uid, collect, out);
}

static bool has_finalizer(const struct object_meta *meta, const char *finalizer)
{
    for (size_t i = 0; i < meta->finalizers.count; i++)
        if (strcmp(meta->finalizers.items[i], finalizer) == 0)
            return true;
    return false;
}

static void object_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct kind_watch *kind = context;
    struct controller *c = kind->controller;
    (void)old;
    if (change == INFORMER_DELETED) {
        struct dependents d = {.controller = c};
        find_dependents(c, object->meta->uid, &d);
        for (size_t i = 0; i < d.items.count; i++)
            enqueue(c, d.items.items[i]->resource, d.items.items[i]->meta);
        vector_free(&d.items);
    } else if (object->meta->owner_references.count) {
        enqueue(c, kind->resource, object->meta);
    }
    if (change != INFORMER_DELETED && object->meta->deletion_timestamp && object->meta->finalizers.count)
        enqueue(c, kind->resource, object->meta);
    /* An owner that waits for its dependents has one less, or one that no longer blocks. */
    for (size_t i = 0; i < object->meta->owner_references.count; i++) {
        const struct owner_reference *r = &object->meta->owner_references.items[i];
        const struct api_resource *owner = api_resource_of_kind(r->api_version, r->kind);
        struct garbage *own = c->state;
        struct object *o = owner && own->kinds[owner->index].informer
                               ? informer_get(own->kinds[owner->index].informer,
                                              owner->namespaced ? object->meta->namespace : NULL, r->name)
                               : NULL;
        if (o && o->meta->deletion_timestamp && has_finalizer(o->meta, FOREGROUND))
            enqueue(c, owner, o->meta);
    }
}

static void start(struct controller *c)
{
    struct garbage *own = mem_zero(1, sizeof(*own));
    c->state = own;
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++) {
        struct kind_watch *kind = &own->kinds[i];
        kind->controller = c;
        kind->resource = &api_resources[i];
        if (!collected(kind->resource))
            continue;
        kind->informer = informer_set_get(c->informers, kind->resource);
        kind->by_owner = informer_add_index(kind->informer, index_owner);
        informer_add_handler(kind->informer, object_changed, kind);
    }
}

static void stop(struct controller *c)
{
    free(c->state);
}

/* ---- As an owner ---- */

static void remove_finalizer(struct work *work, struct object *object, const char *finalizer)
{
    cleanup_buffer struct buffer patch = {0};
    const char *separator = "";
    buffer_printf(&patch, "{\"metadata\":{\"resourceVersion\":\"%s\",\"finalizers\":[", object->meta->resource_version);
    for (size_t i = 0; i < object->meta->finalizers.count; i++)
        if (strcmp(object->meta->finalizers.items[i], finalizer) != 0) {
            buffer_printf(&patch, "%s\"%s\"", separator, object->meta->finalizers.items[i]);
            separator = ",";
        }
    buffer_add_string(&patch, "]}}");
    work_patch(work, object->resource, NULL, object->meta, PATCH_MERGE, patch.data, NULL, NULL);
}

static void release(struct work *work, struct object *dependent, const char *owner_uid)
{
    const char *patch = arena_printf(work_arena(work),
                                     "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"%s\"}],"
                                     "\"uid\":\"%s\"}}",
                                     owner_uid, dependent->meta->uid);
    work_patch(work, dependent->resource, NULL, dependent->meta, PATCH_STRATEGIC, patch, NULL, NULL);
}

static bool blocks(const struct object_meta *dependent, const char *owner_uid)
{
    for (size_t i = 0; i < dependent->owner_references.count; i++) {
        const struct owner_reference *r = &dependent->owner_references.items[i];
        if (strcmp(r->uid, owner_uid) == 0)
            return r->block_owner_deletion.set && r->block_owner_deletion.value;
    }
    return false;
}

static void end_owner(struct controller *c, struct work *work, struct object *owner)
{
    struct dependents d = {.controller = c};
    size_t blocking = 0;
    find_dependents(c, owner->meta->uid, &d);
    if (has_finalizer(owner->meta, ORPHAN)) {
        for (size_t i = 0; i < d.items.count; i++)
            release(work, d.items.items[i], owner->meta->uid);
        if (!d.items.count)
            remove_finalizer(work, owner, ORPHAN);
        else
            work_again_after(work, 0);
    } else if (has_finalizer(owner->meta, FOREGROUND)) {
        for (size_t i = 0; i < d.items.count; i++) {
            struct object *dependent = d.items.items[i];
            blocking += blocks(dependent->meta, owner->meta->uid);
            if (!dependent->meta->deletion_timestamp)
                work_delete(work, dependent->resource, dependent->meta, "Foreground", NULL, NULL);
        }
        if (!blocking)
            remove_finalizer(work, owner, FOREGROUND);
    }
    vector_free(&d.items);
}

/* ---- As a dependent ---- */

struct verify {
    struct controller *controller;
    struct work *work;
    struct object *dependent;
    size_t pending, present;
};

static void verified(void *context, const struct client_result *result)
{
    struct verify *v = context;
    (void)result;
    if (--v->pending)
        return;
    if (!v->present && !v->dependent->meta->deletion_timestamp)
        work_delete(v->work, v->dependent->resource, v->dependent->meta, "Background", NULL, NULL);
    object_unref(v->dependent);
    free(v);
}

struct owner_check {
    struct verify *verify;
    char *uid;
};

static void owner_got(void *context, const struct client_result *result)
{
    struct owner_check *check = context;
    struct verify *v = check->verify;
    bool there = client_ok(result) && result->object && strcmp(result->object->meta->uid, check->uid) == 0;
    /* An error other than "not found" proves nothing. */
    if (there || (!client_ok(result) && result->code != 404))
        v->present++;
    free(check->uid);
    free(check);
    verified(v, result);
}

/* True when the informers show an owner alive: no need to ask. */
static bool owner_seen(struct controller *c, const struct object_meta *meta, const struct owner_reference *r)
{
    struct garbage *own = c->state;
    const struct api_resource *owner = api_resource_of_kind(r->api_version, r->kind);
    if (!owner || !own->kinds[owner->index].informer)
        return true; /* a kind that is not served here: never collected for it */
    struct object *o =
        informer_get(own->kinds[owner->index].informer, owner->namespaced ? meta->namespace : NULL, r->name);
    return o && strcmp(o->meta->uid, r->uid) == 0;
}

static void check_owners(struct controller *c, struct work *work, struct object *object)
{
    const struct owner_reference_array *owners = &object->meta->owner_references;
    for (size_t i = 0; i < owners->count; i++)
        if (owner_seen(c, object->meta, &owners->items[i]))
            return;
    /* Not seen: the informer may be behind, so the API is asked before anything is deleted. */
    struct verify *v = mem_zero(1, sizeof(*v));
    v->controller = c;
    v->work = work;
    v->dependent = object_ref(object);
    v->pending = owners->count;
    for (size_t i = 0; i < owners->count; i++) {
        const struct owner_reference *r = &owners->items[i];
        const struct api_resource *owner = api_resource_of_kind(r->api_version, r->kind);
        struct owner_check *check = mem_zero(1, sizeof(*check));
        check->verify = v;
        check->uid = mem_string(r->uid);
        work_submit(work,
                    client_request_new(CLIENT_GET, owner, owner->namespaced ? object->meta->namespace : NULL, r->name),
                    owner_got, check);
    }
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct garbage *own = c->state;
    char *name;
    unsigned long index = strtoul(work_name(work), &name, 10);
    struct object *object =
        informer_get(own->kinds[index].informer, *work_namespace(work) ? work_namespace(work) : NULL, name + 1);
    if (!object)
        return;
    if (object->meta->deletion_timestamp)
        end_owner(c, work, object);
    else if (object->meta->owner_references.count)
        check_owners(c, work, object);
}

const struct controller_kind garbage_collector = {
    .name = "garbage-collector", .start = start, .reconcile = reconcile, .stop = stop};
