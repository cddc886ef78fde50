/* What failed pods mean to a Job, and when it has succeeded early. */
#include <string.h>

#include "base/text.h"
#include "control/job_decide.h"

static bool code_matches(const struct pod_failure_policy_on_exit_codes_requirement *r, int32_t code)
{
    bool listed = false;
    for (size_t i = 0; i < r->values.count; i++)
        listed = listed || r->values.items[i] == code;
    return text_equal(r->operator, "In") ? listed : text_equal(r->operator, "NotIn") && !listed;
}

static const struct container_status *match_codes(const struct container_status_array *containers,
                                                  const struct pod_failure_policy_on_exit_codes_requirement *r)
{
    for (size_t i = 0; i < containers->count; i++) {
        const struct container_status *c = &containers->items[i];
        if (c->state.terminated && (!r->container_name || text_equal(r->container_name, c->name)) &&
            c->state.terminated->exit_code && code_matches(r, c->state.terminated->exit_code))
            return c;
    }
    return NULL;
}

static const struct pod_condition *match_conditions(const struct pod_status *status,
                                                    const struct pod_failure_policy_rule *rule)
{
    for (size_t i = 0; i < status->conditions.count; i++)
        for (size_t k = 0; k < rule->on_pod_conditions.count; k++)
            if (text_equal(status->conditions.items[i].type, rule->on_pod_conditions.items[k].type) &&
                text_equal(status->conditions.items[i].status, rule->on_pod_conditions.items[k].status))
                return &status->conditions.items[i];
    return NULL;
}

static enum job_action action_of(const char *name)
{
    static const struct {
        const char *name;
        enum job_action action;
    } table[] = {{"Ignore", JOB_ACTION_IGNORE},
                 {"FailIndex", JOB_ACTION_FAIL_INDEX},
                 {"Count", JOB_ACTION_COUNT},
                 {"FailJob", JOB_ACTION_FAIL_JOB}};
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (text_equal(name, table[i].name))
            return table[i].action;
    return JOB_ACTION_NONE;
}

enum job_action job_failure_action(struct arena *arena, const struct job_spec *spec, const struct pod *pod,
                                   const char **message)
{
    const struct pod_failure_policy_rule_array *rules =
        spec->pod_failure_policy ? &spec->pod_failure_policy->rules : NULL;
    const struct object_meta *meta = &pod->metadata;
    *message = NULL;
    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct pod_failure_policy_rule *rule = &rules->items[i];
        enum job_action action = action_of(rule->action);
        const struct container_status *container = NULL;
        const struct pod_condition *condition = NULL;
        if (rule->on_exit_codes) {
            container = match_codes(&pod->status.container_statuses, rule->on_exit_codes);
            if (!container)
                container = match_codes(&pod->status.init_container_statuses, rule->on_exit_codes);
        } else {
            condition = match_conditions(&pod->status, rule);
        }
        if ((!container && !condition) || action == JOB_ACTION_NONE)
            continue;
        if (action == JOB_ACTION_FAIL_JOB && container)
            *message =
                arena_printf(arena,
                             "Container %s for pod %s/%s failed with exit code %d matching FailJob rule at index "
                             "%zu",
                             container->name, meta->namespace, meta->name, container->state.terminated->exit_code, i);
        else if (action == JOB_ACTION_FAIL_JOB)
            *message = arena_printf(arena, "Pod %s/%s has condition %s matching FailJob rule at index %zu",
                                    meta->namespace, meta->name, condition->type, i);
        return action;
    }
    return JOB_ACTION_NONE;
}

static bool rule_holds(struct arena *arena, const struct success_policy_rule *rule, int32_t completions,
                       const struct index_set *succeeded)
{
    if (!rule->succeeded_indexes)
        return rule->succeeded_count.set && index_set_total(succeeded) >= rule->succeeded_count.value;
    struct index_set wanted = index_set_parse(arena, rule->succeeded_indexes, completions);
    int32_t common = index_set_common(&wanted, succeeded);
    return wanted.count &&
           (common == index_set_total(&wanted) || (rule->succeeded_count.set && common >= rule->succeeded_count.value));
}

bool job_success_met(struct arena *arena, const struct job_spec *spec, const struct index_set *succeeded,
                     const char **message)
{
    const struct success_policy_rule_array *rules = spec->success_policy ? &spec->success_policy->rules : NULL;
    for (size_t i = 0; rules && succeeded->count && i < rules->count; i++) {
        if (rule_holds(arena, &rules->items[i], spec->completions.value, succeeded)) {
            *message = arena_printf(arena, "Matched rules at index %zu", i);
            return true;
        }
    }
    return false;
}
