/* Rules for PersistentVolumes, PersistentVolumeClaims and StorageClasses. */
#include <stdio.h>

#include "api/json.h"
#include "api/quantity.h"
#include "api/storage.h"
#include "api/validate_parts.h"
#include "base/cleanup.h"

/* Of the parameters of a StorageClass: how many, and how long all keys and values together. */
#define PARAMETERS_MAX 512
#define PARAMETERS_SIZE_MAX (256 * 1024)

static const char *const access_modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
static const char *const volume_modes[] = {"Block", "Filesystem", NULL};
static const char *const volume_policies[] = {"Delete", "Recycle", "Retain", NULL};
static const char *const class_policies[] = {"Delete", "Retain", NULL};
static const char *const binding_modes[] = {"Immediate", "WaitForFirstConsumer", NULL};

static void validate_access_modes(struct api_field_errors *errors, const struct api_path *path,
                                  const struct string_array *modes)
{
    bool once_pod = false, other = false;
    for (size_t i = 0; i < modes->count; i++) {
        validate_optional_one_of(errors, path, modes->items[i], access_modes);
        if (text_equal(modes->items[i], "ReadWriteOncePod"))
            once_pod = true;
        else
            other |= validate_is_one_of(modes->items[i], access_modes);
    }
    if (once_pod && other)
        field_forbidden(errors, path, "may not use ReadWriteOncePod with other access modes");
}

static void validate_class_name(struct api_field_errors *errors, const struct api_path *path, const char *name)
{
    if (!text_empty(name))
        field_format(errors, path, name, format_dns_subdomain);
}

/* ---- Volumes ---- */

/* The sources of a volume are the fields that protobuf keeps in a message of their own. */
static bool is_source(const struct api_field *f)
{
    return f->pb[1] != 0;
}

static const void *source_of(const struct persistent_volume_spec *spec, const struct api_field *f)
{
    return *(void *const *)(const void *)((const char *)spec + f->offset);
}

static void validate_local(struct api_field_errors *errors, const struct api_path *path,
                           const struct persistent_volume_spec *spec)
{
    const struct api_path *local = PATH(path, "local");
    if (text_empty(spec->local->path))
        field_required(errors, PATH(local, "path"), NULL);
    else
        validate_no_backsteps(errors, PATH(local, "path"), spec->local->path);
    if (!spec->node_affinity)
        field_required(errors, PATH(path, "nodeAffinity"), "Local volume requires node affinity");
}

static void validate_volume_source(struct api_field_errors *errors, const struct api_path *path,
                                   const struct persistent_volume_spec *spec, const struct api_field *f)
{
    if (text_equal(f->name, "hostPath"))
        validate_host_path(errors, PATH(path, f->name), spec->host_path);
    else if (text_equal(f->name, "local"))
        validate_local(errors, path, spec);
    else if (text_equal(f->name, "nfs"))
        validate_nfs(errors, PATH(path, f->name), spec->nfs);
    else
        validate_foreign_source(errors, PATH(path, f->name), f->type, source_of(spec, f));
}

static void validate_capacity(struct api_field_errors *errors, const struct api_path *path,
                              const struct string_map *capacity)
{
    static const char *const supported[] = {"storage", NULL};
    if (!capacity->count)
        field_required(errors, path, NULL);
    if (capacity->count != 1 || !string_map_get(capacity, "storage")) {
        cleanup_buffer struct buffer json = {0};
        for (size_t i = 0; i < capacity->count; i++)
            buffer_printf(&json, "%s\"%s\":\"%s\"", i ? "," : "{", capacity->items[i].key, capacity->items[i].value);
        buffer_add_string(&json, capacity->count ? "}" : "null");
        field_not_supported_json(errors, path, json.data, supported);
    }
    for (size_t i = 0; i < capacity->count; i++) {
        const struct api_path *at = PATH_KEY(path, capacity->items[i].key);
        if (quantity_compare(capacity->items[i].value, "0") < 0)
            field_invalid(errors, at, capacity->items[i].value, "must be a valid resource quantity");
        if (quantity_compare(capacity->items[i].value, "0") <= 0)
            field_invalid(errors, at, capacity->items[i].value, "must be greater than zero");
    }
}

static bool is_root(const char *path)
{
    return path && strspn(path, "/.") == strlen(path);
}

