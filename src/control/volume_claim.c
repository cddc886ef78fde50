/* The claim's side of binding: finds a volume that will do, has one made, and finishes what is half bound. */
#include <string.h>

#include "api/json.h"
#include "api/quantity.h"
#include "base/buffer.h"
#include "base/text.h"
#include "control/volume_binder.h"

static void tell(struct volume_binder *b, struct object *object, const char *type, const char *reason,
                 const char *message)
{
    recorder_event(b->controller->recorder, object->resource, object->meta, NULL, type, reason, "%s", message);
}

/* ---- Status ---- */

/* The status with the phase and what the volume (NULL: none) makes of it. Returns whether it was written. */
static bool set_phase(struct work *work, struct object *object, const char *phase,
                      const struct persistent_volume *volume)
{
    struct persistent_volume_claim fresh = *(const struct persistent_volume_claim *)object->value;
    const struct persistent_volume_claim_status before = fresh.status;
    fresh.status.phase = phase;
    fresh.status.access_modes = volume ? volume->spec.access_modes : (struct string_array){0};
    fresh.status.capacity = volume ? volume->spec.capacity : (struct string_map){0};
    if (api_equal(&api_type_persistent_volume_claim_status, &fresh.status, &before))
        return false;
    work_update(work, object->resource, "status", &fresh, NULL, NULL);
    return true;
}

static void lose(struct volume_binder *b, struct work *work, struct object *object, const char *reason,
                 const char *message)
{
    const struct persistent_volume_claim *claim = object->value;
    if (text_equal(claim->status.phase, "Lost"))
        return;
    set_phase(work, object, "Lost", NULL);
    tell(b, object, "Warning", reason, message);
}

/* ---- Binding ---- */

/* A change of the claim's wish is on its way to a volume made by our own provisioner: such a volume has no size of its
 * own, so it is as large as it is said to be. */
static void grow_volume(struct work *work, struct object *volume_object, const struct persistent_volume_claim *claim)
{
    struct persistent_volume fresh = *(const struct persistent_volume *)volume_object->value;
    const char *wanted = string_map_get(&claim->spec.resources.requests, "storage");
    string_map_set(work_arena(work), &fresh.spec.capacity, "storage", wanted);
    work_update(work, volume_object->resource, NULL, &fresh, NULL, NULL);
}

static bool wants_to_grow(const struct persistent_volume *volume, const struct persistent_volume_claim *claim)
{
    return text_equal(string_map_get(&volume->metadata.annotations, STORAGE_PROVISIONED_BY),
                      STORAGE_LOCAL_PROVISIONER) &&
           quantity_compare(string_map_get(&claim->spec.resources.requests, "storage"),
                            string_map_get(&volume->spec.capacity, "storage")) > 0;
}

static void take_volume(struct work *work, struct object *object, struct object *volume_object)
{
    struct persistent_volume fresh = *(const struct persistent_volume *)volume_object->value;
    bool chosen_by_user = fresh.spec.claim_ref != NULL;
    struct object_reference reference = {.kind = object->resource->kind,
                                         .api_version = object->resource->api_version,
                                         .namespace = object->meta->namespace,
                                         .name = object->meta->name,
                                         .uid = object->meta->uid,
                                         .resource_version = object->meta->resource_version};
    fresh.spec.claim_ref = &reference;
    if (!chosen_by_user)
        string_map_set(work_arena(work), &fresh.metadata.annotations, STORAGE_BOUND_BY_CONTROLLER, "yes");
    work_update(work, volume_object->resource, NULL, &fresh, NULL, NULL);
}

static void complete_claim(struct work *work, struct object *object, const char *volume)
{
    struct persistent_volume_claim fresh = *(const struct persistent_volume_claim *)object->value;
    if (!text_equal(fresh.spec.volume_name, volume))
        string_map_set(work_arena(work), &fresh.metadata.annotations, STORAGE_BOUND_BY_CONTROLLER, "yes");
    string_map_set(work_arena(work), &fresh.metadata.annotations, STORAGE_BIND_COMPLETED, "yes");
    fresh.spec.volume_name = volume;
    work_update(work, object->resource, NULL, &fresh, NULL, NULL);
}

/* The next step of four: volume, its phase, claim, its phase. What is written comes back as an event, and with it
 * the step after. */
static void bind(struct work *work, struct object *object, struct object *volume_object)
{
    const struct persistent_volume *volume = volume_object->value;
    const struct persistent_volume_claim *claim = object->value;
    const struct object_reference *holder = volume->spec.claim_ref;
    work_hold(work, volume_object);
    if (!holder || !storage_volume_is_for(volume, claim) || text_empty(holder->uid)) {
        take_volume(work, object, volume_object);
        return;
    }
    volume_binder_set_phase(work, volume_object, "Bound", NULL);
    if (!storage_claim_is_bound(claim) || !text_equal(claim->spec.volume_name, volume->metadata.name))
        complete_claim(work, object, volume->metadata.name);
    else if (!set_phase(work, object, "Bound", volume) && wants_to_grow(volume, claim))
        grow_volume(work, volume_object, claim);
}

