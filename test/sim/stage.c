/* The verbs of a session, and reading what is stored. */
#include "stage.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "control/controller.h"

#define PATIENCE (10 * MINUTE)

struct stage *stage_new_with(const struct sim_cluster_options *options)
{
    struct stage *s = mem_zero(1, sizeof(*s));
    s->env = sim_environment_new(options->seed, SIM_START);
    s->cluster = sim_cluster_new(s->env, options, NULL, NULL, NULL);
    s->client = sim_link_client(sim_cluster_user_link(s->cluster));
    stage_run(s, SECOND);
    return s;
}

struct stage *stage_new(void)
{
    return stage_new_with(&(struct sim_cluster_options){.seed = 1});
}

void stage_free(struct stage *s)
{
    sim_cluster_free(s->cluster);
    sim_environment_free(s->env);
    free(s);
}

size_t stage_node(struct stage *s, const char *name)
{
    struct sim_node_options options = {.name = name, .cpu = "4", .memory = "8Gi", .pods = "110"};
    size_t place = sim_cluster_add_node(s->cluster, &options);
    stage_run(s, SECOND);
    return place;
}

void stage_run(struct stage *s, int64_t duration)
{
    sim_environment_run(s->env, duration);
    if (sim_environment_stuck(s->env))
        fail_msg("something runs for ever at one instant");
}

void stage_until_(struct stage *s, stage_condition condition, const void *argument, const char *name, const char *file,
                  int line)
{
    for (int64_t waited = 0; !condition(s, argument); waited += 100 * MILLISECOND) {
        if (waited > PATIENCE) {
            print_error("%s did not come true\n", name);
            _fail(file, line);
        }
        stage_run(s, 100 * MILLISECOND);
    }
}

/* Verbs. */

static struct client_request *request(enum client_verb verb, const char *path)
{
    char text[512];
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
    r->subresource = name + 1 < 4 ? arena_string(r->arena, parts[name + 1]) : NULL;
    return r;
}

struct answer {
    int code;
    char message[1024];
};

static void answered(void *context, const struct client_result *result)
{
    struct answer *answer = context;
    answer->code = result->code;
    if (!client_ok(result))
        snprintf(answer->message, sizeof(answer->message), "%s", result->status->message);
}

static int call(struct stage *s, struct client_request *r, bool must)
{
    struct answer answer = {0};
    client_submit(s->client, r, answered, &answer);
    for (int i = 0; !answer.code && i < 1000; i++)
        stage_run(s, MILLISECOND);
    if (!answer.code)
        fail_msg("no answer");
    if (must && answer.code >= 400)
        fail_msg("%s", answer.message);
    return answer.code;
}

int stage_create(struct stage *s, const char *path, const char *json)
{
    struct client_request *r = request(CLIENT_CREATE, path);
    const struct api_type *type =
        r->subresource && strcmp(r->subresource, "binding") == 0 ? &api_type_binding : r->resource->type;
    struct error err;
    r->body = arena_alloc(r->arena, type->size);
    if (json_decode(type, r->arena, json, strlen(json), r->body, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, json);
    return call(s, r, true);
}

int stage_patch(struct stage *s, const char *path, const char *json)
{
    struct client_request *r = request(CLIENT_PATCH, path);
    r->patch_kind = PATCH_STRATEGIC;
    r->patch = arena_string(r->arena, json);
    r->patch_size = strlen(json);
    return call(s, r, true);
}

int stage_delete(struct stage *s, const char *path, const char *propagation)
{
    struct client_request *r = request(CLIENT_DELETE, path);
    struct delete_options *options = arena_alloc(r->arena, sizeof(*options));
    options->propagation_policy = arena_string(r->arena, propagation);
    r->delete_options = options;
    return call(s, r, false);
}

void stage_deploy(struct stage *s, const char *name, int replicas, const char *image, const char *strategy)
{
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":"
                   "\"%s\"}},\"strategy\":%s,\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}},\"spec\":{"
                   "\"containers\":[{\"name\":\"main\",\"image\":\"%s\",\"resources\":{\"requests\":{\"cpu\":\"10m\"}"
                   "}}]}}}}",
                   name, replicas, name, strategy ? strategy : "{}", name, image);
    stage_create(s, "deployments/default", json);
}

/* Reading. */

struct object *stage_get(struct stage *s, const char *path)
{
    struct client_request *r = request(CLIENT_GET, path);
    struct object *object = store_get(sim_cluster_store(s->cluster), r->resource, r->namespace, r->name);
    client_request_free(r);
    return object;
}

