/* The way of a request: it becomes a task, waits for the next turn of the loop, is handed to its verb, and ends
 * in exactly one answer. Writes compare with heads and are answered when they are durable; reads see what is
 * durable. Since all runs on one thread, no write meets a conflict that its verb did not see. */
#include "registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/warnings.h"
#include "base/cleanup.h"
#include "registry/private.h"
#include "registry/trigger.h"

struct registry_client {
    struct client client;
    struct registry *registry;
    struct arena *arena;
    struct client_user *user; /* NULL: none */
};

static const struct strategy strategies[] = {
    [API_PODS] = {.generation = GENERATION_SPEC, .returns_deleted = true, .graceful = true},
    [API_SERVICES] = {.create_on_update = true, .returns_deleted = true},
    [API_SERVICEACCOUNTS] = {.returns_deleted = true},
    [API_ENDPOINTS] = {.create_on_update = true},
    [API_NAMESPACES] = {.no_collection = true},
    [API_NODES] = {.keeps_status = true},
    [API_DEPLOYMENTS] = {.generation = GENERATION_SPEC_ANNOTATIONS},
    [API_REPLICASETS] = {.generation = GENERATION_SPEC},
    [API_JOBS] = {.generation = GENERATION_SPEC},
    [API_CRONJOBS] = {.generation = GENERATION_SPEC},
    [API_ENDPOINTSLICES] = {.generation = GENERATION_ENDPOINTS},
    [API_LEASES] = {.create_on_update = true, .must_have_revision = true},
    [API_PERSISTENTVOLUMES] = {.returns_deleted = true},
    [API_PERSISTENTVOLUMECLAIMS] = {.returns_deleted = true},
    [API_PRIORITYCLASSES] = {.generation = GENERATION_FIRST},
    [API_STORAGECLASSES] = {.returns_deleted = true},
    [API_INGRESSES] = {.generation = GENERATION_SPEC},
    [API_INGRESSCLASSES] = {.generation = GENERATION_SPEC},
    [API_NETWORKPOLICIES] = {.generation = GENERATION_SPEC},
    [API_EVENTS] = {.create_on_update = true, .no_garbage_collection = true},
};

const struct strategy *registry_strategy(const struct api_resource *resource)
{
    static const struct strategy plain;
    return resource->storage < ARRAY_COUNT(strategies) ? &strategies[resource->storage] : &plain;
}

/* Answers. */

static void task_free(struct task *task)
{
    struct registry *registry = task->registry;
    list_remove(&task->node);
    object_unref(task->answer);
    object_unref(task->old);
    client_request_free(task->request);
    if (registry->freed && !registry->deferred && list_empty(&registry->tasks))
        free(registry);
}

void registry_answer(struct task *task, const struct client_result *result)
{
    struct client_result full = *result;
    full.warnings = task->warnings;
    full.warning_count = task->warning_count;
    if (task->done && (task->internal || !task->registry->freed))
        task->done(task->context, &full);
    task_free(task);
}

void registry_answer_status(struct task *task, const struct status *status)
{
    registry_answer(task, &(struct client_result){.code = status->code, .status = status, .remaining = -1});
}

void registry_answer_object(struct task *task, int code, struct object *object)
{
    cleanup_object struct object *view = registry_view(task->resource, object);
    registry_answer(task, &(struct client_result){
                              .code = code, .object = view, .revision = object->revision, .remaining = -1});
}

void registry_answer_scale(struct task *task, int code, struct object *object)
{
    registry_answer(task, &(struct client_result){.code = code,
                                                  .value = registry_scale_of(task->arena, object),
                                                  .value_type = &api_type_scale,
                                                  .revision = object->revision,
                                                  .remaining = -1});
}

void registry_add_warning(struct task *task, const char *text)
{
    task->warnings = arena_array_extend(task->arena, task->warnings, task->warning_count, sizeof(*task->warnings));
    task->warnings[task->warning_count++] = arena_string(task->arena, text);
}

void registry_warn_inert(struct task *task, const void *value, const void *old)
{
    struct api_warnings warnings = {.arena = task->arena};
    api_warn_inert(task->resource->type, value, old, &warnings);
    for (size_t i = 0; i < warnings.count; i++)
        registry_add_warning(task, warnings.items[i]);
}

void registry_warn_managed(struct task *task, const struct object_meta *meta)
{
    if (meta->managed_fields.count)
        registry_add_warning(task, "metadata.managedFields: dropped: managers of fields are not recorded yet");
}

