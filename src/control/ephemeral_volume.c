/* The ephemeral volume controller: a pod's generic ephemeral volumes get claims of their own, named POD-VOLUME. The pod
 * owns them, so they go with it. */
#include <string.h>

#include "api/json.h"
#include "api/storage.h"
#include "control/controller.h"

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    const struct pod *pod = object->value;
    (void)old;
    if (change == INFORMER_DELETED || object->meta->deletion_timestamp)
        return;
    for (size_t i = 0; i < pod->spec.volumes.count; i++)
        if (pod->spec.volumes.items[i].ephemeral) {
            controller_enqueue(context, object->meta);
            return;
        }
}

static void claim_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change == INFORMER_DELETED)
        controller_enqueue_owner(context, &api_resources[API_PODS], object->meta);
}

static struct informer *pods_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_PODS]);
}

static struct informer *claims_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_PERSISTENTVOLUMECLAIMS]);
}

static void start(struct controller *c)
{
    informer_add_handler(pods_of(c), pod_changed, c);
    informer_add_handler(claims_of(c), claim_changed, c);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct object *object = informer_get(pods_of(c), work_namespace(work), work_name(work));
    if (!object || object->meta->deletion_timestamp)
        return;
    const struct pod *pod = object->value;
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *volume = &pod->spec.volumes.items[i];
        if (!volume->ephemeral || !volume->ephemeral->volume_claim_template)
            continue;
        const char *name = storage_claim_name(work_arena(work), object->meta, volume);
        /* One that belongs to somebody else is left alone; the scheduler says what is wrong. */
        if (informer_get(claims_of(c), object->meta->namespace, name))
            continue;
        const struct persistent_volume_claim_template *template = volume->ephemeral->volume_claim_template;
        struct owner_reference owner = controller_reference(object->resource, object->meta);
        struct persistent_volume_claim claim = {.metadata = {.name = name,
                                                             .namespace = object->meta->namespace,
                                                             .labels = template->metadata.labels,
                                                             .annotations = template->metadata.annotations,
                                                             .owner_references = {&owner, 1}},
                                                .spec = template->spec};
        work_create(work, &api_resources[API_PERSISTENTVOLUMECLAIMS], object->meta->namespace, &claim, NULL, NULL);
    }
}

const struct controller_kind ephemeral_volume_controller = {
    .name = "ephemeral_volume", .queue = "ephemeral_volume", .start = start, .reconcile = reconcile};
