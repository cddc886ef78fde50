/* The table of plugins: upstream's default profile, its order and its weights. */
#include "schedule/plugin.h"

#define POD_MOVES (EVENT_POD_ADDED | EVENT_POD_LABELS | EVENT_POD_GONE)

const struct schedule_plugin schedule_plugins[] = {
    {.name = "NodeUnschedulable", .filter = filter_node_unschedulable, .events = EVENT_NODE_ADDED | EVENT_NODE_TAINTS},
    {.name = "NodeName", .prefilter = prefilter_node_name, .filter = filter_node_name, .events = EVENT_NODE_ADDED},
    {.name = "TaintToleration",
     .filter = filter_taint_toleration,
     .prescore = prescore_taint_toleration,
     .score = score_taint_toleration,
     .normalize = normalize_less,
     .weight = 3,
     .events = EVENT_NODE_ADDED | EVENT_NODE_TAINTS,
     .hint = hint_taint_toleration},
    {.name = "NodeAffinity",
     .prefilter = prefilter_node_affinity,
     .filter = filter_node_affinity,
     .prescore = prescore_node_affinity,
     .score = score_node_affinity,
     .normalize = normalize_more,
     .weight = 2,
     .events = EVENT_NODE_ADDED | EVENT_NODE_LABELS,
     .hint = hint_node_affinity},
    {.name = "NodePorts",
     .prefilter = prefilter_node_ports,
     .filter = filter_node_ports,
     .events = EVENT_POD_GONE | EVENT_NODE_ADDED},
    {.name = "NodeResourcesFit",
     .prefilter = prefilter_node_resources,
     .filter = filter_node_resources,
     .score = score_least_allocated,
     .weight = 1,
     .events = EVENT_POD_GONE | EVENT_POD_SCALED | EVENT_NODE_ADDED | EVENT_NODE_ALLOCATABLE},
    {.name = "VolumeRestrictions",
     .prefilter = prefilter_volume_restrictions,
     .filter = filter_volume_restrictions,
     .events = EVENT_POD_GONE | EVENT_STORAGE},
    {.name = "VolumeBinding",
     .prefilter = prefilter_volume_binding,
     .filter = filter_volume_binding,
     .events = EVENT_STORAGE | EVENT_NODE_ADDED | EVENT_NODE_LABELS},
    {.name = "PodTopologySpread",
     .prefilter = prefilter_topology_spread,
     .filter = filter_topology_spread,
     .prescore = prescore_topology_spread,
     .score = score_topology_spread,
     .normalize = normalize_topology_spread,
     .weight = 2,
     .events =
         POD_MOVES | EVENT_POD_ENDING | EVENT_NODE_ADDED | EVENT_NODE_LABELS | EVENT_NODE_TAINTS | EVENT_NODE_GONE,
     .hint = hint_topology_spread},
    {.name = "InterPodAffinity",
     .prefilter = prefilter_inter_pod_affinity,
     .filter = filter_inter_pod_affinity,
     .prescore = prescore_inter_pod_affinity,
     .score = score_inter_pod_affinity,
     .normalize = normalize_inter_pod_affinity,
     .weight = 2,
     .events = POD_MOVES | EVENT_NODE_ADDED | EVENT_NODE_LABELS | EVENT_NAMESPACE,
     .hint = hint_inter_pod_affinity},
    {.name = "NodeResourcesBalancedAllocation",
     .prescore = prescore_balanced_allocation,
     .score = score_balanced_allocation,
     .weight = 1},
    {.name = "ImageLocality", .prescore = prescore_image_locality, .score = score_image_locality, .weight = 1},
    {.name = NULL},
};

static int64_t largest(const int64_t *scores, size_t count)
{
    int64_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = scores[i] > most ? scores[i] : most;
    return most;
}

void normalize_more(const struct schedule_pod *pod, int64_t *scores, size_t count)
{
    int64_t most = largest(scores, count);
    (void)pod;
    for (size_t i = 0; most && i < count; i++)
        scores[i] = SCHEDULE_SCORE_MAX * scores[i] / most;
}

void normalize_less(const struct schedule_pod *pod, int64_t *scores, size_t count)
{
    int64_t most = largest(scores, count);
    (void)pod;
    for (size_t i = 0; i < count; i++)
        scores[i] = SCHEDULE_SCORE_MAX - (most ? SCHEDULE_SCORE_MAX * scores[i] / most : 0);
}
