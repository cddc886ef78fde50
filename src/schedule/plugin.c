/* The table of plugins, with upstream's default weights. */
#include "schedule/plugin.h"

const struct schedule_plugin schedule_plugins[] = {
    {"NodeUnschedulable", filter_node_unschedulable, NULL, 0},
    {"NodeName", filter_node_name, NULL, 0},
    {"TaintToleration", filter_taint_toleration, score_taint_toleration, 3},
    {"NodeAffinity", filter_node_affinity, NULL, 0},
    {"NodeResourcesFit", filter_node_resources, score_least_allocated, 1},
    {"NodeResourcesBalancedAllocation", NULL, score_balanced_allocation, 1},
    {NULL, NULL, NULL, 0},
};
