/* Update: what upstream's update handler, rest.BeforeUpdate and the strategies' PrepareForUpdate do. The same
 * steps end a patch, a scale, a status and a finalize.
 *
 * The halves of an object: a write to the object keeps the old status, a write to /status keeps the old spec,
 * a write to /finalize (namespaces) changes nothing but the spec's finalizers, one to /ephemeralcontainers (pods)
 * nothing but those. */
#include <stdio.h>
#include <string.h>

#include "api/defaults.h"
#include "api/json.h"
#include "api/pod_qos.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"

struct status *registry_match_url(struct task *task, const struct object_meta *meta)
{
    const struct client_request *request = task->request;
    if (text_empty(meta->name))
        return api_status_bad_request(task->arena,
                                      "the name of the object (%s based on URL) was undeterminable: name must be "
                                      "provided",
                                      request->name);
    if (!text_equal(meta->name, request->name))
        return api_status_bad_request(task->arena,
                                      "the name of the object (%s) does not match the name on the URL (%s)", meta->name,
                                      request->name);
    if (task->resource->namespaced && !text_empty(meta->namespace) && !text_equal(meta->namespace, request->namespace))
        return api_status_bad_request(
            task->arena, "the namespace of the provided object does not match the namespace sent on the request");
    return NULL;
}

/* The revision and uid that the client's state has must be those of the head. */
static struct status *check_preconditions(struct task *task, const struct object_meta *meta)
{
    const struct object_meta *old = task->old->meta;
    if (!text_empty(meta->uid) && !text_equal(meta->uid, old->uid))
        return api_status_precondition_failed(task->arena, task->resource, old->name, "UID", meta->uid, old->uid);
    if (text_empty(meta->resource_version) || text_equal(meta->resource_version, "0")) {
        if (!registry_strategy(task->resource)->must_have_revision)
            return NULL;
        struct api_field_errors errors = {.arena = task->arena};
        field_invalid_json(&errors, PATH(PATH(NULL, "metadata"), "resourceVersion"), "0x0",
                           "must be specified for an update");
        return api_status_invalid(task->arena, task->resource, old->name, &errors);
    }
    for (const char *c = meta->resource_version; *c; c++) {
        if (*c >= '0' && *c <= '9')
            continue;
        struct api_field_errors errors = {.arena = task->arena};
        field_invalid(&errors, PATH(PATH(NULL, "metadata"), "resourceVersion"), meta->resource_version,
                      "must be an unsigned integer");
        return api_status_invalid(task->arena, task->resource, old->name, &errors);
    }
    return text_equal(meta->resource_version, old->resource_version)
               ? NULL
               : api_status_conflict(task->arena, task->resource, old->name, NULL);
}

/* What the server owns stays; what a client may leave out is filled in from the old state. */
static void carry_metadata(struct object_meta *meta, const struct object_meta *old)
{
    meta->resource_version = old->resource_version;
    meta->generation = old->generation;
    meta->self_link = NULL;
    meta->managed_fields = old->managed_fields;
    if (text_empty(meta->namespace))
        meta->namespace = old->namespace;
    if (text_empty(meta->uid))
        meta->uid = old->uid;
    if (!meta->creation_timestamp)
        meta->creation_timestamp = old->creation_timestamp;
    if (!meta->deletion_timestamp)
        meta->deletion_timestamp = old->deletion_timestamp;
    if (!meta->deletion_grace_period_seconds.set)
        meta->deletion_grace_period_seconds = old->deletion_grace_period_seconds;
}

static void copy_field(const struct api_resource *resource, const char *name, void *to, const void *from)
{
    const struct api_field *field = api_type_field(resource->type, name, strlen(name));
    if (field && field->type && field->shape == API_VALUE)
        memcpy((char *)to + field->offset, (const char *)from + field->offset, field->type->size);
}

/* Upstream's preserveOldObservedGeneration: clients that do not know the field do not clear it. */
static void keep_observed_generation(struct pod_status *status, const struct pod_status *old)
{
    if (!status->observed_generation)
        status->observed_generation = old->observed_generation;
    struct pod_condition_array *conditions = &status->conditions;
    for (size_t i = 0; i < conditions->count; i++)
        for (size_t k = 0; !conditions->items[i].observed_generation && k < old->conditions.count; k++)
            if (text_equal(conditions->items[i].type, old->conditions.items[k].type))
                conditions->items[i].observed_generation = old->conditions.items[k].observed_generation;
}

