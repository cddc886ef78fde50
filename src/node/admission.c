#include "node/admission.h"

#include <string.h>

#include "api/host_port.h"
#include "api/node_selector.h"
#include "api/pod_resources.h"
#include "api/quantity.h"
#include "api/resource_name.h"
#include "api/static_pod.h"
#include "api/toleration.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "node/eviction.h"

#define LABEL_OS "kubernetes.io/os"
#define OS "linux"

/* ---- Resources ---- */

static const char *const basic[] = {"cpu", "memory", "ephemeral-storage"};

static bool is_basic(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(basic); i++)
        if (strcmp(name, basic[i]) == 0)
            return true;
    return false;
}

static bool is_listed(const struct admission_shortages *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return true;
    return false;
}

static void run_out(struct arena *arena, struct admission_shortages *out, const struct admission_shortage *shortage)
{
    out->items = arena_array_extend(arena, out->items, out->count, sizeof(*out->items));
    out->items[out->count++] = *shortage;
}

/* A pod that asks for nothing of it fits, however much is in use. */
static void look_at(struct arena *arena, const struct admission_request *r, const char *name,
                    struct admission_shortages *out)
{
    struct admission_shortage s = {.name = name,
                                   .requested = pod_resource_request(r->pod, name, POD_COUNT_SPEC, 0),
                                   .capacity = pod_resource_amount(&r->node->status.allocatable, name)};
    if (s.requested <= 0 || is_listed(out, name))
        return;
    for (size_t i = 0; i < r->count; i++)
        s.used = quantity_add(s.used, pod_resource_request(r->others[i], name, POD_COUNT_STATUS, 0));
    if (s.requested > s.capacity - s.used)
        run_out(arena, out, &s);
}

static void look_further(struct arena *arena, const struct admission_request *r, const struct string_map *asked,
                         struct admission_shortages *out)
{
    for (size_t i = 0; i < asked->count; i++) {
        const char *name = asked->items[i].key;
        bool unknown = resource_name_is_extended(name) && !string_map_get(&r->node->status.allocatable, name);
        if (!is_basic(name) && !unknown)
            look_at(arena, r, name, out);
    }
}

struct admission_shortages admission_shortages(struct arena *arena, const struct admission_request *r)
{
    const struct pod_spec *spec = &r->pod->spec;
    const struct container_array *lists[] = {&spec->containers, &spec->init_containers};
    struct admission_shortages out = {0};
    struct admission_shortage pods = {.name = "pods",
                                      .requested = 1,
                                      .used = (int64_t)r->count,
                                      .capacity = pod_resource_amount(&r->node->status.allocatable, "pods")};
    if (pods.requested > pods.capacity - pods.used)
        run_out(arena, &out, &pods);
    for (size_t i = 0; i < ARRAY_COUNT(basic); i++)
        look_at(arena, r, basic[i], &out);
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            look_further(arena, r, &lists[l]->items[i].resources.requests, &out);
    if (spec->resources)
        look_further(arena, r, &spec->resources->requests, &out);
    look_further(arena, r, &spec->overhead, &out);
    return out;
}

static const char *shortage_message(struct arena *arena, const struct admission_shortage *s)
{
    return arena_printf(arena, "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld",
                        s->name, (long long)s->requested, (long long)s->used, (long long)s->capacity);
}

static bool lacks_any(struct arena *arena, const struct admission_request *r, struct admission_refusal *out)
{
    struct admission_shortages shortages = admission_shortages(arena, r);
    if (!shortages.count)
        return false;
    out->reason = arena_printf(arena, "OutOf%s", shortages.items[0].name);
    out->message = shortage_message(arena, &shortages.items[0]);
    return true;
}

const char *admission_refuses_resize(struct arena *arena, const struct admission_request *r, const char **message)
{
    static const char *const resized[] = {"memory", "cpu"};
    for (size_t i = 0; i < ARRAY_COUNT(resized); i++) {
        int64_t asked = pod_resource_request(r->pod, resized[i], POD_COUNT_SPEC, 0);
        int64_t capacity = pod_resource_amount(&r->node->status.allocatable, resized[i]);
        if (asked > capacity) {
            *message = arena_printf(arena, "Node didn't have enough capacity: %s, requested: %lld, capacity: %lld",
                                    resized[i], (long long)asked, (long long)capacity);
            return "Infeasible";
        }
    }
    struct admission_shortages shortages = admission_shortages(arena, r);
    if (!shortages.count)
        return NULL;
    *message = shortage_message(arena, &shortages.items[0]);
    return "Deferred";
}

/* ---- The rest ---- */

static bool has_port_taken(const struct admission_request *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (pod_host_ports_conflict(&r->pod->spec, &r->others[i]->spec))
            return true;
    return false;
}

static bool is_static(const struct pod *pod)
{
    const char *source = string_map_get(&pod->metadata.annotations, POD_SOURCE_ANNOTATION);
    return source && strcmp(source, "api") != 0;
}

/* A node cares for NoExecute only: the other effects are the scheduler's. */
static bool is_kept_out(const struct admission_request *r)
{
    for (size_t i = 0; i < r->node->spec.taints.count; i++) {
        const struct taint *t = &r->node->spec.taints.items[i];
        if (strcmp(t->effect, "NoExecute") == 0 && !toleration_find(&r->pod->spec, t->key, t->value, t->effect))
            return true;
    }
    return false;
}

/* A pod says in its label, too, what it is made for. */
static bool has_other_system(const struct pod *pod, struct admission_refusal *out)
{
    const char *label = string_map_get(&pod->metadata.labels, LABEL_OS);
    if (label && strcmp(label, OS) != 0)
        *out = (struct admission_refusal){"PodOSSelectorNodeLabelDoesNotMatch",
                                          "Failed to admit pod as the `" LABEL_OS "` label doesn't match node label"};
    else if (pod->spec.os && !text_equal(pod->spec.os->name, OS))
        *out = (struct admission_refusal){"PodOSNotSupported",
                                          "Failed to admit pod as the OS field doesn't match node OS"};
    return out->reason;
}

static bool fails(struct arena *arena, struct admission_refusal *out, const char *predicate, const char *why)
{
    out->reason = predicate;
    out->message = arena_printf(arena, "Predicate %s failed: %s", predicate, why);
    return true;
}

bool admission_refuses(struct arena *arena, const struct admission_request *r, struct admission_refusal *out)
{
    *out = (struct admission_refusal){0};
    if (has_other_system(r->pod, out))
        return true;
    if (!eviction_is_critical(r->pod) && lacks_any(arena, r, out))
        return true;
    if (!r->known && !pod_requires_node(r->pod, &r->node->metadata))
        return fails(arena, out, ADMISSION_NODE_AFFINITY, "node(s) didn't match Pod's node affinity/selector");
    if (!text_empty(r->pod->spec.node_name) && !text_equal(r->pod->spec.node_name, r->node->metadata.name))
        return fails(arena, out, "NodeName", "node(s) didn't match the requested node name");
    if (has_port_taken(r))
        return fails(arena, out, "NodePorts", "node(s) didn't have free ports for the requested pod ports");
    if (!r->known && !is_static(r->pod) && is_kept_out(r))
        return fails(arena, out, "TaintToleration", "node(s) had taints that the pod didn't tolerate");
    return false;
}
