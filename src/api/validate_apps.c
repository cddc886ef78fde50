/* Rules for Deployments and ReplicaSets. */
#include <stdio.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/selector.h"
#include "api/validate_parts.h"
#include "base/cleanup.h"

static const char more_than_replicas[] = "cannot be greater than status.replicas";

static void validate_selector_and_template(struct api_field_errors *errors, const struct api_path *path,
                                           const struct label_selector *selector,
                                           const struct pod_template_spec *template)
{
    static const char *const always[] = {"Always", NULL};
    const struct api_path *at = PATH(path, "selector"), *template_path = PATH(path, "template");
    const struct api_path *spec = PATH(template_path, "spec");
    if (!selector) {
        field_required(errors, at, NULL);
    } else {
        validate_label_selector(errors, at, selector);
        if (!selector->match_labels.count && !selector->match_expressions.count)
            field_invalid_struct(errors, at, &api_type_label_selector, selector,
                                 "empty selector is invalid for deployment");
    }
    const struct selector *parsed;
    if (selector_from_label_selector(errors->arena, selector, &parsed, NULL) < 0) {
        field_invalid_struct(errors, at, &api_type_label_selector, selector, "invalid label selector");
        return;
    }
    if (!selector_is_empty(parsed) && !selector_matches(parsed, &template->metadata.labels))
        field_invalid_map(errors, PATH(PATH(template_path, "metadata"), "labels"), &template->metadata.labels,
                          "`selector` does not match template `labels`");
    validate_pod_template(errors, template_path, template);
    if (!text_equal(template->spec.restart_policy, "Always"))
        field_not_supported(errors, PATH(spec, "restartPolicy"), template->spec.restart_policy, always);
    if (template->spec.active_deadline_seconds.set)
        field_forbidden(errors, PATH(spec, "activeDeadlineSeconds"),
                        "activeDeadlineSeconds in ReplicaSet is not Supported");
}

/* The number of a plain or a percent value; -1 when it is neither. */
static int number_of(const struct int_or_string *value, bool *percent)
{
    *percent = false;
    if (value->kind != INT_OR_STRING_STRING)
        return value->number;
    char *end;
    long number = strtol(value->text, &end, 10);
    *percent = end != value->text && strcmp(end, "%") == 0 && number >= 0 && number <= INT32_MAX;
    return *percent ? (int)number : -1;
}

static void invalid_bound(struct api_field_errors *errors, const struct api_path *path,
                          const struct int_or_string *value, const char *detail)
{
    if (value->kind == INT_OR_STRING_STRING)
        field_invalid(errors, path, value->text, detail);
    else
        field_invalid_int(errors, path, value->number, detail);
}

static void validate_bound(struct api_field_errors *errors, const struct api_path *path,
                           const struct int_or_string *value)
{
    if (value->kind == INT_OR_STRING_STRING)
        field_format(errors, path, value->text, format_percent);
    else
        validate_nonnegative(errors, path, value->number);
}

static void validate_rolling_update(struct api_field_errors *errors, const struct api_path *path,
                                    const struct rolling_update_deployment *r)
{
    const struct api_path *unavailable = PATH(path, "maxUnavailable");
    bool percent, surge_percent;
    validate_bound(errors, unavailable, &r->max_unavailable);
    validate_bound(errors, PATH(path, "maxSurge"), &r->max_surge);
    int n = number_of(&r->max_unavailable, &percent);
    if (n == 0 && number_of(&r->max_surge, &surge_percent) == 0)
        invalid_bound(errors, unavailable, &r->max_unavailable, "may not be 0 when `maxSurge` is 0");
    if (percent && n > 100)
        invalid_bound(errors, unavailable, &r->max_unavailable, "must not be greater than 100%");
}

static void validate_strategy(struct api_field_errors *errors, const struct api_path *path,
                              const struct deployment_strategy *s)
{
    const struct api_path *rolling_update = PATH(path, "rollingUpdate");
    if (text_equal(s->type, "Recreate")) {
        if (s->rolling_update)
            field_forbidden(errors, rolling_update, "may not be specified when strategy `type` is 'Recreate'");
    } else if (!text_equal(s->type, "RollingUpdate")) {
        cleanup_buffer struct buffer json = {0};
        buffer_add_string(&json, "{\"Type\":");
        json_encode_string(&json, s->type ? s->type : "");
        buffer_add_string(&json, ",\"RollingUpdate\":");
        if (s->rolling_update)
            json_encode(&api_type_rolling_update_deployment, s->rolling_update, &json);
        else
            buffer_add_string(&json, "null");
        buffer_add_char(&json, '}');
        field_not_supported_json(errors, path, json.data, (const char *const[]){"Recreate", "RollingUpdate", NULL});
    } else if (!s->rolling_update) {
        field_required(errors, rolling_update, "this should be defaulted and never be nil");
    } else {
        validate_rolling_update(errors, rolling_update, s->rolling_update);
    }
}

