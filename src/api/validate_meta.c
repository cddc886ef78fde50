/* Rules for metadata, labels and selectors, as apimachinery has them (api/validation, meta/v1/validation). */
#include <ctype.h>

#include "api/json.h"
#include "api/validate_parts.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

void validate_labels(struct api_field_errors *errors, const struct api_path *path, const struct string_map *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        field_format(errors, path, labels->items[i].key, format_qualified_name);
        field_format(errors, path, labels->items[i].value, format_label_value);
    }
}

void validate_annotations(struct api_field_errors *errors, const struct api_path *path,
                          const struct string_map *annotations)
{
    size_t total = 0;
    for (size_t i = 0; i < annotations->count; i++) {
        const struct string_pair *p = &annotations->items[i];
        total += strlen(p->key) + (p->value ? strlen(p->value) : 0);
        /* The key may have capitals in its prefix. */
        char lower[FORMAT_SUBDOMAIN_MAX + FORMAT_LABEL_MAX + 3];
        size_t n = 0;
        for (; p->key[n] && n + 1 < sizeof(lower); n++)
            lower[n] = (char)tolower((unsigned char)p->key[n]);
        lower[n] = 0;
        struct format_problems problems = {0};
        format_qualified_name(lower, &problems);
        for (size_t k = 0; k < problems.count; k++)
            field_invalid(errors, path, p->key, problems.items[k]);
    }
    if (total > VALIDATE_ANNOTATIONS_MAX)
        field_too_long(errors, path, VALIDATE_ANNOTATIONS_MAX);
}

