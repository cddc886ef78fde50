#include "node/admission.h"

#include <string.h>

#include "api/host_port.h"
#include "api/node_selector.h"
#include "api/pod_resources.h"
#include "api/quantity.h"
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

/* Upstream's IsExtendedResourceName. */
static bool is_extended(const char *name)
{
    return strchr(name, '/') && !strstr(name, "kubernetes.io/") && strncmp(name, "requests.", strlen("requests.")) != 0;
}

static void run_out(struct arena *arena, struct admission_refusal *out, const char *name, int64_t requested,
                    int64_t used, int64_t capacity)
{
    out->reason = arena_printf(arena, "OutOf%s", name);
    out->message =
        arena_printf(arena, "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", name,
                     (long long)requested, (long long)used, (long long)capacity);
}

/* A pod that asks for nothing of it fits, however much is in use. */
static bool lacks(struct arena *arena, const struct admission_request *r, const char *name,
                  struct admission_refusal *out)
{
    int64_t asked = pod_resource_request(r->pod, name, POD_COUNT_SPEC, 0), used = 0;
    int64_t capacity = pod_resource_amount(&r->node->status.allocatable, name);
    if (asked <= 0)
        return false;
    for (size_t i = 0; i < r->count; i++)
        used = quantity_add(used, pod_resource_request(r->others[i], name, POD_COUNT_STATUS, 0));
    if (asked <= capacity - used)
        return false;
    run_out(arena, out, name, asked, used, capacity);
    return true;
}

static bool lacks_further(struct arena *arena, const struct admission_request *r, const struct string_map *asked,
                          struct admission_refusal *out)
{
    for (size_t i = 0; i < asked->count; i++) {
        const char *name = asked->items[i].key;
        bool unknown = is_extended(name) && !string_map_get(&r->node->status.allocatable, name);
        if (!is_basic(name) && !unknown && lacks(arena, r, name, out))
            return true;
    }
    return false;
}

static bool lacks_any(struct arena *arena, const struct admission_request *r, struct admission_refusal *out)
{
    const struct pod_spec *spec = &r->pod->spec;
    const struct container_array *lists[] = {&spec->containers, &spec->init_containers};
    int64_t most = quantity_value(string_map_get(&r->node->status.allocatable, "pods"));
    if ((int64_t)r->count + 1 > most) {
        run_out(arena, out, "pods", 1, (int64_t)r->count, most);
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(basic); i++)
        if (lacks(arena, r, basic[i], out))
            return true;
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (lacks_further(arena, r, &lists[l]->items[i].resources.requests, out))
                return true;
    return (spec->resources && lacks_further(arena, r, &spec->resources->requests, out)) ||
           lacks_further(arena, r, &spec->overhead, out);
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
