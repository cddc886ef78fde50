/* Rules for Jobs and for the Jobs that CronJobs hold. */
#include "api/index_set.h"
#include "api/job.h"
#include "api/json.h"
#include "api/selector.h"
#include "api/validate_job.h"
#include "base/cleanup.h"

#define PARALLELISM_INDEXED_MAX 100000
#define FAILED_INDEXES_MAX 100000
#define COMPLETIONS_SOFT_MAX 100000 /* above it, what follows is smaller */
#define PARALLELISM_HIGH_MAX 10000
#define FAILED_INDEXES_HIGH_MAX 10000
#define FAILURE_RULES_MAX 20
#define EXIT_CODES_MAX 255
#define CONDITION_PATTERNS_MAX 20
#define MANAGED_BY_MAX 63
#define SUCCEEDED_INDEXES_MAX (64 * 1024)
#define SUCCESS_RULES_MAX 20

static const char *const completion_modes[] = {"NonIndexed", "Indexed", NULL};
static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
static const char *const operators[] = {"In", "NotIn", NULL};
static const char *const condition_values[] = {"False", "True", "Unknown", NULL};
static const char *const replacement_policies[] = {"Failed", "TerminatingOrFailed", NULL};

static void validate_optional(struct api_field_errors *errors, const struct api_path *path, struct opt_int32 value)
{
    if (value.set)
        validate_nonnegative(errors, path, value.value);
}

/* Required when empty, with the values that it may have. */
static void validate_choice(struct api_field_errors *errors, const struct api_path *path, const char *value,
                            const char *const *choices)
{
    if (!text_empty(value)) {
        if (!validate_is_one_of(value, choices))
            field_not_supported(errors, path, value, choices);
        return;
    }
    cleanup_buffer struct buffer detail = {0};
    for (size_t i = 0; choices[i]; i++)
        buffer_printf(&detail, "%s\"%s\"", i ? " " : "valid values: [", choices[i]);
    buffer_add_char(&detail, ']');
    field_required(errors, path, detail.data);
}

