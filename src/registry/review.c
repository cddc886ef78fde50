/* Questions that are answered at once and never stored: whose token is this, who am I, may he, may I, what may I. */
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/vector.h"
#include "registry/private.h"

/* ---- Who ---- */

static struct user_info user_info(struct arena *arena, const struct client_user *user)
{
    struct user_info info = {.username = user->name, .uid = user->uid, .extra = user->extra};
    size_t count = 0;
    while (user->groups && user->groups[count])
        count++;
    info.groups.items = arena_alloc(arena, (count + 1) * sizeof(*info.groups.items));
    for (info.groups.count = 0; info.groups.count < count; info.groups.count++)
        info.groups.items[info.groups.count] = user->groups[info.groups.count];
    return info;
}

static struct status *self_subject(struct task *task, void *value)
{
    struct self_subject_review *review = value;
    review->status.user_info = user_info(task->arena, task->request->user);
    return NULL;
}

static struct status *token(struct task *task, void *value)
{
    static const char *own[] = {TOKEN_ISSUER};
    struct token_review *review = value;
    const struct registry *registry = task->registry;
    struct string_array *audiences = &review->spec.audiences;
    struct token_claims claims;
    struct error err = {0};
    if (text_empty(review->spec.token))
        return api_status_bad_request(task->arena, "token is required for TokenReview in authentication");
    if (!audiences->count)
        *audiences = (struct string_array){own, ARRAY_COUNT(own)};
    review->status = (struct token_review_status){0};
    const struct client_user *user = NULL;
    if (!registry->issuer)
        error_set(&err, 0, "there is no issuer of tokens");
    else if (token_read(registry->issuer, task->arena, review->spec.token, env_now(registry->env), &claims, &err) ==
                 0 &&
             token_is_for(&claims, audiences, &err))
        user = registry_token_user(registry, task->arena, &claims, review->spec.token, &err);
    if (!user) {
        review->status.error = strcmp(err.text, "invalid bearer token") == 0
                                   ? "invalid bearer token"
                                   : arena_printf(task->arena, "[invalid bearer token, %s]", err.text);
        return NULL;
    }
    struct string_array *shared = &review->status.audiences;
    shared->items = arena_alloc(task->arena, audiences->count * sizeof(*shared->items));
    for (size_t i = 0; i < audiences->count; i++) {
        const struct string_array one = {&audiences->items[i], 1};
        if (token_is_for(&claims, &one, NULL))
            shared->items[shared->count++] = audiences->items[i];
    }
    review->status.authenticated = true;
    review->status.user = user_info(task->arena, user);
    return NULL;
}

/* ---- May ---- */

/* Both kinds of attributes are there, or (path NULL) neither is. */
static struct status *not_one_question(struct task *task, const struct non_resource_attributes *path)
{
    struct api_field_errors errors = {.arena = task->arena};
    const struct api_path *spec = PATH(NULL, "spec");
    if (path)
        field_invalid_struct(&errors, PATH(spec, "nonResourceAttributes"), &api_type_non_resource_attributes, path,
                             "cannot be specified in combination with resourceAttributes");
    else
        field_invalid_struct(&errors, PATH(spec, "resourceAttributes"), &api_type_resource_attributes,
                             &(struct resource_attributes){0},
                             "exactly one of nonResourceAttributes or resourceAttributes must be specified");
    return api_status_invalid(task->arena, task->resource, NULL, &errors);
}

/* NULL, or what is wrong with the question. */
static struct status *decide(struct task *task, const struct client_user *user,
                             const struct resource_attributes *resource, const struct non_resource_attributes *path,
                             struct subject_access_review_status *out)
{
    struct access_request access = {.user = user};
    struct access_decision decision;
    if (!resource == !path)
        return not_one_question(task, path);
    if (resource) {
        access.verb = resource->verb ? resource->verb : "";
        access.group = resource->group;
        access.version = resource->version;
        access.resource = resource->resource ? resource->resource : "";
        access.subresource = resource->subresource;
        access.namespace = resource->namespace;
        access.name = resource->name;
    } else {
        access.verb = path->verb ? path->verb : "";
        access.path = path->path ? path->path : "";
    }
    registry_authorize(task->registry, task->arena, &access, &decision);
    *out = (struct subject_access_review_status){
        .allowed = decision.allowed,
        .reason = decision.reason,
        .evaluation_error = decision.error ? arena_printf(task->arena, "RBAC: %s", decision.error) : NULL};
    return NULL;
}

static struct status *self_access(struct task *task, void *value)
{
    struct self_subject_access_review *review = value;
    return decide(task, task->request->user, review->spec.resource_attributes, review->spec.non_resource_attributes,
                  &review->status);
}

