/* Requests, limits and cgroups. */
#include "node/limits.h"

#include <string.h>

#include "api/pod_containers.h"
#include "api/pod_qos.h"
#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "node/eviction.h"

/* ---- Groups ---- */

static int64_t limit_of(const struct pod_spec *spec, const struct resource_requirements *r, const char *name)
{
    if (string_map_get(&r->limits, name) || !spec->resources)
        return pod_resource_amount(&r->limits, name);
    return pod_resource_amount(&spec->resources->limits, name);
}

struct cgroup_resources limits_of_container(const struct pod_spec *spec, const struct resource_requirements *allocated)
{
    int64_t cpu = pod_resource_amount(&allocated->requests, "cpu"), limit = limit_of(spec, allocated, "cpu");
    return (struct cgroup_resources){
        .cpu_shares = cgroup_cpu_shares(cpu || string_map_get(&allocated->requests, "cpu") ? cpu : limit),
        .cpu_quota = cgroup_cpu_quota(limit, CGROUP_CPU_PERIOD),
        .cpu_period = CGROUP_CPU_PERIOD,
        .memory_limit = limit_of(spec, allocated, "memory"),
    };
}

struct cgroup_resources limits_of_pod(const struct pod *pod)
{
    struct cgroup_resources r = {.cpu_shares = CGROUP_CPU_SHARES_MIN, .cpu_period = CGROUP_CPU_PERIOD};
    int64_t cpu, memory;
    if (strcmp(api_pod_qos_class(&pod->spec), "BestEffort") == 0)
        return r;
    r.cpu_shares = cgroup_cpu_shares(pod_resource_request(pod, "cpu", POD_COUNT_SPEC, 0));
    if (pod_resource_limit(&pod->spec, "cpu", &cpu))
        r.cpu_quota = cgroup_cpu_quota(cpu, CGROUP_CPU_PERIOD);
    if (pod_resource_limit(&pod->spec, "memory", &memory))
        r.memory_limit = memory;
    return r;
}

struct runtime_huge_page_limit *limits_of_huge_pages(struct arena *arena, const struct pod_spec *spec,
                                                     const struct resource_requirements *allocated,
                                                     const struct huge_pages *pages)
{
    struct runtime_huge_page_limit *limits = arena_alloc(arena, pages->count * sizeof(*limits));
    for (size_t i = 0; i < pages->count; i++)
        limits[i] = (struct runtime_huge_page_limit){pages->items[i].kernel,
                                                     limit_of(spec, allocated, pages->items[i].resource)};
    return limits;
}

/* ---- Kills by memory ---- */

#define SCORE_LEAST (-997)
#define SCORE_MOST 1000

static int64_t memory_request(const struct container *c)
{
    return pod_resource_amount(&c->resources.requests, "memory");
}

/* What the pod as a whole asks for beyond its containers, in equal parts for each of them. */
static int64_t share_of_pod(const struct pod *pod)
{
    struct pod containers = *pod;
    int64_t whole = pod->spec.resources ? pod_resource_amount(&pod->spec.resources->requests, "memory") : 0;
    if (!whole)
        return 0;
    containers.spec.resources = NULL;
    containers.spec.overhead = (struct string_map){0};
    int64_t rest = whole - pod_resource_request(&containers, "memory", POD_COUNT_SPEC, 0);
    return rest / (int64_t)(pod->spec.containers.count + pod->spec.init_containers.count);
}

static bool is_sidecar_of(const struct pod *pod, const struct container *container)
{
    for (size_t i = 0; i < pod->spec.init_containers.count; i++)
        if (text_equal(pod->spec.init_containers.items[i].name, container->name))
            return api_is_sidecar(container);
    return false;
}

static int64_t least_request(const struct pod *pod)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < pod->spec.containers.count; i++) {
        int64_t request = memory_request(&pod->spec.containers.items[i]);
        least = request < least ? request : least;
    }
    return least;
}

static bool is_node_critical(const struct pod *pod)
{
    return eviction_is_critical(pod) && text_equal(pod->spec.priority_class_name, "system-node-critical");
}

