/* DefaultPreemption: which pods of lower priority would have to leave which node for a pod to fit. Decides by trying on
 * the census, which is afterwards as it was. Not for other rooms. */
#ifndef CORACLE_SCHEDULE_PREEMPT_H
#define CORACLE_SCHEDULE_PREEMPT_H

#include "schedule/framework.h"

#define PREEMPT_CONDITION "DisruptionTarget"
#define PREEMPT_REASON "PreemptionByScheduler"
/* So many candidates are compared at least, or a tenth of the nodes. */
#define PREEMPT_CANDIDATES_MIN 100

struct preemption {
    struct node_info *node;  /* NULL: there is none */
    struct placed **victims; /* the most important first; in the pod's arena */
    size_t victim_count;
    const char *why; /* there is none, in upstream's words */
    bool keeps_node; /* the pod keeps the node that it is nominated for */
};

/* tally: of the attempt that has failed. */
void preempt_decide(struct schedule_pod *pod, struct env *env, const struct schedule_tally *tally,
                    struct preemption *out);

#endif
