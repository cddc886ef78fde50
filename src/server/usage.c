/* metrics.k8s.io: NodeMetrics and PodMetrics, made of the objects that they are about and of what the nodes have
 * measured, when somebody reads them. In metrics-server's words. */
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "server/private.h"

/* One get or list. */
struct reading {
    struct server *server;
    struct client_request *request; /* of the computed resource */
    client_done done;
    void *context;
    struct object **subjects; /* held: the nodes or pods that it is about, in the order of names */
    size_t count;
    uint64_t revision;
};

static void reading_free(struct reading *r)
{
    for (size_t i = 0; i < r->count; i++)
        object_unref(r->subjects[i]);
    free(r->subjects);
    client_request_free(r->request);
    free(r);
}

static bool of_nodes(const struct reading *r)
{
    return r->request->resource->index == API_METRICS_NODES;
}

/* ---- From figures to objects ---- */

static struct string_map usage_map(struct arena *arena, const struct usage_figures *figures)
{
    struct string_map map = {0};
    quantity_t unit = 1000000000;
    string_map_set(arena, &map, "cpu", quantity_format(arena, figures->cpu, false));
    string_map_set(arena, &map, "memory", quantity_format(arena, figures->memory * unit, true));
    return map;
}

static struct object_meta meta_of(struct arena *arena, const struct reading *r, const struct object_meta *subject)
{
    struct object_meta meta = {.name = subject->name,
                               .namespace = subject->namespace,
                               .creation_timestamp = env_now(r->server->options.env) / SECOND * SECOND,
                               .labels = subject->labels};
    const struct object_meta *copy = api_copy(arena, &api_type_object_meta, &meta);
    return *copy;
}

static const char *duration_text(struct arena *arena, int64_t window)
{
    char text[TIME_TEXT_MAX];
    /* In steps of a millisecond, as metrics-server rounds it. */
    duration_format((window + MILLISECOND / 2) / MILLISECOND * MILLISECOND, text);
    return arena_string(arena, text);
}

static struct object *node_metrics_of(const struct reading *r, const struct object *node,
                                      const struct node_usage *usage)
{
    if (strcmp(usage->name, node->meta->name) != 0)
        return NULL;
    struct arena *arena = arena_new(1024);
    struct node_metrics *m = arena_alloc(arena, sizeof(*m));
    m->kind = "NodeMetrics";
    m->api_version = "metrics.k8s.io/v1beta1";
    m->metadata = meta_of(arena, r, node->meta);
    m->timestamp = usage->instant / SECOND * SECOND;
    m->window = duration_text(arena, usage->window);
    m->usage = usage_map(arena, &usage->figures);
    return object_new(r->request->resource, arena, m);
}

/* By name: a mirror has another uid than the pod that it shows. */
static const struct pod_usage *find(const struct node_usage *usage, const struct object_meta *meta)
{
    for (size_t i = 0; i < usage->count; i++)
        if (usage->pods[i].count && strcmp(usage->pods[i].name, meta->name) == 0 &&
            strcmp(usage->pods[i].namespace, meta->namespace) == 0)
            return &usage->pods[i];
    return NULL;
}

static struct object *pod_metrics_of(const struct reading *r, const struct object *pod, const struct node_usage *usage)
{
    const struct pod_usage *found = find(usage, pod->meta);
    if (!found)
        return NULL;
    struct arena *arena = arena_new(1024);
    struct pod_metrics *m = arena_alloc(arena, sizeof(*m));
    m->kind = "PodMetrics";
    m->api_version = "metrics.k8s.io/v1beta1";
    m->metadata = meta_of(arena, r, pod->meta);
    m->timestamp = found->instant / SECOND * SECOND;
    m->window = duration_text(arena, found->window);
    m->containers.items = arena_alloc(arena, found->count * sizeof(*m->containers.items));
    m->containers.count = found->count;
    for (size_t i = 0; i < found->count; i++) {
        m->containers.items[i].name = arena_string(arena, found->containers[i].name);
        m->containers.items[i].usage = usage_map(arena, &found->containers[i].figures);
    }
    return object_new(r->request->resource, arena, m);
}

static struct object *metrics_of(const struct reading *r, const struct object *subject, const struct node_usage *usage)
{
    if (!usage)
        return NULL;
    return of_nodes(r) ? node_metrics_of(r, subject, usage) : pod_metrics_of(r, subject, usage);
}

/* ---- Answers ---- */

static void answer_get(struct reading *r, const struct node_usage *usage)
{
    cleanup_object struct object *object = metrics_of(r, r->subjects[0], usage);
    struct arena *arena = r->request->arena;
    struct client_result result = {.code = 200, .object = object, .remaining = -1};
    if (!object) {
        /* It calls them by their kinds here. */
        struct api_resource named = {.group = "metrics.k8s.io", .kind = r->request->resource->kind};
        const char *namespace = r->subjects[0]->meta->namespace, *name = r->subjects[0]->meta->name;
        named.plural = of_nodes(r) ? "nodemetrics" : "podmetrics";
        result.code = 404;
        result.status =
            api_status_not_found(arena, &named, of_nodes(r) ? name : arena_printf(arena, "%s/%s", namespace, name));
    }
    r->done(r->context, &result);
}

static void answer_list(struct reading *r, const struct node_usage *usage)
{
    cleanup_free struct object **items = mem_alloc((r->count ? r->count : 1) * sizeof(*items));
    struct client_result result = {.code = 200, .items = items, .remaining = -1, .revision = r->revision};
    for (size_t i = 0; i < r->count; i++) {
        struct object *object = metrics_of(r, r->subjects[i], usage);
        if (object)
            items[result.count++] = object;
    }
    r->done(r->context, &result);
    for (size_t i = 0; i < result.count; i++)
        object_unref(items[i]);
}

static void measured(void *context, const struct node_usage *usage)
{
    struct reading *r = context;
    if (r->request->verb == CLIENT_GET)
        answer_get(r, usage);
    else
        answer_list(r, usage);
    reading_free(r);
}

/* ---- What they are about ---- */

static void found(void *context, const struct client_result *result)
{
    struct reading *r = context;
    const struct server_node_access *node = &r->server->options.node;
    if (!client_ok(result)) {
        r->done(r->context, result);
        reading_free(r);
        return;
    }
    r->count = result->object ? 1 : result->count;
    r->subjects = mem_alloc((r->count ? r->count : 1) * sizeof(*r->subjects));
    for (size_t i = 0; i < r->count; i++)
        r->subjects[i] = object_ref(result->object ? result->object : result->items[i]);
    r->revision = result->revision;
    if (!r->count || !node->usage)
        measured(r, NULL);
    else
        node->usage(node->context, measured, r);
}

void usage_submit(struct server *server, struct client_request *request, client_done done, void *context)
{
    struct reading *r = mem_zero(1, sizeof(*r));
    r->server = server;
    r->request = request;
    r->done = done;
    r->context = context;
    const struct api_resource *subjects = &api_resources[of_nodes(r) ? API_NODES : API_PODS];
    struct client_request *ask = client_request_new(request->verb, subjects, request->namespace, request->name);
    ask->user = request->user;
    /* They live as long as the request that they came with. */
    ask->label_selector = request->label_selector;
    ask->field_selector = request->field_selector;
    client_submit(server->client, ask, found, r);
}
