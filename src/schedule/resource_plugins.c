/* NodeResourcesFit, and the scores LeastAllocated and BalancedAllocation. */
#include <math.h>
#include <string.h>

#include "api/quantity.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/text.h"
#include "schedule/plugin.h"

static const char *const insufficient[RESOURCE_KINDS] = {"Insufficient cpu", "Insufficient memory",
                                                         "Insufficient ephemeral-storage"};

/* What a pod's containers ask of one further resource, counted as pod_resource_request does. */
struct extended_sum {
    const char *name;
    int64_t sum, sidecars, largest;
};

/* All of them, found by name: a pod may name thousands. */
struct extended_sums {
    struct map places; /* name -> its place, counted from 1 */
    struct extended_sum *items;
    size_t count;
};

static struct extended_sum *sum_of(struct arena *arena, struct extended_sums *sums, const char *name)
{
    uintptr_t place = (uintptr_t)map_get(&sums->places, name);
    if (place)
        return &sums->items[place - 1];
    sums->items = arena_array_extend(arena, sums->items, sums->count, sizeof(*sums->items));
    sums->items[sums->count++] = (struct extended_sum){.name = name};
    map_set(&sums->places, name, (void *)(uintptr_t)sums->count);
    return &sums->items[sums->count - 1];
}

static void add_container(struct extended_sum *e, int64_t own)
{
    e->sum = quantity_add(e->sum, own);
}

static void add_init_container(struct extended_sum *e, int64_t own)
{
    int64_t together = quantity_add(own, e->sidecars);
    e->largest = together > e->largest ? together : e->largest;
}

static void add_sidecar(struct extended_sum *e, int64_t own)
{
    e->sidecars = quantity_add(e->sidecars, own);
    e->largest = e->sidecars > e->largest ? e->sidecars : e->largest;
}

static void collect_extended(struct arena *arena, struct extended_sums *sums, const struct container *c,
                             void (*add)(struct extended_sum *e, int64_t own))
{
    const struct string_map *asked = &c->resources.requests;
    for (size_t i = 0; i < asked->count; i++)
        if (resource_is_extended(asked->items[i].key))
            add(sum_of(arena, sums, asked->items[i].key), quantity_value(asked->items[i].value));
}

/* Of the pod as a whole, where it says so, else of its containers. */
static int64_t amount_of(const struct pod_spec *spec, const struct extended_sum *e)
{
    const char *whole = spec->resources ? string_map_get(&spec->resources->requests, e->name) : NULL;
    int64_t sum = quantity_add(e->sum, e->sidecars), most = sum > e->largest ? sum : e->largest;
    return quantity_add(whole ? quantity_value(whole) : most, quantity_value(string_map_get(&spec->overhead, e->name)));
}

static void set_extended(struct schedule_pod *pod)
{
    const struct pod_spec *spec = &pod->pod->spec;
    struct extended_sums sums = {0};
    for (size_t i = 0; i < spec->containers.count; i++)
        collect_extended(pod->arena, &sums, &spec->containers.items[i], add_container);
    for (size_t i = 0; i < spec->init_containers.count; i++) {
        const struct container *c = &spec->init_containers.items[i];
        collect_extended(pod->arena, &sums, c,
                         text_equal(c->restart_policy, "Always") ? add_sidecar : add_init_container);
    }
    map_free(&sums.places);
    struct schedule_request *requests = arena_alloc(pod->arena, sums.count * sizeof(*requests));
    pod->extended = requests;
    pod->extended_count = 0;
    for (size_t i = 0; i < sums.count; i++) {
        int64_t amount = amount_of(spec, &sums.items[i]);
        if (amount)
            requests[pod->extended_count++] = (struct schedule_request){sums.items[i].name, amount};
    }
}

bool prefilter_node_resources(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    (void)verdict;
    pod_requests(pod->pod, &pod->requests);
    pod_load(pod->pod, &pod->load);
    set_extended(pod);
    return true;
}

static void filter_extended(const struct schedule_pod *pod, const struct node_info *node,
                            struct schedule_verdict *verdict)
{
    for (size_t i = 0; i < pod->extended_count; i++) {
        const struct schedule_request *r = &pod->extended[i];
        int64_t room = quantity_value(string_map_get(&node->node->status.allocatable, r->name));
        if (r->amount > room - (int64_t)(intptr_t)map_get(&node->extended, r->name))
            schedule_object(verdict, arena_printf(pod->arena, "Insufficient %s", r->name), r->amount > room);
    }
}

void filter_node_resources(const struct schedule_pod *pod, const struct node_info *node,
                           struct schedule_verdict *verdict)
{
    if (node->pods + 1 > node->pods_allocatable)
        schedule_object(verdict, "Too many pods", false);
    for (int kind = 0; kind < RESOURCE_KINDS; kind++) {
        int64_t asked = pod->requests.of[kind];
        if (asked && asked > node->allocatable.of[kind] - node->requested.of[kind])
            schedule_object(verdict, insufficient[kind], asked > node->allocatable.of[kind]);
    }
    filter_extended(pod, node, verdict);
}

/* cpu and memory count alike: the more is left after the pod, the better. */
int64_t score_least_allocated(const struct schedule_pod *pod, const struct node_info *node)
{
    int64_t sum = 0, counted = 0;
    for (int kind = RESOURCE_CPU; kind <= RESOURCE_MEMORY; kind++) {
        int64_t room = node->allocatable.of[kind];
        __int128 used = node->assumed_load.of[kind] + pod->load.of[kind];
        if (!room)
            continue;
        sum += used > room ? 0 : (int64_t)((room - used) * SCHEDULE_SCORE_MAX / room);
        counted++;
    }
    return counted ? sum / counted : 0;
}

/* A pod that asks for nothing would all go to the node that is balanced best. */
bool prescore_balanced_allocation(struct schedule_pod *pod, struct node_info *const *nodes, size_t count)
{
    (void)nodes, (void)count;
    return pod->requests.of[RESOURCE_CPU] || pod->requests.of[RESOURCE_MEMORY];
}

/* Nodes whose cpu and memory fill alike are better; between two fractions the standard deviation is half their
 * difference. */
int64_t score_balanced_allocation(const struct schedule_pod *pod, const struct node_info *node)
{
    double fraction[2] = {0};
    int counted = 0;
    for (int kind = RESOURCE_CPU; kind <= RESOURCE_MEMORY; kind++) {
        int64_t room = node->allocatable.of[kind];
        double used = (double)(node->requested.of[kind] + pod->requests.of[kind]);
        if (room)
            fraction[counted++] = fmin(used / (double)room, 1.0);
    }
    double deviation = counted == 2 ? fabs((fraction[0] - fraction[1]) / 2) : 0;
    return (int64_t)((1.0 - deviation) * SCHEDULE_SCORE_MAX);
}