/* ---- Looking for a volume ---- */

struct search {
    const struct persistent_volume_claim *claim;
    const struct selector *selector; /* NULL: any */
    bool reserved_only;              /* the scheduler chooses among the others */
    struct object *best;
};

static bool is_free(const struct persistent_volume *volume)
{
    return !volume->spec.claim_ref && text_equal(volume->status.phase, "Available");
}

/* The volume that is kept for the claim, else the smallest that will do. */
static bool look_at(void *context, struct object *object)
{
    struct search *s = context;
    const struct persistent_volume *volume = object->value;
    if (volume->metadata.deletion_timestamp || storage_mismatch(volume, s->claim))
        return true;
    if (storage_volume_is_for(volume, s->claim)) {
        s->best = object;
        return false;
    }
    if (s->reserved_only || !is_free(volume) ||
        (s->selector && !selector_matches(s->selector, &volume->metadata.labels)))
        return true;
    const struct persistent_volume *best = s->best ? s->best->value : NULL;
    if (!best || quantity_compare(string_map_get(&volume->spec.capacity, "storage"),
                                  string_map_get(&best->spec.capacity, "storage")) < 0)
        s->best = object;
    return true;
}

static struct object *find_volume(struct volume_binder *b, struct work *work,
                                  const struct persistent_volume_claim *claim, bool reserved_only)
{
    struct search search = {.claim = claim, .reserved_only = reserved_only};
    if (claim->spec.selector &&
        selector_from_label_selector(work_arena(work), claim->spec.selector, &search.selector, NULL) < 0)
        return NULL;
    informer_each_indexed(b->volumes, b->volumes_by_class, storage_claim_class(claim), look_at, &search);
    return search.best;
}

/* ---- Having one made ---- */

struct waiting_pods {
    const char *claim;
    struct buffer names;
    size_t count;
};

static bool note_pod(void *context, struct object *object)
{
    struct waiting_pods *w = context;
    const struct pod *pod = object->value;
    if (text_empty(pod->spec.node_name) && storage_pod_uses(pod, w->claim))
        buffer_printf(&w->names, "%s%s", w->count++ ? "," : "", object->meta->name);
    return true;
}

