/* Rules for roles and bindings. */
#include "api/validate_parts.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static void validate_rules(struct api_field_errors *errors, const struct policy_rule_array *rules, bool namespaced)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct policy_rule *rule = &rules->items[i];
        const struct api_path *at = PATH_INDEX(PATH(NULL, "rules"), i);
        bool paths = rule->non_resource_urls.count > 0;
        if (!rule->verbs.count)
            field_required(errors, PATH(at, "verbs"), "verbs must contain at least one value");
        if (paths && namespaced)
            field_invalid_strings(errors, PATH(at, "nonResourceURLs"), &rule->non_resource_urls,
                                  "namespaced rules cannot apply to non-resource URLs");
        if (paths && (rule->api_groups.count || rule->resources.count || rule->resource_names.count))
            field_invalid_strings(errors, PATH(at, "nonResourceURLs"), &rule->non_resource_urls,
                                  "rules cannot apply to both regular resources and non-resource URLs");
        if (!paths && !rule->api_groups.count)
            field_required(errors, PATH(at, "apiGroups"), "resource rules must supply at least one api group");
        if (!paths && !rule->resources.count)
            field_required(errors, PATH(at, "resources"), "resource rules must supply at least one resource");
    }
}

void validate_role(struct api_field_errors *errors, const void *value)
{
    validate_rules(errors, &((const struct role *)value)->rules, true);
}

void validate_cluster_role(struct api_field_errors *errors, const void *value)
{
    validate_rules(errors, &((const struct cluster_role *)value)->rules, false);
}

static void validate_subject(struct api_field_errors *errors, const struct api_path *path, const struct subject *s,
                             bool namespaced)
{
    static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
    static const char *const rbac[] = {RBAC_GROUP, NULL}, *const core[] = {"", NULL};
    bool account = text_equal(s->kind, "ServiceAccount");
    if (text_empty(s->name))
        field_required(errors, PATH(path, "name"), NULL);
    if (!validate_is_one_of(s->kind ? s->kind : "", kinds)) {
        field_not_supported(errors, PATH(path, "kind"), s->kind ? s->kind : "", kinds);
        return;
    }
    if (account && !text_empty(s->api_group))
        field_not_supported(errors, PATH(path, "apiGroup"), s->api_group, core);
    if (!account && !text_empty(s->api_group) && !text_equal(s->api_group, RBAC_GROUP))
        field_not_supported(errors, PATH(path, "apiGroup"), s->api_group, rbac);
    if (account && !namespaced && text_empty(s->namespace))
        field_required(errors, PATH(path, "namespace"), NULL);
}

static void validate_binding(struct api_field_errors *errors, const struct role_ref *ref,
                             const struct subject_array *subjects, bool namespaced)
{
    static const char *const groups[] = {RBAC_GROUP, NULL};
    static const char *const any[] = {"Role", "ClusterRole", NULL}, *const cluster[] = {"ClusterRole", NULL};
    const char *const *kinds = namespaced ? any : cluster;
    const struct api_path *at = PATH(NULL, "roleRef");
    if (!text_equal(ref->api_group, RBAC_GROUP))
        field_not_supported(errors, PATH(at, "apiGroup"), ref->api_group ? ref->api_group : "", groups);
    if (!validate_is_one_of(ref->kind ? ref->kind : "", kinds))
        field_not_supported(errors, PATH(at, "kind"), ref->kind ? ref->kind : "", kinds);
    if (text_empty(ref->name))
        field_required(errors, PATH(at, "name"), NULL);
    for (size_t i = 0; i < subjects->count; i++)
        validate_subject(errors, PATH_INDEX(PATH(NULL, "subjects"), i), &subjects->items[i], namespaced);
}

void validate_role_binding(struct api_field_errors *errors, const void *value)
{
    const struct role_binding *b = value;
    validate_binding(errors, &b->role_ref, &b->subjects, true);
}

void validate_cluster_role_binding(struct api_field_errors *errors, const void *value)
{
    const struct cluster_role_binding *b = value;
    validate_binding(errors, &b->role_ref, &b->subjects, false);
}

static void validate_same_role(struct api_field_errors *errors, const struct role_ref *now, const struct role_ref *old)
{
    if (!text_equal(now->kind, old->kind) || !text_equal(now->name, old->name) ||
        !text_equal(now->api_group, old->api_group))
        field_invalid_struct(errors, PATH(NULL, "roleRef"), &api_type_role_ref, now, "cannot change roleRef");
}

void validate_role_binding_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_same_role(errors, &((const struct role_binding *)value)->role_ref,
                       &((const struct role_binding *)old)->role_ref);
}

void validate_cluster_role_binding_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_same_role(errors, &((const struct cluster_role_binding *)value)->role_ref,
                       &((const struct cluster_role_binding *)old)->role_ref);
}
