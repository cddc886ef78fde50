/* The table of plugins, with upstream's default weights. */
#include "schedule/plugin.h"

const struct schedule_plugin schedule_plugins[] = {
    {"NodeUnschedulable", filter_node_unschedulable, NULL, 0, NULL},
    {"NodeName", filter_node_name, NULL, 0, NULL},
    {"TaintToleration", filter_taint_toleration, score_taint_toleration, 3, NULL},
    {"NodeAffinity", filter_node_affinity, NULL, 0, NULL},
    {"NodePorts", filter_node_ports, NULL, 0, NULL},
    {"NodeResourcesFit", filter_node_resources, score_least_allocated, 1, NULL},
    {"VolumeRestrictions", filter_volume_restrictions, NULL, 0, NULL},
    {"VolumeBinding", filter_volume_binding, NULL, 0, prefilter_volume_binding},
    {"NodeResourcesBalancedAllocation", NULL, score_balanced_allocation, 1, NULL},
    {NULL, NULL, NULL, 0, NULL},
};
