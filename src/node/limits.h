/* From requests and limits to cgroups and back. Pure; the arithmetic is the kubelet's. */
#ifndef CORACLE_NODE_LIMITS_H
#define CORACLE_NODE_LIMITS_H

#include "api/pod_resources.h"
#include "base/arena.h"
#include "node/node_resources.h"
#include "node/runtime/cgroup.h"
#include "node/runtime/container.h"

/* What a container gets that has been allotted these resources; limits of the pod as a whole hold where it has none. */
struct cgroup_resources limits_of_container(const struct pod_spec *spec, const struct resource_requirements *allocated);
/* What the pod's own group gets. */
struct cgroup_resources limits_of_pod(const struct pod *pod);
/* How much of each size of huge pages the container may use, in the arena, as many as there are sizes: none of what it
 * does not ask for. */
struct runtime_huge_page_limit *limits_of_huge_pages(struct arena *arena, const struct pod_spec *spec,
                                                     const struct resource_requirements *allocated,
                                                     const struct huge_pages *pages);
/* What kills by memory spare: -997 the last, 1000 the first, as upstream's GetContainerOOMScoreAdjust. Pod and
 * container name what has been allotted to them; node_memory is in bytes. */
int limits_oom_score(const struct pod *pod, const struct container *container, int64_t node_memory);

/* What the status says is in force: what has been allotted, but where the group has other limits, those. */
void limits_shown(struct arena *arena, const struct pod_spec *spec, const struct resource_requirements *allocated,
                  const struct cgroup_resources *actual, struct resource_requirements *out);
/* What had been allotted to a container that the status shows with its resources: for cpu and memory the status alone
 * tells, whatever has been asked for since. */
void limits_restore(struct arena *arena, const struct resource_requirements *asked,
                    const struct container_status *shown, struct resource_requirements *out);
/* cpu and memory are the same. */
bool limits_equal(const struct resource_requirements *a, const struct resource_requirements *b);
/* Whether the change means a new start of the container, by its resizePolicy. */
bool limits_want_restart(const struct container *container, const struct resource_requirements *before,
                         const struct resource_requirements *now);

#endif
