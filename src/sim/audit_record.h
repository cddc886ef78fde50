/* What an audit remembers: a record per Deployment, ReplicaSet and pod by uid, and per node by name, brought up to date
 * by each event. Private to sim/audit*.c: audit.c hands the events out, audit_owner.c and audit_pod.c keep the records.
 */
#ifndef CORACLE_SIM_AUDIT_RECORD_H
#define CORACLE_SIM_AUDIT_RECORD_H

#include "base/map.h"
#include "base/vector.h"
#include "sim/audit.h"
#include "sim/audit_job.h"

/* What a Deployment or ReplicaSet asked for, until it asked for something else. */
struct audit_limit {
    int64_t until; /* INT64_MAX: now */
    int32_t most;  /* replicas + maxSurge, or the replicas of a ReplicaSet */
    int32_t least; /* replicas - maxUnavailable */
    bool recreate, paused;
};

struct audit_owner {
    struct object *object; /* Deployment or ReplicaSet */
    VECTOR(struct audit_limit) limits;
    VECTOR(int64_t) losses;    /* when available pods were deleted by others than controllers */
    int64_t scaled_generation; /* of the last change that asked for fewer pods */
    int64_t scaling_until;     /* INT64_MAX: the controller has not seen it yet */
};

struct audit_pod {
    struct object *object;
    bool has_been_available;
    int64_t ready_at;   /* since when it is ready, see audit_now */
    bool asked;         /* a controller asked for its deletion, ... */
    int64_t asked_at;   /* ... then; it may have been refused */
    int64_t binding_at; /* when the scheduler asked to bind it; 0: not yet */
};

struct sim_audit {
    struct env *env;
    struct sim_history *history;
    int64_t window;
    struct store_watch *watches[API_RESOURCE_COUNT];
    struct map owners; /* uid -> struct audit_owner */
    struct map pods;   /* uid -> struct audit_pod */
    struct map nodes;  /* name -> struct object */
    struct job_audit *jobs;
    uint64_t revision, writes;
    int64_t down, down_since; /* how long nobody was there to control anything; -1: not down */
    int64_t unsettled_at;     /* when pods or nodes last went or changed, see audit_now */
    bool catching_up;         /* what is seen now did not happen now, nor in this order */
    char violation[SIM_VIOLATION_MAX];
};

/* The clock by which controllers are measured: it stands while there are none (audit.c). */
int64_t audit_now(const struct sim_audit *audit);
/* Notes a broken promise; the first one counts (audit.c). */
void audit_violated(struct sim_audit *audit, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Deployments and ReplicaSets (audit_owner.c) ---- */

/* The record of the controller that the metadata names; NULL: none that is known. */
struct audit_owner *audit_owner_by(const struct sim_audit *audit, const struct object_meta *meta);
/* The widest of what was asked for within the window. */
struct audit_limit audit_limit_over_window(const struct sim_audit *audit, const struct audit_owner *owner);
void audit_deployment_written(struct sim_audit *audit, struct object *object);
void audit_replica_set_written(struct sim_audit *audit, struct object *object);
void audit_owner_deleted(struct sim_audit *audit, const struct object *object);
void audit_owner_free(struct audit_owner *owner);

/* ---- Pods (audit_pod.c) ---- */

void audit_pod_written(struct sim_audit *audit, struct object *object);
void audit_pod_deleted(struct sim_audit *audit, const struct object *object);

#endif
