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

struct admission_refusal {
    const char *reason;  /* "OutOfcpu", "NodeAffinity", "NodePorts", ... */
    const char *message; /* "Node didn't have enough resource: cpu, requested: 100000, used: 0, capacity: 2000" */
};

/* False: the node takes it in. Else why not, in the arena: the first of upstream's reasons, of which it tells no more.
 * What it asks for of an extended resource that the node does not know is not looked at, as upstream. A critical pod
 * (node/eviction.h) is not refused for want of resources: upstream ends pods of less priority for it. */
bool admission_refuses(struct arena *arena, const struct admission_request *request, struct admission_refusal *out);

#endif
