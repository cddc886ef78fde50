/* Protection of what is in use: a claim that is being deleted stays until no pod on a node names it, a volume until no
 * claim is bound to it. Both carry a finalizer from their creation, which is taken away here. */
#include <string.h>

#include "api/json.h"
#include "api/storage.h"
#include "control/controller.h"

static bool is_held_by(const struct object_meta *meta, const char *finalizer)
{
    for (size_t i = 0; i < meta->finalizers.count; i++)
        if (strcmp(meta->finalizers.items[i], finalizer) == 0)
            return true;
    return false;
}

/* A whole update: it fails, and comes again, when the object has changed in between. */
static void let_go(struct work *work, struct object *object, const char *finalizer)
{
    struct arena *arena = work_arena(work);
    void *fresh = api_copy(arena, object->resource->type, object->value);
    struct string_array *finalizers = &api_meta(object->resource, fresh)->finalizers;
    size_t kept = 0;
    for (size_t i = 0; i < finalizers->count; i++)
        if (strcmp(finalizers->items[i], finalizer) != 0)
            finalizers->items[kept++] = finalizers->items[i];
    finalizers->count = kept;
    work_update(work, object->resource, NULL, fresh, NULL, NULL);
}

/* ---- Claims ---- */

static struct informer *claims_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_PERSISTENTVOLUMECLAIMS]);
}

static struct informer *pods_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_PODS]);
}

static void claim_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED && object->meta->deletion_timestamp)
        controller_enqueue(context, object->meta);
}

struct freed {
    struct controller *controller;
    const struct pod *pod;
};

static bool enqueue_if_used(void *context, struct object *object)
{
    const struct freed *f = context;
    if (object->meta->deletion_timestamp && storage_pod_uses(f->pod, object->meta->name))
        controller_enqueue(f->controller, object->meta);
    return true;
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct freed f = {context, object->value};
    (void)old;
    if (change == INFORMER_DELETED && f.pod->spec.volumes.count)
        informer_each(claims_of(context), object->meta->namespace, enqueue_if_used, &f);
}

static void start_claims(struct controller *c)
{
    informer_add_handler(claims_of(c), claim_changed, c);
    informer_add_handler(pods_of(c), pod_changed, c);
}

struct use {
    const char *claim;
    bool found;
};

/* Pods that have no node cannot use it: they will not get one as long as the claim is being deleted. */
static bool look_for_use(void *context, struct object *object)
{
    struct use *use = context;
    const struct pod *pod = object->value;
    use->found = pod->spec.node_name && *pod->spec.node_name && storage_pod_uses(pod, use->claim);
    return !use->found;
}

static void reconcile_claim(void *context, struct work *work)
{
    struct controller *c = context;
    struct object *object = informer_get(claims_of(c), work_namespace(work), work_name(work));
    struct use use = {.claim = work_name(work)};
    if (!object || !object->meta->deletion_timestamp || !is_held_by(object->meta, STORAGE_CLAIM_FINALIZER))
        return;
    informer_each(pods_of(c), work_namespace(work), look_for_use, &use);
    if (!use.found)
        let_go(work, object, STORAGE_CLAIM_FINALIZER);
}

const struct controller_kind claim_protection = {
    .name = "pvc-protection-controller", .queue = "pvcprotection", .start = start_claims, .reconcile = reconcile_claim};

/* ---- Volumes ---- */

static struct informer *volumes_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_PERSISTENTVOLUMES]);
}

static void start_volumes(struct controller *c)
{
    informer_add_handler(volumes_of(c), claim_changed, c);
}

static void reconcile_volume(void *context, struct work *work)
{
    struct object *object = informer_get(volumes_of(context), NULL, work_name(work));
    if (!object || !object->meta->deletion_timestamp || !is_held_by(object->meta, STORAGE_VOLUME_FINALIZER))
        return;
    const char *phase = ((const struct persistent_volume *)object->value)->status.phase;
    if (!phase || strcmp(phase, "Bound") != 0)
        let_go(work, object, STORAGE_VOLUME_FINALIZER);
}

const struct controller_kind volume_protection = {
    .name = "pv-protection-controller", .queue = "pvprotection", .start = start_volumes, .reconcile = reconcile_volume};
