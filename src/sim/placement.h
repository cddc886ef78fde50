/* Whether a pod may be where it is, by looking at every pod and every node: what the scheduler promises at each bind. */
#ifndef CORACLE_SIM_PLACEMENT_H
#define CORACLE_SIM_PLACEMENT_H

#include "api/object.h"
#include "base/map.h"

struct sim_placement {
    struct object *const *pods; /* those that are bound and have not ended */
    size_t count;
    const struct map *nodes; /* name -> struct object */
};

/* A pod whose required anti-affinity forbids the neighbourhood of this one, or the other way round; NULL: none. */
struct object *sim_placement_conflict(const struct sim_placement *placement, const struct object *pod);
/* The first DoNotSchedule constraint of the pod whose maxSkew is exceeded in its domain, and by how many pods its domain
 * is ahead; NULL: none. */
const struct topology_spread_constraint *sim_placement_skewed(const struct sim_placement *placement,
                                                              const struct object *pod, int *skew);

#endif
