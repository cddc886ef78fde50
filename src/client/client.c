/* Requests: making them, handing them to their transport, and the verbs in short. */
#include "client/client.h"

#include <string.h>

#include "api/json.h"

/* Room for a request and its few strings in the arena's first block. */
#define REQUEST_SIZE 1024

static struct client_request *request_in(struct arena *arena, enum client_verb verb,
                                         const struct api_resource *resource, const char *namespace, const char *name)
{
    struct client_request *request = arena_alloc(arena, sizeof(*request));
    request->arena = arena;
    request->verb = verb;
    request->resource = resource;
    request->namespace = arena_string(arena, namespace);
    request->name = arena_string(arena, name);
    return request;
}

struct client_request *client_request_new(enum client_verb verb, const struct api_resource *resource,
                                          const char *namespace, const char *name)
{
    return request_in(arena_new(REQUEST_SIZE), verb, resource, namespace, name);
}

void client_request_free(struct client_request *request)
{
    if (request)
        arena_free(request->arena);
}

void client_submit(struct client *client, struct client_request *request, client_done done, void *context)
{
    client->operations->submit(client, request, done, context);
}

struct client_watch *client_watch(struct client *client, const struct client_watch_options *options,
                                  client_event_callback callback, void *context)
{
    return client->operations->watch(client, options, callback, context);
}

void client_watch_free(struct client_watch *watch)
{
    if (watch)
        watch->client->operations->watch_free(watch);
}

void client_get(struct client *client, const struct api_resource *resource, const char *namespace, const char *name,
                client_done done, void *context)
{
    client_submit(client, client_request_new(CLIENT_GET, resource, namespace, name), done, context);
}

/* A request that carries value: in its own arena when the caller gives one up, else as a copy. */
static struct client_request *request_with_body(enum client_verb verb, const struct api_resource *resource,
                                                const struct api_type *type, const char *namespace, const char *name,
                                                struct arena *arena, void *value)
{
    bool copied = !arena;
    if (copied)
        arena = arena_new(REQUEST_SIZE);
    struct client_request *request = request_in(arena, verb, resource, namespace, name);
    request->body = copied ? api_copy(arena, type, value) : value;
    return request;
}

void client_create(struct client *client, const struct api_resource *resource, const char *namespace,
                   struct arena *arena, void *value, client_done done, void *context)
{
    client_submit(client, request_with_body(CLIENT_CREATE, resource, resource->type, namespace, NULL, arena, value),
                  done, context);
}

void client_update(struct client *client, const struct api_resource *resource, const char *subresource,
                   struct arena *arena, void *value, client_done done, void *context)
{
    bool scale = subresource && strcmp(subresource, "scale") == 0;
    const struct object_meta *meta = scale ? &((struct scale *)value)->metadata : api_meta(resource, value);
    struct client_request *request = request_with_body(CLIENT_UPDATE, resource, scale ? &api_type_scale : resource->type,
                                                       meta->namespace, meta->name, arena, value);
    request->subresource = arena_string(request->arena, subresource);
    client_submit(client, request, done, context);
}

void client_delete(struct client *client, const struct api_resource *resource, const char *namespace,
                   const char *name, const char *uid, int64_t grace, const char *propagation, client_done done,
                   void *context)
{
    struct client_request *request = client_request_new(CLIENT_DELETE, resource, namespace, name);
    struct delete_options *options = arena_alloc(request->arena, sizeof(*options));
    if (grace >= 0)
        options->grace_period_seconds = opt_int64(grace);
    options->propagation_policy = arena_string(request->arena, propagation);
    if (uid) {
        options->preconditions = arena_alloc(request->arena, sizeof(*options->preconditions));
        options->preconditions->uid = arena_string(request->arena, uid);
    }
    request->delete_options = options;
    client_submit(client, request, done, context);
}

void client_patch(struct client *client, const struct api_resource *resource, const char *subresource,
                  const char *namespace, const char *name, enum patch_kind kind, const char *patch, client_done done,
                  void *context)
{
    struct client_request *request = client_request_new(CLIENT_PATCH, resource, namespace, name);
    request->subresource = arena_string(request->arena, subresource);
    request->patch_kind = kind;
    request->patch = arena_string(request->arena, patch);
    request->patch_size = strlen(patch);
    client_submit(client, request, done, context);
}