/* Of a delete whose answer is a Status: Success with what was deleted. */
static void answer_deleted(struct task *task, struct object *object)
{
    if (!task->answer_status && !task->evicts) {
        registry_answer_object(task, 200, object);
        return;
    }
    struct status *status = task->evicts ? api_status_success(task->arena, NULL, NULL, NULL)
                                         : api_status_success(task->arena, task->resource, object->meta->name,
                                                              object->meta->uid);
    status->code = task->code;
    registry_answer(task, &(struct client_result){
                              .code = task->code, .status = status, .revision = object->revision, .remaining = -1});
}

static void answer_written(struct task *task, struct object *object)
{
    if (task->request->verb == CLIENT_DELETE)
        answer_deleted(task, object);
    else if (task->answer_scale)
        registry_answer_scale(task, task->code, object);
    else if (task->answer_status)
        registry_answer(task, &(struct client_result){.code = task->code,
                                                      .status = api_status_success(task->arena, NULL, NULL, NULL),
                                                      .revision = object->revision,
                                                      .remaining = -1});
    else
        registry_answer_object(task, task->code, object);
}

/* Writing. */

static const struct service *service_of(const struct object *object)
{
    return object ? object->value : NULL;
}

static void written(void *context, enum store_outcome outcome, struct object *object, const struct error *err)
{
    struct task *task = context;
    if (task->service_write && !task->registry->freed) {
        service_settled(task->registry, task->removes ? NULL : service_of(object), service_of(task->old),
                        outcome != STORE_OK);
    }
    if (outcome == STORE_OK)
        answer_written(task, task->answer ? task->answer : object);
    else
        registry_answer_status(task, api_status_internal_error(task->arena, err->text));
}

static struct status *too_busy(struct task *task)
{
    return api_status_too_many_requests(
        task->arena, "The server has received too many requests and has asked us to try again later",
        REGISTRY_RETRY_SECONDS);
}

static void answer_outcome(struct task *task, enum store_outcome outcome, const char *name)
{
    struct status *status;
    switch (outcome) {
    case STORE_EXISTS:
        status = api_status_already_exists(task->arena, task->resource, name);
        break;
    case STORE_NOT_FOUND:
        status = api_status_not_found(task->arena, task->resource, name);
        break;
    case STORE_CONFLICT:
        status = api_status_conflict(task->arena, task->resource, name, NULL);
        break;
    case STORE_BUSY:
        status = too_busy(task);
        break;
    default:
        status = api_status_internal_error(task->arena, "the object cannot be stored");
        break;
    }
    registry_answer_status(task, status);
}

/* How every root struct begins. */
struct root {
    const char *kind;
    const char *api_version;
};

void registry_name_type(const struct api_resource *resource, void *value)
{
    struct root *root = value;
    root->kind = resource->kind;
    root->api_version = resource->api_version;
}

/* No byte of a struct makes more bytes of JSON than this: two of an optional boolean become a long name and a word. */
#define JSON_PER_BYTE 32

/* Whether the object's text is longer than REGISTRY_OBJECT_MAX. Only of what may be is it made to see. */
static bool is_too_large(const struct api_type *type, const struct arena *arena, const void *value)
{
    if (arena_size(arena) < REGISTRY_OBJECT_MAX / JSON_PER_BYTE)
        return false;
    cleanup_buffer struct buffer json = {0};
    json_encode(type, value, &json);
    return json.size > REGISTRY_OBJECT_MAX;
}

void registry_put(struct task *task, const void *value, uint64_t expected)
{
    struct registry *registry = task->registry;
    const struct api_resource *resource = task->stored;
    const char *name = api_meta(task->resource, value)->name;
    value = registry_convert(task->arena, task->resource, resource, value);
    /* A snapshot of its own, without what decoding and defaulting left behind in the request's arena. */
    struct arena *arena = arena_new(0);
    void *copy = api_copy(arena, resource->type, value);
    if (is_too_large(resource->type, arena, copy)) {
        arena_free(arena);
        registry_answer_status(task, api_status(task->arena, 500, NULL, "etcdserver: request is too large"));
        return;
    }
    if (task->request->dry_run) {
        cleanup_object struct object *object = object_new(resource, arena, copy);
        answer_written(task, object);
        return;
    }
    enum store_outcome outcome = store_put(registry->store, resource, arena, copy, expected, written, task);
    if (outcome != STORE_OK)
        answer_outcome(task, outcome, name);
    else if (task->service_write)
        service_accepted(registry, value, service_of(task->old));
}

