/* What is true of a cluster that has come to rest: for each Deployment the right number of available pods of its newest
 * template and none of others, every Job finished and all of its pods counted, true statuses, endpoints that are the ready
 * pods, and nothing left behind. */
#ifndef CORACLE_SIM_CONVERGE_H
#define CORACLE_SIM_CONVERGE_H

#include <stdbool.h>
#include <stddef.h>

#include "sim/cluster.h"

/* True when the cluster is at rest; else `why` says what is missing. */
bool sim_converged(struct sim_cluster *cluster, char *why, size_t size);

#endif
