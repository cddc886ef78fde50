/* The simulated environment: a clock that jumps to the next thing to do. What is deferred runs first, in the order of
 * the calls; then the timer that is due first, in the order of starting among equals. One seed, one history. */
#ifndef CORACLE_SIM_ENVIRONMENT_H
#define CORACLE_SIM_ENVIRONMENT_H

#include <stdbool.h>

#include "base/env.h"

/* Callbacks that may run without the clock moving; more are a loop that makes no progress. */
#define SIM_INSTANT_MAX 2000000

/* Starts at `start` (wall clock, microseconds). */
struct env *sim_environment_new(uint64_t seed, int64_t start);
/* Runs what is still deferred, and releases. All timers must have been freed. */
void sim_environment_free(struct env *env);

/* Runs one callback. False when there is none, or the next one is due after `until` (monotonic; the clock then stands
 * at `until`). */
bool sim_environment_step(struct env *env, int64_t until);
/* Runs everything that is due within so many microseconds; the clock stands at the end of them. */
void sim_environment_run(struct env *env, int64_t duration);
/* True when SIM_INSTANT_MAX was reached: something runs for ever at one instant. */
bool sim_environment_stuck(const struct env *env);
/* Callbacks that have run. */
uint64_t sim_environment_steps(const struct env *env);

#endif
