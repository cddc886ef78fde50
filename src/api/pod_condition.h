/* Conditions and phases of pods. */
#ifndef CORACLE_API_POD_CONDITION_H
#define CORACLE_API_POD_CONDITION_H

#include <stdbool.h>

#include "api/types.h"

/* The condition of a type, or NULL. */
const struct pod_condition *pod_condition_find(const struct pod_condition_array *conditions, const char *type);
/* Whether the condition Ready is True. */
bool pod_is_ready(const struct pod *pod);
/* Its phase is Succeeded or Failed. */
bool pod_has_ended(const struct pod *pod);

#endif
