/* The benchmark: how fast the control plane makes and binds the pods of one Deployment, and how much memory that
 * takes. No delays, no faults, no kubelets: store (memory engine), registry, controllers and scheduler alone. */
#ifndef CORACLE_SIM_BENCH_H
#define CORACLE_SIM_BENCH_H

#include <stdbool.h>
#include <stdio.h>

/* choosy: the pods are spread over three zones, and keep away from each other where they can. Prints one line per figure.
 * Returns 0, or -1 when not all pods were bound. */
int sim_bench_run(int pods, int nodes, bool spread, FILE *out);

#endif
