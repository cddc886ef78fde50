/* An environment whose clock stands still until the test moves it. */
#ifndef CORACLE_TEST_REGISTRY_FAKE_ENV_H
#define CORACLE_TEST_REGISTRY_FAKE_ENV_H

#include "base/env.h"

/* Starts at `now` microseconds since the epoch. */
struct env *fake_env_new(int64_t now);
void fake_env_free(struct env *env);
/* Runs what is deferred and due until nothing is left to do now. */
void fake_env_settle(struct env *env);
/* Moves the clock on, from timer to timer. */
void fake_env_advance(struct env *env, int64_t micros);

#endif
