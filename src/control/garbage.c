/* The garbage collector: an object whose owners are all gone goes too. An owner deleted in the foreground waits for
 * the dependents that block it; an orphaning one lets them go first.
 *
 * Keys are "RESOURCE:name", RESOURCE being the index in api_resources. Each key is one object, looked at as a
 * dependent (are its owners there?) and as an owner (is it being deleted with a finalizer of ours?). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "control/controller.h"

#define FOREGROUND "foregroundDeletion"
#define ORPHAN "orphan"
/* After dependents have been released: those that had gone already are heard of in no more than this. */
#define LOOK_AGAIN (10 * MILLISECOND)

/* Owners of one object that it is found by; objects with more are few, and found together. */
#define OWNERS_INDEXED 3
#define MANY_OWNERS "many"

struct kind_watch {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *informer;  /* NULL: not collected */
    int by_owner[OWNERS_INDEXED]; /* indexes by the uids of the first owners */
    int by_many;                  /* of those that have more, under MANY_OWNERS */
};

struct garbage {
    struct kind_watch kinds[API_RESOURCE_COUNT];
};

/* Events and leases come and go by the hundred and own nothing. */
static bool collected(const struct api_resource *r)
{
    return api_is_stored(r) && r->index != API_EVENTS && r->index != API_LEASES;
}

static void enqueue(struct controller *c, const struct api_resource *resource, const struct object_meta *meta)
{
    cleanup_free char *name = mem_printf("%u:%s", resource->index, meta->name);
    queue_add(c->queue, meta->namespace, name);
}

/* One index per place in the list of owners. */
static bool index_owner(struct object *object, size_t place, char *out, size_t size)
{
    if (object->meta->owner_references.count <= place)
        return false;
    snprintf(out, size, "%s", object->meta->owner_references.items[place].uid);
    return true;
}

static bool index_first(struct object *object, char *out, size_t size)
{
    return index_owner(object, 0, out, size);
}

static bool index_second(struct object *object, char *out, size_t size)
{
    return index_owner(object, 1, out, size);
}

static bool index_third(struct object *object, char *out, size_t size)
{
    return index_owner(object, 2, out, size);
}

static bool index_many(struct object *object, char *out, size_t size)
{
    snprintf(out, size, MANY_OWNERS);
    return object->meta->owner_references.count > OWNERS_INDEXED;
}

static const informer_index_key owner_indexes[OWNERS_INDEXED] = {index_first, index_second, index_third};

struct dependents {
    struct controller *controller;
    const char *owner; /* its uid */
    VECTOR(struct object *) items;
};

static bool collect(void *context, struct object *object)
{
    struct dependents *d = context;
    vector_push(&d->items, object);
    return true;
}

static bool collect_from_many(void *context, struct object *object)
{
    struct dependents *d = context;
    const struct owner_reference_array *owners = &object->meta->owner_references;
    for (size_t i = OWNERS_INDEXED; i < owners->count; i++)
        if (strcmp(owners->items[i].uid, d->owner) == 0)
            return collect(d, object);
    return true;
}

static void find_dependents(struct controller *c, const char *uid, struct dependents *out)
{
    struct garbage *own = c->state;
    out->owner = uid;
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++) {
        const struct kind_watch *kind = &own->kinds[i];
        for (size_t k = 0; kind->informer && k < OWNERS_INDEXED; k++)
            informer_each_indexed(kind->informer, kind->by_owner[k], uid, collect, out);
        if (kind->informer)
            informer_each_indexed(kind->informer, kind->by_many, MANY_OWNERS, collect_from_many, out);
    }
}

static bool has_finalizer(const struct object_meta *meta, const char *finalizer)
{
    for (size_t i = 0; i < meta->finalizers.count; i++)
        if (strcmp(meta->finalizers.items[i], finalizer) == 0)
            return true;
    return false;
}

/* ---- Owners as the informers show them ---- */

enum standing {
    SOLID,    /* there */
    DANGLING, /* gone */
    WAITING   /* being deleted in the foreground: waits for its dependents */
};

static enum standing standing_of(const struct object *owner, const struct owner_reference *r)
{
    if (!owner || strcmp(owner->meta->uid, r->uid) != 0)
        return DANGLING;
    return owner->meta->deletion_timestamp && has_finalizer(owner->meta, FOREGROUND) ? WAITING : SOLID;
}

/* What the informers show of an owner. A kind that is not served here, or that cannot own across namespaces, is never
 * a reason to collect. False: not seen; the informer may be behind, so the API has to be asked. */
