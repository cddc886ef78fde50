/* Which pods of a node end so that a critical one has the resources that it asks for: the order and the words are those
 * of upstream's kubelet (pkg/kubelet/preemption/preemption.go). Pure. */
#ifndef CORACLE_NODE_PREEMPTION_H
#define CORACLE_NODE_PREEMPTION_H

#include "node/admission.h"

/* Reason and message of the status of a pod that ends for another, and of its event. */
#define PREEMPTION_REASON "Preempting"
#define PREEMPTION_MESSAGE "Preempted in order to admit critical pod"
/* The message of its condition DisruptionTarget. */
#define PREEMPTION_DISRUPTION "Pod was preempted by Kubelet to accommodate a critical pod."
/* The reason of a critical pod for which not enough others may end. */
#define PREEMPTION_FAILED "UnexpectedAdmissionError"

/* Chooses of request->others those that end, by their places, so that what is short is there for request->pod: pods
 * that are not critical, or of less priority; of the lowest classes of service as long as they suffice, and of each
 * class as few as may be, of the least requests. `chosen` has room for request->count. NULL: `count` have been chosen,
 * at least one. Else the message of the refusal, in the arena: all of them together do not free what is missing. */
const char *preemption_choose(struct arena *arena, const struct admission_request *request,
                              const struct admission_shortages *shortages, size_t *chosen, size_t *count);

#endif
