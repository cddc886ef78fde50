/* The harness of the registry's tests. */
#include "world.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "store/engine.h"

static struct reply last;
static json_t *last_json;
static char scratch[8192];

void settle(struct world *w)
{
    while (uv_run(&w->loop, UV_RUN_NOWAIT) && uv_backend_timeout(&w->loop) == 0)
        ;
}

static void reply_clear(void)
{
    object_unref(last.object);
    for (size_t i = 0; i < last.count; i++)
        object_unref(last.items[i]);
    free(last.items);
    arena_free(last.arena);
    json_decref(last_json);
    last_json = NULL;
    last = (struct reply){0};
}

static void bootstrapped(void *context)
{
    *(bool *)context = true;
}

static void open_registry(struct world *w)
{
    struct registry_options options = {"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767};
    w->registry = registry_new(w->env, w->store, &options);
    w->client = registry_client(w->registry, &(struct client_user){.name = "tester"});
    bool ready = false;
    registry_bootstrap(w->registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443},
                       bootstrapped, &ready);
    settle(w);
    assert_true(ready);
}

struct world *world_new(void)
{
    struct world *w = mem_zero(1, sizeof(*w));
    uv_loop_init(&w->loop);
    w->env = env_uv_new(&w->loop);
    w->store = store_new(w->env, engine_memory_new(w->env));
    assert_int_equal(store_open(w->store, NULL), 0);
    open_registry(w);
    return w;
}

void world_restart(struct world *w)
{
    reply_clear();
    registry_client_free(w->client);
    registry_free(w->registry);
    settle(w);
    open_registry(w);
}

void world_free(struct world *w)
{
    reply_clear();
    registry_client_free(w->client);
    registry_free(w->registry);
    store_free(w->store);
    settle(w);
    env_uv_free(w->env);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
}

static void answered(void *context, const struct client_result *result)
{
    assert_false(last.done);
    last.done = true;
    last.code = result->code;
    last.arena = arena_new(0);
    last.revision = result->revision;
    last.remaining = result->remaining;
    last.continue_ = arena_string(last.arena, result->continue_);
    if (result->status) {
        last.status = api_copy(last.arena, &api_type_status, result->status);
        last.text = last.status->message ? last.status->message : "";
        last.reason = last.status->reason ? last.status->reason : "";
    }
    if (result->object) {
        last.object = object_ref(result->object);
        last.text = object_json(last.object, NULL);
    }
    if (result->value) {
        cleanup_buffer struct buffer json = {0};
        json_encode(result->value_type, result->value, &json);
        last.text = arena_string(last.arena, json.data);
        last.value = api_copy(last.arena, result->value_type, result->value);
    }
    last.warning_count = result->warning_count;
    last.warnings = arena_alloc(last.arena, (result->warning_count + 1) * sizeof(*last.warnings));
    for (size_t i = 0; i < result->warning_count; i++)
        last.warnings[i] = arena_string(last.arena, result->warnings[i]);
    last.warning = result->warning_count ? last.warnings[0] : NULL;
    last.items = mem_zero(result->count + 1, sizeof(*last.items));
    last.count = result->count;
    for (size_t i = 0; i < result->count; i++)
        last.items[i] = object_ref(result->items[i]);
}

struct reply *call(struct world *w, struct client_request *r)
{
    reply_clear();
    client_submit(w->client, r, answered, NULL);
    assert_false(last.done); /* never inside the call */
    settle(w);
    assert_true(last.done);
    return &last;
}

/* The parts of a path; the resource decides whether the second one is a namespace. */
struct client_request *request(enum client_verb verb, const char *path)
{
    char text[256];
    snprintf(text, sizeof(text), "%s", path);
    char *parts[4] = {0}, *save = NULL;
    size_t count = 0;
    for (char *part = strtok_r(text, "/", &save); part && count < 4; part = strtok_r(NULL, "/", &save))
        parts[count++] = part;
    const struct api_resource *resource = NULL;
    for (size_t i = 0; i < api_resource_count && !resource; i++)
        if (strcmp(api_resources[i].plural, parts[0]) == 0)
            resource = &api_resources[i];
    assert_non_null(resource);
    size_t name = resource->namespaced ? 2 : 1;
    struct client_request *r = client_request_new(verb, resource, resource->namespaced ? parts[1] : NULL, parts[name]);
    r->subresource = arena_string(r->arena, name + 1 < 4 ? parts[name + 1] : NULL);
    return r;
}

