/* A pod on a simulated node: what its containers would do, and the status that a kubelet would write about it. Used by
 * node.c only. */
#ifndef CORACLE_SIM_POD_H
#define CORACLE_SIM_POD_H

#include "base/map.h"
#include "client/informer.h"
#include "sim/node.h"

struct sim_node_context {
    struct env *env;
    struct client *client;
    struct sim_random random;
    const struct sim_behaviour *behaviour;
    char *name;
    int number;
    unsigned addresses;  /* given out */
    int64_t rebooted_at; /* containers that started before have died */
    struct map pods;     /* uid -> struct sim_pod */
};

/* The handler of the node's informer of pods; context: the struct sim_node_context. */
void sim_pod_changed(void *context, enum informer_change change, struct object *object, struct object *old);
/* Forgets all pods, as a kubelet does that ends. The link is cut: no answer is to come. */
void sim_pods_free(struct sim_node_context *node);

#endif
