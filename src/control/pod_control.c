#include "control/pod_control.h"

static const char *message_of(const struct client_result *result)
{
    return result->status && result->status->message ? result->status->message : "";
}

/* ---- Creating ---- */

static void create_batch(struct pod_creation *creation);

static void created(void *context, const struct client_result *result)
{
    struct pod_creation *creation = context;
    const struct object_meta *meta = creation->owner->meta;
    struct recorder *recorder = creation->controller->recorder;
    const struct api_resource *resource = creation->owner->resource;
    if (client_ok(result)) {
        creation->created++;
        recorder_event(recorder, resource, meta, NULL, "Normal", "SuccessfulCreate", "Created pod: %s",
                       result->object->meta->name);
    } else if (controller_namespace_terminating(result)) {
        creation->count = creation->asked;
        work_forgive(creation->work);
    } else {
        creation->stopped = true;
        if (creation->failed)
            creation->failed(creation->context, message_of(result));
        recorder_event(recorder, resource, meta, NULL, "Warning", "FailedCreate", "Error creating: %s",
                       message_of(result));
    }
    if (--creation->pending)
        return;
    if (!creation->stopped && creation->advanced)
        creation->advanced(creation->context);
    creation->batch *= 2;
    create_batch(creation);
}

static void create_batch(struct pod_creation *creation)
{
    size_t left = creation->stopped ? 0 : creation->count - creation->asked;
    size_t count = left < creation->batch ? left : creation->batch;
    if (!count) {
        if (creation->done)
            creation->done(creation->context, creation->created);
        return;
    }
    creation->pending = count;
    for (size_t i = 0; i < count; i++) {
        struct pod *pod = creation->pod(creation->context, creation->asked++);
        work_create(creation->work, &api_resources[API_PODS], creation->owner->meta->namespace, pod, created, creation);
    }
}

void pod_control_create(struct pod_creation *creation)
{
    creation->batch = 1;
    create_batch(creation);
}

struct pod *pod_control_from_template(struct work *work, const struct object *owner,
                                      const struct pod_template_spec *template)
{
    struct arena *arena = work_arena(work);
    struct owner_reference *reference = arena_alloc(arena, sizeof(*reference));
    struct pod *pod = arena_alloc(arena, sizeof(*pod));
    *reference = controller_reference(owner->resource, owner->meta);
    pod->metadata.generate_name = arena_printf(arena, "%s-", owner->meta->name);
    pod->metadata.namespace = owner->meta->namespace;
    pod->metadata.labels = template->metadata.labels;
    pod->metadata.annotations = template->metadata.annotations;
    pod->metadata.finalizers = template->metadata.finalizers;
    pod->metadata.owner_references.items = reference;
    pod->metadata.owner_references.count = 1;
    pod->spec = template->spec;
    return pod;
}

/* ---- Deleting ---- */

struct deletion {
    struct controller *controller;
    struct object *owner, *pod; /* held by the work */
    void (*answered)(void *context, const char *refused);
    void *context;
};

static void deleted(void *context, const struct client_result *result)
{
    const struct deletion *d = context;
    const struct object_meta *meta = d->owner->meta;
    struct recorder *recorder = d->controller->recorder;
    bool refused = !client_ok(result) && result->code != 404;
    if (client_ok(result))
        recorder_event(recorder, d->owner->resource, meta, NULL, "Normal", "SuccessfulDelete", "Deleted pod: %s",
                       d->pod->meta->name);
    else if (refused)
        recorder_event(recorder, d->owner->resource, meta, NULL, "Warning", "FailedDelete", "Error deleting: %s",
                       message_of(result));
    if (d->answered)
        d->answered(d->context, refused ? message_of(result) : NULL);
}

void pod_control_delete(struct controller *controller, struct work *work, struct object *owner, struct object *pod,
                        void (*answered)(void *context, const char *refused), void *context)
{
    struct deletion *d = arena_alloc(work_arena(work), sizeof(*d));
    *d = (struct deletion){controller, owner, pod, answered, context};
    work_hold(work, pod);
    work_delete(work, &api_resources[API_PODS], pod->meta, NULL, deleted, d);
}
