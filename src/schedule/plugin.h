/* The plugins: one table, with the few entry points of upstream's scheduler framework. A plugin family has a file;
 * adding one is a line in plugin.c. */
#ifndef CORACLE_SCHEDULE_PLUGIN_H
#define CORACLE_SCHEDULE_PLUGIN_H

#include "schedule/node_info.h"

/* Reasons that one pod can have against one node. */
#define SCHEDULE_REASONS_MAX 8
/* Highest score of a plugin. */
#define SCHEDULE_SCORE_MAX 100

struct volume_book;

struct schedule_request {
    const char *name;
    int64_t amount;
};

/* The pod to be placed, with what is computed once for all nodes. */
struct schedule_pod {
    const struct pod *pod;
    struct resource_amounts requests;
    struct resource_amounts load;
    /* Other resources, by name, with amounts above 0. */
    const struct schedule_request *extended;
    size_t extended_count;
    struct volume_book *book;
    struct object **claims; /* of its volumes, each once, in the order of their sizes; borrowed */
    size_t claim_count;
    struct arena *arena; /* lives as long as the attempt */
};

struct schedule_verdict {
    const char *reasons[SCHEDULE_REASONS_MAX]; /* in upstream's words */
    size_t count;
    bool unresolvable; /* no eviction of other pods would help */
};

struct schedule_plugin {
    const char *name;
    /* Fills the verdict when the node will not do; NULL: does not filter. */
    void (*filter)(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict);
    /* 0 to SCHEDULE_SCORE_MAX, more is better; NULL: does not score. */
    int64_t (*score)(const struct schedule_pod *pod, const struct node_info *node);
    int weight;
    /* Once for all nodes: completes the pod, or fills the verdict when no node will do; NULL: nothing to do. */
    void (*prefilter)(struct schedule_pod *pod, struct schedule_verdict *verdict);
};

/* In the order in which filters run; the first that objects decides. Ends with a NULL name. */
extern const struct schedule_plugin schedule_plugins[];

/* One file per family. */
void filter_node_unschedulable(const struct schedule_pod *pod, const struct node_info *node,
                               struct schedule_verdict *verdict);
void filter_node_name(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict);
void filter_taint_toleration(const struct schedule_pod *pod, const struct node_info *node,
                             struct schedule_verdict *verdict);
int64_t score_taint_toleration(const struct schedule_pod *pod, const struct node_info *node);
void filter_node_affinity(const struct schedule_pod *pod, const struct node_info *node,
                          struct schedule_verdict *verdict);
void filter_node_ports(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict);
void filter_node_resources(const struct schedule_pod *pod, const struct node_info *node,
                           struct schedule_verdict *verdict);
int64_t score_least_allocated(const struct schedule_pod *pod, const struct node_info *node);
int64_t score_balanced_allocation(const struct schedule_pod *pod, const struct node_info *node);
void prefilter_volume_binding(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_volume_binding(const struct schedule_pod *pod, const struct node_info *node,
                           struct schedule_verdict *verdict);
void filter_volume_restrictions(const struct schedule_pod *pod, const struct node_info *node,
                                struct schedule_verdict *verdict);

/* resource_plugins.c: fills what is computed once. */
void schedule_pod_prepare(struct schedule_pod *pod);

static inline void schedule_object(struct schedule_verdict *verdict, const char *reason, bool unresolvable)
{
    if (verdict->count < SCHEDULE_REASONS_MAX)
        verdict->reasons[verdict->count++] = reason;
    verdict->unresolvable |= unresolvable;
}

#endif
