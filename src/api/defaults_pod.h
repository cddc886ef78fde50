/* Defaults of pods, for defaults.c. */
#ifndef CORACLE_API_DEFAULTS_POD_H
#define CORACLE_API_DEFAULTS_POD_H

#include "api/types.h"
#include "base/arena.h"

/* A struct pod, after its declared defaults. */
void default_pod(struct arena *arena, void *value);

#endif
