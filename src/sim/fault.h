/* Planted faults: controllers that are wrong in one way each, to prove that the audit would notice. Nothing in the
 * controllers knows of them: a fault changes what passes between them and the API (see sim_link_distort), or what the
 * disk keeps. */
#ifndef CORACLE_SIM_FAULT_H
#define CORACLE_SIM_FAULT_H

#include "sim/cluster.h"

struct sim_fault {
    const char *name;
    const char *does;   /* in one sentence, for people */
    const char *caught; /* found in what the audit says of it */
    /* May change a request of a controller. False: it is not carried out, and answered as if it had been. */
    bool (*request)(struct sim_cluster *cluster, struct client_request *request);
    /* What the controllers are shown in place of the object, with a reference; NULL: the object itself. */
    struct object *(*show)(struct object *object);
    unsigned forgotten; /* of a thousand batches of writes: acknowledged, and not on the disk */
};

extern const struct sim_fault sim_faults[];
extern const size_t sim_fault_count;

/* NULL: there is none of this name. */
const struct sim_fault *sim_fault_find(const char *name);
/* The cluster has this fault from now on. */
void sim_fault_plant(struct sim_cluster *cluster, const struct sim_fault *fault);

#endif