static bool owner_seen(struct controller *c, const struct object_meta *meta, const struct owner_reference *r,
                       enum standing *standing)
{
    const struct garbage *own = c->state;
    const struct api_resource *owner = api_resource_of_kind(r->api_version, r->kind);
    *standing = SOLID;
    if (!owner || (owner->namespaced && !meta->namespace))
        return true;
    const struct informer *informer = own->kinds[owner->index].informer;
    struct object *o = informer ? informer_get(informer, owner->namespaced ? meta->namespace : NULL, r->name) : NULL;
    if (!o || strcmp(o->meta->uid, r->uid) != 0)
        return false;
    *standing = standing_of(o, r);
    return true;
}

/* ---- What changes ---- */

/* Owners that wait for their dependents: they have one less, or one that no longer blocks. */
static void enqueue_waiting_owners(struct controller *c, const struct object_meta *meta)
{
    const struct garbage *own = c->state;
    for (size_t i = 0; i < meta->owner_references.count; i++) {
        const struct owner_reference *r = &meta->owner_references.items[i];
        const struct api_resource *owner = api_resource_of_kind(r->api_version, r->kind);
        const struct informer *informer = owner ? own->kinds[owner->index].informer : NULL;
        const struct object *o =
            informer ? informer_get(informer, owner->namespaced ? meta->namespace : NULL, r->name) : NULL;
        if (o && o->meta->deletion_timestamp && has_finalizer(o->meta, FOREGROUND))
            enqueue(c, owner, o->meta);
    }
}

static bool same_owners(const struct object_meta *a, const struct object_meta *b)
{
    bool same = a->owner_references.count == b->owner_references.count;
    for (size_t i = 0; same && i < a->owner_references.count; i++)
        same = api_equal(&api_type_owner_reference, &a->owner_references.items[i], &b->owner_references.items[i]);
    return same;
}

/* Most changes of an object are none that matter here. */
static bool same_bonds(const struct object_meta *a, const struct object_meta *b)
{
    return !a->deletion_timestamp == !b->deletion_timestamp &&
           has_finalizer(a, ORPHAN) == has_finalizer(b, ORPHAN) &&
           has_finalizer(a, FOREGROUND) == has_finalizer(b, FOREGROUND) && same_owners(a, b);
}

static bool all_owners_solid(struct controller *c, const struct object_meta *meta)
{
    enum standing standing;
    for (size_t i = 0; i < meta->owner_references.count; i++)
        if (!owner_seen(c, meta, &meta->owner_references.items[i], &standing) || standing != SOLID)
            return false;
    return true;
}

static void object_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    const struct kind_watch *kind = context;
    struct controller *c = kind->controller;
    if (change == INFORMER_DELETED) {
        struct dependents d = {.controller = c};
        find_dependents(c, object->meta->uid, &d);
        for (size_t i = 0; i < d.items.count; i++)
            enqueue(c, d.items.items[i]->resource, d.items.items[i]->meta);
        vector_free(&d.items);
    } else if (old && same_bonds(old->meta, object->meta)) {
        return;
    } else if ((object->meta->deletion_timestamp && object->meta->finalizers.count) ||
               !all_owners_solid(c, object->meta)) {
        enqueue(c, kind->resource, object->meta);
    }
    enqueue_waiting_owners(c, object->meta);
    if (old)
        enqueue_waiting_owners(c, old->meta);
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
        for (size_t k = 0; k < OWNERS_INDEXED; k++)
            kind->by_owner[k] = informer_add_index(kind->informer, owner_indexes[k]);
        kind->by_many = informer_add_index(kind->informer, index_many);
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

/* Lets the dependents go before the owner does. */
static void orphan_dependents(struct work *work, struct object *owner, const struct dependents *d)
{
    for (size_t i = 0; i < d->items.count; i++)
        release(work, d->items.items[i], owner->meta->uid);
    if (!d->items.count)
        remove_finalizer(work, owner, ORPHAN);
    else
        work_again_after(work, LOOK_AGAIN);
}

/* The owner goes when no dependent blocks it any more; those that do are looked at, and see that it waits for them. */
static void await_dependents(struct controller *c, struct work *work, struct object *owner, const struct dependents *d)
{
    size_t blocking = 0;
    for (size_t i = 0; i < d->items.count; i++) {
        const struct object *dependent = d->items.items[i];
        if (!blocks(dependent->meta, owner->meta->uid))
            continue;
        blocking++;
        if (!dependent->meta->deletion_timestamp)
            enqueue(c, dependent->resource, dependent->meta);
    }
    if (!blocking)
        remove_finalizer(work, owner, FOREGROUND);
}

static void end_owner(struct controller *c, struct work *work, struct object *owner)
{
    struct dependents d = {.controller = c};
    find_dependents(c, owner->meta->uid, &d);
    if (has_finalizer(owner->meta, ORPHAN))
        orphan_dependents(work, owner, &d);
    else if (has_finalizer(owner->meta, FOREGROUND))
        await_dependents(c, work, owner, &d);
    vector_free(&d.items);
}

