/* The plugins: one table, with the few entry points of upstream's scheduler framework. A plugin family has a file;
 * adding one is a line in plugin.c. */
#ifndef CORACLE_SCHEDULE_PLUGIN_H
#define CORACLE_SCHEDULE_PLUGIN_H

#include "schedule/census.h"
#include "schedule/node_info.h"

/* Reasons that one pod can have against one node. */
#define SCHEDULE_REASONS_MAX 8
/* Highest score of a plugin. */
#define SCHEDULE_SCORE_MAX 100
/* Plugins in the table. */
#define SCHEDULE_PLUGINS_MAX 32

struct volume_book;
struct affinity_state;
struct spread_state;
struct schedule_plugin;

struct schedule_request {
    const char *name;
    int64_t amount;
};

/* The pod to be placed, with what is computed once for all nodes. */
struct schedule_pod {
    const struct pod *pod;
    struct census *census;
    struct volume_book *book;
    struct informer *services, *replica_sets; /* whose selectors say what is spread by default */
    const char *nominated;                    /* the node that it has been promised; NULL: none */
    struct arena *arena;                      /* lives as long as the attempt */

    /* Computed. */
    struct resource_amounts requests;
    struct resource_amounts load;
    /* Other resources, by name, with amounts above 0. */
    const struct schedule_request *extended;
    size_t extended_count;
    struct object **claims; /* of its volumes, each once, in the order of their sizes; borrowed */
    size_t claim_count;
    struct affinity_state *affinity;
    struct spread_state *spread;
    const struct census_image **images; /* of its containers, where any node has them */
    size_t image_count;
    const char *const *only; /* names of the nodes that may do; NULL: any */
    size_t only_count;
    const struct schedule_plugin *only_by; /* who says so */
    /* Plugins that have something against some nodes. */
    const struct schedule_plugin *filters[SCHEDULE_PLUGINS_MAX];
    size_t filter_count;
};

struct schedule_verdict {
    const char *reasons[SCHEDULE_REASONS_MAX]; /* in upstream's words */
    size_t count;
    bool unresolvable; /* no eviction of other pods would help */
};

/* What may make a pod fit that did not. */
enum schedule_event {
    EVENT_POD_ADDED = 1 << 0,   /* a pod counts on a node, ... */
    EVENT_POD_LABELS = 1 << 1,  /* ... has other labels, ... */
    EVENT_POD_ENDING = 1 << 2,  /* ... is being deleted, ... */
    EVENT_POD_GONE = 1 << 3,    /* ... counts there no more, ... */
    EVENT_POD_SCALED = 1 << 11, /* ... has another spec */
    EVENT_NODE_ADDED = 1 << 4,
    EVENT_NODE_LABELS = 1 << 5,
    EVENT_NODE_TAINTS = 1 << 6, /* or unschedulable */
    EVENT_NODE_ALLOCATABLE = 1 << 7,
    EVENT_NODE_GONE = 1 << 8,
    EVENT_NAMESPACE = 1 << 9,
    EVENT_STORAGE = 1 << 10,
};

/* An event, with the pod or the node as it is now, or was last. */
struct schedule_change {
    enum schedule_event event;
    const struct pod *pod;
    const struct pod *old; /* of EVENT_POD_LABELS */
    const struct node_info *node;
};