void validate_persistent_volume(struct api_field_errors *errors, const void *value)
{
    const struct persistent_volume_spec *spec = &((const struct persistent_volume *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec"), *policy = PATH(path, "persistentVolumeReclaimPolicy");
    int sources = 0;
    if (!spec->access_modes.count)
        field_required(errors, PATH(path, "accessModes"), NULL);
    validate_access_modes(errors, PATH(path, "accessModes"), &spec->access_modes);
    validate_capacity(errors, PATH(path, "capacity"), &spec->capacity);
    validate_optional_one_of(errors, policy, spec->persistent_volume_reclaim_policy, volume_policies);
    if (spec->node_affinity && spec->node_affinity->required)
        validate_node_selector(errors, PATH(PATH(path, "nodeAffinity"), "required"), spec->node_affinity->required);
    else if (spec->node_affinity)
        field_required(errors, PATH(PATH(path, "nodeAffinity"), "required"), "must specify required node constraints");
    for (uint32_t i = 0; i < api_type_persistent_volume_spec.field_count; i++) {
        const struct api_field *f = &api_type_persistent_volume_spec.fields[i];
        if (!is_source(f) || !source_of(spec, f))
            continue;
        if (sources++)
            field_forbidden(errors, PATH(path, f->name), "may not specify more than 1 volume type");
        else
            validate_volume_source(errors, path, spec, f);
    }
    if (!sources)
        field_required(errors, path, "must specify a volume type");
    if (spec->host_path && is_root(spec->host_path->path) &&
        text_equal(spec->persistent_volume_reclaim_policy, "Recycle"))
        field_forbidden(errors, policy, "may not be 'recycle' for a hostPath mount of '/'");
    validate_class_name(errors, PATH(path, "storageClassName"), spec->storage_class_name);
    validate_optional_one_of(errors, PATH(path, "volumeMode"), spec->volume_mode, volume_modes);
    const char *attributes = spec->volume_attributes_class_name;
    if (attributes && !*attributes)
        field_required(errors, PATH(path, "volumeAttributesClassName"), "an empty string is disallowed");
    validate_class_name(errors, PATH(path, "volumeAttributesClassName"), attributes);
    if (attributes && !spec->csi)
        field_required(errors, PATH(path, "csi"), "has to be specified when using volumeAttributesClassName");
}

static void keep_mode(struct api_field_errors *errors, const char *mode, const char *old)
{
    if (!text_equal(mode, old))
        field_invalid(errors, PATH(NULL, "volumeMode"), mode, FIELD_IS_IMMUTABLE);
}

static void keep_attributes(struct api_field_errors *errors, const char *name, const char *old, bool of_claim)
{
    const struct api_path *path = PATH(PATH(NULL, "spec"), "volumeAttributesClassName");
    if (old && !name)
        field_forbidden(errors, path, "update from non-nil value to nil is forbidden");
    else if (old && !*name && *old && of_claim)
        field_forbidden(errors, path, "update from non-nil value to an empty string is forbidden");
}

void validate_persistent_volume_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct persistent_volume_spec *spec = &((const struct persistent_volume *)value)->spec;
    const struct persistent_volume_spec *old = &((const struct persistent_volume *)old_value)->spec;
    for (uint32_t i = 0; i < api_type_persistent_volume_spec.field_count; i++) {
        const struct api_field *f = &api_type_persistent_volume_spec.fields[i];
        const void *a = is_source(f) ? source_of(spec, f) : NULL, *b = is_source(f) ? source_of(old, f) : NULL;
        if (a == b || (a && b && api_equal(f->type, a, b)))
            continue;
        cleanup_buffer struct buffer text = {0};
        buffer_add_string(&text, "spec.persistentvolumesource is immutable after creation\n");
        validate_diff(errors, &api_type_persistent_volume_spec, old, spec, &text);
        field_forbidden(errors, PATH(PATH(NULL, "spec"), "persistentvolumesource"), text.data);
        break;
    }
    keep_mode(errors, spec->volume_mode, old->volume_mode);
    if (old->node_affinity &&
        (!spec->node_affinity || !api_equal(&api_type_volume_node_affinity, spec->node_affinity, old->node_affinity)))
        field_invalid_struct(errors, PATH(NULL, "nodeAffinity"), &api_type_volume_node_affinity, spec->node_affinity,
                             "field is immutable, except for updating from beta label to GA");
    keep_attributes(errors, spec->volume_attributes_class_name, old->volume_attributes_class_name, false);
}

/* ---- Claims ---- */

static void validate_data_source(struct api_field_errors *errors, const struct api_path *path, const char *group,
                                 const char *kind, const char *name)
{
    if (text_empty(name))
        field_required(errors, PATH(path, "name"), NULL);
    if (text_empty(kind))
        field_required(errors, PATH(path, "kind"), NULL);
    if (text_empty(group) && !text_equal(kind, "PersistentVolumeClaim"))
        field_invalid(errors, path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    if (!text_empty(group))
        field_format(errors, PATH(path, "apiGroup"), group, format_dns_subdomain);
}

static void validate_data_sources(struct api_field_errors *errors, const struct api_path *path,
                                  const struct persistent_volume_claim_spec *spec)
{
    const struct typed_local_object_reference *local = spec->data_source;
    const struct typed_object_reference *any = spec->data_source_ref;
    if (local)
        validate_data_source(errors, PATH(path, "dataSource"), local->api_group, local->kind, local->name);
    if (any)
        validate_data_source(errors, PATH(path, "dataSourceRef"), any->api_group, any->kind, any->name);
    if (any && !text_empty(any->namespace))
        field_format(errors, PATH(PATH(path, "dataSourceRef"), "namespace"), any->namespace, format_dns_label);
    if (!local || !any)
        return;
    if (!text_empty(any->namespace))
        field_invalid(errors, path, "spec.dataSource",
                      "may not be specified when dataSourceRef.namespace is specified");
    else if (!text_equal(local->api_group, any->api_group) || !text_equal(local->kind, any->kind) ||
             !text_equal(local->name, any->name))
        field_invalid(errors, path, "spec.dataSource", "must match dataSourceRef");
}

void validate_claim_spec(struct api_field_errors *errors, const struct api_path *path,
                         const struct persistent_volume_claim_spec *spec)
{
    const struct api_path *storage = PATH_KEY(PATH(path, "resources"), "storage");
    if (!spec->access_modes.count)
        field_required(errors, PATH(path, "accessModes"), "at least 1 access mode is required");
    validate_label_selector(errors, PATH(path, "selector"), spec->selector);
    validate_access_modes(errors, PATH(path, "accessModes"), &spec->access_modes);
    const char *size = string_map_get(&spec->resources.requests, "storage");
    if (!size)
        field_required(errors, storage, NULL);
    else if (quantity_compare(size, "0") <= 0)
        field_invalid(errors, storage, size, "must be greater than zero");
    validate_class_name(errors, PATH(path, "storageClassName"), spec->storage_class_name);
    validate_optional_one_of(errors, PATH(path, "volumeMode"), spec->volume_mode, volume_modes);
    validate_data_sources(errors, path, spec);
    validate_class_name(errors, PATH(path, "volumeAttributesClassName"), spec->volume_attributes_class_name);
}

void validate_persistent_volume_claim(struct api_field_errors *errors, const void *value)
{
    validate_claim_spec(errors, PATH(NULL, "spec"), &((const struct persistent_volume_claim *)value)->spec);
}

/* What may differ between the specification of a claim and the one before it is made equal in *now. */
static void level_claim_specs(struct arena *arena, const struct persistent_volume_claim *claim,
                              const struct persistent_volume_claim *old, struct persistent_volume_claim_spec *now,
                              struct persistent_volume_claim_spec *before)
{
    *now = claim->spec;
    *before = old->spec;
    if (text_empty(before->volume_name))
        before->volume_name = now->volume_name;
    const char *annotated = string_map_get(&old->metadata.annotations, STORAGE_CLASS_BETA);
    /* A default class may come later; one from the annotation of old may move to its field. */
    if (!before->storage_class_name && now->storage_class_name &&
        (!annotated || text_equal(annotated, now->storage_class_name)))
        now->storage_class_name = NULL;
    const char *size = string_map_get(&before->resources.requests, "storage");
    if (text_equal(claim->status.phase, "Bound") && now->resources.requests.count && size)
        string_map_set(arena, &now->resources.requests, "storage", size);
    now->volume_attributes_class_name = before->volume_attributes_class_name;
}

void validate_persistent_volume_claim_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct persistent_volume_claim *claim = value, *old = old_value;
    const struct api_path *spec = PATH(NULL, "spec");
    struct persistent_volume_claim_spec now, before;
    level_claim_specs(errors->arena, claim, old, &now, &before);
    if (!text_equal(string_map_get(&claim->metadata.annotations, STORAGE_CLASS_BETA),
                    string_map_get(&old->metadata.annotations, STORAGE_CLASS_BETA)))
        field_invalid(errors, PATH(PATH(NULL, "metadata"), "annotations"),
                      string_map_get(&claim->metadata.annotations, STORAGE_CLASS_BETA), FIELD_IS_IMMUTABLE);
    if (!api_equal(&api_type_persistent_volume_claim_spec, &now, &before)) {
        cleanup_buffer struct buffer text = {0};
        buffer_add_string(&text, "spec is immutable after creation except resources.requests and "
                                 "volumeAttributesClassName for bound claims\n");
        validate_diff(errors, &api_type_persistent_volume_claim_spec, &before, &now, &text);
        field_forbidden(errors, spec, text.data);
    }
    const char *size = string_map_get(&claim->spec.resources.requests, "storage");
    if (quantity_compare(size, string_map_get(&old->spec.resources.requests, "storage")) < 0 &&
        quantity_compare(size, string_map_get(&old->status.capacity, "storage")) <= 0)
        field_forbidden(errors, PATH(PATH(PATH(spec, "resources"), "requests"), "storage"),
                        "field can not be less than status.capacity");
    keep_mode(errors, claim->spec.volume_mode, old->spec.volume_mode);
    keep_attributes(errors, claim->spec.volume_attributes_class_name, old->spec.volume_attributes_class_name, true);
}

void validate_persistent_volume_claim_status_update(struct api_field_errors *errors, const void *value, const void *old)
{
    const struct persistent_volume_claim *claim = value;
    const struct api_path *capacity = PATH(PATH(NULL, "status"), "capacity");
    (void)old;
    for (size_t i = 0; i < claim->status.capacity.count; i++)
        if (quantity_compare(claim->status.capacity.items[i].value, "0") < 0)
            field_invalid(errors, PATH_KEY(capacity, claim->status.capacity.items[i].key),
                          claim->status.capacity.items[i].value, "must be a valid resource quantity");
}

/* ---- Classes ---- */

static void validate_parameters(struct api_field_errors *errors, const struct api_path *path,
                                const struct string_map *parameters)
{
    size_t size = 0;
    if (parameters->count > PARAMETERS_MAX) {
        field_too_long(errors, path, PARAMETERS_MAX);
        return;
    }
    for (size_t i = 0; i < parameters->count; i++) {
        if (text_empty(parameters->items[i].key))
            field_invalid(errors, path, parameters->items[i].key, "field can not be empty.");
        size += strlen(parameters->items[i].key) + strlen(parameters->items[i].value);
    }
    if (size > PARAMETERS_SIZE_MAX)
        field_too_long(errors, path, PARAMETERS_SIZE_MAX);
}

static void validate_topology(struct api_field_errors *errors, const struct api_path *path,
                              const struct topology_selector_term *term)
{
    cleanup_name_set struct name_set keys = {0};
    for (size_t i = 0; i < term->match_label_expressions.count; i++) {
        const struct topology_selector_label_requirement *r = &term->match_label_expressions.items[i];
        const struct api_path *at = PATH_INDEX(PATH(path, "matchLabelExpressions"), i);
        cleanup_name_set struct name_set values = {0};
        if (!r->values.count)
            field_required(errors, PATH(at, "values"), NULL);
        for (size_t k = 0; k < r->values.count; k++)
            if (!name_set_add(&values, r->values.items[k]))
                field_duplicate(errors, PATH_INDEX(PATH(at, "values"), k), r->values.items[k]);
        field_format(errors, PATH(at, "key"), r->key, format_qualified_name);
        if (!name_set_add(&keys, r->key))
            field_duplicate(errors, PATH(at, "key"), r->key);
    }
}

void validate_storage_class(struct api_field_errors *errors, const void *value)
{
    const struct storage_class *class = value;
    const struct api_path *topologies = PATH(NULL, "allowedTopologies");
    if (text_empty(class->provisioner)) {
        field_required(errors, PATH(NULL, "provisioner"), NULL);
    } else {
        char *lower = arena_string(errors->arena, class->provisioner);
        for (char *c = lower; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        field_format(errors, PATH(NULL, "provisioner"), lower, format_qualified_name);
    }
    validate_parameters(errors, PATH(NULL, "parameters"), &class->parameters);
    if (!text_empty(class->reclaim_policy))
        validate_optional_one_of(errors, PATH(NULL, "reclaimPolicy"), class->reclaim_policy, class_policies);
    if (!class->volume_binding_mode)
        field_required(errors, PATH(NULL, "volumeBindingMode"), NULL);
    validate_optional_one_of(errors, PATH(NULL, "volumeBindingMode"), class->volume_binding_mode, binding_modes);
    for (size_t i = 0; i < class->allowed_topologies.count; i++)
        validate_topology(errors, PATH_INDEX(topologies, i), &class->allowed_topologies.items[i]);
}

void validate_storage_class_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct storage_class *class = value, *old = old_value;
    bool same = class->parameters.count == old->parameters.count;
    for (size_t i = 0; same && i < old->parameters.count; i++)
        same = text_equal(class->parameters.items[i].key, old->parameters.items[i].key) &&
               text_equal(class->parameters.items[i].value, old->parameters.items[i].value);
    if (!same)
        field_forbidden(errors, PATH(NULL, "parameters"), "updates to parameters are forbidden.");
    if (!text_equal(class->provisioner, old->provisioner))
        field_forbidden(errors, PATH(NULL, "provisioner"), "updates to provisioner are forbidden.");
    if (!text_equal(class->reclaim_policy, old->reclaim_policy))
        field_forbidden(errors, PATH(NULL, "reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
    validate_string_unchanged(errors, PATH(NULL, "volumeBindingMode"), class->volume_binding_mode,
                              old->volume_binding_mode);
}
