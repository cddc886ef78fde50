/* The evaluation of roles and bindings, as upstream's RBAC authorizer has it. */
#include <string.h>

#include "api/service_account.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "registry/private.h"

#define ALL "*"
#define MASTERS "system:masters"

static bool has(const struct string_array *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

static bool has_or_all(const struct string_array *list, const char *text)
{
    return has(list, ALL) || has(list, text ? text : "");
}

static bool in_group(const struct client_user *user, const char *group)
{
    for (size_t i = 0; user->groups && user->groups[i]; i++)
        if (strcmp(user->groups[i], group) == 0)
            return true;
    return false;
}

bool access_is_master(const struct client_user *user)
{
    return in_group(user, MASTERS);
}

/* ---- Rules ---- */

/* "pods", "pods/log", "* /log" without the blank, or "*". */
static bool resource_fits(const struct policy_rule *rule, const char *resource, const char *subresource)
{
    const struct string_array *list = &rule->resources;
    bool sub = !text_empty(subresource);
    size_t n = strlen(resource);
    for (size_t i = 0; i < list->count; i++) {
        const char *item = list->items[i], *slash = strchr(item, '/');
        if (strcmp(item, ALL) == 0 || (!sub && strcmp(item, resource) == 0))
            return true;
        if (sub && slash && strcmp(slash + 1, subresource) == 0 &&
            ((slash == item + 1 && *item == '*') || ((size_t)(slash - item) == n && strncmp(item, resource, n) == 0)))
            return true;
    }
    return false;
}

static bool path_fits(const struct policy_rule *rule, const char *path)
{
    for (size_t i = 0; i < rule->non_resource_urls.count; i++) {
        const char *url = rule->non_resource_urls.items[i];
        size_t n = strlen(url);
        if (strcmp(url, path) == 0 || (n && url[n - 1] == '*' && strncmp(url, path, n - 1) == 0))
            return true;
    }
    return false;
}

bool access_rule_allows(const struct policy_rule *rule, const struct access_request *r)
{
    if (!has_or_all(&rule->verbs, r->verb))
        return false;
    if (r->path)
        return path_fits(rule, r->path);
    return has_or_all(&rule->api_groups, r->group) && resource_fits(rule, r->resource, r->subresource) &&
           (!rule->resource_names.count || has(&rule->resource_names, r->name ? r->name : ""));
}

/* ---- Bindings ---- */

struct visiting {
    const struct registry *registry;
    struct arena *arena;
    const struct client_user *user;
    access_visit visit;
    void *context;
    const char *error;
    bool stopped;
};

static bool subject_fits(const struct subject *subject, const struct client_user *user, const char *namespace)
{
    if (text_equal(subject->kind, "User"))
        return text_equal(subject->name, user->name);
    if (text_equal(subject->kind, "Group"))
        return in_group(user, subject->name ? subject->name : "");
    if (!text_equal(subject->kind, "ServiceAccount") || text_empty(subject->name))
        return false;
    const char *place = text_empty(subject->namespace) ? namespace : subject->namespace;
    return place && service_account_is(user->name, place, subject->name);
}

static const struct policy_rule_array *rules_of(struct visiting *v, const struct role_ref *ref, const char *namespace)
{
    const struct store *store = v->registry->store;
    bool cluster = text_equal(ref->kind, "ClusterRole");
    struct object *role =
        store_get(store, &api_resources[cluster ? API_CLUSTERROLES : API_ROLES], cluster ? NULL : namespace, ref->name);
    if (!role) {
        v->error = arena_printf(v->arena, "%s%s%s.rbac.authorization.k8s.io \"%s\" not found", v->error ? v->error : "",
                                v->error ? ", " : "", cluster ? "clusterrole" : "role", ref->name);
        return NULL;
    }
    return cluster ? &((const struct cluster_role *)role->value)->rules : &((const struct role *)role->value)->rules;
}

static void visit_binding(struct visiting *v, const struct object *binding, const struct subject_array *subjects,
                          const struct role_ref *ref)
{
    const char *namespace = binding->resource->namespaced ? binding->meta->namespace : NULL;
    const struct subject *subject = NULL;
    for (size_t i = 0; i < subjects->count && !subject; i++)
        if (subject_fits(&subjects->items[i], v->user, namespace))
            subject = &subjects->items[i];
    const struct policy_rule_array *rules = subject ? rules_of(v, ref, namespace) : NULL;
    if (!rules)
        return;
    const char *name = arena_printf(v->arena, "%s \"%s%s%s\" of %s \"%s\" to %s \"%s%s%s\"", binding->resource->kind,
                                    binding->meta->name, namespace ? "/" : "", text_or_empty(namespace), ref->kind,
                                    ref->name, subject->kind, subject->name, text_empty(subject->namespace) ? "" : "/",
                                    text_or_empty(subject->namespace));
    for (size_t i = 0; i < rules->count && !v->stopped; i++)
        v->stopped = !v->visit(v->context, &rules->items[i], name, !namespace);
}

static bool visit_cluster_binding(void *context, struct object *object)
{
    const struct cluster_role_binding *b = object->value;
    struct visiting *v = context;
    visit_binding(v, object, &b->subjects, &b->role_ref);
    return !v->stopped;
}

static bool visit_role_binding(void *context, struct object *object)
{
    const struct role_binding *b = object->value;
    struct visiting *v = context;
    visit_binding(v, object, &b->subjects, &b->role_ref);
    return !v->stopped;
}

void registry_visit_rules(const struct registry *registry, struct arena *arena, const struct client_user *user,
                          const char *namespace, access_visit visit, void *context, const char **error)
{
    struct visiting v = {.registry = registry, .arena = arena, .user = user, .visit = visit, .context = context};
    if (error)
        *error = NULL;
    store_list(registry->store, &api_resources[API_CLUSTERROLEBINDINGS], NULL, NULL, NULL, visit_cluster_binding, &v);
    if (!v.stopped && !text_empty(namespace))
        store_list(registry->store, &api_resources[API_ROLEBINDINGS], namespace, NULL, NULL, visit_role_binding, &v);
    if (error)
        *error = v.error;
}

/* ---- Decisions ---- */

struct deciding {
    struct arena *arena;
    const struct access_request *request;
    struct access_decision *decision;
};

static bool try_rule(void *context, const struct policy_rule *rule, const char *binding, bool cluster_wide)
{
    struct deciding *d = context;
    /* Paths are the whole cluster's. */
    if ((d->request->path && !cluster_wide) || !access_rule_allows(rule, d->request))
        return true;
    d->decision->allowed = true;
    d->decision->reason = arena_printf(d->arena, "RBAC: allowed by %s", binding);
    return false;
}

void registry_authorize(const struct registry *registry, struct arena *arena, const struct access_request *request,
                        struct access_decision *out)
{
    struct deciding d = {arena, request, out};
    *out = (struct access_decision){0};
    if (access_is_master(request->user))
        out->allowed = true;
    else
        registry_visit_rules(registry, arena, request->user, request->namespace, try_rule, &d, &out->error);
}

struct status *registry_access_refused(struct arena *arena, const struct access_request *r,
                                       const struct access_decision *decision)
{
    const char *error = decision->error ? arena_printf(arena, ": RBAC: %s", decision->error) : "";
    if (r->path)
        return api_status(arena, 403, "Forbidden", "forbidden: User \"%s\" cannot %s path \"%s\"%s", r->user->name,
                          r->verb, r->path, error);
    const char *slash = text_empty(r->subresource) ? "" : "/", *sub = r->subresource ? r->subresource : "";
    const char *group = r->group ? r->group : "";
    const struct api_resource what = {.group = group, .plural = r->resource};
    const char *where = text_empty(r->namespace) ? "at the cluster scope"
                                                 : arena_printf(arena, "in the namespace \"%s\"", r->namespace);
    return api_status_forbidden(arena, &what, r->name,
                                arena_printf(arena,
                                             "User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" %s%s",
                                             r->user->name, r->verb, r->resource, slash, sub, group, where, error));
}
