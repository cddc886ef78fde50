/* The benchmark: how fast the control plane makes and binds the pods of one Deployment, and how much memory that
 * takes. No delays, no faults, no kubelets: store (memory engine), registry, controllers and scheduler alone. */
#ifndef CORACLE_SIM_BENCH_H
#define CORACLE_SIM_BENCH_H

#include <stdio.h>

/* Prints one line per figure. Returns 0, or -1 when not all pods were bound. */
int sim_bench_run(int pods, int nodes, FILE *out);

#endif
