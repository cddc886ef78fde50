/* A decision about a Job while it is made. Private to job_decide.c, which counts and concludes, and job_pods.c, which
 * chooses the pods to make and to delete. */
#ifndef CORACLE_CONTROL_JOB_DECIDING_H
#define CORACLE_CONTROL_JOB_DECIDING_H

#include "control/job_decide.h"

#define JOB_NO_INDEX (-1)

/* What is asked about a pod again and again. */
struct job_fact {
    struct object *object;
    const struct pod *pod;
    int32_t index; /* JOB_NO_INDEX: none, or none that the Job has */
    int32_t any_index;
    bool tracked; /* has the finalizer */
    bool active, terminating, succeeded, failed;
    bool counts;            /* as a failure, by the failure policy */
    enum job_action action; /* if failed */
    const char *message;    /* of JOB_ACTION_FAIL_JOB */
    bool to_delete;
};

struct job_deciding {
    struct arena *arena;
    const struct job *job;
    const struct job_spec *spec;
    int64_t now, second;
    struct job_fact *facts; /* by index, then as given */
    size_t count;
    struct job_plan *plan;
    struct job_status *status;
    bool indexed, per_index, only_replace_failed, suspended;
    int32_t active, ready, terminating, succeeded, failed;
    struct index_set previous_indexes, succeeded_indexes, failed_indexes;
    struct job_fact **delayed; /* per index, the failed pod that waits for its replacement; in the order of indexes */
    size_t delayed_count;
    struct job_condition *finish; /* SuccessCriteriaMet, FailureTarget or Failed: the Job is to end */
};

static inline bool job_fact_is_active(const struct job_deciding *d, const struct job_fact *f)
{
    (void)d;
    return f->active;
}

static inline bool job_fact_is_terminating(const struct job_deciding *d, const struct job_fact *f)
{
    (void)d;
    return f->terminating;
}

/* ---- job_decide.c ---- */

/* The indexes of the set, and those of the pods that are chosen; in the arena. */
struct index_set job_indexes_with(struct job_deciding *d, const struct index_set *set,
                                  bool (*chosen)(const struct job_deciding *d, const struct job_fact *f));
/* The failed pod of an index that waits for its replacement, or NULL. */
struct job_fact *job_delayed_at(const struct job_deciding *d, int32_t index);
/* How often pods of its index failed before it, counted and not, as its annotations carry it. */
int32_t job_index_failures(const struct pod *pod);
int32_t job_index_ignored(const struct pod *pod);
/* Looks again after the delay at the latest; 0: nothing to wait for. */
void job_again_after(struct job_deciding *d, int64_t delay);

/* ---- job_pods.c ---- */

/* Brings the number of active pods to what it should be: either deletes or creates. */
void job_pods_manage(struct job_deciding *d);
void job_pods_delete(struct job_deciding *d, struct job_fact *f);

#endif
