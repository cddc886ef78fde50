/* Rules for affinity, spreading, tolerations, taints and scheduling gates. */
#include <stdlib.h>

#include "api/validate_parts.h"

static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
static const char *const toleration_operators[] = {"Equal", "Exists", NULL};
static const char *const unsatisfiable_actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
static const char *const inclusion_policies[] = {"Honor", "Ignore", NULL};

/* The problems of a label value as one message, for the rules that join them. */
static void validate_value(struct api_field_errors *errors, const struct api_path *path, const char *value)
{
    struct format_problems problems = {0};
    format_label_value(value ? value : "", &problems);
    if (problems.count == 1)
        field_invalid(errors, path, value, problems.items[0]);
    else if (problems.count)
        field_invalid(errors, path, value, arena_printf(errors->arena, "%s;%s", problems.items[0], problems.items[1]));
}

void validate_tolerations(struct api_field_errors *errors, const struct api_path *path,
                          const struct toleration_array *tolerations)
{
    for (size_t i = 0; i < tolerations->count; i++) {
        const struct toleration *t = &tolerations->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        const struct api_path *operator= PATH(at, "operator");
        if (!text_empty(t->key))
            field_format(errors, PATH(at, "key"), t->key, format_qualified_name);
        else if (!text_equal(t->operator, "Exists"))
            field_invalid(errors, operator, t->operator,
                          "operator must be Exists when `key` is empty, which means \"match all values and all "
                          "keys\"");
        if (t->toleration_seconds.set && !text_equal(t->effect, "NoExecute"))
            field_invalid(errors, PATH(at, "effect"), t->effect,
                          "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (text_empty(t->operator) || text_equal(t->operator, "Equal"))
            validate_value(errors, operator, t->value);
        else if (!text_equal(t->operator, "Exists"))
            field_not_supported(errors, operator, t->operator, toleration_operators);
        else if (!text_empty(t->value))
            field_invalid(errors, operator, t->value, "value must be empty when `operator` is 'Exists'");
        if (!text_empty(t->effect))
            validate_optional_one_of(errors, PATH(at, "effect"), t->effect, effects);
    }
}

void validate_taints(struct api_field_errors *errors, const struct api_path *path, const struct taint_array *taints)
{
    cleanup_name_set struct name_set seen = {0};
    for (size_t i = 0; i < taints->count; i++) {
        const struct taint *t = &taints->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        field_format(errors, PATH(at, "key"), t->key, format_qualified_name);
        validate_value(errors, PATH(at, "value"), t->value);
        validate_one_of(errors, PATH(at, "effect"), t->effect, effects);
        if (!name_set_add_format(&seen, "%s:%s", t->key ? t->key : "", t->effect ? t->effect : ""))
            field_duplicate_struct(errors, at, &api_type_taint, t, "taints must be unique by key and effect pair");
    }
}

static void validate_node_requirement(struct api_field_errors *errors, const struct api_path *path,
                                      const struct node_selector_requirement *r, bool required)
{
    const struct api_path *values = PATH(path, "values");
    if (text_equal(r->operator, "Gt") || text_equal(r->operator, "Lt")) {
        if (r->values.count != 1)
            field_required(errors, values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else if (!validate_set_operator(errors, path, &r->values, r->operator)) {
        field_invalid(errors, PATH(path, "operator"), r->operator, "not a valid selector operator");
    }
    field_format(errors, PATH(path, "key"), r->key, format_qualified_name);
    for (size_t i = 0; required && i < r->values.count; i++)
        field_format(errors, PATH_INDEX(values, i), r->values.items[i], format_label_value);
}

static void validate_node_field(struct api_field_errors *errors, const struct api_path *path,
                                const struct node_selector_requirement *r)
{
    const struct api_path *values = PATH(path, "values");
    if (!text_equal(r->operator, "In") && !text_equal(r->operator, "NotIn"))
        field_invalid(errors, PATH(path, "operator"), r->operator, "not a valid selector operator");
    else if (r->values.count != 1)
        field_required(errors, values,
                       "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    if (!text_equal(r->key, "metadata.name"))
        field_invalid(errors, PATH(path, "key"), r->key, "not a valid field selector key");
    else
        for (size_t i = 0; i < r->values.count; i++)
            field_format(errors, PATH_INDEX(values, i), r->values.items[i], format_dns_subdomain);
}

static void validate_node_term(struct api_field_errors *errors, const struct api_path *path,
                               const struct node_selector_term *term, bool required)
{
    const struct api_path *expressions = PATH(path, "matchExpressions"), *fields = PATH(path, "matchFields");
    for (size_t i = 0; i < term->match_expressions.count; i++)
        validate_node_requirement(errors, PATH_INDEX(expressions, i), &term->match_expressions.items[i], required);
    for (size_t i = 0; i < term->match_fields.count; i++)
        validate_node_field(errors, PATH_INDEX(fields, i), &term->match_fields.items[i]);
}

void validate_node_selector(struct api_field_errors *errors, const struct api_path *path,
                            const struct node_selector *selector)
{
    const struct api_path *terms = PATH(path, "nodeSelectorTerms");
    if (!selector->node_selector_terms.count)
        field_required(errors, terms, "must have at least one node selector term");
    for (size_t i = 0; i < selector->node_selector_terms.count; i++)
        validate_node_term(errors, PATH_INDEX(terms, i), &selector->node_selector_terms.items[i], true);
}

static void validate_weight(struct api_field_errors *errors, const struct api_path *path, int32_t weight)
{
    if (weight <= 0 || weight > 100)
        field_invalid_int(errors, PATH(path, "weight"), weight, "must be in the range 1-100");
}

static void validate_node_affinity(struct api_field_errors *errors, const struct api_path *path,
                                   const struct node_affinity *affinity)
{
    const struct node_selector *required = affinity->required_during_scheduling_ignored_during_execution;
    if (required)
        validate_node_selector(errors, PATH(path, "requiredDuringSchedulingIgnoredDuringExecution"), required);
    const struct preferred_scheduling_term_array *preferred =
        &affinity->preferred_during_scheduling_ignored_during_execution;
    for (size_t i = 0; i < preferred->count; i++) {
        const struct api_path *at = PATH_INDEX(PATH(path, "preferredDuringSchedulingIgnoredDuringExecution"), i);
        validate_weight(errors, at, preferred->items[i].weight);
        validate_node_term(errors, PATH(at, "preference"), &preferred->items[i].preference, false);
    }
}

static void validate_label_keys(struct api_field_errors *errors, const struct api_path *path,
                                const struct string_array *keys, const struct label_selector *selector)
{
    if (keys->count && !selector) {
        field_forbidden(errors, path, "must not be specified when labelSelector is not set");
        return;
    }
    for (size_t i = 0; i < keys->count; i++)
        field_format(errors, PATH_INDEX(path, i), keys->items[i], format_qualified_name);
}

/* A new pod's selector has the requirements of its matchLabelKeys already: a second one with such a key is the user's.
 */
static void validate_keys_and_selector(struct api_field_errors *errors, const struct api_path *path,
                                       const struct string_array *keys, const struct label_selector *selector)
{
    cleanup_name_set struct name_set seen = {0};
    for (size_t i = 0; selector && i < selector->match_labels.count; i++)
        name_set_add(&seen, selector->match_labels.items[i].key);
    for (size_t i = 0; selector && i < selector->match_expressions.count; i++) {
        const char *key = selector->match_expressions.items[i].key;
        for (size_t k = keys->count; k-- > 0;)
            if (text_equal(key, keys->items[k]) && name_set_has(&seen, key)) {
                field_invalid(errors, PATH_INDEX(path, k), key, "exists in both matchLabelKeys and labelSelector");
                break;
            }
        name_set_add(&seen, key);
    }
}

static void validate_pod_term(struct api_field_errors *errors, const struct api_path *path,
                              const struct pod_affinity_term *term)
{
    validate_label_selector(errors, PATH(path, "labelSelector"), term->label_selector);
    validate_label_selector(errors, PATH(path, "namespaceSelector"), term->namespace_selector);
    for (size_t i = 0; i < term->namespaces.count; i++)
        field_format(errors, PATH(path, "namespace"), term->namespaces.items[i], format_dns_label);
    const struct api_path *keys = PATH(path, "matchLabelKeys");
    validate_label_keys(errors, keys, &term->match_label_keys, term->label_selector);
    validate_label_keys(errors, PATH(path, "mismatchLabelKeys"), &term->mismatch_label_keys, term->label_selector);
    validate_keys_and_selector(errors, path, &term->match_label_keys, term->label_selector);
    cleanup_name_set struct name_set mismatched = {0};
    for (size_t i = 0; i < term->mismatch_label_keys.count; i++)
        name_set_add(&mismatched, term->mismatch_label_keys.items[i]);
    for (size_t i = 0; i < term->match_label_keys.count; i++)
        if (name_set_has(&mismatched, term->match_label_keys.items[i]))
            field_invalid(errors, PATH_INDEX(keys, i), term->match_label_keys.items[i],
                          "exists in both matchLabelKeys and mismatchLabelKeys");
    if (text_empty(term->topology_key))
        field_required(errors, PATH(path, "topologyKey"), "can not be empty");
    field_format(errors, PATH(path, "topologyKey"), term->topology_key, format_qualified_name);
}

static void validate_pod_terms(struct api_field_errors *errors, const struct api_path *path,
                               const struct pod_affinity_term_array *required,
                               const struct weighted_pod_affinity_term_array *preferred)
{
    for (size_t i = 0; i < required->count; i++)
        validate_pod_term(errors, PATH_INDEX(PATH(path, "requiredDuringSchedulingIgnoredDuringExecution"), i),
                          &required->items[i]);
    for (size_t i = 0; i < preferred->count; i++) {
        const struct api_path *at = PATH_INDEX(PATH(path, "preferredDuringSchedulingIgnoredDuringExecution"), i);
        validate_weight(errors, at, preferred->items[i].weight);
        validate_pod_term(errors, PATH(at, "podAffinityTerm"), &preferred->items[i].pod_affinity_term);
    }
}

static void validate_affinity(struct api_field_errors *errors, const struct api_path *path,
                              const struct affinity *affinity)
{
    if (!affinity)
        return;
    if (affinity->node_affinity)
        validate_node_affinity(errors, PATH(path, "nodeAffinity"), affinity->node_affinity);
    if (affinity->pod_affinity)
        validate_pod_terms(errors, PATH(path, "podAffinity"),
                           &affinity->pod_affinity->required_during_scheduling_ignored_during_execution,
                           &affinity->pod_affinity->preferred_during_scheduling_ignored_during_execution);
    if (affinity->pod_anti_affinity)
        validate_pod_terms(errors, PATH(path, "podAntiAffinity"),
                           &affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                           &affinity->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution);
}

static void validate_spread(struct api_field_errors *errors, const struct api_path *path,
                            const struct topology_spread_constraint *c, struct name_set *seen)
{
    validate_positive(errors, PATH(path, "maxSkew"), c->max_skew);
    if (text_empty(c->topology_key))
        field_required(errors, PATH(path, "topologyKey"), "can not be empty");
    if (!validate_is_one_of(c->when_unsatisfiable, unsatisfiable_actions))
        field_not_supported(errors, PATH(path, "whenUnsatisfiable"), c->when_unsatisfiable, unsatisfiable_actions);
    const char *pair = arena_printf(errors->arena, "{%s, %s}", c->topology_key ? c->topology_key : "",
                                    c->when_unsatisfiable ? c->when_unsatisfiable : "");
    if (!name_set_add(seen, pair))
        field_duplicate(errors, PATH(path, "{topologyKey, whenUnsatisfiable}"), pair);
    if (c->min_domains.set) {
        validate_positive(errors, PATH(path, "minDomains"), c->min_domains.value);
        if (!text_equal(c->when_unsatisfiable, "DoNotSchedule"))
            field_invalid_int(errors, PATH(path, "minDomains"), c->min_domains.value,
                              arena_printf(errors->arena,
                                           "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s",
                                           c->when_unsatisfiable ? c->when_unsatisfiable : ""));
    }
    validate_optional_one_of(errors, PATH(path, "nodeAffinityPolicy"), c->node_affinity_policy, inclusion_policies);
    validate_optional_one_of(errors, PATH(path, "nodeTaintsPolicy"), c->node_taints_policy, inclusion_policies);
    validate_label_keys(errors, PATH(path, "matchLabelKeys"), &c->match_label_keys, c->label_selector);
    validate_keys_and_selector(errors, PATH(path, "matchLabelKeys"), &c->match_label_keys, c->label_selector);
    validate_label_selector(errors, PATH(path, "labelSelector"), c->label_selector);
}

void validate_scheduling(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec)
{
    validate_affinity(errors, PATH(path, "affinity"), spec->affinity);
    cleanup_name_set struct name_set names = {0}, pairs = {0};
    const struct api_path *gates = PATH(path, "schedulingGates");
    for (size_t i = 0; i < spec->scheduling_gates.count; i++) {
        const char *name = spec->scheduling_gates.items[i].name;
        field_format(errors, PATH_INDEX(gates, i), name, format_qualified_name);
        if (!name_set_add(&names, name))
            field_duplicate(errors, PATH_INDEX(gates, i), name);
    }
    const struct api_path *spread = PATH(path, "topologySpreadConstraints");
    for (size_t i = 0; i < spec->topology_spread_constraints.count; i++)
        validate_spread(errors, PATH_INDEX(spread, i), &spec->topology_spread_constraints.items[i], &pairs);
}