void validate_finalizer(struct api_field_errors *errors, const struct api_path *path, const char *finalizer)
{
    static const char *const standard[] = {"kubernetes", "orphan", "foregroundDeletion", NULL};
    if (!strchr(finalizer ? finalizer : "", '/') && !validate_is_one_of(finalizer, standard))
        field_invalid(errors, path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
}

static void validate_finalizers(struct api_field_errors *errors, const struct api_path *path,
                                const struct string_array *finalizers)
{
    bool orphan = false, foreground = false;
    for (size_t i = 0; i < finalizers->count; i++) {
        field_format(errors, path, finalizers->items[i], format_qualified_name);
        orphan |= text_equal(finalizers->items[i], "orphan");
        foreground |= text_equal(finalizers->items[i], "foregroundDeletion");
    }
    if (orphan && foreground)
        field_invalid_strings(errors, path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    for (size_t i = 0; i < finalizers->count; i++)
        validate_finalizer(errors, PATH_INDEX(path, i), finalizers->items[i]);
}

/* Whether it is VERSION or GROUP/VERSION; what has more parts counts as nothing, as upstream reads it. */
static bool has_version(const char *api_version)
{
    const char *slash = strchr(text_or_empty(api_version), '/');
    return slash ? slash[1] && !strchr(slash + 1, '/') : !text_empty(api_version);
}

static void validate_owner_references(struct api_field_errors *errors, const struct api_path *path,
                                      const struct owner_reference_array *owners)
{
    const char *controller = NULL;
    for (size_t i = 0; i < owners->count; i++) {
        const struct owner_reference *o = &owners->items[i];
        if (!has_version(o->api_version))
            field_invalid(errors, PATH(path, "apiVersion"), o->api_version, "version must not be empty");
        if (text_empty(o->kind))
            field_invalid(errors, PATH(path, "kind"), o->kind, "must not be empty");
        if (text_empty(o->name))
            field_invalid(errors, PATH(path, "name"), o->name, "must not be empty");
        if (text_empty(o->uid))
            field_invalid(errors, PATH(path, "uid"), o->uid, "must not be empty");
        if (text_equal(o->kind, "Event") && text_equal(o->api_version, "v1"))
            field_invalid_struct(errors, path, &api_type_owner_reference, o,
                                 "/v1, Kind=Event is disallowed from being an owner");
        if (is_true(o->controller) && controller && !field_errors_full(errors)) {
            cleanup_buffer struct buffer all = {0};
            for (size_t k = 0; k < owners->count && all.size < API_FIELD_SHOWN_MAX; k++) {
                buffer_add_char(&all, k ? ',' : '[');
                json_encode(&api_type_owner_reference, &owners->items[k], &all);
            }
            buffer_add_char(&all, ']');
            field_invalid_json(errors, path, all.data,
                               arena_printf(errors->arena,
                                            "Only one reference can have Controller set to true. Found \"true\" in "
                                            "references for %s and %s",
                                            controller, o->name ? o->name : ""));
        } else if (is_true(o->controller)) {
            controller = o->name ? o->name : "";
        }
    }
}

void validate_generate_name(struct api_field_errors *errors, const struct api_path *path, const char *name,
                            format_rule name_rule)
{
    size_t n = strlen(name);
    char *whole = arena_string(errors->arena, name);
    if (n > 1 && whole[n - 1] == '-')
        whole[n - 1] = 'a';
    struct format_problems problems = {0};
    name_rule(whole, &problems);
    for (size_t i = 0; i < problems.count; i++)
        field_invalid(errors, path, name, problems.items[i]);
}

void validate_meta(struct api_field_errors *errors, const struct api_path *path, const struct object_meta *meta,
                   bool namespaced, format_rule name_rule)
{
    if (!text_empty(meta->generate_name))
        validate_generate_name(errors, PATH(path, "generateName"), meta->generate_name, name_rule);
    if (text_empty(meta->name))
        field_required(errors, PATH(path, "name"), "name or generateName is required");
    else
        field_format(errors, PATH(path, "name"), meta->name, name_rule);
    const struct api_path *namespace_path = PATH(path, "namespace");
    if (namespaced && text_empty(meta->namespace))
        field_required(errors, namespace_path, NULL);
    else if (namespaced)
        field_format(errors, namespace_path, meta->namespace, format_dns_label);
    else if (!text_empty(meta->namespace))
        field_forbidden(errors, namespace_path, "not allowed on this type");
    validate_nonnegative(errors, PATH(path, "generation"), meta->generation);
    validate_labels(errors, PATH(path, "labels"), &meta->labels);
    validate_annotations(errors, PATH(path, "annotations"), &meta->annotations);
    validate_owner_references(errors, PATH(path, "ownerReferences"), &meta->owner_references);
    validate_finalizers(errors, PATH(path, "finalizers"), &meta->finalizers);
}

static void validate_no_new_finalizers(struct api_field_errors *errors, const struct api_path *path,
                                       const struct string_array *now, const struct string_array *old)
{
    cleanup_buffer struct buffer added = {0};
    cleanup_name_set struct name_set before = {0};
    for (size_t i = 0; i < old->count; i++)
        name_set_add(&before, old->items[i]);
    for (size_t i = 0; i < now->count; i++)
        if (!name_set_has(&before, now->items[i])) {
            buffer_add_string(&added, added.size ? ", " : "[]string{");
            go_quote(&added, now->items[i] ? now->items[i] : "");
        }
    if (added.size)
        field_forbidden(errors, path,
                        arena_printf(errors->arena,
                                     "no new finalizers can be added if the object is being deleted, found new "
                                     "finalizers %s}",
                                     added.data));
}

static void validate_time_unchanged(struct api_field_errors *errors, const struct api_path *path, int64_t value,
                                    int64_t old)
{
    if (value == old)
        return;
    char text[TIME_TEXT_MAX];
    time_format(value, text);
    field_invalid_json(errors, path, value ? arena_printf(errors->arena, "\"%s\"", text) : "null", FIELD_IS_IMMUTABLE);
}

void validate_meta_update(struct api_field_errors *errors, const struct api_path *path, const struct object_meta *meta,
                          const struct object_meta *old)
{
    if (old->deletion_timestamp)
        validate_no_new_finalizers(errors, PATH(path, "finalizers"), &meta->finalizers, &old->finalizers);
    if (text_empty(meta->resource_version))
        field_invalid(errors, PATH(path, "resourceVersion"), meta->resource_version, "must be specified for an update");
    if (meta->generation < old->generation)
        field_invalid_int(errors, PATH(path, "generation"), meta->generation, "must not be decremented");
    validate_string_unchanged(errors, PATH(path, "name"), meta->name, old->name);
    validate_string_unchanged(errors, PATH(path, "namespace"), meta->namespace, old->namespace);
    validate_string_unchanged(errors, PATH(path, "uid"), meta->uid, old->uid);
    validate_time_unchanged(errors, PATH(path, "creationTimestamp"), meta->creation_timestamp, old->creation_timestamp);
    validate_time_unchanged(errors, PATH(path, "deletionTimestamp"), meta->deletion_timestamp, old->deletion_timestamp);
    const struct opt_int64 *seconds = &meta->deletion_grace_period_seconds;
    if (seconds->set != old->deletion_grace_period_seconds.set ||
        seconds->value != old->deletion_grace_period_seconds.value)
        field_invalid_json(errors, PATH(path, "deletionGracePeriodSeconds"),
                           seconds->set ? arena_printf(errors->arena, "%lld", (long long)seconds->value) : "null",
                           FIELD_IS_IMMUTABLE);
    validate_labels(errors, PATH(path, "labels"), &meta->labels);
    validate_annotations(errors, PATH(path, "annotations"), &meta->annotations);
    validate_owner_references(errors, PATH(path, "ownerReferences"), &meta->owner_references);
    validate_finalizers(errors, PATH(path, "finalizers"), &meta->finalizers);
}

bool validate_set_operator(struct api_field_errors *errors, const struct api_path *path,
                           const struct string_array *values, const char *operator)
{
    if (text_equal(operator, "In") || text_equal(operator, "NotIn")) {
        if (!values->count)
            field_required(errors, PATH(path, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        return true;
    }
    if (text_equal(operator, "Exists") || text_equal(operator, "DoesNotExist")) {
        if (values->count)
            field_forbidden(errors, PATH(path, "values"),
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        return true;
    }
    return false;
}

static void validate_requirement(struct api_field_errors *errors, const struct api_path *path,
                                 const struct label_selector_requirement *r)
{
    const struct api_path *values = PATH(path, "values");
    if (!validate_set_operator(errors, path, &r->values, r->operator))
        field_invalid(errors, PATH(path, "operator"), r->operator, "not a valid selector operator");
    field_format(errors, PATH(path, "key"), r->key, format_qualified_name);
    for (size_t i = 0; i < r->values.count; i++)
        field_format(errors, PATH_INDEX(values, i), r->values.items[i], format_label_value);
}

void validate_label_selector(struct api_field_errors *errors, const struct api_path *path,
                             const struct label_selector *selector)
{
    if (!selector)
        return;
    validate_labels(errors, PATH(path, "matchLabels"), &selector->match_labels);
    const struct api_path *expressions = PATH(path, "matchExpressions");
    for (size_t i = 0; i < selector->match_expressions.count; i++)
        validate_requirement(errors, PATH_INDEX(expressions, i), &selector->match_expressions.items[i]);
}
