/* From a seed to a whole history: a cluster of some size, users who change it, faults of some kinds for some minutes;
 * then the faults stop, and the cluster has to come to rest. */
#ifndef CORACLE_SIM_SCENARIO_H
#define CORACLE_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sim/fault.h"

#define SIM_FAILURE_MAX 1024

struct sim_result {
    bool failed;
    char failure[SIM_FAILURE_MAX]; /* what was violated, or what did not come to rest */
    uint64_t hash;                 /* of the history */
    uint64_t writes;               /* committed */
    uint64_t steps;                /* callbacks */
    int64_t simulated;             /* microseconds that passed for the cluster */
    int64_t rest;                  /* how long it took to come to rest */
};

/* fault: planted once the cluster runs; NULL: none. history: gets every entry as it comes; failures: gets the last entries when something is wrong. Both may be NULL. */
void sim_scenario_run(uint64_t seed, const struct sim_fault *fault, FILE *history, FILE *failures, struct sim_result *result);

#endif
