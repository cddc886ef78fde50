/* Shared by the files of the deployment controller. */
#ifndef CORACLE_CONTROL_DEPLOYMENT_H
#define CORACLE_CONTROL_DEPLOYMENT_H

#include "control/controller.h"
#include "control/rollout.h"

struct deployments {
    struct informer *informer, *replica_sets, *pods;
    int replica_sets_by_owner, pods_by_owner;
};

/* What one run knows. It lives, with the objects that it points to, until its work item is over. */
struct deployment_run {
    struct controller *controller;
    struct work *work;
    struct arena *arena;
    struct object *object;
    const struct deployment *deployment;
    struct rollout rollout;
    /* Set to write a Progressing condition whatever the status says; NULL: none. */
    const char *progress_status, *progress_reason, *progress_message;
    bool is_scaling; /* spec.replicas has changed: whether the rollout progresses is not judged */
    int64_t now;
};

/* deployment_revision.c: what the new ReplicaSet is called and how revisions are counted. */

/* The revision that the new ReplicaSet is to have. */
int64_t deployment_next_revision(const struct rollout *rollout);
/* The annotations that a ReplicaSet takes from its Deployment, with revision and history. */
void deployment_set_annotations(struct deployment_run *run, struct string_map *annotations, int64_t revision);
/* The annotations that say what a ReplicaSet was last scaled for. */
void deployment_set_counts(struct deployment_run *run, struct string_map *annotations);
/* Creates the new ReplicaSet with so many replicas, and then writes the status. */
void deployment_create_replica_set(struct deployment_run *run, int32_t replicas);
/* Deletes old ReplicaSets beyond revisionHistoryLimit. */
void deployment_clean_up(struct deployment_run *run);

/* deployment_status.c: counts and conditions. */

/* Writes the status if it changed, and arranges to look again when the progress deadline passes. */
void deployment_write_status(struct deployment_run *run);
/* What the status would be now. */
struct deployment_status deployment_status_now(struct deployment_run *run);

#endif