static void tell_what_is_awaited(struct volume_binder *b, struct object *object)
{
    struct waiting_pods w = {.claim = object->meta->name};
    informer_each(b->pods, object->meta->namespace, note_pod, &w);
    if (w.count)
        recorder_event(b->controller->recorder, object->resource, object->meta, NULL, "Normal", "WaitForPodScheduled",
                       "waiting for pod%s %s to be scheduled", w.count > 1 ? "s" : "", w.names.data);
    else
        tell(b, object, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    buffer_free(&w.names);
}

static bool names_provisioner(const struct persistent_volume_claim *claim, const char *provisioner)
{
    return text_equal(string_map_get(&claim->metadata.annotations, STORAGE_PROVISIONER), provisioner) &&
           text_equal(string_map_get(&claim->metadata.annotations, STORAGE_PROVISIONER_BETA), provisioner);
}

/* Asks the provisioner by an annotation; it works on its own from there. */
static void have_made(struct volume_binder *b, struct work *work, struct object *object,
                      const struct storage_class *class)
{
    struct recorder *recorder = b->controller->recorder;
    struct persistent_volume_claim fresh = *(const struct persistent_volume_claim *)object->value;
    if (!class) {
        recorder_event(recorder, object->resource, object->meta, NULL, "Warning", "ProvisioningFailed",
                       "storageclass.storage.k8s.io \"%s\" not found", storage_claim_class(&fresh));
    } else if (strncmp(class->provisioner, "kubernetes.io/", 14) == 0) {
        recorder_event(recorder, object->resource, object->meta, NULL, "Warning", "ProvisioningFailed",
                       "no volume plugin matched name: %s", class->provisioner);
    } else if (names_provisioner(&fresh, class->provisioner)) {
        recorder_event(recorder, object->resource, object->meta, NULL, "Normal", "ExternalProvisioning",
                       "Waiting for a volume to be created either by the external provisioner '%s' or manually by the "
                       "system administrator. If volume creation is delayed, please verify that the provisioner is "
                       "running and correctly registered.",
                       class->provisioner);
    } else {
        string_map_set(work_arena(work), &fresh.metadata.annotations, STORAGE_PROVISIONER, class->provisioner);
        string_map_set(work_arena(work), &fresh.metadata.annotations, STORAGE_PROVISIONER_BETA, class->provisioner);
        work_update(work, object->resource, NULL, &fresh, NULL, NULL);
    }
}

static bool find_default(void *context, struct object *object)
{
    struct object **best = context;
    if (storage_class_is_default(object->value) &&
        (!*best || object->meta->creation_timestamp > (*best)->meta->creation_timestamp))
        *best = object;
    return true;
}

/* A claim that names no class gets the default one as soon as there is one. */
static bool assign_class(struct volume_binder *b, struct work *work, struct object *object)
{
    struct persistent_volume_claim fresh = *(const struct persistent_volume_claim *)object->value;
    struct object *class = NULL;
    if (fresh.spec.storage_class_name || *storage_claim_class(&fresh))
        return false;
    informer_each(b->classes, NULL, find_default, &class);
    if (!class)
        return false;
    fresh.spec.storage_class_name = arena_string(work_arena(work), class->meta->name);
    work_update(work, object->resource, NULL, &fresh, NULL, NULL);
    return true;
}

/* ---- Claims without a volume ---- */

static void look_for_volume(struct volume_binder *b, struct work *work, struct object *object)
{
    const struct persistent_volume_claim *claim = object->value;
    const char *class_name = storage_claim_class(claim);
    struct object *class_object = *class_name ? informer_get(b->classes, NULL, class_name) : NULL;
    const struct storage_class *class = class_object ? class_object->value : NULL;
    bool waits = class && text_equal(class->volume_binding_mode, "WaitForFirstConsumer");
    struct object *volume = find_volume(b, work, claim, waits);
    if (volume) {
        bind(work, object, volume);
        return;
    }
    if (assign_class(b, work, object) || set_phase(work, object, "Pending", NULL))
        return;
    if (waits && !string_map_get(&claim->metadata.annotations, STORAGE_SELECTED_NODE))
        tell_what_is_awaited(b, object);
    else if (*class_name)
        have_made(b, work, object, class);
    else
        tell(b, object, "Normal", "FailedBinding",
             "no persistent volumes available for this claim and no storage class is set");
}

/* The claim asks for one volume by its name. */
static void look_for_named(struct volume_binder *b, struct work *work, struct object *object)
{
    const struct persistent_volume_claim *claim = object->value;
    struct object *volume_object = informer_get(b->volumes, NULL, claim->spec.volume_name);
    const struct persistent_volume *volume = volume_object ? volume_object->value : NULL;
    if (volume && storage_volume_is_for(volume, claim)) {
        bind(work, object, volume_object);
        return;
    }
    const char *why = volume && !volume->spec.claim_ref ? storage_mismatch(volume, claim) : NULL;
    if (volume && !volume->spec.claim_ref && !why) {
        bind(work, object, volume_object);
        return;
    }
    if (set_phase(work, object, "Pending", NULL) || !volume)
        return;
    if (why)
        recorder_event(b->controller->recorder, object->resource, object->meta, NULL, "Warning", "VolumeMismatch",
                       "Cannot bind to requested volume \"%s\": %s", volume->metadata.name, why);
    else
        recorder_event(b->controller->recorder, object->resource, object->meta, NULL, "Warning", "FailedBinding",
                       "volume \"%s\" already bound to a different claim.", volume->metadata.name);
}

/* ---- Claims that have been bound ---- */

static void keep_bound(struct volume_binder *b, struct work *work, struct object *object)
{
    const struct persistent_volume_claim *claim = object->value;
    struct object *volume_object = informer_get(b->volumes, NULL, claim->spec.volume_name);
    const struct persistent_volume *volume = volume_object ? volume_object->value : NULL;
    if (!volume)
        lose(b, work, object, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    else if (!volume->spec.claim_ref || text_equal(volume->spec.claim_ref->uid, claim->metadata.uid) ||
             (text_empty(volume->spec.claim_ref->uid) && storage_volume_is_for(volume, claim)))
        bind(work, object, volume_object);
    else
        lose(b, work, object, "ClaimMisbound",
             "Two claims are bound to the same volume, this one is bound incorrectly");
}

void volume_binder_claim(struct volume_binder *b, struct work *work, struct object *object)
{
    const struct persistent_volume_claim *claim = object->value;
    if (string_map_get(&claim->metadata.annotations, STORAGE_BIND_COMPLETED)) {
        if (text_empty(claim->spec.volume_name))
            lose(b, work, object, "ClaimLost",
                 "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
        else
            keep_bound(b, work, object);
    } else if (claim->metadata.deletion_timestamp) {
        return;
    } else if (text_empty(claim->spec.volume_name)) {
        look_for_volume(b, work, object);
    } else {
        look_for_named(b, work, object);
    }
}
