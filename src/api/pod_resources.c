/* Requests and limits of pods, from their specification and their status. */
#include "api/pod_resources.h"

#include <string.h>

#include "api/pod_condition.h"
#include "api/pod_containers.h"
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
    const struct pod_spec *spec;
    const char *name;
    int64_t (*amount_of)(const struct container *container, const struct counting *counting);
    /* Of requests: */
    const struct pod_status *status; /* NULL: only the specification counts */
    const char *pending;             /* of a resize; NULL: none is */
    int64_t otherwise;
};

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A change that never will be made does not count. */
static int64_t request_of(const struct container *c, const struct counting *k)
{
    const struct container_status *s = k->status ? pod_container_status(k->status, c->name) : NULL;
    int64_t asked = string_map_get(&c->resources.requests, k->name)
                        ? pod_resource_amount(&c->resources.requests, k->name)
                        : k->otherwise;
    if (!s || !s->resources)
        return asked;
    int64_t given = most(pod_resource_amount(&s->resources->requests, k->name),
                         pod_resource_amount(&s->allocated_resources, k->name));
    return k->pending && strcmp(k->pending, "Infeasible") == 0 && given ? given : most(asked, given);
}

static int64_t limit_of(const struct container *c, const struct counting *k)
{
    return pod_resource_amount(&c->resources.limits, k->name);
}

/* While an init container runs, the sidecars before it do, too. */
static int64_t add_up(const struct counting *k)
{
    const struct pod_spec *spec = k->spec;
    int64_t sum = 0, sidecars = 0, largest = 0;
    for (size_t i = 0; i < spec->containers.count; i++)
        sum = quantity_add(sum, k->amount_of(&spec->containers.items[i], k));
    for (size_t i = 0; i < spec->init_containers.count; i++) {
        const struct container *c = &spec->init_containers.items[i];
        int64_t own = k->amount_of(c, k);
        if (api_is_sidecar(c))
            sidecars = quantity_add(sidecars, own);
        largest = most(largest, api_is_sidecar(c) ? sidecars : quantity_add(own, sidecars));
    }
    return most(quantity_add(sum, sidecars), largest);
}

static bool is_pod_level(const struct pod_spec *spec, const char *name)
{
    return spec->resources && string_map_get(&spec->resources->requests, name);
}

int64_t pod_resource_request(const struct pod *pod, const char *name, enum pod_count count, int64_t otherwise)
{
    struct counting k = {.spec = &pod->spec,
                         .name = name,
                         .amount_of = request_of,
                         .status = count == POD_COUNT_STATUS ? &pod->status : NULL,
                         .pending = pod_resize_pending(pod),
                         .otherwise = otherwise};
    int64_t sum =
        is_pod_level(&pod->spec, name) ? pod_resource_amount(&pod->spec.resources->requests, name) : add_up(&k);
    return quantity_add(sum, pod_resource_amount(&pod->spec.overhead, name));
}

static bool all_limited(const struct container_array *containers, const char *name)
{
    for (size_t i = 0; i < containers->count; i++)
        if (!pod_resource_amount(&containers->items[i].resources.limits, name))
            return false;
    return true;
}

bool pod_resource_limit(const struct pod_spec *spec, const char *name, int64_t *out)
{
    struct counting k = {.spec = spec, .name = name, .amount_of = limit_of};
    bool pod_level = spec->resources && string_map_get(&spec->resources->limits, name);
    int64_t sum = pod_level ? pod_resource_amount(&spec->resources->limits, name) : add_up(&k);
    *out = sum ? quantity_add(sum, pod_resource_amount(&spec->overhead, name)) : 0;
    return sum && (pod_level || (all_limited(&spec->containers, name) && all_limited(&spec->init_containers, name)));
}

/* Whether amounts are written with binary suffixes: as by the first container that names the resource. */
static bool is_binary(const struct pod_spec *spec, const char *name, bool limits)
{
    const struct container_array *lists[] = {&spec->containers, &spec->init_containers};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct resource_requirements *r = &lists[l]->items[i].resources;
            const char *text = string_map_get(limits ? &r->limits : &r->requests, name);
            if (text && pod_resource_amount(limits ? &r->limits : &r->requests, name))
                return text[strlen(text) - 1] == 'i';
        }
    return false;
}

const char *pod_containers_sum(struct arena *arena, const struct pod_spec *spec, const char *name, bool limits)
{
    struct counting k = {.spec = spec, .name = name, .amount_of = limits ? limit_of : request_of};
    quantity_t unit = strcmp(name, "cpu") == 0 ? 1000000 : 1000000000;
    int64_t sum = add_up(&k);
    return sum ? quantity_format(arena, sum * unit, is_binary(spec, name, limits)) : NULL;
}

void pod_resources_default(struct arena *arena, struct pod_spec *spec)
{
    static const char *const shared[] = {"cpu", "memory"};
    struct resource_requirements *r = spec->resources;
    for (size_t i = 0; r && i < 2; i++) {
        const char *limit = string_map_get(&r->limits, shared[i]),
                   *asked = pod_containers_sum(arena, spec, shared[i], false);
        if (!string_map_get(&r->requests, shared[i]) && (limit || (asked && r->limits.count + r->requests.count)))
            string_map_set(arena, &r->requests, shared[i], asked ? asked : limit);
    }
}