int limits_oom_score(const struct pod *pod, const struct container *container, int64_t node_memory)
{
    const char *qos = api_pod_qos_class(&pod->spec);
    if (is_node_critical(pod) || text_equal(qos, "Guaranteed"))
        return SCORE_LEAST;
    if (text_equal(qos, "BestEffort"))
        return SCORE_MOST;
    int64_t request = memory_request(container), share = share_of_pod(pod);
    /* A sidecar outlives the containers that it serves. */
    if (is_sidecar_of(pod, container) && least_request(pod) > request)
        request = least_request(pod);
    quantity_t score = SCORE_MOST - 1000 * ((quantity_t)request + share) / node_memory;
    return score < SCORE_MOST + SCORE_LEAST ? SCORE_MOST + SCORE_LEAST
           : score >= SCORE_MOST            ? SCORE_MOST - 1
                                            : (int)score;
}

/* ---- What is in force ---- */

static const char *cpu_text(struct arena *arena, int64_t milli)
{
    return quantity_format(arena, (quantity_t)milli * 1000000, false);
}

static struct string_map copy_map(struct arena *arena, const struct string_map *map)
{
    return (struct string_map){arena_copy(arena, map->items, map->count * sizeof(*map->items)), map->count};
}

void limits_shown(struct arena *arena, const struct pod_spec *spec, const struct resource_requirements *allocated,
                  const struct cgroup_resources *actual, struct resource_requirements *out)
{
    struct cgroup_resources wanted = limits_of_container(spec, allocated);
    *out = *allocated;
    out->requests = copy_map(arena, &allocated->requests);
    out->limits = copy_map(arena, &allocated->limits);
    if (string_map_get(&out->requests, "cpu") && actual->cpu_shares != wanted.cpu_shares)
        string_map_set(arena, &out->requests, "cpu", cpu_text(arena, cgroup_milli_of_shares(actual->cpu_shares)));
    if (string_map_get(&out->limits, "cpu") && actual->cpu_quota && actual->cpu_quota != wanted.cpu_quota)
        string_map_set(arena, &out->limits, "cpu",
                       cpu_text(arena, cgroup_milli_of_quota(actual->cpu_quota, actual->cpu_period)));
    if (string_map_get(&out->limits, "memory") && actual->memory_limit && actual->memory_limit != wanted.memory_limit)
        string_map_set(arena, &out->limits, "memory",
                       quantity_format(arena, (quantity_t)actual->memory_limit * 1000000000, true));
}

static const char *const changing[] = {"cpu", "memory"};

static bool may_change(const char *name)
{
    return text_equal(name, changing[0]) || text_equal(name, changing[1]);
}

/* What may change is as it was shown, all else as it is asked for. */
static struct string_map restore(struct arena *arena, const struct string_map *asked, const struct string_map *shown)
{
    struct string_map out = {0};
    for (size_t i = 0; i < asked->count; i++)
        if (!may_change(asked->items[i].key))
            string_map_set(arena, &out, asked->items[i].key, asked->items[i].value);
    for (size_t i = 0; i < ARRAY_COUNT(changing); i++)
        if (string_map_get(shown, changing[i]))
            string_map_set(arena, &out, changing[i], string_map_get(shown, changing[i]));
    return out;
}

void limits_restore(struct arena *arena, const struct resource_requirements *asked,
                    const struct container_status *shown, struct resource_requirements *out)
{
    *out = *asked;
    out->requests = restore(arena, &asked->requests, &shown->allocated_resources);
    out->limits = restore(arena, &asked->limits, &shown->resources->limits);
}

static bool same_amount(const struct resource_requirements *a, const struct resource_requirements *b, const char *name)
{
    return quantity_compare(string_map_get(&a->requests, name), string_map_get(&b->requests, name)) == 0 &&
           quantity_compare(string_map_get(&a->limits, name), string_map_get(&b->limits, name)) == 0;
}

bool limits_equal(const struct resource_requirements *a, const struct resource_requirements *b)
{
    return same_amount(a, b, changing[0]) && same_amount(a, b, changing[1]);
}

bool limits_want_restart(const struct container *container, const struct resource_requirements *before,
                         const struct resource_requirements *now)
{
    for (size_t i = 0; i < container->resize_policy.count; i++) {
        const struct container_resize_policy *p = &container->resize_policy.items[i];
        if (strcmp(p->restart_policy, "RestartContainer") == 0 && !same_amount(before, now, p->resource_name))
            return true;
    }
    return false;
}
