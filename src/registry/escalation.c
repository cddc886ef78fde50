/* Nobody gives away more than he has: who writes a role, or binds one, has to hold every right in it himself, in the
 * same place, as upstream's storage of roles has it. Who may `escalate` the role or `bind` it is exempt, and so are the
 * masters and the parts of this process.
 *
 * A rule is compared right by right: one verb on one resource of one group, of one name if it has names. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"
#include "registry/private.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* Rights of one role that are compared one by one: a rule that lists more than any real one is refused instead of
 * keeping everybody waiting. What one rule of the user covers as a whole is not counted. */
#define RIGHTS_MAX 16384

struct comparison {
    struct task *task;
    VECTOR(const struct policy_rule *) held;
    struct map missing; /* what lacks of a resource or path, by its description without verbs: struct buffer of verbs */
    size_t rights;
    const char *error; /* of roles that could not be found */
};

static bool note_held(void *context, const struct policy_rule *rule, const char *binding, bool cluster_wide)
{
    struct comparison *c = context;
    vector_push(&c->held, rule);
    return true;
}

static bool holds(const struct comparison *c, const struct access_request *right)
{
    for (size_t i = 0; i < c->held.count; i++)
        if (access_rule_allows(c->held.items[i], right))
            return true;
    return false;
}

static void quote(struct buffer *out, const struct string_array *list)
{
    buffer_add_char(out, '[');
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(out, "%s\"%s\"", i ? " " : "", list->items[i]);
    buffer_add_char(out, ']');
}

/* As Go prints what upstream's CompactString makes of a rule. */
static char *describe(const struct access_request *right, const char *resource)
{
    if (right->path)
        return mem_printf("{NonResourceURLs:[\"%s\"], Verbs:[", right->path);
    const char *group = text_or_empty(right->group);
    resource = text_or_empty(resource);
    return right->name ? mem_printf("{APIGroups:[\"%s\"], Resources:[\"%s\"], ResourceNames:[\"%s\"], Verbs:[", group,
                                    resource, right->name)
                       : mem_printf("{APIGroups:[\"%s\"], Resources:[\"%s\"], Verbs:[", group, resource);
}

static void compare_verbs(struct comparison *c, const struct policy_rule *rule, struct access_request *right,
                          const char *resource)
{
    for (size_t i = 0; i < rule->verbs.count && c->rights <= RIGHTS_MAX; i++) {
        right->verb = rule->verbs.items[i];
        c->rights++;
        if (holds(c, right))
            continue;
        cleanup_free char *key = describe(right, resource);
        struct buffer *verbs = map_get(&c->missing, key);
        if (!verbs)
            map_set(&c->missing, key, verbs = mem_zero(1, sizeof(*verbs)));
        buffer_printf(verbs, "%s\"%s\"", verbs->size ? " " : "", right->verb);
    }
}

static void compare_resource(struct comparison *c, const struct policy_rule *rule, const char *group,
                             const char *resource)
{
    const char *slash = strchrnul(resource, '/');
    struct access_request right = {.group = group,
                                   .resource = arena_string_n(c->task->arena, resource, (size_t)(slash - resource)),
                                   .subresource = *slash ? slash + 1 : NULL};
    for (size_t i = 0; i < rule->resource_names.count; i++) {
        right.name = rule->resource_names.items[i];
        compare_verbs(c, rule, &right, resource);
    }
    if (!rule->resource_names.count)
        compare_verbs(c, rule, &right, resource);
}

