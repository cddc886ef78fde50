/* Admission: what upstream's built-in admission plugins that need no other object do to a new object, after
 * defaulting and before validation: ServiceAccount (its name), DefaultTolerationSeconds, Priority. */
#ifndef CORACLE_API_ADMISSION_H
#define CORACLE_API_ADMISSION_H

#include "api/types.h"
#include "base/arena.h"

/* Seconds that a pod stays bound to a node that is not ready or unreachable, unless it says otherwise. */
#define API_TOLERATION_SECONDS 300

/* Changes a new root value of the resource in place. Returns NULL, or the Status (403) that refuses it. */
struct status *api_admit_create(struct arena *arena, const struct api_resource *resource, void *value);

#endif
