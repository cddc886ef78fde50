/* Create: what upstream's create handler, rest.BeforeCreate and the strategies' PrepareForCreate do, in their
 * order: namespace, system fields, name, preparation per resource, admission, validation. */
#include <stdio.h>
#include <string.h>

#include "api/admission.h"
#include "api/defaults.h"
#include "api/pod_qos.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"

/* A generated name is a base of at most 58 characters and 5 random ones. */
#define NAME_RANDOM 5
#define NAME_BASE_MAX (63 - NAME_RANDOM)

/* The namespace of the URL is the object's. NULL when they agree. */
static struct status *match_namespace(struct task *task, struct object_meta *meta)
{
    const char *wanted = task->resource->namespaced ? task->request->namespace : NULL;
    if (text_empty(meta->namespace) || text_empty(wanted)) {
        if (task->resource->namespaced && text_empty(wanted) && !text_empty(meta->namespace))
            return NULL;
        meta->namespace = wanted;
        return NULL;
    }
    if (text_equal(meta->namespace, wanted))
        return NULL;
    return api_status_bad_request(
        task->arena, "the namespace of the provided object does not match the namespace sent on the request");
}

static void generate_name(struct task *task, struct object_meta *meta)
{
    char suffix[NAME_RANDOM + 1];
    env_random_name(task->registry->env, suffix, NAME_RANDOM);
    meta->name = arena_printf(task->arena, "%.*s%s", NAME_BASE_MAX, meta->generate_name, suffix);
}

static void fill_system_fields(struct task *task, struct object_meta *meta)
{
    char uid[37];
    env_random_uuid(task->registry->env, uid);
    meta->uid = arena_string(task->arena, uid);
    meta->creation_timestamp = env_now(task->registry->env) / SECOND * SECOND;
    meta->deletion_timestamp = 0;
    meta->deletion_grace_period_seconds = (struct opt_int64){0};
    meta->self_link = NULL;
    meta->resource_version = NULL;
    meta->managed_fields.items = NULL;
    meta->managed_fields.count = 0;
    meta->generation = registry_strategy(task->resource)->generation == GENERATION_NONE ? 0 : 1;
}

static void prepare_namespace(struct task *task, struct namespace *namespace)
{
    namespace->status = (struct namespace_status){.phase = "Active"};
    struct string_array *finalizers = &namespace->spec.finalizers;
    for (size_t i = 0; i < finalizers->count; i++)
        if (strcmp(finalizers->items[i], "kubernetes") == 0)
            return;
    finalizers->items =
        arena_array_grow(task->arena, finalizers->items, finalizers->count, 1, sizeof(*finalizers->items));
    finalizers->items[finalizers->count++] = "kubernetes";
}

/* The values that the pod has for the keys become part of the selector. */
static void merge_keys(struct task *task, struct label_selector *selector, const struct string_array *keys,
                       const char *operator, const struct string_map * labels)
{
    for (size_t i = 0; selector && i < keys->count; i++) {
        const char *value = string_map_get(labels, keys->items[i]);
        struct label_selector_requirement_array *all = &selector->match_expressions;
        if (!value)
            continue;
        const char **values = arena_alloc(task->arena, sizeof(*values));
        values[0] = value;
        all->items = arena_array_grow(task->arena, all->items, all->count, 1, sizeof(*all->items));
        all->items[all->count++] =
            (struct label_selector_requirement){.key = keys->items[i], .operator= operator, .values = {values, 1} };
    }
}

static void merge_term(struct task *task, struct pod_affinity_term *term, const struct string_map *labels)
{
    merge_keys(task, term->label_selector, &term->match_label_keys, "In", labels);
    merge_keys(task, term->label_selector, &term->mismatch_label_keys, "NotIn", labels);
}

static void merge_terms(struct task *task, struct pod_affinity_term_array *required,
                        struct weighted_pod_affinity_term_array *preferred, const struct string_map *labels)
{
    for (size_t i = 0; i < required->count; i++)
        merge_term(task, &required->items[i], labels);
    for (size_t i = 0; i < preferred->count; i++)
        merge_term(task, &preferred->items[i].pod_affinity_term, labels);
}

/* matchLabelKeys and mismatchLabelKeys act here, as upstream has them. */
static void merge_label_keys(struct task *task, struct pod *pod)
{
    const struct string_map *labels = &pod->metadata.labels;
    struct affinity *a = pod->spec.affinity;
    if (a && a->pod_affinity)
        merge_terms(task, &a->pod_affinity->required_during_scheduling_ignored_during_execution,
                    &a->pod_affinity->preferred_during_scheduling_ignored_during_execution, labels);
    if (a && a->pod_anti_affinity)
        merge_terms(task, &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                    &a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution, labels);
    for (size_t i = 0; i < pod->spec.topology_spread_constraints.count; i++) {
        struct topology_spread_constraint *c = &pod->spec.topology_spread_constraints.items[i];
        merge_keys(task, c->label_selector, &c->match_label_keys, "In", labels);
    }
}

