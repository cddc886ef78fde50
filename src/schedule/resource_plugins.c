/* NodeResourcesFit, and the scores LeastAllocated and BalancedAllocation. */
#include <math.h>
#include <string.h>

#include "api/quantity.h"
#include "base/arena.h"
#include "schedule/plugin.h"

static const char *const insufficient[RESOURCE_KINDS] = {"Insufficient cpu", "Insufficient memory",
                                                         "Insufficient ephemeral-storage"};

/* Adds a resource that a container asks for, unless it is there already. */
static void add_extended(struct schedule_pod *pod, struct schedule_request *requests, const char *name)
{
    for (size_t i = 0; i < pod->extended_count; i++)
        if (strcmp(requests[i].name, name) == 0)
            return;
    int64_t amount = pod_request_of(pod->pod, name);
    if (amount)
        requests[pod->extended_count++] = (struct schedule_request){name, amount};
}

static void collect_extended(struct schedule_pod *pod, struct schedule_request *requests,
                             const struct container_array *containers)
{
    for (size_t i = 0; i < containers->count; i++) {
        const struct string_map *asked = &containers->items[i].resources.requests;
        for (size_t r = 0; r < asked->count; r++)
            if (resource_is_extended(asked->items[r].key))
                add_extended(pod, requests, asked->items[r].key);
    }
}

bool prefilter_node_resources(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    const struct pod_spec *spec = &pod->pod->spec;
    size_t most = 0;
    (void)verdict;
    pod->extended_count = 0;
    pod_requests(pod->pod, &pod->requests);
    pod_load(pod->pod, &pod->load);
    for (size_t i = 0; i < spec->containers.count; i++)
        most += spec->containers.items[i].resources.requests.count;
    for (size_t i = 0; i < spec->init_containers.count; i++)
        most += spec->init_containers.items[i].resources.requests.count;
    struct schedule_request *requests = arena_alloc(pod->arena, most * sizeof(*requests));
    collect_extended(pod, requests, &spec->containers);
    collect_extended(pod, requests, &spec->init_containers);
    pod->extended = requests;
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
        int64_t room = node->allocatable.of[kind], used = node->assumed_load.of[kind] + pod->load.of[kind];
        if (!room)
            continue;
        sum += used > room ? 0 : (room - used) * SCHEDULE_SCORE_MAX / room;
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