void registry_remove(struct task *task, const struct object_meta *meta, uint64_t expected)
{
    struct object *head = store_head(task->registry->store, task->stored, meta->namespace, meta->name);
    if (task->request->dry_run && head) {
        answer_written(task, head);
        return;
    }
    task->removes = true;
    task->service_write = task->stored->index == API_SERVICES;
    enum store_outcome outcome = store_delete(task->registry->store, task->stored, meta->namespace, meta->name,
                                              expected, written, task);
    if (outcome != STORE_OK)
        answer_outcome(task, outcome, meta->name);
}

struct object *registry_head(struct task *task, const char *namespace, const char *name)
{
    struct object *head = store_head(task->registry->store, task->stored, namespace, name);
    return head ? registry_view(task->resource, head) : NULL;
}

const struct api_field *registry_spec_field(const struct api_resource *resource)
{
    return api_type_field(resource->type, "spec", 4);
}

void *registry_status_of(const struct api_resource *resource, void *value, size_t *size)
{
    if (!resource->status_offset)
        return NULL;
    *size = api_type_field(resource->type, "status", 6)->type->size;
    return (char *)value + resource->status_offset;
}

/* Dispatch. */

void registry_unsupported(struct task *task)
{
    static const char *const verbs[] = {"get", "list", "create", "update", "patch", "delete", "deletecollection"};
    registry_answer_status(task,
                           api_status_method_not_supported(task->arena, task->resource, verbs[task->request->verb]));
}

struct route {
    const char *subresource; /* NULL: none */
    enum client_verb verb;
    void (*run)(struct task *task);
};

/* Subresources that are not in the table are served elsewhere (log) or by nobody. */
static const struct route routes[] = {
    {NULL, CLIENT_GET, registry_get},
    {NULL, CLIENT_LIST, registry_list},
    {NULL, CLIENT_CREATE, registry_create},
    {NULL, CLIENT_UPDATE, registry_update},
    {NULL, CLIENT_PATCH, registry_patch},
    {NULL, CLIENT_DELETE, registry_delete},
    {NULL, CLIENT_DELETE_COLLECTION, registry_delete_collection},
    {"status", CLIENT_GET, registry_get},
    {"status", CLIENT_UPDATE, registry_update},
    {"status", CLIENT_PATCH, registry_patch},
    {"ephemeralcontainers", CLIENT_GET, registry_get},
    {"ephemeralcontainers", CLIENT_UPDATE, registry_update},
    {"ephemeralcontainers", CLIENT_PATCH, registry_patch},
    {"finalize", CLIENT_UPDATE, registry_update},
    {"resize", CLIENT_GET, registry_get},
    {"resize", CLIENT_UPDATE, registry_update},
    {"resize", CLIENT_PATCH, registry_patch},
    {"scale", CLIENT_GET, registry_get_scale},
    {"scale", CLIENT_UPDATE, registry_update_scale},
    {"scale", CLIENT_PATCH, registry_patch},
    {"binding", CLIENT_CREATE, registry_bind},
    {"eviction", CLIENT_CREATE, registry_evict},
    {"token", CLIENT_CREATE, registry_create_token},
};

static bool has_subresource(const struct api_resource *resource, const char *subresource)
{
    for (const char *const *s = resource->subresources; s && *s; s++)
        if (strcmp(*s, subresource) == 0)
            return true;
    return false;
}

static void run(struct task *task)
{
    const char *subresource = task->request->subresource;
    if (task->refused) {
        registry_answer_status(task, too_busy(task));
        return;
    }
    if (subresource && !has_subresource(task->resource, subresource)) {
        registry_answer_status(task, api_status_no_resource(task->arena));
        return;
    }
    if (task->resource->computed) {
        registry_unsupported(task);
        return;
    }
    if (task->resource->create_only) {
        registry_review(task);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        const struct route *route = &routes[i];
        if (route->verb != task->request->verb || !text_equal(route->subresource, subresource))
            continue;
        route->run(task);
        return;
    }
    registry_unsupported(task);
}

static void turn(void *context)
{
    struct registry *registry = context;
    registry->turn_deferred = false;
    registry->deferred--;
    if (registry->freed) {
        if (!registry->deferred && list_empty(&registry->tasks))
            free(registry);
        return;
    }
    size_t count = registry->queue.count;
    cleanup_free struct task **tasks = registry->queue.items;
    registry->queue.items = NULL;
    registry->queue.count = registry->queue.capacity = 0;
    for (size_t i = 0; i < count; i++)
        run(tasks[i]);
}