void validate_deployment(struct api_field_errors *errors, const void *value)
{
    const struct deployment_spec *spec = &((const struct deployment *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec");
    validate_nonnegative(errors, PATH(path, "replicas"), spec->replicas.value);
    validate_selector_and_template(errors, path, spec->selector, &spec->template);
    validate_strategy(errors, PATH(path, "strategy"), &spec->strategy);
    validate_nonnegative(errors, PATH(path, "minReadySeconds"), spec->min_ready_seconds);
    if (spec->revision_history_limit.set)
        validate_nonnegative(errors, PATH(path, "revisionHistoryLimit"), spec->revision_history_limit.value);
    if (spec->progress_deadline_seconds.set) {
        const struct api_path *deadline = PATH(path, "progressDeadlineSeconds");
        validate_nonnegative(errors, deadline, spec->progress_deadline_seconds.value);
        if (spec->progress_deadline_seconds.value <= spec->min_ready_seconds)
            field_invalid_int(errors, deadline, spec->progress_deadline_seconds.value,
                              "must be greater than minReadySeconds");
    }
}

static void validate_selector_unchanged(struct api_field_errors *errors, const struct label_selector *now,
                                        const struct label_selector *old)
{
    bool same = now && old ? api_equal(&api_type_label_selector, now, old) : now == old;
    if (!same)
        field_invalid_struct(errors, PATH(PATH(NULL, "spec"), "selector"), &api_type_label_selector, now,
                             FIELD_IS_IMMUTABLE);
}

void validate_deployment_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_selector_unchanged(errors, ((const struct deployment *)value)->spec.selector,
                                ((const struct deployment *)old)->spec.selector);
}

/* A counter of a status and the field that it may not exceed. */
static void validate_counter(struct api_field_errors *errors, const struct api_path *path, int64_t value,
                             int64_t replicas)
{
    if (value > replicas)
        field_invalid_int(errors, path, value, more_than_replicas);
}

void validate_deployment_status_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct deployment_status *s = &((const struct deployment *)value)->status;
    const struct deployment_status *old = &((const struct deployment *)old_value)->status;
    const struct api_path *path = PATH(NULL, "status");
    validate_nonnegative(errors, PATH(path, "observedGeneration"), s->observed_generation);
    validate_nonnegative(errors, PATH(path, "replicas"), s->replicas);
    validate_nonnegative(errors, PATH(path, "updatedReplicas"), s->updated_replicas);
    validate_nonnegative(errors, PATH(path, "readyReplicas"), s->ready_replicas);
    validate_nonnegative(errors, PATH(path, "availableReplicas"), s->available_replicas);
    validate_nonnegative(errors, PATH(path, "unavailableReplicas"), s->unavailable_replicas);
    if (s->terminating_replicas.set)
        validate_nonnegative(errors, PATH(path, "terminatingReplicas"), s->terminating_replicas.value);
    if (s->collision_count.set)
        validate_nonnegative(errors, PATH(path, "collisionCount"), s->collision_count.value);
    validate_counter(errors, PATH(path, "updatedReplicas"), s->updated_replicas, s->replicas);
    validate_counter(errors, PATH(path, "readyReplicas"), s->ready_replicas, s->replicas);
    validate_counter(errors, PATH(path, "availableReplicas"), s->available_replicas, s->replicas);
    if (s->available_replicas > s->ready_replicas)
        field_invalid_int(errors, PATH(path, "availableReplicas"), s->available_replicas,
                          "cannot be greater than readyReplicas");
    if (old->collision_count.set && (!s->collision_count.set || s->collision_count.value < old->collision_count.value))
        field_invalid_json(errors, PATH(path, "collisionCount"),
                           s->collision_count.set ? arena_printf(errors->arena, "%d", s->collision_count.value)
                                                  : FIELD_NULL_JSON,
                           "cannot be decremented");
}

void validate_replica_set(struct api_field_errors *errors, const void *value)
{
    const struct replica_set_spec *spec = &((const struct replica_set *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec");
    validate_nonnegative(errors, PATH(path, "replicas"), spec->replicas.value);
    validate_nonnegative(errors, PATH(path, "minReadySeconds"), spec->min_ready_seconds);
    validate_selector_and_template(errors, path, spec->selector, &spec->template);
}

void validate_replica_set_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_selector_unchanged(errors, ((const struct replica_set *)value)->spec.selector,
                                ((const struct replica_set *)old)->spec.selector);
}

void validate_replica_set_status_update(struct api_field_errors *errors, const void *value, const void *old)
{
    (void)old;
    const struct replica_set_status *s = &((const struct replica_set *)value)->status;
    const struct api_path *path = PATH(NULL, "status");
    validate_nonnegative(errors, PATH(path, "replicas"), s->replicas);
    validate_nonnegative(errors, PATH(path, "fullyLabeledReplicas"), s->fully_labeled_replicas);
    validate_nonnegative(errors, PATH(path, "readyReplicas"), s->ready_replicas);
    validate_nonnegative(errors, PATH(path, "availableReplicas"), s->available_replicas);
    validate_nonnegative(errors, PATH(path, "observedGeneration"), s->observed_generation);
    validate_counter(errors, PATH(path, "fullyLabeledReplicas"), s->fully_labeled_replicas, s->replicas);
    validate_counter(errors, PATH(path, "readyReplicas"), s->ready_replicas, s->replicas);
    validate_counter(errors, PATH(path, "availableReplicas"), s->available_replicas, s->replicas);
    if (s->available_replicas > s->ready_replicas)
        field_invalid_int(errors, PATH(path, "availableReplicas"), s->available_replicas,
                          "cannot be greater than readyReplicas");
}
