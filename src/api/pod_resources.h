/* What a pod asks of its node, as upstream adds it up: the sum of its containers or its largest init container,
 * whichever is more (sidecars count with both); requests of the pod as a whole, where it has them, count instead; plus
 * overhead. A sum that is too large for an amount is INT64_MAX. */
#ifndef CORACLE_API_POD_RESOURCES_H
#define CORACLE_API_POD_RESOURCES_H

#include <stdbool.h>

#include "api/types.h"

/* What of a container counts. */
enum pod_count {
    POD_COUNT_SPEC,   /* what it asks for */
    POD_COUNT_STATUS, /* or what it has been given or still has, whichever is most: it may be changing */
};

/* An amount in thousandths for "cpu", else in whole units. */
int64_t pod_resource_amount(const struct string_map *map, const char *name);
/* `otherwise`: of a container that does not name the resource. */
int64_t pod_resource_request(const struct pod *pod, const char *name, enum pod_count count, int64_t otherwise);
/* The limits, in the same way, of those that have one (upstream's PodLimits); 0: none has. False when a container has
 * none, so that nothing holds the pod as a whole. */
bool pod_resource_limit(const struct pod_spec *spec, const char *name, int64_t *out);
/* What the containers ask for together, or are limited to (pod-level resources and overhead apart), as a canonical
 * quantity; NULL: nothing. In the arena. */
const char *pod_containers_sum(struct arena *arena, const struct pod_spec *spec, const char *name, bool limits);
/* Pod-level requests that are left out: what the containers ask for or, if they do not, the limit. */
void pod_resources_default(struct arena *arena, struct pod_spec *spec);
/* The status of a container (or init container) by its name, or NULL. */
const struct container_status *pod_container_status(const struct pod_status *status, const char *name);

/* What the condition PodResizePending gives as its reason, or NULL. */
const char *pod_resize_pending(const struct pod *pod);

#endif
