/* The PersistentVolume controller: gives claims their volumes, and says what has become of both. As upstream's: a
 * binding is written to the volume first, then to the claim, each step when the one before is seen, so that no volume
 * ever belongs to two claims.
 *
 * Keys are those of claims, "namespace/name", and of volumes, "/name". */
#include "control/volume_binder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"

#define UNBOUND "unbound"

static bool index_unbound(struct object *object, char *out, size_t size)
{
    if (storage_claim_is_bound(object->value))
        return false;
    snprintf(out, size, UNBOUND);
    return true;
}

static bool index_class(struct object *object, char *out, size_t size)
{
    snprintf(out, size, "%s", storage_volume_class(object->value));
    return true;
}

static bool index_claim(struct object *object, char *out, size_t size)
{
    const struct object_reference *r = ((const struct persistent_volume *)object->value)->spec.claim_ref;
    if (!r)
        return false;
    snprintf(out, size, "%s/%s", r->namespace ? r->namespace : "", r->name ? r->name : "");
    return true;
}

static bool enqueue(void *context, struct object *object)
{
    struct volume_binder *b = context;
    controller_enqueue(b->controller, object->meta);
    return true;
}

static void enqueue_volume(struct volume_binder *b, const char *name)
{
    if (name && *name)
        queue_add(b->controller->queue, NULL, name);
}

static void claim_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct volume_binder *b = context;
    char key[CONTROLLER_INDEX_MAX];
    (void)old;
    if (change != INFORMER_DELETED)
        controller_enqueue(b->controller, object->meta);
    enqueue_volume(b, ((const struct persistent_volume_claim *)object->value)->spec.volume_name);
    snprintf(key, sizeof(key), "%s/%s", object->meta->namespace, object->meta->name);
    informer_each_indexed(b->volumes, b->volumes_by_claim, key, enqueue, b);
}

/* A free volume, for the claims that could take it. */
struct offer {
    struct volume_binder *binder;
    const struct persistent_volume *volume;
};

static bool offer(void *context, struct object *object)
{
    struct offer *o = context;
    const struct persistent_volume_claim *claim = object->value;
    const char *wanted = claim->spec.volume_name ? claim->spec.volume_name : "";
    if (*wanted ? strcmp(wanted, o->volume->metadata.name) == 0
                : strcmp(storage_claim_class(claim), storage_volume_class(o->volume)) == 0)
        controller_enqueue(o->binder->controller, object->meta);
    return true;
}

static void volume_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct volume_binder *b = context;
    const struct persistent_volume *volume = object->value;
    const struct object_reference *r = volume->spec.claim_ref;
    if (change != INFORMER_DELETED)
        controller_enqueue(b->controller, object->meta);
    if (!r && old)
        r = ((const struct persistent_volume *)old->value)->spec.claim_ref;
    if (r && r->name)
        queue_add(b->controller->queue, r->namespace, r->name);
    struct offer o = {b, volume};
    informer_each_indexed(b->claims, b->claims_unbound, UNBOUND, offer, &o);
}

static void class_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct volume_binder *b = context;
    (void)change, (void)object, (void)old;
    informer_each_indexed(b->claims, b->claims_unbound, UNBOUND, enqueue, b);
}

static void start(struct controller *c)
{
    struct volume_binder *b = mem_zero(1, sizeof(*b));
    c->state = b;
    b->controller = c;
    b->claims = informer_set_get(c->informers, &api_resources[API_PERSISTENTVOLUMECLAIMS]);
    b->volumes = informer_set_get(c->informers, &api_resources[API_PERSISTENTVOLUMES]);
    b->classes = informer_set_get(c->informers, &api_resources[API_STORAGECLASSES]);
    b->pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    b->claims_unbound = informer_add_index(b->claims, index_unbound);
    b->volumes_by_class = informer_add_index(b->volumes, index_class);
    b->volumes_by_claim = informer_add_index(b->volumes, index_claim);
    informer_add_handler(b->claims, claim_changed, b);
    informer_add_handler(b->volumes, volume_changed, b);
    informer_add_handler(b->classes, class_changed, b);
}

static void stop(struct controller *c)
{
    free(c->state);
}

static void reconcile(void *context, struct work *work)
{
    struct volume_binder *b = ((struct controller *)context)->state;
    bool of_claim = *work_namespace(work);
    struct object *object =
        informer_get(of_claim ? b->claims : b->volumes, work_namespace(work), work_name(work));
    if (!object)
        return;
    work_hold(work, object);
    if (of_claim)
        volume_binder_claim(b, work, object);
    else
        volume_binder_volume(b, work, object);
}

const struct controller_kind volume_binder = {
    .name = "persistentvolume-controller", .queue = "claims", .start = start, .reconcile = reconcile, .stop = stop};
