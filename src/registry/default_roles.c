/* The cluster roles and bindings that every cluster starts with, as upstream's bootstrap policy has them: who lists
 * them, or names one in a binding, finds what upstream has. The roles of upstream's own components are not among them:
 * here these are parts of one process. What is missing is made again at each start; what is there is left alone. */
#include <stdlib.h>
#include <string.h>

#include "api/service_account.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "registry/private.h"

#define READ "get list watch"
#define WRITE "create delete deletecollection patch update"
#define FULL "create delete deletecollection get list patch update watch"

#define AGGREGATE "rbac.authorization.k8s.io/aggregate-to-"

/* Lists are divided by blanks; "core" is the group without a name. */
static const struct rule_row {
    const char *role, *verbs, *groups, *resources;
} rule_rows[] = {
    {"cluster-admin", "*", "*", "*"},
    {"system:aggregate-to-admin", "create", "authorization.k8s.io", "localsubjectaccessreviews"},
    {"system:aggregate-to-admin", FULL, "rbac.authorization.k8s.io", "rolebindings roles"},
    {"system:aggregate-to-edit", READ, "core",
     "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"},
    {"system:aggregate-to-edit", "impersonate", "core", "serviceaccounts"},
    {"system:aggregate-to-edit", WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"},
    {"system:aggregate-to-edit", "create", "core", "pods/eviction"},
    {"system:aggregate-to-edit", WRITE, "core",
     "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
     "serviceaccounts services services/proxy"},
    {"system:aggregate-to-edit", "create", "core", "serviceaccounts/token"},
    {"system:aggregate-to-edit", WRITE, "apps",
     "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
     "statefulsets/scale"},
    {"system:aggregate-to-edit", WRITE, "autoscaling", "horizontalpodautoscalers"},
    {"system:aggregate-to-edit", WRITE, "batch", "cronjobs jobs"},
    {"system:aggregate-to-edit", WRITE, "extensions",
     "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
     "replicasets/scale replicationcontrollers/scale"},
    {"system:aggregate-to-edit", WRITE, "policy", "poddisruptionbudgets"},
    {"system:aggregate-to-edit", WRITE, "networking.k8s.io", "ingresses networkpolicies"},
    {"system:aggregate-to-edit", FULL, "coordination.k8s.io", "leases"},
    {"system:aggregate-to-view", READ, "core",
     "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
     "replicationcontrollers/scale serviceaccounts services services/status"},
    {"system:aggregate-to-view", READ, "core",
     "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas "
     "resourcequotas/status"},
    {"system:aggregate-to-view", READ, "core", "namespaces"},
    {"system:aggregate-to-view", READ, "discovery.k8s.io", "endpointslices"},
    {"system:aggregate-to-view", READ, "apps",
     "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
     "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status"},
    {"system:aggregate-to-view", READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"},
    {"system:aggregate-to-view", READ, "batch", "cronjobs cronjobs/status jobs jobs/status"},
    {"system:aggregate-to-view", READ, "extensions",
     "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status "
     "networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale"},
    {"system:aggregate-to-view", READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"},
    {"system:aggregate-to-view", READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"},
    {"system:auth-delegator", "create", "authentication.k8s.io", "tokenreviews"},
    {"system:auth-delegator", "create", "authorization.k8s.io", "subjectaccessreviews"},
    {"system:basic-user", "create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"},
    {"system:basic-user", "create", "authentication.k8s.io", "selfsubjectreviews"},
};

/* The same for paths that are no resources. */
static const struct path_row {
    const char *role, *verbs, *paths;
} path_rows[] = {
    {"cluster-admin", "*", "*"},
    {"system:discovery", "get",
     "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"},
    {"system:monitoring", "get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"},
    {"system:public-info-viewer", "get", "/healthz /livez /readyz /version /version/"},
    {"system:service-account-issuer-discovery", "get",
     "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"},
};

static const struct role_row {
    const char *name;
    const char *label;      /* set to "true"; NULL: none */
    const char *aggregates; /* the label of the roles that it is made of; NULL: it has rules of its own */
} role_rows[] = {
    {"cluster-admin", NULL, NULL},
    {"admin", NULL, AGGREGATE "admin"},
    {"edit", AGGREGATE "admin", AGGREGATE "edit"},
    {"view", AGGREGATE "edit", AGGREGATE "view"},
    {"system:aggregate-to-admin", AGGREGATE "admin", NULL},
    {"system:aggregate-to-edit", AGGREGATE "edit", NULL},
    {"system:aggregate-to-view", AGGREGATE "view", NULL},
    {"system:auth-delegator", NULL, NULL},
    {"system:basic-user", NULL, NULL},
    {"system:discovery", NULL, NULL},
    {"system:monitoring", NULL, NULL},
    {"system:public-info-viewer", NULL, NULL},
    {"system:service-account-issuer-discovery", NULL, NULL},
};

/* Each binding has the name of its role. */
static const struct binding_row {
    const char *name, *groups;
} binding_rows[] = {
    {"cluster-admin", "system:masters"},
    {"system:basic-user", "system:authenticated"},
    {"system:discovery", "system:authenticated"},
    {"system:monitoring", "system:monitoring"},
    {"system:public-info-viewer", "system:authenticated system:unauthenticated"},
    {"system:service-account-issuer-discovery", SERVICE_ACCOUNT_GROUP},
};

/* ---- From rows to objects ---- */

static struct string_array split(struct arena *arena, const char *text)
{
    struct string_array out = {0};
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, ' ');
        const char *word = arena_string_n(arena, text, (size_t)(end - text));
        out.items = arena_array_grow(arena, out.items, out.count, 1, sizeof(*out.items));
        out.items[out.count++] = strcmp(word, "core") == 0 ? "" : word;
    }
    return out;
}

static void set_metadata(struct arena *arena, struct object_meta *meta, const char *name)
{
    meta->name = name;
    string_map_set(arena, &meta->labels, "kubernetes.io/bootstrapping", "rbac-defaults");
    string_map_set(arena, &meta->annotations, "rbac.authorization.kubernetes.io/autoupdate", "true");
}

static void add_rules(struct arena *arena, const char *role, struct policy_rule_array *out)
{
    out->items = arena_alloc(arena, (ARRAY_COUNT(rule_rows) + ARRAY_COUNT(path_rows)) * sizeof(*out->items));
    for (size_t i = 0; i < ARRAY_COUNT(rule_rows); i++)
        if (strcmp(rule_rows[i].role, role) == 0)
            out->items[out->count++] = (struct policy_rule){.verbs = split(arena, rule_rows[i].verbs),
                                                            .api_groups = split(arena, rule_rows[i].groups),
                                                            .resources = split(arena, rule_rows[i].resources)};
    for (size_t i = 0; i < ARRAY_COUNT(path_rows); i++)
        if (strcmp(path_rows[i].role, role) == 0)
            out->items[out->count++] = (struct policy_rule){.verbs = split(arena, path_rows[i].verbs),
                                                            .non_resource_urls = split(arena, path_rows[i].paths)};
}

static struct aggregation_rule *make_aggregation(struct arena *arena, const char *label)
{
    struct aggregation_rule *rule = arena_alloc(arena, sizeof(*rule));
    struct label_selector *selector = arena_alloc(arena, sizeof(*selector));
    string_map_set(arena, &selector->match_labels, label, "true");
    rule->cluster_role_selectors = (struct label_selector_array){selector, 1};
    return rule;
}

static struct cluster_role *make_role(struct arena *arena, const struct role_row *row)
{
    struct cluster_role *role = arena_alloc(arena, sizeof(*role));
    set_metadata(arena, &role->metadata, row->name);
    if (row->label)
        string_map_set(arena, &role->metadata.labels, row->label, "true");
    if (row->aggregates)
        role->aggregation_rule = make_aggregation(arena, row->aggregates);
    else
        add_rules(arena, row->name, &role->rules);
    return role;
}

static struct cluster_role_binding *make_binding(struct arena *arena, const struct binding_row *row)
{
    struct cluster_role_binding *binding = arena_alloc(arena, sizeof(*binding));
    struct string_array groups = split(arena, row->groups);
    set_metadata(arena, &binding->metadata, row->name);
    binding->role_ref =
        (struct role_ref){.api_group = "rbac.authorization.k8s.io", .kind = "ClusterRole", .name = row->name};
    binding->subjects.items = arena_alloc(arena, groups.count * sizeof(*binding->subjects.items));
    for (size_t i = 0; i < groups.count; i++)
        binding->subjects.items[binding->subjects.count++] =
            (struct subject){.api_group = "rbac.authorization.k8s.io", .kind = "Group", .name = groups.items[i]};
    return binding;
}

/* ---- Making them ---- */

struct seeding {
    size_t pending;
    void (*done)(void *context);
    void *context;
};

static void settled(struct seeding *s)
{
    if (--s->pending)
        return;
    s->done(s->context);
    free(s);
}

static void created(void *context, const struct client_result *result)
{
    if (!client_ok(result) && result->code != 409)
        log_error("bootstrap: %s", result->status->message);
    settled(context);
}

void registry_make_default_roles(struct registry *registry, struct client *client, void (*done)(void *context),
                                 void *context)
{
    cleanup_arena struct arena *arena = arena_new(16 * 1024);
    const struct api_resource *roles = &api_resources[API_CLUSTERROLES];
    const struct api_resource *bindings = &api_resources[API_CLUSTERROLEBINDINGS];
    struct seeding *s = mem_zero(1, sizeof(*s));
    *s = (struct seeding){.pending = 1, .done = done, .context = context};
    /* All at once: one transaction takes them to the disk. */
    for (size_t i = 0; i < ARRAY_COUNT(role_rows); i++)
        if (!store_get(registry->store, roles, NULL, role_rows[i].name)) {
            s->pending++;
            client_create(client, roles, NULL, NULL, make_role(arena, &role_rows[i]), created, s);
        }
    for (size_t i = 0; i < ARRAY_COUNT(binding_rows); i++)
        if (!store_get(registry->store, bindings, NULL, binding_rows[i].name)) {
            s->pending++;
            client_create(client, bindings, NULL, NULL, make_binding(arena, &binding_rows[i]), created, s);
        }
    settled(s);
}