static void *body(struct client_request *r, const char *json)
{
    const struct api_type *type = r->resource->type;
    if (r->subresource && strcmp(r->subresource, "scale") == 0)
        type = &api_type_scale;
    if (r->subresource && strcmp(r->subresource, "binding") == 0)
        type = &api_type_binding;
    void *value = arena_alloc(r->arena, type->size);
    struct error err = {0};
    if (json_decode(type, r->arena, json, strlen(json), value, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, json);
    return value;
}

struct reply *get(struct world *w, const char *path)
{
    return call(w, request(CLIENT_GET, path));
}

struct reply *create(struct world *w, const char *path, const char *json)
{
    struct client_request *r = request(CLIENT_CREATE, path);
    r->body = body(r, json);
    return call(w, r);
}

struct reply *update(struct world *w, const char *path, const char *json)
{
    struct client_request *r = request(CLIENT_UPDATE, path);
    r->body = body(r, json);
    return call(w, r);
}

struct reply *patch(struct world *w, const char *path, const char *json)
{
    struct client_request *r = request(CLIENT_PATCH, path);
    r->patch_kind = PATCH_MERGE;
    r->patch = arena_string(r->arena, json);
    r->patch_size = strlen(json);
    return call(w, r);
}

struct reply *delete_(struct world *w, const char *path, const char *options)
{
    struct client_request *r = request(CLIENT_DELETE, path);
    if (options) {
        void *value = arena_alloc(r->arena, api_type_delete_options.size);
        assert_int_equal(json_decode(&api_type_delete_options, r->arena, options, strlen(options), value, NULL, NULL),
                         0);
        r->delete_options = value;
    }
    return call(w, r);
}

struct reply *list(struct world *w, const char *path)
{
    return call(w, request(CLIENT_LIST, path));
}

const char *field(struct reply *reply, const char *path)
{
    if (!reply->object)
        return NULL;
    if (!last_json)
        last_json = json_loads(reply->text, 0, NULL);
    json_t *at = last_json;
    char text[256];
    snprintf(text, sizeof(text), "%s", path);
    char *save = NULL;
    for (char *part = strtok_r(text, "/", &save); part && at; part = strtok_r(NULL, "/", &save))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    if (!at)
        return NULL;
    if (json_is_string(at))
        return json_string_value(at);
    char *dumped = json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    snprintf(scratch, sizeof(scratch), "%s", dumped);
    free(dumped);
    return scratch;
}

void assert_text_(const char *text, const char *wanted, const char *file, int line)
{
    if (!text && !wanted)
        return;
    if (!text || !wanted || strcmp(text, wanted) != 0) {
        print_error("is     %s\nwanted %s\n", text ? text : "(nothing)", wanted ? wanted : "(nothing)");
        _fail(file, line);
    }
}

void assert_code_(struct reply *reply, int wanted, const char *file, int line)
{
    if (reply->code == wanted)
        return;
    print_error("code %d, wanted %d: %s\n", reply->code, wanted, reply->text ? reply->text : "");
    _fail(file, line);
}

static void saw(void *context, const struct client_event *event)
{
    struct events *events = context;
    size_t n = strlen(events->text);
    char *at = events->text + n;
    size_t room = sizeof(events->text) - n;
    if (event->revision)
        events->revision = event->revision;
    if (event->kind == CLIENT_ERROR) {
        events->code = event->status->code;
        snprintf(events->message, sizeof(events->message), "%s", event->status->message);
        snprintf(at, room, "E ");
    } else if (event->kind == CLIENT_BOOKMARK) {
        snprintf(at, room, event->initial_events_end ? "B! " : "B ");
    } else {
        const char *label = string_map_get(&event->object->meta->labels, "v");
        snprintf(at, room, "%c %s%s%s ", "AMD"[event->kind], event -> object -> meta -> name, label ? "=" : "",
                 label ? label : "");
    }
}

void watch_begin(struct world *w, struct events *events, const struct client_watch_options *options)
{
    *events = (struct events){0};
    events->watch = client_watch(w->client, options, saw, events);
    assert_string_equal(events->text, "");
    settle(w);
}

const char *watch_text(struct world *w, struct events *events)
{
    settle(w);
    snprintf(scratch, sizeof(scratch), "%s", events->text);
    events->text[0] = 0;
    return scratch;
}

void watch_end(struct events *events)
{
    client_watch_free(events->watch);
    events->watch = NULL;
}
