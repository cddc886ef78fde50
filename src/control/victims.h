/* Which pods of a ReplicaSet go first when it shrinks: upstream's order (ActivePodsWithRanks), but for one step. */
#ifndef CORACLE_CONTROL_VICTIMS_H
#define CORACLE_CONTROL_VICTIMS_H

#include "api/object.h"
#include "base/arena.h"

/* Sorts pods, those to delete first: unassigned before assigned; Pending, Unknown, Running; not ready before ready;
 * ready for less than min_ready_seconds (a step that upstream does not have: a Deployment that takes pods away which
 * are not available, as it counts them, relies on these going, or it has fewer than replicas - maxUnavailable;
 * simulation shows it); lower controller.kubernetes.io/pod-deletion-cost; nodes with more of the related pods; ready
 * for a shorter time; more restarts, then more of sidecars; younger. Times count in powers of two of their age, so that
 * age does not decide among pods of similar age: there the uid does, before anything that would come after. */
void victims_sort(struct arena *arena, struct object **pods, size_t count, struct object *const *related,
                  size_t related_count, int32_t min_ready_seconds, int64_t now);

#endif