void registry_submit(struct registry *registry, struct client_request *request, bool internal, client_done done,
                     void *context)
{
    struct task *task = arena_alloc(request->arena, sizeof(*task));
    task->registry = registry;
    task->request = request;
    task->arena = request->arena;
    task->resource = request->resource;
    task->stored = &api_resources[request->resource->storage];
    task->done = done;
    task->context = context;
    task->internal = internal;
    list_append(&registry->tasks, &task->node);
    if (registry->queue.count >= REGISTRY_QUEUE_MAX)
        task->refused = true;
    vector_push(&registry->queue, task);
    if (registry->turn_deferred)
        return;
    registry->turn_deferred = true;
    registry->deferred++;
    env_defer(registry->env, turn, registry);
}

static void submit(struct client *base, struct client_request *request, client_done done, void *context)
{
    struct registry_client *client = (struct registry_client *)base;
    request->trusted = !request->user;
    if (request->trusted)
        request->user = client->user;
    registry_submit(client->registry, request, false, done, context);
}

/* The interface. */

struct registry *registry_new(struct env *env, struct store *store, const struct registry_options *options)
{
    struct registry *registry = mem_zero(1, sizeof(*registry));
    registry->env = env;
    registry->store = store;
    registry->service_cidr = mem_string(options->service_cidr);
    registry->service_cidr6 = options->service_cidr6 ? mem_string(options->service_cidr6) : NULL;
    registry->node_port_first = options->node_port_first;
    registry->node_port_last = options->node_port_last;
    list_init(&registry->tasks);
    list_init(&registry->watches);
    registry->addresses = service_addresses_new(registry);
    registry->expiry = registry_expiry_new(registry);
    registry->triggers = triggers_new(store);
    return registry;
}

void registry_issue_tokens(struct registry *registry, const struct token_issuer *issuer)
{
    registry->issuer = issuer;
}

void registry_observe_memory(struct registry *registry,
                             int64_t (*used)(void *context, const char *pod_uid, const char *container), void *context)
{
    registry->memory_used = used;
    registry->memory_context = context;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    registry->freed = true;
    registry_bookmarks_free(registry);
    service_addresses_free(registry->addresses);
    registry_expiry_free(registry->expiry);
    triggers_free(registry->triggers);
    free(registry->service_cidr);
    free(registry->service_cidr6);
    size_t count = registry->queue.count;
    cleanup_free struct task **tasks = registry->queue.items;
    registry->queue.items = NULL;
    registry->deferred++; /* keeps the shell until the end of this function */
    for (size_t i = 0; i < count; i++)
        registry_answer_status(tasks[i],
                               api_status_service_unavailable(tasks[i]->arena, "the server is shutting down"));
    /* Tasks whose writes are under way end when the store settles them, and the last one releases the shell. */
    if (!--registry->deferred && list_empty(&registry->tasks))
        free(registry);
}

static struct client_watch *watch(struct client *base, const struct client_watch_options *options,
                                  client_event_callback callback, void *context)
{
    return registry_watch(base, ((struct registry_client *)base)->registry, options, callback, context);
}

static const struct client_operations operations = {
    .submit = submit,
    .watch = watch,
    .watch_free = registry_watch_free,
};

static struct client_user *copy_user(struct arena *arena, const struct client_user *user)
{
    struct client_user *copy = arena_alloc(arena, sizeof(*copy));
    copy->name = arena_string(arena, user->name);
    copy->uid = arena_string(arena, user->uid);
    size_t count = 0;
    while (user->groups && user->groups[count])
        count++;
    const char **groups = arena_alloc(arena, (count + 1) * sizeof(*groups));
    for (size_t i = 0; i < count; i++)
        groups[i] = arena_string(arena, user->groups[i]);
    copy->groups = groups;
    copy->extra = arena_string(arena, user->extra);
    return copy;
}

struct client *registry_client(struct registry *registry, const struct client_user *user)
{
    struct arena *arena = arena_new(0);
    struct registry_client *client = arena_alloc(arena, sizeof(*client));
    client->client.operations = &operations;
    client->client.env = registry->env;
    client->registry = registry;
    client->arena = arena;
    if (user)
        client->user = copy_user(arena, user);
    return &client->client;
}

void registry_client_free(struct client *client)
{
    if (client)
        arena_free(((struct registry_client *)client)->arena);
}
