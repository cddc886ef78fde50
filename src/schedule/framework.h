/* One attempt to place one pod: runs the plugins of the table over the census. Decides, and writes nothing. Not for
 * other rooms. */
#ifndef CORACLE_SCHEDULE_FRAMEWORK_H
#define CORACLE_SCHEDULE_FRAMEWORK_H

#include "base/env.h"
#include "schedule/plugin.h"

/* Of clusters with more nodes, at least so many that fit are compared. */
#define SCHEDULE_NODES_MIN 100

/* Why an attempt has failed. */
struct schedule_tally {
    struct map reasons;        /* text -> how many nodes have it */
    const char *of_all;        /* why no node will do, whichever it is */
    size_t nodes;              /* all that there are */
    uint32_t rejected_by;      /* a bit for each plugin of the table */
    struct node_info **helped; /* nodes that eviction of other pods might help; in the pod's arena */
    size_t helped_count;
};

/* Completes the pod by the census as it is now. False when no node will do; tally (may be NULL) says why. */
bool schedule_prepare(struct schedule_pod *pod, struct schedule_tally *tally);
/* Whether the pod, which is prepared, fits the node, also if the pods come that are nominated for it. */
bool schedule_fits(struct schedule_pod *pod, struct node_info *node, struct schedule_verdict *verdict,
                   const struct schedule_plugin **rejected_by);
/* The best node of those that are looked at, one at random among equals, or NULL with the tally. next: where the search
 * begins, and where the next one will, so that all nodes have their turn. */
struct node_info *schedule_choose(struct schedule_pod *pod, struct env *env, size_t *next,
                                  struct schedule_tally *tally);
/* Upstream's sentence: what is wrong, counted per reason and sorted. preemption: what it could do about it; NULL: it
 * has begun. */
const char *schedule_explain(struct arena *arena, const struct schedule_tally *tally, const char *preemption);
void schedule_tally_free(struct schedule_tally *tally);

/* "0/3 nodes are available: 1 this, 2 that." */
struct buffer;
void schedule_count_reasons(struct buffer *out, size_t nodes, const struct map *reasons);
void schedule_add_reason(struct map *reasons, const char *reason, size_t nodes);

#endif