static void prepare_pod(struct task *task, struct pod *pod)
{
    merge_label_keys(task, pod);
    pod->status.phase = "Pending";
    pod->status.qos_class = api_pod_qos_class(&pod->spec);
    if (!pod->spec.scheduling_gates.count)
        return;
    struct pod_condition *gated = arena_alloc(task->arena, sizeof(*gated));
    *gated = (struct pod_condition){
        .type = "PodScheduled",
        .status = "False",
        .reason = "SchedulingGated",
        .message = "Scheduling is blocked due to non-empty scheduling gates",
    };
    pod->status.conditions.items = gated;
    pod->status.conditions.count = 1;
}

static void prepare_volume(struct task *task, struct persistent_volume *volume)
{
    volume->status = (struct persistent_volume_status){
        .phase = "Pending",
        .last_phase_transition_time = env_now(task->registry->env) / SECOND * SECOND,
    };
}

/* dataSource and dataSourceRef say the same, where both can. */
static void prepare_claim(struct task *task, struct persistent_volume_claim *claim)
{
    struct persistent_volume_claim_spec *spec = &claim->spec;
    claim->status.phase = "Pending";
    if (spec->data_source && !spec->data_source_ref) {
        spec->data_source_ref = arena_alloc(task->arena, sizeof(*spec->data_source_ref));
        *spec->data_source_ref = (struct typed_object_reference){.api_group = spec->data_source->api_group,
                                                                 .kind = spec->data_source->kind,
                                                                 .name = spec->data_source->name};
    } else if (spec->data_source_ref && !spec->data_source && text_empty(spec->data_source_ref->namespace)) {
        spec->data_source = arena_alloc(task->arena, sizeof(*spec->data_source));
        *spec->data_source = (struct typed_local_object_reference){.api_group = spec->data_source_ref->api_group,
                                                                   .kind = spec->data_source_ref->kind,
                                                                   .name = spec->data_source_ref->name};
    }
}

/* Upstream's PrepareForCreate. */
static void prepare(struct task *task, void *value)
{
    size_t size;
    void *status = registry_status_of(task->resource, value, &size);
    if (status && !registry_strategy(task->resource)->keeps_status)
        memset(status, 0, size);
    switch (task->resource->index) {
    case API_NAMESPACES:
        prepare_namespace(task, value);
        break;
    case API_PODS:
        prepare_pod(task, value);
        break;
    case API_JOBS:
        batch_prepare_job(task, value);
        break;
    case API_CRONJOBS:
        batch_warn(task, value, NULL);
        break;
    case API_PERSISTENTVOLUMES:
        prepare_volume(task, value);
        break;
    case API_PERSISTENTVOLUMECLAIMS:
        prepare_claim(task, value);
        break;
    default:
        break;
    }
}

/* A generated name may be taken: another one is drawn. */
static struct status *settle_name(struct task *task, struct object_meta *meta)
{
    if (!text_empty(meta->name) || text_empty(meta->generate_name))
        return NULL;
    for (int i = 0; i < REGISTRY_NAME_ATTEMPTS; i++) {
        generate_name(task, meta);
        if (!store_head(task->registry->store, task->stored, meta->namespace, meta->name))
            return NULL;
    }
    return api_status_generate_name_conflict(task->arena, task->resource, meta->name);
}

static struct status *validate(struct task *task, const void *value)
{
    struct api_field_errors errors = {.arena = task->arena};
    api_validate_create(task->resource, value, &errors);
    if (!errors.count)
        return NULL;
    return api_status_invalid(task->arena, task->resource, api_meta(task->resource, value)->name, &errors);
}

/* Upstream admits what has no generated name yet: messages call it by what the name is to begin with, and so events
 * about many tries are one. */
static struct status *admit(struct task *task, void *value, bool named)
{
    struct object_meta *meta = api_meta(task->resource, value);
    const char *name = meta->name;
    if (!named)
        meta->name = meta->generate_name;
    struct status *refused = registry_admit_create(task, value);
    meta->name = name;
    return refused;
}

void registry_create_value(struct task *task, void *value)
{
    struct object_meta *meta = api_meta(task->resource, value);
    bool named = !text_empty(meta->name) || text_empty(meta->generate_name);
    registry_name_type(task->resource, value);
    struct status *refused = match_namespace(task, meta);
    if (!refused && !text_empty(meta->resource_version))
        refused = api_status(task->arena, 500, NULL, "resourceVersion should not be set on objects to be created");
    if (!refused) {
        registry_warn_inert(task, value, NULL);
        registry_warn_managed(task, meta);
        api_set_defaults(task->arena, task->resource, value);
        fill_system_fields(task, meta);
        refused = settle_name(task, meta);
    }
    if (!refused)
        prepare(task, value);
    if (!refused)
        refused = admit(task, value, named);
    if (!refused && task->resource->index == API_SERVICES)
        refused = service_choose_families(task, value, NULL);
    if (!refused)
        refused = validate(task, value);
    if (!refused)
        refused = api_admit_valid(task->arena, task->resource, value);
    if (!refused && store_head(task->registry->store, task->stored, meta->namespace, meta->name))
        refused = api_status_already_exists(task->arena, task->resource, meta->name);
    if (!refused && task->resource->index == API_SERVICES) {
        refused = service_prepare(task, value, NULL);
        task->service_write = true;
    }
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    network_warn(task, value, true);
    pod_warn(task, value);
    registry_lint(task, value, NULL);
    task->code = 201;
    registry_put(task, value, 0);
}

void registry_create(struct task *task)
{
    registry_create_value(task, task->request->body);
}