/* "example.com/controller". */
static void validate_managed_by(struct api_field_errors *errors, const struct api_path *path, const char *text)
{
    const char *slash = strchr(text, '/');
    if (!*text) {
        field_required(errors, path, NULL);
    } else if (!slash || slash == text || !slash[1]) {
        field_invalid(errors, path, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    } else {
        static const char allowed[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-._~%!$&'()*+,;=:";
        field_format(errors, path, arena_string_n(errors->arena, text, (size_t)(slash - text)), format_dns_subdomain);
        if (slash[1 + strspn(slash + 1, allowed)])
            field_invalid(errors, path, slash + 1,
                          "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
    }
    if (strlen(text) > MANAGED_BY_MAX)
        field_too_long(errors, path, MANAGED_BY_MAX);
}

/* ---- Indexed and not ---- */

static void validate_high_completions(struct api_field_errors *errors, const struct api_path *path,
                                      const struct job_spec *spec)
{
    static const char below[] = "must be less than or equal to %d when completions are above %d and used with backoff "
                                "limit per index";
    if (!spec->max_failed_indexes.set)
        field_required(
            errors, PATH(path, "maxFailedIndexes"),
            arena_printf(errors->arena, "must be specified when completions is above %d", COMPLETIONS_SOFT_MAX));
    if (spec->parallelism.set && spec->parallelism.value > PARALLELISM_HIGH_MAX)
        field_invalid_int(errors, PATH(path, "parallelism"), spec->parallelism.value,
                          arena_printf(errors->arena, below, PARALLELISM_HIGH_MAX, COMPLETIONS_SOFT_MAX));
    if (spec->max_failed_indexes.set && spec->max_failed_indexes.value > FAILED_INDEXES_HIGH_MAX)
        field_invalid_int(errors, PATH(path, "maxFailedIndexes"), spec->max_failed_indexes.value,
                          arena_printf(errors->arena, below, FAILED_INDEXES_HIGH_MAX, COMPLETIONS_SOFT_MAX));
}

static void validate_indexed(struct api_field_errors *errors, const struct api_path *path, const struct job_spec *spec)
{
    const struct opt_int32 *failed = &spec->max_failed_indexes;
    if (!spec->completions.set)
        field_required(errors, PATH(path, "completions"), "when completion mode is Indexed");
    if (spec->parallelism.set && spec->parallelism.value > PARALLELISM_INDEXED_MAX)
        field_invalid_int(errors, PATH(path, "parallelism"), spec->parallelism.value,
                          arena_printf(errors->arena,
                                       "must be less than or equal to %d when completion mode is Indexed",
                                       PARALLELISM_INDEXED_MAX));
    if (spec->completions.set && failed->set && failed->value > spec->completions.value)
        field_invalid_int(errors, PATH(path, "maxFailedIndexes"), failed->value,
                          "must be less than or equal to completions");
    if (failed->set && failed->value > FAILED_INDEXES_MAX)
        field_invalid_int(errors, PATH(path, "maxFailedIndexes"), failed->value,
                          arena_printf(errors->arena, "must be less than or equal to %d", FAILED_INDEXES_MAX));
    if (spec->completions.value > COMPLETIONS_SOFT_MAX && spec->backoff_limit_per_index.set)
        validate_high_completions(errors, path, spec);
}

static void validate_completion_mode(struct api_field_errors *errors, const struct api_path *path,
                                     const struct job_spec *spec)
{
    validate_optional_one_of(errors, PATH(path, "completionMode"), spec->completion_mode, completion_modes);
    if (job_is_indexed(spec)) {
        validate_indexed(errors, path, spec);
    } else if (!spec->completion_mode || text_equal(spec->completion_mode, "NonIndexed")) {
        if (spec->backoff_limit_per_index.set)
            field_invalid_int(errors, PATH(path, "backoffLimitPerIndex"), spec->backoff_limit_per_index.value,
                              "requires indexed completion mode");
        if (spec->max_failed_indexes.set)
            field_invalid_int(errors, PATH(path, "maxFailedIndexes"), spec->max_failed_indexes.value,
                              "requires indexed completion mode");
    }
}

/* ---- Policies ---- */

static void validate_conditions(struct api_field_errors *errors, const struct api_path *path,
                                const struct pod_failure_policy_on_pod_conditions_pattern_array *patterns)
{
    if (patterns->count > CONDITION_PATTERNS_MAX)
        field_too_many(errors, path, (int)patterns->count, CONDITION_PATTERNS_MAX);
    for (size_t i = 0; i < patterns->count; i++) {
        const struct api_path *at = PATH_INDEX(path, i);
        field_format(errors, PATH(at, "type"), patterns->items[i].type, format_qualified_name);
        validate_choice(errors, PATH(at, "status"), patterns->items[i].status, condition_values);
    }
}

static bool has_container(const struct pod_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->containers.count; i++)
        if (text_equal(spec->containers.items[i].name, name))
            return true;
    for (size_t i = 0; i < spec->init_containers.count; i++)
        if (text_equal(spec->init_containers.items[i].name, name))
            return true;
    return false;
}

static void invalid_codes(struct api_field_errors *errors, const struct api_path *path, const struct int32_array *codes,
                          const char *detail)
{
    cleanup_buffer struct buffer json = {0};
    for (size_t i = 0; i < codes->count; i++)
        buffer_printf(&json, "%c%d", i ? ',' : '[', codes->items[i]);
    buffer_add_string(&json, codes->count ? "]" : codes->items ? "[]" : "null");
    field_invalid_json(errors, path, json.data, detail);
}

static void validate_exit_codes(struct api_field_errors *errors, const struct api_path *path,
                                const struct pod_failure_policy_on_exit_codes_requirement *r,
                                const struct pod_spec *pod)
{
    const struct api_path *values = PATH(path, "values");
    bool ordered = true;
    cleanup_name_set struct name_set seen = {0};
    validate_choice(errors, PATH(path, "operator"), r->operator, operators);
    if (r->container_name && !has_container(pod, r->container_name))
        field_invalid(errors, PATH(path, "containerName"), r->container_name,
                      "must be one of the container or initContainer names in the pod template");
    if (!r->values.count)
        invalid_codes(errors, values, &r->values, "at least one value is required");
    else if (r->values.count > EXIT_CODES_MAX)
        field_too_many(errors, values, (int)r->values.count, EXIT_CODES_MAX);
    for (size_t i = 0; i < r->values.count; i++) {
        const struct api_path *at = PATH_INDEX(values, i);
        int32_t code = r->values.items[i];
        const char *text = arena_printf(errors->arena, "%d", code);
        if (text_equal(r->operator, "In") && code == 0)
            field_invalid_int(errors, at, code, "must not be 0 for the In operator");
        if (!name_set_add(&seen, text))
            field_duplicate_json(errors, at, text);
        ordered = ordered && (!i || r->values.items[i - 1] <= code);
    }
    if (!ordered)
        invalid_codes(errors, values, &r->values, "must be ordered");
}

static void validate_failure_rule(struct api_field_errors *errors, const struct api_path *path,
                                  const struct pod_failure_policy_rule *rule, const struct job_spec *spec)
{
    const struct api_path *action = PATH(path, "action");
    if (!text_equal(rule->action, "FailIndex"))
        validate_choice(errors, action, rule->action, actions);
    else if (!spec->backoff_limit_per_index.set)
        field_invalid(errors, action, rule->action, "requires the backoffLimitPerIndex to be set");
    if (rule->on_exit_codes)
        validate_exit_codes(errors, PATH(path, "onExitCodes"), rule->on_exit_codes, &spec->template.spec);
    validate_conditions(errors, PATH(path, "onPodConditions"), &rule->on_pod_conditions);
    if (rule->on_exit_codes && rule->on_pod_conditions.count)
        field_invalid_json(errors, path, NULL, "specifying both OnExitCodes and OnPodConditions is not supported");
    if (!rule->on_exit_codes && !rule->on_pod_conditions.count)
        field_invalid_json(errors, path, NULL, "specifying one of OnExitCodes and OnPodConditions is required");
}

static void validate_failure_policy(struct api_field_errors *errors, const struct api_path *path,
                                    const struct job_spec *spec)
{
    const struct api_path *rules = PATH(path, "rules");
    const struct pod_failure_policy_rule_array *list = &spec->pod_failure_policy->rules;
    if (list->count > FAILURE_RULES_MAX)
        field_too_many(errors, rules, (int)list->count, FAILURE_RULES_MAX);
    for (size_t i = 0; i < list->count; i++)
        validate_failure_rule(errors, PATH_INDEX(rules, i), &list->items[i], spec);
}

static void validate_success_rule(struct api_field_errors *errors, const struct api_path *path,
                                  const struct success_policy_rule *rule, int32_t completions)
{
    static const char at_most[] = "must be less than or equal to %d (the number of %s)";
    const struct api_path *count = PATH(path, "succeededCount"), *indexes = PATH(path, "succeededIndexes");
    int32_t total = 0;
    if (!rule->succeeded_count.set && !rule->succeeded_indexes)
        field_required(errors, path, "at least one of succeededCount or succeededIndexes must be specified");
    if (rule->succeeded_indexes) {
        if (strlen(rule->succeeded_indexes) > SUCCEEDED_INDEXES_MAX)
            field_too_long(errors, indexes, SUCCEEDED_INDEXES_MAX);
        const char *problem = index_set_check(errors->arena, rule->succeeded_indexes, completions, &total);
        if (problem)
            field_invalid(errors, indexes, rule->succeeded_indexes,
                          arena_printf(errors->arena, "error parsing succeededIndexes: %s", problem));
    }
    if (!rule->succeeded_count.set)
        return;
    int32_t wanted = rule->succeeded_count.value;
    validate_nonnegative(errors, count, wanted);
    if (wanted > completions)
        field_invalid_int(errors, count, wanted,
                          arena_printf(errors->arena, at_most, completions, "specified completions"));
    if (rule->succeeded_indexes && wanted > total)
        field_invalid_int(
            errors, count, wanted,
            arena_printf(errors->arena, at_most, total, "indexes in the specified succeededIndexes field"));
}

static void validate_success_policy(struct api_field_errors *errors, const struct api_path *path,
                                    const struct job_spec *spec)
{
    const struct success_policy_rule_array *list = &spec->success_policy->rules;
    const struct api_path *rules = PATH(path, "rules");
    if (!job_is_indexed(spec)) {
        field_invalid_struct(errors, path, &api_type_success_policy, spec->success_policy,
                             "requires indexed completion mode");
        return;
    }
    if (!list->count)
        field_required(errors, rules, "at least one rules must be specified when the successPolicy is specified");
    if (list->count > SUCCESS_RULES_MAX)
        field_too_many(errors, rules, (int)list->count, SUCCESS_RULES_MAX);
    for (size_t i = 0; i < list->count && spec->completions.set; i++)
        validate_success_rule(errors, PATH_INDEX(rules, i), &list->items[i], spec->completions.value);
}

static void validate_replacement_policy(struct api_field_errors *errors, const struct api_path *path,
                                        const struct job_spec *spec)
{
    static const char *const failed[] = {"Failed", NULL};
    validate_optional_one_of(errors, path, spec->pod_replacement_policy,
                             spec->pod_failure_policy ? failed : replacement_policies);
}

static void validate_restart_policy(struct api_field_errors *errors, const struct api_path *path,
                                    const struct job_spec *spec)
{
    static const char *const policies[] = {"OnFailure", "Never", NULL};
    const char *policy = spec->template.spec.restart_policy;
    if (text_empty(policy) || text_equal(policy, "Always"))
        field_required(errors, path, "valid values: \"OnFailure\", \"Never\"");
    else if (!validate_is_one_of(policy, policies))
        field_not_supported(errors, path, policy, policies);
    else if (spec->pod_failure_policy && !text_equal(policy, "Never"))
        field_invalid(errors, path, policy, "only \"Never\" is supported when podFailurePolicy is specified");
}

/* ---- Whole specifications ---- */

static void validate_spec(struct api_field_errors *errors, const struct api_path *path, const struct job_spec *spec)
{
    const struct api_path *template = PATH(path, "template");
    validate_optional(errors, PATH(path, "parallelism"), spec->parallelism);
    validate_optional(errors, PATH(path, "completions"), spec->completions);
    if (spec->active_deadline_seconds.set)
        validate_nonnegative(errors, PATH(path, "activeDeadlineSeconds"), spec->active_deadline_seconds.value);
    validate_optional(errors, PATH(path, "backoffLimit"), spec->backoff_limit);
    validate_optional(errors, PATH(path, "ttlSecondsAfterFinished"), spec->ttl_seconds_after_finished);
    validate_optional(errors, PATH(path, "backoffLimitPerIndex"), spec->backoff_limit_per_index);
    validate_optional(errors, PATH(path, "maxFailedIndexes"), spec->max_failed_indexes);
    if (spec->max_failed_indexes.set && !spec->backoff_limit_per_index.set)
        field_required(errors, PATH(path, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    if (spec->managed_by)
        validate_managed_by(errors, PATH(path, "managedBy"), spec->managed_by);
    validate_completion_mode(errors, path, spec);
    if (spec->pod_failure_policy)
        validate_failure_policy(errors, PATH(path, "podFailurePolicy"), spec);
    if (spec->success_policy)
        validate_success_policy(errors, PATH(path, "successPolicy"), spec);
    validate_replacement_policy(errors, PATH(path, "podReplacementPolicy"), spec);
    validate_pod_template(errors, template, &spec->template);
    validate_restart_policy(errors, PATH(PATH(template, "spec"), "restartPolicy"), spec);
}

void validate_job_template(struct api_field_errors *errors, const struct api_path *path,
                           const struct job_template_spec *template)
{
    static const char *const unset[] = {"nil", "false", NULL};
    const struct api_path *spec = PATH(path, "spec");
    validate_spec(errors, spec, &template->spec);
    if (template->spec.selector)
        field_invalid_struct(errors, PATH(spec, "selector"), &api_type_label_selector, template->spec.selector,
                             "`selector` will be auto-generated");
    if (is_true(template->spec.manual_selector))
        field_not_supported_json(errors, PATH(spec, "manualSelector"), "true", unset);
}

static void validate_label(struct api_field_errors *errors, const struct string_map *labels, const char *key,
                           const char *expected)
{
    const struct api_path *metadata = PATH(PATH(PATH(NULL, "spec"), "template"), "metadata");
    const struct api_path *path = PATH_KEY(PATH(metadata, "labels"), key);
    const char *value = string_map_get(labels, key);
    const char *detail = arena_printf(errors->arena, "must be '%s'", expected ? expected : "");
    if (!value)
        field_required(errors, path, detail);
    else if (!text_equal(value, expected))
        field_invalid_map(errors, path, labels, detail);
}

/* The selector and the labels that the server makes must be those that it would make: a user's may be in the way. */
static void validate_generated(struct api_field_errors *errors, const struct job *job)
{
    if (is_true(job->spec.manual_selector) || !job->spec.selector)
        return;
    const struct string_map *labels = &job->spec.template.metadata.labels;
    const char *uid = job->metadata.uid, *name = job->metadata.name;
    if (text_empty(uid))
        field_required(errors, PATH(PATH(NULL, "metadata"), "uid"), NULL);
    validate_label(errors, labels, JOB_LEGACY_UID_LABEL, uid);
    validate_label(errors, labels, JOB_LEGACY_NAME_LABEL, name);
    validate_label(errors, labels, JOB_UID_LABEL, uid);
    validate_label(errors, labels, JOB_NAME_LABEL, name);
    struct string_map expected = {0};
    string_map_set(errors->arena, &expected, JOB_UID_LABEL, uid);
    string_map_set(errors->arena, &expected, JOB_NAME_LABEL, name);
    string_map_set(errors->arena, &expected, JOB_LEGACY_UID_LABEL, uid);
    string_map_set(errors->arena, &expected, JOB_LEGACY_NAME_LABEL, name);
    const struct selector *selector;
    if (selector_from_label_selector(errors->arena, job->spec.selector, &selector, NULL) == 0 &&
        !selector_matches(selector, &expected))
        field_invalid_struct(errors, PATH(PATH(NULL, "spec"), "selector"), &api_type_label_selector, job->spec.selector,
                             "`selector` not auto-generated");
}

static void validate_job_selector(struct api_field_errors *errors, const struct api_path *path,
                                  const struct job_spec *spec)
{
    const struct api_path *template = PATH(path, "template");
    const struct selector *selector;
    if (!spec->selector)
        field_required(errors, PATH(path, "selector"), NULL);
    else
        validate_label_selector(errors, PATH(path, "selector"), spec->selector);
    if (selector_from_label_selector(errors->arena, spec->selector, &selector, NULL) == 0 &&
        (!spec->selector || !selector_matches(selector, &spec->template.metadata.labels)))
        field_invalid_map(errors, PATH(PATH(template, "metadata"), "labels"), &spec->template.metadata.labels,
                          "`selector` does not match template `labels`");
}

void validate_job(struct api_field_errors *errors, const void *value)
{
    const struct job *job = value;
    const struct job_spec *spec = &job->spec;
    validate_generated(errors, job);
    validate_spec(errors, PATH(NULL, "spec"), spec);
    validate_job_selector(errors, PATH(NULL, "spec"), spec);
    if (!job_is_indexed(spec) || spec->completions.value <= 0)
        return;
    /* The longest hostname that a pod of it would have. */
    const char *host =
        arena_printf(errors->arena, "%s-%d", job->metadata.name ? job->metadata.name : "", spec->completions.value - 1);
    struct format_problems problems = {.count = 0};
    format_dns_label(host, &problems);
    if (problems.count)
        field_invalid(errors, PATH(PATH(NULL, "metadata"), "name"), job->metadata.name,
                      arena_printf(errors->arena, "will not able to create pod with invalid DNS label: %s", host));
}

/* ---- Changes ---- */

static void validate_number_unchanged(struct api_field_errors *errors, const struct api_path *path,
                                      struct opt_int32 now, struct opt_int32 old)
{
    if (now.set == old.set && now.value == old.value)
        return;
    field_invalid_json(errors, path, now.set ? arena_printf(errors->arena, "%d", now.value) : FIELD_NULL_JSON,
                       FIELD_IS_IMMUTABLE);
}

static void validate_struct_unchanged(struct api_field_errors *errors, const struct api_path *path,
                                      const struct api_type *type, const void *now, const void *old)
{
    if (now && old ? !api_equal(type, now, old) : now != old)
        field_invalid_struct(errors, path, type, now, FIELD_IS_IMMUTABLE);
}

static void validate_text_unchanged(struct api_field_errors *errors, const struct api_path *path, const char *now,
                                    const char *old)
{
    if (now && old ? strcmp(now, old) == 0 : now == old)
        return;
    field_invalid(errors, path, now ? now : FIELD_NULL, FIELD_IS_IMMUTABLE);
}

/* An Indexed Job is elastic: completions may change together with parallelism. */
static void validate_completions_update(struct api_field_errors *errors, const struct api_path *path,
                                        const struct job_spec *now, const struct job_spec *old)
{
    const struct api_path *at = PATH(path, "completions");
    bool same = now->completions.set == old->completions.set && now->completions.value == old->completions.value;
    if (!job_is_indexed(now))
        validate_number_unchanged(errors, at, now->completions, old->completions);
    else if (!same && now->completions.set && now->completions.value != now->parallelism.value)
        field_invalid_int(errors, at, now->completions.value, "can only be modified in tandem with spec.parallelism");
}

/* The old template, with what may change before the Job has first started as the new one has it. */
static struct pod_template_spec before_start(struct api_field_errors *errors, const struct pod_template_spec *now,
                                             const struct pod_template_spec *old)
{
    static const struct affinity no_affinity;
    struct pod_template_spec changed = *old;
    const struct affinity *wanted = now->spec.affinity;
    if (wanted || old->spec.affinity) {
        struct affinity *affinity = arena_alloc(errors->arena, sizeof(*affinity));
        *affinity = old->spec.affinity ? *old->spec.affinity : no_affinity;
        affinity->node_affinity = wanted ? wanted->node_affinity : NULL;
        bool empty = !affinity->node_affinity && !affinity->pod_affinity && !affinity->pod_anti_affinity;
        changed.spec.affinity = empty && !wanted ? NULL : affinity;
    }
    changed.spec.node_selector = now->spec.node_selector;
    changed.spec.tolerations = now->spec.tolerations;
    changed.spec.scheduling_gates = now->spec.scheduling_gates;
    changed.metadata.annotations = now->metadata.annotations;
    changed.metadata.labels = now->metadata.labels;
    return changed;
}

void validate_job_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct job *old_job = old_value;
    const struct job_spec *now = &((const struct job *)value)->spec, *old = &old_job->spec;
    const struct api_path *path = PATH(NULL, "spec");
    struct pod_template_spec template = old->template;
    if (is_true(old->suspend) && !old_job->status.start_time)
        template = before_start(errors, &now->template, &old->template);
    validate_completions_update(errors, path, now, old);
    validate_struct_unchanged(errors, PATH(path, "selector"), &api_type_label_selector, now->selector, old->selector);
    validate_struct_unchanged(errors, PATH(path, "template"), &api_type_pod_template_spec, &now->template, &template);
    validate_text_unchanged(errors, PATH(path, "completionMode"), now->completion_mode, old->completion_mode);
    validate_struct_unchanged(errors, PATH(path, "podFailurePolicy"), &api_type_pod_failure_policy,
                              now->pod_failure_policy, old->pod_failure_policy);
    validate_number_unchanged(errors, PATH(path, "backoffLimitPerIndex"), now->backoff_limit_per_index,
                              old->backoff_limit_per_index);
    validate_text_unchanged(errors, PATH(path, "managedBy"), now->managed_by, old->managed_by);
    validate_struct_unchanged(errors, PATH(path, "successPolicy"), &api_type_success_policy, now->success_policy,
                              old->success_policy);
}
