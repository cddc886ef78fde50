/* Shared by the controllers that look after Jobs and their pods. */
#ifndef CORACLE_CONTROL_JOB_H
#define CORACLE_CONTROL_JOB_H

#include "api/job.h"
#include "control/controller.h"

/* The pod holds the finalizer with which Jobs track their pods. */
bool job_is_tracked(const struct object *pod);
/* The Job is run by somebody else (managedBy). */
bool job_is_foreign(const struct job *job);
/* Takes that finalizer from the pod; with as_seen only if the pod has not changed since. */
void job_release_pod(struct work *work, struct object *pod, bool as_seen, client_done done, void *context);

#endif
