/* Whether a node takes a pod in that is bound to it, past the scheduler perhaps: what upstream's kubelet checks in
 * pkg/kubelet/lifecycle/predicate.go, with its reasons and words. Pure. */
#ifndef CORACLE_NODE_ADMISSION_H
#define CORACLE_NODE_ADMISSION_H

#include <stdbool.h>

#include "api/types.h"

/* The reason when the node's labels are not what the pod requires. */
#define ADMISSION_NODE_AFFINITY "NodeAffinity"

struct admission_request {
    const struct pod *pod;
    const struct node *node;         /* its labels, taints and what pods may have of it (status.allocatable) */
    const struct pod *const *others; /* that the node has taken in and that have not ended */
    size_t count;
    bool known; /* the node had taken it in before: what its labels and taints are now does not matter any more */
};

/* Of what there is not enough: thousandths of cpu, whole units of all else. */
struct admission_shortage {
    const char *name;
    int64_t requested; /* by the pod */
    int64_t used;      /* by the others */
    int64_t capacity;
};

struct admission_shortages {
    struct admission_shortage *items;
    size_t count;
};

struct admission_refusal {
    const char *reason;  /* "OutOfcpu", "NodeAffinity", "NodePorts", ... */
    const char *message; /* "Node didn't have enough resource: cpu, requested: 100000, used: 0, capacity: 2000" */
};

/* False: the node takes it in. Else why not, in the arena: the first of upstream's reasons, of which it tells no more.
 * A critical pod (node/eviction.h) is not refused for want of resources: others end for it (node/preemption.h). */
bool admission_refuses(struct arena *arena, const struct admission_request *request, struct admission_refusal *out);
/* All that the node lacks for the pod, in upstream's order; in the arena and in the pod. What the pod asks for of an
 * extended resource that the node does not know is not looked at, as upstream. */
struct admission_shortages admission_shortages(struct arena *arena, const struct admission_request *request);
/* Whether the node has room for what a pod on it asks for now: NULL, or why not: "Deferred" or "Infeasible", with a
 * message in the arena. As upstream's allocation manager. */
const char *admission_refuses_resize(struct arena *arena, const struct admission_request *request,
                                     const char **message);

#endif
