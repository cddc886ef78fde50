/* Names and questions about Jobs that the API and the controllers share. */
#ifndef CORACLE_API_JOB_H
#define CORACLE_API_JOB_H

#include <stdbool.h>

#include "api/types.h"

#define JOB_NAME_LABEL "batch.kubernetes.io/job-name"
#define JOB_UID_LABEL "batch.kubernetes.io/controller-uid"
#define JOB_LEGACY_NAME_LABEL "job-name"
#define JOB_LEGACY_UID_LABEL "controller-uid"
/* Held by the pods of a Job until they are counted. */
#define JOB_TRACKING_FINALIZER "batch.kubernetes.io/job-tracking"
/* Annotation and label. */
#define JOB_COMPLETION_INDEX "batch.kubernetes.io/job-completion-index"
#define JOB_INDEX_FAILURE_COUNT "batch.kubernetes.io/job-index-failure-count"
#define JOB_INDEX_IGNORED_FAILURE_COUNT "batch.kubernetes.io/job-index-ignored-failure-count"
/* managedBy of the Jobs that the built-in controller runs. */
#define JOB_CONTROLLER_NAME "kubernetes.io/job-controller"

bool job_is_indexed(const struct job_spec *spec);
/* The condition of a type, or NULL. */
const struct job_condition *job_condition_find(const struct job_status *status, const char *type);
bool job_condition_is_true(const struct job_status *status, const char *type);
/* Complete or Failed. */
bool job_is_finished(const struct job_status *status);

#endif
