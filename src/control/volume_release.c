/* The volume's side of binding: what phase it is in, and what becomes of it when its claim is gone. */
#include "api/json.h"
#include "base/text.h"
#include "control/volume_binder.h"

void volume_binder_set_phase(struct work *work, struct object *object, const char *phase, const char *message)
{
    struct persistent_volume fresh = *(const struct persistent_volume *)object->value;
    if (text_equal(fresh.status.phase, phase))
        return;
    fresh.status.phase = phase;
    fresh.status.message = message;
    work_update(work, object->resource, "status", &fresh, NULL, NULL);
}

static void fail(struct volume_binder *b, struct work *work, struct object *object, const char *reason,
                 const char *message)
{
    const struct persistent_volume *volume = object->value;
    if (text_equal(volume->status.phase, "Failed"))
        return;
    volume_binder_set_phase(work, object, "Failed", message);
    recorder_event(b->controller->recorder, object->resource, object->meta, NULL, "Warning", reason, "%s", message);
}

/* What was made by a provisioner is removed by it, and what is a folder of a node is removed or emptied there, each as
 * soon as the phase Released is seen. The rest has nobody, and says so in upstream's words. */
static void reclaim(struct volume_binder *b, struct work *work, struct object *object)
{
    const struct persistent_volume *volume = object->value;
    const char *policy = volume->spec.persistent_volume_reclaim_policy;
    const char *path = volume->spec.host_path ? volume->spec.host_path->path : NULL;
    bool provisioned = string_map_get(&volume->metadata.annotations, STORAGE_PROVISIONED_BY) != NULL;
    if (text_equal(policy, "Recycle") && !path)
        fail(b, work, object, "VolumeFailedRecycle", "No recycler plugin found for the volume!");
    else if (!text_equal(policy, "Delete") || provisioned)
        return;
    else if (!path)
        fail(b, work, object, "VolumeFailedDelete",
             arena_printf(work_arena(work),
                          "error getting deleter volume plugin for volume \"%s\": no deletable volume plugin matched",
                          volume->metadata.name));
    else if (!storage_is_temporary(path))
        fail(b, work, object, "VolumeFailedDelete",
             arena_printf(work_arena(work), "host_path deleter only supports /tmp/.+ but received provided %s", path));
}

/* The claim, as the API has it: what is shown here may be older than the volume. */
struct confirmation {
    struct work *work;
    struct object *volume; /* held by the work */
};

static void claim_looked_up(void *context, const struct client_result *result)
{
    const struct confirmation *c = context;
    const struct persistent_volume *volume = c->volume->value;
    bool there = client_ok(result) && text_equal(result->object->meta->uid, volume->spec.claim_ref->uid);
    if (there)
        work_retry(c->work);
    else if (client_ok(result) || result->code == 404)
        volume_binder_set_phase(c->work, c->volume, "Released", NULL); /* its event leads to reclaim */
}

static void release(struct volume_binder *b, struct work *work, struct object *object, bool claim_seen)
{
    const struct persistent_volume *volume = object->value;
    const struct object_reference *r = volume->spec.claim_ref;
    if (text_equal(volume->status.phase, "Released")) {
        reclaim(b, work, object);
    } else if (text_equal(volume->status.phase, "Failed")) {
        return;
    } else if (claim_seen) {
        volume_binder_set_phase(work, object, "Released", NULL);
    } else {
        struct confirmation *c = arena_alloc(work_arena(work), sizeof(*c));
        *c = (struct confirmation){work, object};
        work_submit(work,
                    client_request_new(CLIENT_GET, &api_resources[API_PERSISTENTVOLUMECLAIMS], r->namespace, r->name),
                    claim_looked_up, c);
    }
}

/* The claim went to another volume. */
static void unbind(struct work *work, struct object *object)
{
    struct persistent_volume fresh = *(const struct persistent_volume *)object->value;
    storage_volume_unbind(work_arena(work), &fresh);
    work_update(work, object->resource, NULL, &fresh, NULL, NULL);
}

void volume_binder_volume(struct volume_binder *b, struct work *work, struct object *object)
{
    const struct persistent_volume *volume = object->value;
    const struct object_reference *r = volume->spec.claim_ref;
    if (!r || text_empty(r->uid)) {
        volume_binder_set_phase(work, object, "Available", NULL);
        return;
    }
    struct object *claim_object = informer_get(b->claims, r->namespace, r->name);
    const struct persistent_volume_claim *claim = claim_object ? claim_object->value : NULL;
    if (!claim || !text_equal(claim->metadata.uid, r->uid)) {
        release(b, work, object, false);
    } else if (text_empty(claim->spec.volume_name)) {
        controller_enqueue(b->controller, claim_object->meta);
    } else if (text_equal(claim->spec.volume_name, volume->metadata.name)) {
        volume_binder_set_phase(work, object, "Bound", NULL);
    } else if (string_map_get(&volume->metadata.annotations, STORAGE_PROVISIONED_BY) &&
               text_equal(volume->spec.persistent_volume_reclaim_policy, "Delete")) {
        release(b, work, object, true);
    } else {
        unbind(work, object);
    }
}
