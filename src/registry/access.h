/* Authorization: whether a user may do something. Role-based, as upstream's RBAC authorizer: what is allowed is the sum
 * of the rules of all roles that bindings give to the user or to one of its groups; nothing forbids. The group
 * system:masters may do everything. */
#ifndef CORACLE_REGISTRY_ACCESS_H
#define CORACLE_REGISTRY_ACCESS_H

#include <stdbool.h>

#include "api/status.h"
#include "client/client.h"

/* Who wants to do what: to a resource, or, with `path` set, to a path that is none. */
struct access_request {
    const struct client_user *user;
    const char *verb; /* "get", "list", "deletecollection"; of a path: the method in lower case */
    const char *group, *version, *resource, *subresource;
    const char *namespace; /* "" or NULL: all namespaces, or the cluster */
    const char *name;      /* "" or NULL: all */
    const char *path;
};

struct access_decision {
    bool allowed;
    const char *reason; /* by which binding; NULL when it is not allowed */
    const char *error;  /* a role that is bound and not there; NULL: none */
};

struct registry;
struct policy_rule;

/* Whether the rule allows it, to whomever has the rule. */
bool access_rule_allows(const struct policy_rule *rule, const struct access_request *request);
/* Texts of the decision live in the arena. */
void registry_authorize(const struct registry *registry, struct arena *arena, const struct access_request *request,
                        struct access_decision *out);
/* 403 in upstream's words: `pods "x" is forbidden: User "u" cannot get resource "pods" in API group "" ...`. */
struct status *registry_access_refused(struct arena *arena, const struct access_request *request,
                                       const struct access_decision *decision);
/* Whether the user is in the group that may do everything. */
bool access_is_master(const struct client_user *user);

/* Visits every rule that holds for the user in the namespace (and in the whole cluster). `binding` names what gives it. The
 * visitor returns false to stop. */
typedef bool (*access_visit)(void *context, const struct policy_rule *rule, const char *binding, bool cluster_wide);
/* Errors go into *error (may be NULL), in the arena. */
void registry_visit_rules(const struct registry *registry, struct arena *arena, const struct client_user *user,
                          const char *namespace, access_visit visit, void *context, const char **error);

#endif
