/* Tokens of service accounts: issuing them on request, bound to what they should not outlive, and finding out whom a
 * token stands for. As upstream's serviceaccounts/token subresource and its token authenticator. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "api/json.h"
#include "api/service_account.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"

/* Limits of a token's life, in seconds. */
#define EXPIRATION_MIN (10 * 60)
#define EXPIRATION_MAX (INT64_C(1) << 32)
/* A pod's token for the API that asks for exactly this life lives for a year: clients that read their token once go on
 * working, and the token says when it should have been renewed. */
#define EXPIRATION_EXTENDED 3607
#define EXPIRATION_EXTENSION (INT64_C(365) * 24 * 3600)

static const char *const own_audience[] = {TOKEN_ISSUER};

/* ---- Issuing ---- */

static struct status *validate(struct task *task, const struct token_request *request)
{
    static const struct api_resource kind = {
        .group = "authentication.k8s.io", .kind = "TokenRequest", .plural = "tokenrequests"};
    struct api_field_errors errors = {.arena = task->arena};
    const struct api_path *path = PATH(PATH(NULL, "spec"), "expirationSeconds");
    int64_t seconds = request->spec.expiration_seconds.value;
    if (seconds < EXPIRATION_MIN)
        field_invalid_int(&errors, path, seconds, "may not specify a duration less than 10 minutes");
    if (seconds > EXPIRATION_MAX)
        field_invalid_int(&errors, path, seconds, "may not specify a duration larger than 2^32 seconds");
    return errors.count ? api_status_invalid(task->arena, &kind, NULL, &errors) : NULL;
}

/* What kinds a token may be bound to, and where the claims say so. */
static const struct bound_kind {
    const char *kind;
    enum api_resource_index resource;
    size_t claim;
} bound_kinds[] = {
    {"Pod", API_PODS, offsetof(struct token_claims, pod)},
    {"Node", API_NODES, offsetof(struct token_claims, node)},
    {"Secret", API_SECRETS, offsetof(struct token_claims, secret)},
};

static struct token_reference *claim_of(struct token_claims *claims, const struct bound_kind *kind)
{
    return (struct token_reference *)(void *)((char *)claims + kind->claim);
}

/* The node that a pod is on goes into its token too. */
static struct status *bind_pod(struct task *task, const struct object *object, struct token_claims *claims)
{
    const struct pod *pod = object->value;
    if (!text_equal(pod->spec.service_account_name, claims->account.name))
        return api_status_bad_request(
            task->arena,
            "cannot bind token for serviceaccount \"%s\" to pod running with different serviceaccount name.",
            claims->account.name);
    if (text_empty(pod->spec.node_name))
        return NULL;
    const struct object *node = store_get(task->registry->store, &api_resources[API_NODES], NULL, pod->spec.node_name);
    claims->node = (struct token_reference){pod->spec.node_name, node ? node->meta->uid : NULL};
    return NULL;
}

static struct status *bind(struct task *task, const struct bound_object_reference *ref, struct token_claims *claims)
{
    const struct bound_kind *kind = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(bound_kinds); i++)
        if (text_equal(ref->kind, bound_kinds[i].kind) && text_equal(ref->api_version, "v1"))
            kind = &bound_kinds[i];
    if (!kind) {
        const char *version = ref->api_version ? ref->api_version : "", *slash = strchr(version, '/');
        return api_status_bad_request(task->arena, "cannot bind token to object of type %.*s/%s, Kind=%s",
                                      slash ? (int)(slash - version) : 0, version, slash ? slash + 1 : version,
                                      ref->kind ? ref->kind : "");
    }
    const struct api_resource *resource = &api_resources[kind->resource];
    const struct object *object = store_get(
        task->registry->store, resource, resource->namespaced ? claims->namespace : NULL, ref->name ? ref->name : "");
    if (!object)
        return api_status_not_found(task->arena, resource, ref->name);
    *claim_of(claims, kind) = (struct token_reference){object->meta->name, object->meta->uid};
    struct status *refused = kind->resource == API_PODS ? bind_pod(task, object, claims) : NULL;
    if (!refused && !text_empty(ref->uid) && !text_equal(ref->uid, object->meta->uid))
        refused = api_status_conflict(
            task->arena, &(struct api_resource){.group = "", .kind = kind->kind, .plural = kind->kind}, ref->name,
            arena_printf(
                task->arena,
                "the UID in the bound object reference (%s) does not match the UID in record. The object might "
                "have been deleted and then recreated",
                ref->uid));
    return refused;
}

static bool only_own_audience(const struct string_array *audiences)
{
    for (size_t i = 0; i < audiences->count; i++)
        if (strcmp(audiences->items[i], *own_audience) != 0)
            return false;
    return true;
}

static void set_times(struct task *task, const struct token_request_spec *spec, struct token_claims *claims)
{
    int64_t now = env_now(task->registry->env), seconds = spec->expiration_seconds.value;
    claims->issued_at = claims->not_before = now;
    if (claims->pod.name && seconds == EXPIRATION_EXTENDED && only_own_audience(&spec->audiences)) {
        claims->warn_after = now + seconds * SECOND;
        seconds = EXPIRATION_EXTENSION;
    }
    claims->expires_at = now + seconds * SECOND;
}

static struct status *issue(struct task *task, struct token_request *request, const struct object *account)
{
    char id[37];
    struct error err;
    struct token_claims claims = {.id = id,
                                  .namespace = account->meta->namespace,
                                  .account = {account->meta->name, account->meta->uid},
                                  .audiences = request->spec.audiences};
    struct status *refused =
        request->spec.bound_object_ref ? bind(task, request->spec.bound_object_ref, &claims) : NULL;
    if (refused)
        return refused;
    env_random_uuid(task->registry->env, id);
    set_times(task, &request->spec, &claims);
    request->status.token = token_issue(task->registry->issuer, task->arena, &claims, &err);
    if (!request->status.token)
        return api_status_internal_error(task->arena, err.text);
    request->status.expiration_timestamp = claims.issued_at + request->spec.expiration_seconds.value * SECOND;
    return NULL;
}

