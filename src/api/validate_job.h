/* Between the files that validate Jobs and CronJobs. */
#ifndef CORACLE_API_VALIDATE_JOB_H
#define CORACLE_API_VALIDATE_JOB_H

#include "api/validate_parts.h"

void validate_job_template(struct api_field_errors *errors, const struct api_path *path,
                           const struct job_template_spec *template);

#endif
