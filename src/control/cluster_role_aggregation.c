/* The aggregation of cluster roles: one with an aggregationRule has the rules of all others that the rule selects, in
 * the order of their names and each once, and nothing else. As upstream's controller; a chain of roles (view, edit,
 * admin) settles step by step, since each change is seen like any other. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/selector.h"
#include "control/controller.h"

static struct informer *roles_of(struct controller *c)
{
    return c->state;
}

static bool enqueue_aggregated(void *context, struct object *object)
{
    if (((const struct cluster_role *)object->value)->aggregation_rule)
        controller_enqueue(context, object->meta);
    return true;
}

static void changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)change, (void)object, (void)old;
    informer_each(roles_of(context), NULL, enqueue_aggregated, context);
}

static void start(struct controller *c)
{
    c->state = informer_set_get(c->informers, &api_resources[API_CLUSTERROLES]);
    informer_add_handler(roles_of(c), changed, c);
}

struct search {
    struct arena *arena;
    const struct cluster_role *of;
    const struct cluster_role **found;
    size_t count;
};

static bool select_role(void *context, struct object *object)
{
    struct search *s = context;
    const struct label_selector_array *selectors = &s->of->aggregation_rule->cluster_role_selectors;
    bool selected = false;
    for (size_t i = 0; i < selectors->count; i++)
        selected |= label_selector_matches(&selectors->items[i], &object->meta->labels);
    if (!selected || strcmp(object->meta->name, s->of->metadata.name) == 0)
        return true;
    s->found = arena_array_grow(s->arena, s->found, s->count, 1, sizeof(*s->found));
    s->found[s->count++] = object->value;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct cluster_role *const *x = a, *const *y = b;
    return strcmp((*x)->metadata.name, (*y)->metadata.name);
}

static bool rules_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    return api_equal(&api_type_policy_rule, a, b);
}

static void add(struct arena *arena, struct policy_rule_array *rules, const struct policy_rule *rule)
{
    for (size_t i = 0; i < rules->count; i++)
        if (rules_equal(&rules->items[i], rule))
            return;
    rules->items = arena_array_grow(arena, rules->items, rules->count, 1, sizeof(*rules->items));
    rules->items[rules->count++] = *rule;
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct object *object = informer_get(roles_of(c), NULL, work_name(work));
    const struct cluster_role *role = object ? object->value : NULL;
    if (!role || !role->aggregation_rule || object->meta->deletion_timestamp)
        return;
    struct search search = {.arena = work_arena(work), .of = role};
    struct policy_rule_array rules = {0};
    informer_each(roles_of(c), NULL, select_role, &search);
    if (search.count)
        qsort(search.found, search.count, sizeof(*search.found), by_name);
    for (size_t i = 0; i < search.count; i++)
        for (size_t k = 0; k < search.found[i]->rules.count; k++)
            add(work_arena(work), &rules, &search.found[i]->rules.items[k]);
    bool same = rules.count == role->rules.count;
    for (size_t i = 0; i < rules.count && same; i++)
        same = rules_equal(&rules.items[i], &role->rules.items[i]);
    if (same)
        return;
    struct cluster_role fresh = *role;
    fresh.rules = rules;
    work_update(work, object->resource, NULL, &fresh, NULL, NULL);
}

const struct controller_kind cluster_role_aggregation = {
    .name = "clusterrole-aggregation-controller", .start = start, .reconcile = reconcile};
