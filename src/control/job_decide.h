/* What a Job needs next: a pure function of the Job, its pods and the time, as upstream's job controller decides (sync
 * of one Job). job.c carries it out.
 *
 * No pod is counted twice or forgotten. A pod holds a finalizer until it is counted: (1) its identity goes into
 * uncountedTerminatedPods (a succeeded index: into completedIndexes), (2) when that is durable its finalizer goes, (3)
 * when that is seen, the identity goes again and the counter grows, in one write. A crash at any point repeats at most
 * a step that changes nothing. */
#ifndef CORACLE_CONTROL_JOB_DECIDE_H
#define CORACLE_CONTROL_JOB_DECIDE_H

#include "api/index_set.h"
#include "api/job.h"
#include "api/object.h"
#include "base/timestamp.h"

/* Pods created or deleted in one run. */
#define JOB_BURST 500
/* Identities in uncountedTerminatedPods at once. */
#define JOB_UNCOUNTED_MAX 500
/* Failed pods are replaced after 10 s, doubling to 10 minutes. */
#define JOB_BACKOFF_FIRST (10 * SECOND)
#define JOB_BACKOFF_MAX (10 * MINUTE)

/* Failures since the last success, which are not in the status. */
struct job_backoff {
    int32_t failures;
    int64_t last; /* 0: none */
};

struct job_observation {
    const struct job *job;
    struct object **pods; /* all that the Job controls; sorted in place */
    size_t count;
    struct job_backoff backoff;
    int64_t now;
};

/* A pod to make. */
struct job_creation {
    int32_t index;             /* -1: not an Indexed Job */
    int32_t failures, ignored; /* of this index so far, with backoffLimitPerIndex */
};

/* Carried out in this order; the status only when all deletions were accepted. What points, points into the observation
 * or the arena. */
struct job_plan {
    struct object **deletions;
    size_t deletion_count;
    bool release_first; /* their finalizers go before they are deleted: they are not to be counted */
    struct job_creation *creations;
    size_t creation_count;
    struct job_status status; /* as it is once all of that has succeeded */
    struct object **releases; /* finalizers that go once the status is durable */
    size_t release_count;
    struct job_backoff backoff; /* to be remembered then */
    int64_t again_after;        /* look again so much later; 0: not before something happens */
    /* Events, once the status is durable. */
    bool suspended, resumed, too_many;
    const struct job_condition *finished; /* Complete or Failed, if the status has just got it */
};

void job_decide(struct arena *arena, const struct job_observation *seen, struct job_plan *plan);

/* job_policy.c */

enum job_action { JOB_ACTION_NONE, JOB_ACTION_COUNT, JOB_ACTION_IGNORE, JOB_ACTION_FAIL_INDEX, JOB_ACTION_FAIL_JOB };
/* The action of the first rule that a failed pod meets. *message (in the arena) is set for JOB_ACTION_FAIL_JOB. */
enum job_action job_failure_action(struct arena *arena, const struct job_spec *spec, const struct pod *pod,
                                   const char **message);
/* Whether a rule of the success policy holds; *message says which. */
bool job_success_met(struct arena *arena, const struct job_spec *spec, const struct index_set *succeeded,
                     const char **message);

/* job_backoff.c */

/* When a pod ended, as well as its status tells. */
int64_t job_pod_finished_at(const struct pod *pod);
/* How long from now a pod may not be replaced yet; 0: it may. */
int64_t job_backoff_left(int32_t failures, int64_t last, int64_t now);
/* The record after pods have newly succeeded and failed, at these times (sorted in place). */
struct job_backoff job_backoff_next(struct job_backoff old, const int64_t *succeeded, size_t succeeded_count,
                                    int64_t *failed, size_t failed_count);

#endif
