/* Which taints a pod puts up with. Upstream's component-helpers/scheduling/corev1. Thread-safe. */
#ifndef CORACLE_API_TOLERATION_H
#define CORACLE_API_TOLERATION_H

#include <stdbool.h>

#include "api/types.h"

/* The first of the pod's tolerations that tolerates a taint of that key, value (may be NULL) and effect, or NULL. */
const struct toleration *toleration_find(const struct pod_spec *spec, const char *key, const char *value,
                                         const char *effect);

#endif