static json_t *member(json_t *at, const char *part)
{
    static const char *const names[] = {"type", "name", "ip"};
    if (!json_is_array(at))
        return json_object_get(at, part);
    char *end;
    unsigned long number = strtoul(part, &end, 10);
    if (!*end)
        return json_array_get(at, number);
    size_t i;
    json_t *element;
    json_array_foreach(at, i, element) {
        for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
            const char *value = json_string_value(json_object_get(element, names[n]));
            if (value && strcmp(value, part) == 0)
                return element;
        }
    }
    return NULL;
}

const char *stage_field(struct stage *s, const char *path, const char *field)
{
    static char out[8192];
    struct object *object = stage_get(s, path);
    if (!object)
        return NULL;
    json_t *root = json_loads(object_json(object, NULL), 0, NULL), *at = root;
    char text[256], *save = NULL;
    snprintf(text, sizeof(text), "%s", field);
    for (char *part = strtok_r(text, "/", &save); part && at; part = strtok_r(NULL, "/", &save)) {
        /* Keys with a slash are written with '|'. */
        for (char *c = part; *c; c++)
            if (*c == '|')
                *c = '/';
        at = member(at, part);
    }
    if (at && json_is_string(at)) {
        snprintf(out, sizeof(out), "%s", json_string_value(at));
    } else if (at) {
        char *dumped = json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(out, sizeof(out), "%s", dumped);
        free(dumped);
    }
    bool found = at != NULL;
    json_decref(root);
    return found ? out : NULL;
}

void assert_stage_(struct stage *s, const char *path, const char *name, const char *wanted, const char *file, int line)
{
    const char *is = stage_field(s, path, name);
    if (is == wanted || (is && wanted && strcmp(is, wanted) == 0))
        return;
    print_error("%s %s\nis     %s\nwanted %s\n", path, name, is ? is : "(nothing)", wanted ? wanted : "(nothing)");
    _fail(file, line);
}

struct listing {
    const char *namespace, *label, *value;
    struct object **out;
    size_t room, count;
};

static bool visit(void *context, struct object *object)
{
    struct listing *l = context;
    const char *value = l->label ? string_map_get(&object->meta->labels, l->label) : NULL;
    if (l->label && (!value || (l->value && strcmp(value, l->value) != 0)))
        return true;
    if (l->count < l->room)
        l->out[l->count] = object;
    l->count++;
    return true;
}

size_t stage_list(struct stage *s, const char *plural, const char *namespace, const char *label, const char *value,
                  struct object **out, size_t room)
{
    struct listing l = {.label = label, .value = value, .out = out, .room = room};
    for (size_t i = 0; i < api_resource_count; i++)
        if (strcmp(api_resources[i].plural, plural) == 0 && api_resources[i].storage == i) {
            store_list(sim_cluster_store(s->cluster), &api_resources[i], *namespace ? namespace : NULL, NULL, NULL,
                       visit, &l);
            return l.count;
        }
    fail_msg("no resource %s", plural);
    return 0;
}

size_t stage_count(struct stage *s, const char *plural, const char *namespace, const char *label, const char *value)
{
    return stage_list(s, plural, namespace, label, value, NULL, 0);
}

struct event_search {
    const char *kind, *reason;
    const struct event *found;
};

static bool look_at(void *context, struct object *object)
{
    struct event_search *search = context;
    const struct event *e = object->value;
    if (strcmp(e->reason, search->reason) == 0 && strcmp(e->involved_object.kind, search->kind) == 0 &&
        (!search->found || e->last_timestamp >= search->found->last_timestamp))
        search->found = e;
    return true;
}

const char *stage_event(struct stage *s, const char *kind, const char *reason)
{
    struct event_search search = {kind, reason, NULL};
    store_list(sim_cluster_store(s->cluster), &api_resources[API_EVENTS], NULL, NULL, NULL, look_at, &search);
    return search.found ? search.found->message : NULL;
}

size_t stage_ready(struct stage *s, const char *app)
{
    struct object *pods[1000];
    size_t ready = 0, count = stage_list(s, "pods", "", "app", app, pods, ARRAY_COUNT(pods));
    for (size_t i = 0; i < count && i < ARRAY_COUNT(pods); i++)
        ready += pod_is_ready(pods[i]->value) && !pods[i]->meta->deletion_timestamp;
    return ready;
}

bool stage_is_bound(struct stage *s, const void *path)
{
    return stage_field(s, path, "spec/nodeName") != NULL;
}
