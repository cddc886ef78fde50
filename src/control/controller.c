/* Owners, claims and pods, as all controllers see them. */
#include "control/controller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vector.h"

const struct owner_reference *controller_of(const struct object_meta *meta)
{
    for (size_t i = 0; i < meta->owner_references.count; i++) {
        const struct owner_reference *r = &meta->owner_references.items[i];
        if (r->controller.set && r->controller.value)
            return r;
    }
    return NULL;
}

bool controller_index_owner(struct object *object, char *out, size_t size)
{
    const struct owner_reference *r = controller_of(object->meta);
    if (r)
        snprintf(out, size, "%s", r->uid);
    else
        snprintf(out, size, CONTROLLER_ORPHAN "%s", object->meta->namespace);
    return true;
}

struct owner_reference controller_reference(const struct api_resource *resource, const struct object_meta *owner)
{
    return (struct owner_reference){.api_version = resource->api_version,
                                    .kind = resource->kind,
                                    .name = owner->name,
                                    .uid = owner->uid,
                                    .controller = opt_bool(true),
                                    .block_owner_deletion = opt_bool(true)};
}

void controller_enqueue(struct controller *c, const struct object_meta *meta)
{
    queue_add(c->queue, meta->namespace, meta->name);
}

void controller_enqueue_owner(struct controller *c, const struct api_resource *owner, const struct object_meta *meta)
{
    const struct owner_reference *r = controller_of(meta);
    if (r && strcmp(r->kind, owner->kind) == 0)
        queue_add(c->queue, meta->namespace, r->name);
}

/* ---- Claims ---- */

struct collect {
    VECTOR(struct object *) items;
};

static bool collect(void *context, struct object *object)
{
    struct collect *c = context;
    vector_push(&c->items, object);
    return true;
}

static const struct string_map *labels_of(struct object *object)
{
    return &object->meta->labels;
}

/* Orphans to be adopted, once the owner is confirmed. */
struct adoption {
    struct work *work;
    const struct api_resource *owner_resource;
    const struct object_meta *owner;
    const char *finalizer; /* NULL: none */
    struct object **orphans;
    size_t count;
};

static void adopt(const struct adoption *adoption, struct object *object)
{
    const char *finalizers = adoption->finalizer ? arena_printf(work_arena(adoption->work), "\"finalizers\":[\"%s\"],",
                                                                adoption->finalizer)
                                                 : "";
    const char *patch = arena_printf(
        work_arena(adoption->work),
        "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\","
        "\"controller\":true,\"blockOwnerDeletion\":true}],%s\"uid\":\"%s\"}}",
        adoption->owner_resource->api_version, adoption->owner_resource->kind, adoption->owner->name,
        adoption->owner->uid, finalizers, object->meta->uid);
    work_patch(adoption->work, object->resource, NULL, object->meta, PATCH_STRATEGIC, patch, NULL, NULL);
}

static void owner_confirmed(void *context, const struct client_result *result)
{
    const struct adoption *adoption = context;
    const struct object_meta *meta = client_ok(result) ? result->object->meta : NULL;
    if (!meta || strcmp(meta->uid, adoption->owner->uid) != 0 || meta->deletion_timestamp)
        return;
    for (size_t i = 0; i < adoption->count; i++)
        adopt(adoption, adoption->orphans[i]);
}

static void release(struct work *work, const struct claim *claim, struct object *object)
{
    const char *patch = arena_printf(work_arena(work),
                                     "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"%s\"}],"
                                     "\"uid\":\"%s\"}}",
                                     claim->owner->uid, object->meta->uid);
    work_patch(work, claim->resource, NULL, object->meta, PATCH_STRATEGIC, patch, NULL, NULL);
}

/* Neither adopted nor released any more. */
static bool is_over(const struct object *object)
{
    return object->meta->deletion_timestamp || (object->resource->index == API_PODS && pod_has_ended(object->value));
}

bool controller_claim(struct controller *c, struct work *work, const struct claim *claim, struct object_array *out)
{
    struct informer *informer = informer_set_get(c->informers, claim->resource);
    char key[CONTROLLER_INDEX_MAX];
    struct collect owned = {0}, orphans = {0};
    bool ending = claim->owner->deletion_timestamp != 0;
    informer_each_indexed(informer, claim->index, claim->owner->uid, collect, &owned);
    snprintf(key, sizeof(key), CONTROLLER_ORPHAN "%s", claim->owner->namespace);
    if (!ending)
        informer_each_indexed(informer, claim->index, key, collect, &orphans);
    out->items = arena_alloc(work_arena(work), owned.items.count * sizeof(*out->items));
    out->count = 0;
    for (size_t i = 0; i < owned.items.count; i++) {
        struct object *o = owned.items.items[i];
        if (selector_matches(claim->selector, labels_of(o)))
            out->items[out->count++] = o;
        else if (!ending && !is_over(o))
            release(work, claim, o);
    }
    struct adoption *adoption = arena_alloc(work_arena(work), sizeof(*adoption));
    *adoption = (struct adoption){work, claim->owner_resource, claim->owner, claim->finalizer, NULL, 0};
    adoption->orphans = arena_alloc(work_arena(work), orphans.items.count * sizeof(*adoption->orphans));
    for (size_t i = 0; i < orphans.items.count; i++) {
        struct object *o = orphans.items.items[i];
        if (is_over(o) || !selector_matches(claim->selector, labels_of(o)))
            continue;
        work_hold(work, o);
        adoption->orphans[adoption->count++] = o;
    }
    if (adoption->count)
        work_submit(work, client_request_new(CLIENT_GET, claim->owner_resource, claim->owner->namespace,
                                             claim->owner->name),
                    owner_confirmed, adoption);
    vector_free(&owned.items);
    vector_free(&orphans.items);
    return !adoption->count;
}

bool controller_namespace_terminating(const struct client_result *result)
{
    const struct status_details *details = result->status ? result->status->details : NULL;
    for (size_t i = 0; details && i < details->causes.count; i++) {
        const char *reason = details->causes.items[i].reason;
        if (reason && strcmp(reason, "NamespaceTerminating") == 0)
            return true;
    }
    return false;
}

/* ---- Pods ---- */

bool pod_is_available(const struct pod *pod, int32_t min_ready_seconds, int64_t now, int64_t *later)
{
    if (later)
        *later = 0;
    if (!pod_is_ready(pod))
        return false;
    if (!min_ready_seconds)
        return true;
    int64_t at = pod_condition_find(&pod->status.conditions, "Ready")->last_transition_time + min_ready_seconds * INT64_C(1000000);
    if (now < at && later)
        *later = at;
    return now >= at;
}

bool pod_is_active(const struct pod *pod)
{
    return !pod_has_ended(pod) && !pod->metadata.deletion_timestamp;
}
