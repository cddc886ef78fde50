/* The part of the auditor that concerns Jobs. Used by audit.c only.
 *
 *   parallelism  whenever a pod is made for a Job, its active pods are at most what parallelism was within the window.
 *   counting     no more pods are counted as succeeded than have; no index that has not; no counter goes back, but for
 *                a Job that was made smaller; no Job runs more pods to success than it asks for: none was lost.
 *   the end      a Job that has finished stays finished, and no pod is made for it any more. */
#ifndef CORACLE_SIM_AUDIT_JOB_H
#define CORACLE_SIM_AUDIT_JOB_H

#include "api/object.h"

struct job_audit;

/* report: called with what is wrong, in a sentence. */
struct job_audit *job_audit_new(int64_t window, void (*report)(void *context, const char *text), void *context);
void job_audit_free(struct job_audit *audit);
/* A Job or a pod as it is now. fresh: it was written now, and not found when the control plane started; now: by the
 * clock of the controllers. */
void job_audit_job(struct job_audit *audit, struct object *object, int64_t now);
void job_audit_pod(struct job_audit *audit, struct object *object, int64_t now, bool fresh);
void job_audit_deleted(struct job_audit *audit, const struct object *object);

#endif