void registry_create_token(struct task *task)
{
    struct token_request *request = task->request->body;
    const char *namespace = task->request->namespace, *name = task->request->name;
    const struct object *account = store_get(task->registry->store, task->stored, namespace, name);
    struct status *refused = NULL;
    request->kind = "TokenRequest";
    request->api_version = "authentication.k8s.io/v1";
    api_set_declared_defaults(task->arena, &api_type_token_request, request);
    if (!request->spec.audiences.count)
        request->spec.audiences =
            (struct string_array){(const char **)(uintptr_t)own_audience, ARRAY_COUNT(own_audience)};
    if (!text_empty(request->metadata.name) && !text_equal(request->metadata.name, name))
        refused =
            api_status_bad_request(task->arena, "the name of the object (%s) does not match the name on the URL (%s)",
                                   request->metadata.name, name);
    else if (!account)
        refused = api_status_not_found(task->arena, task->resource, name);
    else
        refused = validate(task, request);
    if (!refused && !task->registry->issuer)
        refused = api_status_internal_error(task->arena, "there is no issuer of tokens");
    if (!refused) {
        assert(account);
        refused = issue(task, request, account);
    }
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    request->metadata.name = account->meta->name;
    request->metadata.namespace = account->meta->namespace;
    request->metadata.creation_timestamp = env_now(task->registry->env) / SECOND * SECOND;
    registry_answer(task, &(struct client_result){
                              .code = 201, .value = request, .value_type = &api_type_token_request, .remaining = -1});
}

/* ---- Whom a token stands for ---- */

/* The object with that identity is there, and if it is being deleted, has been for less than the leeway. */
static bool is_there(const struct registry *registry, enum api_resource_index index, const char *namespace,
                     const struct token_reference *reference)
{
    const struct object *object = store_get(registry->store, &api_resources[index], namespace, reference->name);
    int64_t deleted = object ? object->meta->deletion_timestamp : 0;
    return object && text_equal(object->meta->uid, reference->uid) &&
           (!deleted || deleted >= env_now(registry->env) - TOKEN_LEEWAY);
}

/* A token of the legacy form counts as long as its Secret holds it. */
static bool secret_holds(const struct registry *registry, const struct token_claims *claims, const char *token)
{
    const struct object *object =
        store_get(registry->store, &api_resources[API_SECRETS], claims->namespace, claims->secret.name);
    const struct secret *secret = object ? object->value : NULL;
    for (size_t i = 0; secret && i < secret->data.count; i++) {
        const struct bytes_pair *pair = &secret->data.items[i];
        if (strcmp(pair->key, "token") == 0)
            return pair->value.size == strlen(token) && memcmp(pair->value.data, token, pair->value.size) == 0;
    }
    return false;
}

static int check_bound(const struct registry *registry, const struct token_claims *claims, const char *token,
                       struct error *err)
{
    if (!is_there(registry, API_SERVICEACCOUNTS, claims->namespace, &claims->account))
        return error_set(err, ENOENT, "service account %s/%s has been deleted", claims->namespace,
                         claims->account.name);
    bool valid =
        claims->legacy
            ? secret_holds(registry, claims, token)
            : (!claims->secret.name || is_there(registry, API_SECRETS, claims->namespace, &claims->secret)) &&
                  (!claims->pod.name || is_there(registry, API_PODS, claims->namespace, &claims->pod)) &&
                  /* The node of a pod's token is told, not checked. */
                  (!claims->node.name || claims->pod.name || is_there(registry, API_NODES, NULL, &claims->node));
    return valid ? 0 : error_set(err, ENOENT, "service account token has been invalidated");
}

static void add_extra(struct buffer *out, const char *key, const char *prefix, const char *value)
{
    if (!value)
        return;
    buffer_add_string(out, out->size ? "," : "{");
    cleanup_free char *full = mem_printf("authentication.kubernetes.io/%s", key);
    cleanup_free char *text = mem_printf("%s%s", prefix, value);
    json_encode_string(out, full);
    buffer_add_string(out, ":[");
    json_encode_string(out, text);
    buffer_add_char(out, ']');
}

const struct client_user *registry_token_user(const struct registry *registry, struct arena *arena,
                                              const struct token_claims *claims, const char *token, struct error *err)
{
    if (check_bound(registry, claims, token, err) < 0)
        return NULL;
    struct client_user *user = arena_alloc(arena, sizeof(*user));
    const char **groups = arena_alloc(arena, (SERVICE_ACCOUNT_GROUPS + 2) * sizeof(*groups));
    size_t count = service_account_groups(arena, claims->namespace, groups);
    cleanup_buffer struct buffer extra = {0};
    groups[count] = "system:authenticated";
    add_extra(&extra, "credential-id", "JTI=", claims->id);
    add_extra(&extra, "node-name", "", claims->node.name);
    add_extra(&extra, "node-uid", "", claims->node.name ? claims->node.uid : NULL);
    add_extra(&extra, "pod-name", "", claims->pod.name);
    add_extra(&extra, "pod-uid", "", claims->pod.name ? claims->pod.uid : NULL);
    if (extra.size)
        buffer_add_char(&extra, '}');
    *user = (struct client_user){
        .name = service_account_user(arena, claims->namespace, claims->account.name),
        .uid = arena_string(arena, claims->account.uid),
        .groups = groups,
        .extra = extra.size ? arena_string_n(arena, extra.data, extra.size) : NULL,
    };
    return user;
}
