/* Requests and limits of pods, from their specification and their status. */
#include "api/pod_resources.h"

#include <string.h>

#include "api/pod_condition.h"
#include "api/quantity.h"
#include "base/arena.h"

int64_t pod_resource_amount(const struct string_map *map, const char *name)
{
    const char *text = string_map_get(map, name);
    return strcmp(name, "cpu") == 0 ? quantity_milli_value(text) : quantity_value(text);
}

const struct container_status *pod_container_status(const struct pod_status *status, const char *name)
{
    const struct container_status_array *lists[] = {&status->container_statuses, &status->init_container_statuses};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (strcmp(lists[l]->items[i].name, name) == 0)
                return &lists[l]->items[i];
    return NULL;
}

const char *pod_resize_pending(const struct pod *pod)
{
    const struct pod_condition *c = pod_condition_find(&pod->status.conditions, "PodResizePending");
    return c && strcmp(c->status, "True") == 0 ? c->reason : NULL;
}

struct counting {
    const struct pod *pod;
    const char *name;
    enum pod_count count;
    int64_t otherwise;
};

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A change that never will be made does not count. */
static int64_t request_of(const struct container *c, const struct counting *k)
{
    const struct container_status *s =
        k->count == POD_COUNT_STATUS ? pod_container_status(&k->pod->status, c->name) : NULL;
    int64_t asked = string_map_get(&c->resources.requests, k->name)
                        ? pod_resource_amount(&c->resources.requests, k->name)
                        : k->otherwise;
    if (!s || !s->resources)
        return asked;
    const char *pending = pod_resize_pending(k->pod);
    int64_t given = most(pod_resource_amount(&s->resources->requests, k->name),
                         pod_resource_amount(&s->allocated_resources, k->name));
    return pending && strcmp(pending, "Infeasible") == 0 && given ? given : most(asked, given);
}

static bool is_sidecar(const struct container *c)
{
    return c->restart_policy && strcmp(c->restart_policy, "Always") == 0;
}

static int64_t add_up(const struct counting *k)
{
    const struct pod_spec *spec = &k->pod->spec;
    int64_t sum = 0, sidecars = 0, largest = 0;
    for (size_t i = 0; i < spec->containers.count; i++)
        sum += request_of(&spec->containers.items[i], k);
    for (size_t i = 0; i < spec->init_containers.count; i++) {
        const struct container *c = &spec->init_containers.items[i];
        int64_t own = request_of(c, k);
        if (is_sidecar(c))
            sidecars += own;
        largest = most(largest, is_sidecar(c) ? sidecars : own + sidecars);
    }
    return most(sum + sidecars, largest);
}

static bool is_pod_level(const struct pod_spec *spec, const char *name)
{
    return spec->resources && string_map_get(&spec->resources->requests, name);
}

int64_t pod_resource_request(const struct pod *pod, const char *name, enum pod_count count, int64_t otherwise)
{
    struct counting k = {pod, name, count, otherwise};
    int64_t sum =
        is_pod_level(&pod->spec, name) ? pod_resource_amount(&pod->spec.resources->requests, name) : add_up(&k);
    return sum + pod_resource_amount(&pod->spec.overhead, name);
}

static bool add_limits(const struct container_array *containers, const char *name, bool sidecars_only, int64_t *sum)
{
    bool all = true;
    for (size_t i = 0; i < containers->count; i++) {
        const struct container *c = &containers->items[i];
        if (sidecars_only && !is_sidecar(c))
            continue;
        int64_t limit = pod_resource_amount(&c->resources.limits, name);
        all = all && limit > 0;
        *sum += limit;
    }
    return all;
}

bool pod_resource_limit(const struct pod_spec *spec, const char *name, int64_t *out)
{
    int64_t sum = 0;
    if (spec->resources && string_map_get(&spec->resources->limits, name)) {
        *out = pod_resource_amount(&spec->resources->limits, name) + pod_resource_amount(&spec->overhead, name);
        return true;
    }
    bool all = add_limits(&spec->containers, name, false, &sum) && add_limits(&spec->init_containers, name, true, &sum);
    for (size_t i = 0; i < spec->init_containers.count && all; i++) {
        int64_t limit = pod_resource_amount(&spec->init_containers.items[i].resources.limits, name);
        all = limit > 0;
        sum = most(sum, limit);
    }
    *out = sum + pod_resource_amount(&spec->overhead, name);
    return all && sum > 0;
}

static const char *sum_of_requests(struct arena *arena, const struct pod_spec *spec, const char *name)
{
    struct pod pod = {.spec = *spec};
    struct counting k = {&pod, name, POD_COUNT_SPEC, 0};
    pod.spec.resources = NULL;
    bool cpu = strcmp(name, "cpu") == 0;
    quantity_t unit = cpu ? 1000000 : 1000000000;
    int64_t sum = add_up(&k);
    return sum ? quantity_format(arena, sum * unit, !cpu) : NULL;
}

void pod_resources_default(struct arena *arena, struct pod_spec *spec)
{
    static const char *const shared[] = {"cpu", "memory"};
    struct resource_requirements *r = spec->resources;
    for (size_t i = 0; r && i < 2; i++) {
        const char *limit = string_map_get(&r->limits, shared[i]), *asked = sum_of_requests(arena, spec, shared[i]);
        if (!string_map_get(&r->requests, shared[i]) && (limit || (asked && r->limits.count + r->requests.count)))
            string_map_set(arena, &r->requests, shared[i], asked ? asked : limit);
    }
}