struct schedule_plugin {
    const char *name;
    /* Once for all nodes: completes the pod, or fills the verdict when no node will do. False: the plugin has nothing
     * to say about this pod, and its filter is not run. NULL: nothing to do. */
    bool (*prefilter)(struct schedule_pod *pod, struct schedule_verdict *verdict);
    /* Fills the verdict when the node will not do; NULL: does not filter. */
    void (*filter)(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict);
    /* Once for the nodes that fit. False: they are all alike, and are not scored. NULL: nothing to do. */
    bool (*prescore)(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
    /* More is better; 0 to SCHEDULE_SCORE_MAX once it is normalized. NULL: does not score. */
    int64_t (*score)(const struct schedule_pod *pod, const struct node_info *node);
    void (*normalize)(const struct schedule_pod *pod, int64_t *scores, size_t count);
    int weight;
    /* enum schedule_event: what may change its mind; and whether it is worth a try, NULL: always. */
    unsigned events;
    bool (*hint)(const struct census *census, const struct pod *pod, const struct schedule_change *change);
};

/* In the order in which filters run; the first that objects decides. Ends with a NULL name. */
extern const struct schedule_plugin schedule_plugins[];

/* One file per family. node_plugins.c: */
void filter_node_unschedulable(const struct schedule_pod *pod, const struct node_info *node,
                               struct schedule_verdict *verdict);
void filter_node_name(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict);
bool prefilter_node_name(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_taint_toleration(const struct schedule_pod *pod, const struct node_info *node,
                             struct schedule_verdict *verdict);
bool prescore_taint_toleration(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
int64_t score_taint_toleration(const struct schedule_pod *pod, const struct node_info *node);
bool hint_taint_toleration(const struct census *census, const struct pod *pod, const struct schedule_change *change);
bool prefilter_node_ports(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_node_ports(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict);

/* node_affinity.c */
bool prefilter_node_affinity(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_node_affinity(const struct schedule_pod *pod, const struct node_info *node,
                          struct schedule_verdict *verdict);
bool prescore_node_affinity(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
int64_t score_node_affinity(const struct schedule_pod *pod, const struct node_info *node);
bool hint_node_affinity(const struct census *census, const struct pod *pod, const struct schedule_change *change);

/* resource_plugins.c */
bool prefilter_node_resources(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_node_resources(const struct schedule_pod *pod, const struct node_info *node,
                           struct schedule_verdict *verdict);
int64_t score_least_allocated(const struct schedule_pod *pod, const struct node_info *node);
bool prescore_balanced_allocation(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
int64_t score_balanced_allocation(const struct schedule_pod *pod, const struct node_info *node);

/* volume_binding.c */
bool prefilter_volume_binding(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_volume_binding(const struct schedule_pod *pod, const struct node_info *node,
                           struct schedule_verdict *verdict);
bool prefilter_volume_restrictions(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_volume_restrictions(const struct schedule_pod *pod, const struct node_info *node,
                                struct schedule_verdict *verdict);

/* topology_spread.c */
bool prefilter_topology_spread(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_topology_spread(const struct schedule_pod *pod, const struct node_info *node,
                            struct schedule_verdict *verdict);
bool prescore_topology_spread(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
int64_t score_topology_spread(const struct schedule_pod *pod, const struct node_info *node);
void normalize_topology_spread(const struct schedule_pod *pod, int64_t *scores, size_t count);
bool hint_topology_spread(const struct census *census, const struct pod *pod, const struct schedule_change *change);

/* inter_pod_affinity.c */
bool prefilter_inter_pod_affinity(struct schedule_pod *pod, struct schedule_verdict *verdict);
void filter_inter_pod_affinity(const struct schedule_pod *pod, const struct node_info *node,
                               struct schedule_verdict *verdict);
bool prescore_inter_pod_affinity(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
int64_t score_inter_pod_affinity(const struct schedule_pod *pod, const struct node_info *node);
void normalize_inter_pod_affinity(const struct schedule_pod *pod, int64_t *scores, size_t count);
bool hint_inter_pod_affinity(const struct census *census, const struct pod *pod, const struct schedule_change *change);

/* image_locality.c */
bool prescore_image_locality(struct schedule_pod *pod, struct node_info *const *nodes, size_t count);
int64_t score_image_locality(const struct schedule_pod *pod, const struct node_info *node);

/* plugin.c: the usual ways of normalizing: the largest becomes SCHEDULE_SCORE_MAX, or 0 when fewer are better. */
void normalize_more(const struct schedule_pod *pod, int64_t *scores, size_t count);
void normalize_less(const struct schedule_pod *pod, int64_t *scores, size_t count);

/* What several plugins ask. Whether a taint of the node keeps the pod out. */
const struct taint *node_untolerated_taint(const struct pod *pod, const struct node *node);

static inline void schedule_object(struct schedule_verdict *verdict, const char *reason, bool unresolvable)
{
    if (verdict->count < SCHEDULE_REASONS_MAX)
        verdict->reasons[verdict->count++] = reason;
    verdict->unresolvable |= unresolvable;
}

#endif