/* ---- As a dependent ---- */

struct verify {
    struct controller *controller;
    struct work *work;
    struct object *dependent; /* held by the work */
    enum standing *standings; /* by owner */
    size_t pending;
};

static void collect_dependent(struct verify *v, const char *propagation)
{
    const struct object_meta *meta = v->dependent->meta;
    struct client_request *r = client_request_new(CLIENT_DELETE, v->dependent->resource, meta->namespace, meta->name);
    struct delete_options *options = arena_alloc(r->arena, sizeof(*options));
    options->propagation_policy = propagation;
    options->preconditions = arena_alloc(r->arena, sizeof(*options->preconditions));
    options->preconditions->uid = arena_string(r->arena, meta->uid);
    /* As it was looked at: somebody may have given it another owner since. */
    options->preconditions->resource_version = arena_string(r->arena, meta->resource_version);
    r->delete_options = options;
    work_submit(v->work, r, NULL, NULL);
}

/* Takes away the owners that are gone, or that wait for this dependent while others keep it. */
static void drop_owners(struct verify *v)
{
    const struct owner_reference_array *owners = &v->dependent->meta->owner_references;
    cleanup_buffer struct buffer patch = {0};
    const char *separator = "";
    buffer_add_string(&patch, "{\"metadata\":{\"ownerReferences\":[");
    for (size_t i = 0; i < owners->count; i++) {
        if (v->standings[i] == SOLID)
            continue;
        buffer_printf(&patch, "%s{\"$patch\":\"delete\",\"uid\":\"%s\"}", separator, owners->items[i].uid);
        separator = ",";
    }
    buffer_printf(&patch, "],\"uid\":\"%s\"}}", v->dependent->meta->uid);
    work_patch(v->work, v->dependent->resource, NULL, v->dependent->meta, PATCH_STRATEGIC, patch.data, NULL, NULL);
}

static bool has_dependents(struct controller *c, const char *uid)
{
    struct dependents d = {.controller = c};
    find_dependents(c, uid, &d);
    bool found = d.items.count > 0;
    vector_free(&d.items);
    return found;
}

/* All owners are known: upstream's attemptToDeleteItem. */
static void judge(struct verify *v)
{
    const struct object_meta *meta = v->dependent->meta;
    size_t counts[WAITING + 1] = {0};
    for (size_t i = 0; i < meta->owner_references.count; i++)
        counts[v->standings[i]]++;
    if (counts[SOLID] && counts[DANGLING] + counts[WAITING])
        drop_owners(v);
    else if (counts[SOLID])
        return;
    else if (counts[WAITING] && has_dependents(v->controller, meta->uid))
        collect_dependent(v, "Foreground");
    else if (has_finalizer(meta, ORPHAN))
        collect_dependent(v, "Orphan");
    else
        collect_dependent(v, has_finalizer(meta, FOREGROUND) ? "Foreground" : "Background");
}

struct owner_check {
    struct verify *verify;
    size_t place;
};

static void owner_got(void *context, const struct client_result *result)
{
    const struct owner_check *check = context;
    struct verify *v = check->verify;
    const struct owner_reference *r = &v->dependent->meta->owner_references.items[check->place];
    /* An error other than "not found" proves nothing. */
    if (client_ok(result) || result->code == 404)
        v->standings[check->place] = standing_of(client_ok(result) ? result->object : NULL, r);
    else
        work_retry(v->work);
    if (!--v->pending)
        judge(v);
}

static void check_owners(struct controller *c, struct work *work, struct object *object)
{
    const struct owner_reference_array *owners = &object->meta->owner_references;
    struct verify *v = arena_alloc(work_arena(work), sizeof(*v));
    *v = (struct verify){.controller = c, .work = work, .dependent = object};
    v->standings = arena_alloc(work_arena(work), owners->count * sizeof(*v->standings));
    work_hold(work, object);
    v->pending = 1;
    for (size_t i = 0; i < owners->count; i++) {
        const struct owner_reference *r = &owners->items[i];
        if (owner_seen(c, object->meta, r, &v->standings[i]))
            continue;
        const struct api_resource *owner = api_resource_of_kind(r->api_version, r->kind);
        struct owner_check *check = arena_alloc(work_arena(work), sizeof(*check));
        *check = (struct owner_check){v, i};
        v->pending++;
        work_submit(work,
                    client_request_new(CLIENT_GET, owner, owner->namespaced ? object->meta->namespace : NULL, r->name),
                    owner_got, check);
    }
    if (!--v->pending)
        judge(v);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    const struct garbage *own = c->state;
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

const struct controller_kind garbage_collector = {.name = "garbage-collector",
                                                  .queue = "garbage_collector_attempt_to_delete",
                                                  .start = start,
                                                  .reconcile = reconcile,
                                                  .stop = stop};