/* Upstream's PrepareForUpdate of the status strategies. */
static void prepare_status(struct task *task, void *value)
{
    const void *old = task->old->value;
    copy_field(task->resource, "spec", value, old);
    switch (task->resource->index) {
    case API_DEPLOYMENTS:
        ((struct deployment *)value)->metadata.labels = task->old->meta->labels;
        break;
    case API_PODS: {
        struct pod *pod = value;
        const struct pod *before = old;
        pod->metadata.deletion_timestamp = before->metadata.deletion_timestamp;
        pod->metadata.owner_references = before->metadata.owner_references;
        if (text_empty(pod->status.qos_class))
            pod->status.qos_class = before->status.qos_class;
        if (text_empty(pod->status.qos_class))
            pod->status.qos_class = api_pod_qos_class(&before->spec);
        keep_observed_generation(&pod->status, &before->status);
        break;
    }
    case API_PERSISTENTVOLUMES: {
        struct persistent_volume_status *status = &((struct persistent_volume *)value)->status;
        const struct persistent_volume_status *before = &((const struct persistent_volume *)old)->status;
        if (status->last_phase_transition_time == before->last_phase_transition_time)
            status->last_phase_transition_time = text_equal(status->phase, before->phase)
                                                     ? before->last_phase_transition_time
                                                     : env_now(task->registry->env) / SECOND * SECOND;
        break;
    }
    default:
        break;
    }
}

/* Of the object itself. */
static void prepare_object(struct task *task, void *value)
{
    copy_field(task->resource, "status", value, task->old->value);
    if (task->resource->index == API_NAMESPACES)
        ((struct namespace *)value)->spec.finalizers = ((const struct namespace *)task->old->value)->spec.finalizers;
}

static void prepare_finalize(struct task *task, void *value)
{
    struct namespace *namespace = value;
    struct string_array finalizers = namespace->spec.finalizers;
    const char *revision = namespace->metadata.resource_version;
    api_copy_into(task->arena, task->resource->type, task->old->value, value);
    namespace->metadata.resource_version = revision;
    namespace->spec.finalizers = finalizers;
}

/* Upstream's dropNonEphemeralContainerUpdates. */
static void prepare_ephemeral_containers(struct task *task, struct pod *pod)
{
    struct ephemeral_container_array containers = pod->spec.ephemeral_containers;
    const char *revision = pod->metadata.resource_version;
    api_copy_into(task->arena, task->resource->type, task->old->value, pod);
    pod->metadata.resource_version = revision;
    pod->spec.ephemeral_containers = containers;
}

static bool spec_changed(const struct api_resource *resource, const void *value, const void *old)
{
    const struct api_field *spec = registry_spec_field(resource);
    return spec && !api_equal(spec->type, (const char *)value + spec->offset, (const char *)old + spec->offset);
}

/* Equal but for the metadata. */
static bool body_equal(const struct api_resource *resource, void *value, const void *old)
{
    struct object_meta *meta = api_meta(resource, value), mine = *meta;
    *meta = *api_meta(resource, old);
    bool equal = api_equal(resource->type, value, old);
    *meta = mine;
    return equal;
}

static void bump_generation(struct task *task, void *value)
{
    const struct object_meta *old = task->old->meta;
    struct object_meta *meta = api_meta(task->resource, value);
    bool changed = false;
    switch (registry_strategy(task->resource)->generation) {
    case GENERATION_NONE:
    case GENERATION_FIRST:
        return;
    case GENERATION_SPEC:
        changed = spec_changed(task->resource, value, task->old->value);
        break;
    case GENERATION_SPEC_ANNOTATIONS:
        changed = spec_changed(task->resource, value, task->old->value) ||
                  !string_map_equal(&meta->annotations, &old->annotations);
        break;
    case GENERATION_ENDPOINTS:
        changed =
            !body_equal(task->resource, value, task->old->value) || !string_map_equal(&meta->labels, &old->labels);
        break;
    }
    if (changed)
        meta->generation = old->generation + 1;
}