static struct status *access_of(struct task *task, const struct subject_access_review_spec *spec,
                                struct subject_access_review_status *out)
{
    if (text_empty(spec->user) && !spec->groups.count) {
        struct api_field_errors errors = {.arena = task->arena};
        field_invalid(&errors, PATH(PATH(NULL, "spec"), "user"), "", "at least one of user or group must be specified");
        return api_status_invalid(task->arena, task->resource, NULL, &errors);
    }
    const char **groups = arena_array_grow(task->arena, spec->groups.items, spec->groups.count, 1, sizeof(*groups));
    struct client_user user = {.name = spec->user ? spec->user : "", .uid = spec->uid, .groups = groups};
    return decide(task, &user, spec->resource_attributes, spec->non_resource_attributes, out);
}

static struct status *subject_access(struct task *task, void *value)
{
    struct subject_access_review *review = value;
    return access_of(task, &review->spec, &review->status);
}

static struct status *local_access(struct task *task, void *value)
{
    struct local_subject_access_review *review = value;
    const struct resource_attributes *resource = review->spec.resource_attributes;
    if (resource && !text_equal(resource->namespace, task->request->namespace)) {
        struct api_field_errors errors = {.arena = task->arena};
        field_invalid(&errors, PATH(PATH(PATH(NULL, "spec"), "resourceAttributes"), "namespace"), resource->namespace,
                      "must match metadata.namespace");
        return api_status_invalid(task->arena, task->resource, NULL, &errors);
    }
    return access_of(task, &review->spec, &review->status);
}

/* ---- What ---- */

struct gathering {
    struct arena *arena;
    VECTOR(struct resource_rule) resources;
    VECTOR(struct non_resource_rule) paths;
};

static bool gather(void *context, const struct policy_rule *rule, const char *binding, bool cluster_wide)
{
    struct gathering *g = context;
    (void)binding;
    if (rule->resources.count)
        vector_push(&g->resources, (struct resource_rule){.verbs = rule->verbs,
                                                          .api_groups = rule->api_groups,
                                                          .resources = rule->resources,
                                                          .resource_names = rule->resource_names});
    if (rule->non_resource_urls.count && cluster_wide)
        vector_push(&g->paths,
                    (struct non_resource_rule){.verbs = rule->verbs, .non_resource_urls = rule->non_resource_urls});
    return true;
}

static struct status *self_rules(struct task *task, void *value)
{
    static const char *all[] = {"*"};
    struct self_subject_rules_review *review = value;
    struct subject_rules_review_status *out = &review->status;
    struct gathering g = {.arena = task->arena};
    *out = (struct subject_rules_review_status){0};
    if (text_empty(review->spec.namespace))
        return api_status_bad_request(task->arena, "no namespace on request");
    const struct string_array everything = {all, 1};
    if (access_is_master(task->request->user))
        gather(&g,
               &(struct policy_rule){.verbs = everything,
                                     .api_groups = everything,
                                     .resources = everything,
                                     .non_resource_urls = everything},
               NULL, true);
    registry_visit_rules(task->registry, task->arena, task->request->user, review->spec.namespace, gather, &g,
                         &out->evaluation_error);
    out->resource_rules.count = g.resources.count;
    out->resource_rules.items =
        arena_copy(task->arena, g.resources.items, g.resources.count * sizeof(*g.resources.items));
    out->non_resource_rules.count = g.paths.count;
    out->non_resource_rules.items = arena_copy(task->arena, g.paths.items, g.paths.count * sizeof(*g.paths.items));
    vector_free(&g.resources);
    vector_free(&g.paths);
    return NULL;
}

static const struct {
    enum api_resource_index resource;
    struct status *(*answer)(struct task *task, void *value);
} questions[] = {
    {API_LOCALSUBJECTACCESSREVIEWS, local_access}, {API_SELFSUBJECTACCESSREVIEWS, self_access},
    {API_SELFSUBJECTREVIEWS, self_subject},        {API_SELFSUBJECTRULESREVIEWS, self_rules},
    {API_SUBJECTACCESSREVIEWS, subject_access},    {API_TOKENREVIEWS, token},
};

void registry_review(struct task *task)
{
    void *value = task->request->body;
    struct status *refused = NULL;
    if (task->request->verb != CLIENT_CREATE) {
        registry_unsupported(task);
        return;
    }
    registry_name_type(task->resource, value);
    if (!task->request->user)
        refused = api_status_unauthorized(task->arena);
    for (size_t i = 0; i < ARRAY_COUNT(questions) && !refused; i++)
        if (questions[i].resource == task->resource->index)
            refused = questions[i].answer(task, value);
    if (refused)
        registry_answer_status(task, refused);
    else
        registry_answer(task, &(struct client_result){
                                  .code = 201, .value = value, .value_type = task->resource->type, .remaining = -1});
}
