/* The containers of a pod, of whichever sort. */
#ifndef CORACLE_API_POD_CONTAINERS_H
#define CORACLE_API_POD_CONTAINERS_H

#include <stdbool.h>
#include <stddef.h>

#include "api/types.h"

/* What an ephemeral container has in common with the others: all but its target. Shares everything with it. */
struct container api_ephemeral_common(const struct ephemeral_container *container);
/* Whether a container that has ended with this exit code runs again, as upstream's ContainerShouldRestart: by its own
 * rules, else by its own policy, else by the pod's. */
bool api_container_should_restart(const struct container *container, const struct pod_spec *spec, int exit_code);

/* Whether an init container goes on running beside the others: its restartPolicy is Always. */
bool api_is_sidecar(const struct container *init_container);
/* The next container that runs while the pod serves, from *position (0 at first) on, or NULL: the containers, then the
 * sidecars, as upstream looks for ports. */
const struct container *api_next_serving(const struct pod_spec *spec, size_t *position);

#endif