static bool all_in(const struct string_array *some, const struct string_array *all)
{
    for (size_t i = 0; i < some->count; i++) {
        bool found = false;
        for (size_t k = 0; k < all->count && !found; k++)
            found = strcmp(all->items[k], "*") == 0 || strcmp(all->items[k], some->items[i]) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* Whether one rule of the user has all of it; only a shortcut. */
static bool holds_whole(const struct comparison *c, const struct policy_rule *rule)
{
    for (size_t i = 0; i < c->held.count; i++) {
        const struct policy_rule *held = c->held.items[i];
        if (!held->resource_names.count && all_in(&rule->verbs, &held->verbs) &&
            all_in(&rule->api_groups, &held->api_groups) && all_in(&rule->resources, &held->resources) &&
            all_in(&rule->non_resource_urls, &held->non_resource_urls))
            return true;
    }
    return false;
}

static void compare(struct comparison *c, const struct policy_rule_array *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct policy_rule *rule = &rules->items[i];
        if (holds_whole(c, rule))
            continue;
        for (size_t k = 0; k < rule->non_resource_urls.count && c->rights <= RIGHTS_MAX; k++) {
            struct access_request right = {.path = rule->non_resource_urls.items[k]};
            compare_verbs(c, rule, &right, NULL);
        }
        for (size_t g = 0; g < rule->api_groups.count; g++)
            for (size_t k = 0; k < rule->resources.count && c->rights <= RIGHTS_MAX; k++)
                compare_resource(c, rule, rule->api_groups.items[g], rule->resources.items[k]);
    }
}

static void comparison_begin(struct comparison *c, struct task *task, const char *namespace)
{
    *c = (struct comparison){.task = task};
    registry_visit_rules(task->registry, task->arena, task->request->user, namespace, note_held, c, &c->error);
}

static void comparison_end(struct comparison *c)
{
    for (struct map_slot *s = NULL; (s = map_next(&c->missing, s));) {
        buffer_free(s->value);
        free(s->value);
    }
    map_free(&c->missing);
    vector_free(&c->held);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is not held, one line each, in the order of upstream. */
static void list_missing(const struct comparison *c, struct buffer *out)
{
    const char **lines = arena_alloc(c->task->arena, c->missing.count * sizeof(*lines));
    size_t count = 0;
    for (struct map_slot *s = NULL; (s = map_next(&c->missing, s));)
        lines[count++] =
            arena_printf(c->task->arena, "%s%s]}", (const char *)s->key, ((const struct buffer *)s->value)->data);
    if (count)
        qsort(lines, count, sizeof(*lines), by_text);
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "\n%s", lines[i]);
    if (c->rights > RIGHTS_MAX)
        buffer_printf(out, "\nand what comes after the first %d rights", RIGHTS_MAX);
    if (c->error)
        buffer_printf(out, "; resolution errors: [%s]", c->error);
}

/* NULL, or the refusal: the user lacks some of these rights. */
static struct status *confirm(struct task *task, const char *name, const char *namespace,
                              const struct policy_rule_array *rules)
{
    const struct client_user *user = task->request->user;
    struct string_array groups = {(const char **)user->groups, 0};
    struct status *refused = NULL;
    struct comparison c;
    comparison_begin(&c, task, namespace);
    compare(&c, rules);
    if (c.missing.count || c.rights > RIGHTS_MAX) {
        cleanup_buffer struct buffer text = {0};
        while (user->groups && user->groups[groups.count])
            groups.count++;
        buffer_printf(&text, "user \"%s\" (groups=", user->name);
        quote(&text, &groups);
        buffer_printf(&text, ") is attempting to grant RBAC permissions not currently held:");
        list_missing(&c, &text);
        refused = api_status_forbidden(task->arena, task->resource, name, text.data);
    }
    comparison_end(&c);
    return refused;
}

/* ---- Roles ---- */

static bool may(struct task *task, const char *verb, const char *resource, const char *namespace, const char *name)
{
    struct access_decision decision;
    const struct access_request access = {.user = task->request->user,
                                          .verb = verb,
                                          .group = RBAC_GROUP,
                                          .version = "v1",
                                          .resource = resource,
                                          .namespace = namespace,
                                          .name = name};
    registry_authorize(task->registry, task->arena, &access, &decision);
    return decision.allowed;
}

static bool same_rules(const struct policy_rule_array *a, const struct policy_rule_array *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++)
        same = api_equal(&api_type_policy_rule, &a->items[i], &b->items[i]);
    return same;
}

