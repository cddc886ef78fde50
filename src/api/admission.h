/* Admission: what upstream's built-in admission plugins that need no other object do to a new object, after
 * defaulting and before validation: ServiceAccount (its name), DefaultTolerationSeconds, RuntimeClass (of which there
 * are none); and what Priority does, given the class. */
#ifndef CORACLE_API_ADMISSION_H
#define CORACLE_API_ADMISSION_H

#include "api/types.h"
#include "base/arena.h"

/* Seconds that a pod stays bound to a node that is not ready or unreachable, unless it says otherwise. */
#define API_TOLERATION_SECONDS 300

/* The highest priority of a class that is not the system's own. */
#define API_PRIORITY_MAX 1000000000

/* Changes a new root value of the resource in place. Returns NULL, or the Status (403) that refuses it. */
struct status *api_admit_create(struct arena *arena, const struct api_resource *resource, void *value);
/* What RuntimeClass looks at once more, after validation: NULL, or the Status (403) that refuses the new value. */
struct status *api_admit_valid(struct arena *arena, const struct api_resource *resource, const void *value);
/* Gives a new pod the priority and the preemption policy of its class; NULL: it has none, and there is no default. */
struct status *api_admit_priority(struct arena *arena, struct pod *pod, const struct priority_class *class);

/* The classes that every cluster has: by name, or one after the other; NULL: there is none. */
const struct priority_class *api_system_priority_class(const char *name);
const struct priority_class *api_system_priority_class_at(size_t place);

#endif
