/* NodeResourcesFit, and the scores LeastAllocated and BalancedAllocation. */
#include <math.h>
#include <string.h>

#include "api/quantity.h"
#include "base/arena.h"
#include "schedule/plugin.h"

static const char *const insufficient[RESOURCE_KINDS] = {"Insufficient cpu", "Insufficient memory",
                                                         "Insufficient ephemeral-storage"};

static void filter_extended(const struct schedule_pod *pod, const struct node_info *node,
                            struct schedule_verdict *verdict)
{
    for (size_t i = 0; i < pod->pod->spec.containers.count; i++) {
        const struct string_map *requests = &pod->pod->spec.containers.items[i].resources.requests;
        for (size_t r = 0; r < requests->count; r++) {
            const char *name = requests->items[r].key;
            if (strcmp(name, "cpu") == 0 || strcmp(name, "memory") == 0 || strcmp(name, "ephemeral-storage") == 0)
                continue;
            int64_t asked = pod_request_of(&pod->pod->spec, name);
            int64_t room = quantity_value(string_map_get(&node->node->status.allocatable, name));
            if (asked && asked > room - (int64_t)(intptr_t)map_get(&node->extended, name))
                schedule_object(verdict, arena_printf(pod->arena, "Insufficient %s", name), asked > room);
        }
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

/* Nodes whose cpu and memory fill alike are better; between two fractions the standard deviation is half their
 * difference. */
int64_t score_balanced_allocation(const struct schedule_pod *pod, const struct node_info *node)
{
    double fraction[2];
    for (int kind = RESOURCE_CPU; kind <= RESOURCE_MEMORY; kind++) {
        int64_t room = node->allocatable.of[kind];
        double used = (double)(node->requested.of[kind] + pod->requests.of[kind]);
        fraction[kind] = room ? fmin(used / (double)room, 1.0) : 1.0;
    }
    return (int64_t)((1.0 - fabs(fraction[0] - fraction[1]) / 2) * SCHEDULE_SCORE_MAX);
}
