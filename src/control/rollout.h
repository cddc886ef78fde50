/* The arithmetic of a rollout, as upstream's deployment controller does it: pure functions over a Deployment and its
 * ReplicaSets. maxSurge rounds up, maxUnavailable down; when both come to 0, maxUnavailable is 1. */
#ifndef CORACLE_CONTROL_ROLLOUT_H
#define CORACLE_CONTROL_ROLLOUT_H

#include <stdbool.h>

#include "api/object.h"
#include "base/arena.h"

#define ANNOTATION_REVISION "deployment.kubernetes.io/revision"
#define ANNOTATION_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define ANNOTATION_DESIRED "deployment.kubernetes.io/desired-replicas"
#define ANNOTATION_MAX "deployment.kubernetes.io/max-replicas"
#define LABEL_TEMPLATE_HASH "pod-template-hash"

/* A ReplicaSet and what it is to become. */
struct rollout_set {
    struct object *object;
    const struct replica_set *rs;
    int32_t replicas; /* spec.replicas as it is */
    int32_t target;   /* as it is to be */
};

struct rollout {
    const struct deployment *deployment;
    struct rollout_set *sets; /* oldest first (creation time, then name) */
    size_t count;
    struct rollout_set *fresh; /* the one with the present template, or NULL */
};

bool rollout_is_rolling(const struct deployment *deployment);
int32_t rollout_max_surge(const struct deployment *deployment);
int32_t rollout_max_unavailable(const struct deployment *deployment);
/* replicas + maxSurge, at most INT32_MAX, as all sums here. */
int32_t rollout_most(const struct deployment *deployment);
int32_t deployment_replicas(const struct deployment *deployment);

/* Sums of spec.replicas and of the status over sets; all = the fresh one included. */
int32_t rollout_replicas(const struct rollout *rollout, bool all);
int32_t rollout_status_replicas(const struct rollout *rollout);
int32_t rollout_ready(const struct rollout *rollout);
int32_t rollout_available(const struct rollout *rollout, bool all);

/* How many the new set may have now; without one: what it starts with. */
int32_t rollout_fresh_replicas(const struct rollout *rollout);

/* Sets the targets of one step of a rolling update: first the new set grows; if it has not, old ones shrink, unhealthy
 * pods first. True when a target differs from its present. */
bool rollout_step_rolling(struct rollout *rollout);
/* The same for Recreate; `old_pods_running`: a pod of an old set has not ended yet. */
bool rollout_step_recreate(struct rollout *rollout, bool old_pods_running);
/* Sets the targets after spec.replicas changed in the middle of a rollout or while paused: in proportion, the
 * leftover to the newest, as upstream. */
bool rollout_scale(struct rollout *rollout);
/* spec.replicas differs from what an active set was last scaled for. */
bool rollout_is_scaling(const struct rollout *rollout);
/* All pods are of the present template and available, and none is left of others. */
bool rollout_complete(const struct rollout *rollout, const struct deployment_status *status);

/* The templates are equal but for the hash label. */
bool rollout_same_template(const struct pod_template_spec *a, const struct pod_template_spec *b);
/* The revision annotation as a number, 0 if there is none. */
int64_t rollout_revision(const struct object_meta *meta);

#endif