static struct status *admit_role(struct task *task, const struct role *role, const struct role *old)
{
    const struct object_meta *meta = &role->metadata;
    if ((old && same_rules(&role->rules, &old->rules)) || may(task, "escalate", "roles", meta->namespace, meta->name))
        return NULL;
    return confirm(task, meta->name, meta->namespace, &role->rules);
}

static bool aggregates(const struct cluster_role *role)
{
    return role && role->aggregation_rule && role->aggregation_rule->cluster_role_selectors.count;
}

static bool same_aggregation(const struct cluster_role *a, const struct cluster_role *b)
{
    if (!a->aggregation_rule || !b->aggregation_rule)
        return a->aggregation_rule == b->aggregation_rule;
    return api_equal(&api_type_aggregation_rule, a->aggregation_rule, b->aggregation_rule);
}

static struct status *admit_cluster_role(struct task *task, const struct cluster_role *role,
                                         const struct cluster_role *old)
{
    static const char *all[] = {"*"};
    struct policy_rule everything[] = {{.verbs = {all, 1}, .api_groups = {all, 1}, .resources = {all, 1}},
                                       {.verbs = {all, 1}, .non_resource_urls = {all, 1}}};
    const char *name = role->metadata.name;
    if ((old && same_rules(&role->rules, &old->rules) && same_aggregation(role, old)) ||
        may(task, "escalate", "clusterroles", NULL, name))
        return NULL;
    struct status *refused = confirm(task, name, NULL, &role->rules);
    /* It can gather anything. */
    if (!refused && (aggregates(role) || aggregates(old)) &&
        confirm(task, name, NULL, &(struct policy_rule_array){everything, ARRAY_COUNT(everything)}))
        refused = api_status_forbidden(task->arena, task->resource, name,
                                       "must have cluster-admin privileges to use the aggregationRule");
    return refused;
}

/* ---- Bindings ---- */

static bool same_subjects(const struct subject_array *a, const struct subject_array *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++)
        same = api_equal(&api_type_subject, &a->items[i], &b->items[i]);
    return same;
}

static struct status *admit_binding(struct task *task, const char *name, const char *namespace,
                                    const struct role_ref *ref)
{
    bool cluster = text_equal(ref->kind, "ClusterRole");
    const struct api_resource *resource = &api_resources[cluster ? API_CLUSTERROLES : API_ROLES];
    if (may(task, "bind", resource->plural, namespace, ref->name))
        return NULL;
    const struct object *role = store_get(task->registry->store, resource, cluster ? NULL : namespace, ref->name);
    if (!role)
        return api_status_not_found(task->arena, resource, ref->name);
    return confirm(task, name, namespace,
                   cluster ? &((const struct cluster_role *)role->value)->rules
                           : &((const struct role *)role->value)->rules);
}

struct status *escalation_admit(struct task *task, const void *value, const void *old)
{
    const struct client_user *user = task->request->user;
    if (!user || task->request->trusted || access_is_master(user))
        return NULL;
    const struct role_binding *binding = value, *old_binding = old;
    const struct cluster_role_binding *cluster_binding = value, *old_cluster_binding = old;
    switch (task->resource->index) {
    case API_ROLES:
        return admit_role(task, value, old);
    case API_CLUSTERROLES:
        return admit_cluster_role(task, value, old);
    case API_ROLEBINDINGS:
        return old && same_subjects(&binding->subjects, &old_binding->subjects)
                   ? NULL
                   : admit_binding(task, binding->metadata.name, binding->metadata.namespace, &binding->role_ref);
    case API_CLUSTERROLEBINDINGS:
        return old && same_subjects(&cluster_binding->subjects, &old_cluster_binding->subjects)
                   ? NULL
                   : admit_binding(task, cluster_binding->metadata.name, NULL, &cluster_binding->role_ref);
    default:
        return NULL;
    }
}