/* Upstream's ShouldDeleteDuringUpdate: the last finalizer of an object that is being deleted has gone. */
static bool deletes(const struct task *task, const void *value)
{
    const struct object_meta *meta = api_meta(task->resource, value), *old = task->old->meta;
    if (meta->finalizers.count || !old->deletion_timestamp)
        return false;
    if (task->resource->index == API_NAMESPACES && ((const struct namespace *)value)->spec.finalizers.count)
        return false;
    return !old->deletion_grace_period_seconds.set || old->deletion_grace_period_seconds.value == 0;
}

bool registry_unchanged(const struct task *task, const void *value)
{
    const struct object_meta *meta = task->old->meta;
    const struct object *durable = store_get(task->registry->store, task->stored, meta->namespace, meta->name);
    return durable && durable->revision == task->old->revision &&
           api_equal(task->resource->type, value, task->old->value);
}

static void finish(struct task *task, const void *value)
{
    if (deletes(task, value)) {
        task->code = 200;
        struct arena *arena = arena_new(0);
        task->answer = object_new(task->resource, arena, api_copy(arena, task->resource->type, value));
        registry_remove(task, task->old->meta, task->old->revision);
    } else if (registry_unchanged(task, value)) {
        if (task->answer_scale)
            registry_answer_scale(task, 200, task->old);
        else
            registry_answer_object(task, 200, task->old);
    } else {
        if (!task->code)
            task->code = 200;
        registry_put(task, value, task->old->revision);
    }
}

void registry_replace(struct task *task, void *value)
{
    const char *subresource = task->request->subresource;
    struct object_meta *meta = api_meta(task->resource, value);
    registry_name_type(task->resource, value);
    struct status *refused = check_preconditions(task, meta);
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    if (text_equal(subresource, "finalize"))
        prepare_finalize(task, value);
    else if (text_equal(subresource, "ephemeralcontainers"))
        prepare_ephemeral_containers(task, value);
    else if (text_equal(subresource, "resize"))
        api_prepare_pod_resize(task->arena, value, task->old->value);
    registry_warn_managed(task, meta);
    carry_metadata(meta, task->old->meta);
    if (text_equal(subresource, "status"))
        prepare_status(task, value);
    else if (!subresource)
        prepare_object(task, value);
    if (!subresource)
        registry_warn_inert(task, value, task->old->value);
    api_set_defaults(task->arena, task->resource, value);
    bool service = task->resource->index == API_SERVICES && !subresource;
    if (service) {
        service_carry(value, task->old->value);
        refused = service_choose_families(task, value, task->old->value);
    }
    if (!text_equal(subresource, "status"))
        bump_generation(task, value);

    struct api_field_errors errors = {.arena = task->arena};
    if (!refused)
        api_validate_update(task->resource, value, task->old->value, subresource, &errors);
    if (errors.count)
        refused = api_status_invalid(task->arena, task->resource, meta->name, &errors);
    if (!refused && !subresource)
        refused = registry_admit_update(task, value);
    if (!refused && service) {
        refused = service_prepare(task, value, task->old->value);
        task->service_write = true;
    }
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    if (!subresource)
        network_warn(task, value, false);
    else if (text_equal(subresource, "status"))
        network_warn_status(task, value);
    bool whole = !subresource || task->answer_scale;
    bool changed = whole && spec_changed(task->resource, value, task->old->value);
    if (changed && (task->resource->index == API_JOBS || task->resource->index == API_CRONJOBS))
        batch_warn(task, value, task->old->value);
    if (changed)
        pod_warn(task, value);
    /* Labels decide which Service selects a pod, annotations what is silenced. */
    if (changed || (whole && !(string_map_equal(&meta->labels, &task->old->meta->labels) &&
                               string_map_equal(&meta->annotations, &task->old->meta->annotations))))
        registry_lint(task, value, task->old->value);
    finish(task, value);
}

void registry_update(struct task *task)
{
    void *value = task->request->body;
    struct object_meta *meta = api_meta(task->resource, value);
    struct status *refused = registry_match_url(task, meta);
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    task->old = registry_head(task, task->request->namespace, task->request->name);
    if (task->old) {
        registry_replace(task, value);
    } else if (registry_strategy(task->resource)->create_on_update && !task->request->subresource &&
               text_empty(meta->resource_version) && text_empty(meta->uid)) {
        registry_create_value(task, value);
    } else {
        registry_answer_status(task, api_status_not_found(task->arena, task->resource, task->request->name));
    }
}
